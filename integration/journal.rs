//! What is left of a run, and what keeps one from starting.

use std::ffi::OsString;

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot;
use crate::harness::tool::{BINARY, Tool};

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
fn the_log_tells_of_each_file_pending_linked_deleted() {
    let (pool, made, tool) = a_done_run();
    let log = std::fs::read_to_string(tool.journal().join("log.csv")).unwrap();
    for group in &made {
        let path = pool.path(&group[1]);
        let of_file =
            log.lines().filter(|line| line.split(',').any(|f| f == path.to_str().unwrap()));
        let states: Vec<_> = of_file.map(|line| line.split(',').nth(3).unwrap()).collect();
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
fn status_finds_nothing_open_after_a_run() {
    let (_pool, _, tool) = a_done_run();
    let before = std::fs::read(tool.journal().join("log.csv")).unwrap();
    tool.run(&["status"]).expect(0);
    tool.run(&["resume"]).expect(0);
    tool.run(&["status"]).expect(0);
    assert_eq!(std::fs::read(tool.journal().join("log.csv")).unwrap(), before);
}

#[test]
fn a_disk_that_cannot_read_the_journal_once_does_not_destroy_it() {
    let (_pool, _, tool) = a_done_run();
    let database = tool.journal().join("db/db");
    let before = std::fs::read(&database).unwrap();
    let path = database.to_str().unwrap();
    let line = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path];
    let injection = ["-e", "trace=read", "-e", "inject=read:error=EIO:when=1"];
    let wrapper: Vec<&str> = line.into_iter().chain(injection).collect();
    let run = tool.run_under(&wrapper, &["status"]);
    assert_eq!(run.code(), Some(4), "{run}");
    assert!(run.stderr.contains("cannot read"), "{run}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
    tool.run(&["history"]).expect(0);
}
