//! A clone replaces a duplicate on another disk: an op with a clone in front, as an undo has a copy in front.
//!
//! The clone is a new inode on the kept copy's branch. It shares the blocks of the kept copy, has the owner, mode, ACL,
//! attributes and times of the duplicate, and is the master of the op from then on: synced, compared with the duplicate
//! byte by byte, recorded, published. The kept copy itself is not touched, and no later change of it matters.

use super::batch::settled;
use super::begun::{Begun, UndoCopy};
use super::compared::{Compared, Seen};
use super::halt::Halt;
use super::share::cannot_share;
use super::window::Leased;
use super::work::Work;
use super::{Executor, RunError};
use crate::fs::{Change, Lease, Place};
use crate::journal::{Intent, ReflinkIntent, Store};
use crate::plan::op::NO_INODE;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, Op, Source, Undoing};
use crate::pool::relpath::RelPath;

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Journals, clones and carries out compared ops; returns the ops that were put back and are worth another try.
    pub(super) fn reflink_batch(
        &mut self,
        ops: Vec<Compared<F::File>>,
    ) -> Result<Vec<(Op, Halt)>, RunError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        self.pool_as_planned()?;
        // What is in memory only of a kept copy is written here, and not while a lease keeps other programs waiting.
        let failures = self.settle_sources(ops.iter().map(Compared::op));
        let (mut made, mut intents) = (Vec::new(), Vec::new());
        for compared in ops {
            let (op, dirs, seen, _) = compared.into_parts();
            if let Err(halt) = settled(&failures, &op) {
                self.not_done(&op, None, halt);
                continue;
            }
            let cloning = cloning(&op, &seen);
            match self.reflink_intent(&op, &cloning, &dirs, &seen) {
                Ok(intent) => {
                    // Compared a moment ago: only the clone is read for the next comparison.
                    self.know(seen.duplicate, seen.blake3);
                    made.push((cloning, dirs, seen.metadata, intent.copy.clone()));
                    intents.push(intent);
                }
                Err(halt) => self.not_done(&op, None, halt),
            }
        }
        // Durable before the first hidden name is made: a file that a crash leaves under that name is then known to be
        // ours.
        let recorded = self.journal.begin_reflink(intents, self.fs.now())?;
        let begun = made.into_iter().zip(recorded).enumerate();
        let begun = begun.map(|(n, ((op, dirs, metadata, copy), record))| {
            let copy = UndoCopy {
                at: Place::new(op.master.branch, copy),
                made: None,
                complete: false,
                source_metadata: Some(metadata),
                source: None,
            };
            Work::new(Begun::undo(op, record, dirs, copy), n, false)
        });
        self.make_and_carry_out(begun.collect())
    }

    fn reflink_intent(
        &mut self,
        planned: &Op,
        op: &Op,
        dirs: &[DirIntent],
        seen: &Seen,
    ) -> Result<ReflinkIntent, Halt> {
        let gone = || Halt::new(Reason::Changed, "no clone is to be made");
        let made = op.made().ok_or_else(gone)?;
        let (intent, copy) = self.intent_to_make(op, made, &seen.duplicate_stat, dirs)?;
        let bytes = seen.duplicate_stat.blocks * 512;
        let intent = Intent { bytes, relinks: planned.takes_back(), ..intent };
        Ok(ReflinkIntent {
            intent,
            copy,
            source: self.recorded(&planned.master, &seen.master_stat),
        })
    }

    /// Lets the empty file `made` share all blocks of the kept copy, which must still be the file that was compared.
    pub(super) fn clone_kept(
        &mut self,
        op: &Op,
        undo: &Undoing,
        made: &F::File,
    ) -> Result<(), Halt> {
        let gone = || Halt::new(Reason::Changed, "the kept copy is no longer at its name");
        let source = undo.source.as_ref().ok_or_else(gone)?;
        let file = self.fs.open(&source.at)?;
        if self.fs.stat_open(&file)?.id != source.seen.id {
            return Err(gone());
        }
        // No program writes to it meanwhile, also not through an older mapping.
        let mut kept = Leased::new(self.fs, self.options.leases, file);
        kept.take(Lease::Read, "kept copy")?;
        self.unchanged(&self.fs.stat_open(&kept.file)?, &source.seen, "kept copy")?;
        let cloned = self.fs.clone_contents(&kept.file, made);
        cloned.map_err(|error| cannot_share(error).or_links(op))?;
        kept.release()?;
        if self.fs.stat_open(made)?.size != op.size {
            return Err(Halt::again(Reason::Changed, "the kept copy was written to meanwhile"));
        }
        Ok(())
    }
}

/// Returns `op` with the clone that is yet to be made as its master.
fn cloning(op: &Op, seen: &Seen) -> Op {
    let stat = &seen.duplicate_stat;
    let first = op.names.first().map_or(&op.duplicate.path, |name| &name.path);
    let at = Place::new(op.master.branch, RelPath::clone(first));
    let planned = Op { master: at, master_id: NO_INODE, ..op.clone() };
    planned.making(Undoing {
        of: None,
        source: Some(Source { at: op.master.clone(), seen: seen.master }),
        of_clone: false,
        metadata: seen.metadata.clone(),
        atime: seen.atime,
        mtime: stat.mtime,
        flags: seen.flags,
        blake3: seen.blake3,
        sparse: false,
        source_mtime: stat.mtime,
        emptied: Vec::new(),
    })
}
