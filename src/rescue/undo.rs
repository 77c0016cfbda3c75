//! Plans the undo of a run: an op for each done op that left something as the run made it, a refusal for each other op.
//! Looks at branches, changes nothing.
//!
//! Undoing an op makes the removed file again. Undoing *an undo* does what a run does: the file that came back is the
//! duplicate once more.

use crate::journal::Intent;
use crate::plan::OpFile;
use crate::plan::op::NO_INODE;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::execute::Halt;
use crate::fs::{FsError, Look, Place, Stat};
use crate::journal::{BranchRecord, DoneOp, Finished, NameIntent, RecordedFile};
use crate::plan::Refusal;
use crate::plan::refusal::Reason;
use crate::plan::{Cloning, Op, OpName, Task, Undoing};
use crate::plan::{Found, OpKind};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, BranchMode};

/// The ops to do, newest first, and the refusals.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UndoPlan {
    /// The ops.
    pub ops: Vec<Op>,
    /// The ops that cannot be undone, or no longer need to be undone.
    pub refusals: Vec<Refusal>,
}

impl UndoPlan {
    /// Returns the bytes that the copies need, by the branch they are made on. An op that only links needs no bytes.
    #[must_use]
    pub fn needs(&self) -> BTreeMap<BranchIdx, u64> {
        let mut needs = BTreeMap::new();
        for op in self.ops.iter().filter(|op| op.undo().is_some()) {
            *needs.entry(op.master.branch).or_default() += op.bytes;
        }
        needs
    }

    /// Whether nothing can be taken back, and no later try will change that: files were deleted, moved, edited or damaged
    /// since.
    #[must_use]
    pub fn stays_so(&self) -> bool {
        let for_good = |refusal: &Refusal| {
            matches!(
                refusal.reason,
                Reason::Gone
                    | Reason::Shadowed
                    | Reason::Merged
                    | Reason::ChangedSince
                    | Reason::Damaged
            )
        };
        self.ops.is_empty() && self.refusals.iter().all(for_good)
    }

    /// Refuses the ops that would write on a branch whose disk is mounted read-only.
    pub fn refuse_on(&mut self, branches: &[BranchRecord], read_only: impl Fn(BranchIdx) -> bool) {
        for op in std::mem::take(&mut self.ops) {
            let used = op.names.iter().flat_map(|name| [name.from, name.to]);
            let Some(at) = used.into_iter().find(|at| read_only(*at)) else {
                self.ops.push(op);
                continue;
            };
            let (path, disk) = (op.duplicate.path.as_bytes(), &branches[at.index()].path);
            let refusal = Refusal::of_path(Reason::DiskReadOnly, path, format!("{disk:?}"));
            self.refusals.push(refusal);
        }
    }
}

/// Ops whose names are looked up together.
const LOOKED_UP_AHEAD: usize = 4096;

/// Why an op is not undone.
struct Left(Reason, String);

impl From<FsError> for Left {
    fn from(error: FsError) -> Self {
        let halt = Halt::from(error);
        Self(halt.reason, halt.detail)
    }
}

/// Plans the undo of `finished`, on the pool whose branches are `branches`. If there are `paths`, plans only ops with a
/// name at or below one of `paths`.
pub fn plan<F: Look>(
    fs: &F,
    branches: &[BranchRecord],
    finished: &Finished,
    paths: &[RelPath],
) -> UndoPlan {
    let planner = UndoPlanner { fs, branches, finished, made: made(branches, finished) };
    let mut plan = UndoPlan::default();
    let wanted = |done: &&DoneOp| {
        let mut names = done.intent.names.iter();
        paths.is_empty() || names.any(|n| n.path.is_below_any(paths))
    };
    // Newest first: if a later op changed the result of an earlier op, the later op is undone before the earlier op.
    let wanted: Vec<&DoneOp> = finished.ops.iter().rev().filter(wanted).collect();
    for some in wanted.chunks(LOOKED_UP_AHEAD) {
        planner.look_ahead(some);
        for done in some {
            let planned = match done.undoes {
                None => planner.undo(done, &mut plan.refusals),
                Some(_) => planner.redo(done, &mut plan.refusals),
            };
            match planned {
                Ok(op) => plan.ops.push(op),
                Err(Left(reason, detail)) => plan.refusals.push(refusal(done, reason, detail)),
            }
        }
    }
    plan
}

fn refusal(done: &DoneOp, reason: Reason, detail: String) -> Refusal {
    Refusal::of_path(reason, done.intent.duplicate.path.as_bytes(), detail)
}

struct UndoPlanner<'p, F: Look> {
    fs: &'p F,
    branches: &'p [BranchRecord],
    finished: &'p Finished,
    made: HashSet<(BranchIdx, RelPath)>,
}

