//! Checks that the branches the user supplied are the branches of the pool: this program may change nothing on other
//! branches, and would not see a copy on a forgotten branch.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{PoolError, branch_list};
use crate::pool::{Branch, Pool};

/// Compares the supplied branches with mergerfs' answers.
pub(super) fn as_told(pool: &Pool, told: &[u8]) -> Result<(), PoolError> {
    let told = real_paths(&branch_list::parse(told)?);
    let supplied = real_paths(&pool.branches);
    match supplied.symmetric_difference(&told).next() {
        None => Ok(()),
        Some(path) if told.contains(path) => Err(other(pool, format!("{path:?} is missing"))),
        Some(path) => Err(other(pool, format!("{path:?} is none of them"))),
    }
}

fn real_paths(branches: &[Branch]) -> HashSet<PathBuf> {
    let real = |branch: &Branch| branch.path.canonicalize();
    let paths = branches.iter();
    paths.map(|branch| real(branch).unwrap_or_else(|_| branch.path.clone())).collect()
}

/// Where mergerfs cannot be asked: what lies in the roots of the branches is what the pool shows in its own.
pub(super) fn as_shown(pool: &Pool) -> Result<(), PoolError> {
    let shown = names(&pool.mount)?;
    let mut there = HashSet::new();
    for branch in &pool.branches {
        for name in names(&branch.path)? {
            // Looks once more: the entry may have come, or gone, since.
            let gone = || branch.path.join(&name).symlink_metadata().is_err();
            let in_pool = || pool.mount.join(&name).symlink_metadata().is_ok();
            if !shown.contains(&name) && !in_pool() && !gone() {
                let path = branch.path.join(&name);
                return Err(other(pool, format!("{path:?} is not in the pool")));
            }
            there.insert(name);
        }
    }
    let on_branch = |name: &OsString| {
        let mut roots = pool.branches.iter();
        there.contains(name) || roots.any(|b| b.path.join(name).symlink_metadata().is_ok())
    };
    let gone = |name: &OsString| pool.mount.join(name).symlink_metadata().is_err();
    match shown.iter().find(|name| !on_branch(name) && !gone(name)) {
        None => Ok(()),
        Some(name) => {
            let path = pool.mount.join(name);
            Err(other(pool, format!("{path:?} is on none of them")))
        }
    }
}

fn names(dir: &Path) -> Result<HashSet<OsString>, PoolError> {
    let entries = std::fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name()))
            // mergerfs hides its own entries.
            .filter(|name| !matches!(name, Ok(name) if name.as_encoded_bytes().starts_with(b".mergerfs")))
            .collect()
    });
    entries.map_err(|source| PoolError::Path { path: dir.into(), source })
}

fn other(pool: &Pool, what: String) -> PoolError {
    PoolError::OtherBranches { pool: pool.mount.clone(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_those_that_mergerfs_tells_in_any_order_and_mode() {
        let supplied = Pool::sample(Path::new("/p"), &[Path::new("/no/b"), Path::new("/no/a")]);
        assert!(as_told(&supplied, b"/no/a=RO:/no/b=NC,1G").is_ok());
        for (told, what) in [
            (&b"/no/a=RW"[..], "\"/no/b\" is none of them"),
            (b"/no/a=RW:/no/b=RW:/no/c=RW", "\"/no/c\" is missing"),
        ] {
            let error = as_told(&supplied, told).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn without_an_answer_the_roots_must_hold_what_the_pool_shows() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for made in ["pool/x", "pool/y", "a/x", "b/y", "b/x", "b/.mergerfs.branch"] {
            std::fs::create_dir_all(at(made)).unwrap();
        }
        let (a, b) = (at("a"), at("b"));
        assert!(as_shown(&Pool::sample(&at("pool"), &[&a, &b])).is_ok());
        let error = as_shown(&Pool::sample(&at("pool"), &[&a])).unwrap_err();
        assert!(error.to_string().contains("y\" is on none of them"), "{error}");
        std::fs::create_dir(at("b/stranger")).unwrap();
        let error = as_shown(&Pool::sample(&at("pool"), &[&a, &b])).unwrap_err();
        assert!(error.to_string().contains("stranger\" is not in the pool"), "{error}");
    }
}
