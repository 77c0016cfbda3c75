//! Pools and files as people have them: old dates, backups of many generations, snapshots, many disks, odd options.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::groups::{self, SMALL};
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::loop_disk::unmount;
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

/// Scans the pool; copies below `media` stay.
fn scan(tool: &Tool, pool: &Pool, more: &[&str]) -> Run {
    let line = ["--format", "json", "--no-cache", "-p"].map(OsStr::new);
    let (primary, root) = (pool.path("media"), pool.root());
    let more: Vec<&OsStr> = more.iter().map(OsStr::new).collect();
    tool.run(&[&line[..], &[primary.as_os_str(), root.as_os_str()], &more].concat())
}

/// What each branch has, inode numbers and ctimes aside.
fn branches(pool: &Pool) -> Vec<BTreeMap<PathBuf, snapshot::Entry>> {
    let mut all = snapshot::all_entries(pool);
    for entry in all.iter_mut().flat_map(BTreeMap::values_mut) {
        (entry.ino, entry.ctime) = (0, 0);
        if entry.mode & libc::S_IFMT == libc::S_IFDIR {
            (entry.mtime, entry.size, entry.allocated, entry.nlink) = (0, 0, 0, 0);
        }
    }
    all
}

/// Runs, verifies, and undoes; panics unless `done` files were linked, the pool shows the same all the time, and every
/// branch is in the end as it was.
#[track_caller]
fn there_and_back(pool: &Pool, options: &[&str], done: u64) {
    tree::settle();
    let tool = Tool::new();
    let (before, view) = (branches(pool), snapshot::view(pool.root()));
    let ran = scan(&tool, pool, &[options, &["-e"]].concat()).expect(0);
    assert_eq!(ran.summary().get("done"), done, "{ran}");
    assert_eq!(snapshot::view(pool.root()).len(), view.len(), "{ran}");
    let verified = tool.run(&["--format", "json", "verify"]).expect(0);
    assert_eq!(verified.lines().last().unwrap()["damaged"], 0, "{verified}");
    let undone = tool.run(&["--format", "json", "undo", "-e"]).expect(0);
    assert_eq!(undone.summary().get("done"), done, "{undone}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    for (disk, (before, now)) in before.iter().zip(branches(pool)).enumerate() {
        for (path, was) in before {
            assert_eq!(now.get(path), Some(was), "disk {disk}: {}: {undone}", path.display());
        }
        assert_eq!(before.len(), now.len(), "disk {disk}: {undone}");
    }
}

fn date(path: &Path, time: SystemTime) {
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn dates_before_1970_and_after_2038_come_back() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    let seconds = Duration::from_secs;
    let epoch = SystemTime::UNIX_EPOCH;
    let dates = [
        epoch - Duration::from_nanos(1),
        // 1901-12-13, the first of 32 bits.
        epoch - seconds(1 << 31),
        epoch,
        // 2038-01-19, the first that 32 bits do not hold; 2446-05-10, the last of ext4.
        epoch + seconds(1 << 31) + Duration::from_nanos(999_999_999),
        epoch + seconds((1 << 34) - (1 << 31) - 1),
    ];
    let mut n = 0;
    for disk in 0..3 {
        for date_of_it in dates {
            let bytes = tree::bytes(n, SMALL);
            tree::write(&pool.on((disk + 1) % 3, format!("media/{n}")), &bytes);
            let path = pool.on(disk, format!("old/{n}"));
            tree::write(&path, &bytes);
            date(&path, date_of_it);
            n += 1;
        }
    }
    there_and_back(&pool, &[], n);
}

#[test]
fn capabilities_and_labels_come_back() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    // cap_net_raw+ep, as setcap writes it.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (name, value) in [
        ("security.capability", &capability[..]),
        ("security.selinux", b"system_u:object_r:x:s0\0"),
    ] {
        let made = [(0, format!("media/{name}")), (1, format!("bin/{name}"))];
        for (disk, path) in made {
            let path = pool.on(disk, path);
            tree::write(&path, &tree::bytes(name.len() as u64, SMALL));
            tree::set_xattr(&path, name, value);
        }
    }
    there_and_back(&pool, &[], 2);
}

