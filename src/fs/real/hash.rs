//! Hashing many files at once: each disk is read by one reader, in physical order, and all disks at the same time. A
//! rotating disk has one arm, and a second reader would make it go to and fro.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{RealFile, RealFs, Result};
use crate::fs::Look as _;
use crate::fs::reading::{AHEAD, ahead, hash_of};
use crate::pool::BranchIdx;
use crate::sys;

/// A file and its size.
type File<'f> = (&'f RealFile, u64);

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
    let mut disks: BTreeMap<BranchIdx, Vec<usize>> = BTreeMap::new();
    for (n, (file, _)) in files.iter().enumerate() {
        disks.entry(fs.reader_of(file.at.branch)).or_default().push(n);
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
        let (file, size) = self.files[n];
        let part = |buf: &mut [u8], offset: u64| {
            if let Some((from, len)) = ahead(offset).filter(|(from, _)| *from < size) {
                self.fs.expect(file, from, len);
                if from + len >= size
                    && let Some((next, len)) = next.map(|next| self.files[next])
                {
                    self.fs.expect(next, 0, len.min(AHEAD));
                }
            }
            self.fs.read_at(file, buf, offset)
        };
        let mut count =
            |bytes| self.meter.send(bytes).is_ok() && !self.stopped.load(Ordering::Relaxed);
        hash_of(size, buffer, part, &mut count)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the stage with std::fs")]
mod tests {
    use crate::fs::real::RealFs;
    use crate::fs::{Look, Place};
    use crate::pool::relpath::RelPath;
    use crate::pool::{Branch, BranchIdx, BranchMode};

    #[test]
    fn every_file_has_its_own_hash_and_a_shorter_one_has_none() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let branches = dirs
            .each_ref()
            .map(|dir| Branch { path: dir.path().canonicalize().unwrap(), mode: BranchMode::Rw });
        let fs = RealFs::open(&branches).unwrap();
        let contents: Vec<Vec<u8>> =
            (0..20_usize).map(|n| vec![n as u8; n * n * 20_000 + n]).collect();
        let (mut open, mut read) = (Vec::new(), 0);
        for (n, contents) in contents.iter().enumerate() {
            std::fs::write(dirs[n % 2].path().join(n.to_string()), contents).unwrap();
            let branch = BranchIdx((n % 2) as u16);
            let place = Place::new(branch, RelPath::new(n.to_string()).unwrap());
            open.push((fs.open(&place).unwrap(), contents.len() as u64));
        }
        // Shorter than it was when it was opened.
        open[7].1 += 1;
        let files: Vec<_> = open.iter().map(|(file, size)| (file, *size)).collect();
        let hashes = fs.hash_all(&files, &mut |bytes| {
            read += bytes;
            true
        });
        for (n, hash) in hashes.into_iter().enumerate() {
            let expected: Option<[u8; 32]> = (n != 7).then(|| blake3::hash(&contents[n]).into());
            assert_eq!(hash.unwrap(), expected, "{n}");
        }
        let all: u64 = contents.iter().map(|contents| contents.len() as u64).sum();
        assert_eq!(read, all);
    }

    #[test]
    fn nothing_more_is_read_once_it_is_asked_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let branch = Branch { path: dir.path().canonicalize().unwrap(), mode: BranchMode::Rw };
        let fs = RealFs::open(&[branch]).unwrap();
        let size = 4 << 30;
        let open = |name: &str| {
            std::fs::File::create(dir.path().join(name)).unwrap().set_len(size).unwrap();
            fs.open(&Place::new(BranchIdx(0), RelPath::new(name).unwrap())).unwrap()
        };
        let open = [open("a"), open("b")];
        let files: Vec<_> = open.iter().map(|file| (file, size)).collect();
        let mut read = 0;
        let hashes = fs.hash_all(&files, &mut |bytes| {
            read += bytes;
            false
        });
        assert!(hashes.iter().all(|hash| matches!(hash, Ok(None))), "{hashes:?}");
        assert!(read < size, "{read}");
    }
}
