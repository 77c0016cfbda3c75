//! Without `-e` nothing changes; what is printed is a script that does the same by hand.

use std::process::Command;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::tool::Tool;
use crate::harness::{manifest, snapshot, tree};
use crate::library;

#[test]
fn a_dry_run_changes_nothing_and_prints_a_script_that_does_it() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).option("category.create=mfs").mount();
    let made = library::fill(&pool, 40);
    let tool = Tool::new();
    manifest::jdupes(&["-r", "-j"], &[pool.root()], &tool.list());
    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(&pool);

    let run =
        tool.run(&["--any-master".as_ref(), "-m".as_ref(), tool.list().as_os_str()]).expect(0);
    assert_eq!(snapshot::all_entries(&pool), before, "a dry run changed something");
    assert!(!tool.journal().exists(), "a dry run made a journal");

    let script = tool.dir().join("script.sh");
    std::fs::write(&script, &run.stdout).unwrap();
    let by_hand = Command::new("sh").arg(&script).output().unwrap();
    assert!(by_hand.status.success(), "{by_hand:?}");
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn the_script_takes_names_that_a_shell_would_not() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let names = ["with space", "quote's", "$(reboot)", "-n", "new\nline", "*"];
    let mut made = Vec::new();
    for (n, name) in names.into_iter().enumerate() {
        let group = [format!("media/{name}"), format!("down loads/{name}")];
        for (disk, path) in group.iter().enumerate() {
            tree::write(&pool.on(disk, path), &tree::bytes(n as u64, groups::SMALL));
        }
        made.push(group.map(Into::into).to_vec());
    }
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let run = tool.run(&["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()]).expect(0);
    let script = tool.dir().join("script.sh");
    std::fs::write(&script, &run.stdout).unwrap();
    let by_hand = Command::new("sh").arg(&script).output().unwrap();
    assert!(by_hand.status.success(), "{by_hand:?}\n{run}");
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn the_script_stops_when_a_file_has_changed_since() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let run = tool.run(&["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()]).expect(0);
    let script = tool.dir().join("script.sh");
    std::fs::write(&script, &run.stdout).unwrap();
    tree::write(&pool.on(1, &made[0][1]), &tree::bytes(99, groups::SMALL));
    let view = snapshot::view(pool.root());
    // How it ends is its own affair; what matters is that the other bytes are still there.
    Command::new("sh").arg(&script).output().unwrap();
    snapshot::assert_complete(&view, &snapshot::view(pool.root()));
}
