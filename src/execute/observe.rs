//! The state of each name of an op right now. Execution and recovery decide from this state, never from memory.

use super::Executor;
use super::begun::Subject;
use super::halt::Halt;
use crate::fs::{Change, FsError, Place, Stat};
use crate::journal::Store;
use crate::plan::op::entry;
use crate::plan::refusal::Reason;
use crate::plan::{Found, OpKind};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// Where the duplicate is found, for one of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DuplicateAt {
    /// At its own name.
    Own,
    /// At its retired name.
    Retired,
    /// At both: between the link and the unlink of a filesystem without `RENAME_NOREPLACE`.
    Both,
    /// At neither.
    Nowhere,
}

/// The entry found where the replacement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetIs {
    /// Nothing.
    Absent,
    /// The master: the replacement is in place.
    Master,
    /// The duplicate (local, not yet replaced).
    Duplicate,
    /// A file of another program.
    Other,
}

/// One name of an op on every branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) duplicate: DuplicateAt,
    pub(crate) target: TargetIs,
    /// The duplicate's own name holds another file (cross).
    pub(crate) own_taken: bool,
    /// A branch that is neither the duplicate's nor the target's has the relpath too.
    pub(crate) elsewhere: Option<BranchIdx>,
    /// The master had this name before the op began, and no longer has it.
    pub(crate) master_gone: bool,
    /// The two directories of the name no longer have the same path.
    pub(crate) apart: bool,
}

impl Observed {
    /// Whether the duplicate has left this name for good: retired after the replacement was durable at the name, or
    /// unlinked. A client made the entry at the name since, and this program does not undo it.
    pub(super) fn left_behind(self, op: &impl Subject) -> bool {
        self.duplicate == DuplicateAt::Retired
            || (op.is_retired() && self.duplicate == DuplicateAt::Nowhere)
    }

    /// What another program did, as the rest of a sentence about the path.
    fn change(self) -> &'static str {
        match self {
            Self { apart: true, .. } => "was renamed meanwhile",
            Self { elsewhere: Some(_), .. } => "was made on another disk meanwhile",
            Self { own_taken: true, .. } => "was replaced by another file meanwhile",
            _ if self.target == TargetIs::Other => "was replaced by another file meanwhile",
            _ => "was removed or renamed meanwhile",
        }
    }

    /// Whether no other program is concerned: publishing or retiring hides nothing and brings nothing back.
    fn undisturbed(self) -> bool {
        self.elsewhere.is_none()
            && !self.own_taken
            && !self.master_gone
            && !self.apart
            && self.target != TargetIs::Other
    }

    /// Whether the replacement may be published, or is published already.
    pub(crate) fn may_publish(self) -> bool {
        let pair = match self.duplicate {
            DuplicateAt::Own => true,
            DuplicateAt::Both => self.target == TargetIs::Master,
            DuplicateAt::Retired | DuplicateAt::Nowhere => false,
        };
        self.undisturbed() && pair
    }

    /// Whether the duplicate may be retired, or is retired already.
    pub(crate) fn may_retire(self) -> bool {
        let there = matches!(self.duplicate, DuplicateAt::Own | DuplicateAt::Both);
        self.undisturbed() && there && self.target == TargetIs::Master
    }
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Looks at name `k` of `op` on every branch.
    pub(super) fn observe(&self, op: &impl Subject, k: usize) -> Result<Observed, FsError> {
        let plan = op.plan();
        let (own, target) = (plan.own(k), plan.target(k));
        let at_own = self.fs.stat(&own)?;
        let at_target = if own == target { at_own.clone() } else { self.fs.stat(&target)? };
        let is_duplicate = |stat: &Option<Stat>| stat.as_ref().is_some_and(|s| op.is_duplicate(s));
        let is_master = |stat: &Option<Stat>| stat.as_ref().is_some_and(|s| op.is_master(s));
        let retired = match op.number() {
            Some(id) => {
                is_duplicate(&self.fs.stat(&plan.retired_place(self.journal.id(), id, k))?)
            }
            None => false,
        };
        let at_own_name = is_duplicate(&at_own);
        let (mut path, mut apart) = self.path_now(&own, &target)?;
        let masters_own = plan.names[k].found == Found::Master;
        let (mut elsewhere, mut before) = (None, None);
        loop {
            for branch in self.all_branches() {
                // Under a name that the master had all along, a copy is as hidden afterwards as it was before.
                let hidden = masters_own && branch > target.branch;
                let third = branch != own.branch && branch != target.branch;
                if third && !hidden && elsewhere.is_none() {
                    // By the path that clients use: another op of the batch may have pinned a directory that had this
                    // path before a client renamed it.
                    let there = self.fs.stat_unpinned(&Place::new(branch, path.clone()))?;
                    elsewhere = there.map(|_| branch);
                }
            }
            if elsewhere.is_none() {
                break;
            }
            // A client may have renamed the directory and made a new file at the old path in between. Or it put another
            // directory at the path, and back again: only a file that is seen twice is at this path.
            let (now, apart_now) = self.path_now(&own, &target)?;
            apart = apart_now;
            let seen = elsewhere.filter(|_| now == path);
            if seen.is_some() && seen == before {
                break;
            }
            (path, elsewhere, before) = (now, None, seen);
        }
        Ok(Observed {
            duplicate: match (at_own_name, retired) {
                (true, true) => DuplicateAt::Both,
                (true, false) => DuplicateAt::Own,
                (false, true) => DuplicateAt::Retired,
                (false, false) => DuplicateAt::Nowhere,
            },
            target: match &at_target {
                None => TargetIs::Absent,
                Some(_) if is_master(&at_target) => TargetIs::Master,
                Some(_) if is_duplicate(&at_target) => TargetIs::Duplicate,
                Some(_) => TargetIs::Other,
            },
            own_taken: plan.kind == OpKind::Cross
                && at_own.is_some()
                && !at_own_name
                && !is_master(&at_own),
            elsewhere,
            master_gone: masters_own && !is_master(&at_target),
            apart,
        })
    }

    /// Returns the path that a name of the op has now, and whether its two directories have different paths. They
    /// differ after a rename of the directory on one branch, or after a rename that mergerfs has done on only one
    /// branch so far.
    fn path_now(&self, own: &Place, target: &Place) -> Result<(RelPath, bool), FsError> {
        let (own_dir, target_dir) = (own.dir(), target.dir());
        let here = self.fs.path_of_dir(&own_dir)?;
        let there =
            if own_dir == target_dir { here.clone() } else { self.fs.path_of_dir(&target_dir)? };
        let apart = matches!((&here, &there), (Some(here), Some(there)) if here != there);
        let path = match here {
            Some(dir) if dir != own_dir.path => entry(&dir, own.path.file_name()),
            _ => own.path.clone(),
        };
        Ok((path, apart))
    }

    /// Looks at every name, and stops at the first that is not as `expected`.
    ///
    /// Skips names that the duplicate has left.
    pub(super) fn observe_all(
        &self,
        op: &impl Subject,
        expected: fn(Observed) -> bool,
    ) -> Result<Vec<Observed>, Halt> {
        let mut all = Vec::with_capacity(op.plan().names.len());
        for k in 0..op.plan().names.len() {
            let observed = self.observe(op, k)?;
            if !observed.left_behind(op) && !expected(observed) {
                tracing::debug!(?observed, "not as expected");
                let path = op.plan().names[k].path.as_path();
                let detail = format!("\"{}\" {}", path.display(), observed.change());
                return Err(Halt::new(Reason::Changed, detail));
            }
            all.push(observed);
        }
        Ok(all)
    }
}
