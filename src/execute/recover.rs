//! Recovery is the executor (invariant 5): for each op that has an intent and no end, look at every name, decide, and
//! take the same transitions an uninterrupted run takes. May be killed anywhere and run again.

use std::os::unix::ffi::OsStrExt;

use super::batch::{State, Work};
use super::compare::SETTLE_TICK;
use super::halt::Halt;
use super::observe::{DuplicateAt, Observed, TargetIs};
use super::op::{NO_INODE, Op, OpName, Recorded, Undoing, entry};
use super::{Executor, RunError};
use crate::fs::{Fs, FsError, InodeId, Place};
use crate::journal::{Copy, Intent, OpKind, OpenOp, RunStarted, Store};
use crate::names::Role;
use crate::pool::BranchIdx;
use crate::refusal::Reason;
use crate::relpath::RelPath;

/// What an open op takes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The duplicate is gone, by us: only the record is missing.
    Finish,
    /// From publish on; every phase skips the names that are past it.
    Forward,
    /// Take the replacement away.
    Back,
}

/// The table of recovery, from the record and from what each name is now.
fn decide(kind: OpKind, retired: bool, names: &[Observed]) -> Next {
    let nowhere = names
        .iter()
        .filter(|n| n.duplicate == DuplicateAt::Nowhere)
        .count();
    let all_gone = nowhere == names.len();
    match kind {
        // We unlinked it: nothing else does after the record.
        _ if all_gone && retired => Next::Finish,
        // A local op's name passed from the duplicate to the master in one step; only our temp name is missing,
        // and the path is there with the same bytes.
        OpKind::Local if all_gone && names.iter().all(|n| n.target == TargetIs::Master) => {
            Next::Finish
        }
        // Somebody deleted or replaced it: the replacement must not bring it back.
        _ if all_gone => Next::Back,
        // After the first unlink of a link set there is only forward.
        _ if nowhere > 0 && retired => Next::Forward,
        _ if nowhere > 0 => Next::Back,
        // A name the duplicate has left had its replacement durably before: what is there now is a client's doing.
        _ if names
            .iter()
            .all(|n| n.duplicate == DuplicateAt::Retired || n.may_publish()) =>
        {
            Next::Forward
        }
        _ => Next::Back,
    }
}

