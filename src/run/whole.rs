//! The whole run on a site, in its order: find, recover, plan, carry out.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use super::carry_out::{CarriedOut, Manner, carry_out};
use super::in_step::{Noted, in_step, journals_noted};
use super::recovery::recover;
use super::{
    Duplicates, Journals, Outcome, Planned, Ran, RunError, Site, StatCache, Stop, Terms,
    Unfinished, Watcher, planning, site, unfinished,
};
use crate::execute::Halt;
use crate::find::resolve::Resolved;
use crate::fs::{Look, Place, Timestamp};
use crate::journal::JournalError;
use crate::plan::{HalfDone, Plan};

/// Everything that a run needs. [`run`](super::run) and [`plan`](super::plan) make it for a real pool.
pub struct Run<'r, S, D, J> {
    /// The pool.
    pub site: S,
    /// Where the duplicates come from.
    pub duplicates: D,
    /// Where the journal comes from.
    pub journals: J,
    /// The terms of the run.
    pub terms: &'r Terms,
    /// When to stop.
    pub stop: &'r Stop,
}

/// The duplicates that a search found.
struct Searched {
    /// When the search began.
    began: Timestamp,
    resolved: Resolved,
}

const NOTED: &str = "a disk knows of a run of a journal that is not in this directory; if that journal is lost, `resume --salvage` with \
     the POOL shows what it left";

/// The checks that a run would fail, and the runs that it would recover first.
#[derive(Default)]
struct Ahead {
    obstacles: Vec<RunError>,
    unfinished: Vec<Unfinished>,
    half_done: HalfDone,
}

