//! Computes the fate of each file from a plan. The view is pure: the caller supplies the state of the branches.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::execute::Halt;
use crate::fs::{InodeId, Place, Stat, Timestamp};
use crate::plan::Op;
use crate::plan::refusal::Reason;
use crate::plan::{Found, OpKind};
use crate::plan::{Plan, Refusal};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// Returns the attributes of the file that is at a place now, if the place can be looked up.
pub type Look<'l> = dyn FnMut(&Place) -> Option<Stat> + 'l;

/// The state of a file when the plan was made. A file that differs from this state is not the planned file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    id: InodeId,
    size: u64,
    mtime: Timestamp,
}

impl Known {
    fn of(stat: &Stat) -> Self {
        Self { id: stat.id, size: stat.size, mtime: stat.mtime }
    }
}

/// A duplicate inode that will be gone; its names will be names of the master.
#[derive(Debug)]
pub struct Replacement {
    /// Cross or local.
    pub kind: OpKind,
    /// A name the master has now.
    pub master: Place,
    /// The name the master is known by.
    pub known_as: RelPath,
    /// A name the duplicate has now.
    pub duplicate: Place,
    /// Bytes that become free.
    pub bytes: u64,
    names: u64,
    master_known: Known,
    duplicate_known: Known,
    /// Set when one of the two files has changed since the plan: the duplicate's names are then no longer counted.
    outdated: AtomicBool,
}

impl Replacement {
    /// Whether `now` is still the planned master.
    #[must_use]
    pub fn stays(&self, now: &Stat) -> bool {
        Known::of(now) == self.master_known
    }

    /// Whether `now` is still the planned duplicate.
    #[must_use]
    pub fn goes(&self, now: &Stat) -> bool {
        Known::of(now) == self.duplicate_known
    }

    /// Stops counting the duplicate's names, because one of the two files has changed.
    pub fn outdate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }
}

/// Why a file is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub reason: Reason,
    /// The copy that would have stayed.
    pub master: Option<RelPath>,
    /// What was found.
    pub detail: String,
    /// The bytes that stay in use.
    pub bytes: u64,
}

