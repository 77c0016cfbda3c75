//! Shows a waiting person the progress of a scan, on standard error, never among the results.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::fit;
use super::progress::{LINE_EVERY, percent};
use super::screen::{Screen, terminal_width};
use super::shown::{number, size};
use super::time_left::{clock, time_left};
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
            let screen = Screen { colour: false, width: terminal_width(&io::stderr()) };
            let lines = pace.lines(&self.meter.read(), Instant::now(), screen);
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

    /// One line for the whole scan, or two on a narrow screen, and one line per disk if there are several disks.
    fn lines(&mut self, now: &Reading, at: Instant, screen: Screen) -> Vec<String> {
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
            (0, _) => format!("{what}: {}", number(now.files, "file")),
            (total, bytes) => {
                let done = match bytes {
                    0 => percent(now.files, total),
                    bytes => percent(now.bytes, bytes),
                };
                format!("{what}, {done} %: {} of {}", now.files, number(total, "file"))
            }
        };
        if now.bytes_total > 0 {
            let bytes = format!("{} of {}", size(now.bytes), size(now.bytes_total));
            let rate = self.rate(now, at.duration_since(self.since));
            line += &format!(", {}", fit::whole(&(bytes + &rate)));
        }
        let mut lines = vec![fit::fitted(&line, screen, 4)];
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
        let reading = now.disks.iter().filter(|disk| disk.bytes < disk.total);
        let parts = reading.map(|disk| (disk.bytes, disk.total));
        let parts = parts.chain([(now.bytes, now.bytes_total)]);
        let left: Option<Vec<_>> = parts.map(|(done, all)| time_left(done, all, took)).collect();
        let left = left.and_then(|left| left.into_iter().max());
        let end = left.map_or_else(String::new, |left| format!(", ETA {}", clock(left)));
        format!(", {}/s{end}", size(rate as u64))
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
        let pipe = Screen::default();
        assert_eq!(pace.lines(&now, start, pipe), ["looking for files: 5 files"]);
        now = Reading {
            phase: Phase::Contents,
            files_total: 9,
            bytes: 4 << 20,
            bytes_total: 16 << 20,
            disks: vec![disk("sda", 3 << 20, 6 << 20), disk("sdb", 1 << 20, 10 << 20)],
            ..now
        };
        let begun = pace.lines(&now, start, pipe);
        assert_eq!(begun[0], "reading contents, 25 %: 5 of 9 files, 4.0 MiB of 16.0 MiB");
        assert_eq!(
            pace.lines(&now, start + Duration::from_secs(10), pipe),
            [
                "reading contents, 25 %: 5 of 9 files, 4.0 MiB of 16.0 MiB, 409.6 KiB/s, ETA 1:30",
                "  sda: 3.0 MiB of 6.0 MiB",
                "  sdb: 1.0 MiB of 10.0 MiB",
            ]
        );
        let narrow = Screen { width: Some(79), ..pipe };
        assert_eq!(
            pace.lines(&now, start + Duration::from_secs(10), narrow)[0],
            "reading contents, 25 %: 5 of 9 files,\n    4.0 MiB of 16.0 MiB, 409.6 KiB/s, ETA 1:30"
        );
        // The other disk has yet to wake up.
        now.disks[1].bytes = 0;
        let asleep = &pace.lines(&now, start + Duration::from_secs(90), pipe)[0];
        assert!(asleep.ends_with("/s"), "{asleep}");
    }
}
