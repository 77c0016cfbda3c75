//! Copy: an undo makes the removed file again, under a hidden name, complete before any other program sees it.

use std::sync::Arc;

use super::Executor;
use super::begun::{Begun, Subject as _};
use super::compare::TICK_NS;
use super::halt::Halt;
use super::window::Leased;
use super::work::{Halted, OpState, Over, Work};
use crate::fs::{Change, Copying, FileKind, Lease, Place, Stat};
use crate::journal::Store;
use crate::plan::Undoing;
use crate::plan::hidden_name::Role;
use crate::plan::refusal::Reason;

const WRITTEN_WHILE_HIDDEN: &str =
    "it was written to meanwhile: what was written is kept under a hidden name";

/// A copy that is under way.
struct Files<H> {
    /// The file that stays, to be read; `None` for a clone, which has its contents.
    stays: Option<Arc<H>>,
    made: H,
}

/// An op whose copy is under way.
struct Copied<H> {
    op: Begun,
    files: Files<H>,
}

impl<H> From<Copied<H>> for Begun {
    fn from(copied: Copied<H>) -> Self {
        copied.op
    }
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Makes the copies of a batch under their hidden names, with everything but their names, on stable storage.
    ///
    /// All disks read at the same time, each in physical order, and then all copies are synced together: one after the other,
    /// each copy would wait for two disks and for the journals of both.
    pub(super) fn copy_all(
        &mut self,
        works: Vec<Work<Begun>>,
        over: &mut Vec<Over>,
    ) -> Vec<Work<Begun>> {
        let copies = self.each_part(works, over, |this, mut op| {
            let begun = this.not_stopped(&op).and_then(|()| Ok(this.take_grip(&op)?));
            match begun.and_then(|()| this.begin_copy(&mut op)) {
                Ok(files) => Ok(Copied { op, files }),
                Err(halt) => Err(Box::new(Halted { op, halt })),
            }
        });
        let files = copies.iter().map(|work| (&work.op.op, &work.op.files));
        let mut hashes = self.copy_contents(files).into_iter();
        let copies = self.each_part(copies, over, |this, copy| {
            let read = copy.files.stays.is_some();
            let hash = read.then(|| hashes.next().expect("invariant: a hash for each copy"));
            Self::check(copy, |copy| this.end_copy(&copy.op, &copy.files, hash))
        });
        let made: Vec<_> = copies.iter().map(|work| &work.op.files.made).collect();
        // Data, attributes and times: the names that come next must never lead, after a power cut, to less.
        let mut synced = self.fs.sync_files(&made).into_iter();
        let copies = self.each(copies, over, |this, copy| {
            // A result that was missing must not count as a sync.
            let synced = synced.next().expect("invariant: a result for each copy");
            Self::check(copy, |copy| {
                synced?;
                this.note_copied(&mut copy.op, &copy.files)
            })
        });
        copies.into_iter().map(|work| work.map(Begun::from)).collect()
    }

    /// Makes the copies of undos that were found open, as [`Self::copy_all`], and compares them.
    pub(super) fn copy_found(
        &mut self,
        works: Vec<Work<Begun>>,
        over: &mut Vec<Over>,
    ) -> Vec<Work<Begun>> {
        // Of all before the first is opened to be copied: several may have one file that stays.
        let works =
            self.each_part(works, over, |this, op| Self::check(op, |op| this.note_source(op)));
        let works = self.copy_all(works, over);
        let works = self.read_back(works, over, Self::compare_settled);
        // No later op is compared by these hashes.
        for work in &works {
            self.hashes.remove(&work.op.master_id);
            self.hashes.remove(&work.op.duplicate_id);
        }
        works
    }

    /// Remembers the file that stays of an undo that was found open, as it is while no other program has it open. If it
    /// changed a moment ago, it is read again once it is copied.
    fn note_source(&mut self, op: &mut Begun) -> Result<(), Halt> {
        let stays = self.open_duplicate(op)?;
        let held = self.hold(stays, Lease::Write, "file that stays")?;
        let settled = !self.is_recent(&held.stat, TICK_NS);
        if let Some(copy) = &mut op.copy {
            copy.source = settled.then(|| held.stat.fingerprint());
        }
        Ok(())
    }

