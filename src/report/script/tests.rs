//! The scripts are really run, by `sh`, on directories that stand for branches.
#![allow(clippy::disallowed_methods, reason = "tests make and spoil files that are no branches")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::super::sample;
use super::*;
use crate::plan::Refusal;
use crate::plan::refusal::Reason;
use crate::pool::Pool;

/// Two directories on one filesystem. A link between the directories works, and a script needs no more.
struct Branches {
    dir: TempDir,
    pool: Pool,
}

impl Branches {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let roots = ["one", "two"].map(|name| dir.path().join(name));
        for root in &roots {
            fs::create_dir(root).unwrap();
        }
        let pool = sample::pool_at(dir.path().join("pool"), roots);
        Self { dir, pool }
    }

    fn at(&self, branch: usize, path: impl AsRef<[u8]>) -> PathBuf {
        let root = &self.pool.branches[branch].path;
        root.join(sample::path(path).as_path())
    }

    fn put(&self, branch: usize, path: impl AsRef<[u8]>, content: &str) -> PathBuf {
        let at = self.at(branch, path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, content).unwrap();
        at
    }

    fn script(&self, plan: &Plan, look: &mut Look<'_>) -> Vec<u8> {
        let mut scene = sample::scene(&self.pool);
        (scene.dry_run, scene.run) = (true, None);
        let mut script = Vec::new();
        let tally = Tally::planned(plan);
        write(&mut script, &scene, (plan, &tally), look).unwrap();
        script
    }

    /// Runs the script for `ops`.
    fn run(&self, ops: &[Op]) -> Output {
        let plan = Plan { ops: ops.to_vec(), ..Plan::default() };
        self.run_script(&self.script(&plan, &mut |_| None))
    }

    fn run_script(&self, script: &[u8]) -> Output {
        let file = self.dir.path().join("script.sh");
        fs::write(&file, script).unwrap();
        Command::new("sh").arg(&file).output().unwrap()
    }
}

#[track_caller]
fn assert_same_inode(a: &Path, b: &Path) {
    let inode = |path| fs::symlink_metadata(path).map(|m| m.ino()).unwrap();
    assert_eq!(inode(a), inode(b), "{a:?} and {b:?}");
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, done: usize, not_done: usize) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let last = format!("{done} done, {not_done} not done\n");
    assert!(said.ends_with(&last), "{said}");
}

fn dirs(op: &mut Op, paths: &[&str]) {
    let dir =
        |path: &&str| DirIntent { path: sample::path(path), to: BranchIdx(0), from: BranchIdx(1) };
    op.dirs = paths.iter().map(dir).collect();
}

#[test]
fn names_that_a_shell_would_not_take_are_replaced() {
    let mut every_byte: Vec<u8> = (1..=255).filter(|b| *b != b'/').collect();
    every_byte.truncate(250);
    let names: [&[u8]; 9] = [
        b"it's 'quoted'",
        b"new\nline; exit 7",
        b"-rf",
        b"$(touch oops) `touch oops` ${x}",
        b"\xff\xfe\x80\x81\x82\x88",
        b"* ? [a] ~ \\ \" # !",
        b" ",
        &every_byte[..125],
        &every_byte[125..],
    ];
    let branches = Branches::new();
    let mut ops = Vec::new();
    for name in names {
        let (master, own) = ([b"m/", name].concat(), [b"d/", name].concat());
        branches.put(0, &master, "same");
        branches.put(1, &own, "same");
        let local = [b"l/", name].concat();
        branches.put(0, &local, "same");
        let mut cross = sample::op(OpKind::Cross, &master, &[&own], 4096);
        dirs(&mut cross, &["d"]);
        ops.push(cross);
        ops.push(sample::op(OpKind::Local, &master, &[&local], 4096));
    }
    assert_ended(&branches.run(&ops), 0, 18, 0);
    for name in names {
        let at = |branch, dir: &[u8]| branches.at(branch, [dir, name].concat());
        assert_same_inode(&at(0, b"m/"), &at(0, b"d/"));
        assert_same_inode(&at(0, b"m/"), &at(0, b"l/"));
        assert!(!at(1, b"d/").exists());
        assert_eq!(fs::metadata(at(0, b"m/")).unwrap().nlink(), 3);
    }
    // Nothing of its own stays, and a second go finds everything done.
    assert_eq!(fs::read_dir(branches.at(0, "l")).unwrap().count(), 9);
    assert_ended(&branches.run(&ops), 0, 18, 0);
}

