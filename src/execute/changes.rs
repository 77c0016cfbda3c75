//! The few changes an op makes to a branch, each with its bookkeeping: directories to sync, directory times, and
//! the ctimes our own calls leave on the two inodes.

use super::Executor;
use super::halt::Halt;
use crate::fs::{Change, Fingerprint, FsError, InodeId, Place, Stat};
use crate::journal::Store;
use crate::plan::refusal::Reason;

impl<F: Change, S: Store> Executor<'_, F, S> {
    fn changing<T>(
        &mut self,
        dirs: [&Place; 2],
        call: impl FnOnce(&F) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        let [first, second] = dirs;
        self.touched.before(self.fs, first)?;
        if first != second {
            self.touched.before(self.fs, second)?;
        }
        let result = call(self.fs);
        self.touched.after(self.fs, first)?;
        if first != second {
            self.touched.after(self.fs, second)?;
        }
        result
    }

    /// Links the open file to `to`.
    pub(super) fn link(&mut self, file: &F::File, to: &Place) -> Result<(), FsError> {
        let dir = to.dir();
        self.changing([&dir, &dir], |fs| fs.link(file, to))
    }

    /// Renames; never replaces an existing name.
    pub(super) fn rename(&mut self, from: &Place, to: &Place) -> Result<(), FsError> {
        self.changing([&from.dir(), &to.dir()], |fs| fs.rename_noreplace(from, to))
    }

    /// Exchanges two names in one directory.
    pub(super) fn exchange(&mut self, a: &Place, b: &Place) -> Result<(), FsError> {
        self.changing([&a.dir(), &b.dir()], |fs| fs.exchange(a, b))
    }

    /// Removes a name if it still holds `expected`: nothing is removed that was not looked at (invariant 2).
    ///
    /// Fails if another file has the name by now; succeeds if the name is gone already.
    pub(super) fn unlink(&mut self, at: &Place, expected: InodeId) -> Result<(), Halt> {
        match self.fs.stat(at)? {
            Some(stat) if stat.id == expected => {
                let dir = at.dir();
                self.changing([&dir, &dir], |fs| fs.unlink(at))?;
                Ok(())
            }
            Some(_) => Err(Halt::new(Reason::Conflict, format!("{:?} is no longer ours", at.path))),
            None => Ok(()),
        }
    }

    /// Checks that `now` is what was seen. Our own calls move ctimes; a ctime that another program moved means
    /// comparing again.
    pub(super) fn unchanged(&self, now: &Stat, seen: &Fingerprint, what: &str) -> Result<(), Halt> {
        if now.id != seen.id || now.size != seen.size || now.mtime != seen.mtime {
            return Err(Halt::new(Reason::Changed, format!("the {what} was written to meanwhile")));
        }
        if now.ctime != seen.ctime && self.ours.get(&now.id) != Some(&now.ctime) {
            return Err(Halt::again(Reason::Changed, format!("the {what} was touched meanwhile")));
        }
        Ok(())
    }

    /// Remembers the ctime that our own last call left, after checking that nothing else changed.
    pub(super) fn note_ctime(&mut self, file: &F::File, before: &Stat) -> Result<Stat, Halt> {
        let now = self.fs.stat_open(file)?;
        let same = now.size == before.size
            && now.mtime == before.mtime
            && (now.mode, now.uid, now.gid) == (before.mode, before.uid, before.gid);
        if !same {
            return Err(Halt::again(Reason::Changed, "changed while it was linked or renamed"));
        }
        self.ours.insert(now.id, now.ctime);
        Ok(now)
    }
}