impl<S: Site, D: Duplicates<S>, J: Journals> Run<'_, S, D, J> {
    /// Goes from the request to its outcome.
    ///
    /// # Errors
    /// The error that ends the run early; the ops that were begun are in the journal.
    pub fn go(mut self, watcher: &mut dyn Watcher) -> Result<Outcome<S>, RunError> {
        if self.terms.execute {
            // A search may take hours: it does not begin if the journal is at a wrong place.
            self.journals.check(self.site.pool())?;
        }
        match self.find(watcher)? {
            None => Ok(Outcome::Stopped),
            Some(found) if self.terms.execute => self.execute(found, watcher),
            Some(found) => {
                let (guarded, stop) = (self.terms.execution.hooks.guard_snapraid(), self.stop);
                let planned = self.planned(found)?;
                // Asked to stop while symlinks were looked for: the plan may be wrong.
                if stop.asked() {
                    return Ok(Outcome::Stopped);
                }
                let obstacles = guarded.err().into_iter().chain(planned.obstacles).collect();
                Ok(Outcome::Planned(Box::new(Planned { obstacles, ..planned })))
            }
        }
    }

    /// Goes as far as the plan; `None` if the search for duplicates was stopped.
    ///
    /// # Errors
    /// The error that ends the run early; nothing was changed.
    pub fn plan(mut self, watcher: &mut dyn Watcher) -> Result<Option<Planned<S>>, RunError> {
        let found = self.find(watcher)?;
        found.map(|found| self.planned(found)).transpose()
    }

    fn find(&mut self, watcher: &mut dyn Watcher) -> Result<Option<Searched>, RunError> {
        let began = self.site.fs().now();
        watcher.opened(self.site.pool()).map_err(RunError::Watcher)?;
        let found = self.duplicates.find(&self.site, self.terms, self.stop, watcher)?;
        if found.as_ref().is_some_and(|found| found.asked_branches) {
            tracing::warn!("mergerfs does not tell where every file is; each branch was looked at");
        }
        Ok(found.map(|resolved| Searched { began, resolved }))
    }

    fn planned(mut self, searched: Searched) -> Result<Planned<S>, RunError> {
        let Searched { began, resolved } = searched;
        let Ahead { obstacles, unfinished, half_done } = self.ahead(&resolved.hidden);
        let (plan, looks) = self.look_ahead(resolved, &half_done)?;
        let space = site::spaces(&self.site);
        let (site, terms) = (self.site, self.terms.clone());
        Ok(Planned { site, terms, plan, looks, began, space, obstacles, unfinished })
    }

    /// Makes the checks of a run that changes something, and looks for the runs that it would recover first. Nothing is
    /// locked or made, and the journal stays as it is.
    fn ahead(&self, hidden: &BTreeMap<u32, Place>) -> Ahead {
        let mut ahead = Ahead::default();
        if let Err(misplaced) = self.journals.check(self.site.pool()) {
            ahead.obstacles.push(misplaced);
            return ahead;
        }
        let looked = self.journals.look(|journal| {
            self.warn_of_others(journal.id(), hidden);
            let checked = match self.terms.execution.accept_branches {
                true => Ok(()),
                false => site::same_as_before(&self.site, journal.runs())
                    .and_then(|()| in_step(&self.site, journal)),
            };
            ahead.obstacles.extend(checked.err());
            (ahead.unfinished, ahead.half_done) = unfinished(&journal.open_ops(), self.site.pool());
        });
        match looked {
            Ok(Some(())) => {}
            Ok(None) => ahead.obstacles.extend(self.nothing_lost(hidden).err()),
            Err(RunError::Journal(error @ JournalError::NotCopied { .. })) => {
                let (cause, hint) = (error.source().map(ToString::to_string), error.hint());
                tracing::warn!(%error, cause, hint, "what an interrupted run left open is not known");
            }
            Err(error) => ahead.obstacles.push(error),
        }
        ahead
    }

    /// Checks, where no journal is, that none is missing: `hidden` are names that the scan has met. A journal that a disk
    /// knows of and that left no such name may have been removed on purpose.
    fn nothing_lost(&self, hidden: &BTreeMap<u32, Place>) -> Result<(), RunError> {
        if self.terms.execution.accept_branches {
            return Ok(());
        }
        let (pool, dir) = (self.site.pool(), self.journals.place()?);
        if let Some((journal, at)) = hidden.first_key_value() {
            let at = pool.branch_path(at.branch, &at.path);
            return Err(RunError::JournalGone {
                dir,
                pool: pool.mount.clone(),
                journal: *journal,
                at,
            });
        }
        if let Some(Noted { journal, run, branch, .. }) = journals_noted(&self.site).first() {
            let journal = format!("{journal:08x}");
            tracing::warn!(journal, run, ?branch, ?dir, "{NOTED}");
        }
        Ok(())
    }

    /// Warns of `hidden` names that another journal than `id` left.
    fn warn_of_others(&self, id: u32, hidden: &BTreeMap<u32, Place>) {
        for (journal, at) in hidden.iter().filter(|(journal, _)| **journal != id) {
            let path = self.site.pool().branch_path(at.branch, &at.path);
            let journal = format!("{journal:08x}");
            tracing::warn!(
                ?path,
                journal,
                "another journal left a hidden file: `status` says what to do"
            );
        }
    }

    fn look_ahead(
        &mut self,
        resolved: Resolved,
        half_done: &HalfDone,
    ) -> Result<(Plan, StatCache), RunError> {
        let mut plan = planning::plan_of(&self.site, self.terms, &mut self.duplicates, resolved)?;
        plan.set_aside(half_done);
        let mut looks = StatCache::default();
        let found = (&mut self.duplicates, self.stop);
        planning::look_ahead(&self.site, self.terms, found, &mut plan, &mut looks);
        Ok((plan, looks))
    }

    /// Finishes the open ops of earlier runs, then plans and carries the plan out.
    fn execute(
        mut self,
        searched: Searched,
        watcher: &mut dyn Watcher,
    ) -> Result<Outcome<S>, RunError> {
        let Searched { began, mut resolved } = searched;
        let execution = &self.terms.execution;
        execution.hooks.guard_snapraid()?;
        self.journals.check(self.site.pool())?;
        let lock = self.site.lock()?;
        let mut existing = self.journals.existing()?;
        if existing.is_none() {
            self.nothing_lost(&resolved.hidden)?;
        }
        let (mut still_open, mut half_done) = (0, HalfDone::default());
        if let Some(journal) = &mut existing {
            self.warn_of_others(journal.id(), &resolved.hidden);
            if !execution.accept_branches {
                site::same_as_before(&self.site, journal.runs())?;
                in_step(&self.site, journal)?;
            }
            if !journal.open_ops().is_empty() {
                let leases = execution.leases;
                still_open = recover(&self.site, journal, leases, self.stop, watcher)?;
                // Paths lead to other inodes after recovery.
                let filter = &self.terms.filter;
                resolved = self.duplicates.again(&self.site, filter, resolved)?;
                half_done = unfinished(&journal.open_ops(), self.site.pool()).1;
            }
        }
        let hashed = std::mem::take(&mut resolved.hashed);
        let (plan, _) = self.look_ahead(resolved, &half_done)?;
        let something = !plan.ops.is_empty();
        // A journal with nothing to record is free for other commands.
        existing = existing.filter(|_| something);
        let manner = Manner {
            undoes: None,
            options: &execution.options,
            log_refusals: true,
            ignore: &self.terms.rules.ignore,
            leases: execution.leases,
            scanned: self.duplicates.scanned().then_some(began),
            hashed: &hashed,
            began,
            hooks: Some(&execution.hooks),
        };
        let (site, stop, journals) = (&self.site, self.stop, &mut self.journals);
        let pool = site.pool().mount.as_path();
        let around = execution.hooks.around(pool, plan.ops.len(), watcher, |watcher| {
            let journal = || match existing {
                Some(journal) => Ok(Some(journal)),
                None if something => journals.make().map(Some),
                None => Ok(None),
            };
            carry_out(site, plan, &manner, journal, stop, watcher)
        })?;
        drop(lock);
        Ok(Outcome::Ran(Ran {
            site: self.site,
            still_open,
            carried_out: around.work,
            after_failed: around.after_failed,
        }))
    }
}

impl<S: Site> Planned<S> {
    /// Returns the ops that would stop at a directory, by their index in the plan.
    pub fn would_stop(&mut self) -> HashMap<usize, Halt> {
        planning::fill_directories(&self.site, &self.terms, &mut self.plan, &mut self.looks)
    }
}

impl<S> Outcome<S> {
    /// Returns the result of carrying out; `None` if the run ended before.
    #[must_use]
    pub fn carried_out(&self) -> Option<&CarriedOut> {
        match self {
            Self::Ran(ran) => Some(&ran.carried_out),
            Self::Stopped | Self::Planned(_) => None,
        }
    }
}
