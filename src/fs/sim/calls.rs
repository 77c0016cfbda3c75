//! [`Look`] and [`Change`] over a world: each call counted, then done to the state.

use std::time::Duration;

use crate::fs::{
    Change, Comings, Handle, InodeId, Lease, Look, MadeDir, Metadata, Pin, Place, Result, Stat,
    Timestamp,
};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

use super::faults::Call;
use super::image::{Attrs, Content, Ino, Sys};
use super::open::Open;
use super::state::State;
use super::{SimFile, SimFs};

/// How many bytes files come to share in one call.
const SHARED_AT_ONCE: u64 = 8;

impl State {
    pub(super) fn stat(&self, disk: usize, ino: Ino, mount: u64) -> Stat {
        let node = self.node(disk, ino);
        let size = node.data().len() as u64;
        Stat {
            id: self.id(disk, ino),
            mount,
            kind: node.kind(),
            mode: node.attrs.meta.mode,
            uid: node.attrs.meta.uid,
            gid: node.attrs.meta.gid,
            nlink: if self.disks[disk].is_dead_dir(ino) { 0 } else { node.nlink },
            size,
            blocks: size.div_ceil(4096) * 8,
            mtime: node.attrs.mtime,
            ctime: node.attrs.ctime,
            atime: node.attrs.atime,
            btime: Some(node.attrs.btime),
            immutable: node.attrs.immutable,
            encrypted: false,
        }
    }

