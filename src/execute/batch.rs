//! A batch of ops, phase by phase: durability is paid once a batch, not once a file.
//!
//! The order of the steps in [`Executor::carry_out`] *is* the protocol. Each says which crash it defends against.

use std::collections::{BTreeMap, BTreeSet};

use super::halt::Halt;
use super::observe::DuplicateAt;
use super::op::Op;
use super::take_back::Back;
use super::{Executor, Outcome, RunError};
use crate::fs::{Fs, InodeId, Place};
use crate::journal::{Found, Record, Store};
use crate::plan::refusal::Reason;
use crate::pool::BranchIdx;

/// An op on its way through a batch.
pub(super) struct Work {
    pub(super) op: Op,
    pub(super) state: State,
    /// Begun by an earlier run or earlier in this one.
    pub(super) recovered: bool,
}

/// How far it came.
pub(super) enum State {
    /// Going on.
    Going,
    /// Taken back; to be recorded once its directories are synced.
    Restored(Halt),
    /// Can neither go on nor be taken back now.
    Stuck(Halt),
    /// See [`Back::Conflict`].
    Conflict(Halt, Vec<(BranchIdx, crate::pool::relpath::RelPath)>),
    /// Unlinked; to be recorded once its directories are synced.
    Removed(u64),
}

/// What of a batch is not reported yet.
#[derive(Default)]
pub(super) struct Ended {
    /// Open in the journal.
    pub(super) open: Vec<(Op, Halt)>,
    /// As before, and worth another try.
    pub(super) put_back: Vec<(Op, Halt)>,
}

