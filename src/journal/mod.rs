//! The journal: what this program is about to do and has done, durable before it acts (invariant 3).
//!
//! Records go in, in batches; each batch is on stable storage when [`Journal::record`] returns, first as lines of
//! the CSV log, then in the database, then as the mark of how far the journal goes. Opening verifies every record
//! and the mark, and finds the open ops. Nothing here looks at a branch or decides what to do.
//!
//! [`store::Store`] is the seam to the disk. `sled_store` is the only file that names the database.

use crate::plan::OpId;
use std::path::Path;
use std::sync::Arc;

mod codec;
mod copied;
mod csv;
mod dir_lock;
mod durable;
mod error;
mod finished;
pub(crate) mod flush;
#[cfg(feature = "sim")]
mod fuzzing;
mod index;
mod journal_dir;
mod logged;
mod mark;
#[cfg(any(test, feature = "sim"))]
pub mod mem_store;
pub(crate) mod panic_boundary;
mod path_bytes;
pub(crate) mod private_place;
mod proof;
mod prune;
mod reader;
mod rebuild;
mod rebuilding;
pub mod record;
mod rfc3339;
mod saved_index;
mod sled_store;
pub mod store;
#[cfg(test)]
mod tests;

pub use codec::{Chain, Entry};
pub use copied::look_at_copy;
pub use csv::RefusedLine;
pub use error::JournalError;
pub use finished::{DoneOp, Finished, SharedFiles};
#[cfg(feature = "sim")]
pub use fuzzing::{fuzz_body, fuzz_bytes};
pub use index::{Conflict, RunSummary};
pub use journal_dir::{can_be_made, create_or_open, open_existing};
pub use logged::{Logged, LoggedName, LoggedOp, RUNS_AT_MOST, read_log};
pub use mark::Mark;
pub use proof::{IntentRecorded, RetiredRecorded};
pub use prune::{Pruned, prunable, prune};
pub use rebuild::{Remains, id_at, remains};
pub use record::{
    BranchRecord, Intent, NameIntent, Record, RecordedFile, ReflinkIntent, RunEnded, RunStarted,
    SharedRecord, UndoIntent, UndoOf, UndoStarted,
};
pub use rfc3339::rfc3339;
pub use sled_store::SledStore;

use crate::fs::{Metadata, Timestamp};
use crate::pool::relpath::RelPath;
use index::Index;
use reader::{ReadError, StoreReader};
pub use store::Store;

/// An op that has an intent and no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOp {
    /// The run the op belongs to.
    pub run: Arc<RunStarted>,
    /// The op's plan.
    pub intent: Arc<Intent>,
    /// Whether a `Retired` record exists.
    pub retired: bool,
    /// The additional data of an op that undoes another op.
    pub undo: Option<Arc<OpenUndo>>,
}

impl OpenOp {
    /// The proof that its intent is durable: it was read from the journal.
    #[must_use]
    pub fn begun(&self) -> IntentRecorded {
        IntentRecorded::new(self.intent.op)
    }

    /// The proof that its `Retired` record is durable, if there is one.
    #[must_use]
    pub fn retired_record(&self) -> Option<RetiredRecorded> {
        self.retired.then(|| RetiredRecorded::new(self.intent.op))
    }
}

/// The part of an open op that only an op has that makes a file: an undo a copy, or a clone of the kept copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUndo {
    /// The op that is undone; `None` for an op that makes a clone.
    pub undoes: Option<OpId>,
    /// Whether the undone op made a clone.
    pub of_clone: bool,
    /// The hidden name of the copy, on the master's branch.
    pub copy: RelPath,
    /// Whether zeros become holes.
    pub sparse: bool,
    /// Directories to be removed where empty, innermost first, on the duplicate's branch.
    pub emptied: Vec<RelPath>,
    /// Owner, mode, ACL and attributes of the file that stays when the undo began, where that was recorded.
    pub source: Option<Metadata>,
    /// Whether the copy is complete; only then the intent knows the master's inode.
    pub copied: bool,
    /// The kept copy that is cloned.
    pub cloned: Option<RecordedFile>,
}

/// An open, verified journal.
///
/// After the first failure the journal is closed for good: only opening the journal again shows which records are
/// stored.
#[derive(Debug)]
pub struct Journal<S: Store> {
    store: S,
    tip: Mark,
    index: Index,
    /// The record up to which the index is saved.
    saved_to: u64,
    /// No new run has this number or a smaller one.
    numbers_after: u64,
    poisoned: bool,
}

