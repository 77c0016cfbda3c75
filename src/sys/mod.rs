//! System calls that neither std nor nix offers. The only module with `unsafe`; it decides nothing.
//!
//! Everything here takes a held descriptor, or a name relative to a held descriptor, and returns the kernel's answer.
#![allow(unsafe_code, reason = "statx, leases and filesystem ioctls have no safe wrapper")]

use std::ffi::{CStr, OsStr, c_int, c_long};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::NixPath;
use nix::sys::ioctl::ioctl_num_type;
use nix::sys::statfs::FsType;

/// What `statfs(2)` calls xfs; nix names it for glibc only.
pub(crate) const XFS_SUPER_MAGIC: FsType = FsType(0x5846_5342);

/// A name in a directory.
pub(crate) type Name<'n> = (BorrowedFd<'n>, &'n OsStr);

/// The fields asked of `statx`: the classic fields, the birth time and the mount id.
const STATX_WANTED: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;

/// `statx(2)` of the descriptor itself; works on `O_PATH` descriptors, symlinks included.
pub(crate) fn statx(fd: BorrowedFd<'_>) -> io::Result<libc::statx> {
    statx_at(fd, c"", libc::AT_EMPTY_PATH)
}

/// `statx(2)` of `path` relative to `dir`, never mounting anything on the way.
pub(crate) fn statx_at(dir: BorrowedFd<'_>, path: &CStr, flags: c_int) -> io::Result<libc::statx> {
    let flags = flags | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_SYNC_AS_STAT;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `dir` is open, `path` is NUL-terminated, and the kernel writes at most one `statx` into `found`.
    let rc = unsafe {
        libc::statx(dir.as_raw_fd(), path.as_ptr(), flags, STATX_WANTED, found.as_mut_ptr())
    };
    check(rc)?;
    // SAFETY: all-zero bytes are a valid `statx`, and the successful call has filled it.
    Ok(unsafe { found.assume_init() })
}

/// `preadv2(2)` into one buffer, with the flags of this one read (`RWF_NOWAIT`, `RWF_DONTCACHE`).
pub(crate) fn read_at_with(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    offset: u64,
    flags: c_int,
) -> io::Result<usize> {
    let offset =
        libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    let part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: `fd` is open, and the one part is exclusively borrowed and has the stated length.
    let read = unsafe { libc::preadv2(fd.as_raw_fd(), &raw const part, 1, offset, flags) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// `struct fiemap_extent`: a piece of a file that lies in one piece on its disk.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it begins in the file.
    pub(crate) logical: u64,
    /// Where it begins on the disk.
    pub(crate) physical: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved32: [u32; 3],
}

impl Extent {
    /// Whether it is the last of its file.
    pub(crate) fn is_last(&self) -> bool {
        self.flags & 0x1 != 0
    }

    /// Whether its place on the disk is not known, or not chosen yet.
    pub(crate) fn is_unplaced(&self) -> bool {
        self.flags & 0x2 != 0
    }

    /// Whether another file shares it.
    pub(crate) fn is_shared(&self) -> bool {
        self.flags & 0x2000 != 0
    }

    /// Whether its place on the disk is all there is to know: its bytes lie there as they are read. No flag but "last",
    /// "merged" and "shared" is set.
    pub(crate) fn is_plain(&self) -> bool {
        self.flags & !(0x1 | 0x1000 | 0x2000) == 0
    }

    /// Whether it is reserved, and reads as zeros.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.flags & 0x800 != 0
    }
}

/// The extents of a file from byte `from` on, at most `N` of them, from `FS_IOC_FIEMAP`; none at its end. With `synced`, after
/// its data was written to the disk: until then space that was reserved before stays marked as reserved.
pub(crate) fn extents<const N: usize>(
    fd: BorrowedFd<'_>,
    from: u64,
    synced: bool,
) -> io::Result<Vec<Extent>> {
    /// `struct fiemap` with room for its extents.
    #[repr(C, align(8))]
    struct Fiemap<const N: usize> {
        start: u64,
        length: u64,
        flags: u32,
        mapped: u32,
        count: u32,
        reserved: u32,
        extents: [Extent; N],
    }
    let mut arg = Fiemap {
        start: from,
        length: u64::MAX - from,
        // FIEMAP_FLAG_SYNC
        flags: u32::from(synced),
        mapped: 0,
        count: u32::try_from(N).unwrap_or(0),
        reserved: 0,
        extents: [Extent::default(); N],
    };
    // The request encodes the header only: the array of extents counts as 0 bytes.
    let request = nix::request_code_readwrite!(b'f', 11, 32);
    // SAFETY: the kernel reads the 32-byte header, and writes it and at most `count` = `N` extents behind it.
    unsafe { ioctl(fd, request, &mut arg) }?;
    let mapped = usize::try_from(arg.mapped).unwrap_or(0).min(N);
    Ok(arg.extents[..mapped].to_vec())
}

