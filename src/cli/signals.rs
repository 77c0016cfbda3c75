//! SIGINT and SIGTERM: the first lets the batch in hand finish, a second stops at once (the journal is for that).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::failure::Failure;
use crate::run::Stop;

/// Whether the program was asked to stop, and by which signal.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    stop: Stop,
    which: Arc<AtomicUsize>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// After `max_time`, the program stops in the same way by itself.
    pub(super) fn listen(max_time: Option<Duration>) -> Result<Self, Failure> {
        let signals = Self { stop: Stop::after(max_time), which: Arc::new(AtomicUsize::new(0)) };
        signals
            .register()
            .map_err(|error| Failure::environment(format!("cannot listen for signals: {error}")))?;
        Ok(signals)
    }

    fn register(&self) -> io::Result<()> {
        for (signal, number) in [(SIGINT, 2), (SIGTERM, 15)] {
            // The order matters: at the first signal, the flag is not yet set when the shutdown handler reads it.
            flag::register_conditional_shutdown(signal, 128 + signal, self.stop.flag())?;
            flag::register_usize(signal, Arc::clone(&self.which), number)?;
            flag::register(signal, self.stop.flag())?;
        }
        Ok(())
    }

    pub(super) fn asked(&self) -> bool {
        self.stop.asked()
    }

    /// The stop flag of a run.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The exit status that a shell reports for a program killed by the signal.
    pub(super) fn exit_code(&self) -> Option<u8> {
        let which = self.which.load(Ordering::Relaxed);
        self.asked().then(|| 128 + u8::try_from(which).unwrap_or(2))
    }
}
