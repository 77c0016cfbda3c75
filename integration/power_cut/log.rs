//! What happened to the disks of one recording, in one total order.

use std::ops::Range;
use std::sync::Arc;

use super::image::Image;

/// One thing that happened to one disk, or a note of the test.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// Bytes written.
    Write { device: usize, offset: u64, data: Arc<[u8]> },
    /// A range discarded or set to zeroes; it reads as zeroes afterwards.
    Zero { device: usize, offset: u64, len: u64 },
    /// A flush completed: what was written to that disk before is on stable storage.
    Flush { device: usize },
    /// The test's own word for what it had seen done by then.
    Mark(String),
}

/// A point in time at which the power goes: so many records had happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cut(pub(crate) usize);

/// Which points in time to try.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sampling {
    /// Every point.
    Every,
    /// About so many points, drawn by a seed: half just before a flush completes, when most is at stake, half
    /// anywhere; both ends always.
    Seeded {
        /// How many.
        count: usize,
        /// What to draw them by.
        seed: u64,
    },
}

/// The log of one recording.
#[derive(Debug)]
pub(crate) struct Log {
    /// What the disks held when the recording began.
    pub(crate) base: Vec<Image>,
    /// What they held when it ended.
    pub(crate) live: Vec<Image>,
    /// What happened in between.
    pub(crate) records: Vec<Record>,
}

impl Log {
    /// The end: everything had happened.
    pub(crate) fn end(&self) -> Cut {
        Cut(self.records.len())
    }

    /// The point at which `mark` was set, if it was.
    pub(crate) fn find_mark(&self, mark: &str) -> Option<Cut> {
        let here = |record: &Record| matches!(record, Record::Mark(text) if text == mark);
        self.records.iter().position(here).map(|at| Cut(at + 1))
    }

    /// The point at which `mark` was set.
    pub(crate) fn mark(&self, mark: &str) -> Cut {
        self.find_mark(mark).unwrap_or_else(|| panic!("no mark {mark:?} in the log"))
    }

    /// How many flushes of `device` are in `range`.
    pub(crate) fn flushes(&self, device: usize, range: Range<Cut>) -> usize {
        self.records[range.start.0..range.end.0]
            .iter()
            .filter(|record| matches!(record, Record::Flush { device: of } if *of == device))
            .count()
    }

    /// Points in `range` (its end included) to cut the power at, ascending.
    pub(crate) fn cut_points(&self, range: Range<Cut>, sampling: Sampling) -> Vec<Cut> {
        let mut cuts: Vec<Cut> = match sampling {
            Sampling::Every => (range.start.0..=range.end.0).map(Cut).collect(),
            Sampling::Seeded { count, seed } => {
                let mut dice = Dice::new(&[seed]);
                let anywhere: Vec<Cut> = (range.start.0..range.end.0).map(Cut).collect();
                let flushes = anywhere.iter().copied().filter(|cut| self.flush_at(*cut));
                let mut cuts = dice.draw(&flushes.collect::<Vec<_>>(), count / 2);
                cuts.extend(dice.draw(&anywhere, count - count / 2));
                cuts.extend([range.start, range.end]);
                cuts
            }
        };
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// What surrounds a cut, for the report of a failure.
    pub(crate) fn describe(&self, cut: Cut) -> String {
        let done = &self.records[..cut.0];
        let mark = done.iter().rev().find_map(|record| match record {
            Record::Mark(text) => Some(text.as_str()),
            Record::Write { .. } | Record::Zero { .. } | Record::Flush { .. } => None,
        });
        let next = self.records.get(cut.0).map_or("the end".to_owned(), Record::summary);
        let mark = mark.unwrap_or("the start");
        format!("record {} of {} (after {mark:?}, before {next})", cut.0, self.records.len())
    }

    fn flush_at(&self, cut: Cut) -> bool {
        matches!(self.records.get(cut.0), Some(Record::Flush { .. }))
    }
}

impl Record {
    fn summary(&self) -> String {
        match self {
            Self::Write { device, offset, data } => {
                format!("write of {} bytes at {offset} of disk {device}", data.len())
            }
            Self::Zero { device, offset, len } => {
                format!("zeroing of {len} bytes at {offset} of disk {device}")
            }
            Self::Flush { device } => format!("flush of disk {device}"),
            Self::Mark(text) => format!("mark {text:?}"),
        }
    }
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice for `seeds`, all of which count.
    pub(crate) fn new(seeds: &[u64]) -> Self {
        let mut dice = Self(0x9e37_79b9_7f4a_7c15);
        for seed in seeds {
            dice.0 ^= seed.wrapping_mul(0xff51_afd7_ed55_8ccd);
            dice.roll();
            dice.0 = dice.roll();
        }
        dice
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At most `count` of `all`, one from each of `count` equal stretches, so that none is left out.
    fn draw(&mut self, all: &[Cut], count: usize) -> Vec<Cut> {
        if all.len() <= count {
            return all.to_vec();
        }
        let stretch = |n: usize| n * all.len() / count;
        (0..count)
            .map(|n| {
                let (start, end) = (stretch(n), stretch(n + 1));
                all[start + self.below((end - start) as u64) as usize]
            })
            .collect()
    }
}

#[test]
fn seeded_sampling_is_repeatable_and_covers_the_whole_range() {
    let records = (0..1000).map(|n| match n % 10 {
        9 => Record::Flush { device: 0 },
        _ => Record::Zero { device: 0, offset: 0, len: 0 },
    });
    let log = Log { base: vec![], live: vec![], records: records.collect() };
    let sampling = Sampling::Seeded { count: 20, seed: 1 };
    let cuts = log.cut_points(Cut(0)..log.end(), sampling);
    assert_eq!(cuts, log.cut_points(Cut(0)..log.end(), sampling));
    assert!((20..=22).contains(&cuts.len()), "{cuts:?}");
    let widest = cuts.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
    assert!(widest < Some(250), "{cuts:?}");
}
