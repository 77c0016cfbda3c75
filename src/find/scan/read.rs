//! Reads a part of a file and hashes it, in bounded memory, without a place in the page cache.

use std::sync::Arc;

use super::catalog::File;
use super::gate::{Gate, Turn};
use super::meter::{DiskMeter, Meter};
use super::opener::{Opener, is_gone};
use crate::fs::real::ScanFile;
use crate::fs::{FileKind, FsError, InodeId};

/// Bytes that one reader holds in memory and asks for at a time, from a multiple of this on.
///
/// The kernel reads folios of up to this size. It drops a folio once a part of it was read (`RWF_DONTCACHE`): a request
/// that ends within a folio makes the disk read that folio twice, and the arm go back.
const BUFFER: u64 = 1 << 20;
/// How much of a beginning or an end is read.
pub(super) const PART: u64 = 16 << 10;
/// Files up to this size are read at once on every disk: another turn at the disk costs more than the bytes.
pub(super) const WHOLE: u64 = 128 << 10;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The first and the last [`PART`] bytes.
    Ends,
    /// The whole file.
    Whole,
}

impl Part {
    /// Bytes of the part in a file of `size` bytes.
    pub(super) fn len(self, size: u64) -> u64 {
        match self {
            Self::Ends => 2 * PART.min(size),
            Self::Whole => size,
        }
    }
}

/// Half of a BLAKE3 hash, or a quarter each of those of beginning and end: no file is ever removed because of it.
pub(super) type Hash = [u64; 2];

/// The outcome of reading one file.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The file was read, and has not changed since the walk. `whole` is the hash of all of it, where that was asked for
    /// and the file could be leased just before.
    Read {
        /// The hash of the part.
        hash: Hash,
        /// The BLAKE3 of the contents.
        whole: Option<[u8; 32]>,
    },
    /// It has the contents of another candidate, because both share all blocks.
    SameAs(u32),
    /// The file differs from the file that the walk saw, or changed while it was read.
    Changed,
    /// The file could not be read.
    Failed(FsError),
    /// The scan has to stop.
    Stopped,
}

/// Reads from one disk.
pub(super) struct FileReader<'r> {
    opener: Opener<'r>,
    gate: &'r Gate,
    meter: &'r Meter,
    disk: Arc<DiskMeter>,
    interrupted: &'r (dyn Fn() -> bool + Sync),
    buffer: Vec<u8>,
}

/// The part of a file to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'c> {
    pub(super) file: &'c File,
    pub(super) id: InodeId,
    pub(super) part: Part,
    /// Whether the hash of the whole file is wanted for a comparison.
    pub(super) to_compare: bool,
}

impl<'r> FileReader<'r> {
    pub(super) fn new(
        opener: Opener<'r>,
        gate: &'r Gate,
        meter: &'r Meter,
        disk: usize,
        interrupted: &'r (dyn Fn() -> bool + Sync),
    ) -> Self {
        Self { opener, gate, meter, disk: meter.disk(disk), interrupted, buffer: Vec::new() }
    }

    /// Reads and hashes the part in `target`, unless `other` returns a candidate with the same blocks. Returns the hash only if the file, after reading, is still the file that
    /// the walk saw.
    pub(super) fn read(
        &mut self,
        target: Target<'_>,
        other: impl FnOnce(&ScanFile) -> Option<u32>,
    ) -> Outcome {
        let file = match self.opener.open(target.file) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Outcome::Changed,
            Err(error) => return Outcome::Failed(error),
        };
        if let Some(other) = other(&file) {
            return Outcome::SameAs(other);
        }
        match self.hash_unchanged(&file, target) {
            Ok(Some((hash, whole))) => Outcome::Read { hash, whole },
            Ok(None) if (self.interrupted)() => Outcome::Stopped,
            Ok(None) => Outcome::Changed,
            Err(error) => Outcome::Failed(self.opener.failed("read", target.file, error)),
        }
    }

    fn hash_unchanged(
        &mut self,
        file: &ScanFile,
        target: Target<'_>,
    ) -> std::io::Result<Option<(Hash, Option<[u8; 32]>)>> {
        // Before the first byte is read: a store through an older shared mapping moves no times, and while the lease can be
        // had there is no such mapping.
        let leased = target.to_compare && target.part == Part::Whole && file.could_be_leased();
        // A long read is also checked before it begins. For the result, the check after the read suffices: the times
        // are then still the times of the walk.
        let size = target.file.stamp.size;
        if size > WHOLE && !same(file, target)? {
            return Ok(None);
        }
        // The turn is kept until the file is done: another reader in between would move the arm.
        let mut turn = None;
        let hash = match target.part {
            Part::Whole => {
                if size > WHOLE {
                    file.expect_whole();
                }
                let hash = self.hash(file, 0, size, &mut turn)?;
                hash.map(|hash| (shortened(&hash), leased.then(|| hash.into())))
            }
            Part::Ends => {
                let len = PART.min(size);
                let head = self.hash(file, 0, len, &mut turn)?;
                let tail = self.hash(file, size - len, size, &mut turn)?;
                let ends = head.zip(tail);
                ends.map(|ends| ([shortened(&ends.0)[0], shortened(&ends.1)[0]], None))
            }
        };
        drop(turn);
        match hash {
            Some(hash) if same(file, target)? => Ok(Some(hash)),
            _ => Ok(None),
        }
    }

    /// Hashes the bytes from `offset` to `end`. Returns `None` if the file ended early, or the scan has to stop.
    fn hash(
        &mut self,
        file: &ScanFile,
        mut offset: u64,
        end: u64,
        turn: &mut Option<Turn<'r>>,
    ) -> std::io::Result<Option<blake3::Hash>> {
        let room = room_for(end - offset);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let gate = self.gate;
        let mut hasher = blake3::Hasher::new();
        while offset < end {
            if (self.interrupted)() {
                return Ok(None);
            }
            let want = room_for((end - offset).min(BUFFER - offset % BUFFER));
            let buf = &mut self.buffer[..want];
            let read = match &*turn {
                Some(_) => file.read_passing(buf, offset)?,
                None => match file.read_resident(buf, offset)? {
                    Some(read) => read,
                    None => {
                        let turn = turn.insert(gate.enter());
                        match want as u64 <= WHOLE {
                            true => turn.ask(|| file.read_passing(buf, offset))?,
                            // The time of a long read says nothing about the time to reach the data.
                            false => file.read_passing(buf, offset)?,
                        }
                    }
                },
            };
            if read == 0 {
                return Ok(None);
            }
            hasher.update(&buf[..read]);
            offset += read as u64;
            self.meter.add_bytes(&self.disk, read as u64);
        }
        Ok(Some(hasher.finalize()))
    }
}

