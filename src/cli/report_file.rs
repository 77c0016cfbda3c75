//! The report page on disk: there as a whole or not at all.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use tempfile::NamedTempFile;

use super::failure::Failure;

/// A report to be written when the run is over.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl ReportFile {
    /// Makes sure that `path` can be written before anything is done. What is there stays until the end.
    pub(super) fn begin(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Err(
                Failure::usage(format!("the report {path:?} is a directory"))
                    .hint("name a file with --report"),
            );
        }
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".mergerfs-xdedup-report-")
            .permissions(Permissions::from_mode(0o666 & !creation_mask()))
            .tempfile_in(dir)
            .map_err(|error| {
                Failure::usage(format!("cannot write the report {path:?}: {error}"))
                    .hint("name a file in a directory that can be written with --report")
            })?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Puts `page` in place.
    pub(super) fn finish(mut self, page: &str) -> Result<(), Failure> {
        let path = self.path;
        let failed = |error: std::io::Error| {
            Failure::environment(format!("cannot write the report {path:?}: {error}"))
                .hint("the run itself is over; its log is beside the journal")
        };
        self.file.write_all(page.as_bytes()).map_err(failed)?;
        self.file
            .persist(&path)
            .map_err(|error| failed(error.error))
            .map(drop)
    }
}

/// What the umask takes away from new files.
fn creation_mask() -> u32 {
    // It can only be read by setting it; nothing else makes files yet.
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    mask.bits()
}
