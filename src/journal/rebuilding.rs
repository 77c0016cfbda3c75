//! Builds a journal that takes the place of another: a smaller journal, or a journal made from the other's remains.

use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;

use super::dir_lock::DirLock;
use super::durable::{SPACE_MIN, check_space, failed, parent_of, sync_dir, write_new};
use super::journal_dir::{
    DATABASE, LOG, MARK, discard_half_made, entries, make_dir, new_dir_of, open_locked,
    read_if_there, remove_dir, rename,
};
use super::rfc3339::rfc3339;
use super::sled_store::SledStore;
use super::{Journal, JournalError};
use crate::fs::Timestamp;
use crate::sys;

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
        make_dir(&new, 0o700)?;
        let Some(lock) = DirLock::take(&new)? else {
            return Err(JournalError::Locked { path: new });
        };
        discard_half_made(&new)?;
        Ok(Self { dir: dir.to_path_buf(), new, lock })
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
        write_new(&to, 0o666, log).map_err(failed("write", &to))
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

    /// Exchanges the new journal with a journal that cannot be used; returns the path where the old journal is kept.
    ///
    /// The new journal first gets the name under which the old journal will be kept, and not the name `.new`: the next
    /// program that begins a journal removes the directory named `.new`.
    pub(super) fn keep_aside(
        self,
        _old: DirLock,
        now: Timestamp,
    ) -> Result<(Journal<SledStore>, Option<PathBuf>), JournalError> {
        let aside = unused_name(&self.dir, now);
        let cannot = || failed("put the new journal in place of", &self.dir);
        let rename = |from: &Path, to: &Path, how| {
            sys::rename_with((AT_FDCWD, from.as_os_str()), (AT_FDCWD, to.as_os_str()), how)
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

    /// Removes the contents of `<journal>.new`, and the directory.
    pub(super) fn discard(&self) -> Result<(), JournalError> {
        discard_half_made(&self.new)?;
        remove_dir(&self.new)
    }
}

/// Returns a name beside `dir` that describes the old journal; unused, unless 1000 such names are taken.
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
