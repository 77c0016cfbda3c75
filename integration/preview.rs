//! The preview: what it shows before a run is what the pool is after it, and nothing is changed by looking.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;

use crate::groups;
use crate::harness::command;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::preview::{Preview, is_mounted};
use crate::harness::tool::{BINARY, Tool};
use crate::harness::{manifest, snapshot, tree};
use crate::library;

/// What is promised of a file: its inode number, link count and allocated blocks.
type Promises = BTreeMap<PathBuf, (u64, u64, u64)>;

fn promises(preview: &Preview) -> Promises {
    let view = snapshot::view(preview.root());
    let regular = view.into_iter().filter(|(_, seen)| seen.mode & libc::S_IFMT == libc::S_IFREG);
    regular
        .map(|(path, _)| {
            let found = std::fs::symlink_metadata(preview.path(&path)).unwrap();
            (path, (found.ino(), found.nlink(), found.blocks()))
        })
        .collect()
}

/// Bytes allocated, each inode number once: what du counts.
fn allocated(promises: &Promises) -> u64 {
    let inodes: BTreeMap<u64, u64> = promises.values().map(|(i, _, b)| (*i, *b)).collect();
    inodes.values().sum::<u64>() * 512
}

/// Everything of a pool that is nobody's duplicate: names of any bytes, symlinks, special files, holes, shadows.
fn add_oddities(pool: &Pool) {
    let odd = std::ffi::OsStr::from_bytes(b"odd/new\nline \xff\xfe");
    tree::write(&pool.on(1, odd), b"odd name");
    tree::set_xattr(&pool.on(1, odd), "user.note", b"kept \xff");
    symlink("new\nline", pool.on(1, "odd/symlink")).unwrap();
    symlink("/no/where", pool.on(2, "dangling")).unwrap();
    nix::unistd::mkfifo(&pool.on(0, "fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let device = nix::sys::stat::makedev(240, 1234);
    nix::sys::stat::mknod(
        &pool.on(0, "device"),
        nix::sys::stat::SFlag::S_IFBLK,
        nix::sys::stat::Mode::S_IRUSR,
        device,
    )
    .unwrap();
    tree::write(&pool.on(2, "sparse"), b"begin");
    let sparse = OpenOptions::new().write(true).open(pool.on(2, "sparse")).unwrap();
    sparse.write_all_at(b"end", 64 << 20).unwrap();
    for (disk, seed) in [(0, 7_000), (2, 7_001)] {
        tree::write(&pool.on(disk, "shadow/file"), &tree::bytes(seed, 5_000));
    }
}

/// A pair that is refused: the owners differ.
fn add_refused(pool: &Pool) -> groups::Group {
    let content = tree::bytes(8_000, 12_345);
    for (disk, path) in [(0, "media/owned.bin"), (1, "downloads/owned.bin")] {
        tree::write(&pool.on(disk, path), &content);
    }
    tree::set_owner(&pool.on(1, "downloads/owned.bin"), (4321, 1));
    vec!["media/owned.bin".into(), "downloads/owned.bin".into()]
}

#[test]
fn what_it_shows_is_what_the_run_makes_of_the_pool() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).option("category.create=mfs").mount();
    let made = library::fill(&pool, 48);
    add_oddities(&pool);
    add_refused(&pool);
    let tool = Tool::new();
    manifest::jdupes(&["-r", "-j"], &[pool.root()], &tool.list());
    tree::settle();
    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(&pool);

    let preview =
        Preview::start(&tool, &["--any-master".as_ref(), "-m".as_ref(), tool.list().as_os_str()]);
    snapshot::assert_same(&view, &snapshot::view(preview.root()));
    assert_attributes(&pool, &preview, &view);
    let promised = promises(&preview);
    let branches: BTreeMap<PathBuf, String> = promised
        .keys()
        .map(|path| (path.clone(), preview.tag(path, "branch.then").unwrap()))
        .collect();
    assert_du(&preview, &promised);
    let more = free_bytes(preview.root()) - free_bytes(pool.root());
    assert!(preview.stdout().contains("Ctrl-C"), "{}", preview.stdout());
    preview.stop();
    assert_eq!(snapshot::all_entries(&pool), before, "looking changed something");
    assert!(!tool.journal().exists(), "looking made a journal");

    let run = tool.execute(&tool.list(), &[]).expect(0);
    let freed = run.summary().get("bytes_reclaimed");
    assert!(freed > 0 && freed - more < 4096 * 3, "{freed} freed, {more} shown");
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    assert_kept(&pool, &promised, &branches);
}