/// Thirty generations of a backup: each file changed once, so its two versions have fifteen names each.
#[test]
fn backups_of_many_generations_end_as_one_copy_and_come_back() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let (generations, files) = (30, 5);
    for file in 0..files {
        for version in 0..2 {
            let bytes = tree::bytes(file * 2 + version, SMALL);
            let first = pool.on(1, format!("backup/daily.{}/etc/{file}", version * 15));
            tree::write(&first, &bytes);
            for generation in version * 15 + 1..(version + 1) * 15 {
                let next = pool.on(1, format!("backup/daily.{generation}/etc/{file}"));
                std::fs::create_dir_all(next.parent().unwrap()).unwrap();
                std::fs::hard_link(&first, next).unwrap();
            }
        }
        tree::write(&pool.on(0, format!("media/{file}")), &tree::bytes(file * 2 + 1, SMALL));
    }
    assert_eq!(std::fs::read_dir(pool.on(1, "backup")).unwrap().count(), generations);
    there_and_back(&pool, &[], files);
}

#[test]
fn twenty_branches_are_one_pool() {
    const DIRS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let branches: Vec<_> = (0..2).flat_map(|disk| DIRS.map(|dir| (disk, dir))).collect();
    let pool = PoolPlan::of(&[Ext4, Xfs]).branches(&branches).mount();
    for branch in 0..branches.len() {
        let bytes = tree::bytes(branch as u64 % 10, SMALL);
        let dir = if branch < 10 { "media" } else { "more" };
        tree::write(&pool.on(branch, format!("{dir}/{branch}")), &bytes);
    }
    there_and_back(&pool, &[], 10);
}

/// A branch that is a directory of its disk, and a link of a file beside that directory.
#[test]
fn a_link_beside_a_branch_is_unknown_and_its_file_stays() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).branches(&[(0, "pool"), (1, "pool")]).mount();
    groups::pairs(&pool, 0, 1, 2);
    let beside = pool.disk(1).path().join("beside");
    std::fs::hard_link(pool.on(1, "downloads/0.bin"), beside).unwrap();
    tree::settle();
    let run = scan(&Tool::new(), &pool, &["-e"]).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    assert_eq!(run.reasons_for(&pool.path("downloads/0.bin")), ["unknown-links"], "{run}");
}

#[test]
fn options_that_change_what_the_pool_shows_change_nothing_on_the_disks() {
    let shows_other = "uid=1234,gid=4321,umask=027";
    for option in [shows_other, "symlinkify=true,symlinkify_timeout=60", "umask=077"] {
        let pool = PoolPlan::of(&[Ext4, Xfs]).option(option).mount();
        let made = groups::pairs(&pool, 0, 1, 3);
        for path in made.iter().flatten() {
            for (disk, _) in snapshot::places(&pool, path) {
                // symlinkify is about files that nobody may write.
                tree::set_mode(&pool.on(disk, path), 0o444);
            }
        }
        there_and_back(&pool, &[], 3);
    }
}

/// A read-only snapshot in the branch is another subvolume: it stays as it is, and what it shares is not freed.
#[test]
fn a_snapshot_in_the_branch_stays_as_it_is() {
    let pool = PoolPlan::of(&[Ext4, Btrfs]).mount();
    groups::pairs(&pool, 0, 1, 3);
    let (root, snap) = (pool.on(1, ""), pool.on(1, ".snapshots"));
    nix::unistd::syncfs(File::open(&root).unwrap()).unwrap();
    let line = ["subvolume", "snapshot", "-r"].map(OsStr::new);
    run("btrfs", &[&line[..], &[root.as_os_str(), snap.as_os_str()]].concat());
    tree::settle();
    let before = snapshot::entries_below(&snap);
    let tool = Tool::new();
    let run = scan(&tool, &pool, &["-e"]).expect(0);
    let summary = run.summary();
    assert_eq!((summary.get("done"), summary.get("bytes_reclaimed")), (3, 0), "{run}");
    assert_eq!(snapshot::entries_below(&snap), before, "{run}");
    tool.run(&["undo", "-e"]).expect(0);
    assert_eq!(snapshot::entries_below(&snap), before);
}

