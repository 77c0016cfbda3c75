//! Recovery is the executor (invariant 5): for each op that has an intent and no end, recovery looks at every name,
//! decides, and takes the same transitions as an uninterrupted run. Recovery may be killed anywhere and run again.

use super::batch::settled;
use super::begun::{Begun, Subject as _, UndoCopy};
use super::compare::SETTLE_TICK;
use super::grip::Hold;
use super::halt::Halt;
use super::observe::{DuplicateAt, Observed, TargetIs};
use super::pass::Batch;
use super::work::{OpState, Over, Work};
use super::{Executor, RunError, StaysOpen};
use crate::fs::{Change, Fingerprint, FsError, Handle, InodeId, Place, Stat};
use crate::journal::{Intent, OpenOp, RecordedFile, RunStarted, Store};
use crate::plan::op::NO_INODE;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, Op, OpFile, OpName, Source, Undoing};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// What an open op takes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This program removed the duplicate: only the record is missing.
    Finish,
    /// Another program removed the duplicate: every name stays as it is.
    Leave,
    /// Continue from publish; every phase skips the names that are past it.
    Forward,
    /// Take the replacement away.
    Back,
}

/// The table of recovery, from the record and from what each name is now.
fn decide(retired: bool, names: &[Observed]) -> Next {
    let count = |at: DuplicateAt| names.iter().filter(|n| n.duplicate == at).count();
    let nowhere = count(DuplicateAt::Nowhere);
    let visible = count(DuplicateAt::Own) + count(DuplicateAt::Both);
    match retired {
        // This program unlinked it: no other program can after the record.
        true if nowhere == names.len() => Next::Finish,
        // Another program removed or moved it. A name that leads to the master now may be a link of that program.
        false if nowhere == names.len() => Next::Leave,
        // After the first unlink of a link set there is only forward.
        true if nowhere > 0 => Next::Forward,
        // Only hidden names are left: each path had its replacement durably before. A client put the entries there now.
        _ if visible == 0 => Next::Forward,
        _ if names.iter().all(|n| n.duplicate == DuplicateAt::Retired || n.may_publish()) => {
            Next::Forward
        }
        _ => Next::Back,
    }
}

/// An op found open, after recovery looked at it.
enum Resumed {
    /// It is carried out.
    Going(Begun),
    /// It is an undo whose copy is not complete: it is carried out once the copy is made.
    Unmade(Begun),
    /// It goes no further.
    Over(Begun, OpState),
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Finishes or takes back the open ops of the journal that are `wanted`; returns the ops that stay open.
    ///
    /// # Errors
    /// When the journal fails.
    pub fn recover(
        &mut self,
        wanted: impl Fn(&OpenOp) -> bool,
    ) -> Result<Vec<StaysOpen>, RunError> {
        let open: Vec<OpenOp> = self.journal.open_ops().into_iter().filter(wanted).collect();
        let mut remaining = Vec::new();
        let stays_open = |op: Begun, halt| {
            let id = op.id();
            StaysOpen { id, op: op.into_op().as_planned().into_owned(), halt }
        };
        let mut rest = &open[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(self.fits_in_a_batch(rest));
            rest = later;
            let (mut works, mut unmade, mut over) = (Vec::new(), Vec::new(), Vec::new());
            for (n, entry) in batch.iter().enumerate() {
                match self.begun_of(entry) {
                    (op, Ok(())) => {
                        let recovered = entry.intent.op.run != self.run;
                        match self.resume(op, entry) {
                            Resumed::Going(op) => works.push(Work::new(op, n, recovered)),
                            Resumed::Unmade(op) => unmade.push(Work::new(op, n, recovered)),
                            Resumed::Over(op, state) => {
                                over.push(Work::new(op, n, recovered).over(state));
                            }
                        }
                    }
                    (op, Err(halt)) => remaining.push(stays_open(op, halt)),
                }
            }
            works.extend(self.copy_found(unmade, &mut over));
            works.sort_by_key(|work| work.n);
            // The names of copies are durable before the record that they are complete.
            let works = self.sync_touched(works, &mut over, |op| op);
            let mut works = self.settle_found(works, &mut over);
            self.record_copies(&mut works)?;
            let open = self.carry_out(works, over)?.open;
            remaining.extend(open.into_iter().map(|(op, halt)| stays_open(op, halt)));
            self.release_dirs();
        }
        Ok(remaining)
    }

