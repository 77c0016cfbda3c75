//! Walks the branches: one queue of directories per disk, and several walkers if the disk can answer several.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::border;
use super::catalog::{Batch, Catalog, DirId, FileFacts, Stamp};
use super::disks::Disk;
use super::gate::Gate;
use super::meter::Phase;
use super::opener::is_gone;
use super::skip::{is_trash, skipped};
use super::{Scan, ScanError};
use crate::find::look_up::known_reason;
use crate::fs::real::{ScanDir, ScanEntry};
use crate::fs::{FileKind, FsError, InodeId, Place, Stat};
use crate::plan::hidden_name::{is_hidden_name, parse_hidden_name};
use crate::plan::refusal::Reason;
use crate::plan::{Reach, Refusal};
use crate::pool::relpath::RelPath;

/// Walkers per disk; on a rotating disk all but one walker wait.
const WALKERS: usize = 4;
/// Directories whose entries are looked at in one go on a rotating disk, over all disks: each stays open until then.
const OPEN_DIRS: usize = 256;
/// A rotating disk never reads an inode in this time, on average over a directory.
const QUICK: Duration = Duration::from_micros(100);

/// The results of a walk.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) catalog: Catalog,
    pub(super) refusals: Vec<Refusal>,
    /// Number of regular file names, including names of no use.
    pub(super) files: u64,
    /// Files that were named, or directories that were named with files in them.
    pub(super) named: Vec<RelPath>,
    /// Number of names in recycle bins that are no directories.
    pub(super) in_bins: u64,
    /// Of each journal whose hidden names were met, one name.
    pub(super) hidden: BTreeMap<u32, Place>,
}

