//! Every file a scan has seen, in little memory: a record of 40 bytes and a name each.
//!
//! A path is kept as a directory and a name, so a million files need the memory of their names and not of their paths.

use std::ffi::{CStr, OsStr};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;

use crate::fs::{Place, Stat, Timestamp};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

use super::ScanError;

/// A directory of the catalog: less than [`DIRS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirId(u32);

/// How many directories there are numbers for. The other bits of the number in a [`File`] say something about the file.
const DIRS_MAX: u32 = 1 << 29;
const EXCLUDED: u32 = 1 << 29;
const NAMED: u32 = 1 << 30;
const AT_ONCE: u32 = 1 << 31;

/// A file of the catalog: one name of one inode.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) stamp: Stamp,
    pub(super) ino: u64,
    /// The number of its directory, with the flags.
    dir: u32,
    /// Where its name begins, from where its directory's names begin.
    name: u32,
}

impl File {
    /// The directory it lies in.
    pub(super) fn dir(&self) -> DirId {
        DirId(self.dir & (DIRS_MAX - 1))
    }

    /// Whether a filter leaves this name out.
    pub(super) fn is_excluded(&self) -> bool {
        self.dir & EXCLUDED != 0
    }

    /// Whether the user named it, or a directory above it, and no filter leaves it out.
    pub(super) fn is_named(&self) -> bool {
        self.dir & NAMED != 0
    }

    /// Whether the scan reads the contents at once, without a look at beginning and end.
    pub(super) fn is_read_at_once(&self) -> bool {
        self.dir & AT_ONCE != 0
    }

    /// Has the scan read the contents at once.
    pub(super) fn read_at_once(&mut self) {
        self.dir |= AT_ONCE;
    }
}

/// The attributes that must not change while a file is read, and for which a stored hash is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    /// Nanoseconds since the epoch.
    pub(super) mtime: i64,
    /// Nanoseconds since the epoch.
    pub(super) ctime: i64,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |time: Timestamp| {
            let nanos = time.as_nanos();
            i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
        };
        Self { size: stat.size, mtime: nanos(stat.mtime), ctime: nanos(stat.ctime) }
    }
}

/// The entries of one directory, which one walker collects before they are added to the catalog.
#[derive(Debug, Default)]
pub(super) struct Batch {
    names: Vec<u8>,
    files: Vec<File>,
    dirs: Vec<u32>,
}

impl Batch {
    /// Adds a file of directory `dir`.
    pub(super) fn file(&mut self, dir: DirId, name: &[u8], file: FileFacts) {
        let name = self.name(name);
        self.files.push(File {
            stamp: file.stamp,
            ino: file.ino,
            dir: dir.0
                | if file.excluded { EXCLUDED } else { 0 }
                | if file.named { NAMED } else { 0 },
            name,
        });
    }

    /// Adds a subdirectory.
    pub(super) fn dir(&mut self, name: &[u8]) {
        let name = self.name(name);
        self.dirs.push(name);
    }

    fn name(&mut self, name: &[u8]) -> u32 {
        // A directory with 4 GiB of names does not exist. If it existed, later names would be wrong paths, which
        // lead to no file.
        let at = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.extend_from_slice(name);
        self.names.push(0);
        at
    }
}

/// The facts that a walker knows about a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileFacts {
    pub(super) stamp: Stamp,
    pub(super) ino: u64,
    pub(super) excluded: bool,
    pub(super) named: bool,
}

/// The files, with the directories they lie in.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    starts: Vec<RelPath>,
    dirs: Vec<Dir>,
    names: Vec<u8>,
    pub(super) files: Vec<File>,
}

#[derive(Debug)]
struct Dir {
    above: Above,
    /// Where the names of its entries begin.
    names: u64,
    branch: BranchIdx,
    /// The device of `branch`: the walk enters no other.
    device: u16,
}

#[derive(Debug, Clone, Copy)]
enum Above {
    /// The walk began here: the index of its path.
    Start(u32),
    /// The parent directory, and where the name begins among the names of the parent.
    Dir(DirId, u32),
}

impl Catalog {
    /// A directory where the walk begins, on `branch`, which is on `device`.
    pub(super) fn start(
        &mut self,
        branch: BranchIdx,
        device: u16,
        path: RelPath,
    ) -> Result<DirId, ScanError> {
        let at = u32::try_from(self.starts.len()).map_err(|_| ScanError::TooManyDirectories)?;
        self.starts.push(path);
        self.add_dir(Dir { above: Above::Start(at), names: 0, branch, device })
    }

