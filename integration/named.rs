//! What the directories on the command line mean: primaries are scanned too, only what lies below a DIR is replaced, and
//! what matches nothing is said.

use std::ffi::OsString;
use std::path::Path;

use crate::groups::SMALL;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{manifest, snapshot, tree};

fn write(pool: &Pool, disk: usize, path: &str, seed: u64) {
    tree::write(&pool.on(disk, path), &tree::bytes(seed, SMALL));
}

/// Scans with `line`, in which a word that begins with a slash is a path of the pool.
fn scan(tool: &Tool, pool: &Pool, line: &[&str]) -> Run {
    let word = |word: &&str| match word.strip_prefix('/') {
        Some(path) => pool.path(path).into_os_string(),
        None => OsString::from(word),
    };
    let fixed = ["--format", "json", "--no-cache"].map(OsString::from);
    tool.run(&fixed.into_iter().chain(line.iter().map(word)).collect::<Vec<_>>())
}

#[test]
fn primaries_are_scanned_and_only_what_lies_below_a_directory_is_replaced() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    write(&pool, 0, "media/film", 1);
    write(&pool, 1, "torrents/film", 1);
    // A second copy below the primary, and a pair that no torrent equals.
    write(&pool, 1, "media/again", 1);
    write(&pool, 0, "media/x", 2);
    write(&pool, 1, "media/y", 2);
    // A link of the duplicate elsewhere: to replace it would change what was not named.
    write(&pool, 0, "media/shared", 3);
    write(&pool, 1, "torrents/shared", 3);
    std::fs::create_dir(pool.on(1, "other")).unwrap();
    std::fs::hard_link(pool.on(1, "torrents/shared"), pool.on(1, "other/shared")).unwrap();
    tree::settle();
    let tool = Tool::new();
    let run = scan(&tool, &pool, &["-p", "/media", "/torrents", "-e"]).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    snapshot::assert_one_inode(&pool, &["media/film", "torrents/film"]);
    assert!(pool.on(0, "torrents/film").exists() && pool.on(1, "media/again").exists());
    for path in ["media/again", "torrents/shared"] {
        assert_eq!(run.reasons_for(&pool.path(path)), ["outside"], "{run}");
    }
    assert_eq!(run.summary().get("refused"), 2, "{run}");
    assert_eq!(run.summary().get("without_directory"), 2, "media/x and media/y: {run}");
    // Named, they go.
    let run = scan(&tool, &pool, &["-p", "/media", "/torrents", "/media", "/other", "-e"]);
    assert_eq!(run.expect(0).summary().get("done"), 3);
    snapshot::assert_one_inode(&pool, &["media/shared", "torrents/shared", "other/shared"]);
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    write(&pool, 0, "media/film", 1);
    let tool = Tool::new();
    for line in [
        &["-p", "/media", "/downloads"][..],
        &["/media", "/downloads"],
        &["-p", "/downloads", "/media"],
        &["-p", "/media/film", "/media"],
    ] {
        let run = scan(&tool, &pool, line);
        assert!(matches!(run.code(), Some(2 | 3)) && run.stdout.is_empty(), "{run}");
        let named = if line.contains(&"/downloads") { "downloads" } else { "media/film" };
        let named = pool.path(named);
        assert!(run.stderr.contains(named.to_str().unwrap()), "{run}");
    }
}

/// A path of one disk says more than the rules can: nobody shall think that it means that disk alone.
#[test]
fn a_directory_of_one_disk_is_an_error_that_names_the_directory_of_the_pool() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    write(&pool, 0, "media/film", 1);
    write(&pool, 1, "torrents/film", 1);
    let (tool, on_disk, in_pool) = (Tool::new(), pool.on(0, "media"), pool.path("media"));
    let link = tool.dir().join("link");
    std::os::unix::fs::symlink(&on_disk, &link).unwrap();
    let (root, torrents) = (pool.root(), pool.path("torrents"));
    let file = pool.on(1, "torrents/film");
    let scan = |line: &[&Path]| {
        let fixed = ["--format", "json", "--no-cache"].map(Path::new);
        tool.run(&[&fixed, line].concat())
    };
    let (primary, only) = (Path::new("-p"), Path::new("--only"));
    for line in [&[primary, &on_disk, root][..], &[primary, &link, root], &[&torrents, &on_disk]] {
        let run = scan(line).expect(2);
        assert!(run.stdout.is_empty() && run.stderr.contains("of one disk"), "{run}");
        assert!(run.stderr.contains(&format!("hint: name {in_pool:?}")), "{run}");
    }
    let run = scan(&[root, only, &on_disk]).expect(1);
    assert_eq!(run.reasons_for(&on_disk), ["unresolved"], "{run}");
    // A file of one disk is that file.
    let run = scan(&[root, primary, &in_pool, only, &file]).expect(0);
    assert_eq!(run.summary().get("planned"), 1, "{run}");
}

