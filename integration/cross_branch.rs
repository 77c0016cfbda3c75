//! Duplicates on different disks, found by a real jdupes: the tool's reason to be.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot::{self, Entries};
use crate::harness::tool::{Run, Tool};
use crate::harness::{manifest, tree};
use crate::library;

/// Groups of the big library.
const GROUPS: u64 = 330;

fn three_disks() -> Pool {
    PoolPlan::of(&[Ext4, Xfs, Btrfs]).option("category.create=mfs").mount()
}

/// The groups that jdupes found are those that were made: otherwise the test tests something else.
fn assert_jdupes_found(pool: &Pool, found: Vec<Vec<PathBuf>>, made: &[Group]) {
    let found: BTreeSet<BTreeSet<PathBuf>> =
        found.into_iter().map(|group| group.into_iter().collect()).collect();
    let made: BTreeSet<BTreeSet<PathBuf>> =
        made.iter().map(|group| group.iter().map(|path| pool.path(path)).collect()).collect();
    assert_eq!(found, made);
}

#[test]
fn a_library_listed_by_jdupes_ends_with_one_inode_a_group() {
    let pool = three_disks();
    let made = library::fill(&pool, GROUPS);
    let tool = Tool::new();
    // -H: newer versions of mergerfs show which names are links already, and jdupes would list one of them.
    manifest::jdupes(&["-r", "-H", "-j"], &[pool.root()], &tool.list());
    assert_jdupes_found(&pool, manifest::read_json(&tool.list()), &made);

    let view = snapshot::view(pool.root());
    let used_before = pool.used_bytes();
    let before = snapshot::all_entries(&pool);
    let run = tool.execute(&tool.list(), &[]).expect(0);
    let used_after = pool.used_bytes();
    let after = snapshot::all_entries(&pool);

    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    groups::assert_linked(&pool, &made);
    assert_reclaimed_is_exact(&run, &before, &after);
    assert_df_agrees(&run, &used_before, &used_after);
    for (before, after) in before.iter().zip(&after) {
        assert_directories_kept(before, after);
    }
    assert_clones_are_faithful(&before, &after);

    let again = tool.execute(&tool.list(), &[]).expect(0).summary();
    assert_eq!((again.get("planned"), again.get("done"), again.get("bytes_reclaimed")), (0, 0, 0));
    assert_eq!(snapshot::all_entries(&pool), after, "a second run changed something");
}

#[test]
fn names_that_are_no_text_come_through_a_nul_separated_list() {
    let pool = three_disks();
    let long = "n".repeat(255);
    let names: [&[u8]; 6] =
        [b"caf\xe9.bin", b"two\nlines", b" blanks ", b"'\"$(x)`\\", long.as_bytes(), b"-rf"];
    let mut made = Vec::new();
    for (n, name) in names.into_iter().enumerate() {
        let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
        let group = [Path::new("media").join(name), Path::new("downé\n load").join(name)];
        for (disk, path) in group.iter().enumerate() {
            tree::write(&pool.on((n + disk) % 3, path), &tree::bytes(n as u64, groups::SMALL));
        }
        made.push(group.to_vec());
    }
    let tool = Tool::new();
    manifest::jdupes(&["-r", "-0"], &[pool.root()], &tool.list());
    assert_jdupes_found(&pool, manifest::read_nul(&tool.list()), &made);

    let view = snapshot::view(pool.root());
    tool.execute(&tool.list(), &[]).expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    groups::assert_linked(&pool, &made);
}

#[test]
fn a_hard_link_that_no_list_names_is_found_and_goes_along() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut made = groups::pairs(&pool, 0, 1, 2);
    std::fs::create_dir_all(pool.on(1, "elsewhere/deep")).unwrap();
    std::fs::hard_link(pool.on(1, &made[0][1]), pool.on(1, "elsewhere/deep/third")).unwrap();
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    made[0].push("elsewhere/deep/third".into());

    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(&pool);
    let run = tool.execute(&list, &[]).expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    groups::assert_linked(&pool, &made);
    assert_reclaimed_is_exact(&run, &before, &snapshot::all_entries(&pool));
}

/// What the run says it freed is what the inodes that went had allocated, to the byte, on each branch.
fn assert_reclaimed_is_exact(run: &Run, before: &[Entries], after: &[Entries]) {
    let freed: Vec<u64> = before
        .iter()
        .zip(after)
        .map(|(before, after)| snapshot::allocated_bytes(before) - snapshot::allocated_bytes(after))
        .collect();
    let summary = run.summary();
    assert_eq!(summary.get("bytes_reclaimed"), freed.iter().sum::<u64>(), "{run}");
    let told: Vec<u64> =
        summary.per_branch().iter().map(|branch| branch["reclaimed"].as_u64().unwrap()).collect();
    assert_eq!(told, freed, "{run}");
}

/// `df` moves by the same amount, but for what the filesystems need for themselves. For a name that moves an entry
/// goes in one directory and comes in another; btrfs keeps names, inodes, extents and checksums of a removed file in
/// tree nodes of 16 KiB, each stored twice, that come and go. What files had allocated is compared to the byte
/// elsewhere: this only says that `df` tells the same story.
fn own_needs(run: &Run) -> i64 {
    let ops = i64::try_from(run.summary().get("done")).unwrap();
    (64 << 10) + ops * (1 << 10)
}

fn assert_df_agrees(run: &Run, before: &[u64], after: &[u64]) {
    let summary = run.summary();
    for (n, branch) in summary.per_branch().iter().enumerate() {
        let told = branch["reclaimed"].as_i64().unwrap();
        let freed = i64::try_from(before[n]).unwrap() - i64::try_from(after[n]).unwrap();
        println!("branch {n}: reclaimed {told}, df says {freed}");
        assert!((told - freed).abs() < own_needs(run), "branch {n}: told {told}, df says {freed}");
    }
}

/// A directory that lost names keeps its times: who looks for new files by them must see nothing new.
fn assert_directories_kept(before: &Entries, after: &Entries) {
    for (path, entry) in before {
        if entry.mode & libc::S_IFMT != libc::S_IFDIR {
            continue;
        }
        let now = &after[path];
        assert_eq!((now.mode, now.owner), (entry.mode, entry.owner), "{}", path.display());
        assert_eq!(now.xattrs, entry.xattrs, "{}", path.display());
        let gained = after.keys().any(|p| p.parent() == Some(path) && !before.contains_key(p));
        if !gained {
            assert_eq!(now.mtime, entry.mtime, "times of {}", path.display());
        }
    }
}

/// Directories that came into being are like those they were made from.
fn assert_clones_are_faithful(before: &[Entries], after: &[Entries]) {
    let mut clones = 0;
    for (n, now) in after.iter().enumerate() {
        let is_dir = |mode: u32| mode & libc::S_IFMT == libc::S_IFDIR;
        for (path, clone) in
            now.iter().filter(|(p, e)| is_dir(e.mode) && !before[n].contains_key(*p))
        {
            let source = before.iter().find_map(|entries| entries.get(path)).unwrap();
            let of = |e: &snapshot::Entry| (e.mode, e.owner, e.mtime, e.xattrs.clone());
            assert_eq!(of(clone), of(source), "{} on branch {n}", path.display());
            clones += 1;
        }
    }
    assert!(clones > 0, "the library should have made some clones necessary");
}
