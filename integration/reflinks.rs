//! Files that share their blocks: the tool knows them and makes them (`--link`), on the filesystems that can.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{self, Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::preview::Preview;
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};
use crate::scan::figure;

/// Not a multiple of any block.
const SIZE: usize = (6 << 20) + 123;

fn clone(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let options = ["--reflink=always", "--preserve=all"].map(AsRef::as_ref);
    run("cp", &[&options[..], &[from.as_os_str(), to.as_os_str()]].concat());
}

fn scan(tool: &Tool, pool: &Pool, extra: &[&str]) -> Run {
    let (media, root, cache) = (pool.path("media"), pool.root(), tool.dir().join("cache"));
    let line = ["-v", "-p", media.to_str().unwrap(), root.to_str().unwrap()];
    // A cache of its own: another test's scan may hold the usual one.
    let cache = ["--cache", cache.to_str().unwrap()];
    let cache = if extra.contains(&"--no-cache") { &[][..] } else { &cache };
    tool.run(&[extra, &line, cache].concat()).expect(0)
}

/// A kept copy with a clone of another owner beside it, and a copy on another disk.
fn three_copies(pool: &Pool) {
    tree::write(&pool.on(0, "media/a"), &tree::bytes(1, SIZE));
    tree::write(&pool.on(1, "dl/a"), &tree::bytes(1, SIZE));
    nix::unistd::sync();
    clone(&pool.on(0, "media/a"), &pool.on(0, "music/a"));
    tree::set_owner(&pool.on(0, "music/a"), (1000, 1000));
    nix::unistd::sync();
    tree::settle();
}

/// Pools of a disk that can share blocks and one that cannot, filled by `fill`.
fn pools(fill: fn(&Pool)) -> impl Iterator<Item = (Filesystem, Pool)> {
    [Xfs, Btrfs].into_iter().map(move |filesystem| {
        let pool = PoolPlan::of(&[filesystem, Ext4]).mount();
        fill(&pool);
        (filesystem, pool)
    })
}

#[test]
fn a_file_that_shares_all_its_blocks_is_done_and_is_not_read() {
    for (filesystem, pool) in pools(three_copies) {
        let tool = Tool::new();
        let before = std::fs::metadata(pool.on(0, "music/a")).unwrap();
        let dry = scan(&tool, &pool, &["--format", "json", "--no-cache"]);
        let figures = dry.summary();
        // The other owner is no obstacle to what is done already.
        for (key, value) in [("planned", 1), ("already_shared", 1), ("refused", 0)] {
            assert_eq!(figures.get(key), value, "{filesystem:?} {key}: {dry}");
        }
        // Of both that share their blocks one, and the one on the other disk.
        let (read, shared) = (figure(&dry, "read"), figure(&dry, "shared"));
        assert!(shared > 0 && read == 2 * shared, "{filesystem:?}: {dry}");
        let text = scan(&tool, &pool, &[]);
        assert!(text.stdout.contains("1 already sharing blocks"), "{text}");
        let done = scan(&tool, &pool, &["-e", "--format", "json"]);
        let figures = done.summary();
        assert_eq!((figures.get("done"), figures.get("already_shared")), (1, 1), "{done}");
        let after = std::fs::metadata(pool.on(0, "music/a")).unwrap();
        assert_eq!((after.ino(), after.ctime_nsec()), (before.ino(), before.ctime_nsec()));
        // The link has moved the kept copy's ctime: it is read once more.
        tree::settle();
        scan(&tool, &pool, &[]);
        // A clone that no cache knows, of a file that it knows.
        clone(&pool.on(0, "media/a"), &pool.on(0, "music/again"));
        tree::settle();
        let second = scan(&tool, &pool, &["-e", "--format", "json"]);
        let figures = second.summary();
        assert_eq!((figures.get("planned"), figures.get("already_shared")), (0, 2), "{second}");
        assert_eq!(figure(&second, "read"), 0, "{second}");
        assert!(second.stderr.contains("bytes=\"0 B\""), "{second}");
    }
}

