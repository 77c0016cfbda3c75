//! Publish: the replacement appears under the duplicate's relpath. The duplicate keeps its inode and, for a cross op,
//! its name.

use std::ops::Deref;

use super::Executor;
use super::begun::{Begun, Subject as _};
use super::compared::Files;
use super::halt::Halt;
use super::observe::{DuplicateAt, Observed, TargetIs};
use super::window::Window;
use super::work::Phase;
use crate::fs::Change;
use crate::journal::Store;
use crate::plan::hidden_name::Role;
use crate::plan::refusal::Reason;
use crate::plan::{Found, Op, OpKind};

/// An op whose replacements are at every name, in memory at least. Only [`Executor::publish`] makes it.
pub(super) struct Published(Begun);

impl Published {
    pub(super) fn into_begun(self) -> Begun {
        self.0
    }
}

impl Deref for Published {
    type Target = Op;

    fn deref(&self) -> &Op {
        &self.0
    }
}

impl<'a, F: Change, S: Store> Executor<'a, F, S> {
    /// Publishes every name of `op` that is not in place yet, in one short window.
    ///
    /// If this fails, the op must not go on, and [`Self::take_back`] handles the names that publish changed.
    pub(super) fn publish(&mut self, op: Begun) -> Phase<Published> {
        let step = |op: &mut Begun| {
            self.not_stopped(op)?;
            self.publish_all(op)
        };
        Self::check(op, step).map(Published)
    }

    fn publish_all(&mut self, op: &mut Begun) -> Result<(), Halt> {
        let mut window = self.enter_again(op)?;
        let done = self.publish_names(op, &window);
        let noted = self.note_both(op, &window, 0);
        let unbroken = window.duplicate.unbroken();
        let halt = match (done.and(noted), unbroken) {
            // If only the master's lease is broken, there is no reason to take back: the client that asked for the
            // master may have asked by the new name, and waits. Retire looks at the master again.
            (Ok(()), Ok(true)) => return Ok(()),
            (Ok(()), Ok(false)) => {
                Halt::again(Reason::Busy, "the duplicate was opened while it was replaced")
            }
            (Ok(()), Err(error)) => error.into(),
            (Err(halt), _) => halt,
        };
        // Before the leases go: a client that waits for the duplicate must go on with a file that has its name. The
        // result does not matter here: the caller takes back again, from the state that it finds.
        if let Err(stuck) = self.withdraw_in_window(op, &mut window) {
            tracing::debug!(%stuck, "not taken back in the window");
            self.stop_branch(&stuck);
        }
        Err(halt)
    }

