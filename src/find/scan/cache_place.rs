//! Where the cache's database is, made if need be: what another user may put there is neither read nor written.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::journal::private_place::written_by_others;

/// The database within the cache directory.
pub(super) const DATABASE: &str = "hashes.sled";

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Another scan uses it.
    #[error("the hash cache is in use by another scan: {0:?}")]
    Locked(PathBuf),
    /// Somebody else can write there.
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
        /// What was tried.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It cannot be read, and cannot be made anew either.
    #[error("the hash cache cannot be used: {path:?}: {what}")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The directory of the database within `dir`; both are made where they are missing.
///
/// # Errors
/// When that fails, or another user can write in either.
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

/// The database writes through symlinks, and throws away what it cannot read: where another user can put them, any
/// file of whoever scans would be theirs to overwrite.
fn ours(path: &Path, found: &Metadata) -> Result<(), CacheError> {
    match written_by_others(found) {
        None => Ok(()),
        Some((owner, mode)) => Err(CacheError::Foreign {
            path: path.to_path_buf(),
            owner,
            mode,
        }),
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