    /// Makes durable what ops found open rely on. If that fails the op stays open as it is.
    fn settle_found(&mut self, works: Vec<Work<Begun>>, over: &mut Vec<Over>) -> Vec<Work<Begun>> {
        let failures = self.settle_sources(works.iter().map(|work| &work.op));
        let mut going = Vec::with_capacity(works.len());
        for work in works {
            match settled(&failures, &work.op) {
                Err(halt) => over.push(work.over(OpState::Stuck(halt))),
                Ok(()) => going.push(work),
            }
        }
        going
    }

    fn resume(&mut self, mut op: Begun, entry: &OpenOp) -> Resumed {
        match self.next_state(&mut op, entry) {
            Ok(None) if is_unmade(&op) => Resumed::Unmade(op),
            Ok(None) => Resumed::Going(op),
            Ok(Some(state)) => Resumed::Over(op, state),
            Err(halt) if halt.reason == Reason::Conflict => {
                let left = self.places_left(&op);
                Resumed::Over(op, OpState::Conflict(halt, left))
            }
            Err(halt) => {
                self.stop_branch(&halt);
                Resumed::Over(op, OpState::Stuck(halt))
            }
        }
    }

    /// Returns how many of the first of `open`, at least one, a batch has room for.
    fn fits_in_a_batch(&self, open: &[OpenOp]) -> usize {
        let mut batch = Batch::default();
        open.iter()
            .take_while(|entry| {
                let fits = self.has_room(&batch);
                let names = entry.intent.names.iter().map(|name| &name.path);
                batch.count(names, entry.intent.duplicate.size);
                fits
            })
            .count()
            .max(1)
    }

    /// Decides what an open op takes next, and does it; `None` if the op is to be carried out.
    fn next_state(&mut self, op: &mut Begun, entry: &OpenOp) -> Result<Option<OpState>, Halt> {
        for branch in op.branches() {
            self.fs.check_branch(branch)?;
        }
        let obstructed = self.pin_dirs_again(op, &entry.intent)?;
        // Changes of the interrupted process may be in memory only: they are synced before any record relies on them.
        self.sync_all_of(op);
        self.take_grip(op)?;
        self.grip_by_handle(op, &entry.intent)?;
        if !self.return_strangers(op)?.is_empty() {
            let why = Halt::new(Reason::Changed, "its path is taken by another file");
            return Ok(Some(self.back(op, why)));
        }
        let mut names = Vec::with_capacity(op.names.len());
        for k in 0..op.names.len() {
            names.push(self.observe(op, k)?);
        }
        let unmade = is_unmade(op);
        let next = match decide(op.is_retired(), &names) {
            // The kept copy may be another one by now: the next run clones it.
            Next::Forward if unmade && op.reflinks() => {
                let why = "it was stopped before the clone was complete";
                return Ok(Some(self.back(op, Halt::new(Reason::Interrupted, why))));
            }
            // The directory of the path is no directory any more.
            Next::Forward if obstructed && !op.is_retired() => Next::Back,
            // The path would leave the pool with its branch.
            Next::Forward if self.would_leave_the_pool(op) => {
                let why = "a branch of it is no longer in the pool";
                return Ok(Some(self.back(op, Halt::new(Reason::Changed, why))));
            }
            next => next,
        };
        tracing::debug!(op = ?op.id(), ?next, ?names, "open replacement");
        match next {
            Next::Finish => {
                self.clear_hidden(op)?;
                // An undo frees nothing.
                let bytes = if op.undo().is_some() { 0 } else { entry.intent.bytes };
                Ok(Some(OpState::Removed(bytes)))
            }
            Next::Leave | Next::Back if op.salvaged => {
                let why = "not all of its names are known, or in place";
                Ok(Some(self.back(op, Halt::new(Reason::Changed, why))))
            }
            Next::Leave | Next::Back => {
                let why = "the path was removed or replaced by another program since the replacement began";
                Ok(Some(self.back(op, Halt::new(Reason::Changed, why))))
            }
            Next::Forward if unmade => Ok(None),
            Next::Forward => {
                let compared = self.compare_settled(op);
                Ok(match compared.and_then(|()| kept_copy_as_recorded(op, &names)) {
                    Ok(()) => None,
                    Err(halt)
                        if halt.again
                            || matches!(halt.reason, Reason::Interrupted | Reason::Limit) =>
                    {
                        Some(self.busy_on_the_way(op, halt, &names))
                    }
                    Err(halt) => Some(self.back(op, halt)),
                })
            }
        }
    }