/// Lets `to` share all blocks of `from`, in place of what it has (`FICLONE`).
pub(crate) fn clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let request = nix::request_code_write!(0x94, 9, size_of::<c_int>());
    // SAFETY: both files are open, and FICLONE takes a descriptor by value.
    check(unsafe { libc::ioctl(to.as_raw_fd(), request, from.as_raw_fd()) }).map(drop)
}

/// Lets `to` share the `len` bytes at `offset` with `from`, if both have the same bytes there (`FIDEDUPERANGE`): the kernel
/// compares. Returns how many bytes it shared, or `None` if they differ.
pub(crate) fn dedupe_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: u64,
    len: u64,
) -> io::Result<Option<u64>> {
    /// `FILE_DEDUPE_RANGE_DIFFERS`.
    const DIFFERS: i32 = 1;
    /// `struct file_dedupe_range` with one `struct file_dedupe_range_info`.
    #[repr(C, align(8))]
    struct Range {
        src_offset: u64,
        src_length: u64,
        dest_count: u16,
        reserved1: u16,
        reserved2: u32,
        dest_fd: i64,
        dest_offset: u64,
        bytes_deduped: u64,
        status: i32,
        reserved: u32,
    }
    let mut arg = Range {
        src_offset: offset,
        src_length: len,
        dest_count: 1,
        reserved1: 0,
        reserved2: 0,
        dest_fd: i64::from(to.as_raw_fd()),
        dest_offset: offset,
        bytes_deduped: 0,
        status: 0,
        reserved: 0,
    };
    // The request encodes the header only: the array of destinations counts as 0 bytes.
    let request = nix::request_code_readwrite!(0x94, 54, 24);
    // SAFETY: the kernel reads and writes the 24-byte header and the one destination of 32 bytes behind it.
    unsafe { ioctl(from, request, &mut arg) }?;
    match arg.status {
        DIFFERS => Ok(None),
        0 => Ok(Some(arg.bytes_deduped)),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Where on the disk a file's data begins; `None` where it has none or is not on a disk yet.
pub(crate) fn first_extent(fd: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let first = extents::<1>(fd, 0, false)?.into_iter().next();
    Ok(first.filter(|extent| !extent.is_unplaced()).map(|extent| extent.physical))
}

/// `sync_file_range(2)`: begins to write what is in memory of a file, and does not wait. It makes nothing durable, and takes no
/// error away from the sync that follows.
pub(crate) fn start_writing(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the call takes numbers otherwise.
    let rc = unsafe { libc::sync_file_range(fd.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    check(rc).map(drop)
}

/// `renameat2(2)` with `RENAME_NOREPLACE` or `RENAME_EXCHANGE`. The bare call: musl has no function for it.
pub(crate) fn rename_with(from: Name<'_>, to: Name<'_>, flags: u32) -> nix::Result<()> {
    let done = from.1.with_nix_path(|from_name| {
        to.1.with_nix_path(|to_name| {
            // SAFETY: both directories are open, both names NUL-terminated, and the kernel only reads them.
            unsafe {
                libc::syscall(
                    libc::SYS_renameat2,
                    from.0.as_raw_fd(),
                    from_name.as_ptr(),
                    to.0.as_raw_fd(),
                    to_name.as_ptr(),
                    flags,
                )
            }
        })
    })??;
    nix::errno::Errno::result(done).map(drop)
}

/// `F_SETLEASE` with `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
pub(crate) fn set_lease(fd: BorrowedFd<'_>, kind: c_int) -> io::Result<()> {
    // SAFETY: `fd` is open, and F_SETLEASE takes an int by value.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind) }).map(drop)
}

/// `F_GETLEASE`: `F_RDLCK`, `F_WRLCK` or `F_UNLCK`; while a break is pending, what it is to become.
pub(crate) fn get_lease(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    // SAFETY: `fd` is open, and F_GETLEASE takes no argument.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLEASE) })
}

/// The longest file handle that the kernel makes (`MAX_HANDLE_SZ`).
const HANDLE_MAX: usize = 128;

/// `struct file_handle` with room for the longest handle.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; HANDLE_MAX],
}

/// `name_to_handle_at(2)` of the descriptor itself: the handle finds the file again; its first four bytes are the kind.
pub(crate) fn handle_of(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    Ok(handle_at(fd, c"", libc::AT_EMPTY_PATH)?.0)
}

/// As [`handle_of`], of entry `name` of a directory, through no symlink; and the mount that the entry lies on.
pub(crate) fn handle_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: c_int,
) -> io::Result<(Vec<u8>, u64)> {
    let mut found = FileHandle {
        bytes: u32::try_from(HANDLE_MAX).unwrap_or(0),
        kind: 0,
        handle: [0; HANDLE_MAX],
    };
    let mut mount: c_int = 0;
    // SAFETY: `dir` is open, the path is NUL-terminated, and the kernel writes at most `bytes` = `HANDLE_MAX` bytes
    // behind the header of `found`, and one int.
    check(unsafe {
        libc::name_to_handle_at(
            dir.as_raw_fd(),
            name.as_ptr(),
            (&raw mut found).cast(),
            &raw mut mount,
            flags,
        )
    })?;
    let len = usize::try_from(found.bytes).unwrap_or(0).min(HANDLE_MAX);
    let handle = [&found.kind.to_le_bytes(), &found.handle[..len]].concat();
    Ok((handle, u64::from(mount.cast_unsigned())))
}

/// `open_by_handle_at(2)`: opens what [`handle_of`] named, on the filesystem that `mount` lies on.
pub(crate) fn open_by_handle(
    mount: BorrowedFd<'_>,
    handle: &[u8],
    flags: c_int,
) -> io::Result<OwnedFd> {
    let stale = || io::Error::from_raw_os_error(libc::ESTALE);
    let (kind, rest) = handle.split_first_chunk().ok_or_else(stale)?;
    let mut wanted = FileHandle {
        bytes: u32::try_from(rest.len()).map_err(|_| stale())?,
        kind: i32::from_le_bytes(*kind),
        handle: [0; HANDLE_MAX],
    };
    wanted.handle.get_mut(..rest.len()).ok_or_else(stale)?.copy_from_slice(rest);
    // SAFETY: `mount` is open, and the kernel reads the header and `bytes` <= `HANDLE_MAX` bytes behind it.
    let fd = check(unsafe {
        libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut wanted).cast(), flags)
    })?;
    // SAFETY: the successful call has opened `fd` for this process, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An exclusive `flock`, until the value is dropped.
///
/// nix' own guard panics where unlocking fails, and std has one only since 1.89.
#[derive(Debug)]
pub(crate) struct Locked(pub(crate) File);

impl Locked {
    /// Locks without waiting.
    pub(crate) fn take(file: File) -> io::Result<Self> {
        // SAFETY: `file` is open, and flock takes an int by value.
        check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })?;
        Ok(Self(file))
    }
}

