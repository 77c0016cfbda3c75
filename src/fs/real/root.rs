//! A pinned branch, and the only way to anything beneath a branch.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2, readlink};
use nix::sys::stat::{Mode, makedev, stat};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, fstatfs,
};

use super::super::{FileKind, Handle, InodeId, Pin, Stat, Swapped, Timestamp};
use crate::fs::{FsId, identity};
use crate::pool::relpath::RelPath;
use crate::sys;

/// How often `openat2` is asked again when a rename somewhere on the path raced with it.
const LOOKUP_TRIES: usize = 16;

/// Without it no path can be looked up beneath a branch alone.
const NO_OPENAT2: &str =
    "no openat2: it needs Linux 5.8, and a container runtime that allows the call";

/// How a directory is held.
const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW);

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
    /// Whether it is an overlay of several directories.
    pub(super) is_overlay: bool,
    /// Whether its files may share blocks.
    pub(super) can_share: bool,
    /// Whether a program can make its files share blocks.
    pub(super) reflinks: bool,
    /// What `/proc` called the directory when that was last looked at.
    shown: Mutex<Vec<u8>>,
    /// Directories that are held whatever has their path; `None`: one that was swapped before it could be held.
    pins: RwLock<HashMap<RelPath, Pinned>>,
}

/// The directory that a path is pinned as.
#[derive(Debug)]
enum Pinned {
    /// A held directory.
    Dir(Arc<OwnedFd>),
    /// The directory that was made had its path no more when it was to be held.
    Swapped,
    /// The directory is gone; something else has its path.
    Gone,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(path, flags, Mode::empty())?;
        let found = stat_of(dir.as_fd())?;
        let back = stat(proc_path(dir.as_fd()).as_path())?;
        if (back.st_dev, back.st_ino) != (found.id.dev, found.id.ino) {
            return Err(io::Error::other("/proc does not lead back to open descriptors"));
        }
        let itself = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_BENEATH);
        if let Err(Errno::ENOSYS | Errno::EPERM) = openat2(&dir, ".", itself) {
            return Err(io::Error::other(NO_OPENAT2));
        }
        let kind = fstatfs(&dir)?.filesystem_type();
        let (path, shown) = (path.to_path_buf(), link_of(dir.as_fd())?);
        let mut root = Self {
            path,
            dir,
            id: found.id,
            mount: found.mount,
            identity: None,
            max_links: max_links(kind),
            is_overlay: kind == OVERLAYFS_SUPER_MAGIC,
            can_share: kind != EXT4_SUPER_MAGIC,
            reflinks: kind == BTRFS_SUPER_MAGIC,
            shown: Mutex::new(shown),
            pins: RwLock::default(),
        };
        // Not readable for us, or not answering: no identity, which the caller refuses by rule.
        let dir = root.readable_dir(&RelPath::root());
        if kind == sys::XFS_SUPER_MAGIC {
            let asked = dir.as_ref().is_ok_and(|dir| {
                let known = sys::xfs_has_reflinks(dir.as_fd());
                known.unwrap_or(false)
            });
            root.reflinks = asked;
        }
        root.identity = dir.and_then(|dir| identity::of_directory(dir.as_fd())).unwrap_or(None);
        Ok(root)
    }

    /// The full branch path of `path`, for messages.
    pub(super) fn shown(&self, path: &RelPath) -> PathBuf {
        if path.is_root() { self.path.clone() } else { self.path.join(path.as_path()) }
    }

    /// Whether the path still leads to the held directory through the same mount: after an unmount it leads to
    /// the mount point's directory on the parent disk, and mergerfs would go on writing there.
    pub(super) fn check(&self) -> io::Result<()> {
        let found = self.path.with_nix_path(|path| sys::statx_at(AT_FDCWD, path, 0))??;
        let found = stat_from(&found);
        if found.id == self.id && found.mount == self.mount {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESTALE))
        }
    }

    /// Holds the directory that has the path `dir` now.
    pub(super) fn pin(&self, dir: &RelPath) -> io::Result<Pin> {
        if self.is_pinned(dir) {
            return Ok(Pin::Before);
        }
        match self.entry(dir, DIRECTORY) {
            Ok(held) => Ok(self.hold_as(dir, held)),
            Err(error) => match error.raw_os_error() {
                // With these flags a symlink is `ENOTDIR`, too.
                Some(libc::ENOENT | libc::ENOTDIR) => Ok(Pin::Missing),
                _ => Err(error),
            },
        }
    }

    /// Holds as `dir` the directory that `id` is, if the directory has the path `dir`.
    pub(super) fn pin_made(&self, dir: &RelPath, id: InodeId) {
        self.unpin(dir);
        let held = self.entry(dir, DIRECTORY).ok();
        let held = held.filter(|held| stat_of(held.as_fd()).is_ok_and(|stat| stat.id == id));
        let pinned = held.map_or(Pinned::Swapped, |held| Pinned::Dir(Arc::new(held)));
        self.write_pins().insert(dir.clone(), pinned);
    }

    /// Holds as `dir` the directory that `handle` names, if the directory is beneath the branch. Replaces another
    /// directory that is held as `dir`.
    pub(super) fn pin_by_handle(&self, dir: &RelPath, handle: &Handle) -> io::Result<Pin> {
        let Some(held) = self.by_handle(handle, OFlag::O_PATH | OFlag::O_DIRECTORY)? else {
            return Ok(Pin::Missing);
        };
        if self.path_of(held.as_fd())?.is_none() {
            return Ok(Pin::Missing);
        }
        match self.pinned(dir).ok().flatten() {
            Some(known) if stat_of(known.as_fd())?.id == stat_of(held.as_fd())?.id => {
                Ok(Pin::Before)
            }
            _ => Ok(self.hold_as(dir, held)),
        }
    }

    fn hold_as(&self, dir: &RelPath, held: OwnedFd) -> Pin {
        self.write_pins().insert(dir.clone(), Pinned::Dir(Arc::new(held)));
        Pin::New
    }

    /// Lets no call on `dir` reach another entry that has the path now.
    pub(super) fn pin_gone(&self, dir: &RelPath) {
        self.write_pins().insert(dir.clone(), Pinned::Gone);
    }

    fn is_gone(&self, dir: &RelPath) -> bool {
        let pins = self.pins.read().unwrap_or_else(PoisonError::into_inner);
        matches!(pins.get(dir), Some(Pinned::Gone))
    }

    /// Releases `dir`, which was removed.
    pub(super) fn unpin(&self, dir: &RelPath) {
        self.write_pins().remove(dir);
    }

    pub(super) fn unpin_all(&self) {
        self.write_pins().clear();
    }

    fn write_pins(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<RelPath, Pinned>> {
        self.pins.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_pinned(&self, dir: &RelPath) -> bool {
        let pins = self.pins.read().unwrap_or_else(PoisonError::into_inner);
        pins.contains_key(dir)
    }

    /// The held directory that `dir` is pinned as; `None` if `dir` is not pinned.
    ///
    /// # Errors
    /// `ELOOP` if the directory was swapped before this program could hold it; `ENOENT` if the directory is gone.
    pub(super) fn pinned(&self, dir: &RelPath) -> io::Result<Option<Arc<OwnedFd>>> {
        let pins = self.pins.read().unwrap_or_else(PoisonError::into_inner);
        // A scan looks at millions of paths and pins no directory: an empty map costs no hash.
        match pins.get(dir) {
            None => Ok(None),
            Some(Pinned::Dir(held)) => Ok(Some(Arc::clone(held))),
            Some(Pinned::Swapped) => Err(io::Error::other(Swapped)),
            Some(Pinned::Gone) => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    /// The path that a pinned directory has now; `None` if it was removed or left the branch.
    pub(super) fn path_of_dir(&self, dir: &RelPath) -> io::Result<Option<RelPath>> {
        if self.is_gone(dir) {
            return Ok(None);
        }
        match self.pinned(dir)? {
            None => Ok(Some(dir.clone())),
            Some(held) => self.path_of(held.as_fd()),
        }
    }

    /// The path beneath the branch of the name by which `open` was opened; `None` if that name was removed or left the
    /// branch.
    pub(super) fn path_of(&self, open: BorrowedFd<'_>) -> io::Result<Option<RelPath>> {
        let path = link_of(open)?;
        let mut root = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let beneath = match beneath(&root, &path) {
            Some(beneath) => beneath,
            // The branch itself was moved, or the file was.
            None => {
                *root = link_of(self.dir.as_fd())?;
                let Some(beneath) = beneath(&root, &path) else { return Ok(None) };
                beneath
            }
        };
        drop(root);
        if beneath.is_empty() {
            return Ok(Some(RelPath::root()));
        }
        let Ok(found) = RelPath::new(beneath) else {
            return Ok(None);
        };
        if !beneath.ends_with(b" (deleted)") {
            return Ok(Some(found));
        }
        // The kernel appends this if the name is gone; a name may end like this, too.
        let dir = entry_beneath(&self.dir, found.as_path(), OFlag::O_PATH | OFlag::O_NOFOLLOW);
        let same = dir.and_then(|held| Ok(stat_of(held.as_fd())?.id == stat_of(open)?.id));
        Ok(same.unwrap_or(false).then_some(found))
    }

    /// Returns the handle that finds the file or directory `path` again.
    pub(super) fn handle(&self, path: &RelPath) -> io::Result<Handle> {
        let handle = match self.pinned_parent(path)? {
            Some(dir) => {
                let found =
                    path.file_name().with_nix_path(|name| sys::handle_at(dir.as_fd(), name, 0))?;
                found.and_then(|(handle, mount)| self.same_mount(mount).map(|()| handle))
            }
            None => {
                let held = self.entry(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
                sys::handle_of(held.as_fd())
            }
        };
        or_none(handle)
    }

    /// Opens the file that `handle` names; `None` if the file was removed, or if this process may not find files by
    /// handle.
    pub(super) fn by_handle(&self, handle: &Handle, flags: OFlag) -> io::Result<Option<OwnedFd>> {
        if handle.0.is_empty() {
            return Ok(None);
        }
        // The kernel takes no `O_PATH` descriptor here.
        let root = self.readable_dir(&RelPath::root())?;
        match sys::open_by_handle(root.as_fd(), &handle.0, (flags | OFlag::O_CLOEXEC).bits()) {
            Ok(held) => Ok(Some(held)),
            Err(error) => match error.raw_os_error() {
                Some(
                    libc::ESTALE
                    | libc::EPERM
                    | libc::EACCES
                    | libc::EOPNOTSUPP
                    | libc::EINVAL
                    | libc::ENOTDIR
                    | libc::ENOENT,
                ) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Opens `path` beneath the branch, through no symlink, mount point or magic link.
    ///
    /// Where another process has a lease on a file, opening it for reading is asked for several times, and `EAGAIN` at last.
    pub(super) fn entry(&self, path: &RelPath, flags: OFlag) -> io::Result<OwnedFd> {
        if let Some(held) = self.pinned(path)? {
            return entry_beneath(&held, Path::new("."), flags);
        }
        let Some(parent) = path.parent() else {
            return entry_beneath(&self.dir, Path::new("."), flags);
        };
        match self.pinned(&parent)? {
            Some(held) => entry_beneath(&held, Path::new(path.file_name()), flags),
            None => entry_beneath(&self.dir, path.as_path(), flags),
        }
    }

    /// `lstat` of `path`, by one call where `path` or its directory is held.
    pub(super) fn stat(&self, path: &RelPath) -> io::Result<Stat> {
        if let Some(held) = self.pinned(path)? {
            return stat_of(held.as_fd());
        }
        match self.pinned_parent(path)? {
            Some(held) => {
                let found = path.file_name().with_nix_path(|name| {
                    sys::statx_at(held.as_fd(), name, libc::AT_SYMLINK_NOFOLLOW)
                })??;
                let found = stat_from(&found);
                self.same_mount(found.mount).map(|()| found)
            }
            None => {
                let entry = self.entry(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
                stat_of(entry.as_fd())
            }
        }
    }

    /// The held directory of `path`; `None` if it is not held, or if `path` itself is.
    fn pinned_parent(&self, path: &RelPath) -> io::Result<Option<Arc<OwnedFd>>> {
        match self.pinned(path)? {
            Some(_) => Ok(None),
            None => Ok(path.parent().map(|dir| self.pinned(&dir)).transpose()?.flatten()),
        }
    }

    /// Fails if an entry of a held directory lies on another mount, as a look-up from the branch's root would.
    fn same_mount(&self, mount: u64) -> io::Result<()> {
        if mount == self.mount { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EXDEV)) }
    }

    /// `lstat` of `path`, whatever is pinned.
    pub(super) fn stat_unpinned(&self, path: &RelPath) -> io::Result<Stat> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let entry = if path.is_root() {
            entry_beneath(&self.dir, Path::new("."), flags)?
        } else {
            entry_beneath(&self.dir, path.as_path(), flags)?
        };
        stat_of(entry.as_fd())
    }

    fn dir_of_names(&self, dir: &RelPath) -> io::Result<Arc<OwnedFd>> {
        match self.pinned(dir)? {
            Some(held) => Ok(held),
            None => Ok(Arc::new(self.entry(dir, DIRECTORY)?)),
        }
    }

    /// Opens a directory for reading, without moving its atime where that is ours to ask.
    pub(super) fn readable_dir(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        without_atime(flags, |flags| self.entry(path, flags))
    }

    /// The held parent directory and the plain final name: every change of a name uses the two.
    pub(super) fn parent<'a>(&self, path: &'a RelPath) -> io::Result<(Arc<OwnedFd>, &'a OsStr)> {
        let parent = path.parent().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok((self.dir_of_names(&parent)?, path.file_name()))
    }
}

/// A handle; none where the filesystem has no handles, or a container allows none.
pub(super) fn or_none(handle: io::Result<Vec<u8>>) -> io::Result<Handle> {
    match handle {
        Err(error) => match error.raw_os_error() {
            // The last two come from a container's filter.
            Some(libc::EOPNOTSUPP | libc::EOVERFLOW | libc::EPERM | libc::ENOSYS) => {
                Ok(Handle::default())
            }
            _ => Err(error),
        },
        Ok(handle) => Ok(Handle(handle)),
    }
}

/// Opens with `O_NOATIME`, which only the owner may ask for; for others without.
pub(super) fn without_atime(
    flags: OFlag,
    open: impl Fn(OFlag) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    match open(flags | OFlag::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(flags),
        opened => opened,
    }
}

/// The part of `path` below `root`, as `/proc` shows both; empty for `root` itself.
fn beneath<'p>(root: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    match path.strip_prefix(root)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        rest if root == b"/" => Some(rest),
        _ => None,
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

/// The name under which `/proc` leads to an open file, whatever became of the file's names.
pub(super) fn proc_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The path that `/proc` shows for an open file.
fn link_of(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    Ok(readlink(proc_path(fd).as_path()).map(OsStringExt::into_vec)?)
}

/// `statx` of an open file, directory or `O_PATH` descriptor.
pub(super) fn stat_of(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Ok(stat_from(&sys::statx(fd)?))
}

pub(super) fn stat_from(found: &libc::statx) -> Stat {
    let fixed = (libc::STATX_ATTR_IMMUTABLE | libc::STATX_ATTR_APPEND).cast_unsigned();
    let encrypted = libc::STATX_ATTR_ENCRYPTED.cast_unsigned();
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
        encrypted: found.stx_attributes & u64::from(encrypted) != 0,
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
    Timestamp { secs: time.tv_sec, nanos: time.tv_nsec }
}

/// Measured, as `pathconf` does not know them; `EMLINK` is still handled where a filesystem allows fewer.
fn max_links(filesystem: FsType) -> u64 {
    match filesystem {
        EXT4_SUPER_MAGIC => 65_000,
        BTRFS_SUPER_MAGIC => 65_535,
        sys::XFS_SUPER_MAGIC => i32::MAX as u64,
        _ => u32::MAX.into(),
    }
}
