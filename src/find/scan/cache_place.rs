//! Finds or creates the cache's directory. The program neither reads nor writes a directory in which another user can
//! write.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::journal::private_place::written_by_others;

/// The database within the cache directory.
pub(super) const DATABASE: &str = "hashes.sled";

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Another scan uses the cache.
    #[error("the hash cache is in use by another scan: {0:?}")]
    Locked(PathBuf),
    /// Another user can write in the directory.
    #[error("another user can write in the hash cache: {path:?} (owner {owner}, mode {mode:04o})")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// A call failed.
    #[error("cannot {call} the hash cache: {path:?}")]
    Io {
        /// The operation that failed.
        call: &'static str,
        /// The path of the operation.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The database cannot be read, and cannot be created again.
    #[error("the hash cache cannot be used: {path:?}: {what}")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// The problem.
        what: String,
    },
}

/// Returns the directory of the database within `dir`; creates both directories if they are missing.
///
/// # Errors
/// If a directory cannot be created, or another user can write in one of the two directories.
pub(super) fn make(dir: &Path) -> Result<PathBuf, CacheError> {
    let path = dir.join(DATABASE);
    let failed = |call| {
        let path = path.clone();
        move |source| CacheError::Io { call, path, source }
    };
    let mut make = DirBuilder::new();
    let made = make.recursive(true).mode(0o700).create(dir);
    made.map_err(failed("make"))?;
    ours(dir, &std::fs::metadata(dir).map_err(failed("look at"))?)?;
    match make.recursive(false).create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed("make"))?,
    }
    let found = std::fs::symlink_metadata(&path).map_err(failed("look at"))?;
    if !found.is_dir() {
        return Err(failed("use")(io::ErrorKind::NotADirectory.into()));
    }
    ours(&path, &found)?;
    Ok(path)
}

/// Checks that no other user can write at `path`. The database writes through symlinks, and deletes files that it
/// cannot read. A user who can put symlinks there could overwrite any file of the user who scans.
fn ours(path: &Path, found: &Metadata) -> Result<(), CacheError> {
    match written_by_others(found) {
        None => Ok(()),
        Some((owner, mode)) => Err(CacheError::Foreign { path: path.to_path_buf(), owner, mode }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_place_where_others_can_write_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("made/for/it");
        let path = make(&place).unwrap();
        assert_eq!(make(&place).unwrap(), path);
        for open in [&place, &path] {
            set_mode(open, 0o777);
            assert!(matches!(make(&place), Err(CacheError::Foreign { .. })));
            set_mode(open, 0o700);
        }
        assert_eq!(make(&place).unwrap(), path);
    }

    #[test]
    fn a_symlink_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, dir.path().join(DATABASE)).unwrap();
        assert!(matches!(make(dir.path()), Err(CacheError::Io { .. })));
    }
}
