//! Knows a filesystem again after a reboot (invariant 6): by its UUID, on btrfs with the subvolume.
//!
//! Never by `st_dev` or `f_fsid`, which change with the device number.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::{fstat, major, minor};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, MSDOS_SUPER_MAGIC, TMPFS_MAGIC, fstatfs,
};

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::sys;

/// A filesystem across reboots and device renumbering (invariant 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FsId {
    /// The filesystem's UUID.
    pub uuid: [u8; 16],
    /// The btrfs subvolume: two of them share UUID and inode numbers. 0 elsewhere.
    pub subvolume: u64,
}

/// An inode across reboots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoredId {
    /// The filesystem.
    pub fs: FsId,
    /// The inode number.
    pub ino: u64,
    /// Birth time, if the filesystem has one: a different birth time shows that the number was reused.
    pub btime: Option<Timestamp>,
}

/// Newer than the library that names the others.
const EXFAT: FsType = FsType(0x2011_bab0);

/// The filesystem that holds an open directory; `None` where it has no lasting identity, as on tmpfs.
///
/// `dir` must be open for reading: an `O_PATH` descriptor takes no ioctl.
///
/// # Errors
/// Fails if the filesystem should report its identity, and the request itself fails.
pub fn of_directory(dir: BorrowedFd<'_>) -> io::Result<Option<FsId>> {
    let kind = fstatfs(dir)?.filesystem_type();
    if kind == TMPFS_MAGIC {
        // Newer kernels make up a UUID for every mount of such a filesystem: the UUID cannot identify it later.
        return Ok(None);
    }
    if kind == MSDOS_SUPER_MAGIC || kind == EXFAT {
        // These filesystems have a volume number, but make up inode numbers at every mount: no file can be identified
        // again.
        return Ok(None);
    }
    if kind == BTRFS_SUPER_MAGIC {
        let (uuid, subvolume) = (sys::btrfs_uuid(dir)?, sys::btrfs_subvolume(dir)?);
        return Ok(known(uuid, subvolume));
    }
    let uuid = match own_answer(kind, dir)? {
        Some(uuid) => Some(uuid),
        None => told(sys::fs_uuid(dir))?,
    };
    // Linux before 6.0 does not tell the UUID of an ext4.
    let uuid = match uuid {
        None if kind == EXT4_SUPER_MAGIC => of_ext4_disk(&disk_of(fstat(dir)?.st_dev)),
        uuid => uuid,
    };
    Ok(uuid.and_then(|uuid| known(uuid, 0)))
}

/// The disk with a device number, whether or not udev runs.
fn disk_of(dev: libc::dev_t) -> PathBuf {
    let number = format!("{}:{}", major(dev), minor(dev));
    let about = std::fs::read_to_string(format!("/sys/dev/block/{number}/uevent"));
    let about = about.unwrap_or_default();
    let name = about.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| format!("/dev/block/{number}"), |name| format!("/dev/{name}")).into()
}

/// The UUID in the superblock of an ext4, read from the disk; `None` if the disk cannot be read or holds no ext4.
fn of_ext4_disk(disk: &Path) -> Option<[u8; 16]> {
    let mut superblock = [0; 0x78];
    File::open(disk).and_then(|disk| disk.read_exact_at(&mut superblock, 1024)).ok()?;
    let magic = u16::from_le_bytes(*superblock[0x38..].first_chunk()?);
    superblock[0x68..].first_chunk().copied().filter(|_| magic == 0xef53)
}

/// The filesystem's own ioctl comes first: it also works on older kernels, and `FS_IOC_GETFSUUID` goes on giving
/// the UUID of mount time (seen: zeros) where ext4's was changed since.
fn own_answer(kind: FsType, dir: BorrowedFd<'_>) -> io::Result<Option<[u8; 16]>> {
    match kind {
        EXT4_SUPER_MAGIC => told(sys::ext4_uuid(dir)),
        sys::XFS_SUPER_MAGIC => told(sys::xfs_uuid(dir)),
        _ => Ok(None),
    }
}

/// `None` where the filesystem or the kernel does not know the question.
fn told(answer: io::Result<[u8; 16]>) -> io::Result<Option<[u8; 16]>> {
    match answer {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EOPNOTSUPP)) => {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

/// An all-zero UUID names nothing.
fn known(uuid: [u8; 16], subvolume: u64) -> Option<FsId> {
    (uuid != [0; 16]).then_some(FsId { uuid, subvolume })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_identity_is_of_the_filesystem_not_of_the_directory() {
        let of = |path: &str| of_directory(File::open(path).unwrap().as_fd()).unwrap();
        assert_eq!(of("/usr"), of("/usr/bin"));
    }

    #[test]
    fn what_does_not_survive_a_reboot_has_no_identity() {
        for path in ["/dev/shm", "/proc"] {
            let dir = File::open(path).unwrap();
            assert_eq!(of_directory(dir.as_fd()).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn the_superblock_of_an_ext4_has_its_uuid() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        let write = |at, bytes: &[u8]| disk.as_file().write_all_at(bytes, at).unwrap();
        write(1024 + 0x68, &[9; 16]);
        write(4096, &[0]);
        assert_eq!(of_ext4_disk(disk.path()), None);
        write(1024 + 0x38, &[0x53, 0xef]);
        assert_eq!(of_ext4_disk(disk.path()), Some([9; 16]));
        assert_eq!(of_ext4_disk(Path::new("/no/such/disk")), None);
        assert_eq!(of_ext4_disk(Path::new("/dev/null")), None);
    }

    #[test]
    fn a_uuid_of_zeros_names_nothing() {
        assert_eq!(known([0; 16], 5), None);
        assert_eq!(known([1; 16], 5), Some(FsId { uuid: [1; 16], subvolume: 5 }));
    }
}
