//! Compare: nothing is removed whose bytes were not found equal to the master's in this run (invariant 2).

use std::time::Duration;

use super::op::{Op, Seen};
use super::undo::metadata_changed;
use super::window::Leased;
use super::{Executor, halt::Halt};
use crate::fs::{FileKind, Fs, InodeId, Lease, Metadata, Place, Stat, Timestamp};
use crate::journal::{OpKind, Store};
use crate::plan::hidden_name::Role;
use crate::plan::refusal::Reason;

/// Bytes read at a time from each file.
const CHUNK: usize = 1 << 20;
/// A write within the clock's tick of a fingerprint would not move the times: files changed less than this ago wait.
const SETTLED_NS: i128 = 2_000_000_000;

/// More than a tick of any clock that file times are taken from.
const TICK_NS: i128 = 50_000_000;
/// What to wait for an op that is under way, whose files were touched a moment ago.
pub(super) const SETTLE_TICK: Duration = Duration::from_millis(60);

/// A file, its lease given back, and what it was while that was held.
pub(super) struct Held<'f, F: Fs> {
    file: Leased<'f, F>,
    pub(super) stat: Stat,
    pub(super) metadata: Metadata,
}

impl<'a, F: Fs, S: Store> Executor<'a, F, S> {
    /// Compares both files of `op` and remembers what they were; no lease is held while bytes are read.
    pub(super) fn compare(&mut self, op: &mut Op) -> Result<(), Halt> {
        let master = self.open_master(op)?;
        let duplicate = self.open_duplicate(op)?;
        // A momentary *write* lease on the duplicate: a file somebody reads is refused before gigabytes are read.
        let duplicate = self.hold(duplicate, Lease::Write, "duplicate")?;
        let master = self.hold(master, Lease::Read, "master")?;
        self.eligible(op, &master, &duplicate)?;
        let stats = [&master.stat, &duplicate.stat];
        let blake3 = self
            .equal_bytes(op, &master, &duplicate)
            .map_err(|halt| self.perhaps_rot(halt, stats))?;
        if op
            .recorded
            .as_ref()
            .is_some_and(|recorded| recorded.blake3 != blake3)
        {
            return Err(Halt::new(
                Reason::Changed,
                "both copies changed since the op began",
            ));
        }
        if op.undo.as_ref().is_some_and(|undo| undo.blake3 != blake3) {
            let why = "not the bytes that were recorded";
            return Err(Halt::new(Reason::Damaged, why));
        }
        for held in [&master, &duplicate] {
            let now = self.fs.stat_open(&held.file.file)?;
            self.unchanged(&now, &held.stat.fingerprint(), "file")?;
        }
        op.master_mtime = master.stat.mtime;
        op.seen = Some(Box::new(Seen {
            master: master.stat.fingerprint(),
            duplicate: duplicate.stat.fingerprint(),
            metadata: duplicate.metadata,
            master_metadata: master.metadata,
            atime: duplicate.stat.atime,
            master_stat: master.stat,
            duplicate_stat: duplicate.stat,
            blake3,
        }));
        Ok(())
    }

    /// Files whose fingerprints were equal, now or in an earlier scan, and whose times say that nobody wrote since:
    /// where their bytes differ, it is the disk that changed them.
    fn perhaps_rot(&self, halt: Halt, stats: [&Stat; 2]) -> Halt {
        let older = |since: Timestamp| stats.iter().all(|s| s.mtime < since && s.ctime < since);
        if halt.reason != Reason::Differs || !self.options.scanned.is_some_and(older) {
            return halt;
        }
        let why = "they were equal when the scan or an earlier one read them, and neither was written since";
        Halt::new(Reason::Damaged, format!("{}: {why}", halt.detail))
    }

    /// Opens the master by any name that still leads to it.
    pub(super) fn open_master(&self, op: &Op) -> Result<F::File, Halt> {
        let targets = (0..op.names.len()).map(|k| op.target(k));
        // The hidden name of a copy first: no client takes that away.
        let copy = op.copy_place().cloned().into_iter();
        let places = copy.chain([op.master.clone()]).chain(targets);
        let born = op
            .recorded
            .as_ref()
            .and_then(|recorded| recorded.master_btime);
        match self.open_inode(places, (op.master_id, born), "master") {
            // Clients renamed all the names that the plan knew.
            Err(gone) if gone.reason == Reason::Changed => match self.open_held_master(op)? {
                Some(file) => Ok(file),
                None => Err(gone),
            },
            opened => opened,
        }
    }

