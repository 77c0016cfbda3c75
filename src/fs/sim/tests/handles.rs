//! Files found again by their handles, and inode numbers that are used again.

use libc::ENOENT;

use super::super::PowerLoss;
use super::*;
use crate::fs::{Handle, Pin};
use crate::pool::relpath::RelPath;

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

#[test]
fn a_handle_finds_its_file_wherever_it_is() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let handle = fs.handle(&two.a("d/f")).unwrap();
    let id = fs.stat(&two.a("d/f")).unwrap().unwrap().id;
    assert_eq!(errno(fs.handle(&two.a("d/g"))), ENOENT);
    assert_ne!(handle, fs.handle(&two.a("d")).unwrap());
    world.client_rename(&path("d"), &path("e")).unwrap();
    world.client_rename(&path("e/f"), &path("e/g")).unwrap();
    let found = fs.by_handle(two.a, &handle).unwrap().unwrap();
    assert_eq!(fs.stat_open(&found).unwrap().id, id);
    // Found by no name, it has none of its own; but it can be linked.
    assert_eq!(fs.path_of(&found).unwrap(), None);
    fs.link(&found, &two.a("e/h")).unwrap();
    assert!(fs.by_handle(two.a, &Handle::default()).unwrap().is_none());
    world.set_handles(false);
    assert!(fs.by_handle(two.a, &handle).unwrap().is_none());
    assert_eq!(fs.handle(&two.a("e/h")).unwrap(), Handle::default());
}

#[test]
fn a_handle_ends_with_its_inode() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.set_reuse_inodes(true);
    let handle = fs.handle(&two.a("d/f")).unwrap();
    let open = fs.open(&two.a("d/f")).unwrap();
    let number = ino(world, &two.a("d/f"));
    fs.unlink(&two.a("d/f")).unwrap();
    let found = fs.by_handle(two.a, &handle).unwrap().unwrap();
    assert_eq!(fs.stat_open(&found).unwrap().nlink, 0);
    drop((open, found));
    assert!(fs.by_handle(two.a, &handle).unwrap().is_none());
    world.client_save(&two.a("d/f"), b"new").unwrap();
    assert_eq!(ino(world, &two.a("d/f")), number);
    assert!(fs.by_handle(two.a, &handle).unwrap().is_none());
    assert_ne!(fs.handle(&two.a("d/f")).unwrap(), handle);
}

#[test]
fn a_directory_is_pinned_by_its_handle() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let dir = two.a("d");
    let handle = fs.handle(&dir).unwrap();
    let file = fs.handle(&two.a("d/f")).unwrap();
    world.client_rename(&path("d"), &path("moved")).unwrap();
    world.client_create(&two.a("d/new"), b"").unwrap();
    assert_eq!(fs.pin_by_handle(&dir, &file).unwrap(), Pin::Missing);
    assert_eq!(fs.pin_by_handle(&dir, &handle).unwrap(), Pin::New);
    assert_eq!(fs.pin_by_handle(&dir, &handle).unwrap(), Pin::Before);
    assert_eq!(fs.path_of_dir(&dir).unwrap(), Some(path("moved")));
    assert!(fs.stat(&two.a("d/f")).unwrap().is_some());
    fs.unpin();
    // It takes the place of the directory that has the path.
    assert_eq!(fs.pin(&dir).unwrap(), Pin::New);
    assert_eq!(fs.pin_by_handle(&dir, &handle).unwrap(), Pin::New);
    assert!(fs.stat(&two.a("d/new")).unwrap().is_none());
    fs.unpin();
    world.client_remove(&path("moved/f")).unwrap();
    world.client_rmdir(&path("moved")).unwrap();
    assert_eq!(fs.pin_by_handle(&dir, &handle).unwrap(), Pin::Missing);
}

#[test]
fn handles_outlive_the_process_and_the_power() {
    let two = Two::new();
    let fs = two.world.fs();
    let old = fs.handle(&two.a("d/f")).unwrap();
    drop(fs.create(&two.a("d/new")).unwrap());
    let new = fs.handle(&two.a("d/new")).unwrap();
    let finds = |world: &SimWorld, handle: &Handle| {
        let found = world.fs().by_handle(two.a, handle).unwrap();
        found.is_some()
    };
    let fork = two.world.fork();
    assert!(finds(&fork, &old) && finds(&fork, &new));
    let after = two.world.power_loss(&PowerLoss::nothing_kept(&two.world));
    assert!(finds(&after, &old) && !finds(&after, &new));
}

#[test]
fn a_free_inode_number_is_used_again_only_if_wanted() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let (old, f) = (fs.stat(&two.a("d/f")).unwrap().unwrap(), two.a("d/f"));
    fs.unlink(&f).unwrap();
    drop(fs.create(&f).unwrap());
    assert_ne!(ino(world, &f), Some(old.id.ino));
    world.set_reuse_inodes(true);
    let g = two.a("d/g");
    drop(fs.create(&g).unwrap());
    let new = fs.stat(&g).unwrap().unwrap();
    assert_eq!((new.id, new.size), (old.id, 0));
    assert_ne!(new.btime, old.btime);
    // The lowest one, as it becomes free: neither a name, nor an open file, nor a pin is on it.
    world.add_dir(&two.a("e"));
    let dir = ino(world, &two.a("e"));
    fs.pin(&two.a("e")).unwrap();
    fs.remove_dir(&two.a("e")).unwrap();
    let next = two.a("d/h");
    drop(fs.create(&next).unwrap());
    assert_ne!(ino(world, &next), dir);
    fs.unlink(&next).unwrap();
    fs.unpin();
    drop(fs.create(&next).unwrap());
    assert_eq!(ino(world, &next), dir);
}

#[test]
fn a_name_that_was_removed_never_leads_to_the_next_inode_of_that_number() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.set_reuse_inodes(true);
    let number = ino(world, &two.a("d/f"));
    fs.unlink(&two.a("d/f")).unwrap();
    drop(fs.create(&two.a("d/g")).unwrap());
    assert_eq!(ino(world, &two.a("d/g")), number);
    for loss in world.power_loss_choices(64) {
        let after = world.power_loss(&loss);
        assert_eq!(ino(&after, &two.a("d/f")), None);
    }
}
