//! Paths on several branches: left alone, or with `--shadows merge` collapsed where their contents are equal. What
//! the pool shows is the same before and after, whatever the branch order.

use std::path::{Path, PathBuf};

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Mode, Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

/// Writes the same file to each of these branches.
fn copies(pool: &Pool, path: &str, seed: u64, branches: &[usize]) -> PathBuf {
    for branch in branches {
        tree::write(&pool.on(*branch, path), &tree::bytes(seed, groups::SMALL));
    }
    path.into()
}

fn merge(tool: &Tool, pool: &Pool, made: &[groups::Group], extra: &[&str]) -> Run {
    let list = groups::list(tool, pool, made);
    // The time of the last change of an inode cannot be put into the past.
    let mut options =
        ["--shadows", "merge", "--shadow-age", "1s"].map(std::ffi::OsStr::new).to_vec();
    options.extend(extra.iter().map(std::ffi::OsStr::new));
    tool.execute(&list, &options)
}

/// The arguments of a dry run that merges what is in `list`.
fn merging(list: &Path) -> [&str; 6] {
    ["--shadows", "merge", "--shadow-age", "1s", "-m", list.to_str().unwrap()]
}

fn on(pool: &Pool, path: &str) -> Vec<usize> {
    let places = snapshot::places(pool, path).into_iter();
    places.map(|(branch, _)| branch).collect()
}

#[test]
fn equal_copies_of_a_path_become_one_and_others_are_never_touched() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mode(2, Mode::NoCreate).mount();
    let two = copies(&pool, "d/two", 1, &[0, 1]);
    let three = copies(&pool, "d/three", 2, &[0, 1, 2]);
    // The hidden one has a second name, in a directory of its own.
    let linked = copies(&pool, "d/linked", 3, &[1, 2]);
    std::fs::create_dir(pool.on(2, "own")).unwrap();
    std::fs::hard_link(pool.on(2, "d/linked"), pool.on(2, "own/name")).unwrap();
    // Shown on the first branch, and both go to a master on the second, or on a later one.
    let away = copies(&pool, "d/away", 4, &[0, 2]);
    let master = copies(&pool, "media/away", 4, &[1]);
    // Different contents of one size, below and above the equal ones.
    let below = copies(&pool, "d/below", 5, &[0, 1]);
    tree::write(&pool.on(2, "d/below"), &tree::bytes(55, groups::SMALL));
    let above = copies(&pool, "d/above", 6, &[1, 2]);
    tree::write(&pool.on(0, "d/above"), &tree::bytes(66, groups::SMALL));
    let owner = copies(&pool, "d/owner", 7, &[0, 1]);
    tree::set_owner(&pool.on(1, "d/owner"), (1000, 1000));
    let single = |path: &PathBuf| vec![path.clone(), path.clone()];
    let made = vec![
        single(&two),
        single(&three),
        vec![linked, "own/name".into()],
        vec![away, master],
        single(&below),
        single(&above),
        single(&owner),
    ];

    let tool = Tool::new();
    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(&pool);
    let primary = pool.path("media");
    let extra = ["-p", primary.to_str().unwrap()];
    // Without the option nothing of it is done.
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &extra.map(std::ffi::OsStr::new)).expect(0);
    assert_eq!(snapshot::all_entries(&pool), before);

    let run = merge(&tool, &pool, &made, &extra);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    assert_eq!(on(&pool, "d/two"), [0], "{run}");
    assert_eq!(on(&pool, "d/three"), [0], "{run}");
    assert_eq!((on(&pool, "d/linked"), on(&pool, "own/name")), (vec![1], vec![1]));
    snapshot::assert_one_inode(&pool, &made[2]);
    assert_eq!(snapshot::assert_one_inode(&pool, &made[3]).0, 1, "{run}");
    // Of three the one that differs stays; above, nothing that is shown equals what is hidden.
    assert_eq!(on(&pool, "d/below"), [0, 2], "{run}");
    assert_eq!(on(&pool, "d/above"), [0, 1, 2], "{run}");
    assert_eq!(on(&pool, "d/owner"), [0, 1], "{run}");
    assert_eq!(run.reasons_for(&pool.path("d/owner")), ["owner-differs"], "{run}");
    // Nothing is left for another run to do.
    let again = merge(&tool, &pool, &made, &extra);
    assert_eq!(again.summary().get("done"), 0, "{again}");
}

