//! Which replacements are where we put them: a client that renames a path takes its replacement along, and then it is
//! neither at the path nor gone.

use std::collections::HashMap;

use super::op::Op;
use crate::fs::InodeId;
use crate::journal::OpId;

/// The names that ops of this run gave to masters and have not taken away again.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    ops: HashMap<OpId, Names>,
    /// Names of each master by all ops, those that have ended too.
    masters: HashMap<InodeId, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Names {
    placed: u64,
    /// Names of the master that are not ours, before the first was placed.
    others: i64,
}

impl Placed {
    /// `op` begins to give names to its master, which has `nlink` now.
    pub(crate) fn begin(&mut self, op: &Op, nlink: u64) {
        let others = self.others(op.master_id, nlink);
        if let Some(id) = op.id {
            self.ops.entry(id).or_insert(Names { placed: 0, others });
        }
    }

    /// One more name is in place.
    pub(crate) fn add(&mut self, op: &Op) {
        if let Some(names) = op.id.and_then(|id| self.ops.get_mut(&id)) {
            names.placed += 1;
            *self.masters.entry(op.master_id).or_default() += 1;
        }
    }

    /// We have taken one away.
    pub(crate) fn take(&mut self, op: &Op) {
        let names = op.id.and_then(|id| self.ops.get_mut(&id));
        if let Some(names) = names.filter(|names| names.placed > 0) {
            names.placed -= 1;
            self.forget(op.master_id, 1);
        }
    }

    /// Whether `op` has names that are in place as far as we know.
    pub(crate) fn any(&self, op: &Op) -> bool {
        let names = op.id.and_then(|id| self.ops.get(&id));
        names.is_some_and(|names| names.placed > 0)
    }

    /// The names of `op` are not where they were placed. Whether some still exist elsewhere: if clients had removed all
    /// of them, the master with `nlink` names would not have more that are not ours than before.
    pub(crate) fn strayed(&mut self, op: &Op, nlink: u64) -> bool {
        let Some(names) = op.id.and_then(|id| self.ops.remove(&id)) else {
            return false;
        };
        // Removed ones count no more.
        self.forget(op.master_id, names.placed);
        names.placed > 0 && self.others(op.master_id, nlink) > names.others
    }

    /// `op` is over; its names stay.
    pub(crate) fn end(&mut self, op: &Op) {
        if let Some(id) = op.id {
            self.ops.remove(&id);
        }
    }

    fn others(&self, master: InodeId, nlink: u64) -> i64 {
        let ours = self.masters.get(&master).copied().unwrap_or(0);
        nlink.cast_signed() - ours.cast_signed()
    }

    fn forget(&mut self, master: InodeId, names: u64) {
        if let Some(ours) = self.masters.get_mut(&master) {
            *ours = ours.saturating_sub(names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Place;
    use crate::journal::OpKind;
    use crate::pool::BranchIdx;
    use crate::relpath::RelPath;

    fn op(seq: u64) -> Op {
        let place = |path: &str| Place::new(BranchIdx(0), RelPath::new(path).unwrap());
        let inode = |ino| InodeId { dev: 1, ino };
        let (master, duplicate) = ((place("m"), inode(1)), (place("d"), inode(2)));
        let planned = Op::planned(OpKind::Cross, master, duplicate, (1, 1), Vec::new());
        let id = Some(OpId { run: 1, seq });
        Op { id, ..planned }
    }

    #[test]
    fn a_name_that_was_renamed_is_told_from_one_that_was_removed() {
        for (nlink, strayed) in [(2, false), (3, true)] {
            let mut placed = Placed::default();
            // A master of one name; another op gives it a second one, which stays.
            placed.begin(&op(1), 1);
            placed.add(&op(1));
            placed.end(&op(1));
            placed.begin(&op(2), 2);
            assert!(!placed.any(&op(2)));
            placed.add(&op(2));
            assert!(placed.any(&op(2)));
            assert_eq!(placed.strayed(&op(2), nlink), strayed);
            assert!(!placed.any(&op(2)));
        }
    }

    #[test]
    fn what_we_take_away_ourselves_does_not_stray() {
        let mut placed = Placed::default();
        placed.begin(&op(1), 1);
        placed.add(&op(1));
        placed.take(&op(1));
        assert!(!placed.strayed(&op(1), 1));
        // What others link meanwhile is no matter where nothing of ours is out.
        assert!(!placed.strayed(&op(1), 5));
    }
}
