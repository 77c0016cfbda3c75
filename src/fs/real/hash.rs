//! Hashing many files at once: each disk is read by one reader, in physical order, and all disks at the same time. A
//! rotating disk has one arm, and a second reader would make it go to and fro.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{RealFile, RealFs, Result};
use crate::fs::{Look as _, hash_of};
use crate::pool::BranchIdx;
use crate::sys;

/// Bytes that are announced to the kernel at a time: the disk reads on while this process hashes.
const AHEAD: u64 = 4 << 20;

/// A file, its branch and its size.
type File<'f> = (&'f RealFile, BranchIdx, u64);

type Hash = Result<Option<[u8; 32]>>;

/// The work of one reader.
struct Reader<'r> {
    fs: &'r RealFs,
    files: &'r [File<'r>],
    /// The files of its disk, by their index.
    order: Vec<usize>,
    stopped: &'r AtomicBool,
    results: &'r Mutex<Vec<Hash>>,
    /// Receives the number of bytes of each part read.
    meter: Sender<u64>,
}

/// Does [`crate::fs::Look::hash_all`].
pub(super) fn all(fs: &RealFs, files: &[File<'_>], read: &mut dyn FnMut(u64) -> bool) -> Vec<Hash> {
    let mut disks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (n, (_, branch, _)) in files.iter().enumerate() {
        disks.entry(fs.root(*branch).id.dev).or_default().push(n);
    }
    let results = Mutex::new(files.iter().map(|_| Ok(None)).collect::<Vec<_>>());
    let stopped = AtomicBool::new(false);
    let (meter, read_parts) = channel();
    thread::scope(|scope| {
        for order in disks.into_values() {
            let (stopped, results, meter) = (&stopped, &results, meter.clone());
            let reader = Reader { fs, files, order, stopped, results, meter };
            // Without a thread the hashes stay unknown, and the caller reads the files itself.
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, || reader.run()) {
                tracing::debug!(%error, "no more threads");
            }
        }
        drop(meter);
        for bytes in read_parts {
            if !read(bytes) {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Reader<'_> {
    fn run(mut self) {
        if self.order.len() > 1 {
            let place = |n: &usize| sys::first_extent(self.files[*n].0.as_fd()).ok().flatten();
            self.order.sort_by_cached_key(place);
        }
        let mut buffer = Vec::new();
        for at in 0..self.order.len() {
            let n = self.order[at];
            let hash = self.hash(n, self.order.get(at + 1).copied(), &mut buffer);
            let failed = hash.is_err();
            self.results.lock().unwrap_or_else(PoisonError::into_inner)[n] = hash;
            // After an error nothing more is asked of the disk.
            if failed || self.stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Hashes file `n`. Announces the file `next` once the end of file `n` was announced.
    fn hash(&self, n: usize, next: Option<usize>, buffer: &mut Vec<u8>) -> Hash {
        let (file, _, size) = self.files[n];
        let part = |buf: &mut [u8], offset: u64| {
            if offset.is_multiple_of(AHEAD) {
                self.fs.expect(file, offset, 2 * AHEAD);
                if offset + 2 * AHEAD >= size
                    && let Some((next, _, len)) = next.map(|next| self.files[next])
                {
                    self.fs.expect(next, 0, len.min(AHEAD));
                }
            }
            self.fs.read_at(file, buf, offset)
        };
        let mut count = |bytes| {
            // The receiver lives until all readers are done.
            let _ = self.meter.send(bytes);
            !self.stopped.load(Ordering::Relaxed)
        };
        hash_of(size, buffer, part, &mut count)
    }
}
