//! Replaces a journal that cannot be believed.
//!
//! The new journal is built beside the old journal. It has the old journal's id, as the hidden names on the branches
//! have this id, and its run numbers go on. The old journal is kept under a name that describes it; no part of the
//! old journal is ever removed.

use std::path::{Path, PathBuf};

use super::codec;
use super::csv::{self, TornLine};
use super::dir_lock::DirLock;
use super::durable::MarkFile;
use super::index::Index;
use super::journal_dir::{self, open_existing};
use super::mark::{self, Mark};
use super::rebuilding::Rebuilding;
use super::record::Record;
use super::sled_store::Database;
use super::{Journal, JournalError, SledStore};
use crate::fs::Timestamp;

/// The remains of a journal that cannot be opened. The journal is locked as long as this value lives.
#[derive(Debug)]
pub struct Remains {
    /// Where the journal is, or was.
    pub dir: PathBuf,
    /// Why the journal cannot be used; `None` if nothing is there.
    pub why: Option<JournalError>,
    /// The journal's id, if the mark file still has it.
    pub id: Option<u32>,
    /// The newest run in the journal's mark; 0 if the mark cannot be read.
    pub newest_run: u64,
    /// The CSV log, where there is one.
    pub log: Option<Vec<u8>>,
    lock: Option<DirLock>,
}

/// Returns the remains of the journal in `dir`; `None` if the journal can be used as it is. The CSV log is `csv`, else
/// the log in `dir`.
///
/// # Errors
/// Fails if the journal is in use, was written by a newer version, or cannot be read: then no caller may replace it.
pub fn remains(dir: &Path, csv: Option<&Path>) -> Result<Option<Remains>, JournalError> {
    let dir = journal_dir::resolved(dir)?;
    let (why, lock) = match open_existing(&dir, csv) {
        Ok(Some(_)) => return Ok(None),
        Ok(None) => (None, None),
        Err(why @ JournalError::Damaged { .. }) => match DirLock::take(&dir)? {
            Some(lock) => (Some(why), Some(lock)),
            None => return Err(JournalError::Locked { path: dir }),
        },
        Err(other) => return Err(other),
    };
    let bytes = journal_dir::read_mark(&dir)?;
    let log = csv.map_or_else(|| journal_dir::log_of(&dir), Path::to_path_buf);
    Ok(Some(Remains {
        id: mark::id_of(&bytes),
        newest_run: mark::parse(&bytes).map_or(0, |file| file.mark.run),
        log: journal_dir::read_if_there(&log)?,
        dir,
        why,
        lock,
    }))
}

/// The id of the journal in `dir`, usable or not; `None` if the journal's mark file does not have the id.
#[must_use]
pub fn id_at(dir: &Path) -> Option<u32> {
    mark::id_of(&journal_dir::read_mark(dir).ok()?)
}

impl Remains {
    /// Puts a new journal in place that holds `records` and the log. The new journal has `id`, or an id of its own.
    /// Returns the path where the old journal is kept.
    ///
    /// # Errors
    /// Fails if the new journal cannot be built; the old journal is then where it was.
    pub fn replace(
        self,
        id: Option<u32>,
        records: &[Record],
        now: Timestamp,
    ) -> Result<(Journal<SledStore>, Option<PathBuf>), JournalError> {
        let id = id.map_or_else(journal_dir::random_id, Ok)?;
        journal_dir::make_parents_of(&self.dir)?;
        let new = Rebuilding::begin(&self.dir)?;
        Database::create(&new.database())?;
        let database = Database::open_existing(&new.database())?;
        let mut filled = Filled::new(id, self.log.unwrap_or_else(|| csv::HEADER.to_vec()));
        for record in records {
            filled.push(record, now)?;
        }
        database.commit(&filled.pairs)?;
        drop(database);
        MarkFile::create(&new.mark(), id)?;
        // Twice, so that both slots hold the mark: a mark of no records would vouch for a lost database.
        let mut file = MarkFile::open(&new.mark())?;
        file.write(&filled.tip)?;
        file.write(&filled.tip)?;
        drop(file);
        new.write_log(&filled.log)?;
        let open = filled.index.open.len();
        let new = new.finish(|rebuilt| rebuilt.open_ops().len() == open)?;
        match self.lock {
            Some(old) => new.keep_aside(old, now),
            None => new.take_free_place(),
        }
    }
}

/// The records of a new journal as they are to be stored, and its log.
struct Filled {
    index: Index,
    tip: Mark,
    pairs: Vec<super::store::Pair>,
    log: Vec<u8>,
}

impl Filled {
    fn new(id: u32, mut log: Vec<u8>) -> Self {
        let mut torn = TornLine::default();
        torn.read(&log);
        log.extend_from_slice(torn.completion());
        if log.is_empty() {
            log.extend_from_slice(csv::HEADER);
        }
        Self { index: Index::default(), tip: Mark::genesis(id), pairs: Vec::new(), log }
    }

    fn push(&mut self, record: &Record, now: Timestamp) -> Result<(), JournalError> {
        let applied = self.index.apply(record.clone());
        let op = applied.map_err(JournalError::Unexpected)?;
        // An op gets its log line before its journal record, here too.
        self.index.push_lines(&mut self.log, now, (op.as_ref(), record)).ok_or_else(|| {
            JournalError::Unexpected("a file on a branch that its run does not have".to_owned())
        })?;
        let seq = self.tip.seq + 1;
        let encoded = codec::encode(seq, now, record, self.tip.chain);
        let (bytes, chain) =
            encoded.map_err(|error| JournalError::Unexpected(error.to_string()))?;
        let run = self.index.newest_run();
        self.pairs.extend(codec::split(run, seq, &bytes));
        self.tip = Mark { seq, run, chain };
        Ok(())
    }
}
