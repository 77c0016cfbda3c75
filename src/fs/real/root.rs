//! A pinned branch, and the one way to anything beneath it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, makedev, stat};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, fstatfs};

use super::super::{FileKind, InodeId, Stat, Swapped, Timestamp};
use crate::pool::{FsId, identity};
use crate::relpath::RelPath;
use crate::sys;

/// How often `openat2` is asked again when a rename somewhere on the path raced with it.
const LOOKUP_TRIES: usize = 16;

/// A branch's root directory as it was when the run began.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// `O_PATH`: keeps the filesystem in place, and its mount id from being used again.
    pub(super) dir: OwnedFd,
    pub(super) id: InodeId,
    pub(super) mount: u64,
    pub(super) identity: Option<FsId>,
    pub(super) max_links: u64,
    /// Directories whose paths may lead nowhere else.
    pins: RwLock<HashMap<RelPath, InodeId>>,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(path, flags, Mode::empty())?;
        let found = stat_of(dir.as_fd())?;
        let back = stat(proc_path(dir.as_fd()).as_path())?;
        if (back.st_dev, back.st_ino) != (found.id.dev, found.id.ino) {
            return Err(io::Error::other(
                "/proc does not lead back to open descriptors",
            ));
        }
        let max_links = max_links(dir.as_fd())?;
        let path = path.to_path_buf();
        let mut root = Self {
            path,
            dir,
            id: found.id,
            mount: found.mount,
            identity: None,
            max_links,
            pins: RwLock::default(),
        };
        // Not readable for us, or not answering: no identity, which the caller refuses by rule.
        root.identity = root
            .readable_dir(&RelPath::root())
            .and_then(|dir| identity::of_directory(dir.as_fd()))
            .unwrap_or(None);
        Ok(root)
    }

    /// The full branch path of `path`, for messages.
    pub(super) fn path_of(&self, path: &RelPath) -> PathBuf {
        if path.is_root() {
            self.path.clone()
        } else {
            self.path.join(path.as_path())
        }
    }

    /// Whether the path still leads to the held directory through the same mount: after an unmount it leads to
    /// the mount point's directory on the parent disk, and mergerfs would go on writing there.
    pub(super) fn check(&self) -> io::Result<()> {
        let found = self
            .path
            .with_nix_path(|path| sys::statx_at(AT_FDCWD, path, 0))??;
        let found = stat_from(&found);
        if found.id == self.id && found.mount == self.mount {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESTALE))
        }
    }

    /// From now on `dir` is `id`; an id it has already stays. Gives whether it had none.
    pub(super) fn pin(&self, dir: &RelPath, id: InodeId) -> bool {
        let mut pins = self.pins.write().unwrap_or_else(PoisonError::into_inner);
        let known = pins.len();
        pins.entry(dir.clone()).or_insert(id);
        pins.len() > known
    }

    /// `dir` was made anew.
    pub(super) fn pin_made(&self, dir: &RelPath, id: InodeId) {
        let mut pins = self.pins.write().unwrap_or_else(PoisonError::into_inner);
        pins.insert(dir.clone(), id);
    }

    /// `dir` was removed.
    pub(super) fn unpin(&self, dir: &RelPath) {
        let mut pins = self.pins.write().unwrap_or_else(PoisonError::into_inner);
        pins.remove(dir);
    }

    pub(super) fn unpin_all(&self) {
        let mut pins = self.pins.write().unwrap_or_else(PoisonError::into_inner);
        pins.clear();
    }

    /// Asked first: a scan looks at millions of paths, and pins none.
    fn has_pins(&self) -> bool {
        let pins = self.pins.read().unwrap_or_else(PoisonError::into_inner);
        !pins.is_empty()
    }

    pub(super) fn is_pinned(&self, dir: &RelPath) -> bool {
        self.pinned(dir).is_some()
    }

    fn pinned(&self, dir: &RelPath) -> Option<InodeId> {
        let pins = self.pins.read().unwrap_or_else(PoisonError::into_inner);
        pins.get(dir).copied()
    }

    /// Opens `path` beneath the branch, through no symlink, mount point or magic link.
    ///
    /// Only for flags that break no lease (`O_PATH`, directories): the `EAGAIN` of a lease is not repeated.
    pub(super) fn entry(&self, path: &RelPath, flags: OFlag) -> io::Result<OwnedFd> {
        let parent = self
            .has_pins()
            .then(|| path.parent().filter(|dir| self.is_pinned(dir)));
        let entry = match parent.flatten() {
            // A name in a directory that is pinned: it is found in that one, not in what has its path by then.
            Some(dir) => entry_beneath(
                &self.dir_of_names(&dir)?,
                Path::new(path.file_name()),
                flags,
            ),
            None if path.is_root() => entry_beneath(&self.dir, Path::new("."), flags),
            None => entry_beneath(&self.dir, path.as_path(), flags),
        }?;
        match self.pinned(path) {
            Some(id) if stat_of(entry.as_fd())?.id != id => Err(io::Error::other(Swapped)),
            _ => Ok(entry),
        }
    }

    fn dir_of_names(&self, dir: &RelPath) -> io::Result<OwnedFd> {
        self.entry(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
    }

    /// Opens a directory for reading, without moving its atime where that is ours to ask.
    pub(super) fn readable_dir(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        match self.entry(path, flags | OFlag::O_NOATIME) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => self.entry(path, flags),
            opened => opened,
        }
    }

    /// The held parent directory and the plain final name: what every change of a name is made with.
    pub(super) fn parent<'a>(&self, path: &'a RelPath) -> io::Result<(OwnedFd, &'a OsStr)> {
        let parent = path
            .parent()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok((self.dir_of_names(&parent)?, path.file_name()))
    }
}

