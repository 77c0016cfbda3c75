//! Why a run ended before it completed the request.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::execute;
use crate::find::filter::GlobError;
use crate::find::list::InputError;
use crate::find::scan::ScanError;
use crate::fs::{FsError, Timestamp};
use crate::journal::{JournalError, rfc3339};
use crate::pool::lock::LockError;
use crate::pool::mergerfs::PoolError;

/// An error of a [`Watcher`](super::Watcher).
pub type WatcherError = Box<dyn Error + Send + Sync>;

/// What has to change before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request, or its list of duplicates.
    Request,
    /// The machine: the pool, its branches, another program.
    Environment,
    /// The journal.
    Journal,
}

/// Why a run ended early. The journal has every op that was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The pool cannot be used.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A call on a branch failed.
    #[error(transparent)]
    Branch(#[from] FsError),
    /// Another run has the pool.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The list of duplicates cannot be used.
    #[error(transparent)]
    List(#[from] InputError),
    /// The journal cannot be used, or failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The branches of the pool are no longer the branches of the plan.
    #[error("the pool changed: {0}")]
    PoolChanged(String),
    /// The watcher ended the run.
    #[error(transparent)]
    Watcher(WatcherError),
    /// A branch is an empty mount point.
    #[error("the disk of branch {branch:?} is not mounted")]
    NotMounted {
        /// The root of the branch.
        branch: PathBuf,
    },
    /// A branch is not the branch that the journal knows.
    #[error("branch {branch:?} is not the {what} it was in run {run} (is the disk mounted?)")]
    OtherBranch {
        /// "filesystem" or "directory".
        what: &'static str,
        /// The root of the branch.
        branch: PathBuf,
        /// The newest run on the pool.
        run: u64,
    },
    /// A run was recorded on a disk, and the journal ends before it.
    #[error(
        "run {run} changed branch {branch:?}, and the journal ends with run {newest}: it is an older copy"
    )]
    OldJournal {
        /// The root of the branch.
        branch: PathBuf,
        /// The run that the journal lacks.
        run: u64,
        /// The newest run of the journal.
        newest: u64,
    },
    /// A run that was recorded on a disk is another one in the journal.
    #[error(
        "run {run} of branch {branch:?} is not the run {run} of the journal: another copy of the journal was used"
    )]
    OtherJournal {
        /// The root of the branch.
        branch: PathBuf,
        /// The run.
        run: u64,
    },
    /// The disk of the journal became full while files were under way.
    #[error("{0}: the run stopped in the middle")]
    NoSpaceLeft(JournalError),
    /// A journal left hidden files on the disks, and no journal is at the place of the journal.
    #[error("no journal is at {dir:?}, and journal {journal:08x} left the hidden file {at:?}")]
    JournalGone {
        /// Where no journal is.
        dir: PathBuf,
        /// The pool.
        pool: PathBuf,
        /// The id of the journal that made the name.
        journal: u32,
        /// A hidden file.
        at: PathBuf,
    },
    /// The clock is far behind the newest run.
    #[error("the clock says {}, and run {run} began at {}: the clock was set back", rfc3339(*now), rfc3339(*then))]
    ClockBack {
        /// The time now.
        now: Timestamp,
        /// The newest run.
        run: u64,
        /// When it began.
        then: Timestamp,
    },
    /// The pool root of the request does not exist.
    #[error("cannot look up --pool-root {root:?}: {error}")]
    NoPoolRoot {
        /// The pool root.
        root: PathBuf,
        /// The error of the kernel.
        error: io::Error,
    },
    /// A branch lies outside of the pool root of the request.
    #[error("branch {branch:?} does not lie below the pool root {root:?}")]
    OutsideRoot {
        /// The root of the branch.
        branch: PathBuf,
        /// The pool root.
        root: PathBuf,
    },
    /// A place that must lie outside of the pool lies in the pool.
    #[error("the {what} {place:?} lies in the pool or a branch: {root:?}")]
    InsidePool {
        /// The purpose of the place.
        what: &'static str,
        /// The place.
        place: PathBuf,
        /// The mount point of the pool, or the root of a branch.
        root: PathBuf,
    },
    /// The request names no directory for the journal.
    #[error("no place for the journal: neither XDG_STATE_HOME nor HOME is set")]
    NoJournalPlace,
    /// The list cannot be opened.
    #[error("cannot open the list {path:?}: {error}")]
    OpenList {
        /// The list.
        path: PathBuf,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The list is a directory.
    #[error("the list {0:?} is a directory")]
    ListIsDirectory(PathBuf),
    /// The request names several directories to find the pool of a list by.
    #[error("with -m, name at most one directory: the pool")]
    ManyPools,
    /// No mergerfs pool is mounted.
    #[error("no mergerfs pool is mounted here")]
    NoPool,
    /// The list has no path on a pool.
    #[error("no path of the list lies on a mergerfs pool")]
    NoPathOnPool,
    /// The list has no duplicates, so it names no pool either. That is no failure, unless it names files of which it does
    /// not say whether they are equal.
    #[error("nothing to do: the list has no duplicates")]
    NothingListed {
        /// Those files.
        unread: Vec<Vec<u8>>,
    },
    /// Relative paths of the list cannot be resolved.
    #[error("no current directory: {0}")]
    NoCurrentDirectory(io::Error),
    /// The branches of the request are no branch list.
    #[error("--branches: {0}")]
    BranchList(PoolError),
    /// The request names no directory to scan.
    #[error("no directory to scan")]
    NoDirectory,
    /// No path of the only files to replace lies on a pool.
    #[error("{0:?} is not on a mergerfs pool that is mounted here")]
    OnlyElsewhere(PathBuf),
    /// The request names no file of the only files to replace.
    #[error("nothing to do: no file was named")]
    NothingNamed,
    /// A directory to scan is no directory.
    #[error("not a directory: {0:?}")]
    NotADirectory(PathBuf),
    /// A directory was named by its path on a disk.
    #[error("{dir:?} is a directory of one disk, and the rules are about the whole pool")]
    OfOneDisk {
        /// The directory.
        dir: PathBuf,
        /// The same directory of the pool, with the files of all disks.
        in_pool: PathBuf,
    },
    /// A directory to scan cannot be looked up.
    #[error("{0}")]
    LookUpDirectory(PoolError),
    /// A directory to scan is not on the pool of the first.
    #[error("{dir:?} is not on the pool {pool:?}")]
    OtherPool {
        /// The directory.
        dir: PathBuf,
        /// The mount point of the pool.
        pool: PathBuf,
    },
    /// A primary cannot be looked up.
    #[error("primary: {0}")]
    LookUpPrimary(PoolError),
    /// A primary is not on the pool.
    #[error("primary {dir:?} is not on the pool {pool:?}")]
    PrimaryElsewhere {
        /// The primary.
        dir: PathBuf,
        /// The mount point of the pool.
        pool: PathBuf,
    },
    /// A glob of the request is invalid.
    #[error("{0}")]
    Glob(GlobError),
    /// Merging relies on a pool that shows the first copy of each path, and this pool shows another copy.
    #[error("--shadows merge: the pool does not show the first copy of a path ({0})")]
    ShowsOther(String),
    /// The scan cannot go on.
    #[error("{0}")]
    Scan(ScanError),
    /// `snapraid` cannot be started.
    #[error("cannot run snapraid diff: {0}")]
    NoSnapraid(io::Error),
    /// Files changed since the last `snapraid sync`.
    #[error("SnapRAID's parity is not up to date; nothing was changed")]
    SyncNeeded,
    /// `snapraid diff` failed.
    #[error("snapraid diff: {status}: {said}")]
    SnapraidDiff {
        /// How `snapraid diff` ended.
        status: ExitStatus,
        /// Its last line on standard error.
        said: String,
    },
    /// The command before the run failed.
    #[error("the command of --pre failed ({0}); nothing was changed")]
    CommandBefore(String),
    /// There is no run to find the pool by.
    #[error("no run is open")]
    NoRunOpen,
}