    /// Adds the entries of one directory; returns the directories found in it.
    pub(super) fn add(&mut self, dir: DirId, batch: Batch) -> Result<Vec<DirId>, ScanError> {
        let Dir { branch, device, .. } = self.dirs[dir.0 as usize];
        self.dirs[dir.0 as usize].names = self.names.len() as u64;
        self.names.extend_from_slice(&batch.names);
        self.files.extend(batch.files);
        let below = batch.dirs.into_iter();
        let below =
            below.map(|name| Dir { above: Above::Dir(dir, name), names: 0, branch, device });
        below.map(|dir| self.add_dir(dir)).collect()
    }

    fn add_dir(&mut self, dir: Dir) -> Result<DirId, ScanError> {
        let id = u32::try_from(self.dirs.len()).ok().filter(|id| *id < DIRS_MAX);
        self.dirs.push(dir);
        id.map(DirId).ok_or(ScanError::TooManyDirectories)
    }

    /// The device that a file lies on.
    pub(super) fn device_of(&self, file: &File) -> u16 {
        self.dirs[file.dir().0 as usize].device
    }

    /// What distinguishes the inode of a file from others.
    pub(super) fn inode_of(&self, file: &File) -> (u16, u64) {
        (self.device_of(file), file.ino)
    }

    /// Where a directory is.
    pub(super) fn dir_place(&self, dir: DirId) -> Place {
        self.place(dir, None)
    }

    /// Where a file is.
    pub(super) fn file_place(&self, file: &File) -> Place {
        self.place(file.dir(), Some(file.name))
    }

    /// The name of a file in its directory.
    pub(super) fn file_name(&self, file: &File) -> &OsStr {
        OsStr::from_bytes(self.name(file.dir(), file.name))
    }

    fn place(&self, dir: DirId, name: Option<u32>) -> Place {
        let branch = self.dirs[dir.0 as usize].branch;
        let mut parts = Vec::with_capacity(16);
        parts.extend(name.map(|name| self.name(dir, name)));
        let mut at = dir;
        loop {
            match self.dirs[at.0 as usize].above {
                Above::Dir(above, name) => {
                    parts.push(self.name(above, name));
                    at = above;
                }
                Above::Start(start) => {
                    let start = &self.starts[start as usize];
                    parts.extend((!start.is_root()).then(|| start.as_bytes()));
                    break;
                }
            }
        }
        parts.reverse();
        let path = RelPath::new(parts.join(&b'/')).unwrap_or_else(|_| RelPath::root());
        Place::new(branch, path)
    }

    fn name(&self, dir: DirId, name: u32) -> &[u8] {
        let at = self.dirs[dir.0 as usize].names + u64::from(name);
        let from = usize::try_from(at).ok();
        let from = from.and_then(|at| self.names.get(at..)).unwrap_or_default();
        CStr::from_bytes_until_nul(from).unwrap_or(c"").to_bytes()
    }

