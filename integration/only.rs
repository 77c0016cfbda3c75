//! `--only`: just the named files are replaced, whatever else the pool has twice, and each file that stays has its reason.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::groups::SMALL;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Mode, Pool, PoolPlan};
use crate::harness::tool::{BINARY, Run, Tool};
use crate::harness::{command, snapshot, tree};

fn write(pool: &Pool, disk: usize, path: &str, seed: u64) {
    tree::write(&pool.on(disk, path), &tree::bytes(seed, SMALL));
}

/// Runs with `line`, in which a word that begins with a slash is a path of the pool.
fn run(tool: &Tool, pool: &Pool, line: &[&str]) -> Run {
    let word = |word: &&str| match word.strip_prefix('/') {
        Some(path) => pool.path(path).into_os_string(),
        None => OsString::from(word),
    };
    let fixed = ["--format", "json"].map(OsString::from);
    tool.run(&fixed.into_iter().chain(line.iter().map(word)).collect::<Vec<_>>())
}

/// A film and a season that the pool has twice, and other duplicates.
fn pool() -> Pool {
    let pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).mount();
    write(&pool, 0, "media/new film.mkv", 1);
    write(&pool, 1, "torrents/new.film", 1);
    for n in 1..=3 {
        write(&pool, 1, &format!("tv/Show/Season 1/e{n}.mkv"), 10 + n);
        write(&pool, 2, &format!("torrents/s01/e{n}"), 10 + n);
    }
    write(&pool, 0, "other/a", 2);
    write(&pool, 1, "other/b", 2);
    tree::settle();
    pool
}

#[test]
fn a_file_or_a_directory_is_replaced_and_nothing_else() {
    let (pool, tool) = (pool(), Tool::new());
    write(&pool, 0, "tv/Show/Season 1/e4.mkv", 99);
    tree::settle();
    let before = snapshot::view(pool.root());
    let plan = run(&tool, &pool, &["--only", "/media/new film.mkv"]).expect(0);
    assert_eq!(plan.summary().get("planned"), 1, "{plan}");
    snapshot::assert_same(&before, &snapshot::view(pool.root()));

    let done = run(&tool, &pool, &["--only", "/media/new film.mkv", "-e"]).expect(0);
    assert_eq!((done.summary().get("done"), done.summary().get("refused")), (1, 0), "{done}");
    let (disk, _) = snapshot::assert_one_inode(&pool, &["media/new film.mkv", "torrents/new.film"]);
    assert_eq!(disk, 1, "the copy that was there stays");
    assert!(pool.on(0, "other/a").exists() && pool.on(1, "other/b").exists());

    // A season, of which one file has no copy, by a path with a symlink and from its directory.
    let link = tool.dir().join("link");
    symlink(pool.path("tv/Show"), &link).unwrap();
    let season = link.join("Season 1");
    let line = ["--format", "json", "-e", "--only"].map(OsString::from);
    let done = tool.run(&[&line[..], &[season.into()]].concat()).expect(0);
    assert_eq!(done.summary().get("done"), 3, "{done}");
    assert_eq!(done.reasons_for(&pool.path("tv/Show/Season 1/e4.mkv")), ["no-copy"], "{done}");
    for n in 1..=3 {
        let names = [format!("tv/Show/Season 1/e{n}.mkv"), format!("torrents/s01/e{n}")];
        let (disk, _) = snapshot::assert_one_inode(&pool, &names);
        assert_eq!(disk, 2);
    }
    snapshot::assert_complete(&before, &snapshot::view(pool.root()));
    // Once more: each says that it is a link already.
    let again = run(&tool, &pool, &["-e", "--only", "/tv/Show/Season 1"]).expect(0);
    assert_eq!((again.summary().get("planned"), again.summary().get("refused")), (0, 4));
    assert!(again.stdout.contains("is a link to it already"), "{again}");
}

#[test]
fn only_files_of_the_size_of_a_named_file_are_read() {
    let (pool, tool) = (pool(), Tool::new());
    // As large as the named file, and others that are equal to each other and not read.
    for (disk, name) in [(0, "big/a"), (1, "big/b")] {
        tree::write(&pool.on(disk, name), &tree::bytes(77, 40 * SMALL));
    }
    tree::settle();
    let trace = tool.dir().join("trace");
    let strace = ["strace", "-f", "-y", "-e", "trace=read,pread64,preadv,preadv2,mmap", "-o"];
    let strace: Vec<OsString> = strace.iter().map(OsString::from).collect();
    let wrapper = [strace, vec![trace.clone().into_os_string()]].concat();
    let line = ["--no-cache".into(), "--only".into(), pool.path("media/new film.mkv").into()];
    tool.run_under::<OsString, OsString>(&wrapper, &line).expect(0);
    let read = std::fs::read_to_string(&trace).unwrap();
    assert!(read.contains("new film.mkv>") && read.contains("torrents/new.film>"));
    assert!(!read.contains("big/a>") && !read.contains("big/b>"), "read for nothing");
}