/// Files and directories have the attributes they have in the pool, ACLs too, and ours on top.
fn assert_attributes(pool: &Pool, preview: &Preview, view: &snapshot::View) {
    let attributes = |path: &Path| {
        let names = xattr::list(path).unwrap();
        let own = names.filter(|name| !name.as_bytes().starts_with(b"user.xdedup."));
        own.map(|name| (xattr::get(path, &name).unwrap(), name)).collect::<BTreeSet<_>>()
    };
    let mut some = 0;
    for (path, seen) in view {
        if matches!(seen.mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR) {
            let found = attributes(&preview.path(path));
            assert_eq!(found, attributes(&pool.path(path)), "{}", path.display());
            some += found.len();
        }
    }
    assert!(some > 6, "nothing was compared");
}

/// Every promise is what the branches are now: the same link sets, counts, blocks and branches.
fn assert_kept(pool: &Pool, promised: &Promises, branches: &BTreeMap<PathBuf, String>) {
    let after = snapshot::all_entries(pool);
    let mut inodes: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for (path, (ino, links, blocks)) in promised {
        let (branch, entry) = after
            .iter()
            .enumerate()
            .find_map(|(branch, entries)| Some((branch, entries.get(path)?)))
            .unwrap();
        let path = path.display();
        assert_eq!(entry.nlink, *links, "{path}");
        assert_eq!(entry.allocated, blocks * 512, "{path}");
        let there = *inodes.entry(*ino).or_insert((branch, entry.ino));
        assert_eq!(there, (branch, entry.ino), "{path}");
    }
    let distinct: BTreeSet<_> = inodes.values().collect();
    assert_eq!(distinct.len(), inodes.len(), "one inode under two numbers");
    for (path, root) in branches {
        let on = snapshot::places(pool, path)[0].0;
        assert_eq!(pool.branches()[on].to_str(), Some(root.as_str()), "{path:?}");
    }
}

fn assert_du(preview: &Preview, promised: &Promises) {
    let said = command::run(
        "du",
        &[
            "-s".as_ref(),
            "--block-size=1".as_ref(),
            "--exclude=lost+found".as_ref(),
            preview.root().as_os_str(),
        ],
    );
    let said = String::from_utf8(said.stdout).unwrap();
    let said: u64 = said.split('\t').next().unwrap().parse().unwrap();
    let directories: u64 = std::iter::once(preview.root().to_path_buf())
        .chain(snapshot::view(preview.root()).into_iter().filter_map(|(path, seen)| {
            (seen.mode & libc::S_IFMT != libc::S_IFREG).then(|| preview.path(path))
        }))
        .map(|path| std::fs::symlink_metadata(path).unwrap().blocks() * 512)
        .sum();
    assert_eq!(said, allocated(promised) + directories);
}

fn free_bytes(at: &Path) -> u64 {
    let found = statvfs(at).unwrap();
    found.blocks_free() * found.fragment_size()
}