#[test]
fn a_scan_finds_hidden_copies_and_merges_them() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).mount();
    copies(&pool, "d/two", 1, &[0, 2]);
    copies(&pool, "d/away", 2, &[1, 2]);
    copies(&pool, "media/away", 2, &[0]);
    copies(&pool, "d/other", 3, &[0]);
    tree::write(&pool.on(1, "d/other"), &tree::bytes(33, groups::SMALL));
    tree::settle();
    let tool = Tool::new();
    let view = snapshot::view(pool.root());
    let (root, media) = (pool.root(), pool.path("media"));
    let line = [
        "-e",
        "--format",
        "json",
        "--any-master",
        "--shadows",
        "merge",
        "--shadow-age",
        "1s",
        "-p",
    ];
    let paths = [media.to_str().unwrap(), root.to_str().unwrap()];
    let run = tool.run(&[&line[..], &paths].concat()).expect(0);
    assert_eq!(run.summary().get("done"), 3, "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    assert_eq!((on(&pool, "d/two"), on(&pool, "d/away")), (vec![0], vec![0]));
    assert_eq!(on(&pool, "d/other"), [0, 1], "{run}");
}

/// A hidden copy that was removed has no path it could come back to: said before it goes, and when it is asked for.
#[test]
fn an_undo_says_that_a_merged_copy_does_not_come_back() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let path = copies(&pool, "d/two", 1, &[0, 1]);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[vec![path.clone(), path]]);
    let line = merging(&list);
    let planned = tool.run(&line).expect(0);
    assert!(planned.stderr.contains("undo does not bring them back"), "{planned}");
    tool.run(&[&line[..], &["-e"]].concat()).expect(0);
    let before = snapshot::all_entries(&pool);
    for undo in [&["undo", "1"][..], &["undo", "1", "-e"]] {
        let undone = tool.run(undo).expect(0);
        assert!(undone.stdout.contains("1 file, merged: it was a hidden copy"), "{undone}");
        assert!(undone.stdout.contains("1 skipped (hidden copy removed by a merge)"), "{undone}");
        assert_eq!(snapshot::all_entries(&pool), before, "{undone}");
    }
}

#[test]
fn a_dry_run_of_a_merge_is_a_script_that_does_the_same() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let path = copies(&pool, "d/it's", 1, &[0, 1]);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[vec![path.clone(), path]]);
    let view = snapshot::view(pool.root());
    let line = merging(&list);
    let plan = tool.run(&line).expect(0).stdout;
    assert!(plan.starts_with("merge ") && plan.contains("  d/it's  disk1 → disk0\n"), "{plan}");
    let script = tool.run(&[&line[..], &["--format", "script"]].concat()).expect(0);
    let file = tool.dir().join("script.sh");
    std::fs::write(&file, &script.stdout).unwrap();
    crate::harness::command::run("sh", &[&file]);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    assert_eq!(on(&pool, "d/it's"), [0], "{script}");
}

#[test]
fn a_pool_that_shows_the_newest_copy_is_not_merged() {
    for option in ["func.getattr=newest", "category.search=newest", "func.open=newest"] {
        let pool = PoolPlan::of(&[Ext4, Ext4]).option(option).mount();
        let path = copies(&pool, "d/two", 1, &[0, 1]);
        let tool = Tool::new();
        let before = snapshot::all_entries(&pool);
        let run = merge(&tool, &pool, &[vec![path.clone(), path]], &[]).expect(3);
        assert!(run.stderr.contains("newest"), "{run}");
        assert_eq!(snapshot::all_entries(&pool), before);
    }
}

