//! SIGINT and SIGTERM: the first lets the batch in hand finish, a second stops at once (the journal is for that).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::failure::Failure;

/// Whether and by what the program was asked to stop.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    asked: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
    deadline: Option<Instant>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// `max_time` from now the program is to stop in the same way, of its own accord.
    pub(super) fn listen(max_time: Option<Duration>) -> Result<Self, Failure> {
        let signals = Self {
            asked: Arc::new(AtomicBool::new(false)),
            which: Arc::new(AtomicUsize::new(0)),
            deadline: max_time.and_then(|time| Instant::now().checked_add(time)),
        };
        signals
            .register()
            .map_err(|error| Failure::environment(format!("cannot listen for signals: {error}")))?;
        Ok(signals)
    }

    fn register(&self) -> io::Result<()> {
        for (signal, number) in [(SIGINT, 2), (SIGTERM, 15)] {
            // In this order: the first time the flag is not set yet when the shutdown looks at it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&self.asked))?;
            flag::register_usize(signal, Arc::clone(&self.which), number)?;
            flag::register(signal, Arc::clone(&self.asked))?;
        }
        Ok(())
    }

    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether the time is up.
    pub(super) fn time_is_up(&self) -> bool {
        self.deadline.is_some_and(|at| Instant::now() >= at)
    }

    /// The exit status a shell gives a program that died of the signal.
    pub(super) fn exit_code(&self) -> Option<u8> {
        let which = self.which.load(Ordering::Relaxed);
        self.asked().then(|| 128 + u8::try_from(which).unwrap_or(2))
    }
}
