//! A run from its first op to its last: which ops it begins, in which batch, and which it tries again at the end.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::compared::Compared;
use super::halt::Halt;
use super::parents::missing_parents;
use super::undo::Examined;
use super::{Executor, OpEnded, Outcome, PathAccess, RunError};
use crate::fs::{Change, InodeId, Place};
use crate::journal::Store;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, Op, OpId, Task};

/// How long the end of a run waits for files that were changed a moment ago.
const SETTLE: Duration = Duration::from_millis(2_100);

/// An op that may be begun.
enum Ready {
    Replace(Box<Compared>),
    Undo(Box<Examined>),
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Does `ops` in order. Ops that were busy, or whose files changed a moment ago, are tried again at the end.
    ///
    /// Every op is reported to the observer exactly once, unless the run stops with an error.
    ///
    /// # Errors
    /// When the journal fails or the pool changed. Ops that were not reported were not begun, or are open in the
    /// journal.
    pub fn run(&mut self, ops: Vec<Op>) -> Result<(), RunError> {
        for entry in self.journal.open_ops() {
            let op = self.begun_of(&entry).0;
            self.stays_open(op.master_id, op.duplicate_id);
        }
        let again = self.pass(ops.into(), false)?;
        if !again.is_empty() {
            if self.asked_to_stop().is_none() {
                self.fs.pause(SETTLE);
            }
            self.pass(again, true)?;
        }
        // These ops could neither go on nor be taken back then: another program had a file open, and may have closed it
        // since.
        let run = self.run;
        for open in self.recover(|open| open.intent.op.run == run)? {
            self.observer.ended(&OpEnded {
                op: &open.op,
                id: Some(open.id),
                outcome: &Outcome::Open(open.halt),
                recovered: false,
            });
        }
        Ok(())
    }

    /// One pass over `queue`; returns the ops worth another try.
    fn pass(&mut self, mut queue: VecDeque<Op>, last: bool) -> Result<VecDeque<Op>, RunError> {
        let mut again = VecDeque::new();
        while !queue.is_empty() {
            let (mut compared, mut examined) = (Vec::new(), Vec::new());
            let mut masters = BTreeSet::new();
            let mut bytes = 0;
            while compared.len() + examined.len() < self.options.batch_ops
                && bytes < self.options.batch_bytes
            {
                // The duplicate of one op must not be the master of another in the same batch: recovery takes each op
                // by itself.
                let entangled = |next: &Op| masters.contains(&next.duplicate_id);
                if queue.front().is_some_and(entangled) {
                    break;
                }
                let Some(op) = queue.pop_front() else {
                    break;
                };
                match self.begin(&op) {
                    Ok(ready) => {
                        bytes += op.size;
                        masters.insert(op.master_id);
                        match ready {
                            Ready::Replace(op) => compared.push(*op),
                            Ready::Undo(op) => examined.push(*op),
                        }
                    }
                    Err(halt) if halt.again && !last => again.push_back(op),
                    Err(halt) => self.not_done(&op, None, halt),
                }
            }
            let mut put_back = self.batch(compared)?;
            put_back.extend(self.undo_batch(examined)?);
            self.release_dirs();
            match last {
                // Another program came in between; at the end of the run perhaps no longer.
                false => again.extend(put_back.into_iter().map(|(op, _)| op)),
                true => put_back.into_iter().for_each(|(op, halt)| self.not_done(&op, None, halt)),
            }
        }
        Ok(again)
    }

    fn begin(&mut self, op: &Op) -> Result<Ready, Halt> {
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
        if let Task::Undo(undo) = &op.task {
            let examined = self.examine(op, undo)?;
            return Ok(Ready::Undo(Box::new(examined)));
        }
        // Checked first: otherwise gigabytes may be read for nothing.
        let dirs = self.missing_parents_of(op)?;
        PathAccess::new(self.fs).same(op, &dirs, self.options.ignore)?;
        let compared = self.compare(op)?;
        let dirs = self.missing_parents_of(op)?;
        Ok(Ready::Replace(Box::new(compared.with_dirs(dirs))))
    }

    /// Returns the directories that `op` needs on the master's branch and that are missing now.
    pub(super) fn missing_parents_of(&self, op: &Op) -> Result<Vec<DirIntent>, Halt> {
        let branches = u16::try_from(self.options.branches.len()).unwrap_or(u16::MAX);
        let stat = &mut |place: &Place| self.fs.stat(place);
        missing_parents(stat, branches, self.options.newest_dirs, op)
    }

    pub(super) fn not_stopped(&self, op: &Op) -> Result<(), Halt> {
        match op.branches().find(|branch| self.stopped.contains(branch)) {
            Some(_) => Err(Halt::new(Reason::BranchFailed, "its branch had an error before")),
            None => Ok(()),
        }
    }

    /// Refuses an op that shares a file with an op that stays open. An open op goes on from its two files: neither may
    /// become another op's duplicate, and its duplicate may not become another op's master.
    fn not_open(&self, op: &Op) -> Result<(), Halt> {
        let (masters, duplicates) = &self.open;
        let used = masters.contains(&op.duplicate_id)
            || duplicates.contains(&op.duplicate_id)
            || duplicates.contains(&op.master_id);
        if used {
            Err(Halt::new(Reason::Busy, "a replacement that is still open uses one of the files"))
        } else {
            Ok(())
        }
    }

    pub(super) fn stays_open(&mut self, master: InodeId, duplicate: InodeId) {
        self.open.0.insert(master);
        self.open.1.insert(duplicate);
    }

    /// Reports an op that changed nothing; `id` is its number, if it was begun.
    pub(super) fn not_done(&mut self, op: &Op, id: Option<OpId>, halt: Halt) {
        self.stop_branch(&halt);
        self.observer.ended(&OpEnded {
            op,
            id,
            outcome: &Outcome::NotDone(halt),
            recovered: false,
        });
    }

    pub(super) fn stop_branch(&mut self, halt: &Halt) {
        self.stopped.extend(halt.stops);
    }
}
