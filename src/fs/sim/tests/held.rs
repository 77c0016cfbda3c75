//! Files that are held, and the names they were opened by.

use libc::{EBADF, ENOENT};

use super::super::PowerLoss;
use super::*;
use crate::fs::Lease;
use crate::pool::relpath::RelPath;

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

#[test]
fn a_name_keeps_its_identity_through_renames() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let opened = fs.open(&two.a("d/f")).unwrap();
    let held = fs.hold(&two.a("d/f")).unwrap();
    let made = fs.create(&two.a("d/made")).unwrap();
    let paths = || [&opened, &held, &made].map(|file| fs.path_of(file).unwrap());
    let is = |f: &str, made: &str| [Some(path(f)), Some(path(f)), Some(path(made))];
    assert_eq!(paths(), is("d/f", "d/made"));
    fs.rename_noreplace(&two.a("d/f"), &two.a("d/g")).unwrap();
    assert_eq!(paths(), is("d/g", "d/made"));
    world.client_rename(&path("d"), &path("e")).unwrap();
    assert_eq!(paths(), is("e/g", "e/made"));
    fs.exchange(&two.a("e/g"), &two.a("e/made")).unwrap();
    assert_eq!(paths(), is("e/made", "e/g"));
    world.client_create(&two.a("e/n"), b"").unwrap();
    world.client_rename(&path("e/n"), &path("e/made")).unwrap();
    assert_eq!(paths(), [None, None, Some(path("e/g"))]);
}

#[test]
fn a_link_in_its_place_is_another_name() {
    let two = Two::new();
    let fs = two.world.fs();
    let f = fs.hold(&two.a("d/f")).unwrap();
    fs.link(&f, &two.a("d/g")).unwrap();
    fs.unlink(&two.a("d/f")).unwrap();
    fs.link(&f, &two.a("d/f")).unwrap();
    assert_eq!(fs.path_of(&f).unwrap(), None);
    let g = fs.hold(&two.a("d/g")).unwrap();
    assert_eq!(fs.path_of(&g).unwrap(), Some(path("d/g")));
    fs.unlink(&two.a("d/g")).unwrap();
    drop(fs.create(&two.a("d/g")).unwrap());
    assert_eq!(fs.path_of(&g).unwrap(), None);
}

#[test]
fn of_two_names_of_one_inode_a_rename_ends_neither() {
    let two = Two::new();
    let fs = two.world.fs();
    let f = fs.hold(&two.a("d/f")).unwrap();
    fs.link(&f, &two.a("d/g")).unwrap();
    let g = fs.hold(&two.a("d/g")).unwrap();
    two.world.client_rename(&path("d/f"), &path("d/g")).unwrap();
    assert_eq!(fs.path_of(&f).unwrap(), Some(path("d/f")));
    assert_eq!(fs.path_of(&g).unwrap(), Some(path("d/g")));
}

#[test]
fn what_is_held_hinders_no_lease_and_breaks_none() {
    let two = Two::new();
    let fs = two.world.fs();
    let held = fs.hold(&two.a("d/f")).unwrap();
    let open = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&open, Lease::Write).unwrap();
    let again = fs.hold(&two.a("d/f")).unwrap();
    assert_eq!(fs.lease_state(&open).unwrap(), Some(Lease::Write));
    drop(again);
    assert_eq!(fs.lease_state(&open).unwrap(), Some(Lease::Write));
    assert_eq!(errno(fs.read_at(&held, &mut [0], 0)), EBADF);
    assert_eq!(errno(fs.metadata(&held)), EBADF);
    assert_eq!(errno(fs.lease(&held, Lease::Read)), EBADF);
    assert_eq!(errno(fs.release(&held)), EBADF);
    assert_eq!(errno(fs.sync_file(&held)), EBADF);
    assert_eq!(errno(fs.set_len(&held, 0)), EBADF);
}

#[test]
fn what_is_held_outlives_its_last_name() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.set_reuse_inodes(true);
    world.add_fifo(&two.a("d/fifo"));
    drop(fs.hold(&two.a("d/fifo")).unwrap());
    assert_eq!(errno(fs.hold(&two.a("d/missing"))), ENOENT);
    let held = fs.hold(&two.a("d/f")).unwrap();
    let before = fs.stat_open(&held).unwrap();
    fs.unlink(&two.a("d/f")).unwrap();
    world.client_save(&two.a("d/f"), b"new").unwrap();
    let stat = fs.stat_open(&held).unwrap();
    assert_eq!((stat.id, stat.nlink, stat.size), (before.id, 0, 4));
    assert_eq!(errno(fs.link(&held, &two.a("d/g"))), ENOENT);
    assert_ne!(ino(world, &two.a("d/f")), Some(before.id.ino));
    assert_eq!(world.open_files(), 1);
    drop(held);
    assert_eq!(world.open_files(), 0);
}

#[test]
fn nothing_is_held_by_the_next_process() {
    let two = Two::new();
    let held = two.world.fs().hold(&two.a("d/f")).unwrap();
    let loss = PowerLoss::nothing_kept(&two.world);
    for next in [two.world.fork(), two.world.power_loss(&loss)] {
        assert_eq!(next.open_files(), 0);
    }
    two.world.restart();
    assert_eq!(errno(two.world.fs().stat_open(&held)), EBADF);
}
