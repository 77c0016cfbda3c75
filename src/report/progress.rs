//! How far a run is, for a person who waits: on standard error, never among the results.

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::shown::size;
use crate::execute::Op;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A bar, on a terminal.
    Bar,
    /// A line now and then.
    Lines,
    /// Nothing.
    Nothing,
}

impl Show {
    /// What suits: a bar on a terminal, lines elsewhere with `-v`, nothing where it is not `wanted`.
    #[must_use]
    pub fn choose(terminal: bool, wanted: bool, verbose: u8) -> Self {
        match () {
            () if !wanted => Self::Nothing,
            () if terminal => Self::Bar,
            () if verbose > 0 => Self::Lines,
            () => Self::Nothing,
        }
    }
}

/// The bytes that comparing `ops` reads: each master once, each duplicate.
#[must_use]
pub fn bytes_to_read(ops: &[Op]) -> u64 {
    let mut masters = HashSet::new();
    let read = |op: &Op| op.size * (1 + u64::from(masters.insert(op.master_id)));
    ops.iter().map(read).sum()
}

/// How far a run is.
pub struct Progress {
    bar: Option<ProgressBar>,
    lines: Option<Lines>,
    bytes: u64,
    total_bytes: u64,
    ops: u64,
    total_ops: u64,
}

struct Lines {
    out: Box<dyn Write + Send>,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// At nothing of `total_bytes` compared and `total_ops` ended.
    #[must_use]
    pub fn new(total_bytes: u64, total_ops: u64, show: Show) -> Self {
        let bar = || {
            let bar = ProgressBar::with_draw_target(
                Some(total_bytes),
                ProgressDrawTarget::stderr_with_hz(4),
            );
            let form = "{bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}  {msg}";
            bar.with_style(
                ProgressStyle::with_template(form)
                    .expect("invariant: the form of the bar is a constant"),
            )
        };
        let now = Instant::now();
        let lines = || Lines {
            out: Box::new(io::stderr()),
            start: now,
            last: now,
        };
        let mut progress = Self {
            bar: (show == Show::Bar).then(bar),
            lines: (show == Show::Lines).then(lines),
            bytes: 0,
            total_bytes,
            ops: 0,
            total_ops,
        };
        progress.say(now);
        progress
    }

    /// `count` more bytes were read.
    pub fn bytes(&mut self, count: u64) {
        self.bytes += count;
        if let Some(bar) = &self.bar {
            // Files that come twice, after being busy: never more than all.
            bar.set_position(self.bytes.min(self.total_bytes));
        }
        self.say(Instant::now());
    }

    /// One more op ended.
    pub fn op_done(&mut self) {
        self.ops += 1;
        self.say(Instant::now());
    }

    /// Runs `write` with the bar out of the way of what it writes to the same terminal.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.lines = None;
    }

    fn say(&mut self, now: Instant) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}/{} ops", self.ops, self.total_ops));
        }
        let Some(lines) = &mut self.lines else { return };
        if now.duration_since(lines.last) < LINE_EVERY {
            return;
        }
        lines.last = now;
        let seconds = now.duration_since(lines.start).as_secs().max(1);
        let line = format!(
            "progress: {} of {} compared, {} of {} ops, {}/s\n",
            size(self.bytes),
            size(self.total_bytes),
            self.ops,
            self.total_ops,
            size(self.bytes / seconds),
        );
        // Nobody may be reading: the run goes on.
        if lines.out.write_all(line.as_bytes()).is_err() {
            self.lines = None;
        }
    }
}
