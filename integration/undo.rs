//! Taking runs back: every branch is again what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::groups;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree, wait};

/// What is under a path, inode numbers, ctimes and the times and sizes of directories aside.
#[derive(Debug, PartialEq, Eq)]
struct Was {
    kind_and_mode: u32,
    owner: (u32, u32),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    file: Option<WasFile>,
}

#[derive(Debug, PartialEq, Eq)]
struct WasFile {
    size: u64,
    allocated: u64,
    mtime: i128,
    atime: (i64, i64),
    /// Every name of the inode.
    names: BTreeSet<PathBuf>,
    content: blake3::Hash,
}

fn everything(pool: &Pool) -> Vec<BTreeMap<PathBuf, Was>> {
    (0..pool.branches().len())
        .map(|branch| {
            // Times before contents: reading may move an atime.
            let entries = snapshot::entries(pool, branch);
            let atimes: BTreeMap<PathBuf, (i64, i64)> = entries
                .keys()
                .map(|path| {
                    let stat = std::fs::symlink_metadata(pool.on(branch, path)).unwrap();
                    (path.clone(), (stat.atime(), stat.atime_nsec()))
                })
                .collect();
            let contents: BTreeMap<PathBuf, blake3::Hash> = entries
                .iter()
                .filter(|(_, e)| e.mode & libc::S_IFMT == libc::S_IFREG)
                .map(|(path, _)| {
                    let bytes = std::fs::read(pool.on(branch, path)).unwrap();
                    (path.clone(), blake3::hash(&bytes))
                })
                .collect();
            let mut names: BTreeMap<u64, BTreeSet<PathBuf>> = BTreeMap::new();
            for (path, entry) in &entries {
                names.entry(entry.ino).or_default().insert(path.clone());
            }
            let was = |(path, e): (PathBuf, snapshot::Entry)| {
                let file = contents.get(&path).map(|content| WasFile {
                    size: e.size,
                    allocated: e.allocated,
                    mtime: e.mtime,
                    atime: atimes[&path],
                    names: names[&e.ino].clone(),
                    content: *content,
                });
                let was = Was { kind_and_mode: e.mode, owner: e.owner, xattrs: e.xattrs, file };
                (path, was)
            };
            entries.into_iter().map(was).collect()
        })
        .collect()
}

#[track_caller]
fn assert_as_before(before: &[BTreeMap<PathBuf, Was>], now: &[BTreeMap<PathBuf, Was>]) {
    for (branch, (before, now)) in before.iter().zip(now).enumerate() {
        for (path, was) in before {
            assert_eq!(now.get(path), Some(was), "branch {branch}: {path:?}");
        }
        let new: Vec<_> = now.keys().filter(|path| !before.contains_key(*path)).collect();
        assert!(new.is_empty(), "branch {branch}: {new:?} were not there");
    }
}

/// A duplicate with something odd about it, at `path` of `branch`.
fn odd_duplicate(pool: &Pool, branch: usize, n: usize, content: &[u8]) {
    let dir = format!("downloads/{}", n % 7);
    let plain = pool.on(branch, format!("{dir}/{n}.bin"));
    let path = match n % 8 {
        4 => {
            let name: Vec<u8> = match n % 3 {
                0 => [format!("{n}-").as_bytes(), b"\xff\xfe \n\"'$(x)"].concat(),
                1 => format!("{n:0>255}").into_bytes(),
                _ => format!("-rf {n} \u{202e}\u{7}").into_bytes(),
            };
            plain.with_file_name(OsStr::from_bytes(&name))
        }
        _ => plain,
    };
    if n % 16 == 6 {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_sparse(&path, content);
    } else {
        tree::write(&path, content);
    }
    match n % 8 {
        0 => {
            tree::set_owner(&path, (1000 + u32::try_from(n % 3).unwrap(), 1001));
            tree::set_mode(&path, 0o4755);
        }
        1 => tree::set_acl(&path, "u:1234:rw,g:77:r,m::rwx"),
        2 => {
            tree::set_xattr(&path, "user.odd", b"\0\xff=");
            tree::set_xattr(&path, "trusted.odd", &vec![b'x'; 900]);
        }
        3 => {
            for other in [
                pool.on(branch, format!("{dir}/{n}.again")),
                pool.on(branch, format!("downloads/links/{n}")),
            ] {
                std::fs::create_dir_all(other.parent().unwrap()).unwrap();
                std::fs::hard_link(&path, other).unwrap();
            }
        }
        7 => tree::set_mode(&path, 0),
        _ => {}
    }
    let years = if n % 8 == 5 { 45 } else { 1 };
    tree::age_path(&path, Duration::from_secs(years * 365 * 86_400 + n as u64));
}

