//! Says which file the program waits for when a disk does not answer.
//!
//! The kernel does not let a program give up such a call, and does not end the program either. It ends the call by
//! itself when the disk answers or the driver gives the disk up; a message is all that helps meanwhile.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How often the threads are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// The first message. A sleeping disk needs up to 15 s; drivers give a disk up after 30 s or a multiple of it.
const FIRST: Duration = Duration::from_secs(30);

/// Watches the threads of this process until it ends.
pub(super) fn watch() {
    let watching = thread::Builder::new().name("waiting".to_owned()).spawn(|| {
        let mut watch = Watch::default();
        loop {
            thread::sleep(EVERY);
            for (path, waited) in watch.look(threads(), Instant::now()) {
                let seconds = waited.as_secs();
                match path {
                    Some(path) => tracing::warn!(seconds, ?path, "{NO_ANSWER}"),
                    None => tracing::warn!(seconds, "{NO_ANSWER}"),
                }
            }
        }
    });
    if let Err(error) = watching {
        tracing::debug!(%error, "slow disks are not reported");
    }
}

const NO_ANSWER: &str = "still waiting for a disk that does not answer (Ctrl-C twice stops as soon as it does; see dmesg)";

/// A thread that waits and cannot be interrupted: its id, and the call it waits in.
type Waiter = (OsString, String);

/// The waiting threads of this process.
fn threads() -> Vec<Waiter> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let waits = |task: &Path| {
        let state = fs::read_to_string(task.join("stat")).ok()?;
        let call = fs::read_to_string(task.join("syscall")).ok()?;
        is_stuck(&state).then_some(call)
    };
    let tasks = tasks.flatten();
    tasks.filter_map(|task| Some((task.file_name(), waits(&task.path())?))).collect()
}

/// Whether a line of `/proc/PID/stat` shows a thread that waits for a disk.
fn is_stuck(stat: &str) -> bool {
    // The name may contain anything, parentheses too.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('D'))
}

/// The open file that a call in `/proc/PID/syscall` is about, by its first argument.
fn file_of(call: &str) -> Option<PathBuf> {
    let number = call.split(' ').nth(1)?.strip_prefix("0x")?;
    let fd = u32::from_str_radix(number, 16).ok()?;
    fs::read_link(format!("/proc/self/fd/{fd}")).ok().filter(|path| path.is_absolute())
}

/// The threads that waited when they were last looked at.
#[derive(Default)]
struct Watch {
    waiting: HashMap<Waiter, Waited>,
}

struct Waited {
    since: Instant,
    next: Duration,
}

impl Watch {
    /// Takes in who waits at `now`; returns the files to report, and how long each was waited for: after [`FIRST`], and
    /// whenever that time has doubled.
    fn look(&mut self, threads: Vec<Waiter>, now: Instant) -> Vec<(Option<PathBuf>, Duration)> {
        let mut before = std::mem::take(&mut self.waiting);
        let mut told = Vec::new();
        for thread in threads {
            // Another call, or the same one with other arguments, is no longer the same wait.
            let known = before.remove(&thread);
            let mut waited = known.unwrap_or(Waited { since: now, next: FIRST });
            let time = now.duration_since(waited.since);
            if time >= waited.next {
                told.push((file_of(&thread.1), time));
                waited.next = time * 2;
            }
            self.waiting.insert(thread, waited);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_wait_is_reported_after_half_a_minute_and_when_it_has_doubled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let call = format!("74 {:#x} 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f00\n", file.as_raw_fd());
        let stuck = || vec![(OsString::from("7"), call.clone())];
        let (mut watch, start) = (Watch::default(), Instant::now());
        let told: Vec<u64> = (0..30)
            .filter(|n| {
                let told = watch.look(stuck(), start + EVERY * *n);
                assert!(told.iter().all(|(path, _)| path.as_deref() == Some(file.path())));
                !told.is_empty()
            })
            .map(|n| u64::from(n) * EVERY.as_secs())
            .collect();
        assert_eq!(told, [30, 60, 120]);
        // It answered, and the next call waits anew.
        assert!(watch.look(Vec::new(), start + EVERY * 40).is_empty());
        assert!(watch.look(stuck(), start + EVERY * 41).is_empty());
    }

    #[test]
    fn a_call_without_a_descriptor_names_no_file() {
        for call in
            ["running\n", "257 0xffffff9c 0x7f00 0x0\n", "191 0x7ffd01234567 0x0\n", "-1 0x0 0x0\n"]
        {
            assert!(file_of(call).is_none_or(|path| path.starts_with("/dev")), "{call}");
        }
        assert!(is_stuck("71 (a) b) D 1 1"));
        assert!(!is_stuck("71 (D) S 1 1"));
    }
}
