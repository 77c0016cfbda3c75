//! The branches as the executor sees them: the one seam between the protocol and the disks.
//!
//! [`real::RealFs`] is the only production code that changes a branch (invariant 7: everything beneath a held
//! branch descriptor, through no symlink and no mount point). The simulated filesystem of the crash tests
//! implements the same traits, with a live and a durable image. Nothing here decides anything.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use copying::Copying;
pub use identity::{FsId, StoredId};
pub use nature::{Borders, Layout, Nature, Sharing, how_stored};

use self::copying::Failed;
use self::reading::hash_of;
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

pub(crate) mod at_once;
pub(crate) mod copying;
pub mod identity;
mod nature;
pub(crate) mod reading;
pub mod real;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

/// A path on one branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The branch.
    pub branch: BranchIdx,
    /// The path relative to it.
    pub path: RelPath,
}

impl Place {
    /// The path `path` on `branch`.
    #[must_use]
    pub fn new(branch: BranchIdx, path: RelPath) -> Self {
        Self { branch, path }
    }

    /// The directory the path lies in; for the branch root, the branch root.
    #[must_use]
    pub fn dir(&self) -> Self {
        Self { branch: self.branch, path: self.path.parent().unwrap_or_else(RelPath::root) }
    }
}

/// The identity of a file within one run (invariant 6). Never stored: `st_dev` changes between mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// A point in time with nanoseconds, as `statx(2)` returns it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub secs: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl Timestamp {
    /// The time `nanos` nanoseconds after the epoch.
    #[must_use]
    pub(crate) fn from_nanos(nanos: i64) -> Self {
        const SECOND: i64 = 1_000_000_000;
        let rest = u32::try_from(nanos.rem_euclid(SECOND)).unwrap_or_default();
        Self { secs: nanos.div_euclid(SECOND), nanos: rest }
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub fn as_nanos(self) -> i128 {
        i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos)
    }
}

/// The kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else: FIFO, socket, device.
    Other,
}

/// An inode as `statx(2)` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Identity within this run.
    pub id: InodeId,
    /// The mount the inode was reached through (`stx_mnt_id`): links do not cross a mount.
    pub mount: u64,
    /// The inode's kind.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u64,
    /// Size in bytes.
    pub size: u64,
    /// `st_blocks`, in units of 512 bytes.
    pub blocks: u64,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Last access.
    pub atime: Timestamp,
    /// Birth, where the filesystem has one.
    pub btime: Option<Timestamp>,
    /// `chattr +i` or `+a`: no process may link, rename or unlink the file.
    pub immutable: bool,
    /// Its contents, or the names in it, are encrypted by the filesystem (`fscrypt`).
    pub encrypted: bool,
}

impl Stat {
    /// The values that must not change between comparing a file and acting on the file.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { id: self.id, size: self.size, mtime: self.mtime, ctime: self.ctime }
    }
}

/// The result of [`Look::pin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// A directory that was not pinned.
    New,
    /// The directory that was pinned.
    Before,
    /// No directory.
    Missing,
}

/// The result of [`Look::comings`] for a name: places in one order for all names; `None` if the event did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comings {
    /// The last time the name came: was made, linked, or renamed or exchanged to.
    pub came: Option<u64>,
    /// The last time the name went: was removed, or renamed or exchanged from.
    pub went: Option<u64>,
    /// Some comings or goings may have been missed: an event that is `None` may have happened, and a recorded time may
    /// be older than the last event.
    pub incomplete: bool,
}

impl Comings {
    /// The last time the name went, or came over another file that had the name.
    #[must_use]
    pub fn changed(&self) -> Option<u64> {
        self.came.max(self.went)
    }
}

/// A file or directory as its filesystem finds it again (`name_to_handle_at`): opaque, valid across reboots, and not
/// the same once its inode number is used again.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Handle(pub Vec<u8>);

/// A directory that a call made. By the next call its name may lead to another user's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeDir {
    /// Identity within this run.
    pub id: InodeId,
    /// Birth, where the filesystem has one.
    pub btime: Option<Timestamp>,
}

impl MadeDir {
    /// Whether `stat` is this directory's.
    #[must_use]
    pub fn is(&self, stat: &Stat) -> bool {
        (stat.id, stat.btime) == (self.id, self.btime)
    }
}