#[test]
fn each_file_says_what_becomes_of_it() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut made = groups::pairs(&pool, 0, 1, 2);
    made.push(add_refused(&pool));
    let content = tree::bytes(77, groups::SMALL);
    for path in ["media/twice.bin", "media/again.bin"] {
        tree::write(&pool.on(0, path), &content);
    }
    made.push(vec!["media/twice.bin".into(), "media/again.bin".into()]);
    tree::write(&pool.on(1, "new/dir/copy.bin"), &tree::bytes(0, groups::SMALL));
    made[0].push("new/dir/copy.bin".into());
    tree::write(&pool.on(1, "alone"), b"alone");
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let primary = pool.path("media");
    let preview = Preview::start(
        &tool,
        &["-p".as_ref(), primary.as_os_str(), "-m".as_ref(), list.as_os_str()],
    );
    let d1 = pool.branches()[0].to_str().unwrap();
    let d2 = pool.branches()[1].to_str().unwrap();
    let owner = ("refused", d2, d2, Some("media/owned.bin"));
    let twice = "media/again.bin";
    for (path, (state, now, then, master)) in [
        ("alone", ("kept", d2, d2, None)),
        ("media/0.bin", ("kept", d1, d1, Some("media/0.bin"))),
        ("downloads/0.bin", ("moved", d2, d1, Some("media/0.bin"))),
        ("new/dir/copy.bin", ("moved", d2, d1, Some("media/0.bin"))),
        ("media/twice.bin", ("linked", d1, d1, Some(twice))),
        (twice, ("kept", d1, d1, Some(twice))),
        ("downloads/owned.bin", owner),
    ] {
        let tag = |name| preview.tag(path, name);
        assert_eq!(tag("state").as_deref(), Some(state), "{path}");
        assert_eq!(tag("branch.now").as_deref(), Some(now), "{path}");
        assert_eq!(tag("branch.then").as_deref(), Some(then), "{path}");
        let master = master.map(|path| pool.path(path).to_str().unwrap().to_owned());
        assert_eq!(tag("master"), master, "{path}");
    }
    let reason = preview.tag("downloads/owned.bin", "reason");
    assert_eq!(reason.as_deref(), Some("owner-differs"));
    let hint = preview.tag("downloads/owned.bin", "hint").unwrap();
    assert!(hint.contains("chown"), "{hint}");
    let both = format!("{d1}:{d2}");
    assert_eq!(preview.tag("new/dir", "branch.now").as_deref(), Some(d2));
    assert_eq!(preview.tag("new/dir", "branch.then"), Some(both));
    let listed = xattr::list(preview.path("downloads/0.bin")).unwrap();
    assert!(listed.into_iter().any(|name| name == "user.xdedup.state"));
    preview.stop();
}

#[test]
fn a_list_that_is_wrong_does_not_change_the_bytes() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut made = groups::pairs(&pool, 0, 1, 2);
    for (disk, path) in [(0, "media/false.bin"), (1, "downloads/false.bin")] {
        tree::write(&pool.on(disk, path), &tree::bytes(40 + disk as u64, groups::SMALL));
    }
    made.push(vec!["media/false.bin".into(), "downloads/false.bin".into()]);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let arguments = ["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()];
    let preview = Preview::start(&tool, &arguments);
    assert!(preview.stderr().contains("the list's word"), "{}", preview.stderr());
    snapshot::assert_same(&view, &snapshot::view(preview.root()));
    preview.stop();
    tool.execute(&list, &[]).expect(1);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn hidden_copies_that_are_merged_are_shown_as_they_end() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    let content = tree::bytes(5, groups::SMALL);
    for (disk, path) in [(0, "media/m"), (1, "p"), (2, "p"), (0, "alone"), (1, "alone")] {
        tree::write(&pool.on(disk, path), &content);
    }
    std::fs::hard_link(pool.on(2, "p"), pool.on(2, "q")).unwrap();
    let made = vec![["media/m", "p", "q", "alone"].map(PathBuf::from).to_vec()];
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let arguments = ["--shadows", "merge", "--shadow-age", "1s", "--any-master", "-m"];
    let arguments: Vec<_> = arguments.iter().map(Path::new).chain([list.as_path()]).collect();
    let preview = Preview::start(&tool, &arguments);
    snapshot::assert_same(&view, &snapshot::view(preview.root()));
    let promised = promises(&preview);
    let branches = promised
        .keys()
        .map(|path| (path.clone(), preview.tag(path, "branch.then").unwrap()))
        .collect();
    preview.stop();
    let run = tool.execute(&list, &["--shadows", "merge", "--shadow-age", "1s"].map(OsStr::new));
    run.expect(0);
    groups::assert_linked(&pool, &made);
    assert_kept(&pool, &promised, &branches);
}