fn write_sparse(path: &Path, content: &[u8]) {
    let file = File::create(path).unwrap();
    for (at, block) in content.chunks(4096).enumerate() {
        if block.iter().any(|b| *b != 0) {
            file.write_all_at(block, at as u64 * 4096).unwrap();
        }
    }
    file.set_len(content.len() as u64).unwrap();
}

fn content(n: usize) -> Vec<u8> {
    let mut bytes = tree::bytes(n as u64, groups::SMALL);
    if n % 8 == 6 {
        bytes.resize(300 << 10, 0);
        bytes.extend(tree::bytes(n as u64 + 1_000_000, 5_000));
    }
    bytes
}

fn odd_pool(count: usize) -> Pool {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    for n in 0..count {
        let (master, duplicate) = (n % 3, n / 3 % 3);
        let bytes = content(n);
        let at = pool.on(master, format!("media/{}/{n}.bin", n % 5));
        if n % 16 == 14 {
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            write_sparse(&at, &bytes);
            tree::age_path(&at, tree::AGE);
        } else {
            tree::write(&at, &bytes);
        }
        odd_duplicate(&pool, duplicate, n, &bytes);
    }
    for branch in 0..3 {
        let dir = pool.on(branch, "downloads/3");
        if dir.is_dir() {
            tree::set_acl(&dir, "d:u:4321:rwx,d:m::rwx");
            tree::set_owner(&dir, (0, 55));
            tree::set_mode(&dir, 0o2770);
        }
    }
    tree::settle();
    pool
}

fn scan(tool: &Tool, pool: &Pool) -> Run {
    let primary = pool.path("media");
    let root = pool.root().as_os_str();
    let options = ["--format", "json", "-e", "--no-cache"].map(OsStr::new);
    let ignore = ["--ignore-metadata", "owner,mode,acl,xattr", "-p"].map(OsStr::new);
    tool.run(&[&options[..], &ignore[..], &[primary.as_os_str(), root]].concat())
}

#[test]
fn a_run_of_thousands_of_ops_is_undone_and_every_branch_is_as_before() {
    const COUNT: usize = 2_400;
    let pool = odd_pool(COUNT);
    let tool = Tool::new();
    // Twice: the first time moves atimes, as reading does once a day.
    everything(&pool);
    let before = everything(&pool);
    let view = snapshot::view(pool.root());

    assert_eq!(scan(&tool, &pool).expect(0).summary().get("done"), COUNT as u64);
    let linked = snapshot::all_entries(&pool);
    let plan = tool.run(&["undo"]).expect(0);
    assert!(plan.stdout.contains("Undo of run 1: 2400 files can be copied back"), "{plan}");
    assert_eq!(snapshot::all_entries(&pool), linked, "a dry run changes nothing");

    let undone = tool.run(&["--format", "json", "undo", "-e"]).expect(0);
    assert_eq!(undone.summary().get("done"), COUNT as u64);
    assert_as_before(&before, &everything(&pool));
    let now = snapshot::view(pool.root());
    assert_eq!(now.len(), view.len());
    let log = std::fs::read(tool.journal().join("log.csv")).unwrap();
    let undone = log.windows(8).filter(|w| w == b",UNDONE,").count();
    assert!(undone >= COUNT, "{undone} lines");

    // Nothing is left of run 1 to be undone; the undo itself can be.
    let again = tool.run(&["--format", "json", "undo", "1", "-e"]).expect(0);
    assert_eq!(again.summary().get("planned"), 0);
    tree::settle();
    let redone = tool.run(&["--format", "json", "undo", "2", "-e"]).expect(0);
    assert_eq!(redone.summary().get("done"), COUNT as u64, "{redone}");
    for (before, now) in linked.iter().zip(&snapshot::all_entries(&pool)) {
        let names = |entries: &snapshot::Entries| entries.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(before), names(now));
    }
}

