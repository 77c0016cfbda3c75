//! The state of a world, and what changes names and files in it, with the errnos of Linux.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::fs::{Comings, InodeId, Place, Timestamp};
use crate::pool::BranchMode;

use super::dentries::Dentries;
use super::disk::Disk;
use super::image::{Attrs, Content, Ino, NameSet, Node, Sys, What};
use super::open::{Acknowledged, Open};
use super::spot::Spot;

/// A branch.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) disk: usize,
    pub(super) root: Ino,
    /// The mount it is reached through.
    pub(super) mount: u64,
    /// The changes mergerfs allows clients on the branch.
    pub(super) mode: BranchMode,
    /// Whether the filesystem is mounted read-only.
    pub(super) read_only: bool,
    /// Whether the branch's path no longer leads to the held directory.
    pub(super) gone: bool,
}

/// Everything that is in a world.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) clock: Timestamp,
    /// How far the clock moves with each change, in nanoseconds.
    pub(super) step: u64,
    pub(super) disks: Vec<Disk>,
    pub(super) branches: Vec<Branch>,
    pub(super) opens: BTreeMap<u64, Open>,
    pub(super) next_open: u64,
    /// The writes reported to clients as successful, oldest first.
    pub(super) acknowledged: Vec<Acknowledged>,
    /// Whether a call of this process is being done, and no client's.
    pub(super) own_call: bool,
    /// The directories that this process has pinned, by the place it calls them.
    pub(super) pins: BTreeMap<Place, Option<(usize, Ino)>>,
    /// When each name of a directory of a disk last came and last went.
    pub(super) comings: BTreeMap<(usize, Ino, Vec<u8>), Comings>,
    /// The comings and goings so far.
    pub(super) moves: u64,
    pub(super) dentries: Dentries,
    /// Whether a new inode takes the lowest number that is free.
    pub(super) reuse_inodes: bool,
    /// Whether the filesystems have handles.
    pub(super) handles: bool,
}

impl State {
    pub(super) fn branch_path(&self, at: &Place) -> PathBuf {
        let root = PathBuf::from(format!("/branch{}", at.branch.0));
        if at.path.is_root() { root } else { root.join(at.path.as_path()) }
    }

    pub(super) fn advance(&mut self, nanos: u64) -> Timestamp {
        let sum = u64::from(self.clock.nanos) + nanos % 1_000_000_000;
        self.clock.secs += i64::try_from(nanos / 1_000_000_000 + sum / 1_000_000_000).unwrap_or(0);
        self.clock.nanos = u32::try_from(sum % 1_000_000_000).unwrap_or(0);
        self.clock
    }

    pub(super) fn tick(&mut self) -> Timestamp {
        self.advance(self.step)
    }

    /// The disk and inode a place leads to.
    pub(super) fn find(&self, at: &Place) -> Sys<(usize, Ino)> {
        let branch = self.branches.get(at.branch.index()).ok_or(libc::EBADF)?;
        if let Some(found) = self.by_pin(at) {
            return found;
        }
        Ok((branch.disk, self.disks[branch.disk].live.walk(branch.root, &at.path)?))
    }

    pub(super) fn find_dir(&self, at: &Place) -> Sys<(usize, Ino)> {
        let (disk, ino) = self.find(at)?;
        self.disks[disk].live.node(ino).entries().map(|_| (disk, ino))
    }

    pub(super) fn node(&self, disk: usize, ino: Ino) -> &Node {
        self.disks[disk].live.node(ino)
    }

    pub(super) fn id(&self, disk: usize, ino: Ino) -> InodeId {
        InodeId { dev: self.disks[disk].dev, ino }
    }

    /// The name `at` is, in a directory that must exist.
    pub(super) fn spot(&self, at: &Place) -> Sys<Spot> {
        if at.path.is_root() {
            return Err(libc::EBUSY);
        }
        let (disk, dir) = self.find_dir(&at.dir())?;
        if self.disks[disk].is_dead_dir(dir) {
            return Err(libc::ENOENT);
        }
        let name = std::os::unix::ffi::OsStrExt::as_bytes(at.path.file_name()).to_vec();
        if name.len() > 255 {
            return Err(libc::ENAMETOOLONG);
        }
        let ino = self.node(disk, dir).entries()?.get(&name).copied();
        if ino.is_some_and(|ino| self.node(disk, ino).attrs.mount_point) {
            return Err(libc::EXDEV);
        }
        Ok(Spot { disk, dir, name, ino, mount: self.branches[at.branch.index()].mount })
    }

    fn writable(&self, at: &Place) -> Sys<()> {
        if self.branches[at.branch.index()].read_only { Err(libc::EROFS) } else { Ok(()) }
    }

