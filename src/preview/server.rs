//! The tree as a FUSE file system: the only module that names the FUSE library.
//!
//! The server reports to the kernel one node per name (see `nodes`), and an inode number with the attributes. A look-up
//! of a name returns only the node, with attributes that expire at once, so that the kernel then asks for the
//! attributes. Otherwise the library would take the inode number for the node.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileHandle, Filesystem, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenAccMode, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, SessionACL, TimeOrNow, WriteFlags,
};

use super::nodes::Nodes;
use super::tree::{Listed, Tree};
use crate::fs::real::RealFile;

mod answers;
mod handles;

use answers::{answer_xattr, errno};
use handles::Handles;

/// How long the kernel may cache an answer: as long as mergerfs lets the kernel cache.
const TTL: Duration = Duration::from_secs(1);
/// Requests answered at a time: a request that waits for a disk must not delay the other requests.
const THREADS: usize = 4;

/// A mounted preview. Dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    session: Option<BackgroundSession>,
    at: PathBuf,
}

/// Mounts `tree` at a directory. With `everyone`, all users may read what the file permissions allow; otherwise only
/// this user may.
///
/// # Errors
/// If FUSE is missing, or the kernel refuses the mount.
pub fn mount(tree: Tree, at: &Path, everyone: bool) -> io::Result<Mounted> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("mergerfs.xdedup".to_owned()),
        MountOption::Subtype("xdedup-preview".to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        // The kernel checks owner, mode and ACL of each file, as on a disk.
        MountOption::DefaultPermissions,
    ];
    if everyone {
        config.acl = SessionACL::All;
    }
    config.n_threads = Some(THREADS);
    let session = fuser::spawn_mount(Server::new(tree), at, &config)?;
    Ok(Mounted { session: Some(session), at: at.to_path_buf() })
}

impl Mounted {
    /// Whether another program has unmounted the preview.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.guard.is_finished())
    }

    /// Unmounts the preview. If another program still uses the preview, the mount is detached all the same, and ends
    /// for that program when this process ends.
    ///
    /// # Errors
    /// If the kernel cannot unmount the preview.
    pub fn unmount(mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        if session.guard.is_finished() {
            // Another program has unmounted the preview. The library would unmount any later mount at the same path.
            std::mem::forget(session);
            return Ok(());
        }
        match session.umount_and_join() {
            // Another program has unmounted the preview at this moment.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                Ok(nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH)?)
            }
            ended => ended,
        }
    }
}

struct Server {
    tree: Tree,
    nodes: Nodes,
    files: Handles<RealFile>,
    dirs: Handles<Vec<Listed>>,
}

/// Refuses requests that the kernel does not send to a read-only mount. A user can remount the preview writable, but the
/// file system stays read-only.
macro_rules! read_only {
    ($($request:ident($($argument:ty),*) => $reply:ty;)*) => {
        $(fn $request(&self, _: &Request, $(_: $argument,)* reply: $reply) {
            reply.error(Errno::EROFS);
        })*
    };
}

impl Filesystem for Server {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The server requests each flag that the kernel knows.
        for wish in [
            InitFlags::FUSE_POSIX_ACL,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_AUTO_INVAL_DATA,
        ] {
            if config.add_capabilities(wish).is_err() {
                tracing::debug!(?wish, "the kernel does not know it");
            }
        }
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.found(parent, name) {
            Ok(attr) => reply.entry_with_ttls(&Duration::ZERO, &TTL, &attr, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.nodes.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        let path = self.path(ino);
        match path.and_then(|path| self.tree.read_link(&path).map_err(errno)) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY || flags.0 & libc::O_TRUNC != 0 {
            return reply.error(Errno::EROFS);
        }
        let path = self.path(ino);
        let asker = req.uid();
        let opened = path.and_then(|path| self.tree.open(&path, asker).map_err(errno));
        self.files.answer(opened, reply);
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buf = vec![0; size as usize];
        let read = self
            .files
            .get(fh)
            .and_then(|file| self.tree.read_at(&file, &mut buf, offset).map_err(errno));
        match read {
            Ok(read) => reply.data(&buf[..read]),
            Err(errno) => reply.error(errno),
        }
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let hole = match whence {
            libc::SEEK_DATA => false,
            libc::SEEK_HOLE => true,
            _ => return reply.error(Errno::EINVAL),
        };
        let found =
            self.files.get(fh).and_then(|file| self.tree.seek(&file, offset, hole).map_err(errno));
        match found {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.files.close(fh);
        reply.ok();
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let path = self.path(ino);
        let listed = path.and_then(|path| self.tree.list(&path).map_err(errno));
        self.dirs.answer(listed, reply);
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self.read_dir(ino, fh, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.dirs.close(fh);
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        match self.tree.space().map_err(errno) {
            Ok(space) => {
                let unit = u32::try_from(space.unit).unwrap_or(u32::MAX);
                let longest = u32::try_from(space.name_max).unwrap_or(u32::MAX);
                reply.statfs(
                    space.blocks,
                    space.free,
                    space.available,
                    space.files,
                    space.files_free,
                    unit,
                    longest,
                    unit,
                );
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer_xattr(self.xattr(ino, name), size, reply);
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let path = self.path(ino);
        let names = path.and_then(|path| self.tree.xattr_names(&path).map_err(errno));
        answer_xattr(names, size, reply);
    }

    read_only! {
        setattr(
            INodeNo, Option<u32>, Option<u32>, Option<u32>, Option<u64>, Option<TimeOrNow>, Option<TimeOrNow>,
            Option<SystemTime>, Option<FileHandle>, Option<SystemTime>, Option<SystemTime>, Option<SystemTime>,
            Option<BsdFileFlags>
        ) => ReplyAttr;
        mknod(INodeNo, &OsStr, u32, u32, u32) => ReplyEntry;
        mkdir(INodeNo, &OsStr, u32, u32) => ReplyEntry;
        unlink(INodeNo, &OsStr) => ReplyEmpty;
        rmdir(INodeNo, &OsStr) => ReplyEmpty;
        symlink(INodeNo, &OsStr, &Path) => ReplyEntry;
        rename(INodeNo, &OsStr, INodeNo, &OsStr, RenameFlags) => ReplyEmpty;
        link(INodeNo, INodeNo, &OsStr) => ReplyEntry;
        write(INodeNo, FileHandle, u64, &[u8], WriteFlags, OpenFlags, Option<LockOwner>) => ReplyWrite;
        create(INodeNo, &OsStr, u32, u32, i32) => ReplyCreate;
        fallocate(INodeNo, FileHandle, u64, u64, i32) => ReplyEmpty;
        setxattr(INodeNo, &OsStr, &[u8], i32, u32) => ReplyEmpty;
        removexattr(INodeNo, &OsStr) => ReplyEmpty;
    }
}
