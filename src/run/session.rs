//! The real site: a mergerfs pool with its branches held open.

use std::path::Path;

use super::{RunError, Site, find_pool};
use crate::find::facts;
use crate::fs;
use crate::fs::real::{RealFs, Space};
use crate::journal::BranchRecord;
use crate::plan::BranchFacts;
use crate::pool::lock::{LockError, PoolLock};
use crate::pool::{BranchIdx, Pool, mergerfs};

/// A pool with its branches held open.
pub struct Session {
    /// The pool.
    pub pool: Pool,
    /// The calls on its branches.
    pub fs: RealFs,
    /// The facts that the plan needs of each branch, in branch order.
    pub facts: Vec<BranchFacts>,
}

impl Session {
    /// Opens every branch of `pool`.
    ///
    /// # Errors
    /// When a branch is an empty mount point, or cannot be opened or looked at.
    pub fn open(pool: Pool) -> Result<Self, RunError> {
        for branch in &pool.branches {
            if mergerfs::awaits_mount(&branch.path) {
                let branch = branch.path.clone();
                return Err(RunError::NotMounted { branch });
            }
        }
        let fs = RealFs::open(&pool.branches)?;
        let facts = facts::branch_facts(&fs, &pool)?;
        Ok(Self { pool, fs, facts })
    }

    /// Checks that every branch lies below `root`.
    ///
    /// # Errors
    /// When a branch does not lie below `root`, or `root` cannot be looked up.
    pub(super) fn all_below(&self, root: &Path) -> Result<(), RunError> {
        let real = root
            .canonicalize()
            .map_err(|error| RunError::NoPoolRoot { root: root.to_path_buf(), error })?;
        let mut branches = self.pool.branches.iter();
        match branches.find(|branch| !branch.path.starts_with(&real)) {
            None => Ok(()),
            Some(branch) => Err(RunError::OutsideRoot { branch: branch.path.clone(), root: real }),
        }
    }
}

impl Site for Session {
    type Fs = RealFs;
    type Lock = PoolLock;

    fn fs(&self) -> &RealFs {
        &self.fs
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn facts(&self) -> &[BranchFacts] {
        &self.facts
    }

    fn branch_records(&self) -> Vec<BranchRecord> {
        facts::branch_records(&self.fs, &self.pool.branches)
    }

    fn departed(&self) -> Vec<BranchIdx> {
        let Ok(Some(now)) = find_pool::mounted_at(&self.pool.mount) else {
            return Vec::new();
        };
        let listed = |branch: &BranchIdx| {
            let path = &self.pool.branches[branch.index()].path;
            now.branches.iter().any(|known| known.path == *path)
        };
        self.pool.indices().filter(|b| !listed(b)).collect()
    }

    fn open_files_max(&self) -> usize {
        self.fs.open_files_max()
    }

    fn space(&self, branch: BranchIdx) -> fs::Result<Space> {
        self.fs.space(branch)
    }

    fn pool_changed(&self) -> Option<String> {
        match mergerfs::branches_raw(&self.pool) {
            Ok(raw) if raw == self.pool.branches_raw => None,
            Ok(_) => Some("its list of branches is another one now".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn note(&self, branch: BranchIdx) -> Option<Vec<u8>> {
        self.fs.note(branch).unwrap_or_else(|error| {
            tracing::debug!(%error, "no note");
            None
        })
    }

    fn set_note(&self, branch: BranchIdx, note: &[u8]) {
        if self.facts[branch.index()].read_only {
            return;
        }
        if let Err(error) = self.fs.set_note(branch, note) {
            tracing::debug!(%error, "the disk takes no note of the run");
        }
    }

    fn lock(&self) -> Result<PoolLock, LockError> {
        PoolLock::acquire(self.pool.branches.iter().map(|b| b.path.clone()))
    }
}
