//! The `user.xdedup.*` attributes report the fate of a file to `getfattr -d` and scripts.
//!
//! | attribute | says |
//! |---|---|
//! | `state` | `kept`, `linked` (replaced on its own disk), `moved` (its name goes to the master's disk) or `refused` |
//! | `branch.now`, `branch.then` | the root of the branch it is on now, and after; of a directory all, separated by `:` |
//! | `master` | the pool path of the copy that stays, also on that copy itself |
//! | `bytes` | what becomes free with its last name, where it is replaced; what stays in use, where it is refused |
//! | `reason`, `detail`, `hint` | why it is refused, what was found, and what to do |

use std::os::unix::ffi::OsStringExt;

use super::view::{Fate, Refused};
use crate::plan::OpKind;
use crate::plan::refusal::Reason;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// The prefix of each attribute name.
pub const PREFIX: &str = "user.xdedup.";

/// Names and values.
pub(super) type Tags = Vec<(&'static str, Vec<u8>)>;

/// The tags of a file.
pub(super) fn of_file(
    pool: &Pool,
    fate: Fate<'_>,
    now: Option<BranchIdx>,
    then: Option<BranchIdx>,
) -> Tags {
    let mut tags = Tags::new();
    let state = match fate {
        Fate::Kept | Fate::Master(_) => "kept",
        Fate::Replaced(replacement, _) => match replacement.kind {
            OpKind::Cross => "moved",
            OpKind::Local => "linked",
        },
        Fate::Changed(_) | Fate::Refused(_) => "refused",
    };
    tags.push(("state", state.into()));
    for (name, branch) in [("branch.now", now), ("branch.then", then)] {
        tags.extend(branch.map(|branch| (name, root(pool, branch))));
    }
    match fate {
        Fate::Kept => {}
        Fate::Master(name) => tags.push(("master", pool_path(pool, name))),
        Fate::Replaced(replacement, _) => {
            tags.push(("master", pool_path(pool, &replacement.known_as)));
            tags.push(("bytes", replacement.bytes.to_string().into()));
        }
        Fate::Changed(replacement) => {
            let changed = Refused {
                reason: Reason::Changed,
                master: Some(replacement.known_as.clone()),
                detail: "since the plan was made".to_owned(),
                bytes: replacement.bytes,
            };
            refused(&mut tags, pool, &changed);
        }
        Fate::Refused(why) => refused(&mut tags, pool, why),
    }
    tags
}

/// The tags of a directory.
pub(super) fn of_directory(pool: &Pool, now: &[BranchIdx], then: &[BranchIdx]) -> Tags {
    let roots = |branches: &[BranchIdx]| {
        let roots: Vec<_> = branches.iter().map(|branch| root(pool, *branch)).collect();
        roots.join(&b':')
    };
    vec![("state", "kept".into()), ("branch.now", roots(now)), ("branch.then", roots(then))]
}

fn refused(tags: &mut Tags, pool: &Pool, why: &Refused) {
    tags.push(("reason", why.reason.as_str().into()));
    tags.push(("hint", why.reason.hint().into()));
    if !why.detail.is_empty() {
        tags.push(("detail", why.detail.clone().into()));
    }
    if why.bytes > 0 {
        tags.push(("bytes", why.bytes.to_string().into()));
    }
    if let Some(master) = &why.master {
        tags.push(("master", pool_path(pool, master)));
    }
}

fn root(pool: &Pool, branch: BranchIdx) -> Vec<u8> {
    let root = pool.branches.get(branch.index());
    root.map_or_else(Vec::new, |branch| branch.path.clone().into_os_string().into_vec())
}

fn pool_path(pool: &Pool, path: &RelPath) -> Vec<u8> {
    pool.path_of(path).into_os_string().into_vec()
}
