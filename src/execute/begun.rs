//! An op from its durable intent to its end. The phases between compare and remove are types around it.
//!
//! ```text
//! Op ── compare ──► Compared ── journal ──► Begun ── publish ──► Published ── sync ──► Durable
//!                                                                                        │ retire
//!            bytes freed ◄── remove ── Retired ◄── journal ── Hidden ◄───────────────────┘
//! ```
//!
//! Each value owns the value before it, and only its own phase can make it: if a phase is left out or the order is
//! changed, the program does not compile. An op that was found open enters as [`Begun`], because every phase skips the
//! names that are past it. No state of a single name is a type: recovery observes names, it does not trust memory.

use std::ops::Deref;

use super::compared::Seen;
use crate::fs::{Fingerprint, InodeId, Metadata, Place, Stat, Timestamp};
use crate::journal::{Intent, IntentRecorded, RetiredRecorded};
use crate::plan::hidden_name::Role;
use crate::plan::{DirIntent, Op, OpId};

/// An op whose intent is durable. It dereferences to the [`Op`], which stays as it was planned.
#[derive(Debug)]
pub(crate) struct Begun {
    op: Op,
    record: IntentRecorded,
    /// The proof of the `Retired` record, for an op that was found open with that record.
    pub(super) retired: Option<RetiredRecorded>,
    /// The master's inode: that of the copy, once an undo has made it.
    pub(super) master_id: InodeId,
    /// Directories to be made, outermost first.
    pub(super) dirs: Vec<DirIntent>,
    /// The master's mtime when it was compared.
    pub(super) master_mtime: Timestamp,
    /// The number of names that the master had before the op, where it is known.
    pub(super) links_before: Option<u64>,
    /// Which replacements this pass put in place itself; `None` for an op found open, where that is unknown.
    ///
    /// A client can also link the master under a name. This program never takes away a name that it did not make.
    pub(super) published: Option<Vec<bool>>,
    /// Whether it was rebuilt from the remains of a lost journal: by contents, as the user was shown and agreed to.
    pub(super) salvaged: bool,
    /// The intent's memory of both files, for an op that was found open.
    pub(super) recorded: Option<Box<Recorded>>,
    /// Both files as this run compared them last; `None` for an op found open that was not compared yet.
    pub(super) seen: Option<Box<Seen>>,
    /// The copy that an undo makes.
    pub(super) copy: Option<Box<UndoCopy>>,
}

/// The copy that an undo makes of the file that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UndoCopy {
    /// Its hidden name.
    pub(super) at: Place,
    /// Its inode, once this process has made it.
    pub(super) made: Option<InodeId>,
    /// Whether it is complete and recorded.
    pub(super) complete: bool,
    /// Owner, mode, ACL and attributes of the file that stays when the undo was first begun, where that was recorded.
    pub(super) source_metadata: Option<Metadata>,
    /// The file that stays, as it was when no other program had it open and nothing of it was read yet; `None` for an undo
    /// that was found open.
    pub(super) source: Option<Fingerprint>,
}

/// The facts by which an intent knows both files again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The master's metadata, where it is known.
    pub(super) master_metadata: Option<Metadata>,
    /// The duplicate's metadata.
    pub(super) metadata: Metadata,
    /// The contents of both.
    pub(super) blake3: [u8; 32],
    /// The master's birth time: another birth time is a reused inode number.
    pub(super) master_btime: Option<Timestamp>,
    /// The duplicate's birth time: another birth time is a reused inode number.
    pub(super) duplicate_btime: Option<Timestamp>,
}

/// An op of which a phase can look at both files: planned, or begun.
pub(super) trait Subject {
    /// The op as it was planned.
    fn plan(&self) -> &Op;

    /// The op's number, once it has a number.
    fn number(&self) -> Option<OpId>;

    /// Whether `stat` is of the duplicate, and not of a file that got its inode number since.
    fn is_duplicate(&self, stat: &Stat) -> bool;

    /// Whether `stat` is of the master, and not of a file that got its inode number since.
    fn is_master(&self, stat: &Stat) -> bool;

    /// Whether every name was retired, and that is durable.
    fn is_retired(&self) -> bool;

    /// The master's inode.
    fn master_inode(&self) -> InodeId;

    /// The duplicate's birth time, where the intent remembers one.
    fn duplicate_birth(&self) -> Option<Timestamp>;

    /// The master's birth time, where the intent remembers one.
    fn master_birth(&self) -> Option<Timestamp>;

    /// The hidden name of the copy that an undo makes, once it has one.
    fn copy_place(&self) -> Option<&Place>;
}

/// A planned op: only inode numbers tell its files.
impl Subject for Op {
    fn plan(&self) -> &Op {
        self
    }

    fn number(&self) -> Option<OpId> {
        None
    }

    fn is_duplicate(&self, stat: &Stat) -> bool {
        stat.id == self.duplicate_id
    }

    fn is_master(&self, stat: &Stat) -> bool {
        stat.id == self.master_id
    }

    fn is_retired(&self) -> bool {
        false
    }

    fn master_inode(&self) -> InodeId {
        self.master_id
    }

    fn duplicate_birth(&self) -> Option<Timestamp> {
        None
    }

    fn master_birth(&self) -> Option<Timestamp> {
        None
    }

    fn copy_place(&self) -> Option<&Place> {
        None
    }
}

impl Subject for Begun {
    fn plan(&self) -> &Op {
        &self.op
    }

    fn number(&self) -> Option<OpId> {
        Some(self.id())
    }

