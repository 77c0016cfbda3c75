//! Opens the files of a catalog, those of one directory through one look-up of it.

use super::catalog::{Catalog, DirId, File};
use crate::fs::FsError;
use crate::fs::real::{RealFs, ScanFile, ScanParent};

/// Opens files; keeps the directory of the last one.
pub(super) struct Opener<'o> {
    fs: &'o RealFs,
    catalog: &'o Catalog,
    last: Option<(DirId, ScanParent)>,
}

impl<'o> Opener<'o> {
    pub(super) fn new(fs: &'o RealFs, catalog: &'o Catalog) -> Self {
        Self {
            fs,
            catalog,
            last: None,
        }
    }

    /// Opens what was a regular file during the walk; the caller looks whether it still is the same.
    pub(super) fn open(&mut self, file: &File) -> Result<ScanFile, FsError> {
        let parent = match self.last.take() {
            Some((dir, parent)) if dir == file.dir => parent,
            _ => self.fs.scan_parent(&self.catalog.dir_place(file.dir))?,
        };
        let (_, parent) = self.last.insert((file.dir, parent));
        let opened = parent.open(self.catalog.file_name(file));
        opened.map_err(|error| self.failed("open", file, error))
    }

    /// An error about a file, with what it is about.
    pub(super) fn failed(&self, call: &'static str, file: &File, error: std::io::Error) -> FsError {
        self.fs
            .scan_error(call, &self.catalog.file_place(file), error)
    }
}

/// Whether what was not opened is simply no longer there.
pub(super) fn is_gone(error: &FsError) -> bool {
    matches!(
        error.errno(),
        libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV
    )
}
