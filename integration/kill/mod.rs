//! SIGKILL before, and errors from, every system call that the protocol lives on.
//!
//! strace ends the tool on its way into the Nth call of a kind, or lets that call fail. Whatever N: every path is
//! there with its bytes at once, before anything is repaired; `resume` then leaves a pool without a trace, and a
//! run after it does all that was planned. By default a few N of each call, `XDEDUP_FULL=1` takes every one.

mod cell;
mod lost;
mod prune;
mod said;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::cell::{Becomes, Cell};
use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

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
const AROUND: [&str; 8] =
    ["pwrite64", "write", "sync_file_range", "ftruncate", "openat", "openat2", "rename", "flock"];

/// The errors that a call can be made to return.
const ERRORS: [(&str, &[&str]); 16] = [
    ("ioctl", &["EIO", "ENOSPC", "EOPNOTSUPP"]),
    // A file whose inode or attributes cannot be read.
    ("openat2", &["EIO"]),
    ("statx", &["EIO"]),
    ("fgetxattr", &["EIO"]),
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

fn two_disks() -> Pool {
    PoolPlan::of(&[Ext4, Xfs]).option("category.create=epmfs").mount()
}

/// Where the copies stay, and what the others become.
#[derive(Debug, Clone, Copy)]
struct Stage {
    master_disk: usize,
    becomes: Becomes,
}

impl Stage {
    fn links(master_disk: usize) -> Self {
        Self { master_disk, becomes: Becomes::Links }
    }

    fn clones(master_disk: usize) -> Self {
        Self { master_disk, becomes: Becomes::Clones }
    }

    fn pool(self) -> Pool {
        match self.becomes {
            Becomes::Links => two_disks(),
            Becomes::Clones => PoolPlan::of(&[Btrfs, Xfs]).option("category.create=epmfs").mount(),
        }
    }

    fn cell(self, pool: &Pool, name: &str) -> Cell {
        Cell::with(pool, name, self.master_disk, self.becomes)
    }
}

/// How often an undisturbed run makes each call: the most that one thread does, as strace counts by thread.
fn count_calls(stage: Stage, calls: &[&str]) -> BTreeMap<String, usize> {
    let pool = &stage.pool();
    let cell = stage.cell(pool, "counted");
    tree::settle();
    let trace = cell.tool.dir().join("trace");
    let of_calls = format!(
        "trace={}",
        calls.iter().map(|call| format!("?{call}")).collect::<Vec<_>>().join(",")
    );
    let options = ["-o", trace.to_str().unwrap(), "-e", &of_calls, "-e", "signal=none"];
    cell.run_traced(pool, &options).expect(0);
    cell.assert_done(pool);
    let trace = std::fs::read_to_string(&trace).unwrap();
    cell.remove(pool);
    most_by_a_thread(&trace)
}

/// How often each call is in a trace: the most that one thread made.
fn most_by_a_thread(trace: &str) -> BTreeMap<String, usize> {
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        // The other half of one already counted, with brackets of its own: `<... fcntl resumed>) = 0x1 (flags ...)`.
        if rest.starts_with("<... ") {
            continue;
        }
        if let Some((call, _)) = rest.split_once('(') {
            *by_thread.entry((call, thread)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let known = most.entry(call.to_owned()).or_insert(0);
        *known = count.max(*known);
    }
    most
}

#[test]
fn a_call_that_was_cut_in_two_in_a_trace_is_counted_once() {
    let trace = "\
        7 fsync(3) = 0\n\
        7 fcntl(9, F_GETFD <unfinished ...>\n\
        8 fcntl(4, F_GETFD) = 0x1 (flags FD_CLOEXEC)\n\
        7 <... fcntl resumed>) = 0x1 (flags FD_CLOEXEC)\n\
        7 fsync(3) = 0\n\
        7 +++ exited with 0 +++\n";
    let most = [("fcntl", 1), ("fsync", 2)].map(|(call, count)| (call.to_owned(), count));
    assert_eq!(most_by_a_thread(trace), BTreeMap::from(most));
}

/// Which of `count` calls are disturbed: all, or a few with the first and the last.
fn chosen(count: usize, sample: usize) -> Vec<usize> {
    if full() || count <= sample {
        return (1..=count).collect();
    }
    if sample == 1 {
        return vec![count.div_ceil(2)];
    }
    (0..sample).map(|n| 1 + n * (count - 1) / (sample - 1)).collect()
}

/// What is done to a run: at the Nth call of a kind, in the words of strace.
struct Disturbance {
    call: String,
    n: usize,
    what: String,
}

impl Disturbance {
    /// What strace does, and when.
    fn injection(&self) -> String {
        format!("{}:when={}", self.what, self.n)
    }
}

/// Its name, also of the directory it works on.
impl std::fmt::Display for Disturbance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.call, self.n, self.what.replace(['=', ':'], "-"))
    }
}

/// How many cells wait together for their files to be old enough.
const TOGETHER: usize = 24;

