//! The own scan: what it finds, what it leaves out, what it reads, and what becomes of its cache.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::signal::Signal;

use crate::groups::{self, SMALL};
use crate::harness::command::{run, try_run};
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Mode, Pool, PoolPlan};
use crate::harness::tool::{BINARY, Run, Tool};
use crate::harness::{manifest, snapshot, tree, wait};
use crate::lists::peak_memory;

/// Inodes as (branch, number).
type Inodes = BTreeSet<(usize, u64)>;

/// Scans directories of the pool with this test's cache; what is found goes to a file.
fn scan(tool: &Tool, pool: &Pool, dirs: &[&str], extra: &[&str]) -> Run {
    let mut line: Vec<OsString> = Vec::new();
    for option in ["--format", "json", "-v", "--groups"] {
        line.push(option.into());
    }
    line.push(found(tool).into());
    if !extra.contains(&"--no-cache") {
        line.extend(["--cache".into(), cache(tool).into_os_string()]);
    }
    line.extend(extra.iter().map(OsString::from));
    line.extend(dirs.iter().map(|dir| pool.path(dir).into_os_string()));
    tool.run(&line)
}

fn cache(tool: &Tool) -> PathBuf {
    tool.dir().join("cache")
}

fn found(tool: &Tool) -> PathBuf {
    tool.dir().join("groups.json")
}

/// The groups that the last scan wrote.
fn groups_found(tool: &Tool) -> Vec<Vec<PathBuf>> {
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(found(tool)).unwrap()).unwrap();
    let group = |group: &serde_json::Value| {
        let files = group["files"].as_array().unwrap().iter();
        files.map(|file| unescaped(file.as_str().unwrap())).collect()
    };
    report["groups"].as_array().unwrap().iter().map(group).collect()
}

/// Undoes STFU-8.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let (byte, taken) = match (first, behind) {
            (b'\\', [b'x', ..]) => {
                let digits = std::str::from_utf8(&behind[1..3]).unwrap();
                (u8::from_str_radix(digits, 16).unwrap(), 3)
            }
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', _) => (b'\\', 1),
            (byte, _) => (*byte, 0),
        };
        bytes.push(byte);
        rest = &rest[taken..];
    }
    OsString::from_vec(bytes).into()
}

fn as_inodes(pool: &Pool, groups: &[Vec<PathBuf>]) -> BTreeSet<Inodes> {
    let inodes = |group: &Vec<PathBuf>| -> Inodes {
        let relative = |path: &PathBuf| path.strip_prefix(pool.root()).unwrap().to_path_buf();
        let places = group.iter().map(|path| snapshot::places(pool, relative(path)));
        places.map(|places| places[0]).collect()
    };
    groups.iter().map(inodes).filter(|group| group.len() > 1).collect()
}

/// The figure of the line that says what was scanned.
#[track_caller]
pub(crate) fn figure(run: &Run, name: &str) -> u64 {
    let line = run.stderr.lines().find(|line| line.contains("INFO scanned"));
    let line = line.unwrap_or_else(|| panic!("no line about the scan: {run}"));
    let figure = line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
    figure.unwrap_or_else(|| panic!("no {name}: {run}")).parse().unwrap()
}

