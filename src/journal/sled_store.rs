//! The journal on disk. The only file that names sled.
//!
//! This file works around sled 0.34.7: data that sled's `flush` wrote does not survive a power cut; sled panics on
//! some damaged files and silently drops the end of others; sled writes values too long for a page to side files that
//! sled never syncs.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::JournalError;
use super::codec::CHUNK_MAX;
use super::dir_lock::DirLock;
use super::durable::{
    CsvLog, MarkFile, SPACE_MIN, check_space, failed, free_bytes, remove_file, settle_file,
    sync_dir,
};
use super::flush::flush;
use super::mark::Mark;
use super::panic_boundary::contain;
use super::store::{Pair, PairVisitor, Store};

/// The saved index, beside the database.
pub(super) const INDEX: &str = "index";

const CACHE_BYTES: u64 = 32 << 20;
/// Below this nothing is written any more: a run stops before the disk is full, not when it is.
const SPACE_LEFT_MIN: u64 = 16 << 20;
/// How long this program waits for sled's own lock: the holder of the lock waits for a disk that may be busy.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// A journal directory: database, mark and CSV log, locked as long as this lives.
#[derive(Debug)]
pub struct SledStore {
    database: Database,
    mark: MarkFile,
    csv: Option<CsvLog>,
    csv_path: PathBuf,
    /// Last, so that the lock is released after everything is closed.
    lock: DirLock,
}

impl SledStore {
    /// Opens the database `database` and the mark file `mark` of a locked directory; the log when it is needed.
    pub(super) fn open(
        lock: DirLock,
        database: &Path,
        mark: &Path,
        csv_path: PathBuf,
    ) -> Result<Self, JournalError> {
        // The mark first: a journal of a newer version is refused before its database is touched.
        let mark = MarkFile::open(mark)?;
        let database = Database::open_existing(database)?;
        Ok(Self { database, mark, csv: None, csv_path, lock })
    }

    /// Closes all files and keeps the directory locked.
    pub(super) fn into_lock(self) -> DirLock {
        self.lock
    }

    /// Opens the CSV log now rather than at the first line.
    pub(super) fn open_csv(&mut self) -> Result<&mut CsvLog, JournalError> {
        let log = match self.csv.take() {
            Some(log) => log,
            None => CsvLog::open(&self.csv_path)?,
        };
        Ok(self.csv.insert(log))
    }
}

impl Store for SledStore {
    fn id(&self) -> u32 {
        self.mark.id()
    }

    fn place(&self) -> &Path {
        self.lock.path()
    }

    fn load(&self, from: &[u8], visit: &mut PairVisitor<'_>) -> Result<(), JournalError> {
        self.database.load(from, visit)
    }

    fn saved_index(&self) -> Option<Vec<u8>> {
        std::fs::read(self.place().join(INDEX)).ok()
    }

    fn save_index(&self, index: &[u8]) {
        let path = self.place().join(INDEX);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(index)) {
            tracing::debug!(%error, ?path, "the index is not saved");
        }
    }

    fn append_csv(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        // Before the first write of a batch, so that it is written whole or not at all.
        check_space(self.place(), SPACE_LEFT_MIN)?;
        self.open_csv()?.append(lines)
    }

    fn commit(&mut self, pairs: &[Pair]) -> Result<(), JournalError> {
        self.database.commit(pairs)
    }

    fn write_mark(&mut self, mark: &Mark) -> Result<(), JournalError> {
        self.mark.write(mark)
    }

    fn read_mark(&self) -> Result<Mark, JournalError> {
        Ok(self.mark.mark())
    }
}

/// The database: one tree, because a batch is all or nothing only within a tree.
#[derive(Debug)]
pub(super) struct Database {
    dir: PathBuf,
    /// `None` only while dropping.
    handles: Option<Handles>,
    /// Our own descriptor of the file sled writes: the only way to sync it.
    file: File,
}

#[derive(Debug)]
struct Handles {
    db: sled::Db,
    log: sled::Tree,
}

