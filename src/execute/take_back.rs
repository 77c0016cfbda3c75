//! Taking back: another program can already have opened a replacement that was, or may have been, visible. This program
//! takes the replacement away only while no other program has the master open, and puts it back if another program
//! opens the master at that moment.
//!
//! A visible name goes only if the path keeps the duplicate, or if this process made the name and another program had
//! taken the duplicate away before: then the name has brought a deleted path back. Any other name of the master may be
//! a link that a client made, and stays. A hidden duplicate comes back only to a path that still exists.

use super::Executor;
use super::begun::{Begun, Subject as _};
use super::compare::SETTLE_TICK;
use super::halt::Halt;
use super::observe::{DuplicateAt, Observed, TargetIs};
use super::touched::sync_existing;
use super::window::{Leased, Window};
use crate::fs::{Change, Fingerprint, FsError, Lease, Place, Stat};
use crate::journal::Store;
use crate::plan::hidden_name::Role;
use crate::plan::refusal::Reason;
use crate::plan::{Found, OpKind, Undoing};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// How an op stands after trying to take it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Back {
    /// No name made by this op is left; every path is as it was before, or as other programs left it.
    Restored,
    /// As `Restored`, and every name is the master's: another program removed the duplicate and linked the
    /// master itself.
    Replaced,
    /// Not now: both copies stay, the op stays open.
    Stuck(Halt),
    /// Never: both copies stay, where `left` says, else at their own names.
    Conflict {
        /// What was found.
        halt: Halt,
        /// Places of the copies, for a person to settle.
        left: Vec<(BranchIdx, RelPath)>,
    },
}

/// A replacement that was moved to a hidden name: its hidden place, and its place before.
type Hidden = (Place, Place);

impl<'a, F: Change, S: Store> Executor<'a, F, S> {
    /// Takes back everything that was done of `op`, judged by the state on disk.
    pub(crate) fn take_back(&mut self, op: &Begun) -> Back {
        let back = self.try_take_back(op).and_then(|left| self.back_with(op, left));
        match back {
            Ok(back) => back,
            Err(halt) if halt.reason == Reason::Conflict => {
                let left = self.places_left(op);
                Back::Conflict { halt, left }
            }
            Err(halt) => Back::Stuck(halt),
        }
    }

    /// Returns how `op` stands once everything that can be taken back was taken back.
    fn back_with(&mut self, op: &Begun, left: Vec<(BranchIdx, RelPath)>) -> Result<Back, Halt> {
        if !left.is_empty() {
            let halt = match self.is_visible(op)? {
                true => {
                    let why = "its path is taken by another file, or was removed";
                    Halt::new(Reason::Conflict, why)
                }
                false => Halt::only_hidden(op),
            };
            let mut left = left;
            for place in self.places_left(op) {
                if !left.contains(&place) {
                    left.push(place);
                }
            }
            return Ok(Back::Conflict { halt, left });
        }
        if let Some(Back::Conflict { halt, mut left }) = self.both_stay(op)? {
            let more = self.places_left(op);
            let more: Vec<_> = more.into_iter().filter(|place| !left.contains(place)).collect();
            left.extend(more);
            return Ok(Back::Conflict { halt, left });
        }
        let names = self.look(op)?;
        let replaced = |name: &Observed| {
            name.duplicate == DuplicateAt::Nowhere && name.target == TargetIs::Master
        };
        Ok(if names.iter().all(replaced) { Back::Replaced } else { Back::Restored })
    }

    fn try_take_back(&mut self, op: &Begun) -> Result<Vec<(BranchIdx, RelPath)>, Halt> {
        self.note_comings(op)?;
        self.only_before_removal(op)?;
        let mut left = self.return_strangers(op)?;
        self.withdraw_what_came_back(op)?;
        self.clear_hidden(op)?;
        let names = self.look(op)?;
        let mut back_to = names.iter().enumerate();
        let going = back_to.any(|(k, name)| self.goes_with_its_return(op, k, *name));
        if going {
            // A master that was written since keeps its bytes: checked before anything is moved.
            self.lease_master(op)?;
        }
        self.return_duplicate(op, &names)?;
        if going {
            let dirs: Vec<Place> = (0..op.names.len()).map(|k| op.own(k).dir()).collect();
            // The duplicate has its names durably before the replacements go: otherwise a power cut could keep the
            // removal and lose the return. No lease is held meanwhile.
            sync_existing(self.fs, &dirs).into_iter().collect::<Result<(), _>>()?;
            let mut master = self.lease_master(op)?;
            self.withdraw(op, &mut master, None)?;
        }
        self.withdraw_what_hides(op)?;
        left.extend(self.drop_or_keep(op)?);
        Ok(left)
    }