#[test]
fn a_list_of_files_that_share_all_their_blocks_is_done() {
    for (filesystem, pool) in pools(three_copies) {
        let tool = Tool::new();
        let paths = ["media/a", "music/a"].map(|path| pool.path(path));
        let list = paths.map(|path| format!("{}\0", path.to_str().unwrap())).concat() + "\0";
        std::fs::write(tool.list(), list).unwrap();
        // Without a primary, too: nothing is to be gained, whichever stays.
        for any in [&["--any-master"][..], &["-p", pool.path("dl").to_str().unwrap()]] {
            let list = ["--format", "json", "-m", tool.list().to_str().unwrap()].map(str::to_owned);
            let any = any.iter().map(|word| (*word).to_owned());
            let run = tool.run(&list.into_iter().chain(any).collect::<Vec<_>>()).expect(0);
            let figures = run.summary();
            let told = ["planned", "refused", "already_shared"].map(|key| figures.get(key));
            assert_eq!(told, [0, 0, 1], "{filesystem:?}: {run}");
        }
    }
}

/// What is written into shared blocks lies elsewhere only once it is on the disk: until then the kernel names the old place.
#[test]
fn a_clone_with_a_write_in_memory_is_not_taken_for_a_copy() {
    for (filesystem, pool) in pools(three_copies) {
        let written = std::fs::File::options().write(true).open(pool.on(0, "music/a")).unwrap();
        let before = written.metadata().unwrap();
        written.write_at(b"edited", 3 << 20).unwrap();
        let times = std::fs::FileTimes::new().set_modified(before.modified().unwrap());
        written.set_times(times).unwrap();
        drop(written);
        let tool = Tool::new();
        let dry = scan(&tool, &pool, &["--format", "json"]);
        let figures = dry.summary();
        let told = ["planned", "already_shared", "refused"].map(|key| figures.get(key));
        assert_eq!(told, [1, 0, 0], "{filesystem:?}: {dry}");
    }
}

/// A place that does not say all: small files of btrfs have their bytes in the inode, and a compressed extent does not say
/// which part of it the file uses.
#[test]
fn blocks_whose_place_is_not_certain_are_not_taken_for_shared() {
    let pool = PoolPlan::of(&[Btrfs, Ext4]).mount();
    tree::write(&pool.on(0, "media/small"), &tree::bytes(1, 100));
    std::fs::create_dir(pool.on(0, "media/compressed")).unwrap();
    run("chattr", &["+c".as_ref(), pool.on(0, "media/compressed").as_os_str()]);
    tree::write(&pool.on(0, "media/compressed/a"), &[7; 1 << 20]);
    nix::unistd::sync();
    clone(&pool.on(0, "media/small"), &pool.on(0, "music/small"));
    clone(&pool.on(0, "media/compressed/a"), &pool.on(0, "music/a"));
    nix::unistd::sync();
    tree::settle();
    let dry = scan(&Tool::new(), &pool, &["--format", "json"]);
    let figures = dry.summary();
    assert_eq!((figures.get("planned"), figures.get("already_shared")), (2, 0), "{dry}");
}

fn link(tool: &Tool, pool: &Pool, kind: &str, extra: &[&str]) -> Run {
    scan(tool, pool, &[&["--link", kind, "--format", "json"], extra].concat())
}

/// What a file keeps of its own.
fn look(path: &Path) -> (u64, (u32, u32, u32), i64, i64) {
    let meta = std::fs::metadata(path).unwrap();
    let who = (meta.uid(), meta.gid(), meta.mode());
    (meta.ino(), who, meta.mtime_nsec(), meta.ctime_nsec())
}

/// A kept copy; beside it a copy of another owner, with two names; and one copy of each owner on a disk that cannot share
/// blocks, as another file.
fn copies(pool: &Pool) {
    for (seed, disk, path) in
        [(1, 0, "media/a"), (1, 0, "music/a"), (2, 1, "dl/a"), (2, 1, "old/a")]
    {
        tree::write(&pool.on(disk, path), &tree::bytes(seed, SIZE));
    }
    std::fs::hard_link(pool.on(0, "music/a"), pool.on(0, "music/b")).unwrap();
    for (disk, path) in [(0, "music/a"), (1, "old/a")] {
        tree::set_owner(&pool.on(disk, path), (1000, 1000));
    }
    nix::unistd::sync();
    tree::settle();
}

