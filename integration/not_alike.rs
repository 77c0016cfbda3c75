//! Equal bytes that are no equal files: decided before anything is changed, each by its own reason, and never a failure.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::groups;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

/// Writes equal files: each a branch and a path there.
fn equal(pool: &Pool, seed: u64, places: &[(usize, &str)]) {
    for (branch, path) in places {
        tree::write(&pool.on(*branch, path), &tree::bytes(seed, groups::SMALL));
    }
}

/// Scans, with the copies below `media` kept where there are any; nothing may be changed. The same from a list.
fn nothing_is_done(pool: &Pool, expected: &[(&str, &str)]) {
    std::fs::create_dir_all(pool.on(0, "media")).unwrap();
    tree::settle();
    let tool = Tool::new();
    let before = snapshot::all_entries(pool);
    let (media, root) = (pool.path("media"), pool.root().as_os_str());
    let line = ["--format", "json", "--any-master", "-p"].map(OsStr::new);
    let scan = |extra: &[&OsStr]| {
        let line = [&line[..], &[media.as_os_str(), root], extra].concat();
        tool.run(&line).expect(0)
    };
    let told = |run: &Run| {
        for (path, reason) in expected {
            assert_eq!(run.reasons_for(&pool.path(path)), [*reason], "{path}: {run}");
        }
    };
    let dry = scan(&[]);
    assert_eq!(dry.summary().get("planned"), 0, "{dry}");
    told(&dry);
    let done = scan(&["-e".as_ref()]);
    told(&done);
    assert_eq!(snapshot::all_entries(pool), before, "{done}");
    let groups = |line: serde_json::Value| -> groups::Group {
        let paths = line["paths"].as_array().unwrap().iter();
        let paths = paths.map(|path| Path::new(path.as_str().unwrap()).to_path_buf());
        paths.map(|path| path.strip_prefix(pool.root()).unwrap().to_path_buf()).collect()
    };
    let made: Vec<groups::Group> = dry.lines_of("group").into_iter().map(groups).collect();
    let list = groups::write_list(&tool, pool, &made);
    let listed = tool.execute(&list, &["-p".as_ref(), media.as_os_str()]).expect(0);
    told(&listed);
    assert_eq!(snapshot::all_entries(pool), before, "{listed}");
}

/// Downloads that have not begun: the first piece of one would show up in the other.
#[test]
fn files_without_data_stay_two_files() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    let make = |branch: usize, path: &str, reserve: bool| {
        tree::write(&pool.on(branch, path), b"");
        let file = File::options().write(true).open(pool.on(branch, path)).unwrap();
        file.set_len(20 << 20).unwrap();
        if reserve {
            run("fallocate", &["-l".as_ref(), "20M".as_ref(), pool.on(branch, path).as_os_str()]);
        }
    };
    make(0, "incomplete/A.mkv.!qB", false);
    make(1, "incomplete/B.mkv.!qB", false);
    make(0, "incomplete/C.mkv.!qB", true);
    make(1, "incomplete/D.mkv.!qB", true);
    make(2, "incomplete/E.mkv.!qB", true);
    let expected: Vec<_> = ["B", "C", "D", "E"]
        .iter()
        .map(|name| (format!("incomplete/{name}.mkv.!qB"), "empty"))
        .collect();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(p, r)| (p.as_str(), *r)).collect();
    nothing_is_done(&pool, &expected);
    // Zeros that were written are data.
    let zeros = vec![0; 1 << 20];
    tree::write(&pool.on(0, "media/zeros"), &zeros);
    tree::write(&pool.on(1, "other/zeros"), &zeros);
    tree::settle();
    let tool = Tool::new();
    let run = tool.run(&["-e", "--format", "json", pool.root().to_str().unwrap()]).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    groups::assert_linked(&pool, &[vec!["media/zeros".into(), "other/zeros".into()]]);
}

