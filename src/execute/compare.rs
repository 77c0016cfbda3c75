//! Compare: nothing is removed whose bytes were not found equal to the master's in this run (invariant 2).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::begun::{Begun, Subject};
use super::compared::{Equal, Files, Seen};
use super::window::{Leased, TRIES};
use super::{Executor, halt::Halt};
use crate::fs::reading::{ahead, hash_of};
use crate::fs::{
    Change, FileKind, Fingerprint, Hashed, InodeId, Lease, Metadata, Place, Stat, Timestamp,
};
use crate::journal::Store;
use crate::plan::hidden_name::Role;
use crate::plan::refusal::Reason;
use crate::plan::{Op, OpKind};

/// Bytes read at a time from each file.
const CHUNK: usize = 1 << 20;
/// A write within the clock's tick of a fingerprint would not move the times: files changed less than this ago wait.
const SETTLED_NS: i128 = 2_000_000_000;

/// More than a tick of any clock that file times are taken from.
pub(super) const TICK_NS: i128 = 50_000_000;
/// How long to wait for an op that is under way and whose files were touched a moment ago.
pub(super) const SETTLE_TICK: Duration = Duration::from_millis(60);

const METADATA_DIFFERS: &str = "owner, mode or attributes differ since the plan was made";

/// A file whose lease was released, and its state while the lease was held.
pub(super) struct Held<'f, F: Change> {
    file: Leased<'f, F>,
    pub(super) stat: Stat,
    pub(super) metadata: Metadata,
}

/// Files that could not be read, and why.
pub(super) type Unreadable = BTreeMap<InodeId, Halt>;

/// A file that is open in this process.
pub(super) struct OpenFile<H> {
    /// The mount it was opened through.
    mount: u64,
    pub(super) file: Weak<H>,
}

/// A planned op whose files were found as they were planned, and are open.
pub(super) struct Opened<'f, F: Change> {
    pub(super) op: Op,
    pub(super) master: Held<'f, F>,
    pub(super) duplicate: Held<'f, F>,
}

impl<'a, F: Change, S: Store> Executor<'a, F, S> {
    /// Opens both files of a planned op, and takes their fingerprints under momentary leases: before any byte is read.
    pub(super) fn open_both(&mut self, op: &Op) -> Result<(Held<'a, F>, Held<'a, F>), Halt> {
        let master = self.open_master(op)?;
        let duplicate = self.open_duplicate(op)?;
        // A momentary *write* lease on the duplicate: a file that another program reads is refused before gigabytes are
        // read.
        let duplicate = self.hold(duplicate, Lease::Write, "duplicate")?;
        let master = self.hold_shared(op.master_id, master, Lease::Read, "master")?;
        self.usable(op, SETTLED_NS, &master, &duplicate)?;
        let (found, known) = (duplicate.stat.nlink, op.names.len() as u64);
        if found != known {
            let detail = format!("{found} names, {known} known");
            return Err(Halt::new(Reason::UnknownLinks, detail));
        }
        if master.stat.encrypted != duplicate.stat.encrypted {
            let why = "only one of both files is encrypted since the plan was made";
            return Err(Halt::new(Reason::EncryptionDiffers, why));
        }
        if op.reflinks() {
            let alike = self.stored_alike(&master.file.file, &duplicate.file.file);
            alike.map_err(|halt| halt.or_links(op))?;
            return Ok((master, duplicate));
        }
        let ignore = &self.options.ignore;
        if let Some(reason) = ignore.differs(&master.metadata, &duplicate.metadata) {
            return Err(Halt::new(reason, METADATA_DIFFERS));
        }
        Ok((master, duplicate))
    }

    /// Compares both files of a planned op; no lease is held while bytes are read. Both stay open.
    pub(super) fn compare(
        &mut self,
        op: &Op,
        master: Held<'a, F>,
        duplicate: Held<'a, F>,
    ) -> Result<Equal<F::File>, Halt> {
        let blake3 =
            self.equal_bytes(op, &master, &duplicate).map_err(|halt| as_versions(halt, op))?;
        let [kept, goes] = [&master, &duplicate].map(|held| Arc::clone(&held.file.file));
        let seen = self.seen(master, duplicate, blake3)?;
        // No other op has this duplicate.
        self.hashes.remove(&op.duplicate_id);
        Ok(Equal { seen, files: Files { master: kept, duplicate: goes } })
    }

