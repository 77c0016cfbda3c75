//! A pool, groups, clients that follow their scripts while the tool runs, and what must be true afterwards.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Act, Client, Met};
use super::model::Name;
use super::moments::Moments;
use super::pair::{Kind, Pair, When};
use super::running::{Job, Shared, Slow, execute, meddle};
use super::second_mount::SecondMount;
use crate::groups;
use crate::harness::loop_disk::Filesystem::{self, Btrfs, Ext4, Xfs};
use crate::harness::manifest;
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot;
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;

/// How long mergerfs and the kernel may show old attributes.
const CACHED: Duration = Duration::from_millis(1_200);

/// One pool with its groups.
pub(crate) struct Scene {
    pub(crate) pool: Pool,
    pub(crate) tool: Tool,
    pub(crate) pairs: Vec<Pair>,
    /// Clients at work at the same time, each on groups of its own.
    pub(crate) clients: usize,
    /// The mount that the tool is told of.
    root: PathBuf,
    list: PathBuf,
    /// Duplicates become clones, and stay files of their own.
    clones: bool,
}

impl Scene {
    /// `count` groups on three disks, the third empty, in a pool with these mount options.
    pub(crate) fn new(options: &[&str], count: usize) -> Self {
        Self::on(&[Ext4, Xfs, Ext4], options, count)
    }

    /// The same on disks that can share blocks: duplicates become clones.
    pub(crate) fn of_clones(count: usize) -> Self {
        let mut scene = Self::on(&[Btrfs, Xfs, Ext4], &[], count);
        scene.clones = true;
        scene.pairs.iter_mut().for_each(|pair| pair.model.stay_apart());
        scene
    }

    fn on(disks: &[Filesystem], options: &[&str], count: usize) -> Self {
        let mut plan = PoolPlan::of(disks);
        for option in options {
            plan = plan.option(option);
        }
        let pool = plan.mount();
        let tool = Tool::new();
        let pairs: Vec<Pair> = (0..count).map(|n| Pair::make(&pool, n)).collect();
        let made: Vec<_> = pairs.iter().map(Pair::group).collect();
        let list = groups::write_list(&tool, &pool, &made);
        let root = pool.root().to_owned();
        Self { pool, tool, pairs, clients: 4, root, list, clones: false }
    }

    /// Lets the tool work through another mount: then the kernel knows nothing of a file before a client asks for it.
    pub(crate) fn run_through(&mut self, mount: &SecondMount) {
        self.root = mount.root().to_owned();
        let all = |pair: &Pair| pair.group().iter().map(|name| self.root.join(name)).collect();
        let groups: Vec<_> = self.pairs.iter().map(all).collect();
        manifest::write_json(&groups, &self.list);
    }

