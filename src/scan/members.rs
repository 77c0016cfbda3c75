//! From candidates with equal contents to groups: each inode with its metadata and its names, as the plan needs them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::candidates::{Candidate, Candidates};
use super::catalog::{Catalog, DirId, Stamp};
use super::meter::Phase;
use super::opener::{Opener, is_gone};
use super::walk::unreadable;
use super::{FoundGroup, Scan, ScanError};
use crate::fs::real::ScanParent;
use crate::fs::{Fs, FsError, InodeId, Place};
use crate::group::{Group, Member, Name};
use crate::plan::Refusal;
use crate::pool::BranchIdx;
use crate::relpath::RelPath;

/// Most of it is waiting for calls of a microsecond.
const THREADS: usize = 4;
/// Groups that one of them takes at a time.
const PORTION_MAX: usize = 4096;

/// The groups of a scan, and what dropped out at the last moment.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) groups: Vec<FoundGroup>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) changed: u64,
}

/// Looks at every inode that is left.
pub(super) fn of(
    scan: &Scan<'_>,
    catalog: &Catalog,
    candidates: &Candidates,
) -> Result<Members, ScanError> {
    let groups: Vec<&[Candidate]> = candidates.groups(catalog).collect();
    let total = candidates.all.len() as u64;
    scan.meter.begin(Phase::Members, total, Vec::new());
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Members::default()));
    // Small enough that all have something to do, large enough that neighbours meet.
    let portion = (groups.len() / (4 * THREADS)).clamp(1, PORTION_MAX);
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(groups.len()) {
            scope.spawn(|| {
                let mut own = Members::default();
                let mut looker = Looker::new(scan, catalog);
                while !(scan.interrupted)() {
                    let at = next.fetch_add(portion, Ordering::Relaxed);
                    let Some(left) = groups.get(at..).filter(|left| !left.is_empty()) else {
                        break;
                    };
                    looker.groups(&left[..portion.min(left.len())], &mut own);
                }
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.groups.append(&mut own.groups);
                all.refusals.append(&mut own.refusals);
                all.changed += own.changed;
            });
        }
    });
    if (scan.interrupted)() {
        return Err(ScanError::Interrupted);
    }
    let mut members = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    // By branch and path, so that equal disks give an equal plan whatever their inode numbers are.
    members.groups.sort_by_cached_key(first_name);
    Ok(members)
}

fn first_name(group: &FoundGroup) -> Option<(BranchIdx, RelPath)> {
    let names = group.group.members.iter().flat_map(|m| &m.names);
    let first = names.min_by_key(|n| (&n.path, n.branch));
    first.map(|name| (name.branch, name.path.clone()))
}

/// Looks at inodes, those of one directory one after the other.
struct Looker<'l> {
    scan: &'l Scan<'l>,
    catalog: &'l Catalog,
    opener: Opener<'l>,
    /// The directory looked at last, as the other branches have it.
    beside: Option<(DirId, Vec<(BranchIdx, Beside)>)>,
}

/// A directory of one branch on another.
enum Beside {
    /// It is there.
    Held(ScanParent),
    /// It cannot be held: each path is looked up by itself.
    Unclear,
}

impl<'l> Looker<'l> {
    fn new(scan: &'l Scan<'l>, catalog: &'l Catalog) -> Self {
        Self {
            scan,
            catalog,
            opener: Opener::new(scan.fs, catalog),
            beside: None,
        }
    }

    fn groups(&mut self, groups: &[&[Candidate]], found: &mut Members) {
        let candidates: Vec<&Candidate> = groups.iter().copied().flatten().collect();
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_unstable_by_key(|at| {
            let file = self.catalog.file_of(candidates[*at]);
            (file.device, file.dir, file.ino)
        });
        let mut members: Vec<Option<Member>> = candidates.iter().map(|_| None).collect();
        for at in order {
            if (self.scan.interrupted)() {
                return;
            }
            match self.member(candidates[at]) {
                Ok(Some(member)) => members[at] = Some(member),
                Ok(None) => found.changed += 1,
                Err(error) => {
                    let file = self.catalog.file_of(candidates[at]);
                    let place = self.catalog.file_place(file);
                    found.refusals.push(unreadable(&place.path, &error));
                }
            }
            self.scan.meter.add_files(1);
        }
        let mut members = members.into_iter();
        for candidates in groups {
            // As many as there are and no more: of a million files a third may end up here.
            let mut group = Vec::with_capacity(candidates.len());
            group.extend(members.by_ref().take(candidates.len()).flatten());
            if group.len() > 1 {
                group.sort_by(|a, b| a.names.cmp(&b.names));
                let key = candidates.first().map_or([0; 2], Candidate::key);
                found.groups.push(FoundGroup {
                    hash: u128::from(key[0]) << 64 | u128::from(key[1]),
                    group: Group { members: group },
                });
            }
        }
    }

    /// `None` where it is not what was read.
    fn member(&mut self, candidate: &Candidate) -> Result<Option<Member>, FsError> {
        let (scan, catalog) = (self.scan, self.catalog);
        let names = catalog.names_of(candidate);
        let Some(file) = names.iter().find(|name| !name.excluded) else {
            return Ok(None);
        };
        let opened = match self.opener.open(file) {
            Err(error) if is_gone(&error) => return Ok(None),
            opened => opened?,
        };
        let failed = |error| self.opener.failed("look at open file", file, error);
        let stat = opened.stat().map_err(failed)?;
        let id = InodeId {
            dev: scan.dev_of(file.device),
            ino: file.ino,
        };
        if stat.id != id || Stamp::of(&stat) != file.stamp {
            return Ok(None);
        }
        let mut member = Member::new(&stat, opened.metadata(&stat).map_err(failed)?);
        member.names.reserve_exact(names.len());
        for name in names {
            let place = catalog.file_place(name);
            let shadows = self.shadows(name.dir, &place)?;
            member.add_name(Name {
                branch: place.branch,
                path: place.path,
                excluded: name.excluded,
                listed: !name.excluded,
                shadows,
            });
        }
        Ok(Some(member))
    }

    /// The other branches that have the path too, those that are not scanned as well.
    fn shadows(&mut self, dir: DirId, place: &Place) -> Result<Vec<BranchIdx>, FsError> {
        let fs = self.scan.fs;
        let beside = match self.beside.take() {
            Some(held) if held.0 == dir => held,
            _ => (dir, self.beside(place)),
        };
        let mut shadows = Vec::new();
        for (branch, beside) in &self.beside.insert(beside).1 {
            let at = || Place::new(*branch, place.path.clone());
            let there = match beside {
                Beside::Held(dir) => dir
                    .has(place.path.file_name())
                    .map_err(|error| fs.scan_error("look up", &at(), error))?,
                Beside::Unclear => fs.stat(&at())?.is_some(),
            };
            shadows.extend(there.then_some(*branch));
        }
        Ok(shadows)
    }

    /// The directory of `place` on the other branches that have it.
    fn beside(&self, place: &Place) -> Vec<(BranchIdx, Beside)> {
        let (scan, dir) = (self.scan, place.dir().path);
        let others = scan.pool.indices().filter(|b| *b != place.branch);
        let held = others.filter_map(|branch| {
            match scan.fs.scan_parent(&Place::new(branch, dir.clone())) {
                Ok(parent) => Some((branch, Beside::Held(parent))),
                Err(error) if error.errno() == libc::ENOENT => None,
                Err(_) => Some((branch, Beside::Unclear)),
            }
        });
        held.collect()
    }
}
