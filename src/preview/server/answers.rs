//! Builds the answers to requests: attributes, entries, values.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileHandle, FileType, INodeNo, ReplyDirectory, ReplyXattr};

use super::super::nodes::{Nodes, ROOT};
use super::super::tree::{Future, Listed, Tree};
use super::Server;
use super::handles::Handles;
use crate::fs::{FileKind, FsError, Timestamp};
use crate::pool::relpath::RelPath;

/// The preferred block size for reads, in bytes.
const BLOCK_SIZE: u32 = 4096;

impl Server {
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree, nodes: Nodes::new(), files: Handles::new(), dirs: Handles::new() }
    }

    pub(super) fn path(&self, node: INodeNo) -> Result<RelPath, Errno> {
        self.nodes.path(node.0).ok_or(Errno::ESTALE)
    }

    pub(super) fn found(&self, node: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let path = self.path(node)?.join(name).map_err(|_| Errno::EINVAL)?;
        let future = self.tree.look(&path).map_err(errno)?.ok_or(Errno::ENOENT)?;
        let mut attr = self.attributes(&future)?;
        attr.ino = INodeNo(self.nodes.told(path));
        Ok(attr)
    }

    pub(super) fn attr(&self, node: INodeNo) -> Result<FileAttr, Errno> {
        let path = self.path(node)?;
        let future = self.tree.look(&path).map_err(errno)?.ok_or(Errno::ENOENT)?;
        self.attributes(&future)
    }

    fn attributes(&self, future: &Future<'_>) -> Result<FileAttr, Errno> {
        let stat = &future.stat;
        let (kind, rdev) = match stat.kind {
            FileKind::Regular => (FileType::RegularFile, 0),
            FileKind::Directory => (FileType::Directory, 0),
            FileKind::Symlink => (FileType::Symlink, 0),
            FileKind::Other => {
                let special = self.tree.special(future).map_err(errno)?;
                let (major, minor) = special.device;
                (special_kind(special.kind), device_number(major, minor))
            }
        };
        let mtime = time(stat.mtime);
        Ok(FileAttr {
            ino: INodeNo(future.number),
            size: stat.size,
            blocks: stat.blocks,
            atime: time(stat.atime),
            mtime,
            ctime: time(stat.ctime),
            crtime: stat.btime.map_or(mtime, time),
            kind,
            // Twelve bits.
            perm: u16::try_from(stat.mode).unwrap_or_default(),
            nlink: u32::try_from(stat.nlink).unwrap_or(u32::MAX),
            uid: stat.uid,
            gid: stat.gid,
            rdev,
            blksize: BLOCK_SIZE,
            flags: 0,
        })
    }

    pub(super) fn xattr(&self, node: INodeNo, name: &OsStr) -> Result<Vec<u8>, Errno> {
        let value = self.tree.xattr(&self.path(node)?, name).map_err(errno)?;
        value.ok_or(Errno::ENODATA)
    }

    pub(super) fn read_dir(
        &self,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Result<(), Errno> {
        let listed = self.dirs.get(handle)?;
        let from = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let path = self.path(node)?;
        let number = |dir: Option<RelPath>| {
            let at = dir.unwrap_or_else(RelPath::root);
            self.tree.look(&at).ok().flatten().map_or(ROOT, |f| f.number)
        };
        if from < 2 {
            let dots = [(".", Some(path.clone())), ("..", path.parent())];
            for (at, (name, dir)) in dots.into_iter().enumerate().skip(from) {
                let ino = INodeNo(number(dir));
                if reply.add(ino, at as u64 + 1, FileType::Directory, name) {
                    return Ok(());
                }
            }
        }
        for (at, entry) in listed.iter().enumerate().skip(from.saturating_sub(2)) {
            let kind = match entry.kind {
                FileKind::Regular => FileType::RegularFile,
                FileKind::Directory => FileType::Directory,
                FileKind::Symlink => FileType::Symlink,
                FileKind::Other => self.special_kind(&path, entry),
            };
            let name = OsStr::from_bytes(&entry.name);
            // The first two entries are `.` and `..`; the offset of an entry is the position of the next entry.
            if reply.add(INodeNo(entry.number), at as u64 + 3, kind, name) {
                break;
            }
        }
        Ok(())
    }

    fn special_kind(&self, dir: &RelPath, entry: &Listed) -> FileType {
        let path = dir.join(OsStr::from_bytes(&entry.name)).ok();
        let future = path.and_then(|path| self.tree.look(&path).ok().flatten());
        let special = future.and_then(|future| self.tree.special(&future).ok());
        special.map_or(FileType::NamedPipe, |special| special_kind(special.kind))
    }
}

pub(super) fn errno(error: FsError) -> Errno {
    tracing::debug!(%error, cause = %error.source, "preview");
    match error.errno() {
        0 => Errno::EIO,
        errno => Errno::from_i32(errno),
    }
}

fn special_kind(kind: u32) -> FileType {
    match kind {
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        libc::S_IFSOCK => FileType::Socket,
        _ => FileType::NamedPipe,
    }
}

/// As the kernel encodes it for FUSE, in 32 bits.
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn time(at: Timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(at.nanos.into());
    let secs = Duration::from_secs(at.secs.unsigned_abs());
    let whole =
        if at.secs < 0 { UNIX_EPOCH.checked_sub(secs) } else { UNIX_EPOCH.checked_add(secs) };
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

pub(super) fn answer_xattr(value: Result<Vec<u8>, Errno>, room: u32, reply: ReplyXattr) {
    match value {
        Err(errno) => reply.error(errno),
        Ok(value) => match u32::try_from(value.len()) {
            Ok(len) if room == 0 => reply.size(len),
            Ok(len) if len <= room => reply.data(&value),
            _ => reply.error(Errno::ERANGE),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_and_device_numbers_keep_their_value() {
        let at = |secs, nanos| time(Timestamp { secs, nanos });
        assert_eq!(at(-1, 250_000_000), UNIX_EPOCH - Duration::from_millis(750));
        assert_eq!(at(2, 5), UNIX_EPOCH + Duration::new(2, 5));
        // As glibc's makedev puts it into 32 bits.
        assert_eq!(device_number(8, 1), 0x801);
        assert_eq!(device_number(240, 1234), 0x40_f0d2);
    }
}