impl<S: Store> Journal<S> {
    /// Opens the journal in `store`: verifies every record; no record before the mark may be missing.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] or [`JournalError::NewerVersion`] if the journal cannot be believed; any error of the
    /// store.
    pub fn open(mut store: S) -> Result<Self, JournalError> {
        let mark = store.read_mark()?;
        let saved = store.saved_index().and_then(|bytes| saved_index::decode(&bytes, store.id()));
        let saved = saved.filter(|(tip, _)| tip.seq <= mark.seq);
        let saved_to = saved.as_ref().map_or(0, |(tip, _)| tip.seq);
        // What the saved index makes doubtful, all records decide.
        let read = saved.and_then(|saved| read_index(&store, &mark, Some(saved)).ok());
        let (tip, index) = read.map_or_else(|| read_index(&store, &mark, None), Ok)?;
        // A killed process can leave records that are read from memory and not on the disk yet. Recovery acts
        // on them: a power cut after that must not take them back.
        store.commit(&[])?;
        if tip != mark {
            store.write_mark(&tip)?;
        }
        let mut journal = Self { store, tip, index, saved_to, numbers_after: 0, poisoned: false };
        journal.save_index(saved_index::RECORDS_MIN);
        Ok(journal)
    }

    /// Saves the index where the next open would have to read `min` records or more.
    fn save_index(&mut self, min: u64) {
        if self.tip.seq < self.saved_to + min {
            return;
        }
        if let Some(bytes) = saved_index::encode(self.store.id(), &self.tip, &self.index) {
            self.store.save_index(&bytes);
            self.saved_to = self.tip.seq;
        }
    }

