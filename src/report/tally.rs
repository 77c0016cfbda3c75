//! The figures of a run. The figures add up: planned = done + busy + failed + left, and the sum contains each branch's
//! share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::state::{FileState, halt};
use crate::execute::Outcome;
use crate::plan::Op;
use crate::plan::refusal::{Reason, Weight};
use crate::plan::{Plan, Refusal};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// The effect of a run on one branch, with the keys of the JSON summary as field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BranchUse {
    /// Its root.
    #[serde(skip)]
    pub path: PathBuf,
    /// Bytes in use when the branch was examined last; `None` if the number is unknown.
    pub used: Option<u64>,
    /// Bytes free before the run; `None` if the number is unknown.
    pub before_free: Option<u64>,
    /// Bytes free after the run; `None` if the number is unknown.
    pub after_free: Option<u64>,
    /// Bytes of the inodes removed there.
    pub reclaimed: u64,
    /// Bytes of the inodes that the plan removes there.
    pub reclaimable: u64,
    /// Ops that remove an inode there.
    pub planned: u64,
    /// Ops that were done on the branch, with ops of earlier runs.
    pub done: u64,
    /// Those of them that earlier runs had begun: they are not planned.
    #[serde(skip)]
    pub recovered: u64,
    /// The bytes that these freed.
    #[serde(skip)]
    pub recovered_bytes: u64,
}

/// The space that one group frees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupUse {
    /// The copy that stays.
    pub master: RelPath,
    /// Size of one copy in bytes.
    pub size: u64,
    /// Copies that are replaced.
    pub ops: u64,
    /// Bytes that become free.
    pub bytes: u64,
}

/// How many of the largest groups are kept.
const LARGEST: usize = 20;

/// The figures, with the keys of the JSON summary as field names.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Groups of at least two names.
    pub groups: u64,
    /// Ops planned.
    pub planned: u64,
    /// Planned ops that let the duplicate share its blocks, and stay a file of its own.
    pub planned_sharing: u64,
    /// Planned ops in which a clone on the disk of the kept copy replaces the duplicate.
    pub planned_cloning: u64,
    /// Those planned ops whose duplicates links would have left, because owner, mode, ACL or attributes differ.
    pub planned_differing: u64,
    /// Bytes that these ops free.
    pub bytes_differing: u64,
    /// Planned ops whose duplicate was replaced, or shares its blocks.
    pub done: u64,
    /// Those of them whose duplicate shares its blocks.
    pub done_sharing: u64,
    /// Those of them whose duplicate a clone replaced.
    pub done_cloning: u64,
    /// Those of them that no undo takes back: merged copies.
    #[serde(skip)]
    pub done_for_good: u64,
    /// Planned ops that were not done because another process uses a file.
    pub busy: u64,
    /// Planned ops that were not done for another reason (conflicts and ops left open too).
    pub failed: u64,
    /// Failed and busy ops that were begun, and neither finished nor taken back.
    pub open: u64,
    /// Ops during which another program changed a file; both copies stay.
    pub conflicts: u64,
    /// Names that already shared their master's inode.
    pub already_linked: u64,
    /// Files that already shared all blocks with the copy that stays.
    pub already_shared: u64,
    /// Names and groups that were not planned.
    pub refused: u64,
    /// Refused groups without a member under a primary.
    pub no_primary: u64,
    /// Bytes that stay in use because of refusals, as far as the number is known.
    pub bytes_refused: u64,
    /// Files that a scan did not read to the end: no file that may be equal lies under a primary.
    pub without_primary: u64,
    /// Files that a scan did not read to the end: no file that may be equal lies below a directory that was named.
    pub without_directory: u64,
    /// Files that changed while they were scanned, and were left out.
    pub changed_in_scan: u64,
    /// Files in recycle bins, which a scan skips.
    pub in_recycle_bins: u64,
    /// Branches of the mode RO, which a scan skips.
    pub read_only_branches: u64,
    /// Refusals by reason.
    #[serde(skip)]
    pub refusals: BTreeMap<Reason, u64>,
    /// Bytes that stay in use, by reason.
    #[serde(skip)]
    pub refused_bytes: BTreeMap<Reason, u64>,
    /// Planned ops that were not done, by reason.
    #[serde(skip)]
    pub not_done: BTreeMap<Reason, u64>,
    /// Bytes the plan frees.
    pub bytes_reclaimable: u64,
    /// Bytes of the duplicates that snapshots or reflinks hold: they stay in use.
    pub bytes_shared: u64,
    /// Bytes that became free, including bytes freed by finished ops of earlier runs.
    pub bytes_reclaimed: u64,
    /// Bytes that became free by finished ops of earlier runs.
    pub bytes_recovered: u64,
    /// Ops of earlier runs that were finished.
    pub recovered_done: u64,
    /// Ops of earlier runs that were taken back.
    pub recovered_restored: u64,
    /// Ops of earlier runs that are still neither finished nor taken back.
    pub still_open: u64,
    /// The groups that free the most bytes, largest first.
    #[serde(skip)]
    pub largest: Vec<GroupUse>,
    /// Bytes of the inodes to be removed, and of the inodes removed, by branch.
    #[serde(skip)]
    shares: BTreeMap<BranchIdx, Share>,
    /// Free bytes before and after, by branch root.
    #[serde(skip)]
    free: BTreeMap<PathBuf, (Option<u64>, Option<u64>)>,
    /// Bytes in use, by branch root.
    #[serde(skip)]
    used: BTreeMap<PathBuf, u64>,
    /// How many seconds the run took.
    pub elapsed_s: f64,
    /// Bytes of the files that an undo has copied back.
    pub bytes_copied: u64,
    /// Set by the caller that runs the recovery: ops that an earlier run left open could not be settled (exit 4).
    #[serde(skip)]
    pub recovery_incomplete: bool,
}

