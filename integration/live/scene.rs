//! A pool, groups, clients that follow their scripts while the tool runs, and what must be true afterwards.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::client::{Client, Met};
use super::model::Name;
use super::moments::{Moment, Moments};
use super::pair::{Kind, Pair, When};
use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot;
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;

/// How a run is slowed down, so that clients can act in the middle of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slow {
    /// Not at all.
    No,
    /// strace delays these calls, in its words.
    Calls(&'static str),
    /// Stopped and continued: whenever the log grows, and in between.
    Stops,
    /// mergerfs is: strace delays these calls of it.
    Mergerfs(&'static str),
    /// Killed as soon as some op is there.
    #[allow(dead_code, reason = "for tries by hand")]
    KilledAt(Moment, &'static str),
}

/// Clients at work at the same time, each on groups of its own.
const CLIENTS: usize = 4;

/// No call of a client may take longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long mergerfs and the kernel may show old attributes.
const CACHED: Duration = Duration::from_millis(1_200);

/// One pool with its groups.
pub(crate) struct Scene {
    pub(crate) pool: Pool,
    pub(crate) tool: Tool,
    pub(crate) pairs: Vec<Pair>,
    list: PathBuf,
}

impl Scene {
    /// `count` groups on three disks, the third empty, in a pool with these mount options.
    pub(crate) fn new(options: &[&str], count: usize) -> Self {
        let mut plan = PoolPlan::of(&[Ext4, Xfs, Btrfs]);
        for option in options {
            plan = plan.option(option);
        }
        let pool = plan.mount();
        let tool = Tool::new();
        let pairs: Vec<Pair> = (0..count).map(|n| Pair::make(&pool, n)).collect();
        let made: Vec<_> = pairs.iter().map(Pair::group).collect();
        let list = groups::write_list(&tool, &pool, &made);
        Self {
            pool,
            tool,
            pairs,
            list,
        }
    }

    /// Runs the tool while clients follow their scripts and `beside` does something else, until the run is over.
    pub(crate) fn run_beside<T: Send>(
        &mut self,
        slow: Slow,
        beside: impl FnOnce(&Pool, &AtomicBool) -> T + Send,
    ) -> (Run, Met, T) {
        tree::settle();
        let log = self.tool.journal().join("log.csv");
        let mut moments = Moments::new(&self.pool, &self.pairs, log);
        let shared = Shared::new(self.pairs.len());
        let mut parts: Vec<Vec<Pair>> = (0..CLIENTS).map(|_| Vec::new()).collect();
        for pair in self.pairs.drain(..) {
            parts[pair.n % CLIENTS].push(pair);
        }
        let mut met = Met::default();
        let (pool, tool, list) = (&self.pool, &self.tool, &self.list);
        let (run, other) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !shared.ended.load(Ordering::Acquire) {
                    moments.look(&shared.moments);
                    std::thread::sleep(Duration::from_micros(100));
                }
                moments.look(&shared.moments);
                shared.over.store(true, Ordering::Release);
            });
            let clients: Vec<_> = parts
                .into_iter()
                .map(|part| scope.spawn(|| follow(pool, part, &shared)))
                .collect();
            scope.spawn(|| meddle(tool, slow, &shared));
            let other = scope.spawn(|| beside(pool, &shared.over));
            let run = execute(pool, tool, list, slow);
            shared.ended.store(true, Ordering::Release);
            for client in clients {
                let (part, more) = client.join().unwrap();
                self.pairs.extend(part);
                met.add(more);
            }
            (run, other.join().unwrap())
        });
        self.pairs.sort_by_key(|pair| pair.n);
        (run, met, other)
    }

    /// Reads every path of every group, as a client that comes later does.
    pub(crate) fn judge(&mut self, when: &str) {
        std::thread::sleep(CACHED);
        let mut client = Client::new(self.pool.branches());
        for pair in &mut self.pairs {
            for name in Name::ALL {
                client.read_back(pair, name);
                // Nor is anything that was deleted hidden behind something else.
                let left = snapshot::places(&self.pool, pair.relative(name));
                if !pair.model.exists(name) && !left.is_empty() {
                    let told = pair.told();
                    client
                        .met
                        .lost
                        .push(format!("{told}: {name:?} came back: {left:?}"));
                }
            }
        }
        assert_none_lost(&client.met, when);
    }

    /// A run with nobody beside it finishes whatever was left open, and loses nothing either.
    pub(crate) fn end_quietly(&mut self, run: &Run) {
        assert!(matches!(run.code(), Some(0 | 1)), "{run}");
        self.judge("after the run");
        let unsettled = ops_in(run, &["open", "conflict"]);
        let strange: Vec<_> = self
            .hidden_names()
            .into_iter()
            .filter(|(_, op)| !unsettled.contains(op))
            .collect();
        assert!(strange.is_empty(), "unexplained: {strange:?}\n{run}");
        self.tool.run(&["resume"]).expect(0);
        self.judge("after resume");
        let quiet = execute(&self.pool, &self.tool, &self.list, Slow::No);
        assert!(matches!(quiet.code(), Some(0 | 1)), "{quiet}");
        let summary = quiet.summary();
        assert_eq!(
            (summary.get("open"), summary.get("still_open")),
            (0, 0),
            "{quiet}"
        );
        let nothing = self.tool.run(&["resume"]).expect(0);
        assert!(nothing.stdout.contains("nothing is open"), "{nothing}");
        self.judge("after a quiet run");
        self.only_conflicts_left();
    }

    /// Every hidden name that is left is one that `status` tells of.
    pub(crate) fn only_conflicts_left(&self) {
        let status = self.tool.run(&["status"]).expect(0);
        for (name, _) in self.hidden_names() {
            assert!(
                status.stdout.contains(&name),
                "{name} is in no conflict:\n{status}"
            );
        }
    }

    /// Every name of the tool's own on the branches, with the run and the number of the op it belongs to.
    pub(crate) fn hidden_names(&self) -> Vec<(String, (u64, u64))> {
        let mut found = Vec::new();
        for entries in snapshot::all_entries(&self.pool) {
            for path in entries.keys() {
                let name = path.file_name().unwrap();
                if name.as_bytes().starts_with(b".xdedup-") {
                    let name = name.to_str().unwrap();
                    let part = |n| u64::from_str_radix(name.split('-').nth(n).unwrap(), 16);
                    found.push((name.to_owned(), (part(2).unwrap(), part(3).unwrap())));
                }
            }
        }
        found
    }
}

