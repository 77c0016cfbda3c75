//! Readers of paths that are being replaced: the bytes are right at any time; how often a name is missed is printed.
//!
//! A path never leaves the pool, but mergerfs looks at one branch after the other and does not look twice: an open
//! can meet a name that has moved on since the look-up, and a listing that was begun on one branch before the
//! replacement was there, and ended on the other after the duplicate had gone, has it on neither. That is between
//! mergerfs and its clients; all a tool can do is to leave time between the two. A `stat`, too, finds the branch by one call
//! and looks there by the next (2.33.5 and 2.40.2): on a busy machine one of 19,200 missed a name. So what is judged is the
//! bytes, that nothing but "no such file" is ever said, and that a second `stat` finds every path; the rest are figures.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::groups::{self, Group, SMALL};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

/// Replacements in one run.
const GROUPS: u64 = 600;

/// Those that look at all paths in turn leave the machine some time.
const PAUSE: Duration = Duration::from_micros(50);

/// What one reader met.
#[derive(Debug, Default, Clone, Copy)]
struct Met {
    tries: u64,
    missed: u64,
}

impl Met {
    fn count(&mut self, missed: bool) {
        self.tries += 1;
        self.missed += u64::from(missed);
    }
}

impl std::fmt::Display for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.missed, self.tries)
    }
}

/// Whether it is the one error a reader may get.
fn is_missing(error: &std::io::Error) -> bool {
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
    true
}

/// A duplicate: through the pool, on its branch, and what it holds.
struct Path {
    through_pool: PathBuf,
    on_branch: PathBuf,
    bytes: Vec<u8>,
}

/// Reads each path again and again, from before its duplicate goes until it has gone.
fn read(paths: &[Path], over: &AtomicBool) -> Met {
    let mut met = Met::default();
    let mut at = 0;
    while !over.load(Ordering::Acquire) {
        let path = &paths[at % paths.len()];
        for _ in 0..3 {
            let found = std::fs::read(&path.through_pool);
            met.count(found.as_ref().is_err_and(is_missing));
            if let Ok(found) = found {
                let name = path.through_pool.display();
                assert!(found == path.bytes, "{name} has other bytes");
            }
        }
        let gone = |path: &Path| path.on_branch.symlink_metadata().is_err();
        // One that was in use when its turn came is replaced at the end of the run: the others go on meanwhile.
        let next = &paths[(at + 1) % paths.len()];
        at += usize::from(gone(path) || gone(next));
    }
    met
}

fn stat(paths: &[Path], over: &AtomicBool) -> Met {
    let mut met = Met::default();
    while !over.load(Ordering::Acquire) {
        for path in paths {
            let found = path.through_pool.symlink_metadata();
            let missed = found.as_ref().is_err_and(is_missing);
            met.count(missed);
            // A path is replaced once: the name that was missed has only moved to the other branch.
            let found = if missed { path.through_pool.symlink_metadata() } else { found };
            assert_eq!(found.expect("a path was gone").len(), path.bytes.len() as u64);
            std::thread::sleep(PAUSE);
        }
    }
    met
}

/// Every listing has each name once for every entry it should have, or not at all where it was missed.
fn list(pool: &Pool, expected: usize, over: &AtomicBool) -> Met {
    let mut met = Met::default();
    while !over.load(Ordering::Acquire) {
        let mut names: HashMap<OsString, usize> = HashMap::new();
        for entry in std::fs::read_dir(pool.path("downloads")).unwrap() {
            let name = entry.unwrap().file_name();
            if !name.to_str().unwrap().starts_with(".xdedup-") {
                *names.entry(name).or_default() += 1;
            }
        }
        let twice: Vec<_> = names.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "listed twice: {twice:?}");
        assert!(names.len() <= expected);
        met.count(names.len() < expected);
        std::thread::sleep(10 * PAUSE);
    }
    met
}

/// Reads, stats and lists duplicates while they are replaced, with the masters on one disk.
fn read_beside(master_disk: usize, options: &[&str]) {
    let mut plan = PoolPlan::of(&[Ext4, Xfs]);
    for option in options {
        plan = plan.option(option);
    }
    let pool = plan.mount();
    let made = groups::pairs(&pool, master_disk, 1 - master_disk, GROUPS);
    let tool = Tool::new();
    let list_of_all = groups::list(&tool, &pool, &made);
    let duplicate = |(n, group): (usize, &Group)| {
        let bytes = tree::bytes(n as u64, SMALL);
        let (through_pool, on_branch) = (pool.path(&group[1]), pool.on(1 - master_disk, &group[1]));
        Path { through_pool, on_branch, bytes }
    };
    let paths: Vec<_> = made.iter().enumerate().map(duplicate).collect();
    let view = snapshot::view(pool.root());
    let over = AtomicBool::new(false);
    let (run, [reads, stats, listings]) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&paths, &over));
        let looker = scope.spawn(|| stat(&paths, &over));
        let lister = scope.spawn(|| list(&pool, made.len(), &over));
        let primary = pool.path("media");
        let run = tool.execute(&list_of_all, &["-p".as_ref(), primary.as_os_str()]);
        over.store(true, Ordering::Release);
        let met = [reader, looker, lister].map(|reader| reader.join().unwrap());
        (run, met)
    });
    let done = run.summary().get("done");
    let order = ["A before B", "B before A"][master_disk];
    println!(
        "FIGURE readers {order} {options:?}: {done} replaced; missed the name: opens {reads}, stats {stats}, listings {listings}"
    );
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    assert!(done * 2 > GROUPS, "most were in use: {run}");
    assert!(stats.missed * 1_000 <= stats.tries, "stats {stats}");
    assert!(reads.tries > GROUPS && stats.tries > GROUPS && listings.tries > 0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    tool.execute(&list_of_all, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(0);
    groups::assert_linked(&pool, &made);
}

#[test]
fn the_bytes_are_right_with_the_masters_branch_first() {
    read_beside(0, &[]);
    read_beside(0, &["cache.readdir=true", "cache.entry=0", "cache.attr=0"]);
}

#[test]
fn the_bytes_are_right_with_the_duplicates_branch_first() {
    read_beside(1, &[]);
    read_beside(1, &["cache.readdir=true", "cache.entry=0", "cache.attr=0"]);
}
