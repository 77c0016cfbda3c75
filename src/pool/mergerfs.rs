//! Talks to mergerfs; no other module does.
//!
//! [`discover`] reads the control file of the pool a path lies on; [`Locator`] asks which branches hold a directory.
//! The answers of `basepath` and `fullpath` depend on the policies: only `allpaths` is complete.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::fcntl::AT_FDCWD;

use super::mountinfo::{self, Mount};
use super::{Branch, Pool};
use crate::sys;

mod branch_list;
mod describe;
mod locate;
mod supplied;

pub use describe::{Description, describe, only_path, pools, shown_path, shows_other_than_first};
pub use locate::{Directory, Locator, PoolDir};

/// Why a pool cannot be worked with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The path itself cannot be looked at.
    #[error("cannot look up: {path:?}")]
    Path {
        /// The path asked for.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The mount table cannot be read.
    #[error("cannot read the mount table: \"/proc/self/mountinfo\"")]
    MountTable(#[source] io::Error),
    /// The path lies on another filesystem.
    #[error(
        "not on a mergerfs pool: {path:?} lies on {fs_type} mounted at {mount:?}; \
         name a directory by its path through the pool, not through a branch"
    )]
    NotAPool {
        /// The path asked for.
        path: PathBuf,
        /// The mount it lies on.
        mount: PathBuf,
        /// The type of filesystem there.
        fs_type: String,
    },
    /// Only a part of the pool is mounted where this process can see it.
    #[error(
        "only the directory {root:?} of the pool is visible, at {mount:?}; \
         run where the whole pool is mounted, it has the control file"
    )]
    BindMount {
        /// The mount point.
        mount: PathBuf,
        /// The directory of the pool that is shown there.
        root: PathBuf,
    },
    /// mergerfs does not answer.
    #[error(
        "cannot read {key} of the control file {control:?}; under xattr=nosys it answers only until the first \
         request for a file: mount with another xattr= setting, or supply the list with --branches"
    )]
    Control {
        /// The control file.
        control: PathBuf,
        /// The attribute that was asked for.
        key: &'static str,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The branch list is not understood.
    #[error("not a branch list, PATH=RW|RO|NC separated by colons with absolute paths: {0:?}")]
    BranchList(PathBuf),
    /// A supplied list is another pool's, or lacks a branch.
    #[error("the branches supplied are not those of the pool {pool:?}: {what}")]
    OtherBranches {
        /// The mount point.
        pool: PathBuf,
        /// Why the supplied branches do not fit.
        what: String,
    },
    /// A branch path leads nowhere, which mergerfs itself passes over in silence.
    #[error("cannot look up branch: {path:?}; mount its disk, or take the branch out of the pool")]
    BranchMissing {
        /// The branch.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// mergerfs cannot say which branches hold a path.
    #[error("cannot ask the pool which branches hold: {path:?}")]
    AllPaths {
        /// The pool path.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
}

/// The pool that `path` lies on, as its control file describes it now.
///
/// # Errors
/// Fails if `path` is not on a mergerfs pool, the control file does not answer, or a branch is missing.
pub fn discover(path: &Path) -> Result<Pool, PoolError> {
    let mount = pool_mount(path)?;
    // First of all requests: under xattr=nosys the kernel stops asking mergerfs after the first one for a file.
    let raw = control(&mount, "user.mergerfs.branches")?;
    with_list(mount, &raw, raw.clone())
}

/// The pool that `path` lies on, with the branches of `list` (`A=RW:B=RO`) in place of those mergerfs cannot report.
///
/// # Errors
/// Fails if `path` is not on a mergerfs pool, a branch is missing, or the list is not that of this pool.
pub fn discover_with(path: &Path, list: &[u8]) -> Result<Pool, PoolError> {
    let mount = pool_mount(path)?;
    // First of all requests, as in `discover`.
    let told = control(&mount, "user.mergerfs.branches").ok();
    let pool = with_list(mount, list, Vec::new())?;
    match told {
        Some(told) => supplied::as_told(&pool, &told)?,
        None => supplied::as_shown(&pool)?,
    }
    Ok(pool)
}

/// Returns the branch list as the control file reports it now; the caller compares it with [`Pool::branches_raw`].
///
/// The list is empty for a pool whose branches were supplied: such a pool has no list to compare with. Under
/// `xattr=nosys`, where mergerfs no longer answers, returns the list as it was.
///
/// # Errors
/// Fails if the control file does not answer.
pub fn branches_raw(pool: &Pool) -> Result<Vec<u8>, PoolError> {
    if pool.branches_raw.is_empty() {
        return Ok(Vec::new());
    }
    match control(&pool.mount, "user.mergerfs.branches") {
        // Under xattr=nosys the kernel asks no more once a file was asked about. Each branch is still held, and
        // compared with what its path leads to.
        Err(PoolError::Control { source, .. })
            if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
        {
            Ok(pool.branches_raw.clone())
        }
        list => list,
    }
}

/// Takes a branch list apart without looking at the branches. For fuzzing.
///
/// # Errors
/// Fails if the input is no branch list.
#[cfg(feature = "sim")]
pub fn fuzz_branches(list: &[u8]) -> Result<Vec<crate::pool::Branch>, PoolError> {
    branch_list::parse(list)
}

/// Whether mergerfs opens the newest of several files of one path, and not the first.
///
/// `false` if the control file does not answer any more.
#[must_use]
pub fn opens_newest(pool: &Pool) -> bool {
    let open = option(&pool.mount, "user.mergerfs.func.open");
    open.is_some_and(|policy| policy == b"newest")
}

/// Whether mergerfs' own marker says that a disk belongs on this branch path and is not mounted: the marker is put
/// on the bare mount point directory, and hidden as long as the disk covers it.
#[must_use]
pub fn awaits_mount(branch: &Path) -> bool {
    let marked = xattr::get(branch, "user.mergerfs.branch_mounts_here");
    matches!(marked, Ok(Some(_)))
        || branch.join(".mergerfs.branch_mounts_here").symlink_metadata().is_ok()
}

/// The mount point of the whole pool that `path` lies on.
fn pool_mount(path: &Path) -> Result<PathBuf, PoolError> {
    let unreachable = |source| PoolError::Path { path: path.into(), source };
    let canonical = path.canonicalize().map_err(unreachable)?;
    let id = mount_id(&canonical).map_err(unreachable)?;
    let mounts = mountinfo::read().map_err(PoolError::MountTable)?;
    let mount = mounts.iter().find(|mount| mount.id == id);
    let mount = mount.ok_or_else(|| unreachable(io::Error::from_raw_os_error(libc::ENODEV)))?;
    let whole = whole_pool(path, &mounts, mount)?;
    // Another pool may have been mounted over it since.
    if mount_id(&whole.point).map_err(unreachable)? == whole.id {
        Ok(whole.point.clone())
    } else {
        Err(partly_visible(mount))
    }
}

fn whole_pool<'a>(
    path: &Path,
    mounts: &'a [Mount],
    mount: &'a Mount,
) -> Result<&'a Mount, PoolError> {
    if mount.is_mergerfs() {
        return mountinfo::whole(mounts, mount).ok_or_else(|| partly_visible(mount));
    }
    Err(PoolError::NotAPool {
        path: path.into(),
        mount: mount.point.clone(),
        fs_type: String::from_utf8_lossy(&mount.fs_type).into_owned(),
    })
}