#[test]
fn each_named_file_that_stays_has_its_reason() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).mode(2, Mode::ReadOnly).mount();
    write(&pool, 0, "media/new", 1);
    write(&pool, 1, "torrents/new", 1);
    write(&pool, 0, "media/alone", 2);
    tree::write(&pool.on(0, "media/size"), &tree::bytes(3, SMALL + 1));
    write(&pool, 0, "media/#recycle/x", 4);
    write(&pool, 2, "media/ro", 5);
    tree::write(&pool.on(0, "media/empty"), b"");
    std::fs::create_dir(pool.on(0, "media/none")).unwrap();
    symlink("new", pool.on(0, "media/link")).unwrap();
    tree::settle();
    let tool = Tool::new();
    let reason = |line: &[&str], path: &str, code: i32| -> String {
        let run = run(&tool, &pool, line).expect(code);
        assert_eq!(run.summary().get("planned"), 0, "{run}");
        let reasons = run.reasons_for(&pool.path(path));
        assert_eq!(reasons.len(), 1, "{run}");
        format!("{}: {}", reasons[0], run.stdout)
    };
    for (line, path, code, expected) in [
        (&["--only", "/media/alone"][..], "media/alone", 0, "no-copy: "),
        (&["--only", "/media/alone"], "media/alone", 0, "not equal to any of the 2 other files"),
        (&["--only", "/media/size"], "media/size", 0, "no other scanned file has its size"),
        (&["--only", "/media/gone"], "media/gone", 1, "unresolved: "),
        (&["--only", "/media/link"], "media/link", 0, "not-regular: "),
        (&["--only", "/media/empty"], "media/empty", 0, "empty: "),
        (&["--only", "/media/none"], "media/none", 0, "no file there"),
        (&["--only", "/media/#recycle/x"], "media/#recycle/x", 0, "excluded: "),
        (&["--only", "/media/ro"], "media/ro", 0, "read-only ones are not"),
        (&["--only", "/media/new", "-E", "new"], "media/new", 0, "left out by -I or -E"),
        (&["--only", "/media/new", "--min-size", "9G"], "media/new", 0, "outside of --min-size"),
        (&["--only", "/media/new", "-p", "/media"], "media/new", 0, "kept: "),
        (&["--only", "/media/new", "/torrents"], "media/new", 0, "outside: "),
        (
            &["--only", "/media/alone", "-p", "/media/none"],
            "media/alone",
            0,
            "none of them below -p",
        ),
    ] {
        let said = reason(line, path, code);
        assert!(said.contains(expected), "{line:?}: {said}");
    }
    let elsewhere = run(&tool, &pool, &["--only", "..", "-e"]).expect(2);
    assert!(elsewhere.stderr.contains("--map FROM=TO"), "{elsewhere}");
    run(&tool, &pool, &["--only", "/media/new", "-m", "list"]).expect(2);
}

#[test]
fn primaries_and_directories_mean_what_they_mean_without_it() {
    let (pool, tool) = (pool(), Tool::new());
    let line = ["--only", "/media/new film.mkv", "--only", "/torrents/new.film", "-p", "/media"];
    let done = run(&tool, &pool, &[&line[..], &["-e"]].concat()).expect(0);
    assert_eq!(done.summary().get("done"), 1, "{done}");
    let (disk, _) = snapshot::assert_one_inode(&pool, &["media/new film.mkv", "torrents/new.film"]);
    assert_eq!(disk, 0, "the copy under the primary stays");
    // The only copy lies outside of the directory in which copies are looked for.
    let none = run(&tool, &pool, &["--only", "/tv/Show/Season 1/e1.mkv", "/tv", "-e"]).expect(0);
    assert_eq!(none.reasons_for(&pool.path("tv/Show/Season 1/e1.mkv")), ["no-copy"], "{none}");
}

/// Runs with `paths` on standard input.
fn run_listed(tool: &Tool, paths: &[u8], more: &[&str]) -> std::process::Output {
    let list = tool.dir().join("paths");
    std::fs::write(&list, paths).unwrap();
    std::process::Command::new(BINARY)
        .arg("--journal")
        .arg(tool.journal())
        .args(["--no-cache", "--only", "-"])
        .args(more)
        .stdin(std::fs::File::open(&list).unwrap())
        .output()
        .unwrap()
}

#[test]
fn paths_come_from_standard_input_from_containers_and_by_bind_mounts() {
    let (pool, tool) = (pool(), Tool::new());
    let map = format!("--map=/data={}", pool.root().display());
    let listed = b"/data/media/new film.mkv\n/data/tv/Show/Season 1/e1.mkv\n";
    let done = run_listed(&tool, listed, &["-e", &map]);
    assert!(done.status.success(), "{done:?}");
    snapshot::assert_one_inode(&pool, &["media/new film.mkv", "torrents/new.film"]);
    snapshot::assert_one_inode(&pool, &["tv/Show/Season 1/e1.mkv", "torrents/s01/e1"]);

    let bound = tool.dir().join("bound");
    std::fs::create_dir(&bound).unwrap();
    let mount = |from: &Path| {
        command::run("mount", &["--bind".as_ref(), from.as_os_str(), bound.as_os_str()]);
    };
    mount(&pool.path("tv"));
    let listed = format!("{}\0", bound.join("Show/Season 1/e2.mkv").display());
    let done = run_listed(&tool, listed.as_bytes(), &["-e", pool.root().to_str().unwrap()]);
    command::run("umount", &[&bound]);
    assert!(done.status.success(), "{done:?}");
    snapshot::assert_one_inode(&pool, &["tv/Show/Season 1/e2.mkv", "torrents/s01/e2"]);
    // On its disk.
    let listed = format!("{}\n", pool.on(1, "tv/Show/Season 1/e3.mkv").display());
    let done = run_listed(&tool, listed.as_bytes(), &["-e", pool.root().to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    snapshot::assert_one_inode(&pool, &["tv/Show/Season 1/e3.mkv", "torrents/s01/e3"]);
    // Nothing at all is nothing to do.
    let nothing = run_listed(&tool, b"", &["-e"]);
    assert!(nothing.status.success(), "{nothing:?}");
    assert!(String::from_utf8_lossy(&nothing.stdout).contains("no file was named"), "{nothing:?}");
}
