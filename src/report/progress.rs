//! Shows a waiting person the progress of a run, on standard error, never among the results.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::shown::size;
use super::time_left::{clock, time_left};
use crate::execute::STEPS;

/// How often a line is written where there is no terminal.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(30);
/// A step of an op counts as much as so many bytes: the syncs of all its steps take a disk as long as some megabytes do.
const STEP: u64 = 512 << 10;

/// The progress of a run: a bar on a terminal, otherwise a log line from time to time (visible with `-v`).
pub struct Progress {
    start: Instant,
    bar: Option<ProgressBar>,
    /// When the last log line was written, if lines are written.
    lines: Option<Instant>,
    bytes: u64,
    total_bytes: u64,
    steps: u64,
    ops: u64,
    total_ops: u64,
    /// The size of the files whose ops ended.
    ended: u64,
    /// The size of all files.
    size: u64,
}

impl Progress {
    /// Starts with none of `total_bytes` read, and none of the ops ended: their files have `size` bytes together. Shows
    /// nothing unless `enabled`.
    #[must_use]
    pub fn new(total_bytes: u64, (size, total_ops): (u64, u64), enabled: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = || ProgressDrawTarget::stderr_with_hz(4);
        let mut progress = Self::hidden(total_bytes, (size, total_ops));
        progress.bar = (enabled && terminal).then(|| bar(progress.whole(), target()));
        progress.lines = (enabled && !terminal).then_some(progress.start);
        progress.show();
        progress
    }

    fn hidden(total_bytes: u64, (size, total_ops): (u64, u64)) -> Self {
        Self {
            start: Instant::now(),
            bar: None,
            lines: None,
            bytes: 0,
            total_bytes,
            steps: 0,
            ops: 0,
            total_ops,
            ended: 0,
            size,
        }
    }

    /// `count` more bytes were read.
    pub fn bytes(&mut self, count: u64) {
        self.bytes += count;
        self.show();
        if let Some(line) = self.line(Instant::now()) {
            tracing::info!("{line}");
        }
    }

    /// An op came through a step.
    pub fn stepped(&mut self) {
        self.steps += 1;
        self.bytes(0);
    }

    /// One more op ended; its files have `size` bytes each.
    pub fn op_done(&mut self, size: u64) {
        self.ops += 1;
        self.ended += size;
        self.bytes(0);
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

    /// The bytes read; of ops that ended all bytes, whether they were read or not: holes are not read, nor is a file that
    /// changed.
    fn read(&self) -> u64 {
        let share = u128::from(self.total_bytes) * u128::from(self.ended);
        let ended = share.checked_div(u128::from(self.size)).unwrap_or(0);
        // A busy file is read twice; the progress never exceeds the total.
        self.bytes.max(u64::try_from(ended).unwrap_or(u64::MAX)).min(self.total_bytes)
    }

    /// How much of [`Self::whole`] is done.
    fn done(&self) -> u64 {
        let steps = self.steps.max(self.ops * STEPS).min(self.total_ops * STEPS);
        self.read() + steps * STEP
    }

    fn whole(&self) -> u64 {
        self.total_bytes + self.total_ops * STEPS * STEP
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.done());
            bar.set_prefix(self.end(Instant::now(), "  "));
            bar.set_message(self.counts());
        }
    }

    /// The estimate of the end after `before`, or nothing.
    fn end(&self, now: Instant, before: &str) -> String {
        let left = time_left(self.done(), self.whole(), now.duration_since(self.start));
        left.map_or_else(String::new, |left| format!("{before}ETA {}", clock(left)))
    }

    /// What is done of what there is to do.
    fn counts(&self) -> String {
        let files = format!("{} of {} files", self.ops, self.total_ops);
        match self.total_bytes {
            0 => files,
            all => format!("{} of {} read, {files}", size(self.read()), size(all)),
        }
    }

    /// Returns the log line at `now`, if a line is due.
    fn line(&mut self, now: Instant) -> Option<String> {
        let last = self.lines.as_mut()?;
        if now.duration_since(*last) < LINE_EVERY {
            return None;
        }
        *last = now;
        let seconds = now.duration_since(self.start).as_secs().max(1);
        let rate = match self.bytes {
            0 => String::new(),
            bytes => format!(", {}/s", size(bytes / seconds)),
        };
        let end = self.end(now, ", ");
        let percent = percent(self.done(), self.whole());
        Some(format!("{percent} %: {}{rate}{end}", self.counts()))
    }
}

/// `part` of `whole` in percent, at most 100.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent.min(100)).unwrap_or(100)
}

/// A bar in one line of the terminal, 79 characters where the terminal does not say its width: the message is cut, not the
/// line broken.
fn bar(whole: u64, target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:12} {percent:>3} %{prefix}  {wide_msg}")
        .expect("invariant: the form of the bar is a constant that its test reads");
    ProgressBar::with_draw_target(Some(whole), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_bytes_and_ops_and_never_more_than_all() {
        let mut progress = Progress::hidden(1000, (500, 2));
        progress.bar = Some(bar(progress.whole(), ProgressDrawTarget::hidden()));
        progress.bytes(900);
        progress.op_done(250);
        let bar = progress.bar.clone().unwrap();
        assert_eq!(bar.message(), "900 B of 1000 B read, 1 of 2 files");
        assert_eq!(bar.position(), 900 + STEPS * STEP);
        // A busy file is read again.
        progress.bytes(900);
        assert_eq!(bar.position(), 1000 + STEPS * STEP);
        (0..20).for_each(|_| progress.stepped());
        assert_eq!(Some(bar.position()), bar.length());
        assert_eq!(progress.suspend(|| 5), 5);
        progress.finish();
        assert!(bar.is_finished());
    }

    #[test]
    fn a_batch_moves_it_although_nothing_is_read_and_no_op_has_ended() {
        let mut progress = Progress::hidden(0, (1 << 40, 10));
        (0..30).for_each(|_| progress.stepped());
        assert_eq!(percent(progress.done(), progress.whole()), 50);
        assert_eq!(progress.counts(), "0 of 10 files");
        (0..10).for_each(|_| progress.op_done(1 << 30));
        assert_eq!(percent(progress.done(), progress.whole()), 100);
    }

    #[test]
    fn holes_count_when_the_op_has_ended() {
        let mut progress = Progress::hidden(2000, (1000, 2));
        // Of the first file only a hundredth is data.
        progress.bytes(10);
        progress.op_done(500);
        assert_eq!(progress.read(), 1000);
        progress.op_done(500);
        assert_eq!(progress.done(), progress.whole());
    }

    #[test]
    fn without_a_terminal_a_line_comes_every_half_minute() {
        let mut progress = Progress::hidden(4 << 20, (2 << 20, 2));
        let start = progress.start;
        assert_eq!(progress.line(start + LINE_EVERY), None);
        progress.lines = Some(start);
        progress.bytes = 3 << 20;
        assert_eq!(progress.line(start + LINE_EVERY / 2), None);
        let line = "30 %: 3.0 MiB of 4.0 MiB read, 0 of 2 files, 102.4 KiB/s, ETA 1:10";
        assert_eq!(progress.line(start + LINE_EVERY).as_deref(), Some(line));
        assert_eq!(progress.line(start + LINE_EVERY), None);
    }
}
