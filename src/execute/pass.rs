//! A run from its first op to its last: which ops it begins, in which batch, and which it tries again at the end.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::compare::{Held, Opened};
use super::compared::{Compared, Equal};
use super::halt::Halt;
use super::parents::missing_parents;
use super::undo::Examined;
use super::{Executor, OpEnded, Outcome, PathAccess, RunError};
use crate::fs::{Change, InodeId, Place};
use crate::journal::Store;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, Op, OpId, Task};
use crate::pool::relpath::RelPath;

/// How long the end of a run waits for files that were changed a moment ago.
const SETTLE: Duration = Duration::from_millis(2_100);

/// Directories of the names of a batch, at most: each is held and watched on two branches, and all root programs share the
/// kernel's watches, of which there are 8,192 on a small machine.
const BATCH_DIRS: usize = 1_024;

/// So many ops share a batch however big their files are: enough for a file on each of several disks.
const BIG_OPS: usize = 4;

/// An op that may be begun.
enum Ready<'f, F: Change> {
    /// The kept copy and the duplicate.
    Replace(Box<(Held<'f, F>, Held<'f, F>)>),
    Undo(Box<Examined>),
}

/// The ops that will share a barrier.
#[derive(Default)]
pub(super) struct Batch {
    masters: BTreeSet<InodeId>,
    /// Ops taken into it, compared or not.
    ops: usize,
    /// Their names.
    names: usize,
    /// The directories of their names.
    dirs: BTreeSet<RelPath>,
    bytes: u64,
}

impl Batch {
    /// Counts an op of these names whose files have so many bytes.
    pub(super) fn count<'n>(&mut self, names: impl Iterator<Item = &'n RelPath>, bytes: u64) {
        self.ops += 1;
        for name in names {
            self.names += 1;
            self.dirs.extend(name.parent());
        }
        self.bytes += bytes;
    }

    /// Whether there is room for another op, if so many names and bytes are allowed.
    fn is_within(&self, names: usize, bytes: u64) -> bool {
        let small = self.bytes < bytes || self.ops < BIG_OPS;
        small && self.names < names && self.dirs.len() < BATCH_DIRS
    }
}

