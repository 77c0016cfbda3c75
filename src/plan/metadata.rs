//! Which metadata two copies must share before one copy replaces the other.

use crate::fs::Metadata;
use crate::plan::refusal::Reason;

/// The metadata that may differ (`--ignore-metadata`); by default none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IgnoreMetadata {
    /// Owner and group.
    pub owner: bool,
    /// Permission bits.
    pub mode: bool,
    /// The POSIX ACL.
    pub acl: bool,
    /// Extended attributes.
    pub xattr: bool,
}

impl IgnoreMetadata {
    /// Returns the first difference that matters.
    ///
    /// An ACL changes the meaning of the group bits: if ACLs are ignored but modes are not, a differing mask still
    /// shows as a differing mode.
    #[must_use]
    pub fn differs(self, master: &Metadata, duplicate: &Metadata) -> Option<Reason> {
        let owner = (master.uid, master.gid) != (duplicate.uid, duplicate.gid);
        let checks = [
            (!self.owner && owner, Reason::OwnerDiffers),
            (!self.mode && master.mode != duplicate.mode, Reason::ModeDiffers),
            (!self.acl && master.acl != duplicate.acl, Reason::AclDiffers),
            (!self.xattr && master.xattrs != duplicate.xattrs, Reason::XattrDiffers),
        ];
        checks.into_iter().find_map(|(differs, reason)| differs.then_some(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_refused_unless_ignored() {
        let base = Metadata { uid: 1, gid: 1, mode: 0o644, ..Metadata::default() };
        let with = |change: fn(&mut Metadata)| {
            let mut other = base.clone();
            change(&mut other);
            other
        };
        let none = IgnoreMetadata::default();
        let cases = [
            (with(|m| m.gid = 2), Reason::OwnerDiffers, IgnoreMetadata { owner: true, ..none }),
            (with(|m| m.mode = 0o4755), Reason::ModeDiffers, IgnoreMetadata { mode: true, ..none }),
            (
                with(|m| m.acl = Some(vec![2])),
                Reason::AclDiffers,
                IgnoreMetadata { acl: true, ..none },
            ),
            (
                with(|m| drop(m.xattrs.insert(b"user.a".to_vec(), vec![1]))),
                Reason::XattrDiffers,
                IgnoreMetadata { xattr: true, ..none },
            ),
        ];
        for (other, reason, ignore) in cases {
            assert_eq!(none.differs(&base, &other), Some(reason));
            assert_eq!(ignore.differs(&base, &other), None);
        }
        assert_eq!(none.differs(&base, &base.clone()), None);
    }
}
