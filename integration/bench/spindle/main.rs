//! `spindle MOUNTPOINT IMAGE...`: serves each image as a file, `0`, `1` and so on, as slowly as a rotating disk would.
//!
//! Put a loop device over each file. The file `counts` has a line for each disk: milliseconds busy, seeks, MB read, MB
//! written; reading it sets all back to 0. The images belong on a tmpfs: dropping the page cache then makes a cold disk
//! and no cold image.

use std::error::Error;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};

mod arm;

use arm::{Arm, HALF_TURN};

const COUNTS: u64 = 2;
const FIRST_DISK: u64 = 3;
const FOREVER: Duration = Duration::from_secs(3600);
/// Requests that a disk puts in order, as disks do by themselves.
const QUEUE: usize = 32;

enum Ask {
    Read(u64, u32, ReplyData),
    Write(u64, Vec<u8>, ReplyWrite),
    Flush(ReplyEmpty),
}

impl Ask {
    fn offset(&self) -> Option<u64> {
        match self {
            Self::Read(offset, ..) | Self::Write(offset, ..) => Some(*offset),
            Self::Flush(_) => None,
        }
    }
}

#[derive(Default)]
struct Counts {
    busy_us: AtomicU64,
    seeks: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
}

struct Disk {
    size: u64,
    queue: Mutex<Sender<Ask>>,
    counts: Arc<Counts>,
}

impl Disk {
    fn serve(image: File) -> std::io::Result<Self> {
        let size = image.metadata()?.len();
        let (queue, asks) = channel();
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        std::thread::spawn(move || work(&image, size, &asks, &counted));
        Ok(Self { size, queue: Mutex::new(queue), counts })
    }

    fn ask(&self, ask: Ask) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Its thread ends with the process.
        drop(queue.send(ask));
    }
}

/// One disk: takes the requests in the order of its arm, and answers each when the disk would.
fn work(image: &File, size: u64, asks: &Receiver<Ask>, counts: &Counts) {
    let mut arm = Arm::new(size);
    let mut waiting: Vec<Ask> = Vec::new();
    let mut free_at = Instant::now();
    loop {
        if waiting.is_empty() {
            match asks.recv() {
                Ok(ask) => waiting.push(ask),
                Err(_) => return,
            }
        }
        while waiting.len() < QUEUE {
            match asks.try_recv() {
                Ok(ask) => waiting.push(ask),
                Err(_) => break,
            }
        }
        // A flush has its turn when it is the oldest.
        let flushes = waiting[0].offset().is_none();
        let offsets = waiting.iter().map(|ask| ask.offset().unwrap_or(u64::MAX));
        let next = if flushes { 0 } else { arm.next(offsets).unwrap_or(0) };
        let ask = waiting.remove(next);
        let time = match &ask {
            // What the disk holds in its own memory is written where it lies.
            Ask::Flush(_) => HALF_TURN,
            Ask::Read(offset, len, _) => moved(&mut arm, *offset, u64::from(*len), counts),
            Ask::Write(offset, data, _) => moved(&mut arm, *offset, data.len() as u64, counts),
        };
        free_at = free_at.max(Instant::now()) + time;
        counts.busy_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(0), Relaxed);
        std::thread::sleep(free_at.saturating_duration_since(Instant::now()));
        answer(image, size, ask, counts);
    }
}

fn moved(arm: &mut Arm, offset: u64, len: u64, counts: &Counts) -> Duration {
    let cost = arm.transfer(offset, len);
    counts.seeks.fetch_add(u64::from(cost.seek), Relaxed);
    cost.time
}

fn answer(image: &File, size: u64, ask: Ask, counts: &Counts) {
    match ask {
        Ask::Read(offset, len, reply) => {
            let len = u64::from(len).min(size.saturating_sub(offset));
            let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
            counts.read.fetch_add(len, Relaxed);
            match image.read_exact_at(&mut data, offset) {
                Ok(()) => reply.data(&data),
                Err(error) => reply.error(Errno::from(error)),
            }
        }
        Ask::Write(offset, data, reply) => {
            counts.written.fetch_add(data.len() as u64, Relaxed);
            match image.write_all_at(&data, offset) {
                Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(0)),
                Err(error) => reply.error(Errno::from(error)),
            }
        }
        Ask::Flush(reply) => reply.ok(),
    }
}

struct Spindles {
    disks: Vec<Disk>,
}

impl Spindles {
    fn disk(&self, ino: INodeNo) -> Option<&Disk> {
        self.disks.get(usize::try_from(ino.0.checked_sub(FIRST_DISK)?).ok()?)
    }

    fn attr(&self, ino: INodeNo) -> Option<FileAttr> {
        let root = ino == INodeNo::ROOT;
        let size = if root || ino.0 == COUNTS { 0 } else { self.disk(ino)?.size };
        Some(FileAttr {
            ino,
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

    fn counts(&self) -> String {
        let taken = |count: &AtomicU64| count.swap(0, Relaxed);
        let line = |disk: &Disk| {
            let c = &disk.counts;
            let (read, written) = (taken(&c.read) / 1_000_000, taken(&c.written) / 1_000_000);
            format!("{} {} {read} {written}\n", taken(&c.busy_us) / 1000, taken(&c.seeks))
        };
        self.disks.iter().map(line).collect()
    }
}

impl Filesystem for Spindles {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Whatever the kernel allows instead is as good.
        config.set_max_write(1 << 20).ok();
        config.set_max_background(128).ok();
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = match name.to_str() {
            Some("counts") => Some(COUNTS),
            Some(name) => name.parse::<u64>().ok().map(|disk| disk + FIRST_DISK),
            None => None,
        };
        match ino.and_then(|ino| self.attr(INodeNo(ino))) {
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

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
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
        match self.disk(ino) {
            Some(disk) => disk.ask(Ask::Read(offset, size, reply)),
            None if ino.0 == COUNTS && offset == 0 => reply.data(self.counts().as_bytes()),
            None => reply.data(&[]),
        }
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
        match self.disk(ino) {
            Some(disk) if offset + data.len() as u64 <= disk.size => {
                disk.ask(Ask::Write(offset, data.to_vec(), reply));
            }
            _ => reply.error(Errno::ENOSPC),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.disk(ino) {
            Some(disk) => disk.ask(Ask::Flush(reply)),
            None => reply.ok(),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// Keeps this process from waiting for writeback to the very disks it serves.
fn never_wait_for_own_writeback() {
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    const ON: libc::c_ulong = 1;
    const UNUSED: libc::c_ulong = 0;
    #[allow(unsafe_code, reason = "no safe wrapper knows this option")]
    // SAFETY: this option takes integers and touches no memory of ours.
    unsafe {
        libc::prctl(PR_SET_IO_FLUSHER, ON, UNUSED, UNUSED, UNUSED)
    };
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let mountpoint = args.next().ok_or("spindle MOUNTPOINT IMAGE...")?;
    let open = |path| OpenOptions::new().read(true).write(true).open(path);
    let disks = args.map(|path| Disk::serve(open(path)?)).collect::<std::io::Result<Vec<_>>>()?;
    // Before the threads of the server begin: they get the setting.
    never_wait_for_own_writeback();
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("spindle".to_owned())];
    Ok(fuser::mount(Spindles { disks }, mountpoint, &config)?)
}
