//! Files that stay two files and share their blocks. The kernel compares and shares in one step: no name, inode or time
//! changes, no lease is needed, and after a crash each file has its bytes, shared or not. So there is nothing to recover and
//! nothing to undo, and the journal gets one record, afterwards.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Executor, Halt, OpEnded, Outcome, RunError, STEPS};
use crate::fs::{Change, FileKind, Fingerprint, FsError, Stat, how_stored};
use crate::journal::{Record, SharedRecord, Store};
use crate::plan::refusal::Reason;
use crate::plan::{Op, OpId, same_storage};

/// Bytes shared in one call: no filesystem takes more at a time from every kernel.
const PIECE: u64 = 16 << 20;
/// Bytes hashed at a time.
const CHUNK: usize = 1 << 20;
/// How many files get their records together.
const FILES: usize = 64;
/// After so many bytes, too.
const BYTES: u64 = 4 << 30;

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Lets the duplicates of `ops` share the blocks of their masters.
    pub(super) fn share_all(&mut self, ops: Vec<Op>) -> Result<(), RunError> {
        let mut ops = ops.into_iter().peekable();
        while ops.peek().is_some() {
            if let Some(what) = self.observer.pool_changed() {
                return Err(RunError::PoolChanged(what));
            }
            let (mut done, mut bytes) = (Vec::new(), 0);
            while let Some(op) = ops.next_if(|_| done.len() < FILES && bytes < BYTES) {
                bytes += op.size;
                match self.share(&op) {
                    Ok(shared) => done.push((op, shared)),
                    Err(halt) => self.not_done(&op, None, halt),
                }
                (0..STEPS).for_each(|_| self.observer.stepped());
            }
            self.record_shared(done)?;
        }
        Ok(())
    }

    fn record_shared(&mut self, done: Vec<(Op, SharedFiles)>) -> Result<(), RunError> {
        let ops: Vec<(Op, OpId, u64)> = done
            .iter()
            .map(|(op, shared)| (op.clone(), self.journal.next_op(self.run), shared.reclaimed))
            .collect();
        let records = ops.iter().zip(&done).flat_map(|((op, id, reclaimed), (_, shared))| {
            let record = Record::Shared(Box::new(SharedRecord {
                op: *id,
                master: self.recorded(&op.master, &shared.master),
                duplicate: self.recorded(&op.duplicate, &shared.duplicate),
                names: op.names.iter().map(|name| (name.from, name.path.clone())).collect(),
                reclaimed: *reclaimed,
            }));
            let contents = shared.blake3.map(|blake3| Record::SharedContents { op: *id, blake3 });
            std::iter::once(record).chain(contents)
        });
        let records: Vec<Record> = records.collect();
        self.journal.record(&records, self.fs.now())?;
        for (op, id, reclaimed) in &ops {
            self.observer.ended(&OpEnded {
                op,
                id: Some(*id),
                outcome: &Outcome::Done { reclaimed: *reclaimed },
                recovered: false,
            });
        }
        Ok(())
    }

    /// Checks that both files are to have blocks of one kind.
    pub(super) fn stored_alike(&self, one: &F::File, other: &F::File) -> Result<(), Halt> {
        let [one, other] = [one, other].map(|file| self.fs.flags(file).map(how_stored));
        same_storage(one, other).map_err(|(reason, why)| Halt::new(reason, why))
    }

    /// Shares the blocks of one pair.
    fn share(&mut self, op: &Op) -> Result<SharedFiles, Halt> {
        if let Some(reason) = self.asked_to_stop() {
            return Err(Halt::new(reason, "not begun"));
        }
        self.not_stopped(op)?;
        self.identified(op)?;
        for branch in op.branches().chain([op.master.branch]).collect::<BTreeSet<_>>() {
            self.fs.check_branch(branch)?;
        }
        let (master, duplicate) = (self.open_master(op)?, self.open_duplicate(op)?);
        let stats = (self.fs.stat_open(&master)?, self.fs.stat_open(&duplicate)?);
        for stat in [&stats.0, &stats.1] {
            if stat.kind != FileKind::Regular || stat.size != op.size {
                return Err(Halt::new(Reason::Changed, "it has another size now"));
            }
        }
        self.stored_alike(&master, &duplicate)?;
        // What a snapshot or another file holds stays in use.
        let held = self.fs.shared(&duplicate)?;
        let (mut offset, mut hasher) = (0, blake3::Hasher::new());
        while offset < op.size {
            if let Some(reason) = self.asked_to_stop() {
                return Err(Halt::new(reason, "stopped while sharing"));
            }
            let len = PIECE.min(op.size - offset);
            let shared = self.fs.share(&master, &duplicate, offset, len).map_err(cannot_share)?;
            let now = (self.fs.stat_open(&master)?, self.fs.stat_open(&duplicate)?);
            match shared {
                Some(0) => {
                    let why = "the filesystem shared nothing of it";
                    return Err(Halt::new(Reason::NoReflink, why));
                }
                Some(bytes) => {
                    // The kernel has just compared these bytes: they are in memory.
                    self.hash_part(&master, offset..offset + bytes, &mut hasher)?;
                    offset += bytes;
                    self.observer.bytes_read(2 * bytes);
                }
                None if same_contents(&stats, &now) => {
                    let detail = format!("not equal to {:?}", op.master.path);
                    return Err(Halt::new(Reason::Differs, detail));
                }
                None => return Err(Halt::new(Reason::Changed, "a program wrote to it meanwhile")),
            }
        }
        let reclaimed = (stats.1.blocks * 512).saturating_sub(held);
        let now = (self.fs.stat_open(&master)?, self.fs.stat_open(&duplicate)?);
        // A write after the kernel's comparison, and before these bytes were read, would be in the hash.
        let certain = same_contents(&stats, &now)
            && ![&now.0, &now.1].into_iter().any(|stat| self.is_recent(stat, 0));
        let blake3 = certain.then(|| hasher.finalize().into());
        Ok(SharedFiles { master: stats.0, duplicate: stats.1, reclaimed, blake3 })
    }

    /// Adds a part of a file to a hash.
    fn hash_part(
        &mut self,
        file: &F::File,
        part: Range<u64>,
        hasher: &mut blake3::Hasher,
    ) -> Result<(), Halt> {
        let mut buffer = std::mem::take(&mut self.buffers.0);
        buffer.resize(buffer.len().max(CHUNK), 0);
        let mut offset = part.start;
        while offset < part.end {
            let room = usize::try_from(part.end - offset).unwrap_or(CHUNK).min(CHUNK);
            let read = self.fs.read_full(file, &mut buffer[..room], offset)?;
            if read == 0 {
                return Err(Halt::new(Reason::Changed, "became shorter while it was read"));
            }
            hasher.update(&buffer[..read]);
            offset += read as u64;
        }
        self.buffers.0 = buffer;
        Ok(())
    }
}

/// A pair that shares its blocks now.
struct SharedFiles {
    master: Stat,
    duplicate: Stat,
    reclaimed: u64,
    /// The contents of both, where no program can have written to them meanwhile.
    blake3: Option<[u8; 32]>,
}

/// Whether no write moved the times of either file.
fn same_contents(before: &(Stat, Stat), now: &(Stat, Stat)) -> bool {
    let of = |stats: &(Stat, Stat)| -> [Fingerprint; 2] {
        [stats.0.fingerprint(), stats.1.fingerprint()]
    };
    of(before)
        .iter()
        .zip(of(now))
        .all(|(one, other)| (one.id, one.size, one.mtime) == (other.id, other.size, other.mtime))
}

/// The kernel's reasons against sharing the blocks of two files.
pub(super) fn cannot_share(error: FsError) -> Halt {
    let detail = format!("{error}: {}", error.source);
    match error.errno() {
        libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EXDEV | libc::EINVAL => {
            Halt::new(Reason::NoReflink, detail)
        }
        libc::ETXTBSY => Halt::new(Reason::SwapFile, detail),
        libc::EROFS => Halt::new(Reason::DiskReadOnly, detail),
        _ => Halt::from(error),
    }
}