/// Files that are equal, and files that are only nearly so.
fn corpus(pool: &Pool) {
    let write = |disk: usize, name: &[u8], content: &[u8]| {
        tree::write(&pool.on(disk, OsStr::from_bytes(name)), content);
    };
    for (at, len) in [1, 100, 4096, 16 << 10, 100_000, (128 << 10) + 1, 1 << 20, 3_000_000]
        .into_iter()
        .enumerate()
    {
        let content = tree::bytes(at as u64, len);
        for disk in 0..3 {
            write(disk, format!("sizes/{disk}/{len}").as_bytes(), &content);
        }
        // Of equal size, and different in one byte: the first, one in the middle, the last.
        for (kind, byte) in [("first", 0), ("middle", len / 2), ("last", len - 1)] {
            let mut other = content.clone();
            other[byte] ^= 1;
            write(at % 3, format!("near/{kind}/{len}").as_bytes(), &other);
            write(0, format!("lone/{kind}/{len}").as_bytes(), &tree::bytes(99, len + byte + 7));
        }
    }
    for name in [
        &b"odd/new\nline"[..],
        b"odd/caf\xe9",
        b"odd/x\x80.bin",
        b"odd/ends in space ",
        b"odd/-dash",
        b"odd/quote\"'\\",
        "odd/\u{202e}turned".as_bytes(),
    ] {
        let content = [name, &[7; 500]].concat();
        write(0, name, &content);
        write(1, &[b"copies of ", name].concat(), &content);
    }
    for disk in 0..2 {
        write(disk, format!("empty/{disk}").as_bytes(), b"");
        // Holes, and written zeros.
        let path = pool.on(disk, format!("sparse/{disk}"));
        tree::write(&path, b"");
        File::options().write(true).open(&path).unwrap().set_len(5 << 20).unwrap();
    }
    write(2, b"sparse/zeros", &vec![0; 5 << 20]);
    // Names of one inode, with and without a copy elsewhere.
    for (disk, name, seed) in [(0, "linked/a", 50), (1, "linked/b", 50), (0, "only/linked", 51)] {
        write(disk, name.as_bytes(), &tree::bytes(seed, SMALL));
        let link = pool.on(disk, format!("{name}.again"));
        std::fs::hard_link(pool.on(disk, name), link).unwrap();
    }
    std::os::unix::fs::symlink("sizes/0/4096", pool.on(0, "a symlink")).unwrap();
    run("mkfifo", &[pool.on(0, "a fifo")]);
}

#[test]
fn the_duplicates_found_are_those_that_jdupes_finds_on_the_pool() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    corpus(&pool);
    let tool = Tool::new();
    let run = scan(&tool, &pool, &[""], &[]).expect(0);
    let ours = as_inodes(&pool, &groups_found(&tool));
    let list = tool.dir().join("jdupes");
    manifest::jdupes(&["-r", "-0"], &[pool.root()], &list);
    let theirs = as_inodes(&pool, &manifest::read_nul(&list));
    assert_eq!(ours, theirs, "{run}");
    assert!(ours.len() > 16, "{ours:?}");
    // And once more from the cache, and without one.
    for extra in [&[][..], &["--no-cache"]] {
        scan(&tool, &pool, &[""], extra).expect(0);
        assert_eq!(as_inodes(&pool, &groups_found(&tool)), theirs);
    }
}

#[test]
fn a_list_of_what_was_found_makes_the_same_plan_as_the_scan() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    corpus(&pool);
    let tool = Tool::new();
    let scanned = scan(&tool, &pool, &[""], &[]).expect(0);
    let list = found(&tool);
    let listed = tool.run(&["--format".as_ref(), "json".as_ref(), "-m".as_ref(), list.as_os_str()]);
    let ops = |run: &Run| {
        let key = |op: serde_json::Value| format!("{} {}", op["names"], op["bytes"]);
        run.lines_of("op").into_iter().map(key).collect::<BTreeSet<_>>()
    };
    assert_eq!(ops(&scanned), ops(&listed.expect(0)));
    assert!(ops(&scanned).len() > 20);
}

#[test]
fn what_a_scan_finds_is_replaced_and_found_no_more() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    corpus(&pool);
    tree::settle();
    let tool = Tool::new();
    let view = snapshot::view(pool.root());
    let first = scan(&tool, &pool, &[""], &["-e"]).expect(0);
    let summary = first.summary();
    assert_eq!(summary.get("planned"), summary.get("done"), "{first}");
    assert!(summary.get("done") > 20, "{first}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    let second = scan(&tool, &pool, &[""], &["-e"]).expect(0);
    assert_eq!(second.summary().get("planned"), 0, "{second}");
    // Files without data stay two files.
    let mut left = groups_found(&tool).into_iter().flatten();
    assert!(left.all(|path| path.starts_with(pool.path("sparse"))), "{second}");
}

