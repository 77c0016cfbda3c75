//! Others who keep writing while a tool is at work.
//!
//! A fast tool is over before any disk has written anything, and a fsync it forgot goes unnoticed. So while it
//! runs, a filesystem must now and then write out what it holds, one disk and not the other.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, syncfs};
use tempfile::NamedTempFile;

use super::log::Dice;

/// Writes and syncs a side file of one filesystem now and then, in a thread, until dropped.
#[derive(Debug)]
pub(crate) struct Pump {
    stop: Arc<AtomicBool>,
    synced: Arc<AtomicUsize>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Pump {
    /// Starts writing to `file` each `period`.
    pub(crate) fn start(file: PathBuf, period: Duration) -> io::Result<Self> {
        let side = File::create(file)?;
        let stop = Arc::new(AtomicBool::new(false));
        let synced = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&synced));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let turn = count.fetch_add(1, Ordering::Relaxed);
                side.write_all_at(&turn.to_le_bytes(), 0)?;
                syncfs(&side)?;
                std::thread::sleep(period);
            }
            Ok(())
        });
        Ok(Self { stop, synced, thread: Some(thread) })
    }

    /// Ends it; how often it synced.
    pub(crate) fn stop(mut self) -> io::Result<usize> {
        self.join()?;
        Ok(self.synced.load(Ordering::Relaxed))
    }

    fn join(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        joined.map_or(Ok(()), |ended| ended.expect("the pump does not panic"))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // A pump that is dropped unasked belongs to a test that has failed.
        drop(self.join());
    }
}

/// What a disk is made to write while a tool stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// A file beside, with fsync: that commits the journal of ext4 or xfs, but not the data of other files.
    SideFile,
    /// All it holds.
    Everything,
}

/// Disks that write while a tool stands still, now one and now another.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// Where each is mounted, and what it writes.
    pub(crate) disks: Vec<(PathBuf, Writes)>,
    /// How long the tool runs at most in between; each time is drawn.
    pub(crate) stretch_max: Duration,
    /// What everything is drawn by.
    pub(crate) seed: u64,
}

impl Beside {
    /// Runs `command` to its end; how often it stood still. Kills it when it takes longer than `limit`.
    pub(crate) fn run(&self, command: &mut Command, limit: Duration) -> io::Result<(Output, u64)> {
        // Files, not pipes: a full pipe would stop a tool that says much.
        let (out, err) = (NamedTempFile::new()?, NamedTempFile::new()?);
        command.stdout(out.reopen()?).stderr(err.reopen()?);
        let mut child = Reaped(command.spawn()?);
        let mut dice = Dice::new(&[self.seed]);
        let start = Instant::now();
        for turns in 0.. {
            std::thread::sleep(self.stretch(&mut dice));
            if let Some(status) = child.0.try_wait()? {
                let (stdout, stderr) = (fs::read(out.path())?, fs::read(err.path())?);
                let output = Output { status, stdout, stderr };
                return Ok((output, turns));
            }
            if start.elapsed() > limit {
                break;
            }
            child.stand_still()?;
            self.write(turns, &mut dice)?;
            child.go_on()?;
        }
        let text = format!("{command:?} runs for longer than {limit:?}");
        Err(io::Error::other(text))
    }

    fn stretch(&self, dice: &mut Dice) -> Duration {
        let most_us = u64::try_from(self.stretch_max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(dice.below(most_us.max(1)))
    }

    fn write(&self, turn: u64, dice: &mut Dice) -> io::Result<()> {
        let (dir, writes) = &self.disks[dice.below(self.disks.len() as u64) as usize];
        match writes {
            Writes::SideFile => {
                let mut options = File::options();
                let side = options.write(true).create(true).truncate(false);
                let side = side.open(dir.join("side"))?;
                side.write_all_at(&turn.to_le_bytes(), 0)?;
                side.sync_all()
            }
            Writes::Everything => Ok(syncfs(File::open(dir)?)?),
        }
    }
}

/// A child that is killed and waited for, whatever happens to the test.
struct Reaped(Child);

impl Reaped {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("process ids are small"))
    }

    /// Returns once no thread of it runs any more (or it has ended).
    fn stand_still(&self) -> io::Result<()> {
        kill(self.pid(), Signal::SIGSTOP)?;
        let stat = format!("/proc/{}/stat", self.pid());
        for _ in 0..1000 {
            let text = fs::read_to_string(&stat)?;
            let state = text.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if matches!(state, Some('T' | 'Z' | 'X')) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        // It waits for a disk: that is standing still too.
        Ok(())
    }

    fn go_on(&self) -> io::Result<()> {
        Ok(kill(self.pid(), Signal::SIGCONT)?)
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail once it has ended and was waited for.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