impl<F: Fs, S: Store> Executor<'_, F, S> {
    /// Finishes or takes back the open ops of the journal that are `wanted`; gives those that must stay open, and
    /// why.
    ///
    /// # Errors
    /// When the journal fails.
    pub fn recover(
        &mut self,
        wanted: impl Fn(&OpenOp) -> bool,
    ) -> Result<Vec<(Op, Halt)>, RunError> {
        let open: Vec<OpenOp> = self.journal.open_ops().into_iter().filter(wanted).collect();
        let mut remaining = Vec::new();
        for chunk in open.chunks(self.options.batch_ops.max(1)) {
            let mut works = Vec::with_capacity(chunk.len());
            for entry in chunk {
                match self.op_of(entry) {
                    (op, Ok(())) => works.push(self.resume(op, entry)),
                    (op, Err(halt)) => remaining.push((op, halt)),
                }
            }
            // The names of copies are durable before the record that they are complete.
            self.sync_touched(&mut works);
            let going: Vec<Op> = works
                .iter()
                .filter(|work| matches!(work.state, State::Going))
                .map(|work| work.op.clone())
                .collect();
            let failures = self.settle_sources(&going);
            for work in works
                .iter_mut()
                .filter(|work| matches!(work.state, State::Going))
            {
                let ids = [work.op.master_id, work.op.duplicate_id];
                if let Some(halt) = ids.iter().find_map(|id| failures.get(id)) {
                    work.state = State::Stuck(halt.clone());
                }
            }
            self.record_copies(&mut works)?;
            remaining.extend(self.carry_out(works)?.open);
            self.fs.unpin();
        }
        Ok(remaining)
    }

    fn resume(&mut self, mut op: Op, entry: &OpenOp) -> Work {
        let recovered = entry.intent.op.run != self.run;
        let state = self.next_state(&mut op, entry).unwrap_or_else(|halt| {
            self.stop_branch(&halt);
            State::Stuck(halt)
        });
        Work {
            op,
            state,
            recovered,
        }
    }

    fn next_state(&mut self, op: &mut Op, entry: &OpenOp) -> Result<State, Halt> {
        // What the interrupted process did may be in memory only: synced before any record relies on it.
        self.sync_all_of(op);
        for branch in op.branches() {
            self.fs.check_branch(branch)?;
        }
        self.pin_dirs(op)?;
        if !self.return_strangers(op)?.is_empty() {
            let why = Halt::new(Reason::Changed, "its path is taken by another file");
            return Ok(self.back(op, why));
        }
        let mut names = Vec::with_capacity(op.names.len());
        for k in 0..op.names.len() {
            names.push(self.observe(op, k)?);
        }
        let next = decide(op.kind, op.retired, &names);
        tracing::debug!(op = ?op.id, ?next, ?names, "open op");
        match next {
            Next::Finish => {
                self.clear_hidden(op, None)?;
                // An undo frees nothing.
                let bytes = if op.undo.is_some() {
                    0
                } else {
                    entry.intent.bytes
                };
                Ok(State::Removed(bytes))
            }
            Next::Back => {
                self.note_unpublished(op, &names)?;
                let renamed = self.renamed_along(op, &names)?;
                let why = Halt::new(Reason::Changed, "the path was changed since the op began");
                Ok(match (self.back(op, why), renamed) {
                    (State::Restored(_), Some(path)) => {
                        let why = format!("renamed to {path:?}, which is on both branches");
                        State::Conflict(Halt::new(Reason::Conflict, why), Vec::new())
                    }
                    (state, _) => state,
                })
            }
            Next::Forward => Ok(
                match self.copy_again(op).and_then(|()| self.compare_settled(op)) {
                    Ok(()) => State::Going,
                    Err(halt)
                        if halt.again
                            || matches!(halt.reason, Reason::Interrupted | Reason::Limit) =>
                    {
                        self.busy_on_the_way(op, halt, &names)
                    }
                    Err(halt) => self.back(op, halt),
                },
            ),
        }
    }

    /// The new path, where somebody renamed the duplicate and its replacement with it: what is written there goes to the
    /// master. Looked for in its directory only.
    fn renamed_along(&self, op: &Op, names: &[Observed]) -> Result<Option<RelPath>, Halt> {
        for (k, name) in names.iter().enumerate() {
            let away = name.duplicate == DuplicateAt::Nowhere && name.target == TargetIs::Absent;
            let dir = op.own(k).dir();
            if op.kind == OpKind::Local || !away || self.fs.stat(&dir)?.is_none() {
                continue;
            }
            for other in self.fs.names_with_prefix(&dir, b"")? {
                let path = entry(&dir.path, std::ffi::OsStr::from_bytes(&other));
                let is = |branch, id| {
                    let stat = self.fs.stat(&Place::new(branch, path.clone()));
                    stat.map(|stat| stat.is_some_and(|stat| stat.id == id))
                };
                // Another name of the link set is where it was.
                if op.names.iter().any(|name| name.path == path) {
                    continue;
                }
                let (from, to) = (op.names[k].from, op.names[k].to);
                if is(from, op.duplicate_id)? && is(to, op.master_id)? {
                    return Ok(Some(path));
                }
            }
        }
        Ok(None)
    }

    /// The duplicate is nowhere, and the master has the name: that is not ours where the temp name, which our rename would
    /// have taken away, still is the master's. Somebody else replaced the duplicate, a run with another journal perhaps,
    /// and nothing else has the path now.
    fn note_unpublished(&self, op: &mut Op, names: &[Observed]) -> Result<(), Halt> {
        let gone = |name: &Observed| name.duplicate == DuplicateAt::Nowhere;
        if op.kind == OpKind::Local || !names.iter().all(gone) {
            return Ok(());
        }
        let mut ours = Vec::with_capacity(names.len());
        for (k, name) in names.iter().enumerate() {
            let temp = self.fs.stat(&op.hidden(self.journal.id(), k, Role::Temp))?;
            let temp = temp.is_some_and(|stat| stat.id == op.master_id);
            ours.push(name.target == TargetIs::Master && !temp);
        }
        op.published = Some(ours);
        Ok(())
    }

    /// Compares, after waiting out the ctimes that the interrupted process moved a moment ago.
    fn compare_settled(&mut self, op: &mut Op) -> Result<(), Halt> {
        match self.compare(op) {
            Err(halt) if halt.again => {
                self.fs.pause(SETTLE_TICK);
                self.compare(op)
            }
            other => other,
        }
    }

    /// Somebody uses one of the files. While the duplicate has its names, the replacement is taken away, so that
    /// no path leads to two inodes longer than it must.
    fn busy_on_the_way(&mut self, op: &Op, halt: Halt, names: &[Observed]) -> State {
        if names.iter().all(|name| name.duplicate == DuplicateAt::Own) {
            self.back(op, halt)
        } else {
            State::Stuck(halt)
        }
    }

    fn sync_all_of(&mut self, op: &Op) {
        for k in 0..op.names.len() {
            self.touched.must_sync(op.own(k).dir());
            self.touched.must_sync(op.target(k).dir());
        }
        for dir in &op.dirs {
            let place = Place::new(dir.to, dir.path.clone());
            self.touched.must_sync(place.dir());
            self.touched.must_sync(place);
        }
    }

    /// The op of a journal entry, on the branches of this run.
    pub(super) fn op_of(&self, entry: &OpenOp) -> (Op, Result<(), Halt>) {
        let mut missing = None;
        let mut here = |branch: BranchIdx| {
            self.current_branch(&entry.run, branch)
                .unwrap_or_else(|path| {
                    missing = Some(path);
                    BranchIdx(0)
                })
        };
        let intent = &entry.intent;
        let names = intent
            .names
            .iter()
            .map(|n| OpName {
                path: n.path.clone(),
                from: here(n.from),
                to: here(n.to),
                found: n.found,
            })
            .collect();
        let dirs = intent
            .dirs
            .iter()
            .map(|d| crate::journal::DirIntent {
                path: d.path.clone(),
                to: here(d.to),
                from: here(d.from),
            })
            .collect();
        let master = Place::new(here(intent.master.branch), intent.master.path.clone());
        let duplicate = Place::new(here(intent.duplicate.branch), intent.duplicate.path.clone());
        // An identity that cannot be told now must not be guessed: the op stays open.
        let mut unknown = None;
        let mut inode = |at: &Place, copy: &Copy| {
            self.current_inode(at, copy).unwrap_or_else(|error| {
                unknown = Some(Halt::from(error));
                InodeId { dev: 0, ino: 0 }
            })
        };
        let copying = entry.undo.as_ref().is_some_and(|undo| !undo.copied);
        let master_id = if copying {
            NO_INODE
        } else {
            inode(&master, &intent.master)
        };
        let duplicate_id = inode(&duplicate, &intent.duplicate);
        let op = op_from(
            entry,
            (master, master_id),
            (duplicate, duplicate_id),
            names,
            dirs,
        );
        let here = missing.map_or(Ok(()), |path| {
            let detail = format!("branch {path:?} is not there, or is another filesystem now");
            Err(Halt::new(Reason::BranchFailed, detail))
        });
        (op, here.and(unknown.map_or(Ok(()), Err)))
    }

    /// Where a recorded branch is in this run: the same directory of the same filesystem.
    fn current_branch(
        &self,
        run: &RunStarted,
        branch: BranchIdx,
    ) -> Result<BranchIdx, std::path::PathBuf> {
        let recorded = &run.branches[branch.index()];
        self.all_branches()
            .find(|now| self.root(*now).is_same(recorded))
            .ok_or_else(|| recorded.path.clone())
    }

    /// A recorded inode under the device number its filesystem has now.
    fn current_inode(&self, at: &Place, copy: &Copy) -> Result<InodeId, FsError> {
        let root = Place::new(at.branch, RelPath::root());
        let dev = self.fs.stat(&root)?.map_or(0, |stat| stat.id.dev);
        Ok(InodeId {
            dev,
            ino: copy.id.ino,
        })
    }
}