fn partly_visible(mount: &Mount) -> PoolError {
    PoolError::BindMount { mount: mount.point.clone(), root: mount.root.clone() }
}

/// The mount a path lies on, by `statx`.
fn mount_id(path: &Path) -> io::Result<u64> {
    let found = path.with_nix_path(|path| sys::statx_at(AT_FDCWD, path, 0))??;
    Ok(found.stx_mnt_id)
}

fn control_path(mount: &Path) -> PathBuf {
    mount.join(".mergerfs")
}

fn control(mount: &Path, key: &'static str) -> Result<Vec<u8>, PoolError> {
    let control = control_path(mount);
    match xattr::get(&control, key) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => {
            let source = io::Error::from_raw_os_error(libc::ENODATA);
            Err(PoolError::Control { control, key, source })
        }
        Err(source) => Err(PoolError::Control { control, key, source }),
    }
}

/// An option that may be missing in some version.
fn option(mount: &Path, key: &'static str) -> Option<Vec<u8>> {
    control(mount, key).ok()
}

fn with_list(mount: PathBuf, list: &[u8], branches_raw: Vec<u8>) -> Result<Pool, PoolError> {
    let branches = distinct(branch_list::parse(list)?)?;
    let version = option(&mount, "user.mergerfs.version").unwrap_or_else(|| b"unknown".into());
    let getattr = option(&mount, "user.mergerfs.func.getattr");
    Ok(Pool {
        mount,
        version: String::from_utf8_lossy(&version).into_owned(),
        branches,
        branches_raw,
        getattr_newest: getattr.is_some_and(|policy| policy == b"newest"),
    })
}

