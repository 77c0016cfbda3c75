//! Where the duplicates of a run come from: the seam between a run and lists, scans and mergerfs.

use std::collections::HashSet;

use super::list::List;
use super::request::{Request, Source};
use super::terms::Terms;
use super::{RunError, Session, Stop, Watcher, find_pool, scan};
use crate::find::filter::Filter;
use crate::find::list::ClaimedGroup;
use crate::find::resolve::{self, Paths, Resolved, Resolver};
use crate::find::symlinks::{self, PointedAt};
use crate::fs::{FsError, InodeId};
use crate::plan::group::{Group, part};
use crate::pool::Pool;

/// Finds duplicates on a site.
pub trait Duplicates<S> {
    /// Whether the duplicates come from an own scan, which has read them as equal.
    fn scanned(&self) -> bool;

    /// Finds the duplicates; changes nothing. `None` if `stop` ended the search.
    ///
    /// # Errors
    /// When the duplicates cannot be found, or the watcher ends the run.
    fn find(
        &mut self,
        site: &S,
        terms: &Terms,
        stop: &Stop,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Resolved>, RunError>;

    /// Looks up again where the paths of `resolved` lead, after recovery changed that.
    ///
    /// # Errors
    /// When the pool does not answer.
    fn again(
        &mut self,
        site: &S,
        filter: &Filter,
        resolved: Resolved,
    ) -> Result<Resolved, RunError>;

    /// Adds the names of `wanted` inodes that `groups` lack; returns the directories that could not be looked into.
    ///
    /// # Errors
    /// When a branch fails.
    fn complete(
        &mut self,
        site: &S,
        filter: &Filter,
        groups: &mut [Group],
        wanted: &HashSet<InodeId>,
    ) -> Result<Vec<FsError>, RunError>;

    /// Finds the files and directories that symlinks on the branches lead to by their branch paths; not all of them if
    /// `stop` asks to end.
    fn pointed_at(&mut self, _site: &S, _stop: &Stop) -> PointedAt {
        PointedAt::default()
    }
}

/// The duplicates that a request names, on a real pool.
pub(super) struct Requested<'r> {
    request: &'r Request,
    /// The list, opened to find the pool.
    list: Option<List<'r>>,
}

impl<'r> Requested<'r> {
    /// Opens the list of `request`, if it names one, and finds the pool.
    ///
    /// # Errors
    /// When the list cannot be used, or there is no pool.
    pub(super) fn on_pool(request: &'r Request) -> Result<(Self, Pool), RunError> {
        let branches = request.branches.as_deref();
        let (list, pool) = match &request.source {
            Source::List(wanted) => {
                let mut list = List::open(wanted)?;
                let named = match wanted.pools.as_slice() {
                    [] => request.wishes.primaries.first(),
                    [pool] => Some(pool),
                    [..] => return Err(RunError::ManyPools),
                };
                let pool = match named {
                    Some(dir) => find_pool::of_directory(dir, branches)?,
                    None => list.pool(branches)?,
                };
                (Some(list), pool)
            }
            Source::Scan(scan) => {
                let pool = match (scan.dirs.first(), &scan.only) {
                    (Some(dir), _) => find_pool::of_directory(dir, branches)?,
                    (None, Some(only)) => find_pool::of_named(only, branches)?,
                    (None, None) => return Err(RunError::NoDirectory),
                };
                (None, pool)
            }
        };
        Ok((Self { request, list }, pool))
    }
}

impl Duplicates<Session> for Requested<'_> {
    fn scanned(&self) -> bool {
        matches!(self.request.source, Source::Scan(_))
    }

    fn find(
        &mut self,
        session: &Session,
        terms: &Terms,
        stop: &Stop,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Resolved>, RunError> {
        match (&self.request.source, self.list.take()) {
            (Source::Scan(wanted), _) => scan::find(session, wanted, terms, stop, watcher),
            (Source::List(_), Some(list)) => list.resolve(session, &terms.filter).map(Some),
            (Source::List(wanted), None) => {
                List::open(wanted)?.resolve(session, &terms.filter).map(Some)
            }
        }
    }

    fn again(
        &mut self,
        session: &Session,
        filter: &Filter,
        resolved: Resolved,
    ) -> Result<Resolved, RunError> {
        let mount = session.pool.mount.clone();
        let paths = Paths { base: mount, map: Vec::new() };
        let mut resolver = Resolver::new(&session.fs, &session.pool, filter, paths)?;
        for group in &resolved.groups {
            let names = group.members.iter().flat_map(|m| &m.names);
            let paths = names.map(|name| name.path.as_bytes().to_vec()).collect();
            resolver.claim(ClaimedGroup { size: None, paths })?;
        }
        let again = resolver.finish()?;
        let before = resolved.groups.iter().enumerate();
        let before = before.flat_map(|(n, group)| group.members.iter().map(move |m| (m.id, n)));
        let groups = part(again.groups, &before.collect());
        let refusals = resolved.refusals.into_iter().chain(again.refusals);
        Ok(Resolved {
            refusals: refusals.collect(),
            claimed_groups: resolved.claimed_groups,
            hashed: resolved.hashed,
            left_out: resolved.left_out,
            groups,
            ..again
        })
    }

    fn complete(
        &mut self,
        session: &Session,
        filter: &Filter,
        groups: &mut [Group],
        wanted: &HashSet<InodeId>,
    ) -> Result<Vec<FsError>, RunError> {
        let found = resolve::complete(groups, wanted, &session.fs, &session.pool, filter)?;
        Ok(found)
    }

    fn pointed_at(&mut self, session: &Session, stop: &Stop) -> PointedAt {
        symlinks::find(&session.fs, &session.pool, &|| stop.asked())
    }
}