fn op_from(
    entry: &OpenOp,
    (master, master_id): (Place, InodeId),
    (duplicate, duplicate_id): (Place, InodeId),
    names: Vec<OpName>,
    dirs: Vec<crate::journal::DirIntent>,
) -> Op {
    let intent: &Intent = &entry.intent;
    let undo = entry.undo.as_ref().map(|undo| {
        Box::new(Undoing {
            of: undo.undoes,
            metadata: intent.metadata.clone(),
            atime: intent.atime,
            mtime: intent.master.mtime,
            blake3: intent.blake3,
            sparse: undo.sparse,
            source_mtime: intent.duplicate.mtime,
            emptied: undo.emptied.clone(),
            copy: Some(Place::new(master.branch, undo.copy.clone())),
            copied: undo.copied,
            source: None,
        })
    });
    Op {
        kind: intent.kind,
        master,
        master_id,
        duplicate,
        duplicate_id,
        size: intent.duplicate.size,
        bytes: intent.bytes,
        names,
        dirs,
        id: Some(intent.op),
        master_mtime: intent.master.mtime,
        published: None,
        retired: entry.retired,
        recorded: Some(Box::new(Recorded {
            metadata: intent.metadata.clone(),
            blake3: intent.blake3,
            master_btime: intent.master.id.btime,
            duplicate_btime: intent.duplicate.id.btime,
        })),
        seen: None,
        undo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(duplicate: DuplicateAt, target: TargetIs) -> Observed {
        Observed {
            duplicate,
            target,
            own_taken: false,
            elsewhere: None,
            unmastered: false,
        }
    }

    #[test]
    fn every_row_of_the_table_is_decided_as_designed() {
        use DuplicateAt::{Nowhere, Own, Retired};
        use OpKind::{Cross, Local};
        use TargetIs::{Absent, Duplicate, Master, Other};
        let cases = [
            (Cross, true, vec![name(Nowhere, Master)], Next::Finish),
            (Cross, true, vec![name(Nowhere, Absent)], Next::Finish),
            (Cross, false, vec![name(Nowhere, Master)], Next::Back),
            (Local, false, vec![name(Nowhere, Master)], Next::Finish),
            (Local, false, vec![name(Nowhere, Absent)], Next::Back),
            (Cross, false, vec![name(Retired, Master)], Next::Forward),
            (Cross, true, vec![name(Retired, Master)], Next::Forward),
            (Cross, true, vec![name(Retired, Absent)], Next::Forward),
            (Cross, true, vec![name(Retired, Other)], Next::Forward),
            (Local, false, vec![name(Retired, Absent)], Next::Forward),
            (Cross, false, vec![name(Own, Absent)], Next::Forward),
            (Cross, false, vec![name(Own, Master)], Next::Forward),
            (Cross, false, vec![name(Own, Other)], Next::Back),
            (Local, false, vec![name(Own, Duplicate)], Next::Forward),
            (
                Cross,
                true,
                vec![name(Nowhere, Master), name(Retired, Master)],
                Next::Forward,
            ),
            (
                Cross,
                false,
                vec![name(Nowhere, Master), name(Own, Master)],
                Next::Back,
            ),
        ];
        for (kind, retired, names, next) in cases {
            assert_eq!(
                decide(kind, retired, &names),
                next,
                "{kind:?} {retired} {names:?}"
            );
        }
        let shadow = Observed {
            elsewhere: Some(BranchIdx(2)),
            ..name(Own, Absent)
        };
        assert_eq!(decide(Cross, false, &[shadow]), Next::Back);
    }
}
