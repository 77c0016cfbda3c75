//! Reads records of format 3, whose runs have no options and whose intents have no inode flags.
//!
//! These types never change. The types they share with later formats get a copy here before they do.

use std::path::PathBuf;

use serde::Deserialize;
#[cfg(test)]
use serde::Serialize;

use crate::fs::{Handle, Metadata, Timestamp};
use crate::journal::record::{self, BranchRecord, NameIntent, RecordedFile, RunEnded};
use crate::plan::{DirIntent, OpId, OpKind};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// The format of these types.
pub(in crate::journal) const VERSION: u8 = 3;

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct Body {
    pub(in crate::journal) time: Timestamp,
    pub(in crate::journal) record: Record,
}

/// The variants in the order of [`record::Record`]: a stored record holds its variant's place in this order.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) enum Record {
    RunStarted(RunStarted),
    Intent(Box<Intent>),
    Retired { op: OpId },
    Done { op: OpId, reclaimed: u64 },
    Restored { op: OpId, why: String },
    Conflict { op: OpId, why: String, left: Vec<(BranchIdx, RelPath)> },
    RunEnded(RunEnded),
    UndoStarted(UndoStarted),
    UndoIntent(Box<UndoIntent>),
    Copied { op: OpId, ino: u64, btime: Option<Timestamp>, handle: Handle },
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct RunStarted {
    pub(in crate::journal) run: u64,
    pub(in crate::journal) version: String,
    pub(in crate::journal) time: Timestamp,
    #[serde(with = "crate::journal::path_bytes")]
    pub(in crate::journal) pool: PathBuf,
    pub(in crate::journal) branches: Vec<BranchRecord>,
    pub(in crate::journal) newest_dirs: bool,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct UndoStarted {
    pub(in crate::journal) run: RunStarted,
    pub(in crate::journal) undoes: u64,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct UndoIntent {
    pub(in crate::journal) undoes: OpId,
    pub(in crate::journal) intent: Intent,
    pub(in crate::journal) copy: RelPath,
    pub(in crate::journal) sparse: bool,
    pub(in crate::journal) emptied: Vec<RelPath>,
    pub(in crate::journal) source: Option<Metadata>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(in crate::journal) struct Intent {
    pub(in crate::journal) op: OpId,
    pub(in crate::journal) kind: OpKind,
    pub(in crate::journal) master: RecordedFile,
    pub(in crate::journal) master_handle: Handle,
    pub(in crate::journal) duplicate: RecordedFile,
    pub(in crate::journal) duplicate_handle: Handle,
    pub(in crate::journal) master_metadata: Option<Metadata>,
    pub(in crate::journal) master_links: Option<u64>,
    pub(in crate::journal) metadata: Metadata,
    pub(in crate::journal) atime: Timestamp,
    pub(in crate::journal) blake3: [u8; 32],
    pub(in crate::journal) bytes: u64,
    pub(in crate::journal) names: Vec<NameIntent>,
    pub(in crate::journal) dirs: Vec<DirIntent>,
    pub(in crate::journal) salvaged: bool,
}

impl From<Record> for record::Record {
    fn from(old: Record) -> Self {
        match old {
            Record::RunStarted(started) => Self::RunStarted(started.into()),
            Record::Intent(intent) => Self::Intent(Box::new((*intent).into())),
            Record::Retired { op } => Self::Retired { op },
            Record::Done { op, reclaimed } => Self::Done { op, reclaimed },
            Record::Restored { op, why } => Self::Restored { op, why },
            Record::Conflict { op, why, left } => Self::Conflict { op, why, left },
            Record::RunEnded(ended) => Self::RunEnded(ended),
            Record::UndoStarted(UndoStarted { run, undoes }) => {
                Self::UndoStarted(record::UndoStarted { run: run.into(), undoes })
            }
            Record::UndoIntent(undo) => Self::UndoIntent(Box::new((*undo).into())),
            Record::Copied { op, ino, btime, handle } => Self::Copied { op, ino, btime, handle },
        }
    }
}

impl From<RunStarted> for record::RunStarted {
    fn from(old: RunStarted) -> Self {
        Self {
            run: old.run,
            version: old.version,
            time: old.time,
            pool: old.pool,
            branches: old.branches,
            newest_dirs: old.newest_dirs,
            options: Vec::new(),
        }
    }
}

impl From<UndoIntent> for record::UndoIntent {
    fn from(old: UndoIntent) -> Self {
        Self {
            undoes: old.undoes,
            intent: old.intent.into(),
            copy: old.copy,
            sparse: old.sparse,
            emptied: old.emptied,
            source: old.source,
        }
    }
}

impl From<Intent> for record::Intent {
    fn from(old: Intent) -> Self {
        Self {
            op: old.op,
            kind: old.kind,
            master: old.master,
            master_handle: old.master_handle,
            duplicate: old.duplicate,
            duplicate_handle: old.duplicate_handle,
            master_metadata: old.master_metadata,
            master_links: old.master_links,
            metadata: old.metadata,
            atime: old.atime,
            flags: None,
            blake3: old.blake3,
            bytes: old.bytes,
            names: old.names,
            dirs: old.dirs,
            salvaged: old.salvaged,
            relinks: None,
        }
    }
}
