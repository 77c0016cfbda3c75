//! The hashes of earlier scans. The only file that names the cache's database.
//!
//! The cache may be lost: the scan then reads the files again. A hash in the cache is never a reason to remove a file:
//! the executor compares bytes. A key is a filesystem and the upper bits that 32 inode numbers share. The value holds
//! the known hashes of these inodes. One key per file would need several times the memory and the time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::cache_block::{Block, CachedFile, Slot};
use super::cache_place::{self, CacheError};
use super::read::Hash;
use crate::journal::flush::flush;
use crate::journal::panic_boundary::contain;

/// The tree of this version; trees of other versions are dropped.
const TREE: &[u8] = b"hashes-1";
/// The key in the database's own tree whose value is the day of the last pruning.
const PRUNED: &[u8] = b"pruned";
/// Bytes that the database may hold in memory.
const MEMORY: u64 = 4 << 20;
/// Records after which the database is closed and opened again: the database exceeds its memory limit.
const BLOCKS_BETWEEN_RESTS: u32 = 4096;
/// Stored hashes are made durable after this time: a scan may take days, and may be killed.
const FLUSH_AFTER: Duration = Duration::from_secs(60);
/// How often a lock is tried: half a minute in all, since the process that holds the lock may wait for a busy disk.
const LOCK_TRIES: u32 = 6_000;
/// The time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Days after which a use is noted again.
const NOTE_DAYS: u16 = 7;
/// Days after which unused hashes are dropped.
const KEEP_DAYS: u16 = 120;
/// Bytes of hashes that are kept; the most recently used hashes are kept.
const BYTES_MAX: u64 = 512 << 20;

/// The hashes of earlier scans, open.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    state: Mutex<CacheState>,
    today: u16,
    /// The day of the last pruning.
    pruned: Option<u16>,
}

/// The state of the cache's database.
#[derive(Debug)]
enum CacheState {
    /// It is open.
    Open(Handles),
    /// The database is closed until it is needed: an open database keeps every touched record in memory.
    Resting,
    /// The database failed, and is not used again.
    Lost,
}

#[derive(Debug)]
struct Handles {
    db: sled::Db,
    hashes: sled::Tree,
    /// Records read since the database was opened.
    touched: Cell<u32>,
    /// When the database was last made durable.
    flushed: Cell<Instant>,
}

impl Cache {
    /// Opens the cache in `dir`, or creates a cache there. Deletes a damaged cache, with a warning.
    ///
    /// # Errors
    /// If another process has the cache open, another user can write in it, or it cannot be created.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let path = cache_place::make(dir)?;
        let handles = match Handles::open(&path) {
            Err(CacheError::Damaged { what, .. }) => {
                tracing::warn!(?path, what, "the hash cache is damaged and made anew");
                discard(&path)?;
                Handles::open(&path)?
            }
            opened => opened?,
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let days = since.unwrap_or_default().as_secs() / 86_400;
        let last = contain(|| handles.db.get(PRUNED)).ok();
        let last = last.and_then(Result::ok).flatten();
        let day = last.and_then(|day| <[u8; 2]>::try_from(day.as_ref()).ok());
        let cache = Self {
            dir: path,
            state: Mutex::new(CacheState::Open(handles)),
            today: u16::try_from(days).unwrap_or(u16::MAX),
            pruned: day.map(u16::from_le_bytes),
        };
        if cache.pruned.is_none() {
            // A new cache has no old hashes.
            cache.note_pruned();
        }
        Ok(cache)
    }

    /// Makes the stored hashes durable, and frees the database's memory until the database is needed again.
    pub(super) fn rest(&self) {
        if matches!(*self.state(), CacheState::Open(_)) {
            self.with(|handles| flush(&handles.db));
            self.put_down(CacheState::Resting);
            crate::sys::give_back_memory();
        }
    }

    /// Rests if the database has grown in memory.
    fn rest_if_large(&self) {
        let large = match &*self.state() {
            CacheState::Open(handles) => handles.touched.get() >= BLOCKS_BETWEEN_RESTS,
            CacheState::Resting | CacheState::Lost => false,
        };
        if large {
            self.rest();
        }
    }

