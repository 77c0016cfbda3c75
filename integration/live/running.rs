//! Running the tool while it, or mergerfs, is held up, so that clients can act in the middle of everything.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::moments::Moment;
use crate::harness::pool::Pool;
use crate::harness::tool::{Run, Tool};
use crate::harness::wait;

/// How a run is held up.
#[derive(Debug, Clone)]
pub(crate) enum Slow {
    /// Not at all.
    No,
    /// strace delays these calls of the tool, in its words.
    Calls(&'static str),
    /// The tool is stopped and continued: whenever its log grows, and in between.
    Stops,
    /// The tool is killed as soon as some ops are there.
    KilledAt(Moment, &'static str),
    /// mergerfs is long over finding out that there is nothing at these places; clients may [`When::Go`] then. The tool
    /// publishes and retires meanwhile, and removes when `longer` says.
    ///
    /// [`When::Go`]: super::pair::When::Go
    Mergerfs { places: Vec<PathBuf>, longer: Longer },
}

/// Who takes longer: mergerfs over a client's open, or the tool from the publish to the last look before it removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Longer {
    /// The tool waits until every client had its answer.
    Tool,
    /// The tool has ended before any client has its answer.
    Mergerfs,
}

/// What the tool is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// To replace what the list says.
    Replace,
    /// To settle what was left open.
    Resume,
}

/// How long mergerfs is over one of its places.
const STALL: Duration = Duration::from_millis(800);

/// What the threads of one run tell each other.
pub(crate) struct Shared {
    begin: Instant,
    /// Where each op is: a [`Moment`].
    pub(crate) moments: Vec<AtomicU8>,
    /// What clients may wait for.
    pub(crate) go: AtomicBool,
    /// How many operations they still have to do.
    pub(crate) left: AtomicUsize,
    /// The tool has ended.
    pub(crate) ended: AtomicBool,
    /// And everybody knows where each op is.
    pub(crate) over: AtomicBool,
}