#[test]
fn a_pool_in_use_is_shown_as_it_is_at_every_moment() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let arguments = ["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()];
    let preview = Preview::start(&tool, &arguments);
    assert_eq!(preview.tag("downloads/0.bin", "state").as_deref(), Some("moved"));
    std::fs::write(pool.path("downloads/0.bin"), "rewritten").unwrap();
    std::fs::remove_file(pool.path("downloads/1.bin")).unwrap();
    std::fs::write(pool.path("downloads/new"), "new").unwrap();
    // As long as the kernel may remember what it was told.
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert_eq!(std::fs::read(preview.path("downloads/0.bin")).unwrap(), b"rewritten");
    assert_eq!(preview.tag("downloads/0.bin", "reason").as_deref(), Some("changed"));
    snapshot::assert_same(&snapshot::view(pool.root()), &snapshot::view(preview.root()));
    let links = |path: &str| std::fs::metadata(preview.path(path)).unwrap().nlink();
    assert_eq!((links("downloads/0.bin"), links("media/0.bin")), (1, 1));
    // A run beside it; what it has done is counted once.
    tool.execute(&list, &[]);
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    snapshot::assert_same(&snapshot::view(pool.root()), &snapshot::view(preview.root()));
    assert_eq!((links("downloads/2.bin"), links("media/2.bin")), (2, 2));
    preview.stop();
}

#[test]
fn nothing_can_be_written_even_on_a_mount_made_writable() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    let preview =
        Preview::start(&tool, &["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()]);
    let options = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line =
        options.lines().find(|line| line.contains(preview.root().to_str().unwrap())).unwrap();
    for option in ["ro", "nosuid", "nodev", "default_permissions", "allow_other"] {
        assert!(line.split([' ', ',']).any(|word| word == option), "{option}: {line}");
    }
    refuses_writes(&preview);
    let remounted = command::try_run(
        "mount",
        &["-i".as_ref(), "-o".as_ref(), "remount,rw".as_ref(), preview.root().as_os_str()],
    );
    // A kernel that lets nobody do that is just as good.
    println!("remount: {remounted:?}");
    refuses_writes(&preview);
    preview.stop();
    assert_eq!(snapshot::all_entries(&pool), before);
}

/// Who may not enter the directory on the branch that holds a file may not read it through the pool, whatever the
/// directory on another branch says.
#[test]
fn it_lets_nobody_read_what_the_pool_does_not() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    for (name, mode) in [("closed", 0o700), ("open", 0o755)] {
        tree::make_dir(&pool.on(0, name), 0o755, (0, 0));
        tree::make_dir(&pool.on(1, name), mode, (0, 0));
        tree::write(&pool.on(1, name).join("file"), b"bytes");
    }
    let tool = Tool::new();
    let preview = Preview::start(&tool, &[pool.root()]);
    let read = |path: &str, uid| {
        let mut cat = std::process::Command::new("cat");
        let output = cat.arg(preview.path(path)).uid(uid).gid(uid).output();
        output.unwrap().status.success()
    };
    let nobody = 65_534;
    assert!(read("open/file", nobody));
    assert!(!read("closed/file", nobody));
    assert!(read("closed/file", 0));
    preview.stop();
}

fn refuses_writes(preview: &Preview) {
    let (file, new) = (preview.path("media/0.bin"), preview.path("media/new"));
    let attempts: [(&str, std::io::Result<()>); 11] = [
        ("create", File::create(&new).map(drop)),
        ("write", OpenOptions::new().write(true).open(&file).map(drop)),
        ("append", OpenOptions::new().append(true).open(&file).map(drop)),
        ("truncate", File::create(&file).map(drop)),
        ("unlink", std::fs::remove_file(&file)),
        ("rename", std::fs::rename(&file, &new)),
        ("link", std::fs::hard_link(&file, &new)),
        ("symlink", symlink("x", &new)),
        ("mkdir", std::fs::create_dir(&new)),
        ("chmod", std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o0))),
        ("setxattr", xattr::set(&file, "user.new", b"x")),
    ];
    for (what, done) in attempts {
        let error = done.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{what}: {error}");
    }
}

