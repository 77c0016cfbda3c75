//! Duplicates on one disk, and groups that mix both kinds.

use std::path::PathBuf;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{self, Btrfs, Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

#[test]
fn copies_on_one_disk_become_one_inode_there() {
    for filesystem in [Ext4, Xfs, Btrfs] {
        check_local(filesystem);
    }
}

fn check_local(filesystem: Filesystem) {
    let pool = PoolPlan::of(&[filesystem, Ext4]).mount();
    let made = groups::pairs(&pool, 0, 0, 5);
    let dirs = ["media", "downloads"].map(|dir| pool.on(0, dir));
    dirs.iter().for_each(|dir| tree::age_path(dir, tree::AGE));
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);

    let view = snapshot::view(pool.root());
    let before = snapshot::entries(&pool, 0);
    let run = tool.execute(&list, &[]).expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    groups::assert_linked(&pool, &made);

    let after = snapshot::entries(&pool, 0);
    let freed = snapshot::allocated_bytes(&before) - snapshot::allocated_bytes(&after);
    assert_eq!(run.summary().get("bytes_reclaimed"), freed);
    let kinds = run.lines_of("op").into_iter().map(|op| op["kind"].clone());
    assert!(kinds.into_iter().all(|kind| kind == "local"), "{run}");
    for dir in ["media", "downloads"].map(PathBuf::from) {
        assert_eq!(after[&dir].mtime, before[&dir].mtime, "{filesystem:?}: {}", dir.display());
    }
    assert!(snapshot::entries(&pool, 1).is_empty(), "{filesystem:?}: the other disk was touched");
}

#[test]
fn names_of_one_inode_are_no_duplicates() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    tree::write(&pool.on(0, "a"), &tree::bytes(1, groups::SMALL));
    std::fs::hard_link(pool.on(0, "a"), pool.on(0, "b")).unwrap();
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[vec!["a".into(), "b".into()]]);
    let before = snapshot::all_entries(&pool);
    let summary = tool.execute(&list, &[]).expect(0).summary();
    assert_eq!(summary.get("planned"), 0);
    assert_eq!(snapshot::all_entries(&pool), before);
}

#[test]
fn a_group_on_both_disks_with_siblings_ends_as_one_inode() {
    let pool = PoolPlan::of(&[Xfs, Ext4]).mount();
    let names = ["m/one", "m/two", "n/three", "n/four", "n/five", "deep/er/six"];
    for (disk, name) in [(0, names[0]), (0, names[1]), (1, names[2]), (1, names[3])] {
        tree::write(&pool.on(disk, name), &tree::bytes(1, 30_000));
    }
    for (name, sibling) in [(names[2], names[4]), (names[3], names[5])] {
        std::fs::create_dir_all(pool.on(1, sibling).parent().unwrap()).unwrap();
        std::fs::hard_link(pool.on(1, name), pool.on(1, sibling)).unwrap();
    }
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[names.map(PathBuf::from).to_vec()]);
    let view = snapshot::view(pool.root());
    let run = tool.execute(&list, &[]).expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_one_inode(&pool, &names);
    assert_eq!(run.summary().get("done"), 3, "three inodes went: {run}");
}