impl Database {
    /// Makes an empty database in the new directory `dir`, its files synced.
    pub(super) fn create(dir: &Path) -> Result<(), JournalError> {
        // Twice: the second opening leaves a snapshot. Without one, damage is taken for the torn end of the
        // log, and everything from there on is dropped without an error.
        Self::open(dir)?.close()?;
        Self::open(dir)?.close()?;
        // sled syncs neither its files nor their names: after a power cut they would be empty or gone.
        each_file(dir, settle_file)?;
        sync_dir(&dir.join("blobs"))?;
        sync_dir(dir)
    }

    /// Opens a database that was made before.
    pub(super) fn open_existing(dir: &Path) -> Result<Self, JournalError> {
        // sled would make an empty database of a missing one.
        for name in ["db", "conf"] {
            if !dir.join(name).is_file() {
                return Err(damaged(dir, format!("it has no file {name:?}")));
            }
        }
        discard_unfinished_snapshot(dir)?;
        // A killed process can leave writes in memory only. Recovery inside sled builds on them and syncs its
        // own snapshot: after a power cut that would refer to a log that never reached the disk.
        each_file(dir, settle_file)?;
        read_through(dir)?;
        let database = Self::open(dir)?;
        // What recovery wrote, and the name of its snapshot.
        database.sync()?;
        sync_dir(dir)?;
        Ok(database)
    }

    fn open(dir: &Path) -> Result<Self, JournalError> {
        let config = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(CACHE_BYTES)
            // No thread that syncs at times of its own and only logs what fails.
            .flush_every_ms(None);
        let open = || -> sled::Result<Handles> {
            let db = config.open()?;
            let log = db.open_tree("log")?;
            Ok(Handles { db, log })
        };
        // The directory is locked, so who holds sled's own lock is an earlier handle of this process: sled's
        // threads let go of it some time after it is dropped.
        let give_up = Instant::now() + LOCK_WAIT;
        let handles = loop {
            match contain(open).map_err(|panic| panicked(dir, &panic))? {
                Err(error) if is_locked(&error) && Instant::now() < give_up => {
                    sleep(Duration::from_millis(5));
                }
                opened => break opened.map_err(|error| explain(dir, "open", error))?,
            }
        };
        let path = dir.join("db");
        let file = File::open(&path).map_err(failed("open", &path))?;
        Ok(Self { dir: dir.to_path_buf(), handles: Some(handles), file })
    }

    /// Closes a new database. A write that failed is an error here, where a drop would ignore it.
    fn close(self) -> Result<(), JournalError> {
        self.write_out(|_| Ok(()))
    }

    /// Does what `write` says and writes everything to the files, which are not synced.
    fn write_out(
        &self,
        write: impl FnOnce(&Handles) -> sled::Result<()>,
    ) -> Result<(), JournalError> {
        let handles = self.handles()?;
        contain(|| write(handles).and_then(|()| flush(&handles.db)))
            .map_err(|panic| panicked(&self.dir, &panic))?
            .map_err(|error| explain(&self.dir, "write", error))
    }

    fn handles(&self) -> Result<&Handles, JournalError> {
        self.handles.as_ref().ok_or(JournalError::Poisoned)
    }

