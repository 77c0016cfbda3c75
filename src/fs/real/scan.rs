//! Fast looking around for a scan: one open directory serves all its entries, one open file all its parts.
//!
//! Nothing here changes a branch, a time, or (as far as the kernel lets us) what the page cache holds.

use std::cell::Cell;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::NixPath;
use nix::dir::Dir;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use super::super::{FileKind, FsError, InodeId, Layout, Metadata, Nature, Place, Result, Stat};
use super::file::metadata_of;
use super::root::{Root, entry_beneath, stat_from, stat_of, without_atime};
use super::{RealFs, dir, nature};
use crate::sys;

/// A directory with its entries, held open to look at them.
#[derive(Debug)]
pub struct ScanDir {
    dir: Dir,
    id: InodeId,
    mount: u64,
    /// The names, each ended by a NUL.
    names: Vec<u8>,
    entries: Vec<ScanEntry>,
}

/// An entry of a [`ScanDir`], without looking at the inode.
#[derive(Debug, Clone, Copy)]
pub struct ScanEntry {
    /// The inode number in the directory.
    pub ino: u64,
    /// The entry's kind, if the filesystem reports it.
    pub kind: Option<FileKind>,
    /// Where in the names its name begins.
    name: usize,
}

impl ScanDir {
    /// The directory itself.
    #[must_use]
    pub fn id(&self) -> InodeId {
        self.id
    }

    /// Every entry but `.` and `..`, by inode number: the order in which inodes lie on most disks.
    #[must_use]
    pub fn entries(&self) -> &[ScanEntry] {
        &self.entries
    }

    /// The name of one of its entries.
    #[must_use]
    pub fn name(&self, entry: &ScanEntry) -> &CStr {
        CStr::from_bytes_until_nul(&self.names[entry.name..]).unwrap_or(c"")
    }

    /// Stats an entry; `None` if the entry is gone, or lies on another mount or device than its directory.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn stat(&self, entry: &ScanEntry) -> io::Result<Option<Stat>> {
        let found = sys::statx_at(self.dir.as_fd(), self.name(entry), libc::AT_SYMLINK_NOFOLLOW);
        match found {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            found => {
                let stat = stat_from(&found?);
                let here = (stat.mount, stat.id.dev) == (self.mount, self.id.dev);
                Ok(here.then_some(stat))
            }
        }
    }
}

/// A directory held while files in it are opened: the way to it is looked up once.
#[derive(Debug)]
pub struct ScanParent {
    dir: OwnedFd,
    mount: u64,
}

impl ScanParent {
    /// Opens what was a regular file when the directory was read, as [`RealFs::open_to_scan`].
    ///
    /// # Errors
    /// Returns the kernel's error; `EAGAIN` if another process's lease is in the way.
    pub fn open(&self, name: &OsStr) -> io::Result<ScanFile> {
        open_file(&self.dir, Path::new(name))
    }

    /// Whether the directory has an entry `name` of any kind.
    ///
    /// # Errors
    /// As [`Self::stat`].
    pub fn has(&self, name: &OsStr) -> io::Result<bool> {
        self.stat(name).map(|found| found.is_some())
    }

    /// Calls `found` with each name in the directory; returns whether that was all, or the directory has more than `at_most`.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn list(&self, at_most: usize, mut found: impl FnMut(&OsStr)) -> io::Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let readable =
            without_atime(flags, |flags| entry_beneath(&self.dir, Path::new("."), flags))?;
        for (n, entry) in Dir::from_fd(readable)?.into_iter().enumerate() {
            if n >= at_most {
                return Ok(false);
            }
            found(OsStr::from_bytes(entry?.file_name().to_bytes()));
        }
        Ok(true)
    }

    /// Stats the entry `name`; `None` if the directory has no such entry.
    ///
    /// # Errors
    /// Returns the kernel's error; `EXDEV` if `name` is a mount point.
    pub fn stat(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        let found = name
            .with_nix_path(|name| sys::statx_at(self.dir.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW));
        match found? {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            found => {
                let stat = stat_from(&found?);
                if stat.mount == self.mount {
                    Ok(Some(stat))
                } else {
                    Err(io::Error::from_raw_os_error(libc::EXDEV))
                }
            }
        }
    }
}

fn open_file(dir: &OwnedFd, path: &Path) -> io::Result<ScanFile> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = without_atime(flags, |flags| entry_beneath(dir, path, flags))?;
    Ok(ScanFile { file: opened.into(), leaves_from: Cell::new(None) })
}

/// A regular file open to be read once.
#[derive(Debug)]
pub struct ScanFile {
    file: File,
    /// Where reading began that leaves pages behind, for a kernel that cannot read without.
    leaves_from: Cell<Option<u64>>,
}

