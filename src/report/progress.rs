//! Shows a waiting person the progress of a run, on standard error, never among the results.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::shown::size;

/// How often a line is written where there is no terminal.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(30);

/// The progress of a run: a bar on a terminal, otherwise a log line from time to time (visible with `-v`).
pub struct Progress {
    bar: Option<ProgressBar>,
    lines: Option<Lines>,
    bytes: u64,
    total_bytes: u64,
    ops: u64,
    total_ops: u64,
}

struct Lines {
    start: Instant,
    last: Instant,
}

impl Progress {
    /// Starts with none of `total_bytes` compared and none of `total_ops` ended; shows nothing unless `enabled`.
    #[must_use]
    pub fn new(total_bytes: u64, total_ops: u64, enabled: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = || ProgressDrawTarget::stderr_with_hz(4);
        let mut progress = Self::hidden(total_bytes, total_ops);
        progress.bar = (enabled && terminal).then(|| bar(total_bytes, target()));
        let now = Instant::now();
        progress.lines = (enabled && !terminal).then_some(Lines { start: now, last: now });
        progress.tell_ops();
        progress
    }

    fn hidden(total_bytes: u64, total_ops: u64) -> Self {
        Self { bar: None, lines: None, bytes: 0, total_bytes, ops: 0, total_ops }
    }

    /// `count` more bytes were read.
    pub fn bytes(&mut self, count: u64) {
        self.bytes += count;
        if let Some(bar) = &self.bar {
            // A busy file is read twice; the progress never exceeds the total.
            bar.set_position(self.bytes.min(self.total_bytes));
        }
        if let Some(line) = self.line(Instant::now()) {
            tracing::info!("{line}");
        }
    }

    /// One more op ended.
    pub fn op_done(&mut self) {
        self.ops += 1;
        self.tell_ops();
    }

    /// Hides the bar and runs `write`, which writes (and flushes) to the same terminal.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Removes the bar.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.lines = None;
    }

    fn tell_ops(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}/{} files", self.ops, self.total_ops));
        }
    }

    /// Returns the log line at `now`, if a line is due.
    fn line(&mut self, now: Instant) -> Option<String> {
        let lines = self.lines.as_mut()?;
        if now.duration_since(lines.last) < LINE_EVERY {
            return None;
        }
        lines.last = now;
        let seconds = now.duration_since(lines.start).as_secs().max(1);
        Some(format!(
            "{} %: {} of {} compared, {} of {} files, {}/s",
            percent(self.bytes, self.total_bytes),
            size(self.bytes),
            size(self.total_bytes),
            self.ops,
            self.total_ops,
            size(self.bytes / seconds),
        ))
    }
}

/// `part` of `whole` in percent, at most 100.
fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent.min(100)).unwrap_or(100)
}

fn bar(total_bytes: u64, target: ProgressDrawTarget) -> ProgressBar {
    let form = "{bar:30} {percent:>3} %  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}  {msg}";
    let style = ProgressStyle::with_template(form)
        .expect("invariant: the form of the bar is a constant that its test reads");
    ProgressBar::with_draw_target(Some(total_bytes), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_bytes_and_ops_and_never_more_than_all() {
        let mut progress = Progress::hidden(1000, 2);
        progress.bar = Some(bar(1000, ProgressDrawTarget::hidden()));
        progress.bytes(900);
        progress.op_done();
        // A busy file is read again.
        progress.bytes(900);
        let bar = progress.bar.clone().unwrap();
        assert_eq!((bar.position(), bar.message()), (1000, "1/2 files".to_owned()));
        assert_eq!(progress.suspend(|| 5), 5);
        progress.finish();
        assert!(bar.is_finished());
    }

    #[test]
    fn without_a_terminal_a_line_comes_every_half_minute() {
        let start = Instant::now();
        let mut progress = Progress::hidden(4 << 20, 2);
        assert_eq!(progress.line(start + LINE_EVERY), None);
        progress.lines = Some(Lines { start, last: start });
        progress.bytes = 3 << 20;
        assert_eq!(progress.line(start + LINE_EVERY / 2), None);
        let line = "75 %: 3.0 MiB of 4.0 MiB compared, 0 of 2 files, 102.4 KiB/s";
        assert_eq!(progress.line(start + LINE_EVERY).as_deref(), Some(line));
        assert_eq!(progress.line(start + LINE_EVERY), None);
    }
}
