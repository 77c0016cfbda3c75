//! The actions of other programs through the pool, resolved and carried out as mergerfs does.
//!
//! None of these actions count as calls: the actions happen between two calls ([`super::Fault::ForeignAt`]).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::fs::{InodeId, Place};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, BranchMode};

use super::SimWorld;
use super::faults::shown;
use super::image::{Attrs, Content, Ino, Sys, What};
use super::open::{Acknowledged, Client, Errand, Open};
use super::state::State;

/// The result of a client's open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The open is done.
    AtOnce,
    /// The open waits for a lease to end, and goes on then.
    Waiting,
}

/// A file a client has open, or waits to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId(u64);

/// The path that `path` has once `from`, a directory above it, is renamed to `to`.
fn moved(path: &RelPath, from: &RelPath, to: &RelPath) -> Option<RelPath> {
    let rest = path.as_bytes().strip_prefix(from.as_bytes())?;
    let rest = rest.strip_prefix(b"/")?;
    to.join(OsStr::from_bytes(rest)).ok()
}

impl State {
    fn indices(&self) -> impl Iterator<Item = BranchIdx> + use<> {
        (0..u16::try_from(self.branches.len()).unwrap_or(u16::MAX)).map(BranchIdx)
    }

    /// The branches that have `path`, in branch order.
    fn places(&self, path: &RelPath) -> Vec<Place> {
        let all = self.indices().map(|branch| Place::new(branch, path.clone()));
        all.filter(|at| self.find(at).is_ok()).collect()
    }

    /// The branches that have `path` and that mergerfs lets clients change.
    fn changeable_places(&self, path: &RelPath) -> Vec<Place> {
        let mut places = self.places(path);
        places.retain(|at| self.branches[at.branch.index()].mode != BranchMode::Ro);
        places
    }

    /// The inode that an open of the pool path reaches. Since mergerfs 2.41 a path that a client has open already leads
    /// to the open inode, even if the path has another inode on the branch by now (facts 4.7).
    fn reached(&self, path: &RelPath) -> Sys<(usize, Ino, Place)> {
        let shared = self.opens.values().find(|open| {
            let client = open.client.as_ref();
            client.is_some_and(|c| !c.detached && !c.waits && c.path == *path)
        });
        if let Some(open) = shared {
            return Ok((open.disk, open.ino, open.at.clone()));
        }
        let at = self.places(path).into_iter().next().ok_or(libc::ENOENT)?;
        let (disk, ino) = self.find(&at)?;
        Ok((disk, ino, at))
    }

    fn client_open(&mut self, path: &RelPath, writes: bool, errand: Errand) -> Sys<(u64, Served)> {
        let (disk, ino, at) = self.reached(path)?;
        match self.node(disk, ino).content {
            Content::File(_) => {}
            Content::Dir(_) => return Err(libc::EISDIR),
            Content::Symlink | Content::Other => return Err(libc::EINVAL),
        }
        if writes && self.branches[at.branch.index()].read_only {
            return Err(libc::EROFS);
        }
        if writes && self.node(disk, ino).attrs.immutable {
            return Err(libc::EPERM);
        }
        let waits = self.break_leases(disk, ino, writes);
        let mut open = Open::new(disk, ino, at);
        open.writes = writes;
        open.client = Some(Client { path: path.clone(), errand, waits, detached: false });
        let id = self.opened(open);
        if waits {
            return Ok((id, Served::Waiting));
        }
        self.go_on(id);
        Ok((id, Served::AtOnce))
    }

    /// New opens of the pool path no longer share the open file: a client removed or replaced it through the pool.
    fn detach(&mut self, path: &RelPath) {
        for client in self.opens.values_mut().filter_map(|open| open.client.as_mut()) {
            client.detached |= client.path == *path;
        }
    }

    fn client_remove(&mut self, path: &RelPath) -> Sys<()> {
        let places = self.changeable_places(path);
        if places.is_empty() {
            return Err(if self.places(path).is_empty() { libc::ENOENT } else { libc::EROFS });
        }
        for at in places {
            self.unlink(&at)?;
        }
        self.detach(path);
        Ok(())
    }

