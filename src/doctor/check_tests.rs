//! Each topic has facts that lead to it, and a sound pool leads to none that worries.

use std::collections::BTreeMap;

use nix::sys::statfs::{
    EXT4_SUPER_MAGIC, FUSE_SUPER_MAGIC, MSDOS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
};

use super::super::facts::{
    BranchDisk, BranchFacts, Host, Leases, OtherPool, PartialView, Surroundings,
};
use super::super::filesystem::FilesystemKind;
use super::super::finding::Level;
use super::*;
use crate::fs::{FileKind, Timestamp};
use crate::pool::BranchMode;
use crate::pool::mergerfs::Description;
use crate::rescue::unsettled::FileNow;

fn disk(number: u64) -> BranchDisk {
    BranchDisk {
        root: (number, 2),
        mount: number,
        filesystem: FilesystemKind::of(EXT4_SUPER_MAGIC),
        is_pool: false,
        on_parent: false,
        empty: false,
        read_only: false,
        identity: true,
        reflinks: false,
        leases: Leases::Work,
        snapraid: Vec::new(),
        leftovers: Vec::new(),
        unreadable: 0,
        real_path: format!("/mnt/d{number}").into(),
    }
}

fn sound() -> Facts {
    let branch = |number: u64| BranchFacts {
        path: format!("/mnt/d{number}").into(),
        mode: BranchMode::Rw,
        awaits_mount: false,
        disk: Ok(disk(number)),
    };
    let options = BTreeMap::from([
        ("version", "2.40.2".to_owned()),
        ("category.create", "mfs".to_owned()),
        ("cache.attr", "1".to_owned()),
        ("moveonenospc", "false".to_owned()),
    ]);
    Facts {
        pool: Description { mount: "/pool".into(), branches: Ok(Vec::new()), options },
        branches: vec![branch(1), branch(2)],
        elsewhere: None,
        symlinks: Vec::new(),
        host: Host { kernel: "6.18.5-amd64".into(), leases_enabled: Some(true), root: true },
        journal: JournalPlace {
            dir: "/var/lib/j".into(),
            filesystem: Some(FilesystemKind::of(EXT4_SUPER_MAGIC)),
            free: Some(1 << 30),
            writable: true,
            ..JournalPlace::default()
        },
        around: Surroundings::default(),
    }
}

fn topics(change: impl FnOnce(&mut Facts)) -> Vec<Topic> {
    let mut facts = sound();
    change(&mut facts);
    check(&facts).into_iter().map(|found| found.topic).collect()
}

fn of_disk(change: impl FnOnce(&mut BranchDisk)) -> Vec<Topic> {
    topics(|facts| change(facts.branches[1].disk.as_mut().unwrap()))
}

fn of_option(name: &'static str, value: &str) -> Vec<Topic> {
    topics(|facts| drop(facts.pool.options.insert(name, value.to_owned())))
}

#[test]
fn a_sound_pool_has_no_findings() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn every_option_that_matters_is_found() {
    for (name, value, topic) in [
        ("category.create", "epmfs", Topic::CreatePolicy),
        ("category.create", "msplfs", Topic::CreatePolicy),
        ("func.getattr", "newest", Topic::ShownNewest),
        ("func.open", "newest", Topic::ShownNewest),
        ("xattr", "nosys", Topic::NoFileXattrs),
        ("xattr", "noattr", Topic::NoFileXattrs),
        ("link-cow", "true", Topic::LinkCow),
        ("link-cow", "false", Topic::NoLinkCow),
        ("moveonenospc", "pfrd", Topic::MoveOnEnospc),
        ("cache.files", "full", Topic::CacheFiles),
        ("cache.entry", "60", Topic::CacheTimes),
        ("cache.negative-entry", "6", Topic::CacheTimes),
        ("inodecalc", "path-hash", Topic::InodeNumbers),
        ("version", "2.42.0", Topic::Readers),
        ("version", "v2.41.1-dirty", Topic::Readers),
        ("version", "unknown", Topic::VersionUnknown),
    ] {
        assert_eq!(of_option(name, value), [topic], "{name}={value}");
    }
    // The policy of create itself overrules that of its category.
    assert_eq!(of_option("func.create", "epmfs"), [Topic::CreatePolicy]);
    assert_eq!(of_option("cache.files", "auto-full"), []);
    assert_eq!(of_option("version", "2.33.5"), []);
}

