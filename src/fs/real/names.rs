//! Making, moving and removing names.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::super::{FileKind, InodeId};
use super::root::{Root, proc_path, stat_of};
use crate::pool::relpath::RelPath;
use crate::sys;

/// Adds a name to an open file.
pub(super) fn link(file: BorrowedFd<'_>, root: &Root, to: &RelPath) -> io::Result<()> {
    let (dir, name) = root.parent(to)?;
    link_at(file, &dir, name)
}

/// By `/proc`, since `AT_EMPTY_PATH` needs a capability.
fn link_at(file: BorrowedFd<'_>, dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let open = proc_path(file);
    Ok(linkat(AT_FDCWD, open.as_path(), dir, name, AtFlags::AT_SYMLINK_FOLLOW)?)
}

/// Renames, never over anything.
pub(super) fn rename_noreplace(root: &Root, from: &RelPath, to: &RelPath) -> io::Result<()> {
    in_both(root, from, to, |from, to| {
        match sys::rename_with(named(from), named(to), libc::RENAME_NOREPLACE) {
            Err(Errno::EINVAL | Errno::ENOSYS) => move_by_link(from, to),
            renamed => Ok(renamed?),
        }
    })
}

type Name<'n> = (&'n OwnedFd, &'n OsStr);

fn named<'n>((dir, name): Name<'n>) -> sys::Name<'n> {
    (dir.as_fd(), name)
}

/// Does something with two names. Looks up two names of one directory in *one* open directory: if the directory were
/// looked up twice, another user's directory could be swapped in between the lookups, and a file of one owner would
/// end in the directory of another owner.
fn in_both(
    root: &Root,
    a: &RelPath,
    b: &RelPath,
    act: impl FnOnce(Name<'_>, Name<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let (a_dir, a_name) = root.parent(a)?;
    if a.parent() == b.parent() {
        return act((&a_dir, a_name), (&a_dir, b.file_name()));
    }
    let (b_dir, b_name) = root.parent(b)?;
    act((&a_dir, a_name), (&b_dir, b_name))
}

/// `RENAME_NOREPLACE` for a filesystem that does not know it: link to the new name, then unlink the old one.
///
/// Whatever another program does to the old name in between, the result is as if the other program had acted wholly
/// before or wholly after this rename. A directory cannot be linked: `EINVAL`, since a plain rename could replace an
/// empty directory.
pub(super) fn move_by_link(
    (from_dir, from): (&OwnedFd, &OsStr),
    (to_dir, to): (&OwnedFd, &OsStr),
) -> io::Result<()> {
    let held = hold(from_dir, from)?;
    let before = stat_of(held.as_fd())?;
    if before.kind != FileKind::Regular {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    link_at(held.as_fd(), to_dir, to)?;
    match identity_at(from_dir, from)? {
        Some(now) if now == before.id => Ok(unlinkat(from_dir, from, UnlinkatFlags::NoRemoveDir)?),
        // Another program put another file there: that change comes after the rename.
        Some(_) => Ok(()),
        // Another program removed the file first: then there was nothing to rename.
        None => {
            if identity_at(to_dir, to)? == Some(before.id) {
                unlinkat(to_dir, to, UnlinkatFlags::NoRemoveDir)?;
            }
            Err(io::Error::from_raw_os_error(libc::ENOENT))
        }
    }
}

fn hold(dir: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

fn identity_at(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<InodeId>> {
    match hold(dir, name) {
        Err(Errno::ENOENT) => Ok(None),
        held => Ok(Some(stat_of(held?.as_fd())?.id)),
    }
}

pub(super) fn exchange(root: &Root, a: &RelPath, b: &RelPath) -> io::Result<()> {
    in_both(root, a, b, |a, b| Ok(sys::rename_with(named(a), named(b), libc::RENAME_EXCHANGE)?))
}

pub(super) fn unlink(root: &Root, path: &RelPath) -> io::Result<()> {
    let (dir, name) = root.parent(path)?;
    Ok(unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir)?)
}

pub(super) fn remove_dir(root: &Root, path: &RelPath) -> io::Result<()> {
    let (dir, name) = root.parent(path)?;
    Ok(unlinkat(&dir, name, UnlinkatFlags::RemoveDir)?)
}
