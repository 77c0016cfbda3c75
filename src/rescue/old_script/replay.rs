//! From the old script's log and its list to links: finds the pool, links, and notes the links in the log.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Relinked, Relinker, Unfinished, unfinished};
use crate::find::list;
use crate::pool::lock::LockError;
use crate::run::real_path::below_pool;
use crate::run::request::ListRequest;
use crate::run::{RunError, Session, Site, base, find_pool};

/// Why a log was not replayed, or not completely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// An error that any run can have.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The log cannot be read.
    #[error("cannot read the log {log:?}: {error}")]
    Read {
        /// The log.
        log: PathBuf,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The log is of another program.
    #[error("not a log of the old script: {log:?}: {why}")]
    NotALog {
        /// The log.
        log: PathBuf,
        /// The evidence.
        why: String,
    },
    /// The log cannot be written.
    #[error("cannot write the log {log:?}: {error}")]
    Write {
        /// The log.
        log: PathBuf,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The result cannot be shown.
    #[error("cannot write results: {0}")]
    Show(io::Error),
}

impl From<LockError> for ReplayError {
    fn from(error: LockError) -> Self {
        Self::Run(error.into())
    }
}

/// A log of the old script.
#[derive(Debug)]
pub struct OldLog {
    /// The paths that the script has not finished.
    pub lost: Unfinished,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl OldLog {
    /// Reads the log at `path`.
    ///
    /// # Errors
    /// [`ReplayError::Read`] and [`ReplayError::NotALog`].
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let log = || path.to_path_buf();
        let read = |error| ReplayError::Read { log: log(), error };
        let bytes = std::fs::read(path).map_err(read)?;
        let lost = unfinished(&bytes).map_err(|why| ReplayError::NotALog { log: log(), why })?;
        Ok(Self { lost, path: log(), bytes })
    }

    /// Links again, on the pool of `list`, the paths that the script deleted and did not link. Calls `show` with each
    /// path as the log has it, and with its result.
    ///
    /// # Errors
    /// When the list or the pool cannot be used, the log cannot be written, or `show` fails.
    pub fn relink(
        &self,
        list: &ListRequest,
        mut show: impl FnMut(&[u8], Relinked) -> io::Result<()>,
    ) -> Result<(), ReplayError> {
        let (base, groups) = read_list(list)?;
        let paths = groups.iter().flat_map(|(_, paths)| paths);
        let pool = find_pool::of_first(paths.map(PathBuf::as_path))?;
        let session = Session::open(pool)?;
        let lock = session.lock()?;
        let mut relinker = Relinker::new(&session.fs, &session.pool);
        for (size, paths) in groups {
            let paths = paths.iter().filter_map(|path| below_pool(&session.pool, path));
            relinker.group(size, paths.collect());
        }
        let failed = |error| ReplayError::Write { log: self.path.clone(), error };
        let mut done = self.append().map_err(failed)?;
        for raw in &self.lost.paths {
            let path = base.join(OsStr::from_bytes(raw));
            let became = match below_pool(&session.pool, &path) {
                Some(path) => relinker.relink(&path),
                None => Relinked::Failed("not on the pool".to_owned()),
            };
            if matches!(became, Relinked::Linked(_)) {
                note_linked(&mut done, raw).map_err(failed)?;
            }
            show(raw, became).map_err(ReplayError::Show)?;
        }
        drop(lock);
        Ok(())
    }

    /// Opens the log to append to it; ends a line that was cut short.
    fn append(&self) -> io::Result<File> {
        let mut file = File::options().append(true).open(&self.path)?;
        if self.bytes.last() != Some(&b'\n') {
            file.write_all(b"\r\n")?;
        }
        Ok(file)
    }
}

/// Writes the line that the old script would have written, so that its log and a second call know the link.
fn note_linked(log: &mut File, path: &[u8]) -> io::Result<()> {
    let mut line = vec![b'"'];
    for b in path {
        line.extend(std::iter::repeat_n(*b, if *b == b'"' { 2 } else { 1 }));
    }
    line.extend(b"\",LINKED\r\n");
    log.write_all(&line)?;
    log.sync_data()
}

type Claimed = (Option<u64>, Vec<PathBuf>);

/// Reads the whole list before anything is changed. Also returns where relative paths begin, including those of the
/// log.
fn read_list(request: &ListRequest) -> Result<(PathBuf, Vec<Claimed>), RunError> {
    let file = File::open(&request.path)
        .map_err(|error| RunError::OpenList { path: request.path.clone(), error })?;
    let mut reader = list::open_as(Box::new(BufReader::new(file)), request.format.as_ref())?;
    let mut groups = Vec::new();
    for group in &mut reader {
        groups.push(group?);
    }
    let base = base(request.base.as_deref(), reader.base_dir())?;
    let absolute = |path: &Vec<u8>| base.join(OsStr::from_bytes(path));
    let groups = groups.into_iter();
    let groups =
        groups.map(|group| (group.size, group.paths.iter().map(absolute).collect())).collect();
    Ok((base, groups))
}