impl RunError {
    /// Returns what has to change before the next try.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Journal(error) => match error {
                JournalError::Locked { .. }
                | JournalError::Foreign { .. }
                | JournalError::NoSpace { .. }
                | JournalError::NotMade { .. }
                | JournalError::MountPoint { .. } => Fault::Environment,
                JournalError::NotAJournal { .. } | JournalError::NotALog { .. } => Fault::Request,
                _ => Fault::Journal,
            },
            Self::OldJournal { .. }
            | Self::OtherJournal { .. }
            | Self::JournalGone { .. }
            | Self::NoSpaceLeft(_) => Fault::Journal,
            Self::List(_)
            | Self::NoPoolRoot { .. }
            | Self::InsidePool { .. }
            | Self::NoJournalPlace
            | Self::OpenList { .. }
            | Self::ListIsDirectory(_)
            | Self::ManyPools
            | Self::BranchList(_)
            | Self::NoDirectory
            | Self::OnlyElsewhere(_)
            | Self::NothingNamed
            | Self::NotADirectory(_)
            | Self::OfOneDisk { .. }
            | Self::LookUpDirectory(_)
            | Self::OtherPool { .. }
            | Self::LookUpPrimary(_)
            | Self::PrimaryElsewhere { .. }
            | Self::Glob(_) => Fault::Request,
            _ => Fault::Environment,
        }
    }
}

impl From<execute::RunError> for RunError {
    fn from(error: execute::RunError) -> Self {
        match error {
            execute::RunError::Journal(error @ JournalError::NoSpace { .. }) => {
                Self::NoSpaceLeft(error)
            }
            execute::RunError::Journal(error) => Self::Journal(error),
            execute::RunError::PoolChanged(why) => Self::PoolChanged(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_of_the_journal_leaves_nothing_changed_only_before_a_run() {
        let full = || JournalError::NoSpace { path: "/j".into(), free: 0, needed: 1 };
        assert_eq!(RunError::Journal(full()).fault(), Fault::Environment);
        let within = RunError::from(execute::RunError::Journal(full()));
        assert_eq!(within.fault(), Fault::Journal);
    }
}