    /// Hashes those of `files` that are not hashed yet, all disks at the same time. No branch that fails takes part
    /// any more; a file that is shorter by now has no hash, and comparing says why.
    pub(super) fn hash_ahead(&mut self, files: &[&Held<'a, F>]) -> Unreadable {
        let mut failed = Unreadable::default();
        let unknown = files.iter().filter(|held| self.known_hash(held).is_none());
        let wanted: BTreeMap<_, _> = unknown.map(|held| (held.stat.id, *held)).collect();
        // The two files of one op are compared byte by byte.
        if wanted.len() <= 2 {
            return failed;
        }
        let files = wanted.values().map(|held| (&*held.file.file, held.stat.size));
        let observer = &mut *self.observer;
        let hashes = self.fs.hash_all(&files.collect::<Vec<_>>(), &mut |bytes| {
            observer.bytes_read(bytes);
            !observer.interrupted() && !observer.time_is_up()
        });
        for ((id, held), hash) in wanted.into_iter().zip(hashes) {
            match hash {
                Ok(Some(blake3)) => self.know(held.stat.fingerprint(), blake3),
                Ok(None) => {}
                Err(error) => {
                    let halt = Halt::from(error);
                    self.stop_branch(&halt);
                    failed.insert(id, halt);
                }
            }
        }
        failed
    }

    /// Compares by these hashes from now on, as far as the files still are as they were.
    pub fn rely_on(&mut self, hashed: &[Hashed]) {
        hashed.iter().for_each(|file| self.know(file.seen, file.blake3));
    }

    pub(super) fn know(&mut self, seen: Fingerprint, blake3: [u8; 32]) {
        self.hashes.insert(seen.id, Hashed { seen, blake3 });
    }

    /// The hash that was taken in this run while the file was as it is now.
    fn known_hash(&self, held: &Held<'_, F>) -> Option<[u8; 32]> {
        let known = self.hashes.get(&held.stat.id)?;
        self.unchanged(&held.stat, &known.seen, "file").is_ok().then_some(known.blake3)
    }

    /// Compares both files of an op that is under way, and remembers their present state.
    pub(super) fn compare_again(&mut self, op: &mut Begun) -> Result<(), Halt> {
        let master = self.open_master(op)?;
        let duplicate = self.open_duplicate(op)?;
        let duplicate = self.hold(duplicate, Lease::Write, "duplicate")?;
        let master = self.hold(master, Lease::Read, "master")?;
        self.still_eligible(op, &master, &duplicate)?;
        let blake3 = self.equal_bytes(op, &master, &duplicate)?;
        let recorded = op.recorded.as_ref();
        if recorded.is_some_and(|recorded| recorded.blake3 != blake3) {
            let why = "both copies changed since the replacement began";
            return Err(Halt::new(Reason::Changed, why));
        }
        if op.made().is_some_and(|undo| undo.blake3 != blake3) {
            let why = "not the bytes that were recorded";
            return Err(Halt::new(Reason::Damaged, why));
        }
        let seen = self.seen(master, duplicate, blake3)?;
        op.master_mtime = seen.master_stat.mtime;
        op.seen = Some(Box::new(seen));
        Ok(())
    }

    /// Both files as they were before their bytes were read, and still are.
    fn seen(
        &self,
        master: Held<'a, F>,
        duplicate: Held<'a, F>,
        blake3: [u8; 32],
    ) -> Result<Seen, Halt> {
        self.both_unchanged([&master, &duplicate])?;
        Ok(Seen {
            flags: self.fs.flags(&duplicate.file.file),
            master: master.stat.fingerprint(),
            duplicate: duplicate.stat.fingerprint(),
            metadata: duplicate.metadata,
            master_metadata: master.metadata,
            atime: duplicate.stat.atime,
            master_stat: master.stat,
            duplicate_stat: duplicate.stat,
            blake3,
        })
    }

    /// Checks that both files are as they were when their fingerprints were taken.
    fn both_unchanged(&self, both: [&Held<'a, F>; 2]) -> Result<(), Halt> {
        for held in both {
            let now = self.fs.stat_open(&held.file.file)?;
            self.unchanged(&now, &held.stat.fingerprint(), "file")?;
        }
        Ok(())
    }

    /// Returns what a difference means. Another program may have written to a file since its fingerprint was taken. Two files
    /// that the scan or an earlier one read as equal, and whose times show no write since, are damage: the disk changed their
    /// bytes.
    fn as_damage(&self, halt: Halt, both: [&Held<'a, F>; 2]) -> Halt {
        if halt.reason != Reason::Differs {
            return halt;
        }
        if let Err(changed) = self.both_unchanged(both) {
            return changed;
        }
        let older = |since: Timestamp| {
            both.iter().all(|held| held.stat.mtime < since && held.stat.ctime < since)
        };
        if !self.options.scanned.is_some_and(older) {
            return halt;
        }
        let why = "they were equal when the scan or an earlier one read them, and neither was written since";
        Halt::new(Reason::Damaged, format!("{}: {why}", halt.detail))
    }

    /// Opens the master by any name that still leads to it.
    pub(super) fn open_master(&mut self, op: &impl Subject) -> Result<Arc<F::File>, Halt> {
        let plan = op.plan();
        let targets = (0..plan.names.len()).map(|k| plan.target(k));
        // The hidden name of a copy first: no client takes that away.
        let copy = op.copy_place().cloned().into_iter();
        let places = copy.chain([plan.master.clone()]).chain(targets);
        match self.open_inode(places, op.master_inode(), op.master_birth(), "master") {
            // Clients renamed all the names that the plan knew.
            Err(gone) if gone.reason == Reason::Changed => match op.number() {
                Some(id) => self.open_held_master(id)?.ok_or(gone),
                None => Err(gone),
            },
            opened => opened,
        }
    }

    /// Opens the duplicate by any of its own or retired names that still leads to it.
    pub(super) fn open_duplicate(&mut self, op: &impl Subject) -> Result<Arc<F::File>, Halt> {
        let (plan, journal) = (op.plan(), self.journal.id());
        let own = (0..plan.names.len()).map(|k| plan.own(k));
        let hidden = op.number().into_iter().flat_map(|id| {
            let names = 0..plan.names.len();
            names.map(move |k| plan.retired_place(journal, id, k))
        });
        let places = own.chain(hidden);
        self.open_inode(places, plan.duplicate_id, op.duplicate_birth(), "duplicate")
    }

    fn open_inode(
        &mut self,
        places: impl Iterator<Item = Place>,
        id: InodeId,
        born: Option<Timestamp>,
        what: &str,
    ) -> Result<Arc<F::File>, Halt> {
        // A birth time other than the recorded one means another file under a reused inode number.
        let same = |stat: &Stat| born.is_none_or(|born| stat.btime == Some(born));
        let open = self.opened.get(&id).map(|open| (open.mount, open.file.upgrade()));
        for place in places {
            if let Some((mount, Some(open))) = &open {
                let there = self.fs.stat_if_there(&place)?;
                match there.filter(|stat| stat.id == id && same(stat)) {
                    None => continue,
                    Some(stat) if stat.mount == *mount => return Ok(Arc::clone(open)),
                    // A link from a descriptor does not cross a mount, though the device is the same.
                    Some(_) => {}
                }
            }
            let opened = self.fs.open_inode(&place, id)?;
            if let Some((file, stat)) = opened.filter(|(_, stat)| same(stat)) {
                let file = Arc::new(file);
                let open = OpenFile { mount: stat.mount, file: Arc::downgrade(&file) };
                self.opened.insert(id, open);
                return Ok(file);
            }
        }
        Err(Halt::new(Reason::Changed, format!("the {what} is no longer at its name")))
    }

    /// The file `id` if it is open. It is not opened a second time: the kernel would then give no write lease.
    pub(super) fn opened(&self, id: InodeId) -> Option<Arc<F::File>> {
        self.opened.get(&id)?.file.upgrade()
    }

    /// Takes fingerprint and metadata under a momentary lease: a store through an older shared mapping moves no
    /// times, and while the lease can be had there is no such mapping.
    pub(super) fn hold(
        &self,
        file: Arc<F::File>,
        lease: Lease,
        what: &str,
    ) -> Result<Held<'a, F>, Halt> {
        self.hold_within(TRIES, file, lease, what)
    }

    /// Does the same for a file that many ops may share: where an op has waited for it in vain, the next one does not wait.
    pub(super) fn hold_shared(
        &mut self,
        id: InodeId,
        file: Arc<F::File>,
        lease: Lease,
        what: &str,
    ) -> Result<Held<'a, F>, Halt> {
        let tries = if self.busy.contains(&id) { 1 } else { TRIES };
        let held = self.hold_within(tries, file, lease, what);
        match &held {
            Err(halt) if halt.reason == Reason::Busy => self.busy.insert(id),
            _ => self.busy.remove(&id),
        };
        held
    }

    fn hold_within(
        &self,
        tries: u32,
        file: Arc<F::File>,
        lease: Lease,
        what: &str,
    ) -> Result<Held<'a, F>, Halt> {
        let mut leased = Leased::new(self.fs, self.options.leases, file);
        leased.take_within(tries, lease, what)?;
        let (stat, metadata) = self.fs.look_at_open(&leased.file)?;
        leased.release()?;
        Ok(Held { file: leased, stat, metadata })
    }

