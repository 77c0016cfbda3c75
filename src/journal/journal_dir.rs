//! The journal directory: `db/` (the database), `mark`, and unless it is kept elsewhere `log.csv`.
//!
//! A new journal is built in `<journal>.new` and renamed when all of it is on stable storage: what is half made
//! is only ever `.new`, and a journal that lacks a part has lost it.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg};

use super::durable::{MarkFile, failed, free_bytes, parent_of, sync_dir};
use super::rfc3339::rfc3339;
use super::sled_store::{Database, SledStore};
use super::{Journal, JournalError};
use crate::fs::Timestamp;
use crate::sys;

/// Space a journal needs before it is opened. A full disk must not stop a run half way; and the database is
/// ruined when it is opened, and recovers, without room to do so (3 of 13 times, measured).
const SPACE_MIN: u64 = 64 << 20;

const DATABASE: &str = "db";
const MARK: &str = "mark";
const LOG: &str = "log.csv";

/// Opens the journal in `dir`, or makes one; the CSV log is `csv`, else `log.csv` in `dir`.
///
/// # Errors
/// When another process has it, it cannot be believed, space is short, or a call fails.
pub fn create_or_open(dir: &Path, csv: Option<&Path>) -> Result<Journal<SledStore>, JournalError> {
    let dir = resolved(dir)?;
    make_parents(parent_of(&dir))?;
    check_space(&dir, SPACE_MIN)?;
    // Whoever else makes or opens it at this moment either holds the lock (an error at once) or has just
    // finished; more than one change under our hands does not happen by accident.
    for _ in 0..3 {
        let lock = match found_at(&dir)? {
            Found::Journal => DirLock::take(&dir)?,
            Found::Nothing | Found::EmptyDir => create(&dir)?,
            Found::Other => return Err(JournalError::NotAJournal { path: dir }),
        };
        if let Some(lock) = lock {
            let mut store = open_locked(lock, csv)?;
            // Now: a log that cannot be written must stop a run before it begins.
            store.open_csv()?;
            return Journal::open(store);
        }
    }
    Err(JournalError::Locked { path: dir })
}

/// Opens the journal in `dir` if there is one; the CSV log only when it is first written to.
///
/// # Errors
/// As [`create_or_open`].
pub fn open_existing(
    dir: &Path,
    csv: Option<&Path>,
) -> Result<Option<Journal<SledStore>>, JournalError> {
    let dir = resolved(dir)?;
    match found_at(&dir)? {
        Found::Nothing | Found::EmptyDir => Ok(None),
        Found::Other => Err(JournalError::NotAJournal { path: dir }),
        Found::Journal => match DirLock::take(&dir)? {
            Some(lock) => {
                check_space(&dir, SPACE_MIN)?;
                Journal::open(open_locked(lock, csv)?).map(Some)
            }
            None => Err(JournalError::Locked { path: dir }),
        },
    }
}

fn open_locked(lock: DirLock, csv: Option<&Path>) -> Result<SledStore, JournalError> {
    let dir = lock.path().to_path_buf();
    for name in [DATABASE, MARK] {
        let part = dir.join(name);
        if part.symlink_metadata().is_err() {
            return Err(JournalError::Damaged {
                path: dir,
                what: format!("it has no {name:?}"),
            });
        }
    }
    let csv = csv.map_or_else(|| dir.join(LOG), Path::to_path_buf);
    SledStore::open(lock, &dir.join(DATABASE), &dir.join(MARK), csv)
}

/// The lock of a journal directory, or of one being made: it goes along when that is renamed.
#[derive(Debug)]
pub(super) struct DirLock {
    path: PathBuf,
    handle: Flock<File>,
}

impl DirLock {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the directory `path` without waiting. `None` where another process renamed it meanwhile.
    pub(super) fn take(path: &Path) -> Result<Option<Self>, JournalError> {
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(path);
        let handle = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed("open", path))?,
        };
        nobody_elses(&handle, path)?;
        let handle = match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
            Ok(handle) => handle,
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(JournalError::Locked {
                    path: path.to_path_buf(),
                });
            }
            Err((_, errno)) => return Err(failed("lock", path)(errno.into())),
        };
        let lock = Self {
            path: path.to_path_buf(),
            handle,
        };
        Ok(lock.still_leads_there()?.then_some(lock))
    }

    /// A lock may be had on what was half made when it was opened and is the finished journal, or gone, by now:
    /// acting on the name would then hit something else.
    pub(super) fn still_leads_there(&self) -> Result<bool, JournalError> {
        let held = self
            .handle
            .metadata()
            .map_err(failed("look at", &self.path))?;
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("look at", &self.path)(error)),
            Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        }
    }
}

