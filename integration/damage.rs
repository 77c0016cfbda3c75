//! The journal under fire: whatever became of it, a run either goes on safely or touches nothing.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::loop_disk::LoopDisk;
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Run, Tool};
use crate::harness::{snapshot, tree};

/// A pool with a finished run in the journal, and a group that is still to be done.
fn scene() -> (Pool, Tool, PathBuf) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 12);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made[..11]);
    tool.execute(&list, &[]).expect(0);
    let list = groups::list(&tool, &pool, &made[11..]);
    (pool, tool, list)
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn truncate(path: &Path, keep: impl Fn(u64) -> u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(keep(file.metadata().unwrap().len())).unwrap();
}

/// The header of a mark file of the next format.
fn newer_header() -> Vec<u8> {
    let mut header = b"xdedupjl".to_vec();
    header.extend(2u32.to_be_bytes());
    header.extend(7u32.to_be_bytes());
    header.extend(crc32fast::hash(&header).to_be_bytes());
    header
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 8] = [
    ("database cut short", |j| truncate(&j.join("db/db"), |_| 8_192)),
    ("database emptied", |j| truncate(&j.join("db/db"), |_| 0)),
    ("database missing", |j| fs::remove_dir_all(j.join("db")).unwrap()),
    ("database overwritten", |j| {
        write_at(&j.join("db/db"), 0, &vec![0xa5; 256 << 10]);
    }),
    ("mark missing", |j| fs::remove_file(j.join("mark")).unwrap()),
    ("mark half written", |j| truncate(&j.join("mark"), |len| len / 2)),
    ("both marks spoilt", |j| {
        write_at(&j.join("mark"), 4096, &[1; 64]);
        write_at(&j.join("mark"), 8192, &[1; 64]);
    }),
    ("newer version", |j| write_at(&j.join("mark"), 0, &newer_header())),
];

#[test]
fn a_damaged_journal_is_exit_4_and_nothing_is_touched() {
    let (pool, tool, list) = scene();
    let (journal, good) = (tool.journal(), tool.dir().join("good"));
    tree::copy(&journal, &good);
    let before = snapshot::all_entries(&pool);
    for (what, damage) in DAMAGES {
        damage(&journal);
        for arguments in [
            &["resume"][..],
            &["undo", "-e"],
            &["verify"],
            &["status"],
            &["history", "--prune", "0"],
        ] {
            let run = tool.run(arguments);
            assert_eq!(run.code(), Some(4), "{what}: {run}");
            let salvage = run.stderr.contains("resume --salvage");
            assert_eq!(salvage, what != "newer version", "{what}: {run}");
        }
        let run = tool.run(&["resume", "--salvage"]);
        let code = if what == "newer version" { 4 } else { 0 };
        assert_eq!(run.code(), Some(code), "{what}: {run}");
        let run = tool.execute(&list, &[]);
        assert_eq!(run.code(), Some(4), "{what}: {run}");
        assert_eq!(snapshot::all_entries(&pool), before, "{what}");
        fs::remove_dir_all(&journal).unwrap();
        tree::copy(&good, &journal);
    }
    tool.execute(&list, &[]).expect(0);
    tool.run(&["undo", "1", "-e"]).expect(0);
}

#[test]
fn a_journal_or_a_pool_in_use_is_exit_3_and_nothing_is_touched() {
    let (pool, tool, list) = scene();
    let before = snapshot::all_entries(&pool);
    for held in [tool.journal(), pool.branches()[1].clone()] {
        let lock = File::open(&held).unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
        let undo = ["undo", "-e"].map(OsStr::new);
        for run in [tool.execute(&list, &[]), tool.run(&undo)] {
            assert_eq!(run.code(), Some(3), "{held:?}: {run}");
            assert_eq!(snapshot::all_entries(&pool), before, "{held:?}");
        }
        drop(lock);
    }
    tool.execute(&list, &[]).expect(0);
}