    /// Immutable inodes take no changes of their names, immutable directories none of their entries.
    fn changeable(&self, disk: usize, inodes: &[Ino]) -> Sys<()> {
        let fixed = inodes.iter().any(|ino| self.node(disk, *ino).attrs.immutable);
        if fixed { Err(libc::EPERM) } else { Ok(()) }
    }

    /// An exchange sets a name that is there: it counts as gone and come.
    fn note_comings(&mut self, disk: usize, sets: &[NameSet]) {
        for set in sets {
            if !self.pins.values().flatten().any(|pinned| *pinned == (disk, set.dir)) {
                continue;
            }
            self.moves += 1;
            let at = Some(self.moves);
            let key = (disk, set.dir, set.name.clone());
            let noted = self.comings.entry(key).or_default();
            match set.ino {
                Some(_) => noted.came = at,
                None => noted.went = at,
            }
        }
    }

    /// Returns the comings and goings of a name since its directory was pinned.
    pub(super) fn comings_of(&self, at: &Place) -> Sys<Comings> {
        let incomplete = Comings { incomplete: true, ..Comings::default() };
        let Some(Some((disk, dir))) = self.pins.get(&at.dir()) else {
            return Ok(incomplete);
        };
        let name = std::os::unix::ffi::OsStrExt::as_bytes(at.path.file_name()).to_vec();
        let noted = self.comings.get(&(*disk, *dir, name));
        Ok(noted.copied().unwrap_or_default())
    }

    fn rename_names(&mut self, disk: usize, sets: Vec<NameSet>, moved: Vec<Ino>) {
        self.note_comings(disk, &sets);
        let at = self.tick();
        self.disks[disk].change(What::Names { sets, moved }, at);
    }

    /// In the order in which Linux checks.
    pub(super) fn link(&mut self, disk: usize, ino: Ino, mount: u64, to: &Place) -> Sys<()> {
        let spot = self.spot(to)?;
        if spot.ino.is_some() {
            return Err(libc::EEXIST);
        }
        self.writable(to)?;
        if spot.disk != disk || spot.mount != mount {
            return Err(libc::EXDEV);
        }
        self.changeable(disk, &[ino, spot.dir])?;
        match self.node(disk, ino).nlink {
            0 => return Err(libc::ENOENT),
            n if n >= self.disks[disk].link_limit => return Err(libc::EMLINK),
            _ => {}
        }
        self.rename_names(disk, vec![spot.becomes(Some(ino))], vec![ino]);
        self.dentries.end(&spot);
        Ok(())
    }

    /// Both names and the inode that is renamed.
    fn both(&self, from: &Place, to: &Place) -> Sys<(Spot, Spot, Ino)> {
        let (old, new) = (self.spot(from)?, self.spot(to)?);
        if old.disk != new.disk || old.mount != new.mount {
            return Err(libc::EXDEV);
        }
        self.writable(from)?;
        let ino = old.there()?;
        let inside =
            to.branch == from.branch && to.path != from.path && to.path.is_below(&from.path);
        if inside { Err(libc::EINVAL) } else { Ok((old, new, ino)) }
    }

    pub(super) fn rename_noreplace(&mut self, from: &Place, to: &Place) -> Sys<()> {
        let (old, new, ino) = self.both(from, to)?;
        if new.ino.is_some() {
            return Err(libc::EEXIST);
        }
        self.changeable(old.disk, &[ino, old.dir, new.dir])?;
        self.rename_spots(&old, &new, ino);
        Ok(())
    }

    /// `rename`: over a file too; of two names of one inode it does nothing and leaves both.
    pub(super) fn rename_over(&mut self, from: &Place, to: &Place) -> Sys<()> {
        let (old, new, ino) = self.both(from, to)?;
        if new.ino == Some(ino) {
            return Ok(());
        }
        self.changeable(old.disk, &[ino, old.dir, new.dir])?;
        if let Some(over) = new.ino {
            self.changeable(old.disk, &[over])?;
            match (&self.node(old.disk, ino).content, &self.node(old.disk, over).content) {
                (Content::Dir(_), Content::Dir(entries)) if entries.is_empty() => {}
                (Content::Dir(_), Content::Dir(_)) => return Err(libc::ENOTEMPTY),
                (Content::Dir(_), _) => return Err(libc::ENOTDIR),
                (_, Content::Dir(_)) => return Err(libc::EISDIR),
                (_, Content::File(_) | Content::Symlink | Content::Other) => {}
            }
        }
        self.rename_spots(&old, &new, ino);
        Ok(())
    }

