//! `resume`: finishes or takes back every op that a journal has open, pool by pool.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::execute::Leases;
use crate::journal::{Journal, RunStarted, Store};
use crate::run::{RunError, Session, Site, Stop, Watcher, find_pool, in_step, recover};

/// Recovers the open ops of `journal`, on pools that are mounted and on the branches of pools that are not; returns how
/// many ops have to stay open.
///
/// # Errors
/// When a pool cannot be opened or locked, the journal fails, or the watcher ends the recovery.
pub fn resume<T: Store>(
    journal: &mut Journal<T>,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<usize, RunError> {
    let open = |runs: &[Arc<RunStarted>]| Session::open(find_pool::of_runs(runs)?);
    resume_on(journal, open, stop, watcher)
}

/// Checks, of a journal that has nothing open, that no disk of its newest run's pool knows of a run that it lacks.
///
/// # Errors
/// [`RunError::OldJournal`] or [`RunError::OtherJournal`].
pub fn lacks_no_run<T: Store>(journal: &Journal<T>) -> Result<(), RunError> {
    let newest = journal.runs().next_back();
    let pool = newest.and_then(|run| find_pool::mounted_at(&run.started.pool).ok().flatten());
    let Some(session) = pool.and_then(|pool| Session::open(pool).ok()) else { return Ok(()) };
    match in_step(&session, journal) {
        // With nothing open, the clock decides nothing.
        Err(RunError::ClockBack { .. }) => Ok(()),
        checked => checked,
    }
}

/// Does the same as [`resume`] on the sites that `open` returns for the runs of one pool.
///
/// # Errors
/// As [`resume`], and the errors of `open`.
pub fn resume_on<S: Site, T: Store>(
    journal: &mut Journal<T>,
    mut open: impl FnMut(&[Arc<RunStarted>]) -> Result<S, RunError>,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<usize, RunError> {
    let runs: Vec<Arc<RunStarted>> = journal.open_ops().into_iter().map(|op| op.run).collect();
    let pools: BTreeSet<PathBuf> = runs.iter().map(|run| run.pool.clone()).collect();
    let mut remaining = 0;
    for mount in pools {
        let of_pool = runs.iter().filter(|run| run.pool == mount);
        let site = open(&of_pool.cloned().collect::<Vec<_>>())?;
        let lock = site.lock()?;
        in_step(&site, journal)?;
        remaining += recover(&site, journal, Leases::Required, stop, watcher)?;
        drop(lock);
    }
    Ok(remaining)
}
