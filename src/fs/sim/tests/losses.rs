//! Tests for the data that survives a power loss (facts 13.8 and 13.9).

use std::collections::BTreeSet;

use super::*;
use crate::fs::sim::{Data, PowerLoss};

/// The bytes at `at` after a power loss of which nothing unsynced survives.
fn worst(world: &SimWorld, at: &Place) -> Option<Vec<u8>> {
    read(&world.power_loss(&PowerLoss::nothing_kept(world)), at)
}

fn read(world: &SimWorld, at: &Place) -> Option<Vec<u8>> {
    world.files().remove(at).map(|(_, bytes)| bytes)
}

fn link(two: &Two, from: &str, to: &str) {
    let fs = two.world.fs();
    fs.link(&fs.open(&two.a(from)).unwrap(), &two.a(to)).unwrap();
}

fn create(two: &Two, path: &str, bytes: &[u8]) {
    two.world.client_create(&two.a(path), bytes).unwrap();
}

#[test]
fn a_name_is_lost_until_its_directory_is_synced() {
    let two = Two::new();
    link(&two, "d/f", "g");
    assert_eq!(worst(&two.world, &two.a("g")), None);
    two.world.fs().sync_dir(&two.a("d")).unwrap();
    assert_eq!(worst(&two.world, &two.a("g")), None);
    two.world.fs().sync_dir(&two.a("")).unwrap();
    let after = two.world.power_loss(&PowerLoss::nothing_kept(&two.world));
    assert_eq!(read(&after, &two.a("g")).unwrap(), b"same");
    assert_eq!(nlink(&after, &two.a("g")), 2);
}

#[test]
fn a_removed_name_comes_back_until_its_directory_is_synced() {
    let two = Two::new();
    two.world.fs().unlink(&two.a("d/f")).unwrap();
    assert_eq!(worst(&two.world, &two.a("d/f")).unwrap(), b"same");
    two.world.fs().sync_dir(&two.a("d")).unwrap();
    assert_eq!(worst(&two.world, &two.a("d/f")), None);
}

#[test]
fn names_of_data_never_synced_show_empty_files() {
    let two = Two::new();
    create(&two, "d/new", b"bytes");
    link(&two, "d/new", "d/other");
    two.world.fs().sync_dir(&two.a("d")).unwrap();
    for path in ["d/new", "d/other"] {
        assert_eq!(worst(&two.world, &two.a(path)).unwrap(), b"", "{path}");
    }
    two.world.fs().sync_data(&two.world.fs().open(&two.a("d/new")).unwrap()).unwrap();
    assert_eq!(worst(&two.world, &two.a("d/other")).unwrap(), b"bytes");
}

#[test]
fn a_rewritten_file_has_its_old_bytes_until_synced() {
    let two = Two::new();
    two.world.client_write(&two.a("d/f").path, b"new").unwrap();
    two.world.fs().sync_dir(&two.a("d")).unwrap();
    assert_eq!(worst(&two.world, &two.a("d/f")).unwrap(), b"same");
    two.world.fs().sync_data(&two.world.fs().open(&two.a("d/f")).unwrap()).unwrap();
    assert_eq!(worst(&two.world, &two.a("d/f")).unwrap(), b"new");
}

#[test]
fn synced_data_does_not_make_a_name_durable() {
    let two = Two::new();
    create(&two, "d/new", b"bytes");
    two.world.fs().sync_data(&two.world.fs().open(&two.a("d/new")).unwrap()).unwrap();
    assert_eq!(worst(&two.world, &two.a("d/new")), None);
}

#[test]
fn a_directory_made_and_renamed_in_vanishes_with_its_content() {
    let two = Two::new();
    let fs = two.world.fs();
    fs.make_dir(&two.a("aside")).unwrap();
    link(&two, "d/f", "aside/f");
    fs.rename_noreplace(&two.a("aside"), &two.a("e")).unwrap();
    fs.sync_dir(&two.a("e")).unwrap();
    let after = two.world.power_loss(&PowerLoss::nothing_kept(&two.world));
    assert_eq!((read(&after, &two.a("e/f")), nlink(&after, &two.a("d/f"))), (None, 1));
    fs.sync_dir(&two.a("")).unwrap();
    assert_eq!(worst(&two.world, &two.a("e/f")).unwrap(), b"same");
}

#[test]
fn a_durable_directory_without_its_own_sync_is_empty_and_as_it_was_made() {
    let two = Two::new();
    let fs = two.world.fs();
    let made = fs.make_dir(&two.a("e")).unwrap();
    fs.clone_dir(&two.a("d"), &two.a("e"), &made, true).unwrap();
    link(&two, "d/f", "e/f");
    fs.sync_dir(&two.a("")).unwrap();
    let after = two.world.power_loss(&PowerLoss::nothing_kept(&two.world));
    assert_eq!(after.fs().stat(&two.a("e")).unwrap().unwrap().mode, 0o700);
    assert_eq!(read(&after, &two.a("e/f")), None);
    fs.sync_dir(&two.a("e")).unwrap();
    let after = two.world.power_loss(&PowerLoss::nothing_kept(&two.world));
    assert_eq!(after.fs().stat(&two.a("e")).unwrap().unwrap().mode, 0o755);
}

