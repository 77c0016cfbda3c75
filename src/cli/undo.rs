//! `undo` takes back the ops of a run, from the journal alone.

use std::io::Write;

use super::args::{Common, OutputFormat, UndoArgs};
use super::failure::Failure;
use super::lost;
use super::places;
use super::request::leases;
use super::shown::{self, Shown};
use super::signals::Signals;
use super::stdout::stdout;
use crate::execute::OpEnded;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::report::dry_run::interrupted;
use crate::report::{Scene, Tally, json, undo as report};
use crate::rescue::undo::UndoPlan;
use crate::rescue::undo_run::{UndoError, UndoRequest, Undone, undo};
use crate::run::{Begun, Ended, Session, Site, Unfinished, Watcher, WatcherError};

pub(super) fn run(common: &Common, args: &UndoArgs) -> Result<u8, Failure> {
    let mut watch = UndoWatch { shown: Shown::new(common, !args.no_progress && !common.quiet) };
    let signals = Signals::listen(args.max_time)?;
    if args.execute {
        signals.answer(common)?;
    }
    let request = UndoRequest {
        run: args.run,
        paths: args.path.clone(),
        execute: args.execute,
        journal: places::journal_dir(common)?,
        csv: args.log_file.clone(),
        accept_branches: args.accept_branches,
        leases: leases(args.no_lease),
        options: common.words.clone(),
    };
    let undone = match undo(&request, signals.stop(), &mut watch) {
        Err(UndoError::NothingLeft) => return nothing_left(common),
        Err(error @ UndoError::NoJournal(_)) => {
            lost::check(common, &request.journal)?;
            return Err(error.into());
        }
        undone => undone?,
    };
    match undone {
        Undone::Planned { site, undoes, plan, room, unfinished } => {
            let code = dry_run(common, &site, (undoes, plan), (room.is_ok(), &unfinished))?;
            room?;
            Ok(code)
        }
        Undone::Ran(_) => {
            let code = watch.shown.tally.undo_exit_code();
            let signal = signals.exit_code().filter(|_| code != 0);
            Ok(signal.unwrap_or(code))
        }
    }
}

/// Says that everything was undone before: there is nothing to do.
fn nothing_left(common: &Common) -> Result<u8, Failure> {
    if common.format == OutputFormat::Text && !common.quiet {
        let mut out = stdout();
        let said = writeln!(out, "{}", UndoError::NothingLeft);
        said.and_then(|()| out.flush()).map_err(Failure::output)?;
    }
    Ok(0)
}

/// Prints the plan; `ahead` is whether the disks have room for it, and the runs that are to be finished first.
fn dry_run(
    common: &Common,
    site: &Session,
    undo: (u64, UndoPlan),
    ahead: (bool, &[Unfinished]),
) -> Result<u8, Failure> {
    let (undoes, UndoPlan { ops, refusals }) = undo;
    let plan = Plan { ops, refusals, ..Plan::default() };
    let scene = Scene { dry_run: true, ..shown::scene(&site.pool, common) };
    let space: Vec<_> = site.pool.indices().map(|branch| site.space(branch).ok()).collect();
    let tally = shown::planned(&site.pool, &plan, &space);
    let mut out = stdout();
    let written = match common.format {
        OutputFormat::Text | OutputFormat::Script => {
            report::plan(&mut out, &scene, undoes, (&plan.ops, &plan.refusals), ahead)
        }
        OutputFormat::Json => {
            ahead.1.iter().for_each(|first| tracing::warn!("{}", interrupted(first)));
            lines(&mut out, &scene, &plan, &tally)
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(tally.undo_exit_code())
}

fn lines(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    plan: &Plan,
    tally: &Tally,
) -> std::io::Result<()> {
    for refusal in &plan.refusals {
        json::refusal(out, scene, refusal)?;
    }
    for op in &plan.ops {
        json::op(out, scene, (op, None), None)?;
    }
    json::summary(out, scene, tally)
}

/// The watcher of an undo.
struct UndoWatch<'w> {
    shown: Shown<'w>,
}

impl UndoWatch<'_> {
    fn conclude(&mut self, ended: &Ended<'_>) -> std::io::Result<()> {
        self.shown.ended();
        let mut tally = self.shown.tally.clone();
        shown::note_space(&mut tally, ended.pool, ended.space, Tally::after);
        let format = self.shown.common.format;
        let (out, scene) = self.shown.out_and_scene();
        match format {
            OutputFormat::Json => json::summary(out, &scene, &tally),
            OutputFormat::Text | OutputFormat::Script => {
                let undoes = ended.undoes.unwrap_or_default();
                report::conclusion(out, &scene, undoes, (ended.refusals, &tally))
            }
        }?;
        out.flush()
    }
}

impl Watcher for UndoWatch<'_> {
    fn recovering(&mut self, pool: &Pool) {
        self.shown.recovering(pool);
    }

    fn recovered(&mut self, open: usize) -> Result<(), WatcherError> {
        Ok(self.shown.recovered(open)?)
    }

    fn begun(&mut self, begun: &Begun<'_>) -> Result<(), WatcherError> {
        // Each file is read once for the copy, and then both copies are read.
        let bytes = begun.plan.ops.iter().map(|op| 3 * op.size).sum();
        let planned = shown::planned(begun.pool, begun.plan, begun.space);
        self.shown.begun(begun, planned, bytes);
        if self.shown.common.format == OutputFormat::Json {
            let (out, scene) = self.shown.out_and_scene();
            for refusal in &begun.plan.refusals {
                json::refusal(out, &scene, refusal).map_err(Failure::output)?;
            }
        }
        Ok(())
    }

    fn bytes_read(&mut self, bytes: u64) {
        self.shown.progress.bytes(bytes);
    }

    fn stepped(&mut self) {
        self.shown.progress.stepped();
    }

    fn op_ended(&mut self, ended: &OpEnded<'_>) {
        self.shown.op_ended(ended);
    }

    fn ended(&mut self, ended: &Ended<'_>) -> Result<(), WatcherError> {
        Ok(self.conclude(ended).map_err(Failure::output)?)
    }
}
