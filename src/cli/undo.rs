//! `undo`: what a run did is taken back, from the journal alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::args::{Common, OutputFormat, UndoArgs};
use super::execution::{leases, recover_first};
use super::failure::Failure;
use super::session::{self, DiskJournal, Session};
use super::signals::Signals;
use super::watch::Watch;
use crate::execute::{Executor, Options};
use crate::fs::Fs;
use crate::journal::{self, Finished, RunSummary};
use crate::plan::Plan;
use crate::plan::metadata::IgnoreMetadata;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool, mergerfs};
use crate::report::{Progress, Scene, Tally, json, size, undo as report};
use crate::rescue::undo::{UndoPlan, plan};

pub(super) fn run(common: &Common, args: &UndoArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    let signals = Signals::listen(args.max_time)?;
    let dir = session::journal_dir(common)?;
    let Some(journal) = journal::open_existing(&dir, args.log_file.as_deref())? else {
        return Err(Failure::usage(format!(
            "no journal at {dir:?}: there is nothing to undo"
        )));
    };
    let undoes = chosen(&journal, args.run)?;
    let pool = pool_of(&journal, undoes)?;
    let session = Session::open(pool)?;
    session.journal_outside(&dir)?;
    let paths = paths(&session.pool, &args.path)?;
    let undo = Undo {
        common,
        args,
        session,
        signals,
        undoes,
        paths,
        started,
    };
    if args.execute {
        undo.execute(journal)
    } else {
        undo.dry_run(&journal)
    }
}

/// The run to undo: the one named, else the newest that changed something.
fn chosen(journal: &DiskJournal, named: Option<u64>) -> Result<u64, Failure> {
    if let Some(run) = named {
        return match journal.run(run) {
            Some(_) => Ok(run),
            None => Err(session::no_run(journal, run)),
        };
    }
    let newest = journal.runs().rfind(|run| run.done > 0);
    match newest {
        None => Err(Failure::usage("no run has changed anything")),
        // Going on with it is likelier meant than taking back what it did so far.
        Some(RunSummary {
            started,
            undoes: Some(of),
            ended: None,
            ..
        }) => Err(Failure::usage(format!(
            "the newest run, {}, is an undo of run {of} that was interrupted",
            started.run
        ))
        .hint(format!(
            "say which: undo {of} goes on with it, undo {} takes it back",
            started.run
        ))),
        Some(run) => Ok(run.started.run),
    }
}

fn pool_of(journal: &DiskJournal, run: u64) -> Result<Pool, Failure> {
    let mount = journal.run(run).map(|run| run.started.pool.clone());
    let mount = mount.unwrap_or_default();
    let pool = mergerfs::discover(&mount)?;
    if pool.mount != mount {
        let message = format!("the pool of run {run} is not mounted at {mount:?}");
        return Err(Failure::environment(message).hint("mount it, then run again"));
    }
    Ok(pool)
}

/// Paths as the user gave them, relative to the pool: of files that need not be there any more.
fn paths(pool: &Pool, given: &[PathBuf]) -> Result<Vec<RelPath>, Failure> {
    let outside =
        |path: &PathBuf| Failure::usage(format!("{path:?} is not on the pool {:?}", pool.mount));
    let below = |path: &PathBuf| session::below_pool(pool, path).ok_or_else(|| outside(path));
    given.iter().map(below).collect()
}

struct Undo<'u> {
    common: &'u Common,
    args: &'u UndoArgs,
    session: Session,
    signals: Signals,
    undoes: u64,
    paths: Vec<RelPath>,
    started: Instant,
}

