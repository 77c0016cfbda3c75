//! Taking back: a replacement that was, or may have been, visible can already have been opened. It is taken away only
//! while nobody has the master open, and put back when somebody opens it at that moment.

use super::Executor;
use super::halt::Halt;
use super::observe::{DuplicateAt, Observed, TargetIs};
use super::op::Op;
use super::window::{Leased, Window};
use crate::fs::{Fs, FsError, Lease, Place};
use crate::journal::{Found, OpKind, Store};
use crate::names::Role;
use crate::pool::BranchIdx;
use crate::refusal::Reason;
use crate::relpath::RelPath;

/// How an op stands after trying to take it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Back {
    /// Everything is as it was before; no name of ours is left.
    Restored,
    /// Not now: both copies stay, the op stays open.
    Stuck(Halt),
    /// Never: both copies stay, where `left` says, else at their own names.
    Conflict {
        /// What was found.
        halt: Halt,
        /// Hidden names that still hold one of the files.
        left: Vec<(BranchIdx, RelPath)>,
    },
}

impl<'a, F: Fs, S: Store> Executor<'a, F, S> {
    /// Takes back all that was done of `op`, from what is found.
    pub(crate) fn take_back(&mut self, op: &Op) -> Back {
        match self.try_take_back(op) {
            Ok(left) if left.is_empty() => match self.strayed(op) {
                // The path was renamed, and the replacement with it: what is written there goes to the master.
                Ok(true) => {
                    let why = "renamed while it was replaced: the new path is on both branches";
                    let halt = Halt::new(Reason::Conflict, why);
                    Back::Conflict { halt, left }
                }
                Ok(false) => Back::Restored,
                Err(halt) => Back::Stuck(halt),
            },
            Ok(left) => {
                let halt = Halt::new(Reason::Conflict, "its path is taken by another file");
                Back::Conflict { halt, left }
            }
            Err(halt) if halt.reason == Reason::Conflict => {
                let left = self.hidden_left(op);
                Back::Conflict { halt, left }
            }
            Err(halt) => Back::Stuck(halt),
        }
    }

    fn try_take_back(&mut self, op: &Op) -> Result<Vec<(BranchIdx, RelPath)>, Halt> {
        self.only_before_removal(op)?;
        let mut left = self.return_strangers(op)?;
        self.clear_hidden(op, None)?;
        let names = self.look(op)?;
        let mut ours = names.iter().enumerate();
        let in_place = ours.any(|(k, observed)| is_ours(op, k, *observed));
        if in_place {
            // A master written since keeps what it has: before anything is moved.
            self.lease_master(op)?;
        }
        left.extend(self.return_duplicate(op, &names)?);
        if in_place {
            for k in 0..op.names.len() {
                // The duplicate has its names durably before the replacements go: else a power cut could keep the
                // going and not the coming back. No lease is held meanwhile.
                self.fs.sync_dir(&op.own(k).dir())?;
            }
            let mut master = self.lease_master(op)?;
            self.withdraw(op, &mut master, None)?;
        }
        Ok(left)
    }

    /// Whether a replacement of this pass was neither taken back nor removed by somebody, but is under another name.
    fn strayed(&mut self, op: &Op) -> Result<bool, Halt> {
        if !self.placed.any(op) {
            return Ok(false);
        }
        match self.open_master(op) {
            Ok(file) => {
                let nlink = self.fs.stat_open(&file)?.nlink;
                Ok(self.placed.strayed(op, nlink))
            }
            // None of its names that we know is left, and there is nobody to ask.
            Err(halt) if halt.reason == Reason::Changed => Ok(true),
            Err(halt) => Err(halt),
        }
    }

