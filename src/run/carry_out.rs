//! Carries a plan out: begins the record of the run, executes its ops, and ends the record.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::hooks::Hooks;
use super::in_step::{leave_note, newest_noted};
use super::recorder::Recorder;
use super::{Begun, Ended, RunError, Site, Stop, Watcher, site};
use crate::execute::{Executor, Leases, Options};
use crate::fs::{Hashed, InodeId, Look, Timestamp};
use crate::journal::{Journal, RefusedLine, Store};
use crate::plan::metadata::IgnoreMetadata;
use crate::plan::refusal::Reason;
use crate::plan::{Op, Plan, Refusal};
use crate::pool::Pool;

/// A run that is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undoes {
    /// Its number.
    pub run: u64,
    /// Whether taking it back links files, because it is an undo itself.
    pub links: bool,
}

/// How a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'m> {
    /// The run that the plan takes back; `None` if the plan is no undo.
    pub undoes: Option<Undoes>,
    /// Words that say what was asked for, for the record of the run.
    pub options: &'m [Vec<u8>],
    /// Whether the CSV log gets a line for each op that was not planned.
    pub log_refusals: bool,
    /// Which metadata may differ between copies.
    pub ignore: &'m IgnoreMetadata,
    /// Whether other programs are kept out by leases.
    pub leases: Leases,
    /// When the own scan that found the duplicates began.
    pub scanned: Option<Timestamp>,
    /// Hashes of files, taken by the scan of this run.
    pub hashed: &'m [Hashed],
    /// When the run began.
    pub began: Timestamp,
    /// Reminds of SnapRAID after the run.
    pub hooks: Option<&'m Hooks>,
}

/// A plan that was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarriedOut {
    /// The number of the run; `None` if there was nothing to do.
    pub run: Option<u64>,
    /// How many ops were done.
    pub done: u64,
    /// Bytes that became free.
    pub reclaimed: u64,
    /// The ops that were not planned.
    pub refusals: Vec<Refusal>,
    /// The ops that were planned and not done.
    pub not_done: Vec<RefusedLine>,
}

/// Carries `plan` out on `site`. Every op that was begun is in the journal when this returns. `journal` is called once,
/// and returns `None` if there is nothing to record.
///
/// # Errors
/// When the journal fails, the pool changed, or the watcher ends the run.
pub fn carry_out<S: Site, T: Store>(
    site: &S,
    plan: Plan,
    manner: &Manner<'_>,
    journal: impl FnOnce() -> Result<Option<Journal<T>>, RunError>,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<CarriedOut, RunError> {
    let before = site::spaces(site);
    let mut journal = journal()?;
    let run = match &mut journal {
        Some(journal) => Some(begin(site, journal, manner)?),
        None => None,
    };
    let to_read = to_read(&plan, manner.hashed);
    let begun = Begun { pool: site.pool(), run, plan: &plan, space: &before, to_read };
    watcher.begun(&begun).map_err(RunError::Watcher)?;
    let Plan { ops, refusals, .. } = plan;
    let mut recorder = Recorder::new(site, stop, watcher, run.unwrap_or(0));
    let mut result = Ok(());
    if let (Some(journal), Some(run)) = (&mut journal, run) {
        if manner.log_refusals {
            let lines = refusals.iter();
            let lines = lines.filter_map(|refusal| line_of(site.pool(), run, refusal));
            journal.refused(&lines.collect::<Vec<_>>(), site.fs().now())?;
        }
        let options = Options {
            scanned: manner.scanned,
            ..site::options(site, manner.ignore.clone(), manner.leases)
        };
        let mut executor = Executor::new(site.fs(), journal, &mut recorder, options, run);
        executor.rely_on(manner.hashed);
        result = executor.run(ops);
        if result.is_ok() {
            recorder.end(journal)?;
        }
    }
    let Recorder { done, reclaimed, not_done, .. } = recorder;
    let ended = Ended {
        pool: site.pool(),
        undoes: manner.undoes.map(|undoes| undoes.run),
        began: manner.began,
        refusals: &refusals,
        space: &site::spaces(site),
    };
    // The finished ops are shown even if the run stopped.
    let shown = watcher.ended(&ended);
    if let Some(hooks) = manner.hooks {
        hooks.remind_of_snapraid(done);
    }
    shown.map_err(RunError::Watcher)?;
    result?;
    Ok(CarriedOut { run, done, reclaimed, refusals, not_done })
}

/// Returns the bytes of both files of each op, except of ops whose files the scan has hashed; the kernel reads what is to share
/// blocks all the same.
fn to_read(plan: &Plan, hashed: &[Hashed]) -> u64 {
    let known: HashSet<InodeId> = hashed.iter().map(|hashed| hashed.seen.id).collect();
    let hashed = |op: &Op| known.contains(&op.master_id) && known.contains(&op.duplicate_id);
    let unread = |op: &&Op| op.shares() || !hashed(op);
    plan.ops.iter().filter(unread).map(|op| 2 * op.size).sum()
}

/// Records that a run begins; returns its number.
fn begin<S: Site, T: Store>(
    site: &S,
    journal: &mut Journal<T>,
    manner: &Manner<'_>,
) -> Result<u64, RunError> {
    // A run that only the disks know of left hidden names with its number.
    journal.number_after(newest_noted(site, journal.id()));
    let make = |run| site::run_started(site, run, manner.options);
    let started = match manner.undoes {
        Some(Undoes { run, links: false }) => journal.start_undo(run, make)?,
        Some(Undoes { run, links: true }) => journal.start_relink(run, make)?,
        None => journal.start_run(make)?,
    };
    leave_note(site, journal.id(), &started);
    Ok(started.run)
}

/// Returns a planned refusal for the CSV log; leaves out groups that the user did not ask for.
fn line_of(pool: &Pool, run: u64, refusal: &Refusal) -> Option<RefusedLine> {
    if matches!(refusal.reason, Reason::NoPrimary | Reason::Limit) {
        return None;
    }
    let path = Path::new(OsStr::from_bytes(&refusal.path));
    let master = refusal.master.as_ref().map(|master| pool.path_of(master));
    Some(RefusedLine {
        run,
        op: None,
        reason: refusal.reason.as_str().to_owned(),
        pool_path: pool.mount.join(path),
        master: master.unwrap_or_default(),
        bytes: 0,
    })
}
