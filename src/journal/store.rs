//! What the journal needs of a place to keep things: the seam between its rules and the disk.

use std::path::Path;

use super::JournalError;
use super::mark::Mark;

/// A value under its key.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What is called with each key and value.
pub type PairVisitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), JournalError> + 'a;

/// Where a journal is kept. Whatever a call wrote is on stable storage when it returns `Ok`.
///
/// After an error nothing is known about what was written, and no other call may be made: repeating a failed
/// fsync can report success for lost data.
pub trait Store {
    /// The journal's random id, made with it.
    fn id(&self) -> u32;

    /// The journal directory, for messages.
    fn place(&self) -> &Path;

    /// Calls `visit` with every pair in the order of keys, and stops at the first error.
    ///
    /// # Errors
    /// When something cannot be read, and what `visit` returns.
    fn load(&self, visit: &mut PairVisitor<'_>) -> Result<(), JournalError>;

    /// Appends whole lines to the CSV log.
    ///
    /// # Errors
    /// When they may not be durable.
    fn append_csv(&mut self, lines: &[u8]) -> Result<(), JournalError>;

    /// Adds all pairs, or none. With no pairs: makes durable what [`Self::load`] showed.
    ///
    /// # Errors
    /// When they may not be durable.
    fn commit(&mut self, pairs: &[Pair]) -> Result<(), JournalError>;

    /// Writes how far the journal goes; a torn write leaves the mark before it.
    ///
    /// # Errors
    /// When it may not be durable.
    fn write_mark(&mut self, mark: &Mark) -> Result<(), JournalError>;

    /// The newest whole mark.
    ///
    /// # Errors
    /// When there is none.
    fn read_mark(&self) -> Result<Mark, JournalError>;
}
