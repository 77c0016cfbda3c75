//! The part of a journal kept in memory: runs, open ops, conflicts. Never a finished intent: a journal outlives
//! millions of finished intents.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{Intent, Record, ReflinkIntent, RunEnded, RunStarted, UndoIntent};
use super::{OpenOp, OpenUndo, csv};
use crate::fs::{StoredId, Timestamp};
use crate::plan::{Found, OpId};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// A run and what became of its ops. `intents = open + done + restored + conflicts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// What the run was started on.
    pub started: Arc<RunStarted>,
    /// The run that this run takes back, if it takes one back.
    pub undoes: Option<u64>,
    /// Whether the run that it takes back is an undo: it links files, as a run does.
    pub relinks: bool,
    /// Ops of the run that were undone since.
    pub undone: u64,
    /// Ops that were begun.
    pub intents: u64,
    /// Ops that have no end yet.
    pub open: u64,
    /// Ops whose duplicate is gone.
    pub done: u64,
    /// Those of them that made a clone.
    pub cloned: u64,
    /// Ops that were put back.
    pub restored: u64,
    /// Ops that ended with both copies kept.
    pub conflicts: u64,
    /// Files that share the blocks of another file since: nothing of them is ever open, and nothing can be undone.
    pub shared: u64,
    /// Bytes that became free.
    pub reclaimed: u64,
    /// Bytes that undos of its ops took again.
    pub given_back: u64,
    /// How the run ended, if it ended in good order.
    pub ended: Option<RunEnded>,
}

/// An op that ended with a file left under a name that is not the file's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The run the op belongs to.
    pub run: Arc<RunStarted>,
    /// The op.
    pub op: OpId,
    /// The conflict found.
    pub why: String,
    /// Where the duplicate is.
    pub left: Vec<(BranchIdx, RelPath)>,
}

impl RunSummary {
    /// Whether the run links files; an undo copies them back.
    #[must_use]
    pub fn links(&self) -> bool {
        self.undoes.is_none() || self.relinks
    }

    /// Bytes that are free now because of the run: undos took the others again.
    #[must_use]
    pub fn still_free(&self) -> u64 {
        self.reclaimed.saturating_sub(self.given_back)
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) runs: BTreeMap<u64, RunSummary>,
    pub(super) open: BTreeMap<OpId, OpenOp>,
    pub(super) conflicts: Vec<Conflict>,
    /// The newest op of each run, recorded or only handed out.
    pub(super) newest_ops: BTreeMap<u64, u64>,
    /// How many names ops that ended gave to kept copies, as long as ops of these kept copies are open.
    given: HashMap<StoredId, Given>,
}

/// The names that one kept copy got.
#[derive(Debug, Default)]
struct Given {
    names: u64,
    /// The open ops of the kept copy, each with the number of names when it began.
    before: BTreeMap<OpId, u64>,
}