/// Runs the tool once for each disturbance, over a cell of its own, and looks at what is left each time; `judge`
/// says whether the run may end as it did. All disturbances have their turn before a failure is told.
fn disturb(disturbances: &[Disturbance], stage: Stage, judge: impl Fn(&Run)) {
    let pool = stage.pool();
    let mut failed = Vec::new();
    for together in disturbances.chunks(TOGETHER) {
        let cells: Vec<_> =
            together.iter().map(|d| (d, stage.cell(&pool, &d.to_string()))).collect();
        tree::settle();
        let mut sound = Vec::new();
        for (disturbance, cell) in cells {
            let run = cell.run_injected(&pool, &disturbance.call, &disturbance.injection());
            let check = || {
                judge(&run);
                cell.assert_complete(&pool);
                cell.assert_resumes(&pool);
            };
            if catch_unwind(AssertUnwindSafe(check)).is_ok() {
                sound.push((disturbance, cell));
            } else {
                failed.push(format!("{disturbance}, which ended with {:?}", run.code()));
                cell.remove(&pool);
            }
        }
        // Last, so that nobody waits for files that recovery touched.
        for (disturbance, cell) in sound {
            let check = || cell.assert_can_be_done(&pool);
            if catch_unwind(AssertUnwindSafe(check)).is_err() {
                failed.push(format!("{disturbance}, the run after it"));
            }
            cell.remove(&pool);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

/// Kills runs at the Nth of `calls`, for the chosen N, or a little later where threads are in another order.
fn kill_at(calls: &[&str], stage: Stage, sample: usize) {
    let counts = count_calls(stage, calls);
    println!("calls of an undisturbed run: {counts:?}");
    let at = |(call, &count): (&String, &usize)| {
        let chosen = chosen(count.min(CALLS_AT_MOST), sample).into_iter();
        let call = call.clone();
        let what = "signal=KILL".to_owned();
        chosen.map(move |n| Disturbance { call: call.clone(), n, what: what.clone() })
    };
    let disturbances: Vec<_> = counts.iter().flat_map(at).collect();
    let killed = std::cell::Cell::new(0);
    disturb(&disturbances, stage, |run| {
        assert!(run.was_killed() || run.code() == Some(0), "{run}");
        killed.set(killed.get() + usize::from(run.was_killed()));
    });
    println!("{} of {} runs were killed", killed.get(), disturbances.len());
    // The last call of a kind may be another thread's by then.
    let least = disturbances.len() * 9 / 10 - 1;
    assert!(killed.get() >= least, "the kills do not kill");
}

#[test]
fn killed_in_the_protocol_with_masters_on_the_first_branch() {
    kill_at(&PROTOCOL, Stage::links(0), 12);
}

#[test]
fn killed_in_the_protocol_with_masters_on_the_last_branch() {
    kill_at(&PROTOCOL, Stage::links(1), 4);
}

#[test]
fn killed_while_it_writes_its_journal() {
    kill_at(&AROUND, Stage::links(0), 3);
}

/// The calls that a clone adds to those of a link.
const CLONE: [&str; 5] = ["ioctl", "fsync", "utimensat", "fsetxattr", "fchown"];

#[test]
fn killed_while_it_makes_clones() {
    kill_at(&CLONE, Stage::clones(0), 3);
}

#[test]
fn errors_while_it_makes_clones_leave_a_complete_pool_that_resumes() {
    errors(Stage::clones(0), 1, |call| CLONE.contains(&call));
}

#[test]
fn errors_of_every_call_leave_a_complete_pool_that_resumes() {
    errors(Stage::links(0), 2, |call| call != "ioctl");
}

fn errors(stage: Stage, sample: usize, wanted: impl Fn(&str) -> bool) {
    let counts = count_calls(stage, &ERRORS.map(|(call, _)| call));
    let mut disturbances = Vec::new();
    for (call, errors) in ERRORS.into_iter().filter(|(call, _)| wanted(call)) {
        for error in errors {
            for n in chosen(counts.get(call).copied().unwrap_or(0), sample) {
                let what = format!("error={error}");
                disturbances.push(Disturbance { call: call.to_owned(), n, what });
            }
        }
    }
    assert!(disturbances.len() > 8 * sample);
    // A panic would be 101, an abort no code at all.
    disturb(&disturbances, stage, |run| {
        // 2 where a directory of the command line could not be looked up.
        assert!(matches!(run.code(), Some(0..=4)), "{run}");
    });
}

/// Lets no more than 200 ops share a batch.
const SMALL_BATCHES: [&str; 2] = ["prlimit", "--nofile=1856:1856"];
/// After the first batch there is something left to be stopped at.
const SEVERAL_BATCHES: u64 = 500;

#[test]
fn an_interrupt_ends_the_run_in_good_order() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let pool = two_disks();
        let made = groups::pairs(&pool, 0, 1, SEVERAL_BATCHES);
        let tool = Tool::new();
        let list = groups::list(&tool, &pool, &made);
        let view = snapshot::view(pool.root());
        let inject = format!("inject=linkat:signal={signal}:when=1");
        let strace =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat", "-e", &inject];
        let strace = [&SMALL_BATCHES[..], &strace].concat();
        let arguments = ["-e".as_ref(), "--any-master".as_ref(), "-m".as_ref(), list.as_os_str()];
        tool.run_under(&strace, &arguments).expect(code);
        // Nothing is left to repair: the batch was finished or put back.
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
        let before = snapshot::all_entries(&pool);
        tool.run(&["resume"]).expect(0);
        assert_eq!(snapshot::all_entries(&pool), before, "something was left to do");
        tool.run(&arguments).expect(0);
        groups::assert_linked(&pool, &made);
    }
}
