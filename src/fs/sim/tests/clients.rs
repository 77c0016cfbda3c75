//! Other programs: what mergerfs lets them do, and how leases hold them up (facts 4 to 6).

use libc::{EAGAIN, EBADF, EEXIST, ENOENT, EROFS};

use super::*;
use crate::fs::Lease;
use crate::fs::sim::{Acknowledged, PowerLoss, Served};
use crate::pool::BranchMode;
use crate::pool::relpath::RelPath;

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

fn read(world: &SimWorld, at: &str) -> Vec<u8> {
    world.pool_view().remove(&path(at)).unwrap()
}

fn os<T>(result: std::io::Result<T>) -> i32 {
    result.err().and_then(|err| err.raw_os_error()).unwrap_or(0)
}

#[test]
fn a_client_uses_the_first_branch_that_has_the_path() {
    let two = Two::new();
    assert_eq!(two.world.client_write(&path("d/f"), b"new").unwrap(), Served::AtOnce);
    let files = two.world.files();
    assert_eq!(
        (&files[&two.a("d/f")].1[..], &files[&two.b("d/f")].1[..]),
        (&b"new"[..], &b"same"[..])
    );
    let want = Acknowledged {
        path: path("d/f"),
        id: files[&two.a("d/f")].0,
        bytes: b"new".to_vec(),
        synced: false,
    };
    assert_eq!(two.world.acknowledged(), [want]);
    assert_eq!(os(two.world.client_write(&path("none"), b"")), ENOENT);
}

#[test]
fn a_write_moves_the_times_of_the_inode_a_mapped_store_does_not() {
    let two = Two::new();
    let fs = two.world.fs();
    let before = fs.stat(&two.a("d/f")).unwrap().unwrap().fingerprint();
    let (held, _) = two.world.client_open_write(&path("d/f")).unwrap();
    two.world.client_store_mapped(held, b"SAME").unwrap();
    assert_eq!(fs.stat(&two.a("d/f")).unwrap().unwrap().fingerprint(), before);
    assert_eq!(read(&two.world, "d/f"), b"SAME");
    two.world.client_write_held(held, b"Same").unwrap();
    let after = fs.stat(&two.a("d/f")).unwrap().unwrap();
    assert!(after.mtime > before.mtime && after.ctime > before.ctime);
}

#[test]
fn leases_are_refused_while_clients_have_the_file_open() {
    let cases = [(false, Lease::Read, 0), (false, Lease::Write, EAGAIN)];
    for (writes, lease, want) in cases.into_iter().chain([(true, Lease::Read, EAGAIN)]) {
        let two = Two::new();
        let fs = two.world.fs();
        let file = fs.open(&two.a("d/f")).unwrap();
        let world = &two.world;
        let open = if writes {
            world.client_open_write(&path("d/f"))
        } else {
            world.client_open_read(&path("d/f"))
        };
        let (held, served) = open.unwrap();
        assert_eq!(served, Served::AtOnce);
        assert_eq!(errno(fs.lease(&file, lease)), want, "{writes} {lease:?}");
        world.client_close(held);
        fs.lease(&file, Lease::Write).unwrap();
    }
}

#[test]
fn a_writer_waits_for_the_lease_and_is_acknowledged_only_then() {
    for lease in [Lease::Read, Lease::Write] {
        let two = Two::new();
        let fs = two.world.fs();
        let file = fs.open(&two.a("d/f")).unwrap();
        fs.lease(&file, lease).unwrap();
        assert_eq!(two.world.client_write(&path("d/f"), b"new").unwrap(), Served::Waiting);
        assert_eq!(fs.lease_state(&file).unwrap(), None);
        assert_eq!(read(&two.world, "d/f"), b"same");
        assert!(two.world.acknowledged().is_empty());
        // It has the file open already: no new lease.
        assert_eq!(errno(fs.lease(&file, lease)), EAGAIN);
        fs.release(&file).unwrap();
        assert_eq!(read(&two.world, "d/f"), b"new");
        assert_eq!(two.world.acknowledged().len(), 1);
        fs.lease(&file, lease).unwrap();
    }
}

