//! How much was freed when, in a bounded number of points however long the run is.

use std::time::Duration;

/// More than a screen can show.
const POINTS_MAX: usize = 512;

/// Bytes and ops up to a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) at: Duration,
    pub(super) bytes: u64,
    pub(super) ops: u64,
}

/// The points, in time order; the last one is always there.
#[derive(Debug, Default)]
pub(super) struct TimeLine {
    points: Vec<Point>,
    now: Point,
    /// One of so many is kept, as a power of two.
    thinned: u32,
}

impl TimeLine {
    /// `bytes` more were freed, by one op.
    pub(super) fn add(&mut self, at: Duration, bytes: u64) {
        self.now = Point { at, bytes: self.now.bytes + bytes, ops: self.now.ops + 1 };
        if !self.now.ops.is_multiple_of(1 << self.thinned) {
            return;
        }
        self.points.push(self.now);
        if self.points.len() >= POINTS_MAX {
            self.thinned += 1;
            let stride = 1 << self.thinned;
            self.points.retain(|point| point.ops.is_multiple_of(stride));
        }
    }

    /// The points kept, and the last.
    pub(super) fn points(&self) -> impl Iterator<Item = Point> {
        let last = self.points.last() != Some(&self.now);
        let now = Some(self.now).filter(|now| last && now.ops > 0);
        self.points.iter().copied().chain(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_thinned_and_keeps_its_end() {
        let mut line = TimeLine::default();
        assert_eq!(line.points().count(), 0);
        for n in 1..=100_001 {
            line.add(Duration::from_secs(n), 10);
        }
        let points: Vec<Point> = line.points().collect();
        assert!((POINTS_MAX / 4..=POINTS_MAX + 1).contains(&points.len()));
        assert!(points.is_sorted_by_key(|point| (point.at, point.ops)));
        let last = points.last().unwrap();
        assert_eq!((last.bytes, last.ops), (1_000_010, 100_001));
    }
}