#[test]
fn a_journal_on_a_read_only_disk_changes_nothing() {
    let (pool, tool, list) = scene();
    let scratch = tempfile::tempdir().unwrap();
    let disk = LoopDisk::new(scratch.path(), "state", Ext4);
    let journal = disk.path().join("journal");
    tree::copy(&tool.journal(), &journal);
    remount(disk.path(), "ro");
    let before = snapshot::all_entries(&pool);
    let run = |arguments: &[&OsStr]| -> Run {
        let mut line = vec![BINARY.into(), "--journal".into(), journal.clone().into()];
        line.extend(arguments.iter().map(|a| (*a).to_owned()));
        tool.run_line(&line)
    };
    let execute = ["-e", "--any-master", "-m"].map(OsStr::new);
    let execute = [&execute[..], &[list.as_os_str()]].concat();
    for arguments in [&execute[..], &["undo", "-e"].map(OsStr::new)] {
        let run = run(arguments);
        assert!(matches!(run.code(), Some(3 | 4)), "{run}");
        assert_eq!(snapshot::all_entries(&pool), before);
    }
    remount(disk.path(), "rw");
    run(&execute).expect(0);
}

fn remount(path: &Path, how: &str) {
    let options = format!("remount,{how}");
    let status = Command::new("mount").args(["-o", &options]).arg(path).status();
    assert!(status.unwrap().success());
}

/// A run over new groups that is killed when it has published them.
fn killed(pool: &Pool, tool: &Tool) -> (Vec<Group>, PathBuf) {
    let made = groups::pairs(pool, 0, 1, 6);
    let list = groups::list(tool, pool, &made);
    let inject = "inject=renameat2:signal=KILL:when=9";
    let trace = tool.dir().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=renameat2", "-e", inject, "-o"];
    let strace = [&strace.map(OsStr::new)[..], &[trace.as_os_str()]].concat();
    let execute = ["-e", "--any-master", "-m"].map(OsStr::new);
    let run = tool.run_under(&strace, &[&execute[..], &[list.as_os_str()]].concat());
    assert!(run.was_killed(), "{run}");
    (made, list)
}

#[test]
fn another_journal_does_not_get_in_the_way_of_an_open_op() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let (tool, other) = (Tool::new(), Tool::new());
    let made = groups::pairs(&pool, 0, 1, 6);
    let view = snapshot::view(pool.root());
    let (_, list) = killed(&pool, &tool);
    tree::settle();
    let run = other.execute(&list, &[]);
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    snapshot::assert_complete(&view, &snapshot::view(pool.root()));
    tree::settle();
    tool.run(&["resume"]).expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    tree::settle();
    tool.execute(&list, &[]).expect(0);
    groups::assert_linked(&pool, &made);
}

#[test]
fn a_journal_that_somebody_else_can_write_is_not_obeyed() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let tool = Tool::new();
    groups::pairs(&pool, 0, 1, 6);
    let (_, list) = killed(&pool, &tool);
    let before = snapshot::all_entries(&pool);
    let (journal, anybody) = (tool.journal(), (65_534, 65_534));
    for (owner, mode) in [(anybody, 0o700), ((0, 0), 0o777)] {
        tree::set_owner(&journal, owner);
        tree::set_mode(&journal, mode);
        for line in [&["resume"][..], &["undo", "-e"], &["history"]] {
            let run = tool.run(line).expect(3);
            assert!(run.stderr.contains("another user can write"), "{run}");
        }
        let run = tool.execute(&list, &[]).expect(3);
        assert!(run.stderr.contains("chmod 700"), "{run}");
        assert_eq!(snapshot::all_entries(&pool), before);
    }
    tree::set_mode(&journal, 0o700);
    tool.run(&["resume"]).expect(0);
    snapshot::assert_no_own_names(&pool);
}