#[test]
fn a_second_scan_reads_no_contents() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    corpus(&pool);
    tree::settle();
    let tool = Tool::new();
    let first = scan(&tool, &pool, &[""], &[]).expect(0);
    assert!(figure(&first, "read") > 40 && figure(&first, "cached") == 0, "{first}");
    let trace = tool.dir().join("trace");
    let line: Vec<OsString> = [
        OsStr::new("strace"),
        "-f".as_ref(),
        "-e".as_ref(),
        "trace=preadv2".as_ref(),
        "-o".as_ref(),
        trace.as_os_str(),
        BINARY.as_ref(),
        "-v".as_ref(),
        "--cache".as_ref(),
        cache(&tool).as_os_str(),
        pool.root().as_os_str(),
    ]
    .map(OsString::from)
    .to_vec();
    let second = tool.run_line(&line).expect(0);
    assert_eq!(figure(&second, "read"), 0, "{second}");
    assert_eq!(figure(&second, "cached"), figure(&first, "read"));
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(!trace.contains("preadv2("), "{trace}");
    // One file changes: it alone is read again.
    tree::write(&pool.on(0, "sizes/0/100000"), &tree::bytes(77, 100_000));
    let third = scan(&tool, &pool, &[""], &[]).expect(0);
    assert_eq!(figure(&third, "read"), 1, "{third}");
    assert_eq!(
        scan(&tool, &pool, &[""], &["--no-cache"]).summary().get("planned"),
        third.summary().get("planned")
    );
}