    fn stat_at(&self, at: &Place) -> Sys<Option<Stat>> {
        match self.find(at) {
            Ok((disk, ino)) => Ok(Some(self.stat(disk, ino, self.mount(at)))),
            Err(libc::ENOENT | libc::ENOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn mount(&self, at: &Place) -> u64 {
        self.branches[at.branch.index()].mount
    }

    fn open(&mut self, at: &Place) -> Sys<u64> {
        let (disk, ino) = self.find(at)?;
        match self.node(disk, ino).content {
            Content::File(_) => {}
            Content::Symlink => return Err(libc::ELOOP),
            Content::Dir(_) | Content::Other => return Err(libc::EINVAL),
        }
        // O_NONBLOCK: it does not wait for the lease to end, but the holder sees it broken all the same.
        if self.break_leases(disk, ino, false) {
            return Err(libc::EAGAIN);
        }
        self.opened_at(Open::new(disk, ino, at.clone()))
    }

    /// A file that this process opens by the name `open.at`.
    fn opened_at(&mut self, mut open: Open) -> Sys<u64> {
        // The root of a branch has no name that could be removed.
        if !open.at.path.is_root() {
            let spot = self.spot(&open.at)?;
            open.dentry = Some(self.dentries.of(&spot));
        }
        Ok(self.opened(open))
    }

    fn hold(&mut self, at: &Place) -> Sys<u64> {
        let (disk, ino) = self.find(at)?;
        let mut open = Open::new(disk, ino, at.clone());
        open.path_only = true;
        self.opened_at(open)
    }

    fn open_held(&mut self, held: u64) -> Sys<u64> {
        let held = self.file(held)?;
        let mut open = Open::new(held.disk, held.ino, held.at.clone());
        open.dentry = held.dentry;
        if self.break_leases(open.disk, open.ino, false) {
            return Err(libc::EAGAIN);
        }
        Ok(self.opened(open))
    }

    /// The inode of a file this process may write to.
    fn written(&self, open: u64) -> Sys<(usize, Ino)> {
        let open = self.open_file(open)?;
        if open.writes { Ok((open.disk, open.ino)) } else { Err(libc::EBADF) }
    }

    fn alter_open(&mut self, open: u64, change: impl FnOnce(&mut Attrs)) -> Sys<()> {
        let (disk, ino) = self.open_file(open).map(|open| (open.disk, open.ino))?;
        self.alter_inode(disk, ino, change);
        Ok(())
    }

    fn clone_dir(&mut self, from: &Place, to: &Place, made: &MadeDir, times: bool) -> Sys<()> {
        let (disk, ino) = self.find_dir(from)?;
        let model = self.node(disk, ino).attrs.clone();
        let (disk, ino) = self.find_dir(to)?;
        if !made.is(&self.stat(disk, ino, 0)) {
            return Err(libc::ENOENT);
        }
        self.alter(to, |attrs| {
            attrs.meta = model.meta;
            attrs.default_acl = model.default_acl;
            if times {
                (attrs.mtime, attrs.atime) = (model.mtime, model.atime);
            }
        })
    }
}

impl SimFs {
    fn at<T>(
        &self,
        what: &'static str,
        at: &Place,
        act: impl FnOnce(&mut State) -> Sys<T>,
    ) -> Result<T> {
        self.world.call(Call::new(what, at), act)
    }

    fn opened(&self, open: u64, at: &Place) -> SimFile {
        SimFile { world: self.world.clone(), open, at: at.clone() }
    }

    fn on<T>(
        &self,
        what: &'static str,
        file: &SimFile,
        act: impl FnOnce(&mut State) -> Sys<T>,
    ) -> Result<T> {
        self.world.call(Call::new(what, &file.at), act)
    }
}

impl Look for SimFs {
    type File = SimFile;

    fn now(&self) -> Timestamp {
        self.world.state().clock
    }

    fn pause(&self, time: Duration) {
        self.world.state().advance(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    fn check_branch(&self, branch: BranchIdx) -> Result<()> {
        self.at("check branch", &Place::new(branch, RelPath::root()), |state| {
            if state.branches[branch.index()].gone { Err(libc::ESTALE) } else { Ok(()) }
        })
    }

    fn pin(&self, dir: &Place) -> Result<Pin> {
        self.at("pin", dir, |state| state.pin(dir))
    }

    fn pin_made(&self, dir: &Place, made: &MadeDir) {
        if !self.world.died() {
            self.world.state().pin_made(dir, made);
        }
    }

    fn pin_gone(&self, dir: &Place) {
        if !self.world.died() {
            self.world.state().pins.insert(dir.clone(), None);
        }
    }

    fn pin_by_handle(&self, dir: &Place, handle: &Handle) -> Result<Pin> {
        self.at("pin by handle", dir, |state| state.pin_by_handle(dir, handle))
    }

    fn path_of_dir(&self, dir: &Place) -> Result<Option<RelPath>> {
        self.at("ask for the path of", dir, |state| Ok(state.path_of_dir(dir)))
    }

    fn unpin(&self) {
        let mut state = self.world.state();
        state.pins.clear();
        state.comings.clear();
    }

    fn comings(&self, at: &Place) -> Result<Comings> {
        self.at("ask for the comings of", at, |state| state.comings_of(at))
    }

    fn hold(&self, at: &Place) -> Result<SimFile> {
        let open = self.at("hold", at, |state| state.hold(at))?;
        Ok(self.opened(open, at))
    }

    fn path_of(&self, file: &SimFile) -> Result<Option<RelPath>> {
        self.on("ask for the path of", file, |state| state.path_of(file.open))
    }

    fn handle_of(&self, file: &SimFile) -> Result<Handle> {
        self.on("ask for a handle of", file, |state| state.handle_of_open(file.open))
    }

    fn handle(&self, at: &Place) -> Result<Handle> {
        self.at("get the handle of", at, |state| state.handle(at))
    }

    fn by_handle(&self, branch: BranchIdx, handle: &Handle) -> Result<Option<SimFile>> {
        let at = Place::new(branch, RelPath::root());
        let open = self.at("find by handle below", &at, |state| state.by_handle(branch, handle))?;
        Ok(open.map(|open| self.opened(open, &at)))
    }

    fn stat(&self, at: &Place) -> Result<Option<Stat>> {
        self.at("stat", at, |state| state.stat_at(at))
    }

    fn stat_unpinned(&self, at: &Place) -> Result<Option<Stat>> {
        self.at("stat unpinned", at, |state| {
            state.own_call = false;
            match state.stat_at(at) {
                Err(libc::ELOOP) => Ok(None),
                found => found,
            }
        })
    }

    fn open(&self, at: &Place) -> Result<SimFile> {
        let open = self.at("open", at, |state| state.open(at))?;
        Ok(self.opened(open, at))
    }

    fn open_held(&self, held: &SimFile) -> Result<SimFile> {
        let open = self.on("open held", held, |state| state.open_held(held.open))?;
        Ok(self.opened(open, &held.at))
    }

    fn stat_open(&self, file: &SimFile) -> Result<Stat> {
        self.on("stat open", file, |state| {
            let open = state.file(file.open)?;
            Ok(state.stat(open.disk, open.ino, state.mount(&open.at)))
        })
    }

    fn metadata(&self, file: &SimFile) -> Result<Metadata> {
        self.on("read metadata of", file, |state| {
            let open = state.open_file(file.open)?;
            Ok(state.node(open.disk, open.ino).attrs.meta.clone())
        })
    }

    fn dir_acl(&self, dir: &Place) -> Result<Option<Vec<u8>>> {
        self.at("read the ACL of", dir, |state| {
            let (disk, ino) = state.find_dir(dir)?;
            Ok(state.node(disk, ino).attrs.meta.acl.clone())
        })
    }

    fn read_at(&self, file: &SimFile, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.on("read", file, |state| {
            let open = state.open_file(file.open)?;
            let data = state.node(open.disk, open.ino).data();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
            let n = buf.len().min(data.len() - start);
            buf[..n].copy_from_slice(&data[start..start + n]);
            Ok(n)
        })
    }

    fn lease(&self, file: &SimFile, lease: Lease) -> Result<()> {
        let what = match lease {
            Lease::Read => "take a read lease on",
            Lease::Write => "take a write lease on",
        };
        self.on(what, file, |state| state.lease(file.open, lease))
    }

    fn lease_state(&self, file: &SimFile) -> Result<Option<Lease>> {
        self.on("look at the lease on", file, |state| state.lease_state(file.open))
    }

    fn release(&self, file: &SimFile) -> Result<()> {
        self.on("release", file, |state| state.release(file.open))
    }

    fn names_of(&self, branch: BranchIdx, id: InodeId) -> Result<Vec<RelPath>> {
        let root = Place::new(branch, RelPath::root());
        self.at("walk through", &root, |state| {
            let branch = &state.branches[branch.index()];
            let below = state.disks[branch.disk].live.below(branch.root);
            let names = below.into_iter().filter(|(_, ino)| *ino == id.ino);
            Ok(names.map(|(path, _)| path).collect())
        })
    }

    fn names_with_prefix(&self, dir: &Place, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.at("list", dir, |state| {
            let (disk, ino) = state.find_dir(dir)?;
            let names = state.node(disk, ino).entries()?.keys();
            Ok(names.filter(|name| name.starts_with(prefix)).cloned().collect())
        })
    }
}

impl Change for SimFs {
    fn sync_data(&self, file: &SimFile) -> Result<()> {
        self.on("sync the data of", file, |state| {
            let (disk, ino) = state.open_file(file.open).map(|open| (open.disk, open.ino))?;
            state.disks[disk].sync_data(ino);
            Ok(())
        })
    }

    fn clone_contents(&self, from: &SimFile, to: &SimFile) -> Result<()> {
        self.on("clone", to, |state| {
            let (one, from) = state.open_file(from.open).map(|open| (open.disk, open.ino))?;
            let (other, to) = state.written(to.open)?;
            if one != other {
                return Err(libc::EXDEV);
            }
            let bytes = state.node(one, from).data().to_vec();
            state.write(other, to, bytes);
            Ok(())
        })
    }

    /// A few bytes at a time: a filesystem may share less than it was asked for.
    fn share(&self, from: &SimFile, to: &SimFile, offset: u64, len: u64) -> Result<Option<u64>> {
        self.on("share blocks of", to, |state| {
            let place = |open| state.open_file(open).map(|open| (open.disk, open.ino));
            let ((one, from), (other, to)) = (place(from.open)?, place(to.open)?);
            if one != other {
                return Err(libc::EXDEV);
            }
            let len = len.min(SHARED_AT_ONCE);
            let range = |ino| {
                let at = usize::try_from(offset).ok()?;
                let end = at.checked_add(usize::try_from(len).ok()?)?;
                state.node(one, ino).data().get(at..end)
            };
            match (range(from), range(to)) {
                (Some(one), Some(other)) => Ok((one == other).then_some(len)),
                _ => Err(libc::EINVAL),
            }
        })
    }

    fn sync_dir(&self, dir: &Place) -> Result<()> {
        self.at("sync the directory", dir, |state| {
            let (disk, ino) = state.find_dir(dir)?;
            state.disks[disk].sync_dir(ino);
            Ok(())
        })
    }

    fn link(&self, file: &SimFile, to: &Place) -> Result<()> {
        self.world.call(Call::new("link", &file.at).to(to), |state| {
            let open = state.file(file.open)?;
            let (disk, ino, mount) = (open.disk, open.ino, state.mount(&open.at));
            state.link(disk, ino, mount, to)
        })
    }

    fn rename_noreplace(&self, from: &Place, to: &Place) -> Result<()> {
        self.world.call(Call::new("rename", from).to(to), |state| state.rename_noreplace(from, to))
    }

    fn exchange(&self, a: &Place, b: &Place) -> Result<()> {
        self.world.call(Call::new("exchange", a).to(b), |state| state.exchange(a, b))
    }

    fn create(&self, at: &Place) -> Result<SimFile> {
        let open = self.at("create", at, |state| {
            let (disk, ino) = state.make(at, Content::File(Vec::new()), 0o600)?;
            let mut open = Open::new(disk, ino, at.clone());
            open.writes = true;
            state.opened_at(open)
        })?;
        Ok(self.opened(open, at))
    }

    fn write_at(&self, file: &SimFile, buf: &[u8], offset: u64) -> Result<()> {
        self.on("write", file, |state| {
            let (disk, ino) = state.written(file.open)?;
            let mut bytes = state.node(disk, ino).data().to_vec();
            let start = usize::try_from(offset).map_err(|_| libc::EFBIG)?;
            bytes.resize(bytes.len().max(start + buf.len()), 0);
            bytes[start..start + buf.len()].copy_from_slice(buf);
            state.write(disk, ino, bytes);
            Ok(())
        })
    }

    fn set_len(&self, file: &SimFile, size: u64) -> Result<()> {
        self.on("set the size of", file, |state| {
            let (disk, ino) = state.written(file.open)?;
            let mut bytes = state.node(disk, ino).data().to_vec();
            bytes.resize(usize::try_from(size).map_err(|_| libc::EFBIG)?, 0);
            state.write(disk, ino, bytes);
            Ok(())
        })
    }

    fn set_metadata(&self, file: &SimFile, metadata: &Metadata) -> Result<()> {
        self.on("set metadata of", file, |state| {
            state.alter_open(file.open, |attrs| attrs.meta = metadata.clone())
        })
    }

    fn set_times(&self, file: &SimFile, atime: Timestamp, mtime: Timestamp) -> Result<()> {
        self.on("set the times of", file, |state| {
            state.alter_open(file.open, |attrs| {
                (attrs.atime, attrs.mtime) = (atime, mtime);
            })
        })
    }

    fn sync_file(&self, file: &SimFile) -> Result<()> {
        self.on("sync", file, |state| {
            let (disk, ino) = state.open_file(file.open).map(|open| (open.disk, open.ino))?;
            state.disks[disk].sync_file(ino);
            Ok(())
        })
    }

    fn unlink(&self, at: &Place) -> Result<()> {
        self.at("unlink", at, |state| state.unlink(at))
    }

    fn make_dir(&self, at: &Place) -> Result<MadeDir> {
        self.at("make the directory", at, |state| {
            let (disk, ino) = state.make(at, Content::Dir(Default::default()), 0o700)?;
            let btime = Some(state.node(disk, ino).attrs.btime);
            let id = state.id(disk, ino);
            Ok(MadeDir { id, btime })
        })
    }

    fn remove_dir(&self, at: &Place) -> Result<()> {
        self.at("remove the directory", at, |state| state.remove_dir(at))
    }

    fn clone_dir(&self, from: &Place, to: &Place, made: &MadeDir, times: bool) -> Result<()> {
        self.world.call(Call::new("clone the directory", from).to(to), |state| {
            state.clone_dir(from, to, made, times)
        })
    }

    fn set_dir_mtime(&self, dir: &Place, mtime: Timestamp) -> Result<()> {
        self.at("set the mtime of", dir, |state| {
            state.find_dir(dir)?;
            state.alter(dir, |attrs| attrs.mtime = mtime)
        })
    }
}
