//! Finds where in the pool a directory lies that the user names, and which branches hold it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, readlink};
use nix::sys::stat::Mode;

use super::PoolError;
use crate::pool::mountinfo::{self, Mount};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};
use crate::sys;

/// Where a directory as it was named lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// In the pool.
    In(PoolDir),
    /// Above the pool or a branch, or elsewhere: its path without symlinks.
    Outside(PathBuf),
    /// There is no such directory.
    Missing,
}

/// A directory of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolDir {
    /// Its path in the pool.
    pub path: RelPath,
    /// The branch that it was reached through; `None` if it was reached through the pool.
    pub through: Option<BranchIdx>,
    /// The branches that hold it, in branch order. `None` if mergerfs does not answer (no xattrs, unreadable to us): look on
    /// each branch.
    pub on: Option<Vec<BranchIdx>>,
}

/// Finds directories of one pool.
#[derive(Debug)]
pub struct Locator<'a> {
    pool: &'a Pool,
    /// Every mount of the pool: the pool's own, and bind mounts of it or of parts.
    mounts: Vec<Mount>,
}

impl<'a> Locator<'a> {
    /// Reads the mount table for the pool's mounts.
    ///
    /// # Errors
    /// Fails if the mount table cannot be read.
    pub fn new(pool: &'a Pool) -> Result<Self, PoolError> {
        let mut mounts = mountinfo::read().map_err(PoolError::MountTable)?;
        // The last mount at a mount point is the mount on top.
        let own = mounts.iter().rfind(|mount| mount.point == pool.mount);
        let device = own.map(|mount| mount.device);
        mounts.retain(|mount| Some(mount.device) == device);
        Ok(Self { pool, mounts })
    }

    /// Finds the directory `named`, an absolute path through the pool or through one of its branches, and asks mergerfs
    /// which branches hold it: no other branch can hold a file of it. Resolves symlinks.
    ///
    /// # Errors
    /// Fails if the directory cannot be looked up, or the pool fails to answer.
    pub fn directory(&self, named: &Path) -> Result<Directory, PoolError> {
        let found = self.resolve(named);
        match found.map_err(|source| PoolError::Path { path: named.into(), source })? {
            Directory::In(dir) => Ok(match holders(self.pool, &dir.path)? {
                Holders::On(on) => Directory::In(PoolDir { on: Some(on), ..dir }),
                Holders::Unknown => Directory::In(dir),
                Holders::Missing => Directory::Missing,
            }),
            found => Ok(found),
        }
    }

    /// Returns directory `real`, a path without symlinks, as a directory of the pool; `None` if it is not in this pool. Does
    /// not ask which branches hold it.
    ///
    /// # Errors
    /// Fails if `real` cannot be looked up.
    pub fn directory_in_pool(&self, real: &Path) -> Result<Option<PoolDir>, PoolError> {
        let found = self.resolve(real);
        match found.map_err(|source| PoolError::Path { path: real.into(), source })? {
            Directory::In(dir) => Ok(Some(dir)),
            Directory::Outside(_) | Directory::Missing => Ok(None),
        }
    }

    /// Returns the path in the pool of the root of the pool, of a branch, or of a bind mount of the pool: the directories that
    /// these lie in are outside.
    #[must_use]
    pub fn root_at(&self, path: &Path) -> Option<RelPath> {
        if let Some(mount) = self.mounts.iter().rfind(|mount| mount.point == path) {
            return below_mount(mount, path);
        }
        self.pool.branches.iter().any(|branch| branch.path == path).then(RelPath::root)
    }

    fn resolve(&self, named: &Path) -> io::Result<Directory> {
        let (real, mount) = match really(named) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(Directory::Missing);
            }
            found => found?,
        };
        // By mount, not by prefix: something else may be mounted inside the pool.
        let found = match self.mounts.iter().find(|known| known.id == mount) {
            Some(mount) => below_mount(mount, &real).map(|path| (path, None)),
            None => self.below_branch(&real),
        };
        Ok(match found {
            Some((path, through)) => Directory::In(PoolDir { path, through, on: None }),
            None => Directory::Outside(real),
        })
    }

    /// Of nested branches the innermost.
    fn below_branch(&self, real: &Path) -> Option<(RelPath, Option<BranchIdx>)> {
        let below = self.pool.indices().filter_map(|branch| {
            let rest = real.strip_prefix(&self.pool.branches[branch.index()].path).ok()?;
            Some((branch, rest.as_os_str().as_bytes()))
        });
        let (branch, rest) = below.min_by_key(|(_, rest)| rest.len())?;
        Some((RelPath::new(rest).ok()?, Some(branch)))
    }
}

/// Returns the path of directory `named` without symlinks, and the mount it lies on, by one look-up: `realpath(3)` asks the
/// pool about each component.
fn really(named: &Path) -> io::Result<(PathBuf, u64)> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let held = open(named, flags, Mode::empty())?;
    let mount = sys::statx(held.as_fd())?.stx_mnt_id;
    let real = readlink(format!("/proc/self/fd/{}", held.as_raw_fd()).as_str())?;
    Ok((real.into(), mount))
}

/// A directory of the pool, seen through a mount that may show only a part of it.
fn below_mount(mount: &Mount, canonical: &Path) -> Option<RelPath> {
    let below = canonical.strip_prefix(&mount.point).ok()?;
    // Strips the leading slash of `root`, and joins without leaving one behind an empty part.
    let inner = mount.root.strip_prefix("/").ok()?.components().chain(below.components());
    RelPath::new(inner.collect::<PathBuf>().as_os_str().as_bytes()).ok()
}