/// Changes a byte of a file on its disk, as a failing disk does: no time moves.
fn rot(pool: &Pool, disk: usize, file: &Path) {
    let held = File::open(file).unwrap();
    held.sync_all().unwrap();
    let shown = run("filefrag", &["-v", file.to_str().unwrap()]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    let extent = shown.lines().find(|line| line.trim_start().starts_with("0:"));
    let block = extent.and_then(|line| line.split(':').nth(2)?.split("..").next());
    let block: u64 = block.unwrap_or_else(|| panic!("{shown}")).trim().parse().unwrap();
    let image = File::options().read(true).write(true).open(pool.disk(disk).image()).unwrap();
    let mut byte = [0];
    image.read_exact_at(&mut byte, block * 4096 + 77).unwrap();
    image.write_all_at(&[!byte[0]], block * 4096 + 77).unwrap();
    image.sync_all().unwrap();
    posix_fadvise(&held, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

#[test]
fn a_fingerprint_that_the_disk_no_longer_keeps_is_told_as_damage_and_nothing_is_removed() {
    let pool = PoolPlan::of(&[Ext4, Ext4]).mount();
    let content = tree::bytes(5, 300_000);
    let files = [pool.on(0, "media/a"), pool.on(1, "downloads/a")];
    for file in &files {
        tree::write(file, &content);
    }
    tree::settle();
    let tool = Tool::new();
    scan(&tool, &pool, &[""], &[]).expect(0);
    rot(&pool, 1, &files[1]);
    let now = std::fs::read(&files[1]).unwrap();
    assert_ne!(now, content, "the byte was not changed on the disk");
    let run = scan(&tool, &pool, &[""], &["-e"]).expect(1);
    assert!(figure(&run, "cached") > 0 && figure(&run, "read") == 0, "{run}");
    assert_eq!(run.reasons_for(&pool.path("downloads/a")), ["damaged"], "{run}");
    assert_eq!(std::fs::read(&files[0]).unwrap(), content);
    assert_eq!(std::fs::read(&files[1]).unwrap(), now);
}

#[test]
fn files_larger_than_memory_may_be_are_read_in_little_of_it() {
    const SIZE: u64 = 3 << 30;
    const PEAK_KIB: u64 = 64 << 10;
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    // Full of holes, with something at both ends and a byte of difference in the middle of one.
    for (disk, name, middle) in [(0, "media/a", 7), (1, "downloads/a", 7), (1, "downloads/b", 8)] {
        let path = pool.on(disk, name);
        tree::write(&path, b"begin");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(SIZE).unwrap();
        file.write_all_at(&[middle], SIZE / 2).unwrap();
        file.write_all_at(b"end", SIZE - 3).unwrap();
    }
    tree::settle();
    let tool = Tool::new();
    let root = pool.root().to_str().unwrap();
    let (run, peak) = peak_memory(&tool, &["--format", "json", "--no-cache", "-v", root]);
    let run = run.expect(0);
    assert_eq!(run.summary().get("planned"), 1, "{run}");
    assert!(peak < PEAK_KIB, "{peak} KiB: {run}");
}

#[test]
fn a_damaged_cache_is_made_anew_with_a_warning() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    corpus_of_pairs(&pool);
    let tool = Tool::new();
    let first = scan(&tool, &pool, &[""], &[]).expect(0);
    let sled = cache(&tool).join("hashes.sled");
    for file in ["conf", "db"] {
        let mut damaged = OpenOptions::new().read(true).write(true).open(sled.join(file)).unwrap();
        let mut bytes = Vec::new();
        damaged.read_to_end(&mut bytes).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
        damaged.seek(SeekFrom::Start(0)).unwrap();
        damaged.write_all(&bytes).unwrap();
    }
    let second = scan(&tool, &pool, &[""], &[]).expect(0);
    assert!(second.stderr.contains("damaged"), "{second}");
    assert_eq!(figure(&second, "read"), figure(&first, "read"), "{second}");
    let third = scan(&tool, &pool, &[""], &[]).expect(0);
    assert_eq!(figure(&third, "read"), 0, "{third}");
    std::fs::remove_dir_all(cache(&tool)).unwrap();
    let lost = scan(&tool, &pool, &[""], &[]).expect(0);
    assert_eq!(figure(&lost, "read"), figure(&first, "read"), "{lost}");
}

/// Pairs across two disks, old enough for the cache.
fn corpus_of_pairs(pool: &Pool) -> Vec<groups::Group> {
    let made = groups::pairs(pool, 0, 1, 8);
    tree::settle();
    made
}

#[test]
fn what_cannot_be_read_is_named_and_the_scan_goes_on() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = corpus_of_pairs(&pool);
    let file = pool.on(1, &made[3][1]);
    tree::set_owner(&file, (1000, 0));
    tree::set_mode(&file, 0);
    // Of the same owner and mode, so that it is worth reading.
    tree::set_owner(&pool.on(0, &made[3][0]), (1000, 0));
    tree::set_mode(&pool.on(0, &made[3][0]), 0);
    let dir = pool.on(1, "closed");
    tree::make_dir(&dir, 0, (1000, 0));
    let tool = Tool::new();
    // root that may not do everything.
    let line: Vec<OsString> = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
        BINARY,
        "--format",
        "json",
        "--no-cache",
        pool.root().to_str().unwrap(),
    ]
    .map(OsString::from)
    .to_vec();
    let run = tool.run_line(&line).expect(1);
    for path in [&made[3][0], &made[3][1], Path::new("closed")] {
        assert_eq!(run.reasons_for(&pool.path(path)), ["permission"], "{run}");
    }
    assert_eq!(run.summary().get("planned"), made.len() as u64 - 1, "{run}");
    assert_eq!(run.summary().get("refused"), 3, "{run}");
}

