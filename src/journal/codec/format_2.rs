//! Reads records of formats 1 and 2, whose intents have no handles.
//!
//! These types never change. They become records of format 3, and share its types.

use serde::Deserialize;
#[cfg(test)]
use serde::Serialize;

use super::format_3;
use crate::fs::{Handle, Metadata, Timestamp};
use crate::journal::record::{RecordedFile, RunEnded};
use crate::plan::{DirIntent, Found, OpId, OpKind};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct Body {
    pub(in crate::journal) time: Timestamp,
    pub(in crate::journal) record: Record,
}

/// The variants in the order of [`format_3::Record`]: a stored record holds its variant's place in this order.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) enum Record {
    RunStarted(format_3::RunStarted),
    Intent(Box<Intent>),
    Retired { op: OpId },
    Done { op: OpId, reclaimed: u64 },
    Restored { op: OpId, why: String },
    Conflict { op: OpId, why: String, left: Vec<(BranchIdx, RelPath)> },
    RunEnded(RunEnded),
    UndoStarted(format_3::UndoStarted),
    UndoIntent(Box<UndoIntent>),
    Copied { op: OpId, ino: u64, btime: Option<Timestamp> },
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct UndoIntent {
    pub(in crate::journal) undoes: OpId,
    pub(in crate::journal) intent: Intent,
    pub(in crate::journal) copy: RelPath,
    pub(in crate::journal) sparse: bool,
    pub(in crate::journal) emptied: Vec<RelPath>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct Intent {
    pub(in crate::journal) op: OpId,
    pub(in crate::journal) kind: OpKind,
    pub(in crate::journal) master: RecordedFile,
    pub(in crate::journal) duplicate: RecordedFile,
    pub(in crate::journal) metadata: Metadata,
    pub(in crate::journal) atime: Timestamp,
    pub(in crate::journal) blake3: [u8; 32],
    pub(in crate::journal) bytes: u64,
    pub(in crate::journal) names: Vec<NameIntent>,
    pub(in crate::journal) dirs: Vec<DirIntent>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct NameIntent {
    pub(in crate::journal) path: RelPath,
    pub(in crate::journal) from: BranchIdx,
    pub(in crate::journal) to: BranchIdx,
    pub(in crate::journal) found: Found,
}

impl From<Record> for format_3::Record {
    fn from(old: Record) -> Self {
        match old {
            Record::RunStarted(started) => Self::RunStarted(started),
            Record::Intent(intent) => Self::Intent(Box::new((*intent).into())),
            Record::Retired { op } => Self::Retired { op },
            Record::Done { op, reclaimed } => Self::Done { op, reclaimed },
            Record::Restored { op, why } => Self::Restored { op, why },
            Record::Conflict { op, why, left } => Self::Conflict { op, why, left },
            Record::RunEnded(ended) => Self::RunEnded(ended),
            Record::UndoStarted(started) => Self::UndoStarted(started),
            Record::UndoIntent(undo) => Self::UndoIntent(Box::new((*undo).into())),
            Record::Copied { op, ino, btime } => {
                Self::Copied { op, ino, btime, handle: Handle::default() }
            }
        }
    }
}

impl From<UndoIntent> for format_3::UndoIntent {
    fn from(old: UndoIntent) -> Self {
        Self {
            undoes: old.undoes,
            intent: old.intent.into(),
            copy: old.copy,
            sparse: old.sparse,
            emptied: old.emptied,
            source: None,
        }
    }
}

impl From<Intent> for format_3::Intent {
    fn from(old: Intent) -> Self {
        Self {
            op: old.op,
            kind: old.kind,
            master: old.master,
            master_handle: Handle::default(),
            duplicate: old.duplicate,
            duplicate_handle: Handle::default(),
            master_metadata: None,
            master_links: None,
            metadata: old.metadata,
            atime: old.atime,
            blake3: old.blake3,
            bytes: old.bytes,
            names: old.names.into_iter().map(Into::into).collect(),
            dirs: old.dirs,
            salvaged: false,
        }
    }
}

impl From<NameIntent> for crate::journal::NameIntent {
    fn from(old: NameIntent) -> Self {
        Self {
            path: old.path,
            from: old.from,
            from_dir: Handle::default(),
            to: old.to,
            to_dir: Handle::default(),
            found: old.found,
        }
    }
}
