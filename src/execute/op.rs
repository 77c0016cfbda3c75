//! One op as the executor holds it: the same value whether it was just planned or found open in the journal.

use std::ffi::OsString;

use crate::fs::{Fingerprint, InodeId, Metadata, Place, Stat, Timestamp};
use crate::journal::{DirIntent, Found, Intent, OpId, OpKind};
use crate::plan::hidden_name::{Role, hidden_name};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// What stands for an inode that is not there yet: no file has it.
pub(crate) const NO_INODE: InodeId = InodeId { dev: 0, ino: 0 };

/// One duplicate inode to be replaced, with all its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Cross or local.
    pub kind: OpKind,
    /// A name of the master.
    pub master: Place,
    /// The master's inode.
    pub master_id: InodeId,
    /// A name of the duplicate.
    pub duplicate: Place,
    /// The duplicate's inode.
    pub duplicate_id: InodeId,
    /// Size of both in bytes.
    pub size: u64,
    /// Bytes that become free.
    pub bytes: u64,
    /// Every name of the duplicate.
    pub names: Vec<OpName>,
    /// Directories to be made, outermost first.
    pub dirs: Vec<DirIntent>,
    /// What the journal calls it, once there is an intent.
    pub(crate) id: Option<OpId>,
    /// The master's mtime when it was compared.
    pub(crate) master_mtime: Timestamp,
    /// Which replacements this pass put in place itself; `None` for an op found open, where that is unknown.
    ///
    /// A client can give a name to the master, too: one that is not ours is not taken away.
    pub(crate) published: Option<Vec<bool>>,
    /// Whether the journal says that every name was retired.
    pub(crate) retired: bool,
    /// Whether it was rebuilt from what a lost journal left: what may go and come back was decided by contents, and shown
    /// to the user.
    pub(crate) salvaged: bool,
    /// What the intent says, for an op that was found open.
    pub(crate) recorded: Option<Box<Recorded>>,
    /// What was compared in this run.
    pub(crate) seen: Option<Box<Seen>>,
    /// What it has on top where it undoes another op.
    pub undo: Option<Box<Undoing>>,
}

/// What an op has on top that undoes another: its master is the file that comes back, and does not exist yet; its
/// duplicate is the file that stays, which loses these of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoing {
    /// The op that is undone.
    pub of: OpId,
    /// Owner, mode, ACL and attributes of the file that comes back.
    pub metadata: Metadata,
    /// Its atime.
    pub atime: Timestamp,
    /// Its mtime.
    pub mtime: Timestamp,
    /// Its contents.
    pub blake3: [u8; 32],
    /// Whether zeros become holes.
    pub sparse: bool,
    /// The mtime of the file that stays when it was compared: another one is somebody's change.
    pub source_mtime: Timestamp,
    /// Directories of the duplicate's branch to be removed where empty, innermost first.
    pub emptied: Vec<RelPath>,
    /// The hidden name of the copy, once there is an intent.
    pub(crate) copy: Option<Place>,
    /// Whether the copy is complete and recorded.
    pub(crate) copied: bool,
    /// The file that stays, as it was found.
    pub(crate) source: Option<Stat>,
    /// Owner, mode, ACL and attributes of the file that stays when the undo was first begun.
    pub(crate) source_metadata: Option<Metadata>,
}

/// One name of the duplicate; the same relpath on both branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpName {
    /// The name.
    pub path: RelPath,
    /// Where the duplicate has it.
    pub from: BranchIdx,
    /// Where the replacement gets it.
    pub to: BranchIdx,
    /// What was found there before anything was done.
    pub found: Found,
}

/// What an intent remembers of both files, to know them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The duplicate's metadata.
    pub(crate) metadata: Metadata,
    /// The contents of both.
    pub(crate) blake3: [u8; 32],
    /// The master's birth time: another one is a reused inode number.
    pub(crate) master_btime: Option<Timestamp>,
    /// The duplicate's.
    pub(crate) duplicate_btime: Option<Timestamp>,
}

/// Both files as they were when their bytes were found equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) master: Fingerprint,
    pub(crate) duplicate: Fingerprint,
    pub(crate) metadata: Metadata,
    pub(crate) master_metadata: Metadata,
    pub(crate) atime: Timestamp,
    pub(crate) master_stat: Stat,
    pub(crate) duplicate_stat: Stat,
    pub(crate) blake3: [u8; 32],
}

impl Undoing {
    /// The part of `removed`, whose duplicate had `metadata` and times, that makes it again.
    #[must_use]
    pub fn new(removed: &Intent, emptied: Vec<RelPath>) -> Self {
        Self {
            of: removed.op,
            metadata: removed.metadata.clone(),
            atime: removed.atime,
            mtime: removed.duplicate.mtime,
            blake3: removed.blake3,
            // Fewer blocks than bytes: it had holes.
            sparse: removed.bytes < removed.duplicate.size,
            source_mtime: removed.master.mtime,
            emptied,
            copy: None,
            copied: false,
            source: None,
            source_metadata: None,
        }
    }
}