impl Index {
    /// The index of a journal in which nothing is open.
    pub(super) fn of_closed(
        runs: Vec<RunSummary>,
        conflicts: Vec<Conflict>,
        newest_ops: Vec<(u64, u64)>,
    ) -> Self {
        Self {
            runs: runs.into_iter().map(|run| (run.started.run, run)).collect(),
            conflicts,
            newest_ops: newest_ops.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes in the next record; returns the record's op, as the op is after the record.
    ///
    /// # Errors
    /// Fails if the record cannot follow the records before; the error says why.
    pub(super) fn apply(&mut self, record: Record) -> Result<Option<OpenOp>, String> {
        match record {
            Record::RunStarted(started) => self.start(started).map(|_| None),
            Record::UndoStarted(undo) => {
                self.start(undo.run)?.undoes = Some(undo.undoes);
                Ok(None)
            }
            Record::RelinkStarted(undo) => {
                let run = self.start(undo.run)?;
                (run.undoes, run.relinks) = (Some(undo.undoes), true);
                Ok(None)
            }
            Record::Intent(intent) => self.begin(*intent, None).map(Some),
            Record::UndoIntent(undo) => self.begin_undo(*undo, false).map(Some),
            Record::UndoReflinkIntent(undo) => self.begin_undo(*undo, true).map(Some),
            Record::ReflinkIntent(reflink) => self.begin_reflink(*reflink).map(Some),
            Record::Copied { op, ino, btime, handle } => {
                let open = self.open.get_mut(&op).ok_or_else(|| not_open(op))?;
                let undo = open.undo.as_mut().ok_or("a file was copied that is part of no undo")?;
                Arc::make_mut(undo).copied = true;
                let intent = Arc::make_mut(&mut open.intent);
                (intent.master.id.ino, intent.master.id.btime) = (ino, btime);
                intent.master_handle = handle;
                Ok(None)
            }
            Record::Retired { op } => {
                let op = self.open.get_mut(&op).ok_or_else(|| not_open(op))?;
                op.retired = true;
                Ok(Some(op.clone()))
            }
            Record::Done { op, reclaimed } => {
                let (op, run) = self.close(op, true)?;
                run.done += 1;
                run.cloned += u64::from(op.undo.as_ref().is_some_and(|made| made.cloned.is_some()));
                run.reclaimed = run.reclaimed.saturating_add(reclaimed);
                let copied = op.undo.as_ref().and_then(|undo| undo.undoes);
                // A run that was pruned is gone, and so is its count.
                let undone = copied.or(op.intent.relinks);
                if let Some(run) = undone.and_then(|undone| self.runs.get_mut(&undone.run)) {
                    run.undone += 1;
                    let bytes = if copied.is_some() { op.intent.bytes } else { 0 };
                    run.given_back = run.given_back.saturating_add(bytes);
                }
                Ok(Some(op))
            }
            Record::Restored { op, .. } => {
                let (op, run) = self.close(op, false)?;
                run.restored += 1;
                Ok(Some(op))
            }
            Record::Conflict { op, why, left } => self.end_in_conflict(op, why, left).map(Some),
            Record::Shared(shared) => {
                let run = self.run(shared.op.run)?;
                run.shared += 1;
                run.reclaimed = run.reclaimed.saturating_add(shared.reclaimed);
                let newest = self.newest_ops.entry(shared.op.run).or_default();
                *newest = shared.op.seq.max(*newest);
                Ok(None)
            }
            Record::SharedContents { op, .. } => self.run(op.run).map(|_| None),
            Record::RunEnded(ended) => {
                let run = self.run(ended.run)?;
                run.ended = Some(ended);
                Ok(None)
            }
        }
    }

    /// Adds the lines of the CSV log about `record`, which was applied last and is about `op`. `None` if it names a branch that
    /// its run does not have.
    pub(super) fn push_lines(
        &self,
        lines: &mut Vec<u8>,
        time: Timestamp,
        (op, record): (Option<&OpenOp>, &Record),
    ) -> Option<()> {
        match (record, op) {
            (Record::Shared(shared), _) => {
                csv::push_shared(lines, time, &self.runs.get(&shared.op.run)?.started, shared)
            }
            (_, Some(op)) => csv::push_op(lines, time, op, record),
            (_, None) => Some(()),
        }
    }

    /// The newest run; 0 while the journal has no run.
    pub(super) fn newest_run(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(run, _)| *run)
    }

    /// How many names other ops that ended gave to the kept copy of `op` since `op` began; `None` if that is unknown, because
    /// runs are missing since.
    pub(super) fn names_given_since(&self, op: &Intent) -> Option<u64> {
        let runs = self.runs.range(op.op.run..).count() as u64;
        if runs != self.newest_run() + 1 - op.op.run {
            return None;
        }
        let given = self.given.get(&op.master.id)?;
        Some(given.names - given.before.get(&op.op)?)
    }

    /// An op number of `run` that was never handed out before, as far as is recorded.
    pub(super) fn next_op(&mut self, run: u64) -> OpId {
        let newest = self.newest_ops.entry(run).or_default();
        *newest += 1;
        OpId { run, seq: *newest }
    }

    fn begin_reflink(&mut self, reflink: ReflinkIntent) -> Result<OpenOp, String> {
        let of = Arc::new(OpenUndo {
            undoes: None,
            of_clone: false,
            copy: reflink.copy,
            sparse: false,
            emptied: Vec::new(),
            source: Some(reflink.intent.metadata.clone()),
            copied: false,
            cloned: Some(reflink.source),
        });
        self.begin(reflink.intent, Some(of))
    }

    fn begin_undo(&mut self, undo: UndoIntent, of_clone: bool) -> Result<OpenOp, String> {
        let of = Arc::new(OpenUndo {
            undoes: Some(undo.undoes),
            of_clone,
            copy: undo.copy,
            sparse: undo.sparse,
            emptied: undo.emptied,
            source: undo.source,
            copied: false,
            cloned: None,
        });
        self.begin(undo.intent, Some(of))
    }

    fn begin(&mut self, intent: Intent, undo: Option<Arc<OpenUndo>>) -> Result<OpenOp, String> {
        let id = intent.op;
        let run = self.run(id.run)?;
        let op = OpenOp {
            run: Arc::clone(&run.started),
            intent: Arc::new(intent),
            retired: false,
            undo,
        };
        run.intents += 1;
        run.open += 1;
        if self.open.insert(id, op.clone()).is_some() {
            return Err(format!("{id:?} is begun twice"));
        }
        let newest = self.newest_ops.entry(id.run).or_default();
        *newest = id.seq.max(*newest);
        // The kept copy of an undo is yet to be made.
        if op.undo.is_none() {
            let given = self.given.entry(op.intent.master.id).or_default();
            given.before.insert(id, given.names);
        }
        Ok(op)
    }

    fn start(&mut self, started: RunStarted) -> Result<&mut RunSummary, String> {
        // Runs in between may have been pruned; the chain shows that no record is missing.
        if started.run <= self.newest_run() {
            return Err(format!("run {} cannot follow run {}", started.run, self.newest_run()));
        }
        let run = started.run;
        let summary = RunSummary {
            started: Arc::new(started),
            undoes: None,
            relinks: false,
            undone: 0,
            intents: 0,
            open: 0,
            done: 0,
            cloned: 0,
            restored: 0,
            conflicts: 0,
            shared: 0,
            reclaimed: 0,
            given_back: 0,
            ended: None,
        };
        Ok(self.runs.entry(run).or_insert(summary))
    }

    fn end_in_conflict(
        &mut self,
        id: OpId,
        why: String,
        left: Vec<(BranchIdx, RelPath)>,
    ) -> Result<OpenOp, String> {
        let (op, run) = self.close(id, true)?;
        run.conflicts += 1;
        if !left.is_empty() {
            self.conflicts.push(Conflict { run: Arc::clone(&op.run), op: id, why, left });
        }
        Ok(op)
    }

    /// Ends `op`; `stays` is whether its replacements stay, or may stay.
    fn close(&mut self, op: OpId, stays: bool) -> Result<(OpenOp, &mut RunSummary), String> {
        let closed = self.open.remove(&op).ok_or_else(|| not_open(op))?;
        self.count_names(&closed, stays);
        let run = self.run(op.run)?;
        run.open -= 1;
        Ok((closed, run))
    }

    fn count_names(&mut self, closed: &OpenOp, stays: bool) {
        let master = closed.intent.master.id;
        let Some(given) = self.given.get_mut(&master) else { return };
        let names = closed.intent.names.iter().filter(|name| name.found != Found::Master);
        given.names += if stays { names.count() as u64 } else { 0 };
        given.before.remove(&closed.intent.op);
        if given.before.is_empty() {
            self.given.remove(&master);
        }
    }

    fn run(&mut self, run: u64) -> Result<&mut RunSummary, String> {
        self.runs.get_mut(&run).ok_or_else(|| format!("run {run} was never started"))
    }
}

fn not_open(op: OpId) -> String {
    format!("file {} of run {} is not open", op.seq, op.run)
}
