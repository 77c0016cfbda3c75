//! The barrier: the replacements are durable before any duplicate leaves its name.

use super::Executor;
use super::begun::Begun;
use super::publish::Published;
use super::work::{Over, Work};
use crate::fs::Change;
use crate::journal::Store;

/// An op whose replacements are durable: its duplicate may leave its names. Only the barrier makes it.
pub(super) struct Durable(Begun);

impl Durable {
    pub(super) fn into_begun(self) -> Begun {
        self.0
    }
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// The replacements are durable before any duplicate leaves its name. A power cut may undo the side that is not
    /// synced, and must never undo both.
    pub(super) fn barrier(
        &mut self,
        published: Vec<Work<Published>>,
        over: &mut Vec<Over>,
    ) -> Vec<Work<Durable>> {
        let synced = self.sync_touched(published, over, Published::into_begun);
        let durable = |work: Work<Published>| work.map(|op| Durable(op.into_begun()));
        synced.into_iter().map(durable).collect()
    }
}
