//! A group that clients work on: a master, a duplicate with one name or two, and what is to be done to them when.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::client::{Act, own_bytes};
use super::model::{Model, Name};
use super::moments::Moment;
use crate::groups::{Group, SMALL};
use crate::harness::pool::Pool;
use crate::harness::tree;

/// What sort of op a group becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On two disks.
    Cross,
    /// On two disks; the duplicate's directory is missing on the master's.
    Fresh,
    /// On two disks; the duplicate has two names.
    Set,
    /// On one disk.
    Local,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Cross, Self::Fresh, Self::Set, Self::Local];
}

/// When something is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// As soon as the op is seen there.
    At(Moment),
    /// So long after the run began.
    After(Duration),
    /// When they are told to.
    Go,
}

/// One group, its model, and its script.
pub(crate) struct Pair {
    pub(crate) n: usize,
    pub(crate) kind: Kind,
    pub(crate) master_disk: usize,
    /// Relative to branch and mount, in the order of [`Name::ALL`].
    names: [PathBuf; 4],
    root: PathBuf,
    /// Inode numbers of master and duplicate, as they were made, each on its disk.
    pub(crate) inodes: (u64, u64),
    pub(crate) model: Model,
    /// Operations so far.
    pub(crate) serial: usize,
    pub(crate) script: VecDeque<(When, Act)>,
}

impl Pair {
    /// Makes group `n`: masters in turn on the first and on the second disk, and every kind of op on each.
    pub(crate) fn make(pool: &Pool, n: usize) -> Self {
        let (master_disk, kind) = (n % 2, Kind::ALL[n / 2 % 4]);
        let disk = match kind {
            Kind::Local => master_disk,
            Kind::Cross | Kind::Fresh | Kind::Set => 1 - master_disk,
        };
        let dir = match kind {
            Kind::Cross => "down".to_owned(),
            Kind::Fresh => format!("fresh{disk}/deep"),
            Kind::Set => "set".to_owned(),
            Kind::Local => "local".to_owned(),
        };
        let names = [
            format!("media/{n}.bin"),
            format!("{dir}/{n}.bin"),
            format!("{dir}/{n}.two"),
            format!("{dir}/{n}.away"),
        ]
        .map(PathBuf::from);
        let bytes = tree::bytes(n as u64, SMALL);
        tree::write(&pool.on(master_disk, &names[0]), &bytes);
        tree::write(&pool.on(disk, &names[1]), &bytes);
        if kind == Kind::Set {
            std::fs::hard_link(pool.on(disk, &names[1]), pool.on(disk, &names[2])).unwrap();
        }
        let ino = |disk, name| pool.on(disk, name).symlink_metadata().unwrap().ino();
        Self {
            n,
            kind,
            master_disk,
            inodes: (ino(master_disk, &names[0]), ino(disk, &names[1])),
            names,
            root: pool.root().to_owned(),
            model: Model::new(&bytes, kind == Kind::Set),
            serial: 0,
            script: VecDeque::new(),
        }
    }

    /// The disk the duplicate is on.
    pub(crate) fn duplicate_disk(&self) -> usize {
        match self.kind {
            Kind::Local => self.master_disk,
            Kind::Cross | Kind::Fresh | Kind::Set => 1 - self.master_disk,
        }
    }

    /// The group as a list of duplicates has it.
    pub(crate) fn group(&self) -> Group {
        let names = if self.has_second() { 3 } else { 2 };
        self.names[..names].to_vec()
    }

    pub(crate) fn has_second(&self) -> bool {
        self.kind == Kind::Set
    }

    /// Relative to branch and mount.
    pub(crate) fn relative(&self, name: Name) -> &PathBuf {
        &self.names[name as usize]
    }

    /// Through the pool.
    pub(crate) fn path(&self, name: Name) -> PathBuf {
        self.root.join(self.relative(name))
    }

    /// Bytes that no other operation writes, and where they go: no two of a group overlap.
    pub(crate) fn stamp(&self) -> (usize, Vec<u8>) {
        let text = format!("<group {:06} operation {:04}>", self.n, self.serial);
        (self.serial % 32 * 40, text.into_bytes())
    }

    /// A whole new content.
    pub(crate) fn new_bytes(&self) -> Vec<u8> {
        own_bytes(self.n, self.serial, 5_000 + 10 * self.serial)
    }

    /// A length to be cut to that no other operation leaves, with room for all stamps.
    pub(crate) fn new_len(&self) -> usize {
        4_500 - 10 * self.serial
    }

    /// What it is, for a message.
    pub(crate) fn told(&self) -> String {
        let order = ["master's branch first", "duplicate's branch first"][self.master_disk];
        format!("group {} ({:?}, {order})", self.n, self.kind)
    }
}
