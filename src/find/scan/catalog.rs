//! Every file a scan has seen, in little memory: a record of 48 bytes and a name each.
//!
//! A path is kept as a directory and a name, so a million files need the memory of their names and not of their paths.

use std::ffi::{CStr, OsStr};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;

use crate::fs::{Place, Stat, Timestamp};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

use super::ScanError;

/// A directory of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirId(u32);

/// A file of the catalog: one name of one inode.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) stamp: Stamp,
    pub(super) ino: u64,
    pub(super) dir: DirId,
    /// Where its name begins, from where its directory's names begin.
    name: u32,
    pub(super) device: u16,
    /// Whether a filter leaves this name out.
    pub(super) excluded: bool,
    /// Whether the user named it, or a directory above it, and no filter leaves it out.
    pub(super) named: bool,
    /// Whether the scan reads the contents at once, without a look at beginning and end.
    pub(super) at_once: bool,
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
            dir,
            name,
            device: file.device,
            excluded: file.excluded,
            named: file.named,
            at_once: false,
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
    pub(super) device: u16,
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
}

#[derive(Debug, Clone, Copy)]
enum Above {
    /// The walk began here: the index of its path.
    Start(u32),
    /// The parent directory, and where the name begins among the names of the parent.
    Dir(DirId, u32),
}

impl Catalog {
    /// A directory where the walk begins.
    pub(super) fn start(&mut self, branch: BranchIdx, path: RelPath) -> Result<DirId, ScanError> {
        let at = u32::try_from(self.starts.len()).map_err(|_| ScanError::TooManyDirectories)?;
        self.starts.push(path);
        self.add_dir(Above::Start(at), branch)
    }

    /// Adds the entries of one directory; returns the directories found in it.
    pub(super) fn add(&mut self, dir: DirId, batch: Batch) -> Result<Vec<DirId>, ScanError> {
        let branch = self.dirs[dir.0 as usize].branch;
        self.dirs[dir.0 as usize].names = self.names.len() as u64;
        self.names.extend_from_slice(&batch.names);
        self.files.extend(batch.files);
        let below = batch.dirs.into_iter();
        below.map(|name| self.add_dir(Above::Dir(dir, name), branch)).collect()
    }

    fn add_dir(&mut self, above: Above, branch: BranchIdx) -> Result<DirId, ScanError> {
        let id = u32::try_from(self.dirs.len()).map_err(|_| ScanError::TooManyDirectories)?;
        self.dirs.push(Dir { above, names: 0, branch });
        Ok(DirId(id))
    }

    /// Where a directory is.
    pub(super) fn dir_place(&self, dir: DirId) -> Place {
        self.place(dir, None)
    }

    /// Where a file is.
    pub(super) fn file_place(&self, file: &File) -> Place {
        self.place(file.dir, Some(file.name))
    }

    /// The name of a file in its directory.
    pub(super) fn file_name(&self, file: &File) -> &OsStr {
        OsStr::from_bytes(self.name(file.dir, file.name))
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
        let files = self.files.iter().enumerate().filter(|(_, file)| !file.excluded);
        let mut by_path: Vec<(u64, usize)> = files
            .map(|(at, file)| {
                let dir = dirs[file.dir.0 as usize];
                (hash_of(dir, self.name(file.dir, file.name)), at)
            })
            .collect();
        by_path.sort_unstable();
        for same in by_path.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            let files: Vec<&File> = same.iter().map(|(_, at)| &self.files[*at]).collect();
            found(&files);
        }
    }

    /// Frees the names of files that the catalog no longer contains.
    pub(super) fn drop_other_names(&mut self) {
        // Where a name is kept: with a file, or with a directory.
        let files =
            (0..self.files.len()).map(|at| (self.files[at].dir, self.files[at].name, (true, at)));
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
        assert_eq!(size_of::<File>(), 48);
        assert!(size_of::<Dir>() <= 24);
    }

    #[test]
    fn paths_come_back_as_they_were() {
        let facts = FileFacts {
            stamp: Stamp { size: 1, mtime: 2, ctime: 3 },
            ino: 4,
            device: 0,
            excluded: false,
            named: false,
        };
        let mut catalog = Catalog::default();
        for (start, above) in [("", ""), ("x/y", "x/y/")] {
            let from = catalog.files.len();
            let root = catalog.start(BranchIdx(3), RelPath::new(start).unwrap()).unwrap();
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
        let facts = FileFacts { stamp, ino: 4, device: 0, excluded: false, named: false };
        let mut catalog = Catalog::default();
        let root = catalog.start(BranchIdx(0), RelPath::root()).unwrap();
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