    /// The journal's random id, part of every hidden name.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.store.id()
    }

    /// The journal directory.
    #[must_use]
    pub fn place(&self) -> &Path {
        self.store.place()
    }

    /// Starts the next run: `make` gets its number.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn start_run(
        &mut self,
        make: impl FnOnce(u64) -> RunStarted,
    ) -> Result<Arc<RunStarted>, JournalError> {
        self.start(make, Record::RunStarted)
    }

    /// The same for a run that undoes run `undoes`.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn start_undo(
        &mut self,
        undoes: u64,
        make: impl FnOnce(u64) -> RunStarted,
    ) -> Result<Arc<RunStarted>, JournalError> {
        self.start(make, |run| Record::UndoStarted(UndoStarted { run, undoes }))
    }

    /// The same for a run that links again what run `undoes`, an undo, took apart.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn start_relink(
        &mut self,
        undoes: u64,
        make: impl FnOnce(u64) -> RunStarted,
    ) -> Result<Arc<RunStarted>, JournalError> {
        self.start(make, |run| Record::RelinkStarted(UndoStarted { run, undoes }))
    }

    /// Numbers new runs after `run`, which a later state of this journal knew of: hidden names have the number of their run.
    pub fn number_after(&mut self, run: u64) {
        self.numbers_after = run;
    }

    fn start(
        &mut self,
        make: impl FnOnce(u64) -> RunStarted,
        record: impl FnOnce(RunStarted) -> Record,
    ) -> Result<Arc<RunStarted>, JournalError> {
        let started = make(self.next_run());
        let (run, time) = (started.run, started.time);
        self.record(&[record(started)], time)?;
        let summary = self.index.runs.get(&run);
        summary
            .map(|summary| Arc::clone(&summary.started))
            .ok_or_else(|| JournalError::Unexpected(format!("run {run} was not started")))
    }

    /// An op of `run` that has no record yet.
    pub fn next_op(&mut self, run: u64) -> OpId {
        self.index.next_op(run)
    }

    /// Makes `records` durable, all of them when it returns `Ok`.
    ///
    /// # Errors
    /// Fails if `records` may not be durable, or cannot follow the earlier records; every later call fails then.
    pub fn record(&mut self, records: &[Record], now: Timestamp) -> Result<(), JournalError> {
        self.check()?;
        if records.is_empty() {
            return Ok(());
        }
        self.poisoned = true;
        let batch = self.batch(records, now)?;
        // The CSV log first: if the database is lost, only the log is left, so no state may be in the database
        // alone. A crash between the two writes repeats the line later.
        if !batch.lines.is_empty() {
            self.store.append_csv(&batch.lines)?;
        }
        self.store.commit(&batch.pairs)?;
        // The mark last: ahead of the records, a crash between the two would look like records lost.
        self.store.write_mark(&batch.tip)?;
        self.tip = batch.tip;
        self.poisoned = false;
        if records.iter().any(|record| matches!(record, Record::RunEnded(_))) {
            self.save_index(saved_index::RECORDS_MIN);
        }
        Ok(())
    }

    /// Makes the intents of ops durable; the proofs are in the order of `intents`.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn begin(
        &mut self,
        intents: Vec<Intent>,
        now: Timestamp,
    ) -> Result<Vec<IntentRecorded>, JournalError> {
        self.begin_all(intents, |intent| intent.op, now)
    }

    /// The same for ops that undo others.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn begin_undo(
        &mut self,
        intents: Vec<UndoOf>,
        now: Timestamp,
    ) -> Result<Vec<IntentRecorded>, JournalError> {
        self.begin_all(intents, |of| of.intent().intent.op, now)
    }

    /// The same for ops that clone the kept copy.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn begin_reflink(
        &mut self,
        intents: Vec<ReflinkIntent>,
        now: Timestamp,
    ) -> Result<Vec<IntentRecorded>, JournalError> {
        self.begin_all(intents, |reflink| reflink.intent.op, now)
    }

    fn begin_all<I: Into<Record>>(
        &mut self,
        intents: Vec<I>,
        op: impl Fn(&I) -> OpId,
        now: Timestamp,
    ) -> Result<Vec<IntentRecorded>, JournalError> {
        let ops: Vec<OpId> = intents.iter().map(op).collect();
        let intents: Vec<Record> = intents.into_iter().map(Into::into).collect();
        self.record(&intents, now)?;
        Ok(ops.into_iter().map(IntentRecorded::new).collect())
    }

    /// Makes durable that every name of the duplicates of `ops` was retired; the proofs are in the order of `ops`.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn retired(
        &mut self,
        ops: &[IntentRecorded],
        now: Timestamp,
    ) -> Result<Vec<RetiredRecorded>, JournalError> {
        let records = ops.iter().map(|op| Record::Retired { op: op.op() });
        self.record(&records.collect::<Vec<_>>(), now)?;
        let proofs = ops.iter().map(|op| RetiredRecorded::new(op.op()));
        Ok(proofs.collect())
    }

    /// Writes lines about what was not planned or not done to the CSV log; the journal does not keep them.
    ///
    /// # Errors
    /// Fails if the lines may not be durable; every later call fails then.
    pub fn refused(&mut self, refused: &[RefusedLine], now: Timestamp) -> Result<(), JournalError> {
        self.check()?;
        if refused.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for line in refused {
            csv::push_refused(&mut lines, now, line);
        }
        self.poisoned = true;
        self.store.append_csv(&lines)?;
        self.poisoned = false;
        Ok(())
    }

    /// Shows the lines that the CSV log has of the ops of a run, or of all, oldest first; the header first.
    ///
    /// # Errors
    /// Fails if the journal cannot be read, or if `show` fails.
    pub fn csv<E: From<JournalError>>(
        &self,
        run: Option<u64>,
        mut show: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        show(csv::HEADER)?;
        let mut index = Index::default();
        self.replay(None, |entry| {
            let of = entry.record.run();
            let applied = index.apply(entry.record.clone());
            let op = applied.map_err(JournalError::Unexpected)?;
            let mut lines = Vec::new();
            if run.is_none_or(|run| run == of) {
                index.push_lines(&mut lines, entry.time, (op.as_ref(), &entry.record));
            }
            show(&lines)
        })
    }

    /// The ops that have no end, in the order of runs and ops.
    #[must_use]
    pub fn open_ops(&self) -> Vec<OpenOp> {
        self.index.open.values().cloned().collect()
    }

    /// How many names other ops that ended gave to the kept copy of the open op `op` since `op` began; `None` if that is
    /// unknown.
    #[must_use]
    pub fn names_given_since(&self, op: &Intent) -> Option<u64> {
        self.index.names_given_since(op)
    }

    /// Every run, oldest first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &RunSummary> {
        self.index.runs.values()
    }

    /// One run.
    #[must_use]
    pub fn run(&self, run: u64) -> Option<&RunSummary> {
        self.index.runs.get(&run)
    }

    /// The ops that ended with something left under a hidden name.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.index.conflicts
    }

    /// Reads every record again, of one run or of all, oldest first.
    ///
    /// # Errors
    /// Fails if the journal cannot be read or does not verify any more, or at the first error of `visit`.
    pub fn replay<E: From<JournalError>>(
        &self,
        run: Option<u64>,
        mut visit: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check()?;
        let mut stopped = None;
        let tip = read_all(&self.store, |entry, _| {
            if run.is_none_or(|run| run == entry.record.run()) {
                visit(entry).map_err(|error| {
                    stopped = Some(error);
                    ReadError::Damaged(String::new())
                })?;
            }
            Ok(())
        });
        if let Some(error) = stopped {
            return Err(error);
        }
        if tip? != self.tip {
            return Err(E::from(JournalError::Damaged {
                path: self.place().to_path_buf(),
                what: "its newest records are missing".to_owned(),
            }));
        }
        Ok(())
    }

    /// Closes the journal.
    fn into_store(self) -> S {
        self.store
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.poisoned { Err(JournalError::Poisoned) } else { Ok(()) }
    }

    fn next_run(&self) -> u64 {
        self.index.newest_run().max(self.numbers_after) + 1
    }

    /// Runs are numbered without gaps as they begin; gaps come from pruning and [`Self::number_after`] alone.
    fn in_sequence(&self, record: &Record) -> Result<(), JournalError> {
        let next = self.next_run();
        if record.begins_run() && record.run() != next {
            let what = format!("run {} cannot follow run {}", record.run(), next - 1);
            return Err(JournalError::Unexpected(what));
        }
        Ok(())
    }

    fn batch(&mut self, records: &[Record], now: Timestamp) -> Result<Batch, JournalError> {
        let mut batch = Batch { lines: Vec::new(), pairs: Vec::new(), tip: self.tip };
        for record in records {
            self.in_sequence(record)?;
            let applied = self.index.apply(record.clone());
            let op = applied.map_err(JournalError::Unexpected)?;
            let pushed = self.index.push_lines(&mut batch.lines, now, (op.as_ref(), record));
            pushed.ok_or_else(|| {
                JournalError::Unexpected("a file on a branch that its run does not have".to_owned())
            })?;
            batch.push(record, now, self.index.newest_run())?;
        }
        Ok(batch)
    }
}