    /// Runs the tool while clients follow their scripts and `beside` does something else, until the run is over.
    pub(crate) fn run_beside<T: Send>(
        &mut self,
        job: Job,
        slow: &Slow,
        beside: impl FnOnce(&Pool, &AtomicBool) -> T + Send,
    ) -> (Run, Met, T) {
        tree::settle();
        let log = self.tool.journal().join("log.csv");
        let mut moments = Moments::new(&self.pool, &self.root, &self.pairs, log);
        let left = self.pairs.iter().map(|pair| pair.script.len()).sum();
        let shared = &Shared::new(self.pairs.len(), left);
        let mut parts: Vec<Vec<Pair>> = (0..self.clients).map(|_| Vec::new()).collect();
        for pair in self.pairs.drain(..) {
            parts[pair.n % self.clients].push(pair);
        }
        let mut met = Met::default();
        let (pool, tool, list) = (&self.pool, &self.tool, &self.list);
        let (root, clones) = (&self.root, self.clones);
        let (run, other) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !shared.ended.load(Ordering::Acquire) {
                    moments.look(&shared.moments);
                    std::thread::sleep(Duration::from_micros(100));
                }
                moments.look(&shared.moments);
                shared.over.store(true, Ordering::Release);
            });
            // A new file may be hidden by a replacement until that is about to be removed.
            let reads_back = !matches!(slow, Slow::Mergerfs { .. });
            let follow = |part| scope.spawn(move || follow(pool, part, shared, reads_back));
            let clients: Vec<_> = parts.into_iter().map(follow).collect();
            scope.spawn(|| meddle(pool, tool, slow, shared));
            let late = scope.spawn(|| lateness(shared));
            let other = scope.spawn(|| beside(pool, &shared.over));
            let run = execute(job, (root, clones), tool, list, slow);
            shared.ended.store(true, Ordering::Release);
            for client in clients {
                let (part, more) = client.join().unwrap();
                self.pairs.extend(part);
                met.add(more);
            }
            met.late = late.join().unwrap();
            (run, other.join().unwrap())
        });
        self.pairs.sort_by_key(|pair| pair.n);
        (run, met, other)
    }

    /// Lets one client do its thing to every group that `act` names one for, with nobody beside it.
    pub(crate) fn act(&mut self, when: &str, act: impl Fn(&Pair) -> Option<Act>) {
        let mut client = Client::new(self.pool.branches());
        for pair in &mut self.pairs {
            if let Some(act) = act(pair) {
                client.act(pair, act, when);
            }
        }
        client.met.assert_none_lost(when);
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
                    let why = format!("{told}: {name:?} came back: {left:?}");
                    client.met.lost.push(why);
                }
            }
        }
        client.met.lost.extend(self.unlisted());
        client.met.assert_none_lost(when);
    }

    /// The names that are there, but in no listing of their directory.
    fn unlisted(&self) -> Vec<String> {
        let mut listings: HashMap<PathBuf, HashSet<OsString>> = HashMap::new();
        let mut missing = Vec::new();
        for pair in &self.pairs {
            for name in Name::ALL.into_iter().filter(|name| pair.model.exists(*name)) {
                let path = pair.path(name);
                let dir = path.parent().unwrap().to_owned();
                let listing = listings.entry(dir).or_insert_with_key(|dir| listed(dir));
                if !listing.contains(path.file_name().unwrap()) {
                    missing.push(format!("{}: {name:?} is not listed", pair.told()));
                }
            }
        }
        missing
    }

    /// A run with nobody beside it finishes whatever was left open, and loses nothing either.
    pub(crate) fn end_quietly(&mut self, run: &Run) {
        assert!(matches!(run.code(), Some(0 | 1)), "{run}");
        self.judge("after the run");
        let unsettled = ops_in(run, &["open", "conflict"]);
        let strange: Vec<_> =
            self.hidden_names().into_iter().filter(|(_, op)| !unsettled.contains(op)).collect();
        assert!(strange.is_empty(), "unexplained: {strange:?}\n{run}");
        self.resume_quietly();
    }

    /// `resume`, and then a run, with nobody beside them: nothing is open after it, and nothing was lost.
    pub(crate) fn resume_quietly(&mut self) {
        let resumed = self.tool.run(&["resume"]);
        assert!(matches!(resumed.code(), Some(0 | 1)), "{resumed}");
        self.judge("after resume");
        let of = (self.root.as_path(), self.clones);
        let quiet = execute(Job::Replace, of, &self.tool, &self.list, &Slow::No);
        assert!(matches!(quiet.code(), Some(0 | 1)), "{quiet}");
        let summary = quiet.summary();
        let open = (summary.get("open"), summary.get("still_open"));
        assert_eq!(open, (0, 0), "{quiet}");
        let nothing = self.tool.run(&["resume"]).expect(0);
        assert!(nothing.stdout.contains("nothing is open"), "{nothing}");
        self.judge("after a quiet run");
        self.only_conflicts_left();
    }

    /// Every hidden name that is left is one that `status` tells of.
    fn only_conflicts_left(&self) {
        let status = self.tool.run(&["status", "-v"]).expect(0);
        for (name, _) in self.hidden_names() {
            let told = status.stdout.contains(&name);
            assert!(told, "{name} is in no conflict:\n{status}");
        }
    }

    /// Every name of the tool's own on the branches, with the run and the number of the op it belongs to.
    fn hidden_names(&self) -> Vec<(String, (u64, u64))> {
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

    /// A line for people: how the groups stand, and what the clients met.
    pub(crate) fn tell(&self, run: &Run, met: &Met, what: &str) {
        let linked = |pair: &&Pair| {
            let at = |name| snapshot::places(&self.pool, pair.relative(name));
            let (master, duplicate) = (at(Name::Master), at(Name::Duplicate));
            master.len() == 1 && master == duplicate
        };
        let by = |disk: usize| {
            let here = || self.pairs.iter().filter(move |p| p.master_disk == disk);
            let local = here().filter(|p| p.kind == Kind::Local);
            let (all, one) = (here().count(), here().filter(linked).count());
            format!("{one} of {all} ({} local)", local.filter(linked).count())
        };
        let summary = run.summary();
        let figures = ["done", "busy", "failed", "open", "conflicts"]
            .map(|name| format!("{} {name}", summary.get(name)));
        println!(
            "FIGURE writers {what}: {}; one file in the end: master's branch first {}, last {}; {met}",
            figures.join(", "),
            by(0),
            by(1),
        );
    }
}

