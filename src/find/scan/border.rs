//! Directories of a branch that belong to another filesystem or subvolume: a scan does not enter them, and says so.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Scan;
use crate::fs::Place;
use crate::plan::Refusal;
use crate::plan::refusal::Reason;

/// The refusal for the directory at `place`; `None` if its files are scanned as a branch, are the pool itself, or were left
/// out by the user.
pub(super) fn refusal(scan: &Scan<'_>, place: &Place) -> Option<Refusal> {
    let asked = scan.rules.only.as_ref().is_none_or(|only| only.concerns(&place.path));
    if scan.filter.excludes(&place.path) || !asked {
        return None;
    }
    let branches = &scan.pool.branches;
    let at = real(&branches[place.branch.index()].path).join(place.path.as_path());
    if at == scan.pool.mount || branches.iter().any(|branch| real(&branch.path) == at) {
        return None;
    }
    // The path on the disk: the pool may show a directory of another disk there.
    Some(Refusal::of_path(Reason::OtherFilesystem, at.as_os_str().as_bytes(), ""))
}

/// `root` without symlinks.
fn real(root: &Path) -> PathBuf {
    root.canonicalize().unwrap_or_else(|_| root.to_path_buf())
}
