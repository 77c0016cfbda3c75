//! A list of duplicates on its way in: opened, its pool found, every claim resolved.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::request::ListRequest;
use super::{RunError, Session, find_pool};
use crate::find::filter::Filter;
use crate::find::list::{self, ClaimedGroup, ListReader};
use crate::find::resolve::{Paths, Resolved, Resolver};
use crate::pool::Pool;

/// A list, with the groups already read to find its pool.
pub(super) struct List<'r> {
    request: &'r ListRequest,
    reader: ListReader,
    read: Vec<ClaimedGroup>,
}

impl<'r> List<'r> {
    pub(super) fn open(request: &'r ListRequest) -> Result<Self, RunError> {
        let path = request.path.as_path();
        let source: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(path)
                .map_err(|error| RunError::OpenList { path: path.to_path_buf(), error })?;
            if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(RunError::ListIsDirectory(path.to_path_buf()));
            }
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        Ok(Self {
            request,
            reader: list::open_as(source, request.format.as_ref())?,
            read: Vec::new(),
        })
    }

    /// Finds the pool of the first path in the list that lies on a mergerfs mount.
    pub(super) fn pool(&mut self, branches: Option<&OsStr>) -> Result<Pool, RunError> {
        let pools = find_pool::mount_points()?;
        while let Some(group) = self.reader.next() {
            let group = group?;
            let here = self.paths()?;
            let paths = group.paths.iter().map(|path| here.here(path));
            let found = find_pool::first_below(paths, &pools);
            self.read.push(group);
            if let Some(dir) = found {
                return find_pool::of_directory(&dir, branches);
            }
        }
        if self.read.is_empty() {
            let unread = self.reader.take_unread();
            let unread = unread.into_iter().flat_map(|unread| unread.paths).collect();
            return Err(RunError::NothingListed { unread });
        }
        Err(RunError::NoPathOnPool)
    }

    fn paths(&self) -> Result<Paths, RunError> {
        let base = base(self.request.base.as_deref(), self.reader.base_dir())?;
        Ok(Paths { base, map: self.request.map.clone() })
    }

    /// Reads the list to its end and resolves every claim; changes nothing.
    pub(super) fn resolve(
        mut self,
        session: &Session,
        filter: &Filter,
    ) -> Result<Resolved, RunError> {
        let first = match self.read.is_empty() {
            // The base that the list names is known only once the head of the list was read.
            true => self.reader.next().transpose()?.into_iter().collect(),
            false => std::mem::take(&mut self.read),
        };
        let mut resolver = Resolver::new(&session.fs, &session.pool, filter, self.paths()?)?;
        for group in first {
            resolver.claim(group)?;
        }
        for group in &mut self.reader {
            resolver.claim(group?)?;
        }
        for unread in self.reader.take_unread() {
            resolver.unread(unread)?;
        }
        Ok(resolver.finish()?)
    }
}

/// Returns where relative paths begin: at the directory of the request, else at the directory of the list, else at the
/// current directory.
///
/// # Errors
/// When there is no current directory.
pub(crate) fn base(requested: Option<&Path>, of_list: Option<&[u8]>) -> Result<PathBuf, RunError> {
    match (requested, of_list) {
        (Some(base), _) => Ok(std::path::absolute(base).unwrap_or_else(|_| base.to_path_buf())),
        (None, Some(base)) => Ok(PathBuf::from(OsStr::from_bytes(base))),
        (None, None) => std::env::current_dir().map_err(RunError::NoCurrentDirectory),
    }
}
