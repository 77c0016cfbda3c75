//! Turns claims into groups: resolves each path through the pool to inodes on branches, or refuses it with a reason.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::find::facts::root_of;
use crate::find::filter::Filter;
use crate::find::links;
use crate::find::list::{ClaimedGroup, Unread, WhyUnread};
use crate::find::look_up::{Copy, Files, Found, LookUp, Wanted, reason_of};
use crate::fs::real::RealFs;
use crate::fs::{FileKind, FsError, Hashed, Look, Place};
use crate::plan::group::{Group, Member, Name, unite};
use crate::plan::refusal::Reason;
use crate::plan::{LeftOut, Refusal};
use crate::pool::Pool;
use crate::pool::mergerfs::{Locator, PoolDir, PoolError};

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
        let absolute = self.absolute(listed);
        let moved = self.map.iter().find_map(|(from, to)| {
            let rest = absolute.strip_prefix(from).ok()?;
            Some(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
        });
        moved.unwrap_or(absolute)
    }

    /// Returns `listed` as the list names it, from the root on.
    fn absolute(&self, listed: &[u8]) -> PathBuf {
        self.base.join(Path::new(std::ffi::OsStr::from_bytes(listed)))
    }
}

/// Paths of a list that are looked up together.
const PATHS_AT_ONCE: usize = 16_384;

/// Resolves the claims of one list.
pub struct Resolver<'r> {
    look_up: LookUp<'r>,
    paths: Paths,
    /// Claims that are not looked up yet, and how many paths they have.
    waiting: (Vec<ClaimedGroup>, usize),
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
    /// Of each journal whose hidden names a scan met, one name.
    pub hidden: BTreeMap<u32, Place>,
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
            look_up: LookUp::new(fs, pool, filter)?,
            paths,
            waiting: (Vec::new(), 0),
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
    pub fn claim(&mut self, claim: ClaimedGroup) -> Result<(), PoolError> {
        self.claimed_groups += 1;
        self.waiting.1 += claim.paths.len();
        self.waiting.0.push(claim);
        if self.waiting.1 < PATHS_AT_ONCE { Ok(()) } else { self.resolve_waiting() }
    }

    fn resolve_waiting(&mut self) -> Result<(), PoolError> {
        let (claims, _) = std::mem::take(&mut self.waiting);
        let groups = self.resolve(&claims)?;
        self.groups.extend(groups.into_iter().filter(|group| !group.members.is_empty()));
        Ok(())
    }

    /// Looks up the paths of claims; returns a group for each.
    fn resolve(&mut self, claims: &[ClaimedGroup]) -> Result<Vec<Group>, PoolError> {
        let mut wanted = Vec::new();
        let mut raw = Vec::new();
        for (n, claim) in claims.iter().enumerate() {
            let mut seen = HashSet::new();
            for path in claim.paths.iter().filter(|path| seen.insert(path.as_slice())) {
                wanted.push(Wanted { path: self.paths.here(path), size: claim.size });
                raw.push((n, path));
            }
        }
        let mut groups = vec![Group::default(); claims.len()];
        for ((n, raw), found) in raw.into_iter().zip(self.look_up.all(&wanted)?) {
            match found {
                Found::LeftOut => self.any_found = true,
                Found::Refused(reason, detail) => {
                    self.any_found |= reason == Reason::NotRegular;
                    self.refuse(reason, raw, detail);
                }
                Found::Files(files) => self.add(raw, files, claims[n].size, &mut groups[n]),
            }
        }
        Ok(groups)
    }

    /// Names the files about which the list claims nothing, unless they turn out to be one file.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub fn unread(&mut self, unread: Unread) -> Result<(), PoolError> {
        let (mut paths, why) = (unread.paths, unread.why);
        let detail = match why {
            WhyUnread::Directory => "a directory",
            WhyUnread::BrokenPath => "the path is broken",
            WhyUnread::NoChecksum => {
                let claim = ClaimedGroup { size: None, paths };
                for group in self.resolve(std::slice::from_ref(&claim))? {
                    if group.members.len() < 2 {
                        self.groups.extend(Some(group).filter(|group| !group.members.is_empty()));
                        return Ok(());
                    }
                }
                paths = claim.paths;
                "no checksum: the files were not read"
            }
        };
        for path in &paths {
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
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub fn finish(mut self) -> Result<Resolved, PoolError> {
        self.resolve_waiting()?;
        self.say_once_that_none_resolved();
        Ok(Resolved {
            groups: unite(self.groups),
            refusals: self.refusals,
            claimed_groups: self.claimed_groups,
            left_out: LeftOut::default(),
            asked_branches: self.asked_branches,
            hashed: Vec::new(),
            hidden: BTreeMap::new(),
        })
    }

    /// Adds the files of a path: as new members, or as names of known members.
    fn add(&mut self, raw: &[u8], files: Files, size: Option<u64>, group: &mut Group) {
        let Files { path, copies, asked_branches } = files;
        self.any_found = true;
        self.asked_branches |= asked_branches;
        if copies.iter().any(|copy| copy.stat.kind != FileKind::Regular) {
            return self.refuse(Reason::NotRegular, raw, String::new());
        }
        if let Some(size) = size.filter(|size| copies.iter().all(|copy| copy.stat.size != *size)) {
            let detail = format!("{} bytes, listed as {size}", copies[0].stat.size);
            return self.refuse(Reason::ClaimSize, raw, detail);
        }
        let on: Vec<_> = copies.iter().map(|copy| (copy.branch, copy.stat.size)).collect();
        for Copy { branch, stat, facts } in copies {
            let Some(facts) = facts else { continue };
            let others = on.iter().map(|(other, _)| *other).filter(|other| *other != branch);
            let name = Name {
                branch,
                path: path.clone(),
                excluded: false,
                listed: true,
                shadows: others.collect(),
                differs: on.iter().any(|(_, size)| *size != stat.size),
            };
            if let Some(known) = group.members.iter_mut().find(|m| m.id == stat.id) {
                known.add_name(name);
                continue;
            }
            match facts {
                Ok((metadata, nature)) => {
                    let mut member = Member::new(&stat, nature, metadata);
                    member.add_name(name);
                    group.members.push(member);
                }
                Err(error) => {
                    let detail = format!("{error}: {}", error.source);
                    return self.refuse(reason_of(&error.source), raw, detail);
                }
            }
        }
    }

    fn refuse(&mut self, reason: Reason, listed: &[u8], detail: String) {
        // A report takes a relative path for a path in the pool.
        let path = self.paths.absolute(listed);
        self.refusals.push(Refusal::of_path(reason, path.as_os_str().as_bytes(), detail));
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

/// Returns a directory of the pool, for primaries and scans, by whatever mount or branch it is named; `None` if `dir` is not
/// a directory of this pool.
///
/// # Errors
/// If `dir` cannot be looked up.
pub fn pool_directory(pool: &Pool, dir: &Path) -> Result<Option<PoolDir>, PoolError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_refused_is_shown_from_the_root_on() {
        let paths =
            Paths { base: "/srv/lists".into(), map: vec![("/data".into(), "/pool".into())] };
        for (listed, here, shown) in
            [("a b/c", "/srv/lists/a b/c", "/srv/lists/a b/c"), ("/data/c", "/pool/c", "/data/c")]
        {
            assert_eq!(paths.here(listed.as_bytes()), Path::new(here));
            assert_eq!(paths.absolute(listed.as_bytes()), Path::new(shown));
        }
    }
}
