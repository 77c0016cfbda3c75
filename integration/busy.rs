//! Files that somebody has open, and clients that write while the tool runs.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot;
use crate::harness::tool::Tool;

/// Runs with something in the way of group 0: it is left, everything else is done, and a later run does it too.
fn check_busy(pool: &Pool, made: &[Group], in_the_way: File) {
    let tool = Tool::new();
    let list = groups::list(&tool, pool, made);
    let primary = pool.path("media");
    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(pool);

    let run = tool
        .execute(&list, &["-p".as_ref(), primary.as_os_str()])
        .expect(1);
    let summary = run.summary();
    assert_eq!(
        (summary.get("busy"), summary.get("done")),
        (1, made.len() as u64 - 1),
        "{run}"
    );
    assert_eq!(run.reasons_for(&pool.path(&made[0][1])), ["busy"], "{run}");
    let after = snapshot::all_entries(pool);
    for path in &made[0] {
        for (before, after) in before.iter().zip(&after) {
            let of = |e: &snapshot::Entries| e.get(path).map(|e| (e.ino, e.nlink, e.size, e.mtime));
            assert_eq!(of(after), of(before), "{} was in use", path.display());
        }
    }
    groups::assert_linked(pool, &made[1..]);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(pool);

    drop(in_the_way);
    tool.execute(&list, &["-p".as_ref(), primary.as_os_str()])
        .expect(0);
    groups::assert_linked(pool, made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

fn two_disks() -> (Pool, Vec<Group>) {
    let pool = PoolPlan::of(&[Ext4, Xfs])
        .option("category.create=mfs")
        .mount();
    let made = groups::pairs(&pool, 0, 1, 4);
    (pool, made)
}

#[test]
fn a_duplicate_that_is_read_waits_for_a_later_run() {
    let (pool, made) = two_disks();
    let reader = File::open(pool.path(&made[0][1])).unwrap();
    check_busy(&pool, &made, reader);
}

#[test]
fn a_duplicate_open_for_writing_waits_for_a_later_run() {
    let (pool, made) = two_disks();
    let writer = OpenOptions::new()
        .append(true)
        .open(pool.path(&made[0][1]))
        .unwrap();
    check_busy(&pool, &made, writer);
}

#[test]
fn a_master_open_for_writing_waits_for_a_later_run() {
    let (pool, made) = two_disks();
    let writer = OpenOptions::new()
        .write(true)
        .open(pool.path(&made[0][0]))
        .unwrap();
    check_busy(&pool, &made, writer);
}

#[test]
fn a_master_that_is_read_is_no_obstacle() {
    let (pool, made) = two_disks();
    let _reader = File::open(pool.path(&made[0][0])).unwrap();
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()])
        .expect(0);
    groups::assert_linked(&pool, &made);
}

/// What is appended in one go.
const LINE: &[u8] = b"one more line of the log\n";

/// Appends to a file of the pool until told to stop; returns how often that succeeded.
fn append_until(stop: &std::sync::atomic::AtomicBool, path: &Path) -> usize {
    let mut acknowledged = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        // A name can be missed once, inside mergerfs, while it moves: a client tries again.
        if let Ok(mut file) = OpenOptions::new().append(true).open(path) {
            acknowledged += usize::from(file.write_all(LINE).is_ok());
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    acknowledged
}

#[test]
fn no_acknowledged_write_is_lost_while_the_tool_runs() {
    for master_disk in [0, 1] {
        let pool = PoolPlan::of(&[Ext4, Xfs])
            .option("category.create=mfs")
            .mount();
        let made = groups::pairs(&pool, master_disk, 1 - master_disk, 200);
        let tool = Tool::new();
        let list = groups::list(&tool, &pool, &made);
        let primary = pool.path("media");
        let written = pool.path(&made[100][1]);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let acknowledged = std::thread::scope(|scope| {
            let writer = scope.spawn(|| append_until(&stop, &written));
            let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(matches!(run.code(), Some(0 | 1)), "{run}");
            writer.join().unwrap()
        });
        assert!(acknowledged > 0);
        let now = std::fs::read(&written).unwrap();
        assert_eq!(
            &now[groups::SMALL..],
            LINE.repeat(acknowledged),
            "writes were lost"
        );
        snapshot::assert_no_own_names(&pool);
    }
}