fn three_linked() -> (Pool, Tool) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &[]).expect(0);
    groups::assert_linked(&pool, &made);
    (pool, tool)
}

#[test]
fn what_was_edited_or_deleted_since_stays_as_it_is() {
    let (pool, tool) = three_linked();
    let edited = pool.path("downloads/0.bin");
    OpenOptions::new()
        .append(true)
        .open(&edited)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"edited"))
        .unwrap();
    std::fs::remove_file(pool.path("downloads/1.bin")).unwrap();
    let run = tool.run(&["--format", "json", "undo", "-e"]).expect(1);
    assert_eq!(run.reasons_for(&edited), ["changed-since"], "{run}");
    assert_eq!(run.reasons_for(&pool.path("downloads/1.bin")), ["gone"], "{run}");
    assert_eq!(run.summary().get("done"), 1, "{run}");
    assert!(!pool.path("downloads/1.bin").exists());
    assert_eq!(snapshot::places(&pool, "downloads/2.bin").len(), 1);
    assert_eq!(snapshot::places(&pool, "downloads/2.bin")[0].0, 1);
    assert!(std::fs::read(&edited).unwrap().ends_with(b"edited"));
}

#[test]
fn only_the_paths_named_are_undone() {
    let (pool, tool) = three_linked();
    let path = pool.path("downloads/1.bin");
    let arguments = ["undo", "1", "-e", "--path"].map(OsStr::new);
    let line = [&arguments[..], &[path.as_os_str()]].concat();
    tool.run(&line).expect(0);
    let on = |n| snapshot::places(&pool, format!("downloads/{n}.bin"))[0].0;
    assert_eq!([on(0), on(1), on(2)], [0, 1, 0]);
    // A path of which there is nothing is not passed over.
    let nothing = pool.path("downlaods");
    let line = [&arguments[..], &[nothing.as_os_str()]].concat();
    let run = tool.run(&line).expect(2);
    assert!(run.stderr.contains("downlaods") && run.stderr.contains("export 1 --csv"), "{run}");
    // One that is taken back already is no slip.
    let line = [&arguments[..], &[path.as_os_str()]].concat();
    let run = tool.run(&line).expect(0);
    assert!(run.stderr.contains("nothing there is as this run made it"), "{run}");
    // The rest, and the directory the run had made goes with its last file.
    tool.run(&["undo", "1", "-e"]).expect(0);
    assert_eq!([on(0), on(1), on(2)], [1, 1, 1]);
    assert!(!pool.on(0, "downloads").exists());
}

