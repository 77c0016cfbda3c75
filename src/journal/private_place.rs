//! Whether another user could have put something where we keep what we act on.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Returns the owner and mode of an entry that a user other than root and the current user can write; `None` if no
/// other user can write it.
pub(crate) fn written_by_others(found: &Metadata) -> Option<(u32, u32)> {
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let trusted = owner == 0 || owner == nix::unistd::geteuid().as_raw();
    (!trusted || mode & 0o002 != 0).then_some((owner, mode))
}
