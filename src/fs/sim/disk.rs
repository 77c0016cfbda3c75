//! A disk: its live image, its durable image, and the changes that are in one and not yet in the other.
//!
//! Pessimistic where filesystems differ: `fdatasync` makes the data of one inode durable and nothing else, `fsync`
//! of a directory its names and own attributes and nothing else. A name that is durable before the data shows a
//! file of 0 bytes, or the old bytes. What was not synced may have reached the disk, or not.

use std::collections::BTreeSet;

use super::image::{Attrs, Change, Content, Image, Ino, NameSet, Node, What};
use crate::fs::Timestamp;

/// The inode of a disk's root directory.
pub(super) const ROOT: Ino = 2;
/// The lowest inode number that a new file can have.
pub(super) const FIRST_FILE: Ino = 11;

/// A disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// `st_dev`, which a reboot changes.
    pub(super) dev: u64,
    /// The most names an inode can have.
    pub(super) link_limit: u64,
    pub(super) live: Image,
    durable: Image,
    /// Applied to the live image, not durable, oldest first.
    log: Vec<Change>,
    next: Ino,
    /// How many inodes were made.
    made: u64,
    changes: u64,
}

impl Disk {
    pub(super) fn new(dev: u64, at: Timestamp) -> Self {
        let mut image = Image::default();
        image.insert(ROOT, Node::new(Content::Dir(Default::default()), Attrs::new(0o755, at)));
        let durable = image.clone();
        // Numbers start alike on every disk: equal inode numbers on two disks are normal.
        Self {
            dev,
            link_limit: 65000,
            live: image,
            durable,
            log: Vec::new(),
            next: FIRST_FILE,
            made: 0,
            changes: 0,
        }
    }

    /// A new inode without a name, a file always empty: its data is a change of its own.
    ///
    /// It gets the number `again` if there is one, which an inode had before.
    pub(super) fn create(&mut self, content: Content, attrs: Attrs, again: Option<Ino>) -> Ino {
        let ino = again.unwrap_or(self.next);
        match again {
            Some(ino) => self.free(ino),
            None => self.next += 1,
        }
        self.made += 1;
        let mut node = Node::new(content, attrs);
        node.generation = self.made;
        self.durable.insert(ino, node.clone());
        self.live.insert(ino, node);
        ino
    }

    /// The first number that no inode had.
    pub(super) fn next_number(&self) -> Ino {
        self.next
    }

    /// Journals keep the order of freeing a number and using it again: that its old inode lost its names is on stable
    /// storage from now on.
    fn free(&mut self, old: Ino) {
        self.persist(|change| match &change.what {
            What::Names { sets, moved } => {
                let about = |set: &NameSet| set.dir == old || set.ino == Some(old);
                moved.contains(&old) || sets.iter().any(about)
            }
            What::Attrs { .. } | What::Data { .. } => false,
        });
        self.log.retain(|change| match &change.what {
            What::Attrs { ino, .. } | What::Data { ino, .. } => *ino != old,
            What::Names { .. } => true,
        });
    }

    /// Makes a change that everybody sees at once and that is not durable yet. Returns the change's number.
    pub(super) fn change(&mut self, what: What, at: Timestamp) -> u64 {
        self.change_after(None, what, at)
    }

    /// The same for a change that cannot reach the disk before change `after` has.
    pub(super) fn change_after(&mut self, after: Option<u64>, what: What, at: Timestamp) -> u64 {
        self.changes += 1;
        let change = Change { id: self.changes, after, what, at };
        self.live.apply(&change);
        self.log.push(change);
        self.changes
    }

    /// `fdatasync` of a file.
    pub(super) fn sync_data(&mut self, file: Ino) {
        self.persist(|change| matches!(change.what, What::Data { ino, .. } if ino == file));
    }

    /// `fsync` of a file.
    pub(super) fn sync_file(&mut self, file: Ino) {
        self.persist(|change| match &change.what {
            What::Data { ino, .. } | What::Attrs { ino, .. } => *ino == file,
            What::Names { .. } => false,
        });
    }

    /// `fsync` of a directory.
    pub(super) fn sync_dir(&mut self, dir: Ino) {
        self.persist(|change| match &change.what {
            What::Names { sets, .. } => sets.iter().any(|set| set.dir == dir),
            What::Attrs { ino, .. } => *ino == dir,
            What::Data { .. } => false,
        });
    }

    /// `syncfs`.
    pub(super) fn sync_all(&mut self) {
        self.persist(|_| true);
    }

    /// The changes that may be lost, oldest first.
    pub(super) fn unsynced(&self) -> &[Change] {
        &self.log
    }

    /// Power goes away and comes back; the unsynced changes marked in `kept` have reached the disk.
    pub(super) fn lose_power(&mut self, kept: &[bool]) {
        for (change, kept) in std::mem::take(&mut self.log).iter().zip(kept) {
            if *kept {
                self.durable.apply(change);
            }
        }
        self.durable.settle(ROOT);
        self.live = self.durable.clone();
        self.dev += 100;
    }

    fn persist(&mut self, wanted: impl Fn(&Change) -> bool) {
        let mut keep: BTreeSet<usize> =
            (0..self.log.len()).filter(|i| wanted(&self.log[*i])).collect();
        // A state of a name implies the ones before it: from the newest to the oldest, take what each needs.
        for i in (0..self.log.len()).rev() {
            if keep.contains(&i) {
                keep.extend(self.needs(i));
            }
        }
        let log = std::mem::take(&mut self.log);
        for (i, change) in log.into_iter().enumerate() {
            if keep.contains(&i) {
                self.durable.apply(&change);
            } else {
                self.log.push(change);
            }
        }
    }

    /// The earlier changes without which change `i` cannot have reached the disk: the changes of the same names, and
    /// before the removal of a directory the changes of the directory's entries.
    pub(super) fn needs(&self, i: usize) -> Vec<usize> {
        let sets = self.log[i].sets();
        let gone: Vec<Ino> = match &self.log[i].what {
            What::Names { sets, moved } if sets.iter().all(|set| set.ino.is_none()) => {
                moved.clone()
            }
            What::Names { .. } | What::Attrs { .. } | What::Data { .. } => Vec::new(),
        };
        let after = self.log[i].after;
        let touches = |earlier: &Change| {
            after == Some(earlier.id)
                || earlier.sets().iter().any(|old| {
                    gone.contains(&old.dir)
                        || sets.iter().any(|new| new.dir == old.dir && new.name == old.name)
                })
        };
        (0..i).filter(|j| touches(&self.log[*j])).collect()
    }
}
