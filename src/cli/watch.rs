//! Watches a run for the user: results on standard output, progress on standard error, signals.

use std::io::Write;
use std::time::Instant;

use super::args::OutputFormat;
use super::session::{self, DiskJournal};
use super::signals::Signals;
use crate::execute::{Ended, Observer, Outcome};
use crate::fs::Timestamp;
use crate::journal::{JournalError, Record, RefusedLine, RunEnded};
use crate::pool::{Pool, mergerfs};
use crate::report::html::Chronicle;
use crate::report::{Progress, Scene, Tally, json, text};

/// The observer of a run.
pub(super) struct Watch<'w> {
    pub(super) scene: Scene<'w>,
    pub(super) format: OutputFormat,
    pub(super) signals: &'w Signals,
    pub(super) tally: Tally,
    pub(super) progress: Progress,
    pub(super) out: Box<dyn Write>,
    pub(super) refused: Vec<RefusedLine>,
    /// What the report tells, since `started`.
    pub(super) chronicle: Chronicle,
    pub(super) started: Instant,
}

impl<'w> Watch<'w> {
    /// Of nothing planned, without a bar.
    pub(super) fn new(scene: Scene<'w>, format: OutputFormat, signals: &'w Signals) -> Self {
        Self {
            scene,
            format,
            signals,
            tally: Tally::default(),
            progress: Progress::new(0, 0, false),
            out: Box::new(session::stdout()),
            refused: Vec::new(),
            chronicle: Chronicle::default(),
            started: Instant::now(),
        }
    }

    /// Records what was not done, and that `run` has come to its end.
    pub(super) fn run_ended(
        &mut self,
        journal: &mut DiskJournal,
        (run, time): (u64, Timestamp),
    ) -> Result<(), JournalError> {
        journal.refused(&std::mem::take(&mut self.refused), time)?;
        let ended = RunEnded {
            run,
            time,
            done: self.tally.done,
            reclaimed: self.tally.bytes_reclaimed,
        };
        journal.record(&[Record::RunEnded(ended)], time)
    }

    fn pool(&self) -> &Pool {
        self.scene.pool
    }
}

impl Observer for Watch<'_> {
    fn bytes_read(&mut self, bytes: u64) {
        self.progress.bytes(bytes);
    }

    fn interrupted(&self) -> bool {
        self.signals.asked()
    }

    fn time_is_up(&self) -> bool {
        self.signals.time_is_up()
    }

    fn pool_changed(&mut self) -> Option<String> {
        match mergerfs::branches_raw(self.pool()) {
            Ok(raw) if raw == self.pool().branches_raw => None,
            Ok(_) => Some("its list of branches is another one now".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn ended(&mut self, ended: &Ended<'_>) {
        let Ended {
            op,
            id,
            outcome,
            recovered,
        } = *ended;
        self.tally.outcome(op, outcome, recovered);
        self.chronicle.outcome(op, outcome, self.started.elapsed());
        self.progress.op_done();
        if let Outcome::NotDone(halt) | Outcome::Open(halt) = outcome {
            self.refused.push(RefusedLine {
                run: self.scene.run.unwrap_or(0),
                op: id,
                reason: halt.reason.as_str().to_owned(),
                pool_path: self.pool().path_of(&op.duplicate.path),
                master: self.pool().path_of(&op.master.path),
                bytes: op.bytes,
            });
        }
        let written = match self.format {
            OutputFormat::Json => json::op(&mut self.out, &self.scene, (op, id), Some(outcome)),
            OutputFormat::Text => text::op(&mut self.out, &self.scene, op, outcome, recovered),
        };
        if let Err(error) = written {
            tracing::debug!(%error, "result not written");
        }
    }
}