#[test]
fn it_ends_by_signal_by_unmount_and_while_somebody_uses_it() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let start =
        || Preview::start(&tool, &["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()]);
    let json = Preview::start(
        &tool,
        &["--format=json".as_ref(), "--any-master".as_ref(), "-m".as_ref(), list.as_os_str()],
    );
    let told: serde_json::Value = serde_json::from_str(&json.stdout()).unwrap();
    assert_eq!(told["type"], "preview");
    assert_eq!(told["mount_point"].as_str(), json.root().to_str());
    assert_eq!(told["planned"], 1);
    json.stop();
    for signal in [Signal::SIGINT, Signal::SIGHUP] {
        let mut preview = start();
        preview.signal(signal);
        assert!(preview.ended().success(), "{signal}");
        assert!(!is_mounted(preview.root()), "{signal}");
    }
    let mut preview = start();
    command::run("umount", &[preview.root()]);
    assert!(preview.ended().success(), "{}", preview.stderr());
    let preview = start();
    let open = File::open(preview.path("media/0.bin")).unwrap();
    preview.stop();
    drop(open);

    let mut killed = start();
    killed.signal(Signal::SIGKILL);
    assert!(!killed.ended().success());
    let again = tool.run(&["preview".as_ref(), killed.root().as_os_str(), pool.root().as_os_str()]);
    let again = again.expect(2);
    assert!(again.stderr.contains("fusermount3 -u"), "{again}");
    command::run("fusermount3", &["-u".as_ref(), killed.root().as_os_str()]);
    assert!(!is_mounted(killed.root()));
}

/// A copy of the binary that anybody may run, and the words before it that make one somebody.
fn as_somebody(tool: &Tool) -> [String; 6] {
    let copy = tool.dir().join("mergerfs.xdedup");
    std::fs::copy(BINARY, &copy).unwrap();
    tree::set_mode(tool.dir(), 0o755);
    let copy = copy.display().to_string();
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env"];
    let [a, b, c, d, e] = words.map(ToOwned::to_owned);
    [a, b, c, d, e, copy]
}

#[test]
fn somebody_without_privileges_looks_at_what_they_may_read() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    for (disk, name) in made[1].iter().rev().enumerate() {
        tree::set_mode(&pool.on(1 - disk, name), 0o600);
    }
    tree::settle();
    let tool = Tool::new();
    let words = as_somebody(&tool);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let options = [OsStr::new("--no-cache"), pool.root().as_os_str()];
    let shown = Preview::start_as(&tool, &words, &options);
    assert!(shown.stdout().contains("1 file replaced"), "{}", shown.stdout());
    let look = |command: &str| {
        let (theirs, line) = (&words[1..4], command);
        let mut looked = Command::new("setpriv");
        looked.args(theirs).args(["sh", "-c", line]);
        looked.env("AT", shown.root()).output().unwrap()
    };
    let links = look("stat -c %h $AT/downloads/0.bin $AT/downloads/1.bin");
    assert_eq!(links.stdout, b"2\n1\n", "{links:?}");
    assert!(look("cat $AT/downloads/0.bin").status.success());
    let refused = look("cat $AT/downloads/1.bin");
    assert!(!refused.status.success(), "a file of root's was read");
    shown.stop();

    // Where they may not mount, and what they may not see.
    let run = |at: &Path| {
        let mut line: Vec<OsString> = words.iter().map(Into::into).collect();
        line.extend(["preview".into(), at.into(), "--no-cache".into(), pool.root().into()]);
        tool.run_line(&line).expect(3)
    };
    let not_theirs = tool.dir().join("of-root");
    std::fs::create_dir(&not_theirs).unwrap();
    let told = run(&not_theirs).stderr;
    assert!(told.contains("no write access") && told.contains("directory of your own"), "{told}");
    assert!(!told.contains("\n\n"), "{told:?}");
    tree::set_mode(&pool.branches()[1], 0o700);
    let line: Vec<OsString> =
        words.iter().map(Into::into).chain(["--no-cache".into(), pool.root().into()]).collect();
    let told = tool.run_line(&line);
    assert!(told.stderr.contains("it cannot be read"), "{told}");
}

