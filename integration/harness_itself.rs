//! The harness can be trusted: what it makes works, what it removes is gone.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Mode, PoolPlan};
use crate::harness::tool::Tool;
use crate::harness::{hung, manifest, snapshot, tree, wait};

fn mounts_below(dir: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(dir.to_str().unwrap())).count()
}

#[test]
fn a_pool_over_three_filesystems_works_and_leaves_nothing() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).option("category.create=mfs").mount();
    let scratch = pool.branch_parent().to_owned();
    assert_eq!(mounts_below(&scratch), 4);
    for index in 0..3 {
        tree::write(&pool.on(index, format!("dir{index}/file")), &tree::bytes(1, 9000));
    }
    let view = snapshot::view(pool.root());
    assert_eq!(view.len(), 6);
    assert_eq!(view[&PathBuf::from("dir0/file")], view[&PathBuf::from("dir2/file")]);
    std::fs::write(pool.path("made-by-a-client"), b"x").unwrap();
    assert_eq!(snapshot::places(&pool, "made-by-a-client").len(), 1);
    assert!(pool.used_bytes().iter().all(|&used| used > 0));
    drop(pool);
    assert_eq!(mounts_below(&scratch), 0);
    assert!(!scratch.exists());
}

#[test]
fn what_hangs_is_told_with_what_it_waits_for() {
    // `timeout` takes the one it started with it when it is ended.
    let mut timeout = std::process::Command::new("timeout");
    timeout.args(["600", "sleep", "600"]);
    // Not the suite's own: should it stay after all, a program that reads the suite's output would wait for it.
    timeout.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut timeout = timeout.spawn().unwrap();
    let mut told = String::new();
    let asleep = wait::until("a child to sleep", wait::LONG, || {
        told = hung::describe(timeout.id());
        // Either may still be the copy of this process that a fork made.
        [" timeout: in ", " sleep: in ", "nanosleep"].iter().all(|text| told.contains(text))
    });
    kill(Pid::from_raw(timeout.id().cast_signed()), Signal::SIGTERM).unwrap();
    timeout.wait().unwrap();
    assert!(asleep.is_ok(), "{told}");
}

#[test]
fn a_panic_takes_the_pool_down() {
    let scratch = std::sync::Mutex::new(PathBuf::new());
    let result = std::panic::catch_unwind(|| {
        let pool = PoolPlan::of(&[Ext4, Ext4]).mode(1, Mode::ReadOnly).mount();
        *scratch.lock().unwrap() = pool.branch_parent().to_owned();
        std::panic::resume_unwind(Box::new("a failing test"));
    });
    assert!(result.is_err());
    let scratch = scratch.into_inner().unwrap();
    assert!(!scratch.as_os_str().is_empty() && !scratch.exists());
    assert_eq!(mounts_below(&scratch), 0);
}

#[test]
fn jdupes_lists_the_duplicates_of_a_pool() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    for (index, name) in [(0, "a/one"), (1, "b/two"), (1, "b/three")] {
        tree::write(&pool.on(index, name), &tree::bytes(7, 5000));
    }
    let tool = Tool::new();
    let list = tool.list();
    manifest::jdupes(&["-r", "-0"], &[pool.root()], &list);
    let of_nul = manifest::read_nul(&list);
    manifest::jdupes(&["-r", "-j"], &[pool.root()], &list);
    let of_json = manifest::read_json(&list);
    assert_eq!(of_nul.len(), 1);
    assert_eq!(of_nul[0].len(), 3);
    assert_eq!(of_nul, of_json);
    manifest::write_json(&of_nul, &list);
    assert_eq!(manifest::read_json(&list), of_json);
}

#[test]
fn branches_can_be_directories_of_one_disk() {
    let pool =
        PoolPlan::of(&[Ext4]).branches(&[(0, "a"), (0, "b")]).mode(1, Mode::NoCreate).mount();
    tree::write(&pool.on(1, "f"), b"x");
    assert_eq!(snapshot::places(&pool, "f").len(), 1);
    assert!(pool.path("f").exists());
}

#[test]
fn every_file_of_the_suite_is_compiled() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration");
    let main = std::fs::read_to_string(dir.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs").filter(|&m| m != "main") else {
            continue;
        };
        assert!(main.contains(&format!("mod {module};")), "{name} is forgotten in main.rs");
    }
}