/// Opens `path` beneath a held directory, through no symlink, mount point or magic link.
pub(super) fn entry_beneath(dir: &OwnedFd, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_XDEV
            | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    let mut tries = LOOKUP_TRIES;
    loop {
        match openat2(dir, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) if tries > 0 => tries -= 1,
            opened => return Ok(opened?),
        }
    }
}

/// The name under which `/proc` leads to what is open, whatever became of its names.
pub(super) fn proc_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// `statx` of an open file, directory or `O_PATH` descriptor.
pub(super) fn stat_of(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Ok(stat_from(&sys::statx(fd)?))
}

pub(super) fn stat_from(found: &libc::statx) -> Stat {
    let fixed = (libc::STATX_ATTR_IMMUTABLE | libc::STATX_ATTR_APPEND).cast_unsigned();
    let mode = u32::from(found.stx_mode);
    Stat {
        id: InodeId {
            dev: makedev(found.stx_dev_major.into(), found.stx_dev_minor.into()),
            ino: found.stx_ino,
        },
        mount: found.stx_mnt_id,
        kind: kind_of(mode),
        mode: mode & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        nlink: found.stx_nlink.into(),
        size: found.stx_size,
        blocks: found.stx_blocks,
        mtime: time_of(&found.stx_mtime),
        ctime: time_of(&found.stx_ctime),
        atime: time_of(&found.stx_atime),
        btime: (found.stx_mask & libc::STATX_BTIME != 0).then(|| time_of(&found.stx_btime)),
        immutable: found.stx_attributes & u64::from(fixed) != 0,
    }
}

fn kind_of(mode: u32) -> FileKind {
    match mode & libc::S_IFMT {
        libc::S_IFREG => FileKind::Regular,
        libc::S_IFDIR => FileKind::Directory,
        libc::S_IFLNK => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

fn time_of(time: &libc::statx_timestamp) -> Timestamp {
    Timestamp {
        secs: time.tv_sec,
        nanos: time.tv_nsec,
    }
}

/// Measured, as `pathconf` does not know them; `EMLINK` is still handled where a filesystem allows fewer.
fn max_links(dir: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(match fstatfs(dir)?.filesystem_type() {
        EXT4_SUPER_MAGIC => 65_000,
        BTRFS_SUPER_MAGIC => 65_535,
        sys::XFS_SUPER_MAGIC => i32::MAX as u64,
        _ => u32::MAX.into(),
    })
}