/// The share of one branch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    reclaimable: u64,
    reclaimed: u64,
    planned: u64,
    done: u64,
    recovered: u64,
    recovered_bytes: u64,
}

impl Tally {
    /// The figures of a plan with its refusals, before any op is carried out.
    #[must_use]
    pub fn planned(plan: &Plan) -> Self {
        let mut tally = Self {
            groups: plan.groups.len() as u64,
            planned: plan.ops.len() as u64,
            planned_sharing: plan.ops.iter().filter(|op| op.shares()).count() as u64,
            planned_cloning: plan.ops.iter().filter(|op| op.reflinks()).count() as u64,
            planned_differing: plan.ops.iter().filter(|op| op.differs).count() as u64,
            bytes_differing: plan.ops.iter().filter(|op| op.differs).map(frees).sum(),
            already_linked: plan.already_linked,
            already_shared: plan.already_shared,
            without_primary: plan.left_out.by_primary,
            without_directory: plan.left_out.by_directory,
            changed_in_scan: plan.left_out.changed,
            in_recycle_bins: plan.left_out.in_bins,
            read_only_branches: plan.left_out.read_only_branches,
            bytes_reclaimable: plan.ops.iter().map(frees).sum(),
            bytes_shared: plan.ops.iter().map(|op| op.shared).sum(),
            largest: largest(plan),
            ..Self::default()
        };
        for op in &plan.ops {
            let share = tally.shares.entry(op.duplicate.branch).or_default();
            share.reclaimable += frees(op);
            share.planned += 1;
        }
        for refusal in &plan.refusals {
            tally.refused(refusal);
        }
        tally
    }

    /// Takes over the figures of the recovery before the run.
    pub fn add_recovered(&mut self, recovery: &Self) {
        self.recovered_done += recovery.recovered_done;
        self.recovered_restored += recovery.recovered_restored;
        self.still_open += recovery.still_open;
        self.recovery_incomplete |= recovery.recovery_incomplete;
        self.conflicts += recovery.conflicts;
        self.bytes_reclaimed += recovery.bytes_reclaimed;
        self.bytes_recovered += recovery.bytes_recovered;
        for (branch, share) in &recovery.shares {
            let own = self.shares.entry(*branch).or_default();
            own.reclaimed += share.reclaimed;
            own.done += share.done;
            own.recovered += share.recovered;
            own.recovered_bytes += share.recovered_bytes;
        }
    }

