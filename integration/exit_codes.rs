//! What scripts and timers rely on: exit codes, JSON lines, figures that add up.

use std::os::unix::ffi::OsStrExt;

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

fn two_disks(count: u64) -> (Pool, Vec<Group>, Tool) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, count);
    (pool, made, Tool::new())
}

/// The figures of a run agree with each other and with the lines before them.
fn assert_adds_up(run: &Run) {
    let summary = run.summary();
    let get = |name| summary.get(name);
    let left = if summary.has("left") { get("left") } else { 0 };
    assert_eq!(get("planned"), get("done") + get("busy") + get("failed") + left, "{run}");
    let reclaimed: u64 =
        summary.per_branch().iter().map(|b| b["reclaimed"].as_u64().unwrap()).sum();
    assert_eq!(get("bytes_reclaimed"), reclaimed, "{run}");
    let done = run.lines_of("op").iter().filter(|op| op["state"] == "done").count();
    assert_eq!(get("done"), done as u64, "{run}");
}

#[test]
fn a_run_that_did_everything_ends_with_0_and_adds_up() {
    let (pool, made, tool) = two_disks(5);
    let list = groups::list(&tool, &pool, &made);
    let run = tool.execute(&list, &[]).expect(0);
    assert_adds_up(&run);
    let summary = run.summary();
    assert_eq!((summary.get("groups"), summary.get("planned"), summary.get("done")), (5, 5, 5));
    let again = tool.execute(&list, &[]).expect(0);
    assert_adds_up(&again);
}

#[test]
fn a_run_that_left_something_ends_with_1_and_adds_up() {
    let (pool, made, tool) = two_disks(5);
    let list = groups::list(&tool, &pool, &made);
    let _reader = std::fs::File::open(pool.path(&made[2][1])).unwrap();
    tree::write(&pool.on(1, &made[3][1]), &tree::bytes(77, groups::SMALL));
    let primary = pool.path("media");
    let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(1);
    assert_adds_up(&run);
    let summary = run.summary();
    assert_eq!((summary.get("done"), summary.get("busy")), (3, 1), "{run}");
}

#[test]
fn a_damaged_list_ends_with_2_and_changes_nothing() {
    let (pool, made, tool) = two_disks(50);
    let list = groups::list(&tool, &pool, &made);
    let whole = std::fs::read(&list).unwrap();
    let before = snapshot::all_entries(&pool);
    let damaged: [&[u8]; 3] =
        [&whole[..whole.len() / 2], &whole[..whole.len() - 3], b"\x7fELF\0\0"];
    for bytes in damaged {
        std::fs::write(&list, bytes).unwrap();
        tool.execute(&list, &[]).expect(2);
        assert_eq!(snapshot::all_entries(&pool), before);
    }
    std::fs::remove_file(&list).unwrap();
    tool.execute(&list, &[]).expect(2);
    assert_eq!(snapshot::all_entries(&pool), before);
}

#[test]
fn an_option_that_does_not_exist_ends_with_2() {
    let tool = Tool::new();
    tool.run(&["--no-such-option"]).expect(2);
    tool.run::<&str>(&[]).expect(2);
}

#[test]
fn what_is_no_pool_ends_with_3() {
    let tool = Tool::new();
    for name in ["a", "b"] {
        tree::write(&tool.dir().join(name), &tree::bytes(1, groups::SMALL));
    }
    let mut paths = Vec::new();
    for name in ["a", "b"] {
        paths.extend_from_slice(tool.dir().join(name).as_os_str().as_bytes());
        paths.push(0);
    }
    paths.push(0);
    std::fs::write(tool.list(), paths).unwrap();
    tool.execute(&tool.list(), &[]).expect(3);
}

#[test]
fn a_branch_that_another_process_has_locked_ends_with_3() {
    let (pool, made, tool) = two_disks(2);
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    let root = std::fs::File::open(&pool.branches()[1]).unwrap();
    root.try_lock().unwrap();
    tool.execute(&list, &[]).expect(3);
    assert_eq!(snapshot::all_entries(&pool), before);
    // A look changes nothing and waits for nobody.
    tool.run(&["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()]).expect(0);
    root.unlock().unwrap();
    tool.execute(&list, &[]).expect(0);
}

#[test]
fn a_cap_on_ops_leaves_the_rest_for_the_next_run() {
    let (pool, made, tool) = two_disks(5);
    let list = groups::list(&tool, &pool, &made);
    let summary = tool.execute(&list, &["--max-ops".as_ref(), "2".as_ref()]).expect(0).summary();
    assert_eq!(summary.get("done"), 2);
    let summary = tool.execute(&list, &[]).expect(0).summary();
    assert_eq!(summary.get("done"), 3);
    groups::assert_linked(&pool, &made);
}

#[test]
fn a_group_under_no_primary_is_left_alone() {
    let (pool, made, tool) = two_disks(2);
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    // Below no primary: a path that begins with the same letters is another one.
    let primary = pool.path("med");
    std::fs::create_dir(&primary).unwrap();
    let before_empty = snapshot::all_entries(&pool);
    let arguments =
        ["-e".as_ref(), "-p".as_ref(), primary.as_os_str(), "-m".as_ref(), list.as_os_str()];
    tool.run(&arguments).expect(0);
    assert_eq!(snapshot::all_entries(&pool), before_empty);
    assert_ne!(before, before_empty);
}
