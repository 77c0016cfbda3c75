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