impl Op {
    /// An op as the plan makes it.
    #[must_use]
    pub fn planned(
        kind: OpKind,
        (master, master_id): (Place, InodeId),
        (duplicate, duplicate_id): (Place, InodeId),
        (size, bytes): (u64, u64),
        names: Vec<OpName>,
    ) -> Self {
        Self {
            kind,
            master,
            master_id,
            duplicate,
            duplicate_id,
            size,
            bytes,
            names,
            dirs: Vec::new(),
            id: None,
            master_mtime: Timestamp::default(),
            published: None,
            retired: false,
            salvaged: false,
            recorded: None,
            seen: None,
            undo: None,
        }
    }

    /// The same under the number that a journal gave it.
    pub(crate) fn numbered(self, id: OpId) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// An op that undoes another, as it is planned.
    #[must_use]
    pub fn undoing(planned: Self, undo: Undoing) -> Self {
        Self {
            undo: Some(Box::new(undo)),
            ..planned
        }
    }

    /// The same op as it was planned.
    pub(crate) fn begun_anew(mut self) -> Self {
        if let Some(undo) = &mut self.undo {
            (undo.copy, undo.copied, undo.source) = (None, false, None);
            self.master_id = NO_INODE;
        }
        Self {
            dirs: Vec::new(),
            id: None,
            published: None,
            seen: None,
            ..self
        }
    }

    /// What the journal calls it, once there is an intent.
    #[must_use]
    pub fn id(&self) -> Option<OpId> {
        self.id
    }

    /// The hidden name of the copy that an undo makes.
    pub(crate) fn copy_place(&self) -> Option<&Place> {
        self.undo.as_ref().and_then(|undo| undo.copy.as_ref())
    }

    /// The duplicate's own name `k`.
    pub(crate) fn own(&self, k: usize) -> Place {
        Place::new(self.names[k].from, self.names[k].path.clone())
    }

    /// Where replacement `k` goes.
    pub(crate) fn target(&self, k: usize) -> Place {
        Place::new(self.names[k].to, self.names[k].path.clone())
    }

    /// Where the duplicate's name `k` is between retire and remove. For a local op that is the temp name: the
    /// exchange that publishes the replacement retires the duplicate.
    pub(crate) fn retired_place(&self, journal: u32, k: usize) -> Place {
        match self.kind {
            OpKind::Cross => self.hidden(journal, k, Role::Retired),
            OpKind::Local => self.hidden(journal, k, Role::Temp),
        }
    }

    /// The hidden name of `role` for name `k`, in the same directory.
    ///
    /// Retired names lie on the duplicate's branch, all others on the master's.
    pub(crate) fn hidden(&self, journal: u32, k: usize, role: Role) -> Place {
        let name = &self.names[k];
        let branch = if role == Role::Retired {
            name.from
        } else {
            name.to
        };
        let dir = name.path.parent().unwrap_or_else(RelPath::root);
        Place::new(branch, entry(&dir, self.hidden_name(journal, k, role)))
    }

    /// The bare hidden name.
    pub(crate) fn hidden_name(&self, journal: u32, k: usize, role: Role) -> OsString {
        hidden_name(journal, self.id.unwrap_or(OpId { run: 0, seq: 0 }), k, role)
    }

    /// Whether `stat` is of the duplicate, and not of a file that got its inode number since.
    pub(crate) fn is_duplicate(&self, stat: &Stat) -> bool {
        let seen = self.seen.as_ref().map(|seen| seen.duplicate_stat.btime);
        let recorded = self.recorded.as_ref().map(|r| r.duplicate_btime);
        stat.id == self.duplicate_id && born_as(stat, recorded.or(seen))
    }

    /// Whether `stat` is of the master, and not of a file that got its inode number since.
    pub(crate) fn is_master(&self, stat: &Stat) -> bool {
        let seen = self.seen.as_ref().map(|seen| seen.master_stat.btime);
        // The copy that an undo makes is born after its intent.
        let recorded = self.recorded.as_ref().map(|r| r.master_btime);
        let recorded = recorded.filter(|_| self.undo.as_ref().is_none_or(|undo| undo.copied));
        stat.id == self.master_id && born_as(stat, recorded.or(seen))
    }

    /// Whether replacement `k` was, or may have been, put in place by us.
    pub(crate) fn may_be_ours(&self, k: usize) -> bool {
        self.published.as_ref().is_none_or(|published| published[k])
    }

    /// Remembers whether replacement `k` was put in place in this pass.
    pub(crate) fn note_published(&mut self, k: usize, whether: bool) {
        if let Some(published) = &mut self.published {
            published[k] = whether;
        }
    }

    /// The branches it changes.
    pub(crate) fn branches(&self) -> impl Iterator<Item = BranchIdx> + '_ {
        self.names.iter().flat_map(|n| [n.from, n.to])
    }
}

/// Whether a file was born when the one that was looked at before was; where no birth is known, it counts as the same.
fn born_as(stat: &Stat, before: Option<Option<Timestamp>>) -> bool {
    before.flatten().is_none_or(|born| stat.btime == Some(born))
}

/// `dir`'s entry `name`, for names that are one plain component by construction.
pub(crate) fn entry(dir: &RelPath, name: impl AsRef<std::ffi::OsStr>) -> RelPath {
    dir.join(name)
        .expect("invariant: hidden names and names read from a path are plain components")
}