    /// A view for looking up many hashes, the hashes of neighbouring inodes one after the other.
    pub(super) fn view(&self) -> View<'_> {
        View { cache: self, block: None, used: Vec::new() }
    }

    /// Stores hashes. An error ends the use of the cache in this scan, not the scan.
    pub(super) fn store(&self, mut entries: Vec<CachedFile>) {
        if entries.is_empty() {
            return;
        }
        entries.sort_unstable_by_key(|e| (e.fs, e.ino));
        self.with(|handles| {
            let mut batch = sled::Batch::default();
            for of_block in entries.chunk_by(|a, b| key_of(a) == key_of(b)) {
                let key = key_of(&of_block[0]);
                let mut block = handles.block(&key)?;
                for entry in of_block {
                    block.put(entry, self.today);
                }
                batch.insert(&key, block.encode());
            }
            handles.hashes.apply_batch(batch)?;
            if handles.flushed.get().elapsed() >= FLUSH_AFTER {
                flush(&handles.db)?;
                handles.flushed.set(Instant::now());
            }
            Ok(())
        });
        self.rest_if_large();
    }

    /// Drops old hashes, and closes the cache.
    pub fn close(self) {
        let due = |day| self.today.saturating_sub(day) >= NOTE_DAYS;
        if self.pruned.is_some_and(due) {
            self.with(|handles| handles.prune(self.today));
            self.note_pruned();
        }
        self.rest();
    }

    fn note_pruned(&self) {
        let day = self.today.to_le_bytes();
        self.with(|handles| handles.db.insert(PRUNED, &day).map(drop));
    }

    /// Works on the database. A failing database is thrown away, because the next scan would fail on it too.
    fn with<T>(&self, work: impl FnOnce(&Handles) -> sled::Result<T>) -> Option<T> {
        let mut state = self.state();
        if matches!(*state, CacheState::Resting) {
            *state = Handles::open_again(&self.dir).map_or_else(
                |error| {
                    tracing::warn!(%error, "what is read from now on is not remembered");
                    CacheState::Lost
                },
                CacheState::Open,
            );
        }
        let CacheState::Open(handles) = &*state else {
            return None;
        };
        let what = match contain(|| work(handles)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        drop(state);
        tracing::warn!(path = ?self.dir, what, "the hash cache cannot be used; it will be made anew");
        self.put_down(CacheState::Lost);
        if let Err(error) = discard(&self.dir) {
            tracing::warn!(%error, "the hash cache stays as it is");
        }
        None
    }

    /// Closes the database, and sets the cache to `state`.
    fn put_down(&self, state: CacheState) {
        let mut held = self.state();
        let before = std::mem::replace(&mut *held, state);
        if let Err(panic) = contain(|| drop(before)) {
            tracing::debug!(panic, "closing the hash cache");
        }
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cache while many hashes are looked up.
#[derive(Debug)]
pub(super) struct View<'c> {
    cache: &'c Cache,
    block: Option<([u8; 32], Block)>,
    /// The entries to be recorded as used.
    used: Vec<CachedFile>,
}

impl View<'_> {
    /// Returns the requested hash, if the file has not changed since it was read.
    pub(super) fn find(&mut self, asked: CachedFile) -> Option<Hash> {
        let key = key_of(&asked);
        if self.block.as_ref().is_none_or(|(at, _)| *at != key) {
            let block = self.cache.with(|handles| handles.block(&key))?;
            self.block = Some((key, block));
            self.cache.rest_if_large();
        }
        let (_, block) = self.block.as_ref()?;
        let (slot, hash) = block.find(&asked)?;
        if self.cache.today.saturating_sub(slot.seen) >= NOTE_DAYS {
            self.used.push(CachedFile { hash, ..asked });
        }
        Some(hash)
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        self.cache.store(std::mem::take(&mut self.used));
    }
}

impl Handles {
    fn open(path: &Path) -> Result<Self, CacheError> {
        let config = sled::Config::new()
            .path(path)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(MEMORY)
            .flush_every_ms(None);
        let open = || -> sled::Result<Self> {
            let db = config.open()?;
            for tree in db.tree_names() {
                if tree.starts_with(b"hashes-") && tree != TREE {
                    db.drop_tree(tree)?;
                }
            }
            let hashes = db.open_tree(TREE)?;
            Ok(Self { db, hashes, touched: Cell::new(0), flushed: Cell::new(Instant::now()) })
        };
        let damaged = |what| CacheError::Damaged { path: path.to_path_buf(), what };
        match contain(open).map_err(damaged)? {
            Err(sled::Error::Io(error)) if error.to_string().contains("acquire lock") => {
                Err(CacheError::Locked(path.to_path_buf()))
            }
            Err(sled::Error::Io(source)) if is_environment(&source) => {
                Err(CacheError::Io { call: "open", path: path.to_path_buf(), source })
            }
            opened => opened.map_err(|error| damaged(error.to_string())),
        }
    }

