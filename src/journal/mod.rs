//! The journal.
pub mod record;
pub use record::{
    BranchRecord, Copy, DirIntent, Found, Intent, NameIntent, OpId, OpKind, Record, RunEnded,
    RunStarted,
};

use std::io;
use std::sync::Arc;

/// Why the journal cannot be used, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// stub
    #[error("journal I/O")]
    Io(#[from] io::Error),
}

/// An op that has an intent and no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOp {
    /// The run it belongs to.
    pub run: Arc<RunStarted>,
    /// What was to be done.
    pub intent: Arc<Intent>,
    /// Whether a `Retired` record exists.
    pub retired: bool,
}
