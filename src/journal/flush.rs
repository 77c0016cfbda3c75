//! The database's `flush`, which otherwise can wait for ever.

use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, Scope, scope};
use std::time::Duration;

use super::panic_boundary::contain;

/// The time before the first nudge; it doubles with each one.
const FIRST_NUDGE: Duration = Duration::from_millis(500);

/// Writes everything that was given to `db` to its files, without syncing them.
///
/// If a write fails while `sled::Db::flush` waits for it, sled 0.34.7 records the error and does not always wake the
/// thread that waits (`Log::exit_reservation`): a full disk would stop the program for ever. Another flush reads the
/// recorded error and wakes all threads.
pub(crate) fn flush(db: &sled::Db) -> sled::Result<()> {
    scope(|scope| {
        let (done, wait) = channel::<()>();
        // Without a thread this is sled's flush.
        drop(Builder::new().spawn_scoped(scope, move || nudge(scope, db, &wait)));
        let flushed = db.flush();
        drop(done);
        flushed.map(drop)
    })
}

/// Flushes again and again until `done` is dropped. Each flush has its own thread, because it may wait as well.
fn nudge<'s>(scope: &'s Scope<'s, '_>, db: &'s sled::Db, done: &Receiver<()>) {
    let mut pause = FIRST_NUDGE;
    while done.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        drop(Builder::new().spawn_scoped(scope, || drop(contain(|| db.flush()))));
        pause *= 2;
    }
}