#[test]
fn a_journal_deleted_while_an_op_was_open_costs_no_file() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let tool = Tool::new();
    groups::pairs(&pool, 0, 1, 6);
    let view = snapshot::view(pool.root());
    let (_, list) = killed(&pool, &tool);
    let hidden = |pool: &Pool| -> usize {
        let names = snapshot::all_entries(pool);
        let names = names.iter().flat_map(|entries| entries.keys());
        names.filter(|p| p.to_string_lossy().contains(".xdedup-")).count()
    };
    let left = hidden(&pool);
    fs::remove_dir_all(tool.journal()).unwrap();
    tree::settle();
    let run = tool.execute(&list, &[]);
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    snapshot::assert_complete(&view, &snapshot::view(pool.root()));
    // What no journal explains is not removed.
    assert!(hidden(&pool) >= left && left > 0);
    tree::write(&pool.on(0, "new/one"), &tree::bytes(99, groups::SMALL));
    tree::write(&pool.on(1, "new/two"), &tree::bytes(99, groups::SMALL));
    let list = groups::write_list(&tool, &pool, &[["new/one", "new/two"].map(Into::into).to_vec()]);
    tree::settle();
    tool.execute(&list, &[]).expect(0);
    let status = tool.run(&["status"]).expect(0);
    let told = status.stdout.matches("this journal does not explain").count();
    assert_eq!(told, hidden(&pool), "{status}");
    assert!(status.stdout.contains("resume --salvage"), "{status}");
    let json = tool.run(&["status", "--format", "json"]).lines_of("status");
    assert_eq!(json[0]["unexplained_names"].as_array().unwrap().len(), told);
    // The names are all that is left of the journal, and enough; the one there is now stays as it is.
    let journal = tool.dir().join("another");
    let salvage = [
        BINARY.as_ref(),
        "--journal".as_ref(),
        journal.as_os_str(),
        "resume".as_ref(),
        "--salvage".as_ref(),
        "-e".as_ref(),
        pool.root().as_os_str(),
    ];
    let mut view = snapshot::view(pool.root());
    view.retain(|path, _| !path.to_string_lossy().contains(".xdedup-"));
    let run = tool.run_line(&salvage.map(OsStr::to_owned)).expect(0);
    assert_eq!(hidden(&pool), 0, "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    let status = tool.run(&["status"]).expect(0);
    assert!(!status.stdout.contains("explains"), "{status}");
}

#[test]
fn a_second_signal_stops_at_once_and_resume_finishes() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 200);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let trace = tool.dir().join("trace");
    // Within one batch, which a single signal would let finish.
    let inject = "inject=renameat2:signal=INT:when=20+20";
    let strace = ["strace", "-f", "-qq", "-e", "trace=renameat2", "-e", inject, "-o"];
    let strace = [&strace.map(OsStr::new)[..], &[trace.as_os_str()]].concat();
    let execute = ["-e", "--any-master", "-m"].map(OsStr::new);
    let execute = [&execute[..], &[list.as_os_str()]].concat();
    tool.run_under(&strace, &execute).expect(130);
    snapshot::assert_complete(&view, &snapshot::view(pool.root()));
    let done = made.iter().filter(|group| snapshot::places(&pool, &group[1])[0].0 == 0);
    assert!(done.count() < made.len(), "it went on");
    tree::settle();
    let before = snapshot::all_entries(&pool);
    let shown = tool.run(&["resume", "-n"]).expect(0).stdout;
    assert!(shown.contains(" open (") && shown.contains("/downloads/"), "{shown}");
    assert!(shown.ends_with("Run again without -n to finish or put back each file.\n"), "{shown}");
    assert_eq!(snapshot::all_entries(&pool), before, "-n changed something");
    tool.run(&["resume"]).expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    tree::settle();
    tool.run(&execute).expect(0);
    groups::assert_linked(&pool, &made);
}

#[test]
fn an_undo_killed_anywhere_is_finished_by_resume_and_the_next_undo() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 5);
    let view = snapshot::view(pool.root());
    for (call, n) in [
        ("pwrite64", 3),
        ("fsync", 4),
        ("fdatasync", 5),
        ("linkat", 3),
        ("renameat2", 4),
        ("renameat2", 8),
        ("unlinkat", 2),
        ("unlinkat", 9),
    ] {
        let tool = Tool::new();
        let list = groups::list(&tool, &pool, &made);
        tool.execute(&list, &[]).expect(0);
        let inject = format!("inject={call}:signal=KILL:when={n}");
        let trace = format!("trace={call}");
        let log = tool.dir().join("trace");
        let strace = ["strace", "-f", "-qq", "-e", &trace, "-e", &inject, "-o"];
        let strace = [&strace.map(OsStr::new)[..], &[log.as_os_str()]].concat();
        let run = tool.run_under(&strace, &["undo", "-e"].map(OsStr::new));
        assert!(run.was_killed(), "{call} {n}: {run}");
        snapshot::assert_complete(&view, &snapshot::view(pool.root()));
        tool.run(&["resume"]).expect(0);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
        tool.run(&["undo", "1", "-e"]).expect(0);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        for group in &made {
            let at = [&group[0], &group[1]].map(|path| snapshot::places(&pool, path)[0].0);
            assert_eq!(at, [0, 1], "{call} {n}");
        }
    }
}
