//! A pool as people have them, small: some hundred groups over three disks, in every constellation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::groups::Group;
use crate::harness::pool::Pool;
use crate::harness::{snapshot, tree};

/// Directories that are on one disk only, with everything about them that a clone has to carry over.
pub(crate) const ODD_DIRS: [(usize, &str); 3] =
    [(0, "only0/a/b c/d"), (1, "only1/a/b c/d"), (2, "only2/a/b c/d")];

/// Fills three disks with `count` groups and files that are nobody's duplicate.
pub(crate) fn fill(pool: &Pool, count: u64) -> Vec<Group> {
    let groups = (0..count).map(|n| make_group(pool, n)).collect();
    for n in 0..20 {
        let path = pool.on(n as usize % 3, format!("media/alone/{n}.bin"));
        tree::write(&path, &tree::bytes(1_000_000 + n, 20_000));
    }
    for (disk, dir) in ODD_DIRS {
        make_odd(&pool.branches()[disk], Path::new(dir));
    }
    age_directories(pool);
    tree::settle();
    groups
}

/// Writes group `n`; which disks it lies on, and how many names it has, follows from `n`.
fn make_group(pool: &Pool, n: u64) -> Group {
    let content = tree::bytes(n, 9_000 + (n as usize * 977) % 60_000);
    let places = layout(n);
    for (disk, path) in &places {
        let path = pool.on(*disk, path);
        tree::write(&path, &content);
        if n.is_multiple_of(11) {
            tree::set_owner(&path, (1000, 1001));
            tree::set_mode(&path, 0o640);
        }
    }
    let mut names: Group = places.iter().map(|(_, path)| path.clone()).collect();
    if n % 7 == 5 {
        let (disk, path) = places.last().unwrap();
        let sibling = PathBuf::from(format!("siblings/{}/{n}.bin", n % 3));
        let full = pool.on(*disk, &sibling);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::hard_link(pool.on(*disk, path), full).unwrap();
        names.push(sibling);
    }
    names
}

/// The disk and the path of each inode of group `n`.
fn layout(n: u64) -> Vec<(usize, PathBuf)> {
    let at = |disk: u64, dir: &str| (disk as usize % 3, PathBuf::from(format!("{dir}/{n}.bin")));
    let odd = |disk: u64| {
        let (_, dir) = ODD_DIRS[disk as usize % 3];
        at(disk, dir)
    };
    let media = format!("media/show {}/season", n % 17);
    let downloads = format!("downloads/{}", n % 13);
    match n % 6 {
        0 | 1 => vec![at(n, &media), at(n + 1, &downloads)],
        2 => vec![at(n, &media), odd(n + 1)],
        3 => vec![at(n, &media), at(n, &downloads)],
        4 => vec![at(n, &media), at(n + 1, &downloads), odd(n + 2)],
        _ => vec![at(n, &media), at(n, &downloads), at(n + 1, "copies"), at(n + 2, "copies/more")],
    }
}

/// Gives a directory, and the one above it, an owner, setgid, ACLs and an attribute of their own.
fn make_odd(branch: &Path, dir: &Path) {
    for (depth, dir) in [dir, dir.parent().unwrap()].into_iter().enumerate() {
        let path = branch.join(dir);
        std::fs::create_dir_all(&path).unwrap();
        tree::set_owner(&path, (1234 + depth as u32, 4321));
        tree::set_mode(&path, 0o2751 - depth as u32);
        tree::set_acl(&path, "u:1000:rwx,g:1001:r-x,d:u:1000:rw-");
        tree::set_xattr(&path, "user.note", b"kept \xff bytes");
    }
}

/// Puts the times of every directory into the past, each to another moment.
fn age_directories(pool: &Pool) {
    for index in 0..pool.branches().len() {
        let dirs: BTreeSet<PathBuf> = snapshot::entries(pool, index)
            .into_iter()
            .filter(|(_, entry)| entry.mode & libc::S_IFMT == libc::S_IFDIR)
            .map(|(path, _)| path)
            .collect();
        for (n, dir) in dirs.iter().enumerate() {
            let age = tree::AGE + std::time::Duration::from_secs(3_600 * n as u64);
            tree::age_path(&pool.on(index, dir), age);
        }
    }
}
