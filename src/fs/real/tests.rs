//! On the real filesystems every machine has: the one of the temporary directory, and tmpfs.
#![allow(clippy::disallowed_methods, reason = "tests set the stage with std::fs")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::{Change, FileKind, FsError, Look, MadeDir, Pin, Place, Timestamp};
use super::RealFs;
use crate::pool::relpath::RelPath;
use crate::pool::{Branch, BranchIdx, BranchMode};

mod beneath;
mod cloning;
mod leases;
mod limits;
mod looking;
mod names;
mod scanning;

/// Two branches of one filesystem, and the calls on them.
pub(super) struct Stage {
    pub(super) fs: RealFs,
    dirs: [TempDir; 2],
}

impl Stage {
    fn new(parent: &Path) -> Self {
        let dirs = [(); 2].map(|()| tempfile::tempdir_in(parent).unwrap());
        let branches = dirs
            .each_ref()
            .map(|dir| Branch { path: dir.path().canonicalize().unwrap(), mode: BranchMode::Rw });
        Self { fs: RealFs::open(&branches).unwrap(), dirs }
    }

    /// Where a path of the first branch really is.
    pub(super) fn path(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.dirs[0].path().join(path.as_ref())
    }

    pub(super) fn write(&self, path: impl AsRef<OsStr>, contents: &[u8]) -> Place {
        let path = path.as_ref();
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), contents).unwrap();
        place(path.as_bytes())
    }

    pub(super) fn ino(&self, path: impl AsRef<OsStr>) -> u64 {
        fs::symlink_metadata(self.path(path)).unwrap().ino()
    }
}

/// Runs a test on each filesystem.
pub(super) fn everywhere(test: impl Fn(&Stage)) {
    for parent in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        test(&Stage::new(&parent));
    }
}

/// The result `make_dir` would have returned for a directory that is there already.
pub(super) fn made(stage: &Stage, path: &str) -> MadeDir {
    let stat = stage.fs.stat(&place(path)).unwrap().unwrap();
    MadeDir { id: stat.id, btime: stat.btime }
}

pub(super) fn place(path: impl AsRef<[u8]>) -> Place {
    Place::new(BranchIdx(0), RelPath::new(path).unwrap())
}

pub(super) fn errno<T: std::fmt::Debug>(done: Result<T, FsError>) -> i32 {
    done.unwrap_err().errno()
}
