//! How long a rotating disk takes: an arm that moves, a platter that turns.

use std::time::Duration;

/// Bytes a second, once the arm is there.
const TRANSFER: f64 = 180e6;
/// The arm across the whole disk; a third of that is the shortest move.
const STROKE: Duration = Duration::from_millis(8);
/// Half a turn at 7,200 turns a minute: how long the platter takes, on average, to bring what is wanted.
pub(crate) const HALF_TURN: Duration = Duration::from_micros(4_167);

/// The arm of one disk.
#[derive(Debug)]
pub(crate) struct Arm {
    size: u64,
    at: u64,
}

/// What a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) time: Duration,
    /// Whether the arm had to move.
    pub(crate) seek: bool,
}

impl Arm {
    pub(crate) fn new(size: u64) -> Self {
        Self { size: size.max(1), at: 0 }
    }

    /// Which of the waiting requests is next, by their offsets: the first one ahead of the arm, else the lowest.
    pub(crate) fn next(&self, waiting: impl IntoIterator<Item = u64>) -> Option<usize> {
        let numbered = waiting.into_iter().enumerate();
        numbered.min_by_key(|(_, offset)| (*offset < self.at, *offset)).map(|(n, _)| n)
    }

    /// Reads or writes `len` bytes from `offset` on.
    pub(crate) fn transfer(&mut self, offset: u64, len: u64) -> Cost {
        let passed = |bytes: u64| Duration::from_secs_f64(bytes as f64 / TRANSFER);
        let far = offset.abs_diff(self.at) as f64 / self.size as f64;
        let move_there = STROKE.mul_f64((1.0 + 2.0 * far.sqrt()) / 3.0) + HALF_TURN;
        // What lies a little ahead comes round by itself.
        let wait = (offset >= self.at).then(|| passed(offset - self.at));
        let seek = wait.is_none_or(|wait| wait > move_there);
        let reach = if seek { move_there } else { wait.unwrap_or_default() };
        self.at = offset + len;
        Cost { time: reach + passed(len), seek }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: u64 = 2 << 30;
    const MIB: u64 = 1 << 20;

    #[test]
    fn what_follows_costs_no_seek_and_what_lies_apart_does() {
        let mut arm = Arm::new(DISK);
        assert!(!arm.transfer(0, MIB).seek);
        let next = arm.transfer(MIB, MIB);
        assert_eq!((next.seek, next.time.as_micros()), (false, 5_825));
        // 100 KiB further on: waited for.
        assert!(!arm.transfer(2 * MIB + (100 << 10), MIB).seek);
        let back = arm.transfer(0, MIB);
        assert!(back.seek && back.time > Duration::from_millis(12), "{back:?}");
        let far = arm.transfer(DISK - MIB, MIB);
        assert!(far.seek && far.time > back.time, "{far:?}");
    }

    #[test]
    fn the_arm_goes_on_before_it_goes_back() {
        let mut arm = Arm::new(DISK);
        arm.transfer(100 * MIB, MIB);
        assert_eq!(arm.next([50 * MIB, 300 * MIB, 200 * MIB]), Some(2));
        assert_eq!(arm.next([50 * MIB, 20 * MIB]), Some(1));
        assert_eq!(arm.next([]), None);
    }
}
