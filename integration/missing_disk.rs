//! Disks that went, or never came: nothing is written to the directory they should be mounted on.

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::snapshot;
use crate::harness::tool::Tool;

#[test]
fn a_branch_without_its_disk_takes_no_links() {
    let mut pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).mount();
    let known = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    // From this run the journal knows the disks.
    tool.execute(&groups::list(&tool, &pool, &known), &[]).expect(0);

    let duplicates = groups::pairs(&pool, 1, 2, 5);
    let list = groups::list(&tool, &pool, &duplicates);
    pool.disk_mut(0).detach();
    let before = [snapshot::entries(&pool, 1), snapshot::entries(&pool, 2)];
    let run = tool.execute(&list, &[]);
    assert!(matches!(run.code(), Some(1 | 3)), "{run}");
    assert!(snapshot::entries(&pool, 0).is_empty(), "something was written below the disk: {run}");
    if run.code() == Some(3) {
        assert_eq!([snapshot::entries(&pool, 1), snapshot::entries(&pool, 2)], before);
    }
}

#[test]
fn a_branch_whose_path_is_gone_ends_with_3_and_changes_nothing() {
    let mut pool = PoolPlan::of(&[Ext4, Xfs, Ext4]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    pool.disk_mut(2).detach();
    std::fs::remove_dir(pool.on(2, "")).unwrap();
    let before = [snapshot::entries(&pool, 0), snapshot::entries(&pool, 1)];
    let run = tool.execute(&list, &[]).expect(3);
    assert!(run.stderr.contains("branch"), "{run}");
    std::fs::create_dir(pool.on(2, "")).unwrap();
    assert_eq!([snapshot::entries(&pool, 0), snapshot::entries(&pool, 1)], before);
    assert!(snapshot::entries(&pool, 2).is_empty(), "{run}");
}

#[test]
fn a_disk_that_turned_read_only_is_an_error_and_loses_nothing() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    for disk in [0, 1] {
        let view = snapshot::view(pool.root());
        pool.disk(disk).remount("ro");
        let run = tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]);
        pool.disk(disk).remount("rw");
        assert_eq!(run.code(), Some(1), "{run}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
    }
    tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(0);
    groups::assert_linked(&pool, &made);
}

#[test]
fn no_path_leaves_the_pool_with_a_branch_that_was_taken_out() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    // Killed when the replacement is there and the duplicate is about to leave its name.
    let kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2"];
    let kill = kill.into_iter().chain(["-e", "inject=renameat2:signal=KILL:when=2"]);
    let line = ["--format", "json", "-e", "--any-master", "-m", list.to_str().unwrap()];
    tool.run_under(&kill.collect::<Vec<_>>(), &line);
    let take_out = format!("-{}", pool.on(0, "").display());
    xattr::set(pool.path(".mergerfs"), "user.mergerfs.branches", take_out.as_bytes()).unwrap();
    tool.run(&["resume"]);
    let path = pool.path(&made[0][1]);
    assert!(path.is_file(), "{path:?} left the pool");
    let put_back = format!("+<{}=RW", pool.on(0, "").display());
    xattr::set(pool.path(".mergerfs"), "user.mergerfs.branches", put_back.as_bytes()).unwrap();
    tool.run(&["resume"]).expect(0);
    assert_eq!(snapshot::view(pool.root()), view);
    snapshot::assert_no_own_names(&pool);
}