/// What is warned of on standard error, in the words that name it.
#[track_caller]
fn assert_warned(run: &Run, expected: &[&str]) {
    let warnings: Vec<&str> = run.stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), expected.len(), "{run}");
    for words in expected {
        assert!(warnings.iter().any(|line| line.contains(words)), "{words}: {run}");
    }
    // Standard output is JSON and nothing else.
    run.summary();
}

#[test]
fn what_matches_nothing_is_named() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    write(&pool, 0, "media/film.mkv", 1);
    write(&pool, 1, "torrents/film.mkv", 1);
    write(&pool, 1, "torrents/sample/film.mkv", 1);
    tree::write(&pool.on(1, "torrents/tiny.nfo"), b"");
    for dir in ["void/below", "music", "torrents/old"] {
        std::fs::create_dir_all(pool.on(0, dir)).unwrap();
    }
    tree::settle();
    let tool = Tool::new();
    let void = pool.path("void");
    let shown = |path: &Path| format!("{path:?}");
    let line = ["-p", "/media", "-p", "/void", "/torrents", "/music"];
    let globs =
        ["-I", "*.mkv", "-I", "*.mp4", "-E", "sample", "-E", "old", "-E", "*.nfo", "-E", "Old/**"];
    let run = scan(&tool, &pool, &[&globs[..], &line[..]].concat()).expect(0);
    let expected = [shown(&void), shown(&pool.path("music"))];
    assert_warned(&run, &[&expected[0], &expected[1], "-I \"*.mp4\"", "-E \"Old/**\""]);
    assert_eq!(run.summary().get("planned"), 1, "{run}");
    // All of it matches: nothing to say.
    let run = scan(&tool, &pool, &["-p", "/media", "-E", "sample", "-I", "*.mkv", "/torrents"]);
    assert_warned(&run.expect(0), &[]);

    // The same of a list.
    let files = ["media/film.mkv", "torrents/film.mkv", "torrents/sample/film.mkv"];
    manifest::write_json(&[files.map(|file| pool.path(file)).to_vec()], &tool.list());
    let list = tool.list();
    let line = ["-p", "/media", "-p", "/void", "-E", "sample", "-E", "Old/**", "-I", "film.*"];
    let run = scan_list(&tool, &pool, &list, &line).expect(0);
    assert_warned(&run, &[&shown(&void), "-E \"Old/**\""]);
    assert_eq!(run.summary().get("planned"), 1, "{run}");
}

/// As [`scan`], of a list.
fn scan_list(tool: &Tool, pool: &Pool, list: &Path, line: &[&str]) -> Run {
    let word = |word: &&str| match word.strip_prefix('/') {
        Some(path) => pool.path(path).into_os_string(),
        None => OsString::from(word),
    };
    let fixed = ["--format".into(), "json".into(), "-m".into(), list.as_os_str().to_owned()];
    tool.run(&fixed.into_iter().chain(line.iter().map(word)).collect::<Vec<_>>())
}

/// jdupes without -H names one of the links of a file, whichever a directory lists first.
#[test]
fn an_inode_lies_under_a_primary_if_any_of_its_names_does() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    write(&pool, 0, "media/x", 1);
    std::fs::create_dir_all(pool.on(0, "torrents")).unwrap();
    std::fs::hard_link(pool.on(0, "media/x"), pool.on(0, "torrents/x")).unwrap();
    write(&pool, 1, "downloads/y", 1);
    tree::settle();
    let tool = Tool::new();
    manifest::write_json(
        &[["torrents/x", "downloads/y"].map(|file| pool.path(file)).to_vec()],
        &tool.list(),
    );
    // Whatever the policy prefers, and also where copies outside of primaries are taken.
    for extra in [&[][..], &["-d", "mostfreespace"], &["--any-master", "-d", "newest"]] {
        let line = [&["-p", "/media"][..], extra].concat();
        let run = scan_list(&tool, &pool, &tool.list(), &line).expect(0);
        assert_warned(&run, &[]);
        let ops = run.lines_of("op");
        assert_eq!(ops.len(), 1, "{run}");
        assert_eq!(ops[0]["master"].as_str(), pool.path("media/x").to_str(), "{run}");
        assert_eq!(run.summary().get("refused"), 0, "{run}");
    }
    let run = scan_list(&tool, &pool, &tool.list(), &["-p", "/media", "-e"]).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    snapshot::assert_one_inode(&pool, &["media/x", "torrents/x", "downloads/y"]);
}
