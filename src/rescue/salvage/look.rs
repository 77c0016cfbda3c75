//! Looking at files: the file at a name, and whether two files have the same bytes.

use super::{Group, Rebuilt, SalvagePlanner};
use crate::fs::StoredId;
use crate::fs::{FileKind, FsError, Handle, Look, Metadata, Place, Stat, Swapped, Timestamp};
use crate::journal::{Record, RecordedFile};
use crate::pool::BranchIdx;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// The bytes that two files have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Same {
    /// All bytes; their BLAKE3.
    Equal([u8; 32]),
    /// The first is the beginning of the second.
    Begins,
    /// Neither.
    Differ,
}

/// No op has such a path. A program that made a symlink of a directory since, or that writes a log, must not stop a
/// salvage.
fn leads_astray(error: &FsError) -> bool {
    matches!(error.errno(), libc::ELOOP | libc::ENAMETOOLONG)
}

impl<F: Look> SalvagePlanner<'_, F> {
    /// Pins directories until the op is planned: what is found in them and their handles are of the same directories,
    /// whatever a client puts at their paths meanwhile.
    pub(super) fn pin(&self, dirs: impl IntoIterator<Item = Place>) -> Result<(), FsError> {
        for dir in dirs {
            match self.fs.pin(&dir) {
                Err(error) if leads_astray(&error) => {}
                pinned => drop(pinned?),
            }
        }
        Ok(())
    }

    /// Checks that the hidden files are in the directories that are pinned now.
    ///
    /// # Errors
    /// When a client removed one of the files, or renamed its directory, since the branches were searched.
    pub(super) fn still_there(&self, group: &Group) -> Result<(), FsError> {
        for hidden in group {
            let now = self.regular(&hidden.at)?;
            if now.is_none_or(|now| now.id != hidden.stat.id) {
                return Err(FsError {
                    call: "find again",
                    branch: hidden.at.branch,
                    path: self.branch_path(&hidden.at),
                    source: std::io::Error::other(Swapped),
                });
            }
        }
        Ok(())
    }

    /// Puts the handles of the directories into the intent of an op that was planned, so that recovery acts in these
    /// directories and in no others.
    pub(super) fn with_handles(&self, mut rebuilt: Rebuilt) -> Result<Rebuilt, FsError> {
        let intents = rebuilt.records.iter_mut().filter_map(|record| match record {
            Record::Intent(intent) => Some(&mut **intent),
            Record::UndoIntent(undo) | Record::UndoReflinkIntent(undo) => Some(&mut undo.intent),
            Record::ReflinkIntent(reflink) => Some(&mut reflink.intent),
            _ => None,
        });
        for name in intents.flat_map(|intent| &mut intent.names) {
            let dir = |branch| Place::new(branch, name.path.clone()).dir();
            (name.from_dir, name.to_dir) =
                (self.handle_of(&dir(name.from))?, self.handle_of(&dir(name.to))?);
        }
        Ok(rebuilt)
    }

    fn handle_of(&self, dir: &Place) -> Result<Handle, FsError> {
        let is_dir = match self.fs.stat(dir) {
            Err(error) if leads_astray(&error) => false,
            stat => stat?.is_some_and(|stat| stat.kind == FileKind::Directory),
        };
        match self.fs.handle(dir) {
            _ if !is_dir => Ok(Handle::default()),
            Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => {
                Ok(Handle::default())
            }
            handle => handle,
        }
    }

    /// Returns the regular file at `at`.
    pub(super) fn regular(&self, at: &Place) -> Result<Option<Stat>, FsError> {
        let stat = match self.fs.stat(at) {
            Err(error) if leads_astray(&error) => None,
            stat => stat?,
        };
        Ok(stat.filter(|stat| stat.kind == FileKind::Regular))
    }

    /// Returns every branch's index.
    pub(super) fn branches(&self) -> impl Iterator<Item = BranchIdx> + use<F> {
        (0..u16::try_from(self.lost.branches.len()).unwrap_or(u16::MAX)).map(BranchIdx)
    }

    /// Whether any branch has the path of `at`.
    pub(super) fn in_pool(&self, at: &Place) -> Result<bool, FsError> {
        for branch in self.branches() {
            let taken = match self.fs.stat(&Place::new(branch, at.path.clone())) {
                // Wherever the path leads, it is not free.
                Err(error) if leads_astray(&error) => true,
                stat => stat?.is_some(),
            };
            if taken {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Compares `part`, which is `stat`, with `whole`; `None` if one of the two became another file meanwhile.
    pub(super) fn same(
        &self,
        (part, stat): (&Place, &Stat),
        (whole, other): (&Place, &Stat),
    ) -> Result<Option<Same>, FsError> {
        let files = [self.opened(part, stat)?, self.opened(whole, other)?];
        let [Some(part), Some(whole)] = files else {
            return Ok(None);
        };
        let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
        let (mut one, mut two) = (vec![0; CHUNK], vec![0; CHUNK]);
        loop {
            let got = self.fs.read_full(&part, &mut one, at)?;
            let there = self.fs.read_full(&whole, &mut two, at)?;
            if one[..got] != two[..got.min(there)] {
                return Ok(Some(Same::Differ));
            }
            hasher.update(&one[..got]);
            at += got as u64;
            if got < CHUNK {
                let ends = got == there && stat.size == other.size;
                return Ok(Some(match ends {
                    true => Same::Equal(hasher.finalize().into()),
                    false => Same::Begins,
                }));
            }
        }
    }

    /// Opens the file at `at`, if that file still is `stat`.
    fn opened(&self, at: &Place, stat: &Stat) -> Result<Option<F::File>, FsError> {
        let file = match self.fs.open(at) {
            Err(error) if matches!(error.errno(), libc::ENOENT | libc::EINVAL | libc::EAGAIN) => {
                return Ok(None);
            }
            opened => opened?,
        };
        let same = self.fs.stat_open(&file)?.id == stat.id;
        Ok(same.then_some(file))
    }

    /// Returns owner, mode, ACL and attributes of the file at `at`, if that file still is `stat`.
    pub(super) fn metadata(&self, at: &Place, stat: &Stat) -> Result<Option<Metadata>, FsError> {
        match self.opened(at, stat)? {
            Some(file) => self.fs.metadata(&file).map(Some),
            None => Ok(None),
        }
    }

    /// Returns a file in the form of a record; `None` on a branch without identity.
    pub(super) fn copy(&self, at: &Place, stat: Option<&Stat>, size: u64) -> Option<RecordedFile> {
        let fs = self.lost.branches[at.branch.index()].fs?;
        // No file has the number 0.
        let (ino, btime) = stat.map_or((0, None), |stat| (stat.id.ino, stat.btime));
        let time = |of: fn(&Stat) -> Timestamp| stat.map_or(Timestamp::default(), of);
        Some(RecordedFile {
            branch: at.branch,
            path: at.path.clone(),
            id: StoredId { fs, ino, btime },
            size: stat.map_or(size, |stat| stat.size),
            mtime: time(|stat| stat.mtime),
            ctime: time(|stat| stat.ctime),
        })
    }

    /// Returns the names in directory `dir` that are not hidden, in order; no names if the directory is missing.
    pub(super) fn visible(&self, dir: &Place) -> Result<Vec<Place>, FsError> {
        let names = match self.fs.names_with_prefix(dir, b"") {
            Err(error)
                if leads_astray(&error)
                    || matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) =>
            {
                return Ok(vec![]);
            }
            listed => listed?,
        };
        let visible = names.iter().filter(|name| !crate::plan::hidden_name::is_hidden_name(name));
        let mut places: Vec<Place> = visible
            .filter_map(|name| dir.path.join(crate::pool::mergerfs::path_of(name)).ok())
            .map(|path| Place::new(dir.branch, path))
            .collect();
        places.sort();
        Ok(places)
    }
}
