//! `resume`: finish or put back what an interrupted run left open, from the journal alone.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::args::Common;
use super::failure::Failure;
use super::session::{self, DiskJournal, Session};
use super::signals::Signals;
use super::watch::Watch;
use crate::execute::{Executor, Leases, Options, StaysOpen};
use crate::journal::{self, RunStarted};
use crate::plan::metadata::IgnoreMetadata;
use crate::pool::{Branch, Pool, mergerfs};
use crate::report::{Scene, Tally, text};

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let mut out = session::stdout();
    let Some(journal) = journal::open_existing(&session::journal_dir(common)?, None)? else {
        return nothing(&mut out, common, "no journal: nothing was ever begun");
    };
    finish(common, &signals, journal, &mut out)
}

/// Finishes or puts back what `journal` has open.
pub(super) fn finish(
    common: &Common,
    signals: &Signals,
    mut journal: DiskJournal,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let mut open = 0;
    let mut tally = Tally::default();
    let runs: Vec<Arc<RunStarted>> = journal.open_ops().into_iter().map(|op| op.run).collect();
    if runs.is_empty() {
        return nothing(out, common, "nothing is open");
    }
    let pools: BTreeSet<PathBuf> = runs.iter().map(|run| run.pool.clone()).collect();
    for mount in pools {
        let of_pool: Vec<_> = runs
            .iter()
            .filter(|run| run.pool == mount)
            .cloned()
            .collect();
        let session = Session::open(pool_of(&of_pool)?)?;
        let _lock = session.lock()?;
        let scene = Scene {
            verbose: common.verbose.max(1),
            ..session.scene(common)
        };
        let mut watch = Watch::new(scene, common.format, signals);
        watch.tally = std::mem::take(&mut tally);
        open += recover_pool(&session, &mut journal, &mut watch, Leases::Required)?;
        watch.out.flush().map_err(Failure::output)?;
        tally = watch.tally;
    }
    tally.still_open = open as u64;
    text::recovery(out, &tally)
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(match (open, signals.exit_code()) {
        (0, _) => tally.exit_code(),
        (_, Some(code)) => code,
        (_, None) => 4,
    })
}

fn nothing(out: &mut dyn Write, common: &Common, what: &str) -> Result<u8, Failure> {
    if !common.quiet {
        writeln!(out, "{what}")
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
    }
    Ok(0)
}

/// The pool as it is now; where it is not mounted, as the runs found it. Branches that a run used and the pool no
/// longer lists come last: the record alone is enough to recover.
pub(super) fn pool_of(runs: &[Arc<RunStarted>]) -> Result<Pool, Failure> {
    let Some(last) = runs.last() else {
        return Err(Failure::environment("no run is open"));
    };
    let recorded = runs.iter().flat_map(|run| &run.branches);
    let mut pool = match mergerfs::discover(&last.pool) {
        Ok(pool) if pool.mount == last.pool => pool,
        Ok(_) | Err(_) => {
            tracing::warn!(pool = ?last.pool, "the pool is not mounted; working on its branches as recorded");
            Pool {
                mount: last.pool.clone(),
                version: "unknown".to_owned(),
                branches: Vec::new(),
                branches_raw: Vec::new(),
                getattr_newest: last.newest_dirs,
            }
        }
    };
    for branch in recorded {
        if !pool.branches.iter().any(|known| known.path == branch.path) {
            pool.branches.push(Branch {
                path: branch.path.clone(),
                mode: branch.mode,
            });
        }
    }
    Ok(pool)
}

/// Recovers every open op on the branches of `session`; gives how many must stay open, and reports why.
pub(super) fn recover_pool(
    session: &Session,
    journal: &mut DiskJournal,
    watch: &mut Watch<'_>,
    leases: Leases,
) -> Result<usize, Failure> {
    let options = Options {
        batch_bytes: u64::MAX,
        ..session.options(IgnoreMetadata::default(), leases)
    };
    let mount = session.pool.mount.clone();
    let remaining = Executor::new(&session.fs, journal, watch, options, 0)
        .recover(|open| open.run.pool == mount)?;
    for StaysOpen { op, halt, .. } in &remaining {
        tracing::error!(
            path = ?session.pool.path_of(&op.duplicate.path),
            why = %halt,
            hint = halt.reason.hint(),
            "stays open"
        );
    }
    Ok(remaining.len())
}