#[test]
fn mount_points_that_will_not_do_are_refused_before_anything_is_read() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let tool = Tool::new();
    std::fs::create_dir(pool.on(0, "empty")).unwrap();
    let (file, absent) = (tool.dir().join("file"), tool.dir().join("absent"));
    drop(File::create(&file).unwrap());
    let empty = tool.dir().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (at, told) in [
        (absent.as_path(), "mkdir"),
        (&file, "not a directory"),
        (tool.dir(), "not empty"),
        (pool.root(), "mounted at"),
        (&pool.path("empty"), "lies in the pool"),
        (&pool.on(0, "empty"), "lies in the pool or a branch"),
    ] {
        let run = tool.run(&["preview".as_ref(), at.as_os_str(), pool.root().as_os_str()]);
        let run = run.expect(2);
        assert!(run.stderr.contains(told), "{told}: {run}");
    }
    for option in ["-e", "--no-lease", "--log-file=x"] {
        let run = tool.run(&[
            "preview".as_ref(),
            empty.as_os_str(),
            pool.root().as_os_str(),
            option.as_ref(),
        ]);
        let run = run.expect(2);
        assert!(run.stderr.contains("changes nothing"), "{run}");
    }
    assert!(!is_mounted(&empty));
}

#[test]
fn it_shows_the_files_that_the_policies_of_mergerfs_show() {
    for options in [
        "category.search=ff",
        "category.search=newest,func.getattr=newest,func.open=newest",
        "func.open=newest",
        "func.getattr=newest",
    ] {
        let pool = PoolPlan::of(&[Ext4, Xfs]).option(options).mount();
        for (disk, seed, age) in [(0, 1, 3), (1, 2, 1)] {
            let path = pool.on(disk, "shadow/file");
            tree::write_aged(&path, &tree::bytes(seed, 7_000), tree::AGE * age);
        }
        let made = groups::pairs(&pool, 1, 0, 1);
        behind_a_mount(&pool, |pool| {
            let tool = Tool::new();
            let list = groups::list(&tool, pool, &made);
            let view = snapshot::view(pool.root());
            let arguments = ["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()];
            let preview = Preview::start(&tool, &arguments);
            snapshot::assert_same(&view, &snapshot::view(preview.root()));
            assert!(view.contains_key(Path::new("inner/below/file")), "{options}");
            preview.stop();
        });
    }
}

/// With another file system mounted within a branch: mergerfs shows what is on it, and so does the preview.
fn behind_a_mount(pool: &Pool, look: impl FnOnce(&Pool)) {
    let inner = pool.on(0, "inner");
    std::fs::create_dir(&inner).unwrap();
    let arguments = ["-t", "tmpfs", "tmpfs", inner.to_str().unwrap()];
    command::run("mount", &arguments);
    tree::write(&inner.join("below/file"), b"on another file system");
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(pool)));
    command::run("umount", &[&inner]);
    if let Err(panic) = looked {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn large_directories_long_names_and_holes_are_all_there() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    for disk in 0..2 {
        std::fs::create_dir(pool.on(disk, "many")).unwrap();
        for n in 0..6_000 {
            let name = format!("many/{disk}-{n:0200}");
            drop(File::create(pool.on(disk, name)).unwrap());
        }
    }
    tree::write(&pool.on(1, "sparse"), b"begin");
    let sparse = OpenOptions::new().write(true).open(pool.on(1, "sparse")).unwrap();
    sparse.write_all_at(b"end", 512 << 20).unwrap();
    let tool = Tool::new();
    let preview = Preview::start(&tool, &["--no-cache".as_ref(), pool.root().as_os_str()]);
    let names = |dir: PathBuf| {
        let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
        names.collect::<BTreeSet<_>>()
    };
    let all = names(preview.path("many"));
    assert_eq!(all.len(), 12_000);
    assert_eq!(all, names(pool.path("many")));
    let shown = std::fs::metadata(preview.path("sparse")).unwrap();
    assert!(shown.blocks() * 512 < 1 << 20, "{shown:?}");
    let file = File::open(preview.path("sparse")).unwrap();
    let data = nix::unistd::lseek(&file, 1 << 20, nix::unistd::Whence::SeekData).unwrap();
    assert!(data > 256 << 20, "the hole was not seen: {data}");
    preview.stop();
}
