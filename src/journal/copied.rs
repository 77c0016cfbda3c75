//! A copy of a journal, to look at: opening a journal writes to it, and a dry run changes nothing.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::dir_lock::DirLock;
use super::journal_dir::{DATABASE, JournalAt, MARK, entries, found_at, open_locked, resolved};
use super::sled_store::{INDEX, SledStore};
use super::{Journal, JournalError};

/// A larger database is not copied.
const BYTES_MAX: u64 = 512 << 20;

/// Opens a copy of the journal in `dir` and shows it to `look`; `None` if there is no journal. Locks the journal while
/// it is copied, and no longer.
///
/// # Errors
/// As [`open_existing`](super::open_existing), and [`JournalError::NotCopied`].
pub fn look_at_copy<T>(
    dir: &Path,
    look: impl FnOnce(&Journal<SledStore>) -> T,
) -> Result<Option<T>, JournalError> {
    let dir = resolved(dir)?;
    let lock = match found_at(&dir)? {
        JournalAt::Nothing | JournalAt::EmptyDir => return Ok(None),
        JournalAt::Other => return Err(JournalError::NotAJournal { path: dir }),
        JournalAt::Journal => DirLock::take(&dir)?,
    };
    let Some(lock) = lock else {
        return Err(JournalError::Locked { path: dir });
    };
    let copy = copy_of(&dir)?;
    drop(lock);
    let opened = DirLock::take(copy.path()).and_then(|lock| match lock {
        Some(lock) => Journal::open(open_locked(lock, None)?),
        None => Err(JournalError::Locked { path: dir.clone() }),
    });
    // People know the journal by its own path.
    let named = |error| match error {
        JournalError::Damaged { what, .. } => JournalError::Damaged { path: dir.clone(), what },
        JournalError::NewerVersion { version, .. } => {
            JournalError::NewerVersion { path: dir.clone(), version }
        }
        error => error,
    };
    Ok(Some(look(&opened.map_err(named)?)))
}

fn copy_of(dir: &Path) -> Result<TempDir, JournalError> {
    let copied = || -> io::Result<TempDir> {
        let copy = tempfile::tempdir()?;
        std::fs::create_dir(copy.path().join(DATABASE))?;
        for name in [MARK, INDEX] {
            copy_file(&dir.join(name), &copy.path().join(name))?;
        }
        let database = dir.join(DATABASE);
        let mut bytes = 0;
        for (name, _) in entries(&database).map_err(io::Error::other)? {
            bytes += database.join(&name).symlink_metadata()?.len();
            if bytes > BYTES_MAX {
                return Err(io::Error::other(format!("it is larger than {} MiB", BYTES_MAX >> 20)));
            }
            copy_file(&database.join(&name), &copy.path().join(DATABASE).join(&name))?;
        }
        Ok(copy)
    };
    copied().map_err(|source| JournalError::NotCopied { path: dir.to_path_buf(), source })
}

/// Copies a regular file, if there is one: opening a FIFO that another program put there would wait for ever.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    match from.symlink_metadata() {
        Ok(found) if found.is_file() => {
            io::copy(&mut File::open(from)?, &mut File::create(to)?).map(drop)
        }
        _ => Ok(()),
    }
}