    /// Whether replacement `k` is in place and may be ours.
    fn in_place(&self, op: &Begun, k: usize, observed: Observed) -> bool {
        observed.target == TargetIs::Master
            && op.names[k].found != Found::Master
            && op.may_be_ours(k)
    }

    /// Whether replacement `k` is to go, the duplicate being at its name or coming back to it.
    fn goes_with_its_return(&self, op: &Begun, k: usize, observed: Observed) -> bool {
        self.in_place(op, k, observed)
            && match op.kind {
                OpKind::Cross => observed.duplicate != DuplicateAt::Nowhere,
                // Without the duplicate under the temp name there is nothing to exchange it with.
                OpKind::Local => observed.duplicate == DuplicateAt::Retired,
            }
    }

    /// Whether replacement `k` has brought back a path that another program removed before the replacement was there.
    fn brought_back(&self, op: &Begun, k: usize, observed: Observed) -> Result<bool, FsError> {
        Ok(op.kind == OpKind::Cross
            && observed.duplicate == DuplicateAt::Nowhere
            && self.in_place(op, k, observed)
            && self.came_back(op, k)?)
    }

    /// Whether replacement `k` hides a file that another program put at the path on another branch. No action through
    /// the pool leaves such a file *and* a link of its own here.
    fn hides_newer(&self, op: &Begun, k: usize, observed: Observed) -> bool {
        op.kind == OpKind::Cross
            && observed.duplicate == DuplicateAt::Nowhere
            && self.in_place(op, k, observed)
            && (observed.own_taken || observed.elsewhere.is_some())
    }

    /// Takes away replacements whose path a client removed before the replacements were there. Asks for no lease: a
    /// program that has the master open keeps it open, and no program should have found it by this path. If a client
    /// has put another file at the path, a program may well have: see [`Self::withdraw_what_hides`].
    fn withdraw_what_came_back(&mut self, op: &Begun) -> Result<(), Halt> {
        for k in 0..op.names.len() {
            let observed = self.observe(op, k)?;
            if self.brought_back(op, k, observed)? && !self.hides_newer(op, k, observed) {
                let mut hidden = Vec::new();
                self.hide_replacement(op, k, &mut hidden)?;
                self.remove_hidden(op, hidden)?;
            }
        }
        Ok(())
    }

    /// Takes away replacements that hide a newer file, while no program writes the master.
    fn withdraw_what_hides(&mut self, op: &Begun) -> Result<(), Halt> {
        let names = self.look(op)?;
        let mut all = names.iter().enumerate();
        if !all.any(|(k, name)| self.hides_newer(op, k, *name)) {
            return Ok(());
        }
        let mut master = self.leased_as_compared(op, Lease::Read)?;
        self.withdraw(op, &mut master, None)
    }

    /// Removes replacements that were moved to hidden names, the last one only if a path leads to the contents.
    fn remove_hidden(&mut self, op: &Begun, hidden: Vec<Hidden>) -> Result<(), Halt> {
        for (at, _) in hidden {
            if !self.is_visible(op)? {
                return Err(Halt::only_hidden(op));
            }
            self.unlink(&at, op.master_id)?;
        }
        Ok(())
    }

