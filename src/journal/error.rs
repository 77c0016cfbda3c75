//! Why the journal cannot be used, or no longer.

use std::io;
use std::path::PathBuf;

/// Why the journal cannot be used, or no longer.
///
/// Whatever it is: nothing on a branch may be changed after it (invariant 8).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process has it open.
    #[error("the journal is in use by another process: {path:?}")]
    Locked {
        /// The journal directory.
        path: PathBuf,
    },
    /// The stored data differs from the data written, or a part of it is missing.
    #[error("the journal is damaged: {path:?}: {what}")]
    Damaged {
        /// The journal directory, or the file in it.
        path: PathBuf,
        /// The mismatch found.
        what: String,
    },
    /// A newer version of this program wrote the journal.
    #[error("the journal was written by a newer version (format {version}): {path:?}")]
    NewerVersion {
        /// The journal directory, or the file in it.
        path: PathBuf,
        /// The format it has.
        version: u32,
    },
    /// The directory holds something else.
    #[error("not a journal, and not empty: {path:?}")]
    NotAJournal {
        /// The directory.
        path: PathBuf,
    },
    /// The CSV log was to be written to a file that holds something else.
    #[error("not a log of this program: {path:?}")]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// Another user can write in the journal: a user who runs recovery would do anything the other user wrote there.
    #[error("another user can write in the journal: {path:?} (owner {owner}, mode {mode:04o})")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// The directory is a mount point, which cannot be replaced by a finished journal.
    #[error("a journal cannot be made where a filesystem is mounted: {path:?}")]
    MountPoint {
        /// The directory.
        path: PathBuf,
    },
    /// The filesystem of the journal is full, or nearly.
    #[error(
        "not enough free space for the journal: {path:?} ({} MiB free, {} MiB needed)",
        free >> 20,
        needed.div_ceil(1 << 20)
    )]
    NoSpace {
        /// The journal directory, or the file in it.
        path: PathBuf,
        /// Bytes that are free there.
        free: u64,
        /// Bytes that must be free before this program begins anything.
        needed: u64,
    },
    /// There is no journal, and none can be made.
    #[error("cannot make the journal {path:?}: {why}")]
    NotMade {
        /// The directory that it was to have.
        path: PathBuf,
        /// The kernel's error.
        why: io::Error,
    },
    /// There is no copy of it to look at: nothing is wrong with the journal itself.
    #[error("cannot copy the journal to look at it: {path:?}")]
    NotCopied {
        /// The journal directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {what}: {path:?}")]
    Io {
        /// The action tried, as a verb phrase.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// An earlier call failed. Until the journal is opened again, this program does not know which of the call's
    /// records are stored: a second fsync can report success after the write was lost.
    #[error("the journal failed earlier and is closed")]
    Poisoned,
    /// A record that cannot follow the earlier records: a bug of this program.
    #[error("the record does not follow from the journal: {0}")]
    Unexpected(String),
    /// A record too long to be stored.
    #[error("the record is too long for the journal: {bytes} bytes")]
    TooLong {
        /// Its encoded length.
        bytes: usize,
    },
}

impl JournalError {
    /// What the user can do about the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Locked { .. } => {
                Some("wait until the other mergerfs.xdedup has ended; one process a journal")
            }
            Self::Damaged { .. } => Some(
                "nothing was changed; restore the journal directory from a backup, or: `mergerfs.xdedup resume --salvage` \
                 finishes or puts back, from the CSV log and from what is on the branches, what it had open",
            ),
            Self::NewerVersion { .. } => {
                Some("use the version of mergerfs.xdedup that wrote it, or a newer one")
            }
            Self::NotAJournal { .. } => Some("name an empty or a new directory with --journal"),
            Self::NotALog { .. } => Some("name a new file with --log-file"),
            Self::Foreign { .. } => Some(
                "if nobody else has written there: chown it to yourself and chmod 700; else name another with --journal",
            ),
            Self::MountPoint { .. } => {
                Some("name a directory below it with --journal; it is made if it is not there")
            }
            Self::NoSpace { .. } => Some(
                "free some space there, or move its directory and name the new place with --journal",
            ),
            Self::NotMade { .. } => Some("name a directory that you may write to with --journal"),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run it as the user whose journal this is, or name another with --journal")
            }
            Self::Io { .. } | Self::Poisoned => {
                Some("once the cause is gone, `mergerfs.xdedup resume` finishes what was begun")
            }
            Self::NotCopied { .. } => Some(
                "make room for a copy where TMPDIR says, or look with `mergerfs.xdedup status`",
            ),
            Self::Unexpected(_) | Self::TooLong { .. } => None,
        }
    }

    /// Whether the journal itself cannot be believed (exit 4), as against an environment that is in the way.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::NewerVersion { .. })
    }
}
