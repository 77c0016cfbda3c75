//! Limits how many readers wait for one disk at a time.
//!
//! Two readers make the arm of a rotating disk go to and fro; an SSD is fast only with many readers. The kernel's flag
//! for a disk is a first guess: most virtual disks claim to rotate, whatever the real disk is, so the gate times the
//! answers. Data that is already in memory needs no gate.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Answers that are timed before the gate decides that a disk that claims to rotate is faster than any rotating disk.
const ANSWERS_MIN: u32 = 16;
/// Readers at a time on a disk that does not rotate.
const READERS_MAX: usize = 16;

/// The way to one disk.
#[derive(Debug)]
pub(super) struct Gate {
    rotating: bool,
    /// No arm moves within this time.
    quick: Duration,
    state: Mutex<GateState>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    inside: usize,
    waiting: usize,
    answers: u32,
    /// How long an answer takes, smoothed, in seconds.
    answer_s: f64,
}

/// A turn at a disk; dropping the turn lets the next reader in.
#[derive(Debug)]
pub(super) struct Turn<'g> {
    gate: &'g Gate,
}

impl Gate {
    /// The gate of a disk; a disk that answers within `quick` does not rotate.
    pub(super) fn new(rotating: bool, quick: Duration) -> Self {
        Self { rotating, quick, state: Mutex::default(), free: Condvar::new() }
    }

    /// Waits for a turn.
    pub(super) fn enter(&self) -> Turn<'_> {
        let mut state = self.state();
        while state.inside >= self.readers(&state) {
            state.waiting += 1;
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.inside += 1;
        Turn { gate: self }
    }

    /// Whether reading in the order in which the files lie on the disk pays.
    pub(super) fn order_pays(&self) -> bool {
        self.readers(&self.state()) == 1
    }

    /// Whether the disk has given enough answers, as slow as those of a rotating disk.
    pub(super) fn is_known_slow(&self) -> bool {
        let state = self.state();
        state.answers >= ANSWERS_MIN && self.readers(&state) == 1
    }

    fn readers(&self, state: &GateState) -> usize {
        let quick = state.answers >= ANSWERS_MIN && state.answer_s < self.quick.as_secs_f64();
        if self.rotating && !quick { 1 } else { READERS_MAX }
    }

    fn answered(&self, took: Duration) {
        let mut state = self.state();
        let took = took.as_secs_f64();
        state.answers = state.answers.saturating_add(1);
        // First the mean of all answers, later the mean of the last few dozen answers.
        let share = (1.0 / f64::from(state.answers)).max(1.0 / 32.0);
        state.answer_s += (took - state.answer_s) * share;
        let more = self.readers(&state) > 1 && state.waiting > 0;
        drop(state);
        if more {
            self.free.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Notes how long an answer took.
    pub(super) fn note(&self, took: Duration) {
        self.gate.answered(took);
    }

    /// Times one question to the disk: a question that moves the arm, if the disk has an arm.
    pub(super) fn ask<T>(&self, question: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let answer = question();
        self.note(start.elapsed());
        answer
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.inside -= 1;
        // A wake-up is a system call even if no thread waits.
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.gate.free.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_claims_to_rotate_is_believed_until_it_answers_too_fast() {
        let gate = Gate::new(true, Duration::from_millis(1));
        assert!(gate.order_pays());
        for _ in 0..ANSWERS_MIN {
            gate.answered(Duration::from_micros(100));
        }
        assert!(!gate.order_pays());
        let turns: Vec<_> = (0..READERS_MAX).map(|_| gate.enter()).collect();
        drop(turns);
        for _ in 0..40 {
            gate.answered(Duration::from_millis(9));
        }
        assert!(gate.order_pays());
    }

    #[test]
    fn one_at_a_time_reads_a_rotating_disk() {
        let gate = Gate::new(true, Duration::from_millis(1));
        let inside = Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _turn = gate.enter();
                        let now = {
                            let mut inside = inside.lock().unwrap();
                            inside.0 += 1;
                            inside.1 = inside.1.max(inside.0);
                            inside.0
                        };
                        assert_eq!(now, 1);
                        inside.lock().unwrap().0 -= 1;
                    }
                });
            }
        });
        assert_eq!(inside.into_inner().unwrap(), (0, 1));
    }
}
