//! Proofs that a record is durable. Only the journal makes them, and the executor cannot go on without them.

use crate::plan::OpId;

/// The intent of an op is durable: the op may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntentRecorded(OpId);

impl IntentRecorded {
    pub(super) fn new(op: OpId) -> Self {
        Self(op)
    }

    /// The op.
    #[must_use]
    pub fn op(self) -> OpId {
        self.0
    }
}

/// The record that every name of a duplicate was retired is durable: the duplicate may be removed.
///
/// ```compile_fail
/// use mergerfs_xdedup::journal::RetiredRecorded;
/// let op = mergerfs_xdedup::plan::OpId { run: 1, seq: 1 };
/// // The field is private: without the journal there is no such value.
/// let proof = RetiredRecorded(op);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetiredRecorded(OpId);

impl RetiredRecorded {
    pub(super) fn new(op: OpId) -> Self {
        Self(op)
    }

    /// The op.
    #[must_use]
    pub fn op(self) -> OpId {
        self.0
    }
}