/// Each root directory once, the first time it is listed: mergerfs accepts a root listed twice without a word.
fn distinct(listed: Vec<Branch>) -> Result<Vec<Branch>, PoolError> {
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(listed.len());
    for branch in listed {
        let found = branch.path.metadata();
        let found = found.map_err(|source| missing(&branch, source))?;
        if !found.is_dir() {
            return Err(missing(&branch, io::Error::from_raw_os_error(libc::ENOTDIR)));
        }
        if seen.insert((found.dev(), found.ino())) {
            kept.push(branch);
        }
    }
    Ok(kept)
}

fn missing(branch: &Branch, source: io::Error) -> PoolError {
    PoolError::BranchMissing { path: branch.path.clone(), source }
}

pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::BranchMode;

    fn mount(id: u64, root: &str, fs_type: &str) -> Mount {
        let point = format!("/mnt/{id}").into();
        Mount {
            id,
            device: (0, 40),
            root: root.into(),
            point,
            fs_type: fs_type.into(),
            source: PathBuf::new(),
        }
    }

    #[test]
    fn a_path_on_another_filesystem_is_no_pool() {
        let error = discover(Path::new("/proc")).unwrap_err();
        assert!(
            matches!(&error, PoolError::NotAPool { fs_type, .. } if fs_type == "proc"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = discover(Path::new("/no/such/pool")).unwrap_err();
        assert_eq!(error.to_string(), "cannot look up: \"/no/such/pool\"");
    }

    #[test]
    fn a_part_of_a_pool_leads_to_the_whole_or_says_what_is_missing() {
        let (part, all) = (mount(1, "/sub", "fuse.mergerfs"), mount(2, "/", "fuse.mergerfs"));
        let path = Path::new("/mnt/1/x");
        let table = [part.clone(), all];
        assert_eq!(whole_pool(path, &table, &part).unwrap().id, 2);
        let error = whole_pool(path, std::slice::from_ref(&part), &part).unwrap_err();
        assert!(matches!(error, PoolError::BindMount { .. }), "{error}");
    }

    #[test]
    fn a_root_listed_twice_counts_once_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let branch = |path: &Path, mode| Branch { path: path.into(), mode };
        let twice = vec![branch(dir.path(), BranchMode::Rw), branch(dir.path(), BranchMode::Ro)];
        assert_eq!(distinct(twice.clone()).unwrap(), twice[..1]);
        for absent in [dir.path().join("absent"), "/proc/version".into()] {
            let error = distinct(vec![branch(&absent, BranchMode::Rw)]).unwrap_err();
            assert!(error.to_string().contains(absent.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_bare_mount_point_is_known_by_its_marker() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!awaits_mount(dir.path()));
        let marker = dir.path().join(".mergerfs.branch_mounts_here");
        drop(std::fs::File::create(&marker).unwrap());
        assert!(awaits_mount(dir.path()));
        let other = tempfile::tempdir().unwrap();
        xattr::set(other.path(), "user.mergerfs.branch_mounts_here", b"").unwrap();
        assert!(awaits_mount(other.path()));
    }
}
