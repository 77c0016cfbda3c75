//! The undo of a run from request to outcome: find the run and its pool, recover, plan, carry out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::undo::{UndoPlan, plan};
use crate::execute::Leases;
use crate::fs::Look;
use crate::journal::{self, Finished, Journal, JournalError, RunSummary, Store};
use crate::plan::Plan;
use crate::plan::metadata::IgnoreMetadata;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};
use crate::run::real_path::{below_pool, outside};
use crate::run::{
    CarriedOut, Manner, RunError, Session, Site, Stop, Undoes, Unfinished, Watcher, carry_out,
    find_pool, in_step, recover, same_as_before, unfinished,
};

/// Which run is taken back, and how.
#[derive(Debug, Clone)]
pub struct UndoRequest {
    /// The run; without it, the newest run that is no undo and of which something can be taken back.
    pub run: Option<u64>,
    /// If there are any paths: only ops with a name at or below one of them.
    pub paths: Vec<PathBuf>,
    /// Carries the plan out; without it, the undo ends with the plan.
    pub execute: bool,
    /// The directory of the journal.
    pub journal: PathBuf,
    /// The CSV log; without it, `log.csv` in the directory of the journal.
    pub csv: Option<PathBuf>,
    /// Accepts branches that are not the branches the journal knows.
    pub accept_branches: bool,
    /// Whether other programs are kept out by leases.
    pub leases: Leases,
    /// Words that say what was asked for: the journal keeps them, and `history` shows them.
    pub options: Vec<Vec<u8>>,
}

/// Why an undo ended early. The journal has every op that was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// An error that any run can have.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no journal.
    #[error("no journal at {0:?}: there is nothing to undo")]
    NoJournal(PathBuf),
    /// The journal never had the run.
    #[error("the journal has no run {0}")]
    NoRun(u64),
    /// The journal had the run, and has forgotten it.
    #[error("run {0} is no longer in the journal: history --prune forgot it")]
    Forgotten(u64),
    /// No run of the journal has changed anything.
    #[error("no run has linked a file")]
    NothingDone,
    /// Undos have taken back all that runs did. To say so is no failure.
    #[error("nothing is left to take back: every run was undone")]
    NothingLeft,
    /// The pool of the run is not mounted.
    #[error("the pool of run {run} is not mounted at {mount:?}")]
    NotMounted {
        /// The run.
        run: u64,
        /// The mount point of its pool.
        mount: PathBuf,
    },
    /// A path of the request is not on the pool.
    #[error("{path:?} is not on the pool {pool:?}")]
    NotOnPool {
        /// The path.
        path: PathBuf,
        /// The mount point of the pool.
        pool: PathBuf,
    },
    /// The run did nothing at or below a path of the request.
    #[error("run {run} linked nothing at or below {path:?}; nothing was changed")]
    NothingThere {
        /// The run.
        run: u64,
        /// The path.
        path: PathBuf,
    },
    /// A disk has too little room for the copies; nothing was changed.
    #[error("not enough room on {branch:?}: {needed} bytes needed, {free} bytes free")]
    NoRoom {
        /// The root of a branch on the disk.
        branch: PathBuf,
        /// Bytes that the copies need.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
}

impl From<JournalError> for UndoError {
    fn from(error: JournalError) -> Self {
        Self::Run(error.into())
    }
}

impl UndoError {
    /// Returns why `journal` does not have run number `run`: runs are numbered one after the other.
    pub fn no_run<T: Store>(journal: &Journal<T>, run: u64) -> Self {
        let newest = journal.runs().map(|run| run.started.run).max();
        match newest.is_some_and(|newest| (1..newest).contains(&run)) {
            true => Self::Forgotten(run),
            false => Self::NoRun(run),
        }
    }
}

/// How an undo ended.
#[derive(Debug)]
pub enum Undone<S> {
    /// With a plan; nothing was changed.
    Planned {
        /// The pool.
        site: S,
        /// The run.
        undoes: u64,
        /// What would be done, and what would not.
        plan: UndoPlan,
        /// Whether the disks have room for the copies.
        room: Result<(), UndoError>,
        /// Interrupted runs that would be finished or taken back first; their open ops are not planned.
        unfinished: Vec<Unfinished>,
    },
    /// It carried its plan out.
    Ran(CarriedOut),
}