    fn would_leave_the_pool(&self, op: &Op) -> bool {
        let departed = |branch: BranchIdx| self.options.departed.contains(&branch);
        op.names.iter().any(|name| departed(name.to) && !departed(name.from))
    }

    /// Holds the files of an op that was found open if they have none of their known names, wherever they are.
    fn grip_by_handle(&mut self, op: &Begun, intent: &Intent) -> Result<(), Halt> {
        let id = op.id();
        let found = |branch: BranchIdx, handle: &Handle, is: &dyn Fn(&Stat) -> bool| {
            let held = self.fs.by_handle(branch, handle)?;
            let Some(held) = held else { return Ok(None) };
            let same = is(&self.fs.stat_open(&held)?);
            Ok::<_, FsError>(same.then_some(Hold::Name(held)))
        };
        let is_duplicate = |stat: &Stat| op.is_duplicate(stat);
        let is_master = |stat: &Stat| op.is_master(stat);
        let grip = self.grips.get(&id);
        let (mut master, mut duplicate) = (None, None);
        if grip.is_none_or(|grip| grip.duplicate.is_none()) {
            duplicate = found(op.duplicate.branch, &intent.duplicate_handle, &is_duplicate)?;
        }
        if grip.is_none_or(|grip| grip.master.is_none()) {
            master = found(op.master.branch, &intent.master_handle, &is_master)?;
        }
        let grip = self.grips.entry(id).or_default();
        grip.duplicate = duplicate.or(grip.duplicate.take());
        grip.master = master.or(grip.master.take());
        Ok(())
    }

    /// Compares, after waiting out the ctimes that the interrupted process moved a moment ago.
    pub(super) fn compare_settled(&mut self, op: &mut Begun) -> Result<(), Halt> {
        match self.compare_again(op) {
            Err(halt) if halt.again => {
                self.fs.pause(SETTLE_TICK);
                self.compare_again(op)
            }
            other => other,
        }
    }

    /// Handles an op one of whose files another program uses. While the duplicate has its names, the replacement is
    /// taken away, so that no path leads to two inodes longer than it must.
    fn busy_on_the_way(&mut self, op: &Begun, halt: Halt, names: &[Observed]) -> OpState {
        if names.iter().all(|name| name.duplicate == DuplicateAt::Own) {
            self.back(op, halt)
        } else {
            OpState::Stuck(halt)
        }
    }

    fn sync_all_of(&mut self, op: &Begun) {
        for k in 0..op.names.len() {
            self.touched.must_sync(op.own(k).dir());
            self.touched.must_sync(op.target(k).dir());
        }
        for dir in &op.dirs {
            let place = Place::new(dir.to, dir.path.clone());
            self.touched.must_sync(place.dir());
            self.touched.must_sync(place);
        }
    }