    /// Whether both files can be the files of `op`: regular, of its size, not immutable, and not changed within the
    /// last `settled` nanoseconds by another program.
    fn usable(
        &self,
        op: &Op,
        settled: i128,
        master: &Held<'a, F>,
        duplicate: &Held<'a, F>,
    ) -> Result<(), Halt> {
        for (held, what) in [(master, "master"), (duplicate, "duplicate")] {
            if held.stat.kind != FileKind::Regular || held.stat.size != op.size {
                let why = format!("the {what} has another size now");
                return Err(Halt::new(Reason::Changed, why));
            }
            if held.stat.immutable {
                let why = format!("the {what} is immutable");
                return Err(Halt::new(Reason::Immutable, why));
            }
            if self.is_recent(&held.stat, settled) {
                let why = format!("the {what} changed a moment ago");
                return Err(Halt::again(Reason::Busy, why));
            }
        }
        Ok(())
    }

    fn still_eligible(
        &self,
        op: &Begun,
        master: &Held<'a, F>,
        duplicate: &Held<'a, F>,
    ) -> Result<(), Halt> {
        let copy = op.copy.as_ref();
        let before = copy.and_then(|copy| copy.source_metadata.as_ref());
        if before.is_some_and(|before| *before != duplicate.metadata) {
            return Err(Halt::metadata_changed());
        }
        // This process, or the process that began the op, moved the ctimes of an op under way.
        self.usable(op, TICK_NS, master, duplicate)?;
        // The file that is being made has the time of before: a time that another program set since would be lost.
        if op.made().is_some_and(|made| made.source_mtime != duplicate.stat.mtime) && !op.salvaged {
            return Err(Halt::new(
                Reason::Changed,
                "its time was set by another program meanwhile",
            ));
        }
        if !op.has_whole_duplicate() {
            // The copy was made after the intent, and the file that stays keeps its further names and its own metadata,
            // as long as no client changes either.
            let known = self.known_names(op, |stat| op.is_master(stat))?;
            if master.stat.nlink != known && !op.salvaged {
                let detail = format!("{} names, {known} known", master.stat.nlink);
                return Err(Halt::new(Reason::UnknownLinks, detail));
            }
            return Ok(());
        }
        let known = self.known_links(op)?;
        if duplicate.stat.nlink != known {
            let detail = format!("{} names, {known} known", duplicate.stat.nlink);
            return Err(Halt::new(Reason::UnknownLinks, detail));
        }
        match &op.recorded {
            // Recovery: whether the two may differ was decided when the op began; since then neither may move.
            Some(recorded) if recorded.metadata != duplicate.metadata => {
                Err(Halt::new(Reason::Changed, "the duplicate's metadata changed meanwhile"))
            }
            Some(_) => Ok(()),
            // The clone, or the copy of a clone, was given the duplicate's.
            None if op.made().is_some() => Ok(()),
            None => {
                let ignore = &self.options.ignore;
                let differs = ignore.differs(&master.metadata, &duplicate.metadata);
                differs.map_or(Ok(()), |reason| Err(Halt::new(reason, METADATA_DIFFERS)))
            }
        }
    }

