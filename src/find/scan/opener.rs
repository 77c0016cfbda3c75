//! Opens the files of a catalog; looks up a directory once for all its files.

use super::catalog::{Catalog, DirId, File};
use crate::fs::FsError;
use crate::fs::real::{RealFs, ScanFile, ScanParent};

/// Opens files; keeps the directory of the last file open.
pub(super) struct Opener<'o> {
    fs: &'o RealFs,
    catalog: &'o Catalog,
    last: Option<(DirId, ScanParent)>,
}

impl<'o> Opener<'o> {
    pub(super) fn new(fs: &'o RealFs, catalog: &'o Catalog) -> Self {
        Self { fs, catalog, last: None }
    }

    /// Opens a file that was a regular file during the walk; the caller checks whether the file is still the same.
    pub(super) fn open(&mut self, file: &File) -> Result<ScanFile, FsError> {
        let parent = match self.last.take() {
            Some((dir, parent)) if dir == file.dir() => parent,
            _ => self.fs.scan_parent(&self.catalog.dir_place(file.dir()))?,
        };
        let (_, parent) = self.last.insert((file.dir(), parent));
        let opened = parent.open(self.catalog.file_name(file));
        opened.map_err(|error| self.failed("open", file, error))
    }

    /// An error about a file, with the path of the file.
    pub(super) fn failed(&self, call: &'static str, file: &File, error: std::io::Error) -> FsError {
        self.fs.scan_error(call, &self.catalog.file_place(file), error)
    }
}

/// Whether the error means that the file or directory is no longer there.
pub(super) fn is_gone(error: &FsError) -> bool {
    matches!(error.errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV)
}
