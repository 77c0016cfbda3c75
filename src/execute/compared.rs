//! An op whose files were found equal.

use std::sync::Arc;

use crate::fs::{Fingerprint, Metadata, Stat, Timestamp};
use crate::plan::{DirIntent, Op};

/// Both files as they were when their bytes were found equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(super) master: Fingerprint,
    pub(super) duplicate: Fingerprint,
    pub(super) metadata: Metadata,
    pub(super) master_metadata: Metadata,
    pub(super) atime: Timestamp,
    /// The duplicate's inode flags.
    pub(super) flags: Option<u32>,
    pub(super) master_stat: Stat,
    pub(super) duplicate_stat: Stat,
    pub(super) blake3: [u8; 32],
}

/// Both files of an op, open since they were compared.
pub(super) struct Files<H> {
    pub(super) master: Arc<H>,
    pub(super) duplicate: Arc<H>,
}

/// Both files of an op, found equal. Only [`Executor::compare`](super::Executor::compare) makes it.
pub(super) struct Equal<H> {
    pub(super) seen: Seen,
    pub(super) files: Files<H>,
}

/// A planned op whose files were found equal in this run.
pub(super) struct Compared<H> {
    op: Op,
    dirs: Vec<DirIntent>,
    seen: Box<Seen>,
    files: Files<H>,
}

impl<H> Compared<H> {
    /// `dirs` are the directories to be made.
    pub(super) fn new(op: Op, equal: Equal<H>, dirs: Vec<DirIntent>) -> Self {
        Self { op, dirs, seen: Box::new(equal.seen), files: equal.files }
    }

    /// The op as it was planned.
    pub(super) fn op(&self) -> &Op {
        &self.op
    }

    /// Both files as they were.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Directories to be made, outermost first.
    pub(super) fn dirs(&self) -> &[DirIntent] {
        &self.dirs
    }

    /// Both files.
    pub(super) fn files(&self) -> &Files<H> {
        &self.files
    }

    /// The op, the directories, both files as they were, and both files.
    pub(super) fn into_parts(self) -> (Op, Vec<DirIntent>, Box<Seen>, Files<H>) {
        (self.op, self.dirs, self.seen, self.files)
    }
}
