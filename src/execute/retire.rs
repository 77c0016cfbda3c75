//! Retire: the duplicate leaves its names. The last look is only at a file that no client can open any more.
//!
//! Afterwards no path of a client leads to the inode. So no client can race these checks, and all of it can still be
//! put back.

use super::Executor;
use super::barrier::Durable;
use super::begun::{Begun, Subject as _};
use super::compare::SETTLE_TICK;
use super::halt::Halt;
use super::observe::{DuplicateAt, Observed};
use super::window::Window;
use super::work::Phase;
use crate::fs::Change;
use crate::journal::RetiredRecorded;
use crate::journal::Store;
use crate::plan::OpKind;
use crate::plan::refusal::Reason;

/// An op whose duplicate has moved from its names to hidden names. Only [`Executor::retire`] makes it.
pub(super) struct Hidden(Begun);

impl Hidden {
    pub(super) fn begun(&self) -> &Begun {
        &self.0
    }

    /// Returns the proof that the retiring is recorded, for an op that was found open in that state.
    pub(super) fn record(&self) -> Option<RetiredRecorded> {
        self.0.retired
    }

    pub(super) fn into_begun(self) -> Begun {
        self.0
    }
}

/// What retiring has done so far.
#[derive(Default)]
struct Retiring {
    /// The names that were moved.
    moved: Vec<usize>,
    /// How many names of the duplicate were unlinked, because the duplicate had the hidden name as well.
    unlinked: u64,
}

impl<'a, F: Change, S: Store> Executor<'a, F, S> {
    /// Moves every name of the duplicate to its retired name, in one short window.
    ///
    /// For a local op the exchange of publish did that already; here the result is checked under leases once more.
    pub(super) fn retire(&mut self, op: Durable) -> Phase<Hidden> {
        let step = |op: &mut Begun| {
            self.not_stopped(op)?;
            self.retire_all(op)
        };
        Self::check(op.into_begun(), step).map(Hidden)
    }

    fn retire_all(&mut self, op: &mut Begun) -> Result<(), Halt> {
        let window = self.enter_again(op)?;
        let mut retiring = Retiring::default();
        let result = self.retire_names(op, &window, &mut retiring);
        if let Err(halt) = result {
            // Before the leases go: a client that waits for the duplicate goes on with a file that has its name.
            self.put_back(op, &retiring.moved)?;
            self.note_both(op, &window, retiring.unlinked)?;
            return Err(halt);
        }
        Ok(())
    }