    /// Returns the op of a journal entry, on the branches of this run.
    pub(super) fn begun_of(&self, entry: &OpenOp) -> (Begun, Result<(), Halt>) {
        let mut missing = None;
        let mut here = |branch: BranchIdx| {
            self.current_branch(&entry.run, branch).unwrap_or_else(|path| {
                missing = Some(path);
                BranchIdx(0)
            })
        };
        let intent = &entry.intent;
        let names = intent
            .names
            .iter()
            .map(|n| OpName {
                path: n.path.clone(),
                from: here(n.from),
                to: here(n.to),
                found: n.found,
            })
            .collect();
        let dirs = intent
            .dirs
            .iter()
            .map(|d| DirIntent { path: d.path.clone(), to: here(d.to), from: here(d.from) })
            .collect();
        let master = Place::new(here(intent.master.branch), intent.master.path.clone());
        let duplicate = Place::new(here(intent.duplicate.branch), intent.duplicate.path.clone());
        // An identity that cannot be looked up now must not be guessed: the op stays open.
        let mut unknown = None;
        let mut inode = |at: &Place, copy: &RecordedFile| {
            self.current_inode(at, copy).unwrap_or_else(|error| {
                unknown = Some(Halt::from(error));
                InodeId { dev: 0, ino: 0 }
            })
        };
        let copying = entry.undo.as_ref().is_some_and(|undo| !undo.copied);
        let master_id = if copying { NO_INODE } else { inode(&master, &intent.master) };
        let duplicate_id = inode(&duplicate, &intent.duplicate);
        let master = OpFile { at: master, id: master_id };
        let duplicate = OpFile { at: duplicate, id: duplicate_id };
        let cloned = entry.undo.as_ref().and_then(|undo| undo.cloned.as_ref());
        let source = cloned.map(|file| {
            let at = Place::new(master.at.branch, file.path.clone());
            let id = inode(&at, file);
            let RecordedFile { size, mtime, ctime, .. } = *file;
            Source { at, seen: Fingerprint { id, size, mtime, ctime } }
        });
        let op = begun_from(entry, (master, duplicate), source, names, dirs);
        let here = missing.map_or(Ok(()), |path| {
            let detail = format!("branch {path:?} is not there, or is another filesystem now");
            Err(Halt::new(Reason::BranchFailed, detail))
        });
        (op, here.and(unknown.map_or(Ok(()), Err)))
    }

    /// Returns where a recorded branch is in this run: the same directory of the same filesystem.
    fn current_branch(
        &self,
        run: &RunStarted,
        branch: BranchIdx,
    ) -> Result<BranchIdx, std::path::PathBuf> {
        let recorded = &run.branches[branch.index()];
        self.all_branches()
            .find(|now| self.root(*now).is_same(recorded))
            .ok_or_else(|| recorded.path.clone())
    }

    /// Returns a recorded inode under the device number its filesystem has now.
    fn current_inode(&self, at: &Place, copy: &RecordedFile) -> Result<InodeId, FsError> {
        let root = Place::new(at.branch, RelPath::root());
        let dev = self.fs.stat(&root)?.map_or(0, |stat| stat.id.dev);
        Ok(InodeId { dev, ino: copy.id.ino })
    }
}

/// Whether the copy that an undo makes is yet to be made, or made again.
fn is_unmade(op: &Begun) -> bool {
    op.copy.as_ref().is_some_and(|copy| !copy.complete)
}

