//! Finds the branches that hold a path the user names.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{PoolError, mount_id, path_of};
use crate::pool::mountinfo::{self, Mount};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// Which branches hold a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// The branches mergerfs reports, in branch order.
    On(Vec<BranchIdx>, RelPath),
    /// mergerfs does not answer (no per-file xattrs, a symlink, unreadable to us): look on each branch.
    Unavailable(RelPath),
    /// There is no such file.
    Missing,
    /// The path lies neither on the pool nor on one of the pool's branches.
    NotInPool,
}

/// Resolves paths of one pool, remembering the directory the last one lay in: lists come sorted by directory.
#[derive(Debug)]
pub struct Locator<'a> {
    pool: &'a Pool,
    /// Every mount of the pool: the pool's own, and bind mounts of it or of parts.
    mounts: Vec<Mount>,
    last: Option<(PathBuf, Directory)>,
}

/// Where a directory as it was named lies in the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Directory {
    /// Reached through the pool.
    InPool(RelPath),
    /// Reached through one of its branches.
    OnBranch(BranchIdx, RelPath),
    /// Above the pool or a branch, or elsewhere: its canonical path.
    Outside(PathBuf),
    Missing,
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
        Ok(Self { pool, mounts, last: None })
    }

    /// Finds the branches that hold `path`: an absolute pool path, or a path on one of the pool's branches.
    ///
    /// Symlinks on the way are resolved, the last component is taken as it is.
    ///
    /// # Errors
    /// Fails if the directory of `path` cannot be read, or the pool fails to answer.
    pub fn locate(&mut self, path: &[u8]) -> Result<Located, PoolError> {
        let named = path_of(path);
        let (Some(parent), Some(name)) = (named.parent(), named.file_name()) else {
            return Ok(Located::NotInPool);
        };
        if !named.is_absolute() || path.contains(&0) {
            return Ok(Located::NotInPool);
        }
        let found = match self.directory(parent)? {
            Directory::Missing => return Ok(Located::Missing),
            Directory::InPool(dir) => dir.join(name).ok().map(|path| (None, path)),
            Directory::OnBranch(branch, dir) => {
                dir.join(name).ok().map(|path| (Some(branch), path))
            }
            Directory::Outside(dir) => self.root_at(&dir.join(name)),
        };
        let Some((branch, path)) = found else {
            return Ok(Located::NotInPool);
        };
        Ok(match (holders(self.pool, path)?, branch) {
            // The path names this branch's file, not a file of the same name on another branch.
            (Located::On(on, _), Some(branch)) if !on.contains(&branch) => Located::Missing,
            (found, _) => found,
        })
    }

    /// Returns directory `real`, a path without symlinks, as a path in the pool; `None` if it is not in this pool.
    ///
    /// # Errors
    /// Fails if `real` cannot be looked up.
    pub fn directory_in_pool(&self, real: &Path) -> Result<Option<RelPath>, PoolError> {
        let found = self.resolve(real);
        match found.map_err(|source| PoolError::Path { path: real.into(), source })? {
            Directory::InPool(dir) | Directory::OnBranch(_, dir) => Ok(Some(dir)),
            Directory::Outside(_) | Directory::Missing => Ok(None),
        }
    }

    /// The root of the pool, of a branch, or of a bind mount of the pool: their own directories are outside.
    fn root_at(&self, path: &Path) -> Option<(Option<BranchIdx>, RelPath)> {
        if let Some(mount) = self.mounts.iter().rfind(|mount| mount.point == path) {
            return Some((None, below_mount(mount, path)?));
        }
        let is_root = |branch: &BranchIdx| self.pool.branches[branch.index()].path == path;
        let branch = self.pool.indices().find(is_root)?;
        Some((Some(branch), RelPath::root()))
    }

    fn directory(&mut self, named: &Path) -> Result<Directory, PoolError> {
        if let Some((last, found)) = &self.last
            && last == named
        {
            return Ok(found.clone());
        }
        let found = self.resolve(named);
        let found = found.map_err(|source| PoolError::Path { path: named.into(), source })?;
        self.last = Some((named.into(), found.clone()));
        Ok(found)
    }

    fn resolve(&self, named: &Path) -> io::Result<Directory> {
        let canonical = match named.canonicalize() {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(Directory::Missing);
            }
            canonical => canonical?,
        };
        // By mount, not by prefix: something else may be mounted inside the pool.
        let id = mount_id(&canonical)?;
        let found = match self.mounts.iter().find(|mount| mount.id == id) {
            Some(mount) => below_mount(mount, &canonical).map(Directory::InPool),
            None => self.below_branch(&canonical),
        };
        Ok(found.unwrap_or(Directory::Outside(canonical)))
    }

    /// Of nested branches the innermost.
    fn below_branch(&self, canonical: &Path) -> Option<Directory> {
        let below = self.pool.indices().filter_map(|branch| {
            let rest = canonical.strip_prefix(&self.pool.branches[branch.index()].path).ok()?;
            Some((branch, rest.as_os_str().as_bytes()))
        });
        let (branch, rest) = below.min_by_key(|(_, rest)| rest.len())?;
        Some(Directory::OnBranch(branch, RelPath::new(rest).ok()?))
    }
}