/// A disk that is not mounted, where the user made its mount point immutable so that nothing is written there.
#[test]
fn an_unmounted_disk_with_an_immutable_mount_point_changes_nothing() {
    let mut pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).mount();
    let made = groups::pairs(&pool, 1, 2, 3);
    pool.disk_mut(0).detach();
    let mount_point = pool.on(0, "");
    let chattr = |flag: &str| run("chattr", &[flag.as_ref(), mount_point.as_os_str()]);
    chattr("+i");
    tree::settle();
    let view = snapshot::view(pool.root());
    let tool = Tool::new();
    let run = scan(&tool, &pool, &["-e"]);
    chattr("-i");
    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    assert!(snapshot::entries(&pool, 0).is_empty(), "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    if run.code() == Some(0) {
        groups::assert_linked(&pool, &made);
    }
}

/// A branch in memory has no identity that lasts: nothing is changed there.
#[test]
fn a_branch_in_memory_is_left_alone() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let _mounted = Mounted::at(&pool.on(1, ""), "tmpfs", "size=16M");
    groups::pairs(&pool, 0, 1, 1);
    tree::settle();
    let before = snapshot::all_entries(&pool);
    let run = scan(&Tool::new(), &pool, &["-e"]).expect(0);
    assert_eq!(run.summary().get("done"), 0, "{run}");
    assert_eq!(snapshot::all_entries(&pool), before, "{run}");
}

/// A file of the lower directory becomes another one as soon as it is changed: nothing on the disk is linked.
#[test]
fn a_branch_that_is_an_overlay_is_left_alone() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).branches(&[(0, "a"), (1, "b"), (2, "c")]).mount();
    let below = ["lower", "upper", "work"].map(|dir| pool.disk(1).path().join(dir));
    below.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    tree::write(&below[0].join("downloads/2"), &tree::bytes(2, SMALL));
    tree::write(&below[0].join("media/3"), &tree::bytes(3, SMALL));
    let [lower, upper, work] = below.map(|dir| dir.display().to_string());
    let overlay = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let _mounted = Mounted::at(&pool.on(1, ""), "overlay", &overlay);
    tree::write(&pool.on(1, "downloads/1"), &tree::bytes(1, SMALL));
    for n in [1, 2] {
        tree::write(&pool.on(0, format!("media/{n}")), &tree::bytes(n, SMALL));
        tree::write(&pool.on(2, format!("more/{n}")), &tree::bytes(n, SMALL));
    }
    tree::write(&pool.on(0, "downloads/3"), &tree::bytes(3, SMALL));
    tree::settle();
    let (tool, view) = (Tool::new(), snapshot::view(pool.root()));
    let before = snapshot::entries(&pool, 1);
    for options in [&["-e"][..], &["-e", "--link", "auto"]] {
        let run = scan(&tool, &pool, options).expect(0);
        assert_eq!(run.summary().get("failed"), 0, "{run}");
        for path in ["downloads/1", "downloads/2", "downloads/3"] {
            assert_eq!(run.reasons_for(&pool.path(path)), ["overlay"], "{run}");
        }
    }
    assert_eq!(snapshot::entries(&pool, 1), before);
    snapshot::assert_one_inode(&pool, &["media/1", "more/1"]);
    assert_eq!(snapshot::view(pool.root()).len(), view.len());
    let doctor = tool.run(&["--format", "json", "doctor", pool.root().to_str().unwrap()]);
    let topics = doctor.lines_of("finding");
    let found = topics
        .iter()
        .find(|found| found["topic"] == "overlay")
        .unwrap_or_else(|| panic!("{doctor}"));
    assert_eq!(found["at"].as_str(), pool.branches()[1].to_str());
}

/// A filesystem mounted at a directory, unmounted with the value.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: &Path, kind: &str, options: &str) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let line = ["-t", kind, "-o", options, kind].map(OsStr::new);
        run("mount", &[&line[..], &[path.as_os_str()]].concat());
        Self(path.to_path_buf())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0).unwrap();
    }
}