    /// Opens the duplicate by any of its own or retired names that still leads to it.
    pub(super) fn open_duplicate(&self, op: &Op) -> Result<F::File, Halt> {
        let journal = self.journal.id();
        let own = (0..op.names.len()).map(|k| op.own(k));
        let hidden = (0..op.names.len()).filter(|_| op.id.is_some());
        let hidden = hidden.map(|k| op.retired_place(journal, k));
        let born = op
            .recorded
            .as_ref()
            .and_then(|recorded| recorded.duplicate_btime);
        self.open_inode(own.chain(hidden), (op.duplicate_id, born), "duplicate")
    }

    fn open_inode(
        &self,
        places: impl Iterator<Item = Place>,
        (id, born): (InodeId, Option<Timestamp>),
        what: &str,
    ) -> Result<F::File, Halt> {
        for place in places {
            if self.fs.stat(&place)?.is_none_or(|stat| stat.id != id) {
                continue;
            }
            let file = self.fs.open(&place)?;
            // The name may lead elsewhere by now: what counts is the open file. Another birth time than recorded
            // is another file under a reused inode number.
            let stat = self.fs.stat_open(&file)?;
            if stat.id == id && born.is_none_or(|born| stat.btime == Some(born)) {
                return Ok(file);
            }
        }
        Err(Halt::new(
            Reason::Changed,
            format!("the {what} is no longer at its name"),
        ))
    }

