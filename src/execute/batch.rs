//! A batch of ops, phase by phase: durability is paid once a batch, not once a file.
//!
//! The order of the steps in [`Executor::carry_out`] *is* the protocol. Each step says which crash it defends against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::begun::{Begun, Subject};
use super::compared::Compared;
use super::halt::Halt;
use super::remove::Retired;
use super::retire::Hidden;
use super::touched::sync_existing;
use super::work::{OpState, Over, Work};
use super::{Executor, OpEnded, Outcome, RunError};
use crate::fs::{Change, InodeId, Place};
use crate::journal::{Record, Store};
use crate::plan::refusal::Reason;
use crate::plan::{Found, Op};

/// The ops of a batch that are not reported yet.
#[derive(Default)]
pub(super) struct Unreported {
    /// Open in the journal.
    pub(super) open: Vec<(Begun, Halt)>,
    /// Taken back, and worth another try.
    pub(super) put_back: Vec<(Op, Halt)>,
}

/// Fails if `op` relies on a file of `failures`, which [`Executor::settle_sources`] could not make durable.
pub(super) fn settled(failures: &BTreeMap<InodeId, Halt>, op: &impl Subject) -> Result<(), Halt> {
    let files = [op.master_inode(), op.plan().duplicate_id];
    files.iter().find_map(|id| failures.get(id)).cloned().map_or(Ok(()), Err)
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Journals the intents of compared ops and carries them out.
    ///
    /// Returns the ops that were put back and are worth another try.
    pub(super) fn batch(
        &mut self,
        ops: Vec<Compared<F::File>>,
    ) -> Result<Vec<(Op, Halt)>, RunError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        self.pool_as_planned()?;
        let failures = self.settle_sources(ops.iter().map(Compared::op));
        let (mut compared, mut intents) = (Vec::new(), Vec::new());
        let mut numbered = Vec::with_capacity(ops.len());
        for op in ops {
            match settled(&failures, op.op()) {
                Err(halt) => self.not_done(op.op(), None, halt),
                Ok(()) => numbered.push((self.journal.next_op(self.run), op)),
            }
        }
        for (id, op) in numbered {
            match self.intent(id, &op) {
                Ok(intent) => {
                    intents.push(intent);
                    compared.push(op);
                }
                Err(error) => self.not_done(op.op(), Some(id), error.into()),
            }
        }
        // Durable before the first change: recovery needs no manifest and guesses no name (invariant 3).
        let recorded = self.journal.begin(intents, self.fs.now())?;
        let mut works = Vec::with_capacity(compared.len());
        for (n, (op, record)) in compared.into_iter().zip(recorded).enumerate() {
            let (op, dirs, seen, files) = op.into_parts();
            let op = Begun::new(op, dirs, seen, record);
            self.keep_open(&op, files);
            works.push(Work::new(op, n, false));
        }
        let mut over = Vec::new();
        // The files are held until the op is over, so that a client's rename or removal, or a new file of the same inode
        // number, is recognized.
        let works =
            self.each(works, &mut over, |this, op| Self::check(op, |op| Ok(this.take_grip(op)?)));
        // Ops that stay open are tried again at the end of the run.
        let unreported = self.carry_out(works, over)?;
        for (op, _) in &unreported.open {
            self.stays_open(op.master_id, op.duplicate_id);
        }
        Ok(unreported.put_back)
    }

    /// Makes durable the files and directories that the batch will rely on; returns the inodes for which that failed.
    pub(super) fn settle_sources<'o, T: Subject + 'o>(
        &mut self,
        ops: impl Iterator<Item = &'o T>,
    ) -> BTreeMap<InodeId, Halt> {
        let mut failed = BTreeMap::new();
        let (mut masters, mut unsynced) = (BTreeSet::new(), Vec::new());
        let mut dirs: BTreeMap<Place, InodeId> = BTreeMap::new();
        for op in ops {
            let plan = op.plan();
            for branch in plan.branches().collect::<BTreeSet<_>>() {
                if let Err(error) = self.fs.check_branch(branch) {
                    failed.insert(plan.duplicate_id, Halt::from(error));
                }
            }
            // The copy that an undo makes is durable since it is complete.
            if op.copy_place().is_none() && masters.insert(op.master_inode()) {
                let open = self.opened(op.master_inode());
                match open.map_or_else(|| self.open_master(op), Ok) {
                    Ok(file) => unsynced.push((op.master_inode(), file)),
                    Err(halt) => drop(failed.insert(op.master_inode(), halt)),
                }
            }
            for k in 0..plan.names.len() {
                dirs.insert(plan.own(k).dir(), plan.duplicate_id);
                if plan.names[k].found == Found::Master {
                    // Nothing is published there, so no barrier syncs it: a name of the master's that is in memory
                    // only would be lost after the hidden copy is gone.
                    dirs.insert(plan.target(k).dir(), plan.duplicate_id);
                }
            }
        }
        self.sync_masters(unsynced, &mut failed);
        let (dirs, duplicates): (Vec<_>, Vec<_>) = dirs.into_iter().unzip();
        // A duplicate that is nowhere after a crash was then removed by another program, not lost by the crash.
        for (synced, duplicate) in sync_existing(self.fs, &dirs).into_iter().zip(duplicates) {
            if let Err(error) = synced {
                failed.insert(duplicate, Halt::from(error));
            }
        }
        for halt in failed.values() {
            self.stop_branch(halt);
        }
        failed
    }

    /// Makes the data of masters durable; adds those for which that failed to `failed`.
    ///
    /// A master still in memory only: linking it, syncing the directory and removing the duplicate would leave, after a
    /// power cut, two names of 0 bytes.
    fn sync_masters(
        &self,
        masters: Vec<(InodeId, Arc<F::File>)>,
        failed: &mut BTreeMap<InodeId, Halt>,
    ) {
        let files: Vec<&F::File> = masters.iter().map(|(_, file)| &**file).collect();
        let masters = masters.iter().map(|(master, _)| *master);
        for (synced, master) in self.fs.sync_data_of_all(&files).into_iter().zip(masters) {
            if let Err(error) = synced {
                failed.insert(master, Halt::from(error));
            }
        }
    }

    /// Carries out ops whose intents are durable, from whatever state they are in; returns the ops that are not
    /// reported yet. `over` has the ops that have come to their end already.
    pub(super) fn carry_out(
        &mut self,
        works: Vec<Work<Begun>>,
        mut over: Vec<Over>,
    ) -> Result<Unreported, RunError> {
        let over = &mut over;
        let works = self.make_parents(works, over);
        // New directories have their names durably before anything is linked into them: else a power cut could keep
        // a link inside a directory that is still called by its hidden name.
        let works = self.sync_touched(works, over, |op| op);
        let published = self.each(works, over, Self::publish);
        let durable = self.barrier(published, over);
        let hidden = self.each(durable, over, Self::retire);
        let retired = self.record_retired(hidden)?;
        for work in retired {
            let state = self.removed(&work.op);
            self.observer.stepped();
            over.push(work.map(Retired::into_begun).over(state));
        }
        over.sort_by_key(|ended| ended.n);
        self.remove_emptied(over);
        for ended in over.iter_mut() {
            // Not before all ops of the batch are through: they may share a directory.
            if matches!(ended.state, OpState::Restored(_) | OpState::Conflict(..))
                && let Err(halt) = self.remove_made(&ended.op)
            {
                self.stop_branch(&halt);
                ended.state = OpState::Stuck(halt);
            }
        }
        for error in self.touched.give_times_back(self.fs) {
            tracing::warn!(%error, "directory keeps its new time");
            self.stop_branch(&Halt::from(error));
        }
        // The unlinks and the take-backs are durable before the journal says so.
        self.sync_touched(Vec::<Work<Begun>>::new(), over, |op| op);
        self.conclude(std::mem::take(over))
    }

    /// Records the retired ops whose `Retired` record is missing.
    ///
    /// No unlink happens before this record is durable. After a crash, only the record proves that this program removed
    /// a duplicate that is nowhere. Without the record a client deleted the path, and the replacement must not bring
    /// the path back.
    fn record_retired(
        &mut self,
        hidden: Vec<Work<Hidden>>,
    ) -> Result<Vec<Work<Retired>>, RunError> {
        let new = hidden.iter().filter(|work| work.op.record().is_none());
        let new: Vec<_> = new.map(|work| work.op.begun().record()).collect();
        let mut proofs = self.journal.retired(&new, self.fs.now())?.into_iter();
        let retired = hidden.into_iter().filter_map(|work| {
            let proof = work.op.record().or_else(|| proofs.next())?;
            Some(work.map(|op| Retired::new(op, proof)))
        });
        Ok(retired.collect())
    }

    /// Removes what `op` retired.
    fn removed(&mut self, op: &Retired) -> OpState {
        let removed = self.not_stopped(op).and_then(|()| self.remove(op)).and_then(|reclaimed| {
            if op.recorded.is_some() {
                // An interrupted process made a directory aside, or hid links of the kept copy that it could not
                // remove; no op needed them since.
                self.clear_hidden(op)?;
            } else {
                self.clear_copy(op)?;
            }
            Ok(reclaimed)
        });
        match removed {
            // An undo frees nothing: the file that goes was copied.
            Ok(reclaimed) => OpState::Removed(if op.undo().is_some() { 0 } else { reclaimed }),
            Err(halt) if halt.reason == Reason::Conflict => {
                OpState::Conflict(halt, self.places_left(op))
            }
            // Retired and recorded: only forward, later.
            Err(halt) => {
                self.stop_branch(&halt);
                OpState::Stuck(halt)
            }
        }
    }

    /// Records how each op ended, then reports it; returns the ops that are not reported yet.
    fn conclude(&mut self, over: Vec<Over>) -> Result<Unreported, RunError> {
        let mut records = Vec::new();
        for ended in &over {
            let op = ended.op.id();
            match &ended.state {
                OpState::Removed(reclaimed) => {
                    records.push(Record::Done { op, reclaimed: *reclaimed });
                }
                OpState::Restored(halt) => {
                    records.push(Record::Restored { op, why: halt.to_string() });
                }
                OpState::Conflict(halt, left) => {
                    let (why, left) = (halt.to_string(), left.clone());
                    records.push(Record::Conflict { op, why, left });
                }
                OpState::Stuck(_) => {}
            }
        }
        self.journal.record(&records, self.fs.now())?;
        let mut unreported = Unreported::default();
        for ended in over {
            let Over { op, recovered, state, .. } = ended;
            if !matches!(state, OpState::Stuck(_)) {
                self.let_go(op.id(), matches!(state, OpState::Removed(_)));
            }
            let outcome = match state {
                OpState::Removed(reclaimed) => Outcome::Done { reclaimed },
                OpState::Restored(halt) if halt.again && op.recorded.is_none() => {
                    unreported.put_back.push((op.into_op().as_planned().into_owned(), halt));
                    continue;
                }
                OpState::Restored(halt) => Outcome::NotDone(halt),
                OpState::Conflict(halt, left) => {
                    let left = left.into_iter().map(|(branch, path)| Place::new(branch, path));
                    Outcome::Conflict(halt, left.collect())
                }
                OpState::Stuck(halt) => {
                    unreported.open.push((op, halt));
                    continue;
                }
            };
            self.observer.ended(&OpEnded {
                op: &op.as_planned(),
                id: Some(op.id()),
                outcome: &outcome,
                recovered,
            });
        }
        Ok(unreported)
    }
}
