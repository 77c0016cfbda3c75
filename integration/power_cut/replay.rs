//! What the disks would hold had the power gone at some point of a recording.

use super::image::{Image, pieces};
use super::log::{Cut, Dice, Log, Record};

/// What becomes of the writes no completed flush of their own disk has covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// All of them reached the disk.
    KeepAll,
    /// None of them did.
    DropUnflushed,
    /// Each disk, by the seed: all, none, a prefix, or some of them.
    Random(u64),
    /// The same, and a write longer than a block may reach the disk in part.
    Torn(u64),
}

/// Walks along a log: cheap when the cuts asked for ascend.
pub(crate) struct Replay<'log> {
    log: &'log Log,
    at: Cut,
    /// What is on stable storage at `at`, by device.
    durable: Vec<Image>,
    /// Records that are not yet, by device and in order.
    unflushed: Vec<Vec<&'log Record>>,
}

impl<'log> Replay<'log> {
    /// Stands at the start of `log`.
    pub(crate) fn new(log: &'log Log) -> Self {
        let unflushed = vec![Vec::new(); log.base.len()];
        Self { log, at: Cut(0), durable: log.base.clone(), unflushed }
    }

    /// What each disk holds when the power goes at `cut` and `variant` befalls the unflushed writes.
    pub(crate) fn images(&mut self, cut: Cut, variant: Variant) -> Vec<Image> {
        self.go_to(cut);
        (0..self.durable.len()).map(|device| self.image(device, variant)).collect()
    }

    fn go_to(&mut self, cut: Cut) {
        if cut < self.at {
            *self = Self::new(self.log);
        }
        for record in &self.log.records[self.at.0..cut.0] {
            match record {
                Record::Write { device, .. } | Record::Zero { device, .. } => {
                    self.unflushed[*device].push(record);
                }
                Record::Flush { device } => {
                    for record in self.unflushed[*device].drain(..) {
                        apply(&mut self.durable[*device], record, |_| true);
                    }
                }
                Record::Mark(_) => {}
            }
        }
        self.at = cut;
    }

    fn image(&self, device: usize, variant: Variant) -> Image {
        let mut image = self.durable[device].clone();
        let pending = &self.unflushed[device];
        let fate = match variant {
            Variant::KeepAll => Fate::Prefix(pending.len()),
            Variant::DropUnflushed => Fate::Prefix(0),
            Variant::Random(seed) | Variant::Torn(seed) => {
                let torn = matches!(variant, Variant::Torn(_));
                Fate::drawn(
                    Dice::new(&[seed, self.at.0 as u64, device as u64]),
                    pending.len(),
                    torn,
                )
            }
        };
        fate.befall(&mut image, pending);
        image
    }
}

/// What happens to the unflushed writes of one disk.
enum Fate {
    /// The first so many reached it.
    Prefix(usize),
    /// Each reached it with a chance of so many in 8, whole or block by block.
    Some { dice: Dice, chance: u64, torn: bool },
}

impl Fate {
    fn drawn(mut dice: Dice, pending: usize, torn: bool) -> Self {
        match dice.below(6) {
            0 => Self::Prefix(0),
            1 => Self::Prefix(pending),
            2 => Self::Prefix(dice.below(pending as u64 + 1) as usize),
            3 => Self::Some { dice, chance: 1, torn },
            4 => Self::Some { dice, chance: 4, torn },
            _ => Self::Some { dice, chance: 7, torn },
        }
    }

    fn befall(self, image: &mut Image, pending: &[&Record]) {
        match self {
            Self::Prefix(count) => {
                for record in &pending[..count] {
                    apply(image, record, |_| true);
                }
            }
            Self::Some { mut dice, chance, torn } => {
                for record in pending {
                    let whole = dice.below(8) < chance;
                    apply(image, record, |_| if torn { dice.below(8) < chance } else { whole });
                }
            }
        }
    }
}

/// Applies the pieces of `record` that `reaches` lets through, block by block.
fn apply(image: &mut Image, record: &Record, mut reaches: impl FnMut(u64) -> bool) {
    match record {
        Record::Write { offset, data, .. } => {
            for (number, _, taken) in pieces(*offset, data.len()) {
                if reaches(number) {
                    image.write(offset + taken.start as u64, &data[taken]);
                }
            }
        }
        Record::Zero { offset, len, .. } => {
            for (number, _, taken) in pieces(*offset, *len as usize) {
                if reaches(number) {
                    image.zero(offset + taken.start as u64, taken.len() as u64);
                }
            }
        }
        Record::Flush { .. } | Record::Mark(_) => {}
    }
}