/// Walks `dirs` of every branch of `disks`.
pub(super) fn walk(scan: &Scan<'_>, disks: &[Disk]) -> Result<Walked, ScanError> {
    scan.meter.begin(Phase::Walk, 0, Vec::new());
    let found = Mutex::new(Walked::default());
    let roots = scan.pool.indices().map(|b| scan.fs.root_id(b)).collect();
    let at_once = (OPEN_DIRS / disks.len().max(1)).max(1);
    let walker = Walker { scan, roots: &roots, found: &found, at_once };
    let queues = disks.iter().map(|disk| walker.queue(disk)).collect::<Result<Vec<_>, _>>()?;
    let walker = &walker;
    std::thread::scope(|scope| {
        let walkers = queues.iter().flat_map(|queue| (0..WALKERS).map(move |_| queue));
        let threads: Vec<_> =
            walkers.map(|queue| scope.spawn(move || walker.work(queue))).collect();
        let ends = threads.into_iter().map(|thread| match thread.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ends.collect::<Result<(), ScanError>>()
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The directories of one disk that are still to be read.
#[derive(Debug)]
struct Queue {
    gate: Gate,
    state: Mutex<Pending>,
    changed: Condvar,
}

/// A directory that is still to be read. On a rotating disk directories are read in this order, over and over: inodes
/// and the entries of directories lie in the order of inode numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ToRead {
    device: u16,
    /// The inode number; 0 where the walk begins.
    ino: u64,
    dir: DirId,
    /// Whether the walk began in it.
    start: bool,
}

#[derive(Debug, Default)]
struct Pending {
    dirs: BTreeSet<ToRead>,
    /// The directory that was taken last.
    last: Option<ToRead>,
    /// Walkers that may still add directories.
    busy: usize,
    /// Walkers with nothing to do.
    waiting: usize,
    stopped: bool,
}

impl Queue {
    /// Returns the next directories, at most `count`, or none when the walk is over.
    fn next(&self, count: usize) -> Vec<ToRead> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return Vec::new();
            }
            let taken: Vec<ToRead> = std::iter::from_fn(|| state.take()).take(count).collect();
            if !taken.is_empty() {
                state.busy += 1;
                return taken;
            }
            if state.busy == 0 {
                return Vec::new();
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Records that directories are done, and which directories were found in them.
    fn done(&self, found: Vec<ToRead>, stop: bool) {
        let mut state = self.state();
        state.busy -= 1;
        state.stopped |= stop;
        // The walker that found the directories takes one directory itself.
        let for_others = found.len() > 1 && state.waiting > 0;
        state.dirs.extend(found);
        let over = state.stopped || (state.busy == 0 && state.dirs.is_empty());
        drop(state);
        if for_others || over {
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// The next directory in the order of the disk, from the directory that was taken last.
    fn take(&mut self) -> Option<ToRead> {
        let behind = self.last.and_then(|last| self.dirs.range(last..).next());
        let next = *behind.or_else(|| self.dirs.first())?;
        self.dirs.remove(&next);
        self.last = Some(next);
        Some(next)
    }
}

struct Walker<'w> {
    scan: &'w Scan<'w>,
    /// The roots of all branches: a branch that lies within another branch is walked by itself, and not as a part of
    /// the other branch.
    roots: &'w HashSet<InodeId>,
    found: &'w Mutex<Walked>,
    /// Directories that a walker reads at a time on a rotating disk.
    at_once: usize,
}

/// A directory whose entries are looked at.
struct Opened {
    id: DirId,
    place: Place,
    dir: ScanDir,
    batch: Batch,
    /// The inode numbers of the directories in `batch`.
    below: Vec<u64>,
    files: u64,
    /// How much of it was named.
    reach: Reach,
    /// Files in it that were named one by one.
    named: Vec<RelPath>,
}

impl Walker<'_> {
    fn queue(&self, disk: &Disk) -> Result<Queue, ScanError> {
        let mut state = Pending::default();
        for branch in &disk.branches {
            for dir in &self.scan.dirs {
                let device = self.scan.device_of(*branch);
                let dir = self.found().catalog.start(*branch, device, dir.clone())?;
                state.dirs.insert(ToRead { device, ino: 0, dir, start: true });
            }
        }
        Ok(Queue {
            gate: Gate::new(disk.rotating, QUICK),
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    fn found(&self) -> MutexGuard<'_, Walked> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, queue: &Queue) -> Result<(), ScanError> {
        loop {
            // Where no arm moves, all walkers get work as soon as there is any.
            let count = if queue.gate.order_pays() { self.at_once } else { 1 };
            let dirs = queue.next(count);
            if dirs.is_empty() {
                return Ok(());
            }
            let looked = if (self.scan.interrupted)() {
                Err(ScanError::Interrupted)
            } else {
                self.look_into(&dirs, &queue.gate)
            };
            let (found, end) = match looked {
                Ok(found) => (found, Ok(())),
                Err(error) => (Vec::new(), Err(error)),
            };
            queue.done(found, end.is_err());
            end?;
        }
    }

    /// Reads directories and looks at their entries in the order of the inode numbers; returns the directories found.
    fn look_into(&self, dirs: &[ToRead], gate: &Gate) -> Result<Vec<ToRead>, ScanError> {
        let turn = gate.enter();
        let begin = Instant::now();
        let mut opened: Vec<Opened> = dirs.iter().filter_map(|dir| self.open(dir)).collect();
        let mut order = Vec::new();
        for (at, opened) in opened.iter().enumerate() {
            order.extend(opened.dir.entries().iter().map(|entry| (*entry, at)));
        }
        order.sort_by_key(|(entry, _)| entry.ino);
        for (entry, at) in &order {
            self.look_at(&mut opened[*at], entry);
        }
        let looks = u32::try_from(order.len() + dirs.len()).unwrap_or(u32::MAX);
        turn.note(begin.elapsed() / looks);
        drop(turn);
        let mut pending = Vec::new();
        for Opened { id, place, batch, below, files, reach, named, .. } in opened {
            self.scan.meter.add_files(files);
            if files > 0 {
                self.scan.named.iter().for_each(|named| named.note(&place.path));
            }
            let device = self.scan.device_of(place.branch);
            let mut found = self.found();
            found.files += files;
            found.named.extend(named);
            found.named.extend((reach == Reach::All && files > 0).then_some(place.path));
            let dirs = found.catalog.add(id, batch)?.into_iter().zip(below);
            pending.extend(dirs.map(|(dir, ino)| ToRead { device, ino, dir, start: false }));
        }
        Ok(pending)
    }

    fn open(&self, dir: &ToRead) -> Option<Opened> {
        let place = self.found().catalog.dir_place(dir.dir);
        let opened = match self.scan.fs.scan_dir(&place) {
            Ok(opened) => opened,
            Err(error) => {
                self.unopened(&place, &error);
                return None;
            }
        };
        if !dir.start && self.roots.contains(&opened.id()) {
            return None;
        }
        if opened.id().dev != self.scan.fs.root_id(place.branch).dev {
            self.not_entered(&place);
            return None;
        }
        let (batch, below) = (Batch::default(), Vec::new());
        let only = self.scan.rules.only.as_ref();
        let reach = only.map_or(Reach::Nothing, |only| only.reach(&place.path));
        let (id, dir, named) = (dir.dir, opened, Vec::new());
        Some(Opened { id, place, dir, batch, below, files: 0, reach, named })
    }

    /// Looks at an entry as far as needed, and adds a directory or regular file to the batch.
    fn look_at(&self, opened: &mut Opened, entry: &ScanEntry) {
        let name = opened.dir.name(entry).to_bytes();
        if entry.kind == Some(FileKind::Directory) && is_trash(name) {
            let bin = Place::new(opened.place.branch, joined(&opened.place.path, name));
            return self.count_bin(bin);
        }
        if matches!(entry.kind, Some(FileKind::Symlink | FileKind::Other)) {
            return;
        }
        if skipped(name) {
            return self.hidden(&opened.place, name);
        }
        let stat = match entry.kind {
            Some(FileKind::Directory) => None,
            _ => match opened.dir.stat(entry) {
                Ok(Some(stat)) => Some(stat),
                Ok(None) => return,
                Err(error) => {
                    let at = Place::new(opened.place.branch, joined(&opened.place.path, name));
                    let error = self.scan.fs.scan_error("look up", &at, error);
                    return self.refuse(&at.path, &error);
                }
            },
        };
        match stat {
            Some(stat) if stat.kind == FileKind::Regular => {
                opened.files += 1;
                self.file(opened, entry, &stat);
            }
            Some(stat) if stat.kind != FileKind::Directory => {}
            _ => {
                if self.scan.filter.has_unmatched() {
                    self.scan.filter.note_directory(&joined(&opened.place.path, name));
                }
                opened.batch.dir(name);
                opened.below.push(entry.ino);
            }
        }
    }

    /// Notes a name that is skipped, if a journal made it.
    fn hidden(&self, dir: &Place, name: &[u8]) {
        let Some(hidden) =
            Some(name).filter(|name| is_hidden_name(name)).and_then(parse_hidden_name)
        else {
            return;
        };
        let at = || Place::new(dir.branch, joined(&dir.path, name));
        self.found().hidden.entry(hidden.journal).or_insert_with(at);
    }

    /// Counts the files in a recycle bin, without a look at any of them.
    fn count_bin(&self, bin: Place) {
        let (mut dirs, mut files) = (vec![bin], 0);
        while let Some(at) = dirs.pop().filter(|_| !(self.scan.interrupted)()) {
            // What cannot be read there would be skipped all the same.
            let Ok(dir) = self.scan.fs.scan_dir(&at) else { continue };
            for entry in dir.entries() {
                match entry.kind {
                    Some(FileKind::Directory) => {
                        let below = joined(&at.path, dir.name(entry).to_bytes());
                        dirs.push(Place::new(at.branch, below));
                    }
                    _ => files += 1,
                }
            }
        }
        self.found().in_bins += files;
    }

    fn file(&self, opened: &mut Opened, entry: &ScanEntry, stat: &Stat) {
        let filter = self.scan.filter;
        let named = self.named(opened, entry, stat);
        let Opened { id, place, dir, batch, .. } = opened;
        let name = dir.name(entry).to_bytes();
        if stat.size == 0 || !filter.admits_size(stat.size) {
            if filter.has_unmatched() {
                filter.note(&joined(&place.path, name));
            }
            return;
        }
        let excluded = filter.has_globs() && !filter.admits_path(&joined(&place.path, name));
        // An excluded name still belongs to its inode's link set.
        if excluded && stat.nlink < 2 {
            return;
        }
        let facts = FileFacts {
            stamp: Stamp::of(stat),
            ino: stat.id.ino,
            excluded,
            named: named && !excluded,
        };
        batch.file(*id, name, facts);
    }

    /// Whether the user named a file. Refuses it if it was named by its own path, and its size or a filter leaves it out.
    fn named(&self, opened: &mut Opened, entry: &ScanEntry, stat: &Stat) -> bool {
        let Some(only) = self.scan.rules.only.as_ref().filter(|_| opened.reach != Reach::Nothing)
        else {
            return false;
        };
        let path = joined(&opened.place.path, opened.dir.name(entry).to_bytes());
        if only.is_named(&path) {
            if let Some((reason, detail)) = self.left_out(&path, stat.size) {
                let refusal = Refusal::of_path(reason, path.as_bytes(), detail);
                self.found().refusals.push(refusal);
            }
            opened.named.push(path);
            return true;
        }
        opened.reach == Reach::All
    }

    fn left_out(&self, path: &RelPath, size: u64) -> Option<(Reason, &'static str)> {
        let filter = self.scan.filter;
        match () {
            () if size == 0 => Some((Reason::Empty, "")),
            () if !filter.admits_size(size) => {
                Some((Reason::Excluded, "outside of --min-size and --max-size"))
            }
            () if !filter.admits_path(path) => Some((Reason::Excluded, "left out by -I or -E")),
            () => None,
        }
    }

    /// Reports a directory that could not be opened, unless the directory is gone.
    fn unopened(&self, place: &Place, error: &FsError) {
        if error.errno() == libc::EXDEV {
            self.not_entered(place);
        } else if !is_gone(error) {
            self.refuse(&place.path, error);
        }
    }

    /// Reports a directory that belongs to another filesystem or subvolume.
    fn not_entered(&self, place: &Place) {
        let refusal = border::refusal(self.scan, place);
        self.found().refusals.extend(refusal);
    }

    fn refuse(&self, path: &RelPath, error: &FsError) {
        let refusal = unreadable(path, error);
        self.found().refusals.push(refusal);
    }
}

/// The refusal for a file or directory that the scan could not read.
pub(super) fn unreadable(path: &RelPath, error: &FsError) -> Refusal {
    // An obstructed path lies on another branch, where a copy would be linked or looked for.
    let reason = known_reason(&error.source).unwrap_or(Reason::Unreadable);
    Refusal::of_path(reason, path.as_bytes(), format!("{error}: {}", error.source))
}

fn joined(dir: &RelPath, name: &[u8]) -> RelPath {
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
    dir.join(name).unwrap_or_else(|_| dir.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::BranchIdx;

    #[test]
    fn a_limit_of_this_program_is_no_fault_of_a_directory() {
        let path = RelPath::new("a").unwrap();
        let of = |errno| {
            let source = std::io::Error::from_raw_os_error(errno);
            let call = "list directory";
            let error = FsError { call, branch: BranchIdx(0), path: "/mnt/d1/a".into(), source };
            unreadable(&path, &error).reason
        };
        assert_eq!([of(libc::EMFILE), of(libc::ENFILE), of(libc::ENOMEM)], [Reason::Io; 3]);
        assert_eq!([of(libc::EIO), of(libc::EACCES)], [Reason::Unreadable, Reason::Permission]);
    }
}