/// A mover copies first, and deletes the other copy then: not both may go.
#[test]
fn a_hidden_copy_that_was_just_made_is_left_alone() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let path = copies(&pool, "d/moving", 1, &[0, 1]);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[vec![path.clone(), path]]);
    let before = snapshot::all_entries(&pool);
    let merge = ["--shadows", "merge"].map(std::ffi::OsStr::new);
    let run = tool.execute(&list, &merge).expect(0);
    assert_eq!(run.reasons_for(&pool.path("d/moving")), ["shadow-fresh"], "{run}");
    assert_eq!(snapshot::all_entries(&pool), before, "{run}");
    let old = [&merge[..], &["--shadow-age", "1s"].map(std::ffi::OsStr::new)].concat();
    // Before anything is done, and in a dry run.
    let warning = "removes 1 hidden copy for good: undo does not bring them back";
    let line = merging(&list);
    assert!(tool.run(&line).expect(0).stderr.contains(warning));
    let run = tool.execute(&list, &old).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    assert!(run.stderr.contains(warning), "{run}");
    let undo = tool.run(&["undo", "-e"]);
    assert!(undo.stdout.contains("hidden copy") && !undo.stdout.contains("BranchIdx"), "{undo}");
    assert_eq!(on(&pool, "d/moving"), [0]);
}

/// One of them is an edit: users who remove the others must look first.
#[test]
fn different_versions_of_a_path_are_named_with_their_disks() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    // Of one size and one time, of two sizes, with and without a duplicate elsewhere.
    copies(&pool, "d/edited", 1, &[0, 1]);
    tree::write(&pool.on(2, "d/edited"), &tree::bytes(11, groups::SMALL));
    copies(&pool, "d/longer", 2, &[0]);
    tree::write(&pool.on(1, "d/longer"), &tree::bytes(2, groups::SMALL + 1));
    copies(&pool, "d/alone", 3, &[1]);
    tree::write(&pool.on(2, "d/alone"), &tree::bytes(33, groups::SMALL));
    copies(&pool, "d/copied", 4, &[0]);
    tree::write(&pool.on(1, "d/copied"), &tree::bytes(44, groups::SMALL));
    copies(&pool, "e/copy", 4, &[2]);
    // No version, but a copy.
    copies(&pool, "d/equal", 5, &[0, 1]);
    tree::settle();
    let tool = Tool::new();
    let root = pool.root().to_str().unwrap();
    let scan = |extra: &[&str]| tool.run(&[&["--format", "json", root], extra].concat()).expect(0);
    for extra in [&[][..], &["--shadows", "merge", "--shadow-age", "1s", "-e"]] {
        let run = scan(extra);
        for (path, disks) in [
            ("d/edited", &[0, 1, 2][..]),
            ("d/longer", &[0, 1]),
            ("d/alone", &[1, 2]),
            ("d/copied", &[0, 1]),
        ] {
            let told = run.lines_of("refusal");
            let mut told =
                told.iter().filter(|line| line["path"] == pool.path(path).to_str().unwrap());
            let line = told.next().unwrap_or_else(|| panic!("{path}: {run}"));
            assert_eq!(line["reason"], "shadows-differ", "{path}: {run}");
            assert!(!line["hint"].as_str().unwrap().contains("--shadows"), "{run}");
            for disk in disks {
                let disk = pool.branches()[*disk].to_str().unwrap();
                assert!(line["detail"].as_str().unwrap().contains(disk), "{path}: {run}");
            }
            // Merging an equal copy leaves the versions.
            assert!(told.next().is_none(), "{path}: {run}");
        }
        let equal: &[&str] = if extra.is_empty() { &["shadowed"] } else { &[] };
        assert_eq!(run.reasons_for(&pool.path("d/equal")), equal, "{run}");
    }
    // Where one of three is an edit, all stay.
    assert_eq!(on(&pool, "d/edited"), [0, 1, 2]);
    assert_eq!((on(&pool, "d/longer"), on(&pool, "d/alone")), (vec![0, 1], vec![1, 2]));
    assert_eq!((on(&pool, "d/copied"), on(&pool, "d/equal")), (vec![0, 1], vec![0]));
    // A list of one of them.
    let list = groups::list(&tool, &pool, &[vec!["d/longer".into(), "e/copy".into()]]);
    let run = tool.execute(&list, &["-p".as_ref(), pool.path("e").as_os_str()]);
    assert_eq!(run.reasons_for(&pool.path("d/longer")), ["shadows-differ"], "{run}");
}
