//! Copy: an undo makes the removed file again, under a hidden name, complete before any other program sees it.

use super::Executor;
use super::begun::{Begun, Subject as _};
use super::halt::Halt;
use super::window::Leased;
use super::work::{OpState, Over};
use crate::fs::{Change, FileKind, Lease, Place};
use crate::journal::Store;
use crate::plan::Undoing;
use crate::plan::hidden_name::Role;
use crate::plan::refusal::Reason;

/// Bytes read and written at a time.
const CHUNK: usize = 1 << 20;
/// Zeros of at least this length, at a multiple of it, become a hole.
const HOLE: usize = 4096;

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Makes the copy of `op` under its hidden name, with everything but its names, on stable storage.
    ///
    /// Removes what an interrupted copy left there first.
    pub(super) fn copy(&mut self, op: &mut Begun) -> Result<(), Halt> {
        let (Some(undo), Some(at)) = (op.undo().cloned(), op.copy_place().cloned()) else {
            return Ok(());
        };
        self.clear_copy(op)?;
        let source = self.open_duplicate(op)?;
        let found = self.fs.stat_open(&source)?;
        if found.size != op.size || found.mtime != undo.source_mtime {
            let why = "written to since it was linked";
            return Err(Halt::new(Reason::ChangedSince, why));
        }
        let dir = at.dir();
        self.touched.before(self.fs, &dir)?;
        let made = self.fs.create(&at);
        self.touched.after(self.fs, &dir)?;
        let made = made?;
        // Before the data: a file that has data can no longer be without copy-on-write, and compression is for what is
        // written from now on.
        if let Some(flags) = undo.flags {
            self.fs.set_flags(&made, flags);
        }
        if self.copy_bytes(&source, &made, op.size, undo.sparse)? != undo.blake3 {
            let why = "not the bytes that were recorded";
            return Err(Halt::new(Reason::Damaged, why));
        }
        self.dress(&made, &undo)?;
        // Data, attributes and times: the names that come next must never lead, after a power cut, to less.
        self.fs.sync_file(&made)?;
        let stat = self.fs.stat_open(&made)?;
        self.ours.insert(stat.id, stat.ctime);
        op.master_id = stat.id;
        Ok(())
    }

    /// Makes the copy of an op found open; does nothing where the copy is recorded as complete.
    pub(super) fn copy_again(&mut self, op: &mut Begun) -> Result<(), Halt> {
        match &op.copy {
            Some(copy) if !copy.complete => self.copy(op),
            _ => Ok(()),
        }
    }

    /// Copies contents; returns their BLAKE3.
    fn copy_bytes(
        &mut self,
        source: &F::File,
        made: &F::File,
        size: u64,
        sparse: bool,
    ) -> Result<[u8; 32], Halt> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(CHUNK).min(CHUNK)];
        let mut offset = 0;
        while offset < size {
            let got = self.fs.read_full(source, &mut buffer, offset)?;
            if got == 0 {
                let why = "became shorter while it was read";
                return Err(Halt::new(Reason::ChangedSince, why));
            }
            hasher.update(&buffer[..got]);
            self.write(made, &buffer[..got], offset, sparse)?;
            offset += got as u64;
            self.progress(got as u64)?;
        }
        // A hole at the end.
        self.fs.set_len(made, size)?;
        Ok(hasher.finalize().into())
    }

    fn write(&self, made: &F::File, bytes: &[u8], at: u64, sparse: bool) -> Result<(), Halt> {
        if !sparse {
            return Ok(self.fs.write_at(made, bytes, at)?);
        }
        for (start, end) in data_of(bytes) {
            self.fs.write_at(made, &bytes[start..end], at + start as u64)?;
        }
        Ok(())
    }

    /// Sets owner, mode, ACL and attributes, and last the times, which every other call would move.
    fn dress(&self, made: &F::File, undo: &Undoing) -> Result<(), Halt> {
        self.fs.set_metadata(made, &undo.metadata)?;
        let given = self.fs.metadata(made)?;
        if given.without_labels() != undo.metadata.without_labels() {
            let why = "owner, mode, ACL or attributes cannot be given back on this filesystem";
            return Err(Halt::new(Reason::Io, why));
        }
        Ok(self.fs.set_times(made, undo.atime, undo.mtime)?)
    }

    /// Removes the file under the hidden name of a copy. Only a copy has such a name.
    ///
    /// The names that the copy replaces must be gone first. The hidden name finds the copy again, whatever a client
    /// does to its path.
    pub(super) fn clear_copy(&mut self, op: &Begun) -> Result<(), Halt> {
        let Some(at) = op.copy_place().cloned() else {
            return Ok(());
        };
        match self.fs.stat(&at)? {
            Some(stat) if op.is_master(&stat) && !op.salvaged => self.clear_last_name(op, &at),
            Some(stat) if stat.kind == FileKind::Regular => self.unlink(&at, stat.id),
            _ => Ok(()),
        }
    }

    /// Removes the hidden name of a complete copy. A copy without a visible name is kept if a client wrote to it: the
    /// client may have opened it in the moment in which it had the path.
    fn clear_last_name(&mut self, op: &Begun, at: &Place) -> Result<(), Halt> {
        // Clients removed every other name of the contents: the hidden file may be the last copy.
        if !self.is_visible(op)? {
            return Err(Halt::only_hidden());
        }
        let file = self.fs.open(at)?;
        let mut hidden = 1;
        for k in 0..op.names.len() {
            for role in [Role::Temp, Role::Withdrawn] {
                let place = op.hidden(self.journal.id(), k, role);
                hidden += u64::from(self.fs.stat(&place)?.is_some_and(|s| op.is_master(&s)));
            }
        }
        if self.fs.stat_open(&file)?.nlink > hidden {
            return self.unlink(at, op.master_id);
        }
        // While the lease is held no other program has the copy open, and earlier writes show.
        let mut copy = Leased::new(self.fs, self.options.leases, file);
        copy.take(Lease::Write, "copy")?;
        let now = self.fs.stat_open(&copy.file)?;
        let mtime = op.undo().map(|undo| undo.mtime);
        if now.size != op.size || Some(now.mtime) != mtime {
            return Err(Halt::new(
                Reason::Conflict,
                "its path was written to while it was taken back: what was written is kept under a hidden name",
            ));
        }
        self.unlink(at, op.master_id)
    }

    /// Removes the directories that runs made and that undone ops have left empty, innermost first.
    ///
    /// Where that fails the op stays open, and its recovery tries again.
    pub(super) fn remove_emptied(&mut self, over: &mut [Over]) {
        let undone = over.iter_mut().filter(|ended| matches!(ended.state, OpState::Removed(_)));
        for ended in undone {
            let branch = ended.op.duplicate.branch;
            for dir in ended.op.undo().iter().flat_map(|undo| &undo.emptied) {
                let place = Place::new(branch, dir.clone());
                let removed = match self.is_in_place(&ended.op, &place) {
                    // A client renamed it; the directory at its path now is the client's own.
                    Ok(false) => break,
                    Ok(true) => self.remove_dirs(std::slice::from_ref(&place)),
                    Err(error) => Err(error),
                };
                match removed {
                    Ok(()) => {}
                    // The directory holds something, or this process may not remove it: it stays, and so do the
                    // directories above it.
                    Err(error) if stays(error.errno()) => break,
                    Err(error) => {
                        let halt = Halt::from(error);
                        self.stop_branch(&halt);
                        ended.state = OpState::Stuck(halt);
                        break;
                    }
                }
            }
        }
    }
}

/// Whether a directory that cannot be removed stays: it holds something, or this process may not remove it.
pub(super) fn stays(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOTEMPTY | libc::EEXIST | libc::EBUSY | libc::EPERM | libc::EACCES | libc::ENOTDIR
    )
}

/// The parts of `bytes` that are not zeros, in blocks of [`HOLE`].
fn data_of(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for (at, block) in bytes.chunks(HOLE).enumerate() {
        if block.iter().all(|b| *b == 0) {
            continue;
        }
        let (start, end) = (at * HOLE, at * HOLE + block.len());
        match parts.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => parts.push((start, end)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_become_holes_block_by_block() {
        let mut bytes = vec![0; 5 * HOLE + 10];
        assert!(data_of(&bytes).is_empty());
        bytes[HOLE] = 1;
        bytes[3 * HOLE - 1] = 1;
        bytes[5 * HOLE + 3] = 1;
        let parts = [(HOLE, 3 * HOLE), (5 * HOLE, 5 * HOLE + 10)];
        assert_eq!(data_of(&bytes), parts);
    }
}