    /// Takes fingerprint and metadata under a momentary lease: a store through an older shared mapping moves no
    /// times, and while the lease can be had there is no such mapping.
    pub(super) fn hold(
        &self,
        file: F::File,
        lease: Lease,
        what: &str,
    ) -> Result<Held<'a, F>, Halt> {
        let mut leased = Leased::new(self.fs, self.options.leases, file);
        leased.take(lease, what)?;
        let stat = self.fs.stat_open(&leased.file)?;
        let metadata = self.fs.metadata(&leased.file)?;
        leased.release()?;
        Ok(Held {
            file: leased,
            stat,
            metadata,
        })
    }

    /// The copy was made after what is recorded, and the file that stays keeps its further names and its own metadata: as
    /// long as no client changes either.
    fn eligible_undo(&self, op: &Op, copy: &Held<'a, F>) -> Result<(), Halt> {
        let known = self.known_names(op, |stat| op.is_master(stat))?;
        if copy.stat.nlink != known && !op.salvaged {
            let detail = format!("{} names, {known} known", copy.stat.nlink);
            return Err(Halt::new(Reason::UnknownLinks, detail));
        }
        Ok(())
    }

    fn eligible(&self, op: &Op, master: &Held<'a, F>, duplicate: &Held<'a, F>) -> Result<(), Halt> {
        let before = op
            .undo
            .as_ref()
            .and_then(|undo| undo.source_metadata.as_ref());
        if before.is_some_and(|before| *before != duplicate.metadata) {
            return Err(metadata_changed());
        }
        for (held, what) in [(master, "master"), (duplicate, "duplicate")] {
            if held.stat.kind != FileKind::Regular || held.stat.size != op.size {
                return Err(Halt::new(
                    Reason::Changed,
                    format!("the {what} has another size now"),
                ));
            }
            if held.stat.immutable {
                return Err(Halt::new(
                    Reason::Immutable,
                    format!("the {what} is immutable"),
                ));
            }
            if self.is_recent(op, &held.stat) {
                return Err(Halt::again(
                    Reason::Busy,
                    format!("the {what} changed a moment ago"),
                ));
            }
        }
        if op.undo.is_some() {
            return self.eligible_undo(op, master);
        }
        let known = self.known_links(op)?;
        if duplicate.stat.nlink != known {
            let detail = format!("{} names, {known} known", duplicate.stat.nlink);
            return Err(Halt::new(Reason::UnknownLinks, detail));
        }
        match &op.recorded {
            // Recovery: whether the two may differ was decided when the op began; since then neither may move.
            Some(recorded) if recorded.metadata != duplicate.metadata => Err(Halt::new(
                Reason::Changed,
                "the duplicate's metadata changed meanwhile",
            )),
            Some(_) => Ok(()),
            None => self
                .options
                .ignore
                .differs(&master.metadata, &duplicate.metadata)
                .map_or(Ok(()), |reason| {
                    Err(Halt::new(
                        reason,
                        "differs from the master's, which the list's did not",
                    ))
                }),
        }
    }

    /// How many names of the duplicate there should be: its own, wherever they are by now.
    fn known_links(&self, op: &Op) -> Result<u64, Halt> {
        if op.id.is_none() {
            return Ok(op.names.len() as u64);
        }
        let journal = self.journal.id();
        let mut known = 0;
        for k in 0..op.names.len() {
            let mut places = vec![op.own(k), op.retired_place(journal, k)];
            if op.kind == OpKind::Cross {
                // Never a name of the duplicate's, but looked at: a stray link of ours would count.
                places.push(op.hidden(journal, k, Role::Temp));
            }
            for place in places {
                known += u64::from(self.fs.stat(&place)?.is_some_and(|s| op.is_duplicate(&s)));
            }
        }
        Ok(known)
    }

    /// Whether somebody else changed it so lately that another write might not move its times.
    fn is_recent(&self, op: &Op, stat: &Stat) -> bool {
        let now = self.fs.now().as_nanos();
        // Times in the future (a clock that was set back) say nothing about a moment ago.
        let recent = |time: Timestamp, settled| (0..settled).contains(&(now - time.as_nanos()));
        let by_us = self.ours.get(&stat.id) == Some(&stat.ctime);
        // An op under way: its ctimes were moved by this process or the one that began it.
        let settled = if op.id.is_some() { TICK_NS } else { SETTLED_NS };
        recent(stat.mtime, SETTLED_NS) || (recent(stat.ctime, settled) && !by_us)
    }

    /// BLAKE3 of the contents, after finding them equal byte for byte, or equal to the hash taken of the master
    /// earlier in this run under the same fingerprint.
    fn equal_bytes(
        &mut self,
        op: &Op,
        master: &Held<'a, F>,
        duplicate: &Held<'a, F>,
    ) -> Result<[u8; 32], Halt> {
        let earlier = self.hashes.get(&op.master_id).copied();
        let earlier =
            earlier.filter(|(seen, _)| self.unchanged(&master.stat, seen, "master").is_ok());
        if let Some((_, hash)) = earlier {
            let other = self.hash(&duplicate.file.file, op.size)?;
            return if other == hash {
                Ok(hash)
            } else {
                Err(differs(op))
            };
        }
        let hash = self.compare_bytes(op, &master.file.file, &duplicate.file.file)?;
        self.hashes
            .insert(op.master_id, (master.stat.fingerprint(), hash));
        Ok(hash)
    }

    pub(super) fn hash(&mut self, file: &F::File, size: u64) -> Result<[u8; 32], Halt> {
        let mut hasher = blake3::Hasher::new();
        grow(&mut self.buffers, size);
        let mut offset = 0;
        while offset < size {
            let got = read_full(self.fs, file, &mut self.buffers.0, offset)?;
            if got == 0 {
                return Err(Halt::new(
                    Reason::Changed,
                    "became shorter while it was read",
                ));
            }
            hasher.update(&self.buffers.0[..got]);
            offset += got as u64;
            self.progress(got as u64)?;
        }
        Ok(hasher.finalize().into())
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
            let one = read_full(self.fs, master, &mut self.buffers.0, offset)?;
            let other = read_full(self.fs, duplicate, &mut self.buffers.1, offset)?;
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

/// Makes both buffers long enough for a file of `size` bytes, and of one length.
fn grow((one, other): &mut (Vec<u8>, Vec<u8>), size: u64) {
    let wanted = usize::try_from(size).unwrap_or(CHUNK).min(CHUNK);
    if one.len() < wanted {
        one.resize(wanted, 0);
        other.resize(wanted, 0);
    }
}

fn differs(op: &Op) -> Halt {
    Halt::new(
        Reason::Differs,
        format!("not equal to {:?}", op.master.path),
    )
}

pub(super) fn read_full<F: Fs>(
    fs: &F,
    file: &F::File,
    buf: &mut [u8],
    offset: u64,
) -> Result<usize, Halt> {
    let mut filled = 0;
    while filled < buf.len() {
        match fs.read_at(file, &mut buf[filled..], offset + filled as u64)? {
            0 => break,
            got => filled += got,
        }
    }
    Ok(filled)
}
