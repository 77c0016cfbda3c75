//! Groups of equal files for the tests: where each lies, and what must be true of them afterwards.

use std::path::PathBuf;

use crate::harness::pool::Pool;
use crate::harness::tool::Tool;
use crate::harness::{manifest, snapshot, tree};

/// Paths with equal bytes, relative to branch and mount. The first is written first.
pub(crate) type Group = Vec<PathBuf>;

/// Size of a small file of a test: more than a page, no multiple of one, never inline in an inode.
pub(crate) const SMALL: usize = 9_001;

/// `count` groups of two: `media/<n>` on one disk, `downloads/<n>` on another.
pub(crate) fn pairs(
    pool: &Pool,
    master_disk: usize,
    duplicate_disk: usize,
    count: u64,
) -> Vec<Group> {
    (0..count)
        .map(|n| {
            let names = [format!("media/{n}.bin"), format!("downloads/{n}.bin")];
            for (disk, name) in [master_disk, duplicate_disk].into_iter().zip(&names) {
                tree::write(&pool.on(disk, name), &tree::bytes(n, SMALL));
            }
            names.map(PathBuf::from).to_vec()
        })
        .collect()
}

/// Writes the groups as a list of jdupes to the place of this test's list, and returns it. Waits until the files are
/// old enough to be worked on at once.
pub(crate) fn list(tool: &Tool, pool: &Pool, groups: &[Group]) -> PathBuf {
    tree::settle();
    write_list(tool, pool, groups)
}

/// As [`list`], of files that may be as fresh as they are.
pub(crate) fn write_list(tool: &Tool, pool: &Pool, groups: &[Group]) -> PathBuf {
    let absolute = |group: &Group| group.iter().map(|path| pool.path(path)).collect();
    let groups: Vec<Vec<PathBuf>> = groups.iter().map(absolute).collect();
    manifest::write_json(&groups, &tool.list());
    tool.list()
}

/// Panics unless every group is one inode.
pub(crate) fn assert_linked(pool: &Pool, groups: &[Group]) {
    for group in groups {
        snapshot::assert_one_inode(pool, group);
    }
}
