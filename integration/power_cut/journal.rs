//! The journal under power cuts: what was acknowledged is there, in order, and opens without a complaint.

use std::path::Path;

use mergerfs_xdedup::fs::{FsId, StoredId};
use mergerfs_xdedup::fs::{Handle, Metadata, Timestamp};
use mergerfs_xdedup::journal::{
    BranchRecord, Intent, Journal, JournalError, NameIntent, Record, RecordedFile, RunEnded,
    RunStarted, SledStore, create_or_open, open_existing,
};
use mergerfs_xdedup::plan::{Found, OpId, OpKind};
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::pool::{BranchIdx, BranchMode};

use super::csv_log::LogLines;
use super::log::{Cut, Log};
use super::rig::{FileSystem, Rig, Slot};
use super::sweep::{Sweep, sampling, variants};

const BATCHES: u64 = 12;
pub(super) const NOW: Timestamp = Timestamp { secs: 1_700_000_000, nanos: 0 };

pub(super) fn run_started() -> RunStarted {
    let branch = |n: u8| BranchRecord {
        path: format!("/mnt/disk{n}").into(),
        mode: BranchMode::Rw,
        fs: Some(fs_id(n)),
        root_ino: 2,
    };
    RunStarted {
        run: 1,
        version: "0".to_owned(),
        time: NOW,
        pool: "/mnt/pool".into(),
        branches: vec![branch(0), branch(1)],
        newest_dirs: false,
        options: Vec::new(),
    }
}

fn fs_id(n: u8) -> FsId {
    FsId { uuid: [n; 16], subvolume: 0 }
}

fn copy(branch: u16, path: RelPath) -> RecordedFile {
    let id = StoredId { fs: fs_id(0), ino: 99, btime: Some(NOW) };
    RecordedFile { branch: BranchIdx(branch), path, id, size: 1, mtime: NOW, ctime: NOW }
}

/// Every third one is longer than what sled keeps within its own file.
pub(super) fn intent(seq: u64) -> Intent {
    let count = if seq.is_multiple_of(3) { 60 } else { 1 };
    let path = |n: u64| RelPath::new(format!("dir/{seq}-{n}-{}", "x".repeat(150)).as_bytes());
    let name = |n| NameIntent {
        path: path(n).unwrap(),
        from: BranchIdx(1),
        from_dir: Handle(vec![1; 28]),
        to: BranchIdx(0),
        to_dir: Handle::default(),
        found: Found::Absent,
    };
    Intent {
        op: OpId { run: 1, seq },
        kind: OpKind::Cross,
        master: copy(0, RelPath::new(b"master").unwrap()),
        duplicate: copy(1, path(0).unwrap()),
        duplicate_handle: Handle(vec![2; 28]),
        master_metadata: None,
        master_links: None,
        master_handle: Handle(vec![3; 12]),
        salvaged: false,
        flags: None,
        relinks: None,
        metadata: Metadata::default(),
        atime: NOW,
        blake3: [7; 32],
        bytes: 4096,
        names: (0..count).map(name).collect(),
        dirs: Vec::new(),
    }
}

/// All batches in order; a batch is acknowledged as a whole.
fn batches() -> Vec<Vec<Record>> {
    let mut all = vec![vec![Record::RunStarted(run_started())]];
    for batch in 0..BATCHES {
        let ops = || (batch * 4 + 1..=batch * 4 + 4).map(|seq| OpId { run: 1, seq });
        all.push(ops().map(|op| Record::Intent(Box::new(intent(op.seq)))).collect());
        all.push(ops().map(|op| Record::Retired { op }).collect());
        all.push(ops().map(|op| Record::Done { op, reclaimed: 4096 }).collect());
    }
    let (done, reclaimed) = (BATCHES * 4, BATCHES * 4 * 4096);
    all.push(vec![Record::RunEnded(RunEnded { run: 1, time: NOW, done, reclaimed })]);
    all
}

fn ack(batch: usize) -> String {
    format!("batch {batch} is acknowledged")
}