/// What mergerfs answers about a path.
enum Holders {
    On(Vec<BranchIdx>),
    Unknown,
    Missing,
}

/// Asks mergerfs which branches hold `path`.
fn holders(pool: &Pool, path: &RelPath) -> Result<Holders, PoolError> {
    let asked = pool.path_of(path);
    match xattr::get(&asked, "user.mergerfs.allpaths") {
        Ok(Some(answer)) => {
            let on = branches_of(pool, path, &answer);
            // An answer about other paths only (followed symlinks, another mount namespace) is no answer.
            Ok(if on.is_empty() { Holders::Unknown } else { Holders::On(on) })
        }
        Ok(None) => Ok(Holders::Unknown),
        Err(source) => match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Ok(Holders::Missing),
            Some(libc::EOPNOTSUPP | libc::EACCES | libc::EPERM) => Ok(Holders::Unknown),
            _ => Err(PoolError::AllPaths { path: asked, source }),
        },
    }
}

/// The branches among NUL-separated branch paths: each must be a branch root, a slash and `path`.
fn branches_of(pool: &Pool, path: &RelPath, answer: &[u8]) -> Vec<BranchIdx> {
    let listed: Vec<OsString> = answer
        .split(|byte| *byte == 0)
        .map(|entry| OsString::from_vec(trimmed(entry).to_vec()))
        .collect();
    let holds = |branch: &BranchIdx| {
        let expected = pool.branch_path(*branch, path).into_os_string();
        listed.contains(&expected)
    };
    pool.indices().filter(holds).collect()
}

/// Without the slash that entries of the pool root end in.
fn trimmed(entry: &[u8]) -> &[u8] {
    match entry {
        [rest @ .., b'/'] if !rest.is_empty() => rest,
        whole => whole,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir};
    use std::os::unix::fs::symlink;

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).unwrap()
    }

    #[test]
    fn only_entries_of_the_path_itself_name_branches() {
        let pool = Pool::sample(Path::new("/p"), &["/b/1", "/b/2", "/b/1/in"]);
        let on = |path: &str, answer: &[u8]| -> Vec<u16> {
            branches_of(&pool, &rel(path), answer).iter().map(|branch| branch.0).collect()
        };
        assert_eq!(on("f", b"/b/2/f\0/b/1/f"), [0, 1]);
        assert_eq!(on("f", b"/b/1/f\0/b/1/f"), [0]);
        assert_eq!(on("f", b"/b/2/other\0/b/11/f\0/b/1/f/\0"), [0]);
        assert_eq!(on("f", b"/elsewhere/f"), [] as [u16; 0]);
        assert_eq!(on("in/f", b"/b/1/in/f"), [0]);
        assert_eq!(on("", b"/b/1/\0/b/2/\0/b/1/in/"), [0, 1, 2]);
    }

    #[test]
    fn a_bind_mount_of_a_part_is_seen_as_that_part() {
        let below = |root: &str, path: &str| {
            let (point, fs_type) = ("/srv/films".into(), b"fuse.mergerfs".to_vec());
            let mount = Mount {
                id: 1,
                device: (0, 1),
                root: root.into(),
                point,
                fs_type,
                source: PathBuf::new(),
            };
            below_mount(&mount, Path::new(path))
        };
        assert_eq!(below("/", "/srv/films/a/b"), Some(rel("a/b")));
        assert_eq!(below("/Films", "/srv/films/a"), Some(rel("Films/a")));
        assert_eq!(below("/Films", "/srv/films"), Some(rel("Films")));
        assert_eq!(below("/", "/srv/films"), Some(rel("")));
        assert_eq!(below("/", "/srv/films2/a"), None);
    }

    #[test]
    fn branch_paths_are_known_and_symlinks_on_the_way_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for made in ["pool", "pool/d", "b", "b/d", "b/e", "b/nested", "outside"] {
            create_dir(top.join(made)).unwrap();
        }
        drop(File::create(top.join("b/f")).unwrap());
        symlink(top.join("b/d"), top.join("link")).unwrap();
        let pool = Pool::sample(&top.join("pool"), &[top.join("b"), top.join("b/nested")]);
        let locator = Locator::new(&pool).unwrap();
        let on = |branch, path| {
            Directory::In(PoolDir { path: rel(path), through: Some(BranchIdx(branch)), on: None })
        };
        // Nothing answers for a pool that is a plain directory.
        for (path, expected) in [
            ("b/d", on(0, "d")),
            ("link", on(0, "d")),
            ("b/./d/../d", on(0, "d")),
            ("b/nested", on(1, "")),
            ("b", on(0, "")),
            // A directory that a branch has and the pool does not show.
            ("b/e", Directory::Missing),
            ("b/absent", Directory::Missing),
            ("b/f", Directory::Missing),
            ("outside", Directory::Outside(top.join("outside"))),
            // No mount, so no pool either.
            ("pool", Directory::Outside(top.join("pool"))),
        ] {
            assert_eq!(locator.directory(&top.join(path)).unwrap(), expected, "{path}");
        }
        assert_eq!(locator.root_at(&top.join("b/nested")), Some(RelPath::root()));
        assert_eq!(locator.root_at(&top.join("b/d")), None);
    }
}
