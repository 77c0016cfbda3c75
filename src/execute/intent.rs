//! What the journal is told of an op before anything of it is done.

use super::Executor;
use super::op::{Op, OpName};
use crate::fs::{Fs, Place, Stat, Timestamp};
use crate::journal::{Copy, Intent, NameIntent, Store};
use crate::pool::{BranchIdx, StoredId};

impl<F: Fs, S: Store> Executor<'_, F, S> {
    /// An inode of `branch` as it is known after a reboot.
    pub(super) fn stored(
        &self,
        branch: BranchIdx,
        (ino, btime): (u64, Option<Timestamp>),
    ) -> StoredId {
        let fs = self.root(branch).fs;
        StoredId {
            fs: fs.expect("invariant: begin refuses branches without identity"),
            ino,
            btime,
        }
    }

    pub(super) fn intent(&self, op: &Op) -> Intent {
        let seen = op
            .seen
            .as_ref()
            .expect("invariant: only compared ops get an intent");
        let copy = |place: &Place, stat: &Stat| Copy {
            branch: place.branch,
            path: place.path.clone(),
            id: self.stored(place.branch, (stat.id.ino, stat.btime)),
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        };
        let name = |n: &OpName| NameIntent {
            path: n.path.clone(),
            from: n.from,
            to: n.to,
            found: n.found,
        };
        Intent {
            op: op.id.expect("invariant: numbered before it is recorded"),
            kind: op.kind,
            master: copy(&op.master, &seen.master_stat),
            duplicate: copy(&op.duplicate, &seen.duplicate_stat),
            metadata: seen.metadata.clone(),
            atime: seen.atime,
            blake3: seen.blake3,
            bytes: seen.duplicate_stat.blocks * 512,
            names: op.names.iter().map(name).collect(),
            dirs: op.dirs.clone(),
        }
    }
}