    /// Opens a database that was closed a moment ago: the database releases its lock some time after closing.
    fn open_again(path: &Path) -> Result<Self, CacheError> {
        for _ in 0..LOCK_TRIES {
            match Self::open(path) {
                Err(CacheError::Locked(_)) => std::thread::sleep(LOCK_PAUSE),
                opened => return opened,
            }
        }
        Self::open(path)
    }

    fn block(&self, key: &[u8]) -> sled::Result<Block> {
        self.touched.set(self.touched.get() + 1);
        let found = self.hashes.get(key)?;
        Ok(found.map(|value| Block::decode(&value)).unwrap_or_default())
    }

    /// Drops the hashes that were not used for long, and the hashes beyond the size limit.
    fn prune(&self, today: u16) -> sled::Result<()> {
        let mut by_day: BTreeMap<u16, u64> = BTreeMap::new();
        for pair in &self.hashes {
            for slot in Block::decode(&pair?.1).slots() {
                *by_day.entry(slot.seen).or_default() += Slot::SIZE_MAX;
            }
        }
        let mut first_kept = today.saturating_sub(KEEP_DAYS);
        let mut kept = 0;
        for (day, bytes) in by_day.iter().rev() {
            kept += bytes;
            if kept > BYTES_MAX {
                first_kept = first_kept.max(day.saturating_add(1));
                break;
            }
        }
        if by_day.first_key_value().is_none_or(|(day, _)| *day >= first_kept) {
            return Ok(());
        }
        for pair in &self.hashes {
            let (key, value) = pair?;
            let mut block = Block::decode(&value);
            if !block.drop_before(first_kept) {
                continue;
            }
            match block.slots() {
                [] => self.hashes.remove(key)?,
                _ => self.hashes.insert(key, block.encode())?,
            };
        }
        Ok(())
    }
}

/// Whether an error comes from the environment and is no sign of damage in the database's files.
fn is_environment(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotFound
    )
}

/// Removes the files of the database, and no other file.
#[allow(clippy::disallowed_methods, reason = "the cache is no branch: its files may go")]
fn discard(path: &Path) -> Result<(), CacheError> {
    let remove = || -> io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if name == b"db" || name == b"conf" || name.starts_with(b"snap.") {
                std::fs::remove_file(entry.path())?;
            } else if name == b"blobs" {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(|source| CacheError::Io { call: "remove", path: path.to_path_buf(), source })
}

/// The key of the block that an entry belongs to: big-endian, so that neighbours lie together.
fn key_of(entry: &CachedFile) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&entry.fs.uuid);
    key[16..24].copy_from_slice(&entry.fs.subvolume.to_be_bytes());
    key[24..].copy_from_slice(&(entry.ino / Block::INODES).to_be_bytes());
    key
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests damage the cache with std::fs")]
mod tests {
    use super::super::catalog::Stamp;
    use super::super::read::Part;
    use super::*;
    use crate::fs::FsId;

    fn entry(ino: u64, part: Part, hash: u64) -> CachedFile {
        CachedFile {
            fs: FsId { uuid: [7; 16], subvolume: 5 },
            ino,
            stamp: Stamp { size: 1 << 40, mtime: -1, ctime: 3 },
            part,
            hash: match part {
                Part::Whole => [hash, !hash],
                Part::Ends => [hash, 0],
            },
        }
    }

    fn find(cache: &Cache, asked: CachedFile) -> Option<Hash> {
        cache.view().find(CachedFile { hash: [0; 2], ..asked })
    }

