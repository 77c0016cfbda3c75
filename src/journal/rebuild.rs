//! A journal that cannot be believed, and the one that takes its place.
//!
//! The new one is built beside, with the old one's id, which the hidden names on the branches have, and with run
//! numbers that go on. The old one is kept under a name that says what it is; nothing of it is ever removed.

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

/// What is left of a journal that cannot be opened. Locked as long as this lives.
#[derive(Debug)]
pub struct Remains {
    /// Where it is, or was.
    pub dir: PathBuf,
    /// Why it cannot be used; `None` where nothing is there.
    pub why: Option<JournalError>,
    /// Its id, where the mark file still tells.
    pub id: Option<u32>,
    /// The newest run that its mark knows of; 0 where that cannot be read.
    pub newest_run: u64,
    /// The CSV log, where there is one.
    pub log: Option<Vec<u8>>,
    lock: Option<DirLock>,
}

/// What is left of the journal in `dir`; `None` where it can be used as it is. The CSV log is `csv`, else the one in
/// it.
///
/// # Errors
/// When it is in use, was written by a newer version, or cannot be looked at: then it must not be replaced.
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

/// The id of the journal in `dir`, usable or not; `None` where its mark file does not tell.
#[must_use]
pub fn id_at(dir: &Path) -> Option<u32> {
    mark::id_of(&journal_dir::read_mark(dir).ok()?)
}

impl Remains {
    /// Puts a journal in place that has `id`, or one of its own, and holds `records` and the log; gives where the old one is kept.
    ///
    /// # Errors
    /// When it cannot be built; the old one is where it was then.
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
        // Twice, so that both slots hold it: the one of no records would vouch for a lost database.
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
        Self {
            index: Index::default(),
            tip: Mark::genesis(id),
            pairs: Vec::new(),
            log,
        }
    }

    fn push(&mut self, record: &Record, now: Timestamp) -> Result<(), JournalError> {
        let applied = self.index.apply(record.clone());
        if let Some(op) = applied.map_err(JournalError::Unexpected)? {
            // The log first says what is in the journal, here too.
            csv::push_op(&mut self.log, now, &op, record).ok_or_else(|| {
                JournalError::Unexpected("an op on a branch its run does not have".to_owned())
            })?;
        }
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