impl<F: Look> UndoPlanner<'_, F> {
    /// Lets all disks look up at the same time what the plan of `some` looks at, one name after the other.
    fn look_ahead(&self, some: &[&DoneOp]) {
        let branches = u16::try_from(self.branches.len()).unwrap_or(u16::MAX);
        let names = some.iter().flat_map(|done| &done.intent.names);
        let places = names
            .flat_map(|name| (0..branches).map(|at| Place::new(BranchIdx(at), name.path.clone())));
        self.fs.look_ahead(places.collect());
    }

    /// Returns the op that makes the removed file again.
    fn undo(&self, done: &DoneOp, refusals: &mut Vec<Refusal>) -> Result<Op, Left> {
        let intent = &done.intent;
        let names = self.names(done, |name| (name.to, name.from))?;
        let (names, stat) = self.still_there(done, &intent.master, names, refusals)?;
        if stat.size != intent.master.size || stat.mtime != intent.master.mtime {
            let why = "written to since it was linked".to_owned();
            return Err(Left(Reason::ChangedSince, why));
        }
        if self.finished.damaged.get(&intent.op).is_some_and(|found| stat.ctime <= *found) {
            let why = format!("an earlier undo found it so; `undo {}` tries again", intent.op.run);
            return Err(Left(Reason::Damaged, why));
        }
        let first = &names[0];
        let (back, stays) =
            (Place::new(first.to, first.path.clone()), Place::new(first.from, first.path.clone()));
        let mut undo = self.file_of(intent, &names);
        if done.cloned.is_some() {
            if stat.nlink > names.len() as u64 {
                let why = "it has other names since: they would keep the clone".to_owned();
                return Err(Left(Reason::ChangedSince, why));
            }
            self.take_after_clone(&mut undo, &stays, &stat)?;
        }
        let planned = Op::planned(
            intent.kind,
            OpFile { at: back, id: NO_INODE },
            OpFile { at: stays, id: stat.id },
            stat.size,
            intent.bytes,
            names,
        );
        Ok(planned.making(undo))
    }

    /// Returns the file that an op of `intent` removed, which lost `names`.
    fn file_of(&self, removed: &Intent, names: &[OpName]) -> Undoing {
        Undoing {
            of: Some(removed.op),
            source: None,
            of_clone: false,
            metadata: removed.metadata.clone(),
            atime: removed.atime,
            flags: removed.flags,
            mtime: removed.duplicate.mtime,
            blake3: removed.blake3,
            // Fewer blocks than bytes: the file had holes.
            sparse: removed.bytes < removed.duplicate.size,
            source_mtime: removed.master.mtime,
            emptied: self.made_above(names),
        }
    }

    /// A clone is a file of its own: the file that comes back has the owner, mode, ACL, attributes and times that the clone
    /// has by now.
    fn take_after_clone(&self, undo: &mut Undoing, at: &Place, clone: &Stat) -> Result<(), Left> {
        let file = self.fs.open(at)?;
        if self.fs.stat_open(&file)?.id != clone.id {
            return Err(Left(Reason::Gone, "replaced a moment ago".to_owned()));
        }
        undo.metadata = self.fs.metadata(&file)?;
        (undo.atime, undo.mtime) = (clone.atime, clone.mtime);
        undo.flags = self.fs.flags(&file).or(undo.flags);
        undo.of_clone = true;
        Ok(())
    }

    /// Returns the op that links again what an undo took apart, or clones again.
    fn redo(&self, done: &DoneOp, refusals: &mut Vec<Refusal>) -> Result<Op, Left> {
        let known = done.undoes.and_then(|of| self.finished.undone.get(&of));
        let first = known.ok_or_else(|| {
            let why = "the journal no longer has the file: a new run finds the copies again";
            Left(Reason::Gone, why.to_owned())
        })?;
        let kept = first.cloned.as_ref().unwrap_or(&first.intent.master);
        let at = Place::new(self.branch(first, kept.branch)?, kept.path.clone());
        let master = self.expect(&at, kept)?;
        let names = self.names(done, |name| (name.to, name.from))?;
        let (names, stat) = self.still_there(done, &done.intent.master, names, refusals)?;
        let duplicate = Place::new(names[0].from, names[0].path.clone());
        let planned = Op::planned(
            done.intent.kind,
            OpFile { at, id: master.id },
            OpFile { at: duplicate, id: stat.id },
            stat.size,
            stat.blocks * 512,
            names,
        );
        let planned = match first.cloned {
            Some(_) => Op { task: Task::Reflink(Cloning::default()), ..planned },
            None => planned,
        };
        Ok(planned.relinking(done.intent.op))
    }

    /// Returns the names of an op, where they are now, with the branches they leave and get in the direction of `way`.
    fn names(
        &self,
        done: &DoneOp,
        way: impl Fn(&NameIntent) -> (BranchIdx, BranchIdx),
    ) -> Result<Vec<OpName>, Left> {
        let local = done.intent.kind == OpKind::Local;
        let mut names = Vec::new();
        for name in &done.intent.names {
            let (from, to) = way(name);
            let (from, to) = (self.branch(done, from)?, self.branch(done, to)?);
            for branch in [from, to] {
                if self.branches[branch.index()].mode == BranchMode::Ro {
                    let path = &self.branches[branch.index()].path;
                    return Err(Left(Reason::ReadOnly, format!("{path:?}")));
                }
            }
            let found = if local { Found::Duplicate } else { Found::Absent };
            if name.found == Found::Master {
                return Err(Left(Reason::Merged, String::new()));
            }
            names.push(OpName { path: name.path.clone(), from, to, found });
        }
        Ok(names)
    }

    /// Returns where a recorded branch is now.
    fn branch(&self, done: &DoneOp, recorded: BranchIdx) -> Result<BranchIdx, Left> {
        let record = &done.run.branches[recorded.index()];
        let at = self.branches.iter().position(|now| now.is_same(record));
        at.and_then(|at| u16::try_from(at).ok()).map(BranchIdx).ok_or_else(|| {
            let why = format!("{:?} is not there, or another filesystem now", record.path);
            Left(Reason::BranchFailed, why)
        })
    }

    /// Returns the `names` that still lead to `copy` and are on no other branch, and the state of the file now. A name
    /// that was deleted stays deleted, and a file that another program put at a name stays too.
    fn still_there(
        &self,
        done: &DoneOp,
        copy: &RecordedFile,
        names: Vec<OpName>,
        refusals: &mut Vec<Refusal>,
    ) -> Result<(Vec<OpName>, Stat), Left> {
        let (mut kept, mut stat) = (Vec::new(), None);
        let mut gone = Vec::new();
        for name in names {
            let found = self.expect(&Place::new(name.from, name.path.clone()), copy);
            let elsewhere = self.elsewhere(&name)?;
            match (found, elsewhere) {
                (Ok(found), None) => {
                    stat = Some(found);
                    kept.push(name);
                }
                (Ok(_), Some(branch)) => {
                    let root = &self.branches[branch.index()].path;
                    gone.push((name.path, Left(Reason::Shadowed, format!("{root:?} has it too"))));
                }
                // An error does not mean that the name is gone: a link set comes back whole.
                (Err(left), _) if left.0 != Reason::Gone => return Err(left),
                (Err(left), _) => gone.push((name.path, left)),
            }
        }
        let Some(stat) = stat else {
            let first = gone.into_iter().next();
            let left = first.map(|(_, left)| left);
            return Err(left.unwrap_or_else(|| Left(Reason::Gone, String::new())));
        };
        for (path, Left(reason, detail)) in gone {
            refusals
                .push(Refusal { path: path.as_bytes().to_vec(), ..refusal(done, reason, detail) });
        }
        Ok((kept, stat))
    }

    /// Returns the file at `place`, if that file is `copy`.
    fn expect(&self, place: &Place, copy: &RecordedFile) -> Result<Stat, Left> {
        let root = &self.branches[place.branch.index()].path;
        let Some(stat) = self.fs.stat(place)? else {
            return Err(Left(Reason::Gone, format!("no longer on {root:?}")));
        };
        let born = copy.id.btime.is_none_or(|born| stat.btime == Some(born));
        if stat.id.ino != copy.id.ino || !born {
            return Err(Left(Reason::Gone, format!("another file on {root:?}")));
        }
        Ok(stat)
    }

    /// Returns a branch that has the path, and should not.
    fn elsewhere(&self, name: &OpName) -> Result<Option<BranchIdx>, Left> {
        for at in 0..self.branches.len() {
            let branch = BranchIdx(u16::try_from(at).unwrap_or(u16::MAX));
            let there = Place::new(branch, name.path.clone());
            if branch != name.from && self.fs.stat(&there)?.is_some() {
                return Ok(Some(branch));
            }
        }
        Ok(None)
    }

    /// Returns the directories above `names`, on the branch that the names leave, that a run has made; innermost first.
    fn made_above(&self, names: &[OpName]) -> Vec<RelPath> {
        let mut above = BTreeSet::new();
        for name in names {
            let mut next = name.path.parent();
            while let Some(dir) = next {
                next = dir.parent();
                if self.made.contains(&(name.from, dir.clone())) {
                    above.insert(dir);
                }
            }
        }
        let mut above: Vec<RelPath> = above.into_iter().collect();
        above.sort_by_key(|dir| std::cmp::Reverse(dir.as_bytes().len()));
        above
    }
}

/// Returns the directories that runs have made, on the branches as they are now.
fn made(branches: &[BranchRecord], finished: &Finished) -> HashSet<(BranchIdx, RelPath)> {
    let mut made = HashSet::new();
    for (run, dir) in &finished.dirs {
        let record = run.branches.get(dir.to.index());
        let now = record.and_then(|record| branches.iter().position(|now| now.is_same(record)));
        if let Some(now) = now.and_then(|now| u16::try_from(now).ok()) {
            made.insert((BranchIdx(now), dir.path.clone()));
        }
    }
    made
}
