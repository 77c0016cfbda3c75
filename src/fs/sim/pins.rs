//! Directories that this process has pinned, and the paths that directories have now.
//!
//! A pin changes only where calls of this process go. Clients look every path up anew.

use crate::fs::{MadeDir, Pin, Place};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

use super::disk::Disk;
use super::image::{Content, Ino, Sys};
use super::state::State;

impl Disk {
    /// Whether the inode is a directory that was removed and is still in use.
    pub(super) fn is_dead_dir(&self, ino: Ino) -> bool {
        let node = self.live.node(ino);
        matches!(node.content, Content::Dir(_)) && node.nlink <= 1 && ino != super::disk::ROOT
    }
}

impl State {
    /// The inode that a call of this process on `at` reaches through a pin; `None` if no pin concerns `at`.
    pub(super) fn by_pin(&self, at: &Place) -> Option<Sys<(usize, Ino)>> {
        if !self.own_call {
            return None;
        }
        if let Some(pinned) = self.pins.get(at) {
            return Some(pinned.ok_or(libc::ENOENT));
        }
        if at.path.is_root() {
            return None;
        }
        let Some((disk, dir)) = *self.pins.get(&at.dir())? else {
            return Some(Err(libc::ENOENT));
        };
        let name = std::os::unix::ffi::OsStrExt::as_bytes(at.path.file_name());
        let found = self.disks[disk].live.entry(dir, name);
        Some(found.map(|ino| (disk, ino)))
    }

    pub(super) fn pin(&mut self, dir: &Place) -> Sys<Pin> {
        if self.pins.contains_key(dir) {
            return Ok(Pin::Before);
        }
        let (disk, ino) = match self.find(dir) {
            Err(libc::ENOENT | libc::ENOTDIR) => return Ok(Pin::Missing),
            found => found?,
        };
        if !matches!(self.node(disk, ino).content, Content::Dir(_)) {
            return Ok(Pin::Missing);
        }
        self.pins.insert(dir.clone(), Some((disk, ino)));
        Ok(Pin::New)
    }

    /// Pins the directory that was made, wherever it is now.
    pub(super) fn pin_made(&mut self, dir: &Place, made: &MadeDir) {
        let Some(branch) = self.branches.get(dir.branch.index()) else {
            return;
        };
        let (disk, ino) = (branch.disk, made.id.ino);
        let same = |node: &super::image::Node| Some(node.attrs.btime) == made.btime;
        if self.disks[disk].dev == made.id.dev && self.disks[disk].live.get(ino).is_some_and(same) {
            self.pins.insert(dir.clone(), Some((disk, ino)));
        }
    }

    /// Pins an inode that was found by its handle; replaces another pinned inode if there is one.
    pub(super) fn pin_inode(&mut self, dir: &Place, disk: usize, ino: Ino) -> Pin {
        if self.pins.insert(dir.clone(), Some((disk, ino))) == Some(Some((disk, ino))) {
            Pin::Before
        } else {
            Pin::New
        }
    }

    pub(super) fn path_of_dir(&self, dir: &Place) -> Option<RelPath> {
        match self.pins.get(dir) {
            None => Some(dir.path.clone()),
            Some(None) => None,
            Some(Some((disk, ino))) => self.path_below(dir.branch, *disk, *ino),
        }
    }

    /// The path that a directory has below the root of a branch.
    pub(super) fn path_below(&self, branch: BranchIdx, disk: usize, dir: Ino) -> Option<RelPath> {
        let branch = self.branches.get(branch.index())?;
        if branch.disk != disk {
            return None;
        }
        if branch.root == dir {
            return Some(RelPath::root());
        }
        let names = self.disks[disk].live.below(branch.root);
        let found = names.into_iter().find(|(_, ino)| *ino == dir);
        found.map(|(path, _)| path)
    }
}
