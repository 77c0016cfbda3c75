//! A pool as download clients, media managers, a media server, Samba and SnapRAID leave it: every duplicate that other
//! programs find there is replaced, or skipped with a reason, or counted.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::groups::SMALL;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{manifest, snapshot, tree};

/// Who wrote a file: owner, group and permissions.
#[derive(Clone, Copy)]
struct By((u32, u32), u32);

const QBITTORRENT: By = By((1001, 1000), 0o644);
const RADARR: By = By((1002, 1000), 0o664);
/// One user for all programs, as the guides of these programs advise.
const SHARED: By = By((1000, 1000), 0o664);

/// Files are of one size where their bytes are equal, and of no other.
fn put(pool: &Pool, seed: usize, by: By, disk: usize, path: &str) -> PathBuf {
    let file = pool.on(disk, path);
    tree::write(&file, &tree::bytes(seed as u64, SMALL + seed));
    tree::set_owner(&file, by.0);
    tree::set_mode(&file, by.1);
    file
}

fn link(pool: &Pool, disk: usize, from: &str, to: &str) {
    std::fs::create_dir_all(pool.on(disk, to).parent().unwrap()).unwrap();
    std::fs::hard_link(pool.on(disk, from), pool.on(disk, to)).unwrap();
}

/// Each duplicate below torrents, and what has to become of it: "" is that it is replaced.
const EXPECTED: [(&str, &str); 12] = [
    ("torrents/movies/One.2020.1080p/one.mkv", "owner-differs"),
    ("torrents/movies/Two.2021/two.mkv", ""),
    ("torrents/movies/Three/three.mkv", "mode-differs"),
    ("torrents/cross-seed/Show.S01E01.mkv", ""),
    ("torrents/movies/Two.2021/two.nfo", ""),
    ("torrents/movies/Four/four.mkv", "xattr-differs"),
    ("torrents/old.mkv", ""),
    ("torrents/twice.mkv", "shadowed"),
    ("torrents/private/p.mkv", "directory-differs"),
    ("torrents/caf\u{e9}/t\u{ea}te \u{201c}a\u{201d}.mkv", ""),
    ("torrents/kept.mkv", "outside"),
    ("torrents/again.mkv", ""),
];