impl Drop for Locked {
    /// Closing alone would keep the lock while a child that was just forked has the descriptor too.
    fn drop(&mut self) {
        // SAFETY: the file is open, and flock takes an int by value.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Makes the signal of a lease break harmless: its default action is to end the process.
pub(crate) fn ignore_sigio() -> io::Result<()> {
    // SAFETY: SIG_IGN installs no handler, so no code of ours runs in signal context.
    let before = unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The UUID from `FS_IOC_GETFSUUID` (Linux 6.9); `ENOTTY` if the filesystem does not report its UUID.
pub(crate) fn fs_uuid(fd: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    /// `struct fsuuid2`.
    #[repr(C)]
    struct FsUuid2 {
        len: u8,
        uuid: [u8; 16],
    }
    let mut arg = FsUuid2 { len: 0, uuid: [0; 16] };
    let request = nix::request_code_read!(0x15, 0, size_of::<FsUuid2>());
    // SAFETY: the kernel writes one `struct fsuuid2`, which `arg` mirrors.
    unsafe { ioctl(fd, request, &mut arg) }?;
    // A shorter one (FAT's 4 bytes) is no UUID.
    if arg.len == 16 { Ok(arg.uuid) } else { Err(io::Error::from_raw_os_error(libc::ENOTTY)) }
}

/// The UUID from `EXT4_IOC_GETFSUUID` (Linux 6.0).
pub(crate) fn ext4_uuid(fd: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    /// `struct fsuuid` with room for the UUID its flexible array ends in.
    #[repr(C)]
    struct FsUuid {
        len: u32,
        flags: u32,
        uuid: [u8; 16],
    }
    let mut arg = FsUuid { len: 16, flags: 0, uuid: [0; 16] };
    // The request encodes the header only: the array counts as 0 bytes.
    let request = nix::request_code_read!(b'f', 44, 2 * size_of::<u32>());
    // SAFETY: the kernel writes the 8-byte header and at most `len` = 16 bytes behind it.
    unsafe { ioctl(fd, request, &mut arg) }?;
    Ok(arg.uuid)
}

/// `struct xfs_fsop_geom_v1`.
#[repr(C, align(8))]
struct XfsGeometry {
    before: [u8; 64],
    uuid: [u8; 16],
    stripe: [u32; 2],
    version: u32,
    flags: u32,
    after: [u8; 16],
}

/// `XFS_IOC_FSGEOMETRY` in its oldest form, which every kernel answers.
fn xfs_geometry(fd: BorrowedFd<'_>) -> io::Result<XfsGeometry> {
    let mut arg = XfsGeometry {
        before: [0; 64],
        uuid: [0; 16],
        stripe: [0; 2],
        version: 0,
        flags: 0,
        after: [0; 16],
    };
    let request = nix::request_code_read!(b'X', 100, size_of::<XfsGeometry>());
    // SAFETY: the kernel writes one `struct xfs_fsop_geom_v1` of 112 bytes, the size of `arg`.
    unsafe { ioctl(fd, request, &mut arg) }?;
    Ok(arg)
}

/// The UUID of an xfs.
pub(crate) fn xfs_uuid(fd: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    xfs_geometry(fd).map(|geometry| geometry.uuid)
}

/// Whether an xfs was made so that files can share blocks (`reflink=1`).
pub(crate) fn xfs_has_reflinks(fd: BorrowedFd<'_>) -> io::Result<bool> {
    /// `XFS_FSOP_GEOM_FLAGS_REFLINK`.
    const REFLINK: u32 = 1 << 20;
    xfs_geometry(fd).map(|geometry| geometry.flags & REFLINK != 0)
}

/// The filesystem id from `BTRFS_IOC_FS_INFO`.
pub(crate) fn btrfs_uuid(fd: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    /// `struct btrfs_ioctl_fs_info_args`.
    #[repr(C, align(8))]
    struct FsInfo {
        before: [u8; 16],
        fsid: [u8; 16],
        after: [u8; 992],
    }
    let mut arg = FsInfo { before: [0; 16], fsid: [0; 16], after: [0; 992] };
    let request = nix::request_code_read!(0x94, 31, size_of::<FsInfo>());
    // SAFETY: the kernel writes one `struct btrfs_ioctl_fs_info_args` of 1024 bytes, the size of `arg`.
    unsafe { ioctl(fd, request, &mut arg) }?;
    Ok(arg.fsid)
}

/// The id of the btrfs subvolume that holds `fd`, from `BTRFS_IOC_INO_LOOKUP` on tree 0.
pub(crate) fn btrfs_subvolume(fd: BorrowedFd<'_>) -> io::Result<u64> {
    /// `BTRFS_FIRST_FREE_OBJECTID`: the root directory of any subvolume; no privilege is needed to ask for it.
    const ROOT_DIRECTORY: u64 = 256;
    /// `struct btrfs_ioctl_ino_lookup_args`.
    #[repr(C)]
    struct InoLookup {
        treeid: u64,
        objectid: u64,
        name: [u8; 4080],
    }
    let mut arg = InoLookup { treeid: 0, objectid: ROOT_DIRECTORY, name: [0; 4080] };
    let request = nix::request_code_readwrite!(0x94, 18, size_of::<InoLookup>());
    // SAFETY: the kernel reads and writes one `struct btrfs_ioctl_ino_lookup_args` of 4096 bytes, the size of `arg`.
    unsafe { ioctl(fd, request, &mut arg) }?;
    Ok(arg.treeid)
}

/// The project id and whether entries inherit it, from `FS_IOC_FSGETXATTR`.
pub(crate) fn project(fd: BorrowedFd<'_>) -> io::Result<(u32, bool)> {
    /// `FS_XFLAG_PROJINHERIT`.
    const INHERITS: u32 = 0x200;
    /// `struct fsxattr`.
    #[repr(C)]
    #[derive(Default)]
    struct FsXattr {
        flags: u32,
        extent_size: u32,
        extents: u32,
        project: u32,
        cow_extent_size: u32,
        padding: [u8; 8],
    }
    let mut arg = FsXattr::default();
    let request = nix::request_code_read!(b'X', 31, size_of::<FsXattr>());
    // SAFETY: the kernel writes one `struct fsxattr` of 28 bytes, which `arg` mirrors.
    unsafe { ioctl(fd, request, &mut arg) }?;
    Ok((arg.project, arg.flags & INHERITS != 0))
}

/// The encryption policy from `FS_IOC_GET_ENCRYPTION_POLICY_EX`; no key is needed to ask for it.
pub(crate) fn encryption_policy(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    /// The longest policy so far has 24 bytes.
    const POLICY_MAX: usize = 64;
    /// `struct fscrypt_get_policy_ex_arg`.
    #[repr(C)]
    struct PolicyEx {
        size: u64,
        policy: [u8; POLICY_MAX],
    }
    let mut arg = PolicyEx { size: POLICY_MAX as u64, policy: [0; POLICY_MAX] };
    // The request encodes the size and the version only.
    let request = nix::request_code_readwrite!(b'f', 22, 9);
    // SAFETY: the kernel reads the size, and writes it and at most so many bytes of the policy behind it.
    unsafe { ioctl(fd, request, &mut arg) }?;
    let size = usize::try_from(arg.size).unwrap_or(POLICY_MAX).min(POLICY_MAX);
    Ok(arg.policy[..size].to_vec())
}

/// The argument of the inode flag ioctls: encoded as a long, but read and written as an int.
#[repr(C)]
struct InodeFlags {
    flags: u32,
    rest: [u8; size_of::<c_long>() - size_of::<c_int>()],
}

impl InodeFlags {
    const fn new(flags: u32) -> Self {
        Self { flags, rest: [0; size_of::<c_long>() - size_of::<c_int>()] }
    }
}

/// `FS_IOC_GETFLAGS`: what `lsattr` shows.
pub(crate) fn inode_flags(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut arg = InodeFlags::new(0);
    let request = nix::request_code_read!(b'f', 1, size_of::<c_long>());
    // SAFETY: the kernel writes an int, or at most the long that the request encodes.
    unsafe { ioctl(fd, request, &mut arg) }?;
    Ok(arg.flags)
}

/// `FS_IOC_SETFLAGS`: what `chattr` does.
pub(crate) fn set_inode_flags(fd: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    let mut arg = InodeFlags::new(flags);
    let request = nix::request_code_write!(b'f', 2, size_of::<c_long>());
    // SAFETY: the kernel reads an int, or at most the long that the request encodes.
    unsafe { ioctl(fd, request, &mut arg) }
}

/// `ioctl(2)` with a pointer to `arg`.
///
/// # Safety
/// `request` must read and write nothing beyond a `T`, and leave a valid `T` behind.
unsafe fn ioctl<T>(fd: BorrowedFd<'_>, request: ioctl_num_type, arg: &mut T) -> io::Result<()> {
    // SAFETY: `fd` is open, `arg` is exclusively borrowed, and the caller vouches for the request.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(arg)) }).map(drop)
}

fn check(rc: c_int) -> io::Result<c_int> {
    if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

/// Lets all threads share the allocator's memory: otherwise memory freed by a thread is of no use to other threads.
pub(crate) fn share_memory() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: `mallopt` takes two numbers, and locks what it changes.
        let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        tracing::trace!(taken, "one arena");
    }
}

/// Returns freed memory to the machine, however the freed memory lies.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: `malloc_trim` takes a number, and touches only memory that no code owns.
        let given_back = unsafe { libc::malloc_trim(0) };
        tracing::trace!(given_back, "memory");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn request_codes_are_those_of_the_kernel_headers() {
        for (ours, kernel) in [
            (nix::request_code_read!(0x15, 0, 17), 0x8011_1500),
            (nix::request_code_read!(b'f', 44, 8), 0x8008_662c),
            (nix::request_code_read!(b'X', 100, 112), 0x8070_5864),
            (nix::request_code_read!(0x94, 31, 1024), 0x8400_941f),
            (nix::request_code_readwrite!(0x94, 18, 4096), 0xd000_9412),
            (nix::request_code_readwrite!(b'f', 11, 32), 0xc020_660b),
            (nix::request_code_read!(b'X', 31, 28), 0x801c_581f),
            (nix::request_code_readwrite!(0x94, 54, 24), 0xc018_9436),
            (nix::request_code_readwrite!(b'f', 22, 9), 0xc009_6616),
        ] {
            assert_eq!(ours, kernel, "{kernel:#x}");
        }
    }

    #[test]
    fn statx_of_a_descriptor_agrees_with_fstat() {
        let dir = File::open("/").unwrap();
        let (found, expected) = (statx(dir.as_fd()).unwrap(), dir.metadata().unwrap());
        assert_eq!(found.stx_ino, expected.ino());
        assert_eq!(u64::from(found.stx_nlink), expected.nlink());
        assert_ne!(found.stx_mask & libc::STATX_MNT_ID, 0);
    }

    #[test]
    fn a_lease_break_signal_does_not_end_the_process() {
        ignore_sigio().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGIO).unwrap();
    }
}
