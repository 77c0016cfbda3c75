//! A FUSE filesystem whose files are disks, and which notes all that is done to them.
//!
//! One thread serves all disks, so the order of the log is the order in which requests were answered. The disks
//! live in memory: nothing here touches a filesystem, tested or other.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tempfile::TempDir;

use super::fault::{Access, Fate, Fault};
use super::image::Image;
use super::log::{Log, Record};
use super::rig::{run, until_free};

/// The file a child process writes its marks to.
const MARK_NAME: &str = "mark";
const MARK_INODE: u64 = 2;
const FIRST_DISK_INODE: u64 = 3;
/// How long the kernel may remember names and sizes: neither ever changes.
const FOREVER: Duration = Duration::from_secs(3600);

/// Disks that are being served and recorded. Dropping it unmounts the FUSE filesystem.
#[derive(Debug)]
pub(crate) struct Recorder {
    session: Option<BackgroundSession>,
    mountpoint: TempDir,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disks: Mutex<Disks>,
    flush_us: AtomicU64,
}

struct Disks {
    base: Vec<Image>,
    live: Vec<Image>,
    records: Vec<Record>,
    faults: Vec<Fault>,
    /// Requests that wait, each with its disk, in the order in which they came.
    waiting: Vec<(INodeNo, Access, Answer)>,
}

/// Carries a request out and answers it, or answers that it failed.
type Answer = Box<dyn FnOnce(&mut Disks, Result<(), Errno>) + Send>;

impl std::fmt::Debug for Disks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disks").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Serves zeroed disks of these sizes.
    pub(crate) fn start(sizes: &[u64]) -> io::Result<Self> {
        Self::serve(sizes.iter().map(|size| Image::zeroed(*size)).collect())
    }

    /// Serves disks that hold something already, such as what a power cut has left.
    pub(crate) fn serve(images: Vec<Image>) -> io::Result<Self> {
        let mountpoint = tempfile::Builder::new().prefix("power-cut-disks.").tempdir()?;
        let faults = vec![Fault::None; images.len()];
        let (records, waiting) = (Vec::new(), Vec::new());
        let disks = Disks { base: images.clone(), live: images, records, faults, waiting };
        let shared = Arc::new(Shared { disks: Mutex::new(disks), flush_us: AtomicU64::new(0) });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("power-cut-disks".to_owned())];
        let server = Server { shared: Arc::clone(&shared) };
        let session = fuser::spawn_mount(server, mountpoint.path(), &config)?;
        Ok(Self { session: Some(session), mountpoint, shared })
    }

    /// The file that is disk number `device`.
    pub(crate) fn device_path(&self, device: usize) -> PathBuf {
        self.mountpoint.path().join(device.to_string())
    }

    /// The file to which a child process writes what it has done.
    pub(crate) fn mark_path(&self) -> PathBuf {
        self.mountpoint.path().join(MARK_NAME)
    }

    /// Notes `text` in the log: everything answered so far comes before it.
    pub(crate) fn mark(&self, text: &str) {
        self.shared.disks().records.push(Record::Mark(text.to_owned()));
    }

    /// Lets every flush take this long, as on a hard disk: a tool then runs long enough for others to write.
    pub(crate) fn set_flush_time(&self, time: Duration) {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.shared.flush_us.store(time_us, Ordering::Relaxed);
    }

    /// Breaks disk number `device`, or mends it; requests that wait meet the new fault.
    pub(crate) fn set_fault(&self, device: usize, fault: Fault) {
        let mut disks = self.shared.disks();
        disks.faults[device] = fault;
        for (inode, access, answer) in std::mem::take(&mut disks.waiting) {
            disks.serve(inode, access, answer);
        }
    }

    /// Whether a request waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.shared.disks().waiting.is_empty()
    }

    /// The blocks of disk number `device` that begin with `bytes`.
    pub(crate) fn blocks_with(&self, device: usize, bytes: &[u8]) -> Vec<u64> {
        self.shared.disks().live[device].blocks_with(bytes)
    }

    /// Unmounts and hands out the log. No loop device may be left over the disks.
    pub(crate) fn stop(mut self) -> io::Result<Log> {
        if let Some(session) = self.session.take() {
            // A child that another test has just forked holds all files of this process until it runs its program.
            until_free(|| run(Command::new("umount").arg(self.mountpoint.path())))?;
            session.join()?;
        }
        let mut disks = self.shared.disks();
        Ok(Log {
            base: std::mem::take(&mut disks.base),
            live: std::mem::take(&mut disks.live),
            records: std::mem::take(&mut disks.records),
        })
    }
}

impl Shared {
    /// A panic while the lock was held has failed the test already; tearing down must still work.
    fn disks(&self) -> MutexGuard<'_, Disks> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disks {
    /// Answers a request as the fault of its disk says.
    fn serve(&mut self, inode: INodeNo, access: Access, answer: Answer) {
        let fault = device_of(inode).and_then(|device| self.faults.get(device));
        match fault.map_or(Fate::Answered, |fault| fault.fate(access)) {
            Fate::Answered => answer(self, Ok(())),
            Fate::Fails => answer(self, Err(Errno::EIO)),
            Fate::Waits => self.waiting.push((inode, access, answer)),
        }
    }

