//! Turns claims into groups: resolves each path through the pool to inodes on branches, or refuses it with a reason.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::find::facts::root_of;
use crate::find::filter::Filter;
use crate::find::links;
use crate::find::list::{ClaimedGroup, Unread, WhyUnread};
use crate::fs::real::RealFs;
use crate::fs::{FileKind, FsError, Hashed, Look, Place, Stat};
use crate::plan::group::{Group, Member, Name, unite};
use crate::plan::hidden_name::is_hidden_name;
use crate::plan::refusal::Reason;
use crate::plan::{LeftOut, Refusal};
use crate::pool::mergerfs::{Located, Locator, PoolError};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// Where the paths of a list are here.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// Where relative paths begin.
    pub base: PathBuf,
    /// Directories as the list names them, and where they are here; the first that holds a path counts.
    pub map: Vec<(PathBuf, PathBuf)>,
}

impl Paths {
    /// Returns where `listed` is here.
    #[must_use]
    pub fn here(&self, listed: &[u8]) -> PathBuf {
        let absolute = self.base.join(Path::new(std::ffi::OsStr::from_bytes(listed)));
        let moved = self.map.iter().find_map(|(from, to)| {
            let rest = absolute.strip_prefix(from).ok()?;
            Some(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
        });
        moved.unwrap_or(absolute)
    }
}

/// Resolves the claims of one list.
pub struct Resolver<'r> {
    fs: &'r RealFs,
    pool: &'r Pool,
    locator: Locator<'r>,
    filter: &'r Filter,
    paths: Paths,
    groups: Vec<Group>,
    refusals: Vec<Refusal>,
    claimed_groups: u64,
    asked_branches: bool,
    /// Whether any path led to an entry of the pool.
    any_found: bool,
}

/// The result of resolving a list.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The groups; each inode is in only one group.
    pub groups: Vec<Group>,
    /// Paths that could not be used.
    pub refusals: Vec<Refusal>,
    /// How many groups the list claims.
    pub claimed_groups: u64,
    /// Files that a scan left out.
    pub left_out: LeftOut,
    /// Whether mergerfs did not report where files are, so that each branch was searched.
    pub asked_branches: bool,
    /// Hashes of files in `groups` that a comparison can rely on.
    pub hashed: Vec<Hashed>,
}

impl<'r> Resolver<'r> {
    /// A resolver for lists whose paths are where `paths` says.
    ///
    /// # Errors
    /// If the mount table cannot be read.
    pub fn new(
        fs: &'r RealFs,
        pool: &'r Pool,
        filter: &'r Filter,
        paths: Paths,
    ) -> Result<Self, PoolError> {
        Ok(Self {
            fs,
            pool,
            locator: Locator::new(pool)?,
            filter,
            paths,
            groups: Vec::new(),
            refusals: Vec::new(),
            claimed_groups: 0,
            asked_branches: false,
            any_found: false,
        })
    }

    /// Adds one claimed group.
    ///
    /// # Errors
    /// If the pool no longer answers. A path that does not resolve is a refusal, not an error.
    pub fn claim(&mut self, claim: &ClaimedGroup) -> Result<(), PoolError> {
        self.claimed_groups += 1;
        let mut group = Group::default();
        let mut seen = HashSet::new();
        for path in &claim.paths {
            if seen.insert(path) {
                self.path(path, claim.size, &mut group)?;
            }
        }
        if !group.members.is_empty() {
            self.groups.push(group);
        }
        Ok(())
    }

