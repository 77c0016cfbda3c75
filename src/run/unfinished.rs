//! Interrupted runs, as a plan reports them before recovery.

use crate::journal::OpenOp;
use crate::plan::HalfDone;
use crate::pool::Pool;

/// A run that was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Its number.
    pub run: u64,
    /// How many of its ops are open.
    pub open: usize,
}

/// Returns the runs on `pool` that have some of `ops` open, and the files of these ops.
#[must_use]
pub fn unfinished(ops: &[OpenOp], pool: &Pool) -> (Vec<Unfinished>, HalfDone) {
    let (mut runs, mut half_done): (Vec<Unfinished>, _) = (Vec::new(), HalfDone::default());
    for OpenOp { run, intent, .. } in ops.iter().filter(|op| op.run.pool == pool.mount) {
        match runs.iter_mut().find(|unfinished| unfinished.run == run.run) {
            Some(unfinished) => unfinished.open += 1,
            None => runs.push(Unfinished { run: run.run, open: 1 }),
        }
        let names = intent.names.iter().map(|name| name.path.clone());
        half_done.add(intent.op, names, intent.master.path.clone());
    }
    (runs, half_done)
}
