//! SIGKILL before, and errors from, every system call that the protocol lives on.
//!
//! strace ends the tool on its way into the Nth call of a kind, or lets that call fail. Whatever N: every path is
//! there with its bytes at once, before anything is repaired; `resume` then leaves a pool without a trace, and a
//! run after it does all that was planned. By default a few N of each call, `XDEDUP_FULL=1` takes every one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot::{self, View};
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;

/// The calls that change branches or make something durable there.
const PROTOCOL: [&str; 14] = [
    "linkat",
    "renameat2",
    "renameat",
    "unlinkat",
    "mkdirat",
    "fsync",
    "fdatasync",
    "utimensat",
    "fsetxattr",
    "fchown",
    "fchownat",
    "fchmod",
    "fchmodat",
    "fcntl",
];

/// Those the journal and the log are written with, and what everything begins with.
const AROUND: [&str; 8] = [
    "pwrite64",
    "write",
    "sync_file_range",
    "ftruncate",
    "openat",
    "openat2",
    "rename",
    "flock",
];

/// The errors that a call can be made to return.
const ERRORS: [(&str, &[&str]); 12] = [
    ("linkat", &["EIO", "ENOSPC", "EMLINK", "EROFS", "EDQUOT"]),
    ("renameat2", &["EIO", "ENOSPC", "EROFS", "EDQUOT"]),
    ("renameat", &["EIO", "ENOSPC"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("mkdirat", &["EIO", "ENOSPC", "EROFS", "EDQUOT"]),
    ("fsync", &["EIO", "ENOSPC", "EDQUOT"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("utimensat", &["EIO"]),
    ("fsetxattr", &["ENOSPC", "EDQUOT"]),
    ("fcntl", &["EAGAIN"]),
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("write", &["ENOSPC"]),
];

/// More calls of a kind than a run over one cell makes: an enumeration that gets here hangs.
const CALLS_AT_MOST: usize = 5_000;

fn full() -> bool {
    std::env::var_os("XDEDUP_FULL").is_some_and(|value| value == "1")
}

/// A directory of the pool with one op of each sort, for one run that is disturbed.
struct Cell {
    root: PathBuf,
    groups: Vec<Group>,
    view: View,
    tool: Tool,
    list: PathBuf,
}

impl Cell {
    /// Masters on branch `master_disk`, duplicates on the other one.
    fn new(pool: &Pool, name: &str, master_disk: usize) -> Self {
        let root = PathBuf::from(name);
        let at = |path: &str| root.join(path);
        let other = 1 - master_disk;
        let files = [
            // Under directories that are to be cloned.
            (1, master_disk, "keep/cross"),
            (1, other, "deep/odd/cross"),
            // A link set of two.
            (2, master_disk, "keep/two"),
            (2, other, "names/one"),
            // On one disk.
            (3, master_disk, "keep/local"),
            (3, master_disk, "local/copy"),
        ];
        for (seed, disk, path) in files {
            tree::write(&pool.on(disk, at(path)), &tree::bytes(seed, groups::SMALL));
        }
        std::fs::hard_link(
            pool.on(other, at("names/one")),
            pool.on(other, at("names/two")),
        )
        .unwrap();
        make_odd(&pool.on(other, at("deep/odd")));
        let groups = vec![
            vec![at("keep/cross"), at("deep/odd/cross")],
            vec![at("keep/two"), at("names/one"), at("names/two")],
            vec![at("keep/local"), at("local/copy")],
        ];
        let tool = Tool::new();
        let list = groups::list(&tool, pool, &groups);
        let view = snapshot::view(&pool.path(&root));
        Self {
            root,
            groups,
            view,
            tool,
            list,
        }
    }

    /// Runs the tool over the cell, under strace with these options.
    fn run_traced(&self, pool: &Pool, options: &[&str]) -> Run {
        let strace = [&["strace", "-f", "-qq"], options].concat();
        let primary = pool.path(self.root.join("keep"));
        let list: [&std::ffi::OsStr; 7] = [
            "--format".as_ref(),
            "json".as_ref(),
            "-e".as_ref(),
            "-p".as_ref(),
            primary.as_ref(),
            "-m".as_ref(),
            self.list.as_ref(),
        ];
        self.tool.run_under(&strace, &list)
    }

    /// Runs the tool over the cell; strace meddles with one call.
    fn run_injected(&self, pool: &Pool, call: &str, what: &str) -> Run {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
        self.run_traced(pool, &["-o", "/dev/null", "-e", &trace, "-e", &inject])
    }

    /// Every path is there with its bytes, whatever else there may be for now.
    fn assert_complete(&self, pool: &Pool) {
        snapshot::assert_complete(&self.view, &snapshot::view(&pool.path(&self.root)));
    }

    /// `resume` succeeds and leaves no trace; once more, it finds nothing.
    fn assert_resumes(&self, pool: &Pool) {
        self.tool.run(&["resume"]).expect(0);
        snapshot::assert_same(&self.view, &snapshot::view(&pool.path(&self.root)));
        snapshot::assert_no_own_names(pool);
        let resumed = self.branches(pool);
        self.tool.run(&["resume"]).expect(0);
        assert_eq!(
            self.branches(pool),
            resumed,
            "the second resume found something to do"
        );
        self.tool.run(&["status"]).expect(0);
    }

    /// After the disturbance, a run does everything that was planned.
    fn assert_can_be_done(&self, pool: &Pool) {
        self.run_traced(pool, &["-e", "trace=none"]).expect(0);
        groups::assert_linked(pool, &self.groups);
        snapshot::assert_same(&self.view, &snapshot::view(&pool.path(&self.root)));
    }

    /// What is on each branch, of this cell.
    fn branches(&self, pool: &Pool) -> Vec<BTreeMap<PathBuf, (u64, u64)>> {
        let of = |entries: snapshot::Entries| {
            let here = entries
                .into_iter()
                .filter(|(path, _)| path.starts_with(&self.root));
            here.map(|(path, entry)| (path, (entry.ino, entry.nlink)))
                .collect()
        };
        snapshot::all_entries(pool).into_iter().map(of).collect()
    }

    /// Takes the cell off the branches: the next one has the disks for itself.
    fn remove(self, pool: &Pool) {
        for branch in pool.branches() {
            let root = branch.join(&self.root);
            if root.exists() {
                std::fs::remove_dir_all(root).unwrap();
            }
        }
    }
}

fn make_odd(dir: &Path) {
    tree::set_owner(dir, (1234, 4321));
    tree::set_mode(dir, 0o2771);
    tree::set_acl(dir, "u:1000:rwx");
    tree::set_xattr(dir, "user.note", b"kept");
}

fn two_disks() -> Pool {
    PoolPlan::of(&[Ext4, Xfs])
        .option("category.create=epmfs")
        .mount()
}

/// How often an undisturbed run makes each call: the most that one thread does, as strace counts by thread.
fn count_calls(pool: &Pool, calls: &[&str], master_disk: usize) -> BTreeMap<String, usize> {
    let cell = Cell::new(pool, "counted", master_disk);
    let trace = cell.tool.dir().join("trace");
    let of_calls = format!(
        "trace={}",
        calls
            .iter()
            .map(|call| format!("?{call}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let options = [
        "-o",
        trace.to_str().unwrap(),
        "-e",
        &of_calls,
        "-e",
        "signal=none",
    ];
    cell.run_traced(pool, &options).expect(0);
    groups::assert_linked(pool, &cell.groups);
    let mut by_thread: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        // `<... call resumed>` is the other half of one already counted.
        if let Some((call, _)) = rest.trim_start().split_once('(') {
            *by_thread
                .entry((call.to_owned(), thread.to_owned()))
                .or_default() += 1;
        }
    }
    cell.remove(pool);
    let mut most = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let known = most.entry(call).or_insert(0);
        *known = count.max(*known);
    }
    most
}

/// Which of `count` calls are disturbed: all, or a few with the first and the last.
fn chosen(count: usize, sample: usize) -> Vec<usize> {
    if full() || count <= sample {
        return (1..=count).collect();
    }
    (0..sample)
        .map(|n| 1 + n * (count - 1) / (sample - 1))
        .collect()
}

/// Kills runs at the Nth of `calls`, for the chosen N; returns how many were killed.
fn kill_at(calls: &[&str], master_disk: usize, sample: usize) -> usize {
    let pool = two_disks();
    let counts = count_calls(&pool, calls, master_disk);
    println!("calls of an undisturbed run: {counts:?}");
    let mut killed = 0;
    for (call, &count) in &counts {
        for n in chosen(count.min(CALLS_AT_MOST), sample) {
            let cell = Cell::new(&pool, &format!("{call}-{n}"), master_disk);
            let run = cell.run_injected(&pool, call, &format!("signal=KILL:when={n}"));
            println!("killed before {call} {n}: {}", run.was_killed());
            assert!(run.was_killed() || run.code() == Some(0), "{run}");
            killed += usize::from(run.was_killed());
            cell.assert_complete(&pool);
            cell.assert_resumes(&pool);
            if n % 4 == 1 {
                cell.assert_can_be_done(&pool);
            }
            cell.remove(&pool);
        }
    }
    killed
}

#[test]
fn killed_in_the_protocol_with_masters_on_the_first_branch() {
    assert!(kill_at(&PROTOCOL, 0, 6) > 30);
}

#[test]
fn killed_in_the_protocol_with_masters_on_the_last_branch() {
    assert!(kill_at(&PROTOCOL, 1, 3) > 15);
}

#[test]
fn killed_while_it_writes_its_journal() {
    assert!(kill_at(&AROUND, 0, 3) > 5);
}

#[test]
fn errors_of_every_call_leave_a_complete_pool_that_resumes() {
    let pool = two_disks();
    let calls = ERRORS.map(|(call, _)| call);
    let counts = count_calls(&pool, &calls, 0);
    let mut disturbed = 0;
    for (call, errors) in ERRORS {
        let Some(&count) = counts.get(call) else {
            continue;
        };
        for (error, n) in errors
            .iter()
            .flat_map(|e| chosen(count, 2).into_iter().map(move |n| (e, n)))
        {
            let cell = Cell::new(&pool, &format!("{call}-{error}-{n}"), 0);
            let run = cell.run_injected(&pool, call, &format!("error={error}:when={n}"));
            println!("{call} {n}: {error}: {:?}", run.code());
            // A panic would be 101, an abort no code at all.
            assert!(matches!(run.code(), Some(0 | 1 | 3 | 4)), "{run}");
            cell.assert_complete(&pool);
            cell.assert_resumes(&pool);
            cell.remove(&pool);
            disturbed += 1;
        }
    }
    assert!(disturbed > 20);
}

#[test]
fn an_interrupt_ends_the_run_in_good_order() {
    let pool = two_disks();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let cell = Cell::new(&pool, signal, 0);
        let run = cell.run_injected(&pool, "linkat", &format!("signal={signal}:when=1"));
        assert_eq!(run.code(), Some(code), "{run}");
        // Nothing is left to repair: the batch was finished or put back.
        snapshot::assert_same(&cell.view, &snapshot::view(&pool.path(&cell.root)));
        snapshot::assert_no_own_names(&pool);
        cell.assert_resumes(&pool);
        cell.remove(&pool);
    }
}