    /// Enters the window. If another program touched one of the files since (another link of the master, say), compares
    /// both files again first.
    pub(super) fn enter_again(&mut self, op: &mut Begun) -> Result<Window<'a, F>, Halt> {
        match self.enter(op) {
            Err(halt) if halt.again && halt.reason == Reason::Changed => {
                self.fs.pause(SETTLE_TICK);
                self.compare_again(op)?;
                self.enter(op)
            }
            other => other,
        }
    }

    fn retire_names(
        &mut self,
        op: &Begun,
        window: &Window<'_, F>,
        retiring: &mut Retiring,
    ) -> Result<(), Halt> {
        let names = self.observe_all(op, Observed::may_retire)?;
        // Where no name is moved, no call of ours comes between these checks and those of `check_retired`.
        let moves = names.iter().any(|observed| observed.duplicate != DuplicateAt::Retired);
        // All checks that can precede the renames do: putting back afterwards is for the rest.
        if moves {
            self.check_duplicate(op, window)?;
        }
        // The master is checked now, not after the renames: from then on a client that opens the path gets the master,
        // and may well be waiting for it. That is the final state of the path, and the retired inode still equals the
        // master.
        if !window.master.unbroken()? {
            return Err(Halt::again(
                Reason::Busy,
                "the kept copy was opened for writing meanwhile",
            ));
        }
        self.check_names(op, window)?;
        for (k, observed) in names.iter().enumerate() {
            if observed.duplicate == DuplicateAt::Both {
                // A filesystem that cannot rename without replacing: its link is made, its unlink is not. Or a client
                // linked the path anew from another name.
                self.unlink(&op.own(k), op.duplicate_id)?;
                retiring.unlinked += 1;
            }
            if op.kind == OpKind::Cross && observed.duplicate == DuplicateAt::Own {
                let (own, retired) = (op.own(k), op.retired_place(self.journal.id(), k));
                self.rename(&own, &retired)?;
                // The rename took any file that had the name: only the inode that was compared may stay retired.
                let taken = self.fs.stat(&retired)?;
                if taken.is_none_or(|stat| !op.is_duplicate(&stat)) {
                    self.return_stranger(op, k)?;
                    return Err(Halt::new(Reason::Changed, "the duplicate was replaced meanwhile"));
                }
                retiring.moved.push(k);
                self.replacement_was_there(op, k)?;
            }
        }
        for k in &retiring.moved {
            let own = self.fs.stat(&op.own(*k))?;
            if own.is_some_and(|stat| op.is_duplicate(&stat)) {
                // A client linked the path again, from a name that was not moved yet.
                return Err(Halt::new(Reason::Changed, "its path was linked meanwhile"));
            }
        }
        if moves {
            self.note_both(op, window, retiring.unlinked)?;
        }
        self.check_retired(op, window)
    }

    /// Checks that the path had the replacement when the duplicate left it. If a client had made the path anew from the
    /// duplicate (`rm d/b; mv m/a d/b` beside an undo), the rename took the only name of the path, and that name goes
    /// back. If the replacement went afterwards, a client removed the path or made it anew.
    fn replacement_was_there(&mut self, op: &Begun, k: usize) -> Result<(), Halt> {
        let target = self.fs.stat(&op.target(k))?;
        if target.is_some_and(|stat| op.is_master(&stat)) {
            return Ok(());
        }
        if self.is_made_anew(op, k)? {
            return Ok(());
        }
        self.return_stranger(op, k)?;
        Err(Halt::new(Reason::Changed, "its path was removed or replaced meanwhile"))
    }

    /// The last look: the retired inode is the inode that was compared, and no other program asked for it.
    fn check_retired(&self, op: &Begun, window: &Window<'_, F>) -> Result<(), Halt> {
        self.check_duplicate(op, window)?;
        // The master's names may have been removed meanwhile: then the retired inode is the only copy left.
        if self.fs.stat_open(&window.master.file)?.nlink == 0 {
            return Err(Halt::new(Reason::Changed, "the kept copy was deleted meanwhile"));
        }
        // The path was linked just before the rename.
        self.check_names(op, window)
    }

    /// Checks that no client has given another name to the file of which the op knows all names: the duplicate, or the
    /// copy that an undo makes. Such a name would stay on both branches for good. Looks at each name: a client that
    /// adds one name and removes another does not change their number.
    fn check_names(&self, op: &Begun, window: &Window<'_, F>) -> Result<(), Halt> {
        let (file, known) = match op.has_whole_duplicate() {
            // A duplicate of one name cannot get another one while that name is renamed.
            true if op.names.len() == 1 => return Ok(()),
            true => (&window.duplicate.file, self.known_names(op, |stat| op.is_duplicate(stat))?),
            false if op.salvaged => return Ok(()),
            false => (&window.master.file, self.known_names(op, |stat| op.is_master(stat))?),
        };
        if self.fs.stat_open(file)?.nlink > known {
            return Err(Halt::new(Reason::Changed, "its path was linked or renamed meanwhile"));
        }
        Ok(())
    }

    fn check_duplicate(&self, op: &Begun, window: &Window<'_, F>) -> Result<(), Halt> {
        let seen = op.seen();
        // Our own rename moved the ctime, so a chown or setxattr just before it would not show there.
        if self.fs.metadata(&window.duplicate.file)? != seen.metadata {
            return Err(Halt::again(Reason::Changed, "the duplicate's metadata changed meanwhile"));
        }
        // A client that opened before the rename waits for the lease: its write would go to the retired inode.
        if !window.duplicate.unbroken()? {
            return Err(Halt::again(
                Reason::Busy,
                "the duplicate was opened while it was replaced",
            ));
        }
        Ok(())
    }

    /// Renames back the names that were just moved, newest first. Never replaces a file, and only uses paths that still
    /// exist.
    fn put_back(&mut self, op: &Begun, moved: &[usize]) -> Result<(), Halt> {
        for k in moved.iter().rev() {
            self.return_name(op, *k)?;
        }
        Ok(())
    }
}