    fn is_duplicate(&self, stat: &Stat) -> bool {
        let seen = self.seen.as_ref().map(|seen| seen.duplicate_stat.btime);
        let recorded = self.recorded.as_ref().map(|r| r.duplicate_btime);
        stat.id == self.duplicate_id && born_as(stat, recorded.or(seen))
    }

    fn is_master(&self, stat: &Stat) -> bool {
        let seen = self.seen.as_ref().map(|seen| seen.master_stat.btime);
        // The copy that an undo makes is born after its intent.
        let recorded = self.recorded.as_ref().map(|r| r.master_btime);
        let recorded = recorded.filter(|_| self.copy.as_ref().is_none_or(|copy| copy.complete));
        stat.id == self.master_id && born_as(stat, recorded.or(seen))
    }

    fn is_retired(&self) -> bool {
        self.retired.is_some()
    }

    fn master_inode(&self) -> InodeId {
        self.master_id
    }

    fn duplicate_birth(&self) -> Option<Timestamp> {
        self.recorded.as_ref()?.duplicate_btime
    }

    fn master_birth(&self) -> Option<Timestamp> {
        self.recorded.as_ref()?.master_btime
    }

    fn copy_place(&self) -> Option<&Place> {
        self.copy.as_ref().map(|copy| &copy.at)
    }
}

impl Deref for Begun {
    type Target = Op;

    fn deref(&self) -> &Op {
        &self.op
    }
}

impl Begun {
    /// The BLAKE3 of both files when they were compared: by this process, else as recorded. `None` for an undo whose copy
    /// is not complete.
    pub(super) fn compared_hash(&self) -> Option<[u8; 32]> {
        let seen = self.seen.as_ref().map(|seen| seen.blake3);
        let complete = self.copy.as_ref().is_none_or(|copy| copy.complete);
        let recorded = self.recorded.as_ref().filter(|_| complete).map(|r| r.blake3);
        seen.or(recorded)
    }

    /// An op whose files were compared as `seen`, and whose intent is durable.
    pub(super) fn new(
        op: Op,
        dirs: Vec<DirIntent>,
        seen: Box<Seen>,
        record: IntentRecorded,
    ) -> Self {
        Self {
            master_mtime: seen.master_stat.mtime,
            links_before: Some(seen.master_stat.nlink),
            seen: Some(seen),
            dirs,
            ..Self::found(op, record)
        }
    }

    /// An undo whose intent is durable; the copy is yet to be made.
    pub(super) fn undo(
        op: Op,
        record: IntentRecorded,
        dirs: Vec<DirIntent>,
        copy: UndoCopy,
    ) -> Self {
        Self { dirs, copy: Some(Box::new(copy)), ..Self::found(op, record) }
    }

    fn found(op: Op, record: IntentRecorded) -> Self {
        Self {
            master_id: op.master_id,
            published: Some(vec![false; op.names.len()]),
            op,
            record,
            retired: None,
            dirs: Vec::new(),
            master_mtime: Timestamp::default(),
            links_before: None,
            salvaged: false,
            recorded: None,
            seen: None,
            copy: None,
        }
    }

    /// The op of an intent that has no end; `op` has its files on the branches of this run.
    pub(super) fn open(
        op: Op,
        (record, retired): (IntentRecorded, Option<RetiredRecorded>),
        intent: &Intent,
        dirs: Vec<DirIntent>,
        copy: Option<UndoCopy>,
    ) -> Self {
        Self {
            retired,
            dirs,
            master_mtime: intent.master.mtime,
            links_before: intent.master_links,
            published: None,
            salvaged: intent.salvaged,
            recorded: Some(Box::new(Recorded {
                master_metadata: intent.master_metadata.clone(),
                metadata: intent.metadata.clone(),
                blake3: intent.blake3,
                master_btime: intent.master.id.btime,
                duplicate_btime: intent.duplicate.id.btime,
            })),
            copy: copy.map(Box::new),
            ..Self::found(op, record)
        }
    }

    /// The op as it was planned.
    pub(super) fn into_op(self) -> Op {
        self.op
    }

    /// The proof of its intent.
    pub(super) fn record(&self) -> IntentRecorded {
        self.record
    }

    /// Both files as this run compared them last.
    pub(super) fn seen(&self) -> &Seen {
        let seen = self.seen.as_deref();
        seen.expect("invariant: every op is compared before it is carried out")
    }

    /// Its number.
    pub(super) fn id(&self) -> OpId {
        self.record.op()
    }

    /// The hidden name of `role` for name `k`, in the same directory.
    pub(super) fn hidden(&self, journal: u32, k: usize, role: Role) -> Place {
        self.op.hidden(journal, self.id(), k, role)
    }

    /// The place of the duplicate's name `k` between retire and remove.
    pub(super) fn retired_place(&self, journal: u32, k: usize) -> Place {
        self.op.retired_place(journal, self.id(), k)
    }

    /// Whether this program put, or may have put, replacement `k` in place.
    pub(super) fn may_be_ours(&self, k: usize) -> bool {
        self.published.as_ref().is_none_or(|published| published[k])
    }

    /// Remembers whether replacement `k` was put in place in this pass.
    pub(super) fn note_published(&mut self, k: usize, whether: bool) {
        if let Some(published) = &mut self.published {
            published[k] = whether;
        }
    }
}

/// Whether `stat` has the birth time that was recorded before; where no birth time is known, the file counts as the
/// same.
fn born_as(stat: &Stat, before: Option<Option<Timestamp>>) -> bool {
    before.flatten().is_none_or(|born| stat.btime == Some(born))
}
