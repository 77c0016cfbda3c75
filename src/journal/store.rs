//! The calls the journal needs of its storage: the seam between the journal's rules and the disk.

use std::path::Path;

use super::JournalError;
use super::mark::Mark;

/// A value under its key.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A function that a store calls with each key and value.
pub type PairVisitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), JournalError> + 'a;

/// Where a journal is kept. The data a call wrote is on stable storage when the call returns `Ok`.
///
/// After an error the store does not know which data was written, and the caller may make no other call: repeating a
/// failed fsync can report success for lost data.
pub trait Store {
    /// The journal's random id, made together with the journal.
    fn id(&self) -> u32;

    /// The journal directory, for messages.
    fn place(&self) -> &Path;

    /// Calls `visit` with every pair from the key `from` on, in the order of keys, and stops at the first error.
    ///
    /// # Errors
    /// Fails if the store cannot be read, or if `visit` fails.
    fn load(&self, from: &[u8], visit: &mut PairVisitor<'_>) -> Result<(), JournalError>;

    /// Appends whole lines to the CSV log.
    ///
    /// # Errors
    /// Fails if the lines may not be durable.
    fn append_csv(&mut self, lines: &[u8]) -> Result<(), JournalError>;

    /// Adds all pairs, or none. With no pairs: makes durable what [`Self::load`] showed.
    ///
    /// # Errors
    /// Fails if the pairs may not be durable.
    fn commit(&mut self, pairs: &[Pair]) -> Result<(), JournalError>;

    /// The saved index, if there is one.
    fn saved_index(&self) -> Option<Vec<u8>> {
        None
    }

    /// Saves the index. It may be torn or lost: a reader verifies it, and can do without it.
    fn save_index(&self, _index: &[u8]) {}

    /// Writes how far the journal goes; a torn write leaves the mark before.
    ///
    /// # Errors
    /// Fails if the mark may not be durable.
    fn write_mark(&mut self, mark: &Mark) -> Result<(), JournalError>;

    /// The newest whole mark.
    ///
    /// # Errors
    /// Fails if the store has no whole mark.
    fn read_mark(&self) -> Result<Mark, JournalError>;
}
