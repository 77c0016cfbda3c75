//! Processes over a scenario's world and journal, and what must hold after each.

use std::collections::{BTreeMap, BTreeSet};

use mergerfs_xdedup::execute::{Executor, Leases, Observer, OpEnded, Options, Outcome, RunError};
use mergerfs_xdedup::fs::sim::{PowerLoss, SimWorld, place};
use mergerfs_xdedup::fs::{FileKind, Hashed, InodeId, Look, Place, Stat, Timestamp};
use mergerfs_xdedup::journal::mem_store::{Fault as StoreFault, Kept, MemStore};
use mergerfs_xdedup::journal::{BranchRecord, Journal, RunStarted};
use mergerfs_xdedup::plan::Found;
use mergerfs_xdedup::plan::Op;
use mergerfs_xdedup::plan::hidden_name::is_hidden_name;
use mergerfs_xdedup::plan::metadata::IgnoreMetadata;
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::rescue::undo;

use super::scenario::Scenario;

/// The paths of a pool with their bytes, names of ours left out.
pub(crate) type View = BTreeMap<RelPath, Vec<u8>>;

/// A world and a journal, between two processes.
pub(crate) struct Session {
    pub(crate) world: SimWorld,
    pub(crate) store: MemStore,
    batch_names: usize,
    /// When the scan began that found the duplicates.
    pub(crate) scanned: Option<Timestamp>,
    /// Hashes that the scan of the run took.
    pub(crate) hashed: Vec<Hashed>,
    pub(crate) outcomes: Vec<(Op, Outcome)>,
}

struct Outcomes<'a>(&'a mut Vec<(Op, Outcome)>);

impl Observer for Outcomes<'_> {
    fn ended(&mut self, ended: &OpEnded<'_>) {
        self.0.push((ended.op.clone(), ended.outcome.clone()));
    }
}

