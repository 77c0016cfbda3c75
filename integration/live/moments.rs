//! Where each op of a run is right now, seen from outside: by the names on the branches and the lines of the log.
//!
//! Nothing is opened but directories: a look at a file could be what a lease is broken by.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use super::model::Name;
use super::pair::{Kind, Pair};
use crate::harness::pool::Pool;

/// How far an op is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Nothing is to be seen.
    Before,
    /// The log says that the intent is about to be durable.
    Pending,
    /// The master has a hidden name beside its new one.
    Linking,
    /// The replacement is there; the duplicate still has its name or, for a local op, waits under a hidden one.
    Published,
    /// The duplicate has a hidden name only; for a local op, the log says so.
    Retired,
    /// Only the master is left.
    Replaced,
}

impl Moment {
    pub(crate) const ALL: [Self; 6] = [
        Self::Before,
        Self::Pending,
        Self::Linking,
        Self::Published,
        Self::Retired,
        Self::Replaced,
    ];
}

const MASTER_HIDDEN: u8 = 1;
const MASTER_AT_NAME: u8 = 2;
const DUPLICATE_HIDDEN: u8 = 4;

/// What is known of one group from its names alone.
struct Known {
    local: bool,
    /// By the log.
    pending: bool,
    linked: bool,
    /// By the names.
    seen: u8,
}

/// Sees every group of a run.
pub(crate) struct Moments {
    /// The directories duplicates are in, with their disk.
    dirs: Vec<(usize, PathBuf)>,
    /// Group and whether it is the master, by disk and inode.
    inodes: HashMap<(usize, u64), (usize, bool)>,
    /// Group by the disk of the master and the duplicate's name there: a clone has an inode of its own.
    replaced: HashMap<(usize, PathBuf), usize>,
    /// Group by the duplicate's pool path.
    paths: HashMap<Vec<u8>, usize>,
    known: Vec<Known>,
    log: PathBuf,
    read: usize,
}

impl Moments {
    /// Sees these groups of `pool`, which the tool sees at `root`; `log` is the CSV log of the run.
    pub(crate) fn new(pool: &Pool, root: &Path, pairs: &[Pair], log: PathBuf) -> Self {
        let mut dirs = Vec::new();
        let mut inodes = HashMap::new();
        let (mut paths, mut replaced) = (HashMap::new(), HashMap::new());
        let mut known = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            assert_eq!(index, pair.n);
            for disk in [0, 1] {
                let dir = pool.on(disk, pair.relative(Name::Duplicate).parent().unwrap());
                if !dirs.contains(&(disk, dir.clone())) {
                    dirs.push((disk, dir));
                }
            }
            let (master, duplicate) = pair.inodes;
            inodes.insert((pair.master_disk, master), (index, true));
            inodes.insert((pair.duplicate_disk(), duplicate), (index, false));
            if pair.kind != Kind::Local {
                let at = pool.on(pair.master_disk, pair.relative(Name::Duplicate));
                replaced.insert((pair.master_disk, at), index);
            }
            let path = root.join(pair.relative(Name::Duplicate));
            paths.insert(path.as_os_str().as_bytes().to_vec(), index);
            known.push(Known {
                local: pair.kind == Kind::Local,
                pending: false,
                linked: false,
                seen: 0,
            });
        }
        Self { dirs, inodes, replaced, paths, known, log, read: 0 }
    }

    /// Looks once, and tells everybody.
    pub(crate) fn look(&mut self, told: &[AtomicU8]) {
        self.read_log();
        for known in &mut self.known {
            known.seen = 0;
        }
        for (disk, dir) in std::mem::take(&mut self.dirs) {
            self.look_into(disk, &dir);
            self.dirs.push((disk, dir));
        }
        for (known, told) in self.known.iter().zip(told) {
            told.store(known.moment() as u8, Ordering::Release);
        }
    }

    fn look_into(&mut self, disk: usize, dir: &Path) {
        // Not there yet, or removed by a client a moment ago.
        let Ok(entries) = std::fs::read_dir(dir) else {
            return;
        };
        for entry in entries.flatten() {
            let Some(&(n, master)) = self.inodes.get(&(disk, entry.ino())) else {
                if let Some(&n) = self.replaced.get(&(disk, entry.path())) {
                    self.known[n].seen |= MASTER_AT_NAME;
                }
                continue;
            };
            let hidden = entry.file_name().as_bytes().starts_with(b".xdedup-");
            self.known[n].seen |= match (master, hidden) {
                (true, true) => MASTER_HIDDEN,
                (true, false) => MASTER_AT_NAME,
                (false, true) => DUPLICATE_HIDDEN,
                (false, false) => 0x80,
            };
        }
    }

    fn read_log(&mut self) {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let fresh = bytes.get(self.read..).unwrap_or_default();
        let whole = fresh.iter().rposition(|&b| b == b'\n').map_or(0, |p| p + 1);
        for line in fresh[..whole].split(|&b| b == b'\n') {
            let mut fields = line.split(|&b| b == b',').skip(3);
            let (state, path) = (fields.next(), fields.next());
            if let Some(&n) = path.and_then(|path| self.paths.get(path)) {
                self.known[n].pending |= state == Some(b"PENDING");
                self.known[n].linked |= state == Some(b"LINKED");
            }
        }
        self.read += whole;
    }
}

impl Known {
    fn moment(&self) -> Moment {
        let has = |flag| self.seen & flag != 0;
        if has(DUPLICATE_HIDDEN) && (!self.local || self.linked) {
            Moment::Retired
        } else if has(DUPLICATE_HIDDEN) || (has(MASTER_AT_NAME) && has(0x80)) {
            Moment::Published
        } else if has(MASTER_HIDDEN) {
            Moment::Linking
        } else if has(MASTER_AT_NAME) {
            Moment::Replaced
        } else if self.pending {
            Moment::Pending
        } else {
            Moment::Before
        }
    }
}
