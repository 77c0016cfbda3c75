//! A run is killed, and then its journal is lost: `resume --salvage` ends what was open, from what is left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::cell::{Becomes, Cell};
use super::{Stage, two_disks};
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Tool};
use crate::harness::{snapshot, tree};

/// What becomes of a journal directory, and whether its log is still there.
type Loss = (&'static str, bool, fn(&Path));

const LOSSES: [Loss; 7] = [
    ("database emptied", true, |j| {
        fs::write(j.join("db/db"), "").unwrap();
    }),
    ("database cut short", true, |j| {
        let db = fs::OpenOptions::new().write(true).open(j.join("db/db"));
        db.unwrap().set_len(512).unwrap();
    }),
    ("database is garbage", true, |j| {
        fs::write(j.join("db/db"), vec![0xa5; 1 << 18]).unwrap();
    }),
    ("mark half written", true, |j| {
        let mark = fs::read(j.join("mark")).unwrap();
        fs::write(j.join("mark"), &mark[..4096]).unwrap();
    }),
    ("the log alone is left", true, |j| {
        fs::remove_dir_all(j.join("db")).unwrap();
        fs::remove_file(j.join("mark")).unwrap();
    }),
    ("database and log are gone", false, |j| {
        fs::remove_dir_all(j.join("db")).unwrap();
        fs::remove_file(j.join("log.csv")).unwrap();
    }),
    ("all is gone", false, |j| fs::remove_dir_all(j).unwrap()),
];

/// The moments of a run at which it is killed: before the Nth call of a kind.
const MOMENTS: [(&str, usize); 14] = [
    ("linkat", 1),
    ("linkat", 3),
    ("mkdirat", 2),
    ("renameat2", 1),
    ("renameat2", 2),
    ("renameat2", 4),
    ("renameat2", 5),
    ("renameat2", 6),
    ("renameat2", 8),
    ("fdatasync", 6),
    ("fdatasync", 9),
    ("unlinkat", 1),
    ("unlinkat", 2),
    ("unlinkat", 3),
];

fn salvage(pool: &Pool, cell: &Cell, log_left: bool, what: &str) {
    let root = pool.root().as_os_str();
    let arguments = ["resume", "--salvage"].map(std::ffi::OsStr::new);
    let arguments = match log_left {
        true => arguments.to_vec(),
        false => [&arguments[..], &[root]].concat(),
    };
    let before = snapshot::all_entries(pool);
    cell.tool.run(&arguments).expect(0);
    assert_eq!(snapshot::all_entries(pool), before, "{what}: a dry run");
    let execute = [&arguments[..], &["-e".as_ref()]].concat();
    let ended = cell.tool.run(&execute);
    cell.assert_complete(pool);
    if !log_left && cell.becomes == Becomes::Clones && ended.code() == Some(4) {
        // Without the log, nothing says where a clone belongs that is hidden above the directory of its path: it stays.
        assert!(ended.stdout.contains("leave: "), "{what}: {ended}");
        return;
    }
    ended.expect(0);
    snapshot::assert_same(&cell.view, &snapshot::view(&pool.path(&cell.root)));
    snapshot::assert_no_own_names(pool);
    let status = cell.tool.run(&["status"]).expect(0);
    assert!(status.stdout.contains("nothing is open"), "{what}: {status}");
    cell.tool.run(&["resume"]).expect(0);
}

/// Kills a run over each of a few cells at each moment, and loses the journal in one of the ways.
fn lose(pool: &Pool, stage: Stage, first: usize, step: usize) {
    let mut killed = 0;
    let cells: Vec<_> = MOMENTS
        .iter()
        .enumerate()
        .step_by(step)
        .map(|(i, moment)| {
            let name = format!("{}-{}", moment.0, moment.1);
            (i, *moment, stage.cell(pool, &name))
        })
        .collect();
    tree::settle();
    let mut done = Vec::new();
    for (i, (call, n), cell) in cells {
        let run = cell.run_injected(pool, call, &format!("signal=KILL:when={n}"));
        killed += usize::from(run.was_killed());
        let (what, log_left, loss) = LOSSES[(i + first) % LOSSES.len()];
        let what = format!("{call} {n}, {what}");
        println!("{what}: killed {}", run.was_killed());
        loss(&cell.tool.journal());
        cell.assert_complete(pool);
        salvage(pool, &cell, log_left, &what);
        done.push((cell, log_left));
    }
    assert!(killed + 3 > done.len(), "the kills do not kill");
    tree::settle();
    for (cell, log_left) in done {
        // Without the log, a path may be left on two branches: the same bytes, and a later run leaves it alone.
        if log_left {
            cell.assert_can_be_done(pool);
        }
        cell.remove(pool);
    }
}

#[test]
fn a_killed_run_whose_journal_is_lost_is_salvaged() {
    let pool = two_disks();
    lose(&pool, Stage::links(0), 0, 1);
    lose(&pool, Stage::links(1), 3, 1);
}

#[test]
fn a_killed_run_that_makes_clones_is_salvaged_too() {
    let stage = Stage::clones(0);
    lose(&stage.pool(), stage, 0, 3);
}

/// A clone takes the place of a file with two names, is stopped between any two calls, and journal and log are lost: both names
/// lead to one file afterwards.
#[test]
fn a_set_of_links_that_becomes_a_clone_is_salvaged_whole() {
    let mut both = 0;
    for n in 1..=6 {
        let pool = PoolPlan::of(&[Btrfs, Ext4]).mount();
        tree::write(&pool.on(0, "media/a"), &tree::bytes(1, 200_000));
        tree::write(&pool.on(1, "dl/new/a"), &tree::bytes(1, 200_000));
        // Where a directory is missing, nothing says where a clone belongs that has no path yet.
        for (branch, dir) in [(0, "dl/new"), (0, "old"), (1, "old")] {
            fs::create_dir_all(pool.on(branch, dir)).unwrap();
        }
        fs::hard_link(pool.on(1, "dl/new/a"), pool.on(1, "old/a")).unwrap();
        nix::unistd::sync();
        tree::settle();
        let (tool, view) = (Tool::new(), snapshot::view(pool.root()));
        let inject = format!("inject=renameat2:signal=KILL:when={n}");
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e"];
        let (media, root) = (pool.path("media"), pool.root().as_os_str());
        let dirs = ["-p".as_ref(), media.as_os_str(), root];
        let link = ["-e", "--link", "reflink"].map(std::ffi::OsStr::new);
        let strace = [&strace[..], &[&inject]].concat();
        let killed = tool.run_under(&strace, &[&link[..], &dirs].concat());
        fs::remove_dir_all(tool.journal()).unwrap();
        let names = |branch| ["dl/new/a", "old/a"].map(|name| pool.on(branch, name));
        let there = |branch| names(branch).iter().filter(|path| path.exists()).count();
        both += usize::from(there(0) > 0 && there(1) > 0);
        let salvage = ["resume", "--salvage", "-e"].map(std::ffi::OsStr::new);
        let salvaged = tool.run(&[&salvage[..], &[root]].concat()).expect(0);
        println!("renameat2 {n}: killed {}: {salvaged}", killed.was_killed());
        assert!(!salvaged.stdout.contains("separate copy"), "{n}: {salvaged}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
        let branch = usize::from(there(0) == 0);
        assert_eq!((there(branch), there(1 - branch)), (2, 0), "{n}: {salvaged}");
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let [one, other] = names(branch);
        assert_eq!(inode(&one), inode(&other), "{n}: {salvaged}");
    }
    assert!(both > 2, "{both}");
}

#[test]
fn a_killed_salvage_is_finished_by_resume() {
    let pool = two_disks();
    for (call, n) in [
        ("renameat2", 1),
        ("renameat2", 2),
        ("renameat2", 3),
        ("fdatasync", 4),
        ("unlinkat", 1),
        ("unlinkat", 3),
    ] {
        let cell = Cell::new(&pool, &format!("{call}-{n}"), 0);
        tree::settle();
        let run = cell.run_injected(&pool, "unlinkat", "signal=KILL:when=1");
        assert!(run.was_killed(), "{run}");
        fs::write(cell.tool.journal().join("db/db"), "").unwrap();
        let (trace, inject) =
            (format!("trace={call}"), format!("inject={call}:signal=KILL:when={n}"));
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let run = cell.tool.run_under(&strace, &["resume", "--salvage", "-e"]);
        println!("{call} {n}: killed {}", run.was_killed());
        cell.assert_complete(&pool);
        // Before the new journal is in place it is to be begun again, after that `resume` is enough.
        if cell.tool.run(&["resume"]).code() == Some(4) {
            cell.tool.run(&["resume", "--salvage", "-e"]).expect(0);
        }
        cell.assert_resumes(&pool);
        let entries = cell.tool.dir().read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let kept = names.filter(|name| name.starts_with("journal.unusable-"));
        assert!(kept.count() > 0, "{call} {n}: the old journal is not kept");
        tree::settle();
        cell.assert_can_be_done(&pool);
        cell.remove(&pool);
    }
}

#[test]
fn a_sound_journal_is_not_salvaged_and_nothing_says_which_pool() {
    let pool = two_disks();
    let cell = Cell::new(&pool, "sound", 0);
    tree::settle();
    cell.run_traced(&pool, &["-e", "trace=none"]).expect(0);
    let before = cell.branches(&pool);
    let run = cell.tool.run(&["resume", "--salvage", "-e"]).expect(0);
    assert!(run.stdout.contains("can be used"), "{run}");
    assert_eq!(cell.branches(&pool), before);
    fs::remove_dir_all(cell.tool.journal()).unwrap();
    cell.tool.run(&["resume", "--salvage", "-e"]).expect(2);
    cell.tool.run(&["resume", "--salvage", "--from-log", "x", "-m", "y"]).expect(2);
}

#[test]
fn names_are_not_salvaged_beside_a_journal_that_is_alive() {
    let pool = two_disks();
    let cell = Cell::new(&pool, "alive", 0);
    tree::settle();
    let run = cell.run_injected(&pool, "renameat2", "signal=KILL:when=6");
    assert!(run.was_killed());
    let before = cell.branches(&pool);
    // The usual place is another one in here: nothing there, then the journal itself.
    let salvage = |usual: &str, extra: &[&str]| {
        let script = format!("mount -t tmpfs none /var/lib && {usual} && shift 1 && exec \"$@\"");
        let mut line: Vec<std::ffi::OsString> =
            ["unshare", "-m", "sh", "-c"].map(Into::into).into();
        line.extend([script.into(), "sh".into(), cell.tool.journal().into(), BINARY.into()]);
        line.extend(extra.iter().map(Into::into));
        line.extend(["resume", "--salvage", "-e"].map(Into::into));
        line.push(pool.root().into());
        cell.tool.run_line(&line).expect(2)
    };
    let run = salvage("true", &[]);
    assert!(run.stderr.contains("may be elsewhere"), "{run}");
    let usual = "mkdir /var/lib/mergerfs-xdedup && mount --bind \"$1\" /var/lib/mergerfs-xdedup";
    let another = cell.tool.dir().join("another");
    let run = salvage(usual, &["--journal", another.to_str().unwrap()]);
    assert!(run.stderr.contains("is not lost"), "{run}");
    assert_eq!(cell.branches(&pool), before);
    // A name that anybody can make, and nobody knows any more which journal it was.
    let planted = pool.on(0, ".xdedup-00000005-00000001-00000001-00000000-r");
    fs::write(&planted, "").unwrap();
    let run = salvage("true", &["--journal", another.to_str().unwrap()]);
    assert!(run.stderr.contains("several journals"), "{run}");
    assert!(!another.exists());
    fs::remove_file(&planted).unwrap();
    cell.tool.run(&["resume"]).expect(0);
    cell.assert_complete(&pool);
    snapshot::assert_same(&cell.view, &snapshot::view(&pool.path(&cell.root)));
    snapshot::assert_no_own_names(&pool);
    tree::settle();
    cell.assert_can_be_done(&pool);
    cell.remove(&pool);
}

/// The disk may be back tomorrow; a new journal would know nothing of what was open on it.
#[test]
fn a_salvage_waits_for_a_branch_that_is_not_there() {
    let pool = two_disks();
    let cell = Cell::new(&pool, "missing", 0);
    tree::settle();
    let run = cell.run_injected(&pool, "renameat2", "signal=KILL:when=6");
    assert!(run.was_killed());
    fs::write(cell.tool.journal().join("db/db"), "").unwrap();
    let log = cell.tool.journal().join("log.csv");
    let text = fs::read_to_string(&log).unwrap();
    let away = pool.on(0, "").parent().unwrap().join("gone");
    let branch = pool.on(0, "").to_str().unwrap().trim_end_matches('/').to_owned();
    fs::write(&log, text.replace(&branch, away.to_str().unwrap())).unwrap();
    let before = cell.branches(&pool);
    let run = cell.tool.run(&["resume", "--salvage", "-e"]).expect(3);
    assert!(run.stderr.contains("is not there"), "{run}");
    assert_eq!(cell.branches(&pool), before);
    fs::write(&log, text).unwrap();
    salvage(&pool, &cell, true, "the branch is back");
    tree::settle();
    cell.assert_can_be_done(&pool);
    cell.remove(&pool);
}

/// A directory of the pool belongs to whoever may write above it: what he makes of it is no reason to do nothing.
#[test]
fn a_symlink_where_a_directory_was_does_not_stop_a_salvage() {
    let pool = two_disks();
    let cell = Cell::new(&pool, "symlink", 0);
    tree::settle();
    let run = cell.run_injected(&pool, "renameat2", "signal=KILL:when=6");
    assert!(run.was_killed());
    fs::write(cell.tool.journal().join("db/db"), "").unwrap();
    let log = cell.tool.journal().join("log.csv");
    let text = fs::read_to_string(&log).unwrap();
    // Two ops more, at a path through a symlink and at one that cannot be.
    std::os::unix::fs::symlink("/etc", pool.on(0, "astray")).unwrap();
    let mut more = text.clone();
    for path in ["astray/file".to_owned(), "x".repeat(300)] {
        let at = |root: &Path| root.join(&path).to_str().unwrap().to_owned();
        let [to, from] = [0, 1].map(|branch| at(&pool.on(branch, "")));
        let (shown, op) = (at(pool.root()), 90 + path.len());
        more += &format!("T,1,{op},PENDING,{shown},{to},{from},{to},1\n");
    }
    fs::write(&log, more).unwrap();
    salvage(&pool, &cell, true, "a symlink");
    fs::remove_file(pool.on(0, "astray")).unwrap();
    tree::settle();
    cell.assert_can_be_done(&pool);
    cell.remove(&pool);
}
