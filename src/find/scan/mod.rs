//! The program's own scan finds duplicates on the branches themselves, not through the mount.
//!
//! ```text
//! walk ──► candidates ──► stages ──► members
//! names    inodes of      ends,      groups as
//! and      equal size     whole      the plan
//! sizes                   contents   takes them
//! ```
//!
//! The scan reads only groups that can save space, and changes nothing on a branch. A group is no reason to remove a file:
//! the executor compares, and relies on no more than the hashes of whole files that the scan of the same run took after a
//! lease could be had. `cache` keeps hashes between scans; no comparison relies on those.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::find::filter::Filter;
use crate::fs::real::RealFs;
use crate::fs::{FsId, Hashed, Place};
use crate::plan::group::{Group, Member};
use crate::plan::refusal::Reason;
use crate::plan::{BranchFacts, LeftOut, Refusal, Rules};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, BranchMode, Pool};

mod border;
mod cache;
mod cache_block;
mod cache_place;
mod candidates;
mod catalog;
mod disks;
mod gate;
mod keeper;
mod members;
mod meter;
mod named;
mod opener;
mod read;
mod skip;
mod stages;
mod twins;
mod versions;
mod walk;

pub use cache::Cache;
pub use cache_place::CacheError;
pub use meter::{DiskShare, Meter, Phase, Reading};
pub use skip::is_in_bin;
pub(crate) use skip::is_snapraid;
pub use stages::ReadCounts;

use candidates::Candidates;
use keeper::Keeper;
use named::Named;
use stages::Stages;

/// What to scan, and how.
pub struct Scan<'s> {
    fs: &'s RealFs,
    pool: &'s Pool,
    filter: &'s Filter,
    rules: &'s Rules,
    /// Directories of the pool; no directory lies within another.
    dirs: Vec<RelPath>,
    /// The directories that the user named, as they were named.
    named: Vec<NamedDir>,
    cache: Option<&'s Cache>,
    meter: &'s Meter,
    interrupted: &'s (dyn Fn() -> bool + Sync),
    to_compare: bool,
    /// The branches that are walked.
    branches: Vec<BranchIdx>,
    /// Number of branches that are not walked, since their mode is RO.
    read_only_branches: u64,
    /// Refusals for branches that are not walked although mergerfs may write to them.
    read_only_disks: Vec<Refusal>,
    /// The devices of the walked branches, each once.
    devices: Vec<Device>,
    /// The device of each branch of the pool, as an index into `devices`.
    device_of: Vec<u16>,
}

/// A directory that the user named, and whether a file lies below it.
#[derive(Debug)]
struct NamedDir {
    path: RelPath,
    has_files: AtomicBool,
}

impl NamedDir {
    fn new(path: &RelPath) -> Self {
        Self { path: path.clone(), has_files: AtomicBool::new(false) }
    }

    /// Notes that files lie in `dir`.
    fn note(&self, dir: &RelPath) {
        if !self.has_files.load(Ordering::Relaxed) && dir.is_below(&self.path) {
            self.has_files.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Device {
    dev: u64,
    identity: Option<FsId>,
    disk: usize,
}

/// The cache, the progress meter and the stop signal of a scan.
pub struct Around<'s> {
    /// The hashes of earlier scans.
    pub cache: Option<&'s Cache>,
    /// The scan reports its progress here.
    pub meter: &'s Meter,
    /// Returns true if the scan has to stop at once.
    pub interrupted: &'s (dyn Fn() -> bool + Sync),
    /// Whether to return the hashes that a comparison can rely on, so that no file is read twice.
    pub to_compare: bool,
}

/// Why a scan ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The scan was stopped.
    #[error("the scan was stopped")]
    Interrupted,
    /// More than 536,870,911 directories.
    #[error("there are more directories than a scan can number")]
    TooManyDirectories,
}

/// A group of duplicates, with the hash of their contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundGroup {
    /// The first half of the BLAKE3 of the contents.
    pub hash: u128,
    /// The inodes.
    pub group: Group,
}

