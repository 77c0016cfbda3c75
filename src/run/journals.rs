//! Where the journal of a run comes from: opened if there is one, made when there is something to record.

use std::path::PathBuf;

use super::{RunError, real_path};
use crate::journal::{self, Journal, SledStore, Store};
use crate::pool::Pool;

/// The journal on disk.
pub type DiskJournal = Journal<SledStore>;

/// Opens or makes the journal of a run.
pub trait Journals {
    /// Where its records are.
    type Store: Store;

    /// Checks the place of the journal for a run on `pool`.
    ///
    /// # Errors
    /// When there is no place, or it lies in the pool.
    fn check(&self, pool: &Pool) -> Result<(), RunError>;

    /// Opens the journal; `None` if none was made yet.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read.
    fn existing(&mut self) -> Result<Option<Journal<Self::Store>>, RunError>;

    /// Makes the journal, or opens one that was made meanwhile.
    ///
    /// # Errors
    /// As [`Self::existing`], and when it cannot be made.
    fn make(&mut self) -> Result<Journal<Self::Store>, RunError>;
}

/// A directory for a journal.
#[derive(Debug, Clone, Default)]
pub struct JournalPlace {
    /// The directory.
    pub dir: Option<PathBuf>,
    /// The CSV log; without it, `log.csv` in the directory.
    pub csv: Option<PathBuf>,
}

impl JournalPlace {
    fn dir(&self) -> Result<&PathBuf, RunError> {
        self.dir.as_ref().ok_or(RunError::NoJournalPlace)
    }
}

impl Journals for JournalPlace {
    type Store = SledStore;

    /// A journal on the pool or a branch would be moved, deduplicated, or lost with the disk it is to repair.
    fn check(&self, pool: &Pool) -> Result<(), RunError> {
        real_path::outside(pool, "journal", self.dir()?)
    }

    fn existing(&mut self) -> Result<Option<DiskJournal>, RunError> {
        Ok(journal::open_existing(self.dir()?, self.csv.as_deref())?)
    }

    fn make(&mut self) -> Result<DiskJournal, RunError> {
        Ok(journal::create_or_open(self.dir()?, self.csv.as_deref())?)
    }
}