    fn size(&self, inode: INodeNo) -> Option<u64> {
        match inode.0 {
            MARK_INODE => Some(0),
            _ => self.live.get(device_of(inode)?).map(Image::size),
        }
    }

    fn write(&mut self, inode: INodeNo, offset: u64, data: &[u8]) -> Result<(), Errno> {
        if inode.0 == MARK_INODE {
            let text = String::from_utf8_lossy(data).trim_end().to_owned();
            self.records.push(Record::Mark(text));
            return Ok(());
        }
        let (device, image) = self.disk(inode)?;
        if offset + data.len() as u64 > image.size() {
            return Err(Errno::ENOSPC);
        }
        image.write(offset, data);
        self.records.push(Record::Write { device, offset, data: data.into() });
        Ok(())
    }

    fn zero(&mut self, inode: INodeNo, offset: u64, len: u64) -> Result<(), Errno> {
        let (device, image) = self.disk(inode)?;
        image.zero(offset, len);
        self.records.push(Record::Zero { device, offset, len });
        Ok(())
    }

    fn flush(&mut self, inode: INodeNo) -> Result<(), Errno> {
        let (device, _) = self.disk(inode)?;
        self.records.push(Record::Flush { device });
        Ok(())
    }

    fn disk(&mut self, inode: INodeNo) -> Result<(usize, &mut Image), Errno> {
        let device = device_of(inode).ok_or(Errno::EINVAL)?;
        let image = self.live.get_mut(device).ok_or(Errno::EINVAL)?;
        Ok((device, image))
    }
}

fn device_of(inode: INodeNo) -> Option<usize> {
    usize::try_from(inode.0.checked_sub(FIRST_DISK_INODE)?).ok()
}

struct Server {
    shared: Arc<Shared>,
}

impl Server {
    fn serve(
        &self,
        inode: INodeNo,
        access: Access,
        answer: impl FnOnce(&mut Disks, Result<(), Errno>) + Send + 'static,
    ) {
        self.shared.disks().serve(inode, access, Box::new(answer));
    }

    fn attr(&self, inode: INodeNo) -> Option<FileAttr> {
        let root = inode == INodeNo::ROOT;
        let size = if root { 0 } else { self.shared.disks().size(inode)? };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = match name.to_str() {
            Some(MARK_NAME) => Some(MARK_INODE),
            Some(name) => name.parse::<u64>().ok().map(|device| device + FIRST_DISK_INODE),
            None => None,
        };
        match inode.and_then(|inode| self.attr(INodeNo(inode))) {
            Some(attr) => reply.entry(&FOREVER, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino) {
            Some(attr) => reply.attr(&FOREVER, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// Sizes and times do not change; `mkfs` and a shell's `>` may well ask.
    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.getattr(req, ino, fh, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let access = Access::Read(offset, size as usize);
        self.serve(ino, access, move |disks, fate| match fate.and_then(|()| disks.disk(ino)) {
            Ok((_, image)) => reply.data(&image.read(offset, size as usize)),
            Err(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        never_wait_for_own_writeback();
        let data = data.to_vec();
        self.serve(ino, Access::Write, move |disks, fate| {
            match fate.and_then(|()| disks.write(ino, offset, &data)) {
                Ok(()) => reply.written(data.len() as u32),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let zeroing = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        let known = zeroing | libc::FALLOC_FL_KEEP_SIZE;
        match mode {
            0 => reply.ok(),
            _ if mode & !known != 0 || mode & zeroing == 0 => reply.error(Errno::EOPNOTSUPP),
            _ => self.serve(ino, Access::Write, move |disks, fate| {
                answer(reply, fate.and_then(|()| disks.zero(ino, offset, length)));
            }),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // Slept before it is noted and without the lock: a flush counts only once it is complete.
        let time_us = self.shared.flush_us.load(Ordering::Relaxed);
        if time_us > 0 {
            std::thread::sleep(Duration::from_micros(time_us));
        }
        self.serve(ino, Access::Write, move |disks, fate| {
            answer(reply, fate.and_then(|()| disks.flush(ino)));
        });
    }

    /// Called at every close; nothing to do with a disk's flush.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// Keeps this thread's allocations from waiting for writeback to the very disks it serves.
///
/// That takes `CAP_SYS_RESOURCE`. Without it the danger is there only when memory runs short.
fn never_wait_for_own_writeback() {
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    const ON: libc::c_ulong = 1;
    const UNUSED: libc::c_ulong = 0;
    thread_local! {
        static ASKED: std::cell::OnceCell<libc::c_int> = const { std::cell::OnceCell::new() };
    }
    ASKED.with(|asked| {
        asked.get_or_init(|| {
            #[allow(unsafe_code, reason = "no safe wrapper knows this option")]
            // SAFETY: this option takes integers and touches no memory of ours.
            unsafe {
                libc::prctl(PR_SET_IO_FLUSHER, ON, UNUSED, UNUSED, UNUSED)
            }
        });
    });
}
