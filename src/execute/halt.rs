//! Why one op did not go on: a reason for the report, and the consequence for the rest of the run.

use std::fmt;

use crate::fs::FsError;
use crate::plan::Op;
use crate::plan::refusal::Reason;
use crate::pool::BranchIdx;

/// An op that stopped. The caller knows the state of the op; this value only says why it stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// The reason, for the report.
    pub reason: Reason,
    /// The details, with the place.
    pub detail: String,
    /// A branch that nothing more may be done on (invariant 8), and the error it had.
    pub stops: Option<(BranchIdx, String)>,
    /// Worth another try at the end of the run.
    pub again: bool,
}

impl Halt {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), stops: None, again: false }
    }

    pub(crate) fn again(reason: Reason, detail: impl Into<String>) -> Self {
        Self { again: true, ..Self::new(reason, detail) }
    }

    /// Has `op` tried again, as an op that links, where the filesystem makes no clone and links may replace the duplicate.
    pub(crate) fn or_links(self, op: &Op) -> Self {
        let again = self.again || (self.reason == Reason::NoReflink && op.may_link_instead());
        Self { again, ..self }
    }

    /// Returns an op that is to be tried again because of this.
    pub(crate) fn next_try(&self, op: Op) -> Op {
        if self.reason == Reason::NoReflink { op.or_links() } else { op }
    }

    /// Clients removed every path of the files of `op`; the hidden file gets no visible name again.
    pub(crate) fn only_hidden(op: &Op) -> Self {
        let why = match op.undo() {
            // The copy that the clone was made of may be there as before.
            Some(undo) if undo.of_clone => {
                "its path was removed or replaced meanwhile: what was copied is kept under a hidden name"
            }
            _ => {
                "every path with its contents was removed: the last copy is kept under a hidden name"
            }
        };
        Self::new(Reason::Conflict, why)
    }

    /// The copy that an undo makes has the metadata of before the run, and a clone has that of its intent. Removing the names
    /// would lose any change that a client makes to the metadata now.
    pub(crate) fn metadata_changed() -> Self {
        let why = "its owner, mode or attributes were changed meanwhile";
        Self::new(Reason::Changed, why)
    }
}

impl Halt {
    /// As from any error, but an ACL or attributes that do not fit on a filesystem say nothing about the disk.
    pub(crate) fn of_metadata(error: FsError) -> Self {
        let fits = !matches!(
            error.errno(),
            libc::ENOSPC | libc::EDQUOT | libc::E2BIG | libc::ERANGE | libc::EOPNOTSUPP
        );
        let halt = Self::from(error);
        Self { stops: halt.stops.filter(|_| fits), ..halt }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

impl From<FsError> for Halt {
    fn from(error: FsError) -> Self {
        let detail = format!("{error}: {}", error.source);
        if let Some(limit) = error.limit() {
            // It says nothing about the disk, and there may be room later.
            return Self::again(Reason::Io, format!("{detail}: {limit}"));
        }
        match error.errno() {
            libc::EAGAIN => Self::again(Reason::Busy, detail),
            libc::ENOENT | libc::ENOTDIR | libc::EEXIST => Self::new(Reason::Changed, detail),
            libc::ELOOP | libc::EXDEV => Self::new(Reason::Obstructed, detail),
            libc::EMLINK => Self::new(Reason::TooManyLinks, detail),
            libc::EPERM | libc::EACCES => Self::new(Reason::Permission, detail),
            libc::ENAMETOOLONG => Self::new(Reason::Io, detail),
            // The disk, the filesystem, or the room on it: nothing more on this branch.
            _ => Self { stops: Some(error.stops()), ..Self::new(Reason::Io, detail) },
        }
    }
}
