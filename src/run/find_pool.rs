//! The pool finder: which pool a request, a list or the journal is about.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RunError;
use crate::journal::RunStarted;
use crate::pool::mergerfs::{self, PoolError};
use crate::pool::mountinfo::{self, Mount};
use crate::pool::{Branch, Pool};

/// Finds the pool that `dir` lies on, with the branches of `list` (`A=RW:B=RO`) where mergerfs cannot list them.
///
/// # Errors
/// When `dir` is not on a pool, the pool cannot be used, or `list` is no branch list.
pub fn of_directory(dir: &Path, list: Option<&OsStr>) -> Result<Pool, RunError> {
    match list {
        Some(list) => match mergerfs::discover_with(dir, list.as_bytes()) {
            Err(error @ PoolError::BranchList(_)) => Err(RunError::BranchList(error)),
            pool => Ok(pool?),
        },
        None => Ok(mergerfs::discover(dir)?),
    }
}

/// Returns the mount point of every mergerfs, also where a part of a pool is bound to.
///
/// # Errors
/// [`RunError::NoPool`], or when the mount table cannot be read.
pub(super) fn mount_points() -> Result<Vec<PathBuf>, RunError> {
    let mounts = mountinfo::read().map_err(PoolError::MountTable)?;
    let pools = mounts.into_iter().filter(Mount::is_mergerfs);
    let points: Vec<PathBuf> = pools.map(|mount| mount.point).collect();
    if points.is_empty() { Err(RunError::NoPool) } else { Ok(points) }
}

/// Returns the directory of the first of `paths` that lies below one of the mount points `pools`.
pub(super) fn first_below(
    paths: impl IntoIterator<Item = PathBuf>,
    pools: &[PathBuf],
) -> Option<PathBuf> {
    let mut dirs = paths.into_iter().filter_map(|path| parent_of(&path));
    dirs.find(|dir| pools.iter().any(|pool| dir.starts_with(pool)))
}

/// Finds the pool of the first of `paths` that lies on a pool; the file of that path need not exist, its directory
/// must.
///
/// # Errors
/// [`RunError::NoPathOnPool`].
pub fn of_first<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<Pool, RunError> {
    let mut dirs = paths.into_iter().filter_map(parent_of);
    dirs.find_map(|dir| mergerfs::discover(&dir).ok()).ok_or(RunError::NoPathOnPool)
}

fn parent_of(path: &Path) -> Option<PathBuf> {
    path.parent()?.canonicalize().ok()
}

/// Finds the pool that is mounted at `mount`; `None` if another pool contains that path.
///
/// # Errors
/// When `mount` is not on a pool, or the pool cannot be used.
pub fn mounted_at(mount: &Path) -> Result<Option<Pool>, PoolError> {
    let pool = mergerfs::discover(mount)?;
    Ok(Some(pool).filter(|pool| pool.mount == mount))
}

/// Finds the pool of the first of `paths` whose nearest existing directory lies on a pool.
///
/// # Errors
/// [`RunError::NothingNamed`] without paths, [`RunError::OnlyElsewhere`], or when the pool cannot be used.
pub(super) fn of_named(paths: &[PathBuf], branches: Option<&OsStr>) -> Result<Pool, RunError> {
    let first = paths.first().ok_or(RunError::NothingNamed)?;
    let pools = mount_points()?;
    let existing = |path: &PathBuf| path.ancestors().find_map(|dir| dir.canonicalize().ok());
    let on_pool = |path: &PathBuf| pools.iter().any(|pool| path.starts_with(pool));
    match paths.iter().filter_map(existing).find(on_pool) {
        Some(path) => of_directory(&path, branches),
        None => Err(RunError::OnlyElsewhere(first.clone())),
    }
}

/// Finds the pool that `path` was on: by the nearest directory above it that exists.
#[must_use]
pub fn above(path: &Path) -> Option<Pool> {
    // A former directory may be a symlink by now, and lead elsewhere.
    let mut dirs = path.ancestors().skip(1).filter(|dir| dir.is_dir());
    dirs.find_map(|dir| {
        let pool = mergerfs::discover(dir).ok()?;
        path.starts_with(&pool.mount).then_some(pool)
    })
}

/// Finds the pool of `runs`; if it is not mounted, returns it as the newest of them recorded it. Branches that a run
/// used and the pool no longer lists come last: the record alone is enough to recover.
///
/// # Errors
/// [`RunError::NoRunOpen`] if there are no runs.
pub fn of_runs(runs: &[Arc<RunStarted>]) -> Result<Pool, RunError> {
    let last = runs.last().ok_or(RunError::NoRunOpen)?;
    let mut pool = match mounted_at(&last.pool) {
        Ok(Some(pool)) => pool,
        Ok(None) | Err(_) => {
            tracing::warn!(pool = ?last.pool, "the pool is not mounted; working on its branches as recorded");
            as_recorded(last)
        }
    };
    for branch in runs.iter().flat_map(|run| &run.branches) {
        if !pool.branches.iter().any(|known| known.path == branch.path) {
            pool.branches.push(Branch { path: branch.path.clone(), mode: branch.mode });
        }
    }
    Ok(pool)
}

fn as_recorded(run: &RunStarted) -> Pool {
    Pool {
        mount: run.pool.clone(),
        version: "unknown".to_owned(),
        getattr_newest: run.newest_dirs,
        ..Pool::default()
    }
}

/// Returns the mount point of every whole pool that is mounted, sorted.
///
/// # Errors
/// [`RunError::NoPool`], or when the mount table cannot be read.
pub fn all() -> Result<Vec<PathBuf>, RunError> {
    let pools = mergerfs::pools()?;
    if pools.is_empty() { Err(RunError::NoPool) } else { Ok(pools) }
}
