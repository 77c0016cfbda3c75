//! From candidates with equal contents to groups: each inode with its metadata and its names, as the plan needs them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::candidates::{Candidate, Candidates};
use super::catalog::{Catalog, DirId, Stamp};
use super::meter::Phase;
use super::opener::is_gone;
use super::walk::unreadable;
use super::{FoundGroup, Scan, ScanError};
use crate::fs::{Fs, FsError, InodeId, Place};
use crate::group::{Group, Member, Name};
use crate::plan::Refusal;
use crate::pool::BranchIdx;

/// Most of it is waiting for calls of a microsecond.
const THREADS: usize = 4;

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
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(groups.len()) {
            scope.spawn(|| {
                let mut own = Vec::new();
                let mut looker = Looker {
                    scan,
                    catalog,
                    dirs: HashMap::new(),
                };
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(group) = groups.get(at).filter(|_| !(scan.interrupted)()) else {
                        break;
                    };
                    own.push((at, looker.group(group)));
                }
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.append(&mut own);
            });
        }
    });
    if (scan.interrupted)() {
        return Err(ScanError::Interrupted);
    }
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(at, _)| *at);
    let mut members = Members::default();
    for (_, mut found) in all {
        members.groups.append(&mut found.groups);
        members.refusals.append(&mut found.refusals);
        members.changed += found.changed;
    }
    // By path, so that equal disks give an equal plan whatever their inode numbers are.
    members
        .groups
        .sort_by(|a, b| first_name(a).cmp(&first_name(b)));
    Ok(members)
}

fn first_name(group: &FoundGroup) -> Option<&Name> {
    let members = group.group.members.iter();
    members
        .flat_map(|m| &m.names)
        .min_by_key(|n| (&n.path, n.branch))
}

/// Looks at inodes; remembers which directories the branches have.
struct Looker<'l> {
    scan: &'l Scan<'l>,
    catalog: &'l Catalog,
    /// Whether a directory of one branch is on another, too.
    dirs: HashMap<(DirId, BranchIdx), bool>,
}

impl Looker<'_> {
    fn group(&mut self, candidates: &[Candidate]) -> Members {
        let mut found = Members::default();
        let mut group = Group::default();
        for candidate in candidates {
            match self.member(candidate) {
                Ok(Some(member)) => group.members.push(member),
                Ok(None) => found.changed += 1,
                Err(error) => {
                    let file = self.catalog.file_of(candidate);
                    let place = self.catalog.file_place(file);
                    found.refusals.push(unreadable(&place.path, &error));
                }
            }
            self.scan.meter.add_files(1);
        }
        if group.members.len() > 1 {
            group.members.sort_by(|a, b| a.names.cmp(&b.names));
            let key = candidates.first().map_or([0; 2], |c| c.key);
            found.groups.push(FoundGroup {
                hash: u128::from(key[0]) << 64 | u128::from(key[1]),
                group,
            });
        }
        found
    }

    /// `None` where it is not what was read.
    fn member(&mut self, candidate: &Candidate) -> Result<Option<Member>, FsError> {
        let (scan, catalog) = (self.scan, self.catalog);
        let names = catalog.names_of(candidate);
        let Some(file) = names.iter().find(|name| !name.excluded) else {
            return Ok(None);
        };
        let place = catalog.file_place(file);
        let opened = match scan.fs.open_to_scan(&place) {
            Err(error) if is_gone(&error) => return Ok(None),
            opened => opened?,
        };
        let failed = |error| scan.fs.scan_error("look at open file", &place, error);
        let stat = opened.stat().map_err(failed)?;
        let id = InodeId {
            dev: scan.dev_of(file.device),
            ino: file.ino,
        };
        if stat.id != id || Stamp::of(&stat) != file.stamp {
            return Ok(None);
        }
        let mut member = Member::new(&stat, opened.metadata(&stat).map_err(failed)?);
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
        let (fs, mut shadows) = (self.scan.fs, Vec::new());
        for branch in self.scan.pool.indices().filter(|b| *b != place.branch) {
            let there = match self.dirs.entry((dir, branch)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    let dir = Place::new(branch, place.dir().path);
                    *unknown.insert(fs.stat(&dir)?.is_some())
                }
            };
            if there && fs.stat(&Place::new(branch, place.path.clone()))?.is_some() {
                shadows.push(branch);
            }
        }
        Ok(shadows)
    }
}