    /// Counts a refusal.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.refused += 1;
        self.no_primary += u64::from(refusal.reason == Reason::NoPrimary);
        *self.refusals.entry(refusal.reason).or_default() += 1;
        self.bytes_refused += refusal.bytes;
        *self.refused_bytes.entry(refusal.reason).or_default() += refusal.bytes;
    }

    /// Counts how an op ended. A `recovered` op was begun by an earlier run, and is counted apart.
    pub fn outcome(&mut self, op: &Op, outcome: &Outcome, recovered: bool) {
        match FileState::of(outcome, recovered) {
            FileState::Done => {
                self.done += 1;
                self.done_sharing += u64::from(op.shares());
                self.done_for_good += u64::from(op.merges_copies());
                self.done_cloning += u64::from(op.reflinks());
            }
            FileState::Busy => self.busy += 1,
            FileState::Failed => self.failed += 1,
            FileState::Recovered => self.recovered_done += 1,
            FileState::Restored => self.recovered_restored += 1,
            FileState::Open => self.still_open += 1,
            // An op that no other figure counts is counted as left; a conflict is counted below.
            FileState::Planned | FileState::Left | FileState::Conflict => {}
        }
        if op.undo().is_some() && matches!(outcome, Outcome::Done { .. }) {
            self.bytes_copied += op.bytes;
        }
        match outcome {
            Outcome::Done { reclaimed } => self.reclaimed(op, *reclaimed, recovered),
            Outcome::Open(_) => self.open += u64::from(!recovered),
            Outcome::Conflict(..) => self.conflicts += 1,
            Outcome::NotDone(_) => {}
        }
        if let Some(halt) = halt(outcome).filter(|_| !recovered) {
            *self.not_done.entry(halt.reason).or_default() += 1;
        }
        debug_assert!(recovered || self.done + self.busy + self.failed <= self.planned);
    }

    fn reclaimed(&mut self, op: &Op, bytes: u64, recovered: bool) {
        self.bytes_reclaimed += bytes;
        if recovered {
            self.bytes_recovered += bytes;
        }
        let share = self.shares.entry(op.duplicate.branch).or_default();
        share.reclaimed += bytes;
        share.done += 1;
        if recovered {
            share.recovered += 1;
            share.recovered_bytes += bytes;
        }
    }

    /// `free` bytes were free on the branch at `root` before the run.
    pub fn before(&mut self, root: &Path, free: u64) {
        self.free.entry(root.to_path_buf()).or_default().0 = Some(free);
    }

    /// `free` bytes were free on the branch at `root` after it.
    pub fn after(&mut self, root: &Path, free: u64) {
        self.free.entry(root.to_path_buf()).or_default().1 = Some(free);
    }

    /// `bytes` are in use on the branch at `root`.
    pub fn used(&mut self, root: &Path, bytes: u64) {
        self.used.insert(root.to_path_buf(), bytes);
    }

    /// The effect of the run on each branch of `pool`, in branch order.
    #[must_use]
    pub fn per_branch(&self, pool: &Pool) -> Vec<BranchUse> {
        let branch = |at: BranchIdx| {
            let path = &pool.branches[at.index()].path;
            let (before_free, after_free) = self.free.get(path).copied().unwrap_or_default();
            let share = self.shares.get(&at).copied().unwrap_or_default();
            BranchUse {
                path: path.clone(),
                used: self.used.get(path).copied(),
                before_free,
                after_free,
                reclaimed: share.reclaimed,
                reclaimable: share.reclaimable,
                planned: share.planned,
                done: share.done,
                recovered: share.recovered,
                recovered_bytes: share.recovered_bytes,
            }
        };
        pool.indices().map(branch).collect()
    }

    /// Planned ops that were not begun; in a dry run, all planned ops.
    #[must_use]
    pub fn left(&self) -> u64 {
        let ended = self.done + self.busy + self.failed;
        debug_assert!(ended <= self.planned, "{self:?}");
        self.planned.saturating_sub(ended)
    }

    /// The exit status for these figures: 0, 1, or 4 if the caller has marked the recovery as incomplete.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let failure = |reason: &Reason| reason.weight() == Weight::Failure;
        let failed = self.conflicts + self.open + self.still_open > 0
            || self.refusals.keys().any(failure)
            || self.not_done.keys().any(failure);
        match () {
            () if self.recovery_incomplete => 4,
            () => u8::from(failed),
        }
    }

    /// The exit status of an undo. A user who undoes a run wants to know which files stayed, even if a rule kept them.
    #[must_use]
    pub fn undo_exit_code(&self) -> u8 {
        let mut reasons = self.refusals.keys().chain(self.not_done.keys());
        let stayed = reasons.any(|reason| reason.fails_undo());
        self.exit_code().max(u8::from(stayed))
    }
}

/// The bytes that an op frees; an op that undoes another op frees nothing.
fn frees(op: &Op) -> u64 {
    if op.undo().is_some() { 0 } else { op.bytes }
}

