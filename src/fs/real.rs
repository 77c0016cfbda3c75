//! The branches on real disks: the only production code that changes branches.
//!
//! A branch is a held directory descriptor (`root::Root`); every path is looked up beneath it by `openat2`,
//! through no symlink and no mount point (invariant 7). Changes of names go through the parent directory's
//! descriptor and one plain final name, so nothing can be redirected between look-up and change.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::futimens;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::sys::time::TimeSpec;
use xattr::FileExt as _;

use super::{
    Borders, Change, Comings, Copying, FileKind, FsError, Handle, InodeId, Lease, Look, MadeDir,
    Metadata, Nature, Pin, Place, Result, Stat, Timestamp, at_once, errno_of, found,
};
use crate::fs::{FsId, StoredId};
use crate::pool::relpath::RelPath;
use crate::pool::{Branch, BranchIdx};
use crate::sys;

mod clone;
mod dir;
mod disk;
mod file;
mod hash;
mod look;
mod names;
mod nature;
mod root;
mod scan;
#[cfg(test)]
mod tests;
mod watch;

pub use dir::DirEntry;
pub use disk::Disk;
pub use file::RealFile;
pub use look::{Space, Special};
pub use scan::{ScanDir, ScanEntry, ScanFile, ScanParent};

use root::{Root, stat_of};
use watch::Watch;

/// The attribute of a branch root that holds the note of the newest runs.
const NOTE: &str = "user.mergerfs-xdedup.runs";

/// The branches of a pool, pinned as they were when opened.
#[derive(Debug)]
pub struct RealFs {
    branches: Vec<Root>,
    /// The directories that are pinned, while some are.
    watch: Mutex<Option<Watch>>,
    /// The disk of each branch; looked for at the first question.
    disks: OnceLock<Vec<Disk>>,
}

impl RealFs {
    /// Opens and pins every branch: descriptor, device, mount, root inode and lasting identity.
    ///
    /// From here on the process ignores `SIGIO`: it announces a lease break and would end the process.
    ///
    /// # Errors
    /// Fails if a branch cannot be opened, or if `/proc` does not lead back to an open descriptor. Without such a
    /// `/proc`, a file cannot be linked by its descriptor.
    pub fn open(branches: &[Branch]) -> Result<Self> {
        sys::ignore_sigio().map_err(|e| failed("ignore SIGIO for", BranchIdx(0), "/", e))?;
        allow_many_open_files();
        let roots = branches.iter().enumerate().map(|(at, branch)| {
            let idx = u16::try_from(at).map(BranchIdx);
            let idx = idx.map_err(|_| {
                let error = io::Error::from_raw_os_error(libc::E2BIG);
                failed("number branch", BranchIdx(u16::MAX), &branch.path, error)
            })?;
            Root::open(&branch.path).map_err(|e| failed("open branch", idx, &branch.path, e))
        });
        let branches = roots.collect::<Result<_>>()?;
        Ok(Self { branches, watch: Mutex::default(), disks: OnceLock::new() })
    }

    /// The filesystem of a branch across reboots; `None` where it has no such identity.
    #[must_use]
    pub fn identity(&self, branch: BranchIdx) -> Option<FsId> {
        self.root(branch).identity
    }

    /// The branch's root directory within this run.
    #[must_use]
    pub fn root_id(&self, branch: BranchIdx) -> InodeId {
        self.root(branch).id
    }

    /// The mount the branch lies on: with the device, the hard-link boundary.
    #[must_use]
    pub fn mount_id(&self, branch: BranchIdx) -> u64 {
        self.root(branch).mount
    }

    /// How many names an inode of this branch can have.
    #[must_use]
    pub fn max_links(&self, branch: BranchIdx) -> u64 {
        self.root(branch).max_links
    }

    /// Whether the branch is an overlay of several directories.
    #[must_use]
    pub fn is_overlay(&self, branch: BranchIdx) -> bool {
        self.root(branch).is_overlay
    }

    /// Whether files of this branch may share blocks with snapshots or each other.
    #[must_use]
    pub fn can_share(&self, branch: BranchIdx) -> bool {
        self.root(branch).can_share
    }

