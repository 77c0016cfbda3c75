//! The facts `doctor` collects, as plain values.

use std::path::PathBuf;

use super::filesystem::FilesystemKind;
use crate::pool::BranchMode;
use crate::pool::mergerfs::Description;
use crate::rescue::unsettled::FileNow;
use crate::run::Unfinished;

/// Everything the findings are made from.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The pool as mergerfs describes it.
    pub pool: Description,
    /// The branches in the order mergerfs lists them; one listed twice is there twice.
    pub branches: Vec<BranchFacts>,
    /// A pool path and the branch path mergerfs reports for the pool path, if the branch path leads to another file or
    /// to no file.
    pub elsewhere: Option<(PathBuf, PathBuf)>,
    /// Symlinks on branches that lead to a branch path.
    pub symlinks: Vec<PathBuf>,
    /// The machine, and this process.
    pub host: Host,
    /// Where the journal is, or would be.
    pub journal: JournalPlace,
    /// Other mounts.
    pub around: Surroundings,
}

/// One entry of the branch list.
#[derive(Debug, Clone)]
pub struct BranchFacts {
    /// Its root.
    pub path: PathBuf,
    /// The changes mergerfs allows on the branch.
    pub mode: BranchMode,
    /// mergerfs' own marker of a bare mount point is there.
    pub awaits_mount: bool,
    /// The disk behind the branch path, or why this program cannot look at the disk.
    pub disk: Result<BranchDisk, String>,
}

/// The disk found behind a branch path.
#[derive(Debug, Clone)]
pub struct BranchDisk {
    /// `st_dev` and inode number of the root.
    pub root: (u64, u64),
    /// The mount the root lies on.
    pub mount: u64,
    /// The kind of filesystem.
    pub filesystem: FilesystemKind,
    /// Whether the branch is a mergerfs mount itself.
    pub is_pool: bool,
    /// Whether the root lies on the mount that its parent directory lies on.
    pub on_parent: bool,
    /// Whether nothing is in the root.
    pub empty: bool,
    /// The filesystem or its mount is read-only.
    pub read_only: bool,
    /// Whether the filesystem can be identified after a reboot.
    pub identity: bool,
    /// Whether files there can be made to share blocks (`--link reflink`).
    pub reflinks: bool,
    /// Whether a lease could be had.
    pub leases: Leases,
    /// Files of SnapRAID in the root.
    pub snapraid: Vec<PathBuf>,
    /// Hidden names of this tool.
    pub leftovers: Vec<FileNow>,
    /// Directories that could not be looked into.
    pub unreadable: u64,
    /// The real path, to see branches within each other.
    pub real_path: PathBuf,
}

/// The result of the try to take a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leases {
    /// The filesystem has them.
    Work,
    /// It refused one on this file.
    Refused(PathBuf, String),
    /// No file was found to try it on.
    Untried,
}

/// The machine, and this process.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// `uname -r`.
    pub kernel: String,
    /// `/proc/sys/fs/leases-enable`; `None` where that cannot be read.
    pub leases_enabled: Option<bool>,
    /// Whether this process is root.
    pub root: bool,
}

/// Where the journal is, or would be.
#[derive(Debug, Clone, Default)]
pub struct JournalPlace {
    /// The directory.
    pub dir: PathBuf,
    /// The pool or the branch it lies in.
    pub within: Option<PathBuf>,
    /// The branch whose filesystem it shares.
    pub beside: Option<PathBuf>,
    /// The journal's id, if it has one.
    pub id: Option<u32>,
    /// Runs on the pool that were interrupted and are open in the journal.
    pub unfinished: Vec<Unfinished>,
    /// The kind of filesystem.
    pub filesystem: Option<FilesystemKind>,
    /// Bytes that can be written there.
    pub free: Option<u64>,
    /// Whether this process may write there.
    pub writable: bool,
}

/// Other mounts that concern the pool.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Who sees the pool as several mounts.
    pub partial_views: Vec<PartialView>,
    /// Other pools, with the branches they share with this one.
    pub other_pools: Vec<OtherPool>,
}

/// Processes that see the pool as several mounts: a link between two of them fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialView {
    /// The first of these processes; `None` for this process' own view.
    pub process: Option<(u32, String)>,
    /// Each mount point, with the directory of the pool that the processes see there.
    pub points: Vec<(PathBuf, PathBuf)>,
}

/// Another pool over some of the same branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherPool {
    /// Its mount point.
    pub mount: PathBuf,
    /// The branch both pools have.
    pub branch: PathBuf,
}
