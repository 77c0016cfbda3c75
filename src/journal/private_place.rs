//! Whether another user could have put something where we keep what we act on.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Group, Uid, User};

/// Returns the owner and mode of an entry that a user other than root and the current user can write; `None` if no
/// other user can write it.
pub(crate) fn written_by_others(found: &Metadata) -> Option<(u32, u32)> {
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let trusted = owner == 0 || owner == nix::unistd::geteuid().as_raw();
    let by_group = mode & 0o020 != 0 && !is_private_group(owner, found.gid());
    (!trusted || by_group || mode & 0o002 != 0).then_some((owner, mode))
}

/// Whether a group has the name of the user `owner`, and no other member: many systems give each user such a group. Returns
/// false for an unknown group.
fn is_private_group(owner: u32, group: u32) -> bool {
    let (Ok(Some(user)), Ok(Some(group))) =
        (User::from_uid(Uid::from_raw(owner)), Group::from_gid(Gid::from_raw(group)))
    else {
        return false;
    };
    user.gid == group.gid
        && user.name == group.name
        && group.mem.iter().all(|member| *member == user.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_group_that_can_write_is_another_user_unless_it_is_the_owners_own() {
        let dir = tempfile::tempdir().unwrap();
        let with_mode = |mode| {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            written_by_others(&dir.path().metadata().unwrap())
        };
        assert_eq!(with_mode(0o700), None);
        assert_eq!(with_mode(0o755), None);
        assert!(with_mode(0o702).is_some());
        let me = nix::unistd::geteuid().as_raw();
        let private = is_private_group(me, dir.path().metadata().unwrap().gid());
        assert_eq!(with_mode(0o770).is_none(), private);
        // A group without a name, and one of other users.
        for group in [54_321, 100] {
            if chown(dir.path(), None, Some(group)).is_ok() {
                assert!(with_mode(0o770).is_some(), "{group}");
                assert_eq!(with_mode(0o750), None);
            }
        }
        assert!(!is_private_group(54_321, 54_321));
    }
}