impl ScanFile {
    /// `fstat`.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn stat(&self) -> io::Result<Stat> {
        stat_of(self.file.as_fd())
    }

    /// Owner, mode, ACL and extended attributes, where `stat` was just taken.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn metadata(&self, stat: &Stat) -> io::Result<Metadata> {
        metadata_of(&self.file, stat)
    }

    /// Whether a read lease could be had for a moment: then no program has the file open, or mapped, for writing.
    #[must_use]
    pub fn could_be_leased(&self) -> bool {
        let leased = sys::set_lease(self.file.as_fd(), libc::F_RDLCK);
        leased.and_then(|()| sys::set_lease(self.file.as_fd(), libc::F_UNLCK)).is_ok()
    }

    /// What keeps the file from being linked although its bytes are equal, where `stat` was just taken and `can_share` is
    /// [`RealFs::can_share`] of its branch.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn nature(&self, stat: &Stat, can_share: bool) -> io::Result<Nature> {
        nature::of_file(&self.file, stat, can_share, |buf| self.read_passing(buf, 0))
    }

    /// Where all its blocks lie, if it shares each of them, where `stat` was just taken.
    #[must_use]
    pub fn layout(&self, stat: &Stat) -> Option<Layout> {
        nature::layout(self.file.as_fd(), stat.size)
    }

    /// Reads only pages already in memory; returns `None` if the read would have to wait for the disk.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn read_resident(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        match sys::read_at_with(self.file.as_fd(), buf, offset, libc::RWF_NOWAIT) {
            Ok(read) => Ok(Some(read)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Reads from the disk and leaves no pages behind, as far as the kernel can: the pages the machine had in memory
    /// for other programs are worth more than pages that are read once.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn read_passing(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.leaves_from.get().is_none() {
            match sys::read_at_with(self.file.as_fd(), buf, offset, libc::RWF_DONTCACHE) {
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS)
                    ) =>
                {
                    self.leaves_from.set(Some(offset));
                }
                read => return read,
            }
        }
        self.file.read_at(buf, offset)
    }

    /// Announces to the kernel that this program is about to read all of the file, in order.
    pub fn expect_whole(&self) {
        let advice = PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL;
        if let Err(errno) = posix_fadvise(&self.file, 0, 0, advice) {
            tracing::trace!(%errno, "advice not taken");
        }
    }

    /// Where on the disk the file's data begins, if the filesystem reports it.
    #[must_use]
    pub fn first_extent(&self) -> Option<u64> {
        sys::first_extent(self.file.as_fd()).ok().flatten()
    }
}

impl Drop for ScanFile {
    fn drop(&mut self) {
        let Some(from) = self.leaves_from.get() else {
            return;
        };
        let from = i64::try_from(from).unwrap_or(0);
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        if let Err(errno) = posix_fadvise(&self.file, from, 0, advice) {
            tracing::trace!(%errno, "advice not taken");
        }
    }
}

impl RealFs {
    /// Opens a directory and reads its entries.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn scan_dir(&self, at: &Place) -> Result<ScanDir> {
        let opened = open_dir(self.root(at.branch), at);
        self.told("list directory", at, opened)
    }

    /// Opens what was a regular file when its directory was read, without following a symlink, crossing a mount,
    /// blocking, or moving its atime. The caller looks whether it still is that file.
    ///
    /// # Errors
    /// Returns the kernel's error; `EAGAIN` if another process's lease is in the way.
    pub fn open_to_scan(&self, at: &Place) -> Result<ScanFile> {
        let opened = open_file(&self.root(at.branch).dir, at.path.as_path());
        self.told("open", at, opened)
    }

    /// Opens a directory to open files in it.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn scan_parent(&self, at: &Place) -> Result<ScanParent> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let opened = self.root(at.branch).entry(&at.path, flags);
        let mount = self.root(at.branch).mount;
        let parent = opened.map(|dir| ScanParent { dir, mount });
        self.told("open directory", at, parent)
    }

    /// An error of [`ScanDir`] or [`ScanFile`], with the place of the failed call.
    #[must_use]
    pub fn scan_error(&self, call: &'static str, at: &Place, error: io::Error) -> FsError {
        let path = self.root(at.branch).shown(&at.path);
        super::failed(call, at.branch, path, error)
    }
}

fn open_dir(root: &Root, at: &Place) -> io::Result<ScanDir> {
    let fd = root.readable_dir(&at.path)?;
    let stat = stat_of(fd.as_fd())?;
    let mut dir = Dir::from_fd(fd)?;
    let (mut names, mut entries) = (Vec::new(), Vec::new());
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            entries.push(ScanEntry {
                ino: entry.ino(),
                kind: entry.file_type().map(dir::kind_of),
                name: names.len(),
            });
            names.extend_from_slice(name.to_bytes_with_nul());
        }
    }
    entries.sort_unstable_by_key(|entry| entry.ino);
    Ok(ScanDir { dir, id: stat.id, mount: stat.mount, names, entries })
}
