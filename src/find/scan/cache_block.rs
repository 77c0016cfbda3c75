//! Encodes the known hashes of 32 neighbouring inodes: at most 2 KiB, a fixed part per inode, a checksum at the end.

use super::catalog::Stamp;
use super::read::{Hash, Part};
use crate::fs::FsId;

const HAS_HEAD: u8 = 1;
const HAS_TAIL: u8 = 2;
const HAS_WHOLE: u8 = 4;

/// A hash of a part of a file, stored or requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CachedFile {
    pub(super) fs: FsId,
    pub(super) ino: u64,
    pub(super) stamp: Stamp,
    pub(super) part: Part,
    pub(super) hash: Hash,
}

/// The known hashes of one inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// The lower bits of the inode number.
    low: u8,
    /// The day on which the slot was last used, since the epoch.
    pub(super) seen: u16,
    stamp: Stamp,
    /// Of the beginning and of the end.
    ends: Option<Hash>,
    whole: Option<Hash>,
}

impl Slot {
    /// Bytes of a slot with all hashes.
    pub(super) const SIZE_MAX: u64 = 60;
}

/// The known hashes of the inodes of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    slots: Vec<Slot>,
}

impl Block {
    /// Inodes that share a key: their slots stay below the size from which the database uses side files.
    pub(super) const INODES: u64 = 32;

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Returns the slot and the requested hash, if the file has not changed since it was read.
    pub(super) fn find(&self, asked: &CachedFile) -> Option<(&Slot, Hash)> {
        let slot = self.slots.iter().find(|s| s.low == low_of(asked))?;
        let hash = match asked.part {
            Part::Ends => slot.ends,
            Part::Whole => slot.whole,
        }?;
        (slot.stamp == asked.stamp).then_some((slot, hash))
    }

    /// Stores a hash that was read on day `today`; drops the hashes of an older state of the file.
    pub(super) fn put(&mut self, entry: &CachedFile, today: u16) {
        let low = low_of(entry);
        let known = |slot: &Slot| slot.low == low && slot.stamp == entry.stamp;
        if !self.slots.iter().any(known) {
            self.slots.retain(|slot| slot.low != low);
            self.slots.push(Slot { low, seen: today, stamp: entry.stamp, ends: None, whole: None });
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.low == low) {
            slot.seen = today;
            match entry.part {
                Part::Ends => slot.ends = Some(entry.hash),
                Part::Whole => slot.whole = Some(entry.hash),
            }
        }
    }

    /// Drops the slots that were not used since `day`; returns whether there were such slots.
    pub(super) fn drop_before(&mut self, day: u16) -> bool {
        let before = self.slots.len();
        self.slots.retain(|slot| slot.seen >= day);
        self.slots.len() < before
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.slots.len() * 60 + 4);
        for slot in &self.slots {
            let has = |there: bool, flag| if there { flag } else { 0 };
            out.push(slot.low);
            out.push(
                has(slot.ends.is_some(), HAS_HEAD | HAS_TAIL)
                    | has(slot.whole.is_some(), HAS_WHOLE),
            );
            out.extend(slot.seen.to_le_bytes());
            out.extend(slot.stamp.size.to_le_bytes());
            out.extend(slot.stamp.mtime.to_le_bytes());
            out.extend(slot.stamp.ctime.to_le_bytes());
            for hash in [slot.ends, slot.whole].into_iter().flatten().flatten() {
                out.extend(hash.to_le_bytes());
            }
        }
        let sum = crc32fast::hash(&out);
        out.extend(sum.to_le_bytes());
        out
    }

    /// Decodes `bytes`; returns an empty block if `bytes` are damaged.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        decoded(bytes).unwrap_or_default()
    }
}

fn decoded(bytes: &[u8]) -> Option<Block> {
    let (mut rest, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
        return None;
    }
    let mut block = Block::default();
    while !rest.is_empty() {
        let [low, flags] = take(&mut rest)?;
        let seen = u16::from_le_bytes(take(&mut rest)?);
        let stamp = Stamp {
            size: u64::from_le_bytes(take(&mut rest)?),
            mtime: i64::from_le_bytes(take(&mut rest)?),
            ctime: i64::from_le_bytes(take(&mut rest)?),
        };
        let mut hash = |flag: u8| -> Option<Option<u64>> {
            match flags & flag {
                0 => Some(None),
                _ => take(&mut rest).map(|bytes| Some(u64::from_le_bytes(bytes))),
            }
        };
        let (head, tail) = (hash(HAS_HEAD)?, hash(HAS_TAIL)?);
        let (a, b) = (hash(HAS_WHOLE)?, hash(HAS_WHOLE)?);
        let both = |(a, b)| [a, b];
        block.slots.push(Slot {
            low,
            seen,
            stamp,
            // Earlier versions stored the beginning by itself where the ends were not read.
            ends: head.zip(tail).map(both),
            whole: a.zip(b).map(both),
        });
    }
    Some(block)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

fn low_of(entry: &CachedFile) -> u8 {
    // Less than 32.
    (entry.ino % Block::INODES) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ino: u64, part: Part) -> CachedFile {
        CachedFile {
            fs: FsId { uuid: [0; 16], subvolume: 0 },
            ino,
            stamp: Stamp { size: ino, mtime: i64::MIN, ctime: i64::MAX },
            part,
            hash: [ino, 0],
        }
    }

    #[test]
    fn a_block_comes_back_as_it_was_or_not_at_all() {
        let mut block = Block::default();
        for ino in 0..Block::INODES {
            for part in [Part::Ends, Part::Whole] {
                if ino % 3 != 0 || part == Part::Whole {
                    block.put(&entry(ino, part), 9);
                }
            }
        }
        let bytes = block.encode();
        assert!(bytes.len() as u64 <= Block::INODES * Slot::SIZE_MAX + 4);
        assert_eq!(Block::decode(&bytes), block);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(Block::decode(&damaged), Block::default(), "{at}");
        }
        assert_eq!(Block::decode(&bytes[..bytes.len() - 1]), Block::default());
    }
}