#[test]
fn a_whole_link_set_is_replaced_or_nothing_of_it() {
    let branches = Branches::new();
    let set = |n: u8| [format!("d/{n}a"), format!("d/{n}b"), format!("e/{n}c")];
    let mut ops = Vec::new();
    for n in 0..3 {
        let master = branches.put(0, format!("m{n}"), "same");
        let first = branches.put(1, &set(n)[0], "same");
        for name in &set(n)[1..] {
            fs::create_dir_all(branches.at(1, name).parent().unwrap()).unwrap();
            fs::hard_link(&first, branches.at(1, name)).unwrap();
        }
        let names = set(n);
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let mut op = sample::op(OpKind::Cross, format!("m{n}").as_bytes(), &names, 1);
        dirs(&mut op, &["d", "e"]);
        ops.push(op);
        assert!(master.exists());
    }
    // Another file has the last name of the second op.
    let taken = branches.put(0, &set(1)[2], "other");
    // The third duplicate has a name that the plan does not know.
    fs::hard_link(branches.at(1, &set(2)[0]), branches.dir.path().join("unknown")).unwrap();
    assert_ended(&branches.run(&ops), 1, 1, 2);
    for name in set(0) {
        assert_same_inode(&branches.at(0, "m0"), &branches.at(0, &name));
        assert!(!branches.at(1, &name).exists());
    }
    assert_eq!(fs::read_to_string(taken).unwrap(), "other");
    for n in [1, 2] {
        assert_eq!(fs::metadata(branches.at(0, format!("m{n}"))).unwrap().nlink(), 1);
        for name in set(n) {
            assert_eq!(fs::read_to_string(branches.at(1, name)).unwrap(), "same");
        }
    }
}

#[test]
fn what_cannot_be_done_is_left_and_the_rest_goes_on() {
    let branches = Branches::new();
    for name in ["differs", "taken", "gone", "link", "good"] {
        branches.put(0, format!("m/{name}"), "same");
        branches.put(1, format!("m/d/{name}"), "same");
    }
    branches.put(1, "m/d/differs", "SAME");
    branches.put(0, "m/d/taken", "other");
    fs::remove_file(branches.at(1, "m/d/gone")).unwrap();
    fs::remove_file(branches.at(1, "m/d/link")).unwrap();
    symlink(branches.at(0, "m/link"), branches.at(1, "m/d/link")).unwrap();
    let op = |name: &str| sample::cross(&format!("m/{name}"), &format!("m/d/{name}"), 1);
    let ops = ["differs", "taken", "gone", "link", "good"].map(op);
    assert_ended(&branches.run(&ops), 1, 1, 4);
    assert_same_inode(&branches.at(0, "m/good"), &branches.at(0, "m/d/good"));
    for (branch, name, content) in
        [(1, "differs", "SAME"), (0, "taken", "other"), (1, "taken", "same"), (1, "link", "same")]
    {
        let at = branches.at(branch, format!("m/d/{name}"));
        assert_eq!(fs::read_to_string(at).unwrap(), content, "{name}");
    }
    assert!(!branches.at(0, "m/d/differs").exists());
    assert!(!branches.at(0, "m/d/gone").exists());
}

/// Symptom: without a look just before the removal, bytes written after the comparison would go.
#[test]
fn a_duplicate_that_changes_after_the_comparison_stays_and_the_link_is_taken_back() {
    for kind in [OpKind::Cross, OpKind::Local] {
        let branches = Branches::new();
        branches.put(0, "m", "same");
        let own = branches.put(usize::from(kind == OpKind::Cross), "d", "same");
        let op = sample::op(kind, b"m", &[b"d"], 1);
        let plan = Plan { ops: vec![op], ..Plan::default() };
        let script = branches.script(&plan, &mut |_| None);
        let script = String::from_utf8(script).unwrap();
        let write = format!("printf SAME > '{}'\nsettle ", own.display());
        let script = script.replace("\nsettle '", &format!("\n{write}'"));
        assert!(script.contains("printf SAME"));
        assert_ended(&branches.run_script(script.as_bytes()), 1, 0, 1);
        assert_eq!(fs::read_to_string(&own).unwrap(), "SAME");
        assert_eq!(fs::metadata(branches.at(0, "m")).unwrap().nlink(), 1);
        let entries = fs::read_dir(branches.at(0, "m").parent().unwrap()).unwrap();
        assert_eq!(entries.count(), if kind == OpKind::Cross { 1 } else { 2 });
    }
}