    /// Whether a program can make files of this branch share blocks.
    #[must_use]
    pub fn reflinks(&self, branch: BranchIdx) -> bool {
        self.root(branch).reflinks
    }

    /// The bytes an ordinary user can still write on the branch.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn free_bytes(&self, branch: BranchIdx) -> Result<u64> {
        Ok(self.space(branch)?.available_bytes())
    }

    /// Whether the branch's filesystem or mount is read-only by now, whatever mode mergerfs has for the branch.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn read_only(&self, branch: BranchIdx) -> Result<bool> {
        let root = self.root(branch);
        let found = fstatvfs(&root.dir)
            .map_err(|e| failed("ask for mount flags of", branch, &root.path, e.into()))?;
        Ok(found.flags().contains(FsFlags::ST_RDONLY))
    }

    /// The inode across reboots; `None` where the filesystem has no identity, or where `stat` is not of the
    /// branch's own device (a nested btrfs subvolume has inode numbers of its own).
    #[must_use]
    pub fn stored_id(&self, branch: BranchIdx, stat: &Stat) -> Option<StoredId> {
        let root = self.root(branch);
        let own = stat.id.dev == root.id.dev;
        let fs = root.identity.filter(|_| own)?;
        Some(StoredId { fs, ino: stat.id.ino, btime: stat.btime })
    }

    /// Returns the note that earlier runs left on the root of a branch; `None` if no run left a note, or the filesystem
    /// has no attributes.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn note(&self, branch: BranchIdx) -> Result<Option<Vec<u8>>> {
        self.xattr(&Place::new(branch, RelPath::root()), OsStr::new(NOTE))
    }

    /// Leaves a note on the root of a branch: an attribute, so that no listing shows it.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn set_note(&self, branch: BranchIdx, note: &[u8]) -> Result<()> {
        let dir = self.root(branch).readable_dir(&RelPath::root());
        let set = dir.and_then(|dir| std::fs::File::from(dir).set_xattr(NOTE, note));
        self.told("set an attribute of", &Place::new(branch, RelPath::root()), set)
    }

    /// Lets the contents of a file be read from the disk next time, not from memory.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn forget_cached(&self, file: &RealFile) -> Result<()> {
        // Pages that are not written yet stay: first out with them.
        let forget = file.file.sync_data().and_then(|()| {
            let all = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            Ok(posix_fadvise(&file.file, 0, 0, all)?)
        });
        self.told("forget the cached contents of", &file.at, forget)
    }

    /// Where on the disk the file's data begins, if the filesystem reports it.
    #[must_use]
    pub fn first_extent(&self, file: &RealFile) -> Option<u64> {
        sys::first_extent(file.as_fd()).ok().flatten()
    }

    /// Every entry of a directory but `.` and `..`, in the filesystem's order.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn list_dir(&self, at: &Place) -> Result<Vec<DirEntry>> {
        self.told(
            "list directory",
            at,
            self.root(at.branch).readable_dir(&at.path).and_then(dir::list),
        )
    }

    /// Branch indices come from the same pool the branches do.
    fn root(&self, branch: BranchIdx) -> &Root {
        &self.branches[branch.index()]
    }

    /// Adds the action tried and the place to an error.
    fn told<T>(&self, call: &'static str, at: &Place, done: io::Result<T>) -> Result<T> {
        done.map_err(|error| {
            let path = self.root(at.branch).shown(&at.path);
            failed(call, at.branch, path, error)
        })
    }
}

fn failed(
    call: &'static str,
    branch: BranchIdx,
    path: impl Into<PathBuf>,
    source: io::Error,
) -> FsError {
    FsError { call, branch, path: path.into(), source }
}

impl Look for RealFs {
    type File = RealFile;

    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Timestamp { secs, nanos: since.subsec_nanos() }
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn shown(&self, at: &Place) -> PathBuf {
        self.root(at.branch).shown(&at.path)
    }

    fn check_branch(&self, branch: BranchIdx) -> Result<()> {
        let root = self.root(branch);
        root.check().map_err(|e| failed("find again branch", branch, &root.path, e))
    }

