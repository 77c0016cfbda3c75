//! Undo: an op that takes another back is an op with a copy in front.
//!
//! The file that comes back is its master: copied from the one that stays under a hidden name, verified, recorded.
//! From then on all is as in any op, with the same protection of writers: the new file is published under the names,
//! made durable, and then the names that were replaced are retired, looked at once more, recorded and unlinked.

use super::batch::{State, Work};
use super::compare::SETTLE_TICK;
use super::halt::Halt;
use super::observe::Observed;
use super::op::{Op, entry};
use super::parents::missing_parents;
use super::{Executor, RunError};
use crate::fs::{FileKind, Fs, Handle, Lease, Place};
use crate::journal::{Copy, Intent, Record, Store, UndoIntent};
use crate::plan::hidden_name::Role;
use crate::plan::refusal::Reason;
use crate::pool::relpath::RelPath;

/// The copy has the metadata of before the run: what a client changes now would be lost with the names.
pub(super) fn metadata_changed() -> Halt {
    let why = "its owner, mode or attributes were changed while it was taken back";
    Halt::new(Reason::Changed, why)
}

impl<F: Fs, S: Store> Executor<'_, F, S> {
    /// Whether `op` may be begun: nobody uses the file that stays, and it and its names are as planned.
    pub(super) fn begin_undo(&mut self, op: &mut Op) -> Result<(), Halt> {
        // A momentary lease: a file somebody has open is refused before gigabytes are copied.
        let held = self.hold(self.open_duplicate(op)?, Lease::Write, "file that stays")?;
        self.observe_all(op, Observed::may_publish)?;
        let branches = u16::try_from(self.options.branches.len()).unwrap_or(u16::MAX);
        let stat = &mut |place: &Place| self.fs.stat(place);
        op.dirs = missing_parents(stat, branches, self.options.newest_dirs, op)?;
        let Some(undo) = &mut op.undo else {
            return Ok(());
        };
        if held.stat.size != op.size || held.stat.mtime != undo.source_mtime {
            let why = "written to since it was linked";
            return Err(Halt::new(Reason::ChangedSince, why));
        }
        if held.stat.immutable {
            return Err(Halt::new(
                Reason::Immutable,
                "the file that stays is immutable",
            ));
        }
        let before = undo
            .source_metadata
            .get_or_insert_with(|| held.metadata.clone());
        if *before != held.metadata {
            return Err(metadata_changed());
        }
        undo.source = Some(held.stat);
        Ok(())
    }

    /// Journals, copies and carries out ops that undo others; gives those that were put back and are worth another
    /// try.
    pub(super) fn undo_batch(&mut self, ops: Vec<Op>) -> Result<Vec<(Op, Halt)>, RunError> {
        let mut works = Vec::with_capacity(ops.len());
        let mut intents = Vec::with_capacity(ops.len());
        for mut op in ops {
            match self.number(&mut op) {
                Ok(intent) => intents.push(Record::UndoIntent(Box::new(intent))),
                Err(halt) => {
                    self.not_done(&op, halt);
                    continue;
                }
            }
            works.push(Work {
                op,
                state: State::Going,
                recovered: false,
            });
        }
        // Durable before the first hidden name is made: what a crash leaves under it is then known to be ours.
        self.journal.record(&intents, self.fs.now())?;
        self.each(&mut works, |this, op| {
            this.not_stopped(op)?;
            this.take_grip(op)?;
            this.copy(op)
        });
        // The copies have their hidden names durably before a record says that they are complete: a power cut that takes
        // the name frees the inode number, and the record would name whatever file gets it next.
        self.sync_touched(&mut works);
        // What the run that is undone touched a moment ago is not taken for somebody else's change.
        self.fs.pause(SETTLE_TICK);
        self.each(&mut works, |this, op| {
            this.compare(op)?;
            Ok(this.take_grip(op)?)
        });
        self.settle_copies(&mut works);
        self.record_copies(&mut works)?;
        Ok(self.carry_out(works)?.put_back)
    }

    /// Gives `op` its number and hidden name; what the journal has to know of it.
    fn number(&mut self, op: &mut Op) -> Result<UndoIntent, Halt> {
        let (branch, path) = (op.master.branch, op.master.path.clone());
        let mut dir = path.parent().unwrap_or_else(RelPath::root);
        // Where the directory itself is to be made yet, beside the topmost of those that are.
        while !self
            .fs
            .stat(&Place::new(branch, dir.clone()))?
            .is_some_and(|stat| stat.kind == FileKind::Directory)
        {
            let Some(parent) = dir.parent() else { break };
            dir = parent;
        }
        op.id = Some(self.journal.next_op(self.run));
        op.published = Some(vec![false; op.names.len()]);
        let copy = entry(&dir, op.hidden_name(self.journal.id(), 0, Role::Copy));
        if let Some(undo) = &mut op.undo {
            undo.copy = Some(Place::new(branch, copy.clone()));
        }
        self.undo_intent(op, copy)
    }

    fn undo_intent(&mut self, op: &Op, copy: RelPath) -> Result<UndoIntent, Halt> {
        let names = self.name_intents(op)?;
        let duplicate_handle = self.fs.handle(&op.duplicate)?;
        let not_begun = || Halt::new(Reason::Changed, "not looked at");
        let undo = op.undo.as_deref().ok_or_else(not_begun)?;
        let source = undo.source.as_ref().ok_or_else(not_begun)?;
        let master = Copy {
            branch: op.master.branch,
            path: op.master.path.clone(),
            id: self.stored(op.master.branch, (0, None)),
            size: op.size,
            mtime: undo.mtime,
            ctime: undo.mtime,
        };
        let duplicate = Copy {
            branch: op.duplicate.branch,
            path: op.duplicate.path.clone(),
            id: self.stored(op.duplicate.branch, (source.id.ino, source.btime)),
            size: source.size,
            mtime: source.mtime,
            ctime: source.ctime,
        };
        Ok(UndoIntent {
            undoes: undo.of,
            intent: Intent {
                op: op.id.ok_or_else(not_begun)?,
                kind: op.kind,
                master,
                duplicate,
                metadata: undo.metadata.clone(),
                atime: undo.atime,
                blake3: undo.blake3,
                bytes: op.bytes,
                names,
                dirs: op.dirs.clone(),
                duplicate_handle,
                master_handle: Handle::default(),
                salvaged: false,
            },
            source: undo.source_metadata.clone(),
            copy,
            sparse: undo.sparse,
            emptied: undo.emptied.clone(),
        })
    }

    /// Makes durable what the ops will rely on, as for any op.
    fn settle_copies(&mut self, works: &mut [Work]) {
        let going = works
            .iter()
            .filter(|work| matches!(work.state, State::Going));
        let ops: Vec<Op> = going.map(|work| work.op.clone()).collect();
        let failures = self.settle_sources(&ops);
        for work in works
            .iter_mut()
            .filter(|work| matches!(work.state, State::Going))
        {
            let ids = [work.op.master_id, work.op.duplicate_id];
            if let Some(halt) = ids.iter().find_map(|id| failures.get(id)) {
                work.state = self.back(&work.op, halt.clone());
            }
        }
    }

    /// Records which copies are complete. No name is published before this is durable: recovery then knows the inode,
    /// and never takes a half-made file for the one that comes back.
    pub(super) fn record_copies(&mut self, works: &mut [Work]) -> Result<(), RunError> {
        let mut records = Vec::new();
        for work in works
            .iter_mut()
            .filter(|work| matches!(work.state, State::Going))
        {
            let (Some(id), Some(seen)) = (work.op.id, work.op.seen.as_ref()) else {
                continue;
            };
            let Some(undo) = work.op.undo.as_mut().filter(|undo| !undo.copied) else {
                continue;
            };
            undo.copied = true;
            records.push(Record::Copied {
                op: id,
                ino: seen.master_stat.id.ino,
                btime: seen.master_stat.btime,
            });
        }
        Ok(self.journal.record(&records, self.fs.now())?)
    }
}
