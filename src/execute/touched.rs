//! The directories our own calls changed: which must be synced, and which get their time back.

use std::collections::{BTreeMap, BTreeSet};

use crate::fs::{Change, FsError, Place, Timestamp};

/// Directories changed and not yet synced, and their times.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    unsynced: BTreeSet<Place>,
    times: BTreeMap<Place, Times>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    /// The time that the directory gets back.
    original: Timestamp,
    /// The time that our own last call left.
    ours: Timestamp,
}

impl Touched {
    /// Must be called before a call that changes `dir`.
    pub(crate) fn before<F: Change>(&mut self, fs: &F, dir: &Place) -> Result<(), FsError> {
        self.unsynced.insert(dir.clone());
        let Some(now) = fs.stat(dir)?.map(|stat| stat.mtime) else {
            return Ok(());
        };
        let times = self.times.entry(dir.clone()).or_insert(Times { original: now, ours: now });
        if times.ours != now {
            // Another program made or removed a name since: that time must stay visible to scanners.
            *times = Times { original: now, ours: now };
        }
        Ok(())
    }

    /// Must be called right after the call that changes `dir`, whether that call failed or not.
    pub(crate) fn after<F: Change>(&mut self, fs: &F, dir: &Place) -> Result<(), FsError> {
        let now = fs.stat(dir)?;
        if let (Some(times), Some(stat)) = (self.times.get_mut(dir), now) {
            times.ours = stat.mtime;
        }
        Ok(())
    }

    /// Marks a directory whose entries must become durable though this process did not change them in place.
    pub(crate) fn must_sync(&mut self, dir: Place) {
        self.unsynced.insert(dir);
    }

    /// Restores the old time of directories, unless another program changed them since our last call: otherwise a
    /// scanner that goes by directory times (and mergerfs' readdir cache) would miss the new file.
    pub(crate) fn give_times_back<F: Change>(&mut self, fs: &F) -> Vec<FsError> {
        let mut errors = Vec::new();
        for (dir, times) in std::mem::take(&mut self.times) {
            let result = fs.stat(&dir).and_then(|stat| match stat {
                Some(stat) if stat.mtime == times.ours && times.ours != times.original => {
                    self.unsynced.insert(dir.clone());
                    fs.set_dir_mtime(&dir, times.original)
                }
                _ => Ok(()),
            });
            errors.extend(result.err());
        }
        errors
    }

    /// Syncs every directory changed since the last time; returns the errors.
    pub(crate) fn sync<F: Change>(&mut self, fs: &F) -> Vec<FsError> {
        let dirs: Vec<Place> = std::mem::take(&mut self.unsynced).into_iter().collect();
        sync_existing(fs, &dirs).into_iter().filter_map(Result::err).collect()
    }
}

/// Syncs `dirs`; the results are in their order. A directory that is gone has nothing to sync: the program that removed the
/// directory removed its names.
pub(super) fn sync_existing<F: Change>(fs: &F, dirs: &[Place]) -> Vec<Result<(), FsError>> {
    let gone = |error: &FsError| matches!(error.errno(), libc::ENOENT | libc::ENOTDIR);
    let synced = sync_each(fs, dirs).into_iter();
    synced
        .map(|synced| synced.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) }))
        .collect()
}

/// Syncs `dirs`; the results are in their order. A directory that could not be opened, because too many are open at a time,
/// is synced by itself: that is no second try of a sync.
pub(super) fn sync_each<F: Change>(fs: &F, dirs: &[Place]) -> Vec<Result<(), FsError>> {
    let not_opened = |error: &FsError| matches!(error.errno(), libc::EMFILE | libc::ENFILE);
    let synced = fs.sync_dirs(dirs).into_iter().zip(dirs);
    synced
        .map(|(synced, dir)| match synced {
            Err(error) if not_opened(&error) => fs.sync_dir(dir),
            synced => synced,
        })
        .collect()
}
