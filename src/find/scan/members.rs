//! Turns candidates with equal contents into groups: each inode with metadata and names, as the plan needs them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::candidates::{Candidate, Candidates};
use super::catalog::{Catalog, DirId, Stamp};
use super::meter::Phase;
use super::opener::{Opener, is_gone};
use super::walk::unreadable;
use super::{FoundGroup, Scan, ScanError};
use crate::fs::real::ScanParent;
use crate::fs::{FsError, InodeId, Look, Metadata, Place};
use crate::plan::Refusal;
use crate::plan::group::{Group, Member, Name};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// Most of it is waiting for calls of a microsecond.
const THREADS: usize = 4;
/// Inodes that one of them takes at a time, about: whole directories where they are small.
const PORTION: usize = 64;
/// A directory with more of them is shared out.
const DIVIDED: usize = 1024;

/// The groups of a scan, and what dropped out at the last moment.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) groups: Vec<FoundGroup>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) changed: u64,
}

/// Looks up every remaining inode, directory by directory, whatever groups they belong to.
pub(super) fn of(
    scan: &Scan<'_>,
    catalog: &Catalog,
    candidates: &Candidates,
) -> Result<Members, ScanError> {
    let groups: Vec<&[Candidate]> = candidates.groups(catalog).collect();
    scan.meter.begin(Phase::Members, candidates.all.len() as u64, Vec::new());
    let mut order: Vec<Seat> = Vec::with_capacity(candidates.all.len());
    for (group, candidates) in (0u32..).zip(&groups) {
        order.extend((0u32..).take(candidates.len()).map(|at| Seat { group, at }));
    }
    let file = |seat: &Seat| catalog.file_of(&groups[seat.group as usize][seat.at as usize]);
    order.sort_unstable_by_key(|seat| {
        let file = file(seat);
        (catalog.device_of(file), file.dir(), file.ino)
    });
    // Each list has room for exactly its members: of a million files a third may be in these lists.
    let filled: Vec<Mutex<Vec<Member>>> =
        groups.iter().map(|group| Mutex::new(Vec::with_capacity(group.len()))).collect();
    let by_dir = order.chunk_by(|a, b| file(a).dir() == file(b).dir());
    let queue = Mutex::new(by_dir.flat_map(|dir| dir.chunks(DIVIDED)));
    let dropped = Mutex::new(Members::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(groups.len()) {
            scope.spawn(|| {
                let mut looker = Looker::new(scan, catalog);
                let mut own = Members::default();
                while let Some(portion) = portion(&queue) {
                    for seat in portion.into_iter().flatten() {
                        if (scan.interrupted)() {
                            return;
                        }
                        let candidate = &groups[seat.group as usize][seat.at as usize];
                        if let Some(member) = looker.look(candidate, &mut own) {
                            locked(&filled[seat.group as usize]).push(member);
                        }
                    }
                }
                let mut all = locked(&dropped);
                all.refusals.append(&mut own.refusals);
                all.changed += own.changed;
            });
        }
    });
    if (scan.interrupted)() {
        return Err(ScanError::Interrupted);
    }
    let mut members = dropped.into_inner().unwrap_or_else(PoisonError::into_inner);
    members.groups = groups
        .into_iter()
        .zip(filled)
        .filter_map(|(candidates, filled)| found_group(candidates, filled))
        .collect();
    // Sorted by branch and path, so that equal disks produce equal plans, whatever their inode numbers are.
    members.groups.sort_by_cached_key(first_name);
    Ok(members)
}

/// A candidate: its group, and its place in the group.
#[derive(Debug, Clone, Copy)]
struct Seat {
    group: u32,
    at: u32,
}

/// Takes the inodes of the next directories; returns `None` when all are taken.
fn portion<'o>(queue: &Mutex<impl Iterator<Item = &'o [Seat]>>) -> Option<Vec<&'o [Seat]>> {
    let mut queue = locked(queue);
    let mut portion = vec![queue.next()?];
    let mut taken = portion[0].len();
    while taken < PORTION {
        let Some(dir) = queue.next() else { break };
        taken += dir.len();
        portion.push(dir);
    }
    Some(portion)
}