#[test]
fn files_that_change_meanwhile_drop_out_and_the_rest_is_found() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = corpus_of_pairs(&pool);
    let expected: BTreeSet<PathBuf> = made.iter().flatten().map(|path| pool.path(path)).collect();
    let restless: Vec<PathBuf> = (0..4).map(|n| pool.on(n % 2, format!("restless/{n}"))).collect();
    for path in &restless {
        tree::write(path, &tree::bytes(500, SMALL));
    }
    let tool = Tool::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0u64.. {
                for (at, path) in restless.iter().enumerate() {
                    // Always different from each other: a group of them is one that was never true.
                    let mut file = OpenOptions::new().write(true).open(path).unwrap();
                    file.write_all(&tree::bytes(1000 + 4 * n + at as u64, SMALL)).unwrap();
                }
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..10 {
            let run = scan(&tool, &pool, &[""], &[]);
            assert_eq!(run.code(), Some(0), "{run}");
            let found: BTreeSet<PathBuf> = groups_found(&tool).into_iter().flatten().collect();
            assert_eq!(found, expected, "{run}");
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn filters_primaries_and_directories_apply_before_anything_is_read() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    for (n, len) in [(0, 1_000), (1, 2_000), (2, 3_000)] {
        for (disk, dir) in [(0, "media"), (1, "downloads"), (1, "other")] {
            tree::write(&pool.on(disk, format!("{dir}/sub/{n}.bin")), &tree::bytes(n, len));
        }
    }
    tree::settle();
    let tool = Tool::new();
    let primary = pool.path("media");
    let (media, none) = (primary.to_str().unwrap(), pool.path("media/none"));
    let other = format!("{}/other", pool.root().to_str().unwrap());
    std::fs::create_dir(&none).unwrap();
    for (dirs, extra, read, found) in [
        (&[""][..], &[][..], 9, 9),
        (&["media", "other"], &[], 6, 6),
        (&["media/sub", "media", "other"], &[], 6, 6),
        (&["media"], &[], 0, 0),
        (&[""], &["-p", media], 9, 9),
        (&[""], &["-p", none.to_str().unwrap()], 0, 0),
        (&[""], &["-p", none.to_str().unwrap(), "--any-master"], 9, 9),
        (&[""], &["-E", "other/**"], 6, 6),
        (&[""], &["-E", "other"], 6, 6),
        (&[""], &["-E", &other], 6, 6),
        (&[""], &["-I", "1.bin"], 3, 3),
        (&[""], &["--min-size", "2000"], 6, 6),
        (&[""], &["--min-size", "2000", "--max-size", "2500"], 3, 3),
    ] {
        let mut extra = extra.to_vec();
        extra.push("--no-cache");
        let run = scan(&tool, &pool, dirs, &extra).expect(0);
        let listed = groups_found(&tool).into_iter().flatten().count() as u64;
        assert_eq!((figure(&run, "read"), listed), (read, found), "{run}");
    }
    let elsewhere = tool.dir().to_str().unwrap().to_owned();
    tool.run(&[media, &elsewhere, "--no-cache"]).expect(2);
    tool.run(&[&elsewhere, "--no-cache"]).expect(3);
}

#[test]
fn a_name_that_a_filter_leaves_out_still_belongs_to_its_inode() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    tree::write(&pool.on(0, "media/a"), &tree::bytes(1, SMALL));
    tree::write(&pool.on(1, "downloads/a"), &tree::bytes(1, SMALL));
    std::fs::hard_link(pool.on(1, "downloads/a"), pool.on(1, "downloads/kept")).unwrap();
    let tool = Tool::new();
    let media = pool.path("media");
    let extra = ["-E", "kept", "-p", media.to_str().unwrap()];
    let run = scan(&tool, &pool, &[""], &extra).expect(0);
    assert_eq!(run.summary().get("planned"), 0, "{run}");
    assert_eq!(run.reasons_for(&pool.path("downloads/a")), ["excluded"], "{run}");
    // Names outside of the directories are found, too.
    let run = scan(&tool, &pool, &["media", "downloads"], &extra[2..]).expect(0);
    assert_eq!(run.summary().get("planned"), 1, "{run}");
    assert_eq!(run.lines_of("op")[0]["names"].as_array().unwrap().len(), 2, "{run}");
}

#[test]
fn what_belongs_to_others_and_other_mounts_is_left_out() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let content = tree::bytes(1, SMALL);
    tree::write(&pool.on(0, "a"), &content);
    for name in [
        "lost+found/a",
        ".Trash-0/files/a",
        "#recycle/a",
        "@Recycle/sub/a",
        "share/.recycle/user/a",
        "$RECYCLE.BIN/S-1-5-21/a",
        "snapraid.content",
        ".snapraid.content.lock",
    ] {
        tree::write(&pool.on(1, name), &content);
    }
    tree::write(&pool.on(1, ".xdedup-00000001-00000001-00000001-00000000-r"), &content);
    let mount = pool.on(1, "mounted");
    std::fs::create_dir(&mount).unwrap();
    run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "none".as_ref(), mount.as_os_str()]);
    tree::write(&mount.join("a"), &content);
    // A single file with another one mounted over it.
    let (over, under) = (pool.on(0, "a"), pool.on(1, "covered"));
    tree::write(&under, &tree::bytes(2, SMALL));
    run("mount", &["--bind".as_ref(), over.as_os_str(), under.as_os_str()]);
    let tool = Tool::new();
    let found = scan(&tool, &pool, &[""], &[]);
    for mounted in [&mount, &under] {
        try_run("umount", &[mounted]).unwrap();
    }
    let found = found.expect(0);
    assert_eq!(figure(&found, "read"), 0);
    assert!(groups_found(&tool).is_empty());
    assert_eq!(found.reasons_for(&mount), ["other-filesystem"], "{found}");
}