impl<'a, F: Change, S: Store> Executor<'a, F, S> {
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
        let (shares, ops): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(Op::shares);
        self.share_all(shares)?;
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
        self.busy.clear();
        while !queue.is_empty() {
            let mut batch = Batch::default();
            let (mut opened, mut compared, mut examined) = (Vec::new(), Vec::new(), Vec::new());
            while self.has_room(&batch) {
                // The duplicate of one op must not be the master of another in the same batch: recovery takes each op by
                // itself.
                let entangled = |next: &Op| batch.masters.contains(&next.duplicate_id);
                if queue.front().is_some_and(entangled) {
                    break;
                }
                let Some(op) = queue.pop_front() else { break };
                match self.begin(&op) {
                    Ok(ready) => {
                        batch.count(op.names.iter().map(|name| &name.path), op.size);
                        batch.masters.insert(op.master_id);
                        match ready {
                            Ready::Replace(held) => {
                                let (master, duplicate) = *held;
                                opened.push(Opened { op, master, duplicate });
                            }
                            Ready::Undo(undo) => examined.push(*undo),
                        }
                    }
                    Err(halt) if halt.again && !last => again.push_back(halt.next_try(op)),
                    Err(halt) => self.not_done(&op, None, halt),
                }
            }
            let files = opened.iter().flat_map(|opened| [&opened.master, &opened.duplicate]);
            let unreadable = self.hash_ahead(&files.collect::<Vec<_>>());
            for Opened { op, master, duplicate } in opened {
                let failed = [op.master_id, op.duplicate_id];
                let failed = failed.iter().find_map(|id| unreadable.get(id)).cloned();
                let found = failed.map_or(Ok(()), Err).and_then(|()| {
                    self.not_stopped(&op)?;
                    self.compared(&op, master, duplicate)
                });
                match found {
                    Ok((equal, dirs)) => {
                        self.observer.stepped();
                        compared.push(Compared::new(op, equal, dirs));
                    }
                    Err(halt) if halt.again && !last => again.push_back(halt.next_try(op)),
                    Err(halt) => self.not_done(&op, None, halt),
                }
            }
            let (clones, links): (Vec<_>, Vec<_>) =
                compared.into_iter().partition(|compared| compared.op().reflinks());
            let mut put_back = self.batch(links)?;
            put_back.extend(self.reflink_batch(clones)?);
            put_back.extend(self.undo_batch(examined)?);
            self.release_dirs();
            match last {
                // Another program came in between; at the end of the run perhaps no longer.
                false => again.extend(put_back.into_iter().map(|(op, halt)| halt.next_try(op))),
                true => put_back.into_iter().for_each(|(op, halt)| self.not_done(&op, None, halt)),
            }
        }
        Ok(again)
    }

    /// Must be called before a batch.
    pub(super) fn pool_as_planned(&mut self) -> Result<(), RunError> {
        self.observer.pool_changed().map_or(Ok(()), |what| Err(RunError::PoolChanged(what)))
    }

    pub(super) fn has_room(&self, batch: &Batch) -> bool {
        batch.is_within(self.options.batch_names, self.options.batch_bytes)
    }

    fn begin(&mut self, op: &Op) -> Result<Ready<'a, F>, Halt> {
        self.may_begin(op)?;
        if let Task::Undo(undo) = &op.task {
            let examined = self.examine(op, undo)?;
            return Ok(Ready::Undo(Box::new(examined)));
        }
        Ok(Ready::Replace(Box::new(self.open_both(op)?)))
    }

    /// Holds the directories of `op`, and checks everything that needs no byte of its files.
    fn may_begin(&mut self, op: &Op) -> Result<(), Halt> {
        if let Some(reason) = self.asked_to_stop() {
            return Err(Halt::new(reason, "not begun"));
        }
        self.not_stopped(op)?;
        self.not_open(op)?;
        self.identified(op)?;
        self.pin_dirs(op)?;
        if matches!(op.task, Task::Undo(_)) {
            return Ok(());
        }
        // Checked first: otherwise gigabytes may be read for nothing.
        let dirs = self.missing_parents_of(op)?;
        PathAccess::new(self.fs).same(op, &dirs, &self.options.ignore)
    }

    /// Checks that the journal can name the branches of `op`.
    pub(super) fn identified(&self, op: &Op) -> Result<(), Halt> {
        match op.branches().find(|branch| self.root(*branch).fs.is_none()) {
            Some(branch) => {
                let path = &self.root(branch).path;
                Err(Halt::new(Reason::NoIdentity, format!("{path:?}")))
            }
            None => Ok(()),
        }
    }

    /// Compares an op that was opened; returns both files, and the directories that are to be made.
    fn compared(
        &mut self,
        op: &Op,
        master: Held<'a, F>,
        duplicate: Held<'a, F>,
    ) -> Result<(Equal<F::File>, Vec<DirIntent>), Halt> {
        let equal = self.compare(op, master, duplicate)?;
        Ok((equal, self.missing_parents_of(op)?))
    }

    /// Returns the directories that `op` needs on the master's branch and that are missing now.
    pub(super) fn missing_parents_of(&self, op: &Op) -> Result<Vec<DirIntent>, Halt> {
        let branches = u16::try_from(self.options.branches.len()).unwrap_or(u16::MAX);
        let stat = &mut |place: &Place| self.fs.stat(place);
        missing_parents(stat, branches, self.options.newest_dirs, op)
    }

    pub(super) fn not_stopped(&self, op: &Op) -> Result<(), Halt> {
        match op.branches().find_map(|branch| self.stopped.get(&branch)) {
            Some(error) => {
                let detail = format!("its branch had an error before: {error}");
                Err(Halt::new(Reason::BranchFailed, detail))
            }
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
        if let Some((branch, error)) = &halt.stops {
            self.stopped.entry(*branch).or_insert_with(|| error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_by_names_bytes_and_directories() {
        let full_after = |name: &dyn Fn(usize) -> String, names, bytes| {
            let mut batch = Batch::default();
            while batch.is_within(names, bytes) {
                let name = RelPath::new(name(batch.ops)).unwrap();
                batch.count(std::iter::once(&name), 10);
            }
            batch.ops
        };
        let (in_one, in_many) = (|n| format!("d/{n}"), |n| format!("{n}/f"));
        assert_eq!(full_after(&in_one, 5_000, u64::MAX), 5_000);
        assert_eq!(full_after(&in_many, 5_000, u64::MAX), BATCH_DIRS);
        assert_eq!(full_after(&in_one, 5_000, 100), 10);
        assert_eq!(full_after(&in_one, 5_000, 1), BIG_OPS);
    }
}
