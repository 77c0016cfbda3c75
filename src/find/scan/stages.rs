//! The steps that narrow candidates down by their bytes: beginnings and ends, whole contents. Each step first asks the
//! cache, then reads disk by disk. On a rotating disk it reads the files in the order in which they lie on the disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::cache_block::CachedFile;
use super::candidates::{Candidate, Candidates};
use super::catalog::{Catalog, File};
use super::disks::Disk;
use super::gate::Gate;
use super::keeper::Keeper;
use super::meter::{DiskShare, Phase};
use super::opener::Opener;
use super::read::{FileReader, Hash, Outcome, Part, Target};
use super::twins::Twins;
use super::walk::unreadable;
use super::{Scan, ScanError};
use crate::fs::{Fingerprint, Hashed, InodeId, Timestamp};
use crate::plan::Refusal;

/// Readers per disk.
const READERS: usize = 8;
/// Readers of a disk whose arm has to move: one reads, and one opens the next file or hashes the last.
const READERS_IN_ORDER: usize = 2;
/// A disk that does not rotate answers within this time.
const QUICK: Duration = Duration::from_millis(1);
/// How many files are tried before the order of many files is looked up.
const SAMPLE: usize = 16;
/// Files that a reader takes at a time: neighbours share a directory, which is looked up once.
const PORTION: usize = 16;
/// Results that are collected before they are sent to the cache: neighbouring inodes share a record in the cache, and
/// are not always read one after the other.
const PENDING_MAX: usize = 1 << 17;
/// Results are collected no longer than this time: a scan may take days, and may be killed.
const PENDING_FOR: Duration = Duration::from_secs(60);
/// Results that a reader keeps to itself.
const OWN_MAX: usize = 1024;
/// A file that changed less than this time before it was read may change again without getting another time.
const FRESH: Duration = Duration::from_secs(2);

/// The shared state of the steps.
pub(super) struct Stages<'s> {
    scan: &'s Scan<'s>,
    disks: &'s [Disk],
    gates: Vec<Gate>,
    catalog: &'s Catalog,
    keeper: Option<Keeper>,
}

/// How much was read, and how much was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Parts of files read.
    pub parts: u64,
    /// Bytes of the parts that were read.
    pub bytes: u64,
    /// Parts known from the cache.
    pub cached: u64,
    /// Parts not read, because the file shares all blocks with another file that was read, or that the cache knew.
    pub shared: u64,
    /// Files that changed during the scan, and were dropped.
    pub changed: u64,
}

/// The results of the readers.
#[derive(Debug)]
struct Results {
    lost: Vec<u32>,
    refusals: Vec<Refusal>,
    /// For the cache: a candidate and the hash of its part.
    pending: Vec<(u32, Hash)>,
    /// The hashes of whole files that a comparison can rely on, by the first name of the candidate.
    whole: Vec<(u32, [u8; 32])>,
    /// Candidates that were not read, each with the one that has the same blocks.
    twins: Vec<(u32, u32)>,
    /// When results were last sent to the cache.
    since: Instant,
    changed: u64,
    parts: u64,
}

impl Results {
    fn new() -> Self {
        Self {
            lost: Vec::new(),
            refusals: Vec::new(),
            pending: Vec::new(),
            whole: Vec::new(),
            twins: Vec::new(),
            since: Instant::now(),
            changed: 0,
            parts: 0,
        }
    }
}

impl<'s> Stages<'s> {
    /// Hashes that are read from disk go to `keeper`.
    pub(super) fn new(
        scan: &'s Scan<'s>,
        disks: &'s [Disk],
        catalog: &'s Catalog,
        keeper: Option<Keeper>,
    ) -> Self {
        let gates = disks.iter().map(|d| Gate::new(d.rotating, QUICK)).collect();
        Self { scan, disks, gates, catalog, keeper }
    }

    /// Narrows `candidates` to the candidates with equal contents. After that nothing more goes to the keeper. Returns the
    /// hashes of whole files that a comparison can rely on.
    pub(super) fn run(
        self,
        candidates: &mut Candidates,
        refusals: &mut Vec<Refusal>,
    ) -> Result<(ReadCounts, Vec<Hashed>), ScanError> {
        let mut counts = ReadCounts::default();
        let mut whole = Vec::new();
        for phase in [Phase::Ends, Phase::Contents] {
            whole.append(&mut self.step(phase, candidates, refusals, &mut counts)?);
            candidates.narrow(self.catalog, self.scan.rules);
        }
        Ok((counts, self.hashed(candidates, whole)))
    }