impl Session {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self::over(scenario.world.fork(), &MemStore::new(7), scenario.batch_names)
    }

    pub(crate) fn over(world: SimWorld, store: &MemStore, batch_names: usize) -> Self {
        let store = store.after_kill();
        let gate = world.clone();
        store.set_gate(move |step| match gate.outside_call(&format!("journal {step:?}")) {
            Ok(()) => None,
            Err(_) if gate.died() => Some(StoreFault::Die),
            Err(_) => Some(StoreFault::Fail),
        });
        Self { world, store, batch_names, scanned: None, hashed: Vec::new(), outcomes: Vec::new() }
    }

    /// The next process in the same world, after this one ended or was killed.
    pub(crate) fn next(&self) -> Self {
        Self::over(self.world.fork(), &self.store, self.batch_names)
    }

    /// The next process after a power loss.
    pub(crate) fn after_power_loss(&self, loss: &PowerLoss, kept: Kept) -> Self {
        let store = self.store.after_power_loss(kept);
        Self::over(self.world.power_loss(loss), &store, self.batch_names)
    }

    /// The same with another journal.
    pub(crate) fn next_with(&self, store: &MemStore) -> Self {
        Self::over(self.world.fork(), store, self.batch_names)
    }

    pub(crate) fn options(&self) -> Options {
        // Looked up in a fork: this is no call of the process.
        let fork = self.world.fork();
        let root = |n: u16| {
            let branch = mergerfs_xdedup::pool::BranchIdx(n);
            let root_ino = fork.fs().stat(&place(branch, "")).unwrap().unwrap().id.ino;
            (self.world.fs_id(branch), root_ino)
        };
        let branches = self.world.pool().branches.into_iter().zip(0..).map(|(branch, n)| {
            let (fs, root_ino) = root(n);
            BranchRecord { path: branch.path, mode: branch.mode, fs: Some(fs), root_ino }
        });
        Options {
            branches: branches.collect(),
            departed: Vec::new(),
            ignore: IgnoreMetadata::default(),
            leases: Leases::Required,
            newest_dirs: false,
            scanned: self.scanned,
            batch_names: self.batch_names,
            batch_bytes: u64::MAX,
        }
    }

    /// Runs `ops` as `-e` does.
    pub(crate) fn run(&mut self, ops: &[Op]) -> Result<(), RunError> {
        let (options, fs) = (self.options(), self.world.fs());
        let mut journal = Journal::open(self.store.handle())?;
        let run = journal.start_run(|run| RunStarted {
            run,
            version: "test".to_owned(),
            time: fs.now(),
            pool: "/pool".into(),
            branches: options.branches.clone(),
            newest_dirs: false,
            options: Vec::new(),
        })?;
        let mut observer = Outcomes(&mut self.outcomes);
        let mut executor = Executor::new(&fs, &mut journal, &mut observer, options, run.run);
        executor.rely_on(&self.hashed);
        executor.run(ops.to_vec())
    }

    /// Undoes the first run as `undo 1 -e` does; gives how many ops were planned.
    pub(crate) fn undo(&mut self) -> Result<usize, RunError> {
        self.undo_run(1)
    }

    /// Undoes a run; gives how many ops were planned.
    pub(crate) fn undo_run(&mut self, undoes: u64) -> Result<usize, RunError> {
        let (options, fs) = (self.options(), self.world.fs());
        let mut journal = Journal::open(self.store.handle())?;
        let finished = journal.finished(|run| run == undoes)?;
        let plan = undo::plan(&fs, &options.branches, &finished, &[]);
        let planned = plan.ops.len();
        let started = journal.start_undo(undoes, |run| RunStarted {
            run,
            version: "test".to_owned(),
            time: fs.now(),
            pool: "/pool".into(),
            branches: options.branches.clone(),
            newest_dirs: false,
            options: Vec::new(),
        })?;
        let mut observer = Outcomes(&mut self.outcomes);
        Executor::new(&fs, &mut journal, &mut observer, options, started.run).run(plan.ops)?;
        Ok(planned)
    }

    /// Recovers as `resume` does; gives how many ops stay open.
    pub(crate) fn recover(&mut self) -> Result<usize, RunError> {
        self.recover_with(self.options())
    }

    /// The same on branches that may be others by now.
    pub(crate) fn recover_with(&mut self, options: Options) -> Result<usize, RunError> {
        let fs = self.world.fs();
        let mut journal = Journal::open(self.store.handle())?;
        let mut observer = Outcomes(&mut self.outcomes);
        let left =
            Executor::new(&fs, &mut journal, &mut observer, options, u64::MAX).recover(|_| true)?;
        assert_eq!(left.len(), journal.open_ops().len(), "{left:?}");
        Ok(left.len())
    }

    /// Whether the journal knows of any op.
    pub(crate) fn recorded(&self) -> bool {
        let journal = Journal::open(self.store.after_kill()).unwrap();
        journal.runs().any(|run| run.intents > 0)
    }

    /// Whether some op has no end yet.
    pub(crate) fn is_open(&self) -> bool {
        let journal = Journal::open(self.store.after_kill()).unwrap();
        !journal.open_ops().is_empty()
    }

    /// The pool as clients see it, without names of ours.
    pub(crate) fn view(&self) -> View {
        let mut view = self.world.pool_view();
        view.retain(|path, _| !is_hidden(path));
        view
    }

    /// What went on, for a failed assertion.
    pub(crate) fn told(&self) -> String {
        let mut told = self.world.trace().join("\n");
        for (at, (id, bytes)) in self.world.files() {
            let (branch, bytes) = (at.branch.0, String::from_utf8_lossy(&bytes).into_owned());
            told += &format!("\n  {branch}:{:?} {}:{} {bytes:?}", at.path, id.dev, id.ino);
        }
        for (op, outcome) in &self.outcomes {
            told += &format!("\n  {:?} {outcome:?}", op.duplicate);
        }
        told
    }

    /// No name of ours is left, and nothing is open.
    pub(crate) fn clean(&self) -> Check {
        let names = self.world.names();
        let ours = names.keys().filter(|at| is_hidden(&at.path)).count();
        ensure(ours == 0, || format!("{ours} names of ours are left"))?;
        ensure(self.world.open_files() == 0, || "a file stays open".to_owned())
    }

    /// The pool has every path with its bytes.
    pub(crate) fn keeps(&self, view: &View) -> Check {
        let now = self.view();
        let lost = view.iter().find(|(path, bytes)| now.get(*path) != Some(*bytes));
        ensure(lost.is_none(), || format!("lost or other bytes: {:?}", lost.map(|(path, _)| path)))
    }

    /// The pool has what it should, and nothing else.
    pub(crate) fn shows(&self, view: &View) -> Check {
        self.keeps(view)?;
        let now = self.view();
        let new = now.keys().find(|path| !view.contains_key(*path));
        ensure(new.is_none(), || format!("came from nowhere: {new:?}"))
    }

    /// Every op is done whole or not at all: its names are all the master's, or all the duplicate's.
    pub(crate) fn whole(&self, ops: &[Op]) -> Check {
        let files = self.world.files();
        let inode = |at: &Place| files.get(at).map(|(id, _): &(InodeId, Vec<u8>)| *id);
        for op in ops {
            let master = inode(&op.master);
            if master.is_none() && ops.iter().any(|other| other.duplicate == op.master) {
                // A later op's duplicate, and gone with that: this one must have been done before.
                let left = op
                    .names
                    .iter()
                    .any(|name| files.contains_key(&Place::new(name.from, name.path.clone())));
                ensure(!left, || "its master went before it".to_owned())?;
                continue;
            }
            ensure(master.is_some(), || "the master is gone".to_owned())?;
            let mut kinds = BTreeSet::new();
            for name in &op.names {
                let own = Place::new(name.from, name.path.clone());
                let target = Place::new(name.to, name.path.clone());
                let mut replaced = inode(&target) == master;
                let there = own != target && inode(&own).is_some();
                if name.found == Found::Master {
                    ensure(replaced, || format!("{:?} is the master no more", name.path))?;
                    replaced = !there;
                }
                ensure(!(replaced && there), || format!("both copies at {:?}", name.path))?;
                kinds.insert(replaced);
            }
            ensure(kinds.len() == 1, || "half done".to_owned())?;
        }
        Ok(())
    }

    /// New directories look like those the pool showed. Their times are given back only by the process that moved them.
    pub(crate) fn directories(&self, scenario: &Scenario) -> Check {
        let (before, after) = (scenario.world.names(), self.world.names());
        for (at, new) in after.iter().filter(|(at, _)| !before.contains_key(at)) {
            if new.kind != FileKind::Directory || is_hidden(&at.path) {
                continue;
            }
            let shown = before.iter().find(|(old, _)| old.path == at.path).map(|(_, stat)| stat);
            let look = |stat: &Stat| (stat.uid, stat.gid, stat.mode);
            let (new, shown) = (look(new), shown.map(look));
            ensure(Some(new) == shown, || format!("{:?} is {new:?}, not {shown:?}", at.path))?;
        }
        Ok(())
    }

    /// All of what must hold once everything is recovered.
    pub(crate) fn sound(&self, scenario: &Scenario, view: &View) -> Check {
        self.shows(view)?;
        self.clean()?;
        self.whole(&scenario.ops)?;
        self.directories(scenario)
    }
}