#[test]
fn a_waiting_writer_writes_to_the_inode_it_came_for() {
    let two = Two::new();
    let fs = two.world.fs();
    two.world.add_file(&two.a("d/new"), b"other");
    let file = fs.open(&two.a("d/f")).unwrap();
    let id = fs.stat_open(&file).unwrap().id;
    fs.lease(&file, Lease::Write).unwrap();
    two.world.client_write(&path("d/f"), b"lost").unwrap();
    fs.exchange(&two.a("d/f"), &two.a("d/new")).unwrap();
    fs.unlink(&two.a("d/new")).unwrap();
    drop(file);
    let write = &two.world.acknowledged()[0];
    assert_eq!((write.id, &write.path), (id, &path("d/f")));
    assert_eq!(read(&two.world, "d/f"), b"other");
}

#[test]
fn a_reader_breaks_a_write_lease_down_to_a_read_lease() {
    let two = Two::new();
    let fs = two.world.fs();
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, Lease::Write).unwrap();
    let (held, served) = two.world.client_open_read(&path("d/f")).unwrap();
    assert_eq!(served, Served::Waiting);
    assert_eq!(os(two.world.client_read_held(held)), EBADF);
    assert_eq!(fs.lease_state(&file).unwrap(), Some(Lease::Read));
    fs.release(&file).unwrap();
    assert_eq!(two.world.client_read_held(held).unwrap(), b"same");
    fs.lease(&file, Lease::Read).unwrap();
    let (_, served) = two.world.client_open_read(&path("d/f")).unwrap();
    assert_eq!((served, fs.lease_state(&file).unwrap()), (Served::AtOnce, Some(Lease::Read)));
}

#[test]
fn the_death_of_the_holder_lets_those_who_wait_go_on() {
    let two = Two::new();
    let fs = two.world.fs();
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, Lease::Read).unwrap();
    two.world.client_truncate(&path("d/f"), 2).unwrap();
    two.world.plan_fault(crate::fs::sim::Fault::DieAt(3));
    fs.stat(&two.a("d/f")).unwrap_err();
    assert_eq!(read(&two.world, "d/f"), b"sa");
}

#[test]
fn names_and_attributes_change_under_a_lease() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, Lease::Write).unwrap();
    let before = fs.stat_open(&file).unwrap();
    world.client_chmod(&path("d/f"), 0o600).unwrap();
    world.client_setxattr(&path("d/f"), b"user.a", b"b").unwrap();
    world.client_rename(&path("d/f"), &path("d/g")).unwrap();
    world.client_remove(&path("d/g")).unwrap();
    assert_eq!(fs.lease_state(&file).unwrap(), Some(Lease::Write));
    let meta = fs.metadata(&file).unwrap();
    assert_eq!((meta.mode, meta.xattrs.len()), (0o600, 1));
    let after = fs.stat_open(&file).unwrap();
    assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    assert_eq!(after.nlink, 0);
}

#[test]
fn a_remove_takes_all_copies_but_those_on_read_only_branches() {
    let two = Two::new();
    let c = two.world.add_branch(two.disks[0]);
    two.world.add_file(&place(c, "d/f"), b"third");
    two.world.set_mode(c, BranchMode::Ro);
    two.world.client_remove(&path("d/f")).unwrap();
    assert_eq!(read(&two.world, "d/f"), b"third");
    assert_eq!(os(two.world.client_remove(&path("d/f"))), EROFS);
    assert_eq!(os(two.world.client_remove(&path("none"))), ENOENT);
}

#[test]
fn a_save_lands_on_one_branch_and_removes_the_other_copies() {
    let two = Two::new();
    let old = two.world.files()[&two.b("d/f")].0;
    two.world.client_save(&two.b("d/f"), b"saved").unwrap();
    let files = two.world.files();
    assert_eq!(files.keys().collect::<Vec<_>>(), [&two.b("d/f")]);
    assert_ne!(files[&two.b("d/f")].0, old);
    let write = &two.world.acknowledged()[0];
    assert_eq!((&write.path, &write.bytes[..]), (&path("d/f"), &b"saved"[..]));
    assert_eq!(write.id, files[&two.b("d/f")].0);
}

#[test]
fn a_create_makes_its_directories_and_never_replaces() {
    let two = Two::new();
    two.world.client_create(&two.b("x/y/z"), b"new").unwrap();
    assert_eq!(read(&two.world, "x/y/z"), b"new");
    assert_eq!(os(two.world.client_create(&two.a("x/y/z"), b"")), EEXIST);
}

