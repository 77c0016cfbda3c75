//! Looks at attributes and at entries that are no regular files, without opening anything: for the preview.
//!
//! Everything goes through `O_PATH` descriptors: nothing here breaks a lease, waits for a FIFO or wakes a device.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{OFlag, readlinkat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Whence, lseek64};

use super::super::{Place, Result};
use super::root::proc_path;
use super::{RealFile, RealFs, failed};
use crate::pool::BranchIdx;
use crate::sys;

/// The kind of a file that is neither regular nor a directory nor a symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// `S_IFIFO`, `S_IFSOCK`, `S_IFCHR` or `S_IFBLK`.
    pub kind: u32,
    /// The device's major and minor number.
    pub device: (u32, u32),
}

/// The room on a filesystem, as `statvfs(3)` returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Unit of the block counts, in bytes.
    pub unit: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for an ordinary user.
    pub available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// The longest name, in bytes.
    pub name_max: u64,
}

impl Space {
    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.unit)
    }

    /// The bytes in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.blocks.saturating_sub(self.free).saturating_mul(self.unit)
    }

    /// The bytes an ordinary user can still write.
    #[must_use]
    pub fn available_bytes(&self) -> u64 {
        self.available.saturating_mul(self.unit)
    }
}

impl RealFs {
    /// The target of a symlink.
    ///
    /// # Errors
    /// Returns the kernel's error; `EINVAL` or `ENOENT` if the entry is no symlink.
    pub fn read_link(&self, at: &Place) -> Result<Vec<u8>> {
        let read = self.held(at).and_then(|link| Ok(readlinkat(link, "")?));
        let read = self.told("read symlink", at, read)?;
        Ok(read.as_bytes().to_vec())
    }

    /// Which kind of special file is there.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn special(&self, at: &Place) -> Result<Special> {
        let found = self.held(at).and_then(|file| sys::statx(file.as_fd()));
        let found = self.told("look up", at, found)?;
        Ok(Special {
            kind: u32::from(found.stx_mode) & libc::S_IFMT,
            device: (found.stx_rdev_major, found.stx_rdev_minor),
        })
    }

    /// An extended attribute of a regular file or directory; `None` if the attribute is not set, or not known there.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn xattr(&self, at: &Place, name: &OsStr) -> Result<Option<Vec<u8>>> {
        let value = self.held(at).and_then(|file| xattr::get_deref(proc_path(file.as_fd()), name));
        self.told("read an extended attribute of", at, unknown_as(value, || None))
    }

    /// The names of all its extended attributes.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn xattr_names(&self, at: &Place) -> Result<Vec<Vec<u8>>> {
        let names = self.held(at).and_then(|file| {
            let names = xattr::list_deref(proc_path(file.as_fd()))?;
            Ok(names.map(|name| name.as_bytes().to_vec()).collect())
        });
        self.told("list the extended attributes of", at, unknown_as(names, Vec::new))
    }

    /// The room on a branch's filesystem.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn space(&self, branch: BranchIdx) -> Result<Space> {
        let root = self.root(branch);
        let found = fstatvfs(&root.dir)
            .map_err(|e| failed("ask for free space of", branch, &root.path, e.into()))?;
        Ok(Space {
            unit: found.fragment_size(),
            blocks: found.blocks(),
            free: found.blocks_free(),
            available: found.blocks_available(),
            files: found.files(),
            files_free: found.files_free(),
            name_max: found.name_max(),
        })
    }

    /// Where data (or, with `hole`, a hole) begins at or after `offset`.
    ///
    /// # Errors
    /// `ENXIO` if no such range follows.
    pub fn seek(&self, file: &RealFile, offset: i64, hole: bool) -> Result<i64> {
        let whence = if hole { Whence::SeekHole } else { Whence::SeekData };
        let found = lseek64(&file.file, offset, whence).map_err(io::Error::from);
        self.told("look for data in", &file.at, found)
    }

    fn held(&self, at: &Place) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        self.root(at.branch).entry(&at.path, flags)
    }
}

/// A filesystem without extended attributes has none.
fn unknown_as<T>(found: io::Result<T>, none: impl FnOnce() -> T) -> io::Result<T> {
    match found {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(none()),
        found => found,
    }
}
