//! One process a pool: `flock` on the roots of its branches, gone with the process that held it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sys::Locked;

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds the lock.
    #[error("locked by another run: {0:?}; wait for it to end")]
    Held(PathBuf),
    /// The directory cannot be locked at all.
    #[error("cannot lock directory: {path:?}")]
    Unlockable {
        /// The directory.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
}

/// The locks on every branch of a pool; dropping the value releases the locks.
///
/// Two pools that share a branch exclude each other, under whatever path each pool knows the branch.
#[derive(Debug)]
#[must_use = "the locks are given back as soon as this is dropped"]
pub struct PoolLock {
    _held: Vec<Locked>,
}

impl PoolLock {
    /// Locks each distinct root, or no root.
    ///
    /// # Errors
    /// Fails if another run holds the lock of a root, or if a root cannot be locked.
    pub fn acquire(roots: impl IntoIterator<Item: AsRef<Path>>) -> Result<Self, LockError> {
        // A root listed twice would lock itself out. In order of identity, so that of two runs that start
        // together on the same branches one wins.
        let mut distinct = BTreeMap::new();
        for root in roots {
            let root = root.as_ref();
            // For reading, since `flock` refuses an `O_PATH` descriptor.
            let opened = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(root);
            let opened = opened.and_then(|dir| Ok((dir.metadata()?, dir)));
            let (found, dir) = opened.map_err(|source| unlockable(root, source))?;
            distinct.entry((found.dev(), found.ino())).or_insert((dir, root.to_path_buf()));
        }
        let locks = distinct.into_values().map(|(dir, path)| {
            Locked::take(dir).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => LockError::Held(path),
                _ => unlockable(&path, error),
            })
        });
        Ok(Self { _held: locks.collect::<Result<_, _>>()? })
    }
}

fn unlockable(path: &Path, source: io::Error) -> LockError {
    LockError::Unlockable { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_locked_until_the_lock_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let held = PoolLock::acquire([dir.path()]).unwrap();
        let refused = PoolLock::acquire([dir.path()]).unwrap_err();
        assert!(matches!(refused, LockError::Held(path) if path == dir.path()));
        drop(held);
        drop(PoolLock::acquire([dir.path()]).unwrap());
    }

    #[test]
    fn a_root_listed_twice_does_not_lock_itself_out() {
        let dir = tempfile::tempdir().unwrap();
        let alias = dir.path().join("alias");
        symlink(dir.path(), &alias).unwrap();
        drop(PoolLock::acquire([dir.path(), &alias, dir.path()]).unwrap());
    }

    #[test]
    fn one_branch_held_refuses_the_pool_and_leaves_the_others_free() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let roots = dirs.each_ref().map(|dir| dir.path());
        let held = PoolLock::acquire([roots[1]]).unwrap();
        let refused = PoolLock::acquire(roots).unwrap_err();
        assert!(matches!(refused, LockError::Held(path) if path == roots[1]));
        drop(PoolLock::acquire([roots[0], roots[2]]).unwrap());
        drop(held);
        drop(PoolLock::acquire(roots).unwrap());
    }

    #[test]
    fn what_is_no_directory_is_named() {
        for bad in ["/proc/version", "/no/such/root"] {
            let error = PoolLock::acquire([bad]).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