    /// sled releases its lock some time after the database is dropped.
    fn reopened(dir: &Path) -> Cache {
        for _ in 0..400 {
            match Cache::open(dir) {
                Err(CacheError::Locked(_)) => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
        panic!("the lock was never given back");
    }

    #[test]
    fn what_was_stored_is_found_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let entries: Vec<CachedFile> = (0..1000)
            .flat_map(|ino| [entry(ino, Part::Ends, ino), entry(ino, Part::Whole, ino)])
            .collect();
        cache.store(entries.clone());
        cache.close();
        let cache = reopened(dir.path());
        for entry in &entries {
            assert_eq!(find(&cache, *entry), Some(entry.hash));
        }
        assert_eq!(find(&cache, entry(2001, Part::Ends, 0)), None);
        assert_eq!(find(&cache, entry(2000, Part::Ends, 0)), None);
        let mut changed = entry(3, Part::Whole, 3);
        changed.stamp.ctime += 1;
        assert_eq!(find(&cache, changed), None);
        let mut elsewhere = entry(3, Part::Whole, 3);
        elsewhere.fs.subvolume = 6;
        assert_eq!(find(&cache, elsewhere), None);
        cache.store(vec![changed]);
        assert_eq!(find(&cache, changed), Some(changed.hash));
        assert_eq!(find(&cache, entry(3, Part::Ends, 3)), None);
    }

    #[test]
    fn a_second_scan_is_told_that_it_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Cache::open(dir.path()).unwrap();
        assert!(matches!(Cache::open(dir.path()), Err(CacheError::Locked(_))));
    }

    #[test]
    fn a_damaged_cache_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(cache_place::DATABASE);
        let cache = Cache::open(dir.path()).unwrap();
        cache.store((0..5000).map(|ino| entry(ino, Part::Whole, ino)).collect());
        cache.close();
        drop(reopened(dir.path()));
        let whole = std::fs::read(path.join("db")).unwrap();
        for (from, to) in [(0, 512), (whole.len() / 3, whole.len())] {
            let mut bytes = whole.clone();
            bytes[from..to].fill(0xa5);
            std::fs::write(path.join("db"), bytes).unwrap();
            std::fs::write(path.join("conf"), b"not what it was").unwrap();
            let cache = reopened(dir.path());
            cache.store(vec![entry(1, Part::Whole, 9)]);
            assert_eq!(find(&cache, entry(1, Part::Whole, 9)), Some([9, !9]));
            cache.close();
        }
    }

    #[test]
    fn nothing_but_the_database_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(cache_place::DATABASE);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("letter"), b"dear").unwrap();
        std::fs::write(path.join("db"), b"no database").unwrap();
        std::fs::write(path.join("conf"), b"none").unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        cache.store(vec![entry(1, Part::Whole, 9)]);
        assert_eq!(std::fs::read(path.join("letter")).unwrap(), b"dear");
    }

    #[test]
    fn a_cache_that_rests_knows_what_it_knew_and_takes_in_more() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let far = |n: u64| entry(n * Block::INODES, Part::Whole, n);
        cache.store((0..100).map(far).collect());
        cache.rest();
        assert!(matches!(*cache.state(), CacheState::Resting));
        // Another process may have the lock meanwhile.
        reopened(dir.path()).close();
        assert_eq!(find(&cache, far(7)), Some([7, !7]));
        cache.store(vec![far(100)]);
        cache.rest();
        let touched = |cache: &Cache| match &*cache.state() {
            CacheState::Open(handles) => handles.touched.get(),
            CacheState::Resting | CacheState::Lost => 0,
        };
        let mut view = cache.view();
        assert_eq!(view.find(far(0)), Some([0, !0]));
        cache.with(|handles| {
            handles.touched.set(BLOCKS_BETWEEN_RESTS - 50);
            Ok(())
        });
        for n in 1..101 {
            assert_eq!(view.find(far(n)), Some([n, !n]));
        }
        assert_eq!(touched(&cache), 50, "it has rested in between");
    }

    #[test]
    fn what_was_not_used_for_long_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(dir.path()).unwrap();
        let now = cache.today;
        cache.today = now - KEEP_DAYS - 1;
        cache.store((0..100).map(|ino| entry(ino, Part::Whole, ino)).collect());
        cache.today = now - KEEP_DAYS / 2;
        cache.store(vec![entry(7, Part::Whole, 7), entry(1000, Part::Ends, 1)]);
        cache.with(|handles| handles.prune(now)).unwrap();
        cache.today = now;
        assert_eq!(find(&cache, entry(6, Part::Whole, 6)), None);
        assert_eq!(find(&cache, entry(90, Part::Whole, 90)), None);
        assert_eq!(find(&cache, entry(7, Part::Whole, 7)), Some([7, !7]));
        // The look-up has recorded the use.
        let used = cache.with(|h| h.block(&key_of(&entry(7, Part::Whole, 7))));
        assert_eq!(used.unwrap().slots()[0].seen, now);
    }
}
