//! The pool: a mergerfs mount and its branches, as plain values.
//!
//! [`mergerfs`] is the only module that talks to mergerfs; [`mountinfo`] reads the mount table.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pool::relpath::RelPath;

pub mod lock;
pub mod mergerfs;
pub mod mountinfo;
pub mod relpath;

/// The place of a branch in branch order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BranchIdx(pub u16);

impl BranchIdx {
    /// As an index into a slice of branches.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The changes mergerfs allows on a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BranchMode {
    /// Read and write.
    Rw,
    /// Read only: never changed.
    Ro,
    /// No creates; links and removals are allowed.
    Nc,
}

/// One branch as the control file lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Branch {
    /// Absolute path of its root.
    pub path: PathBuf,
    /// The changes mergerfs allows on the branch.
    pub mode: BranchMode,
}

/// A mergerfs mount, its branches in branch order (each distinct root once) and the options that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// The mount point.
    pub mount: PathBuf,
    /// mergerfs' version as it reports it; may be `unknown`.
    pub version: String,
    /// The branches, each distinct root once.
    pub branches: Vec<Branch>,
    /// The branch list exactly as the control file reports it, to notice a change at run time.
    pub branches_raw: Vec<u8>,
    /// Whether `func.getattr` is `newest`: directories then show the newest branch's owner and mode.
    pub getattr_newest: bool,
}

impl Pool {
    /// The pool path of `path`.
    #[must_use]
    pub fn path_of(&self, path: &RelPath) -> PathBuf {
        joined(&self.mount, path)
    }

    /// The branch path of `path` on `branch`.
    #[must_use]
    pub fn branch_path(&self, branch: BranchIdx, path: &RelPath) -> PathBuf {
        joined(&self.branches[branch.index()].path, path)
    }

    /// Every branch's index, in branch order.
    pub fn indices(&self) -> impl Iterator<Item = BranchIdx> + use<> {
        (0..u16::try_from(self.branches.len()).unwrap_or(u16::MAX)).map(BranchIdx)
    }
}

#[cfg(test)]
impl Pool {
    /// A pool at `mount` that may write to all of `branches`.
    pub(crate) fn sample(
        mount: &std::path::Path,
        branches: &[impl AsRef<std::path::Path>],
    ) -> Self {
        Self {
            mount: mount.to_path_buf(),
            version: "unknown".to_owned(),
            branches: branches
                .iter()
                .map(|path| Branch { path: path.as_ref().to_path_buf(), mode: BranchMode::Rw })
                .collect(),
            ..Self::default()
        }
    }
}

fn joined(root: &std::path::Path, path: &RelPath) -> PathBuf {
    if path.is_root() { root.to_path_buf() } else { root.join(path.as_path()) }
}