/// The results of a scan.
#[derive(Debug, Default)]
pub struct ScanResult {
    /// Inodes with equal contents.
    pub groups: Vec<FoundGroup>,
    /// Files and directories that could not be read.
    pub refusals: Vec<Refusal>,
    /// Names of regular files met.
    pub files: u64,
    /// Directories that the user named and below which no file lies.
    pub empty: Vec<RelPath>,
    /// Inodes that are in no group although they may have copies.
    pub left_out: LeftOut,
    /// How much was read, and how much the cache knew.
    pub counts: ReadCounts,
    /// The hashes of files in `groups` that a comparison can rely on, where they were asked for. Never from the cache.
    pub hashed: Vec<Hashed>,
    /// Of each journal whose hidden names were met, one name.
    pub hidden: BTreeMap<u32, Place>,
}

impl<'s> Scan<'s> {
    /// A scan of the directories whose files `rules` let be replaced, and of the primaries, on every branch where
    /// something could be replaced. A directory within another is a part of that.
    #[must_use]
    pub fn new(
        fs: &'s RealFs,
        pool: &'s Pool,
        facts: &[BranchFacts],
        filter: &'s Filter,
        rules: &'s Rules,
        around: Around<'s>,
    ) -> Self {
        let useful = |b: &BranchIdx| is_useful(&facts[b.index()], pool, *b);
        Self {
            fs,
            pool,
            filter,
            rules,
            named: rules.only_below.iter().chain(&rules.primaries).map(NamedDir::new).collect(),
            dirs: outermost(rules.only_below.iter().chain(&rules.primaries)),
            cache: around.cache,
            meter: around.meter,
            interrupted: around.interrupted,
            to_compare: around.to_compare,
            branches: pool.indices().filter(useful).collect(),
            read_only_branches: facts.iter().filter(|of| of.mode == BranchMode::Ro).count() as u64,
            read_only_disks: pool
                .indices()
                .filter(|b| is_read_only_disk(&facts[b.index()]))
                .map(|b| read_only_disk(&pool.branches[b.index()].path))
                .collect(),
            devices: Vec::new(),
            device_of: Vec::new(),
        }
    }

    /// Finds the duplicates.
    ///
    /// # Errors
    /// If the scan was stopped. An unreadable file is a refusal, not an error.
    pub fn run(mut self) -> Result<ScanResult, ScanError> {
        let begin = Instant::now();
        let took = |what| tracing::debug!(what, seconds = begin.elapsed().as_secs_f64(), "scan");
        let disks = disks::under(self.fs, &self.branches);
        self.number_devices(&disks);
        let mut walked = walk::walk(&self, &disks)?;
        took("walked");
        let mut several = versions::of(&self, &walked.catalog);
        several
            .retain(|copies| self.rules.only.as_ref().is_none_or(|only| only.holds(copies.path())));
        let named = self.rules.only.as_ref().map(|only| Named::of(&self, only, &walked));
        let rotates = |device| disks[self.disk_of(device)].rotating;
        let mut candidates = Candidates::of(&mut walked.catalog, self.rules, rotates);
        let (counts, hashed, mut members) = std::thread::scope(|scope| {
            // Filling the cache and making it durable uses a processor and a disk that are idle during the scan.
            let keeper = self.cache.map(|cache| Keeper::start(scope, cache));
            let stages = Stages::new(&self, &disks, &walked.catalog, keeper);
            let (counts, hashed) = stages.run(&mut candidates, &mut walked.refusals)?;
            candidates.drop_others(&mut walked.catalog);
            took("read");
            let members = members::of(&self, &walked.catalog, &candidates)?;
            took("looked at members");
            Ok((counts, hashed, members))
        })?;
        let linked = candidates.left_out.linked.saturating_sub(self.linked(&members.groups));
        let left_out = match named {
            Some(_) => LeftOut { linked, ..LeftOut::default() },
            None => LeftOut { linked, ..candidates.left_out },
        };
        // Planning takes as much memory again.
        drop((walked.catalog, candidates));
        crate::sys::give_back_memory();
        walked.refusals.extend(versions::differing(&self, several, &mut members.groups));
        if (self.interrupted)() {
            return Err(ScanError::Interrupted);
        }
        let changed = counts.changed + members.changed;
        let (counts, left_out) = (
            ReadCounts { changed, ..counts },
            LeftOut {
                changed,
                in_bins: walked.in_bins,
                read_only_branches: self.read_only_branches,
                ..left_out
            },
        );
        walked.refusals.append(&mut members.refusals);
        let said = named.map(|named| named.without_group(&self, &members.groups, &walked.refusals));
        walked.refusals.extend(said.into_iter().flatten());
        walked.refusals.append(&mut self.read_only_disks);
        walked.refusals.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(ScanResult {
            groups: members.groups,
            refusals: walked.refusals,
            files: walked.files,
            empty: self.empty(),
            left_out,
            counts,
            hashed,
            hidden: walked.hidden,
        })
    }

