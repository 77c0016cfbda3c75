//! What the directories on the command line mean: primaries are scanned too, only what lies below a DIR is replaced, and
//! what matches nothing is said.

use std::ffi::OsString;

use crate::groups::SMALL;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

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
    for path in ["media/again", "other/shared"] {
        assert_eq!(run.reasons_for(&pool.path(path)), ["outside"], "{run}");
    }
    assert_eq!(run.summary().get("refused"), 2, "{run}");
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
