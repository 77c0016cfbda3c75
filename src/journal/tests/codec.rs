//! The stored form: fixed for ever once released.

use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;
use crate::journal::codec::{CodecError, VERSION, decode, encode, key, parse_key, seal, split};
use crate::journal::mark;
use crate::journal::tests::format_2::unhex;

pub(super) const PREV: Chain = Chain([3; 16]);

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn samples() -> Vec<(&'static str, Record)> {
    let op = OpId { run: 2, seq: 300 };
    let mut started = run_started(2);
    started.pool = PathBuf::from(std::ffi::OsString::from_vec(b"/p\xff".to_vec()));
    started.branches[1].mode = BranchMode::Nc;
    started.branches[1].fs = None;
    let mut local = intent(op, &[rel("b")]);
    local.kind = OpKind::Local;
    local.names[0].found = Found::Duplicate;
    local.dirs.clear();
    let mut ours = intent(op, &[rel("a/b"), rel(b"c/\xff")]);
    ours.names[1].found = Found::Master;
    ours.names[1].to_dir = Handle::default();
    ours.relinks = Some(OpId { run: 1, seq: 7 });
    let why = "busy".to_owned();
    let left = vec![(BranchIdx(1), rel("a/.xdedup"))];
    let ended = RunEnded { run: 2, time: NOW, done: 1, reclaimed: 1 << 40 };
    vec![
        ("run started", Record::RunStarted(started)),
        ("intent, cross", Record::Intent(Box::new(ours))),
        ("intent, local", Record::Intent(Box::new(local))),
        ("retired", Record::Retired { op }),
        ("done", Record::Done { op, reclaimed: 4096 }),
        ("restored", Record::Restored { op, why: why.clone() }),
        ("conflict", Record::Conflict { op, why, left }),
        ("run ended", Record::RunEnded(ended)),
    ]
}

fn metadata_sample() -> Metadata {
    Metadata { uid: 7, mode: 0o640, ..Metadata::default() }
}

/// What format 2 added.
pub(super) fn undo_samples() -> Vec<(&'static str, Record)> {
    let op = OpId { run: 3, seq: 1 };
    let undo = UndoIntent {
        undoes: OpId { run: 2, seq: 300 },
        intent: intent(op, &[rel("a/b")]),
        copy: rel("a/.xdedup-c"),
        sparse: true,
        emptied: vec![rel("a/b"), rel("a")],
        source: Some(metadata_sample()),
    };
    let started = UndoStarted { run: run_started(3), undoes: 2 };
    let (ino, btime) = (77, Some(NOW));
    vec![
        ("undo started", Record::UndoStarted(started)),
        ("undo intent", Record::UndoIntent(Box::new(undo))),
        ("copied", Record::Copied { op, ino, btime, handle: Handle(vec![4; 8]) }),
    ]
}

/// What format 4 added.
fn relink_samples() -> Vec<(&'static str, Record)> {
    let started = UndoStarted { run: run_started(4), undoes: 3 };
    vec![("relink started", Record::RelinkStarted(started))]
}

/// What format 5 added.
fn share_samples() -> Vec<(&'static str, Record)> {
    let op = OpId { run: 4, seq: 2 };
    let Intent { master, duplicate, .. } = intent(op, &[rel("a/b")]);
    let names = vec![(BranchIdx(1), rel("a/b")), (BranchIdx(1), rel(b"c/\xff"))];
    let shared = SharedRecord { op, master, duplicate, names, reclaimed: 8192 };
    vec![("shared", Record::Shared(Box::new(shared)))]
}

/// What format 6 added.
fn clone_samples() -> Vec<(&'static str, Record)> {
    let op = OpId { run: 4, seq: 3 };
    let mut intent = intent(op, &[rel("a/b"), rel(b"c/\xff")]);
    let source = std::mem::replace(&mut intent.master, copy(0, rel("a/b")));
    intent.master.id.ino = 0;
    intent.relinks = Some(OpId { run: 3, seq: 1 });
    let undo = UndoIntent {
        undoes: OpId { run: 4, seq: 2 },
        intent: intent.clone(),
        copy: rel("a/.xdedup-c"),
        sparse: false,
        emptied: vec![rel("a")],
        source: None,
    };
    let reflink = ReflinkIntent { intent, copy: rel("a/.xdedup-c"), source };
    vec![
        ("reflink intent", Record::ReflinkIntent(Box::new(reflink))),
        ("undo reflink intent", Record::UndoReflinkIntent(Box::new(undo))),
        ("shared contents", Record::SharedContents { op, blake3: [9; 32] }),
    ]
}