/// mergerfs shows what is mounted below a branch, and the files of subvolumes: what a scan does not enter is listed.
#[test]
fn directories_of_another_filesystem_or_subvolume_are_listed() {
    let pool = PoolPlan::of(&[Ext4, Btrfs]).mount();
    let content = tree::bytes(1, SMALL);
    tree::write(&pool.on(0, "a"), &content);
    for sub in ["films", "old"] {
        let sub = pool.on(1, sub);
        run("btrfs", &["subvolume".as_ref(), "create".as_ref(), sub.as_os_str()]);
        tree::write(&sub.join("deep/a"), &content);
    }
    let tool = Tool::new();
    let page = tool.dir().join("page.html");
    let report = ["--report", page.to_str().unwrap()];
    let films = pool.on(1, "films");
    for dirs in [&[""][..], &["films"], &["films/deep"]] {
        let run = scan(&tool, &pool, dirs, &report).expect(0);
        let listed = if dirs == ["films/deep"] { films.join("deep") } else { films.clone() };
        assert_eq!(run.reasons_for(&listed), ["other-filesystem"], "{run}");
        let also = run.reasons_for(&pool.on(1, "old")).len();
        assert_eq!(also, usize::from(dirs == [""]), "{run}");
        assert_eq!(run.summary().get("refused"), 1 + also as u64, "{run}");
        let page = std::fs::read_to_string(&page).unwrap();
        assert!(page.contains(listed.to_str().unwrap()) && page.contains("other-filesystem"));
    }
    let root = pool.root().to_str().unwrap();
    let text = tool.run(&["--no-cache", root]).expect(0);
    assert!(text.stdout.contains("skipped: 2 directories, other-filesystem: "), "{text}");
    assert!(text.stdout.contains(&format!("    {}\n", films.display())), "{text}");
    // The user left it out, or asks about another file.
    for leave_out in
        [&["-E", "films", "-E", "old"][..], &["--only", pool.path("a").to_str().unwrap()]]
    {
        let run = scan(&tool, &pool, &[""], leave_out).expect(0);
        assert!(run.reasons_for(&films).is_empty(), "{run}");
    }
    let inside = pool.path("films/deep");
    let run = scan(&tool, &pool, &[""], &["--only", inside.to_str().unwrap()]).expect(0);
    assert_eq!(run.reasons_for(&films), ["other-filesystem"], "{run}");
}

#[test]
fn branches_on_one_disk_and_within_each_other_are_walked_once() {
    let pool = PoolPlan::of(&[Xfs, Ext4])
        .branches(&[(0, "first"), (0, "second"), (1, "outer"), (1, "outer/inner")])
        .mount();
    tree::write(&pool.on(0, "a"), &tree::bytes(1, SMALL));
    tree::write(&pool.on(1, "b"), &tree::bytes(1, SMALL));
    tree::write(&pool.on(3, "c"), &tree::bytes(2, SMALL));
    let tool = Tool::new();
    let run = scan(&tool, &pool, &[""], &[]).expect(0);
    assert_eq!(figure(&run, "files"), 3, "{run}");
    assert_eq!(groups_found(&tool), [[pool.path("a"), pool.path("b")]]);
    assert_eq!(run.summary().get("planned"), 1, "{run}");
}

#[test]
fn a_branch_where_nothing_could_be_replaced_is_not_read() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mode(1, Mode::ReadOnly).mount();
    corpus_of_pairs(&pool);
    let tool = Tool::new();
    let run = scan(&tool, &pool, &[""], &[]).expect(0);
    assert_eq!((figure(&run, "files"), figure(&run, "read")), (8, 8), "{run}");
    assert!(run.stderr.contains("not scanned"), "{run}");
    assert_eq!(run.summary().get("read_only_branches"), 1, "{run}");
    assert!(groups_found(&tool).is_empty());
}