/// Returns the op of `entry`, with its files, names and directories on the branches of this run.
fn begun_from(
    entry: &OpenOp,
    (master, duplicate): (OpFile, OpFile),
    source: Option<Source>,
    names: Vec<OpName>,
    dirs: Vec<DirIntent>,
) -> Begun {
    let intent: &Intent = &entry.intent;
    let undo = entry.undo.as_ref();
    let copy = undo.map(|undo| UndoCopy {
        at: Place::new(master.at.branch, undo.copy.clone()),
        made: None,
        complete: undo.copied,
        source_metadata: undo.source.clone(),
        source: None,
    });
    let (size, bytes) = (intent.duplicate.size, intent.bytes);
    let planned = Op::planned(intent.kind, master, duplicate, size, bytes, names);
    let made = undo.map(|undo| Undoing {
        of: undo.undoes,
        source,
        of_clone: undo.of_clone,
        metadata: intent.metadata.clone(),
        atime: intent.atime,
        flags: intent.flags,
        mtime: intent.master.mtime,
        blake3: intent.blake3,
        sparse: undo.sparse,
        source_mtime: intent.duplicate.mtime,
        emptied: undo.emptied.clone(),
    });
    let op = match made {
        Some(made) => planned.making(made),
        None => planned,
    };
    let op = match intent.relinks {
        Some(of) => op.relinking(of),
        None => op,
    };
    let proofs = (entry.begun(), entry.retired_record());
    Begun::open(op, proofs, intent, dirs, copy)
}

/// Checks that the kept copy has the metadata that it had when the op began, as long as the path has the duplicate
/// alone. Later the path has the kept copy: a client can then have changed the metadata by that path, and the change
/// stands.
fn kept_copy_as_recorded(op: &Begun, names: &[Observed]) -> Result<(), Halt> {
    let recorded = op.recorded.as_ref();
    let before = recorded.and_then(|recorded| recorded.master_metadata.as_ref());
    let unpublished =
        |name: &Observed| name.duplicate == DuplicateAt::Own && name.target != TargetIs::Master;
    let differs = before.is_some_and(|before| *before != op.seen().master_metadata);
    if differs && names.iter().all(unpublished) {
        let why = "owner, mode or attributes of the kept copy changed since the replacement began";
        return Err(Halt::new(Reason::Changed, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::observe::TargetIs;
    use super::*;

    fn name(duplicate: DuplicateAt, target: TargetIs) -> Observed {
        Observed {
            duplicate,
            target,
            own_taken: false,
            elsewhere: None,
            master_gone: false,
            apart: false,
        }
    }

    #[test]
    fn every_row_of_the_table_is_decided_as_designed() {
        use DuplicateAt::{Nowhere, Own, Retired};
        use TargetIs::{Absent, Duplicate, Master, Other};
        let cases = [
            (true, vec![name(Nowhere, Master)], Next::Finish),
            (true, vec![name(Nowhere, Absent)], Next::Finish),
            (false, vec![name(Nowhere, Master)], Next::Leave),
            (false, vec![name(Nowhere, Absent)], Next::Leave),
            (false, vec![name(Nowhere, Other)], Next::Leave),
            (false, vec![name(Retired, Master)], Next::Forward),
            (true, vec![name(Retired, Master)], Next::Forward),
            (true, vec![name(Retired, Absent)], Next::Forward),
            (true, vec![name(Retired, Other)], Next::Forward),
            (false, vec![name(Retired, Absent)], Next::Forward),
            (false, vec![name(Own, Absent)], Next::Forward),
            (false, vec![name(Own, Master)], Next::Forward),
            (false, vec![name(Own, Other)], Next::Back),
            (false, vec![name(Own, Duplicate)], Next::Forward),
            (true, vec![name(Nowhere, Master), name(Retired, Master)], Next::Forward),
            (false, vec![name(Nowhere, Absent), name(Retired, Absent)], Next::Forward),
            // A power cut may have kept one unlink, and not the rename of another name.
            (true, vec![name(Nowhere, Master), name(Own, Master)], Next::Forward),
            (false, vec![name(Nowhere, Master), name(Own, Master)], Next::Back),
        ];
        for (retired, names, next) in cases {
            assert_eq!(decide(retired, &names), next, "{retired} {names:?}");
        }
        let shadow = Observed { elsewhere: Some(BranchIdx(2)), ..name(Own, Absent) };
        assert_eq!(decide(false, &[shadow]), Next::Back);
    }
}
