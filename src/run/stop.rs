//! When a run is to stop before its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asks a run to stop: a flag that other threads and signal handlers can set, and a deadline.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Returns a stop whose deadline is `max_time` from now; without a time it has no deadline.
    #[must_use]
    pub fn after(max_time: Option<Duration>) -> Self {
        Self {
            asked: Arc::default(),
            deadline: max_time.and_then(|time| Instant::now().checked_add(time)),
        }
    }

    /// Returns the flag: set to `true`, it stops the run after the batch in hand, and a scan at once.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn time_is_up(&self) -> bool {
        self.deadline.is_some_and(|at| Instant::now() >= at)
    }
}