/// The names in a directory.
pub(crate) fn listed(dir: &Path) -> HashSet<OsString> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

/// The ops that a run reports in one of these states.
fn ops_in(run: &Run, states: &[&str]) -> BTreeSet<(u64, u64)> {
    let told = |op: &Value| {
        let is = |key: &str| states.contains(&op[key].as_str().unwrap_or_default());
        is("state") || is("reason") || op["open"] == true
    };
    let ops = run.lines_of("op").into_iter().filter(told);
    ops.map(|op| (op["run"].as_u64().unwrap(), op["op"].as_u64().unwrap_or(0))).collect()
}

/// The longest that the machine was late by itself: that a thread which only sleeps was woken too late, or that the disk
/// which holds the loop disks took for a few bytes. A busy one makes every call seem slow.
fn lateness(shared: &Shared) -> Duration {
    let (nap, mut longest) = (Duration::from_millis(1), Duration::ZERO);
    let mut probe = tempfile::tempfile().unwrap();
    let mut naps = 0;
    while !shared.over.load(Ordering::Acquire) {
        let begin = Instant::now();
        std::thread::sleep(nap);
        longest = longest.max(begin.elapsed() - nap);
        naps += 1;
        // Seldom enough not to keep the disk busy.
        if naps % 50 == 0 {
            let begin = Instant::now();
            probe.write_all(b"late?").unwrap();
            probe.sync_all().unwrap();
            // The loop disk's own journal waits for several such in a row.
            longest = longest.max(4 * begin.elapsed());
        }
    }
    longest
}

/// One client: does what the scripts of its groups say when it is time. What never had its time is left undone.
fn follow(
    pool: &Pool,
    mut pairs: Vec<Pair>,
    shared: &Shared,
    reads_back: bool,
) -> (Vec<Pair>, Met) {
    let is_time = |pair: &Pair, when| match when {
        When::At(moment) => shared.is_at(pair.n, moment),
        When::After(time) => shared.elapsed() >= time,
        When::Go => shared.go.load(Ordering::Acquire),
    };
    let mut client = Client::new(pool.branches());
    client.reads_back = reads_back;
    loop {
        let over = shared.over.load(Ordering::Acquire);
        let mut idle = true;
        for pair in &mut pairs {
            let Some(&(when, act)) = pair.script.front() else {
                continue;
            };
            if is_time(pair, when) {
                pair.script.pop_front();
                client.act(pair, act, &format!("{when:?}"));
                shared.left.fetch_sub(1, Ordering::Release);
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
