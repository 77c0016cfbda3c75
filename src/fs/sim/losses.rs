//! Power loss: which of the unsynced changes have reached the disks.
//!
//! Two ways: as journaling filesystems do it, a prefix of each disk's changes of names and attributes, data written
//! back or not ([`PowerLoss::prefix_per_device`]); and any set of changes that keeps the order of each name
//! ([`PowerLoss::arbitrary`]).

use std::collections::BTreeSet;

use super::SimWorld;
use super::disk::Disk;
use super::state::State;

/// The fate of each unsynced change, a list a disk, oldest first: `true` if the change has reached the disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PowerLoss(Vec<Vec<bool>>);

/// The fate of unsynced data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// The kernel wrote the data back in time.
    Kept,
    /// The data is gone: files are empty or have their old bytes.
    Dropped,
}

impl PowerLoss {
    /// The oldest `kept[d]` of the changes of names and attributes of disk `d` have reached it.
    #[must_use]
    pub fn prefix_per_device(world: &SimWorld, kept: &[usize], data: Data) -> Self {
        let state = world.state();
        let disks = state.disks.iter().zip(kept).map(|(disk, kept)| {
            let mut left = *kept;
            let reached = disk.unsynced().iter().map(|change| {
                if change.is_data() {
                    return data == Data::Kept;
                }
                let reached = left > 0;
                left = left.saturating_sub(1);
                reached
            });
            reached.collect()
        });
        Self(disks.collect())
    }

    /// Any set of changes, chosen by `seed`.
    #[must_use]
    pub fn arbitrary(world: &SimWorld, seed: u64) -> Self {
        let mut random = Random(seed);
        let state = world.state();
        // Not always a coin: often nearly everything or nearly nothing is there.
        let odds = [1, 4, 7][usize::try_from(random.next() % 3).unwrap_or(0)];
        let mut choose = |disk: &Disk| {
            disk.unsynced().iter().map(|_| random.next() % 8 < odds).collect::<Vec<bool>>()
        };
        let chosen = state.disks.iter().map(&mut choose).collect();
        Self(chosen).closed(&state)
    }

    /// Nothing that was not synced has reached a disk.
    #[must_use]
    pub fn nothing_kept(world: &SimWorld) -> Self {
        let state = world.state();
        Self(state.disks.iter().map(|disk| vec![false; disk.unsynced().len()]).collect())
    }

    /// The set whose bits are `mask`, over all disks.
    fn of_mask(state: &State, mask: u64) -> Self {
        let mut bits = mask;
        let mut next = || {
            let bit = bits & 1 == 1;
            bits >>= 1;
            bit
        };
        let disks = state.disks.iter();
        Self(disks.map(|disk| disk.unsynced().iter().map(|_| next()).collect()).collect())
            .closed(state)
    }

    /// Drops every change that depends on a lost change.
    fn closed(mut self, state: &State) -> Self {
        for (disk, kept) in state.disks.iter().zip(&mut self.0) {
            for i in 0..kept.len() {
                kept[i] = kept[i] && disk.needs(i).into_iter().all(|earlier| kept[earlier]);
            }
        }
        self
    }
}

impl SimWorld {
    /// The world after power went away now and came back: processes, leases and open files are gone, devices have
    /// new numbers, and each disk has what was synced and what `loss` says of the rest.
    #[must_use]
    pub fn power_loss(&self, loss: &PowerLoss) -> Self {
        let mut state = self.state().clone();
        state.opens.clear();
        state.pins.clear();
        state.comings.clear();
        state.dentries.forget();
        state.acknowledged.retain(|write| write.synced);
        for (disk, kept) in state.disks.iter_mut().zip(&loss.0) {
            disk.lose_power(kept);
        }
        for branch in &mut state.branches {
            branch.mount += 100;
        }
        Self::of(state)
    }

    /// Ways to lose power now, each a different one: all prefixes and all sets where that is at most `limit`,
    /// else the extremes and a sample that is the same each time.
    pub fn power_loss_choices(&self, limit: usize) -> impl Iterator<Item = PowerLoss> + use<> {
        let half = limit.div_ceil(2).max(4);
        let mut choices = self.prefixes(half);
        choices.extend(self.sets(half));
        choices.into_iter()
    }

    fn prefixes(&self, limit: usize) -> BTreeSet<PowerLoss> {
        let lengths: Vec<usize> = {
            let state = self.state();
            let metadata = |disk: &Disk| disk.unsynced().iter().filter(|c| !c.is_data()).count();
            state.disks.iter().map(metadata).collect()
        };
        let mut found = BTreeSet::new();
        let mut add = |kept: &[usize]| {
            for data in [Data::Kept, Data::Dropped] {
                found.insert(PowerLoss::prefix_per_device(self, kept, data));
            }
        };
        let all = lengths.iter().fold(1usize, |n, len| n.saturating_mul(len + 1));
        if all.saturating_mul(2) <= limit {
            (0..all).for_each(|n| add(&digits(n, &lengths)));
            return found;
        }
        add(&vec![0; lengths.len()]);
        add(&lengths);
        // One disk has everything, another nothing: what reached both must not depend on their pace.
        for (i, len) in lengths.iter().enumerate() {
            let mut others_nothing = vec![0; lengths.len()];
            others_nothing[i] = *len;
            add(&others_nothing);
            let mut others_all = lengths.clone();
            others_all[i] = 0;
            add(&others_all);
        }
        let mut random = Random(all as u64);
        for _ in 0..limit / 2 {
            let n = random.next() % u64::try_from(all).unwrap_or(u64::MAX);
            add(&digits(usize::try_from(n).unwrap_or(0), &lengths));
        }
        found
    }

    fn sets(&self, limit: usize) -> BTreeSet<PowerLoss> {
        let state = self.state();
        let changes: usize = state.disks.iter().map(|disk| disk.unsynced().len()).sum();
        if changes < 20 && 1usize << changes <= limit {
            return (0..1u64 << changes).map(|mask| PowerLoss::of_mask(&state, mask)).collect();
        }
        drop(state);
        (0..limit as u64).map(|seed| PowerLoss::arbitrary(self, seed)).collect()
    }
}

/// The `n`th of all combinations of 0 to `lengths[d]`.
fn digits(mut n: usize, lengths: &[usize]) -> Vec<usize> {
    let digit = |len: &usize| {
        let digit = n % (len + 1);
        n /= len + 1;
        digit
    };
    lengths.iter().map(digit).collect()
}

/// splitmix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