    fn client_create(&mut self, at: &Place, bytes: &[u8], acknowledged_as: &RelPath) -> Sys<()> {
        self.make_dirs(&at.dir())?;
        let (disk, ino) = self.make(at, Content::File(Vec::new()), 0o644)?;
        self.write(disk, ino, bytes.to_vec());
        self.acknowledged.push(Acknowledged {
            path: acknowledged_as.clone(),
            id: self.id(disk, ino),
            bytes: bytes.to_vec(),
            synced: false,
        });
        Ok(())
    }

    fn client_write_apart(&mut self, path: &RelPath, bytes: &[u8]) -> Sys<()> {
        let (_, _, at) = self.reached(path)?;
        let aside = at.path.sibling(".cow.tmp").map_err(|_| libc::EINVAL)?;
        let aside = Place::new(at.branch, aside);
        self.client_create(&aside, bytes, path)?;
        self.rename_over(&aside, &at)
    }

    fn client_save(&mut self, at: &Place, bytes: &[u8]) -> Sys<()> {
        let aside = at.path.sibling(".save.tmp").map_err(|_| libc::EINVAL)?;
        let aside = Place::new(at.branch, aside);
        self.client_create(&aside, bytes, &at.path)?;
        self.client_rename(&aside.path, &at.path)
    }

    fn client_rename(&mut self, from: &RelPath, to: &RelPath) -> Sys<()> {
        let sources = self.changeable_places(from);
        if sources.is_empty() {
            return Err(libc::ENOENT);
        }
        for at in &sources {
            let over = Place::new(at.branch, to.clone());
            self.make_dirs(&over.dir())?;
            self.rename_over(at, &over)?;
        }
        for at in self.changeable_places(to) {
            if !sources.iter().any(|source| source.branch == at.branch) {
                match self.unlink(&at) {
                    Err(libc::EISDIR) => self.remove_dir(&at)?,
                    removed => removed?,
                }
            }
        }
        self.detach(from);
        self.detach(to);
        self.move_opens_below(from, to);
        Ok(())
    }

    /// Changes the paths of the files that clients have open below a renamed directory.
    fn move_opens_below(&mut self, from: &RelPath, to: &RelPath) {
        let opens = self.opens.values_mut();
        for client in opens.filter_map(|open| open.client.as_mut()) {
            if let Some(moved) = moved(&client.path, from, to) {
                client.path = moved;
            }
        }
    }

    /// Removes the directory where it is empty; an error where it is not, all the same.
    fn client_rmdir(&mut self, path: &RelPath) -> Sys<()> {
        let places = self.changeable_places(path);
        if places.is_empty() {
            return Err(libc::ENOENT);
        }
        let done: Vec<Sys<()>> = places.iter().map(|at| self.remove_dir(at)).collect();
        done.into_iter().collect()
    }

    /// `rm -r`: every name that the pool lists below it, and then the directories.
    fn client_remove_tree(&mut self, path: &RelPath) -> Sys<()> {
        let mut names = BTreeSet::new();
        for at in self.changeable_places(path) {
            let (disk, dir) = self.find_dir(&at)?;
            let entries = self.node(disk, dir).entries()?;
            names.extend(entries.keys().cloned());
        }
        for name in names {
            let below = path.join(OsStr::from_bytes(&name)).map_err(|_| libc::EINVAL)?;
            match self.client_remove(&below) {
                Err(libc::EISDIR) => self.client_remove_tree(&below)?,
                removed => removed?,
            }
        }
        self.client_rmdir(path)
    }

    /// On every branch that has `from`, the directories of `to` made where they are missing.
    fn client_link(&mut self, from: &RelPath, to: &RelPath) -> Sys<()> {
        if !self.places(to).is_empty() {
            return Err(libc::EEXIST);
        }
        let sources = self.changeable_places(from);
        if sources.is_empty() {
            return Err(libc::ENOENT);
        }
        for at in sources {
            let name = Place::new(at.branch, to.clone());
            self.make_dirs(&name.dir())?;
            let (disk, ino) = self.find(&at)?;
            let mount = self.branches[at.branch.index()].mount;
            self.link(disk, ino, mount, &name)?;
        }
        self.detach(to);
        Ok(())
    }

    /// The disk and inode that the pool shows at a path.
    fn pool_inode(&self, path: &RelPath) -> Sys<(usize, Ino)> {
        let at = self.places(path).into_iter().next().ok_or(libc::ENOENT)?;
        self.find(&at)
    }

