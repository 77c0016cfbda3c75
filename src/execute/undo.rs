//! Undo: an op that takes another op back is an op with a copy in front.
//!
//! The file that comes back is the master of the op: copied, under a hidden name, from the file that stays, then
//! verified and recorded. From then on all is as in any op, with the same protection of writers: the new file is
//! published under the names and made durable. Then the replaced names are retired, looked at once more, recorded and
//! unlinked.

use super::batch::settled;
use super::begun::{Begun, UndoCopy};
use super::compare::{SETTLE_TICK, Unreadable};
use super::halt::Halt;
use super::observe::Observed;
use super::work::{Over, Work};
use super::{Executor, RunError};
use crate::fs::{Change, FileKind, Handle, Lease, Metadata, Place, Stat};
use crate::journal::{Intent, Record, RecordedFile, Store, UndoIntent, UndoOf};
use crate::plan::hidden_name::{Role, hidden_name};
use crate::plan::op::entry;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, Op, OpId, Undoing};
use crate::pool::relpath::RelPath;

/// An op that undoes another, after a look at the file that stays. Only [`Executor::examine`] makes it.
pub(super) struct Examined {
    op: Op,
    undo: Undoing,
    dirs: Vec<DirIntent>,
    /// The file that stays.
    source: Stat,
    /// Its owner, mode, ACL and attributes when the undo was first tried.
    source_metadata: Metadata,
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Checks that `op` may be begun: no program uses the file that stays, and the file and its names are as planned.
    pub(super) fn examine(&mut self, op: &Op, undo: &Undoing) -> Result<Examined, Halt> {
        // A momentary lease: a file that is open in a program is refused before gigabytes are copied.
        let stays = self.open_duplicate(op)?;
        let held = self.hold_shared(op.duplicate_id, stays, Lease::Write, "file that stays")?;
        self.observe_all(op, Observed::may_publish)?;
        let dirs = self.missing_parents_of(op)?;
        if held.stat.size != op.size || held.stat.mtime != undo.source_mtime {
            let why = "written to since it was linked";
            return Err(Halt::new(Reason::ChangedSince, why));
        }
        if held.stat.immutable {
            return Err(Halt::new(Reason::Immutable, "the file that stays is immutable"));
        }
        if undo.of_clone {
            if undo.metadata != held.metadata {
                return Err(Halt::metadata_changed());
            }
            if held.stat.nlink != op.names.len() as u64 {
                return Err(Halt::new(Reason::Changed, "linked to other names meanwhile"));
            }
        }
        if let Some(of) = undo.of {
            let before = self.sources.entry(of);
            let before = before.or_insert_with(|| held.metadata.clone());
            if *before != held.metadata {
                return Err(Halt::metadata_changed());
            }
        }
        Ok(Examined {
            op: op.clone(),
            undo: undo.clone(),
            dirs,
            source: held.stat,
            source_metadata: held.metadata,
        })
    }