    /// Returns the master with a write lease, unchanged since it was compared.
    fn lease_master(&mut self, op: &Begun) -> Result<Leased<'a, F>, Halt> {
        self.leased_as_compared(op, Lease::Write)
    }

    /// Returns the master with a lease, with the bytes that were compared.
    fn leased_as_compared(&mut self, op: &Begun, lease: Lease) -> Result<Leased<'a, F>, Halt> {
        let file = self.open_master(op)?;
        let read = self.read_again(op, &file)?;
        let mut master = Leased::new(self.fs, self.options.leases, file);
        master.take(lease, "master")?;
        self.master_as_compared(op, &master, read.as_ref())?;
        Ok(master)
    }

    /// Reads the master again, unless nothing touched it since this process compared it. A link or rename moves the
    /// ctime and leaves the bytes; a program that writes and then sets the times back moves the ctime as well.
    ///
    /// Returns the file's state while it had the bytes that were compared.
    fn read_again(&mut self, op: &Begun, file: &F::File) -> Result<Option<Fingerprint>, Halt> {
        let now = self.fs.stat_open(file)?;
        not_written(op, &now)?;
        if let Some(seen) = &op.seen {
            match self.unchanged(&now, &seen.master, "master") {
                Err(touched) if touched.again => {}
                _ => return Ok(None),
            }
        } else if self.ours.get(&now.id) == Some(&now.ctime) {
            return Ok(Some(now.fingerprint()));
        }
        let Some(compared) = op.compared_hash() else { return Ok(None) };
        // A write within the clock's tick of that touch would not move the times again.
        self.fs.pause(SETTLE_TICK);
        if self.hash(file, op.size)? != compared {
            return Err(written_since());
        }
        if self.fs.stat_open(file)?.fingerprint() != now.fingerprint() {
            return Err(Halt::again(
                Reason::Changed,
                "the kept copy was touched since it was linked",
            ));
        }
        self.ours.insert(now.id, now.ctime);
        Ok(Some(now.fingerprint()))
    }

    /// After the first unlink of a link set there is only forward: its replacements stay.
    fn only_before_removal(&self, op: &Begun) -> Result<(), Halt> {
        if op.is_retired() {
            let names = self.look(op)?;
            let gone = |name: &&Observed| name.duplicate == DuplicateAt::Nowhere;
            let gone = names.iter().filter(gone).count();
            if 0 < gone && gone < names.len() {
                return Err(Halt::again(Reason::Busy, "partly removed already"));
            }
        }
        Ok(())
    }

    /// Puts other programs' files, which a rename or exchange of ours took along, back at their paths. Returns the
    /// places of the files that stay under a hidden name, because their owner has put a newer file at the path since.
    pub(super) fn return_strangers(
        &mut self,
        op: &Begun,
    ) -> Result<Vec<(BranchIdx, RelPath)>, Halt> {
        let mut left = Vec::new();
        for k in 0..op.names.len() {
            let hidden = op.retired_place(self.journal.id(), k);
            let Some(stat) = self.fs.stat(&hidden)? else {
                continue;
            };
            if op.is_duplicate(&stat) || op.is_master(&stat) {
                continue;
            }
            if !self.return_stranger(op, k)? {
                left.push(self.named_now(&hidden)?);
            }
        }
        Ok(left)
    }

    /// Restores the path of another program's file that our last rename or exchange took along as name `k`; returns
    /// `false` if the file stays hidden. If another program has changed the path since, that program removed or
    /// replaced this very file, though its call met ours: the file gets no path again.
    pub(super) fn return_stranger(&mut self, op: &Begun, k: usize) -> Result<bool, FsError> {
        let hidden = op.retired_place(self.journal.id(), k);
        if op.kind == OpKind::Local {
            if self.is_replacement_gone(op, k)? {
                return Ok(false);
            }
            let to = self.place_of_replacement(op, k)?;
            let now = self.fs.stat(&to)?;
            if now.is_some_and(|stat| op.is_master(&stat)) {
                self.exchange(&hidden, &to)?;
                return Ok(true);
            }
            return self.rename_to_free(&hidden, &to);
        }
        let own = op.own(k);
        if self.is_made_anew(op, k)? {
            return Ok(false);
        }
        let name = self.fs.hold(&hidden)?;
        if !self.rename_to_free(&hidden, &own)? {
            return Ok(false);
        }
        if self.is_made_anew(op, k)? {
            // The path changed between the look and the rename. Only the name that this process returned is ours to
            // hide again.
            let path = self.fs.path_of(&name)?;
            if path.is_some_and(|path| path.file_name() == own.path.file_name()) {
                self.rename(&own, &hidden)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Renames; returns `false` if another entry has the name `to`.
    fn rename_to_free(&mut self, from: &Place, to: &Place) -> Result<bool, FsError> {
        match self.rename(from, to) {
            Err(error) if error.errno() == libc::EEXIST => Ok(false),
            renamed => renamed.map(|()| true),
        }
    }

    /// Takes replacements away inside the publish window, where the duplicate still has its name or gets it back at
    /// once.
    pub(super) fn withdraw_in_window(
        &mut self,
        op: &Begun,
        window: &mut Window<'_, F>,
    ) -> Result<(), Halt> {
        self.note_comings(op)?;
        self.withdraw_what_came_back(op)?;
        let names = self.look(op)?;
        let mut all = names.iter().enumerate();
        if all.any(|(k, name)| self.goes_with_its_return(op, k, *name)) {
            let taken = window.master.try_take(Lease::Write);
            if taken.is_err() {
                // Another program reads the master. A client that waits for a local op's duplicate holds an inode that
                // has only our temp name: that client comes first, as long as no program asked to write the master
                // meanwhile.
                let waited_for = op.kind == OpKind::Local && !window.duplicate.unbroken()?;
                if !(waited_for && window.master.unbroken()?) {
                    taken?;
                }
            }
        } else if !window.master.unbroken()? {
            return Err(Halt::again(Reason::Busy, "the kept copy was opened meanwhile"));
        }
        self.only_before_removal(op)?;
        self.master_as_compared(op, &window.master, None)?;
        for observed in &names {
            // The op was found half done: returning the duplicate's names to it takes a sync, which has no place here.
            let moved = matches!(observed.duplicate, DuplicateAt::Retired | DuplicateAt::Both);
            if moved && op.kind == OpKind::Cross {
                return Err(Halt::again(Reason::Busy, "the duplicate is retired already"));
            }
        }
        self.withdraw(op, &mut window.master, Some(&window.duplicate))?;
        self.clear_hidden(op)
    }

    pub(super) fn look(&self, op: &Begun) -> Result<Vec<Observed>, FsError> {
        (0..op.names.len()).map(|k| self.observe(op, k)).collect()
    }

    /// Checks that the master is as it was compared. A master written since the publish may hold another program's
    /// acknowledged write under the new name; a master that was touched may hold another program's mode or attribute.
    /// `read` is its state when it was read again.
    fn master_as_compared(
        &self,
        op: &Begun,
        master: &Leased<'_, F>,
        read: Option<&Fingerprint>,
    ) -> Result<(), Halt> {
        let now = self.fs.stat_open(&master.file)?;
        not_written(op, &now)?;
        if read.is_some_and(|read| now.fingerprint() != *read) {
            return Err(Halt::again(
                Reason::Changed,
                "the kept copy was touched since it was linked",
            ));
        }
        let changed = |undo: &Undoing| {
            let now = self.fs.metadata(&master.file)?;
            Ok::<_, FsError>(now.without_labels() != undo.metadata.without_labels())
        };
        if op.made().map_or(Ok(false), changed)? {
            // The file that stays lacks the metadata that a client set on the copy.
            return Err(Halt::new(
                Reason::Conflict,
                "owner, mode or attributes of the copy were changed since it was made",
            ));
        }
        let Some(seen) = &op.seen else { return Ok(()) };
        self.unchanged(&now, &seen.master, "master")?;
        if self.fs.metadata(&master.file)? != seen.master_metadata {
            return Err(Halt::again(
                Reason::Changed,
                "the kept copy was touched since it was linked",
            ));
        }
        Ok(())
    }

    /// Renames retired duplicates to their own names, where the path still exists and is the replacement's.
    fn return_duplicate(&mut self, op: &Begun, names: &[Observed]) -> Result<(), Halt> {
        for (k, observed) in names.iter().enumerate() {
            match (op.kind, observed.duplicate) {
                (_, DuplicateAt::Own | DuplicateAt::Nowhere)
                | (OpKind::Local, DuplicateAt::Retired) => {}
                (_, DuplicateAt::Both) => {
                    let retired = op.retired_place(self.journal.id(), k);
                    self.unlink(&retired, op.duplicate_id)?;
                }
                (OpKind::Cross, DuplicateAt::Retired) => self.return_name(op, k)?,
            }
        }
        Ok(())
    }

    /// Renames the retired duplicate to its own name `k`, if the path is still there and is the replacement's. A path
    /// that a client removed must not come back, and the old bytes must not hide a file that a client put there.
    pub(super) fn return_name(&mut self, op: &Begun, k: usize) -> Result<(), Halt> {
        let (own, retired) = (op.own(k), op.retired_place(self.journal.id(), k));
        let may_return = |observed: Observed| {
            let gone = op.salvaged && observed.target == TargetIs::Absent;
            (observed.target == TargetIs::Master || gone)
                && !observed.own_taken
                && !observed.apart
                && observed.elsewhere.is_none()
        };
        // A link that a client made there since is not our replacement.
        if !may_return(self.observe(op, k)?) || (!op.salvaged && self.is_made_anew(op, k)?) {
            return Ok(());
        }
        let name = self.fs.hold(&retired)?;
        match self.rename(&retired, &own) {
            Err(error) if error.errno() == libc::EEXIST => return Ok(()),
            renamed => renamed?,
        }
        let now = self.fs.stat(&op.target(k))?;
        let still_there =
            now.is_some_and(|stat| op.is_master(&stat)) && !self.is_made_anew(op, k)?;
        // A client may have given the duplicate the name anew: only the name that this process returned is ours to hide
        // again.
        let path = self.fs.path_of(&name)?;
        let ours = path.is_some_and(|path| path.file_name() == own.path.file_name());
        if !still_there && ours && !op.salvaged {
            // A client removed the path before the rename: it stays removed.
            self.rename(&own, &retired)?;
        }
        Ok(())
    }

    /// Handles the hidden names of a duplicate whose path is gone: drops them if the duplicate has a visible name, and
    /// keeps them otherwise. Returns the kept names.
    fn drop_or_keep(&mut self, op: &Begun) -> Result<Vec<(BranchIdx, RelPath)>, Halt> {
        let names = self.look(op)?;
        let has_a_name = names.iter().any(|name| name.duplicate == DuplicateAt::Own);
        let mut left = Vec::new();
        for (k, observed) in names.iter().enumerate() {
            if observed.duplicate != DuplicateAt::Retired {
                continue;
            }
            let retired = op.retired_place(self.journal.id(), k);
            if has_a_name {
                self.unlink(&retired, op.duplicate_id)?;
            } else {
                left.push(self.named_now(&retired)?);
            }
        }
        Ok(left)
    }

    /// Takes away every replacement of `op` that may go, under the lease held on the master.
    fn withdraw(
        &mut self,
        op: &Begun,
        master: &mut Leased<'_, F>,
        duplicate: Option<&Leased<'_, F>>,
    ) -> Result<(), Halt> {
        let before = self.fs.stat_open(&master.file)?;
        let mut hidden = Vec::new();
        for k in 0..op.names.len() {
            let observed = self.observe(op, k)?;
            let returned = observed.duplicate == DuplicateAt::Own;
            match op.kind {
                OpKind::Cross if self.goes_with_its_return(op, k, observed) && returned => {
                    self.hide_replacement(op, k, &mut hidden)?;
                }
                OpKind::Cross if self.hides_newer(op, k, observed) => {
                    self.hide_replacement(op, k, &mut hidden)?;
                }
                OpKind::Local if self.goes_with_its_return(op, k, observed) => {
                    self.exchange_out(op, k, &mut hidden)?;
                }
                OpKind::Cross | OpKind::Local => {}
            }
        }
        match op.kind {
            OpKind::Cross => self.still_unopened(op, master, &hidden)?,
            OpKind::Local => self.still_unasked(master, duplicate, &hidden)?,
        }
        self.remove_hidden(op, hidden)?;
        // The other ops on this master go on, if no other program touched it before.
        if op.seen.as_ref().is_some_and(|s| self.unchanged(&before, &s.master, "master").is_ok()) {
            self.note_ctime(&master.file, &before)?;
        }
        Ok(())
    }

    /// Puts back the names just taken away if another program opened the master meanwhile: that program may have used
    /// such a name.
    fn still_unopened(
        &mut self,
        op: &Begun,
        master: &Leased<'_, F>,
        hidden: &[Hidden],
    ) -> Result<(), Halt> {
        if hidden.is_empty() || master.unbroken()? {
            return Ok(());
        }
        for (at, target) in hidden.iter().rev() {
            if self.is_path_of_duplicate(op, target)? {
                self.rename(at, target)?;
            }
        }
        Err(Halt::again(Reason::Busy, "the kept copy was opened meanwhile"))
    }

    /// Whether the duplicate has the path of `target` on its own branch: only a path that exists gets a name back.
    fn is_path_of_duplicate(&self, op: &Begun, target: &Place) -> Result<bool, FsError> {
        let mut own = (0..op.names.len()).filter(|k| op.target(*k) == *target);
        let Some(k) = own.next() else {
            return Ok(false);
        };
        let own = self.fs.stat(&op.own(k))?;
        Ok(own.is_some_and(|stat| op.is_duplicate(&stat)))
    }

    /// Does as `still_unopened` for a local op, whose duplicate lost its name to the replacement.
    ///
    /// A client that waits for the duplicate needs the duplicate back at the path, even if another program reads the
    /// master. A client that waits to write the master may have asked for it by the path while the replacement was
    /// there. If the replacement went, that write would change the master's other names and not the path that the
    /// client used. So the replacement stays then, and the duplicate keeps the hidden name, where writes to the
    /// duplicate are found.
    fn still_unasked(
        &mut self,
        master: &Leased<'_, F>,
        duplicate: Option<&Leased<'_, F>>,
        exchanged: &[Hidden],
    ) -> Result<(), Halt> {
        let waited_for = duplicate.map_or(Ok(false), |d| d.unbroken().map(|unbroken| !unbroken))?;
        let asked = if waited_for { master.writer_waits()? } else { !master.unbroken()? };
        if !asked {
            return Ok(());
        }
        for (temp, target) in exchanged.iter().rev() {
            self.exchange(temp, target)?;
        }
        Err(Halt::again(Reason::Busy, "the kept copy was opened meanwhile"))
    }

    /// Takes away the replacements that would hide a file made at the same path since.
    ///
    /// mergerfs looks at one branch after the other. A client's look-up may begin before the replacement is there, and
    /// come to the duplicate's branch after the duplicate was retired: it finds nothing, and the client's `O_CREAT`
    /// makes a new file. That file is the newest at the path; the master keeps its bytes under its other names.
    pub(super) fn yield_to_newer(&mut self, op: &Begun) -> Result<(), Halt> {
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
        let mut hidden = Vec::new();
        for k in hiding {
            let (target, aside) = (op.target(k), op.hidden(self.journal.id(), k, Role::Withdrawn));
            self.move_aside(op, k, &target, &aside)?;
            hidden.push((aside, target, k));
        }
        if !master.unbroken()? {
            for (at, target, _) in hidden.iter().rev() {
                self.rename(at, target)?;
            }
            return Err(Halt::again(Reason::Busy, "the kept copy was opened meanwhile"));
        }
        for (at, target, k) in hidden {
            let observed = self.observe(op, k)?;
            if !observed.own_taken && observed.elsewhere.is_none() {
                // The other program took its file away again: without the replacement no disk would have the path.
                match self.rename(&at, &target) {
                    Err(error) if error.errno() == libc::EEXIST => {}
                    Ok(()) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if !self.is_visible(op)? {
                self.rename(&at, &target)?;
                let why = "a new file is at its path, and the replacement is the only copy left";
                return Err(Halt::new(Reason::Conflict, why));
            }
            self.unlink(&at, op.master_id)?;
        }
        Ok(())
    }

    /// Moves the replacement at `target` to its hidden name `aside`.
    ///
    /// The rename takes any entry that has the name by then. A file of another program, or a link that another program
    /// made in the place of ours, goes straight back.
    fn move_aside(
        &mut self,
        op: &Begun,
        k: usize,
        target: &Place,
        aside: &Place,
    ) -> Result<(), Halt> {
        self.rename(target, aside)?;
        let moved = self.fs.stat(aside)?;
        let is_master = moved.is_some_and(|stat| op.is_master(&stat));
        if is_master && self.is_made_by_us(op, k, aside)? {
            return Ok(());
        }
        self.rename(aside, target)?;
        Err(not_ours(is_master))
    }

    /// Hides replacement `k`, and puts it back if by then the path had no other file.
    fn hide_replacement(
        &mut self,
        op: &Begun,
        k: usize,
        hidden: &mut Vec<Hidden>,
    ) -> Result<(), Halt> {
        let (target, aside) = (op.target(k), op.hidden(self.journal.id(), k, Role::Withdrawn));
        let observed = self.observe(op, k)?;
        let gone_before = self.brought_back(op, k, observed)? || self.hides_newer(op, k, observed);
        self.move_aside(op, k, &target, &aside)?;
        if !gone_before && !self.is_path_of_duplicate(op, &target)? {
            // The duplicate left the path between the look and the rename. If it left before the rename, a client
            // relies on the name that was just hidden (`mv m/a3 d/b`, where the kernel leaves the name as it is,
            // removes only the duplicate). If it left after the rename, the client removed the path.
            if self.changed_before(&op.own(k), &aside)? != Some(false) {
                match self.rename(&aside, &target) {
                    Err(error) if error.errno() == libc::EEXIST => {}
                    renamed => renamed?,
                }
                return Err(Halt::new(Reason::Changed, "the path was replaced meanwhile"));
            }
        }
        hidden.push((aside, target));
        Ok(())
    }

    fn exchange_out(&mut self, op: &Begun, k: usize, hidden: &mut Vec<Hidden>) -> Result<(), Halt> {
        let (target, temp) = (op.target(k), op.hidden(self.journal.id(), k, Role::Temp));
        self.exchange(&temp, &target)?;
        let moved = self.fs.stat(&temp)?;
        let is_master = moved.is_some_and(|stat| op.is_master(&stat));
        if !is_master || !self.is_made_by_us(op, k, &temp)? {
            self.exchange(&temp, &target)?;
            return Err(not_ours(is_master));
        }
        hidden.push((temp, target));
        Ok(())
    }

    /// Removes the hidden names of the master that an interrupted publish or take-back left. The last name stays if no
    /// path leads to the contents.
    pub(super) fn clear_hidden(&mut self, op: &Begun) -> Result<(), Halt> {
        for k in 0..op.names.len() {
            for role in [Role::Temp, Role::Withdrawn] {
                let at = op.hidden(self.journal.id(), k, role);
                // A local op's duplicate stays; any other file is reported, never removed.
                let Some(stat) = self.fs.stat(&at)?.filter(|stat| op.is_master(stat)) else {
                    continue;
                };
                let salvaged = op.salvaged && stat.nlink > 1;
                if !salvaged && !self.is_visible(op)? {
                    return Err(Halt::only_hidden(op));
                }
                self.unlink(&at, op.master_id)?;
            }
        }
        let cleared = self.clear_copy(op);
        self.clear_aside(op)?;
        cleared
    }
}

/// The reason for a path of a replacement that has another file. A link of the kept copy is a client's own, and only
/// this process can know that: a later process would take the link for ours.
fn not_ours(is_master: bool) -> Halt {
    if is_master {
        Halt::new(
            Reason::Conflict,
            "another program linked the kept copy at its path: both copies stay",
        )
    } else {
        Halt::again(Reason::Changed, "the path was replaced meanwhile")
    }
}

/// Checks that size and mtime of the master are those that were compared.
fn not_written(op: &Begun, now: &Stat) -> Result<(), Halt> {
    if (now.size, now.mtime) == (op.size, op.master_mtime) {
        return Ok(());
    }
    Err(written_since())
}

fn written_since() -> Halt {
    Halt::new(Reason::Conflict, "the kept copy was written to since it was linked")
}