/// Identity, size and times of a file whose contents this program has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Identity within this run.
    pub id: InodeId,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
}

/// The BLAKE3 of a whole file, read while the file was as its fingerprint says and after no other program could store into
/// it through an older mapping: a lease was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// The file.
    pub seen: Fingerprint,
    /// The hash of its contents.
    pub blake3: [u8; 32],
}

/// The metadata two copies must share before one copy replaces the other. Undo restores the same metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Raw `system.posix_acl_access`, where set.
    pub acl: Option<Vec<u8>>,
    /// Every other extended attribute; xfs' `trusted.SGI_ACL_*` (the ACL again) left out.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    /// The same without security labels, which the kernel sets: if the kernel refuses a label, the kernel's policy has
    /// chosen another label.
    pub(crate) fn without_labels(&self) -> Self {
        let mut other = self.clone();
        other.xattrs.retain(|name, _| !name.starts_with(b"security."));
        other
    }
}

/// The kinds of lease (`fcntl(2)`, `F_SETLEASE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// `F_RDLCK`: no process has the file open for writing.
    Read,
    /// `F_WRLCK`: no other process has the file open at all.
    Write,
}

/// A system call on a branch that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {call}: {path:?}")]
pub struct FsError {
    /// The action tried, as a verb phrase.
    pub call: &'static str,
    /// The branch the call was for.
    pub branch: BranchIdx,
    /// The full branch path.
    pub path: PathBuf,
    /// The kernel's error.
    #[source]
    pub source: io::Error,
}

impl FsError {
    /// The errno, 0 when there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        errno_of(&self.source)
    }

    /// Returns the branch that nothing more may be done on because of this error, and the kernel's words for it.
    pub(crate) fn stops(&self) -> (BranchIdx, String) {
        (self.branch, self.source.to_string())
    }

    /// Returns the limit of this process or machine that the call met; `None` for an error that may be the disk's.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        // A sync that lacks memory may have lost what was to be written.
        let lost = self.errno() == libc::ENOMEM && self.call.starts_with("sync");
        limit_of(&self.source).filter(|_| !lost)
    }
}

/// Returns the limit of this process or machine that a call met which failed with `error`.
pub(crate) fn limit_of(error: &io::Error) -> Option<&'static str> {
    match errno_of(error) {
        libc::EMFILE => Some("this program may open no more files (ulimit -n, LimitNOFILE=)"),
        libc::ENFILE => Some("no program may open more files (sysctl fs.file-max)"),
        libc::ENOMEM => Some("the machine has no more memory"),
        _ => None,
    }
}

