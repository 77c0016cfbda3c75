//! Publish: the replacement appears under the duplicate's relpath. The duplicate keeps its inode and, for a cross op,
//! its name.

use std::ops::Deref;

use super::Executor;
use super::begun::{Begun, Subject as _};
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
    /// If it fails, the op must not go on, and [`Self::take_back`] deals with what is left.
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
        let noted = self.note_both(op, &window);
        let unbroken = window.duplicate.unbroken();
        let halt = match (done.and(noted), unbroken) {
            // A broken lease of the master's alone is no reason to take back: whoever asked for it may have done so
            // by the new name, and waits. Retire looks at the master again.
            (Ok(()), Ok(true)) => return Ok(()),
            (Ok(()), Ok(false)) => Halt::again(
                Reason::Busy,
                "the duplicate was opened while it was replaced",
            ),
            (Ok(()), Err(error)) => error.into(),
            (Err(halt), _) => halt,
        };
        // Before the leases go: whoever waits for the duplicate must go on with a file that has its name.
        // Whether it worked does not matter here: the caller takes back again, from what it finds.
        if let Err(stuck) = self.withdraw_in_window(op, &mut window) {
            tracing::debug!(%stuck, "not taken back in the window");
            self.stop_branch(&stuck);
        }
        Err(halt)
    }

    /// Opens both files, takes both leases and finds both as they were compared.
    pub(super) fn enter(&self, op: &Begun) -> Result<Window<'a, F>, Halt> {
        let seen = op.seen();
        let (master, duplicate) = (self.open_master(op)?, self.open_duplicate(op)?);
        let window = Window::open(self.fs, self.options.leases, master, duplicate)?;
        self.unchanged(
            &self.fs.stat_open(&window.master.file)?,
            &seen.master,
            "master",
        )?;
        self.unchanged(
            &self.fs.stat_open(&window.duplicate.file)?,
            &seen.duplicate,
            "duplicate",
        )?;
        Ok(window)
    }

    /// Remembers the ctimes our calls in the window left on both inodes.
    ///
    /// The duplicate must be what it was otherwise. The master may be touched by a client through its new name
    /// already; then its ctime is not taken for ours, and it is compared again before anything is removed.
    pub(super) fn note_both(&mut self, op: &Begun, window: &Window<'_, F>) -> Result<(), Halt> {
        let Some(seen) = &op.seen else { return Ok(()) };
        match self.note_ctime(&window.master.file, &seen.master_stat) {
            // The disk, not a client (invariant 8).
            Err(halt) if halt.stops.is_some() => return Err(halt),
            Err(touched) => tracing::debug!(%touched, "master"),
            Ok(_) => {}
        }
        let now = self.note_ctime(&window.duplicate.file, &seen.duplicate_stat)?;
        if now.nlink != seen.duplicate_stat.nlink {
            // Our renames leave the number as it is: it is another program's link, or its removal of a name.
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
            // Found open: what is in place now may be ours, what comes from now on is ours only if we make it.
            let in_place = names
                .iter()
                .map(|observed| observed.target == TargetIs::Master);
            op.published = Some(in_place.collect());
        }
        for (k, observed) in names.iter().enumerate() {
            let in_place = observed.target == TargetIs::Master;
            if in_place && !op.may_be_ours(k) && op.names[k].found != Found::Master {
                // It was not there when the op began, and we have not made it: a client renamed the master here.
                let detail = format!("{:?} is the master already", op.names[k].path);
                return Err(Halt::new(Reason::Changed, detail));
            }
            if !in_place && observed.duplicate == DuplicateAt::Own {
                self.publish_name(op, k, window)?;
            }
        }
        // ... and after: a client that saved by rename or deleted meanwhile must not see its path come back.
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
        match self.fs.stat(&temp)? {
            None => self.link(&window.master.file, &temp)?,
            Some(stat) if op.is_master(&stat) => {} // left by an interrupted publish of this op
            Some(_) => {
                return Err(Halt::new(
                    Reason::Conflict,
                    format!("{:?} is taken", temp.path),
                ));
            }
        }
        // Before the calls: an error may come from what follows them, and the name be ours all the same.
        let name = self.fs.hold(&temp)?;
        self.note_making(op, k, name);
        op.note_published(k, true);
        match op.kind {
            OpKind::Cross => self.rename(&temp, &target).inspect_err(|error| {
                // What is there is somebody else's, even where it is another name of the master.
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
        self.exchange(&temp, &target)
            .map_err(|error| match error.errno() {
                libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP => {
                    Halt::new(Reason::NoExchange, format!("{:?}", error.path))
                }
                _ => error.into(),
            })?;
        let exchanged = self.fs.stat(&temp)?;
        if exchanged.is_some_and(|stat| op.is_duplicate(&stat)) {
            return Ok(());
        }
        // A client renamed another file over the name just before: its file goes back where the client put it, or has
        // renamed the path to since, with our name. If a client removed our name or put another one there, it has removed
        // or replaced its own file: that gets no path again.
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
            // And again meanwhile: the newest of theirs belongs at the name, the one before it was overwritten.
            self.exchange(&temp, &target)?;
            return Err(Halt::new(
                Reason::Conflict,
                format!("{:?} keeps changing", target.path),
            ));
        }
        Err(Halt::new(
            Reason::Changed,
            format!("{:?} was replaced meanwhile", target.path),
        ))
    }
}
