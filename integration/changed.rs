//! Lists are claims: what changed since they were made is not touched.

use std::fs::{File, FileTimes};
use std::path::PathBuf;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

#[test]
fn other_bytes_under_the_same_size_and_time_are_refused() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    for (disk, path) in [(1, &made[0][1]), (0, &made[1][0])] {
        let path = pool.on(disk, path);
        let mtime = std::fs::metadata(&path).unwrap().modified().unwrap();
        let mut content = std::fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        std::fs::write(&path, content).unwrap();
        File::open(&path).unwrap().set_times(FileTimes::new().set_modified(mtime)).unwrap();
    }
    let before = snapshot::all_entries(&pool);
    let run = tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(1);
    for group in &made[..2] {
        assert_eq!(run.reasons_for(&pool.path(&group[1])), ["differs"], "{run}");
        let after = snapshot::all_entries(&pool);
        for path in group {
            let of = |all: &[snapshot::Entries]| {
                all.iter().map(|e| e.get(path).cloned()).collect::<Vec<_>>()
            };
            assert_eq!(of(&after), of(&before), "{} was touched", path.display());
        }
    }
    groups::assert_linked(&pool, &made[2..]);
}

#[test]
fn what_is_gone_or_grown_is_named_and_the_rest_is_done() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    std::fs::remove_file(pool.on(1, &made[0][1])).unwrap();
    tree::write(&pool.on(1, &made[1][1]), &tree::bytes(1, groups::SMALL + 1));
    let view = snapshot::view(pool.root());
    let run = tool.execute(&list, &[]).expect(1);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains(made[0][1].to_str().unwrap()), "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    groups::assert_linked(&pool, &made[2..]);
}

#[test]
fn a_list_that_puts_strangers_together_joins_only_what_is_equal() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let everything: Vec<PathBuf> = made.concat();
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[everything]);
    let view = snapshot::view(pool.root());
    tool.execute(&list, &[]).expect(1);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}