#[test]
fn copies_on_one_disk_share_blocks_and_stay_files_of_their_own() {
    for (filesystem, pool) in pools(copies) {
        let tool = Tool::new();
        let paths = [(0, "media/a"), (0, "music/a"), (0, "music/b"), (1, "dl/a"), (1, "old/a")];
        let files = || paths.map(|(disk, path)| look(&pool.on(disk, path)));
        let (before, used) = (files(), pool.used_bytes());
        // A program has the copy open: that is no obstacle.
        let open = std::fs::File::options().write(true).open(pool.on(0, "music/a")).unwrap();
        let dry = link(&tool, &pool, "reflink", &[]);
        assert_eq!(dry.lines_of("op")[0]["kind"], "shared", "{dry}");
        let text = scan(&tool, &pool, &["--link", "reflink"]).stdout;
        assert!(text.contains("1 file can share blocks with the kept copy"), "{text}");
        let run = link(&tool, &pool, "reflink", &["-e"]);
        let figures = run.summary();
        let told = ["done", "done_sharing", "bytes_reclaimed"].map(|key| figures.get(key));
        assert_eq!(told, [1, 1, dry.summary().get("bytes_reclaimable")], "{filesystem:?}: {run}");
        assert_eq!(files(), before, "{filesystem:?}");
        nix::unistd::sync();
        let freed = used[0] - pool.used_bytes()[0];
        assert!(freed.abs_diff(SIZE as u64) < 256 << 10, "{filesystem:?}: {freed} bytes: {run}");
        // Nothing is left to do, and nothing to take back.
        let again = link(&tool, &pool, "reflink", &["-e"]);
        let told = ["planned", "already_shared"].map(|key| again.summary().get(key));
        assert_eq!(told, [0, 1], "{filesystem:?}: {again}");
        let history = tool.run(&["history"]).expect(0);
        assert!(history.stdout.contains("1 sharing blocks"), "{history}");
        let undo = tool.run(&["undo", "1"]).expect(0);
        assert!(undo.stdout.contains("nothing can be taken back"), "{undo}");
        let log = std::fs::read_to_string(tool.journal().join("log.csv")).unwrap();
        assert!(log.contains(",SHARED,"), "{log}");
        // A write to one of both is seen in this one only.
        open.write_at(b"edited", 3 << 20).unwrap();
        drop(open);
        let bytes = tree::bytes(1, SIZE);
        assert_eq!(std::fs::read(pool.path("media/a")).unwrap(), bytes);
        assert_eq!(std::fs::read(pool.path("music/b")).unwrap()[3 << 20..][..6], *b"edited");
    }
}

/// Three copies of a file that stays on the disk that can share blocks, one of them of another owner on the other disk; and
/// two of one that stays on the other disk.
fn two_groups(pool: &Pool) {
    for (seed, disk, path) in
        [(1, 0, "media/a"), (1, 0, "music/a"), (1, 1, "dl/a"), (2, 1, "media/e"), (2, 0, "dl/e")]
    {
        tree::write(&pool.on(disk, path), &tree::bytes(seed, SIZE));
    }
    tree::set_owner(&pool.on(1, "dl/a"), (1000, 1000));
    nix::unistd::sync();
    tree::settle();
}

