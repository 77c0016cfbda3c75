//! Shows a waiting person the progress of a scan, on standard error, never among the results.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::{LINE_EVERY, percent};
use super::shown::size;
use crate::find::scan::{Meter, Phase, Reading};

/// How often the terminal is updated.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Shows the progress of a scan: on a terminal all the time, otherwise by a log line from time to time (visible with
/// `-v`).
pub struct ScanProgress<'m> {
    meter: &'m Meter,
    enabled: bool,
    terminal: bool,
}

impl<'m> ScanProgress<'m> {
    /// The progress of the scan that `meter` measures; shows nothing unless `enabled`.
    #[must_use]
    pub fn new(meter: &'m Meter, enabled: bool) -> Self {
        Self { meter, enabled, terminal: io::stderr().is_terminal() }
    }

    /// Shows the progress while `scan` runs.
    pub fn around<T>(&self, scan: impl FnOnce() -> T) -> T {
        if !self.enabled {
            return scan();
        }
        let (over, ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || self.tell(&ended));
            let result = scan();
            drop(over);
            result
        })
    }

    fn tell(&self, ended: &mpsc::Receiver<()>) {
        let every = if self.terminal { DRAW_EVERY } else { LINE_EVERY };
        let bar = self.terminal.then(bar);
        let mut pace = Pace::new(Instant::now());
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(every) {
            let lines = pace.lines(&self.meter.read(), Instant::now());
            match &bar {
                Some(bar) => bar.set_message(lines.join("\n")),
                None => tracing::info!("{}", lines.join("; ")),
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}")
        .expect("invariant: the form of the line is a constant");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8)).with_style(style)
}

/// The speed of the scan in the current phase.
#[derive(Debug)]
struct Pace {
    phase: Phase,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { phase: Phase::Walk, since: now }
    }

    /// One line for the whole scan, and one line per disk if there are several disks.
    fn lines(&mut self, now: &Reading, at: Instant) -> Vec<String> {
        if now.phase != self.phase {
            (self.phase, self.since) = (now.phase, at);
        }
        let what = match now.phase {
            Phase::Walk => "looking for files",
            Phase::Ends => "reading beginnings and ends",
            Phase::Contents => "reading contents",
            Phase::Members => "looking at duplicates",
        };
        let mut line = match (now.files_total, now.bytes_total) {
            (0, _) => format!("{what}: {} files", now.files),
            (total, 0) => {
                format!("{what}, {} %: {} of {total} files", percent(now.files, total), now.files)
            }
            (total, bytes) => {
                format!("{what}, {} %: {} of {total} files", percent(now.bytes, bytes), now.files)
            }
        };
        if now.bytes_total > 0 {
            line += &format!(", {} of {}", size(now.bytes), size(now.bytes_total));
            line += &self.rate(now, at.duration_since(self.since));
        }
        let mut lines = vec![line];
        let disks = now.disks.iter().filter(|disk| disk.total > 0);
        if disks.clone().nth(1).is_some() {
            lines.extend(disks.map(|disk| {
                let (bytes, total) = (size(disk.bytes), size(disk.total));
                format!("  {}: {bytes} of {total}", disk.name)
            }));
        }
        lines
    }

    fn rate(&self, now: &Reading, took: Duration) -> String {
        let rate = now.bytes as f64 / took.as_secs_f64();
        // Too early for an estimate.
        if took < Duration::from_secs(1) || rate < 1.0 {
            return String::new();
        }
        // The scan ends when the slowest disk has read its remaining bytes at its present pace.
        let left = |bytes: u64, total: u64| {
            let rate = bytes as f64 / took.as_secs_f64();
            (total.saturating_sub(bytes) as f64) / rate.max(1.0)
        };
        let whole = left(now.bytes, now.bytes_total);
        let slowest = now.disks.iter().map(|d| left(d.bytes, d.total));
        let seconds = slowest.fold(whole, f64::max).min(1e7);
        format!(", {}/s, ETA {}", size(rate as u64), clock(seconds as u64))
    }
}

fn clock(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::scan::DiskShare;

    #[test]
    fn a_line_tells_what_is_done_of_what_and_when_it_ends() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let disk = |name: &str, bytes, total| DiskShare { name: name.to_owned(), bytes, total };
        let mut now = Reading {
            phase: Phase::Walk,
            files: 5,
            files_total: 0,
            bytes: 0,
            bytes_total: 0,
            disks: vec![],
        };
        assert_eq!(pace.lines(&now, start), ["looking for files: 5 files"]);
        now = Reading {
            phase: Phase::Contents,
            files_total: 9,
            bytes: 4 << 20,
            bytes_total: 16 << 20,
            disks: vec![disk("sda", 3 << 20, 6 << 20), disk("sdb", 1 << 20, 10 << 20)],
            ..now
        };
        let begun = pace.lines(&now, start);
        assert_eq!(begun[0], "reading contents, 25 %: 5 of 9 files, 4.0 MiB of 16.0 MiB");
        assert_eq!(
            pace.lines(&now, start + Duration::from_secs(10)),
            [
                "reading contents, 25 %: 5 of 9 files, 4.0 MiB of 16.0 MiB, 409.6 KiB/s, ETA 1:30",
                "  sda: 3.0 MiB of 6.0 MiB",
                "  sdb: 1.0 MiB of 10.0 MiB",
            ]
        );
        assert_eq!(clock(3_725), "1:02:05");
    }
}
