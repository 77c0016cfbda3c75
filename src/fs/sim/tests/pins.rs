//! Tests for pinned directories: calls of this process follow pins, calls of clients do not.

use libc::{EEXIST, ENOENT};

use super::super::{Fault, PowerLoss};
use super::*;
use crate::fs::Pin;
use crate::pool::relpath::RelPath;

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

#[test]
fn a_directory_is_pinned_once_and_only_where_there_is_one() {
    let two = Two::new();
    let fs = two.world.fs();
    assert_eq!(fs.pin(&two.a("d")).unwrap(), Pin::New);
    assert_eq!(fs.pin(&two.a("d")).unwrap(), Pin::Before);
    assert_eq!(fs.pin(&two.a("")).unwrap(), Pin::New);
    for missing in ["e", "d/f", "d/f/g"] {
        assert_eq!(fs.pin(&two.a(missing)).unwrap(), Pin::Missing);
    }
    fs.unpin();
    assert_eq!(fs.pin(&two.a("d")).unwrap(), Pin::New);
}

#[test]
fn calls_follow_a_pinned_directory_and_clients_do_not() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let dir = fs.stat(&two.a("d")).unwrap().unwrap().id;
    fs.pin(&two.a("d")).unwrap();
    world.client_rename(&path("d"), &path("moved")).unwrap();
    world.client_create(&two.a("d/f"), b"new").unwrap();
    assert_eq!(fs.stat(&two.a("d")).unwrap().unwrap().id, dir);
    assert_eq!(errno(fs.create(&two.a("d/f"))), EEXIST);
    drop(fs.create(&two.a("d/g")).unwrap());
    fs.link(&fs.open(&two.a("d/f")).unwrap(), &two.a("d/h")).unwrap();
    fs.unlink(&two.a("d/f")).unwrap();
    fs.rename_noreplace(&two.a("d/h"), &two.a("d/i")).unwrap();
    fs.sync_dir(&two.a("d")).unwrap();
    assert_eq!(fs.names_with_prefix(&two.a("d"), b"").unwrap().len(), 2);
    let files: Vec<_> = world.files().into_keys().map(|at| at.path).collect();
    let all = ["d/f", "moved/g", "moved/i", "moved/f"].map(path);
    assert_eq!(files, all);
    assert_eq!(world.client_read(&path("d/f")).unwrap().1, b"new");
    // A directory below is no name directly in it, and the name of the directory itself lies in another one.
    assert_eq!(fs.stat(&two.a("d/e/f")).unwrap(), None);
    fs.unpin();
    assert_ne!(fs.stat(&two.a("d")).unwrap().unwrap().id, dir);
    assert_eq!(fs.stat(&two.a("d/g")).unwrap(), None);
}

#[test]
fn the_name_of_a_pinned_directory_is_looked_up_where_it_was() {
    let two = Two::new();
    let fs = two.world.fs();
    two.world.add_dir(&two.a("e"));
    fs.pin(&two.a("e")).unwrap();
    two.world.client_rename(&path("e"), &path("moved")).unwrap();
    assert_eq!(errno(fs.remove_dir(&two.a("e"))), ENOENT);
    fs.rename_noreplace(&two.a("moved"), &two.a("e")).unwrap();
    assert_eq!(fs.path_of_dir(&two.a("e")).unwrap(), Some(path("e")));
}

#[test]
fn the_path_of_a_pinned_directory_is_the_one_it_has_now() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let disk_root = world.add_branch_at(two.disks[0], "");
    world.add_dir(&two.a("p/q"));
    assert_eq!(fs.path_of_dir(&two.a("x/y")).unwrap(), Some(path("x/y")));
    fs.pin(&two.a("p/q")).unwrap();
    fs.pin(&two.a("")).unwrap();
    assert_eq!(fs.path_of_dir(&two.a("")).unwrap(), Some(RelPath::root()));
    world.client_rename(&path("p"), &path("r")).unwrap();
    assert_eq!(fs.path_of_dir(&two.a("p/q")).unwrap(), Some(path("r/q")));
    let at = |path: &str| place(disk_root, path);
    fs.rename_noreplace(&at("branch0/r/q"), &at("q")).unwrap();
    assert_eq!(fs.path_of_dir(&two.a("p/q")).unwrap(), None);
    fs.rename_noreplace(&at("q"), &at("branch0/q")).unwrap();
    fs.remove_dir(&at("branch0/q")).unwrap();
    assert_eq!(fs.path_of_dir(&two.a("p/q")).unwrap(), None);
}