    /// How many further names the files of `groups` have, which the plan counts.
    fn linked(&self, groups: &[FoundGroup]) -> u64 {
        let members = groups.iter().flat_map(|found| &found.group.members);
        let members = members.filter(|member| self.rules.is_about(member));
        let further = |member: &Member| {
            let names = member.names.iter().filter(|name| !name.excluded).count();
            names.saturating_sub(1) as u64
        };
        members.map(further).sum()
    }

    fn empty(self) -> Vec<RelPath> {
        let empty = self.named.into_iter().filter(|named| !named.has_files.load(Ordering::Relaxed));
        let mut paths: Vec<RelPath> = empty.map(|named| named.path).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn number_devices(&mut self, disks: &[disks::Disk]) {
        self.device_of = vec![0; self.pool.branches.len()];
        for &branch in &self.branches {
            let dev = self.fs.root_id(branch).dev;
            let known = self.devices.iter().position(|device| device.dev == dev);
            let at = known.unwrap_or_else(|| {
                let disk = disks.iter().position(|d| d.branches.contains(&branch));
                self.devices.push(Device {
                    dev,
                    identity: self.fs.identity(branch),
                    disk: disk.unwrap_or(0),
                });
                self.devices.len() - 1
            });
            // No more devices than branches, which are numbered with 16 bits.
            self.device_of[branch.index()] = u16::try_from(at).unwrap_or(u16::MAX);
        }
    }

    fn device_of(&self, branch: BranchIdx) -> u16 {
        self.device_of[branch.index()]
    }

    fn dev_of(&self, device: u16) -> u64 {
        self.devices[usize::from(device)].dev
    }

    fn identity_of(&self, device: u16) -> Option<FsId> {
        self.devices[usize::from(device)].identity
    }

    fn disk_of(&self, device: u16) -> usize {
        self.devices[usize::from(device)].disk
    }
}

/// Whether a file on a branch could be replaced or linked to; the scan reads no other branch.
fn is_useful(facts: &BranchFacts, pool: &Pool, branch: BranchIdx) -> bool {
    let path = &pool.branches[branch.index()].path;
    if !facts.identity {
        tracing::warn!(
            ?path,
            "not scanned: it cannot be read, or its filesystem has no UUID to know it by after a crash"
        );
        return false;
    }
    if facts.mode == BranchMode::Ro {
        tracing::info!(?path, "not scanned: read-only");
        return false;
    }
    if facts.read_only {
        tracing::warn!(?path, "not scanned: the disk is mounted read-only");
        return false;
    }
    true
}

/// Whether a branch is read-only although its mergerfs mode is not RO: a disk that turned read-only after an error.
fn is_read_only_disk(facts: &BranchFacts) -> bool {
    facts.read_only && facts.mode != BranchMode::Ro
}

fn read_only_disk(path: &Path) -> Refusal {
    // This is not a path of the pool: the scan looked at no path below the branch root.
    let path = path.as_os_str().as_bytes();
    Refusal::of_path(Reason::DiskReadOnly, path, "the branch was not scanned")
}

/// `dirs` without the directories that lie within other directories.
fn outermost<'d>(dirs: impl Iterator<Item = &'d RelPath>) -> Vec<RelPath> {
    let distinct: HashSet<&RelPath> = dirs.collect();
    let within = |dir: &RelPath| distinct.iter().any(|o| **o != *dir && dir.is_below(o));
    let mut outer: Vec<RelPath> =
        distinct.iter().filter(|d| !within(d)).map(|d| (*d).clone()).collect();
    outer.sort();
    outer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_within_another_is_walked_once() {
        let dirs = |names: &[&str]| -> Vec<RelPath> {
            names.iter().map(|n| RelPath::new(n).unwrap()).collect()
        };
        assert_eq!(outermost(dirs(&["b/c", "b", "a", "b", "bb"]).iter()), dirs(&["a", "b", "bb"]));
        assert_eq!(outermost(dirs(&["a", "", "b"]).iter()), dirs(&[""]));
    }
}