    fn pin(&self, dir: &Place) -> Result<Pin> {
        let pinned = self.told("hold directory", dir, self.root(dir.branch).pin(&dir.path))?;
        if pinned == Pin::New {
            self.watch(dir);
        }
        Ok(pinned)
    }

    fn pin_made(&self, dir: &Place, made: &MadeDir) {
        self.root(dir.branch).pin_made(&dir.path, made.id);
        self.watch(dir);
    }

    fn pin_gone(&self, dir: &Place) {
        self.root(dir.branch).pin_gone(&dir.path);
    }

    fn pin_by_handle(&self, dir: &Place, handle: &Handle) -> Result<Pin> {
        let pinned = self.root(dir.branch).pin_by_handle(&dir.path, handle);
        let pinned = self.told("find again directory", dir, pinned)?;
        if pinned == Pin::New {
            self.watch(dir);
        }
        Ok(pinned)
    }

    fn path_of_dir(&self, dir: &Place) -> Result<Option<RelPath>> {
        let path = self.root(dir.branch).path_of_dir(&dir.path);
        self.told("find the path of directory", dir, path)
    }

    fn hold(&self, at: &Place) -> Result<RealFile> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let held = self.root(at.branch).entry(&at.path, flags);
        let file = |held: OwnedFd| RealFile { file: held.into(), at: at.clone() };
        self.told("hold", at, held.map(file))
    }

    fn path_of(&self, file: &RealFile) -> Result<Option<RelPath>> {
        let path = self.root(file.at.branch).path_of(file.as_fd());
        self.told("find the path of", &file.at, path)
    }

    fn handle(&self, at: &Place) -> Result<Handle> {
        let handle = self.root(at.branch).handle(&at.path);
        self.told("ask for a handle of", at, handle)
    }

    fn handle_of(&self, file: &RealFile) -> Result<Handle> {
        let handle = root::or_none(sys::handle_of(file.as_fd()));
        self.told("ask for a handle of", &file.at, handle)
    }

    fn by_handle(&self, branch: BranchIdx, handle: &Handle) -> Result<Option<RealFile>> {
        let root = self.root(branch);
        let at = Place::new(branch, RelPath::root());
        let held = root.by_handle(handle, OFlag::O_PATH);
        let file = |held: OwnedFd| {
            // For messages: the handle has no name.
            let path = root.path_of(held.as_fd()).unwrap_or_default();
            let at = path.map_or_else(|| at.clone(), |path| Place::new(branch, path));
            RealFile { file: held.into(), at }
        };
        self.told("find a file by its handle on", &at, held.map(|held| held.map(file)))
    }

    fn comings(&self, at: &Place) -> Result<Comings> {
        let known = match self.watched().as_mut() {
            Some(watch) => watch.comings(at),
            None => Ok(Comings { incomplete: true, ..Comings::default() }),
        };
        self.told("ask what became of", at, known)
    }

    fn unpin(&self) {
        self.watched().take();
        self.branches.iter().for_each(Root::unpin_all);
    }

    fn stat(&self, at: &Place) -> Result<Option<Stat>> {
        match self.root(at.branch).stat(&at.path) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            found => self.told("look up", at, found).map(Some),
        }
    }

    fn look_ahead(&self, mut places: Vec<Place>) {
        // What is no disk with an arm answers at once.
        places.retain(|place| self.disk(place.branch).rotating);
        at_once::all(
            &places,
            |place| place.branch,
            |place| {
                // The look that counts says what is wrong.
                self.root(place.branch).stat(&place.path).ok();
            },
        );
    }

    fn stat_unpinned(&self, at: &Place) -> Result<Option<Stat>> {
        match self.root(at.branch).stat_unpinned(&at.path) {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)
                ) =>
            {
                Ok(None)
            }
            found => self.told("look up", at, found).map(Some),
        }
    }

    fn open(&self, at: &Place) -> Result<RealFile> {
        self.told("open", at, file::open(self.root(at.branch), at))
    }

    fn open_inode(&self, at: &Place, id: InodeId) -> Result<Option<(RealFile, Stat)>> {
        let regular = |stat: Stat| stat.id == id && stat.kind == FileKind::Regular;
        if !self.stat_if_there(at)?.is_some_and(regular) {
            return Ok(None);
        }
        let file = self.told("open", at, file::open_seen(self.root(at.branch), at))?;
        let stat = self.stat_open(&file)?;
        Ok((stat.id == id).then_some((file, stat)))
    }

    fn hold_if(&self, at: &Place, is: &dyn Fn(&Stat) -> bool) -> Result<Option<RealFile>> {
        let Some(held) = found(self.hold(at))? else { return Ok(None) };
        Ok(is(&self.stat_open(&held)?).then_some(held))
    }

    fn open_held(&self, held: &RealFile) -> Result<RealFile> {
        self.told("open", &held.at, file::open_held(held.as_fd(), &held.at))
    }

    fn stat_open(&self, file: &RealFile) -> Result<Stat> {
        self.told("look at open file", &file.at, stat_of(file.as_fd()))
    }

    fn metadata(&self, file: &RealFile) -> Result<Metadata> {
        self.told("read owner, mode and extended attributes of", &file.at, file.metadata())
    }

    fn look_at_open(&self, file: &RealFile) -> Result<(Stat, Metadata)> {
        let stat = self.stat_open(file)?;
        let metadata = file::metadata_of(&file.file, &stat);
        let metadata = self.told("read owner, mode and extended attributes of", &file.at, metadata);
        Ok((stat, metadata?))
    }

    fn flags(&self, file: &RealFile) -> Option<u32> {
        sys::inode_flags(file.as_fd()).ok()
    }

    fn dir_acl(&self, dir: &Place) -> Result<Option<Vec<u8>>> {
        self.xattr(dir, OsStr::from_bytes(file::ACCESS_ACL))
    }

    fn borders(&self, dir: &Place) -> Result<Borders> {
        let looked = self.root(dir.branch).readable_dir(&dir.path);
        let looked = looked.and_then(|fd| nature::borders(fd.as_fd(), &stat_of(fd.as_fd())?));
        self.told("look at directory", dir, looked)
    }

    fn nature(&self, file: &RealFile) -> Result<Nature> {
        let can_share = self.can_share(file.at.branch);
        let looked = stat_of(file.as_fd()).and_then(|stat| {
            nature::of_file(&file.file, &stat, can_share, |buf| file.file.read_at(buf, 0))
        });
        self.told("look at open file", &file.at, looked)
    }

    fn shared(&self, file: &RealFile) -> Result<u64> {
        if !self.can_share(file.at.branch) {
            return Ok(0);
        }
        let shared = stat_of(file.as_fd()).map(|stat| nature::sharing(file.as_fd(), &stat).bytes);
        self.told("look at open file", &file.at, shared)
    }

    fn read_at(&self, file: &RealFile, buf: &mut [u8], offset: u64) -> Result<usize> {
        loop {
            match file.file.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return self.told("read", &file.at, read),
            }
        }
    }

    fn expect(&self, file: &RealFile, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
            return;
        };
        let advice = PosixFadviseAdvice::POSIX_FADV_WILLNEED;
        if let Err(errno) = posix_fadvise(&file.file, offset, len, advice) {
            tracing::trace!(%errno, "advice not taken");
        }
    }

    fn hash_all(
        &self,
        files: &[(&RealFile, u64)],
        read: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<Result<Option<[u8; 32]>>> {
        hash::all(self, files, read)
    }

    fn lease(&self, file: &RealFile, lease: Lease) -> Result<()> {
        self.told("take a lease on", &file.at, file.lease(lease))
    }

    fn lease_state(&self, file: &RealFile) -> Result<Option<Lease>> {
        self.told("ask for the lease on", &file.at, file.lease_state())
    }

    fn release(&self, file: &RealFile) -> Result<()> {
        self.told("release the lease on", &file.at, file.release())
    }

    fn names_of(&self, branch: BranchIdx, id: InodeId) -> Result<Vec<RelPath>> {
        let mut found = Vec::new();
        let mut queue = vec![Place::new(branch, RelPath::root())];
        while let Some(dir) = queue.pop() {
            // A mount point, or removed meanwhile, or not readable.
            let Ok(entries) = self.list_dir(&dir) else {
                continue;
            };
            for entry in entries {
                let Ok(path) = dir.path.join(OsStr::from_bytes(&entry.name)) else {
                    continue;
                };
                let place = Place::new(branch, path);
                match entry.kind {
                    Some(FileKind::Directory) => queue.push(place),
                    Some(FileKind::Regular) | None
                        if entry.ino == id.ino
                            && self.stat(&place)?.is_some_and(|stat| stat.id == id) =>
                    {
                        found.push(place.path);
                    }
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    fn names_with_prefix(&self, dir: &Place, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        let names = self.list_dir(dir)?.into_iter().map(|entry| entry.name);
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }
}

impl Change for RealFs {
    fn sync_data(&self, file: &RealFile) -> Result<()> {
        self.told("sync data of", &file.at, file.file.sync_data())
    }

    fn clone_contents(&self, from: &RealFile, to: &RealFile) -> Result<()> {
        self.told("clone", &to.at, sys::clone_file(from.as_fd(), to.as_fd()))
    }

    fn share(&self, from: &RealFile, to: &RealFile, offset: u64, len: u64) -> Result<Option<u64>> {
        let shared = sys::dedupe_range(from.as_fd(), to.as_fd(), offset, len);
        self.told("share blocks of", &to.at, shared)
    }

    fn sync_dir(&self, dir: &Place) -> Result<()> {
        let synced = dir::sync(self.root(dir.branch), &dir.path);
        self.told("sync directory", dir, synced)
    }

    fn sync_data_of_all(&self, files: &[&RealFile]) -> Vec<Result<()>> {
        at_once::all(files, |file| file.at.branch, |file| self.sync_data(file))
    }

    fn sync_dirs(&self, dirs: &[Place]) -> Vec<Result<()>> {
        at_once::all(dirs, |dir| dir.branch, |dir| self.sync_dir(dir))
    }

    fn sync_files(&self, files: &[&RealFile]) -> Vec<Result<()>> {
        // Written together, in an order that suits the disk. If this fails, the sync says so.
        at_once::all(
            files,
            |file| file.at.branch,
            |file| {
                sys::start_writing(file.as_fd()).unwrap_or_default();
            },
        );
        at_once::all(files, |file| file.at.branch, |file| self.sync_file(file))
    }

    fn copy_all(
        &self,
        copies: &[Copying<'_, RealFile>],
        read: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<Result<Option<[u8; 32]>>> {
        hash::copy(self, copies, read)
    }

    fn link(&self, file: &RealFile, to: &Place) -> Result<()> {
        self.told("link", to, names::link(file.as_fd(), self.root(to.branch), &to.path))
    }

    fn rename_noreplace(&self, from: &Place, to: &Place) -> Result<()> {
        let done = self.one_branch(from, to);
        let done = done.and_then(|root| names::rename_noreplace(root, &from.path, &to.path));
        let at = match &done {
            Err(error) if errno_of(error) == libc::EEXIST => to,
            _ => from,
        };
        self.told("rename", at, done)
    }

    fn exchange(&self, a: &Place, b: &Place) -> Result<()> {
        let done = self.one_branch(a, b).and_then(|root| names::exchange(root, &a.path, &b.path));
        self.told("exchange names at", a, done)
    }

    fn create(&self, at: &Place) -> Result<RealFile> {
        self.told("create", at, file::create(self.root(at.branch), at))
    }

    fn write_at(&self, file: &RealFile, buf: &[u8], offset: u64) -> Result<()> {
        self.told("write", &file.at, file.file.write_all_at(buf, offset))
    }

    fn set_len(&self, file: &RealFile, size: u64) -> Result<()> {
        self.told("set the size of", &file.at, file.file.set_len(size))
    }

    fn set_metadata(&self, file: &RealFile, metadata: &Metadata) -> Result<()> {
        clone::file(&file.file, metadata).map_err(|(call, error)| {
            let path = self.root(file.at.branch).shown(&file.at.path);
            failed(call, file.at.branch, path, error)
        })
    }

    fn set_flags(&self, file: &RealFile, flags: u32) {
        if let Err(error) = clone::set_flags(&file.file, flags) {
            let path = self.shown(&file.at);
            tracing::warn!(?path, %error, "the inode flags (lsattr) cannot be given back");
        }
    }

    fn set_times(&self, file: &RealFile, atime: Timestamp, mtime: Timestamp) -> Result<()> {
        let set = futimens(&file.file, &atime.into(), &mtime.into());
        self.told("set the times of", &file.at, set.map_err(io::Error::from))
    }

    fn sync_file(&self, file: &RealFile) -> Result<()> {
        self.told("sync", &file.at, file.file.sync_all())
    }

    fn unlink(&self, at: &Place) -> Result<()> {
        self.told("remove", at, names::unlink(self.root(at.branch), &at.path))
    }

    fn make_dir(&self, at: &Place) -> Result<MadeDir> {
        self.told("make directory", at, dir::make(self.root(at.branch), &at.path))
    }

    fn remove_dir(&self, at: &Place) -> Result<()> {
        let root = self.root(at.branch);
        let removed = names::remove_dir(root, &at.path);
        self.told("remove directory", at, removed)?;
        root.unpin(&at.path);
        Ok(())
    }

    fn clone_dir(&self, from: &Place, to: &Place, made: &MadeDir, times: bool) -> Result<()> {
        let source = self.root(from.branch).readable_dir(&from.path);
        let source = self.told("open directory", from, source)?;
        // A user who may rename names here could have put another user's directory at this name: the clone would
        // change the owner of that directory.
        let target = self.root(to.branch).readable_dir(&to.path);
        let target = target.and_then(|fd| dir::expect(fd, made));
        let target = self.told("open directory", to, target)?;
        clone::directory(&source.into(), &target.into(), times).map_err(|(call, error)| {
            failed(call, to.branch, self.root(to.branch).shown(&to.path), error)
        })
    }

    fn set_dir_mtime(&self, dir: &Place, mtime: Timestamp) -> Result<()> {
        let opened = self.root(dir.branch).readable_dir(&dir.path);
        let set = opened.and_then(|fd| Ok(futimens(fd, &TimeSpec::UTIME_OMIT, &mtime.into())?));
        self.told("set the time of directory", dir, set)
    }
}

impl RealFs {
    /// How many files and directories a batch may have open.
    pub(crate) fn open_files_max(&self) -> usize {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((OTHER_FILES, OTHER_FILES));
        usize::try_from(soft.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
    }

    fn watched(&self) -> MutexGuard<'_, Option<Watch>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a directory that was just pinned. Where that fails (no more watches), less is known of its names.
    fn watch(&self, dir: &Place) {
        let held = self.root(dir.branch).pinned(&dir.path);
        let added = held.and_then(|held| {
            let mut watched = self.watched();
            if watched.is_none() {
                *watched = Some(Watch::new()?);
            }
            match (watched.as_mut(), held) {
                (Some(watch), Some(held)) => watch.add(dir, held.as_fd()),
                _ => Ok(()),
            }
        });
        if let Err(error) = added {
            tracing::debug!(%error, ?dir, "not watched");
        }
    }

    /// The branch of both; names move on one branch only.
    fn one_branch(&self, a: &Place, b: &Place) -> io::Result<&Root> {
        if a.branch == b.branch {
            Ok(self.root(a.branch))
        } else {
            Err(io::Error::from_raw_os_error(libc::EXDEV))
        }
    }
}

/// Descriptors that everything but a batch needs: branches, journal, threads that read.
const OTHER_FILES: u64 = 256;

/// A batch holds the directories and files of all its ops: as many descriptors as the hard limit allows.
fn allow_many_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    tracing::trace!(?raised, "open files");
}

impl From<Timestamp> for TimeSpec {
    fn from(time: Timestamp) -> Self {
        Self::new(time.secs, i64::from(time.nanos))
    }
}