    /// Makes the file that the contents go to: empty, or a clone. Removes what an interrupted copy left there first.
    fn begin_copy(&mut self, op: &mut Begun) -> Result<Files<F::File>, Halt> {
        let (Some(undo), Some(at)) = (op.made().cloned(), op.copy_place().cloned()) else {
            return Err(Halt::new(Reason::Changed, "no copy is to be made"));
        };
        self.clear_copy(op)?;
        let source = self.open_duplicate(op)?;
        let found = self.fs.stat_open(&source)?;
        if found.size != op.size || found.mtime != undo.source_mtime {
            return Err(match op.reflinks() {
                true => Halt::again(Reason::Changed, "the duplicate was written to meanwhile"),
                false => Halt::new(Reason::ChangedSince, "written to since it was linked"),
            });
        }
        let dir = at.dir();
        self.touched.before(self.fs, &dir)?;
        let made = self.fs.create(&at);
        self.touched.after(self.fs, &dir)?;
        let made = made?;
        if let Some(copy) = &mut op.copy {
            copy.made = Some(self.fs.stat_open(&made)?.id);
        }
        // Before the data: a file that has data can no longer be without copy-on-write, and compression is for what is
        // written from now on.
        if let Some(flags) = undo.flags {
            self.fs.set_flags(&made, flags);
        }
        if op.reflinks() {
            self.clone_kept(op, &undo, &made)?;
            return Ok(Files { stays: None, made });
        }
        Ok(Files { stays: Some(source), made })
    }

