//! `big_journal DIR OPS POOL BRANCH...`: makes a journal whose last run has finished that many ops. For `integration/bench/scale`.
//!
//! The run moved `many/N` from the second branch to the first. The records are those of a run, in its batches.

use std::error::Error;
use std::path::{Path, PathBuf};

use mergerfs_xdedup::fs::{FsId, Handle, Metadata, StoredId, Timestamp};
use mergerfs_xdedup::journal::{
    BranchRecord, Intent, NameIntent, Record, RecordedFile, RunEnded, RunStarted, create_or_open,
};
use mergerfs_xdedup::plan::{Found, OpId, OpKind};
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::pool::{BranchIdx, BranchMode};

const NOW: Timestamp = Timestamp { secs: 1_700_000_000, nanos: 123_456_789 };
/// As many ops as share a barrier.
const BATCH: u64 = 256;
const BYTES: u64 = 5_000_000;

fn fs_id(branch: u16) -> FsId {
    FsId { uuid: [branch as u8; 16], subvolume: 0 }
}

fn file(branch: u16, path: &RelPath, seq: u64) -> RecordedFile {
    let ino = seq * 2 + u64::from(branch);
    let id = StoredId { fs: fs_id(branch), ino, btime: Some(NOW) };
    RecordedFile {
        branch: BranchIdx(branch),
        path: path.clone(),
        id,
        size: BYTES,
        mtime: NOW,
        ctime: NOW,
    }
}

fn path(kind: &str, seq: u64) -> Result<RelPath, Box<dyn Error>> {
    let (dir, sub) = (seq % 60, seq / 60 % 100);
    Ok(RelPath::new(format!("{kind}/{dir}/{sub}/file number {seq:08}.mkv").as_bytes())?)
}

fn intent(run: u64, seq: u64) -> Result<Intent, Box<dyn Error>> {
    let (master, duplicate) = (path("library", seq)?, path("incoming", seq)?);
    let metadata = Metadata { uid: 1000, gid: 1000, mode: 0o644, ..Metadata::default() };
    let name = NameIntent {
        path: duplicate.clone(),
        from: BranchIdx(1),
        from_dir: Handle(vec![1; 12]),
        to: BranchIdx(0),
        to_dir: Handle(vec![2; 12]),
        found: Found::Absent,
    };
    Ok(Intent {
        op: OpId { run, seq },
        kind: OpKind::Cross,
        master: file(0, &master, seq),
        master_handle: Handle(vec![3; 12]),
        duplicate: file(1, &duplicate, seq),
        duplicate_handle: Handle(vec![4; 12]),
        master_metadata: Some(metadata.clone()),
        master_links: Some(1),
        metadata,
        atime: NOW,
        flags: None,
        blake3: *blake3::hash(&seq.to_le_bytes()).as_bytes(),
        bytes: BYTES,
        names: vec![name],
        dirs: Vec::new(),
        salvaged: false,
        relinks: None,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let usage = "big_journal DIR OPS POOL BRANCH...";
    let dir = args.next().ok_or(usage)?;
    let ops: u64 = args.next().and_then(|ops| ops.to_str()?.parse().ok()).ok_or(usage)?;
    let pool: PathBuf = args.next().ok_or(usage)?.into();
    let branches = args.enumerate().map(|(n, path)| BranchRecord {
        path: path.into(),
        mode: BranchMode::Rw,
        fs: Some(fs_id(n as u16)),
        root_ino: 2,
    });
    let branches: Vec<_> = branches.collect();
    let mut journal = create_or_open(Path::new(&dir), None)?;
    let started = journal.start_run(|run| RunStarted {
        run,
        version: "0".to_owned(),
        time: NOW,
        pool,
        branches,
        newest_dirs: false,
        options: Vec::new(),
    })?;
    let run = started.run;
    for first in (1..=ops).step_by(BATCH as usize) {
        let batch = first..=ops.min(first + BATCH - 1);
        let intents: Result<Vec<_>, _> = batch.clone().map(|seq| intent(run, seq)).collect();
        let begun = journal.begin(intents?, NOW)?;
        journal.retired(&begun, NOW)?;
        let done = batch.map(|seq| Record::Done { op: OpId { run, seq }, reclaimed: BYTES });
        journal.record(&done.collect::<Vec<_>>(), NOW)?;
    }
    let ended = RunEnded { run, time: NOW, done: ops, reclaimed: ops * BYTES };
    journal.record(&[Record::RunEnded(ended)], NOW)?;
    Ok(())
}