/// Formats 5 and 6 have more records at the end: records of formats 4 and 5 are read as they are.
#[test]
fn records_of_formats_4_and_5_are_read() {
    for old in [include_str!("golden_4.txt"), include_str!("golden_5.txt")] {
        let samples = samples().into_iter().chain(undo_samples()).chain(relink_samples());
        let samples = samples.chain(share_samples());
        for ((name, record), line) in samples.zip(old.lines()) {
            let (of, bytes) = line.split_once(": ").unwrap();
            assert_eq!(of, name);
            let (entry, _) = decode(&unhex(bytes), PREV).unwrap();
            assert_eq!(entry, Entry { seq: 9, time: NOW, record });
        }
    }
}

/// A red line here means that journals written before can no longer be read: raise the version instead.
#[test]
fn every_record_is_stored_as_it_always_was() {
    let golden: Vec<(&str, &str)> =
        include_str!("golden_6.txt").lines().map(|line| line.split_once(": ").unwrap()).collect();
    let samples = samples().into_iter().chain(undo_samples()).chain(relink_samples());
    let samples = samples.chain(share_samples()).chain(clone_samples());
    let samples: Vec<_> = samples.collect();
    let now: Vec<(&str, String)> = samples
        .iter()
        .map(|(name, record)| (*name, hex(&encode(9, NOW, record, PREV).unwrap().0)))
        .collect();
    for (name, bytes) in &now {
        println!("{name}: {bytes}");
    }
    let now: Vec<(&str, &str)> = now.iter().map(|(n, b)| (*n, b.as_str())).collect();
    assert_eq!(now, golden);
}

#[test]
fn keys_and_marks_are_stored_as_they_always_were() {
    assert_eq!(hex(&key(1, 2, 3)), "000000000000000100000000000000020003");
    assert_eq!(parse_key(&key(1, 2, 3)), Some((1, 2, 3)));
    assert_eq!(parse_key(&[0; 17]), None);
    let file = mark::new_file(0x0102_0304);
    let parts = [&file[..20], &file[4096..4132], &file[8192..8228]];
    assert_eq!(file.len(), 12_288);
    assert_eq!(parts.map(hex).join("\n"), include_str!("golden_mark.txt").trim_end());
}

#[test]
fn an_unknown_version_is_told_from_damage() {
    let (mut bytes, _) = encode(9, NOW, &samples()[3].1, PREV).unwrap();
    bytes[0] = VERSION + 1;
    assert!(matches!(decode(&bytes, PREV), Err(CodecError::Damaged(_))));
    let covered = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..covered]).to_be_bytes();
    bytes[covered..].copy_from_slice(&crc);
    assert_eq!(decode(&bytes, PREV), Err(CodecError::Newer(VERSION + 1)));
}

#[test]
fn any_flipped_bit_and_any_cut_is_noticed() {
    let (bytes, _) = encode(9, NOW, &samples()[1].1, PREV).unwrap();
    assert!(decode(&bytes, PREV).is_ok());
    assert!(decode(&bytes, Chain([4; 16])).is_err());
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(decode(&flipped, PREV).is_err(), "bit {at}");
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len], PREV).is_err(), "length {len}");
    }
}