/// The fate of one name.
#[derive(Debug, Clone, Copy)]
pub enum Fate<'v> {
    /// The plan does not concern the name.
    Kept,
    /// The name stays, and other names become names of its inode. The plan calls the inode by this path.
    Master(&'v RelPath),
    /// The name becomes a name of the master, on this branch.
    Replaced(&'v Replacement, BranchIdx),
    /// The plan replaces the file, but a file has changed since the plan was made.
    Changed(&'v Replacement),
    /// The file is left alone.
    Refused(&'v Refused),
}

#[derive(Debug)]
struct Moving {
    at: usize,
    to: BranchIdx,
}

/// The fates of all files of a pool under a plan.
#[derive(Debug, Default)]
pub struct View {
    replacements: Vec<Replacement>,
    moving: HashMap<Place, Moving>,
    masters: HashMap<InodeId, Vec<usize>>,
    refused: Vec<Refused>,
    refused_inodes: HashMap<InodeId, usize>,
    refused_paths: HashMap<RelPath, usize>,
    new_dirs: HashMap<RelPath, Vec<BranchIdx>>,
}

impl View {
    /// The view of `plan`. `would_stop` maps the index of an op to a reason, found since, for which the op would stop.
    #[must_use]
    pub fn of(plan: &Plan, would_stop: &HashMap<usize, Halt>, look: &mut Look<'_>) -> Self {
        let mut view = Self::default();
        let ends = Ends::of(plan, would_stop);
        for (at, group) in in_groups(plan) {
            match would_stop.get(&at) {
                // It stays the file that it is.
                _ if plan.ops[at].shares() => {}
                None => view.op(plan, at, group, &ends, look),
                Some(halt) => view.stopped(&plan.ops[at], halt.reason, &halt.detail),
            }
        }
        view.refusals(plan, look);
        view
    }

    /// Returns the fate of the file that is at `at` now.
    #[must_use]
    pub fn fate(&self, at: &Place, now: &Stat) -> Fate<'_> {
        if let Some(moving) = self.moving.get(at) {
            let replacement = &self.replacements[moving.at];
            if replacement.goes(now) {
                return Fate::Replaced(replacement, moving.to);
            }
            replacement.outdate();
            // If a run on one branch has done the op meanwhile, the name is already a name of the master.
            if now.id != replacement.master_known.id {
                return Fate::Changed(replacement);
            }
        }
        if let Some(ops) = self.masters.get(&now.id) {
            return Fate::Master(&self.replacements[ops[0]].known_as);
        }
        let by_inode = self.refused_inodes.get(&now.id);
        match by_inode.or_else(|| self.refused_paths.get(&at.path)) {
            Some(refused) => Fate::Refused(&self.refused[*refused]),
            None => Fate::Kept,
        }
    }

    /// Returns the inode that a listed name will lead to; `None` if the name will lead to the same inode as now.
    #[must_use]
    pub fn successor(&self, at: &Place, now: InodeId) -> Option<InodeId> {
        let moving = self.moving.get(at)?;
        let replacement = &self.replacements[moving.at];
        let as_planned = replacement.duplicate_known.id == now;
        as_planned.then_some(replacement.master_known.id)
    }

    /// The replacements whose names have yet to become names of an inode.
    pub fn giving(&self, id: InodeId) -> impl Iterator<Item = &Replacement> {
        let ops = self.masters.get(&id).into_iter().flatten();
        ops.map(|at| &self.replacements[*at]).filter(|r| !r.outdated.load(Ordering::Relaxed))
    }

    /// How many names an inode will have; the inode has `nlink` names now.
    #[must_use]
    pub fn links(&self, id: InodeId, nlink: u64) -> u64 {
        nlink + self.giving(id).map(|r| r.names).sum::<u64>()
    }

    /// The branches on which the plan creates a directory.
    #[must_use]
    pub fn new_on(&self, dir: &RelPath) -> &[BranchIdx] {
        self.new_dirs.get(dir).map_or(&[], Vec::as_slice)
    }

    /// How many files will be replaced.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.replacements.len() as u64
    }

    /// How many bytes become free.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.replacements.iter().map(|r| r.bytes).sum()
    }

    fn op(&mut self, plan: &Plan, at: usize, group: &[Place], ends: &Ends, look: &mut Look<'_>) {
        let op = &plan.ops[at];
        let last = &plan.ops[ends.end(plan, at)];
        // If hidden copies are merged, an op can concern names that the master has only after the op before.
        let own = op.names.iter().map(|n| Place::new(n.from, n.path.clone()));
        let own = std::iter::once(op.duplicate.clone()).chain(own);
        let masters = std::iter::once(&last.master).chain(group).cloned();
        let duplicate = whereabouts(own, op.duplicate_id, look);
        let (Some(duplicate), Some(master)) =
            (duplicate, whereabouts(masters, last.master_id, look))
        else {
            return self.stopped(op, Reason::Changed, "");
        };
        let at_view = self.replacements.len();
        // A clone looks as the duplicate does now, and is no name of the kept copy.
        let master = if op.reflinks() { duplicate.clone() } else { master };
        if !op.reflinks() {
            self.masters.entry(op.master_id).or_default().push(at_view);
        }
        for name in &op.names {
            let to = ends.branch(plan, at, &name.path).unwrap_or(name.to);
            let moving = Moving { at: at_view, to };
            self.moving.insert(Place::new(name.from, name.path.clone()), moving);
        }
        for dir in &op.dirs {
            let branches = self.new_dirs.entry(dir.path.clone()).or_default();
            if !branches.contains(&dir.to) {
                branches.push(dir.to);
                branches.sort_unstable();
            }
        }
        // At a path where a hidden copy is merged, the master already has the name.
        let given = op.names.iter().filter(|n| n.found != Found::Master);
        self.replacements.push(Replacement {
            kind: op.kind,
            master: master.0,
            known_as: last.master.path.clone(),
            duplicate: duplicate.0,
            bytes: op.bytes,
            names: given.count() as u64,
            master_known: Known::of(&master.1),
            duplicate_known: Known::of(&duplicate.1),
            outdated: AtomicBool::new(false),
        });
    }

    fn stopped(&mut self, op: &Op, reason: Reason, detail: &str) {
        self.refused_inodes.insert(op.duplicate_id, self.refused.len());
        self.refused.push(Refused {
            reason,
            master: Some(op.master.path.clone()),
            detail: detail.to_owned(),
            bytes: op.bytes,
        });
    }

    /// Adds the refusals. A refusal names one path, but concerns every name of the inode at that path. If the refused
    /// group has no master, the refusal concerns the whole group.
    fn refusals(&mut self, plan: &Plan, look: &mut Look<'_>) {
        let mut by_path: HashMap<&[u8], usize> = HashMap::new();
        for refusal in &plan.refusals {
            by_path.entry(&refusal.path).or_insert(self.refused.len());
            self.refused.push(refused(refusal));
        }
        let mut in_groups: HashSet<&[u8]> = HashSet::new();
        for group in &plan.groups {
            let index = |place: &Place| by_path.get(place.path.as_bytes()).copied();
            let whole = group
                .paths
                .iter()
                .filter_map(index)
                .find(|at| self.refused[*at].reason == Reason::NoPrimary);
            for place in &group.paths {
                if let Some(at) = index(place).or(whole)
                    && let Some(now) = look(place)
                {
                    self.refused_inodes.entry(now.id).or_insert(at);
                    in_groups.insert(place.path.as_bytes());
                }
            }
        }
        for (path, at) in by_path {
            if !in_groups.contains(path)
                && let Ok(path) = RelPath::new(path)
            {
                self.refused_paths.insert(path, at);
            }
        }
    }
}

