//! Paths that need not exist any more: resolved as far as they exist, and compared with the pool.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::RunError;
use crate::find::resolve::pool_directory;
use crate::pool::Pool;
use crate::pool::relpath::RelPath;

/// Resolves every part of `path` that exists, and keeps the rest.
#[must_use]
pub fn real_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut rest = Vec::new();
    let mut known = absolute.as_path();
    loop {
        if let Ok(real) = known.canonicalize() {
            return rest.iter().rev().fold(real, |path, part| path.join(part));
        }
        match (known.parent(), known.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name.to_os_string());
                known = parent;
            }
            _ => return absolute,
        }
    }
}

/// Resolves the directories above `path`, and keeps its last part, which may be a symlink.
#[must_use]
pub fn real_name(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    match (absolute.parent(), absolute.file_name()) {
        (Some(dir), Some(name)) => real_path(dir).join(name),
        _ => absolute,
    }
}

/// Returns `path` relative to the pool, by whatever mount or branch it is named, for a file that need not exist any more;
/// `None` if it lies elsewhere.
#[must_use]
pub fn below_pool(pool: &Pool, path: &Path) -> Option<RelPath> {
    let real = real_name(path);
    if let Ok(inside) = real.strip_prefix(&pool.mount) {
        return RelPath::new(inside.as_os_str().as_bytes()).ok();
    }
    let mut gone = Vec::new();
    for dir in real.ancestors() {
        if dir.is_dir() {
            let base = pool_directory(pool, dir).ok()??.path;
            return gone.iter().rev().try_fold(base, |dir, name| dir.join(name)).ok();
        }
        gone.push(dir.file_name()?);
    }
    None
}

/// Checks that `place`, which is for `what`, lies outside of the pool and its branches.
///
/// # Errors
/// [`RunError::InsidePool`].
pub fn outside(pool: &Pool, what: &'static str, place: &Path) -> Result<(), RunError> {
    let real = real_path(place);
    let mut roots = std::iter::once(&pool.mount).chain(pool.branches.iter().map(|b| &b.path));
    match roots.find(|root| real.starts_with(root)) {
        None => Ok(()),
        Some(root) => Err(RunError::InsidePool { what, place: real.clone(), root: root.clone() }),
    }
}