/// The part of `len` bytes that a buffer has room for.
fn room_for(len: u64) -> usize {
    usize::try_from(len.min(BUFFER)).unwrap_or(usize::MAX)
}

fn same(file: &ScanFile, target: Target<'_>) -> std::io::Result<bool> {
    let stat = file.stat()?;
    let now = (stat.id, super::catalog::Stamp::of(&stat));
    Ok(stat.kind == FileKind::Regular && now == (target.id, target.file.stamp))
}

fn shortened(hash: &blake3::Hash) -> Hash {
    let half = |at: usize| {
        let bytes = hash.as_bytes()[at..at + 8].iter();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    [half(0), half(8)]
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the stage with std::fs")]
mod tests {
    use std::time::Duration;

    use super::super::catalog::{Batch, Catalog, FileFacts, Stamp};
    use super::*;
    use crate::fs::real::RealFs;
    use crate::fs::{Look, Place};
    use crate::pool::relpath::RelPath;
    use crate::pool::{Branch, BranchIdx, BranchMode};

    /// Returns the outcome of reading part `part` of a file that `change` changed after the walk had seen the file.
    fn read_after(contents: &[u8], part: Part, change: impl FnOnce(&std::path::Path)) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, contents).unwrap();
        let branch = Branch { path: dir.path().canonicalize().unwrap(), mode: BranchMode::Rw };
        let fs = RealFs::open(&[branch]).unwrap();
        let place = Place::new(BranchIdx(0), RelPath::new("f").unwrap());
        let stat = fs.stat(&place).unwrap().unwrap();
        let mut catalog = Catalog::default();
        let root = catalog.start(BranchIdx(0), 0, RelPath::root()).unwrap();
        let mut batch = Batch::default();
        let facts =
            FileFacts { stamp: Stamp::of(&stat), ino: stat.id.ino, excluded: false, named: false };
        batch.file(root, b"f", facts);
        catalog.add(root, batch).unwrap();
        change(&path);
        let (gate, meter) = (Gate::new(false, Duration::ZERO), Meter::default());
        let opener = Opener::new(&fs, &catalog);
        let mut reader = FileReader::new(opener, &gate, &meter, 0, &|| false);
        reader
            .read(Target { file: &catalog.files[0], id: stat.id, part, to_compare: true }, |_| None)
    }

    #[test]
    fn each_part_has_the_hash_of_its_bytes() {
        let contents: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
        let hash = |bytes| shortened(&blake3::hash(bytes));
        let part = PART as usize;
        let ends = [&contents[..part], &contents[contents.len() - part..]].map(|end| hash(end)[0]);
        for (part, expected) in [(Part::Ends, ends), (Part::Whole, hash(&contents[..]))] {
            let read = read_after(&contents, part, |_| ());
            let Outcome::Read { hash, whole } = read else { panic!("{read:?}") };
            assert_eq!(hash, expected);
            let all: [u8; 32] = blake3::hash(&contents).into();
            assert_eq!(whole, (part == Part::Whole).then_some(all));
        }
    }

    #[test]
    fn a_file_that_a_program_has_open_for_writing_has_no_hash_to_compare() {
        let mut writer = None;
        let read = read_after(&[7; 300_000], Part::Whole, |path| {
            writer = Some(std::fs::OpenOptions::new().write(true).open(path).unwrap());
        });
        assert!(matches!(read, Outcome::Read { whole: None, .. }), "{read:?}");
    }

    #[test]
    fn a_file_that_is_not_what_the_walk_saw_drops_out() {
        type Change = fn(&std::path::Path);
        let changes: [(&str, Change); 5] = [
            ("rewritten", |path| std::fs::write(path, [8; 300_000]).unwrap()),
            ("shorter", |path| std::fs::write(path, b"8").unwrap()),
            ("gone", |path| std::fs::remove_file(path).unwrap()),
            ("another file", |path| {
                std::fs::write(path.with_extension("new"), [7; 300_000]).unwrap();
                std::fs::rename(path.with_extension("new"), path).unwrap();
            }),
            ("a FIFO", |path| {
                std::fs::remove_file(path).unwrap();
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }),
        ];
        for (what, change) in changes {
            for part in [Part::Ends, Part::Whole] {
                let read = read_after(&[7; 300_000], part, |path| {
                    // Timestamps do not change for some milliseconds.
                    std::thread::sleep(Duration::from_millis(12));
                    change(path);
                });
                assert!(matches!(read, Outcome::Changed), "{what}: {read:?}");
            }
        }
    }

    #[test]
    fn a_hash_is_the_beginning_of_blake3_as_others_print_it() {
        let whole = blake3::hash(b"abc");
        let [a, b] = shortened(&whole);
        assert_eq!(format!("{a:016x}{b:016x}"), whole.to_hex()[..32]);
    }
}