    /// Returns how many names of the duplicate there should be: its own, wherever clients have renamed them to.
    fn known_links(&self, op: &Begun) -> Result<u64, Halt> {
        let journal = self.journal.id();
        let mut known = 0;
        for k in 0..op.names.len() {
            let mut places = vec![op.own(k), op.retired_place(journal, k)];
            if op.kind == OpKind::Cross {
                // The temp name is never a name of the duplicate's, but looked at: a stray link made by this program
                // would count.
                places.push(op.hidden(journal, k, Role::Temp));
            }
            for place in places {
                known += u64::from(self.fs.stat(&place)?.is_some_and(|s| op.is_duplicate(&s)));
            }
        }
        Ok(known)
    }

    /// Whether another program changed the file so lately that another write might not move its times: the contents
    /// within [`SETTLED_NS`], anything within `settled`.
    pub(super) fn is_recent(&self, stat: &Stat, settled: i128) -> bool {
        let now = self.fs.now().as_nanos();
        // Times in the future (a clock that was set back) say nothing about a moment ago.
        let recent = |time: Timestamp, settled| (0..settled).contains(&(now - time.as_nanos()));
        let by_us = self.ours.get(&stat.id) == Some(&stat.ctime);
        recent(stat.mtime, SETTLED_NS) || (recent(stat.ctime, settled) && !by_us)
    }