fn lay_out(pool: &Pool) {
    // qBittorrent and Radarr as two users; as one; as one with two umasks.
    put(pool, 1, QBITTORRENT, 0, EXPECTED[0].0);
    put(pool, 1, RADARR, 1, "media/movies/One (2020)/One (2020).mkv");
    put(pool, 2, SHARED, 0, EXPECTED[1].0);
    put(pool, 2, SHARED, 1, "media/movies/Two (2021)/Two (2021).mkv");
    put(pool, 3, By(SHARED.0, 0o644), 2, EXPECTED[2].0);
    put(pool, 3, SHARED, 0, "media/movies/Three (2022)/Three (2022).mkv");
    // Sonarr's link where both were on one disk, and another torrent of the same episode.
    put(pool, 4, SHARED, 0, "torrents/tv/Show.S01E01/e.mkv");
    link(pool, 0, "torrents/tv/Show.S01E01/e.mkv", "media/tv/Show/Season 01/S01E01.mkv");
    put(pool, 4, SHARED, 2, EXPECTED[3].0);
    // A sidecar with a stamp of Samba; a file with a user's tag.
    put(pool, 5, SHARED, 0, EXPECTED[4].0);
    let nfo = put(pool, 5, SHARED, 1, "media/movies/Two (2021)/movie.nfo");
    tree::set_xattr(&nfo, "user.DOSATTRIB", b"0x20");
    let tagged = put(pool, 6, SHARED, 0, EXPECTED[5].0);
    tree::set_xattr(&tagged, "user.xdg.tags", b"seen");
    put(pool, 6, SHARED, 1, "media/movies/Four/Four.mkv");
    // What was deleted through Samba and by the NAS.
    put(pool, 7, SHARED, 0, EXPECTED[6].0);
    put(pool, 7, SHARED, 1, "media/old.mkv");
    put(pool, 7, SHARED, 2, "media/#recycle/old.mkv");
    put(pool, 7, SHARED, 2, "media/.recycle/user/old.mkv");
    // The remains of a mover, and a directory that the disks disagree about.
    put(pool, 8, SHARED, 0, EXPECTED[7].0);
    put(pool, 8, SHARED, 1, EXPECTED[7].0);
    put(pool, 8, SHARED, 2, "media/twice.mkv");
    put(pool, 9, SHARED, 0, EXPECTED[8].0);
    put(pool, 9, SHARED, 1, "media/p.mkv");
    tree::make_dir(&pool.on(0, "torrents/private"), 0o700, SHARED.0);
    tree::make_dir(&pool.on(1, "torrents/private"), 0o755, SHARED.0);
    put(pool, 10, SHARED, 2, EXPECTED[9].0);
    put(pool, 10, SHARED, 1, "media/T\u{ea}te.mkv");
    // A file with a link in a third place, and a film that is in the library twice.
    put(pool, 11, SHARED, 0, EXPECTED[10].0);
    link(pool, 0, EXPECTED[10].0, "backup/kept.mkv");
    put(pool, 11, SHARED, 1, "media/kept.mkv");
    put(pool, 12, SHARED, 2, EXPECTED[11].0);
    put(pool, 12, SHARED, 0, "media/again.mkv");
    put(pool, 12, SHARED, 1, "media/uhd/again.mkv");
    // Jellyfin's posters: in media only. Two torrents of one thing: in torrents only.
    for (disk, name) in [(0, "One (2020)"), (1, "Two (2021)"), (2, "Four")] {
        put(pool, 20, RADARR, disk, &format!("media/movies/{name}/poster.jpg"));
    }
    for (disk, name) in [(0, "a"), (1, "b")] {
        put(pool, 21, QBITTORRENT, disk, &format!("torrents/iso/{name}.iso"));
    }
    // SnapRAID's own, and empty files.
    for disk in 0..3 {
        put(pool, 30, By((0, 0), 0o600), disk, "snapraid.content");
    }
    for (disk, path) in [(0, "torrents/empty"), (1, "media/empty")] {
        tree::write(&pool.on(disk, path), b"");
    }
}

/// The groups that `rmlint` finds below `dirs`.
fn rmlint(tool: &Tool, dirs: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let list = tool.dir().join("rmlint.json");
    let status = Command::new("rmlint")
        .args(["-T", "df", "--no-followlinks", "--hidden", "-o"])
        .arg(format!("json:{}", list.display()))
        .args(dirs)
        .current_dir(tool.dir())
        .status()
        .unwrap();
    assert!(status.success());
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    let mut groups: std::collections::BTreeMap<String, Vec<PathBuf>> = Default::default();
    for item in list.iter().filter(|item| item["type"] == "duplicate_file") {
        let path = PathBuf::from(item["path"].as_str().unwrap());
        groups.entry(item["checksum"].as_str().unwrap().to_owned()).or_default().push(path);
    }
    groups.into_values().collect()
}

/// The groups that `fclones` finds below `dirs`.
fn fclones(dirs: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let line = ["group", "--hidden", "--format", "json"].map(OsString::from);
    let line: Vec<OsString> = line.into_iter().chain(dirs.iter().map(OsString::from)).collect();
    let list: Value = serde_json::from_slice(&run("fclones", &line).stdout).unwrap();
    let paths = |group: &Value| {
        let files = group["files"].as_array().unwrap().iter();
        files.map(|file| PathBuf::from(file.as_str().unwrap())).collect()
    };
    list["groups"].as_array().unwrap().iter().map(paths).collect()
}