/// What a call found; `None` if the name is missing or leads through a symlink.
fn found<T>(call: Result<T>) -> Result<Option<T>> {
    match call {
        Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => {
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// The errno of an error, 0 when there is none.
pub(crate) fn errno_of(error: &io::Error) -> i32 {
    let swapped = || error.get_ref().is_some_and(|inner| inner.is::<Swapped>());
    let other = || if swapped() { libc::ELOOP } else { 0 };
    error.raw_os_error().unwrap_or_else(other)
}

/// A pinned directory is not where it was: no path, just as if a symlink were on the way.
#[derive(Debug, thiserror::Error)]
#[error("another directory has the path of the one that was looked at")]
pub(crate) struct Swapped;

/// Result of a call on a branch.
pub type Result<T> = std::result::Result<T, FsError>;

/// The calls that look at branches. Each is one system call, or the few that make it safe beneath a branch.
///
/// Code that gets `&impl Look` cannot change a branch. Leases and pins last no longer than the process.
///
/// Paths are looked up anew at every call, beneath the branch's held descriptor, through no symlink and no
/// mount point; a directory on the way that is neither fails the call (`ELOOP`, `EXDEV`).
pub trait Look {
    /// An open regular file; closing it (dropping) releases its lease.
    type File;

    /// The wall clock, for "changed a moment ago".
    fn now(&self) -> Timestamp;

    /// Waits; only ever outside the short windows, or for a lease to become free.
    fn pause(&self, time: Duration);

    /// Whether the branch's path still leads to the directory that is held, on the same filesystem.
    ///
    /// # Errors
    /// Fails if the path does not lead there (`ESTALE`), or cannot be looked up.
    fn check_branch(&self, branch: BranchIdx) -> Result<()>;

    /// Holds directory `dir` open until [`Look::unpin`]: from now on every call on `dir`, or on a name in `dir`, acts
    /// in this directory, wherever a rename puts the directory and whatever entry has the directory's path since.
    ///
    /// A client that renames the directory takes our hidden names along, and an attacker who swaps it for another
    /// directory gains nothing. A directory that is pinned already stays pinned.
    ///
    /// # Errors
    /// Anything but `ENOENT` and `ENOTDIR`.
    fn pin(&self, dir: &Place) -> Result<Pin>;

    /// Pins a directory that [`Change::make_dir`] made.
    fn pin_made(&self, dir: &Place, made: &MadeDir);

    /// Pins as `dir` a directory that is gone: until [`Look::unpin`] calls find nothing below `dir`, whatever entry has
    /// the path of `dir` now (a symlink, say).
    fn pin_gone(&self, dir: &Place);

    /// Pins as `dir` the directory that [`Look::handle`] named, wherever the directory is now. Replaces a directory
    /// that is already pinned as `dir`. [`Pin::Missing`] if the named directory was removed or cannot be found by its
    /// handle.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn pin_by_handle(&self, dir: &Place, handle: &Handle) -> Result<Pin>;

    /// The path on its branch that a pinned directory has now; `None` if it was removed or left the branch. A directory
    /// that is not pinned has the path it is called by.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn path_of_dir(&self, dir: &Place) -> Result<Option<RelPath>>;

    /// When the name `at` last came to its pinned directory and when the name last went, since the directory was
    /// pinned, whichever program caused it. The numbers order the comings and goings of all pinned directories, on all
    /// branches.
    ///
    /// A rename of one link over another link of the same inode moves nothing, and is neither a coming nor a going.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn comings(&self, at: &Place) -> Result<Comings>;

    /// Releases all pinned directories: every path leads again to the entry that has the path.
    fn unpin(&self);

    /// Holds on to the *name* `at` and the file it leads to (`O_PATH`): breaks no lease, needs no permission on the
    /// file, and keeps its inode number from being used again.
    ///
    /// # Errors
    /// `ENOENT` if the entry is missing, and any other error of the kernel.
    fn hold(&self, at: &Place) -> Result<Self::File>;

    /// The path on its branch that the name has now by which `file` was opened or held: a rename moves it, a link made
    /// in its place later is another name. `None` if that name was removed or left the branch.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn path_of(&self, file: &Self::File) -> Result<Option<RelPath>>;

    /// Returns the handle that finds the file or directory at `at` again after a rename, a crash or a reboot; empty if
    /// the filesystem has no handles.
    ///
    /// # Errors
    /// `ENOENT` if the entry is missing, and any other error of the kernel.
    fn handle(&self, at: &Place) -> Result<Handle>;

    /// As [`Look::handle`], of a file that is open or held.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn handle_of(&self, file: &Self::File) -> Result<Handle>;

    /// Holds the file that [`Look::handle`] named on `branch`, wherever the file's names are now; `None` if the file
    /// was removed, if its inode number belongs to another file since, or if this process may not find files by handle.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn by_handle(&self, branch: BranchIdx, handle: &Handle) -> Result<Option<Self::File>>;

    /// The full path of `at`, for people.
    fn shown(&self, at: &Place) -> PathBuf {
        at.path.as_path().to_path_buf()
    }

    /// `lstat`; `None` if a component is missing.
    ///
    /// # Errors
    /// Anything but `ENOENT` and `ENOTDIR`.
    fn stat(&self, at: &Place) -> Result<Option<Stat>>;

    /// Announces that `places` are looked up soon: slow disks can do that at the same time. Advice only; the simulation takes
    /// none.
    fn look_ahead(&self, _places: Vec<Place>) {}

    /// As [`Look::stat`]; `None` also if a symlink is on the way: nothing that this program made is behind a symlink.
    ///
    /// # Errors
    /// Any other error of the kernel.
    fn stat_if_there(&self, at: &Place) -> Result<Option<Stat>> {
        match self.stat(at) {
            Err(error) if error.source.raw_os_error() == Some(libc::ELOOP) => Ok(None),
            found => found,
        }
    }

    /// As [`Look::stat`], by the path that clients use, whatever directories are pinned; `None` also if a component is
    /// a symlink.
    ///
    /// # Errors
    /// Any other error of the kernel.
    fn stat_unpinned(&self, at: &Place) -> Result<Option<Stat>>;

    /// Opens a regular file for reading, without following a symlink, blocking, or moving its atime.
    ///
    /// # Errors
    /// `ENOENT` if the file is missing; `EINVAL` if the entry is no regular file; `EAGAIN` if another process's lease
    /// is in the way.
    fn open(&self, at: &Place) -> Result<Self::File>;

    /// Opens the file `id` if it is at `at`, and looks at it; `None` if another entry or none is there, or a symlink is on
    /// the way. Opens nothing else, unless another program changes the name just then.
    ///
    /// # Errors
    /// As [`Look::open`].
    fn open_inode(&self, at: &Place, id: InodeId) -> Result<Option<(Self::File, Stat)>> {
        if self.stat_if_there(at)?.is_none_or(|stat| stat.id != id) {
            return Ok(None);
        }
        let file = self.open(at)?;
        // The name may lead elsewhere by now: the open file counts.
        let stat = self.stat_open(&file)?;
        Ok((stat.id == id).then_some((file, stat)))
    }

    /// Holds the name `at` if `is` says that it leads to the wanted file; `None` if not, if it is missing, or if a symlink is
    /// on the way.
    ///
    /// # Errors
    /// Any other error of the kernel.
    fn hold_if(&self, at: &Place, is: &dyn Fn(&Stat) -> bool) -> Result<Option<Self::File>> {
        if !self.stat_if_there(at)?.is_some_and(|stat| is(&stat)) {
            return Ok(None);
        }
        let Some(held) = found(self.hold(at))? else { return Ok(None) };
        // The name may lead elsewhere by now.
        Ok(is(&self.stat_open(&held)?).then_some(held))
    }

    /// Opens for reading the file that [`Look::hold`] or [`Look::by_handle`] holds, wherever the file's names are.
    ///
    /// # Errors
    /// As [`Look::open`].
    fn open_held(&self, held: &Self::File) -> Result<Self::File>;

    /// `fstat`.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn stat_open(&self, file: &Self::File) -> Result<Stat>;

    /// Owner, mode, ACL and extended attributes.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn metadata(&self, file: &Self::File) -> Result<Metadata>;

    /// [`Look::stat_open`] and [`Look::metadata`].
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn look_at_open(&self, file: &Self::File) -> Result<(Stat, Metadata)> {
        Ok((self.stat_open(file)?, self.metadata(file)?))
    }

    /// The inode flags (`lsattr`); `None` if the filesystem has none, as in the simulation.
    fn flags(&self, _file: &Self::File) -> Option<u32> {
        None
    }

    /// The access ACL of a directory, where one is set; raw, as [`Metadata::acl`].
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn dir_acl(&self, dir: &Place) -> Result<Option<Vec<u8>>>;

    /// The borders that a directory lies within. A filesystem of the simulation has no borders.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn borders(&self, _dir: &Place) -> Result<Borders> {
        Ok(Borders::default())
    }

    /// The file beside its bytes and metadata. A file of the simulation has data, and nothing else.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn nature(&self, _file: &Self::File) -> Result<Nature> {
        Ok(Nature::default())
    }

    /// How many bytes of the disk the file shares with a snapshot or another file. A file of the simulation shares none.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn shared(&self, _file: &Self::File) -> Result<u64> {
        Ok(0)
    }

    /// Reads into `buf` at `offset`; 0 at the end.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn read_at(&self, file: &Self::File, buf: &mut [u8], offset: u64) -> Result<usize>;

    /// Reads into `buf` at `offset` until it is full; less only at the end of the file.
    ///
    /// # Errors
    /// As [`Look::read_at`].
    fn read_full(&self, file: &Self::File, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read_at(file, &mut buf[filled..], offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Announces that `len` bytes from `offset` on are read soon: a disk can bring them while another one is read. Advice
    /// only; the simulation, where no disk is slow, takes none.
    fn expect(&self, _file: &Self::File, _offset: u64, _len: u64) {}

    /// Returns the BLAKE3 of the first `size` bytes of each of `files`, in the order of `files`; the disks work at the same
    /// time where that is faster. `None` for a file that is shorter, for the files that are left when `read` returns false,
    /// and for those on the same disk that are left after an error. `read` is called with the number of bytes read since its
    /// last call.
    ///
    /// # Errors
    /// The kernel's error, for the first file of a disk that cannot be read.
    fn hash_all(
        &self,
        files: &[(&Self::File, u64)],
        read: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<Result<Option<[u8; 32]>>> {
        let mut go_on = true;
        let hashes = files.iter().map(|(file, size)| {
            if !go_on {
                return Ok(None);
            }
            let part = |buf: &mut [u8], offset| self.read_at(file, buf, offset);
            let mut count = |bytes| {
                go_on = read(bytes);
                go_on
            };
            let hash = hash_of(*size, &mut Vec::new(), part, &mut count);
            // As if all branches were on one disk.
            go_on &= hash.is_ok();
            hash
        });
        hashes.collect()
    }

    /// Takes a lease, or changes the one held; never waits.
    ///
    /// # Errors
    /// `EAGAIN` if another process has the file open in conflict; other errors if leases are not supported.
    fn lease(&self, file: &Self::File, lease: Lease) -> Result<()>;

    /// The lease as it is now: `None`, or a weaker lease than was taken, means that a process is waiting (broken).
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn lease_state(&self, file: &Self::File) -> Result<Option<Lease>>;

    /// Releases a lease. The processes that waited for the release go on.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn release(&self, file: &Self::File) -> Result<()>;

    /// Every name of the inode `id` on `branch`, found by a walk through all its directories: for the rare case that no
    /// name is known.
    ///
    /// # Errors
    /// Returns the kernel's error; the walk skips directories that cannot be read.
    fn names_of(&self, branch: BranchIdx, id: InodeId) -> Result<Vec<RelPath>>;

    /// The names in a directory that start with `prefix`, in any order.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn names_with_prefix(&self, dir: &Place, prefix: &[u8]) -> Result<Vec<Vec<u8>>>;
}

/// The calls that change branches, or make changes durable: the protocol is made of these calls.
pub trait Change: Look {
    /// `fdatasync`: the data of a file is on stable storage.
    ///
    /// # Errors
    /// An error means data may be lost: the caller must never retry.
    fn sync_data(&self, file: &Self::File) -> Result<()>;

    /// Gives a file from [`Change::create`] the contents of `from`: it shares all blocks (`FICLONE`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the filesystem cannot share blocks, and any other error of the kernel.
    fn clone_contents(&self, from: &Self::File, to: &Self::File) -> Result<()>;

    /// Lets `to` share the `len` bytes at `offset` with `from`, if both have the same bytes there (`FIDEDUPERANGE`). The kernel
    /// compares and shares in one step, whatever programs have the files open. Returns how many bytes it shared; `None` if
    /// the bytes differ.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the filesystem cannot share blocks, `EINVAL` if it cannot share those of these two files, and any
    /// other error of the kernel.
    fn share(
        &self,
        from: &Self::File,
        to: &Self::File,
        offset: u64,
        len: u64,
    ) -> Result<Option<u64>>;

    /// `fsync` of a directory: its names, and the link counts of inodes already durable, are on stable storage.
    ///
    /// # Errors
    /// An error means names may be lost: the caller must never retry.
    fn sync_dir(&self, dir: &Place) -> Result<()>;

    /// [`Change::sync_data`] of each of `files`, at the same time where that is faster; the results are in the order of
    /// `files`.
    fn sync_data_of_all(&self, files: &[&Self::File]) -> Vec<Result<()>> {
        files.iter().map(|file| self.sync_data(file)).collect()
    }

    /// [`Change::sync_dir`] of each of `dirs`, at the same time where that is faster; the results are in the order of
    /// `dirs`.
    fn sync_dirs(&self, dirs: &[Place]) -> Vec<Result<()>> {
        dirs.iter().map(|dir| self.sync_dir(dir)).collect()
    }

    /// [`Change::sync_file`] of each of `files`, at the same time where that is faster; the results are in the order of
    /// `files`.
    fn sync_files(&self, files: &[&Self::File]) -> Vec<Result<()>> {
        files.iter().map(|file| self.sync_file(file)).collect()
    }

    /// Copies the contents of files, and returns their BLAKE3 in the order of `copies`; the disks work at the same time where
    /// that is faster. `None` for a file that is shorter, for the files that are left when `read` returns false, and for those
    /// of a branch that are left after an error there. `read` is called with the number of bytes read since its last call.
    ///
    /// # Errors
    /// The kernel's error.
    fn copy_all(
        &self,
        copies: &[Copying<'_, Self::File>],
        read: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<Result<Option<[u8; 32]>>>
    where
        Self: Sized,
    {
        let (mut go_on, mut failed) = (true, Failed::default());
        let hashes = copies.iter().map(|copying| {
            if !go_on || failed.concerns(copying) {
                return Ok(None);
            }
            let mut count = |bytes| {
                go_on = read(bytes);
                go_on
            };
            let hash = copying.run(self, &mut Vec::new(), |_| {}, &mut count);
            hash.inspect_err(|error| failed.note(error))
        });
        hashes.collect()
    }

    /// Links the open file itself (not whatever its name leads to by now) to a new name.
    ///
    /// # Errors
    /// `EEXIST`, `EMLINK`, `EXDEV`, `ENOENT` (the file has no name left), and any other error of the kernel.
    fn link(&self, file: &Self::File, to: &Place) -> Result<()>;

    /// Renames on one branch, never over anything (`RENAME_NOREPLACE`, or link and unlink where that is unknown).
    ///
    /// # Errors
    /// `EEXIST` if `to` exists.
    fn rename_noreplace(&self, from: &Place, to: &Place) -> Result<()>;

    /// Exchanges two names of one branch (`RENAME_EXCHANGE`).
    ///
    /// # Errors
    /// `EINVAL` if the filesystem cannot exchange names.
    fn exchange(&self, a: &Place, b: &Place) -> Result<()>;

    /// Makes an empty file that only its owner can open, open for reading and writing.
    ///
    /// # Errors
    /// `EEXIST` if an entry is there.
    fn create(&self, at: &Place) -> Result<Self::File>;

    /// Writes all of `buf` at `offset` of a file from [`Change::create`]; an earlier range never written is a hole.
    ///
    /// # Errors
    /// `ENOSPC`, `EDQUOT`, and any other error of the kernel.
    fn write_at(&self, file: &Self::File, buf: &[u8], offset: u64) -> Result<()>;

    /// Sets the size of a file from [`Change::create`]; an added range is a hole.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn set_len(&self, file: &Self::File, size: u64) -> Result<()>;

    /// Sets a file's owner, ACL, extended attributes and mode; removes attributes the file has on top.
    ///
    /// # Errors
    /// Fails if any of these cannot be set.
    fn set_metadata(&self, file: &Self::File, metadata: &Metadata) -> Result<()>;

    /// Sets the inode flags (`chattr`) of a file from [`Change::create`], except those that protect a file from change.
    /// Where that fails it is reported, and no error: no flag is about the contents.
    fn set_flags(&self, _file: &Self::File, _flags: u32) {}

    /// Sets both times of a file.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn set_times(&self, file: &Self::File, atime: Timestamp, mtime: Timestamp) -> Result<()>;

    /// `fsync`: data, size, owner, mode, attributes and times of a file are on stable storage; its name is not.
    ///
    /// # Errors
    /// An error means data or attributes may be lost: the caller must never retry.
    fn sync_file(&self, file: &Self::File) -> Result<()>;

    /// Removes a name of a file.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn unlink(&self, at: &Place) -> Result<()>;

    /// Makes a directory of mode 0700 that inherits no ACL.
    ///
    /// # Errors
    /// `EEXIST` if an entry is there; `ENOENT` if another directory has the name when this call looks at the new
    /// directory.
    fn make_dir(&self, at: &Place) -> Result<MadeDir>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY` if the directory is not empty.
    fn remove_dir(&self, at: &Place) -> Result<()>;

    /// Copies the owner, mode (setgid too), ACLs, extended attributes, and with `times` last the times of directory `from` to
    /// `to`.
    ///
    /// # Errors
    /// Fails if any of these cannot be set; `ENOENT` if `to` is no longer the directory that was made.
    fn clone_dir(&self, from: &Place, to: &Place, made: &MadeDir, times: bool) -> Result<()>;

    /// Sets a directory's mtime; the atime stays.
    ///
    /// # Errors
    /// Returns the kernel's error.
    fn set_dir_mtime(&self, dir: &Place, mtime: Timestamp) -> Result<()>;
}
