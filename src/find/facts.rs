//! Reads the facts about each branch for the plan and the journal, from the held branch directories.

use std::path::Path;

use crate::fs::real::RealFs;
use crate::fs::{FsError, Place};
use crate::journal::BranchRecord;
use crate::plan::BranchFacts;
use crate::pool::{Branch, BranchIdx, Pool};

/// The facts of every branch, in branch order.
///
/// # Errors
/// If a branch cannot be read.
pub fn branch_facts(fs: &RealFs, pool: &Pool) -> Result<Vec<BranchFacts>, FsError> {
    pool.indices().map(|at| facts(fs, pool, at)).collect()
}

fn facts(fs: &RealFs, pool: &Pool, at: BranchIdx) -> Result<BranchFacts, FsError> {
    let branch = &pool.branches[at.index()];
    Ok(BranchFacts {
        root: branch.path.clone(),
        mode: branch.mode,
        read_only: fs.read_only(at)?,
        identity: fs.identity(at).is_some(),
        overlay: fs.is_overlay(at),
        nested: is_nested(branch, &pool.branches),
        dev: fs.root_id(at).dev,
        mount: fs.mount_id(at),
        free: fs.free_bytes(at)?,
        max_links: fs.max_links(at),
        reflinks: fs.reflinks(at),
    })
}

/// Whether another branch lies within `branch`, or `branch` lies within another branch: one file then has two pool
/// paths.
fn is_nested(branch: &Branch, branches: &[Branch]) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let own = real(&branch.path);
    branches.iter().filter(|other| other.path != branch.path).any(|other| {
        let other = real(&other.path);
        own.starts_with(&other) || other.starts_with(&own)
    })
}

/// The branches as the journal records them at the start of a run.
#[must_use]
pub fn branch_records(fs: &RealFs, branches: &[Branch]) -> Vec<BranchRecord> {
    let indices = (0..u16::try_from(branches.len()).unwrap_or(u16::MAX)).map(BranchIdx);
    branches
        .iter()
        .zip(indices)
        .map(|(branch, at)| BranchRecord {
            path: branch.path.clone(),
            mode: branch.mode,
            fs: fs.identity(at),
            root_ino: fs.root_id(at).ino,
        })
        .collect()
}

/// The branch root as a place.
#[must_use]
pub fn root_of(branch: BranchIdx) -> Place {
    Place::new(branch, crate::pool::relpath::RelPath::root())
}
