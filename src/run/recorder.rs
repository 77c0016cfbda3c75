//! Passes the executor's reports on to the watcher, and keeps the numbers that the record of the run needs.

use super::{RunError, Site, Stop, Watcher};
use crate::execute::{Observer, OpEnded, Outcome};
use crate::fs::Look;
use crate::journal::{Journal, Record, RefusedLine, RunEnded, Store};

/// The executor's observer.
pub(super) struct Recorder<'r, S: Site> {
    site: &'r S,
    stop: &'r Stop,
    watcher: &'r mut dyn Watcher,
    run: u64,
    /// Ops of this run that were done.
    pub(super) done: u64,
    /// Bytes that became free.
    pub(super) reclaimed: u64,
    /// Ops that were not done.
    pub(super) not_done: Vec<RefusedLine>,
}

impl<'r, S: Site> Recorder<'r, S> {
    /// Makes a recorder for run number `run`; 0 for a recovery, which is no run.
    pub(super) fn new(site: &'r S, stop: &'r Stop, watcher: &'r mut dyn Watcher, run: u64) -> Self {
        Self { site, stop, watcher, run, done: 0, reclaimed: 0, not_done: Vec::new() }
    }

    /// Records the ops that were not done, and that the run has ended.
    pub(super) fn end<T: Store>(&self, journal: &mut Journal<T>) -> Result<(), RunError> {
        let time = self.site.fs().now();
        journal.refused(&self.not_done, time)?;
        let ended = RunEnded { run: self.run, time, done: self.done, reclaimed: self.reclaimed };
        Ok(journal.record(&[Record::RunEnded(ended)], time)?)
    }
}

impl<S: Site> Observer for Recorder<'_, S> {
    fn bytes_read(&mut self, bytes: u64) {
        self.watcher.bytes_read(bytes);
    }

    fn stepped(&mut self) {
        self.watcher.stepped();
    }

    fn interrupted(&self) -> bool {
        self.stop.asked()
    }

    fn time_is_up(&self) -> bool {
        self.stop.time_is_up()
    }

    fn pool_changed(&mut self) -> Option<String> {
        self.site.pool_changed()
    }

    fn ended(&mut self, ended: &OpEnded<'_>) {
        let op = ended.op;
        match ended.outcome {
            Outcome::Done { reclaimed } => {
                self.done += u64::from(!ended.recovered);
                self.reclaimed += reclaimed;
            }
            Outcome::NotDone(halt) | Outcome::Open(halt) => self.not_done.push(RefusedLine {
                run: self.run,
                op: ended.id,
                reason: halt.reason.as_str().to_owned(),
                pool_path: self.site.pool().path_of(&op.duplicate.path),
                master: self.site.pool().path_of(&op.master.path),
                bytes: op.bytes,
            }),
            Outcome::Conflict(..) => {}
        }
        self.watcher.op_ended(ended);
    }
}