/// Does the undo that `request` asks for.
///
/// # Errors
/// The error that ends the undo early. The ops that were begun are in the journal, and the next run or `resume`
/// finishes them.
pub fn undo(
    request: &UndoRequest,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<Undone<Session>, UndoError> {
    let dir = &request.journal;
    let Some(journal) = journal::open_existing(dir, request.csv.as_deref())? else {
        return Err(UndoError::NoJournal(dir.clone()));
    };
    let runs = chosen(&journal, request.run)?;
    let site = Session::open(pool_of(&journal, runs.first)?)?;
    outside(&site.pool, "journal", dir)?;
    let undo =
        Undo { request, runs, paths: paths(&site.pool, &request.paths)?, site, journal, stop };
    undo.go(watcher)
}

/// The run to undo, and the runs that are undone instead if nothing of it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The run.
    pub first: u64,
    /// Earlier runs on the same pool, newest first.
    pub others: Vec<u64>,
}

/// Returns the run to undo: `named`, else the newest run that is no undo and has something left to take back, and the
/// earlier ones. So an undo that is asked for twice, or that was interrupted, goes on, and never links again what it took
/// apart. A run that was interrupted stands for itself: what recovery finishes of it is taken back, and if that is
/// nothing, no earlier run is undone in its place.
///
/// # Errors
/// When there is no such run.
pub fn chosen<T: Store>(journal: &Journal<T>, named: Option<u64>) -> Result<Chosen, UndoError> {
    if let Some(first) = named {
        return match journal.run(first) {
            Some(_) => Ok(Chosen { first, others: Vec::new() }),
            None => Err(UndoError::no_run(journal, first)),
        };
    }
    let begun = |run: &RunSummary| run.done + run.open;
    let all: Vec<&RunSummary> =
        journal.runs().filter(|run| run.links() && begun(run) > 0).rev().collect();
    if all.is_empty() {
        return Err(UndoError::NothingDone);
    }
    let mut left = all.into_iter().filter(|run| run.undone < begun(run));
    let newest = left.next().ok_or(UndoError::NothingLeft)?;
    let others = left.filter(|run| newest.open == 0 && run.started.pool == newest.started.pool);
    let others = others.map(|run| run.started.run).collect();
    Ok(Chosen { first: newest.started.run, others })
}

fn pool_of<T: Store>(journal: &Journal<T>, run: u64) -> Result<Pool, UndoError> {
    let mount = journal.run(run).map(|run| run.started.pool.clone());
    let mount = mount.unwrap_or_default();
    let pool = find_pool::mounted_at(&mount).map_err(RunError::from)?;
    pool.ok_or(UndoError::NotMounted { run, mount })
}

/// Returns `given` paths relative to the pool; their files need not exist any more.
fn paths(pool: &Pool, given: &[PathBuf]) -> Result<Vec<RelPath>, UndoError> {
    let outside =
        |path: &PathBuf| UndoError::NotOnPool { path: path.clone(), pool: pool.mount.clone() };
    let below = |path: &PathBuf| below_pool(pool, path).ok_or_else(|| outside(path));
    given.iter().map(below).collect()
}

/// Everything that an undo needs. [`undo`] makes it for a real pool.
pub struct Undo<'u, S, T: Store> {
    /// The request; the run, the paths and the journal are below.
    pub request: &'u UndoRequest,
    /// The run, and others if nothing of it can be taken back.
    pub runs: Chosen,
    /// The paths of the request, relative to the pool.
    pub paths: Vec<RelPath>,
    /// The pool of the run.
    pub site: S,
    /// The journal that has the run.
    pub journal: Journal<T>,
    /// When to stop.
    pub stop: &'u Stop,
}

