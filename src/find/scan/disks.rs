//! The disks under the branches of a scan: each disk has a queue of its own.

use std::collections::BTreeMap;

use crate::fs::real::RealFs;
use crate::pool::BranchIdx;

/// A disk with the branches on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// The kernel's name of the disk, for progress.
    pub(super) name: String,
    /// Whether the kernel reports a rotating disk: then reading in order pays, and two readers disturb each other.
    pub(super) rotating: bool,
    /// The branches, in branch order.
    pub(super) branches: Vec<BranchIdx>,
}

/// The disks under the branches `of`.
pub(super) fn under(fs: &RealFs, of: &[BranchIdx]) -> Vec<Disk> {
    let mut disks: BTreeMap<&str, Disk> = BTreeMap::new();
    for &branch in of {
        let found = fs.disk(branch);
        let disk = disks.entry(&found.name).or_insert_with(|| Disk {
            name: found.name.clone(),
            rotating: found.rotating,
            branches: Vec::new(),
        });
        disk.branches.push(branch);
    }
    disks.into_values().collect()
}