impl Undo<'_> {
    fn plan(&self, journal: &DiskJournal) -> Result<UndoPlan, Failure> {
        let finished = journal.finished(|run| run == self.undoes)?;
        self.warn_of_paths_without_op(&finished);
        let branches = self.session.branch_records();
        let mut undo = plan(&self.session.fs, &branches, &finished, &self.paths);
        let read_only = |at: BranchIdx| self.session.facts[at.index()].read_only;
        undo.refuse_on(&branches, read_only);
        Ok(undo)
    }

    /// A path that was mistyped is not to look like one with nothing left to undo.
    fn warn_of_paths_without_op(&self, finished: &Finished) {
        for (path, given) in self.paths.iter().zip(&self.args.path) {
            let mut names = finished.ops.iter().flat_map(|done| &done.intent.names);
            if !names.any(|name| name.path.is_below(path)) {
                let run = self.undoes;
                tracing::warn!(run, path = ?given, "nothing there is as this run made it");
            }
        }
    }

    fn dry_run(&self, journal: &DiskJournal) -> Result<u8, Failure> {
        if !journal.open_ops().is_empty() {
            tracing::warn!("an earlier run left something open: -e finishes it first");
        }
        let undo = self.plan(journal)?;
        let scene = self.scene(None);
        let mut out = session::stdout();
        let written = match self.common.format {
            OutputFormat::Text => {
                report::plan(&mut out, &scene, self.undoes, (&undo.ops, &undo.refusals))
            }
            OutputFormat::Json => self.lines(&mut out, &scene, &undo),
        };
        written
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
        self.has_room(&undo)?;
        Ok(Tally::planned(&as_plan(&undo)).undo_exit_code())
    }

    fn lines(
        &self,
        out: &mut dyn Write,
        scene: &Scene<'_>,
        undo: &UndoPlan,
    ) -> std::io::Result<()> {
        for refusal in &undo.refusals {
            json::refusal(out, scene, refusal)?;
        }
        for op in &undo.ops {
            json::op(out, scene, (op, None), None)?;
        }
        json::summary(out, scene, &Tally::planned(&as_plan(undo)))
    }

    fn execute(&self, mut journal: DiskJournal) -> Result<u8, Failure> {
        let _lock = self.session.lock()?;
        if !self.args.accept_branches {
            self.session.same_as_before(journal.runs())?;
        }
        let mut recovered = Tally::default();
        if !journal.open_ops().is_empty() {
            let watch = self.watch(None, Tally::default(), 0);
            let leases = leases(self.args.no_lease);
            recovered = recover_first(&self.session, &mut journal, watch, leases)?;
        }
        let undo = self.plan(&journal)?;
        self.has_room(&undo)?;
        let code = self.carry_out(undo, journal, &recovered)?;
        let signal = self.signals.exit_code().filter(|_| code != 0);
        Ok(signal.unwrap_or(code))
    }

    fn carry_out(
        &self,
        undo: UndoPlan,
        mut journal: DiskJournal,
        recovered: &Tally,
    ) -> Result<u8, Failure> {
        let run = match undo.ops.is_empty() {
            true => None,
            false => Some(self.start(&mut journal, &undo)?),
        };
        let planned = as_plan(&undo);
        // Each file is read once to copy it, and then both.
        let bytes = planned.ops.iter().map(|op| 3 * op.size).sum();
        let mut watch = self.watch(run, Tally::planned(&planned), bytes);
        if self.common.format == OutputFormat::Json {
            for refusal in &undo.refusals {
                json::refusal(&mut watch.out, &watch.scene, refusal).map_err(Failure::output)?;
            }
        }
        let result = match run {
            Some(run) => {
                let options = self.options();
                Executor::new(&self.session.fs, &mut journal, &mut watch, options, run)
                    .run(undo.ops)
            }
            None => Ok(()),
        };
        watch.progress.finish();
        if let (Some(run), Ok(())) = (run, &result) {
            watch.run_ended(&mut journal, (run, self.session.fs.now()))?;
        }
        watch.tally.add_recovered(recovered);
        let code = self.conclude(watch, &undo.refusals)?;
        result?;
        Ok(code)
    }

    fn conclude(
        &self,
        mut watch: Watch<'_>,
        refused: &[crate::plan::Refusal],
    ) -> Result<u8, Failure> {
        watch.tally.elapsed_s = self.started.elapsed().as_secs_f64();
        let written = match self.common.format {
            OutputFormat::Json => json::summary(&mut watch.out, &watch.scene, &watch.tally),
            OutputFormat::Text => report::conclusion(
                &mut watch.out,
                &watch.scene,
                self.undoes,
                (refused, &watch.tally),
            ),
        };
        written
            .and_then(|()| watch.out.flush())
            .map_err(Failure::output)?;
        Ok(watch.tally.undo_exit_code())
    }

    /// Refuses before anything is changed where a disk has too little room for the copies.
    fn has_room(&self, undo: &UndoPlan) -> Result<(), Failure> {
        let mut by_device: BTreeMap<u64, (u64, u64, &Path)> = BTreeMap::new();
        for (branch, bytes) in undo.needs() {
            let free = self.session.fs.free_bytes(branch)?;
            let path = self.session.pool.branches[branch.index()].path.as_path();
            // Two branches may share a disk.
            let dev = self.session.fs.root_id(branch).dev;
            by_device.entry(dev).or_insert((0, free, path)).0 += bytes;
        }
        for (needed, free, path) in by_device.into_values() {
            if needed > free {
                let message = format!(
                    "not enough room on {path:?}: {} needed, {} free; nothing was changed",
                    size(needed),
                    size(free)
                );
                return Err(Failure::environment(message)
                    .hint("free some space there, or undo a part with --path"));
            }
        }
        Ok(())
    }

    fn start(&self, journal: &mut DiskJournal, undo: &UndoPlan) -> Result<u64, Failure> {
        let make = |run| self.session.run_started(run);
        // Undoing an undo is a run like any other: it links.
        let links = undo.ops.iter().all(|op| op.undo().is_none());
        let started = match links {
            true => journal.start_run(make)?,
            false => journal.start_undo(self.undoes, make)?,
        };
        Ok(started.run)
    }

    fn options(&self) -> Options {
        // What differs between the copies was accepted by the run that is undone.
        let ignore = IgnoreMetadata {
            owner: true,
            mode: true,
            acl: true,
            xattr: true,
        };
        self.session.options(ignore, leases(self.args.no_lease))
    }

    fn scene(&self, run: Option<u64>) -> Scene<'_> {
        Scene {
            run,
            dry_run: !self.args.execute,
            ..self.session.scene(self.common)
        }
    }

    fn watch(&self, run: Option<u64>, tally: Tally, bytes: u64) -> Watch<'_> {
        let planned = tally.planned;
        let bar = !self.args.no_progress && !self.common.quiet;
        Watch {
            tally,
            progress: Progress::new(bytes, planned, bar),
            started: self.started,
            ..Watch::new(self.scene(run), self.common.format, &self.signals)
        }
    }
}

/// For the figures, which are those of any plan.
fn as_plan(undo: &UndoPlan) -> Plan {
    Plan {
        ops: undo.ops.clone(),
        refusals: undo.refusals.clone(),
        ..Plan::default()
    }
}
