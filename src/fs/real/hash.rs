//! Reading many files at once: each disk is read by one reader, in physical order, and all disks at the same time. A
//! rotating disk has one arm, and a second reader would make it go to and fro.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{RealFile, RealFs, Result};
use crate::fs::copying::Failed;
use crate::fs::reading::{AHEAD, ahead, hash_of};
use crate::fs::{Copying, Look as _};
use crate::pool::BranchIdx;
use crate::sys;

/// A file to be read, and its size.
type File<'f> = (&'f RealFile, u64);

type Hash = Result<Option<[u8; 32]>>;

/// What one reader knows while it reads a file.
struct Reading<'r> {
    /// The buffer of the reader.
    buffer: &'r mut Vec<u8>,
    /// The file that it reads next.
    next: Option<File<'r>>,
    /// Receives the number of bytes of each part read; returns whether to go on.
    count: &'r mut dyn FnMut(u64) -> bool,
}

/// Does [`crate::fs::Look::hash_all`].
pub(super) fn all(fs: &RealFs, files: &[File<'_>], read: &mut dyn FnMut(u64) -> bool) -> Vec<Hash> {
    each(fs, files, read, |n, reading| {
        let (file, size) = files[n];
        let part = |buf: &mut [u8], offset: u64| {
            announce(fs, (file, size), offset, reading.next);
            fs.read_at(file, buf, offset)
        };
        hash_of(size, reading.buffer, part, reading.count)
    })
}

/// Does [`crate::fs::Change::copy_all`]. Each disk that is written begins with what is complete while others are still
/// read: a sync at the end would find all of it waiting, and every other disk idle.
pub(super) fn copy(
    fs: &RealFs,
    copies: &[Copying<'_, RealFile>],
    read: &mut dyn FnMut(u64) -> bool,
) -> Vec<Hash> {
    let files: Vec<File<'_>> =
        copies.iter().map(|copying| (copying.from.0, copying.size)).collect();
    let failed = Mutex::new(Failed::default());
    let failed = || failed.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let mut disks: BTreeMap<BranchIdx, Sender<&RealFile>> = BTreeMap::new();
        for copying in copies {
            disks.entry(copying.to.1).or_insert_with(|| writer(scope));
        }
        each(fs, &files, read, |n, reading| {
            if failed().concerns(&copies[n]) {
                return Ok(None);
            }
            let ahead = |offset| announce(fs, files[n], offset, reading.next);
            let hash = copies[n].run(fs, reading.buffer, ahead, reading.count);
            let (made, disk) = copies[n].to;
            // Where no thread could be had, the sync writes it.
            disks[&disk].send(made).ok();
            hash.inspect_err(|error| failed().note(error))
        })
    })
}

/// Starts a thread that begins to write each file it is sent.
fn writer<'s, 'f: 's>(scope: &'s thread::Scope<'s, '_>) -> Sender<&'f RealFile> {
    let (complete, files) = channel::<&RealFile>();
    let write = move || {
        for file in files {
            // If this fails, the sync says so.
            sys::start_writing(file.as_fd()).unwrap_or_default();
        }
    };
    if let Err(error) = thread::Builder::new().spawn_scoped(scope, write) {
        tracing::debug!(%error, "no more threads");
    }
    complete
}

/// Calls `one` for each of `files`, by its index; the results are in the order of `files`.
fn each(
    fs: &RealFs,
    files: &[File<'_>],
    read: &mut dyn FnMut(u64) -> bool,
    one: impl Fn(usize, Reading<'_>) -> Hash + Sync,
) -> Vec<Hash> {
    let mut disks: BTreeMap<BranchIdx, Vec<usize>> = BTreeMap::new();
    for (n, (file, _)) in files.iter().enumerate() {
        disks.entry(fs.reader_of(file.at.branch)).or_default().push(n);
    }
    let results = Mutex::new(files.iter().map(|_| Ok(None)).collect::<Vec<_>>());
    let stopped = AtomicBool::new(false);
    let (meter, read_parts) = channel();
    thread::scope(|scope| {
        for mut order in disks.into_values() {
            let (stopped, results, meter, one) = (&stopped, &results, meter.clone(), &one);
            let reader = move || {
                in_physical_order(files, &mut order);
                let mut count =
                    |bytes| meter.send(bytes).is_ok() && !stopped.load(Ordering::Relaxed);
                let mut buffer = Vec::new();
                for (at, &n) in order.iter().enumerate() {
                    let next = order.get(at + 1).map(|next| files[*next]);
                    let reading = Reading { buffer: &mut buffer, next, count: &mut count };
                    let result = one(n, reading);
                    let own = |branch| branch == files[n].0.at.branch;
                    let failed = result
                        .as_ref()
                        .is_err_and(|error| own(error.branch) && error.limit().is_none());
                    results.lock().unwrap_or_else(PoisonError::into_inner)[n] = result;
                    // After an error nothing more is asked of the disk.
                    if failed || stopped.load(Ordering::Relaxed) {
                        return;
                    }
                }
            };
            // Without a thread the files stay unread, and the caller reads them itself.
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, reader) {
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

fn in_physical_order(files: &[File<'_>], order: &mut [usize]) {
    if order.len() > 1 {
        order.sort_by_cached_key(|n| sys::first_extent(files[*n].0.as_fd()).ok().flatten());
    }
}

/// Announces what is read after `offset` of a file; once its end was announced, the beginning of the `next`.
fn announce(fs: &RealFs, (file, size): File<'_>, offset: u64, next: Option<File<'_>>) {
    if let Some((from, len)) = ahead(offset).filter(|(from, _)| *from < size) {
        fs.expect(file, from, len);
        if from + len >= size
            && let Some((next, len)) = next
        {
            fs.expect(next, 0, len.min(AHEAD));
        }
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
