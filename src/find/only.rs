//! The files that the user names (`--only`) as paths of the pool; a path that leads to no file becomes a refusal.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::resolve::pool_directory;
use crate::fs::limit_of;
use crate::plan::refusal::Reason;
use crate::plan::{Only, Refusal};
use crate::pool::Pool;
use crate::pool::mergerfs::PoolError;
use crate::pool::relpath::RelPath;

/// Looks up `paths`, files and directories that exist.
///
/// # Errors
/// If the pool does not answer.
pub fn look_up(pool: &Pool, paths: &[PathBuf]) -> Result<(Only, Vec<Refusal>), PoolError> {
    let (mut named, mut refusals) = (Vec::new(), Vec::new());
    for path in paths {
        match in_pool(pool, path) {
            Ok(Ok(path)) => named.push(path),
            Ok(Err((reason, detail))) => {
                refusals.push(Refusal::of_path(reason, path.as_os_str().as_bytes(), detail));
            }
            Err(PoolError::Path { source, .. })
                if source.raw_os_error() != Some(libc::ENOTCONN) =>
            {
                let reason = match source.kind() {
                    io::ErrorKind::PermissionDenied => Reason::Permission,
                    _ if limit_of(&source).is_some() => Reason::Io,
                    _ => Reason::Unresolved,
                };
                let path = path.as_os_str().as_bytes();
                refusals.push(Refusal::of_path(reason, path, source.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((Only::new(&named), refusals))
}

fn in_pool(pool: &Pool, path: &Path) -> Result<Result<RelPath, (Reason, String)>, PoolError> {
    let elsewhere = || {
        let pool = pool.mount.display();
        (Reason::Unresolved, format!("not on the pool {pool}"))
    };
    let unseen = |source| PoolError::Path { path: path.to_path_buf(), source };
    if path.is_dir() {
        return Ok(match pool_directory(pool, path)? {
            Some(dir) if dir.through.is_some() => {
                let dir = pool.path_of(&dir.path);
                Err((
                    Reason::Unresolved,
                    format!("a directory of one disk; in the pool it is {dir:?}"),
                ))
            }
            dir => dir.map(|dir| dir.path).ok_or_else(elsewhere),
        });
    }
    if !path.symlink_metadata().map_err(unseen)?.is_file() {
        return Ok(Err((Reason::NotRegular, "a symlink or special file".to_owned())));
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Err(elsewhere()));
    };
    let dir = pool_directory(pool, dir)?;
    Ok(dir.and_then(|dir| dir.path.join(name).ok()).ok_or_else(elsewhere))
}