    /// The master with a write lease, unchanged since it was compared.
    fn lease_master(&self, op: &Op) -> Result<Leased<'a, F>, Halt> {
        let file = self.open_master(op)?;
        let mut master = Leased::new(self.fs, self.options.leases, file);
        master.take(Lease::Write, "master")?;
        self.master_as_compared(op, &master)?;
        Ok(master)
    }

    /// After the first unlink of a link set there is only forward: its replacements stay.
    fn only_before_removal(&self, op: &Op) -> Result<(), Halt> {
        if op.retired {
            for observed in self.look(op)? {
                if observed.duplicate == DuplicateAt::Nowhere {
                    return Err(Halt::again(Reason::Busy, "partly removed already"));
                }
            }
        }
        Ok(())
    }

    /// Gives back files of others that a rename or exchange of ours took along; gives those that stay under a hidden
    /// name, because their owner has put a newer file at the path since.
    pub(super) fn return_strangers(&mut self, op: &Op) -> Result<Vec<(BranchIdx, RelPath)>, Halt> {
        let mut left = Vec::new();
        for k in 0..op.names.len() {
            let hidden = op.retired_place(self.journal.id(), k);
            let Some(stat) = self.fs.stat(&hidden)? else {
                continue;
            };
            if stat.id == op.duplicate_id || stat.id == op.master_id {
                continue;
            }
            let to = match op.kind {
                OpKind::Cross => op.own(k),
                OpKind::Local => op.target(k),
            };
            let now = self.fs.stat(&to)?.map(|stat| stat.id);
            if op.kind == OpKind::Local && now == Some(op.master_id) {
                self.exchange(&hidden, &to)?;
                continue;
            }
            match self.rename(&hidden, &to) {
                Err(error) if error.errno() == libc::EEXIST => {
                    left.push((hidden.branch, hidden.path));
                }
                renamed => renamed?,
            }
        }
        Ok(left)
    }

    /// The same inside the publish window, where the duplicate still has its name or gets it back at once.
    pub(super) fn withdraw_in_window(
        &mut self,
        op: &Op,
        window: &mut Window<'_, F>,
    ) -> Result<(), Halt> {
        let taken = window.master.try_take(Lease::Write);
        if taken.is_err() {
            // Somebody reads the master. A client that waits for a local op's duplicate holds an inode that has
            // only our temp name: it comes first, as long as nobody asked to write the master meanwhile.
            let waited_for = op.kind == OpKind::Local && !window.duplicate.unbroken()?;
            if !(waited_for && window.master.unbroken()?) {
                taken?;
            }
        }
        self.only_before_removal(op)?;
        self.master_as_compared(op, &window.master)?;
        for observed in self.look(op)? {
            // An op found half done: giving the duplicate its names back takes a sync, which has no place here.
            let moved = matches!(observed.duplicate, DuplicateAt::Retired | DuplicateAt::Both);
            if moved && op.kind == OpKind::Cross {
                return Err(Halt::again(
                    Reason::Busy,
                    "the duplicate is retired already",
                ));
            }
        }
        self.withdraw(op, &mut window.master, Some(&window.duplicate))?;
        self.clear_hidden(op, Some(&window.duplicate.file))
    }

    /// Which hidden names of this op still hold a file.
    pub(super) fn hidden_left(&self, op: &Op) -> Vec<(BranchIdx, RelPath)> {
        let mut left = Vec::new();
        for k in 0..op.names.len() {
            for role in [Role::Retired, Role::Temp, Role::Withdrawn] {
                let at = op.hidden(self.journal.id(), k, role);
                // Whatever it holds: it is reported, not removed.
                if self.fs.stat(&at).ok().flatten().is_some() {
                    left.push((at.branch, at.path));
                }
            }
        }
        let copy = op.copy_place().cloned();
        left.extend(
            copy.filter(|at| self.fs.stat(at).ok().flatten().is_some())
                .map(|at| (at.branch, at.path)),
        );
        left
    }

    fn look(&self, op: &Op) -> Result<Vec<Observed>, FsError> {
        (0..op.names.len()).map(|k| self.observe(op, k)).collect()
    }

    /// A master written since the publish may hold somebody's acknowledged write under the new name; one that was
    /// touched, somebody's mode or attribute.
    fn master_as_compared(&self, op: &Op, master: &Leased<'_, F>) -> Result<(), Halt> {
        let now = self.fs.stat_open(&master.file)?;
        if now.size != op.size || now.mtime != op.master_mtime {
            return Err(Halt::new(
                Reason::Conflict,
                "the master was written to since it was linked",
            ));
        }
        let Some(seen) = &op.seen else { return Ok(()) };
        self.unchanged(&now, &seen.master, "master")?;
        if self.fs.metadata(&master.file)? != seen.master_metadata {
            return Err(Halt::again(
                Reason::Changed,
                "the master was touched since it was linked",
            ));
        }
        Ok(())
    }

    /// Renames retired duplicates to their own names, where that brings nothing old back; gives those that stay.
    fn return_duplicate(
        &mut self,
        op: &Op,
        names: &[Observed],
    ) -> Result<Vec<(BranchIdx, RelPath)>, Halt> {
        let mut left = Vec::new();
        for (k, observed) in names.iter().enumerate() {
            let retired = op.retired_place(self.journal.id(), k);
            match (op.kind, observed.duplicate) {
                (_, DuplicateAt::Own | DuplicateAt::Nowhere) => {}
                (_, DuplicateAt::Both) => self.unlink(&retired, op.duplicate_id)?,
                (OpKind::Local, DuplicateAt::Retired) if observed.target == TargetIs::Master => {}
                (_, DuplicateAt::Retired) => {
                    // Only to a name that is free on every branch, or still holds our own replacement: a file
                    // somebody put there since must not be hidden by the old bytes.
                    let replaced = observed.target == TargetIs::Master;
                    let free = replaced || observed.target == TargetIs::Absent;
                    if free && !observed.own_taken && observed.elsewhere.is_none() {
                        self.rename(&retired, &op.own(k))?;
                    } else {
                        left.push((retired.branch, retired.path));
                    }
                }
            }
        }
        Ok(left)
    }

    /// Takes away every replacement of `op` that is in place, under the lease held on the master.
    fn withdraw(
        &mut self,
        op: &Op,
        master: &mut Leased<'_, F>,
        duplicate: Option<&Leased<'_, F>>,
    ) -> Result<(), Halt> {
        let before = self.fs.stat_open(&master.file)?;
        let mut hidden = Vec::new();
        for k in 0..op.names.len() {
            let observed = self.observe(op, k)?;
            if is_ours(op, k, observed) {
                self.keeps_a_copy(op, master, duplicate.map(|d| &d.file), observed)?;
                match op.kind {
                    OpKind::Cross => self.hide_replacement(op, k, &mut hidden)?,
                    OpKind::Local => self.exchange_out(op, k, &mut hidden)?,
                }
            }
        }
        match op.kind {
            OpKind::Cross => self.still_unopened(op, master, &hidden)?,
            OpKind::Local => self.still_unasked(op, master, duplicate, &hidden)?,
        }
        for (at, _) in hidden {
            self.unlink(&at, op.master_id)?;
        }
        // The other ops on this master go on, if nobody else touched it before.
        if op
            .seen
            .as_ref()
            .is_some_and(|s| self.unchanged(&before, &s.master, "master").is_ok())
        {
            self.note_ctime(&master.file, &before)?;
        }
        Ok(())
    }

    /// Somebody who opened the master meanwhile may have done so by a name just taken away: it gets it back.
    fn still_unopened(
        &mut self,
        op: &Op,
        master: &Leased<'_, F>,
        hidden: &[(Place, Place)],
    ) -> Result<(), Halt> {
        if master.unbroken()? {
            return Ok(());
        }
        for (at, target) in hidden.iter().rev() {
            self.rename(at, target)?;
            self.placed.add(op);
        }
        Err(Halt::again(Reason::Busy, "the master was opened meanwhile"))
    }

    /// The same for a local op, whose duplicate lost its name to the replacement.
    ///
    /// Somebody who waits for the duplicate needs it back at the path, whoever reads the master. Somebody who waits
    /// to write the master may have asked for it by the path while the replacement was there: sent away from it, that
    /// write would change the master's other names and not the path it was made by. So the replacement stays then,
    /// and the duplicate keeps the hidden name, where what is written to it is found.
    fn still_unasked(
        &mut self,
        op: &Op,
        master: &Leased<'_, F>,
        duplicate: Option<&Leased<'_, F>>,
        exchanged: &[(Place, Place)],
    ) -> Result<(), Halt> {
        let waited_for = duplicate.map_or(Ok(false), |d| d.unbroken().map(|unbroken| !unbroken))?;
        let asked = if waited_for {
            master.writer_waits()?
        } else {
            !master.unbroken()?
        };
        if !asked {
            return Ok(());
        }
        for (temp, target) in exchanged.iter().rev() {
            self.exchange(temp, target)?;
            self.placed.add(op);
        }
        Err(Halt::again(Reason::Busy, "the master was opened meanwhile"))
    }

    /// Takes away the replacements that would hide a file made at the same path since.
    ///
    /// mergerfs looks at one branch after the other: a client's look-up that began before the replacement was
    /// there, and came to the duplicate's branch after that was retired, finds nothing, and its `O_CREAT` makes a
    /// new file. That file is the newest at the path; the master keeps its bytes under its other names.
    pub(super) fn yield_to_newer(&mut self, op: &Op) -> Result<(), Halt> {
        let mut hiding = Vec::new();
        for (k, observed) in self.look(op)?.into_iter().enumerate() {
            let newer = observed.own_taken || observed.elsewhere.is_some();
            if newer && observed.target == TargetIs::Master && op.names[k].found != Found::Master {
                hiding.push(k);
            }
        }
        if hiding.is_empty() {
            return Ok(());
        }
        let master = self.lease_master(op)?;
        if self.fs.stat_open(&master.file)?.nlink <= hiding.len() as u64 {
            let why = "a new file is at its path, and the replacement is the only copy left";
            return Err(Halt::new(Reason::Conflict, why));
        }
        let mut hidden = Vec::new();
        for k in hiding {
            self.hide_replacement(op, k, &mut hidden)?;
        }
        self.still_unopened(op, &master, &hidden)?;
        for (at, _) in hidden {
            self.unlink(&at, op.master_id)?;
        }
        Ok(())
    }

    fn hide_replacement(
        &mut self,
        op: &Op,
        k: usize,
        hidden: &mut Vec<(Place, Place)>,
    ) -> Result<(), Halt> {
        let (target, aside) = (
            op.target(k),
            op.hidden(self.journal.id(), k, Role::Withdrawn),
        );
        self.rename(&target, &aside)?;
        // The rename took whatever had the name by then: another's file goes straight back.
        if self
            .fs
            .stat(&aside)?
            .is_none_or(|stat| stat.id != op.master_id)
        {
            self.rename(&aside, &target)?;
            return Err(Halt::again(
                Reason::Changed,
                "the path was replaced meanwhile",
            ));
        }
        hidden.push((aside, target));
        self.placed.take(op);
        Ok(())
    }

    fn exchange_out(
        &mut self,
        op: &Op,
        k: usize,
        hidden: &mut Vec<(Place, Place)>,
    ) -> Result<(), Halt> {
        let (target, temp) = (op.target(k), op.hidden(self.journal.id(), k, Role::Temp));
        self.exchange(&temp, &target)?;
        if self
            .fs
            .stat(&temp)?
            .is_none_or(|stat| stat.id != op.master_id)
        {
            self.exchange(&temp, &target)?;
            return Err(Halt::again(
                Reason::Changed,
                "the path was replaced meanwhile",
            ));
        }
        hidden.push((temp, target));
        self.placed.take(op);
        Ok(())
    }

    /// Nothing is taken away unless another name of the master, or the duplicate at a name of its own, remains.
    ///
    /// While the duplicate is held open it may have any name: a client that renamed it took the contents along.
    fn keeps_a_copy(
        &self,
        op: &Op,
        master: &Leased<'_, F>,
        duplicate: Option<&F::File>,
        observed: Observed,
    ) -> Result<(), Halt> {
        let at_its_name = observed.duplicate != DuplicateAt::Nowhere;
        let named = match duplicate {
            Some(file) => self.fs.stat_open(file)?.nlink > 0,
            None => false,
        };
        let others = self.fs.stat_open(&master.file)?.nlink > self.links_of_ours(op)?;
        if at_its_name || named || others {
            return Ok(());
        }
        Err(Halt::new(
            Reason::Conflict,
            "the replacement is the only copy left",
        ))
    }

    /// How many names of the master this op made, or may have made: replacements and hidden names.
    fn links_of_ours(&self, op: &Op) -> Result<u64, FsError> {
        let mut ours = 0;
        for k in 0..op.names.len() {
            let hidden = [Role::Temp, Role::Withdrawn].map(|r| op.hidden(self.journal.id(), k, r));
            for at in hidden.iter().chain([&op.target(k)]) {
                ours += u64::from(self.fs.stat(at)?.is_some_and(|s| s.id == op.master_id));
            }
        }
        if let Some(at) = op.copy_place() {
            ours += u64::from(self.fs.stat(at)?.is_some_and(|s| s.id == op.master_id));
        }
        Ok(ours)
    }

    /// Removes the hidden names of the master that an interrupted publish or take-back left.
    ///
    /// As in [`Self::keeps_a_copy`], `duplicate` is the open duplicate, wherever its name is by now.
    pub(super) fn clear_hidden(
        &mut self,
        op: &Op,
        duplicate: Option<&F::File>,
    ) -> Result<(), Halt> {
        let named = match duplicate {
            Some(file) => self.fs.stat_open(file)?.nlink > 0,
            None => false,
        };
        for k in 0..op.names.len() {
            for role in [Role::Temp, Role::Withdrawn] {
                let at = op.hidden(self.journal.id(), k, role);
                let Some(stat) = self.fs.stat(&at)? else {
                    continue;
                };
                if stat.id != op.master_id {
                    continue; // a local op's duplicate; anything else is reported, never removed
                }
                let at_its_name = self
                    .fs
                    .stat(&op.own(k))?
                    .is_some_and(|s| s.id == op.duplicate_id);
                if stat.nlink < 2 && !at_its_name && !named {
                    let detail = format!("{:?} is the only copy left", at.path);
                    return Err(Halt::new(Reason::Conflict, detail));
                }
                self.unlink(&at, op.master_id)?;
            }
        }
        self.clear_copy(op)?;
        self.clear_aside(op)
    }
}

/// Whether name `k` holds a replacement that this op made (or may have made) and may take away.
fn is_ours(op: &Op, k: usize, observed: Observed) -> bool {
    let in_place = observed.target == TargetIs::Master
        && op.names[k].found != Found::Master
        && op.may_be_ours(k);
    match op.kind {
        OpKind::Cross => in_place,
        // Without the duplicate under the temp name there is nothing to exchange it with.
        OpKind::Local => in_place && observed.duplicate == DuplicateAt::Retired,
    }
}