/// Adds a key that consists of `byte` to an ext4 disk, and encrypts `dir`, which is empty.
fn encrypt(pool: &Pool, branch: usize, dir: &str, byte: u8) {
    let disk = pool.disk(branch);
    run("tune2fs", &["-O".as_ref(), "encrypt".as_ref(), disk.device().as_os_str()]);
    let mut add = Command::new("xfs_io")
        .args(["-c", "add_enckey"])
        .arg(disk.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    add.stdin.take().unwrap().write_all(&[byte; 64]).unwrap();
    let said = add.wait_with_output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let key = said.trim().rsplit(' ').next().unwrap().to_owned();
    std::fs::create_dir_all(pool.on(branch, dir)).unwrap();
    let policy = format!("set_encpolicy -v 2 {key}");
    run("xfs_io", &["-c".as_ref(), policy.as_ref(), pool.on(branch, dir).as_os_str()]);
}

#[test]
fn encrypted_and_plain_files_stay_two_files() {
    let pool = PoolPlan::of(&[Ext4, Ext4, Xfs]).mount();
    encrypt(&pool, 0, "private", 1);
    encrypt(&pool, 1, "private", 2);
    encrypt(&pool, 1, "hidden", 1);
    // The kept copy is encrypted, the other one not; the other way round; each with another key.
    equal(&pool, 1, &[(0, "private/b"), (1, "plain/b")]);
    equal(&pool, 2, &[(0, "media/c"), (1, "private/c")]);
    equal(&pool, 3, &[(0, "private/d"), (1, "private/d2")]);
    // Equal policies, but the path would leave its encrypted directory.
    equal(&pool, 4, &[(0, "private/e"), (1, "hidden/e")]);
    nothing_is_done(
        &pool,
        &[
            ("plain/b", "encryption-differs"),
            ("private/c", "encryption-differs"),
            ("private/d2", "encryption-differs"),
            ("hidden/e", "encryption-differs"),
        ],
    );
    // Within one encrypted directory nothing differs.
    equal(&pool, 5, &[(0, "private/f"), (0, "private/f2")]);
    tree::settle();
    let tool = Tool::new();
    let run = tool.run(&["-e", "--format", "json", pool.root().to_str().unwrap()]).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    groups::assert_linked(&pool, &[vec!["private/f".into(), "private/f2".into()]]);
}

#[test]
fn files_of_two_projects_stay_two_files() {
    let pool = PoolPlan::of(&[Xfs, Xfs]).mount();
    let project = |branch: usize, dir: &str, id: &str, inherit: bool| {
        std::fs::create_dir_all(pool.on(branch, dir)).unwrap();
        let chproj = format!("chproj {id}");
        let mut line = vec!["-c", chproj.as_str()];
        if inherit {
            line.extend(["-c", "chattr +P"]);
        }
        let dir = pool.on(branch, dir);
        line.push(dir.to_str().unwrap());
        run("xfs_io", &line);
    };
    project(0, "media", "7", true);
    project(0, "downloads", "9", true);
    // The files are of two projects.
    equal(&pool, 1, &[(0, "media/a"), (1, "downloads/a")]);
    // The files are of one, and the directory takes none of another.
    project(1, "downloads", "7", true);
    equal(&pool, 2, &[(0, "media/b"), (1, "downloads/b")]);
    // So do the directories that would be made in it.
    equal(&pool, 3, &[(0, "media/c"), (1, "downloads/new/c")]);
    // And on one disk.
    equal(&pool, 4, &[(0, "media/d"), (0, "downloads/d")]);
    let name = |path| (path, "project-differs");
    nothing_is_done(
        &pool,
        &["downloads/a", "downloads/b", "downloads/new/c", "downloads/d"].map(name),
    );
    // A directory of its own project takes it.
    equal(&pool, 5, &[(0, "media/e"), (1, "media/e2")]);
    let e2 = pool.on(1, "media/e2");
    run("xfs_io", &["-c", "chproj 7", e2.to_str().unwrap()]);
    tree::settle();
    let tool = Tool::new();
    let run = tool.run(&["-e", "--format", "json", pool.root().to_str().unwrap()]).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    groups::assert_linked(&pool, &[vec!["media/e".into(), "media/e2".into()]]);
}

/// Makes the directories changeable again, also for the harness.
struct Fixed(Vec<PathBuf>);

impl Fixed {
    fn set(&mut self, flag: &str, dir: PathBuf) {
        run("chattr", &[flag.as_ref(), dir.as_os_str()]);
        self.0.push(dir);
    }
}

impl Drop for Fixed {
    fn drop(&mut self) {
        self.0.iter().for_each(|dir| drop(run("chattr", &["-ia".as_ref(), dir.as_os_str()])));
    }
}

#[test]
fn names_in_immutable_directories_stay() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut fixed = Fixed(Vec::new());
    equal(&pool, 1, &[(0, "media/a"), (1, "target/a")]);
    equal(&pool, 2, &[(0, "media/b"), (1, "target/new/b")]);
    equal(&pool, 3, &[(0, "media/c"), (1, "logs/c")]);
    equal(&pool, 4, &[(0, "media/d"), (0, "here/d")]);
    // Two names: directories for the first are no good if the second cannot be had.
    equal(&pool, 5, &[(0, "media/e"), (1, "fresh/deep/e")]);
    std::fs::hard_link(pool.on(1, "fresh/deep/e"), pool.on(1, "target/e")).unwrap();
    std::fs::create_dir(pool.on(0, "target")).unwrap();
    fixed.set("+i", pool.on(0, "target"));
    fixed.set("+a", pool.on(1, "logs"));
    fixed.set("+i", pool.on(0, "here"));
    let name = |path| (path, "immutable");
    nothing_is_done(
        &pool,
        &["target/a", "target/new/b", "logs/c", "here/d", "fresh/deep/e"].map(name),
    );
}

