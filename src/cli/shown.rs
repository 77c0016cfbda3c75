//! Shows a run while it goes on: results on standard output, progress on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use super::args::{Common, OutputFormat};
use super::failure::Failure;
use super::stdout::stdout;
use crate::execute::OpEnded;
use crate::fs::real::Space;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::report::html::Chronicle;
use crate::report::{Progress, Scene, Screen, Tally, json, text};
use crate::run::Begun;

/// Results, figures and progress of one run.
pub(super) struct Shown<'w> {
    pub(super) common: &'w Common,
    pub(super) out: Box<dyn Write>,
    pub(super) started: Instant,
    /// The figures of the ops that end now: first the ops of a recovery, then the ops of the run.
    pub(super) tally: Tally,
    /// The figures of the recovery before the run.
    pub(super) recovered: Tally,
    pub(super) chronicle: Chronicle,
    pub(super) run: Option<u64>,
    pub(super) verbose: u8,
    /// Whether a bar is drawn.
    bar: bool,
    pub(super) progress: Progress,
    pool: Pool,
    terminal: bool,
    screen: Screen,
}

impl<'w> Shown<'w> {
    /// The results of a run before its plan is made; `bar` draws a bar.
    pub(super) fn new(common: &'w Common, bar: bool) -> Self {
        Self {
            common,
            out: Box::new(stdout()),
            started: Instant::now(),
            tally: Tally::default(),
            recovered: Tally::default(),
            chronicle: Chronicle::default(),
            run: None,
            verbose: common.verbose,
            bar,
            progress: Progress::new(0, (0, 0), false),
            pool: Pool::default(),
            terminal: io::stdout().is_terminal(),
            screen: common.screen(),
        }
    }

    pub(super) fn recovering(&mut self, pool: &Pool) {
        self.pool = pool.clone();
        self.progress = Progress::new(0, (0, 0), self.bar);
    }

    pub(super) fn recovered(&mut self, open: usize) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::output)?;
        self.recovered = std::mem::take(&mut self.tally);
        self.recovered.still_open = open as u64;
        self.recovered.recovery_incomplete = open > 0;
        Ok(())
    }

    /// Begins the figures of a run in which `bytes` are read.
    pub(super) fn begun(&mut self, begun: &Begun<'_>, planned: Tally, bytes: u64) {
        self.pool = begun.pool.clone();
        self.run = begun.run;
        self.tally = planned;
        let size = begun.plan.ops.iter().map(|op| op.size).sum();
        self.progress = Progress::new(bytes, (size, self.tally.planned), self.bar);
        self.chronicle = Chronicle::begin(begun.plan);
    }

    pub(super) fn op_ended(&mut self, ended: &OpEnded<'_>) {
        let OpEnded { op, id, outcome, recovered } = *ended;
        self.tally.outcome(op, outcome, recovered);
        self.chronicle.outcome(op, outcome, self.started.elapsed());
        self.progress.op_done(op.size);
        let format = self.common.format;
        let (out, scene) = self.out_and_scene();
        let written = match format {
            OutputFormat::Json => json::op(out, &scene, (op, id), Some(outcome)),
            OutputFormat::Text | OutputFormat::Script => {
                text::op(out, &scene, op, outcome, recovered)
            }
        };
        if let Err(error) = written {
            tracing::debug!(%error, "result not written");
        }
    }

    /// Adds up the figures of the recovery and the run.
    pub(super) fn ended(&mut self) {
        self.progress.finish();
        self.tally.add_recovered(&self.recovered);
        self.tally.elapsed_s = self.started.elapsed().as_secs_f64();
    }

    /// The output of the results, and the scene they are written with.
    pub(super) fn out_and_scene(&mut self) -> (&mut dyn Write, Scene<'_>) {
        let scene = Scene {
            pool: &self.pool,
            run: self.run,
            dry_run: false,
            verbose: self.verbose,
            quiet: self.common.quiet,
            terminal: self.terminal,
            screen: self.screen,
            journal: self.common.journal.as_deref(),
        };
        (&mut self.out, scene)
    }
}

/// The scene of results about `pool`, without a run; callers that need a run or a dry run override the fields.
pub(super) fn scene<'p>(pool: &'p Pool, common: &'p Common) -> Scene<'p> {
    Scene {
        pool,
        run: None,
        dry_run: false,
        verbose: common.verbose,
        quiet: common.quiet,
        terminal: io::stdout().is_terminal(),
        screen: common.screen(),
        journal: common.journal.as_deref(),
    }
}

/// The figures of a plan before any op is carried out.
pub(super) fn planned(pool: &Pool, plan: &Plan, space: &[Option<Space>]) -> Tally {
    let mut tally = Tally::planned(plan);
    note_space(&mut tally, pool, space, Tally::before);
    tally
}

/// Records the free space of every branch: calls `note` with the free bytes.
pub(super) fn note_space(
    tally: &mut Tally,
    pool: &Pool,
    space: &[Option<Space>],
    note: fn(&mut Tally, &std::path::Path, u64),
) {
    for (branch, space) in pool.branches.iter().zip(space) {
        if let Some(space) = space {
            tally.used(&branch.path, space.used_bytes());
        }
        let free = space.map_or(0, |space| space.available_bytes());
        note(tally, &branch.path, free);
    }
}