fn hidden(path: &str) -> FileNow {
    FileNow {
        path: path.into(),
        kind: FileKind::Regular,
        ino: 12,
        size: 1,
        modified: Timestamp::default(),
    }
}

#[test]
fn hidden_files_are_told_with_directory_inode_and_journal() {
    let mut facts = sound();
    facts.journal.id = Some(7);
    let of = |id| format!("/mnt/d2/dl/.xdedup-{id:08x}-00000003-00000001-00000000-r");
    let names = [of(7), of(8), "/mnt/d2/.xdedup-x".to_owned()];
    let disk = facts.branches[1].disk.as_mut().unwrap();
    disk.leftovers = names.iter().map(|name| hidden(name)).collect();
    let found = check(&facts);
    let name = |id| format!(".xdedup-{id:08x}-00000003-00000001-00000000-r");
    let expected = format!(
        "hidden file {} in /mnt/d2/dl (inode 12), left by run 3 of this journal; \
         hidden file {} in /mnt/d2/dl (inode 12), left by another journal, 00000008; \
         hidden file .xdedup-x in /mnt/d2 (inode 12), of no journal",
        name(7),
        name(8)
    );
    assert_eq!(found[0].what, expected);
}

#[test]
fn every_state_of_a_disk_that_matters_is_found() {
    assert_eq!(of_disk(|d| d.read_only = true), [Topic::DiskReadOnly]);
    assert_eq!(of_disk(|d| d.identity = false), [Topic::NoIdentity]);
    let refused = Leases::Refused("/mnt/d2/f".into(), "no".into());
    assert_eq!(of_disk(|d| d.leases = refused), [Topic::NoLeases]);
    assert_eq!(of_disk(|d| d.leases = Leases::Untried), []);
    assert_eq!(of_disk(|d| d.is_pool = true), [Topic::PoolOnPool]);
    assert_eq!(of_disk(|d| d.unreadable = 1), [Topic::Unreadable]);
    let content = vec!["snapraid.content".into()];
    assert_eq!(of_disk(|d| d.snapraid = content), [Topic::SnapRaid]);
    let ours = vec![hidden("/mnt/d2/.xdedup-1")];
    assert_eq!(of_disk(|d| d.leftovers = ours), [Topic::Leftovers]);
    let fat = FilesystemKind::of(MSDOS_SUPER_MAGIC);
    assert_eq!(of_disk(|d| d.filesystem = fat), [Topic::NoHardLinks]);
    let overlay = FilesystemKind::of(OVERLAYFS_SUPER_MAGIC);
    assert_eq!(of_disk(|d| d.filesystem = overlay), [Topic::Overlay]);
    let fuse = FilesystemKind::of(FUSE_SUPER_MAGIC);
    let found = of_disk(|d| d.filesystem = fuse);
    assert_eq!(found, [Topic::NoExchange, Topic::Unproven]);
}

#[test]
fn branches_that_are_not_there_are_found() {
    let missing = topics(|f| f.branches[0].disk = Err("no such file".into()));
    assert_eq!(missing, [Topic::BranchMissing]);
    let marked = topics(|f| f.branches[0].awaits_mount = true);
    assert_eq!(marked, [Topic::BranchNotMounted]);
    let bare = |d: &mut BranchDisk| (d.empty, d.on_parent) = (true, true);
    assert_eq!(of_disk(bare), [Topic::BranchEmpty]);
    assert_eq!(of_disk(|d| d.empty = true), [], "an empty disk is a disk");
    let no_mounts = topics(|f| {
        for branch in &mut f.branches {
            bare(branch.disk.as_mut().unwrap());
        }
    });
    assert_eq!(no_mounts, [], "all branches are plain directories");
    let elsewhere = topics(|f| f.elsewhere = Some(("/pool/f".into(), "/mnt/d1/f".into())));
    assert_eq!(elsewhere, [Topic::BranchesElsewhere]);
    let control = topics(|f| f.pool.branches = Err("Operation not supported".into()));
    assert_eq!(control, [Topic::ControlFile]);
}