/// The groups of `plan` that free the most bytes; of equal groups the first.
fn largest(plan: &Plan) -> Vec<GroupUse> {
    let with_ops = plan.groups.iter().filter(|group| !group.ops.is_empty());
    let mut groups: Vec<GroupUse> = with_ops
        .filter_map(|group| {
            let ops = plan.ops.get(group.ops.clone())?;
            Some(GroupUse {
                master: group.master.as_ref()?.path.clone(),
                size: group.size,
                ops: ops.len() as u64,
                bytes: ops.iter().map(|op| op.bytes).sum(),
            })
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.bytes));
    groups.truncate(LARGEST);
    groups
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::execute::Halt;

    fn refusal(reason: Reason) -> Refusal {
        Refusal { reason, path: b"a".to_vec(), master: None, detail: String::new(), bytes: 4096 }
    }

    fn not_done(reason: Reason) -> Outcome {
        Outcome::NotDone(Halt::new(reason, ""))
    }

    fn tally(ops: usize, outcomes: &[(Outcome, bool)]) -> Tally {
        let op = sample::cross("media/a", "dl/a", 4096);
        let plan = Plan { ops: vec![op.clone(); ops], ..Plan::default() };
        let mut tally = Tally::planned(&plan);
        for (outcome, recovered) in outcomes {
            tally.outcome(&op, outcome, *recovered);
        }
        tally
    }

    #[test]
    fn the_counts_add_up() {
        let done = Outcome::Done { reclaimed: 4096 };
        let open = Outcome::Open(Halt::new(Reason::Busy, ""));
        let conflict = Outcome::Conflict(Halt::new(Reason::Conflict, ""), Vec::new());
        let tally = tally(
            8,
            &[
                (done.clone(), true),
                (not_done(Reason::Busy), true),
                (open.clone(), true),
                (conflict.clone(), true),
                (done.clone(), false),
                (done, false),
                (not_done(Reason::Busy), false),
                (not_done(Reason::Differs), false),
                (not_done(Reason::Interrupted), false),
                (open, false),
                (conflict, false),
            ],
        );
        // One op was never reported, because the run stopped.
        assert_eq!((tally.planned, tally.done, tally.left()), (8, 2, 2));
        assert_eq!((tally.busy, tally.failed), (2, 2));
        assert_eq!(tally.done + tally.busy + tally.failed + tally.left(), 8);
        assert_eq!((tally.open, tally.conflicts, tally.still_open), (1, 2, 1));
        assert_eq!((tally.recovered_done, tally.recovered_restored), (1, 1));
        assert_eq!((tally.bytes_reclaimed, tally.bytes_recovered), (12_288, 4096));
        assert_eq!(tally.bytes_reclaimable, 8 * 4096);
        let branches = tally.per_branch(&sample::pool());
        let shares: Vec<u64> = branches.iter().map(|b| b.reclaimed).collect();
        assert_eq!(shares, [0, 12_288]);
        let ops: Vec<_> = branches.iter().map(|b| (b.planned, b.done)).collect();
        assert_eq!(ops, [(0, 0), (8, 3)], "one of an earlier run");
        assert_eq!(tally.not_done.values().sum::<u64>(), 5);
    }

    #[test]
    fn refusals_by_rule_are_no_failure() {
        for (reason, code) in [
            (Reason::NoPrimary, 0),
            (Reason::OwnerDiffers, 0),
            (Reason::Shadowed, 0),
            (Reason::ReadOnly, 0),
            (Reason::Limit, 0),
            (Reason::Unresolved, 1),
            (Reason::ClaimSize, 1),
        ] {
            let mut tally = tally(0, &[]);
            tally.refused(&refusal(reason));
            assert_eq!(tally.exit_code(), code, "{reason:?}");
            assert_eq!((tally.refused, tally.refusals[&reason]), (1, 1));
            assert_eq!((tally.bytes_refused, tally.refused_bytes[&reason]), (4096, 4096));
        }
    }

    #[test]
    fn the_exit_code_tells_what_was_planned_and_not_done() {
        let done = Outcome::Done { reclaimed: 0 };
        let open = Outcome::Open(Halt::new(Reason::NoLease, ""));
        for (outcome, recovered, code) in [
            (Some(done.clone()), false, 0),
            (Some(not_done(Reason::Busy)), false, 1),
            (Some(not_done(Reason::Io)), false, 1),
            (Some(not_done(Reason::NoLease)), false, 0),
            (Some(open), false, 1),
            // The ops were never reported: a dry run, or a run that ended with an error of its own.
            (None, false, 0),
        ] {
            let outcomes: Vec<_> = outcome.into_iter().map(|o| (o, recovered)).collect();
            assert_eq!(tally(1, &outcomes).exit_code(), code, "{outcomes:?}");
        }
        let mut stuck = tally(0, &[(not_done(Reason::Busy), true)]);
        assert_eq!(stuck.exit_code(), 0);
        stuck.recovery_incomplete = true;
        assert_eq!(stuck.exit_code(), 4);
    }
}
