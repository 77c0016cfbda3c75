//! Remove: the only calls that cannot be taken back, after everything that could speak against them was durable.

use super::Executor;
use super::grip::Whereabouts;
use super::halt::Halt;
use super::op::Op;
use super::take_back::only_hidden;
use super::window::Leased;
use crate::fs::{Fs, Lease};
use crate::journal::Store;
use crate::plan::refusal::Reason;

impl<F: Fs, S: Store> Executor<'_, F, S> {
    /// Unlinks every retired name of `op`; gives the bytes that became free.
    pub(super) fn remove(&mut self, op: &Op) -> Result<u64, Halt> {
        // No unlink before the durable record of what was retired (invariant 3): a crash in between is then told
        // from somebody else's delete.
        assert!(
            op.retired,
            "invariant: retired is durable before anything is removed"
        );
        let seen = op
            .seen
            .as_ref()
            .ok_or_else(|| Halt::new(Reason::Changed, "not compared"))?;
        self.yield_to_newer(op)?;
        let file = match self.open_duplicate(op) {
            // A client removed the directory with all that was in it, or gave a hidden name another one.
            Err(halt) if halt.reason == Reason::Changed => match self.whereabouts(op)? {
                Whereabouts::Deleted => return Ok(0),
                Whereabouts::Elsewhere(_) => {
                    let why = "another program renamed its hidden name: the copy is kept";
                    return Err(Halt::new(Reason::Conflict, why));
                }
            },
            opened => opened?,
        };
        // The replacement may have been removed by a client since: what no path leads to any more may be the last copy.
        if !self.is_visible(op)? {
            return Err(only_hidden());
        }
        let mut duplicate = Leased::new(self.fs, self.options.leases, file);
        // An indexer may have found the hidden name: whoever has it open keeps it until the next try.
        duplicate.take(Lease::Write, "retired duplicate")?;
        let before = self.fs.stat_open(&duplicate.file)?;
        self.unchanged(&before, &seen.duplicate, "duplicate")?;
        assert_ne!(
            op.duplicate_id, op.master_id,
            "invariant: the master is never removed"
        );
        for k in 0..op.names.len() {
            self.unlink(&op.retired_place(self.journal.id(), k), op.duplicate_id)?;
        }
        let after = self.note_ctime(&duplicate.file, &before)?;
        Ok(if after.nlink == 0 {
            before.blocks * 512
        } else {
            0
        })
    }
}