    /// Returns the hashes in `whole` of those files that are still candidates.
    fn hashed(&self, candidates: &Candidates, mut whole: Vec<(u32, [u8; 32])>) -> Vec<Hashed> {
        whole.sort_unstable_by_key(|(first, _)| *first);
        let hashed = candidates.all.iter().filter_map(|candidate| {
            let at = whole.binary_search_by_key(&candidate.first, |(first, _)| *first).ok()?;
            let file = self.catalog.file_of(candidate);
            let seen = Fingerprint {
                id: InodeId { dev: self.scan.dev_of(self.catalog.device_of(file)), ino: file.ino },
                size: file.stamp.size,
                mtime: Timestamp::from_nanos(file.stamp.mtime),
                ctime: Timestamp::from_nanos(file.stamp.ctime),
            };
            Some(Hashed { seen, blake3: whole[at].1 })
        });
        hashed.collect()
    }

    fn step(
        &self,
        phase: Phase,
        candidates: &mut Candidates,
        refusals: &mut Vec<Refusal>,
        counts: &mut ReadCounts,
    ) -> Result<Vec<(u32, [u8; 32])>, ScanError> {
        let work = self.ask_cache(phase, candidates, counts);
        let share = |(disk, work): (&Disk, &Vec<u32>)| DiskShare {
            name: disk.name.clone(),
            bytes: 0,
            total: work.iter().map(|w| self.length(phase, candidates, *w)).sum(),
        };
        let shares: Vec<DiskShare> = self.disks.iter().zip(&work).map(share).collect();
        counts.bytes += shares.iter().map(|share| share.total).sum::<u64>();
        let files = work.iter().map(Vec::len).sum::<usize>() as u64;
        self.scan.meter.begin(phase, files, shares);
        let results = Mutex::new(Results::new());
        let unread = work.iter().flatten().copied();
        let twins = Twins::new(self.scan, self.catalog, candidates, unread);
        std::thread::scope(|scope| {
            for (disk, work) in work.into_iter().enumerate().filter(|(_, w)| !w.is_empty()) {
                let (results, candidates, twins) = (&results, &*candidates, &twins);
                let turn = Round { stages: self, disk, phase, candidates, twins, results };
                scope.spawn(move || turn.run(work));
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.remember(phase, candidates, std::mem::take(&mut results.pending));
        if (self.scan.interrupted)() {
            return Err(ScanError::Interrupted);
        }
        let mut lost = results.lost;
        lost.sort_unstable();
        let mut unread = Vec::new();
        for (at, other) in results.twins {
            counts.bytes -= self.length(phase, candidates, at);
            if lost.binary_search(&other).is_ok() {
                // The other one changed, or the disk did not read the blocks.
                results.changed += 1;
                unread.push(at);
            } else {
                candidates.all[at as usize].learn(candidates.all[other as usize].key());
                counts.shared += 1;
            }
        }
        lost.extend(unread);
        lost.sort_unstable();
        counts.parts += results.parts;
        counts.changed += results.changed;
        refusals.append(&mut results.refusals);
        let mut at = 0;
        candidates.retain(|_| {
            at += 1;
            lost.binary_search(&(at - 1)).is_err()
        });
        Ok(results.whole)
    }

    /// Sets the keys that the cache knows; returns the candidates that are left to read, by disk, in inode order.
    fn ask_cache(
        &self,
        phase: Phase,
        candidates: &Candidates,
        counts: &mut ReadCounts,
    ) -> Vec<Vec<u32>> {
        let mut work: Vec<Vec<u32>> = self.disks.iter().map(|_| Vec::new()).collect();
        for (at, candidate) in (0u32..).zip(&candidates.all) {
            let file = self.catalog.file_of(candidate);
            if part(phase, file).is_some() {
                work[self.scan.disk_of(self.catalog.device_of(file))].push(at);
            }
        }
        for work in &mut work {
            work.sort_unstable_by_key(|at| {
                self.catalog.inode_of(self.catalog.file_of(&candidates.all[*at as usize]))
            });
            let Some(cache) = self.scan.cache else {
                continue;
            };
            let mut view = cache.view();
            work.retain(|at| {
                let candidate = &candidates.all[*at as usize];
                let known = self.entry(phase, candidate).and_then(|asked| view.find(asked));
                if let Some(hash) = known {
                    candidate.learn(hash);
                    counts.cached += 1;
                }
                known.is_none()
            });
        }
        work
    }

    /// The cache entry to look up for a candidate; `None` if a later scan could not recognise the filesystem.
    fn entry(&self, phase: Phase, candidate: &Candidate) -> Option<CachedFile> {
        let file = self.catalog.file_of(candidate);
        Some(CachedFile {
            fs: self.scan.identity_of(self.catalog.device_of(file))?,
            ino: file.ino,
            stamp: file.stamp,
            part: part(phase, file)?,
            hash: [0; 2],
        })
    }

    fn length(&self, phase: Phase, candidates: &Candidates, at: u32) -> u64 {
        let file = self.catalog.file_of(&candidates.all[at as usize]);
        part(phase, file).map_or(0, |part| part.len(file.stamp.size))
    }

    /// Sends the hashes to the cache, in the order in which the cache keeps them.
    fn remember(&self, phase: Phase, candidates: &Candidates, mut read: Vec<(u32, Hash)>) {
        let Some(keeper) = &self.keeper else {
            return;
        };
        let of = |at: u32| &candidates.all[at as usize];
        read.sort_unstable_by_key(|(at, _)| self.catalog.inode_of(self.catalog.file_of(of(*at))));
        keeper.keep(read.into_iter().filter_map(|(at, hash)| {
            let entry = self.entry(phase, of(at))?;
            Some(CachedFile { hash, ..entry })
        }));
    }
}

/// One step on one disk.
struct Round<'r> {
    stages: &'r Stages<'r>,
    disk: usize,
    phase: Phase,
    candidates: &'r Candidates,
    twins: &'r Twins<'r>,
    results: &'r Mutex<Results>,
}

impl Round<'_> {
    fn run(&self, mut work: Vec<u32>) {
        // Files that are neighbours on a disk are read one after the other, each by the next free thread.
        let (portion, readers) =
            if self.put_in_order(&mut work) { (1, READERS_IN_ORDER) } else { (PORTION, READERS) };
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..readers.min(work.len()) {
                scope.spawn(|| self.read(&work, &next, portion));
            }
        });
    }

    fn read(&self, work: &[u32], next: &AtomicUsize, portion: usize) {
        let scan = self.stages.scan;
        let mut reader = self.reader();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let fresh = now.unwrap_or_default().saturating_sub(FRESH).as_nanos();
        let mut own = Results::new();
        let portions = std::iter::from_fn(|| {
            let at = next.fetch_add(portion, Ordering::Relaxed);
            let left = work.get(at..)?;
            (!left.is_empty()).then(|| &left[..portion.min(left.len())])
        });
        for &at in portions.flatten() {
            let candidate = &self.candidates.all[at as usize];
            let Some(target) = self.target(candidate) else {
                continue;
            };
            match reader.read(target, |file| self.twins.other(at, file)) {
                Outcome::Read { hash, whole } => {
                    candidate.learn(hash);
                    let settled = |nanos: i64| u128::try_from(nanos).map_or(true, |n| n < fresh);
                    let stamp = target.file.stamp;
                    if settled(stamp.mtime) && settled(stamp.ctime) {
                        if self.stages.keeper.is_some() {
                            own.pending.push((at, hash));
                        }
                        own.whole.extend(whole.map(|whole| (candidate.first, whole)));
                    }
                    own.parts += 1;
                }
                Outcome::SameAs(other) => {
                    let length = self.stages.length(self.phase, self.candidates, at);
                    scan.meter.add_bytes(&scan.meter.disk(self.disk), length);
                    own.twins.push((at, other));
                }
                Outcome::Changed => {
                    own.lost.push(at);
                    own.changed += 1;
                }
                Outcome::Failed(error) => {
                    own.lost.push(at);
                    let place = self.stages.catalog.file_place(target.file);
                    own.refusals.push(unreadable(&place.path, &error));
                }
                Outcome::Stopped => break,
            }
            scan.meter.add_files(1);
            if own.pending.len() >= OWN_MAX || own.since.elapsed() > PENDING_FOR {
                self.hand_in(&mut own);
                own.since = Instant::now();
            }
        }
        self.hand_in(&mut own);
    }

    fn hand_in(&self, own: &mut Results) {
        let mut all = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        all.lost.append(&mut own.lost);
        all.refusals.append(&mut own.refusals);
        all.pending.append(&mut own.pending);
        all.whole.append(&mut own.whole);
        all.twins.append(&mut own.twins);
        all.changed += std::mem::take(&mut own.changed);
        all.parts += std::mem::take(&mut own.parts);
        let due = all.since.elapsed() > PENDING_FOR || all.pending.len() >= PENDING_MAX;
        if due {
            all.since = Instant::now();
            let pending = std::mem::take(&mut all.pending);
            // The lock is released, so that the other readers go on.
            drop(all);
            self.stages.remember(self.phase, self.candidates, pending);
        }
    }

    fn reader(&self) -> FileReader<'_> {
        let scan = self.stages.scan;
        let gate = &self.stages.gates[self.disk];
        let opener = Opener::new(scan.fs, self.stages.catalog);
        FileReader::new(opener, gate, scan.meter, self.disk, scan.interrupted)
    }

    fn target(&self, candidate: &Candidate) -> Option<Target<'_>> {
        let catalog = self.stages.catalog;
        // A name that a filter excludes may be unreachable.
        let mut names = catalog.names_of(candidate).iter();
        let file = names.find(|name| !name.is_excluded())?;
        Some(Target {
            file,
            id: InodeId { dev: self.stages.scan.dev_of(catalog.device_of(file)), ino: file.ino },
            part: part(self.phase, file)?,
            to_compare: self.stages.scan.to_compare,
        })
    }

    /// Sorts files in the order in which they lie on a disk whose arm has to move from file to file. Files that are in
    /// memory need no order, and looking up the order takes one call per file, so a sample is tried first. Returns
    /// whether readers have to wait for the disk; otherwise sorts the files by directory.
    fn put_in_order(&self, work: &mut [u32]) -> bool {
        let gate = &self.stages.gates[self.disk];
        let step = work.len() / SAMPLE;
        let sample = work.iter().step_by(step.max(1)).take(SAMPLE);
        let order_pays =
            gate.order_pays() && (gate.is_known_slow() || step < 2 || self.waits(sample));
        if !order_pays {
            work.sort_unstable_by_key(|at| {
                let file = self.file(*at);
                (self.stages.catalog.device_of(file), file.dir(), file.ino)
            });
            return false;
        }
        let scan = self.stages.scan;
        let mut opener = Opener::new(scan.fs, self.stages.catalog);
        let mut order = Vec::with_capacity(work.len());
        for &at in work.iter() {
            let target = self.target(&self.candidates.all[at as usize]);
            let file = target.and_then(|target| opener.open(target.file).ok());
            let physical = file.and_then(|file| file.first_extent());
            order.push((physical.unwrap_or_else(|| self.file(at).ino), at));
            if (scan.interrupted)() {
                return true;
            }
        }
        order.sort_unstable_by_key(|(order, at)| {
            (self.stages.catalog.device_of(self.file(*at)), *order)
        });
        work.iter_mut().zip(order).for_each(|(work, (_, at))| *work = at);
        true
    }

    fn file(&self, at: u32) -> &File {
        self.stages.catalog.file_of(&self.candidates.all[at as usize])
    }

    /// Whether most files of the sample are not in memory, and reading them takes long.
    fn waits<'w>(&self, sample: impl Iterator<Item = &'w u32>) -> bool {
        let stages = self.stages;
        let gate = &stages.gates[self.disk];
        let (mut resident, mut tried) = (0, 0);
        let mut opener = Opener::new(stages.scan.fs, stages.catalog);
        let mut buf = [0; 4096];
        for &at in sample {
            let target = self.target(&self.candidates.all[at as usize]);
            let Some(target) = target else { continue };
            let Ok(file) = opener.open(target.file) else {
                continue;
            };
            tried += 1;
            match file.read_resident(&mut buf, 0) {
                Ok(None) => {
                    let turn = gate.enter();
                    // Errors are ignored here: they are reported when the file is read.
                    drop(turn.ask(|| file.read_passing(&mut buf, 0)));
                }
                Ok(Some(_)) | Err(_) => resident += 1,
            }
        }
        resident * 2 < tried && gate.order_pays()
    }
}

/// The part of a file that a step reads; `None` if an earlier step has read the whole file.
fn part(phase: Phase, file: &File) -> Option<Part> {
    match (phase, file.is_read_at_once()) {
        (Phase::Ends, true) | (Phase::Contents, false) => Some(Part::Whole),
        (Phase::Ends, false) => Some(Part::Ends),
        (Phase::Contents, true) | (Phase::Walk | Phase::Members, _) => None,
    }
}
