//! The meaning of a request on the pool that was found: globs and directories as paths of the pool.

use std::path::{Path, PathBuf};

use super::request::{Execution, Request, ScanRequest, Source, Wishes};
use super::{RunError, Session};
use crate::find::filter::Filter;
use crate::find::{only, resolve};
use crate::fs::{Look, Timestamp};
use crate::plan::{Refusal, Rules, Shadows};
use crate::pool::mergerfs::{self, PoolError};
use crate::pool::relpath::RelPath;

/// The terms of one run on a pool.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Which files.
    pub filter: Filter,
    /// Which copy of each file stays.
    pub rules: Rules,
    /// Files that the user named, and that cannot be used.
    pub unusable: Vec<Refusal>,
    /// The most ops to plan.
    pub max_ops: Option<u64>,
    /// The most bytes to free.
    pub max_bytes: Option<u64>,
    /// Carries the plan out.
    pub execute: bool,
    /// How the plan is carried out. The place of the journal is not looked at.
    pub execution: Execution,
}

impl Terms {
    /// Returns the terms of `request` on `session`.
    ///
    /// # Errors
    /// When a branch is outside of the pool root, a glob is invalid, a primary is not on the pool, or the pool does not
    /// show the copies that merging relies on.
    pub(super) fn of(request: &Request, session: &Session) -> Result<Self, RunError> {
        if let Some(root) = &request.pool_root {
            session.all_below(root)?;
        }
        let wishes = &request.wishes;
        let below = |globs: &[String]| below_the_pool(globs, &session.pool.mount);
        let (include, exclude) = (below(&wishes.include), below(&wishes.exclude));
        let filter = Filter::new(&include, &exclude, wishes.min_size, wishes.max_size)
            .map_err(RunError::Glob)?
            .typed(&wishes.include, &wishes.exclude);
        let mut rules = Rules { only_below: scanned(request, session)?, ..rules(wishes, session)? };
        let mut unusable = Vec::new();
        if let Source::Scan(ScanRequest { only: Some(paths), .. }) = &request.source {
            let (only, refusals) = only::look_up(&session.pool, paths)?;
            (rules.only, unusable) = (Some(only), refusals);
        }
        if rules.shadows == Shadows::Merge
            && let Some(other) = mergerfs::shows_other_than_first(&session.pool)
        {
            // Merging relies on the pool showing the copy on the first branch that has the path.
            return Err(RunError::ShowsOther(other));
        }
        Ok(Self {
            filter,
            rules,
            unusable,
            max_ops: wishes.max_ops,
            max_bytes: wishes.max_bytes,
            execute: request.execute,
            execution: request.execution.clone(),
        })
    }
}

/// The directories of a scan; only what lies below them is replaced. A list is no scan.
fn scanned(request: &Request, session: &Session) -> Result<Vec<RelPath>, RunError> {
    let Source::Scan(scan) = &request.source else {
        return Ok(Vec::new());
    };
    if scan.only.is_some() && scan.dirs.is_empty() {
        return Ok(vec![RelPath::root()]);
    }
    let other_pool = |dir, pool| RunError::OtherPool { dir, pool };
    in_pool(session, &scan.dirs, RunError::LookUpDirectory, other_pool)
}

/// Returns directories as paths of the pool. The errors are for a directory that cannot be looked up, and for one that is
/// not on the pool at that mount point. A directory of one disk is an error too: the rules know directories of the pool only.
fn in_pool(
    session: &Session,
    dirs: &[PathBuf],
    unknown: fn(PoolError) -> RunError,
    elsewhere: fn(PathBuf, PathBuf) -> RunError,
) -> Result<Vec<RelPath>, RunError> {
    let path_of = |dir: &PathBuf| {
        let found = resolve::pool_directory(&session.pool, dir).map_err(unknown)?;
        if !dir.is_dir() {
            return Err(RunError::NotADirectory(dir.clone()));
        }
        let found = found.ok_or_else(|| elsewhere(dir.clone(), session.pool.mount.clone()))?;
        match found.through {
            None => Ok(found.path),
            Some(_) => {
                let in_pool = session.pool.path_of(&found.path);
                Err(RunError::OfOneDisk { dir: dir.clone(), in_pool })
            }
        }
    };
    dirs.iter().map(path_of).collect()
}

fn rules(wishes: &Wishes, session: &Session) -> Result<Rules, RunError> {
    let elsewhere = |dir, pool| RunError::PrimaryElsewhere { dir, pool };
    let primaries = in_pool(session, &wishes.primaries, RunError::LookUpPrimary, elsewhere)?;
    let age = i64::try_from(wishes.shadow_age.as_secs()).unwrap_or(i64::MAX);
    let now = session.fs.now();
    Ok(Rules {
        primaries,
        any_master: wishes.any_master,
        only_below: Vec::new(),
        only: None,
        policy: wishes.policy,
        ignore: wishes.ignore.clone(),
        link: wishes.link,
        shadows: wishes.shadows,
        settled: Some(Timestamp { secs: now.secs.saturating_sub(age), ..now }),
    })
}

/// Returns globs relative to the pool: a glob may begin with the mount point, as paths are written elsewhere.
fn below_the_pool(globs: &[String], mount: &Path) -> Vec<String> {
    let mount = mount.to_str().filter(|mount| *mount != "/");
    let below = |glob: &String| {
        let rest = mount.and_then(|mount| glob.strip_prefix(mount));
        let rest = rest.filter(|rest| rest.starts_with('/'));
        rest.unwrap_or(glob).to_owned()
    };
    globs.iter().map(below).collect()
}