/// Finds the op that takes over the names from another op: the copy that a hidden copy is merged into can itself be a
/// duplicate in a later op.
#[derive(Debug)]
struct Ends(HashMap<InodeId, usize>);

impl Ends {
    fn of(plan: &Plan, would_stop: &HashMap<usize, Halt>) -> Self {
        let ops = plan.ops.iter().enumerate();
        let doable = ops.filter(|(at, op)| !op.shares() && !would_stop.contains_key(at));
        Self(doable.map(|(at, op)| (op.duplicate_id, at)).collect())
    }

    fn next(&self, plan: &Plan, at: usize) -> Option<usize> {
        // Only a later op takes over, so no chain of ops leads back.
        let next = self.0.get(&plan.ops[at].master_id).copied();
        next.filter(|next| *next > at)
    }

    /// The op whose master has the names of op `at` in the end.
    fn end(&self, plan: &Plan, at: usize) -> usize {
        std::iter::successors(Some(at), |at| self.next(plan, *at)).last().unwrap_or(at)
    }

    /// The branch a name of op `at` is on in the end.
    fn branch(&self, plan: &Plan, at: usize, path: &RelPath) -> Option<BranchIdx> {
        let names = &plan.ops[self.end(plan, at)].names;
        names.iter().find(|n| n.path == *path).map(|n| n.to)
    }
}

/// Every op with the names of its group.
fn in_groups(plan: &Plan) -> Vec<(usize, &[Place])> {
    let mut of_op: Vec<(usize, &[Place])> = (0..plan.ops.len()).map(|at| (at, &[][..])).collect();
    for group in &plan.groups {
        for (_, paths) in of_op.get_mut(group.ops.clone()).into_iter().flatten() {
            *paths = &group.paths;
        }
    }
    of_op
}

/// The first of `places` where an inode is now.
fn whereabouts(
    mut places: impl Iterator<Item = Place>,
    id: InodeId,
    look: &mut Look<'_>,
) -> Option<(Place, Stat)> {
    places.find_map(|place| {
        let now = look(&place).filter(|now| now.id == id)?;
        Some((place, now))
    })
}

fn refused(refusal: &Refusal) -> Refused {
    Refused {
        reason: refusal.reason,
        master: refusal.master.clone(),
        detail: refusal.detail.clone(),
        bytes: refusal.bytes,
    }
}

#[cfg(test)]
mod tests;
