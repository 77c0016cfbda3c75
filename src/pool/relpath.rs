//! A path relative to a branch and to the pool's mount: bytes, never lossy, never leading outside.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A path relative to a branch: no leading `/`, no empty, `.` or `..` component, no NUL.
///
/// The empty path is the branch root. Ordering is by bytes, so that equal input leads to an equal plan. Clones share
/// the bytes: a plan names each path several times.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct RelPath(Arc<[u8]>);

/// Why some bytes are no [`RelPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a relative path without '.', '..' or empty components: {0:?}")]
pub struct RelPathError(PathBuf);

impl RelPath {
    /// The root of a branch.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::default())
    }

    /// Validates `bytes`; the only way from outside to make one.
    ///
    /// # Errors
    /// Fails if a component is empty, `.` or `..`, or a byte is NUL.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, RelPathError> {
        let bytes = bytes.as_ref();
        let sound = bytes.is_empty() || bytes.split(|b| *b == b'/').all(is_component);
        if sound { Ok(Self(bytes.into())) } else { Err(RelPathError(path_of(bytes))) }
    }

    /// The bytes, without a leading or trailing slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a [`Path`]; the root is the empty path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether this is the branch root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory it lies in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..cut].into()))
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &OsStr {
        let start = self.0.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        OsStr::from_bytes(&self.0[start..])
    }

    /// This directory's entry `name`.
    ///
    /// # Errors
    /// Fails if `name` is not one plain component.
    pub fn join(&self, name: impl AsRef<OsStr>) -> Result<Self, RelPathError> {
        let name = name.as_ref().as_bytes();
        if !is_component(name) || name.contains(&b'/') {
            return Err(RelPathError(path_of(name)));
        }
        let mut bytes = self.0.to_vec();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Ok(Self(bytes.into()))
    }

    /// The entry `name` beside this one, in the same directory.
    ///
    /// # Errors
    /// Fails if this is the root, or `name` is not one plain component.
    pub fn sibling(&self, name: impl AsRef<OsStr>) -> Result<Self, RelPathError> {
        self.parent().ok_or_else(|| RelPathError(PathBuf::new()))?.join(name)
    }

    /// Whether the path is `dir` or lies below `dir`, component by component: `Media2/a` is not below `Media`.
    #[must_use]
    pub fn is_below(&self, dir: &Self) -> bool {
        dir.is_root()
            || (self.0.starts_with(&dir.0)
                && (self.0.len() == dir.0.len() || self.0[dir.0.len()] == b'/'))
    }

    /// Whether the path is one of `dirs` or lies below one.
    #[must_use]
    pub fn is_below_any(&self, dirs: &[Self]) -> bool {
        dirs.iter().any(|dir| self.is_below(dir))
    }
}

fn is_component(part: &[u8]) -> bool {
    !part.is_empty() && part != b"." && part != b".." && !part.contains(&0)
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().fmt(f)
    }
}

impl TryFrom<Vec<u8>> for RelPath {
    type Error = RelPathError;
    fn try_from(bytes: Vec<u8>) -> Result<Self, RelPathError> {
        Self::new(bytes)
    }
}

impl From<RelPath> for Vec<u8> {
    fn from(path: RelPath) -> Self {
        path.0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_outside_are_refused() {
        for bad in ["/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
        assert!(RelPath::new(b"a\xff/..b/c").is_ok());
    }

    #[test]
    fn below_compares_components_not_prefixes() {
        let media = RelPath::new("Media").unwrap();
        for (path, below) in [("Media/a", true), ("Media", true), ("Media2/a", false), ("M", false)]
        {
            assert_eq!(RelPath::new(path).unwrap().is_below(&media), below, "{path}");
        }
        assert!(media.is_below(&RelPath::root()));
    }

    #[test]
    fn parent_name_and_join_agree() {
        let path = RelPath::new("a/b/c").unwrap();
        assert_eq!(path.parent().unwrap().join(path.file_name()).unwrap(), path);
        assert_eq!(RelPath::new("a").unwrap().parent().unwrap(), RelPath::root());
        assert_eq!(path.sibling("d").unwrap(), RelPath::new("a/b/d").unwrap());
        assert!(path.join("x/y").is_err());
        assert!(RelPath::root().sibling("x").is_err());
    }
}
