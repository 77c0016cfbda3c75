//! What a tree looks like: through the pool, as clients see it, and on a branch, inode by inode.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pool::Pool;

/// The prefix of the names that are the tool's own.
const OWN_NAMES: &[u8] = b".xdedup-";

/// What a client of the pool can tell of a path, inode number and times aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Type and permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// BLAKE3 of a file's bytes, or of a symbolic link's target.
    pub(crate) content: Option<blake3::Hash>,
}

/// Every path below a directory, as clients see it.
pub(crate) type View = BTreeMap<PathBuf, Seen>;

/// What is on a branch under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) ino: u64,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    /// `st_blocks` in bytes.
    pub(crate) allocated: u64,
    /// Type and permission bits.
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Nanoseconds since the epoch.
    pub(crate) mtime: i128,
    /// The same, of the last change of the inode.
    pub(crate) ctime: i128,
    /// Extended attributes, ACLs among them.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Every path on a branch.
pub(crate) type Entries = BTreeMap<PathBuf, Entry>;

/// Takes in everything below `root`, a directory of the pool.
pub(crate) fn view(root: &Path) -> View {
    let mut view = View::new();
    for (path, metadata) in walk(root) {
        let full = root.join(&path);
        let content = match metadata.mode() & libc::S_IFMT {
            libc::S_IFREG => Some(blake3::hash(&read(&full))),
            libc::S_IFLNK => {
                Some(blake3::hash(std::fs::read_link(&full).unwrap().as_os_str().as_bytes()))
            }
            _ => None,
        };
        let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
        view.insert(path, Seen { mode, uid, gid, content });
    }
    view
}

/// Takes in everything on branch `index`.
pub(crate) fn entries(pool: &Pool, index: usize) -> Entries {
    entries_below(&pool.branches()[index])
}

/// Takes in everything below a directory of a branch.
pub(crate) fn entries_below(root: &Path) -> Entries {
    let entry = |(path, m): (PathBuf, Metadata)| {
        let xattrs = xattrs(&root.join(&path));
        let entry = Entry {
            ino: m.ino(),
            nlink: m.nlink(),
            size: m.size(),
            allocated: m.blocks() * 512,
            mode: m.mode(),
            owner: (m.uid(), m.gid()),
            mtime: nanoseconds(m.mtime(), m.mtime_nsec()),
            ctime: nanoseconds(m.ctime(), m.ctime_nsec()),
            xattrs,
        };
        (path, entry)
    };
    walk(root).into_iter().map(entry).collect()
}

/// Takes in everything on every branch.
pub(crate) fn all_entries(pool: &Pool) -> Vec<Entries> {
    (0..pool.branches().len()).map(|index| entries(pool, index)).collect()
}

/// The bytes allocated on a branch, each inode counted once.
pub(crate) fn allocated_bytes(entries: &Entries) -> u64 {
    let files = entries.values().filter(|e| e.mode & libc::S_IFMT == libc::S_IFREG);
    files.map(|e| (e.ino, e.allocated)).collect::<BTreeMap<_, _>>().values().sum()
}

/// Panics unless `now` has every path of `before` as it was. Names of the tool's own may come on top.
pub(crate) fn assert_complete(before: &View, now: &View) {
    for (path, seen) in before {
        let found = now.get(path);
        assert_eq!(found, Some(seen), "{} is not what it was", path.display());
    }
    let foreign: Vec<_> = now.keys().filter(|p| !before.contains_key(*p) && !is_own(p)).collect();
    assert!(foreign.is_empty(), "came from nowhere: {foreign:?}");
}

/// Panics unless `now` is `before`, path for path.
pub(crate) fn assert_same(before: &View, now: &View) {
    assert_complete(before, now);
    let own: Vec<_> = now.keys().filter(|path| is_own(path)).collect();
    assert!(own.is_empty(), "left behind: {own:?}");
}

/// Panics when a name of the tool's own is left on any branch.
pub(crate) fn assert_no_own_names(pool: &Pool) {
    for disk in pool.disks() {
        let left: Vec<_> = walk(disk.path()).into_iter().filter(|(p, _)| is_own(p)).collect();
        assert!(left.is_empty(), "left behind on {}: {left:?}", disk.path().display());
    }
}

/// The branch and the inode of every place a path is found at.
pub(crate) fn places(pool: &Pool, path: impl AsRef<Path>) -> Vec<(usize, u64)> {
    let found = |index| {
        let metadata = std::fs::symlink_metadata(pool.on(index, path.as_ref())).ok()?;
        Some((index, metadata.ino()))
    };
    (0..pool.branches().len()).filter_map(found).collect()
}

/// Panics unless all of `paths` are names of one inode on one branch, found nowhere else; returns branch and inode.
pub(crate) fn assert_one_inode<P: AsRef<Path>>(pool: &Pool, paths: &[P]) -> (usize, u64) {
    let found: Vec<_> = paths.iter().map(|path| places(pool, path)).collect();
    for (path, places) in paths.iter().zip(&found) {
        let path = path.as_ref().display();
        assert_eq!(places.len(), 1, "{path} should be on one branch: {places:?}");
        assert_eq!(places, &found[0], "{path} is not the inode of the first");
    }
    found[0][0]
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

fn is_own(path: &Path) -> bool {
    path.iter().any(|part| part.as_bytes().starts_with(OWN_NAMES))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = xattr::list(path).unwrap();
    // The ACLs once more, under names that only xfs shows.
    let names = names.filter(|name| !name.as_bytes().starts_with(b"trusted.SGI_ACL"));
    let value = |name: &std::ffi::OsStr| xattr::get(path, name).unwrap().unwrap_or_default();
    names.map(|name| (name.as_bytes().to_vec(), value(&name))).collect()
}

/// Everything below `root`, relative to it, without what mkfs makes.
fn walk(root: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut queue = vec![PathBuf::new()];
    while let Some(dir) = queue.pop() {
        let listing = std::fs::read_dir(root.join(&dir));
        for entry in listing.unwrap_or_else(|e| panic!("{}: {e}", root.join(&dir).display())) {
            let entry = entry.unwrap();
            if dir.as_os_str().is_empty() && entry.file_name() == "lost+found" {
                continue;
            }
            let path = dir.join(entry.file_name());
            let metadata = std::fs::symlink_metadata(root.join(&path));
            let metadata = metadata.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if metadata.is_dir() {
                queue.push(path.clone());
            }
            found.push((path, metadata));
        }
    }
    found
}
