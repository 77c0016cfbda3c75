//! Files that share their blocks: the tool knows them, on the filesystems that can.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;
use crate::scan::figure;

/// Not a multiple of any block.
const SIZE: usize = (6 << 20) + 123;

fn clone(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let options = ["--reflink=always", "--preserve=all"].map(AsRef::as_ref);
    run("cp", &[&options[..], &[from.as_os_str(), to.as_os_str()]].concat());
}

fn scan(tool: &Tool, pool: &Pool, extra: &[&str]) -> Run {
    let (media, root) = (pool.path("media"), pool.root());
    let line = ["-v", "-p", media.to_str().unwrap(), root.to_str().unwrap()];
    tool.run(&[extra, &line].concat()).expect(0)
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

#[test]
fn a_file_that_shares_all_its_blocks_is_done_and_is_not_read() {
    for filesystem in [Xfs, Btrfs] {
        let pool = PoolPlan::of(&[filesystem, Ext4]).mount();
        three_copies(&pool);
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
        assert!(text.stdout.contains("1 already sharing their blocks"), "{text}");
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
    for filesystem in [Xfs, Btrfs] {
        let pool = PoolPlan::of(&[filesystem, Ext4]).mount();
        three_copies(&pool);
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
    for filesystem in [Xfs, Btrfs] {
        let pool = PoolPlan::of(&[filesystem, Ext4]).mount();
        three_copies(&pool);
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