#[test]
fn branches_that_share_something_are_found() {
    assert_eq!(of_disk(|d| d.root = (1, 2)), [Topic::BranchTwice]);
    assert_eq!(of_disk(|d| d.root = (1, 7)), [Topic::TwoMounts]);
    let one_mount = of_disk(|d| (d.root, d.mount) = ((1, 7), 1));
    assert_eq!(one_mount, []);
    let within = of_disk(|d| d.real_path = "/mnt/d1/in".into());
    assert_eq!(within, [Topic::NestedBranch]);
    let beside = of_disk(|d| d.real_path = "/mnt/d11".into());
    assert_eq!(beside, []);
    let ro = topics(|f| f.branches[0].mode = BranchMode::Ro);
    assert_eq!(ro, [Topic::ReadOnlyBranch]);
}

#[test]
fn the_machine_and_the_place_of_the_journal_are_looked_at() {
    assert_eq!(topics(|f| f.host.kernel = "5.4.0-1".into()), [Topic::Kernel]);
    assert_eq!(topics(|f| f.host.root = false), [Topic::NotRoot]);
    let off = topics(|f| f.host.leases_enabled = Some(false));
    assert_eq!(off, [Topic::NoLeases]);
    let journal = |change: fn(&mut JournalPlace)| topics(|f| change(&mut f.journal));
    let within = journal(|j| j.within = Some("/pool".into()));
    assert_eq!(within, [Topic::JournalInPool]);
    let beside = journal(|j| j.beside = Some("/mnt/d1".into()));
    assert_eq!(beside, [Topic::JournalOnBranchDisk]);
    assert_eq!(journal(|j| j.free = Some(1)), [Topic::JournalSpace]);
    assert_eq!(journal(|j| j.writable = false), [Topic::JournalUnwritable]);
    let volatile = journal(|j| j.filesystem = Some(FilesystemKind::of(TMPFS_MAGIC)));
    assert_eq!(volatile, [Topic::JournalVolatile]);
    let unfinished = journal(|j| j.unfinished = vec![Unfinished { run: 3, open: 2 }]);
    assert_eq!(unfinished, [Topic::UnfinishedRun]);
}

#[test]
fn other_mounts_are_looked_at() {
    let split = topics(|f| {
        let points =
            vec![("/downloads".into(), "/downloads".into()), ("/media".into(), "/media".into())];
        let process = Some((7, "sonarr".to_owned()));
        f.around.partial_views = vec![PartialView { process, points }];
    });
    assert_eq!(split, [Topic::SplitMounts]);
    let (mount, branch) = ("/other".into(), "/mnt/d1".into());
    let shared = topics(|f| f.around.other_pools = vec![OtherPool { mount, branch }]);
    assert_eq!(shared, [Topic::SharedBranch]);
}

#[test]
fn the_worst_comes_first() {
    let bad = |root: bool| {
        topics(|f| {
            f.host.root = root;
            f.branches[0].disk = Err("gone".into());
            f.branches[1].disk.as_mut().unwrap().unreadable = 1;
            f.pool.options.insert("link-cow", "false".into());
        })
    };
    let levels: Vec<_> = bad(true).iter().map(|topic| topic.level()).collect();
    assert_eq!(levels, [Level::Prevents, Level::Surprises, Level::Note]);
    // The others may come from it.
    let found = bad(false);
    assert_eq!((found[0], &found[1..]), (Topic::NotRoot, &bad(true)[..]));
}

#[test]
fn symlinks_to_branches_are_noted_with_the_options_that_make_them() {
    let found = topics(|facts| facts.symlinks = vec!["/d1/a".into(), "/d2/b".into()]);
    assert_eq!(found, [Topic::SymlinksToBranches]);
    assert_eq!(of_option("link-exdev", "abs-base-symlink"), [Topic::SymlinkOptions]);
    assert_eq!(of_option("rename-exdev", "abs-pool-symlink"), []);
}