/// Returns `None` if fewer than two members are left.
fn found_group(candidates: &[Candidate], filled: Mutex<Vec<Member>>) -> Option<FoundGroup> {
    let mut members = filled.into_inner().unwrap_or_else(PoisonError::into_inner);
    if members.len() < 2 {
        return None;
    }
    members.sort_by(|a, b| a.names.cmp(&b.names));
    let key = candidates.first().map_or([0; 2], Candidate::key);
    Some(FoundGroup {
        hash: u128::from(key[0]) << 64 | u128::from(key[1]),
        group: Group { members },
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_name(group: &FoundGroup) -> Option<(BranchIdx, RelPath)> {
    let names = group.group.members.iter().flat_map(|m| &m.names);
    let first = names.min_by_key(|n| (&n.path, n.branch));
    first.map(|name| (name.branch, name.path.clone()))
}

/// Looks up inodes, the inodes of one directory one after the other.
struct Looker<'l> {
    scan: &'l Scan<'l>,
    catalog: &'l Catalog,
    opener: Opener<'l>,
    /// The directory of the last inode, on the other branches.
    beside: Option<(DirId, Vec<(BranchIdx, Beside)>)>,
    /// The metadata of the last inode.
    alike: Option<Arc<Metadata>>,
}

/// A directory of one branch on another.
enum Beside {
    /// The directory exists.
    Held(ScanParent),
    /// The directory cannot be held: each path is looked up by itself.
    Unclear,
}

impl<'l> Looker<'l> {
    fn new(scan: &'l Scan<'l>, catalog: &'l Catalog) -> Self {
        Self { scan, catalog, opener: Opener::new(scan.fs, catalog), beside: None, alike: None }
    }

    /// Returns a candidate as a member; records in `dropped` a candidate that cannot be a member.
    fn look(&mut self, candidate: &Candidate, dropped: &mut Members) -> Option<Member> {
        let looked = self.member(candidate);
        self.scan.meter.add_files(1);
        match looked {
            Ok(Some(member)) => return Some(member),
            Ok(None) => dropped.changed += 1,
            Err(error) => {
                let place = self.catalog.file_place(self.catalog.file_of(candidate));
                dropped.refusals.push(unreadable(&place.path, &error));
            }
        }
        None
    }

    /// Returns `None` if the file has changed since it was read.
    fn member(&mut self, candidate: &Candidate) -> Result<Option<Member>, FsError> {
        let (scan, catalog) = (self.scan, self.catalog);
        let names = catalog.names_of(candidate);
        let Some(file) = names.iter().find(|name| !name.is_excluded()) else {
            return Ok(None);
        };
        let opened = match self.opener.open(file) {
            Err(error) if is_gone(&error) => return Ok(None),
            opened => opened?,
        };
        let failed = |error| self.opener.failed("look at open file", file, error);
        let stat = opened.stat().map_err(failed)?;
        let id = InodeId { dev: scan.dev_of(catalog.device_of(file)), ino: file.ino };
        if stat.id != id || Stamp::of(&stat) != file.stamp {
            return Ok(None);
        }
        let metadata = opened.metadata(&stat).map_err(failed)?;
        let can_share = scan.fs.can_share(catalog.file_place(file).branch);
        let nature = opened.nature(&stat, can_share).map_err(failed)?;
        let mut member = Member::new(&stat, nature, self.shared(metadata));
        member.names.reserve_exact(names.len());
        for name in names {
            let place = catalog.file_place(name);
            let shadows = self.shadows(name.dir(), &place)?;
            member.add_name(Name {
                branch: place.branch,
                path: place.path,
                excluded: name.is_excluded(),
                listed: !name.is_excluded(),
                shadows,
                differs: false,
            });
        }
        Ok(Some(member))
    }

    /// Reuses the value of the last inode if the metadata are equal, as for most files of a directory.
    fn shared(&mut self, metadata: Metadata) -> Arc<Metadata> {
        match &self.alike {
            Some(alike) if **alike == metadata => Arc::clone(alike),
            _ => Arc::clone(self.alike.insert(Arc::new(metadata))),
        }
    }

    /// The other branches that also have the path, including branches that are not scanned.
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
