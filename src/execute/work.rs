//! An op on its way through the phases of a batch, and how the op leaves the batch.

use std::ops::Deref;

use super::Executor;
use super::begun::{Begun, Subject as _};
use super::halt::Halt;
use super::observe::DuplicateAt;
use super::take_back::Back;
use crate::fs::Change;
use crate::journal::Store;
use crate::plan::Op;
use crate::plan::refusal::Reason;
use crate::pool::BranchIdx;

/// An op on its way through a batch, at the phase `P`.
pub(super) struct Work<P> {
    pub(super) op: P,
    /// Its place in the batch: the order of records and reports.
    pub(super) n: usize,
    /// Whether an earlier run began the op.
    pub(super) recovered: bool,
}

/// An op that goes no further, and its state.
pub(super) struct Over {
    pub(super) op: Begun,
    pub(super) n: usize,
    pub(super) recovered: bool,
    pub(super) state: OpState,
}

/// The state of an op that goes no further.
pub(super) enum OpState {
    /// Taken back; to be recorded once its directories are synced.
    Restored(Halt),
    /// Can neither go on nor be taken back now.
    Stuck(Halt),
    /// See [`Back::Conflict`].
    Conflict(Halt, Vec<(BranchIdx, crate::pool::relpath::RelPath)>),
    /// Unlinked; to be recorded once its directories are synced.
    Removed(u64),
}

/// An op that a phase did not let through, with the reason.
pub(super) struct Halted {
    pub(super) op: Begun,
    pub(super) halt: Halt,
}

/// A phase's result: an op of the next phase, or the reason why not.
pub(super) type Phase<P> = Result<P, Box<Halted>>;

impl<P> Work<P> {
    pub(super) fn new(op: P, n: usize, recovered: bool) -> Self {
        Self { op, n, recovered }
    }

    pub(super) fn map<Q>(self, next: impl FnOnce(P) -> Q) -> Work<Q> {
        Work::new(next(self.op), self.n, self.recovered)
    }
}

impl Work<Begun> {
    pub(super) fn over(self, state: OpState) -> Over {
        Over { op: self.op, n: self.n, recovered: self.recovered, state }
    }
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Runs one phase over ops; takes back the ops that the phase does not let through.
    pub(super) fn each<P, Q>(
        &mut self,
        works: Vec<Work<P>>,
        over: &mut Vec<Over>,
        mut phase: impl FnMut(&mut Self, P) -> Phase<Q>,
    ) -> Vec<Work<Q>> {
        self.each_part(works, over, |this, op| {
            let op = phase(this, op)?;
            this.observer.stepped();
            Ok(op)
        })
    }

    /// Runs a part of a phase over ops, as [`Self::each`].
    pub(super) fn each_part<P, Q>(
        &mut self,
        works: Vec<Work<P>>,
        over: &mut Vec<Over>,
        mut part: impl FnMut(&mut Self, P) -> Phase<Q>,
    ) -> Vec<Work<Q>> {
        let mut through = Vec::with_capacity(works.len());
        for Work { op, n, recovered } in works {
            match part(self, op) {
                Ok(op) => through.push(Work::new(op, n, recovered)),
                Err(halted) => {
                    let Halted { op, halt } = *halted;
                    self.stop_branch(&halt);
                    // At once: until then a replacement that may not stay is visible.
                    let state = self.back(&op, halt);
                    over.push(Work::new(op, n, recovered).over(state));
                }
            }
        }
        through
    }

    /// A step that leaves an op at its phase.
    pub(super) fn check<P: Into<Begun>>(
        mut op: P,
        step: impl FnOnce(&mut P) -> Result<(), Halt>,
    ) -> Phase<P> {
        match step(&mut op) {
            Ok(()) => Ok(op),
            Err(halt) => Err(Box::new(Halted { op: op.into(), halt })),
        }
    }

    /// Takes an op back; it is reported with `why`.
    pub(super) fn back(&mut self, op: &Begun, why: Halt) -> OpState {
        if self.begun_to_remove(op) {
            // After the first unlink of a link set there is only forward: later, or by a person.
            return if why.again || why.stops.is_some() || why.reason == Reason::BranchFailed {
                OpState::Stuck(why)
            } else {
                OpState::Conflict(why, self.places_left(op))
            };
        }
        match self.take_back(op) {
            Back::Restored => OpState::Restored(why),
            // A client did the work of the op.
            Back::Replaced => OpState::Removed(0),
            Back::Stuck(halt) => {
                self.stop_branch(&halt);
                OpState::Stuck(halt)
            }
            Back::Conflict { halt, left } => OpState::Conflict(halt, left),
        }
    }

    /// Whether retired names of the op may be unlinked already.
    fn begun_to_remove(&self, op: &Begun) -> bool {
        let there = |k| self.observe(op, k).is_ok_and(|o| o.duplicate != DuplicateAt::Nowhere);
        op.is_retired() && !(0..op.names.len()).all(there)
    }

    /// Syncs the changed directories. If that fails, nothing is known about what is durable on the branch: its ops stay open.
    pub(super) fn sync_touched<P: Deref<Target = Op>>(
        &mut self,
        mut works: Vec<Work<P>>,
        over: &mut Vec<Over>,
        begun: fn(P) -> Begun,
    ) -> Vec<Work<P>> {
        for error in self.touched.sync(self.fs) {
            let branch = error.branch;
            // A limit says nothing about the disk; the ops stay open all the same.
            let stops = error.limit().is_none().then(|| error.stops());
            let halt = Halt { stops, ..Halt::from(error) };
            self.stop_branch(&halt);
            let is_there = |op: &Op| op.branches().any(|b| b == branch);
            for ended in over.iter_mut().filter(|ended| is_there(&ended.op)) {
                ended.state = OpState::Stuck(halt.clone());
            }
            let (stuck, going) = works.into_iter().partition(|work| is_there(&work.op));
            works = going;
            let stuck: Vec<Work<P>> = stuck;
            let stuck = stuck.into_iter().map(|work| work.map(begun));
            over.extend(stuck.map(|work| work.over(OpState::Stuck(halt.clone()))));
        }
        works
    }
}