#[test]
fn renames_and_exchanges_are_whole_or_not_at_all() {
    let two = Two::new();
    two.world.add_file(&two.a("d/g"), b"other");
    let fs = two.world.fs();
    fs.exchange(&two.a("d/f"), &two.a("d/g")).unwrap();
    fs.rename_noreplace(&two.a("d/f"), &two.a("d/h")).unwrap();
    let mut seen = BTreeSet::new();
    for loss in two.world.power_loss_choices(64) {
        let after = two.world.power_loss(&loss);
        seen.insert(["d/f", "d/g", "d/h"].map(|path| read(&after, &two.a(path))));
    }
    let (same, other) = (Some(b"same".to_vec()), Some(b"other".to_vec()));
    let want = [
        [same.clone(), other.clone(), None],
        [other.clone(), same.clone(), None],
        [None, same, other],
    ];
    assert_eq!(seen, BTreeSet::from(want));
}

#[test]
fn a_rename_between_directories_may_leave_both_names_but_never_none() {
    let two = Two::new();
    let fs = two.world.fs();
    fs.rename_noreplace(&two.a("d/f"), &two.a("f")).unwrap();
    let names = |world: &SimWorld| ["d/f", "f"].map(|path| read(world, &two.a(path)).is_some());
    let losses = two.world.power_loss_choices(64);
    let seen: BTreeSet<_> = losses.map(|loss| names(&two.world.power_loss(&loss))).collect();
    assert_eq!(seen, BTreeSet::from([[true, false], [true, true], [false, true]]));
    fs.sync_dir(&two.a("d")).unwrap();
    assert_eq!(names(&two.world.power_loss(&PowerLoss::nothing_kept(&two.world))), [false, true]);
}

#[test]
fn a_prefix_keeps_the_oldest_changes_of_each_device() {
    let two = Two::new();
    for path in ["1", "2", "3"] {
        link(&two, "d/f", path);
    }
    two.world.fs().unlink(&two.b("d/f")).unwrap();
    let loss = PowerLoss::prefix_per_device(&two.world, &[2, 0], Data::Dropped);
    let after = two.world.power_loss(&loss);
    assert_eq!(
        ["1", "2", "3"].map(|path| ino(&after, &two.a(path)).is_some()),
        [true, true, false]
    );
    assert_eq!(nlink(&after, &two.a("d/f")), 3);
    assert!(ino(&after, &two.b("d/f")).is_some());
}

#[test]
fn a_prefix_keeps_or_drops_data_apart_from_names() {
    let two = Two::new();
    create(&two, "new", b"bytes");
    for (data, want) in [(Data::Kept, &b"bytes"[..]), (Data::Dropped, b"")] {
        let after = two.world.power_loss(&PowerLoss::prefix_per_device(&two.world, &[1, 0], data));
        assert_eq!(read(&after, &two.a("new")).unwrap(), want);
    }
}

#[test]
fn few_changes_are_lost_in_every_way_and_many_in_a_fixed_sample() {
    let two = Two::new();
    for path in ["1", "2", "3"] {
        link(&two, "d/f", path);
    }
    let subsets: BTreeSet<_> = two
        .world
        .power_loss_choices(100)
        .map(|loss| two.world.power_loss(&loss))
        .map(|after| ["1", "2", "3"].map(|path| ino(&after, &two.a(path)).is_some()))
        .collect();
    assert_eq!(subsets.len(), 8);
    for n in 4..40 {
        link(&two, "d/f", &n.to_string());
    }
    let sample: Vec<PowerLoss> = two.world.power_loss_choices(40).collect();
    assert!((20..=60).contains(&sample.len()), "{}", sample.len());
    assert!(sample.contains(&PowerLoss::nothing_kept(&two.world)));
    assert_eq!(sample, two.world.power_loss_choices(40).collect::<Vec<_>>());
}

#[test]
fn what_was_in_a_removed_directory_went_before_it() {
    let two = Two::new();
    let fs = two.world.fs();
    fs.rename_noreplace(&two.a("d/f"), &two.a("f")).unwrap();
    fs.remove_dir(&two.a("d")).unwrap();
    for loss in two.world.power_loss_choices(200) {
        let after = two.world.power_loss(&loss);
        assert!(["d/f", "f"].iter().any(|path| read(&after, &two.a(path)).is_some()), "{loss:?}");
    }
    fs.sync_dir(&two.a("")).unwrap();
    assert_eq!(worst(&two.world, &two.a("f")).unwrap(), b"same");
}

#[test]
fn a_reboot_renumbers_devices_keeps_inodes_and_ends_leases() {
    let two = Two::new();
    let fs = two.world.fs();
    let before = fs.stat(&two.a("d/f")).unwrap().unwrap().id;
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, crate::fs::Lease::Write).unwrap();
    let after = two.world.power_loss(&PowerLoss::nothing_kept(&two.world));
    let fs = after.fs();
    let id = fs.stat(&two.a("d/f")).unwrap().unwrap().id;
    assert_eq!(id.ino, before.ino);
    assert_ne!(id.dev, before.dev);
    assert_eq!(after.fs_id(two.a), two.world.fs_id(two.a));
    fs.lease(&fs.open(&two.a("d/f")).unwrap(), crate::fs::Lease::Write).unwrap();
}
