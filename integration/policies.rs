//! Right under every create policy, in either branch order, with the mount options people use.

use std::fs::File;
use std::path::Path;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Mode, PoolPlan};
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree, wait};

const OPTIONS: [&str; 4] = [
    "cache.files=off",
    "cache.files=auto-full",
    "inodecalc=path-hash,use_ino",
    "func.getattr=newest",
];

#[test]
fn path_preserving_create_with_the_master_on_the_first_branch() {
    check_options("epmfs", 0);
}

#[test]
fn path_preserving_create_with_the_master_on_the_last_branch() {
    check_options("epmfs", 1);
}

#[test]
fn most_free_space_create_with_the_master_on_the_first_branch() {
    check_options("mfs", 0);
}

#[test]
fn most_free_space_create_with_the_master_on_the_last_branch() {
    check_options("mfs", 1);
}

fn check_options(create: &str, master_disk: usize) {
    for options in OPTIONS {
        check(&format!("category.create={create},{options}"), master_disk);
    }
}

fn check(options: &str, master_disk: usize) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).option(options).mount();
    let made = groups::pairs(&pool, master_disk, 1 - master_disk, 8);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let primary = pool.path("media");
    let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(0);
    assert_eq!(run.summary().get("done"), 8, "{options}: {run}");

    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    for group in &made {
        let (branch, _) = snapshot::assert_one_inode(&pool, group);
        assert_eq!(branch, master_disk, "{options}: the primary's copy is the one that stays");
    }
    // Attributes may come from mergerfs' cache for a second.
    let duplicate = pool.path(&made[0][1]);
    wait::until("the pool to show two names", wait::LONG, || {
        std::os::unix::fs::MetadataExt::nlink(&std::fs::metadata(&duplicate).unwrap()) == 2
    })
    .unwrap();
    // The pool goes on working where names were moved: beside them, and on them.
    std::fs::write(pool.path("downloads/new"), b"new").unwrap();
    std::fs::rename(&duplicate, pool.path("downloads/renamed")).unwrap();
    std::fs::remove_file(pool.path(&made[1][1])).unwrap();
    assert!(pool.path(&made[1][0]).exists() && !pool.path(&made[1][1]).exists());
}

#[test]
fn a_read_only_branch_is_never_changed() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mode(1, Mode::ReadOnly).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    check_untouched(&pool, &made, "media");
    check_untouched(&pool, &made, "downloads");
}

/// With its copies as masters as well as duplicates, a read-only branch stays as it was, and that is no failure.
fn check_untouched(pool: &crate::harness::pool::Pool, made: &[groups::Group], primary: &str) {
    let tool = Tool::new();
    let list = groups::list(&tool, pool, made);
    let before = snapshot::entries(pool, 1);
    let view = snapshot::view(pool.root());
    tool.execute(&list, &["-p".as_ref(), pool.path(primary).as_os_str()]).expect(0);
    assert_eq!(snapshot::entries(pool, 1), before);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn a_no_create_branch_takes_links() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mode(0, Mode::NoCreate).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(0);
    for group in &made {
        assert_eq!(snapshot::assert_one_inode(&pool, group).0, 0);
    }
}

#[test]
fn a_path_on_two_branches_is_left_alone() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    // Somebody wants this one twice.
    tree::write(&pool.on(0, &made[0][1]), &tree::bytes(0, groups::SMALL));
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let run = tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(0);
    assert_eq!(snapshot::places(&pool, &made[0][1]).len(), 2, "{run}");
    let reasons = run.reasons_for(&pool.path(&made[0][1]));
    assert!(!reasons.is_empty() && reasons.iter().all(|r| r == "shadowed"), "{run}");
    groups::assert_linked(&pool, &made[1..]);
}

#[test]
fn files_that_differ_in_owner_mode_or_attributes_are_left_alone() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 4);
    let duplicate = |n: usize| pool.on(1, &made[n][1]);
    tree::set_owner(&duplicate(0), (1000, 0));
    tree::set_mode(&duplicate(1), 0o600);
    tree::set_xattr(&duplicate(2), "user.tag", b"mine");
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    let primary = pool.path("media");
    let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(0);
    let after = snapshot::all_entries(&pool);
    for group in &made[..3] {
        for path in group {
            assert_eq!(places_of(&after, path), places_of(&before, path), "{run}");
        }
    }
    for (group, reason) in made.iter().zip(["owner-differs", "mode-differs", "xattr-differs"]) {
        assert_eq!(run.reasons_for(&pool.path(&group[1])), [reason], "{run}");
    }
    groups::assert_linked(&pool, &made[3..]);
}

fn places_of<'a>(all: &'a [snapshot::Entries], path: &Path) -> Vec<Option<&'a snapshot::Entry>> {
    all.iter().map(|entries| entries.get(path)).collect()
}

#[test]
fn of_a_sparse_and_a_full_copy_the_sparse_one_stays() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut content = vec![0; 6 << 20];
    content[..5].copy_from_slice(b"begin");
    tree::write(&pool.on(0, "full"), &content);
    let sparse = pool.on(1, "sparse");
    tree::write(&sparse, b"begin");
    File::options().write(true).open(&sparse).unwrap().set_len(content.len() as u64).unwrap();
    tree::settle();
    let tool = Tool::new();
    let line = ["--format", "json", "--no-cache", "-e", pool.root().to_str().unwrap()];
    let run = tool.run(&line).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    assert!(run.summary().get("bytes_reclaimed") >= 6 << 20, "{run}");
    assert!(sparse.exists() && pool.on(1, "full").exists() && !pool.on(0, "full").exists());
    snapshot::assert_one_inode(&pool, &["full", "sparse"]);
    assert!(std::fs::read(pool.path("full")).unwrap() == content);
}
