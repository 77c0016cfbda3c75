//! Journals of formats 1 and 2 stay readable: their intents come back with empty handles.

use proptest::prelude::*;

use super::codec::{PREV, any_record, hex, samples, time, undo_samples};
use super::format_3::as_format_3;
use super::older_build::store_2;
use super::*;
use crate::journal::codec::{NO_HANDLES, decode, format_2, seal};

impl From<Record> for format_2::Record {
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
            Record::UndoIntent(undo) => Self::UndoIntent(Box::new(format_2::UndoIntent {
                undoes: undo.undoes,
                intent: undo.intent.into(),
                copy: undo.copy,
                sparse: undo.sparse,
                emptied: undo.emptied,
            })),
            Record::Copied { op, ino, btime, .. } => Self::Copied { op, ino, btime },
            Record::RelinkStarted(_)
            | Record::Shared(_)
            | Record::ReflinkIntent(_)
            | Record::UndoReflinkIntent(_)
            | Record::SharedContents { .. } => panic!("no record of this format"),
        }
    }
}

impl From<Intent> for format_2::Intent {
    fn from(new: Intent) -> Self {
        let name = |name: NameIntent| format_2::NameIntent {
            path: name.path,
            from: name.from,
            to: name.to,
            found: name.found,
        };
        Self {
            op: new.op,
            kind: new.kind,
            master: new.master,
            duplicate: new.duplicate,
            metadata: new.metadata,
            atime: new.atime,
            blake3: new.blake3,
            bytes: new.bytes,
            names: new.names.into_iter().map(name).collect(),
            dirs: new.dirs,
        }
    }
}

/// Encodes `record` as a program of format 2 did.
pub(super) fn encode_2(seq: u64, time: Timestamp, record: Record, prev: Chain) -> (Vec<u8>, Chain) {
    let record = record.into();
    let body = postcard::to_stdvec(&format_2::Body { time, record }).unwrap();
    seal(NO_HANDLES, seq, &body, prev).unwrap()
}

/// What a program of format 2 knew of `record`.
fn without_handles(record: Record) -> Record {
    let mut record = as_format_3(record);
    let intent = match &mut record {
        Record::Intent(intent) => intent,
        Record::UndoIntent(undo) => {
            undo.source = None;
            &mut undo.intent
        }
        Record::Copied { handle, .. } => {
            *handle = Handle::default();
            return record;
        }
        _ => return record,
    };
    intent.duplicate_handle = Handle::default();
    intent.master_metadata = None;
    intent.master_links = None;
    intent.master_handle = Handle::default();
    for name in &mut intent.names {
        (name.from_dir, name.to_dir) = (Handle::default(), Handle::default());
    }
    record
}

pub(super) fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn records_of_older_formats_are_read_as_they_were_meant() {
    let of_1 = (1, include_str!("golden_1.txt"), samples());
    let of_2 = samples().into_iter().chain(undo_samples()).collect();
    let of_2 = (2, include_str!("golden_2.txt"), of_2);
    for (version, golden, samples) in [of_1, of_2] {
        let lines: Vec<&str> = golden.lines().collect();
        assert_eq!(lines.len(), samples.len());
        for (line, (name, record)) in lines.into_iter().zip(samples) {
            let bytes = unhex(line.split_once(": ").unwrap().1);
            assert_eq!(bytes[0], version);
            let read = decode(&bytes, PREV).unwrap().0.record;
            assert_eq!(read, without_handles(record), "{name} of format {version}");
        }
    }
}

/// The tests below write format 2 themselves: it must be the one that was released.
#[test]
fn these_tests_write_format_2_as_it_was_written() {
    let samples = samples().into_iter().chain(undo_samples());
    let now: Vec<String> = samples
        .map(|(name, record)| format!("{name}: {}", hex(&encode_2(9, NOW, record, PREV).0)))
        .collect();
    let golden: Vec<&str> = include_str!("golden_2.txt").lines().collect();
    assert_eq!(now, golden);
}

#[test]
fn a_journal_of_format_2_lists_its_open_ops_and_is_continued() {
    let [first, second] = [1, 2].map(|seq| OpId { run: 1, seq });
    let undo = UndoIntent {
        undoes: first,
        intent: intent(OpId { run: 2, seq: 1 }, &[rel("a/b")]),
        copy: rel("a/.xdedup-c"),
        sparse: false,
        emptied: vec![rel("a")],
        source: None,
    };
    let mut written = vec![
        Record::RunStarted(run_started(1)),
        boxed_intent(first, "a/b"),
        boxed_intent(second, "c"),
        Record::Retired { op: first },
        Record::Done { op: first, reclaimed: 8192 },
        Record::UndoStarted(UndoStarted { run: run_started(2), undoes: 1 }),
        Record::UndoIntent(Box::new(undo)),
    ];
    let store = store_2(&written);
    let mut journal = Journal::open(store.handle()).unwrap();
    let expected = [&written[2], &written[6]].map(|record| without_handles(record.clone()));
    let intents: Vec<Record> = (journal.open_ops().into_iter())
        .map(|op| match op.undo.as_deref().cloned() {
            None => Record::Intent(Box::new((*op.intent).clone())),
            Some(undo) => Record::UndoIntent(Box::new(UndoIntent {
                undoes: undo.undoes.unwrap(),
                intent: (*op.intent).clone(),
                copy: undo.copy,
                sparse: undo.sparse,
                emptied: undo.emptied,
                source: undo.source,
            })),
        })
        .collect();
    assert_eq!(intents, expected);
    assert_eq!(journal.finished(|run| run == 1).unwrap().ops.len(), 1);

    let more = [Record::Retired { op: second }, boxed_intent(journal.next_op(2), "d")];
    journal.record(&more, NOW).unwrap();
    written = written.into_iter().map(without_handles).collect();
    written.extend(more);
    let again = Journal::open(store.after_kill()).unwrap();
    let read: Vec<Record> = every_entry(&again).into_iter().map(|e| e.record).collect();
    assert_eq!(read, written);
    assert_eq!(again.open_ops(), journal.open_ops());
    assert!(again.open_ops()[0].retired);
}

#[test]
fn any_flipped_bit_and_any_cut_of_format_2_is_noticed() {
    let (bytes, _) = encode_2(9, NOW, samples()[1].1.clone(), PREV);
    assert!(decode(&bytes, PREV).is_ok());
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(decode(&flipped, PREV).is_err(), "bit {at}");
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len], PREV).is_err(), "length {len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_record_of_format_2_comes_back_without_handles(record in any_record(), seq: u64, time in time(), prev: [u8; 16]) {
        let (bytes, chain) = encode_2(seq, time, record.clone(), Chain(prev));
        let (entry, decoded) = decode(&bytes, Chain(prev)).unwrap();
        prop_assert_eq!(decoded, chain);
        prop_assert_eq!(entry, Entry { seq, time, record: without_handles(record) });
    }
}
