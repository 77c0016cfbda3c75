//! The lock of a journal directory, and the check whether to obey the journal in the directory.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::JournalError;
use super::durable::failed;
use crate::journal::private_place::written_by_others;
use crate::sys::Locked;

/// The lock of a journal directory, or of one being made: it goes along when that is renamed.
#[derive(Debug)]
pub(super) struct DirLock {
    pub(super) path: PathBuf,
    held: Locked,
}

impl DirLock {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the directory `path` without waiting. `None` where another process renamed it meanwhile.
    pub(super) fn take(path: &Path) -> Result<Option<Self>, JournalError> {
        let opened = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path);
        let handle = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed("open", path))?,
        };
        nobody_elses(&handle, path)?;
        let held = Locked::take(handle).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => JournalError::Locked { path: path.to_path_buf() },
            _ => failed("lock", path)(error),
        })?;
        let lock = Self { path: path.to_path_buf(), held };
        Ok(lock.still_leads_there()?.then_some(lock))
    }

    /// A lock may be had on what was half made when it was opened and is the finished journal, or gone, by now:
    /// acting on the name would then hit something else.
    pub(super) fn still_leads_there(&self) -> Result<bool, JournalError> {
        let held = self.held.0.metadata().map_err(failed("look at", &self.path))?;
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("look at", &self.path)(error)),
            Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        }
    }
}

/// Recovery does what the journal says, with the rights of the user who runs recovery: if another user could write in
/// the journal, the other user could rename and remove files anywhere.
fn nobody_elses(dir: &File, path: &Path) -> Result<(), JournalError> {
    let found = dir.metadata().map_err(failed("look at", path))?;
    match written_by_others(&found) {
        None => Ok(()),
        Some((owner, mode)) => Err(JournalError::Foreign { path: path.to_path_buf(), owner, mode }),
    }
}