    /// Calls `found` with files that may have one path on several branches: every path that several branches have is
    /// among the paths of one call. Names that a filter leaves out do not count.
    pub(super) fn same_paths(&self, mut found: impl FnMut(&[&File])) {
        let first = self.dirs.first().map(|dir| dir.branch);
        if self.dirs.iter().all(|dir| Some(dir.branch) == first) {
            return;
        }
        let start = |path: &RelPath| {
            let parts = path.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty());
            parts.fold(0, hash_of)
        };
        let starts: Vec<u64> = self.starts.iter().map(start).collect();
        // A directory is added after the directory above it.
        let mut dirs: Vec<u64> = Vec::with_capacity(self.dirs.len());
        for dir in &self.dirs {
            dirs.push(match dir.above {
                Above::Start(start) => starts[start as usize],
                Above::Dir(above, name) => hash_of(dirs[above.0 as usize], self.name(above, name)),
            });
        }
        let files = (0u32..).zip(&self.files).filter(|(_, file)| !file.is_excluded());
        // A part of the hash: a few paths that have it in common by chance cost a comparison.
        let mut by_path: Vec<(u32, u32)> = Vec::with_capacity(self.files.len());
        by_path.extend(files.map(|(at, file)| {
            let dir = dirs[file.dir().0 as usize];
            let [a, b, c, d, ..] = hash_of(dir, self.name(file.dir(), file.name)).to_le_bytes();
            (u32::from_le_bytes([a, b, c, d]), at)
        }));
        by_path.sort_unstable();
        for same in by_path.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let files: Vec<&File> = same.iter().map(|(_, at)| &self.files[*at as usize]).collect();
            found(&files);
        }
    }

    /// Frees the names of files that the catalog no longer contains.
    pub(super) fn drop_other_names(&mut self) {
        // Where a name is kept: with a file, or with a directory.
        let files =
            (0..self.files.len()).map(|at| (self.files[at].dir(), self.files[at].name, (true, at)));
        let dirs = self.dirs.iter().enumerate();
        let dirs = dirs.filter_map(|(at, dir)| match dir.above {
            Above::Dir(above, name) => Some((above, name, (false, at))),
            Above::Start(_) => None,
        });
        let mut kept: Vec<_> = files.chain(dirs).collect();
        kept.sort_unstable_by_key(|(dir, name, _)| (*dir, *name));
        let (mut names, mut begins) = (Vec::new(), Vec::new());
        for of_dir in kept.chunk_by(|a, b| a.0 == b.0) {
            let begin = names.len();
            let dir = of_dir[0].0;
            for (_, name, (is_file, at)) in of_dir {
                // The name moves towards the beginning, or stays.
                let to = u32::try_from(names.len() - begin).unwrap_or(u32::MAX);
                names.extend_from_slice(self.name(dir, *name));
                names.push(0);
                if *is_file {
                    self.files[*at].name = to
                } else {
                    self.dirs[*at].above = Above::Dir(dir, to)
                }
            }
            begins.push((dir, begin as u64));
        }
        for (dir, begin) in begins {
            self.dirs[dir.0 as usize].names = begin;
        }
        names.shrink_to_fit();
        self.names = names;
    }

    /// Frees unused memory, when only the files that matter are left.
    pub(super) fn shrink(&mut self) {
        self.files.shrink_to_fit();
    }
}

/// The hash of entry `name` of the directory with the hash `dir`.
fn hash_of(dir: u64, name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(dir);
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_small() {
        assert_eq!(size_of::<File>(), 40);
        assert!(size_of::<Dir>() <= 24);
    }

    #[test]
    fn paths_come_back_as_they_were() {
        let facts = FileFacts {
            stamp: Stamp { size: 1, mtime: 2, ctime: 3 },
            ino: 4,
            excluded: false,
            named: false,
        };
        let mut catalog = Catalog::default();
        for (start, above) in [("", ""), ("x/y", "x/y/")] {
            let from = catalog.files.len();
            let root = catalog.start(BranchIdx(3), 0, RelPath::new(start).unwrap()).unwrap();
            let mut batch = Batch::default();
            batch.dir(b"a");
            batch.file(root, b"top\xff", facts);
            batch.dir(b"b\n");
            let dirs = catalog.add(root, batch).unwrap();
            let mut batch = Batch::default();
            batch.file(dirs[1], b"f", facts);
            assert!(catalog.add(dirs[1], batch).unwrap().is_empty());
            let paths: Vec<_> =
                catalog.files[from..].iter().map(|file| catalog.file_place(file)).collect();
            for (place, path) in paths.iter().zip([&b"top\xff"[..], b"b\n/f"]) {
                let whole = [above.as_bytes(), path].concat();
                assert_eq!(place.path.as_bytes(), whole);
                assert_eq!(place.branch, BranchIdx(3));
            }
            assert_eq!(catalog.dir_place(root).path.as_bytes(), start.as_bytes());
        }
    }

    #[test]
    fn the_names_of_files_that_are_gone_go_and_the_others_stay() {
        let stamp = Stamp { size: 1, mtime: 2, ctime: 3 };
        let facts = FileFacts { stamp, ino: 4, excluded: false, named: false };
        let mut catalog = Catalog::default();
        let root = catalog.start(BranchIdx(0), 0, RelPath::root()).unwrap();
        let mut batch = Batch::default();
        batch.file(root, b"a long name that goes", facts);
        batch.dir(b"sub");
        batch.file(root, b"stays", facts);
        let sub = catalog.add(root, batch).unwrap()[0];
        let mut batch = Batch::default();
        for name in [&b"goes, too"[..], b"x", b"y"] {
            batch.file(sub, name, facts);
        }
        catalog.add(sub, batch).unwrap();
        catalog.files.retain(|file| file.name != 0);
        let paths = |catalog: &Catalog| -> Vec<RelPath> {
            let files = catalog.files.iter();
            files.map(|file| catalog.file_place(file).path).collect()
        };
        let before = paths(&catalog);
        catalog.drop_other_names();
        assert_eq!(paths(&catalog), before);
        assert_eq!(before.len(), 3);
        assert_eq!(catalog.names.len(), "sub stays x y ".len());
    }
}
