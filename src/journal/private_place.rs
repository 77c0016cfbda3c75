//! Whether another user could have put something where we keep what we act on.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Owner and mode of what another user than root and whoever runs this can write; `None` where nobody else can.
pub(crate) fn written_by_others(found: &Metadata) -> Option<(u32, u32)> {
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let trusted = owner == 0 || owner == nix::unistd::geteuid().as_raw();
    (!trusted || mode & 0o002 != 0).then_some((owner, mode))
}