    fn one_inode(&self, a: &RelPath, b: &RelPath) -> Sys<bool> {
        Ok(self.pool_inode(a)? == self.pool_inode(b)?)
    }

    /// `ln -f` of coreutils: links beside the target, renames over it, and unlinks what the rename left.
    fn client_link_over(&mut self, from: &RelPath, to: &RelPath) -> Sys<()> {
        if self.places(to).is_empty() {
            return self.client_link(from, to);
        }
        if self.one_inode(from, to)? {
            return Ok(());
        }
        let aside = to.sibling("CuXXXXXX").map_err(|_| libc::EINVAL)?;
        self.client_link(from, &aside)?;
        self.client_rename(&aside, to)?;
        match self.client_remove(&aside) {
            Err(libc::ENOENT) => Ok(()),
            removed => removed,
        }
    }

    /// `mv` of coreutils: of two names of one file it unlinks the source.
    fn client_mv(&mut self, from: &RelPath, to: &RelPath) -> Sys<()> {
        if !self.places(to).is_empty() && self.one_inode(from, to)? {
            self.client_remove(from)
        } else {
            self.client_rename(from, to)
        }
    }

    /// On all copies.
    fn client_alter(&mut self, path: &RelPath, change: impl Fn(&mut Attrs)) -> Sys<()> {
        let places = self.changeable_places(path);
        if places.is_empty() {
            return Err(libc::ENOENT);
        }
        places.iter().try_for_each(|at| self.alter(at, &change))
    }

    fn client_sync(&mut self, path: &RelPath) -> Sys<()> {
        let (disk, ino, at) = self.reached(path)?;
        self.disks[disk].sync_data(ino);
        if let Ok((disk, dir)) = self.find_dir(&at.dir()) {
            self.disks[disk].sync_dir(dir);
        }
        let id = self.id(disk, ino);
        for write in self.acknowledged.iter_mut().filter(|write| write.id == id) {
            write.synced = true;
        }
        Ok(())
    }

    fn held(&self, id: ClientId) -> Sys<(usize, Ino, RelPath)> {
        let open = self.opens.get(&id.0).ok_or(libc::EBADF)?;
        match &open.client {
            Some(client) if !client.waits => Ok((open.disk, open.ino, client.path.clone())),
            Some(_) | None => Err(libc::EBADF),
        }
    }
}

impl SimWorld {
    fn client<T>(&self, line: &str, act: impl FnOnce(&mut State) -> Sys<T>) -> io::Result<T> {
        let done = act(&mut self.state()).map_err(io::Error::from_raw_os_error);
        let how = done.as_ref().map_or_else(|err| format!(" = {err}"), |_| String::new());
        self.note(&format!("client: {line}{how}"));
        done
    }