fn record_batches(slots: &[Slot]) -> Log {
    let rig = Rig::format(slots).unwrap();
    rig.mark("start");
    let mut journal = create_or_open(&slots[0].dir.join("below/journal"), None).unwrap();
    rig.mark("created");
    for (number, batch) in batches().iter().enumerate() {
        journal.record(batch, NOW).unwrap();
        rig.mark(&ack(number));
    }
    drop(journal);
    rig.stop().unwrap()
}

fn entries(journal: &Journal<SledStore>) -> Result<Vec<Record>, JournalError> {
    let mut entries = Vec::new();
    journal.replay(None, |entry| -> Result<(), JournalError> {
        entries.push(entry.record);
        Ok(())
    })?;
    Ok(entries)
}

/// How many records there are; all that was acknowledged, and nothing that was not written.
fn look(log: &Log, cut: Cut, dir: &Path) -> Result<usize, String> {
    let dir = dir.join("below/journal");
    let batches = batches();
    let acknowledged = (0..batches.len()).take_while(|n| cut >= log.mark(&ack(*n)));
    let acknowledged: usize = acknowledged.map(|n| batches[n].len()).sum();
    let opened = open_existing(&dir, None).map_err(|error| format!("{error:?}"))?;
    let Some(mut journal) = opened else {
        return match cut < log.mark("created") {
            true => Ok(0),
            false => Err("the journal is gone".to_owned()),
        };
    };
    let there = entries(&journal).map_err(|error| format!("{error:?}"))?;
    let written: Vec<Record> = batches.concat();
    if there.len() < acknowledged {
        return Err(format!("{} records of {acknowledged} acknowledged ones", there.len()));
    }
    if there[..] != written[..there.len()] {
        return Err("other records than were written".to_owned());
    }
    check_lines(&there, &dir)?;
    go_on(&mut journal, &there).map_err(|error| format!("cannot go on: {error:?}"))?;
    Ok(there.len())
}

/// No state is in the database whose line is not in the log.
fn check_lines(records: &[Record], dir: &Path) -> Result<(), String> {
    let lines = LogLines::read(&dir.join("log.csv"))?;
    for record in records {
        let (op, state) = match record {
            Record::Intent(intent) => (intent.op, "PENDING"),
            Record::Retired { op } => (*op, "LINKED"),
            Record::Done { op, .. } => (*op, "DELETED"),
            Record::Shared(shared) => (shared.op, "SHARED"),
            Record::ReflinkIntent(reflink) => (reflink.intent.op, "PENDING"),
            Record::Restored { .. }
            | Record::Conflict { .. }
            | Record::RunStarted(_)
            | Record::RunEnded(_)
            | Record::UndoStarted(_)
            | Record::RelinkStarted(_)
            | Record::UndoIntent(_)
            | Record::UndoReflinkIntent(_)
            | Record::SharedContents { .. }
            | Record::Copied { .. } => continue,
        };
        if !lines.has(&op.seq.to_string(), state) {
            return Err(format!("no line {state} for op {}", op.seq));
        }
    }
    Ok(())
}

/// A journal that survived takes what comes next, and shows it when opened again.
fn go_on(journal: &mut Journal<SledStore>, there: &[Record]) -> Result<(), JournalError> {
    let rest = batches().concat().split_off(there.len());
    if let Some(next) = rest.first() {
        journal.record(std::slice::from_ref(next), NOW)?;
        assert_eq!(entries(journal)?.len(), there.len() + 1);
    }
    Ok(())
}

#[test]
fn acknowledged_records_survive_a_power_cut_at_any_point() {
    for fs in FileSystem::ALL {
        let dir = tempfile::Builder::new().prefix("power-cut-journal.").tempdir().unwrap();
        let slots = [Slot::new(fs, dir.path().join("disk")).unwrap()];
        let log = record_batches(&slots);
        let cuts = log.cut_points(log.mark("start")..log.end(), sampling(40));
        let sweep = Sweep { log: &log, slots: &slots, cuts, variants: variants() };
        let seen = sweep.look(|cut, _, _rig| look(&log, cut, &slots[0].dir));
        let seen = seen.all_good(&format!("journal on {}", fs.name()));
        assert!(seen.contains(&0), "{seen:?}");
        assert!(seen.contains(&batches().concat().len()), "{seen:?}");
    }
}