#[test]
fn auto_links_what_cannot_share_blocks() {
    for (filesystem, pool) in pools(two_groups) {
        let tool = Tool::new();
        let view = snapshot::view(pool.root());
        let used = pool.used_bytes();
        let run = link(&tool, &pool, "auto", &["-e"]);
        let figures = run.summary();
        let told = ["done", "done_sharing", "done_cloning", "refused"].map(|key| figures.get(key));
        // The kept copy of the second group lies on ext4.
        assert_eq!(told, [3, 1, 1, 0], "{filesystem:?}: {run}");
        snapshot::assert_one_inode(&pool, &["media/e", "dl/e"]);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        nix::unistd::sync();
        let freed: u64 = used.iter().sum::<u64>() - pool.used_bytes().iter().sum::<u64>();
        let wanted = figures.get("bytes_reclaimed");
        assert!(freed.abs_diff(wanted) < 300 << 10, "{filesystem:?}: {freed} of {wanted}: {run}");
        // The link and the clone can be taken back; the shared blocks are no part of that.
        let undo = tool.run(&["undo", "-e", "--format", "json"]).expect(0);
        assert_eq!(undo.summary().get("done"), 2, "{undo}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
    }
}

#[test]
fn files_that_are_stored_otherwise_do_not_share_blocks() {
    for flag in ["+C", "+c", "+m"] {
        let pool = PoolPlan::of(&[Btrfs, Ext4]).mount();
        std::fs::create_dir(pool.on(0, "music")).unwrap();
        run("chattr", &[flag.as_ref(), pool.on(0, "music").as_os_str()]);
        two_copies(&pool);
        for dry in [true, false] {
            let run = link(&Tool::new(), &pool, "reflink", if dry { &[] } else { &["-e"] });
            assert_eq!(run.reasons_for(&pool.path("music/a")), ["no-reflink"], "{flag}: {run}");
            assert_eq!(run.summary().get("planned"), 0, "{flag}: {run}");
        }
    }
}

fn two_copies(pool: &Pool) {
    for path in ["media/a", "music/a"] {
        tree::write(&pool.on(0, path), &tree::bytes(1, SIZE));
    }
    nix::unistd::sync();
    tree::settle();
}

/// The plan as a shell script does the same.
#[test]
fn the_script_shares_blocks_too() {
    for (filesystem, pool) in pools(copies) {
        let tool = Tool::new();
        let dry = scan(&tool, &pool, &["--link", "reflink", "--format", "script"]);
        let script = tool.dir().join("plan.sh");
        std::fs::write(&script, &dry.stdout).unwrap();
        let before = look(&pool.on(0, "music/a"));
        let done = run("sh", &[&script]);
        assert!(String::from_utf8_lossy(&done.stderr).contains("1 done, 0 not done"), "{done:?}");
        assert_eq!(look(&pool.on(0, "music/a")), before);
        let again = link(&tool, &pool, "reflink", &[]);
        assert_eq!(again.summary().get("already_shared"), 1, "{filesystem:?}: {again}");
    }
}

/// The kept copy on a disk that can clone; the duplicate on another disk, with all that a file has of its own.
fn apart(pool: &Pool) {
    tree::write(&pool.on(0, "media/a"), &tree::bytes(1, SIZE));
    tree::write(&pool.on(1, "dl/new/a"), &tree::bytes(1, SIZE));
    std::fs::create_dir_all(pool.on(1, "old")).unwrap();
    std::fs::hard_link(pool.on(1, "dl/new/a"), pool.on(1, "old/a")).unwrap();
    let own = pool.on(1, "dl/new/a");
    tree::set_owner(&own, (1000, 1001));
    tree::set_mode(&own, 0o640);
    tree::set_acl(&own, "u:1234:r");
    tree::set_xattr(&own, "user.rating", b"5");
    tree::age_path(&own, 2 * tree::AGE);
    nix::unistd::sync();
    tree::settle();
}

#[test]
fn a_copy_on_another_disk_becomes_a_clone_with_all_of_its_own() {
    for (filesystem, pool) in pools(apart) {
        let tool = Tool::new();
        let view = snapshot::view(pool.root());
        let kept = look(&pool.on(0, "media/a"));
        let used = pool.used_bytes();
        let page = tool.dir().join("page.html");
        let report = ["--link", "reflink", "--report", page.to_str().unwrap()];
        let text = scan(&tool, &pool, &report).stdout;
        assert!(text.contains("1 file can be replaced by clones"), "{text}");
        assert!(text.contains("With --link hard 1 file of these"), "{text}");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("of them would be skipped with --link hard (6.0 MiB)"), "{page}");
        let run = link(&tool, &pool, "reflink", &["-e"]);
        let figures = run.summary();
        assert_eq!((figures.get("done"), figures.get("refused")), (1, 0), "{filesystem:?}: {run}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
        assert_eq!(look(&pool.on(0, "media/a")), kept);
        let (disk, inode) = snapshot::assert_one_inode(&pool, &["dl/new/a", "old/a"]);
        assert!(disk == 0 && inode != kept.0, "{run}");
        nix::unistd::sync();
        let now = pool.used_bytes();
        let freed = (used[0] + used[1]) - (now[0] + now[1]);
        assert!(freed.abs_diff(SIZE as u64) < 300 << 10, "{filesystem:?}: {freed} bytes: {run}");
        tree::settle();
        // Nothing is left to do, and nothing is read.
        scan(&tool, &pool, &["--link", "reflink"]);
        let again = link(&tool, &pool, "reflink", &["-e"]);
        let told = ["planned", "already_shared", "refused"].map(|key| again.summary().get(key));
        assert_eq!(told, [0, 1, 0], "{filesystem:?}: {again}");
        assert_eq!(figure(&again, "read"), 0, "{filesystem:?}: {again}");
        tool.run(&["verify"]).expect(0);
        let undo = tool.run(&["undo", "-e", "--format", "json"]).expect(0);
        assert_eq!(undo.summary().get("done"), 1, "{filesystem:?}: {undo}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
        assert_eq!(snapshot::assert_one_inode(&pool, &["dl/new/a", "old/a"]).0, 1, "{undo}");
        nix::unistd::sync();
        let back = pool.used_bytes();
        assert!(back[1].abs_diff(used[1]) < 300 << 10, "{filesystem:?}: {back:?} {used:?}");
    }
}

/// A subvolume counts inodes by itself, and the journal knows a file by its branch and inode.
#[test]
fn no_clone_is_made_in_a_subvolume() {
    let pool = PoolPlan::of(&[Btrfs, Xfs]).mount();
    run("btrfs", &["subvolume".as_ref(), "create".as_ref(), pool.on(0, "sub").as_os_str()]);
    tree::write(&pool.on(0, "media/f"), &tree::bytes(1, SIZE));
    tree::write(&pool.on(1, "sub/f"), &tree::bytes(1, SIZE));
    tree::settle();
    let (tool, view) = (Tool::new(), snapshot::view(pool.root()));
    for kind in ["reflink", "auto", "hard"] {
        let run = link(&tool, &pool, kind, &["-e", "--format", "json"]);
        assert_eq!(run.summary().get("done"), 0, "{run}");
        assert_eq!(run.reasons_for(&pool.path("sub/f")), ["obstructed"], "{run}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
    }
}

/// One file has attributes or a time that the disk of the kept copy cannot take: the others on that disk are replaced.
#[test]
fn what_the_other_disk_cannot_keep_stays_where_it_is() {
    let pool = PoolPlan::of(&[Btrfs, Xfs]).mount();
    for n in 0..3 {
        for path in [pool.on(0, format!("media/{n}")), pool.on(1, format!("dl/{n}"))] {
            tree::write(&path, &tree::bytes(n, SIZE));
        }
    }
    let big = "x".repeat(60_000);
    let set = ["-n", "user.big", "-v", &big].map(std::ffi::OsStr::new);
    run("setfattr", &[&set[..], &[pool.on(1, "dl/0").as_os_str()]].concat());
    tree::settle();
    let tool = Tool::new();
    let root = pool.root().to_str().unwrap();
    let media = pool.path("media");
    let line = ["-p", media.to_str().unwrap(), root, "--link", "reflink", "-e", "--format", "json"];
    let run = tool.run(&line).expect(1);
    assert_eq!((run.summary().get("done"), run.summary().get("failed")), (2, 1), "{run}");
    assert!(pool.on(1, "dl/0").exists() && !pool.on(0, "dl/0").exists(), "{run}");
    snapshot::assert_no_own_names(&pool);
}

#[test]
fn a_write_to_a_clone_is_not_seen_in_the_kept_copy() {
    for (_, pool) in pools(apart) {
        link(&Tool::new(), &pool, "auto", &["-e"]);
        let file = std::fs::File::options().write(true).open(pool.path("dl/new/a")).unwrap();
        file.write_at(b"edited", 3 << 20).unwrap();
        drop(file);
        assert_eq!(std::fs::read(pool.path("media/a")).unwrap(), tree::bytes(1, SIZE));
        let other = std::fs::read(pool.path("old/a")).unwrap();
        assert_eq!(other[3 << 20..][..6], *b"edited");
    }
}

#[test]
fn the_script_clones_across_disks_too() {
    for (filesystem, pool) in pools(apart) {
        let tool = Tool::new();
        let view = snapshot::view(pool.root());
        let dry = scan(&tool, &pool, &["--link", "reflink", "--format", "script"]);
        let script = tool.dir().join("plan.sh");
        std::fs::write(&script, &dry.stdout).unwrap();
        for _ in 0..2 {
            let done = run("sh", &[&script]);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(said.contains("1 done, 0 not done"), "{filesystem:?}: {said}");
        }
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
        assert_eq!(snapshot::assert_one_inode(&pool, &["dl/new/a", "old/a"]).0, 0);
        let again = link(&tool, &pool, "reflink", &[]);
        assert_eq!(again.summary().get("already_shared"), 1, "{filesystem:?}: {again}");
    }
}

/// What a preview shows is what a run makes.
#[test]
fn a_preview_shows_a_clone_as_the_file_that_it_is() {
    let pool = PoolPlan::of(&[Xfs, Ext4]).mount();
    apart(&pool);
    let tool = Tool::new();
    let media = pool.path("media");
    let line = ["--link", "reflink", "-p", media.to_str().unwrap(), pool.root().to_str().unwrap()];
    let preview = Preview::start(&tool, &line);
    let (now, then) = (pool.path("dl/new/a"), preview.path("dl/new/a"));
    let look = |path: &Path| {
        let meta = std::fs::metadata(path).unwrap();
        (meta.uid(), meta.mode(), meta.nlink(), meta.mtime_nsec())
    };
    assert_eq!(look(&now), look(&then));
    assert_eq!(look(&preview.path("media/a")), look(&pool.path("media/a")));
    assert_eq!(preview.tag("dl/new/a", "state").unwrap(), "moved");
    preview.stop();
}

/// Each file of a pair that shares its blocks is read, on one disk or moved from another.
#[test]
fn verify_reads_every_file_that_shares_blocks() {
    let pool = PoolPlan::of(&[Xfs, Ext4]).mount();
    tree::write(&pool.on(0, "music/a"), &tree::bytes(1, SIZE));
    apart(&pool);
    let tool = Tool::new();
    let run = link(&tool, &pool, "reflink", &["-e"]);
    assert_eq!((run.summary().get("done_sharing"), run.summary().get("done_cloning")), (1, 1));
    let verify = ["--format", "json", "verify"];
    let sound = tool.run(&verify).expect(0);
    assert_eq!(sound.lines().last().unwrap()["sound"], 3, "{sound}");
    for path in ["media/a", "music/a", "dl/new/a"] {
        // Other bytes, and the times put back: what no program does.
        let file = std::fs::File::options().read(true).write(true).open(pool.on(0, path)).unwrap();
        let mtime = file.metadata().unwrap().modified().unwrap();
        let write = |bytes: &[u8]| {
            file.write_all_at(bytes, 1 << 20).unwrap();
            file.set_modified(mtime).unwrap();
        };
        write(b"ROT");
        let rotten = tool.run(&verify).expect(1);
        let last = rotten.lines().pop().unwrap();
        assert_eq!((&last["sound"], &last["damaged"]), (&2.into(), &1.into()), "{rotten}");
        write(&tree::bytes(1, SIZE)[1 << 20..][..3]);
    }
}

/// Kept copies on each of two disks that can share blocks; copies of them on these and on one that cannot.
fn on_three_disks(pool: &Pool) {
    for seed in 1..5 {
        let kept = (seed % 2) as usize;
        tree::write(&pool.on(kept, format!("media/{seed}")), &tree::bytes(seed, SIZE));
        for disk in [1 - kept, 2] {
            tree::write(&pool.on(disk, format!("dl{disk}/{seed}")), &tree::bytes(seed, SIZE));
        }
    }
    nix::unistd::sync();
    tree::settle();
}

#[test]
fn auto_frees_what_hard_links_free() {
    let freed = ["hard", "auto"].map(|kind| {
        let pool = PoolPlan::of(&[Xfs, Btrfs, Ext4]).mount();
        on_three_disks(&pool);
        let tool = Tool::new();
        let shown = doctor_shows(&tool, &pool);
        assert_eq!(shown, [pool.branches()[0].clone(), pool.branches()[1].clone()]);
        let used = pool.used_bytes();
        let run = link(&tool, &pool, kind, &["-e"]);
        assert_eq!(run.summary().get("done"), 8, "{run}");
        nix::unistd::sync();
        let now = pool.used_bytes();
        let freed = [0, 1, 2].map(|disk| used[disk] as i64 - now[disk] as i64);
        println!("FIGURE reflinks {kind}: {freed:?} bytes freed on xfs, btrfs, ext4");
        (freed, run.summary().get("bytes_reclaimed"))
    });
    let [hard, auto] = freed;
    assert_eq!(hard.1, auto.1);
    // To the block where nothing is made; inodes and extents of the clones elsewhere.
    assert_eq!(hard.0[2], auto.0[2]);
    for disk in [0, 1] {
        assert!(hard.0[disk].abs_diff(auto.0[disk]) < 256 << 10, "{hard:?} {auto:?}");
    }
}

/// The disks that `doctor` lists.
fn doctor_shows(tool: &Tool, pool: &Pool) -> Vec<std::path::PathBuf> {
    let root = pool.root().to_str().unwrap();
    let run = tool.run(&["doctor", "--quick", "--format", "json", root]).expect(0);
    let shown = run.lines_of("pool")[0]["reflinks"].as_array().unwrap().clone();
    shown.iter().map(|path| path.as_str().unwrap().into()).collect()
}
