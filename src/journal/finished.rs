//! Reads the done ops of runs from every record again: for undo, verify and export. Otherwise no done op is kept in
//! memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{Intent, Record, RecordedFile, RunStarted, SharedRecord};
use super::{Journal, JournalError, Store};
use crate::fs::Timestamp;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, OpId};

/// An op that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneOp {
    /// The run the op belongs to.
    pub run: Arc<RunStarted>,
    /// What was done. For an op that undid another: the master is the file that came back.
    pub intent: Intent,
    /// The op whose links this op made copies again.
    pub undoes: Option<OpId>,
    /// The kept copy, for an op whose master is a clone of it.
    pub cloned: Option<RecordedFile>,
}

/// Two files that share their blocks since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFiles {
    /// The run.
    pub run: Arc<RunStarted>,
    /// Both files.
    pub record: SharedRecord,
    /// The contents of both, where they are known.
    pub blake3: Option<[u8; 32]>,
}

/// The done ops of a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// The done ops of the runs asked for that were not undone since, in the order in which the ops were begun.
    pub ops: Vec<DoneOp>,
    /// The ops that `ops` undid, if the journal still has them.
    pub undone: BTreeMap<OpId, DoneOp>,
    /// When an undo last found the kept copy of an op damaged, and put its own work back.
    pub damaged: BTreeMap<OpId, Timestamp>,
    /// The files of the runs asked for that share their blocks since.
    pub shared: Vec<SharedFiles>,
    /// Every directory that a run has made or may have made.
    pub dirs: Vec<(Arc<RunStarted>, DirIntent)>,
}

impl<S: Store> Journal<S> {
    /// Reads what the runs that are `wanted` have done.
    ///
    /// # Errors
    /// Fails if the journal cannot be read.
    pub fn finished(&self, wanted: impl Fn(u64) -> bool) -> Result<Finished, JournalError> {
        let mut reading = Reading::default();
        self.replay::<JournalError>(None, |entry| {
            reading.take((entry.record, entry.time), &wanted, |run| {
                self.run(run).map(|run| Arc::clone(&run.started))
            });
            Ok(())
        })?;
        Ok(reading.finish())
    }
}

#[derive(Default)]
struct Reading {
    open: BTreeMap<OpId, DoneOp>,
    done: BTreeMap<OpId, DoneOp>,
    undone: BTreeSet<OpId>,
    /// Done ops that an undo may have to know of, though their run was not asked for.
    others: BTreeMap<OpId, DoneOp>,
    damaged: BTreeMap<OpId, Timestamp>,
    shared: Vec<SharedFiles>,
    dirs: Vec<(Arc<RunStarted>, DirIntent)>,
}

impl Reading {
    fn take(
        &mut self,
        (record, time): (Record, Timestamp),
        wanted: &impl Fn(u64) -> bool,
        started: impl Fn(u64) -> Option<Arc<RunStarted>>,
    ) {
        match record {
            Record::Intent(intent) => self.begin(*intent, (None, None), started),
            Record::ReflinkIntent(reflink) => {
                self.begin(reflink.intent, (None, Some(reflink.source)), started);
            }
            Record::UndoIntent(undo) | Record::UndoReflinkIntent(undo) => {
                self.begin(undo.intent, (Some(undo.undoes), None), started);
            }
            Record::Shared(shared) if wanted(shared.op.run) => {
                let run = started(shared.op.run);
                let shared = run.map(|run| SharedFiles { run, record: *shared, blake3: None });
                self.shared.extend(shared);
            }
            Record::SharedContents { op, blake3 } => {
                let mut newest = self.shared.iter_mut().rev();
                if let Some(shared) = newest.find(|shared| shared.record.op == op) {
                    shared.blake3 = Some(blake3);
                }
            }
            Record::Copied { op, ino, btime, .. } => {
                if let Some(open) = self.open.get_mut(&op) {
                    (open.intent.master.id.ino, open.intent.master.id.btime) = (ino, btime);
                }
            }
            Record::Done { op, .. } => {
                let Some(done) = self.open.remove(&op) else {
                    return;
                };
                self.undone.extend(done.undoes.or(done.intent.relinks));
                if wanted(op.run) {
                    self.done.insert(op, done);
                } else {
                    self.others.insert(op, done);
                }
            }
            Record::Restored { op, why } => {
                let undone = self.open.remove(&op).and_then(|op| op.undoes);
                let damaged = why.starts_with(Reason::Damaged.as_str());
                self.damaged.extend(undone.filter(|_| damaged).map(|op| (op, time)));
            }
            Record::Conflict { op, .. } => drop(self.open.remove(&op)),
            Record::RunStarted(_)
            | Record::UndoStarted(_)
            | Record::RelinkStarted(_)
            | Record::RunEnded(_)
            | Record::Shared(_)
            | Record::Retired { .. } => {}
        }
    }

    fn begin(
        &mut self,
        intent: Intent,
        (undoes, cloned): (Option<OpId>, Option<RecordedFile>),
        started: impl Fn(u64) -> Option<Arc<RunStarted>>,
    ) {
        let Some(run) = started(intent.op.run) else {
            return;
        };
        let dirs = intent.dirs.iter().cloned();
        self.dirs.extend(dirs.map(|dir| (Arc::clone(&run), dir)));
        let op = intent.op;
        let done = DoneOp { run, intent, undoes, cloned };
        self.open.insert(op, done);
    }

    fn finish(mut self) -> Finished {
        let mut undone = BTreeMap::new();
        for done in self.done.values() {
            if let Some(of) = done.undoes {
                let known = self.others.remove(&of).or_else(|| self.done.get(&of).cloned());
                undone.extend(known.map(|done| (of, done)));
            }
        }
        let ops = self.done.into_iter();
        let ops = ops.filter(|(op, _)| !self.undone.contains(op));
        let ops = ops.map(|(_, done)| done).collect();
        let Self { damaged, shared, dirs, .. } = self;
        Finished { ops, undone, damaged, shared, dirs }
    }
}