    /// Opens the pool path for writing, replaces the contents in place and closes it. Acknowledged when done.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_write(&self, path: &RelPath, bytes: &[u8]) -> io::Result<Served> {
        let errand = Errand::Write(bytes.to_vec());
        let open = self.client(&format!("write {path:?}"), |s| s.client_open(path, true, errand));
        open.map(|(_, served)| served)
    }

    /// The same, and sets the file's mtime back to what it was: tag editors, `rsync --inplace -t`.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_write_keeping_times(&self, path: &RelPath, bytes: &[u8]) -> io::Result<Served> {
        let errand = Errand::WriteKeepingTimes(bytes.to_vec());
        let what = format!("write {path:?} and set its times back");
        let open = self.client(&what, |s| s.client_open(path, true, errand));
        open.map(|(_, served)| served)
    }

    /// Writes to a file with several names, under the option `link-cow`: mergerfs gives the path a file of its own, on the
    /// branch that it was found on, and touches no other branch.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_write_apart(&self, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
        self.client(&format!("write {path:?}, its link broken"), |state| {
            state.client_write_apart(path, bytes)
        })
    }

    /// `truncate`: cuts or extends the file in place. Acknowledged when done.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_truncate(&self, path: &RelPath, size: usize) -> io::Result<Served> {
        let errand = Errand::Truncate(size);
        let open =
            self.client(&format!("truncate {path:?}"), |s| s.client_open(path, true, errand));
        open.map(|(_, served)| served)
    }

    /// Opens the pool path for reading and keeps it open.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_open_read(&self, path: &RelPath) -> io::Result<(ClientId, Served)> {
        self.client_hold(path, false)
    }

    /// Opens the pool path for writing and keeps it open.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_open_write(&self, path: &RelPath) -> io::Result<(ClientId, Served)> {
        self.client_hold(path, true)
    }

    fn client_hold(&self, path: &RelPath, writes: bool) -> io::Result<(ClientId, Served)> {
        let line = format!("open {path:?} for {}", if writes { "writing" } else { "reading" });
        let open = self.client(&line, |state| state.client_open(path, writes, Errand::Hold));
        open.map(|(id, served)| (ClientId(id), served))
    }

    /// Replaces the contents of a file that is held. Acknowledged.
    ///
    /// # Errors
    /// `EBADF` if the file is not open, or if its open still waits.
    pub fn client_write_held(&self, id: ClientId, bytes: &[u8]) -> io::Result<()> {
        self.client("write to the open file", |state| {
            let (disk, ino, path) = state.held(id)?;
            state.write(disk, ino, bytes.to_vec());
            let write = Acknowledged {
                path,
                id: state.id(disk, ino),
                bytes: bytes.to_vec(),
                synced: false,
            };
            state.acknowledged.push(write);
            Ok(())
        })
    }

    /// Stores through a shared mapping whose page was dirty before: no time moves (facts 13.10). Acknowledged.
    ///
    /// # Errors
    /// `EBADF` if the file is not open, or if its open still waits.
    pub fn client_store_mapped(&self, id: ClientId, bytes: &[u8]) -> io::Result<()> {
        self.client("store through a mapping", |state| {
            let (disk, ino, path) = state.held(id)?;
            let at = state.tick();
            let bytes = bytes.to_vec();
            state.disks[disk].change(What::Data { ino, bytes: bytes.clone(), quiet: true }, at);
            let write = Acknowledged { path, id: state.id(disk, ino), bytes, synced: false };
            state.acknowledged.push(write);
            Ok(())
        })
    }

    /// The contents of a held file now.
    ///
    /// # Errors
    /// `EBADF` if the file is not open, or if its open still waits.
    pub fn client_read_held(&self, id: ClientId) -> io::Result<Vec<u8>> {
        let state = self.state();
        let held = state.held(id).map_err(io::Error::from_raw_os_error);
        held.map(|(disk, ino, _)| state.node(disk, ino).data().to_vec())
    }

    /// Closes a file that is held.
    pub fn client_close(&self, id: ClientId) {
        self.note("client: close");
        self.state().close(id.0);
    }

    /// `fsync` of the file and its directory: what was acknowledged on it outlives a power loss.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_sync(&self, path: &RelPath) -> io::Result<()> {
        self.client(&format!("fsync {path:?}"), |state| state.client_sync(path))
    }

    /// Removes the pool path, on every branch that mergerfs may change.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_remove(&self, path: &RelPath) -> io::Result<()> {
        self.client(&format!("remove {path:?}"), |state| state.client_remove(path))
    }

    /// A program that works on the disk itself removes the name `at`.
    ///
    /// # Errors
    /// As `unlink`.
    pub fn client_remove_at(&self, at: &Place) -> io::Result<()> {
        self.client(&format!("remove {}", shown(at)), |state| state.unlink(at))
    }

    /// Saves a file as editors do: a new one beside it on branch `at.branch`, where the create policy put it, renamed
    /// over the pool path, other copies removed. Acknowledged.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_save(&self, at: &Place, bytes: &[u8]) -> io::Result<()> {
        self.client(&format!("save {}", shown(at)), |state| state.client_save(at, bytes))
    }

    /// Creates a new file on branch `at.branch`, where the create policy put it. Acknowledged.
    ///
    /// # Errors
    /// `EEXIST` where some branch has it; as Linux and mergerfs.
    pub fn client_create(&self, at: &Place, bytes: &[u8]) -> io::Result<()> {
        self.client(&format!("create {}", shown(at)), |state| {
            if !state.places(&at.path).is_empty() {
                return Err(libc::EEXIST);
            }
            state.client_create(at, bytes, &at.path)
        })
    }

    /// Renames a pool path, over another if that exists.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        self.client(&format!("rename {from:?} -> {to:?}"), |state| state.client_rename(from, to))
    }

    /// Renames a file to a free path on its branch, beside mergerfs: what a mover does, or a person who works on a disk.
    ///
    /// # Errors
    /// As Linux.
    pub fn disk_rename(&self, at: &Place, to: &RelPath) -> io::Result<()> {
        self.client(&format!("on the disk, rename {} -> {to:?}", shown(at)), |state| {
            state.rename_over(at, &Place::new(at.branch, to.clone()))?;
            state.detach(&at.path);
            Ok(())
        })
    }

    /// Creates a new file on branch `at.branch` whatever other branches have: on the disk, or by mergerfs where it
    /// missed the path. Acknowledged.
    ///
    /// # Errors
    /// As Linux.
    pub fn disk_create(&self, at: &Place, bytes: &[u8]) -> io::Result<()> {
        self.client(&format!("on the disk, create {}", shown(at)), |state| {
            state.client_create(at, bytes, &at.path)
        })
    }

    /// `mv` of coreutils, which unlinks the source where both are names of one file.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_mv(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        self.client(&format!("mv {from:?} {to:?}"), |state| state.client_mv(from, to))
    }

    /// Links a pool path to a name that is free, on every branch that has the path.
    ///
    /// # Errors
    /// `EEXIST` where some branch has it; as Linux and mergerfs.
    pub fn client_link(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        self.client(&format!("link {from:?} -> {to:?}"), |state| state.client_link(from, to))
    }

    /// `ln -f` of coreutils: does nothing if both are names of one file.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_link_over(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        self.client(&format!("ln -f {from:?} {to:?}"), |state| state.client_link_over(from, to))
    }

    /// `ln -s`: makes a symlink to the pool path `to`, on branch `at.branch`, where the create policy put it. No path
    /// leads through it here: a client says where it goes.
    ///
    /// # Errors
    /// `EEXIST` where some branch has it; as Linux and mergerfs.
    pub fn client_symlink(&self, to: &RelPath, at: &Place) -> io::Result<()> {
        self.client(&format!("symlink {to:?} <- {}", shown(at)), |state| {
            if !state.places(&at.path).is_empty() {
                return Err(libc::EEXIST);
            }
            state.make_dirs(&at.dir())?;
            state.make(at, Content::Symlink, 0o777).map(drop)
        })
    }

    /// Makes a directory on branch `at.branch`, where the create policy put it.
    ///
    /// # Errors
    /// `EEXIST` where some branch has it; as Linux and mergerfs.
    pub fn client_mkdir(&self, at: &Place) -> io::Result<()> {
        self.client(&format!("mkdir {}", shown(at)), |state| {
            if !state.places(&at.path).is_empty() {
                return Err(libc::EEXIST);
            }
            state.make_dirs(at)
        })
    }

    /// Removes a directory on every branch where it is empty.
    ///
    /// # Errors
    /// `ENOTEMPTY` where it is not empty on some branch; as Linux and mergerfs.
    pub fn client_rmdir(&self, path: &RelPath) -> io::Result<()> {
        self.client(&format!("rmdir {path:?}"), |state| state.client_rmdir(path))
    }

    /// `rm -r`: removes everything that the pool lists below a directory, hidden names too, and the directory.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_remove_tree(&self, path: &RelPath) -> io::Result<()> {
        self.client(&format!("rm -r {path:?}"), |state| state.client_remove_tree(path))
    }

    /// Changes the mode of the pool path.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_chmod(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        self.client(&format!("chmod {path:?}"), |state| {
            state.client_alter(path, |attrs| attrs.meta.mode = mode)
        })
    }

    /// Sets an extended attribute of the pool path.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_setxattr(&self, path: &RelPath, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.client(&format!("setxattr {path:?}"), |state| {
            state.client_alter(path, |attrs| {
                attrs.meta.xattrs.insert(name.to_vec(), value.to_vec());
            })
        })
    }

    /// The writes reported to clients as successful, oldest first; after a power loss only the writes clients synced.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.state().acknowledged.clone()
    }

    /// Returns the inode and the contents for a client that opens the pool path now.
    ///
    /// # Errors
    /// As Linux and mergerfs.
    pub fn client_read(&self, path: &RelPath) -> io::Result<(InodeId, Vec<u8>)> {
        let state = self.state();
        let (disk, ino, _) = state.reached(path).map_err(io::Error::from_raw_os_error)?;
        Ok((state.id(disk, ino), state.node(disk, ino).data().to_vec()))
    }
}
