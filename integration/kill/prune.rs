//! `history --prune`, killed before every call it lives on: either the old journal is there or the new one, whole.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;

use super::cell::Cell;
use super::two_disks;
use crate::harness::tool::Tool;
use crate::harness::tree;

const CALLS: [&str; 12] = [
    "mkdir",
    "openat",
    "write",
    "pwrite64",
    "ftruncate",
    "sync_file_range",
    "fsync",
    "fdatasync",
    "renameat2",
    "rename",
    "unlink",
    "rmdir",
];

/// Kills at each call; of those there are many of, at so many.
const SAMPLE: usize = 12;

fn prune(tool: &Tool, options: &[&str]) -> crate::harness::tool::Run {
    let strace = [&["strace", "-f", "-qq"], options].concat();
    tool.run_under(&strace, &["history", "--prune", "0"])
}

fn counts(tool: &Tool) -> BTreeMap<String, usize> {
    let trace = tool.dir().join("trace");
    let of = CALLS.map(|call| format!("?{call}")).join(",");
    let options = ["-o", trace.to_str().unwrap(), "-e", &format!("trace={of}")];
    prune(tool, &options).expect(0);
    super::most_by_a_thread(&fs::read_to_string(&trace).unwrap())
}

fn runs(tool: &Tool) -> Vec<u64> {
    let runs = tool.run(&["history", "--format", "json"]).expect(0).lines_of("run");
    runs.iter().map(|run| run["run"].as_u64().unwrap()).collect()
}

fn open(tool: &Tool) -> usize {
    let status = tool.run(&["status", "--format", "json"]).expect(0);
    status.lines_of("status")[0]["open"].as_array().unwrap().len()
}

#[test]
fn a_killed_prune_leaves_the_old_journal_or_the_new_one_and_forgets_nothing_open() {
    let pool = two_disks();
    let (first, second) = (Cell::new(&pool, "first", 0), Cell::new(&pool, "second", 0));
    tree::settle();
    first.run_traced(&pool, &["-e", "trace=none"]).expect(0);
    // The second cell's run in the first one's journal.
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat"];
    let kill = ["-e", "inject=unlinkat:signal=KILL:when=1"];
    let tool = &first.tool;
    fs::copy(second.tool.list(), tool.list()).unwrap();
    let list = tool.list();
    let execute = ["-e", "--any-master", "-m"].map(OsStr::new);
    let run = tool
        .run_under(&[&strace[..], &kill].concat(), &[&execute[..], &[list.as_os_str()]].concat());
    assert!(run.was_killed(), "{run}");
    let was_open = open(tool);
    assert!(was_open > 0);
    assert_eq!(runs(tool), [1, 2]);
    // Days are counted from a second on.
    tree::settle();
    let (journal, good) = (tool.journal(), tool.dir().join("good"));
    tree::copy(&journal, &good);
    let restore = || {
        for dir in [&journal, &journal.with_extension("new")] {
            if dir.exists() {
                fs::remove_dir_all(dir).unwrap();
            }
        }
        tree::copy(&good, &journal);
    };
    let counts = counts(tool);
    assert_eq!((runs(tool), open(tool)), (vec![2], was_open));
    println!("calls of an undisturbed prune: {counts:?}");
    let mut seen = BTreeMap::new();
    for (call, count) in counts {
        let step = count.div_ceil(SAMPLE).max(1);
        for n in (1..=count).step_by(step).chain([count]) {
            restore();
            let (trace, inject) =
                (format!("trace={call}"), format!("inject={call}:signal=KILL:when={n}"));
            let run = prune(tool, &["-o", "/dev/null", "-e", &trace, "-e", &inject]);
            println!("{call} {n}: killed {}", run.was_killed());
            let left = runs(tool);
            assert!(left == [1, 2] || left == [2], "{call} {n}: {left:?}");
            assert_eq!(open(tool), was_open, "{call} {n}");
            *seen.entry((run.was_killed(), left.len())).or_insert(0) += 1;
            // What it left is no obstacle to the next.
            tool.run(&["history", "--prune", "0"]).expect(0);
            assert_eq!((runs(tool), open(tool)), (vec![2], was_open), "{call} {n}");
            assert!(!journal.with_extension("new").exists(), "{call} {n}");
        }
    }
    println!("killed, runs known then: {seen:?}");
    assert!(seen.contains_key(&(true, 1)) && seen.contains_key(&(true, 2)));
    tool.run(&["resume"]).expect(0);
    second.assert_complete(&pool);
}
