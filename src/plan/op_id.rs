//! The number of an op.

use serde::{Deserialize, Serialize};

/// The number of an op. Runs count from 1 in a journal, ops from 1 in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId {
    /// The run.
    pub run: u64,
    /// The op within it.
    pub seq: u64,
}

impl OpId {
    /// Stands for an op whose number is lost with its journal: no op has it.
    pub const LOST: Self = Self { run: 0, seq: 0 };
}
