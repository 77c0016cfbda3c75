//! Where a run takes place: a pool with its branches open. The seam between a run and real disks.

use crate::execute::{Leases, Options};
use crate::fs::real::Space;
use crate::fs::{self, Change, Look};
use crate::journal::{BranchRecord, RunStarted, RunSummary};
use crate::plan::BranchFacts;
use crate::plan::metadata::IgnoreMetadata;
use crate::pool::lock::LockError;
use crate::pool::{BranchIdx, Pool};

use super::RunError;

/// Names of the ops that share a barrier: enough that all disks have work between two of them, few enough to stop soon.
const BATCH_NAMES: usize = 4_096;
/// Open files and directories that a name in a batch takes, at most: both of its files, those made of them, its directories.
const FILES_OF_NAME: usize = 8;
/// Bytes compared or copied before a barrier; recovery after a crash reads these again.
const BATCH_BYTES: u64 = 4 << 30;

/// A pool with its branches open. [`Session`](super::Session) is the real one.
pub trait Site {
    /// The calls on branches.
    type Fs: Change;
    /// Keeps other runs away from the pool until it is dropped.
    type Lock;

    /// Returns the calls on branches.
    fn fs(&self) -> &Self::Fs;

    /// Returns the pool.
    fn pool(&self) -> &Pool;

    /// Returns the facts that the plan needs of each branch, in branch order.
    fn facts(&self) -> &[BranchFacts];

    /// Returns the branches as the journal records them, in branch order.
    fn branch_records(&self) -> Vec<BranchRecord>;

    /// Returns the branches that runs used and the mounted pool no longer lists.
    fn departed(&self) -> Vec<BranchIdx> {
        Vec::new()
    }

    /// Returns how many files and directories a batch may have open.
    fn open_files_max(&self) -> usize {
        usize::MAX
    }

    /// Measures the room on a branch.
    ///
    /// # Errors
    /// The error of the kernel.
    fn space(&self, branch: BranchIdx) -> fs::Result<Space>;

    /// Returns why the pool is no longer as it was when it was opened, if it is not.
    fn pool_changed(&self) -> Option<String>;

    /// Returns the note that earlier runs left on a branch, if it has one and can be read.
    fn note(&self, _branch: BranchIdx) -> Option<Vec<u8>> {
        None
    }

    /// Leaves a note on a branch. A branch that takes none stays without.
    fn set_note(&self, _branch: BranchIdx, _note: &[u8]) {}

    /// Locks the pool.
    ///
    /// # Errors
    /// When another run has the pool, or the lock cannot be taken.
    fn lock(&self) -> Result<Self::Lock, LockError>;
}

/// Returns the record that run number `run` on `site` begins with, now.
pub(super) fn run_started(site: &impl Site, run: u64, options: &[Vec<u8>]) -> RunStarted {
    RunStarted {
        run,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: site.fs().now(),
        pool: site.pool().mount.clone(),
        branches: site.branch_records(),
        newest_dirs: site.pool().getattr_newest,
        options: options.to_vec(),
    }
}

/// Returns how ops are carried out on `site`.
pub(super) fn options(site: &impl Site, ignore: IgnoreMetadata, leases: Leases) -> Options {
    Options {
        branches: site.branch_records(),
        departed: site.departed(),
        ignore,
        leases,
        newest_dirs: site.pool().getattr_newest,
        scanned: None,
        batch_names: (site.open_files_max() / FILES_OF_NAME).clamp(1, BATCH_NAMES),
        batch_bytes: BATCH_BYTES,
    }
}

/// Measures the room on every branch, in branch order; `None` where a branch cannot be asked.
pub(super) fn spaces(site: &impl Site) -> Vec<Option<Space>> {
    let indices = site.pool().indices();
    indices.map(|branch| site.space(branch).ok()).collect()
}

/// Checks that each branch is the directory and filesystem that it was in the newest of `runs` on this pool: a disk
/// that is not mounted leaves its mount point, an empty directory of the disk below.
///
/// # Errors
/// [`RunError::OtherBranch`].
pub(crate) fn same_as_before<'j>(
    site: &impl Site,
    mut runs: impl DoubleEndedIterator<Item = &'j RunSummary>,
) -> Result<(), RunError> {
    let last = runs.rfind(|run| run.started.pool == site.pool().mount);
    let Some(last) = last else { return Ok(()) };
    for now in site.branch_records() {
        let before = last.started.branches.iter().find(|b| b.path == now.path);
        let Some(before) = before else { continue };
        if (before.fs, before.root_ino) != (now.fs, now.root_ino) {
            let what = if before.fs == now.fs { "directory" } else { "filesystem" };
            return Err(RunError::OtherBranch { what, branch: now.path, run: last.started.run });
        }
    }
    Ok(())
}
