//! Who watches a run: each step when the run reaches it, and how every op ended.

use super::{RunError, WatcherError};
use crate::execute::OpEnded;
use crate::find::scan::{Meter, ScanResult};
use crate::fs::Timestamp;
use crate::fs::real::Space;
use crate::plan::{Plan, Refusal};
use crate::pool::Pool;

/// A run whose record was begun, or a plan in which there is nothing to do.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'r> {
    /// The pool.
    pub pool: &'r Pool,
    /// The number of the run; `None` if there is nothing to do.
    pub run: Option<u64>,
    /// The ops to do, and the refusals.
    pub plan: &'r Plan,
    /// The room on each branch before anything is done, in branch order.
    pub space: &'r [Option<Space>],
    /// Bytes of files that are still to be read to compare them.
    pub to_read: u64,
}

/// A run whose ops have all ended, or that stopped early.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'r> {
    /// The pool.
    pub pool: &'r Pool,
    /// The run that was taken back, if this was an undo.
    pub undoes: Option<u64>,
    /// When the run began to look for duplicates.
    pub began: Timestamp,
    /// The ops that were not planned.
    pub refusals: &'r [Refusal],
    /// The room on each branch now, in branch order.
    pub space: &'r [Option<Space>],
}

/// Watches a run. Every method has a default that does nothing; an error that a method returns ends the run.
pub trait Watcher {
    /// The pool is found and open; the run has read nothing of it yet.
    ///
    /// # Errors
    /// Ends the run.
    fn opened(&mut self, _pool: &Pool) -> Result<(), WatcherError> {
        Ok(())
    }

    /// Calls `scan`, which takes long; meanwhile `meter` shows the progress.
    fn scanning(&mut self, _meter: &Meter, scan: &mut dyn FnMut()) {
        scan();
    }

    /// The scan is over, at `now`.
    ///
    /// # Errors
    /// Ends the run.
    fn scanned(
        &mut self,
        _pool: &Pool,
        _found: &ScanResult,
        _now: Timestamp,
    ) -> Result<(), WatcherError> {
        Ok(())
    }

    /// Ops of earlier runs on `pool` are open; the run finishes them or takes them back now.
    fn recovering(&mut self, _pool: &Pool) {}

    /// `open` of these ops have to stay open.
    ///
    /// # Errors
    /// Ends the run.
    fn recovered(&mut self, _open: usize) -> Result<(), WatcherError> {
        Ok(())
    }

    /// The plan is made and the run is recorded; no op was begun yet.
    ///
    /// # Errors
    /// Ends the run.
    fn begun(&mut self, _begun: &Begun<'_>) -> Result<(), WatcherError> {
        Ok(())
    }

    /// More bytes were read to compare or copy.
    fn bytes_read(&mut self, _bytes: u64) {}

    /// An op under way came through another of its steps.
    fn stepped(&mut self) {}

    /// An op ended.
    fn op_ended(&mut self, _ended: &OpEnded<'_>) {}

    /// The last op ended, and its end is recorded; or the run stopped early, and its error follows.
    ///
    /// # Errors
    /// Ends the run.
    fn ended(&mut self, _ended: &Ended<'_>) -> Result<(), WatcherError> {
        Ok(())
    }

    /// Returns the exit status that the user's command after the run sees.
    fn exit_status(&self, result: Result<(), &RunError>) -> u8 {
        u8::from(result.is_err())
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Watcher for Nobody {}
