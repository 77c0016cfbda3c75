//! Files that somebody has open, or has just written.

use std::fs::{File, OpenOptions};

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

/// Runs with something in the way of group 0: it is left, everything else is done, and a later run does it too.
fn check_busy(pool: &Pool, made: &[Group], in_the_way: File) {
    let tool = Tool::new();
    let list = groups::list(&tool, pool, made);
    let primary = pool.path("media");
    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(pool);

    let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(1);
    let summary = run.summary();
    assert_eq!((summary.get("busy"), summary.get("done")), (1, made.len() as u64 - 1), "{run}");
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
    tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(0);
    groups::assert_linked(pool, made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

fn two_disks() -> (Pool, Vec<Group>) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).option("category.create=mfs").mount();
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
    let writer = OpenOptions::new().append(true).open(pool.path(&made[0][1])).unwrap();
    check_busy(&pool, &made, writer);
}

#[test]
fn a_master_open_for_writing_waits_for_a_later_run() {
    let (pool, made) = two_disks();
    let writer = OpenOptions::new().write(true).open(pool.path(&made[0][0])).unwrap();
    check_busy(&pool, &made, writer);
}

#[test]
fn a_master_that_is_read_is_no_obstacle() {
    let (pool, made) = two_disks();
    let _reader = File::open(pool.path(&made[0][0])).unwrap();
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(0);
    groups::assert_linked(&pool, &made);
}

#[test]
fn files_written_a_moment_ago_are_done_at_the_end_of_the_same_run() {
    let (pool, made) = two_disks();
    for path in [(1, &made[0][1]), (0, &made[1][0])].map(|(disk, path)| pool.on(disk, path)) {
        tree::age_path(&path, std::time::Duration::ZERO);
    }
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(0);
    groups::assert_linked(&pool, &made);
}
