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
/// stub
pub trait Store {}
/// stub
pub struct Journal<S: Store>(S);
impl<S: Store> Journal<S> {
    /// stub
    pub fn id(&self) -> u32 {
        0
    }
    /// stub
    pub fn next_op(&mut self, run: u64) -> OpId {
        OpId { run, seq: 0 }
    }
    /// stub
    pub fn record(
        &mut self,
        _r: &[Record],
        _now: crate::fs::Timestamp,
    ) -> Result<(), JournalError> {
        Ok(())
    }
    /// stub
    pub fn open_ops(&self) -> Vec<OpenOp> {
        vec![]
    }
}
