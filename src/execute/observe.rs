//! What each name of an op is right now. Execution and recovery decide from this, never from what was done before.

use super::Executor;
use super::halt::Halt;
use super::op::Op;
use crate::fs::{Fs, FsError, Place};
use crate::journal::{Found, OpKind, Store};
use crate::pool::BranchIdx;
use crate::refusal::Reason;

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

/// What is found where the replacement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetIs {
    /// Nothing.
    Absent,
    /// The master: the replacement is in place.
    Master,
    /// The duplicate (local, not yet replaced).
    Duplicate,
    /// A file of somebody else.
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
    /// The master had this name before the op began, and has it no more.
    pub(crate) unmastered: bool,
}

impl Observed {
    /// Whether the duplicate has left this name for good: retired, after the replacement was durable at it, or past
    /// its unlink. What is at the name since is a client's doing and not ours to undo.
    pub(crate) fn left_behind(self, op: &Op) -> bool {
        self.duplicate == DuplicateAt::Retired
            || (op.retired && self.duplicate == DuplicateAt::Nowhere)
    }

    /// Whether nobody but us is concerned: publishing or retiring hides nothing and brings nothing back.
    fn undisturbed(self) -> bool {
        self.elsewhere.is_none()
            && !self.own_taken
            && !self.unmastered
            && self.target != TargetIs::Other
    }

    /// Whether the replacement may be published, or is.
    pub(crate) fn may_publish(self) -> bool {
        let pair = match self.duplicate {
            DuplicateAt::Own => true,
            DuplicateAt::Both => self.target == TargetIs::Master,
            DuplicateAt::Retired | DuplicateAt::Nowhere => false,
        };
        self.undisturbed() && pair
    }

    /// Whether the duplicate may be retired, or is.
    pub(crate) fn may_retire(self) -> bool {
        let there = matches!(self.duplicate, DuplicateAt::Own | DuplicateAt::Both);
        self.undisturbed() && there && self.target == TargetIs::Master
    }
}

impl<F: Fs, S: Store> Executor<'_, F, S> {
    /// Looks at name `k` of `op` on every branch.
    pub(crate) fn observe(&self, op: &Op, k: usize) -> Result<Observed, FsError> {
        let (own, target) = (op.own(k), op.target(k));
        let at_own = self.fs.stat(&own)?.map(|stat| stat.id);
        let at_target = if own == target {
            at_own
        } else {
            self.fs.stat(&target)?.map(|s| s.id)
        };
        let retired = op.id.is_some() && self.is(&op.retired_place(self.journal.id(), k), op)?;
        let at_own_name = at_own == Some(op.duplicate_id);
        let masters_own = op.names[k].found == Found::Master;
        let mut elsewhere = None;
        for branch in self.all_branches() {
            // Behind a name that the master had all along, a copy is as hidden afterwards as it was before.
            let hidden = masters_own && branch > target.branch;
            let third = branch != own.branch && branch != target.branch;
            if third && !hidden && elsewhere.is_none() {
                let there = self.fs.stat(&Place::new(branch, own.path.clone()))?;
                elsewhere = there.map(|_| branch);
            }
        }
        Ok(Observed {
            duplicate: match (at_own_name, retired) {
                (true, true) => DuplicateAt::Both,
                (true, false) => DuplicateAt::Own,
                (false, true) => DuplicateAt::Retired,
                (false, false) => DuplicateAt::Nowhere,
            },
            target: match at_target {
                None => TargetIs::Absent,
                Some(id) if id == op.master_id => TargetIs::Master,
                Some(id) if id == op.duplicate_id => TargetIs::Duplicate,
                Some(_) => TargetIs::Other,
            },
            own_taken: op.kind == OpKind::Cross
                && at_own.is_some_and(|id| id != op.duplicate_id && id != op.master_id),
            elsewhere,
            unmastered: masters_own && at_target != Some(op.master_id),
        })
    }

    /// Looks at every name, and stops at the first that is not as `expected`.
    ///
    /// Names the duplicate has left are not looked at.
    pub(super) fn observe_all(
        &self,
        op: &Op,
        expected: fn(Observed) -> bool,
    ) -> Result<Vec<Observed>, Halt> {
        let mut all = Vec::with_capacity(op.names.len());
        for k in 0..op.names.len() {
            let observed = self.observe(op, k)?;
            if !observed.left_behind(op) && !expected(observed) {
                let detail = format!("{:?} changed meanwhile: {observed:?}", op.names[k].path);
                return Err(Halt::new(Reason::Changed, detail));
            }
            all.push(observed);
        }
        Ok(all)
    }

    fn is(&self, place: &Place, op: &Op) -> Result<bool, FsError> {
        Ok(self
            .fs
            .stat(place)?
            .is_some_and(|stat| stat.id == op.duplicate_id))
    }
}
