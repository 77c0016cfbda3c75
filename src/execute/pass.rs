//! A run from its first op to its last: which are begun, in which batch, and which once more at the end.

use std::collections::VecDeque;
use std::time::Duration;

use super::halt::Halt;
use super::op::Op;
use super::parents::missing_parents;
use super::{Executor, Outcome, RunError, Ways};
use crate::fs::{Fs, Place};
use crate::journal::Store;
use crate::plan::refusal::Reason;

/// How long files changed a moment ago are waited for, at the end of a run.
const SETTLE: Duration = Duration::from_millis(2_100);

impl<F: Fs, S: Store> Executor<'_, F, S> {
    /// Does `ops` in order; those that were busy or changed a moment ago once more at the end.
    ///
    /// Every op is reported to the observer exactly once, unless the run stops with an error.
    ///
    /// # Errors
    /// When the journal fails or the pool changed; ops not reported were not begun, or are open in the journal.
    pub fn run(&mut self, ops: Vec<Op>) -> Result<(), RunError> {
        for entry in self.journal.open_ops() {
            self.stays_open(&self.op_of(&entry).0);
        }
        let again = self.pass(ops.into(), false)?;
        if !again.is_empty() {
            if self.asked_to_stop().is_none() {
                self.fs.pause(SETTLE);
            }
            self.pass(again, true)?;
        }
        // What could neither go on nor be taken back then: somebody had it open, perhaps no longer.
        let run = self.run;
        for (op, halt) in self.recover(|open| open.intent.op.run == run)? {
            self.observer.outcome(&op, &Outcome::Open(halt), false);
        }
        Ok(())
    }

    /// One pass over `queue`; gives the ops worth another try.
    fn pass(&mut self, mut queue: VecDeque<Op>, last: bool) -> Result<VecDeque<Op>, RunError> {
        let mut again = VecDeque::new();
        while !queue.is_empty() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while batch.len() < self.options.batch_ops && bytes < self.options.batch_bytes {
                // What one op links to must not go in the same batch: recovery takes each op by itself.
                let entangled =
                    |next: &Op| batch.iter().any(|b: &Op| b.master_id == next.duplicate_id);
                if queue.front().is_some_and(entangled) {
                    break;
                }
                let Some(mut op) = queue.pop_front() else {
                    break;
                };
                match self.begin(&mut op) {
                    Ok(()) => {
                        bytes += op.size;
                        batch.push(op);
                    }
                    Err(halt) if halt.again && !last => again.push_back(op),
                    Err(halt) => self.not_done(&op, halt),
                }
            }
            let put_back = self.batch(batch)?;
            self.release_dirs();
            match last {
                // Somebody came in between; at the end of the run perhaps no longer.
                false => again.extend(put_back.into_iter().map(|(op, _)| op)),
                true => put_back
                    .into_iter()
                    .for_each(|(op, halt)| self.not_done(&op, halt)),
            }
        }
        Ok(again)
    }

    fn begin(&mut self, op: &mut Op) -> Result<(), Halt> {
        if let Some(reason) = self.asked_to_stop() {
            return Err(Halt::new(reason, "not begun"));
        }
        self.not_stopped(op)?;
        self.not_open(op)?;
        if let Some(branch) = op.branches().find(|b| self.root(*b).fs.is_none()) {
            let path = &self.root(branch).path;
            return Err(Halt::new(Reason::NoIdentity, format!("{path:?}")));
        }
        self.pin_dirs(op)?;
        if op.undo.is_some() {
            return self.begin_undo(op);
        }
        let branches = u16::try_from(self.options.branches.len()).unwrap_or(u16::MAX);
        let newest = self.options.newest_dirs;
        let fs = self.fs;
        let stat = &mut |place: &Place| fs.stat(place);
        // Before gigabytes are read for nothing.
        op.dirs = missing_parents(stat, branches, newest, op)?;
        Ways::new(fs).same(op, self.options.ignore)?;
        self.compare(op)?;
        op.dirs = missing_parents(stat, branches, newest, op)?;
        Ok(())
    }

    pub(super) fn not_stopped(&self, op: &Op) -> Result<(), Halt> {
        match op.branches().find(|branch| self.stopped.contains(branch)) {
            Some(_) => Err(Halt::new(
                Reason::BranchFailed,
                "its branch had an error before",
            )),
            None => Ok(()),
        }
    }

    /// An op that stays open goes on from its two files: none of them may become another's duplicate, nor what is to
    /// go a master.
    fn not_open(&self, op: &Op) -> Result<(), Halt> {
        let (masters, duplicates) = &self.open;
        let used = masters.contains(&op.duplicate_id)
            || duplicates.contains(&op.duplicate_id)
            || duplicates.contains(&op.master_id);
        match used {
            true => Err(Halt::new(
                Reason::Busy,
                "an op that is still open uses one of the files",
            )),
            false => Ok(()),
        }
    }

    pub(super) fn stays_open(&mut self, op: &Op) {
        self.open.0.insert(op.master_id);
        self.open.1.insert(op.duplicate_id);
    }

    pub(super) fn not_done(&mut self, op: &Op, halt: Halt) {
        self.stop_branch(&halt);
        self.observer.outcome(op, &Outcome::NotDone(halt), false);
    }

    pub(super) fn stop_branch(&mut self, halt: &Halt) {
        self.stopped.extend(halt.stops);
    }
}