/// Recovery does what the journal says, as whoever runs it: one that another user can write would be that user's way to
/// rename and remove files anywhere.
fn nobody_elses(dir: &File, path: &Path) -> Result<(), JournalError> {
    let found = dir.metadata().map_err(failed("look at", path))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let trusted = owner == 0 || owner == nix::unistd::geteuid().as_raw();
    if trusted && mode & 0o002 == 0 {
        return Ok(());
    }
    Err(JournalError::Foreign {
        path: path.to_path_buf(),
        owner,
        mode,
    })
}

/// Builds a journal aside and puts it in place. `None` where another process was faster.
fn create(dir: &Path) -> Result<Option<DirLock>, JournalError> {
    let new = new_dir_of(dir);
    match DirBuilder::new().mode(0o700).create(&new) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed("create", &new))?,
    }
    let Some(mut lock) = DirLock::take(&new)? else {
        return Ok(None);
    };
    discard_half_made(&new)?;
    if matches!(found_at(dir)?, Found::Journal | Found::Other) {
        remove_dir(&new)?;
        return Ok(None);
    }
    build(&new)?;
    // Everything in it is durable, so whatever a power cut makes of the rename, the name leads to all or nothing.
    match rename(&new, dir) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
            discard_half_made(&new)?;
            remove_dir(&new)?;
            return Err(JournalError::MountPoint {
                path: dir.to_path_buf(),
            });
        }
        Err(error) => return Err(failed("put the new journal in place", dir)(error)),
    }
    // Records are only as durable as the name that leads to them.
    sync_dir(parent_of(dir))?;
    lock.path = dir.to_path_buf();
    Ok(Some(lock))
}

/// A journal that is to take the place of another, in `<journal>.new` until all of it is on stable storage.
#[derive(Debug)]
pub(super) struct Rebuilding {
    dir: PathBuf,
    new: PathBuf,
    lock: DirLock,
}