    /// Names the files about which the list claims nothing, unless they turn out to be one file.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub fn unread(&mut self, unread: &Unread) -> Result<(), PoolError> {
        let detail = match unread.why {
            WhyUnread::Directory => "a directory",
            WhyUnread::BrokenPath => "the path is broken",
            WhyUnread::NoChecksum => {
                let mut group = Group::default();
                for path in &unread.paths {
                    self.path(path, None, &mut group)?;
                }
                if group.members.len() < 2 {
                    self.groups.extend(Some(group).filter(|group| !group.members.is_empty()));
                    return Ok(());
                }
                "no checksum: the files were not read"
            }
        };
        for path in &unread.paths {
            self.refuse(Reason::NotRead, path, detail.to_owned());
        }
        Ok(())
    }

    /// If no path of the list is on the pool, says so once.
    fn say_once_that_none_resolved(&mut self) {
        let unresolved = |refusal: &Refusal| refusal.reason == Reason::Unresolved;
        if self.any_found || self.refusals.len() < 2 || !self.refusals.iter().all(unresolved) {
            return;
        }
        let paths = self.refusals.len();
        self.refusals.truncate(1);
        let first = &mut self.refusals[0];
        first.detail = format!(
            "{}; so are all {paths} paths of the list: for one made in a container --map FROM=TO, for relative paths --base DIR",
            first.detail
        );
    }

    /// Returns the groups and the paths that could not be used.
    #[must_use]
    pub fn finish(mut self) -> Resolved {
        self.say_once_that_none_resolved();
        Resolved {
            groups: unite(self.groups),
            refusals: self.refusals,
            claimed_groups: self.claimed_groups,
            left_out: LeftOut::default(),
            asked_branches: self.asked_branches,
            hashed: Vec::new(),
        }
    }

    fn path(&mut self, raw: &[u8], size: Option<u64>, group: &mut Group) -> Result<(), PoolError> {
        let absolute = self.paths.here(raw);
        let located = match self.locator.locate(absolute.as_os_str().as_bytes()) {
            Ok(located) => located,
            Err(PoolError::Path { source, .. } | PoolError::AllPaths { source, .. })
                if source.raw_os_error() != Some(libc::ENOTCONN) =>
            {
                let reason = match source.raw_os_error() {
                    Some(libc::EACCES | libc::EPERM) => Reason::Permission,
                    _ => Reason::Unresolved,
                };
                self.refuse(reason, raw, source.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (holders, path) = match located {
            Located::On(holders, path) => {
                self.any_found = true;
                (Some(holders), path)
            }
            Located::Unavailable(path) => (None, path),
            Located::Missing => {
                self.refuse(Reason::Unresolved, raw, "no such file".to_owned());
                return Ok(());
            }
            Located::NotInPool => {
                self.refuse(Reason::Unresolved, raw, "not on this pool".to_owned());
                return Ok(());
            }
        };
        if path.as_bytes().split(|b| *b == b'/').any(is_hidden_name) {
            return Ok(());
        }
        if self.filter.admits_path(&path)
            && let Err(error) = self.on_branches(raw, holders, &path, size, group)
        {
            let reason = match error.errno() {
                libc::ELOOP | libc::EXDEV => Reason::Obstructed,
                libc::EACCES | libc::EPERM => Reason::Permission,
                _ => Reason::Unresolved,
            };
            self.refuse(reason, raw, format!("{error}: {}", error.source));
        }
        Ok(())
    }

    fn on_branches(
        &mut self,
        raw: &[u8],
        holders: Option<Vec<BranchIdx>>,
        path: &RelPath,
        size: Option<u64>,
        group: &mut Group,
    ) -> Result<(), FsError> {
        self.asked_branches |= holders.is_none();
        let branches = holders.unwrap_or_else(|| self.pool.indices().collect());
        let mut copies: Vec<(BranchIdx, Stat)> = Vec::new();
        for branch in branches {
            if let Some(stat) = self.fs.stat(&Place::new(branch, path.clone()))? {
                copies.push((branch, stat));
            }
        }
        self.any_found |= !copies.is_empty();
        if copies.is_empty() {
            self.refuse(Reason::Unresolved, raw, "on no branch that can be seen here".to_owned());
        } else if copies.iter().any(|(_, stat)| stat.kind != FileKind::Regular) {
            self.refuse(Reason::NotRegular, raw, String::new());
        } else if size.is_some_and(|size| copies.iter().all(|(_, stat)| stat.size != size)) {
            let detail = format!("{} bytes, listed as {}", copies[0].1.size, size.unwrap_or(0));
            self.refuse(Reason::ClaimSize, raw, detail);
        } else {
            for at in 0..copies.len() {
                self.member(&copies, at, path, size, group)?;
            }
        }
        Ok(())
    }

    /// Adds the copy `at` of a path: as a new member, or as a name of a known member.
    fn member(
        &mut self,
        copies: &[(BranchIdx, Stat)],
        at: usize,
        path: &RelPath,
        size: Option<u64>,
        group: &mut Group,
    ) -> Result<(), FsError> {
        let (branch, stat) = &copies[at];
        if size.is_some_and(|size| stat.size != size) || !self.filter.admits_size(stat.size) {
            return Ok(());
        }
        let others = copies.iter().map(|(other, _)| *other).filter(|other| other != branch);
        let name = Name {
            branch: *branch,
            path: path.clone(),
            excluded: false,
            listed: true,
            shadows: others.collect(),
            differs: copies.iter().any(|(_, other)| other.size != stat.size),
        };
        if let Some(known) = group.members.iter_mut().find(|m| m.id == stat.id) {
            known.add_name(name);
            return Ok(());
        }
        let file = self.fs.open(&Place::new(*branch, path.clone()))?;
        let metadata = self.fs.metadata(&file)?;
        let mut member = Member::new(stat, self.fs.nature(&file)?, metadata);
        member.add_name(name);
        group.members.push(member);
        Ok(())
    }

    fn refuse(&mut self, reason: Reason, path: &[u8], detail: String) {
        self.refusals.push(Refusal::of_path(reason, path, detail));
    }
}

/// Adds the names of `members` that the list does not contain. Finds these names by walking the members' branches.
///
/// Returns the directories that could not be read.
///
/// # Errors
/// If a branch fails.
pub fn complete(
    groups: &mut [Group],
    wanted: &HashSet<crate::fs::InodeId>,
    fs: &RealFs,
    pool: &Pool,
    filter: &Filter,
) -> Result<Vec<FsError>, FsError> {
    let found = links::find(fs, pool, wanted);
    for member in groups.iter_mut().flat_map(|g| &mut g.members) {
        for (branch, path) in found.names.get(&member.id).into_iter().flatten() {
            let (mut shadows, mut differs) = (Vec::new(), false);
            for other in pool.indices().filter(|other| other != branch) {
                if let Some(stat) = fs.stat(&Place::new(other, path.clone()))? {
                    shadows.push(other);
                    differs |= stat.size != member.size;
                }
            }
            member.add_name(Name {
                branch: *branch,
                path: path.clone(),
                excluded: !filter.admits_path(path),
                listed: false,
                shadows,
                differs,
            });
        }
    }
    Ok(found.unreadable)
}

/// Returns a directory of the pool as a relpath, for primaries and scans, by whatever mount or branch it is named;
/// `None` if `dir` is not a directory of this pool.
///
/// # Errors
/// If `dir` cannot be looked up.
pub fn pool_directory(pool: &Pool, dir: &Path) -> Result<Option<RelPath>, PoolError> {
    // Fails where `dir` is missing, with the path as it was named.
    let path = |source| PoolError::Path { path: dir.to_path_buf(), source };
    let real = dir.canonicalize().map_err(path)?;
    Locator::new(pool)?.directory_in_pool(&real)
}

/// Whether every branch root is still where the pool says.
///
/// # Errors
/// If a branch root is no longer there; the error names the first such root.
pub fn check_branches(fs: &RealFs, pool: &Pool) -> Result<(), FsError> {
    pool.indices().try_for_each(|branch| fs.check_branch(root_of(branch).branch))
}