/// Panics with some of what was lost; a client that waited for long has lost something too.
pub(crate) fn assert_none_lost(met: &Met, when: &str) {
    assert!(
        met.lost.is_empty(),
        "{when}, {} times:\n{}",
        met.lost.len(),
        met.lost[..met.lost.len().min(4)].join("\n")
    );
    let (took, call) = &met.longest;
    assert!(*took <= PATIENCE, "a client waited {took:?} for {call}");
}

/// The ops that a run reports in one of these states.
fn ops_in(run: &Run, states: &[&str]) -> BTreeSet<(u64, u64)> {
    let ops = run.lines_of("op").into_iter();
    let told = |op: &Value| {
        let state = op["state"].as_str().unwrap();
        let reason = op["reason"].as_str().unwrap_or_default();
        states.contains(&state) || states.contains(&reason) || op["open"] == true
    };
    ops.filter(|op| told(op))
        .map(|op| (op["run"].as_u64().unwrap(), op["op"].as_u64().unwrap_or(0)))
        .collect()
}

/// What the threads of one run tell each other.
struct Shared {
    begin: Instant,
    moments: Vec<AtomicU8>,
    /// The tool has ended.
    ended: AtomicBool,
    /// And everybody knows where each op is.
    over: AtomicBool,
}

impl Shared {
    fn new(count: usize) -> Self {
        Self {
            begin: Instant::now(),
            moments: (0..count).map(|_| AtomicU8::new(0)).collect(),
            ended: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    fn is_time(&self, pair: &Pair, when: When) -> bool {
        match when {
            When::At(moment) => self.moments[pair.n].load(Ordering::Acquire) == moment as u8,
            When::After(time) => self.begin.elapsed() >= time,
        }
    }
}

/// One client: does what the scripts of its groups say when it is time. What never had its time is left undone.
fn follow(pool: &Pool, mut pairs: Vec<Pair>, shared: &Shared) -> (Vec<Pair>, Met) {
    let mut client = Client::new(pool.branches());
    loop {
        let over = shared.over.load(Ordering::Acquire);
        let mut idle = true;
        for pair in &mut pairs {
            let Some(&(when, act)) = pair.script.front() else {
                continue;
            };
            if shared.is_time(pair, when) {
                pair.script.pop_front();
                client.act(pair, act, &format!("{when:?}"));
                idle = false;
            }
        }
        if idle && over {
            return (pairs, client.met);
        }
        if idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Runs the tool over the list, as slowly as wanted.
fn execute(pool: &Pool, tool: &Tool, list: &std::path::Path, slow: Slow) -> Run {
    let primary = pool.path("media");
    let arguments: [&std::ffi::OsStr; 7] = [
        "--format".as_ref(),
        "json".as_ref(),
        "-e".as_ref(),
        "-p".as_ref(),
        primary.as_ref(),
        "-m".as_ref(),
        list.as_ref(),
    ];
    let pid = tool.dir().join("pid").display().to_string();
    let told = format!("echo $$ >'{pid}.new' && mv '{pid}.new' '{pid}' && exec \"$0\" \"$@\"");
    let calls = match slow {
        Slow::No => return tool.run(&arguments),
        Slow::Mergerfs(calls) => {
            let _strace = SlowMergerfs::attach(pool, calls);
            return tool.run(&arguments);
        }
        Slow::Stops => None,
        Slow::Calls(calls) | Slow::KilledAt(_, calls) => Some(calls),
    };
    let injections = calls.map(|calls| calls.split(' ').map(|call| format!("inject={call}")));
    let mut wrapper: Vec<String> = Vec::new();
    if let Some(injections) = injections {
        wrapper.extend(["strace", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned));
        wrapper.extend([
            "-e".to_owned(),
            format!("trace={}", traced(calls.unwrap_or_default())),
        ]);
        wrapper.extend(injections.flat_map(|one| ["-e".to_owned(), one]));
    }
    wrapper.extend(["sh".to_owned(), "-c".to_owned(), told]);
    tool.run_under(&wrapper, &arguments)
}

/// strace at work on a pool's mergerfs; dropping it lets mergerfs go on undelayed.
struct SlowMergerfs(Child);

impl SlowMergerfs {
    fn attach(pool: &Pool, calls: &str) -> Self {
        let root = pool.root().as_os_str().as_bytes();
        let serves = |process: &std::fs::DirEntry| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let parts: Vec<_> = line.split(|&b| b == 0).collect();
            parts.first() == Some(&b"mergerfs".as_slice()) && parts.contains(&root)
        };
        let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
        let process = processes.find(serves).unwrap().file_name();
        let trace = format!("trace={}", traced(calls));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace]);
        for call in calls.split(' ') {
            strace.args(["-e", &format!("inject={call}")]);
        }
        let child = strace.arg("-p").arg(process).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        Self(child)
    }
}

impl Drop for SlowMergerfs {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).unwrap();
        self.0.wait().unwrap();
    }
}