#[test]
fn without_room_on_a_disk_nothing_is_begun() {
    let (pool, tool) = three_linked();
    let filler = File::create(pool.on(1, "filler")).unwrap();
    let mut at = 0;
    for block in [1 << 20, 4096] {
        while filler.write_all_at(&vec![7; block], at).is_ok() {
            at += block as u64;
        }
    }
    filler.sync_all().ok();
    let before = snapshot::all_entries(&pool);
    let run = tool.run(&["undo", "-e"]).expect(3);
    assert!(run.stderr.contains("not enough room"), "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);
    drop(filler);
    std::fs::remove_file(pool.on(1, "filler")).unwrap();
    wait::until("the space to be free", wait::LONG, || pool.used_bytes()[1] < 256 << 20).unwrap();
    tool.run(&["undo", "-e"]).expect(0);
    assert_eq!(snapshot::places(&pool, "downloads/0.bin")[0].0, 1);
}

#[test]
fn a_file_that_somebody_has_open_is_not_undone() {
    let (pool, tool) = three_linked();
    let held = File::open(pool.path("media/0.bin")).unwrap();
    let run = tool.run(&["--format", "json", "undo", "-e"]).expect(1);
    assert_eq!((run.summary().get("done"), run.summary().get("busy")), (2, 1), "{run}");
    drop(held);
    snapshot::assert_no_own_names(&pool);
    tool.run(&["undo", "1", "-e"]).expect(0);
    assert_eq!(snapshot::places(&pool, "downloads/0.bin")[0].0, 1);
}

#[test]
fn what_a_rule_keeps_from_coming_back_is_told_by_the_exit_status() {
    let (pool, tool) = three_linked();
    let json = ["--format", "json", "undo", "1"];
    let one = pool.path("downloads/1.bin");
    // Where the old branch has something else in the way by now.
    let (way, outside) = (pool.on(1, "downloads"), tempfile::tempdir().unwrap());
    std::fs::remove_dir(&way).unwrap();
    std::os::unix::fs::symlink(outside.path(), &way).unwrap();
    let before = snapshot::all_entries(&pool);
    let told = tool.run(&json).expect(1);
    assert_eq!(told.reasons_for(&one), ["obstructed"], "{told}");
    let quiet = tool.run(&["-q", "undo", "1", "-e"]).expect(1);
    assert!(quiet.stdout.contains("3 files, obstructed"), "{quiet}");
    assert_eq!(snapshot::all_entries(&pool), before);
    std::fs::remove_file(&way).unwrap();
    // Where its disk cannot be written: a dry run says so, too.
    pool.disk(1).remount("ro");
    let told = tool.run(&json).expect(1);
    assert_eq!(told.reasons_for(&one), ["disk-read-only"], "{told}");
    tool.run(&["undo", "1", "-e"]).expect(1);
    pool.disk(1).remount("rw");
    tool.run(&["undo", "1", "-e"]).expect(0);
    assert_eq!(snapshot::places(&pool, "downloads/1.bin")[0].0, 1);
}

/// "Now the rest", "was that all?": no undo links again what it took apart, unless its own number is named.
#[test]
fn an_undo_without_a_number_goes_on_and_never_links_again() {
    let (pool, tool) = three_linked();
    let freed = |line: &[&str]| -> (u64, Run) {
        let run = tool.run(&[&["--format", "json", "history"], line].concat()).expect(0);
        let free =
            run.lines_of("run").into_iter().map(|run| run["bytes_free_now"].as_u64().unwrap());
        (free.sum(), run)
    };
    let inodes = |n: u64| {
        let paths = [format!("media/{n}.bin"), format!("downloads/{n}.bin")];
        let places = paths.iter().flat_map(|path| snapshot::places(&pool, path));
        places.collect::<std::collections::BTreeSet<_>>().len()
    };
    let (all, _) = freed(&[]);
    assert_eq!(all, 3 * 12_288);
    let part = pool.path("downloads/1.bin");
    tool.run(&["undo", "-e", "--path", part.to_str().unwrap()]).expect(0);
    assert_eq!([0, 1, 2].map(inodes), [1, 2, 1]);
    assert_eq!(freed(&[]).0, all / 3 * 2);
    tool.run(&["undo", "-e"]).expect(0);
    assert_eq!([0, 1, 2].map(inodes), [2, 2, 2]);
    for execute in [&["undo", "-e"][..], &["undo"]] {
        let again = tool.run(execute).expect(0);
        assert!(again.stdout.contains("nothing is left to take back"), "{again}");
    }
    assert_eq!([0, 1, 2].map(inodes), [2, 2, 2]);
    let (free, history) = freed(&[]);
    assert_eq!((free, history.lines_of("run").len()), (0, 3), "{history}");
    // By its number it is a run like any other.
    tool.run(&["undo", "3", "-e"]).expect(0);
    assert_eq!([0, 1, 2].map(inodes), [1, 2, 1]);
    let (free, history) = freed(&[]);
    assert_eq!(free, all / 3 * 2);
    let runs = history.lines_of("run");
    let told = |key: &str| runs.iter().map(|run| run[key].clone()).collect::<Vec<_>>();
    assert_eq!(told("undone"), [3, 0, 2, 0]);
    assert_eq!(told("undoes"), [Value::Null, 1.into(), 1.into(), 3.into()]);
    assert_eq!(told("links"), [true, false, false, true]);
    tool.run(&["undo", "-e"]).expect(0);
    assert_eq!([0, 1, 2].map(inodes), [2, 2, 2]);
    assert_eq!(freed(&[]).0, 0);
}

/// A run of which nothing is left but what was deleted since does not stand in the way of the run before it.
#[test]
fn an_undo_without_a_number_passes_over_a_run_that_cannot_be_undone() {
    let (pool, tool) = three_linked();
    for (disk, path) in [(0, "media/late"), (1, "downloads/late")] {
        tree::write(&pool.on(disk, path), &tree::bytes(99, groups::SMALL));
    }
    let made = [vec!["media/late".into(), "downloads/late".into()]];
    tool.execute(&groups::list(&tool, &pool, &made), &[]).expect(0);
    std::fs::remove_file(pool.path("downloads/late")).unwrap();
    let plan = tool.run(&["undo"]).expect(0);
    assert!(plan.stdout.contains("Undo of run 1: 3 files"), "{plan}");
    tool.run(&["undo", "-e"]).expect(0);
    assert_eq!(snapshot::places(&pool, "downloads/0.bin")[0].0, 1);
    let again = tool.run(&["undo", "-e"]).expect(0);
    assert!(again.stdout.contains("Undo of run 2: nothing can be taken back"), "{again}");
}

#[test]
fn paths_to_undo_may_be_named_by_a_bind_mount() {
    let (pool, tool) = three_linked();
    let shared = tempfile::tempdir().unwrap();
    let bind =
        [OsStr::new("--bind"), pool.path("downloads").as_os_str(), shared.path().as_os_str()]
            .map(OsStr::to_owned);
    run("mount", &bind);
    let named = shared.path().join("1.bin");
    let undone = tool.run(&["undo", "-e", "--path", named.to_str().unwrap()]);
    let gone = shared.path().join("gone/2.bin");
    let nothing = tool.run(&["undo", "--path", gone.to_str().unwrap()]);
    run("umount", &[shared.path()]);
    undone.expect(0);
    assert_eq!(
        [0, 1, 2].map(|n| snapshot::places(&pool, format!("downloads/{n}.bin"))[0].0),
        [0, 1, 0]
    );
    assert!(nothing.expect(2).stderr.contains("linked nothing at or below"));
}

/// The flags of `chattr`, as `lsattr` shows them.
fn flags(path: &Path) -> String {
    let shown = run("lsattr", &["-d".as_ref(), path.as_os_str()]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    shown.split(' ').next().unwrap().to_owned()
}

#[test]
fn the_flags_of_chattr_come_back() {
    let pool = PoolPlan::of(&[Ext4, Btrfs, Xfs]).mount();
    let chattr = |flag: &str, path: &Path| run("chattr", &[flag.as_ref(), path.as_os_str()]);
    let cases =
        [(0, "+d"), (0, "+A"), (1, "+C"), (1, "+c"), (1, "+m"), (1, "+d"), (2, "+dA"), (1, "")];
    let paths: Vec<PathBuf> = (0..)
        .zip(cases)
        .map(|(n, (disk, flag))| {
            let path = pool.on(disk, format!("downloads/{n}"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(&path).unwrap();
            if !flag.is_empty() {
                chattr(flag, &path);
            }
            tree::write(&path, &tree::bytes(n, groups::SMALL));
            tree::write(
                &pool.on((disk + 1) % 3, format!("media/{n}")),
                &tree::bytes(n, groups::SMALL),
            );
            path
        })
        .collect();
    // What is made in there from now on is without copy-on-write, and not what was there before.
    chattr("+C", &pool.on(1, "downloads"));
    tree::settle();
    let before: Vec<String> = paths.iter().map(|path| flags(path)).collect();
    for (shown, (_, flag)) in before.iter().zip(cases) {
        assert!(flag.trim_start_matches('+').chars().all(|one| shown.contains(one)), "{before:?}");
    }
    let tool = Tool::new();
    assert_eq!(scan(&tool, &pool).expect(0).summary().get("done"), cases.len() as u64);
    assert!(paths.iter().all(|path| !path.exists()));
    let undone = tool.run(&["--format", "json", "undo", "-e"]).expect(0);
    assert_eq!(undone.summary().get("done"), cases.len() as u64, "{undone}");
    assert_eq!(paths.iter().map(|path| flags(path)).collect::<Vec<_>>(), before, "{undone}");
}
