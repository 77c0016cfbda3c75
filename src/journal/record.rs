//! The journal's records: one value a fact, complete enough to recover from alone (invariant 3).
//!
//! Stored encoding: see `codec.rs`. Adding a variant or field means a new version there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fs::{FsId, StoredId};
use crate::fs::{Handle, Metadata, Timestamp};
use crate::plan::{DirIntent, Found, OpId, OpKind};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, BranchMode};

/// A fact, in the order they become true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A run began; all records of the run refer to these branches.
    RunStarted(RunStarted),
    /// An op is about to be done; no part of the op has been done.
    Intent(Box<Intent>),
    /// Every name of the duplicate was moved to its retired name and found unchanged there.
    Retired {
        /// The op.
        op: OpId,
    },
    /// The duplicate is gone, the replacement stays.
    Done {
        /// The op.
        op: OpId,
        /// Bytes that became free (`st_blocks` × 512; 0 while the inode has other names or holders).
        reclaimed: u64,
    },
    /// Everything is as it was before the op; no name of ours is left.
    Restored {
        /// The op.
        op: OpId,
        /// Why the op was put back.
        why: String,
    },
    /// Another program changed things meanwhile; nothing was removed, both copies stay.
    Conflict {
        /// The op.
        op: OpId,
        /// The conflict found.
        why: String,
        /// Where the duplicate is now, if not at its own name.
        left: Vec<(BranchIdx, RelPath)>,
    },
    /// A run ended in good order.
    RunEnded(RunEnded),
    /// A run began that takes back what an earlier one did (since format 2, as all that follow).
    UndoStarted(UndoStarted),
    /// A done op is about to be undone; nothing has been changed for the undo.
    UndoIntent(Box<UndoIntent>),
    /// The copy that an undo makes is complete and on stable storage under its hidden name.
    Copied {
        /// The op.
        op: OpId,
        /// Its inode number.
        ino: u64,
        /// Its birth, where the filesystem has one.
        btime: Option<Timestamp>,
        /// Finds the copy again if a client renames it while no process runs; empty if unknown (since format 3).
        handle: Handle,
    },
    /// A run began that takes back an undo: it links again (since format 4).
    RelinkStarted(UndoStarted),
    /// Two files share their blocks now, and stay two files: an op without an intent, of which nothing can be open (since
    /// format 5).
    Shared(Box<SharedRecord>),
    /// An op that clones the kept copy is about to be done; no part of the op has been done (since format 6).
    ReflinkIntent(Box<ReflinkIntent>),
    /// As `UndoIntent`, for an op that made a clone: all names of the clone are names of the op, and the clone goes (since
    /// format 6).
    UndoReflinkIntent(Box<UndoIntent>),
    /// The contents of two files that share their blocks; follows the record that says so (since format 6).
    SharedContents {
        /// The op.
        op: OpId,
        /// The contents of both.
        blake3: [u8; 32],
    },
}

/// All there is to know of an op whose master is a clone, before the clone is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReflinkIntent {
    /// The op. The master's inode number is 0 until the clone is made; the clone gets `metadata`, `atime` and the duplicate's
    /// mtime.
    pub intent: Intent,
    /// The hidden name the clone is made under, on the master's branch.
    pub copy: RelPath,
    /// The kept copy that is cloned.
    pub source: RecordedFile,
}

/// An op that let two files share their blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRecord {
    /// The op.
    pub op: OpId,
    /// The file whose blocks both have now.
    pub master: RecordedFile,
    /// The file that had others.
    pub duplicate: RecordedFile,
    /// The names of that file.
    pub names: Vec<(BranchIdx, RelPath)>,
    /// Bytes that became free.
    pub reclaimed: u64,
}

/// A run that undoes an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoStarted {
    /// What the run was started on.
    pub run: RunStarted,
    /// The run whose ops this run undoes.
    pub undoes: u64,
}

/// All there is to know of an op that undoes another, before anything is done.
///
/// An undo op is an op like any other, with the roles the other way round: the file that comes back is the op's master,
/// and the op's duplicate loses the names that were replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoIntent {
    /// The op that is undone.
    pub undoes: OpId,
    /// The op. The master's inode number is 0 until the master is copied; the copy gets `metadata`, `atime` and the
    /// master's mtime.
    pub intent: Intent,
    /// The hidden name the copy is made under, on the master's branch.
    pub copy: RelPath,
    /// Whether zeros become holes: the file that comes back had fewer blocks than bytes.
    pub sparse: bool,
    /// Directories of the duplicate's branch that runs have made above the names, innermost first: removed where empty.
    pub emptied: Vec<RelPath>,
    /// Owner, mode, ACL and attributes of the file that stays when the undo began: a client's later change is noticed
    /// (since format 3).
    pub source: Option<Metadata>,
}

/// What an op of an undo takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoOf {
    /// Links.
    Links(UndoIntent),
    /// A clone.
    Clone(UndoIntent),
}

impl UndoOf {
    /// Returns the intent.
    #[must_use]
    pub fn intent(&self) -> &UndoIntent {
        match self {
            Self::Links(undo) | Self::Clone(undo) => undo,
        }
    }
}

impl From<Intent> for Record {
    fn from(intent: Intent) -> Self {
        Self::Intent(Box::new(intent))
    }
}

impl From<ReflinkIntent> for Record {
    fn from(reflink: ReflinkIntent) -> Self {
        Self::ReflinkIntent(Box::new(reflink))
    }
}

impl From<UndoOf> for Record {
    fn from(of: UndoOf) -> Self {
        match of {
            UndoOf::Links(undo) => Self::UndoIntent(Box::new(undo)),
            UndoOf::Clone(undo) => Self::UndoReflinkIntent(Box::new(undo)),
        }
    }
}

