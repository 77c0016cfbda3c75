//! The pool as it will be, path by path: the files on the branches at this moment, with the fates from the view.
//!
//! A path is shown from the same branch as in mergerfs: the first branch that has the path, or the branch with the
//! newest file if the mergerfs policies say so. A file that will be replaced is shown as the master's inode, with the
//! file's own bytes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::numbers::Numbers;
use super::tags::{self, Tags};
use super::view::{Fate, View};
use crate::execute::PathAccess;
use crate::fs::real::{DirEntry, RealFile, RealFs, Space, Special};
use crate::fs::{FileKind, FsError, InodeId, Look, Place, Stat};
use crate::plan::metadata::IgnoreMetadata;
use crate::pool::relpath::RelPath;
use crate::pool::{Branch, BranchIdx, BranchMode, Pool};

/// How often the preview tries to open a file on which another process, mostly a run, holds a lease, and the pause
/// between two tries. A run holds its leases for milliseconds.
const OPEN_TRIES: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(5);

/// Duplicates of one master that are checked each time the master's link count is requested.
const LOOKED_AFTER: usize = 16;

/// The pool as it will be.
#[derive(Debug)]
pub struct Tree {
    pool: Pool,
    /// The branches, followed by the mount of the pool itself.
    fs: RealFs,
    view: View,
    numbers: Numbers,
    open_newest: bool,
}

/// The file at a path, now and after the plan.
#[derive(Debug)]
pub(super) struct Future<'t> {
    /// The inode number.
    pub(super) number: u64,
    /// The attributes it will have.
    pub(super) stat: Stat,
    /// The place from which the extended attributes are read.
    at: Place,
    fate: Fate<'t>,
    now: BranchIdx,
    then: BranchIdx,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) number: u64,
    pub(super) kind: FileKind,
}

type Result<T> = std::result::Result<T, FsError>;

impl Tree {
    /// The pool after the plan of `view`. `open_newest` is set if mergerfs opens the newest of several files.
    ///
    /// # Errors
    /// If a branch or the pool cannot be opened.
    pub fn new(pool: Pool, view: View, open_newest: bool) -> Result<Self> {
        let through = Branch { path: pool.mount.clone(), mode: BranchMode::Ro };
        let roots: Vec<Branch> = pool.branches.iter().cloned().chain([through]).collect();
        let fs = RealFs::open(&roots)?;
        let all = (0..u16::try_from(roots.len()).unwrap_or(u16::MAX)).map(BranchIdx);
        let numbers = Numbers::new(all.map(|branch| fs.root_id(branch).dev));
        Ok(Self { pool, fs, view, numbers, open_newest })
    }

    /// The fates of the files.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The root directory of a branch, to check whether the branch is still the branch that the plan was made for.
    #[must_use]
    pub fn root_id(&self, branch: BranchIdx) -> InodeId {
        self.fs.root_id(branch)
    }

