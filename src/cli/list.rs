//! A list of duplicates on its way in: opened, its pool found, every claim resolved.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::args::RunArgs;
use super::failure::Failure;
use super::session::Session;
use crate::find::filter::Filter;
use crate::find::list::{self, ClaimedGroup, Reader};
use crate::find::resolve::{self, Resolved, Resolver};
use crate::plan::group::{Group, Member};
use crate::plan::refusal::Reason;
use crate::plan::{Plan, Rules, plan};
use crate::pool::mergerfs::{self, PoolError};
use crate::pool::{Pool, mountinfo};

/// Groups planned between two times when free memory is given back.
const GROUPS_BETWEEN_TRIMS: usize = 16_384;

/// A list, with the groups already read to find its pool.
pub(super) struct List {
    reader: Reader,
    read: Vec<ClaimedGroup>,
}

impl List {
    pub(super) fn open(path: &Path, args: &RunArgs) -> Result<Self, Failure> {
        let source: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(path).map_err(|error| {
                Failure::usage(format!("cannot open the list {path:?}: {error}"))
            })?;
            if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(Failure::usage(format!("the list {path:?} is a directory")));
            }
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        Ok(Self {
            reader: list::open(source, args.manifest_format)?,
            read: Vec::new(),
        })
    }

    /// The pool: that of the directory named, else of the first primary, else of the first path in the list that
    /// lies on a mergerfs mount.
    pub(super) fn pool(&mut self, args: &RunArgs) -> Result<Pool, Failure> {
        if args.dirs.len() > 1 {
            return Err(Failure::usage(
                "with -m, name at most one directory: the pool",
            ));
        }
        match args.dirs.first().or(args.primary.first()) {
            Some(dir) => discover(dir, args),
            None => self.pool_of_paths(args),
        }
    }

    fn pool_of_paths(&mut self, args: &RunArgs) -> Result<Pool, Failure> {
        let mounts = mountinfo::read().map_err(PoolError::MountTable)?;
        let pools: Vec<&Path> = mounts
            .iter()
            .filter(|m| m.is_mergerfs())
            .map(|m| m.point.as_path())
            .collect();
        if pools.is_empty() {
            return Err(Failure::environment("no mergerfs pool is mounted here"));
        }
        while let Some(group) = self.reader.next() {
            let group = group?;
            let base = self.base(args)?;
            let on_pool = group
                .paths
                .iter()
                .map(|p| base.join(std::ffi::OsStr::from_bytes(p)));
            let found = on_pool
                .filter_map(|path| path.parent()?.canonicalize().ok())
                .find(|dir| pools.iter().any(|pool| dir.starts_with(pool)));
            self.read.push(group);
            if let Some(dir) = found {
                return discover(&dir, args);
            }
        }
        Err(
            Failure::environment("no path of the list lies on a mergerfs pool").hint(
                "name the pool after the list, or a primary (-p); for relative paths, --base",
            ),
        )
    }

    fn base(&self, args: &RunArgs) -> Result<PathBuf, Failure> {
        let current = || {
            std::env::current_dir()
                .map_err(|error| Failure::environment(format!("no current directory: {error}")))
        };
        match (&args.base, self.reader.base_dir()) {
            (Some(base), _) => Ok(std::path::absolute(base).unwrap_or_else(|_| base.clone())),
            (None, Some(base)) => Ok(PathBuf::from(std::ffi::OsStr::from_bytes(base))),
            (None, None) => current(),
        }
    }

    /// Reads the list to its end and resolves every claim; changes nothing.
    pub(super) fn resolve(
        mut self,
        session: &Session,
        filter: &Filter,
        args: &RunArgs,
    ) -> Result<Resolved, Failure> {
        let first = match self.read.is_empty() {
            // What the list says of its base is known only once its head was read.
            true => self.reader.next().transpose()?.into_iter().collect(),
            false => std::mem::take(&mut self.read),
        };
        let base = self.base(args)?;
        let mut resolver = Resolver::new(&session.fs, &session.pool, filter, base)?;
        for group in first {
            resolver.claim(&group)?;
        }
        for group in &mut self.reader {
            resolver.claim(&group?)?;
        }
        if self.reader.skipped() > 0 {
            tracing::warn!(
                entries = self.reader.skipped(),
                "the list itself marks entries as broken"
            );
        }
        Ok(resolver.finish())
    }
}

pub(super) fn discover(dir: &Path, args: &RunArgs) -> Result<Pool, Failure> {
    match &args.branches {
        Some(list) => match mergerfs::discover_with(dir, list.as_bytes()) {
            Err(error @ PoolError::BranchList(_)) => {
                Err(Failure::usage(format!("--branches: {error}")))
            }
            pool => Ok(pool?),
        },
        None => Ok(mergerfs::discover(dir)?),
    }
}

/// Resolves groups again, after recovery changed what their paths lead to.
pub(super) fn resolve_again(
    resolved: Resolved,
    session: &Session,
    filter: &Filter,
) -> Result<Resolved, Failure> {
    let mount = session.pool.mount.clone();
    let mut resolver = Resolver::new(&session.fs, &session.pool, filter, mount)?;
    for group in &resolved.groups {
        let names = group.members.iter().flat_map(|m| &m.names);
        let paths = names.map(|name| name.path.as_bytes().to_vec()).collect();
        resolver.claim(&ClaimedGroup { size: None, paths })?;
    }
    let again = resolver.finish();
    let refusals = resolved
        .refusals
        .into_iter()
        .chain(again.refusals)
        .collect();
    Ok(Resolved {
        refusals,
        claimed_groups: resolved.claimed_groups,
        ..again
    })
}

/// Groups one by one; what they took in memory is given back now and then, while the plan grows.
fn given_away(groups: Vec<Group>) -> impl Iterator<Item = Group> {
    groups.into_iter().zip(1..).map(|(group, at): (_, usize)| {
        if at.is_multiple_of(GROUPS_BETWEEN_TRIMS) {
            crate::sys::give_back_memory();
        }
        group
    })
}

/// The plan for resolved groups, every link set looked for where the list did not name all of it.
pub(super) fn plan_groups(
    mut groups: Vec<Group>,
    session: &Session,
    filter: &Filter,
    rules: &Rules,
) -> Result<Plan, Failure> {
    let mut members = groups.iter().flat_map(|group| &group.members);
    if members.all(Member::complete) {
        return Ok(plan(given_away(groups), &session.facts, rules));
    }
    let first = plan(&groups, &session.facts, rules);
    let wanted: HashSet<_> = first.incomplete(&groups).iter().map(|m| m.id).collect();
    if wanted.is_empty() {
        return Ok(first);
    }
    let unreadable = resolve::complete(&mut groups, &wanted, &session.fs, &session.pool, filter)?;
    for error in &unreadable {
        tracing::warn!(%error, cause = %error.source, "names there stay unknown");
    }
    let second = plan(given_away(groups), &session.facts, rules);
    let unknown = second
        .refusals
        .iter()
        .filter(|r| r.reason == Reason::UnknownLinks)
        .count();
    tracing::debug!(looked_for = wanted.len(), unknown, "link sets completed");
    Ok(second)
}