/// A directory of the pool, seen through a mount that may show only a part of it.
fn below_mount(mount: &Mount, canonical: &Path) -> Option<RelPath> {
    let below = canonical.strip_prefix(&mount.point).ok()?;
    // Strips the leading slash of `root`, and joins without leaving one behind an empty part.
    let inner = mount.root.strip_prefix("/").ok()?.components().chain(below.components());
    RelPath::new(inner.collect::<PathBuf>().as_os_str().as_bytes()).ok()
}

/// Asks mergerfs which branches hold `path`.
fn holders(pool: &Pool, path: RelPath) -> Result<Located, PoolError> {
    let asked = pool.path_of(&path);
    match xattr::get(&asked, "user.mergerfs.allpaths") {
        Ok(Some(answer)) => {
            let on = branches_of(pool, &path, &answer);
            // An answer about other paths only (followed symlinks, another mount namespace) is no answer.
            Ok(if on.is_empty() { Located::Unavailable(path) } else { Located::On(on, path) })
        }
        Ok(None) => Ok(Located::Unavailable(path)),
        Err(source) => match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Ok(Located::Missing),
            Some(libc::EOPNOTSUPP | libc::EACCES | libc::EPERM) => Ok(Located::Unavailable(path)),
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
        for made in ["pool", "b", "b/d", "b/nested", "outside"] {
            create_dir(top.join(made)).unwrap();
        }
        create_dir(top.join("pool/d")).unwrap();
        drop(File::create(top.join("pool/d/f")).unwrap());
        drop(File::create(top.join("pool/f")).unwrap());
        symlink(top.join("b/d"), top.join("link")).unwrap();
        let pool = Pool::sample(&top.join("pool"), &[top.join("b"), top.join("b/nested")]);
        let mut locator = Locator::new(&pool).unwrap();
        let mut locate = |path: &str| {
            let path = top.join(path).into_os_string().into_vec();
            locator.locate(&path).unwrap()
        };
        // Nothing answers for a pool that is a plain directory.
        for (path, expected) in [
            ("b/d/f", Located::Unavailable(rel("d/f"))),
            ("link/f", Located::Unavailable(rel("d/f"))),
            ("b/./d/../d/f", Located::Unavailable(rel("d/f"))),
            ("b/nested/f", Located::Unavailable(rel("f"))),
            ("b", Located::Unavailable(rel(""))),
            ("b/d/absent", Located::Missing),
            ("b/absent/f", Located::Missing),
            ("outside/f", Located::NotInPool),
            ("b/d/..", Located::NotInPool),
            // No mount, so no pool either.
            ("pool", Located::NotInPool),
        ] {
            assert_eq!(locate(path), expected, "{path}");
        }
        assert_eq!(locator.locate(b"b/d/f").unwrap(), Located::NotInPool);
        assert_eq!(locator.locate(b"/a\0b").unwrap(), Located::NotInPool);
    }
}