    /// Copies contents; returns their BLAKE3.
    fn copy_contents<'c>(
        &mut self,
        copies: impl Iterator<Item = (&'c Begun, &'c Files<F::File>)>,
    ) -> Vec<Result<Option<[u8; 32]>, Halt>>
    where
        F::File: 'c,
    {
        let copying: Vec<_> = copies
            .filter_map(|(op, files)| {
                Some(Copying {
                    from: (files.stays.as_deref()?, op.duplicate.branch),
                    to: (&files.made, op.master.branch),
                    size: op.size,
                    sparse: op.undo().is_some_and(|undo| undo.sparse),
                })
            })
            .collect();
        let observer = &mut *self.observer;
        let hashes = self.fs.copy_all(&copying, &mut |bytes| {
            observer.bytes_read(bytes);
            !observer.interrupted() && !observer.time_is_up()
        });
        let hashes: Vec<_> = hashes.into_iter().map(|hash| hash.map_err(Halt::from)).collect();
        // Before the next call: on a branch that failed nothing more is done.
        hashes
            .iter()
            .filter_map(|hash| hash.as_ref().err())
            .for_each(|halt| self.stop_branch(halt));
        hashes
    }

    /// Checks what was copied, and sets everything of the copy but its names. `hash` is that of what was read; `None` for a
    /// clone, which is compared as a whole before it is published.
    fn end_copy(
        &mut self,
        op: &Begun,
        files: &Files<F::File>,
        hash: Option<Result<Option<[u8; 32]>, Halt>>,
    ) -> Result<(), Halt> {
        let read = match hash {
            None => None,
            Some(hash) => match hash? {
                Some(blake3) => Some(blake3),
                None => return Err(self.cut_short(op)),
            },
        };
        match op.made() {
            Some(made) if read.map_or(op.reflinks(), |blake3| made.blake3 == blake3) => {
                let source = op.copy.as_ref().and_then(|copy| copy.source);
                if let Some((source, blake3)) = source.zip(read) {
                    self.know(source, blake3);
                }
                self.dress(&files.made, made)
            }
            _ => Err(Halt::new(Reason::Damaged, "not the bytes that were recorded")),
        }
    }

    /// Why a file was not read to its end.
    fn cut_short(&self, op: &Begun) -> Halt {
        if let Some(reason) = self.asked_to_stop() {
            return Halt::new(reason, "stopped while reading");
        }
        self.not_stopped(op)
            .err()
            .unwrap_or_else(|| Halt::new(Reason::ChangedSince, "became shorter while it was read"))
    }

    /// Remembers the copy, which is on stable storage.
    fn note_copied(&mut self, op: &mut Begun, files: &Files<F::File>) -> Result<(), Halt> {
        let stat = self.fs.stat_open(&files.made)?;
        self.ours.insert(stat.id, stat.ctime);
        op.master_id = stat.id;
        Ok(())
    }

    /// Sets the times, owner, mode, ACL and attributes. The times first: once the file has its owner and mode, a program may
    /// open it by its hidden name, and the time of what it writes must stay.
    fn dress(&self, made: &F::File, undo: &Undoing) -> Result<(), Halt> {
        self.fs.set_times(made, undo.atime, undo.mtime)?;
        if self.fs.stat_open(made)?.mtime != undo.mtime {
            return Err(Halt::new(Reason::Io, "its time cannot be kept on this filesystem"));
        }
        self.fs.set_metadata(made, &undo.metadata).map_err(Halt::of_metadata)?;
        let given = self.fs.metadata(made)?;
        if given.without_labels() != undo.metadata.without_labels() {
            let why = "owner, mode, ACL or attributes cannot be given back on this filesystem";
            return Err(Halt::new(Reason::Io, why));
        }
        Ok(())
    }

    /// Removes the file under the hidden name of a copy. Only a copy has such a name.
    ///
    /// The names that the copy replaces must be gone first. The hidden name finds the copy again, whatever a client
    /// does to its path.
    pub(super) fn clear_copy(&mut self, op: &Begun) -> Result<(), Halt> {
        let Some(at) = op.copy_place().cloned() else {
            return Ok(());
        };
        let Some(stat) = self.fs.stat(&at)?.filter(|stat| stat.kind == FileKind::Regular) else {
            return Ok(());
        };
        if op.salvaged {
            return self.unlink(&at, stat.id);
        }
        if op.is_master(&stat) {
            return self.clear_last_name(op, &at);
        }
        let copy = op.copy.as_deref();
        let known = copy.is_some_and(|copy| copy.complete || copy.made.is_some());
        if known && copy.and_then(|copy| copy.made) != Some(stat.id) {
            // Another program put a file there.
            return Ok(());
        }
        self.clear_unmade(op, &at, &stat)
    }

    /// Removes a copy that is not known to be complete, if no other program has used it: once it has its owner and mode, a
    /// program may find it by its hidden name.
    fn clear_unmade(&mut self, op: &Begun, at: &Place, stat: &Stat) -> Result<(), Halt> {
        let Some(made) = op.made() else { return self.unlink(at, stat.id) };
        let wanted = &made.metadata;
        let owner_and_mode = |of: (u32, u32, u32)| (of.0, of.1, of.2 & 0o7777);
        let dressed = owner_and_mode((stat.uid, stat.gid, stat.mode))
            == owner_and_mode((wanted.uid, wanted.gid, wanted.mode));
        let for_all = wanted.uid != 0 || wanted.mode & 0o077 != 0;
        if !(dressed && for_all) {
            return self.unlink(at, stat.id);
        }
        let mut copy = Leased::new(self.fs, self.options.leases, self.fs.open(at)?);
        copy.take(Lease::Write, "copy")?;
        if self.fs.stat_open(&copy.file)?.mtime != made.mtime {
            return Err(Halt::new(Reason::Conflict, WRITTEN_WHILE_HIDDEN));
        }
        self.unlink(at, stat.id)
    }

    /// Removes the hidden name of a complete copy. A copy without a visible name is kept if a client wrote to it: the
    /// client may have opened it in the moment in which it had the path.
    fn clear_last_name(&mut self, op: &Begun, at: &Place) -> Result<(), Halt> {
        // Clients removed every other name of the contents: the hidden file may be the last copy.
        if !self.is_visible(op)? {
            return Err(Halt::only_hidden(op));
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
        let mtime = op.made().map(|undo| undo.mtime);
        if now.size != op.size || Some(now.mtime) != mtime {
            return Err(Halt::new(Reason::Conflict, WRITTEN_WHILE_HIDDEN));
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