    /// Takes leases on both files and checks that both are as they were compared. Their names are looked at in the window.
    pub(super) fn enter(&mut self, op: &Begun) -> Result<Window<'a, F>, Halt> {
        let files = match self.both_open(op) {
            Some(files) => files,
            None => Files { master: self.open_master(op)?, duplicate: self.open_duplicate(op)? },
        };
        let seen = op.seen();
        let window = Window::open(self.fs, self.options.leases, files)?;
        self.unchanged(&self.fs.stat_open(&window.master.file)?, &seen.master, "master")?;
        self.unchanged(&self.fs.stat_open(&window.duplicate.file)?, &seen.duplicate, "duplicate")?;
        Ok(window)
    }

    /// Remembers the ctimes that our calls in the window left on both inodes.
    ///
    /// `unlinked` is how many of the duplicate's names this program unlinked. Apart from that and its ctime the duplicate must be unchanged. A client may already touch the master through its new
    /// name: then the master's ctime is not taken for ours, and the master is compared again before anything is
    /// removed.
    pub(super) fn note_both(
        &mut self,
        op: &Begun,
        window: &Window<'_, F>,
        unlinked: u64,
    ) -> Result<(), Halt> {
        let Some(seen) = &op.seen else { return Ok(()) };
        match self.note_ctime(&window.master.file, &seen.master_stat) {
            // The disk, not a client (invariant 8).
            Err(halt) if halt.stops.is_some() => return Err(halt),
            Err(touched) => tracing::debug!(%touched, "master"),
            Ok(_) => {}
        }
        let now = self.note_ctime(&window.duplicate.file, &seen.duplicate_stat)?;
        if now.nlink + unlinked != seen.duplicate_stat.nlink {
            // Our renames leave the link count as it is: another program made a link or removed a name.
            self.ours.remove(&now.id);
            return Err(Halt::again(
                Reason::Changed,
                "the duplicate was linked or unlinked meanwhile",
            ));
        }
        Ok(())
    }

    fn publish_names(&mut self, op: &mut Begun, window: &Window<'_, F>) -> Result<(), Halt> {
        // A lease cannot tell that a client renamed or unlinked the name: each name on every branch, before ...
        let names = self.observe_all(op, Observed::may_publish)?;
        if op.published.is_none() {
            // The op was found open: a replacement in place now may be ours. Later, a replacement is ours only if this
            // process makes it.
            let in_place = names.iter().map(|observed| observed.target == TargetIs::Master);
            op.published = Some(in_place.collect());
        }
        for (k, observed) in names.iter().enumerate() {
            let in_place = observed.target == TargetIs::Master;
            if in_place && !op.may_be_ours(k) && op.names[k].found != Found::Master {
                // The master's name was not there when the op began, and this program has not made it: a client renamed
                // the master here.
                let detail = format!("{:?} is the kept copy already", op.names[k].path);
                return Err(Halt::new(Reason::Changed, detail));
            }
            if !in_place && observed.duplicate == DuplicateAt::Own {
                self.publish_name(op, k, window)?;
            }
        }
        // ... and after: if a client saved by rename or deleted meanwhile, its path must not come back.
        self.observe_all(op, Observed::may_publish)?;
        Ok(())
    }

    fn publish_name(
        &mut self,
        op: &mut Begun,
        k: usize,
        window: &Window<'_, F>,
    ) -> Result<(), Halt> {
        let temp = op.hidden(self.journal.id(), k, Role::Temp);
        let target = op.target(k);
        // The master is linked by descriptor: its name may lead elsewhere by now. To a temp name first, so that
        // the name itself appears in one step that never overwrites anything.
        match self.link(&window.master.file, &temp) {
            Err(error) if error.errno() == libc::EEXIST => {
                let there = self.fs.stat(&temp)?;
                // Left by an interrupted publish of this op.
                if there.is_none_or(|stat| !op.is_master(&stat)) {
                    let taken = format!("{:?} is taken", temp.path);
                    return Err(Halt::new(Reason::Conflict, taken));
                }
            }
            linked => linked?,
        }
        // Before the calls: an error may come from a later step, and the name may be ours all the same.
        let name = self.fs.hold(&temp)?;
        self.note_making(op, k, name);
        op.note_published(k, true);
        match op.kind {
            OpKind::Cross => self.rename(&temp, &target).inspect_err(|error| {
                // The entry there is another program's, even where it is another name of the master.
                op.note_published(k, error.errno() != libc::EEXIST);
            })?,
            OpKind::Local => self.exchange_in(op, k)?,
        }
        Ok(())
    }

    /// Exchanges temp and name: from now on the temp name holds the duplicate.
    fn exchange_in(&mut self, op: &Begun, k: usize) -> Result<(), Halt> {
        let temp = op.hidden(self.journal.id(), k, Role::Temp);
        let target = op.target(k);
        self.exchange(&temp, &target).map_err(|error| match error.errno() {
            libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP => {
                Halt::new(Reason::NoExchange, format!("{:?}", error.path))
            }
            _ => error.into(),
        })?;
        let exchanged = self.fs.stat(&temp)?;
        if exchanged.is_some_and(|stat| op.is_duplicate(&stat)) {
            return Ok(());
        }
        // A client renamed another file over the name just before. That file goes back where the client put it, or
        // where the client has renamed the path to since, with our name. If a client removed our name or put another
        // file there, the client has removed or replaced its own file: that file gets no path again.
        if self.is_replacement_gone(op, k)? {
            return Err(Halt::new(
                Reason::Changed,
                format!("{:?} was replaced, then removed", target.path),
            ));
        }
        let target = self.place_of_replacement(op, k)?;
        self.exchange(&temp, &target)?;
        let back = self.fs.stat(&temp)?;
        if back.is_none_or(|stat| !op.is_master(&stat)) || !self.is_made_by_us(op, k, &temp)? {
            // A client renamed over the name again meanwhile: the client's newest file belongs at the name, the file
            // before the newest was overwritten.
            self.exchange(&temp, &target)?;
            return Err(Halt::new(Reason::Conflict, format!("{:?} keeps changing", target.path)));
        }
        Err(Halt::new(Reason::Changed, format!("{:?} was replaced meanwhile", target.path)))
    }
}