#[test]
fn nothing_is_removed_where_the_sync_fails() {
    let branches = Branches::new();
    branches.put(0, "m", "same");
    branches.put(1, "d", "same");
    let plan = Plan { ops: vec![sample::cross("m", "d", 1)], ..Plan::default() };
    let script = String::from_utf8(branches.script(&plan, &mut |_| None)).unwrap();
    let script = script.replace("\nset -eu\n", "\nset -eu\nsync() { return 1; }\n");
    let output = branches.run_script(script.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(branches.at(1, "d").exists() && !branches.at(0, "d").exists());
}

#[test]
fn new_directories_get_owner_and_mode_and_are_named() {
    let branches = Branches::new();
    branches.put(0, "m", "same");
    branches.put(1, "d/e/f", "same");
    let mode = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode));
    mode(&branches.at(1, "d"), 0o2751).unwrap();
    mode(&branches.at(1, "d/e"), 0o1700).unwrap();
    // A clear setgid must not be inherited.
    mode(&branches.pool.branches[0].path, 0o2755).unwrap();
    let mut op = sample::cross("m", "d/e/f", 1);
    dirs(&mut op, &["d", "d/e"]);
    let plan = Plan { ops: vec![op], ..Plan::default() };
    let numbers = |place: &Place| {
        let m = fs::metadata(branches.at(1, place.path.as_bytes())).unwrap();
        // One of them only: the script looks for itself at the other.
        (place.path == sample::path("d/e")).then(|| (m.uid(), m.gid(), m.mode()))
    };
    let script = branches.script(&plan, &mut { numbers });
    let text = String::from_utf8(script.clone()).unwrap();
    let target = branches.at(0, "d/e");
    assert!(text.contains(&format!("\n#   {}\n", target.display())), "{text}");
    assert!(text.contains(" 01700 || :\n"), "{text}");
    assert_ended(&branches.run_script(&script), 0, 1, 0);
    for (path, bits) in [("d", 0o2751), ("d/e", 0o1700)] {
        let (here, there) = [0, 1].map(|b| fs::metadata(branches.at(b, path)).unwrap()).into();
        assert_eq!(here.mode() & 0o7777, bits, "{path}");
        assert_eq!((here.uid(), here.gid()), (there.uid(), there.gid()));
    }
    assert_eq!(fs::read_dir(branches.at(0, "d")).unwrap().count(), 1);
    assert_same_inode(&branches.at(0, "m"), &branches.at(0, "d/e/f"));
}

#[test]
fn comments_cannot_be_left_by_a_name() {
    let branches = Branches::new();
    let refusal = Refusal {
        reason: Reason::Shadowed,
        path: b"a\ntouch escaped".to_vec(),
        master: Some(sample::path("b\r\ntouch escaped")),
        detail: "c\ntouch escaped".into(),
        bytes: 0,
    };
    let mut pool = branches.pool.clone();
    pool.version = "2\ntouch escaped".into();
    let branches = Branches { pool, ..branches };
    let plan = Plan { refusals: vec![refusal], ..Plan::default() };
    let script = String::from_utf8(branches.script(&plan, &mut |_| None)).unwrap();
    assert!(script.lines().all(|line| line.starts_with('#')), "{script}");
    assert!(script.contains("Nothing to do"));
}

#[test]
fn a_terminal_gets_no_raw_names() {
    let branches = Branches::new();
    let mut scene = sample::scene(&branches.pool);
    scene.terminal = true;
    let plan = Plan {
        ops: vec![sample::op(OpKind::Cross, b"m\x1b[2J", &[b"d\x9b\xc2\x9b"], 1)],
        ..Plan::default()
    };
    let mut script = Vec::new();
    let tally = Tally::planned(&plan);
    write(&mut script, &scene, (&plan, &tally), &mut |_| None).unwrap();
    let text = String::from_utf8(script).unwrap();
    let plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
    assert!(text.chars().all(plain), "{text}");
}

#[test]
fn many_ops_share_a_sync() {
    let branches = Branches::new();
    let mut ops = Vec::new();
    for n in 0..BATCH_OPS + 2 {
        branches.put(0, format!("m{n}"), "same");
        branches.put(1, format!("d{n}"), "same");
        ops.push(sample::cross(&format!("m{n}"), &format!("d{n}"), 1));
    }
    let plan = Plan { ops, ..Plan::default() };
    let script = branches.script(&plan, &mut |_| None);
    let text = String::from_utf8_lossy(&script);
    assert_eq!(text.matches("\nsettle '").count(), 2);
    assert_ended(&branches.run_script(&script), 0, BATCH_OPS + 2, 0);
}