/// The names of the calls that are delayed.
fn traced(calls: &str) -> String {
    let names = calls.split(' ').map(|call| call.split(':').next().unwrap());
    names.collect::<Vec<_>>().join(",")
}

/// Stops or kills the tool from outside.
fn meddle(tool: &Tool, slow: Slow, shared: &Shared) {
    let pid = || {
        let pid = std::fs::read_to_string(tool.dir().join("pid")).ok()?;
        Some(Pid::from_raw(pid.trim().parse().ok()?))
    };
    let log = tool.journal().join("log.csv");
    let mut logged = 0;
    while !shared.ended.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
        match (slow, pid()) {
            (Slow::Stops, Some(pid)) => {
                let now = log.metadata().map_or(0, |metadata| metadata.len());
                let pause = if now > logged { 150 } else { 25 };
                logged = now;
                // It may have ended a moment ago: then there is nothing to be stopped.
                if kill(pid, Signal::SIGSTOP).is_ok() {
                    std::thread::sleep(Duration::from_millis(pause));
                    kill(pid, Signal::SIGCONT).ok();
                }
                std::thread::sleep(Duration::from_millis(4));
            }
            (Slow::KilledAt(moment, _), Some(pid)) => {
                let there = |told: &AtomicU8| told.load(Ordering::Acquire) == moment as u8;
                if shared.moments.iter().filter(|told| there(told)).count() > 3 {
                    // By now it may have ended by itself.
                    kill(pid, Signal::SIGKILL).ok();
                    return;
                }
            }
            _ => {}
        }
    }
}

/// How the groups of one order stand: a line for people.
pub(crate) fn figures(scene: &Scene, run: &Run, met: &Met, what: &str) {
    let linked = |pair: &&Pair| {
        let at = |name| snapshot::places(&scene.pool, pair.relative(name));
        let (master, duplicate) = (at(Name::Master), at(Name::Duplicate));
        master.len() == 1 && master == duplicate
    };
    let by = |disk: usize| {
        let here = || scene.pairs.iter().filter(move |p| p.master_disk == disk);
        let local = here().filter(|p| p.kind == Kind::Local);
        let (all, one) = (here().count(), here().filter(linked).count());
        format!(
            "{one}/{all} one file ({} local)",
            local.filter(linked).count()
        )
    };
    let summary = run.summary();
    let figure = |name| summary.get(name);
    println!(
        "FIGURE writers {what}: {} done, {} busy, {} failed, {} open, {} conflicts; master's branch first {}, last {}; \
         {} operations acknowledged, {} calls waited, longest {:?} ({}), a name missed {} times",
        figure("done"),
        figure("busy"),
        figure("failed"),
        figure("open"),
        figure("conflicts"),
        by(0),
        by(1),
        met.acts,
        met.blocked,
        met.longest.0,
        met.longest.1.split(' ').next().unwrap_or_default(),
        met.missed,
    );
}
