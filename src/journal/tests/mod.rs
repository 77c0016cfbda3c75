//! The journal over stores in memory; `sled_store` and `journal_dir` have their own tests.
use crate::plan::{DirIntent, Found, OpId, OpKind};

use std::path::PathBuf;

use super::mem_store::MemStore;
use super::*;
use crate::fs::{FsId, StoredId};
use crate::fs::{Handle, Metadata};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, BranchMode};

mod codec;
mod crash;
mod damage;
mod disk;
mod format_2;
mod format_3;
mod full_disk;
mod journal;
mod older_build;
mod prune;
mod rebuild;
mod saved_index;

pub(super) const NOW: Timestamp = Timestamp { secs: 1_700_000_000, nanos: 5 };

pub(super) fn rel(path: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(path).unwrap()
}

pub(super) fn run_started(run: u64) -> RunStarted {
    let branch = |n: u8| BranchRecord {
        path: format!("/mnt/disk{n}").into(),
        mode: BranchMode::Rw,
        fs: Some(fs_id(n)),
        root_ino: 2,
    };
    RunStarted {
        run,
        version: "0.1.0".into(),
        time: NOW,
        pool: PathBuf::from("/mnt/pool"),
        branches: vec![branch(1), branch(2)],
        newest_dirs: false,
        options: vec![b"-p".to_vec(), b"/mnt/pool/\xff".to_vec()],
    }
}

fn fs_id(n: u8) -> FsId {
    FsId { uuid: [n; 16], subvolume: u64::from(n) }
}

fn copy(branch: u16, path: RelPath) -> RecordedFile {
    RecordedFile {
        branch: BranchIdx(branch),
        path,
        id: StoredId { fs: fs_id(1), ino: 99, btime: Some(NOW) },
        size: 4096,
        mtime: NOW,
        ctime: NOW,
    }
}

/// An intent that replaces `names` on the second branch by a master on the first.
pub(super) fn intent(op: OpId, names: &[RelPath]) -> Intent {
    let name = |path: &RelPath| NameIntent {
        path: path.clone(),
        from: BranchIdx(1),
        from_dir: Handle(vec![1, 0xff]),
        to: BranchIdx(0),
        to_dir: Handle(vec![2; 8]),
        found: Found::Absent,
    };
    Intent {
        op,
        kind: OpKind::Cross,
        master: copy(0, rel("media/master.mkv")),
        duplicate: copy(1, names[0].clone()),
        duplicate_handle: Handle(vec![3; 28]),
        master_metadata: Some(Metadata { mode: 0o640, ..Metadata::default() }),
        master_links: Some(2),
        master_handle: Handle(vec![4; 12]),
        salvaged: false,
        flags: Some(0x40),
        relinks: None,
        metadata: Metadata {
            uid: 1000,
            gid: 100,
            mode: 0o644,
            acl: Some(vec![2, 0, 0, 0]),
            xattrs: [(b"user.\xff".to_vec(), b"v".to_vec())].into(),
        },
        atime: NOW,
        blake3: [7; 32],
        bytes: 8192,
        names: names.iter().map(name).collect(),
        dirs: vec![DirIntent { path: rel("a"), to: BranchIdx(0), from: BranchIdx(1) }],
    }
}

pub(super) fn boxed_intent(op: OpId, name: &str) -> Record {
    Record::Intent(Box::new(intent(op, &[rel(name)])))
}

pub(super) fn every_entry<S: Store>(journal: &Journal<S>) -> Vec<Entry> {
    let mut entries = Vec::new();
    journal
        .replay::<JournalError>(None, |entry| {
            entries.push(entry);
            Ok(())
        })
        .unwrap();
    entries
}

pub(super) fn new_journal() -> (Journal<MemStore>, MemStore) {
    let store = MemStore::new(7);
    (Journal::open(store.handle()).unwrap(), store)
}
