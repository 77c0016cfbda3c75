//! The journal directory: `db/` (the database), `mark`, and unless it is kept elsewhere `log.csv`.
//!
//! A new journal is built in `<journal>.new` and renamed when all of the journal is on stable storage: a half-made
//! journal only ever has the name `.new`, and a journal that lacks a part has lost the part.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::dir_lock::DirLock;
use super::durable::{MarkFile, SPACE_MIN, check_space, failed, parent_of, remove_file, sync_dir};
use super::sled_store::{Database, INDEX, SledStore};
use super::{Journal, JournalError};

pub(super) const DATABASE: &str = "db";
pub(super) const MARK: &str = "mark";
pub(super) const LOG: &str = "log.csv";

/// Opens the journal in `dir`, or makes one; the CSV log is `csv`, else `log.csv` in `dir`.
///
/// # Errors
/// Fails if another process has the journal open, if the journal cannot be believed, if space is short, or if a call
/// fails.
pub fn create_or_open(dir: &Path, csv: Option<&Path>) -> Result<Journal<SledStore>, JournalError> {
    let dir = resolved(dir)?;
    make_parents(parent_of(&dir)).map_err(not_made(&dir))?;
    check_space(&dir, SPACE_MIN)?;
    // Another process that makes or opens the journal at this moment either holds the lock (an error at once) or
    // has just finished; more than one change under our hands does not happen by accident.
    for _ in 0..3 {
        let lock = match found_at(&dir)? {
            JournalAt::Journal => DirLock::take(&dir)?,
            JournalAt::Nothing | JournalAt::EmptyDir => create(&dir).map_err(not_made(&dir))?,
            JournalAt::Other => return Err(JournalError::NotAJournal { path: dir }),
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

/// An error on the way to a journal in `dir` that does not exist yet.
fn not_made(dir: &Path) -> impl FnOnce(JournalError) -> JournalError {
    move |error| match error {
        JournalError::Io { source, .. } => {
            JournalError::NotMade { path: dir.to_path_buf(), why: source }
        }
        error => error,
    }
}

/// Checks that a journal can be made in `dir`, if none is there; makes nothing.
///
/// # Errors
/// [`JournalError::NotMade`] or [`JournalError::NoSpace`]; or if `dir` cannot be looked at.
pub fn can_be_made(dir: &Path) -> Result<(), JournalError> {
    let dir = resolved(dir)?;
    match found_at(&dir)? {
        JournalAt::Journal => return check_space(&dir, SPACE_MIN),
        JournalAt::Other => return Ok(()),
        JournalAt::Nothing | JournalAt::EmptyDir => {}
    }
    // It is built beside the directory.
    let mut above = parent_of(&dir).ancestors();
    let existing = above.find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    let writable = match existing.is_dir() {
        true => access(existing, AccessFlags::W_OK | AccessFlags::X_OK),
        false => Err(Errno::ENOTDIR),
    };
    let why = |errno: Errno| JournalError::NotMade { path: dir.clone(), why: errno.into() };
    writable.map_err(why)?;
    check_space(existing, SPACE_MIN)
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
        JournalAt::Nothing | JournalAt::EmptyDir => Ok(None),
        JournalAt::Other => Err(JournalError::NotAJournal { path: dir }),
        JournalAt::Journal => match DirLock::take(&dir)? {
            Some(lock) => {
                check_space(&dir, SPACE_MIN)?;
                Journal::open(open_locked(lock, csv)?).map(Some)
            }
            None => Err(JournalError::Locked { path: dir }),
        },
    }
}

pub(super) fn open_locked(lock: DirLock, csv: Option<&Path>) -> Result<SledStore, JournalError> {
    let dir = lock.path().to_path_buf();
    for name in [DATABASE, MARK] {
        let what = match dir.join(name).metadata() {
            Err(_) => format!("it has no {name:?}"),
            // The open of a FIFO would wait for ever.
            Ok(found) if !(found.is_file() || found.is_dir()) => {
                format!("its {name:?} is neither a file nor a directory")
            }
            Ok(_) => continue,
        };
        return Err(JournalError::Damaged { path: dir, what });
    }
    let csv = csv.map_or_else(|| dir.join(LOG), Path::to_path_buf);
    SledStore::open(lock, &dir.join(DATABASE), &dir.join(MARK), csv)
}

/// Builds a journal aside and puts it in place. `None` where another process was faster.
fn create(dir: &Path) -> Result<Option<DirLock>, JournalError> {
    let new = new_dir_of(dir);
    make_dir(&new, 0o700)?;
    let Some(mut lock) = DirLock::take(&new)? else {
        return Ok(None);
    };
    discard_half_made(&new)?;
    if matches!(found_at(dir)?, JournalAt::Journal | JournalAt::Other) {
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
            return Err(JournalError::MountPoint { path: dir.to_path_buf() });
        }
        Err(error) => return Err(failed("put the new journal in place", dir)(error)),
    }
    // Records are only as durable as the name that leads to them.
    sync_dir(parent_of(dir))?;
    lock.path = dir.to_path_buf();
    Ok(Some(lock))
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
pub(super) fn discard_half_made(new: &Path) -> Result<(), JournalError> {
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
                [MARK, LOG, INDEX].iter().any(|part| name == part.as_bytes())
            } else {
                dir == database && (name == b"db" || name == b"conf" || name.starts_with(b"snap."))
            };
            if !ours {
                return Err(JournalError::NotAJournal { path: new.to_path_buf() });
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

/// The entry found where a journal is wanted.
pub(super) enum JournalAt {
    Nothing,
    EmptyDir,
    Journal,
    Other,
}

pub(super) fn found_at(dir: &Path) -> Result<JournalAt, JournalError> {
    match std::fs::symlink_metadata(dir) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(JournalAt::Nothing);
        }
        Err(error) => return Err(failed("look at", dir)(error)),
        Ok(meta) if !meta.is_dir() => return Ok(JournalAt::Other),
        Ok(_) => {}
    }
    let names = entries(dir)?;
    // A log alone: the journal of the log is lost, and a new journal must not begin as if nothing had been.
    let is_part = |name: &OsStr| name == DATABASE || name == MARK || name == LOG;
    Ok(match names.len() {
        0 => JournalAt::EmptyDir,
        _ if names.iter().any(|(name, _)| is_part(name)) => JournalAt::Journal,
        _ => JournalAt::Other,
    })
}

/// The names in a directory, and whether each is a directory; none where it is missing.
pub(super) fn entries(dir: &Path) -> Result<Vec<(OsString, bool)>, JournalError> {
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

/// The CSV log in a journal directory.
pub(super) fn log_of(dir: &Path) -> PathBuf {
    dir.join(LOG)
}

/// The bytes of the mark file, unverified; empty if there is no mark file.
pub(super) fn read_mark(dir: &Path) -> Result<Vec<u8>, JournalError> {
    Ok(read_if_there(&dir.join(MARK))?.unwrap_or_default())
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, JournalError> {
    match read_file(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Reads only a regular file: opening a FIFO that another program put there would wait for ever.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut open = OpenOptions::new();
    let mut file = open.read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
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

pub(super) fn new_dir_of(dir: &Path) -> PathBuf {
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
    make_dir(dir, 0o755)?;
    // A journal below a directory whose name a power cut takes is lost with it.
    sync_dir(parent)
}

/// Makes a directory, unless it is there.
pub(super) fn make_dir(dir: &Path, mode: u32) -> Result<(), JournalError> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(failed("create", dir)),
    }
}

pub(super) fn random_id() -> Result<u32, JournalError> {
    let source = Path::new("/dev/urandom");
    let mut id = [0; 4];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut id))
        .map_err(failed("read", source))?;
    Ok(u32::from_ne_bytes(id))
}

#[expect(clippy::disallowed_methods, reason = "the journal's own directory, not a branch")]
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the journal's own half-made directory, not a branch"
)]
pub(super) fn remove_dir(path: &Path) -> Result<(), JournalError> {
    std::fs::remove_dir(path).map_err(failed("remove", path))
}