impl Shared {
    /// For `count` groups, and clients with `left` operations to do.
    pub(crate) fn new(count: usize, left: usize) -> Self {
        Self {
            begin: Instant::now(),
            moments: (0..count).map(|_| AtomicU8::new(0)).collect(),
            go: AtomicBool::new(false),
            left: AtomicUsize::new(left),
            ended: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// How long the run has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Whether op `n` is there.
    pub(crate) fn is_at(&self, n: usize, moment: Moment) -> bool {
        self.moments[n].load(Ordering::Acquire) == moment as u8
    }
}

/// Runs the tool, over the list in the pool mounted there; for all but [`Slow::No`], somebody should [`meddle`].
pub(crate) fn execute(
    job: Job,
    (pool, clones): (&Path, bool),
    tool: &Tool,
    list: &Path,
    slow: &Slow,
) -> Run {
    let primary = pool.join("media");
    let replace: [&OsStr; 9] = [
        "--link".as_ref(),
        if clones { "reflink" } else { "hard" }.as_ref(),
        "--format".as_ref(),
        "json".as_ref(),
        "-e".as_ref(),
        "-p".as_ref(),
        primary.as_ref(),
        "-m".as_ref(),
        list.as_ref(),
    ];
    let arguments = match job {
        Job::Replace => &replace[..],
        Job::Resume => &["resume".as_ref()],
    };
    let mut wrapper = Vec::new();
    if let Slow::Calls(calls) | Slow::KilledAt(_, calls) = slow {
        wrapper.extend(["strace", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned));
        wrapper.extend(injections(calls));
    }
    // The tool itself, not strace, is what has to be stopped.
    let pid = pid_file(tool);
    let tell = "echo $$ >\"$0.new\" && mv \"$0.new\" \"$0\" && exec \"$@\"";
    wrapper.extend(["sh", "-c", tell, pid.to_str().unwrap()].map(str::to_owned));
    tool.run_under(&wrapper, arguments)
}

/// The options of strace for these calls and what is done to them.
fn injections(calls: &str) -> Vec<String> {
    let names: Vec<_> = calls.split(' ').map(|call| call.split(':').next().unwrap()).collect();
    let mut options = vec!["-e".to_owned(), format!("trace={}", names.join(","))];
    for call in calls.split(' ') {
        options.extend(["-e".to_owned(), format!("inject={call}")]);
    }
    options
}

fn pid_file(tool: &Tool) -> PathBuf {
    tool.dir().join("pid")
}

/// Holds a run up from outside, until it is over.
pub(crate) fn meddle(pool: &Pool, tool: &Tool, slow: &Slow, shared: &Shared) {
    let mut log = Log { path: tool.journal().join("log.csv"), len: 0 };
    while !shared.ended.load(Ordering::Acquire) {
        let pid = std::fs::read_to_string(pid_file(tool)).ok();
        if let Some(pid) = pid.and_then(|text| text.trim().parse().ok()) {
            let process = Process(Pid::from_raw(pid));
            match slow {
                Slow::No | Slow::Calls(_) => return,
                Slow::Stops => stop_and_go(process, &mut log, shared),
                Slow::KilledAt(moment, _) => kill_at(process, *moment, shared),
                Slow::Mergerfs { places, longer } => {
                    let stalled = stall(pool, process, &log, places, shared);
                    match longer {
                        Longer::Tool => wait_for_clients(process, &log, stalled, shared),
                        Longer::Mergerfs => wait_for_end(shared),
                    }
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stop_and_go(process: Process, log: &mut Log, shared: &Shared) {
    while !shared.ended.load(Ordering::Acquire) {
        let pause = if log.grew() { 150 } else { 25 };
        process.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(pause));
        process.signal(Signal::SIGCONT);
        std::thread::sleep(Duration::from_millis(4));
    }
}

fn kill_at(process: Process, moment: Moment, shared: &Shared) {
    while !shared.ended.load(Ordering::Acquire) {
        // In its window is one op at a time; the others wait for each other.
        let enough = if moment == Moment::Linking { 1 } else { 8 };
        let there = (0..shared.moments.len()).filter(|&n| shared.is_at(n, moment));
        if there.count() >= enough {
            process.signal(Signal::SIGKILL);
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stall(pool: &Pool, process: Process, log: &Log, places: &[PathBuf], shared: &Shared) -> Stalled {
    // The intents are about to be durable.
    log.wait_for("PENDING", shared);
    process.signal(Signal::SIGSTOP);
    let stalled = Stalled::new(pool, places);
    shared.go.store(true, Ordering::Release);
    std::thread::sleep(STALL / 8);
    process.signal(Signal::SIGCONT);
    stalled
}

/// Stops the tool where everything is retired, and the record of it is about to be durable, until the clients are
/// through.
fn wait_for_clients(process: Process, log: &Log, stalled: Stalled, shared: &Shared) {
    log.wait_for("LINKED", shared);
    process.signal(Signal::SIGSTOP);
    let through = || shared.left.load(Ordering::Acquire) == 0;
    wait::until("the clients", 20 * STALL, through).unwrap();
    drop(stalled);
    process.signal(Signal::SIGCONT);
    wait_for_end(shared);
}

fn wait_for_end(shared: &Shared) {
    while !shared.ended.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The tool at work. It may have ended a moment ago: then there is nothing to be stopped.
#[derive(Clone, Copy)]
struct Process(Pid);

impl Process {
    fn signal(self, signal: Signal) {
        kill(self.0, signal).ok();
    }
}

/// The CSV log of the run, watched for growth.
struct Log {
    path: PathBuf,
    len: u64,
}

impl Log {
    fn grew(&mut self) -> bool {
        let now = self.path.metadata().map_or(0, |metadata| metadata.len());
        // The first line only says what the columns are.
        std::mem::replace(&mut self.len, now) < now && now > 100
    }

    /// Waits for ops in that state; their lines come together. Without a pause: what follows takes only some
    /// milliseconds.
    fn wait_for(&self, state: &str, shared: &Shared) {
        let state = format!(",{state},");
        let there = || {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            text.contains(&state)
        };
        while !there() && !shared.ended.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    }
}

/// strace at work on a pool's mergerfs; dropping it lets mergerfs go on.
struct Stalled(Child);

impl Stalled {
    fn new(pool: &Pool, places: &[PathBuf]) -> Self {
        let process = pool.mergerfs_process().to_string();
        let delay = STALL.as_micros();
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(injections(&format!("?lstat:delay_exit={delay} newfstatat:delay_exit={delay}")));
        for place in places {
            strace.arg("-P").arg(place);
        }
        let child = strace.args(["-p", &process]).spawn().unwrap();
        let attached = || {
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
            tasks.flatten().all(|task| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap();
                !status.contains("TracerPid:\t0\n")
            })
        };
        wait::until("strace to attach", wait::LONG, attached).unwrap();
        Self(child)
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).unwrap();
        self.0.wait().unwrap();
    }
}