#[test]
fn a_disk_that_turned_read_only_is_told_and_the_others_are_scanned() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).mount();
    for disk in 0..3 {
        tree::write(&pool.on(disk, format!("{disk}")), &tree::bytes(1, SMALL));
    }
    let tool = Tool::new();
    pool.disk(1).remount("ro");
    let run = scan(&tool, &pool, &[""], &[]).expect(1);
    assert_eq!(run.reasons_for(&pool.branches()[1]), ["disk-read-only"], "{run}");
    assert_eq!(run.summary().get("planned"), 1, "{run}");
    assert!(run.stderr.contains("mounted read-only"), "{run}");
    pool.disk(1).remount("rw");
    scan(&tool, &pool, &[""], &[]).expect(0);
}

#[test]
fn shadows_are_seen_whatever_is_scanned() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    for disk in 0..2 {
        tree::write(&pool.on(disk, "both"), &tree::bytes(1, SMALL));
    }
    let tool = Tool::new();
    let run = scan(&tool, &pool, &[""], &[]).expect(0);
    assert_eq!(run.reasons_for(&pool.path("both")), ["shadowed"], "{run}");
    assert_eq!(groups_found(&tool), [[pool.on(0, "both"), pool.on(1, "both")]]);
}

#[test]
fn an_interrupt_ends_a_scan_at_once_and_keeps_what_was_read() {
    let pool = PoolPlan::of(&[Xfs, Xfs]).mount();
    corpus_of_pairs(&pool);
    for disk in 0..2 {
        // Holes that take hours to hash.
        let path = pool.on(disk, format!("huge/{disk}"));
        tree::write(&path, b"");
        File::options().write(true).open(&path).unwrap().set_len(1 << 47).unwrap();
        tree::age_path(&path, Duration::from_secs(60));
    }
    tree::settle();
    let tool = Tool::new();
    for (signal, code, what) in [(Signal::SIGINT, 130, "-n"), (Signal::SIGTERM, 143, "-e")] {
        let (cache, root) = (cache(&tool), pool.root());
        let line = [BINARY, what, "--cache", cache.to_str().unwrap(), root.to_str().unwrap()];
        let line: Vec<OsString> = line.map(OsString::from).to_vec();
        let scan = tool.start(&line);
        // The small files are through by then.
        let deep_in_holes = || scan.bytes_read() > 1 << 30;
        wait::until("the holes to be read", wait::LONG, deep_in_holes).unwrap();
        scan.signal(signal);
        let run = scan.end().expect(code);
        assert!(run.stderr.contains("stopped before the scan"), "{run}");
        // A run that changes files answers at once, before it has come to an end.
        assert_eq!(run.stderr.starts_with("stopping: "), what == "-e", "{run}");
    }
    let run = scan(&tool, &pool, &[""], &["--max-size", "1M"]).expect(0);
    assert_eq!((figure(&run, "read"), figure(&run, "cached")), (0, 16), "{run}");
}

#[test]
fn a_scan_leaves_no_trace_on_the_branches() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    corpus(&pool);
    let before = snapshot::all_entries(&pool);
    let atimes = || -> BTreeMap<PathBuf, i64> {
        // Reading a symlink moves its atime.
        let is_symlink = |path: &PathBuf| pool.on(0, path).is_symlink();
        let paths = snapshot::entries(&pool, 0).into_keys().filter(|path| !is_symlink(path));
        let atime = |path: PathBuf| {
            let metadata = std::fs::symlink_metadata(pool.on(0, &path)).unwrap();
            (path, std::os::unix::fs::MetadataExt::atime_nsec(&metadata))
        };
        paths.map(atime).collect()
    };
    let read_before = atimes();
    let tool = Tool::new();
    scan(&tool, &pool, &[""], &[]).expect(0);
    assert_eq!(snapshot::all_entries(&pool), before);
    assert_eq!(atimes(), read_before);
    assert!(!tool.journal().exists());
}
