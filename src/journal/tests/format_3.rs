//! Journals of format 3 stay readable: their runs come back without options, their intents without inode flags.

use proptest::prelude::*;

use super::codec::{PREV, any_record, hex, samples, time, undo_samples};
use super::format_2::unhex;
use super::*;
use crate::journal::codec::{CodecError, VERSION, decode, format_2, format_3, seal};

impl From<Record> for format_3::Record {
    fn from(new: Record) -> Self {
        match new {
            Record::RunStarted(started) => Self::RunStarted(started.into()),
            Record::Intent(intent) => Self::Intent(Box::new((*intent).into())),
            Record::Retired { op } => Self::Retired { op },
            Record::Done { op, reclaimed } => Self::Done { op, reclaimed },
            Record::Restored { op, why } => Self::Restored { op, why },
            Record::Conflict { op, why, left } => Self::Conflict { op, why, left },
            Record::RunEnded(ended) => Self::RunEnded(ended),
            Record::UndoStarted(undo) => Self::UndoStarted(undo.into()),
            Record::UndoIntent(undo) => Self::UndoIntent(Box::new(format_3::UndoIntent {
                undoes: undo.undoes,
                intent: undo.intent.into(),
                copy: undo.copy,
                sparse: undo.sparse,
                emptied: undo.emptied,
                source: undo.source,
            })),
            Record::Copied { op, ino, btime, handle } => Self::Copied { op, ino, btime, handle },
            Record::RelinkStarted(_)
            | Record::Shared(_)
            | Record::ReflinkIntent(_)
            | Record::UndoReflinkIntent(_)
            | Record::SharedContents { .. } => panic!("no record of this format"),
        }
    }
}

impl From<RunStarted> for format_3::RunStarted {
    fn from(new: RunStarted) -> Self {
        Self {
            run: new.run,
            version: new.version,
            time: new.time,
            pool: new.pool,
            branches: new.branches,
            newest_dirs: new.newest_dirs,
        }
    }
}

impl From<UndoStarted> for format_3::UndoStarted {
    fn from(new: UndoStarted) -> Self {
        Self { run: new.run.into(), undoes: new.undoes }
    }
}

impl From<Intent> for format_3::Intent {
    fn from(new: Intent) -> Self {
        Self {
            op: new.op,
            kind: new.kind,
            master: new.master,
            master_handle: new.master_handle,
            duplicate: new.duplicate,
            duplicate_handle: new.duplicate_handle,
            master_metadata: new.master_metadata,
            master_links: new.master_links,
            metadata: new.metadata,
            atime: new.atime,
            blake3: new.blake3,
            bytes: new.bytes,
            names: new.names,
            dirs: new.dirs,
            salvaged: new.salvaged,
        }
    }
}

/// What a program of format 3 knew of `record`.
pub(super) fn as_format_3(mut record: Record) -> Record {
    match &mut record {
        Record::RunStarted(started) => started.options.clear(),
        Record::UndoStarted(undo) => undo.run.options.clear(),
        Record::Intent(intent) => (intent.flags, intent.relinks) = (None, None),
        Record::UndoIntent(undo) => (undo.intent.flags, undo.intent.relinks) = (None, None),
        _ => {}
    }
    record
}

/// Encodes `record` as a program of format 3 did.
pub(super) fn encode_3(seq: u64, time: Timestamp, record: Record, prev: Chain) -> (Vec<u8>, Chain) {
    let record = record.into();
    let body = postcard::to_stdvec(&format_3::Body { time, record }).unwrap();
    seal(format_3::VERSION, seq, &body, prev).unwrap()
}

fn known_to_format_3() -> impl Iterator<Item = (&'static str, Record)> {
    samples().into_iter().chain(undo_samples())
}

#[test]
fn records_of_format_3_are_read_as_they_were_meant() {
    let lines: Vec<&str> = include_str!("golden_3.txt").lines().collect();
    assert_eq!(lines.len(), known_to_format_3().count());
    for (line, (name, record)) in lines.into_iter().zip(known_to_format_3()) {
        let bytes = unhex(line.split_once(": ").unwrap().1);
        assert_eq!(bytes[0], 3);
        assert_eq!(decode(&bytes, PREV).unwrap().0.record, as_format_3(record), "{name}");
    }
}

/// Other tests write format 3 themselves: it must be the one that was released.
#[test]
fn these_tests_write_format_3_as_it_was_written() {
    let now: Vec<String> = known_to_format_3()
        .map(|(name, record)| format!("{name}: {}", hex(&encode_3(9, NOW, record, PREV).0)))
        .collect();
    let golden: Vec<&str> = include_str!("golden_3.txt").lines().collect();
    assert_eq!(now, golden);
}

/// The version decides how the body is read.
#[test]
fn an_intent_under_the_version_of_another_format_is_damaged() {
    let time = NOW;
    for (name, record) in [&samples()[1..3], &undo_samples()[1..2]].concat() {
        let of_2 = format_2::Body { time, record: record.clone().into() };
        let of_3 = format_3::Body { time, record: record.clone().into() };
        let bodies = [
            (2, postcard::to_stdvec(&of_2).unwrap()),
            (3, postcard::to_stdvec(&of_3).unwrap()),
            (VERSION, postcard::to_stdvec(&(time, record)).unwrap()),
        ];
        for (of, body) in &bodies {
            // An intent of format 4 is one of format 5.
            for version in [2, 3, VERSION].into_iter().filter(|version| version != of) {
                let (bytes, _) = seal(version, 9, body, PREV).unwrap();
                let read = decode(&bytes, PREV);
                let damaged = matches!(read, Err(CodecError::Damaged(_)));
                assert!(damaged, "{name} of format {of} as {version}: {read:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_record_of_format_3_comes_back(record in any_record(), seq: u64, time in time(), prev: [u8; 16]) {
        let (bytes, chain) = encode_3(seq, time, record.clone(), Chain(prev));
        let (entry, decoded) = decode(&bytes, Chain(prev)).unwrap();
        prop_assert_eq!(decoded, chain);
        prop_assert_eq!(entry, Entry { seq, time, record: as_format_3(record) });
    }
}