#[test]
fn a_pinned_directory_that_is_removed_takes_no_names() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.add_dir(&two.a("e"));
    let before = fs.stat(&two.a("e")).unwrap().unwrap();
    fs.pin(&two.a("e")).unwrap();
    world.client_rmdir(&path("e")).unwrap();
    world.client_create(&two.a("e/g"), b"new").unwrap();
    let stat = fs.stat(&two.a("e")).unwrap().unwrap();
    assert_eq!((stat.id, stat.nlink), (before.id, 0));
    let f = fs.open(&two.a("d/f")).unwrap();
    assert_eq!(errno(fs.create(&two.a("e/n"))), ENOENT);
    assert_eq!(errno(fs.make_dir(&two.a("e/n"))), ENOENT);
    assert_eq!(errno(fs.link(&f, &two.a("e/n"))), ENOENT);
    assert_eq!(errno(fs.rename_noreplace(&two.a("d/f"), &two.a("e/n"))), ENOENT);
    assert_eq!(errno(fs.unlink(&two.a("e/g"))), ENOENT);
    assert_eq!(fs.stat(&two.a("e/g")).unwrap(), None);
    assert!(fs.names_with_prefix(&two.a("e"), b"").unwrap().is_empty());
    fs.sync_dir(&two.a("e")).unwrap();
    assert_eq!(fs.pin(&two.a("e")).unwrap(), Pin::Before);
}

#[test]
fn a_directory_that_was_made_is_pinned_wherever_it_is() {
    let two = Two::new();
    let fs = two.world.fs();
    let made = fs.make_dir(&two.a("aside")).unwrap();
    fs.rename_noreplace(&two.a("aside"), &two.a("e")).unwrap();
    let calls = two.world.calls();
    fs.pin_made(&two.a("e"), &made);
    fs.unpin();
    fs.pin_made(&two.a("e"), &made);
    assert_eq!(two.world.calls(), calls);
    two.world.client_rename(&path("e"), &path("moved")).unwrap();
    drop(fs.create(&two.a("e/f")).unwrap());
    assert!(two.world.files().contains_key(&two.a("moved/f")));
}

#[test]
fn pins_end_with_the_process() {
    let two = Two::new();
    two.world.fs().pin(&two.a("d")).unwrap();
    let loss = PowerLoss::nothing_kept(&two.world);
    for next in [two.world.fork(), two.world.power_loss(&loss)] {
        assert_eq!(next.fs().pin(&two.a("d")).unwrap(), Pin::New);
    }
    two.world.restart();
    assert_eq!(two.world.fs().pin(&two.a("d")).unwrap(), Pin::New);
}

#[test]
fn asking_and_pinning_are_calls() {
    let two = Two::new();
    let fs = two.world.fs();
    let dir = two.a("d");
    let handle = fs.handle(&dir).unwrap();
    let held = fs.hold(&two.a("d/f")).unwrap();
    let calls: [&dyn Fn() -> i32; 7] = [
        &|| errno(fs.pin(&dir)),
        &|| errno(fs.pin_by_handle(&dir, &handle)),
        &|| errno(fs.path_of_dir(&dir)),
        &|| errno(fs.hold(&two.a("d/f"))),
        &|| errno(fs.path_of(&held)),
        &|| errno(fs.handle(&dir)),
        &|| errno(fs.by_handle(two.a, &handle)),
    ];
    for call in calls {
        let n = two.world.calls();
        assert_eq!(call(), 0);
        assert_eq!(two.world.calls(), n + 1);
        two.world.plan_fault(Fault::ErrorAt(n + 2, libc::EIO));
        assert_eq!(call(), libc::EIO);
    }
}
