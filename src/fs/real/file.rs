//! An open regular file: its metadata and its lease.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{OFlag, open as nix_open, openat};
use nix::sys::stat::Mode;
use xattr::FileExt;

use super::super::{FileKind, Lease, Metadata, Place, Stat};
use super::root::{Root, proc_path, stat_of, without_atime};
use crate::sys;

/// The extended attribute that is a file's access ACL.
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// The extended attribute that is what entries of a directory inherit.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// How a regular file is opened: without blocking, since another process may have a lease on it.
const FOR_READING: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// A regular file open for reading; closing it releases its lease.
#[derive(Debug)]
pub struct RealFile {
    pub(super) file: File,
    pub(super) at: Place,
}

impl AsFd for RealFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Opens a regular file without following a symlink, blocking, or moving its atime.
///
/// First by `O_PATH`, which opens nothing: a FIFO or device must not even be touched. The descriptor found to be
/// a regular file is then opened through `/proc`, which cannot lead to anything else.
pub(super) fn open(root: &Root, at: &Place) -> io::Result<RealFile> {
    let entry = root.entry(&at.path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    open_held(entry.as_fd(), at)
}

/// Opens what was a regular file a moment ago, in one call.
///
/// If another program puts a FIFO or a device there in between, that is opened without blocking; the caller looks at what it has.
pub(super) fn open_seen(root: &Root, at: &Place) -> io::Result<RealFile> {
    let flags = FOR_READING | OFlag::O_NOFOLLOW;
    let opened = without_atime(flags, |flags| root.entry(&at.path, flags))?;
    Ok(RealFile { file: opened.into(), at: at.clone() })
}

/// Opens for reading the regular file that an `O_PATH` descriptor holds.
pub(super) fn open_held(held: BorrowedFd<'_>, at: &Place) -> io::Result<RealFile> {
    match stat_of(held)?.kind {
        FileKind::Regular => {}
        FileKind::Symlink => return Err(io::Error::from_raw_os_error(libc::ELOOP)),
        FileKind::Directory | FileKind::Other => {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
    }
    Ok(RealFile { file: reopen(held)?.into(), at: at.clone() })
}

/// Makes an empty file of mode 0600, open for reading and writing.
pub(super) fn create(root: &Root, at: &Place) -> io::Result<RealFile> {
    let (dir, name) = root.parent(&at.path)?;
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let made = openat(&dir, name, flags | OFlag::O_CLOEXEC, mode)?;
    Ok(RealFile { file: made.into(), at: at.clone() })
}

/// Opens the file an `O_PATH` descriptor holds; `EAGAIN` if another process's lease is in the way.
fn reopen(held: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = proc_path(held);
    let flags = FOR_READING | OFlag::O_CLOEXEC;
    without_atime(flags, |flags| Ok(nix_open(path.as_path(), flags, Mode::empty())?))
}

impl RealFile {
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        metadata_of(&self.file, &stat_of(self.as_fd())?)
    }

    pub(super) fn lease(&self, lease: Lease) -> io::Result<()> {
        let kind = match lease {
            Lease::Read => libc::F_RDLCK,
            Lease::Write => libc::F_WRLCK,
        };
        sys::set_lease(self.as_fd(), kind)
    }

    pub(super) fn lease_state(&self) -> io::Result<Option<Lease>> {
        Ok(match sys::get_lease(self.as_fd())? {
            libc::F_RDLCK => Some(Lease::Read),
            libc::F_WRLCK => Some(Lease::Write),
            _ => None,
        })
    }

    pub(super) fn release(&self) -> io::Result<()> {
        match sys::set_lease(self.as_fd(), libc::F_UNLCK) {
            // No lease is held: the kernel broke the lease by force after its patience, or the lease was never taken.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
            released => released,
        }
    }
}

/// Owner, mode, ACL and extended attributes of an open file of which `stat` was just taken.
pub(super) fn metadata_of(file: &File, stat: &Stat) -> io::Result<Metadata> {
    let mut xattrs = all_xattrs(file)?;
    let acl = xattrs.remove(ACCESS_ACL);
    Ok(Metadata { uid: stat.uid, gid: stat.gid, mode: stat.mode, acl, xattrs })
}

/// Every extended attribute of an open file or directory, ACLs too; xfs' second view of the ACLs left out.
pub(super) fn all_xattrs(file: &File) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let names = match file.list_xattr() {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(BTreeMap::new()),
        names => names?,
    };
    let mut found = BTreeMap::new();
    for name in names.filter(|name| !name.as_bytes().starts_with(b"trusted.SGI_ACL_")) {
        // Skips an attribute that was removed after it was listed.
        if let Some(value) = file.get_xattr(&name)? {
            found.insert(name.as_bytes().to_vec(), value);
        }
    }
    Ok(found)
}
