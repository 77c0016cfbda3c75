//! The progress of a scan as numbers, which another thread can read.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The phases of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking for files.
    Walk,
    /// Reading beginnings and ends of files of equal size, and whole files where that is cheaper.
    Ends,
    /// Reading the whole of files that are still equal.
    Contents,
    /// Looking up the files that were found to be equal.
    Members,
}

const PHASES: [Phase; 4] = [Phase::Walk, Phase::Ends, Phase::Contents, Phase::Members];

/// The figures of the current phase.
#[derive(Debug, Default)]
pub struct Meter {
    phase: AtomicU8,
    files: AtomicU64,
    files_total: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    disks: Mutex<Vec<Arc<DiskMeter>>>,
}

#[derive(Debug)]
pub(super) struct DiskMeter {
    share: DiskShare,
    bytes: AtomicU64,
}

/// The bytes that a phase reads from one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskShare {
    /// The kernel's name of the disk.
    pub name: String,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes to read.
    pub total: u64,
}

/// The figures at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The current phase.
    pub phase: Phase,
    /// Files found, or read.
    pub files: u64,
    /// Files to be read; 0 if the number is not known.
    pub files_total: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes to be read; 0 if the number is not known.
    pub bytes_total: u64,
    /// The figures by disk, if there are several disks.
    pub disks: Vec<DiskShare>,
}

impl Meter {
    /// The figures now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let share =
            |disk: &Arc<DiskMeter>| DiskShare { bytes: get(&disk.bytes), ..disk.share.clone() };
        let phase = usize::from(self.phase.load(Ordering::Relaxed));
        Reading {
            phase: PHASES.get(phase).copied().unwrap_or(Phase::Members),
            files: get(&self.files),
            files_total: get(&self.files_total),
            bytes: get(&self.bytes),
            bytes_total: get(&self.bytes_total),
            disks: self.disks().iter().map(share).collect(),
        }
    }

    /// Begins a phase that reads these shares of the disks.
    pub(super) fn begin(&self, phase: Phase, files: u64, disks: Vec<DiskShare>) {
        let set = |number: &AtomicU64, to| number.store(to, Ordering::Relaxed);
        set(&self.files, 0);
        set(&self.bytes, 0);
        set(&self.files_total, files);
        set(&self.bytes_total, disks.iter().map(|d| d.total).sum());
        let disk = |share| {
            let bytes = AtomicU64::new(0);
            Arc::new(DiskMeter { share, bytes })
        };
        *self.disks() = disks.into_iter().map(disk).collect();
        let at = PHASES.iter().position(|p| *p == phase).unwrap_or(0);
        self.phase.store(u8::try_from(at).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn add_files(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    /// `bytes` more were read from a disk.
    pub(super) fn add_bytes(&self, disk: &DiskMeter, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        disk.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The figures of one disk in the current phase.
    pub(super) fn disk(&self, at: usize) -> Arc<DiskMeter> {
        let none = || {
            let share = DiskShare { name: String::new(), bytes: 0, total: 0 };
            let bytes = AtomicU64::new(0);
            Arc::new(DiskMeter { share, bytes })
        };
        self.disks().get(at).cloned().unwrap_or_else(none)
    }

    fn disks(&self) -> MutexGuard<'_, Vec<Arc<DiskMeter>>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_begins_at_nothing_and_counts_by_disk() {
        let share = |name: &str, bytes| DiskShare { name: name.to_owned(), bytes, total: 100 };
        let meter = Meter::default();
        meter.add_files(7);
        assert_eq!((meter.read().phase, meter.read().files_total), (Phase::Walk, 0));
        meter.begin(Phase::Ends, 3, vec![share("a", 0), share("b", 0)]);
        meter.add_bytes(&meter.disk(1), 40);
        meter.add_files(1);
        let now = meter.read();
        assert_eq!((now.phase, now.files, now.files_total), (Phase::Ends, 1, 3));
        assert_eq!((now.bytes, now.bytes_total), (40, 200));
        assert_eq!(now.disks, [share("a", 0), share("b", 40)]);
    }
}