impl<S: Site, T: Store> Undo<'_, S, T> {
    /// Goes from the request to the outcome.
    ///
    /// # Errors
    /// As [`undo`].
    pub fn go(self, watcher: &mut dyn Watcher) -> Result<Undone<S>, UndoError> {
        if self.request.execute {
            return self.execute(watcher).map(Undone::Ran);
        }
        let (unfinished, half_done) = unfinished(&self.journal.open_ops(), self.site.pool());
        let (undoes, UndoPlan { ops, refusals }) = self.plan()?;
        let mut plan = Plan { ops, refusals, ..Plan::default() };
        plan.set_aside(&half_done);
        let plan = UndoPlan { ops: plan.ops, refusals: plan.refusals };
        let room = self.has_room(&plan);
        Ok(Undone::Planned { site: self.site, undoes, plan, room, unfinished })
    }

    /// Plans the undo of the first run of which something can be taken back, else of the first; returns that run, too. What
    /// was deleted or edited since stays so, and must not keep an earlier run from being undone.
    fn plan(&self) -> Result<(u64, UndoPlan), UndoError> {
        let (first, finished) = self.plan_of(self.runs.first)?;
        if first.stays_so() {
            for run in &self.runs.others {
                let (plan, finished) = self.plan_of(*run)?;
                if !plan.ops.is_empty() {
                    self.check_paths(*run, &finished)?;
                    let instead = run;
                    tracing::info!(run = self.runs.first, instead, "nothing is left to take back");
                    return Ok((*run, plan));
                }
            }
        }
        self.check_paths(self.runs.first, &finished)?;
        Ok((self.runs.first, first))
    }

    fn plan_of(&self, run: u64) -> Result<(UndoPlan, Finished), UndoError> {
        let mut finished = self.journal.finished(|other| other == run)?;
        if self.request.run.is_some() {
            // Another try is asked for: the disk may read well again, with another cable for example.
            finished.damaged.clear();
        }
        let branches = self.site.branch_records();
        let mut undo = plan(self.site.fs(), &branches, &finished, &self.paths);
        let read_only = |at: BranchIdx| self.site.facts()[at.index()].read_only;
        undo.refuse_on(&branches, read_only);
        Ok((undo, finished))
    }

    /// Checks that the run linked something at or below each path: a mistyped path must not look like a path with
    /// nothing left to undo.
    fn check_paths(&self, run: u64, finished: &Finished) -> Result<(), UndoError> {
        let left = |path: &RelPath| {
            let mut names = finished.ops.iter().flat_map(|done| &done.intent.names);
            names.any(|name| name.path.is_below(path))
        };
        let given = self.paths.iter().zip(&self.request.paths);
        let gone: Vec<_> = given.filter(|(path, _)| !left(path)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut known = vec![false; gone.len()];
        self.journal.replay::<JournalError>(None, |entry| {
            let Some(intent) = entry.record.into_intent() else { return Ok(()) };
            for (known, (path, _)) in known.iter_mut().zip(&gone) {
                *known |= intent.op.run == run
                    && intent.names.iter().any(|name| name.path.is_below(path));
            }
            Ok(())
        })?;
        for (known, (_, path)) in known.into_iter().zip(gone) {
            if !known {
                return Err(UndoError::NothingThere { run, path: path.clone() });
            }
            tracing::warn!(run, ?path, "nothing there is as this run made it");
        }
        Ok(())
    }

    /// Checks before anything is changed that every disk has room for the copies.
    fn has_room(&self, undo: &UndoPlan) -> Result<(), UndoError> {
        let mut by_device: BTreeMap<u64, (u64, u64, &Path)> = BTreeMap::new();
        for (branch, bytes) in undo.needs() {
            let space = self.site.space(branch).map_err(RunError::from)?;
            let path = self.site.pool().branches[branch.index()].path.as_path();
            // Two branches may share a disk.
            let dev = self.site.facts()[branch.index()].dev;
            let of_device = by_device.entry(dev);
            of_device.or_insert((0, space.available_bytes(), path)).0 += bytes;
        }
        let mut disks = by_device.into_values();
        match disks.find(|(needed, free, _)| needed > free) {
            None => Ok(()),
            Some((needed, free, path)) => {
                Err(UndoError::NoRoom { branch: path.to_path_buf(), needed, free })
            }
        }
    }

    fn execute(mut self, watcher: &mut dyn Watcher) -> Result<CarriedOut, UndoError> {
        let began = self.site.fs().now();
        let lock = self.site.lock().map_err(RunError::from)?;
        if !self.request.accept_branches {
            same_as_before(&self.site, self.journal.runs())?;
            in_step(&self.site, &self.journal)?;
        }
        let leases = self.request.leases;
        if !self.journal.open_ops().is_empty() {
            recover(&self.site, &mut self.journal, leases, self.stop, watcher)?;
        }
        let (run, undo) = self.plan()?;
        self.has_room(&undo)?;
        let manner = Manner {
            undoes: Some(Undoes { run, links: undo.ops.iter().all(|op| op.undo().is_none()) }),
            options: &self.request.options,
            log_refusals: false,
            // The undone run accepted the differences between the copies.
            ignore: &IgnoreMetadata::all(),
            leases,
            scanned: None,
            hashed: &[],
            began,
            hooks: None,
        };
        let something = !undo.ops.is_empty();
        let plan = Plan { ops: undo.ops, refusals: undo.refusals, ..Plan::default() };
        let journal = || Ok(Some(self.journal).filter(|_| something));
        let carried_out = carry_out(&self.site, plan, &manner, journal, self.stop, watcher)?;
        drop(lock);
        Ok(carried_out)
    }
}
