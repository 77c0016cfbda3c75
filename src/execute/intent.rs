//! What the journal records of an op before anything of the op is done.

use super::Executor;
use super::compared::Compared;
use crate::fs::StoredId;
use crate::fs::{Change, FsError, Place, Stat, Timestamp};
use crate::journal::{Intent, NameIntent, RecordedFile, Store};
use crate::plan::{Op, OpId};
use crate::pool::BranchIdx;

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Returns an inode of `branch` in the form that is valid after a reboot.
    pub(super) fn stored(&self, branch: BranchIdx, ino: u64, btime: Option<Timestamp>) -> StoredId {
        let fs = self.root(branch).fs;
        StoredId { fs: fs.expect("invariant: begin refuses branches without identity"), ino, btime }
    }

    /// Returns a file of an op as the journal knows it.
    pub(super) fn recorded(&self, place: &Place, stat: &Stat) -> RecordedFile {
        RecordedFile {
            branch: place.branch,
            path: place.path.clone(),
            id: self.stored(place.branch, stat.id.ino, stat.btime),
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }

    pub(super) fn intent(
        &mut self,
        id: OpId,
        compared: &Compared<F::File>,
    ) -> Result<Intent, FsError> {
        let (op, seen) = (compared.op(), compared.seen());
        let names = self.name_intents(op)?;
        let files = compared.files();
        let duplicate_handle = self.fs.handle_of(&files.duplicate)?;
        let master_handle = self.fs.handle_of(&files.master)?;
        Ok(Intent {
            op: id,
            kind: op.kind,
            master: self.recorded(&op.master, &seen.master_stat),
            duplicate: self.recorded(&op.duplicate, &seen.duplicate_stat),
            metadata: seen.metadata.clone(),
            atime: seen.atime,
            flags: seen.flags,
            blake3: seen.blake3,
            bytes: seen.duplicate_stat.blocks * 512,
            names,
            dirs: compared.dirs().to_vec(),
            duplicate_handle,
            master_metadata: Some(seen.master_metadata.clone()),
            master_links: Some(seen.master_stat.nlink),
            master_handle,
            salvaged: false,
            relinks: op.takes_back(),
        })
    }

    /// Returns the names of `op`, with the handles that find their directories again.
    pub(super) fn name_intents(&mut self, op: &Op) -> Result<Vec<NameIntent>, FsError> {
        let mut names = Vec::with_capacity(op.names.len());
        for (k, n) in op.names.iter().enumerate() {
            let from_dir = self.handle_of_dir(op.own(k).dir())?;
            names.push(NameIntent {
                path: n.path.clone(),
                from: n.from,
                from_dir,
                to: n.to,
                to_dir: self.handle_of_dir(op.target(k).dir())?,
                found: n.found,
            });
        }
        Ok(names)
    }
}
