//! Walks the branches: one queue of directories per disk, and several walkers if the disk can answer several.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::catalog::{Batch, Catalog, DirId, FileFacts, Stamp};
use super::disks::Disk;
use super::gate::Gate;
use super::meter::Phase;
use super::opener::is_gone;
use super::skip::skipped;
use super::{Scan, ScanError};
use crate::fs::real::{ScanDir, ScanEntry};
use crate::fs::{FileKind, FsError, InodeId, Place, Stat};
use crate::plan::Refusal;
use crate::plan::refusal::Reason;
use crate::pool::relpath::RelPath;

/// Walkers per disk; on a rotating disk all but one walker wait.
const WALKERS: usize = 4;
/// A rotating disk never reads an inode in this time, on average over a directory.
const QUICK: Duration = Duration::from_micros(100);

/// The results of a walk.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) catalog: Catalog,
    pub(super) refusals: Vec<Refusal>,
    /// Number of regular file names, including names of no use.
    pub(super) files: u64,
}

/// Walks `dirs` of every branch of `disks`.
pub(super) fn walk(scan: &Scan<'_>, disks: &[Disk]) -> Result<Walked, ScanError> {
    scan.meter.begin(Phase::Walk, 0, Vec::new());
    let found = Mutex::new(Walked::default());
    let roots = scan.pool.indices().map(|b| scan.fs.root_id(b)).collect();
    let walker = Walker { scan, roots: &roots, found: &found };
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

#[derive(Debug, Default)]
struct Pending {
    /// Directories, each with whether the walk began in it.
    dirs: Vec<(DirId, bool)>,
    /// Walkers that may still add directories.
    busy: usize,
    /// Walkers with nothing to do.
    waiting: usize,
    stopped: bool,
}

impl Queue {
    /// Returns the next directory, or `None` when the walk is over.
    fn next(&self) -> Option<(DirId, bool)> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            // The walker takes the directory found last: its neighbours are still in memory, and few directories are
            // pending at a time.
            if let Some(dir) = state.dirs.pop() {
                state.busy += 1;
                return Some(dir);
            }
            if state.busy == 0 {
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Records that one directory is done, and which directories were found in it.
    fn done(&self, found: Vec<DirId>, stop: bool) {
        let mut state = self.state();
        state.busy -= 1;
        state.stopped |= stop;
        // The walker that found the directories takes one directory itself.
        let for_others = found.len() > 1 && state.waiting > 0;
        state.dirs.extend(found.into_iter().map(|dir| (dir, false)));
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

struct Walker<'w> {
    scan: &'w Scan<'w>,
    /// The roots of all branches: a branch that lies within another branch is walked by itself, and not as a part of
    /// the other branch.
    roots: &'w HashSet<InodeId>,
    found: &'w Mutex<Walked>,
}

impl Walker<'_> {
    fn queue(&self, disk: &Disk) -> Result<Queue, ScanError> {
        let mut state = Pending::default();
        for branch in disk.branches.iter().rev() {
            for dir in self.scan.dirs.iter().rev() {
                let start = self.found().catalog.start(*branch, dir.clone())?;
                state.dirs.push((start, true));
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
        let mut classes = HashMap::new();
        while let Some((dir, start)) = queue.next() {
            let looked = if (self.scan.interrupted)() {
                Err(ScanError::Interrupted)
            } else {
                self.look_into(dir, start, &queue.gate, &mut classes)
            };
            let (found, end) = match looked {
                Ok(found) => (found, Ok(())),
                Err(error) => (Vec::new(), Err(error)),
            };
            queue.done(found, end.is_err());
            end?;
        }
        Ok(())
    }

    fn look_into(
        &self,
        dir: DirId,
        start: bool,
        gate: &Gate,
        classes: &mut HashMap<(u32, u32, u32), u32>,
    ) -> Result<Vec<DirId>, ScanError> {
        let place = self.found().catalog.dir_place(dir);
        let turn = gate.enter();
        let begin = Instant::now();
        let opened = match self.scan.fs.scan_dir(&place) {
            Ok(opened) => opened,
            Err(error) => {
                drop(turn);
                self.unopened(&place, &error);
                return Ok(Vec::new());
            }
        };
        let foreign = opened.id().dev != self.scan.fs.root_id(place.branch).dev;
        if foreign || (!start && self.roots.contains(&opened.id())) {
            return Ok(Vec::new());
        }
        let mut batch = Batch::default();
        let mut files = 0;
        for entry in opened.entries() {
            if let Some(stat) = self.entry(&opened, entry, &place, &mut batch) {
                files += 1;
                self.file(&opened, entry, (dir, &place), &stat, classes, &mut batch);
            }
        }
        let entries = u32::try_from(opened.entries().len()).unwrap_or(u32::MAX);
        turn.note(begin.elapsed() / entries.saturating_add(1));
        drop(turn);
        self.scan.meter.add_files(files);
        let mut found = self.found();
        found.files += files;
        found.catalog.add(dir, batch)
    }

    /// Examines an entry as far as needed: adds a directory to `batch`, and returns the attributes of a regular file.
    fn entry(
        &self,
        dir: &ScanDir,
        entry: &ScanEntry,
        place: &Place,
        batch: &mut Batch,
    ) -> Option<Stat> {
        let name = dir.name(entry).to_bytes();
        match entry.kind {
            Some(FileKind::Symlink | FileKind::Other) => return None,
            _ if skipped(name) => return None,
            Some(FileKind::Directory) => {
                batch.dir(name);
                return None;
            }
            Some(FileKind::Regular) | None => {}
        }
        match dir.stat(entry) {
            Ok(Some(stat)) if stat.kind == FileKind::Regular => return Some(stat),
            Ok(Some(stat)) if stat.kind == FileKind::Directory => batch.dir(name),
            Ok(_) => {}
            Err(error) => {
                let at = Place::new(place.branch, joined(&place.path, name));
                let error = self.scan.fs.scan_error("look up", &at, error);
                self.refuse(&at.path, &error);
            }
        }
        None
    }

    fn file(
        &self,
        dir: &ScanDir,
        entry: &ScanEntry,
        (id, place): (DirId, &Place),
        stat: &Stat,
        classes: &mut HashMap<(u32, u32, u32), u32>,
        batch: &mut Batch,
    ) {
        let filter = self.scan.filter;
        if stat.size == 0 || !filter.admits_size(stat.size) {
            return;
        }
        let name = dir.name(entry).to_bytes();
        let excluded = filter.has_globs() && !filter.admits_path(&joined(&place.path, name));
        // An excluded name still belongs to its inode's link set.
        if excluded && stat.nlink < 2 {
            return;
        }
        let ignore = self.scan.rules.ignore;
        let (uid, gid) = if ignore.owner { (0, 0) } else { (stat.uid, stat.gid) };
        let key = (uid, gid, if ignore.mode { 0 } else { stat.mode });
        let class =
            *classes.entry(key).or_insert_with(|| self.found().catalog.class(key.0, key.1, key.2));
        let facts = FileFacts {
            stamp: Stamp::of(stat),
            ino: stat.id.ino,
            class,
            device: self.scan.device_of(place.branch),
            excluded,
        };
        batch.file(id, name, facts);
    }

    /// Reports a directory that could not be opened, unless the directory is gone or another mount begins there.
    fn unopened(&self, place: &Place, error: &FsError) {
        if !is_gone(error) {
            self.refuse(&place.path, error);
        }
    }

    fn refuse(&self, path: &RelPath, error: &FsError) {
        let refusal = unreadable(path, error);
        self.found().refusals.push(refusal);
    }
}

/// The refusal for a file or directory that the scan could not read.
pub(super) fn unreadable(path: &RelPath, error: &FsError) -> Refusal {
    Refusal {
        reason: match error.errno() {
            // The error is on another branch, where a copy would be linked or looked for.
            libc::ELOOP | libc::EXDEV => Reason::Obstructed,
            _ => Reason::Unreadable,
        },
        path: path.as_bytes().to_vec(),
        master: None,
        detail: format!("{error}: {}", error.source),
    }
}

fn joined(dir: &RelPath, name: &[u8]) -> RelPath {
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
    dir.join(name).unwrap_or_else(|_| dir.clone())
}