#[test]
fn swap_files_stay_two_files() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    equal(&pool, 1, &[(0, "swapfile")]);
    let swap = pool.on(0, "swapfile");
    File::options().write(true).open(&swap).unwrap().set_len(0).unwrap();
    File::options().write(true).open(&swap).unwrap().write_all_at(&vec![1; 1 << 20], 0).unwrap();
    tree::set_mode(&swap, 0o600);
    run("mkswap", &[&swap]);
    std::fs::copy(&swap, pool.on(1, "swapfile.old")).unwrap();
    tree::set_mode(&pool.on(1, "swapfile.old"), 0o600);
    nothing_is_done(&pool, &[("swapfile.old", "swap-file")]);
}

/// mergerfs makes such symlinks where a link would cross two disks (`link-exdev`).
#[test]
fn what_a_symlink_leads_to_by_its_branch_path_stays_on_its_branch() {
    let plan = PoolPlan::of(&[Ext4, Xfs, Ext4]).option("category.create=epmfs");
    let pool = plan.option("link-exdev=abs-base-symlink").mount();
    let film = "downloads/film";
    equal(&pool, 1, &[(0, film), (2, "archive/film")]);
    std::fs::create_dir(pool.on(1, "media")).unwrap();
    run("ln", &[pool.path(film), pool.path("media/film")]);
    assert_eq!(std::fs::read_link(pool.on(1, "media/film")).unwrap(), pool.on(0, film));
    // A directory above it, and a way round by another symlink.
    equal(&pool, 2, &[(0, "shows/one/e1"), (2, "archive/e1")]);
    std::os::unix::fs::symlink(pool.on(0, "shows"), pool.on(1, "media/shows")).unwrap();
    equal(&pool, 3, &[(1, "real/x"), (2, "archive/x")]);
    std::os::unix::fs::symlink("real", pool.on(1, "alias")).unwrap();
    std::os::unix::fs::symlink(pool.on(1, "alias/x"), pool.on(0, "shows/x")).unwrap();
    // Symlinks that lead through the pool do no harm.
    equal(&pool, 4, &[(0, "free/f"), (2, "archive/f")]);
    std::os::unix::fs::symlink(pool.path("free/f"), pool.on(1, "media/f")).unwrap();
    std::os::unix::fs::symlink("../free/f", pool.on(0, "shows/f")).unwrap();
    tree::settle();
    let tool = Tool::new();
    let archive = pool.path("archive");
    let dirs = ["archive", "downloads", "shows", "real", "free"].map(|dir| pool.path(dir));
    let mut line: Vec<&OsStr> = ["-e", "--format", "json", "-p"].map(OsStr::new).to_vec();
    line.push(archive.as_os_str());
    line.extend(dirs.iter().map(|dir| dir.as_os_str()));
    let run = tool.run(&line).expect(0);
    for path in [film, "shows/one/e1", "real/x"] {
        assert_eq!(run.reasons_for(&pool.path(path)), ["symlink-target"], "{run}");
    }
    assert_eq!(run.summary().get("done"), 1, "{run}");
    for path in ["media/film", "media/shows/one/e1", "shows/x", "media/f", "shows/f"] {
        assert!(pool.path(path).exists(), "{path}");
    }
    let pair: groups::Group = vec![film.into(), "archive/film".into()];
    let list = groups::list(&tool, &pool, &[pair]);
    let run = tool.execute(&list, &["-p".as_ref(), archive.as_os_str()]).expect(0);
    assert_eq!(run.reasons_for(&pool.path(film)), ["symlink-target"], "{run}");
    assert!(pool.path("media/film").exists());
}