/// What a run was started on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The run.
    pub run: u64,
    /// This program's version.
    pub version: String,
    /// When.
    pub time: Timestamp,
    /// The pool's mount point.
    #[serde(with = "super::path_bytes")]
    pub pool: PathBuf,
    /// The branches in branch order, as found at the start.
    pub branches: Vec<BranchRecord>,
    /// Whether cloned directories take after the newest branch's (`func.getattr=newest`), not the first's.
    pub newest_dirs: bool,
    /// The words of the command line that say what was to be done; empty if unknown (since format 4).
    pub options: Vec<Vec<u8>>,
}

/// A branch as a run found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchRecord {
    /// Its path.
    #[serde(with = "super::path_bytes")]
    pub path: PathBuf,
    /// Its mode.
    pub mode: BranchMode,
    /// The branch's filesystem, if known (no op touches a branch without a known filesystem).
    pub fs: Option<FsId>,
    /// The inode number of its root.
    pub root_ino: u64,
}

impl BranchRecord {
    /// Whether both are the same directory of the same filesystem, whatever the directory's path and device are now.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.fs.is_some() && self.fs == other.fs && self.root_ino == other.root_ino
    }
}

/// All there is to know of one op before anything is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The op.
    pub op: OpId,
    /// Cross or local.
    pub kind: OpKind,
    /// The copy that stays.
    pub master: RecordedFile,
    /// Finds the master again if a client renames it while no process runs; empty if unknown, or if an undo has yet to
    /// make it (since format 3).
    pub master_handle: Handle,
    /// The copy that goes.
    pub duplicate: RecordedFile,
    /// Finds the duplicate again if a client renames it while no process runs; empty if unknown (since format 3, as
    /// are the handles of names).
    pub duplicate_handle: Handle,
    /// The master's metadata: if the metadata changes before a run goes on, the names would get the changed metadata;
    /// `None` if unknown, or if an undo has yet to make the master (since format 3).
    pub master_metadata: Option<Metadata>,
    /// The kept copy's number of names before the op; `None` for an undo and in formats 1 and 2.
    pub master_links: Option<u64>,
    /// The duplicate's metadata, for undo.
    pub metadata: Metadata,
    /// The duplicate's atime, for undo.
    pub atime: Timestamp,
    /// The duplicate's inode flags (`lsattr`), for undo; `None` if unknown, or if the filesystem has none (since format 4).
    pub flags: Option<u32>,
    /// The contents of both.
    pub blake3: [u8; 32],
    /// `st_blocks` × 512 of the duplicate.
    pub bytes: u64,
    /// Every name of the duplicate; hidden names follow from the op and the index here.
    pub names: Vec<NameIntent>,
    /// Directories to be made, outermost first.
    pub dirs: Vec<DirIntent>,
    /// Rebuilt from what a lost journal left, as the user was shown and agreed to: by contents, not by what a run knew
    /// (since format 3).
    pub salvaged: bool,
    /// The op of an undo that this op takes back: it links again what that op took apart (since format 4).
    pub relinks: Option<OpId>,
}

/// One of the two inodes of an op.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// The branch that holds a name of the inode.
    pub branch: BranchIdx,
    /// The name.
    pub path: RelPath,
    /// The inode's identity across reboots.
    pub id: StoredId,
    /// Size in bytes.
    pub size: u64,
    /// mtime when the file was compared.
    pub mtime: Timestamp,
    /// ctime when the file was compared.
    pub ctime: Timestamp,
}

/// One name of the duplicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameIntent {
    /// The name; the same on both branches.
    pub path: RelPath,
    /// The branch where the duplicate has the name.
    pub from: BranchIdx,
    /// The directory of the name on `from`; empty if unknown.
    pub from_dir: Handle,
    /// The branch where the replacement gets the name: the master's branch (cross), or `from` (local).
    pub to: BranchIdx,
    /// The directory of the name on `to`; empty if unknown, or if the op has yet to make it.
    pub to_dir: Handle,
    /// The entry at the name on `to`.
    pub found: Found,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnded {
    /// The run.
    pub run: u64,
    /// When.
    pub time: Timestamp,
    /// Ops done.
    pub done: u64,
    /// Bytes that became free.
    pub reclaimed: u64,
}

impl Record {
    /// Whether a run begins with the record.
    #[must_use]
    pub fn begins_run(&self) -> bool {
        matches!(self, Self::RunStarted(_) | Self::UndoStarted(_) | Self::RelinkStarted(_))
    }

    /// Returns the intent of an op, if the record is one, of whatever kind the op is.
    #[must_use]
    pub fn into_intent(self) -> Option<Intent> {
        match self {
            Self::Intent(intent) => Some(*intent),
            Self::UndoIntent(undo) | Self::UndoReflinkIntent(undo) => Some(undo.intent),
            Self::ReflinkIntent(reflink) => Some(reflink.intent),
            _ => None,
        }
    }

    /// The run the record belongs to.
    #[must_use]
    pub fn run(&self) -> u64 {
        match self {
            Self::RunStarted(started) => started.run,
            Self::UndoStarted(undo) | Self::RelinkStarted(undo) => undo.run.run,
            Self::Intent(intent) => intent.op.run,
            Self::UndoIntent(undo) | Self::UndoReflinkIntent(undo) => undo.intent.op.run,
            Self::Retired { op }
            | Self::SharedContents { op, .. }
            | Self::Copied { op, .. }
            | Self::Done { op, .. }
            | Self::Restored { op, .. }
            | Self::Conflict { op, .. } => op.run,
            Self::RunEnded(ended) => ended.run,
            Self::Shared(shared) => shared.op.run,
            Self::ReflinkIntent(reflink) => reflink.intent.op.run,
        }
    }
}
