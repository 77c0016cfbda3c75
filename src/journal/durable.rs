//! Files of the journal directory, and the calls that put them on stable storage.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::JournalError;
use super::csv::{self, TornLine};
use super::mark::{self, Mark, MarkError};

/// Space a journal needs before it is opened. A full disk must not stop a run half way; and the database is
/// ruined when it is opened, and recovers, without room to do so (3 of 13 times, measured).
pub(super) const SPACE_MIN: u64 = 64 << 20;
/// Longer than most lines.
const TAIL_LEN: u64 = 1 << 15;

/// An I/O error with what was tried, and on what.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let free = free_bytes(path).unwrap_or(0);
            JournalError::NoSpace { path: path.to_path_buf(), free, needed: SPACE_MIN }
        }
        _ => JournalError::Io { what, path: path.to_path_buf(), source },
    }
}

/// Bytes an ordinary user can still write on the filesystem of `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    #[allow(clippy::useless_conversion, reason = "these fields are 32 bits wide on some targets")]
    let (blocks, size) = (u64::from(stat.blocks_available()), u64::from(stat.fragment_size()));
    Ok(blocks.saturating_mul(size))
}

pub(super) fn check_space(dir: &Path, min: u64) -> Result<(), JournalError> {
    let there = if dir.is_dir() { dir } else { parent_of(dir) };
    let free = free_bytes(there).map_err(failed("look at", there))?;
    if free < min {
        return Err(JournalError::NoSpace { path: dir.to_path_buf(), free, needed: min });
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir).and_then(|handle| handle.sync_all()).map_err(failed("sync the directory", dir))
}

/// The directory `path` lies in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a file with these bytes, durable; the directory is to be synced by the caller.
pub(super) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a file durable, and lets it be read from the disk next time.
///
/// A process that was killed, or met an I/O error, can leave contents in memory that never reached the disk.
pub(super) fn settle_file(path: &Path) -> Result<(), JournalError> {
    let settle = || {
        let file = File::open(path)?;
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        Ok(())
    };
    settle().map_err(failed("sync", path))
}

#[expect(clippy::disallowed_methods, reason = "the journal's own half-made file, not a branch")]
pub(super) fn remove_file(path: &Path) -> Result<(), JournalError> {
    std::fs::remove_file(path).map_err(failed("remove", path))
}

/// The mark file of an open journal.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
    file: File,
    id: u32,
    mark: Mark,
    next: usize,
}

impl MarkFile {
    /// Makes the file of a new journal; the directory is to be synced by the caller.
    pub(super) fn create(path: &Path, id: u32) -> Result<(), JournalError> {
        write_new(path, 0o600, &mark::new_file(id)).map_err(failed("create", path))
    }

    /// Opens and verifies the mark file.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        // A mark that is only in memory would vouch for records that a power cut then takes back with the mark.
        settle_file(path)?;
        let mut bytes = Vec::new();
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
        // Reads one byte more than a mark file has: a longer file is not ours.
        (&file).take(mark::LEN as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
        let parsed = mark::parse(&bytes).map_err(|error| match error {
            MarkError::Damaged(what) => {
                JournalError::Damaged { path: path.to_path_buf(), what: what.to_owned() }
            }
            MarkError::Newer(version) => {
                JournalError::NewerVersion { path: path.to_path_buf(), version }
            }
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            id: parsed.id,
            mark: parsed.mark,
            next: parsed.next,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Writes `mark` into the slot that does not hold the newest one.
    pub(super) fn write(&mut self, mark: &Mark) -> Result<(), JournalError> {
        let (at, bytes) = mark::slot_bytes(self.next, mark);
        // In place, and into the other slot: a power cut in the middle spoils a mark that no reader relies on, and
        // neither the file's length nor the file's name has to become durable with the mark.
        self.file
            .write_all_at(&bytes, at as u64)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))?;
        self.mark = *mark;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// The CSV log, open for appending.
#[derive(Debug)]
pub(super) struct CsvLog {
    path: PathBuf,
    file: File,
}

impl CsvLog {
    /// Opens the log, or creates it; a last line that a crash cut short is closed.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |what| move |error| failed(what, path)(error);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(io("open the log"))?;
        let meta = file.metadata().map_err(io("open the log"))?;
        let not_a_log = || JournalError::NotALog { path: path.to_path_buf() };
        if !meta.is_file() {
            return Err(not_a_log());
        }
        let first = read_start(&file, csv::HEADER.len()).map_err(io("read the log"))?;
        let completion = if csv::HEADER.starts_with(&first) {
            &csv::HEADER[first.len()..]
        } else {
            return Err(not_a_log());
        };
        let mut log = Self { path: path.to_path_buf(), file };
        log.append(completion)?;
        if first.is_empty() {
            // The name too: a power cut would otherwise take a whole run's lines with it.
            sync_dir(parent_of(path))?;
        }
        let torn = log.torn_line().map_err(io("read the log"))?;
        log.append(torn)?;
        Ok(log)
    }

    /// Appends whole lines, durable on return.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.file
            .write_all(lines)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write the log", &self.path))
    }

    fn torn_line(&self) -> io::Result<&'static [u8]> {
        // Reading all of a log of years can take long; the log's end nearly always suffices.
        let end = self.file.metadata()?.len();
        let start = end.saturating_sub(TAIL_LEN);
        let mut tail = vec![0; usize::try_from(end - start).unwrap_or(0)];
        self.file.read_exact_at(&mut tail, start)?;
        if csv::ends_in_a_whole_line(&tail) {
            return Ok(b"");
        }
        let mut torn = TornLine::default();
        let mut buffer = vec![0; 1 << 16];
        let mut at = 0;
        loop {
            let read = self.file.read_at(&mut buffer, at)?;
            if read == 0 {
                return Ok(torn.completion());
            }
            torn.read(&buffer[..read]);
            at += read as u64;
        }
    }
}

/// The first bytes of a file, at most `len`.
fn read_start(file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut start = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut start[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    start.truncate(filled);
    Ok(start)
}