    /// Returns the file that will be at `path`; `None` if the path does not exist.
    pub(super) fn look(&self, path: &RelPath) -> Result<Option<Future<'_>>> {
        let Some((at, now)) = self.shown(path, self.pool.getattr_newest)? else {
            return Ok(None);
        };
        let fate = match now.kind {
            FileKind::Regular if at.branch != self.through() => self.view.fate(&at, &now),
            _ => Fate::Kept,
        };
        let mut future = Future {
            number: self.number(path, &now),
            now: at.branch,
            then: at.branch,
            stat: now,
            at,
            fate,
        };
        if let Fate::Replaced(replacement, to) = fate {
            match self.fs.stat(&replacement.master)? {
                Some(master) if replacement.stays(&master) => {
                    future.number = self.numbers.file(master.id);
                    (future.stat, future.at) = (master, replacement.master.clone());
                    future.then = to;
                }
                _ => {
                    replacement.outdate();
                    future.fate = Fate::Changed(replacement);
                }
            }
        }
        if future.stat.kind == FileKind::Regular {
            future.stat.nlink = self.links(&future.stat);
        }
        Ok(Some(future))
    }

    /// The number of names that the file will have. Names of duplicates that are gone or changed do not count; mostly a
    /// run that goes on meanwhile removes or changes duplicates. For an inode with very many duplicates, a change shows
    /// only when the changed duplicate itself is looked up.
    fn links(&self, stat: &Stat) -> u64 {
        for replacement in self.view.giving(stat.id).take(LOOKED_AFTER) {
            let now = self.fs.stat(&replacement.duplicate);
            if !now.is_ok_and(|now| now.is_some_and(|now| replacement.goes(&now))) {
                replacement.outdate();
            }
        }
        self.view.links(stat.id, stat.nlink)
    }

    /// Lists the entries of a directory, each name once.
    pub(super) fn list(&self, path: &RelPath) -> Result<Vec<Listed>> {
        let (mut seen, mut listed) = (HashSet::new(), Vec::new());
        let (mut found, mut failed) = (false, None);
        for branch in self.pool.indices() {
            let at = Place::new(branch, path.clone());
            match self.fs.list_dir(&at) {
                Ok(entries) => {
                    found = true;
                    for entry in entries {
                        if seen.insert(entry.name.clone()) {
                            listed.extend(self.listed(&at, entry));
                        }
                    }
                }
                Err(error) if is_elsewhere(&error) => return self.list_through(path),
                Err(error) if is_absent(&error) => {}
                // A disk that fails hides its own files, and not the files of the other disks.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if !found => Err(error),
            None if !found => Err(self.no_such(path)),
            _ => Ok(listed),
        }
    }

    fn list_through(&self, path: &RelPath) -> Result<Vec<Listed>> {
        let at = Place::new(self.through(), path.clone());
        let entries = self.fs.list_dir(&at)?;
        Ok(entries.into_iter().filter_map(|entry| self.listed(&at, entry)).collect())
    }

    fn listed(&self, dir: &Place, entry: DirEntry) -> Option<Listed> {
        let path = dir.path.join(OsStr::from_bytes(&entry.name)).ok()?;
        let mut id = InodeId { dev: self.fs.root_id(dir.branch).dev, ino: entry.ino };
        let at = Place::new(dir.branch, path);
        let kind = match entry.kind {
            Some(kind) => kind,
            None => self.fs.stat(&at).ok()??.kind,
        };
        let number = if kind == FileKind::Directory {
            Numbers::directory(&at.path)
        } else {
            id = self.view.successor(&at, id).unwrap_or(id);
            self.numbers.file(id)
        };
        Some(Listed { name: entry.name, number, kind })
    }

    /// Opens for reading the regular file that is at `path` now, even if the file will be replaced.
    ///
    /// The bytes of this file are the bytes after the plan in both cases. If the bytes equal the master's, a run
    /// compares the files and replaces this file. If the bytes differ because a list is wrong, a run compares the files
    /// and leaves this file.
    ///
    /// `asker` is the user who asks. The kernel has already checked this user's access to the directories shown.
    pub(super) fn open(&self, path: &RelPath, asker: u32) -> Result<RealFile> {
        let shown = self.shown(path, self.open_newest)?;
        let (at, _) = shown.ok_or_else(|| self.no_such(path))?;
        self.lets_in(&at, asker)?;
        for _ in 1..OPEN_TRIES {
            match self.fs.open(&at) {
                Err(error) if error.errno() == libc::EAGAIN => self.fs.pause(OPEN_PAUSE),
                opened => return opened,
            }
        }
        self.fs.open(&at)
    }

    /// mergerfs looks a file up as the user who asks, in the directories of the branch that holds the file. This
    /// process may enter all these directories. If these directories and the directories shown differ in who may enter
    /// them, `lets_in` admits only root and the user of this process.
    fn lets_in(&self, at: &Place, asker: u32) -> Result<()> {
        if asker == 0 || asker == nix::unistd::geteuid().as_raw() || at.branch == self.through() {
            return Ok(());
        }
        let mut ways = PathAccess::new(&self.fs);
        let mut next = at.path.parent();
        while let Some(dir) = next {
            next = dir.parent();
            let Some((shown, _)) = self.shown(&dir, self.pool.getattr_newest)? else {
                return Err(self.no_such(&dir));
            };
            let own = Place::new(at.branch, dir);
            let none = IgnoreMetadata::default();
            if shown != own && !matches!(ways.differs(&own, &shown, &none), Ok(None)) {
                return Err(FsError {
                    call: "open",
                    branch: at.branch,
                    path: self.pool.branch_path(at.branch, &at.path),
                    source: io::Error::from_raw_os_error(libc::EACCES),
                });
            }
        }
        Ok(())
    }

    pub(super) fn read_at(&self, file: &RealFile, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.fs.read_full(file, buf, offset)
    }

    pub(super) fn seek(&self, file: &RealFile, offset: i64, hole: bool) -> Result<i64> {
        self.fs.seek(file, offset, hole)
    }

    pub(super) fn read_link(&self, path: &RelPath) -> Result<Vec<u8>> {
        let future = self.look(path)?.ok_or_else(|| self.no_such(path))?;
        self.fs.read_link(&future.at)
    }

    pub(super) fn special(&self, future: &Future<'_>) -> Result<Special> {
        self.fs.special(&future.at)
    }

    /// Returns an extended attribute: a tag of the preview, or an attribute of the file.
    pub(super) fn xattr(&self, path: &RelPath, name: &OsStr) -> Result<Option<Vec<u8>>> {
        let future = self.look(path)?.ok_or_else(|| self.no_such(path))?;
        if let Some(name) = name.as_bytes().strip_prefix(tags::PREFIX.as_bytes()) {
            let tags = self.tags(path, &future)?;
            let found = tags.into_iter().find(|(tag, _)| tag.as_bytes() == name);
            return Ok(found.map(|(_, value)| value));
        }
        if !has_xattrs(&future) {
            return Ok(None);
        }
        self.fs.xattr(&future.at, name)
    }

    /// Returns the names of all extended attributes, each ended by a NUL.
    pub(super) fn xattr_names(&self, path: &RelPath) -> Result<Vec<u8>> {
        let future = self.look(path)?.ok_or_else(|| self.no_such(path))?;
        let mut names = Vec::new();
        if has_xattrs(&future) {
            for name in self.fs.xattr_names(&future.at)? {
                names.extend_from_slice(&name);
                names.push(0);
            }
        }
        for (tag, _) in self.tags(path, &future)? {
            names.extend_from_slice(tags::PREFIX.as_bytes());
            names.extend_from_slice(tag.as_bytes());
            names.push(0);
        }
        Ok(names)
    }

    /// Returns the free space of the pool after the plan.
    pub(super) fn space(&self) -> Result<Space> {
        let mut space = self.fs.space(self.through())?;
        let blocks = self.view.bytes() / space.unit.max(1);
        let more = |now: u64, by: u64, all: u64| now.saturating_add(by).min(all.max(now));
        space.free = more(space.free, blocks, space.blocks);
        space.available = more(space.available, blocks, space.blocks);
        space.files_free = more(space.files_free, self.view.replaced(), space.files);
        Ok(space)
    }

    fn tags(&self, path: &RelPath, future: &Future<'_>) -> Result<Tags> {
        let own = |branch: BranchIdx| (branch != self.through()).then_some(branch);
        match future.stat.kind {
            FileKind::Regular => {
                let (now, then) = (own(future.now), own(future.then));
                Ok(tags::of_file(&self.pool, future.fate, now, then))
            }
            FileKind::Directory => {
                let mut now = Vec::new();
                for branch in self.pool.indices() {
                    let found = self.fs.stat(&Place::new(branch, path.clone()));
                    if found.is_ok_and(|found| found.is_some_and(|s| s.kind == FileKind::Directory))
                    {
                        now.push(branch);
                    }
                }
                let mut then = [now.as_slice(), self.view.new_on(path)].concat();
                then.sort_unstable();
                then.dedup();
                Ok(tags::of_directory(&self.pool, &now, &then))
            }
            // The kernel asks for `user.*` attributes of no other kind of file.
            FileKind::Symlink | FileKind::Other => Ok(Tags::new()),
        }
    }

    /// Returns the place from which mergerfs shows a path, and the attributes of the file there.
    fn shown(&self, path: &RelPath, newest: bool) -> Result<Option<(Place, Stat)>> {
        let mut shown: Option<(Place, Stat)> = None;
        let mut failed = None;
        for branch in self.pool.indices() {
            let at = Place::new(branch, path.clone());
            match self.fs.stat(&at) {
                Ok(Some(stat)) => {
                    if shown.as_ref().is_none_or(|(_, best)| stat.mtime > best.mtime) {
                        shown = Some((at, stat));
                    }
                    if !newest {
                        break;
                    }
                }
                Ok(None) => {}
                Err(error) if is_elsewhere(&error) => {
                    let at = Place::new(self.through(), path.clone());
                    return Ok(self.fs.stat(&at)?.map(|stat| (at, stat)));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (shown, failed) {
            (None, Some(error)) => Err(error),
            (shown, _) => Ok(shown),
        }
    }

    fn number(&self, path: &RelPath, stat: &Stat) -> u64 {
        match stat.kind {
            FileKind::Directory => Numbers::directory(path),
            _ => self.numbers.file(stat.id),
        }
    }

    /// The index of the pool's own mount, after the branches.
    fn through(&self) -> BranchIdx {
        BranchIdx(u16::try_from(self.pool.branches.len()).unwrap_or(u16::MAX))
    }

    fn no_such(&self, path: &RelPath) -> FsError {
        FsError {
            call: "find",
            branch: self.through(),
            path: self.pool.path_of(path),
            source: std::io::Error::from_raw_os_error(libc::ENOENT),
        }
    }
}

/// Whether a path lies behind a mount point or symlink of a branch, where the preview does not go.
fn is_elsewhere(error: &FsError) -> bool {
    matches!(error.errno(), libc::EXDEV | libc::ELOOP)
}

fn is_absent(error: &FsError) -> bool {
    matches!(error.errno(), libc::ENOENT | libc::ENOTDIR)
}

fn has_xattrs(future: &Future<'_>) -> bool {
    matches!(future.stat.kind, FileKind::Regular | FileKind::Directory)
}