impl Rebuilding {
    /// Makes the empty directory; what an interrupted rebuilding left there goes.
    pub(super) fn begin(dir: &Path) -> Result<Self, JournalError> {
        check_space(dir, SPACE_MIN)?;
        let new = new_dir_of(dir);
        match DirBuilder::new().mode(0o700).create(&new) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed("create", &new))?,
        }
        let Some(lock) = DirLock::take(&new)? else {
            return Err(JournalError::Locked { path: new });
        };
        discard_half_made(&new)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            new,
            lock,
        })
    }

    pub(super) fn place(&self) -> &Path {
        &self.new
    }

    pub(super) fn database(&self) -> PathBuf {
        self.new.join(DATABASE)
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.new.join(MARK)
    }

    /// The length of the database's files in `dir`.
    pub(super) fn database_bytes(&self, dir: &Path) -> Result<u64, JournalError> {
        let database = dir.join(DATABASE);
        let mut bytes = 0;
        for (name, is_dir) in entries(&database)? {
            let path = database.join(name);
            if !is_dir {
                bytes += path.metadata().map_err(failed("look at", &path))?.len();
            }
        }
        Ok(bytes)
    }

    /// Copies what `keep` leaves of the CSV log beside the journal, where it is there.
    pub(super) fn copy_log(&self, keep: impl Fn(&[u8]) -> Vec<u8>) -> Result<(), JournalError> {
        match read_if_there(&self.dir.join(LOG))? {
            Some(log) => self.write_log(&keep(&log)),
            None => Ok(()),
        }
    }

    /// Writes the CSV log.
    pub(super) fn write_log(&self, log: &[u8]) -> Result<(), JournalError> {
        let to = self.new.join(LOG);
        let write = || {
            let mut file = File::options().write(true).create_new(true).open(&to)?;
            io::Write::write_all(&mut file, log)?;
            file.sync_all()
        };
        write().map_err(failed("write", &to))
    }

    /// Opens what was built, as any journal is; it must be `right`.
    pub(super) fn finish(
        self,
        right: impl FnOnce(&Journal<SledStore>) -> bool,
    ) -> Result<Self, JournalError> {
        sync_dir(&self.new)?;
        let Self { dir, new, lock } = self;
        let journal = Journal::open(open_locked(lock, None)?)?;
        if !right(&journal) {
            return Err(JournalError::Unexpected(
                "the new journal lacks something that is open".to_owned(),
            ));
        }
        let lock = journal.into_store().into_lock();
        Ok(Self { dir, new, lock })
    }

    /// Exchanges the two: at every instant one whole journal has the name. Then the old one goes.
    pub(super) fn take_place(self, old: Journal<SledStore>) -> Result<(), JournalError> {
        sync_dir(&self.new)?;
        // Closed, so that it writes no more; its lock is held on.
        let _old = old.into_store().into_lock();
        let (new, dir) = (self.new.as_os_str(), self.dir.as_os_str());
        sys::rename_with((AT_FDCWD, new), (AT_FDCWD, dir), libc::RENAME_EXCHANGE)
            .map_err(|errno| failed("put the new journal in place of", &self.dir)(errno.into()))?;
        // Before the old one goes: a power cut must not undo the exchange and keep the removal.
        sync_dir(parent_of(&self.dir))?;
        self.discard()
    }

    /// Exchanges the new journal with one that cannot be used; gives where that is kept.
    ///
    /// The new one gets the name it is kept under first, and not the name `.new`: what has that one is removed by
    /// whoever begins a journal next.
    pub(super) fn keep_aside(
        self,
        _old: DirLock,
        now: Timestamp,
    ) -> Result<(Journal<SledStore>, Option<PathBuf>), JournalError> {
        let aside = unused_name(&self.dir, now);
        let cannot = || failed("put the new journal in place of", &self.dir);
        let rename = |from: &Path, to: &Path, how| {
            sys::rename_with(
                (AT_FDCWD, from.as_os_str()),
                (AT_FDCWD, to.as_os_str()),
                how,
            )
        };
        rename(&self.new, &aside, libc::RENAME_NOREPLACE)
            .map_err(|errno| cannot()(errno.into()))?;
        rename(&aside, &self.dir, libc::RENAME_EXCHANGE).map_err(|errno| cannot()(errno.into()))?;
        // Nothing is done from the new journal before its name leads to it after a power cut, too.
        sync_dir(parent_of(&self.dir))?;
        Ok((self.opened()?, Some(aside)))
    }

    /// Puts the new journal where nothing is, or an empty directory.
    pub(super) fn take_free_place(
        self,
    ) -> Result<(Journal<SledStore>, Option<PathBuf>), JournalError> {
        rename(&self.new, &self.dir).map_err(failed("put the new journal in place", &self.dir))?;
        sync_dir(parent_of(&self.dir))?;
        Ok((self.opened()?, None))
    }

    fn opened(self) -> Result<Journal<SledStore>, JournalError> {
        let Self { dir, mut lock, .. } = self;
        lock.path = dir;
        Journal::open(open_locked(lock, None)?)
    }

    /// Removes what is in `<journal>.new`, and the directory.
    pub(super) fn discard(&self) -> Result<(), JournalError> {
        discard_half_made(&self.new)?;
        remove_dir(&self.new)
    }
}

/// Fills the new directory; all of it is on stable storage on return.
fn build(new: &Path) -> Result<(), JournalError> {
    // It may have been there, with a mode of its own.
    std::fs::set_permissions(new, Permissions::from_mode(0o700))
        .map_err(failed("set the mode of", new))?;
    Database::create(&new.join(DATABASE))?;
    MarkFile::create(&new.join(MARK), random_id()?)?;
    sync_dir(new)
}

