//! The stored form: fixed for ever once released.

use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;
use crate::journal::codec::{CodecError, decode, encode, key, parse_key, split};
use crate::journal::mark;

const PREV: Chain = Chain([3; 16]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn samples() -> Vec<(&'static str, Record)> {
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
    let why = "busy".to_owned();
    let left = vec![(BranchIdx(1), rel("a/.xdedup"))];
    let ended = RunEnded {
        run: 2,
        time: NOW,
        done: 1,
        reclaimed: 1 << 40,
    };
    vec![
        ("run started", Record::RunStarted(started)),
        ("intent, cross", Record::Intent(Box::new(ours))),
        ("intent, local", Record::Intent(Box::new(local))),
        ("retired", Record::Retired { op }),
        (
            "done",
            Record::Done {
                op,
                reclaimed: 4096,
            },
        ),
        (
            "restored",
            Record::Restored {
                op,
                why: why.clone(),
            },
        ),
        ("conflict", Record::Conflict { op, why, left }),
        ("run ended", Record::RunEnded(ended)),
    ]
}

/// What format 2 added.
fn undo_samples() -> Vec<(&'static str, Record)> {
    let op = OpId { run: 3, seq: 1 };
    let undo = UndoIntent {
        undoes: OpId { run: 2, seq: 300 },
        intent: intent(op, &[rel("a/b")]),
        copy: rel("a/.xdedup-c"),
        sparse: true,
        emptied: vec![rel("a/b"), rel("a")],
    };
    let started = UndoStarted {
        run: run_started(3),
        undoes: 2,
    };
    let (ino, btime) = (77, Some(NOW));
    vec![
        ("undo started", Record::UndoStarted(started)),
        ("undo intent", Record::UndoIntent(Box::new(undo))),
        ("copied", Record::Copied { op, ino, btime }),
    ]
}

#[test]
fn records_of_format_1_are_read_as_they_were_meant() {
    let lines: Vec<&str> = include_str!("golden_1.txt").lines().collect();
    assert_eq!(lines.len(), samples().len());
    for (line, (name, record)) in lines.into_iter().zip(samples()) {
        let hex = line.split_once(": ").unwrap().1;
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(bytes[0], 1);
        assert_eq!(decode(&bytes, PREV).unwrap().0.record, record, "{name}");
    }
}

/// A red line here means that journals written before can no longer be read: raise the version instead.
#[test]
fn every_record_is_stored_as_it_always_was() {
    let golden: Vec<(&str, &str)> = include_str!("golden.txt")
        .lines()
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    let samples = samples().into_iter().chain(undo_samples());
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
    assert_eq!(
        parts.map(hex).join("\n"),
        include_str!("golden_mark.txt").trim_end()
    );
}

#[test]
fn an_unknown_version_is_told_from_damage() {
    let (mut bytes, _) = encode(9, NOW, &samples()[3].1, PREV).unwrap();
    bytes[0] = 3;
    assert!(matches!(decode(&bytes, PREV), Err(CodecError::Damaged(_))));
    let covered = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..covered]).to_be_bytes();
    bytes[covered..].copy_from_slice(&crc);
    assert_eq!(decode(&bytes, PREV), Err(CodecError::Newer(3)));
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
    let marks = [1, 2, 3].map(|seq| Mark {
        seq,
        run: 1,
        chain: Chain([u8::try_from(seq).unwrap(); 16]),
    });
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
    let cases = [
        both,
        id,
        good[..4096].to_vec(),
        vec![0; good.len()],
        Vec::new(),
    ];
    for bad in cases {
        assert!(matches!(
            mark::parse(&bad),
            Err(mark::MarkError::Damaged(_))
        ));
    }
}

fn path() -> impl Strategy<Value = RelPath> {
    let part = proptest::collection::vec(any::<u8>(), 1..40);
    proptest::collection::vec(part, 1..5)
        .prop_map(|parts| parts.join(&b'/'))
        .prop_filter_map("no path", |bytes| RelPath::new(bytes).ok())
}

fn time() -> impl Strategy<Value = Timestamp> {
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
        .prop_map(|(mode, acl, xattrs)| Metadata {
            uid: mode,
            gid: 0,
            mode,
            acl,
            xattrs,
        });
    (any::<u64>(), names, metadata, time(), any::<[u8; 32]>()).prop_map(
        |(seq, names, metadata, time, blake3)| {
            let mut intent = intent(OpId { run: 1, seq }, &names);
            intent.metadata = metadata;
            intent.atime = time;
            intent.blake3 = blake3;
            intent
        },
    )
}

fn any_record() -> impl Strategy<Value = Record> {
    let op = (any::<u64>(), any::<u64>()).prop_map(|(run, seq)| OpId { run, seq });
    prop_oneof![
        any_intent().prop_map(|intent| Record::Intent(Box::new(intent))),
        (op.clone(), any::<u64>()).prop_map(|(op, reclaimed)| Record::Done { op, reclaimed }),
        (op.clone(), any::<String>()).prop_map(|(op, why)| Record::Restored { op, why }),
        (
            op,
            any::<String>(),
            proptest::collection::vec((any::<u16>(), path()), 0..3)
        )
            .prop_map(|(op, why, left)| {
                let left = left.into_iter().map(|(b, p)| (BranchIdx(b), p)).collect();
                Record::Conflict { op, why, left }
            }),
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

    /// Past checksum and chain, the body itself is decoded: whatever it holds, that must not panic.
    #[test]
    fn byte_soup_as_a_body_does_not_panic(body in proptest::collection::vec(any::<u8>(), 0..400), prev: [u8; 16]) {
        let mut bytes = [&[1, 0, 1][..], &9_u64.to_be_bytes(), &body].concat();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&prev);
        hasher.update(&9_u64.to_be_bytes());
        hasher.update(&body);
        bytes.extend_from_slice(&hasher.finalize().as_bytes()[..16]);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        if let Err(error) = decode(&bytes, Chain(prev)) {
            prop_assert!(matches!(error, CodecError::Damaged(_)));
        }
    }
}
