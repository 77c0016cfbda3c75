//! Inode numbers: one number for each (filesystem, inode), the same at every look-up and for every name of the inode.

use std::sync::{Mutex, PoisonError};

use crate::fs::InodeId;
use crate::pool::relpath::RelPath;

/// Bits of a number that hold the inode number on the branch; a longer inode number is hashed.
const OWN_BITS: u32 = 48;
/// How many filesystems can have numbers without a hash.
const FILESYSTEMS: usize = (1 << 14) - 1;
/// Marks the hashed number of a file.
const HASHED: u64 = 1 << 62;
/// Marks the number of a directory, which is one directory in the pool and several on the branches.
const DIRECTORY: u64 = 1 << 63;
/// The number of the root directory in FUSE.
const ROOT: u64 = 1;

/// Assigns inode numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    /// The devices of the branches come first, in branch order, so that the next preview assigns the same numbers.
    devices: Mutex<Vec<u64>>,
}

impl Numbers {
    /// Numbers for branches on these devices.
    pub(super) fn new(of_branches: impl Iterator<Item = u64>) -> Self {
        let mut devices = Vec::new();
        for device in of_branches {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        Self { devices: Mutex::new(devices) }
    }

    /// The number of a file.
    pub(super) fn file(&self, id: InodeId) -> u64 {
        let device = self.device(id.dev) + 1;
        if device <= FILESYSTEMS && id.ino < 1 << OWN_BITS {
            return (device as u64) << OWN_BITS | id.ino;
        }
        let bytes = [(device as u64).to_le_bytes(), id.ino.to_le_bytes()].concat();
        HASHED | (hash(&bytes) & (HASHED - 1))
    }

    /// The number of a directory.
    pub(super) fn directory(path: &RelPath) -> u64 {
        if path.is_root() { ROOT } else { DIRECTORY | (hash(path.as_bytes()) & (DIRECTORY - 1)) }
    }

    fn device(&self, device: u64) -> usize {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.iter().position(|known| *known == device).unwrap_or_else(|| {
            devices.push(device);
            devices.len() - 1
        })
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    let first = hash.as_bytes().first_chunk::<8>();
    first.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_inode_of_each_filesystem_has_a_number_of_its_own() {
        let numbers = Numbers::new([7, 9, 7].into_iter());
        let ids = [7, 9, 11].into_iter().flat_map(|dev| {
            [1, 2, (1 << 48) - 1, 1 << 48, u64::MAX].map(|ino| InodeId { dev, ino })
        });
        let all: Vec<u64> = ids.clone().map(|id| numbers.file(id)).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 15);
        assert!(all.iter().all(|n| *n != ROOT && n & DIRECTORY == 0));
        assert_eq!(ids.map(|id| numbers.file(id)).collect::<Vec<_>>(), all);
        // The next mount assigns the same numbers, whichever file is looked up first.
        let again = Numbers::new([7, 9].into_iter());
        assert_eq!(again.file(InodeId { dev: 9, ino: 2 }), all[6]);
    }

    #[test]
    fn a_directory_is_known_by_its_path() {
        let number = |path: &str| Numbers::directory(&RelPath::new(path).unwrap());
        assert_eq!(number(""), 1);
        assert!(number("a") & DIRECTORY != 0 && number("a") != number("b"));
    }
}