    /// One change within a directory. Between two directories the new name may reach the disk without the old
    /// one going, never the other way round.
    fn rename_spots(&mut self, old: &Spot, new: &Spot, ino: Ino) {
        self.dentries.rename(old, new);
        let at = self.tick();
        let moved: Vec<Ino> = [Some(ino), new.ino].into_iter().flatten().collect();
        let (come, go) = (new.becomes(Some(ino)), old.becomes(None));
        self.note_comings(old.disk, &[go.clone(), come.clone()]);
        let disk = &mut self.disks[old.disk];
        if old.dir == new.dir {
            disk.change(What::Names { sets: vec![go, come], moved }, at);
        } else {
            let come = disk.change(What::Names { sets: vec![come], moved }, at);
            disk.change_after(Some(come), What::Names { sets: vec![go], moved: Vec::new() }, at);
        }
    }

    pub(super) fn exchange(&mut self, a: &Place, b: &Place) -> Sys<()> {
        let (one, other, ino) = self.both(a, b)?;
        let over = other.there()?;
        if over == ino {
            return Ok(());
        }
        self.changeable(one.disk, &[ino, over, one.dir, other.dir])?;
        let sets = vec![one.becomes(Some(over)), other.becomes(Some(ino))];
        self.rename_names(one.disk, sets, vec![ino, over]);
        self.dentries.exchange(&one, &other);
        Ok(())
    }

    pub(super) fn unlink(&mut self, at: &Place) -> Sys<()> {
        let spot = self.spot(at)?;
        self.writable(at)?;
        let ino = spot.there()?;
        if matches!(self.node(spot.disk, ino).content, Content::Dir(_)) {
            return Err(libc::EISDIR);
        }
        self.changeable(spot.disk, &[ino, spot.dir])?;
        self.rename_names(spot.disk, vec![spot.becomes(None)], vec![ino]);
        self.dentries.end(&spot);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, at: &Place) -> Sys<()> {
        let spot = self.spot(at)?;
        self.writable(at)?;
        let ino = spot.there()?;
        match &self.node(spot.disk, ino).content {
            Content::Dir(entries) if entries.is_empty() => {}
            Content::Dir(_) => return Err(libc::ENOTEMPTY),
            Content::File(_) | Content::Symlink | Content::Other => return Err(libc::ENOTDIR),
        }
        self.changeable(spot.disk, &[ino, spot.dir])?;
        self.rename_names(spot.disk, vec![spot.becomes(None)], vec![ino]);
        self.dentries.end(&spot);
        Ok(())
    }

    /// Makes a directory, an empty file or something else.
    pub(super) fn make(&mut self, at: &Place, content: Content, mode: u32) -> Sys<(usize, Ino)> {
        let spot = self.spot(at)?;
        if spot.ino.is_some() {
            return Err(libc::EEXIST);
        }
        self.writable(at)?;
        self.changeable(spot.disk, &[spot.dir])?;
        let now = self.tick();
        let number = self.number(spot.disk);
        self.note_comings(spot.disk, &[spot.becomes(Some(number.unwrap_or_default()))]);
        let disk = &mut self.disks[spot.disk];
        let ino = disk.create(content, Attrs::new(mode, now), number);
        disk.change(What::Names { sets: vec![spot.becomes(Some(ino))], moved: Vec::new() }, now);
        self.dentries.end(&spot);
        Ok((spot.disk, ino))
    }

    /// The directories down to `dir`; makes missing directories as a client would.
    pub(super) fn make_dirs(&mut self, dir: &Place) -> Sys<()> {
        match self.find_dir(dir) {
            Err(libc::ENOENT) => {
                self.make_dirs(&dir.dir())?;
                self.make(dir, Content::Dir(BTreeMap::new()), 0o755).map(|_| ())
            }
            found => found.map(|_| ()),
        }
    }

    /// Changes attributes of the inode at `at`; its ctime moves.
    pub(super) fn alter(&mut self, at: &Place, change: impl FnOnce(&mut Attrs)) -> Sys<()> {
        let (disk, ino) = self.find(at)?;
        self.writable(at)?;
        self.alter_inode(disk, ino, change);
        Ok(())
    }

    pub(super) fn alter_inode(&mut self, disk: usize, ino: Ino, change: impl FnOnce(&mut Attrs)) {
        let now = self.tick();
        let mut attrs = Box::new(self.node(disk, ino).attrs.clone());
        change(&mut attrs);
        attrs.ctime = now;
        self.disks[disk].change(What::Attrs { ino, attrs }, now);
    }

    pub(super) fn write(&mut self, disk: usize, ino: Ino, bytes: Vec<u8>) {
        let at = self.tick();
        self.disks[disk].change(What::Data { ino, bytes, quiet: false }, at);
    }
}
