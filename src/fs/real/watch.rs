//! When names came to held directories and went from them, in the kernel's own order (`inotify`).
//!
//! The kernel reports a change of a name before the call that made it returns, to one queue for all directories: the
//! order of two changes on two filesystems is known, whatever clock they take their times from.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::super::{Comings, Place};
use super::root::proc_path;

/// The changes that are reported.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ONLYDIR);

/// The directories of a batch.
#[derive(Debug)]
pub(super) struct Watch {
    queue: Inotify,
    /// One directory can have two places.
    dirs: HashMap<WatchDescriptor, Vec<Place>>,
    watched: HashSet<Place>,
    comings: HashMap<(Place, Vec<u8>), Comings>,
    changes: u64,
    /// The queue was full once.
    overflowed: bool,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?,
            dirs: HashMap::new(),
            watched: HashSet::new(),
            comings: HashMap::new(),
            changes: 0,
            overflowed: false,
        })
    }

    /// Watches the open directory `dir`, which is known as `place`.
    pub(super) fn add(&mut self, place: &Place, dir: BorrowedFd<'_>) -> io::Result<()> {
        let descriptor = self.queue.add_watch(proc_path(dir).as_path(), CHANGES)?;
        let places = self.dirs.entry(descriptor).or_default();
        places.push(place.clone());
        self.watched.insert(place.clone());
        Ok(())
    }

    /// Returns the comings and goings of the name `at`.
    pub(super) fn comings(&mut self, at: &Place) -> io::Result<Comings> {
        self.read()?;
        let dir = at.dir();
        let incomplete = self.overflowed || !self.watched.contains(&dir);
        let name = at.path.file_name().as_bytes().to_vec();
        let known = self.comings.get(&(dir, name)).copied().unwrap_or_default();
        Ok(Comings { incomplete, ..known })
    }

    fn read(&mut self) -> io::Result<()> {
        loop {
            match self.queue.read_events() {
                Ok(events) => events.into_iter().for_each(|event| self.note(&event)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn note(&mut self, event: &InotifyEvent) {
        self.overflowed |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        let (Some(name), Some(places)) = (&event.name, self.dirs.get(&event.wd)) else {
            return;
        };
        self.changes += 1;
        let at = Some(self.changes);
        let came = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        for place in places {
            let key = (place.clone(), name.as_bytes().to_vec());
            let known = self.comings.entry(key).or_default();
            if event.mask.intersects(came) { known.came = at } else { known.went = at }
        }
    }
}
