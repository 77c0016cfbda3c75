//! The branches that the runs of a journal used, as far as they are mounted now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::find::facts;
use crate::fs::real::RealFs;
use crate::fs::{FileKind, FsError, Handle, Look, Pin, Place, Stat};
use crate::journal::BranchRecord;
use crate::pool::relpath::RelPath;
use crate::pool::{Branch, BranchIdx, mergerfs};

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// Held branch directories. Places on them have indices of their own, independent of the numbering of a run.
#[derive(Debug)]
pub(crate) struct Branches {
    pub(crate) fs: RealFs,
    /// As they are now.
    records: Vec<BranchRecord>,
    /// Paths of branches that cannot be used.
    missing: Vec<PathBuf>,
}

impl Branches {
    /// Opens each of `recorded` whose disk is mounted; if several have one path, the last counts.
    ///
    /// # Errors
    /// When branches that could be opened a moment ago cannot be opened together.
    pub(crate) fn open<'r>(
        recorded: impl Iterator<Item = &'r BranchRecord>,
    ) -> Result<Self, FsError> {
        let by_path: BTreeMap<&Path, &BranchRecord> =
            recorded.map(|b| (b.path.as_path(), b)).collect();
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for (path, record) in by_path {
            let branch = Branch { path: path.to_path_buf(), mode: record.mode };
            match is_there(&branch, record) {
                true => there.push(branch),
                false => missing.push(branch.path),
            }
        }
        let fs = RealFs::open(&there)?;
        let records = facts::branch_records(&fs, &there);
        Ok(Self { fs, records, missing })
    }

    /// Paths of branches that are not mounted.
    pub(crate) fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = BranchIdx> + use<> {
        (0..u16::try_from(self.records.len()).unwrap_or(u16::MAX)).map(BranchIdx)
    }

    pub(crate) fn root(&self, branch: BranchIdx) -> &Path {
        &self.records[branch.index()].path
    }

    pub(crate) fn path_of(&self, at: &Place) -> PathBuf {
        self.root(at.branch).join(at.path.as_path())
    }

    /// Returns the branch that a run recorded, unless another filesystem has its path now.
    pub(crate) fn find(&self, recorded: &BranchRecord) -> Option<BranchIdx> {
        self.indices().find(|at| {
            let now = &self.records[at.index()];
            now.path == recorded.path && same(now, recorded)
        })
    }

    /// Returns the place of `path` on a branch that a run recorded.
    pub(crate) fn place(&self, recorded: &BranchRecord, path: &RelPath) -> Option<Place> {
        Some(Place::new(self.find(recorded)?, path.clone()))
    }

    /// Returns the regular file at `at`, if there is one.
    ///
    /// # Errors
    /// When the file cannot be looked at. A name that leads through a symlink or a mount point is no file of the
    /// branch.
    pub(crate) fn file(&self, at: &Place) -> Result<Option<Stat>, FsError> {
        match self.fs.stat(at) {
            Err(error) if matches!(error.errno(), libc::ELOOP | libc::EXDEV) => Ok(None),
            found => Ok(found?.filter(|stat| stat.kind == FileKind::Regular)),
        }
    }

    /// Returns the path that the directory of `handle` has on `branch` now; `None` if it is on another branch, or gone.
    pub(crate) fn path_of_handle(&self, branch: BranchIdx, handle: &Handle) -> Option<RelPath> {
        let any = Place::new(branch, RelPath::root());
        let pinned = self.fs.pin_by_handle(&any, handle);
        let path = match pinned {
            Ok(Pin::New | Pin::Before) => self.fs.path_of_dir(&any).ok().flatten(),
            Ok(Pin::Missing) | Err(_) => None,
        };
        self.fs.unpin();
        path
    }

    /// Whether no branch of `run` has an entry at `path`, as far as its branches are mounted.
    pub(crate) fn is_free(&self, run: &[BranchRecord], path: &RelPath) -> bool {
        let mut places = run.iter().filter_map(|branch| self.place(branch, path));
        places.all(|at| matches!(self.fs.stat(&at), Ok(None)))
    }

    /// Whether two files have the same bytes.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn equal(&self, a: &Place, b: &Place) -> Result<bool, FsError> {
        let (a, b) = (self.fs.open(a)?, self.fs.open(b)?);
        let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut offset = 0;
        loop {
            let read = self.fs.read_full(&a, &mut left, offset)?;
            if read != self.fs.read_full(&b, &mut right, offset)? || left[..read] != right[..read] {
                return Ok(false);
            }
            if read == 0 {
                return Ok(true);
            }
            offset += read as u64;
        }
    }
}

fn is_there(branch: &Branch, recorded: &BranchRecord) -> bool {
    if mergerfs::awaits_mount(&branch.path) {
        return false;
    }
    let alone = std::slice::from_ref(branch);
    let Ok(fs) = RealFs::open(alone) else {
        return false;
    };
    let now = facts::branch_records(&fs, alone);
    now.iter().all(|now| same(now, recorded))
}

fn same(now: &BranchRecord, recorded: &BranchRecord) -> bool {
    (now.fs, now.root_ino) == (recorded.fs, recorded.root_ino)
}