/// Empties what an interrupted creation left, if it is nothing else.
fn discard_half_made(new: &Path) -> Result<(), JournalError> {
    let database = new.join(DATABASE);
    let blobs = database.join("blobs");
    // All is looked at before anything is removed: a directory that only happens to have this name stays whole.
    let mut files = Vec::new();
    let mut dirs = Vec::new();
    for dir in [new, &database, &blobs] {
        for (name, is_dir) in entries(dir)? {
            let path = dir.join(&name);
            let name = name.as_encoded_bytes();
            let ours = if is_dir {
                path == database || path == blobs
            } else if dir == new {
                name == MARK.as_bytes() || name == LOG.as_bytes()
            } else {
                dir == database && (name == b"db" || name == b"conf" || name.starts_with(b"snap."))
            };
            if !ours {
                return Err(JournalError::NotAJournal {
                    path: new.to_path_buf(),
                });
            }
            if is_dir {
                dirs.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.iter().try_for_each(|path| remove_file(path))?;
    dirs.iter().rev().try_for_each(|path| remove_dir(path))
}

/// What stands where a journal is wanted.
enum Found {
    Nothing,
    EmptyDir,
    Journal,
    Other,
}

fn found_at(dir: &Path) -> Result<Found, JournalError> {
    match std::fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed("look at", dir)(error)),
        Ok(meta) if !meta.is_dir() => return Ok(Found::Other),
        Ok(_) => {}
    }
    let names = entries(dir)?;
    // A log alone: what it tells of is lost, and a new journal must not begin as if nothing had been.
    let is_part = |name: &OsStr| name == DATABASE || name == MARK || name == LOG;
    Ok(match names.len() {
        0 => Found::EmptyDir,
        _ if names.iter().any(|(name, _)| is_part(name)) => Found::Journal,
        _ => Found::Other,
    })
}

/// The names in a directory, and whether each is a directory; none where it is missing.
fn entries(dir: &Path) -> Result<Vec<(OsString, bool)>, JournalError> {
    let list = || -> io::Result<Vec<(OsString, bool)>> {
        dir.read_dir()?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name(), entry.file_type()?.is_dir()))
            })
            .collect()
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(failed("list", dir)),
    }
}

/// A name beside `dir` that says what is under it.
fn unused_name(dir: &Path, now: Timestamp) -> PathBuf {
    let time = rfc3339(now).replace(':', "");
    let name = |n: u32| {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unusable-{time}"));
        if n > 0 {
            name.push(format!("-{n}"));
        }
        dir.with_file_name(name)
    };
    let free = |at: &PathBuf| at.symlink_metadata().is_err();
    (0..1000).map(name).find(free).unwrap_or_else(|| name(0))
}

/// The CSV log in a journal directory.
pub(super) fn log_of(dir: &Path) -> PathBuf {
    dir.join(LOG)
}

/// The mark file, whatever is in it; empty where there is none.
pub(super) fn read_mark(dir: &Path) -> Result<Vec<u8>, JournalError> {
    Ok(read_if_there(&dir.join(MARK))?.unwrap_or_default())
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, JournalError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Makes the directories that are missing above `dir`.
pub(super) fn make_parents_of(dir: &Path) -> Result<(), JournalError> {
    make_parents(parent_of(dir))
}

/// An absolute path, through the link where `dir` itself is one: a rename would replace the link.
pub(super) fn resolved(dir: &Path) -> Result<PathBuf, JournalError> {
    let resolved = match std::fs::symlink_metadata(dir) {
        Ok(_) => std::fs::canonicalize(dir),
        Err(_) => std::path::absolute(dir),
    };
    resolved.map_err(failed("look at", dir))
}

fn new_dir_of(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    dir.with_file_name(name)
}

/// Makes the directories that are missing on the way to and including `dir`, durable.
fn make_parents(dir: &Path) -> Result<(), JournalError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    make_parents(parent)?;
    match DirBuilder::new().mode(0o755).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed("create", dir))?,
    }
    // A journal below a directory whose name a power cut takes is lost with it.
    sync_dir(parent)
}

pub(super) fn check_space(dir: &Path, min: u64) -> Result<(), JournalError> {
    let there = if dir.is_dir() { dir } else { parent_of(dir) };
    let free = free_bytes(there).map_err(failed("look at", there))?;
    if free < min {
        return Err(JournalError::NoSpace {
            path: dir.to_path_buf(),
            free,
        });
    }
    Ok(())
}

pub(super) fn random_id() -> Result<u32, JournalError> {
    let source = Path::new("/dev/urandom");
    let mut id = [0; 4];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut id))
        .map_err(failed("read", source))?;
    Ok(u32::from_ne_bytes(id))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the journal's own directory, not a branch"
)]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the journal's own half-made file, not a branch"
)]
pub(super) fn remove_file(path: &Path) -> Result<(), JournalError> {
    std::fs::remove_file(path).map_err(failed("remove", path))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the journal's own half-made directory, not a branch"
)]
fn remove_dir(path: &Path) -> Result<(), JournalError> {
    std::fs::remove_dir(path).map_err(failed("remove", path))
}