/// The inodes that a run has replaced, kept or skipped with a reason, as (disk, inode number).
fn accounted(pool: &Pool, run: &Run) -> BTreeSet<(usize, u64)> {
    let mut paths = BTreeSet::new();
    for line in run.lines().iter().filter(|line| line["type"] == "op" || line["type"] == "refusal")
    {
        let named = ["path", "master"].into_iter().filter_map(|key| line[key].as_str());
        let names = line["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        paths.extend(named.chain(names).map(PathBuf::from));
    }
    let relative = |path: &PathBuf| path.strip_prefix(pool.root()).unwrap().to_path_buf();
    paths.iter().flat_map(|path| snapshot::places(pool, relative(path))).collect()
}

#[test]
fn every_duplicate_that_other_programs_find_is_replaced_or_has_a_reason() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    lay_out(&pool);
    tree::settle();
    let tool = Tool::new();
    let dirs = ["media", "torrents"].map(|dir| pool.path(dir));
    let line = ["--format", "json", "--no-cache", "-p"].map(PathBuf::from);
    let scan = |last: &[&str]| -> Run {
        let last = last.iter().map(PathBuf::from);
        tool.run(&line.iter().chain(&dirs).cloned().chain(last).collect::<Vec<_>>())
    };
    let run = scan(&[]).expect(0);
    let replaced: Vec<String> = run
        .lines_of("op")
        .iter()
        .flat_map(|op| op["names"].as_array().unwrap().clone())
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    for (path, reason) in EXPECTED {
        let path = pool.path(path);
        let told = run.reasons_for(&path);
        let expected: &[&str] = if reason.is_empty() { &[] } else { &[reason] };
        assert_eq!(told, expected, "{}: {run}", path.display());
        let is_replaced = replaced.iter().any(|name| Path::new(name) == path);
        assert_eq!(is_replaced, reason.is_empty(), "{}: {run}", path.display());
    }

    let accounted = accounted(&pool, &run);
    let list = tool.dir().join("jdupes");
    manifest::jdupes(&["-r", "-0"], &[&dirs[0], &dirs[1]], &list);
    let mut counted = BTreeSet::new();
    let found = [
        ("jdupes", manifest::read_nul(&list)),
        ("rmlint", rmlint(&tool, &dirs)),
        ("fclones", fclones(&dirs)),
    ];
    for (program, groups) in found {
        assert!(groups.len() >= EXPECTED.len() + 2, "{program}: {groups:?}");
        for group in &groups {
            let below = |dir: usize| group.iter().any(|path| path.starts_with(&dirs[dir]));
            for path in group {
                let path = path.strip_prefix(pool.root()).unwrap();
                let is_bin = |part: &std::ffi::OsStr| part == "#recycle" || part == ".recycle";
                if path.iter().any(is_bin) {
                    continue;
                }
                let places = snapshot::places(&pool, path);
                if below(0) && below(1) {
                    let known = places.iter().all(|place| accounted.contains(place));
                    assert!(known, "{program} found {}: {run}", path.display());
                } else {
                    counted.extend(places);
                }
            }
        }
    }
    // Pairs that no copy below the other directory equals are counted.
    let summary = run.summary();
    let figures = ["without_primary", "without_directory"].map(|name| summary.get(name));
    assert_eq!((figures, counted.len()), ([2, 3], 5), "{run}");

    // What lies in bins is counted, too.
    assert_eq!(summary.get("in_recycle_bins"), 2, "{run}");

    // And what was planned is done; afterwards only what has a reason is left.
    let view = snapshot::view(pool.root());
    let done = scan(&["-e"]).expect(0);
    assert_eq!(done.summary().get("done"), replaced.len() as u64, "{done}");
    let again = scan(&[]).expect(0);
    let figures = |run: &Run| ["refused", "bytes_refused"].map(|name| run.summary().get(name));
    assert_eq!((again.summary().get("planned"), figures(&again)), (0, figures(&run)), "{again}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}
