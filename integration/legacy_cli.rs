//! The command line of the script this tool replaces, to the letter.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot;
use crate::harness::tool::{BINARY, Run, Tool};

/// Runs the old command line. It names no journal, so the default one is used: in a mount namespace of its own,
/// that of this machine is out of reach.
fn run_old(pool: &Pool, tool: &Tool, list: &Path, extra: &[&str]) -> Run {
    run_with_root(pool, tool, list, pool.branch_parent(), extra)
}

fn run_with_root(pool: &Pool, tool: &Tool, list: &Path, root: &Path, extra: &[&str]) -> Run {
    let hide =
        r#"mount --bind "$1" /var/lib && mount --bind "$2" /var/cache && shift 2 && exec "$@""#;
    let mut line: Vec<OsString> =
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, "sh"]
            .map(Into::into)
            .into();
    for dir in ["lib", "cache"] {
        let dir = tool.dir().join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        line.push(dir.into());
    }
    line.push(BINARY.into());
    line.extend(["--json-file".into(), list.into()]);
    line.extend(["--log-file".into(), tool.dir().join("log.csv").into()]);
    line.extend(["--primary-path".into(), pool.path("media").into()]);
    line.extend(["--pool-root".into(), root.into()]);
    line.extend(extra.iter().map(Into::into));
    tool.run_line(&line)
}

fn two_disks() -> (Pool, Vec<Group>, Tool, PathBuf) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 1, 0, 4);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    (pool, made, tool, list)
}

#[test]
fn without_perform_actions_nothing_happens() {
    let (pool, _, tool, list) = two_disks();
    let before = snapshot::all_entries(&pool);
    run_old(&pool, &tool, &list, &[]).expect(0);
    assert_eq!(snapshot::all_entries(&pool), before);
}

#[test]
fn with_perform_actions_the_duplicates_become_links_and_the_log_says_so() {
    let (pool, made, tool, list) = two_disks();
    let view = snapshot::view(pool.root());
    run_old(&pool, &tool, &list, &["--perform-actions"]).expect(0);
    for group in &made {
        assert_eq!(snapshot::assert_one_inode(&pool, group).0, 1, "the primary's copy stays");
    }
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    let log = std::fs::read_to_string(tool.dir().join("log.csv")).unwrap();
    for (state, group) in
        ["PENDING", "LINKED", "DELETED"].iter().flat_map(|s| made.iter().map(move |g| (s, g)))
    {
        let path = pool.path(&group[1]);
        let told = log.lines().any(|l| l.contains(state) && l.contains(path.to_str().unwrap()));
        assert!(told, "{state} of {} is not in\n{log}", path.display());
    }
    run_old(&pool, &tool, &list, &["--perform-actions"]).expect(0);
}

#[test]
fn the_later_database_option_is_accepted_and_said_to_be_unused() {
    let (pool, made, tool, list) = two_disks();
    let db = tool.dir().join("state.sqlite");
    let run =
        run_old(&pool, &tool, &list, &["--db-file", db.to_str().unwrap(), "--perform-actions"]);
    let run = run.expect(0);
    assert!(run.stderr.contains("db-file"), "{run}");
    assert!(!db.exists());
    groups::assert_linked(&pool, &made);
}

#[test]
fn a_pool_root_that_does_not_hold_the_branches_is_refused() {
    let (pool, _, tool, list) = two_disks();
    let before = snapshot::all_entries(&pool);
    let run = run_with_root(&pool, &tool, &list, Path::new("/var"), &["--perform-actions"]);
    assert!(matches!(run.code(), Some(2 | 3)), "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);
}

#[test]
fn what_the_old_script_deleted_and_did_not_link_comes_back() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 1, 0, 5);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let path = |n: usize| pool.path(&made[n][1]).display().to_string();
    let mut log = String::from("filepath,status\r\n");
    for (n, group) in made.iter().enumerate().take(4) {
        log += &format!("{},PENDING\r\n", path(n));
        std::fs::remove_file(pool.path(&group[1])).unwrap();
        // It stopped in the last one between the delete and the line.
        if n < 3 {
            log += &format!("{},DELETED\r\n", path(n));
        }
    }
    std::fs::create_dir_all(pool.on(1, "downloads")).unwrap();
    std::fs::hard_link(pool.on(1, &made[0][0]), pool.on(1, &made[0][1])).unwrap();
    log += &format!("{},LINKED\r\n", path(0));
    let file = tool.dir().join("old.csv");
    std::fs::write(&file, &log).unwrap();
    let line: Vec<OsString> =
        vec!["resume".into(), "--from-log".into(), file.clone().into(), "-m".into(), list.into()];
    let run = tool.run(&line).expect(0);
    assert!(run.stdout.contains("3 linked again, 0 were there"), "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    groups::assert_linked(&pool, &made[..4]);
    let again = tool.run(&line).expect(0);
    assert!(again.stdout.contains("nothing is unfinished"), "{again}");
    std::fs::write(&file, "time,run\n").unwrap();
    tool.run(&line).expect(2);
}

#[test]
fn relative_paths_and_paths_by_a_symlink_of_the_old_log_are_those_of_the_pool() {
    let (pool, made, tool, list) = two_disks();
    for group in &made[..3] {
        std::fs::remove_file(pool.path(&group[1])).unwrap();
    }
    let link = tool.dir().join("by-another-name");
    std::os::unix::fs::symlink(pool.root(), &link).unwrap();
    // No branch has the directory any more.
    for branch in 0..2 {
        std::fs::remove_dir_all(pool.on(branch, "downloads")).ok();
    }
    let file = tool.dir().join("old.csv");
    let log = format!(
        "filepath,status\r\n{},DELETED\r\n\"{}/x,\r\n{},DELETED\r\n",
        link.join(&made[0][1]).display(),
        link.display(),
        made[1][1].display(),
    );
    std::fs::write(&file, log).unwrap();
    let mut line: Vec<OsString> = ["resume", "--from-log"].map(Into::into).to_vec();
    line.extend([file.clone().into(), "-m".into(), list.into()]);
    line.extend(["--base".into(), pool.root().into()]);
    let run = tool.run(&line).expect(0);
    assert!(run.stdout.contains("2 linked again, 0 were there"), "{run}");
    groups::assert_linked(&pool, &made[..2]);
    // What has no meaning is told, not passed over.
    std::fs::write(&file, "filepath,status\n/a,b,DELETED\n").unwrap();
    let run = tool.run(&line).expect(1);
    assert!(run.stderr.contains("/a,b,DELETED"), "{run}");
}
