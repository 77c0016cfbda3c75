//! After the run: undo, verify, history, and what keeps a run from starting.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Tool};
use crate::harness::{manifest, snapshot};
use crate::library;

fn a_done_run() -> (Pool, Vec<Group>, Tool) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &[]).expect(0);
    groups::assert_linked(&pool, &made);
    (pool, made, tool)
}

#[test]
fn undo_gives_every_duplicate_its_own_inode_back() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs])
        .option("category.create=mfs")
        .mount();
    library::fill(&pool, 60);
    let tool = Tool::new();
    manifest::jdupes(&["-r", "-j"], &[pool.root()], &tool.list());
    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(&pool);
    tool.execute(&tool.list(), &[]).expect(0);
    tool.run(&["undo"]).expect(0);

    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    let after = snapshot::all_entries(&pool);
    for (before, after) in before.iter().zip(&after) {
        let paths = |entries: &snapshot::Entries| entries.keys().cloned().collect::<Vec<PathBuf>>();
        assert_eq!(paths(after), paths(before), "every file lies where it lay");
        for (path, was) in before
            .iter()
            .filter(|(_, e)| e.mode & libc::S_IFMT == libc::S_IFREG)
        {
            let now = &after[path];
            let of = |e: &snapshot::Entry| (e.nlink, e.size, e.mode, e.owner, e.mtime);
            assert_eq!(of(now), of(was), "{}", path.display());
        }
    }
    // What was undone can be done again, and an undo undone.
    tool.run(&["undo"]).expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn what_the_user_deleted_since_stays_deleted() {
    let (pool, made, tool) = a_done_run();
    std::fs::remove_file(pool.path(&made[0][1])).unwrap();
    tool.run(&["undo"]).expect(0);
    assert!(snapshot::places(&pool, &made[0][1]).is_empty());
    for path in [&made[1][0], &made[1][1], &made[2][0], &made[2][1]] {
        let places = snapshot::places(&pool, path);
        assert_eq!(places.len(), 1);
        assert_eq!(
            std::fs::metadata(pool.on(places[0].0, path))
                .unwrap()
                .nlink(),
            1
        );
    }
}

#[test]
fn verify_notices_rot_in_the_one_copy_that_is_left() {
    let (pool, made, tool) = a_done_run();
    tool.run(&["verify"]).expect(0);
    let path = pool.path(&made[1][0]);
    let mut content = std::fs::read(&path).unwrap();
    content[100] ^= 0x10;
    std::fs::write(&path, content).unwrap();
    let run = tool.run(&["verify"]).expect(1);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains(made[1][0].to_str().unwrap()), "{run}");
}

#[test]
fn nothing_that_was_done_is_unrecorded() {
    let (_pool, made, tool) = a_done_run();
    let history = tool.run(&["history"]).expect(0);
    assert!(!history.stdout.trim().is_empty(), "{history}");
    let csv = tool.run(&["export", "--csv"]).expect(0);
    let json = tool.run(&["export", "--json"]).expect(0);
    let log = std::fs::read_to_string(tool.journal().join("log.csv")).unwrap();
    for group in &made {
        let name = group[1].to_str().unwrap();
        for text in [&csv.stdout, &json.stdout, &log] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
    }
    assert!(
        json.stdout
            .lines()
            .all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok())
    );
}

#[test]
fn the_log_tells_of_each_file_pending_linked_deleted() {
    let (pool, made, tool) = a_done_run();
    let log = std::fs::read_to_string(tool.journal().join("log.csv")).unwrap();
    for group in &made {
        let path = pool.path(&group[1]);
        let of_file = log
            .lines()
            .filter(|line| line.split(',').any(|f| f == path.to_str().unwrap()));
        let states: Vec<_> = of_file
            .map(|line| line.split(',').nth(3).unwrap())
            .collect();
        assert_eq!(states, ["PENDING", "LINKED", "DELETED"], "{log}");
    }
}

#[test]
fn a_journal_inside_the_pool_is_refused() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    for journal in [pool.path("state"), pool.on(1, "state")] {
        let mut line: Vec<OsString> = vec![BINARY.into(), "--journal".into(), journal.into()];
        line.extend(["-e", "--any-master", "-m"].map(Into::into));
        line.push(list.clone().into());
        let run = tool.run_line(&line);
        assert!(matches!(run.code(), Some(2..=4)), "{run}");
        assert_eq!(snapshot::all_entries(&pool), before);
    }
}

#[test]
fn doctor_and_status_have_no_complaint_about_a_healthy_pool() {
    let (pool, _, tool) = a_done_run();
    tool.run(&["doctor".as_ref(), pool.root().as_os_str()])
        .expect(0);
    tool.run(&["status"]).expect(0);
}