    fn load(&self, from: &[u8], visit: &mut PairVisitor<'_>) -> Result<(), JournalError> {
        let mut pairs = self.handles()?.log.range(from..);
        // Pages are read while iterating, and damaged ones panic there too. An error would repeat for ever:
        // the first one ends it.
        while let Some(pair) =
            contain(|| pairs.next()).map_err(|panic| panicked(&self.dir, &panic))?
        {
            let (key, value) = pair.map_err(|error| explain(&self.dir, "read", error))?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    /// Adds all pairs, or none; durable on return.
    pub(super) fn commit(&self, pairs: &[Pair]) -> Result<(), JournalError> {
        let mut batch = sled::Batch::default();
        // With what sled adds: up to 3.7 bytes written for one that is stored, measured.
        let mut bytes = 0;
        for (key, value) in pairs {
            // Longer values can end in side files that are never synced.
            if value.len() > CHUNK_MAX {
                return Err(JournalError::TooLong { bytes: value.len() });
            }
            batch.insert(key.as_slice(), value.as_slice());
            bytes += 4 * value.len() as u64;
        }
        check_space(&self.dir, SPACE_LEFT_MIN / 2 + bytes)?;
        self.write_out(|handles| match pairs.is_empty() {
            // An empty batch would be written as well.
            true => Ok(()),
            false => handles.log.apply_batch(batch),
        })?;
        self.sync()
    }

    /// Runs after sled's `flush`: sled's `flush` only starts the writing, so acknowledged records would be lost in a
    /// power cut. An error is final: the pages count as clean afterwards, and a second try would succeed.
    fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(failed("sync", &self.dir.join("db")))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(handles) = self.handles.take() else {
            return;
        };
        // Closing writes too, and everything that counts is durable already. sled's own drop can wait for ever, but
        // not if nothing is left to be written.
        let close = || {
            let flushed = flush(&handles.db);
            drop(handles);
            flushed
        };
        match contain(close) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(dir = ?self.dir, %error, "closing the journal's database");
            }
            Err(panic) => {
                tracing::debug!(dir = ?self.dir, panic, "closing the journal's database");
            }
        }
    }
}

/// Removes the snapshot that a process was killed writing, while it opened the database.
///
/// sled would take it for the newest, find it cut short and call the database corrupted. The one before it is there
/// until the new one has its name, and so is the log behind both.
fn discard_unfinished_snapshot(dir: &Path) -> Result<(), JournalError> {
    let (mut unfinished, mut whole) = (Vec::new(), false);
    for entry in dir.read_dir().map_err(failed("list", dir))? {
        let name = entry.map_err(failed("list", dir))?.file_name();
        let name = name.to_string_lossy();
        match name.strip_prefix("snap.") {
            Some(rest) if rest.ends_with(".generating") => unfinished.push(dir.join(&*name)),
            Some(_) => whole = true,
            None => {}
        }
    }
    match whole {
        true => unfinished.iter().try_for_each(|path| remove_file(path)),
        false => Ok(()),
    }
}

/// Reads every file of a database, so that a disk that cannot read one is noticed before sled is.
///
/// sled takes an unreadable part of its log for the torn end, and writes zeros over this part and over all that
/// follows. After this call sled's reads come from memory.
fn read_through(dir: &Path) -> Result<(), JournalError> {
    each_file(dir, |path| {
        let mut file = File::open(path).map_err(failed("open", path))?;
        io::copy(&mut file, &mut io::sink()).map(drop).map_err(failed("read", path))
    })
}

/// Calls `act` with every file of a database.
fn each_file(
    dir: &Path,
    act: impl Fn(&Path) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    for entry in dir.read_dir().map_err(failed("list", dir))? {
        let entry = entry.map_err(failed("list", dir))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            act(&entry.path())?;
        }
    }
    Ok(())
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error)
        if error.kind() == io::ErrorKind::Other && error.to_string().contains("could not acquire lock"))
}

fn explain(dir: &Path, what: &'static str, error: sled::Error) -> JournalError {
    if is_locked(&error) {
        return JournalError::Locked { path: dir.to_path_buf() };
    }
    match error {
        sled::Error::Io(source) => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::NoSpace {
                path: dir.to_path_buf(),
                free: free_bytes(dir).unwrap_or(0),
                needed: SPACE_MIN,
            },
            // A value in the database's files leads beyond their end, or makes no sense.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput => damaged(dir, source.to_string()),
            _ => failed(what, dir)(source),
        },
        sled::Error::Corruption { .. } => damaged(dir, "its contents are corrupted".to_owned()),
        // The database takes a header that makes no sense for one of an early version.
        sled::Error::Unsupported(_) => damaged(dir, "its header cannot be read".to_owned()),
        other => damaged(dir, other.to_string()),
    }
}

fn panicked(dir: &Path, panic: &str) -> JournalError {
    damaged(dir, format!("the database cannot be used: {panic}"))
}

fn damaged(dir: &Path, what: String) -> JournalError {
    JournalError::Damaged { path: dir.to_path_buf(), what }
}