#[test]
fn a_torn_mark_leaves_the_one_before() {
    let id = 5;
    let marks =
        [1, 2, 3].map(|seq| Mark { seq, run: 1, chain: Chain([u8::try_from(seq).unwrap(); 16]) });
    let mut file = mark::new_file(id);
    let mut before = Mark::genesis(id);
    for mark in marks {
        let next = mark::parse(&file).unwrap().next;
        let (at, bytes) = mark::slot_bytes(next, &mark);
        for torn in 0..bytes.len() {
            let mut copy = file.clone();
            copy[at..at + torn].copy_from_slice(&bytes[..torn]);
            copy[at + torn..at + bytes.len()].fill(0xee);
            assert_eq!(mark::parse(&copy).unwrap().mark, before);
        }
        file[at..at + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(mark::parse(&file).unwrap().mark, mark);
        before = mark;
    }
}

#[test]
fn a_damaged_or_newer_mark_file_is_refused() {
    let good = mark::new_file(5);
    let mut both = good.clone();
    both[4096] ^= 1;
    both[8192] ^= 1;
    let mut newer = good.clone();
    newer[11] = 2;
    let crc = crc32fast::hash(&newer[..16]).to_be_bytes();
    newer[16..20].copy_from_slice(&crc);
    newer.truncate(4096);
    assert_eq!(mark::parse(&newer), Err(mark::MarkError::Newer(2)));
    let mut id = good.clone();
    id[15] ^= 1;
    let cases = [both, id, good[..4096].to_vec(), vec![0; good.len()], Vec::new()];
    for bad in cases {
        assert!(matches!(mark::parse(&bad), Err(mark::MarkError::Damaged(_))));
    }
}

fn path() -> impl Strategy<Value = RelPath> {
    let part = proptest::collection::vec(any::<u8>(), 1..40);
    proptest::collection::vec(part, 1..5)
        .prop_map(|parts| parts.join(&b'/'))
        .prop_filter_map("no path", |bytes| RelPath::new(bytes).ok())
}

pub(super) fn time() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), any::<u32>()).prop_map(|(secs, nanos)| Timestamp { secs, nanos })
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let names = proptest::collection::vec(path(), 1..6);
    let bytes = || proptest::collection::vec(any::<u8>(), 0..5_000);
    let metadata = (
        any::<u32>(),
        proptest::option::of(bytes()),
        proptest::collection::btree_map(bytes(), bytes(), 0..3),
    )
        .prop_map(|(mode, acl, xattrs)| Metadata { uid: mode, gid: 0, mode, acl, xattrs });
    let handles = proptest::array::uniform4(proptest::collection::vec(any::<u8>(), 0..132));
    (any::<u64>(), names, metadata, time(), any::<[u8; 32]>(), handles).prop_map(
        |(seq, names, metadata, time, blake3, handles)| {
            let mut intent = intent(OpId { run: 1, seq }, &names);
            intent.metadata = metadata;
            intent.atime = time;
            intent.blake3 = blake3;
            intent.flags = blake3[0].is_multiple_of(2).then_some(u32::from(blake3[1]) << 16);
            let [master, duplicate, from, to] = handles.map(Handle);
            intent.master_handle = master;
            intent.duplicate_handle = duplicate;
            (intent.names[0].from_dir, intent.names[0].to_dir) = (from, to);
            intent
        },
    )
}

pub(super) fn any_record() -> impl Strategy<Value = Record> {
    let op = (any::<u64>(), any::<u64>()).prop_map(|(run, seq)| OpId { run, seq });
    let relink = |(mut intent, undo): (Intent, OpId)| {
        intent.relinks = Some(undo);
        intent
    };
    let undo = |(intent, undoes, copy, sparse, emptied)| UndoIntent {
        undoes,
        intent,
        copy,
        sparse,
        emptied,
        source: None,
    };
    let emptied = proptest::collection::vec(path(), 0..3);
    prop_oneof![
        any_intent().prop_map(|intent| Record::Intent(Box::new(intent))),
        (any_intent(), op.clone()).prop_map(move |parts| Record::Intent(Box::new(relink(parts)))),
        (any_intent(), op.clone(), path(), any::<bool>(), emptied)
            .prop_map(move |parts| Record::UndoIntent(Box::new(undo(parts)))),
        (op.clone(), any::<u64>()).prop_map(|(op, reclaimed)| Record::Done { op, reclaimed }),
        (op.clone(), any::<String>()).prop_map(|(op, why)| Record::Restored { op, why }),
        (op, any::<String>(), proptest::collection::vec((any::<u16>(), path()), 0..3)).prop_map(
            |(op, why, left)| {
                let left = left.into_iter().map(|(b, p)| (BranchIdx(b), p)).collect();
                Record::Conflict { op, why, left }
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn records_come_back_as_they_went_in(record in any_record(), seq: u64, time in time(), prev: [u8; 16]) {
        let (bytes, chain) = encode(seq, time, &record, Chain(prev)).unwrap();
        let values = split(1, seq, &bytes);
        prop_assert!(values.iter().all(|(_, value)| value.len() <= 3_500));
        let joined: Vec<u8> = values.into_iter().flat_map(|(_, value)| value).collect();
        let (entry, decoded) = decode(&joined, Chain(prev)).unwrap();
        prop_assert_eq!(decoded, chain);
        prop_assert_eq!(entry, Entry { seq, time, record });
    }

    #[test]
    fn byte_soup_is_refused_without_panic(soup in proptest::collection::vec(any::<u8>(), 0..400), prev: [u8; 16]) {
        prop_assert!(decode(&soup, Chain(prev)).is_err());
        prop_assert!(mark::parse(&soup).is_err());
        parse_key(&soup);
    }

    /// Past checksum and chain, the body itself is decoded in each format: whatever it holds, that must not panic.
    #[test]
    fn byte_soup_as_a_body_does_not_panic(
        body in proptest::collection::vec(any::<u8>(), 0..400),
        prev: [u8; 16],
        version in 1..=VERSION,
    ) {
        let (bytes, _) = seal(version, 9, &body, Chain(prev)).unwrap();
        if let Err(error) = decode(&bytes, Chain(prev)) {
            prop_assert!(matches!(error, CodecError::Damaged(_)));
        }
    }
}
