//! Clone path: one directory made like another, in an order in which no step undoes an earlier one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::sys::stat::{Mode, fchmod, futimens};
use nix::unistd::{Gid, Uid, fchown};
use xattr::FileExt;

use super::super::Metadata;
use super::dir::remove_xattr;
use super::file::{ACCESS_ACL, DEFAULT_ACL, all_xattrs};
use super::root::stat_of;
use crate::sys;

/// The inode flags that a file or directory can be given: compression, sync and atime behaviour, no copy-on-write, no
/// dump. Never immutable or append-only: nothing could be made in it any more.
const CLONED_FLAGS: u32 = 0x0000_0001 // secure deletion
    | 0x0000_0002 // undeletable
    | 0x0000_0004 // compressed
    | 0x0000_0008 // synchronous
    | 0x0000_0040 // no dump
    | 0x0000_0080 // no atime
    | 0x0000_0400 // not compressed
    | 0x0000_4000 // journalled data
    | 0x0000_8000 // no tail merging
    | 0x0001_0000 // synchronous directory
    | 0x0002_0000 // top of a hierarchy
    | 0x0080_0000; // no copy-on-write

/// The action that failed.
type Step<T> = Result<T, (&'static str, io::Error)>;

fn step<T>(call: &'static str, done: io::Result<T>) -> Step<T> {
    done.map_err(|error| (call, error))
}

/// Copies the owner, ACLs, extended attributes, flags, mode, and if asked for `times` of `from` to `to`.
pub(super) fn directory(from: &File, to: &File, times: bool) -> Step<()> {
    let source = step("look at the directory cloned to", stat_of(from.as_fd()))?;
    // The owner first: a change of owner can take setuid and setgid away.
    step("give its owner to directory", own(source.uid, source.gid, to))?;
    step("give its extended attributes to directory", clone_xattrs(from, to))?;
    clone_flags(from, to);
    // After the ACL, which changes the group bits, with setgid and sticky, which mkdir and mergerfs drop.
    step("give its mode to directory", set_mode(source.mode, to))?;
    if !times {
        return Ok(());
    }
    let times = futimens(to, &source.atime.into(), &source.mtime.into());
    step("give its times to directory", times.map_err(io::Error::from))
}

/// Sets a file's owner, ACL, extended attributes and mode to those of `wanted`; removes all the file has on top.
pub(super) fn file(to: &File, wanted: &Metadata) -> Step<()> {
    // The owner first: a change of owner takes setuid, setgid and file capabilities away.
    step("give its owner to", own(wanted.uid, wanted.gid, to))?;
    step("give its extended attributes to", set_xattrs(&wanted_xattrs(wanted), to))?;
    // After the ACL, which changes the group bits.
    step("give its mode to", set_mode(wanted.mode, to))
}

fn wanted_xattrs(wanted: &Metadata) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = wanted.xattrs.clone();
    all.extend(wanted.acl.clone().map(|acl| (ACCESS_ACL.to_vec(), acl)));
    all
}

fn set_xattrs(wanted: &BTreeMap<Vec<u8>, Vec<u8>>, to: &File) -> io::Result<()> {
    let target = all_xattrs(to)?;
    // The attributes the file inherited from its directory: an ACL, a label.
    for name in target.keys().filter(|name| !wanted.contains_key(*name)) {
        forgive_label(name, remove_xattr(to, name))?;
    }
    for (name, value) in wanted {
        if target.get(name) != Some(value) {
            forgive_label(name, to.set_xattr(OsStr::from_bytes(name), value))?;
        }
    }
    Ok(())
}

fn own(uid: u32, gid: u32, to: &File) -> io::Result<()> {
    let target = stat_of(to.as_fd())?;
    if (target.uid, target.gid) == (uid, gid) {
        return Ok(());
    }
    Ok(fchown(to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

fn set_mode(mode: u32, to: &File) -> io::Result<()> {
    fchmod(to, Mode::from_bits_truncate(mode))?;
    // The kernel drops setgid silently where the caller is not in the group.
    if stat_of(to.as_fd())?.mode == mode {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }
}

fn clone_xattrs(from: &File, to: &File) -> io::Result<()> {
    let (source, target) = (cloned_xattrs(from)?, cloned_xattrs(to)?);
    // An ACL that the source lacks would be handed down to everything made in there.
    for name in target.keys().filter(|name| !source.contains_key(*name)) {
        forgive_label(name, remove_xattr(to, name))?;
    }
    for (name, value) in &source {
        if target.get(name) != Some(value) {
            forgive_label(name, to.set_xattr(OsStr::from_bytes(name), value))?;
        }
    }
    Ok(())
}

fn cloned_xattrs(dir: &File) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = all_xattrs(dir)?;
    found.retain(|name, _| is_cloned(name));
    Ok(found)
}

/// mergerfs' own markers say something about one branch; other namespaces belong to one filesystem.
fn is_cloned(name: &[u8]) -> bool {
    let own_namespace = [&b"user."[..], b"trusted.", b"security."];
    name == ACCESS_ACL
        || name == DEFAULT_ACL
        || (own_namespace.iter().any(|prefix| name.starts_with(prefix))
            && !name.starts_with(b"user.mergerfs."))
}

/// A security label is the kernel's to give: where it refuses one, its policy has chosen another.
fn forgive_label(name: &[u8], done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e)
            if name.starts_with(b"security.")
                && matches!(
                    e.raw_os_error(),
                    Some(libc::EOPNOTSUPP | libc::EPERM | libc::EACCES)
                ) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// Best effort: filesystems know different flags, and no flag is about the contents.
fn clone_flags(from: &File, to: &File) {
    let cloned = sys::inode_flags(from.as_fd()).and_then(|flags| set_flags(to, flags));
    if let Err(error) = cloned {
        tracing::debug!(%error, "inode flags not cloned");
    }
}

/// Gives `to` those of `flags` that a file or directory can be given.
pub(super) fn set_flags(to: &File, flags: u32) -> io::Result<()> {
    let mut before = sys::inode_flags(to.as_fd())?;
    let wanted = (before & !CLONED_FLAGS) | (flags & CLONED_FLAGS);
    // First without those that it inherited: no btrfs goes from no copy-on-write to compression at once.
    for next in [before & wanted, wanted] {
        if next != before {
            sys::set_inode_flags(to.as_fd(), next)?;
            before = next;
        }
    }
    Ok(())
}
