//! Describes a pool as mergerfs reports it, without refusing anything: for `doctor`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{PoolError, branch_list, control, path_of, pool_mount};
use crate::pool::{Branch, Pool, mountinfo};

/// The options that make a difference, in the spelling of the newest version.
const OPTIONS: [&str; 20] = [
    "version",
    "category.create",
    "func.create",
    "func.getattr",
    "func.open",
    "func.access",
    "func.getxattr",
    "link-cow",
    "moveonenospc",
    "cache.files",
    "cache.attr",
    "cache.entry",
    "cache.negative-entry",
    "cache.readdir",
    "inodecalc",
    "xattr",
    "follow-symlinks",
    "link-exdev",
    "rename-exdev",
    "symlinkify",
];

/// A pool as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The mount point.
    pub mount: PathBuf,
    /// The pool's branches as listed, or why the list cannot be read.
    pub branches: Result<Vec<Branch>, String>,
    /// The options that were answered, under the newest version's names.
    pub options: BTreeMap<&'static str, String>,
}

impl Description {
    /// The value of an option, empty where it was not answered.
    #[must_use]
    pub fn option(&self, name: &str) -> &str {
        self.options.get(name).map_or("", String::as_str)
    }
}

/// Describes the pool that `path` lies on. Branches that are not there are no error.
///
/// # Errors
/// Fails if `path` is not on a mergerfs pool.
pub fn describe(path: &Path) -> Result<Description, PoolError> {
    let mount = pool_mount(path)?;
    // First of all requests: under xattr=nosys the kernel stops asking mergerfs after the first one for a file.
    let listed = control(&mount, "user.mergerfs.branches").and_then(|raw| branch_list::parse(&raw));
    let branches = listed.map_err(|error| match &error {
        PoolError::Control { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    });
    let options = OPTIONS.iter().filter_map(|name| Some((*name, option(&mount, name)?)));
    Ok(Description { options: options.collect(), branches, mount })
}

/// Older versions write `_` where newer ones write `-`.
fn option(mount: &Path, name: &str) -> Option<String> {
    let spellings = [name.to_owned(), name.replace('-', "_")];
    let control = super::control_path(mount);
    let mut answers =
        spellings.iter().map(|name| xattr::get(&control, format!("user.mergerfs.{name}")));
    let value = answers.find_map(|answer| answer.ok().flatten())?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

/// The mount points of every whole pool that this process sees, each once.
///
/// # Errors
/// Fails if the mount table cannot be read.
pub fn pools() -> Result<Vec<PathBuf>, PoolError> {
    let mounts = mountinfo::read().map_err(PoolError::MountTable)?;
    let mut points: Vec<PathBuf> = mounts
        .into_iter()
        .filter(|mount| mount.is_mergerfs() && mount.is_whole())
        .map(|mount| mount.point)
        .collect();
    points.sort();
    points.dedup();
    Ok(points)
}

/// The branch path of a pool path that lies on one branch only, as mergerfs reports it.
#[must_use]
pub fn only_path(pool_path: &Path) -> Option<PathBuf> {
    let answer = xattr::get(pool_path, "user.mergerfs.allpaths").ok()??;
    (!answer.is_empty() && !answer.contains(&0)).then(|| path_of(&answer))
}

/// The branch path of the file that the pool shows at a path; `None` if mergerfs does not answer.
#[must_use]
pub fn shown_path(pool_path: &Path) -> Option<PathBuf> {
    let answer = xattr::get(pool_path, "user.mergerfs.fullpath").ok()??;
    (!answer.is_empty()).then(|| path_of(&answer))
}

/// Why a path on several branches may be shown from another branch than the first that has it; `None` where it is not.
#[must_use]
pub fn shows_other_than_first(pool: &Pool) -> Option<String> {
    // The functions by which clients look at a path and open a path.
    let functions = ["getattr", "open", "access", "readlink", "getxattr", "listxattr"];
    functions.into_iter().find_map(|function| {
        let name = format!("func.{function}");
        match option(&pool.mount, &name) {
            // Each of these policies takes the first branch where only one branch is wanted.
            Some(policy) if ["ff", "epff", "all", "epall"].contains(&policy.as_str()) => None,
            Some(policy) => Some(format!("{name}={policy}")),
            None => Some(format!("{name} is unknown")),
        }
    })
}
