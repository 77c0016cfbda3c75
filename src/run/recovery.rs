//! Finishes or takes back the ops that earlier runs left open on a pool.

use super::recorder::Recorder;
use super::{RunError, Site, Stop, Watcher, site};
use crate::execute::{Executor, Leases, Options, StaysOpen};
use crate::journal::{Journal, Store};
use crate::plan::metadata::IgnoreMetadata;

/// Recovers every open op on the branches of `site`; returns how many have to stay open, and logs why.
///
/// # Errors
/// When the journal fails, or the watcher ends the recovery.
pub fn recover<S: Site, T: Store>(
    site: &S,
    journal: &mut Journal<T>,
    leases: Leases,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<usize, RunError> {
    let pool = site.pool();
    watcher.recovering(pool);
    let options =
        Options { batch_bytes: u64::MAX, ..site::options(site, IgnoreMetadata::default(), leases) };
    let mut recorder = Recorder::new(site, stop, watcher, 0);
    let remaining = Executor::new(site.fs(), journal, &mut recorder, options, 0)
        .recover(|open| open.run.pool == pool.mount)?;
    for StaysOpen { op, halt, .. } in &remaining {
        tracing::error!(
            path = ?pool.path_of(&op.duplicate.path),
            why = %halt,
            hint = halt.reason.hint(),
            "stays open"
        );
    }
    watcher.recovered(remaining.len()).map_err(RunError::Watcher)?;
    Ok(remaining.len())
}