/// Whether something holds, and what does not.
pub(crate) type Check = Result<(), String>;

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(what()) }
}

/// What did not hold, at which points: all of them are tried before a test fails.
#[derive(Default)]
pub(crate) struct Failures {
    found: BTreeMap<(String, String), (usize, String)>,
    points: usize,
}

impl Failures {
    /// Notes a point; `group` is what such points have in common, `point` is the one.
    pub(crate) fn note(
        &mut self,
        check: Check,
        group: &str,
        point: impl Fn() -> String,
        session: &Session,
    ) {
        self.points += 1;
        if let Err(what) = check {
            let told = || format!("{}\n{}", point(), session.told());
            let found = self.found.entry((group.to_owned(), what)).or_insert_with(|| (0, told()));
            found.0 += 1;
        }
    }

    pub(crate) fn points(&self) -> usize {
        self.points
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        if self.found.is_empty() || std::thread::panicking() {
            return;
        }
        let mut all = String::new();
        for ((group, what), (count, _)) in &self.found {
            all += &format!("{group}: {what}: at {count} points\n");
        }
        for ((group, what), (_, told)) in self.found.iter().take(12) {
            all += &format!("\n=== {group}: {what}, first {told}\n");
        }
        panic!("{all}of {} points", self.points);
    }
}

pub(crate) fn is_hidden(path: &RelPath) -> bool {
    path.as_bytes().split(|b| *b == b'/').any(is_hidden_name)
}
