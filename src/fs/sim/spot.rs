//! A place in a directory where a name is, or can be.

use super::image::{Ino, NameSet, Sys};

/// A name in a directory that exists, and the inode it leads to, if any.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) disk: usize,
    pub(super) dir: Ino,
    pub(super) name: Vec<u8>,
    pub(super) ino: Option<Ino>,
    pub(super) mount: u64,
}

impl Spot {
    pub(super) fn becomes(&self, ino: Option<Ino>) -> NameSet {
        NameSet { dir: self.dir, name: self.name.clone(), ino }
    }

    pub(super) fn there(&self) -> Sys<Ino> {
        self.ino.ok_or(libc::ENOENT)
    }
}