    /// Returns the BLAKE3 of the contents. Fails unless the contents are equal byte for byte, or have the same hash, taken
    /// in this run while the files were as they are now.
    fn equal_bytes(
        &mut self,
        op: &Op,
        master: &Held<'a, F>,
        duplicate: &Held<'a, F>,
    ) -> Result<[u8; 32], Halt> {
        let both = [master, duplicate];
        let (one, other) = match (self.known_hash(master), self.known_hash(duplicate)) {
            (Some(one), Some(other)) => (one, other),
            (Some(one), None) => (one, self.hash(&duplicate.file.file, op.size)?),
            (None, Some(other)) => (self.hash(&master.file.file, op.size)?, other),
            (None, None) => {
                let hash = self.compare_bytes(op, &master.file.file, &duplicate.file.file);
                let hash = hash.map_err(|halt| self.as_damage(halt, both))?;
                (hash, hash)
            }
        };
        if other != one {
            return Err(self.as_damage(differs(op), both));
        }
        self.know(master.stat.fingerprint(), one);
        Ok(one)
    }

    pub(super) fn hash(&mut self, file: &F::File, size: u64) -> Result<[u8; 32], Halt> {
        let (fs, mut stopped) = (self.fs, Ok(()));
        let part = |buf: &mut [u8], offset| {
            announce(fs, [file], offset);
            fs.read_at(file, buf, offset)
        };
        let mut buffer = std::mem::take(&mut self.buffers.0);
        let hash = hash_of(size, &mut buffer, part, &mut |bytes| {
            stopped = self.progress(bytes);
            stopped.is_ok()
        });
        self.buffers.0 = buffer;
        stopped?;
        let shorter = || Halt::new(Reason::Changed, "became shorter while it was read");
        hash?.ok_or_else(shorter)
    }

    fn compare_bytes(
        &mut self,
        op: &Op,
        master: &F::File,
        duplicate: &F::File,
    ) -> Result<[u8; 32], Halt> {
        let mut hasher = blake3::Hasher::new();
        grow(&mut self.buffers, op.size);
        let mut offset = 0;
        while offset < op.size {
            announce(self.fs, [master, duplicate], offset);
            let one = self.fs.read_full(master, &mut self.buffers.0, offset)?;
            let other = self.fs.read_full(duplicate, &mut self.buffers.1, offset)?;
            if one == 0 || self.buffers.0[..one] != self.buffers.1[..other] {
                return Err(differs(op));
            }
            hasher.update(&self.buffers.0[..one]);
            offset += one as u64;
            self.progress(2 * one as u64)?;
        }
        Ok(hasher.finalize().into())
    }

    pub(super) fn progress(&mut self, bytes: u64) -> Result<(), Halt> {
        self.observer.bytes_read(bytes);
        match self.asked_to_stop() {
            Some(reason) => Err(Halt::new(reason, "stopped while reading")),
            None => Ok(()),
        }
    }
}

/// Announces what is read after `offset`.
fn announce<F: Change, const N: usize>(fs: &F, files: [&F::File; N], offset: u64) {
    if let Some((from, len)) = ahead(offset) {
        files.iter().for_each(|file| fs.expect(file, from, len));
    }
}

/// Makes both buffers long enough for a file of `size` bytes, and of one length.
fn grow((one, other): &mut (Vec<u8>, Vec<u8>), size: u64) {
    let wanted = usize::try_from(size).unwrap_or(CHUNK).min(CHUNK);
    let wanted = wanted.max(one.len()).max(other.len());
    one.resize(wanted, 0);
    other.resize(wanted, 0);
}

/// A hidden copy and the copy that is shown at its path: different versions, which nobody claimed to be equal.
fn as_versions(halt: Halt, op: &Op) -> Halt {
    match halt.reason {
        Reason::Differs if op.merges_copies() => Halt::new(Reason::ShadowsDiffer, halt.detail),
        _ => halt,
    }
}

fn differs(op: &Op) -> Halt {
    Halt::new(Reason::Differs, format!("not equal to {:?}", op.master.path))
}