/// The data that one call to [`Journal::record`] writes.
struct Batch {
    lines: Vec<u8>,
    pairs: Vec<store::Pair>,
    tip: Mark,
}

impl Batch {
    fn push(&mut self, record: &Record, now: Timestamp, run: u64) -> Result<(), JournalError> {
        let seq = self.tip.seq + 1;
        let (bytes, chain) =
            codec::encode(seq, now, record, self.tip.chain).map_err(|error| match error {
                codec::CodecError::TooLong(bytes) => JournalError::TooLong { bytes },
                other => JournalError::Unexpected(other.to_string()),
            })?;
        self.pairs.extend(codec::split(run, seq, &bytes));
        self.tip = Mark { seq, run, chain };
        Ok(())
    }
}

/// Returns the index of the journal and its last record: from `saved` on, or from every record. No record before the
/// mark may be missing.
fn read_index<S: Store>(
    store: &S,
    mark: &Mark,
    saved: Option<(Mark, Index)>,
) -> Result<(Mark, Index), JournalError> {
    let after = saved.as_ref().map(|(tip, _)| *tip);
    let mut index = saved.map(|(_, index)| index).unwrap_or_default();
    let mut met = after == Some(*mark) || (mark.seq == 0 && *mark == Mark::genesis(store.id()));
    let tip = read_from(store, after, |entry, tip| {
        met |= tip == mark;
        index.apply(entry.record).map_err(ReadError::Damaged)?;
        Ok(())
    })?;
    if !met {
        let what = if tip.seq < mark.seq {
            format!("records {} to {} are missing", tip.seq + 1, mark.seq)
        } else {
            format!("record {} is not the one that was written", mark.seq)
        };
        return Err(JournalError::Damaged { path: store.place().to_path_buf(), what });
    }
    Ok((tip, index))
}

/// Verifies every record of `store` and shows it, with the mark that would follow it.
fn read_all<S: Store>(
    store: &S,
    visit: impl FnMut(Entry, &Mark) -> Result<(), ReadError>,
) -> Result<Mark, JournalError> {
    read_from(store, None, visit)
}

/// The same for the records behind the record `after`, which has to be there.
fn read_from<S: Store>(
    store: &S,
    after: Option<Mark>,
    mut visit: impl FnMut(Entry, &Mark) -> Result<(), ReadError>,
) -> Result<Mark, JournalError> {
    let place = store.place();
    let explain = |error| match error {
        ReadError::Damaged(what) => JournalError::Damaged { path: place.to_path_buf(), what },
        ReadError::Newer(version) => {
            JournalError::NewerVersion { path: place.to_path_buf(), version: version.into() }
        }
    };
    let mut reader = after.map_or_else(|| StoreReader::new(store.id()), StoreReader::after);
    let from = after.map_or_else(Vec::new, |tip| codec::key(tip.run, tip.seq, 0));
    let mut known = Vec::new();
    store.load(&from, &mut |key, value| {
        let seq = codec::parse_key(key).map(|(_, seq, _)| seq);
        if after.is_some_and(|tip| seq == Some(tip.seq)) {
            known.extend_from_slice(value);
            return Ok(());
        }
        match reader.push(key, value).map_err(explain)? {
            Some(entry) => visit(entry, &reader.tip).map_err(explain),
            None => Ok(()),
        }
    })?;
    // A database that lost everything would otherwise look like one that nothing was added to.
    if let Some(tip) = after.filter(|tip| codec::chain_of(&known, tip.seq) != Some(tip.chain)) {
        let what = format!("record {} is not the one that was written", tip.seq);
        return Err(JournalError::Damaged { path: place.to_path_buf(), what });
    }
    reader.finish().map_err(explain)
}
