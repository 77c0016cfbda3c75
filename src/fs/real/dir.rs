//! Listing and making directories.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{fsync, geteuid};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use xattr::FileExt;

use super::super::{FileKind, MadeDir};
use super::file::{ACCESS_ACL, DEFAULT_ACL};
use super::root::{Root, stat_of};
use crate::pool::relpath::RelPath;

/// An entry of a directory, without looking at the inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// The inode number in the directory; at a mount point, the number of the directory below the mount.
    pub ino: u64,
    /// The entry's kind, if the filesystem reports it.
    pub kind: Option<FileKind>,
}

pub(super) fn list(dir: OwnedFd) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in Dir::from_fd(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let kind = entry.file_type().map(kind_of);
            entries.push(DirEntry { name: name.to_vec(), ino: entry.ino(), kind });
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

/// Makes the names in a directory durable; a pinned directory's names wherever the directory is now.
pub(super) fn sync(root: &Root, path: &RelPath) -> io::Result<()> {
    Ok(fsync(root.readable_dir(path)?)?)
}

/// Makes a directory that only its owner can enter and that inherits nothing from its parent.
pub(super) fn make(root: &Root, path: &RelPath) -> io::Result<MadeDir> {
    let private = Mode::S_IRWXU;
    let (parent, name) = root.parent(path)?;
    // The clock that birth times are taken from.
    let begun = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
    let begun = (begun.tv_sec(), begun.tv_nsec());
    mkdirat(&parent, name, private)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = File::from(openat(&parent, name, flags, Mode::empty())?);
    let stat = stat_of(made.as_fd())?;
    // Between the two calls a user who may rename names here can have put another user's directory there, so that
    // this program opens that directory to everybody. The checks reject an older directory and a directory that
    // another user could make.
    let ours = stat.uid == geteuid().as_raw();
    let young = match stat.btime {
        Some(born) => (born.secs, i64::from(born.nanos)) >= begun,
        // An old format of ext4, which counts in seconds too.
        None => stat.mtime.secs >= begun.0,
    };
    if !(ours && young) {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    // A default ACL of the parent has been applied, and would be handed down to everything made in here.
    for acl in [ACCESS_ACL, DEFAULT_ACL] {
        remove_xattr(&made, acl)?;
    }
    // Takes away an inherited setgid bit, and what the ACL had put into the group bits.
    fchmod(&made, private)?;
    let (id, btime) = (stat.id, stat.btime);
    Ok(MadeDir { id, btime })
}

/// Returns the open directory, if it still is the directory that was made.
pub(super) fn expect(open: OwnedFd, made: &MadeDir) -> io::Result<OwnedFd> {
    if made.is(&stat_of(open.as_fd())?) {
        Ok(open)
    } else {
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }
}

/// Removes an extended attribute that need not be there, on a filesystem that need not know it.
pub(super) fn remove_xattr(file: &File, name: &[u8]) -> io::Result<()> {
    match file.remove_xattr(OsStr::from_bytes(name)) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(()),
        removed => removed,
    }
}
