//! Whether a preview can be mounted at a directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::pool::mountinfo;

/// Why a preview cannot be mounted at a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountPointError {
    /// The path cannot be looked up.
    #[error("cannot look at the mount point {path:?}")]
    Path {
        /// The path that the user named.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The path is not a directory.
    #[error("the mount point {0:?} is not a directory")]
    NotADirectory(PathBuf),
    /// The directory is not empty; the mount would hide its entries.
    #[error("the mount point {0:?} is not empty")]
    NotEmpty(PathBuf),
    /// Another file system is mounted right there.
    #[error("something is mounted at {0:?} already")]
    Mounted(PathBuf),
}

impl MountPointError {
    /// Returns what the user can do about the error.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Path { path, source } => match source.raw_os_error() {
                Some(libc::ENOTCONN) => {
                    format!(
                        "a preview that was killed is still mounted there: fusermount3 -u {path:?}"
                    )
                }
                Some(libc::ENOENT) => format!("make it: mkdir {path:?}"),
                _ => "name an empty directory that you can enter".to_owned(),
            },
            Self::NotADirectory(_) | Self::NotEmpty(_) => "name an empty directory".to_owned(),
            Self::Mounted(path) => {
                format!("name another directory, or unmount it first: umount {path:?}")
            }
        }
    }
}

/// Returns the canonical path of an empty directory that is not a mount point.
///
/// # Errors
/// If the path is not an empty directory, or a file system is mounted there.
pub fn check(path: &Path) -> Result<PathBuf, MountPointError> {
    let unreachable = |source| MountPointError::Path { path: path.to_path_buf(), source };
    if !path.metadata().map_err(unreachable)?.is_dir() {
        return Err(MountPointError::NotADirectory(path.to_path_buf()));
    }
    let real = path.canonicalize().map_err(unreachable)?;
    let mounts = mountinfo::read().map_err(unreachable)?;
    if mounts.iter().any(|mount| mount.point == real) {
        return Err(MountPointError::Mounted(real));
    }
    if real.read_dir().map_err(unreachable)?.next().is_some() {
        return Err(MountPointError::NotEmpty(real));
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, create_dir};

    #[test]
    fn only_an_empty_directory_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir(at("empty")).unwrap();
        create_dir(at("full")).unwrap();
        drop(File::create(at("full/file")).unwrap());
        assert!(check(&at("empty")).is_ok());
        let why = |name: &str| {
            let error = check(&at(name)).unwrap_err();
            (error.to_string(), error.hint())
        };
        assert!(why("full").0.contains("is not empty"));
        assert!(why("full/file").0.contains("is not a directory"));
        assert!(why("absent").1.contains("mkdir"));
        assert!(why("full/file/below").1.contains("empty directory"));
        let mounted = check(Path::new("/proc")).unwrap_err();
        assert!(matches!(mounted, MountPointError::Mounted(_)), "{mounted:?}");
    }
}