    /// Journals, copies and carries out ops that undo other ops; returns the ops that were put back and are worth
    /// another try.
    pub(super) fn undo_batch(&mut self, ops: Vec<Examined>) -> Result<Vec<(Op, Halt)>, RunError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        self.pool_as_planned()?;
        let (mut examined, mut intents) = (Vec::new(), Vec::new());
        for op in ops {
            match self.undo_intent(&op) {
                Ok(intent) => {
                    intents.push(intent);
                    examined.push(op);
                }
                Err(halt) => self.not_done(&op.op, None, halt),
            }
        }
        let copies: Vec<_> = intents.iter().map(|of| of.intent().copy.clone()).collect();
        // Durable before the first hidden name is made: a file that a crash leaves under that name is then known to be
        // ours.
        let recorded = self.journal.begin_undo(intents, self.fs.now())?;
        let recorded = recorded.into_iter().zip(copies);
        let begun = examined.into_iter().zip(recorded).enumerate();
        let begun = begun.map(|(n, (op, (record, copy)))| {
            let copy = UndoCopy {
                at: Place::new(op.op.master.branch, copy),
                made: None,
                complete: false,
                source_metadata: Some(op.source_metadata),
                source: Some(op.source.fingerprint()),
            };
            Work::new(Begun::undo(op.op, record, op.dirs, copy), n, false)
        });
        self.make_and_carry_out(begun.collect())
    }

    /// Makes the files of ops whose intents are durable, and carries the ops out.
    pub(super) fn make_and_carry_out(
        &mut self,
        works: Vec<Work<Begun>>,
    ) -> Result<Vec<(Op, Halt)>, RunError> {
        let mut over = Vec::new();
        let over = &mut over;
        let works = self.copy_all(works, over);
        // The copies have their hidden names durably before a record says that they are complete: a power cut that
        // takes the name frees the inode number, and the record would then name the next file that gets the number.
        let works = self.sync_touched(works, over, |op| op);
        // Changes that the undone run made a moment ago must not count as another program's changes.
        self.fs.pause(SETTLE_TICK);
        let works = self.read_back(works, over, |this, op| {
            this.compare_again(op)?;
            this.observer.stepped();
            Ok(())
        });
        // As for any op, what it will rely on is durable first.
        let failures = self.settle_sources(works.iter().map(|work| &work.op));
        let mut works =
            self.each(works, over, |_, op| Self::check(op, |op| settled(&failures, op)));
        self.record_copies(&mut works)?;
        let files = works.iter().flat_map(|work| [work.op.master_id, work.op.duplicate_id]);
        let files: Vec<_> = files.collect();
        let put_back = self.carry_out(works, std::mem::take(over))?.put_back;
        // No later op copies them by these hashes.
        for id in files {
            self.hashes.remove(&id);
        }
        Ok(put_back)
    }

    /// Reads copies back, compares them by `compare` with the files that stay, and holds both.
    pub(super) fn read_back(
        &mut self,
        works: Vec<Work<Begun>>,
        over: &mut Vec<Over>,
        mut compare: impl FnMut(&mut Self, &mut Begun) -> Result<(), Halt>,
    ) -> Vec<Work<Begun>> {
        let unreadable = self.hash_copies(&works);
        self.each_part(works, over, |this, op| {
            Self::check(op, |op| {
                unreadable.get(&op.master_id).cloned().map_or(Ok(()), Err)?;
                compare(this, op)?;
                Ok(this.take_grip(op)?)
            })
        })
    }

    /// Reads copies, on all disks at the same time. The files that stay are not open meanwhile: several ops may share one,
    /// and none could then have a lease on it.
    fn hash_copies(&mut self, works: &[Work<Begun>]) -> Unreadable {
        let mut hold = |work: &Work<Begun>| {
            let copy = self.open_master(&work.op)?;
            self.hold(copy, Lease::Read, "copy")
        };
        // Comparing says what is wrong with the others.
        let held: Vec<_> = works.iter().filter_map(|work| hold(work).ok()).collect();
        self.hash_ahead(&held.iter().collect::<Vec<_>>())
    }

    /// The intent of an undo, with a number and a hidden name for the copy.
    fn undo_intent(&mut self, examined: &Examined) -> Result<UndoOf, Halt> {
        let Examined { op, undo, source, dirs, .. } = examined;
        let (intent, copy) = self.intent_to_make(op, undo, source, dirs)?;
        let intent = UndoIntent {
            undoes: undo.of.unwrap_or(intent.op),
            intent,
            source: Some(examined.source_metadata.clone()),
            copy,
            sparse: undo.sparse,
            emptied: undo.emptied.clone(),
        };
        Ok(match undo.of_clone {
            true => UndoOf::Clone(intent),
            false => UndoOf::Links(intent),
        })
    }

    /// Returns the intent of an op whose master is yet to be made as `made`, and the hidden name to make it under. `duplicate`
    /// is the file that loses its names.
    pub(super) fn intent_to_make(
        &mut self,
        op: &Op,
        made: &Undoing,
        duplicate: &Stat,
        dirs: &[DirIntent],
    ) -> Result<(Intent, RelPath), Halt> {
        let branch = op.master.branch;
        let (id, copy) = self.copy_name(&op.master)?;
        let names = self.name_intents(op)?;
        let duplicate_handle = self.fs.handle(&op.duplicate)?;
        let intent = Intent {
            op: id,
            kind: op.kind,
            master: RecordedFile {
                branch,
                path: op.master.path.clone(),
                id: self.stored(branch, 0, None),
                size: op.size,
                mtime: made.mtime,
                ctime: made.mtime,
            },
            duplicate: self.recorded(&op.duplicate, duplicate),
            metadata: made.metadata.clone(),
            atime: made.atime,
            flags: made.flags,
            blake3: made.blake3,
            bytes: op.bytes,
            names,
            dirs: dirs.to_vec(),
            duplicate_handle,
            master_metadata: None,
            master_links: None,
            master_handle: Handle::default(),
            salvaged: false,
            relinks: None,
        };
        Ok((intent, copy))
    }

    /// Returns a number for an op whose master is yet to be made at `at`, and the hidden name to make it under.
    pub(super) fn copy_name(&mut self, at: &Place) -> Result<(OpId, RelPath), Halt> {
        let branch = at.branch;
        let mut dir = at.path.parent().unwrap_or_else(RelPath::root);
        // If the directory itself is yet to be made, the copy goes beside the topmost directory that is yet to be made.
        let beside = loop {
            let there = self.fs.stat(&Place::new(branch, dir.clone()))?;
            let there = there.filter(|stat| stat.kind == FileKind::Directory);
            match (there, dir.parent()) {
                (None, Some(parent)) => dir = parent,
                (there, _) => break there,
            }
        };
        // A subvolume of btrfs counts inodes by itself: recovery, which knows the numbers of the branch, would take the copy
        // for another file.
        let root = self.fs.stat(&Place::new(branch, RelPath::root()))?;
        if beside.map(|stat| stat.id.dev) != root.map(|stat| stat.id.dev) {
            let dir = self.fs.shown(&Place::new(branch, dir));
            return Err(Halt::new(
                Reason::Obstructed,
                format!("{dir:?} is a subvolume or a mount"),
            ));
        }
        let id = self.journal.next_op(self.run);
        Ok((id, entry(&dir, hidden_name(self.journal.id(), id, 0, Role::Copy))))
    }

    /// Records which copies are complete. No name is published before this record is durable: recovery then knows the
    /// inode, and never takes a half-made file for the file that comes back.
    pub(super) fn record_copies(&mut self, works: &mut [Work<Begun>]) -> Result<(), RunError> {
        let mut records = Vec::new();
        for work in works {
            let op = work.op.id();
            let Some(seen) = work.op.seen.as_ref() else {
                continue;
            };
            let Some(copy) = work.op.copy.as_mut().filter(|copy| !copy.complete) else {
                continue;
            };
            copy.complete = true;
            records.push(Record::Copied {
                op,
                // A copy without a handle is not found again after a rename; the op itself goes on.
                handle: self.fs.handle(&copy.at).unwrap_or_default(),
                ino: seen.master_stat.id.ino,
                btime: seen.master_stat.btime,
            });
        }
        Ok(self.journal.record(&records, self.fs.now())?)
    }
}