#[test]
fn an_open_path_keeps_leading_to_its_inode_until_removed_through_the_pool() {
    let two = Two::new();
    let fs = two.world.fs();
    let (_held, _) = two.world.client_open_read(&path("d/f")).unwrap();
    fs.unlink(&two.a("d/f")).unwrap();
    two.world.client_write(&path("d/f"), b"orphan").unwrap();
    assert_eq!(read(&two.world, "d/f"), b"same");
    two.world.client_remove(&path("d/f")).unwrap();
    assert_eq!(os(two.world.client_write(&path("d/f"), b"")), ENOENT);
}

#[test]
fn only_what_clients_synced_is_owed_after_a_power_loss() {
    let two = Two::new();
    two.world.client_create(&two.a("x"), b"kept").unwrap();
    two.world.client_sync(&path("x")).unwrap();
    two.world.client_create(&two.a("y"), b"gone").unwrap();
    let after = two.world.power_loss(&PowerLoss::nothing_kept(&two.world));
    assert_eq!(read(&after, "x"), b"kept");
    let owed: Vec<RelPath> = after.acknowledged().into_iter().map(|write| write.path).collect();
    assert_eq!(owed, [path("x")]);
}

#[test]
fn a_link_goes_to_every_branch_that_has_the_path_and_over_no_other() {
    let two = Two::new();
    let (world, path) = (&two.world, |path: &str| RelPath::new(path).unwrap());
    world.client_link(&path("d/f"), &path("e/l")).unwrap();
    for branch in [two.a, two.b] {
        let at = |path: &str| place(branch, path);
        assert_eq!(ino(world, &at("e/l")), ino(world, &at("d/f")));
    }
    world.client_create(&two.b("d/g"), b"").unwrap();
    let err = world.client_link(&path("d/f"), &path("d/g")).unwrap_err();
    assert_eq!(err.raw_os_error(), Some(libc::EEXIST));
    world.client_link_over(&path("d/g"), &path("d/f")).unwrap();
    // The replaced file is gone on every branch, and the name beside it too.
    assert_eq!(ino(world, &two.a("d/f")), None);
    assert_eq!(ino(world, &two.b("d/f")), ino(world, &two.b("d/g")));
    let names: Vec<_> = world.files().into_keys().collect();
    assert_eq!(names.len(), 4, "{names:?}");
    world.client_link_over(&path("d/g"), &path("d/f")).unwrap();
    assert_eq!(nlink(world, &two.b("d/g")), 2);
}

#[test]
fn a_rename_over_a_name_of_the_same_file_leaves_the_source_where_mv_does_not() {
    let two = Two::new();
    let (world, path) = (&two.world, |path: &str| RelPath::new(path).unwrap());
    world.client_remove(&path("d/f")).unwrap();
    world.client_create(&two.b("d/f"), b"").unwrap();
    world.client_link(&path("d/f"), &path("d/g")).unwrap();
    world.client_rename(&path("d/f"), &path("d/g")).unwrap();
    assert_eq!(nlink(world, &two.b("d/f")), 2);
    world.client_mv(&path("d/f"), &path("d/g")).unwrap();
    assert_eq!(ino(world, &two.b("d/f")), None);
    assert_eq!(nlink(world, &two.b("d/g")), 1);
}

#[test]
fn directories_are_renamed_and_removed_on_every_branch() {
    let two = Two::new();
    let (world, path) = (&two.world, |path: &str| RelPath::new(path).unwrap());
    let (held, _) = world.client_open_write(&path("d/f")).unwrap();
    world.client_rename(&path("d"), &path("dd")).unwrap();
    assert!(ino(world, &two.a("dd/f")).is_some() && ino(world, &two.b("dd/f")).is_some());
    // The open file has its new path.
    world.client_write_held(held, b"new").unwrap();
    assert_eq!(world.acknowledged()[0].path, path("dd/f"));
    world.client_close(held);
    world.fs().unlink(&two.a("dd/f")).unwrap();
    let err = world.client_rmdir(&path("dd")).unwrap_err();
    assert_eq!(err.raw_os_error(), Some(libc::ENOTEMPTY));
    assert_eq!(ino(world, &two.a("dd")), None);
    world.client_mkdir(&two.a("dd/e")).unwrap();
    assert!(world.client_mkdir(&two.b("dd/e")).is_err());
    world.client_remove_tree(&path("dd")).unwrap();
    assert!(world.names().is_empty());
}
