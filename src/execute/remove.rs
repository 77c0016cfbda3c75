//! Remove: the only calls that cannot be taken back. They follow only once every fact that could forbid them is
//! durable.

use std::ops::Deref;

use super::Executor;
use super::begun::Begun;
use super::grip::Whereabouts;
use super::halt::Halt;
use super::retire::Hidden;
use super::window::Leased;
use crate::fs::{Change, Lease};
use crate::journal::{RetiredRecorded, Store};
use crate::plan::refusal::Reason;

/// An op whose duplicate is retired, and whose record of the retiring is durable. Only such an op's duplicate loses its
/// last name. (`retire` and `take_back` unlink a hidden or doubled name of a duplicate that has another name.)
///
/// Both parts come from earlier phases: `Hidden` from [`Executor::retire`], the proof from the journal.
pub(super) struct Retired(Begun);

impl Retired {
    pub(super) fn new(hidden: Hidden, record: RetiredRecorded) -> Self {
        let mut op = hidden.into_begun();
        op.retired = Some(record);
        Self(op)
    }

    pub(super) fn into_begun(self) -> Begun {
        self.0
    }
}

impl Deref for Retired {
    type Target = Begun;

    fn deref(&self) -> &Begun {
        &self.0
    }
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Unlinks every retired name of `op`; returns the bytes that became free. Blocks that a snapshot or a reflink holds
    /// do not.
    ///
    /// There is no [`Retired`] without the durable record of the retired names (invariant 3). After a crash in between,
    /// recovery can tell this removal from a client's delete.
    pub(super) fn remove(&mut self, op: &Retired) -> Result<u64, Halt> {
        let seen = op.seen();
        self.yield_to_newer(op)?;
        let file = match self.open_duplicate(&op.0) {
            // A client removed the directory with all its entries, or put another file at a hidden name.
            Err(halt) if halt.reason == Reason::Changed => match self.whereabouts(op)? {
                Whereabouts::Deleted => return Ok(0),
                Whereabouts::Elsewhere(_) => {
                    let why = "another program renamed its hidden name: the copy is kept";
                    return Err(Halt::new(Reason::Conflict, why));
                }
            },
            opened => opened?,
        };
        // A client may have removed the replacement since: contents that no path leads to any more may be the last
        // copy.
        if !self.is_visible(op)? {
            return Err(Halt::only_hidden(op));
        }
        let shared = self.fs.shared(&file)?;
        let mut duplicate = Leased::new(self.fs, self.options.leases, file);
        // An indexer may have found the hidden name: if a program has the file open, the file stays until the next try.
        duplicate.take(Lease::Write, "retired duplicate")?;
        let before = self.fs.stat_open(&duplicate.file)?;
        self.unchanged(&before, &seen.duplicate, "duplicate")?;
        assert_ne!(op.duplicate_id, op.master_id, "invariant: the master is never removed");
        for k in 0..op.names.len() {
            self.unlink(&op.retired_place(self.journal.id(), k), op.duplicate_id)?;
        }
        let after = self.note_ctime(&duplicate.file, &before)?;
        Ok(if after.nlink == 0 { (before.blocks * 512).saturating_sub(shared) } else { 0 })
    }
}
