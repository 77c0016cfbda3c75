//! What a plan makes of each file: plan in, fates out. Pure: what is on the branches is handed in.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::execute::Halt;
use crate::fs::{InodeId, Place, Stat, Timestamp};
use crate::journal::OpKind;
use crate::plan::{Plan, Refusal};
use crate::pool::BranchIdx;
use crate::refusal::Reason;
use crate::relpath::RelPath;

/// What is at a place now, as far as it can be looked at.
pub type Look<'l> = dyn FnMut(&Place) -> Option<Stat> + 'l;

/// A file as the plan knew it: one that differs is not what was planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    id: InodeId,
    size: u64,
    mtime: Timestamp,
}

impl Known {
    fn of(stat: &Stat) -> Self {
        Self {
            id: stat.id,
            size: stat.size,
            mtime: stat.mtime,
        }
    }
}

/// A duplicate inode that will be gone, its names the master's.
#[derive(Debug)]
pub struct Replacement {
    /// Cross or local.
    pub kind: OpKind,
    /// A name of the master.
    pub master: Place,
    /// A name of the duplicate.
    pub duplicate: Place,
    /// Bytes that become free.
    pub bytes: u64,
    names: u64,
    master_known: Known,
    duplicate_known: Known,
    /// Seen to be no longer what was planned: its names count no more.
    outdated: AtomicBool,
}

impl Replacement {
    /// Whether `now` still is the master that was planned with.
    #[must_use]
    pub fn stays(&self, now: &Stat) -> bool {
        Known::of(now) == self.master_known
    }

    /// Whether `now` still is the duplicate that was planned for.
    #[must_use]
    pub fn goes(&self, now: &Stat) -> bool {
        Known::of(now) == self.duplicate_known
    }

    /// Takes its names out of the counts: one of the files has changed.
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
}

/// What becomes of one name.
#[derive(Debug, Clone, Copy)]
pub enum Fate<'v> {
    /// Nothing was planned for it.
    Kept,
    /// It stays, and other names become names of it; it is known by this one.
    Master(&'v RelPath),
    /// It becomes a name of the master, on this branch.
    Replaced(&'v Replacement, BranchIdx),
    /// It was to be replaced, and has changed since the plan was made.
    Changed(&'v Replacement),
    /// It is left alone.
    Refused(&'v Refused),
}

#[derive(Debug)]
struct Moving {
    at: usize,
    from: BranchIdx,
    to: BranchIdx,
}

/// What a plan makes of the pool.
#[derive(Debug, Default)]
pub struct View {
    replacements: Vec<Replacement>,
    moving: HashMap<RelPath, Moving>,
    masters: HashMap<InodeId, Vec<usize>>,
    refused: Vec<Refused>,
    refused_inodes: HashMap<InodeId, usize>,
    refused_paths: HashMap<RelPath, usize>,
    new_dirs: HashMap<RelPath, Vec<BranchIdx>>,
}

impl View {
    /// The view of `plan`; `undoable` are ops that would stop for a reason found since, by their index.
    #[must_use]
    pub fn of(plan: &Plan, undoable: &HashMap<usize, Halt>, look: &mut Look<'_>) -> Self {
        let mut view = Self::default();
        for at in 0..plan.ops.len() {
            view.op(plan, at, undoable.get(&at), look);
        }
        view.refusals(plan, look);
        view
    }

    /// What becomes of the file that is at `at` now.
    #[must_use]
    pub fn fate(&self, at: &Place, now: &Stat) -> Fate<'_> {
        if let Some(moving) = self.moving.get(&at.path) {
            let replacement = &self.replacements[moving.at];
            if moving.from == at.branch && replacement.goes(now) {
                return Fate::Replaced(replacement, moving.to);
            }
            replacement.outdate();
            // A run has done it meanwhile: it is a name of the master already.
            if now.id != replacement.master_known.id {
                return Fate::Changed(replacement);
            }
        }
        if let Some(ops) = self.masters.get(&now.id) {
            return Fate::Master(&self.replacements[ops[0]].master.path);
        }
        let by_inode = self.refused_inodes.get(&now.id);
        match by_inode.or_else(|| self.refused_paths.get(&at.path)) {
            Some(refused) => Fate::Refused(&self.refused[*refused]),
            None => Fate::Kept,
        }
    }

    /// The inode that a name listed by `branch` will lead to, where that is another one than now.
    #[must_use]
    pub fn successor(&self, branch: BranchIdx, path: &RelPath, now: InodeId) -> Option<InodeId> {
        let moving = self.moving.get(path)?;
        let replacement = &self.replacements[moving.at];
        let as_planned = moving.from == branch && replacement.duplicate_known.id == now;
        as_planned.then_some(replacement.master_known.id)
    }

    /// The replacements that still are to give their names to an inode.
    pub fn giving(&self, id: InodeId) -> impl Iterator<Item = &Replacement> {
        let ops = self.masters.get(&id).into_iter().flatten();
        ops.map(|at| &self.replacements[*at])
            .filter(|r| !r.outdated.load(Ordering::Relaxed))
    }

    /// How many names an inode will have that has `nlink` now.
    #[must_use]
    pub fn links(&self, id: InodeId, nlink: u64) -> u64 {
        nlink + self.giving(id).map(|r| r.names).sum::<u64>()
    }

    /// The branches that will have a directory they do not have now.
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

    fn op(&mut self, plan: &Plan, at: usize, halt: Option<&Halt>, look: &mut Look<'_>) {
        let op = &plan.ops[at];
        let (master, duplicate) = (look(&op.master), look(&op.duplicate));
        let known = master
            .filter(|now| now.id == op.master_id)
            .zip(duplicate.filter(|now| now.id == op.duplicate_id));
        let (None, Some((master, duplicate))) = (halt, known) else {
            let refused = Refused {
                reason: halt.map_or(Reason::Changed, |halt| halt.reason),
                master: Some(op.master.path.clone()),
                detail: halt.map_or_else(String::new, |halt| halt.detail.clone()),
            };
            self.refused_inodes
                .insert(op.duplicate_id, self.refused.len());
            self.refused.push(refused);
            return;
        };
        let at = self.replacements.len();
        self.masters.entry(op.master_id).or_default().push(at);
        for name in &op.names {
            let (from, to) = (name.from, name.to);
            self.moving
                .insert(name.path.clone(), Moving { at, from, to });
        }
        for dir in &op.dirs {
            let branches = self.new_dirs.entry(dir.path.clone()).or_default();
            if !branches.contains(&dir.to) {
                branches.push(dir.to);
                branches.sort_unstable();
            }
        }
        self.replacements.push(Replacement {
            kind: op.kind,
            master: op.master.clone(),
            duplicate: op.duplicate.clone(),
            bytes: op.bytes,
            names: op.names.len() as u64,
            master_known: Known::of(&master),
            duplicate_known: Known::of(&duplicate),
            outdated: AtomicBool::new(false),
        });
    }

    /// A refusal names one path: it is about every name of that inode, and of the whole group where that has no
    /// master.
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

fn refused(refusal: &Refusal) -> Refused {
    Refused {
        reason: refusal.reason,
        master: refusal.master.clone(),
        detail: refusal.detail.clone(),
    }
}

#[cfg(test)]
mod tests;
