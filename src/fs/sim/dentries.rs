//! Which name is which: the identity that a name keeps through renames, as a dentry of the kernel does.
//!
//! A name begins when it is created and ends when it is unlinked or renamed over. A name that is created later in the
//! same place, of the same inode even, is another one.

use std::collections::BTreeMap;

use super::image::Ino;
use super::spot::Spot;

/// The identity of a name.
pub(super) type Dentry = u64;

/// A disk, a directory on it, and a name in that.
type Key = (usize, Ino, Vec<u8>);

/// The names that were asked for, each with its identity.
#[derive(Debug, Clone, Default)]
pub(super) struct Dentries {
    known: BTreeMap<Key, Dentry>,
    next: Dentry,
}

impl Spot {
    fn key(&self) -> Key {
        (self.disk, self.dir, self.name.clone())
    }
}

impl Dentries {
    /// The identity of the name that is at `spot` now.
    pub(super) fn of(&mut self, spot: &Spot) -> Dentry {
        let next = &mut self.next;
        *self.known.entry(spot.key()).or_insert_with(|| {
            *next += 1;
            *next
        })
    }

    pub(super) fn end(&mut self, spot: &Spot) {
        self.known.remove(&spot.key());
    }

    /// Moves the name, over another name if there is one.
    pub(super) fn rename(&mut self, from: &Spot, to: &Spot) {
        self.end(to);
        if let Some(dentry) = self.known.remove(&from.key()) {
            self.known.insert(to.key(), dentry);
        }
    }

    pub(super) fn exchange(&mut self, a: &Spot, b: &Spot) {
        let (one, other) = (self.known.remove(&a.key()), self.known.remove(&b.key()));
        let moved = [(b.key(), one), (a.key(), other)];
        let moved = moved.into_iter().filter_map(|(key, dentry)| Some((key, dentry?)));
        self.known.extend(moved);
    }

    /// After a reboot nothing holds on to a name.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    pub(super) fn key_of(&self, dentry: Dentry) -> Option<&Key> {
        let mut known = self.known.iter();
        known.find(|(_, found)| **found == dentry).map(|(key, _)| key)
    }
}
