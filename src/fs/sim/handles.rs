//! Files found by handle, and inode numbers that are used again.

use crate::fs::{Handle, Pin, Place};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

use super::disk::FIRST_FILE;
use super::image::{Content, Ino, Sys};
use super::open::Open;
use super::state::State;

impl State {
    /// The inode number and its generation, as ext4 does it; empty where there are no handles.
    pub(super) fn handle(&self, at: &Place) -> Sys<Handle> {
        let (disk, ino) = self.find(at)?;
        Ok(self.handle_of(disk, ino))
    }

    pub(super) fn handle_of_open(&self, open: u64) -> Sys<Handle> {
        let open = self.file(open)?;
        Ok(self.handle_of(open.disk, open.ino))
    }

    fn handle_of(&self, disk: usize, ino: Ino) -> Handle {
        if !self.handles {
            return Handle::default();
        }
        let generation = self.node(disk, ino).generation;
        let parts = [ino.to_le_bytes(), generation.to_le_bytes()];
        Handle(parts.concat())
    }

    /// The inode that a handle names, unless it is free or its number belongs to another generation.
    fn named_by(&self, branch: BranchIdx, handle: &Handle) -> Sys<Option<(usize, Ino)>> {
        let disk = self.branches.get(branch.index()).ok_or(libc::EBADF)?.disk;
        if !self.handles {
            return Ok(None);
        }
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
        let parts = handle.0.split_at_checked(8);
        let parts = parts.and_then(|(ino, generation)| Some((number(ino)?, number(generation)?)));
        let Some((ino, generation)) = parts else {
            return Ok(None);
        };
        let node = self.disks[disk].live.get(ino);
        let same = node.is_some_and(|node| node.generation == generation);
        Ok((same && self.in_use(disk, ino)).then_some((disk, ino)))
    }

    /// Holds the file that a handle names; it has no name of its own then.
    pub(super) fn by_handle(&mut self, branch: BranchIdx, handle: &Handle) -> Sys<Option<u64>> {
        let Some((disk, ino)) = self.named_by(branch, handle)? else {
            return Ok(None);
        };
        let mut open = Open::new(disk, ino, Place::new(branch, RelPath::root()));
        open.path_only = true;
        Ok(Some(self.opened(open)))
    }

    pub(super) fn pin_by_handle(&mut self, dir: &Place, handle: &Handle) -> Sys<Pin> {
        match self.named_by(dir.branch, handle)? {
            Some((disk, ino)) if matches!(self.node(disk, ino).content, Content::Dir(_)) => {
                Ok(self.pin_inode(dir, disk, ino))
            }
            Some(_) | None => Ok(Pin::Missing),
        }
    }

    /// Whether an inode has a name, or a process has the inode open, held or pinned.
    pub(super) fn in_use(&self, disk: usize, ino: Ino) -> bool {
        let Some(node) = self.disks[disk].live.get(ino) else {
            return false;
        };
        let named = match node.content {
            Content::Dir(_) => !self.disks[disk].is_dead_dir(ino),
            Content::File(_) | Content::Symlink | Content::Other => node.nlink > 0,
        };
        named
            || self.opens.values().any(|open| open.is(disk, ino))
            || self.pins.values().flatten().any(|pinned| *pinned == (disk, ino))
    }

    /// The number of the next inode on a disk: the lowest free one if numbers are used again, else a new one.
    pub(super) fn number(&self, disk: usize) -> Option<Ino> {
        let lowest =
            || (FIRST_FILE..self.disks[disk].next_number()).find(|ino| !self.in_use(disk, *ino));
        self.reuse_inodes.then(lowest).flatten()
    }
}