impl<F: Fs, S: Store> Executor<'_, F, S> {
    /// Journals the intents of compared ops and carries them out.
    ///
    /// Gives the ops that were put back and are worth another try.
    pub(super) fn batch(&mut self, ops: Vec<Op>) -> Result<Vec<(Op, Halt)>, RunError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(what) = self.observer.pool_changed() {
            return Err(RunError::PoolChanged(what));
        }
        if ops.iter().any(|op| op.undo.is_some()) {
            return self.undo_batch(ops);
        }
        let mut works = Vec::with_capacity(ops.len());
        let failures = self.settle_sources(&ops);
        for mut op in ops {
            let failed = failures
                .get(&op.master_id)
                .or_else(|| failures.get(&op.duplicate_id));
            if let Some(halt) = failed.cloned() {
                self.not_done(&op, halt);
                continue;
            }
            op.id = Some(self.journal.next_op(self.run));
            op.published = Some(vec![false; op.names.len()]);
            works.push(Work {
                op,
                state: State::Going,
                recovered: false,
            });
        }
        let mut intents = Vec::with_capacity(works.len());
        let mut recorded = Vec::with_capacity(works.len());
        for work in works {
            match self.intent(&work.op) {
                Ok(intent) => {
                    intents.push(Record::Intent(Box::new(intent)));
                    recorded.push(work);
                }
                Err(error) => self.not_done(&work.op, error.into()),
            }
        }
        let mut works = recorded;
        // Durable before the first change: recovery needs no manifest and guesses no name (invariant 3).
        self.journal.record(&intents, self.fs.now())?;
        // From now on, so that a client's rename, removal or new file of the same inode number is told apart.
        self.each(&mut works, |this, op| Ok(this.take_grip(op)?));
        // What stays open is tried again at the end of the run.
        let ended = self.carry_out(works)?;
        for (op, _) in &ended.open {
            self.stays_open(op);
        }
        Ok(ended.put_back)
    }

    /// Makes durable what the batch will rely on; gives the inodes for which that failed.
    pub(super) fn settle_sources(&mut self, ops: &[Op]) -> BTreeMap<InodeId, Halt> {
        let mut failed = BTreeMap::new();
        let mut masters = BTreeSet::new();
        let mut dirs: BTreeMap<Place, InodeId> = BTreeMap::new();
        for op in ops {
            for branch in op.branches().collect::<BTreeSet<_>>() {
                if let Err(error) = self.fs.check_branch(branch) {
                    failed.insert(op.duplicate_id, Halt::from(error));
                }
            }
            if masters.insert(op.master_id) {
                // A master still in memory only: linking it, syncing the directory and removing the duplicate
                // would leave, after a power cut, two names of 0 bytes.
                let synced = self
                    .open_master(op)
                    .and_then(|file| Ok(self.fs.sync_data(&file)?));
                if let Err(halt) = synced {
                    failed.insert(op.master_id, halt);
                }
            }
            for k in 0..op.names.len() {
                dirs.insert(op.own(k).dir(), op.duplicate_id);
                if op.names[k].found == Found::Master {
                    // Nothing is published there, so no barrier syncs it: a name of the master's that is in memory
                    // only would be lost after the hidden copy is gone.
                    dirs.insert(op.target(k).dir(), op.duplicate_id);
                }
            }
        }
        for (dir, duplicate) in dirs {
            // A duplicate that is nowhere after a crash was then removed by somebody, not lost by the crash.
            match self.fs.sync_dir(&dir) {
                // Removed with all its names, by a client or by an undo that left it empty: nothing to sync.
                Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => {}
                Err(error) => drop(failed.insert(duplicate, Halt::from(error))),
                Ok(()) => {}
            }
        }
        for halt in failed.values() {
            self.stop_branch(halt);
        }
        failed
    }

    /// Carries out ops whose intents are durable, from wherever they are; gives those that are not
    /// reported yet.
    pub(super) fn carry_out(&mut self, mut works: Vec<Work>) -> Result<Ended, RunError> {
        self.each(&mut works, |this, op| {
            this.not_stopped(op)?;
            this.make_parents(op)
        });
        // New directories have their names durably before anything is linked into them: else a power cut could keep
        // a link inside a directory that is still called by its hidden name.
        self.sync_touched(&mut works);
        self.each(&mut works, |this, op| {
            this.not_stopped(op)?;
            this.publish(op)
        });
        // Barrier. The replacements are durable before any duplicate leaves its name: a power cut may undo the one
        // that is not synced, and must never undo both.
        self.sync_touched(&mut works);
        self.each(&mut works, |this, op| {
            this.not_stopped(op)?;
            this.retire(op)
        });
        let retired = works
            .iter()
            .filter(|w| matches!(w.state, State::Going) && !w.op.retired);
        let records: Vec<_> = retired
            .filter_map(|w| w.op.id)
            .map(|op| Record::Retired { op })
            .collect();
        // No unlink before this is durable: after a crash, a duplicate that is nowhere was removed by us only if
        // the record says so; without it somebody deleted the path, and the replacement must not bring it back.
        self.journal.record(&records, self.fs.now())?;
        for work in &mut works {
            work.op.retired |= matches!(work.state, State::Going);
        }
        for work in works
            .iter_mut()
            .filter(|work| matches!(work.state, State::Going))
        {
            work.state = self.removed(&work.op);
        }
        self.remove_emptied(&mut works);
        for work in &mut works {
            // Not before all ops of the batch are through: they may share a directory.
            if matches!(work.state, State::Restored(_) | State::Conflict(..))
                && let Err(halt) = self.remove_made(&work.op)
            {
                self.stop_branch(&halt);
                work.state = State::Stuck(halt);
            }
        }
        for error in self.touched.give_times_back(self.fs) {
            tracing::warn!(%error, "directory keeps its new time");
            self.stop_branch(&Halt::from(error));
        }
        // The unlinks, and what was taken back, are durable before the journal says so.
        self.sync_touched(&mut works);
        self.conclude(works)
    }

    /// Removes what `op` retired.
    fn removed(&mut self, op: &Op) -> State {
        let removed = self
            .not_stopped(op)
            .and_then(|()| self.remove(op))
            .and_then(|reclaimed| self.clear_copy(op).map(|()| reclaimed))
            .and_then(|reclaimed| match op.recorded.is_some() {
                // What an interrupted process made aside, and nobody needed since.
                true => self.clear_aside(op).map(|()| reclaimed),
                false => Ok(reclaimed),
            });
        match removed {
            Ok(reclaimed) => State::Removed(reclaimed),
            Err(halt) if halt.reason == Reason::Conflict => {
                State::Conflict(halt, self.places_left(op))
            }
            // Retired and recorded: only forward, later.
            Err(halt) => {
                self.stop_branch(&halt);
                State::Stuck(halt)
            }
        }
    }

    /// Runs one phase over the ops that are still going.
    pub(super) fn each(
        &mut self,
        works: &mut [Work],
        phase: impl Fn(&mut Self, &mut Op) -> Result<(), Halt>,
    ) {
        for work in works
            .iter_mut()
            .filter(|work| matches!(work.state, State::Going))
        {
            if let Err(halt) = phase(self, &mut work.op) {
                self.stop_branch(&halt);
                // At once: a replacement that may not stay is visible until then.
                work.state = self.back(&work.op, halt);
            }
        }
    }

    /// Takes an op back; `why` is what it is reported with.
    pub(super) fn back(&mut self, op: &Op, why: Halt) -> State {
        if self.begun_to_remove(op) {
            // After the first unlink of a link set there is only forward: later, or by a person.
            return if why.again || why.stops.is_some() || why.reason == Reason::BranchFailed {
                State::Stuck(why)
            } else {
                State::Conflict(why, self.places_left(op))
            };
        }
        match self.take_back(op) {
            Back::Restored => State::Restored(why),
            // A client did what the op was to do.
            Back::Replaced => State::Removed(0),
            Back::Stuck(halt) => {
                self.stop_branch(&halt);
                State::Stuck(halt)
            }
            Back::Conflict { halt, left } => State::Conflict(halt, left),
        }
    }

    /// Whether some, not all, of its retired names may be unlinked already.
    fn begun_to_remove(&self, op: &Op) -> bool {
        let gone = |k| {
            self.observe(op, k)
                .is_ok_and(|o| o.duplicate != DuplicateAt::Nowhere)
        };
        op.retired && !(0..op.names.len()).all(gone)
    }

    /// Syncs what was changed. Where that fails, nothing is known about the branch: its ops stay open.
    pub(super) fn sync_touched(&mut self, works: &mut [Work]) {
        for (branch, error) in self.touched.sync(self.fs) {
            let halt = Halt {
                stops: Some(branch),
                ..Halt::from(error)
            };
            self.stop_branch(&halt);
            for work in works
                .iter_mut()
                .filter(|work| work.op.branches().any(|b| b == branch))
            {
                work.state = State::Stuck(halt.clone());
            }
        }
    }

    /// Records how each op ended, then reports it; gives those that are not
    /// reported yet.
    fn conclude(&mut self, works: Vec<Work>) -> Result<Ended, RunError> {
        let mut records = Vec::new();
        for work in &works {
            let Some(op) = work.op.id else { continue };
            match &work.state {
                State::Removed(reclaimed) => {
                    records.push(Record::Done {
                        op,
                        reclaimed: *reclaimed,
                    });
                }
                State::Restored(halt) => {
                    records.push(Record::Restored {
                        op,
                        why: halt.to_string(),
                    });
                }
                State::Conflict(halt, left) => {
                    let (why, left) = (halt.to_string(), left.clone());
                    records.push(Record::Conflict { op, why, left });
                }
                State::Going | State::Stuck(_) => {}
            }
        }
        self.journal.record(&records, self.fs.now())?;
        let mut ended = Ended::default();
        for work in works {
            if !matches!(work.state, State::Stuck(_)) {
                self.let_go(&work.op);
            }
            let outcome = match work.state {
                State::Removed(reclaimed) => Outcome::Done { reclaimed },
                State::Restored(halt) if halt.again && work.op.recorded.is_none() => {
                    ended.put_back.push((work.op.begun_anew(), halt));
                    continue;
                }
                State::Restored(halt) => Outcome::NotDone(halt),
                State::Conflict(halt, _) => Outcome::Conflict(halt),
                State::Stuck(halt) => {
                    ended.open.push((work.op, halt));
                    continue;
                }
                State::Going => continue,
            };
            self.observer.outcome(&work.op, &outcome, work.recovered);
        }
        Ok(ended)
    }
}
