//! Where the journal of a run comes from: opened if it exists, made when there is a fact to record.

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

    /// Returns the directory of the journal.
    ///
    /// # Errors
    /// When there is no place.
    fn place(&self) -> Result<PathBuf, RunError>;

    /// Checks the place of the journal for a run on `pool`.
    ///
    /// # Errors
    /// When there is no place, the place lies in the pool, or no journal is there and none can be made.
    fn check(&self, pool: &Pool) -> Result<(), RunError>;

    /// Shows a copy of the journal to `look`, and changes nothing of the journal; `None` if no journal was made yet.
    ///
    /// # Errors
    /// As [`Self::existing`], and [`JournalError::NotCopied`](journal::JournalError::NotCopied).
    fn look<T>(&self, look: impl FnOnce(&Journal<Self::Store>) -> T)
    -> Result<Option<T>, RunError>;

    /// Opens the journal; `None` if no journal was made yet.
    ///
    /// # Errors
    /// When another process has the journal, or the journal cannot be read.
    fn existing(&mut self) -> Result<Option<Journal<Self::Store>>, RunError>;

    /// Makes the journal, or opens a journal that was made meanwhile.
    ///
    /// # Errors
    /// As [`Self::existing`], and when the journal cannot be made.
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

    fn place(&self) -> Result<PathBuf, RunError> {
        self.dir().cloned()
    }

    /// A journal on the pool or a branch would be moved, deduplicated, or lost with the disk it is to repair.
    fn check(&self, pool: &Pool) -> Result<(), RunError> {
        real_path::outside(pool, "journal", self.dir()?)?;
        Ok(journal::can_be_made(self.dir()?)?)
    }

    fn look<T>(&self, look: impl FnOnce(&DiskJournal) -> T) -> Result<Option<T>, RunError> {
        Ok(journal::look_at_copy(self.dir()?, look)?)
    }

    fn existing(&mut self) -> Result<Option<DiskJournal>, RunError> {
        Ok(journal::open_existing(self.dir()?, self.csv.as_deref())?)
    }

    fn make(&mut self) -> Result<DiskJournal, RunError> {
        Ok(journal::create_or_open(self.dir()?, self.csv.as_deref())?)
    }
}
