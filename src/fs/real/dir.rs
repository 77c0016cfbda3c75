//! Listing and making directories.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use xattr::FileExt;

use super::super::FileKind;
use super::file::{ACCESS_ACL, DEFAULT_ACL};
use super::root::Root;
use crate::relpath::RelPath;

/// An entry of a directory, without looking at the inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// The inode number the directory gives; at a mount point that of the directory below it.
    pub ino: u64,
    /// What it is, where the filesystem says so.
    pub kind: Option<FileKind>,
}

pub(super) fn list(dir: OwnedFd) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in Dir::from_fd(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let kind = entry.file_type().map(kind_of);
            entries.push(DirEntry {
                name: name.to_vec(),
                ino: entry.ino(),
                kind,
            });
        }
    }
    Ok(entries)
}

pub(super) fn kind_of(kind: Type) -> FileKind {
    match kind {
        Type::File => FileKind::Regular,
        Type::Directory => FileKind::Directory,
        Type::Symlink => FileKind::Symlink,
        Type::Fifo | Type::CharacterDevice | Type::BlockDevice | Type::Socket => FileKind::Other,
    }
}

/// Makes a directory that only its owner can enter and that inherits nothing from its parent.
pub(super) fn make(root: &Root, path: &RelPath) -> io::Result<()> {
    let private = Mode::S_IRWXU;
    let (parent, name) = root.parent(path)?;
    mkdirat(&parent, name, private)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = File::from(openat(&parent, name, flags, Mode::empty())?);
    // A default ACL of the parent has been applied, and would be handed down to everything made in here.
    for acl in [ACCESS_ACL, DEFAULT_ACL] {
        remove_xattr(&made, acl)?;
    }
    // Takes away an inherited setgid bit, and what the ACL had put into the group bits.
    Ok(fchmod(&made, private)?)
}

/// Removes an extended attribute that need not be there, on a filesystem that need not know it.
pub(super) fn remove_xattr(file: &File, name: &[u8]) -> io::Result<()> {
    match file.remove_xattr(OsStr::from_bytes(name)) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(()),
        removed => removed,
    }
}
