//! Branches that share a device: the hard-link boundary is not the branch.

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

#[test]
fn copies_on_two_branches_of_one_disk_become_one_inode() {
    for filesystem in [Ext4, Xfs, Btrfs] {
        let pool = PoolPlan::of(&[filesystem, Ext4])
            .branches(&[(0, "first"), (0, "second"), (1, "")])
            .mount();
        let mut made = groups::pairs(&pool, 0, 1, 2);
        tree::write(&pool.on(2, "third/0.bin"), &tree::bytes(0, groups::SMALL));
        made[0].push("third/0.bin".into());
        let tool = Tool::new();
        let list = groups::list(&tool, &pool, &made);
        let view = snapshot::view(pool.root());
        let primary = pool.path("media");
        let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(0);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
        for group in &made {
            let inodes: Vec<_> =
                group.iter().flat_map(|path| snapshot::places(&pool, path)).collect();
            assert_eq!(inodes.len(), group.len(), "{run}");
            assert!(inodes.iter().all(|(_, inode)| *inode == inodes[0].1), "{inodes:?}: {run}");
        }
    }
}

#[test]
fn a_file_seen_twice_through_nested_branches_is_one_file() {
    let pool = PoolPlan::of(&[Ext4]).branches(&[(0, "outer"), (0, "outer/inner")]).mount();
    tree::write(&pool.on(1, "dir/file"), &tree::bytes(1, groups::SMALL));
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[vec!["dir/file".into(), "inner/dir/file".into()]]);
    let before = snapshot::all_entries(&pool);
    let view = snapshot::view(pool.root());
    let run = tool.execute(&list, &[]).expect(0);
    assert_eq!(run.summary().get("planned"), 0, "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}
