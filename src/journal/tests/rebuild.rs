//! A journal that cannot be used is kept, and one takes its place that goes on with its numbers.
#![expect(clippy::disallowed_methods, reason = "a journal in a scratch directory, not a branch")]

use std::fs;

use super::*;
use crate::journal::{JournalError, create_or_open, open_existing, prune, read_log, remains};

/// A journal with an op open in its third run.
fn filled(dir: &std::path::Path) -> u32 {
    let mut journal = create_or_open(dir, None).unwrap();
    for _ in 0..3 {
        let run = journal.start_run(run_started).unwrap().run;
        let op = journal.next_op(run);
        journal.record(&[boxed_intent(op, "a,\n\"b\"")], NOW).unwrap();
        if run < 3 {
            let done = Record::Done { op, reclaimed: 1 };
            journal.record(&[done], NOW).unwrap();
        }
    }
    journal.id()
}

fn kept_aside(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = dir.parent().unwrap().read_dir().unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains(".unusable-")).collect()
}

#[test]
fn a_journal_that_can_be_used_has_no_remains() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    filled(&dir);
    assert!(remains(&dir, None).unwrap().is_none());
    let _held = create_or_open(&dir, None).unwrap();
    assert!(matches!(remains(&dir, None), Err(JournalError::Locked { .. })));
}

#[test]
fn the_new_journal_has_the_id_the_log_and_the_numbers_of_the_old_one() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let id = filled(&dir);
    let garbage = vec![0xa5; 1 << 16];
    fs::write(dir.join("db/db"), &garbage).unwrap();
    let log = fs::read(dir.join("log.csv")).unwrap();

    let found = remains(&dir, None).unwrap().unwrap();
    assert_eq!((found.id, found.newest_run), (Some(id), 3));
    assert!(matches!(found.why, Some(JournalError::Damaged { .. })));
    let logged = read_log(found.log.as_ref().unwrap()).unwrap();
    assert_eq!((logged.open.len(), logged.newest_run), (1, 3));
    assert_eq!(logged.open[0].op, OpId { run: 3, seq: 1 });
    let records = [
        Record::RunStarted(run_started(3)),
        boxed_intent(OpId { run: 3, seq: 1 }, "a,\n\"b\""),
        Record::RunStarted(run_started(4)),
    ];
    let (journal, aside) = found.replace(Some(id), &records, NOW).unwrap();
    assert_eq!((journal.id(), journal.open_ops().len()), (id, 1));
    drop(journal);

    let aside = aside.unwrap();
    assert_eq!(kept_aside(&dir), std::slice::from_ref(&aside));
    assert_eq!(fs::read(aside.join("db/db")).unwrap(), garbage);
    assert!(fs::read(dir.join("log.csv")).unwrap().starts_with(&log));
    assert!(!dir.with_file_name("journal.new").exists());
    let mut journal = open_existing(&dir, None).unwrap().unwrap();
    assert_eq!(journal.start_run(run_started).unwrap().run, 5);
    drop(journal);
    // No later call may clear away the journal that is kept.
    prune(&dir, i64::MAX).unwrap();
    assert!(aside.join("mark").exists());
}

#[test]
fn whatever_is_gone_of_a_journal_it_has_remains() {
    for gone in ["db", "mark", "all but the log", "all"] {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("journal");
        let id = filled(&dir);
        if gone != "mark" {
            fs::remove_dir_all(dir.join("db")).unwrap();
        }
        if gone != "db" {
            fs::remove_file(dir.join("mark")).unwrap();
        }
        if gone == "all" {
            fs::remove_file(dir.join("log.csv")).unwrap();
            fs::remove_dir(&dir).unwrap();
        } else {
            assert!(matches!(create_or_open(&dir, None), Err(JournalError::Damaged { .. })));
        }
        let found = remains(&dir, None).unwrap().unwrap();
        assert_eq!(found.id, (gone == "db").then_some(id), "{gone}");
        assert_eq!(found.log.is_some(), gone != "all", "{gone}");
        assert_eq!(found.why.is_some(), gone != "all", "{gone}");
        let (journal, aside) = found.replace(None, &[], NOW).unwrap();
        drop(journal);
        assert_eq!(aside.is_some(), gone != "all", "{gone}");
        create_or_open(&dir, None).unwrap();
    }
}

#[test]
fn a_newer_journal_and_another_directory_are_not_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    filled(&dir);
    let mut mark = fs::read(dir.join("mark")).unwrap();
    mark[8..12].copy_from_slice(&9u32.to_be_bytes());
    let crc = crc32fast::hash(&mark[..16]).to_be_bytes();
    mark[16..20].copy_from_slice(&crc);
    fs::write(dir.join("mark"), mark).unwrap();
    assert!(matches!(remains(&dir, None), Err(JournalError::NewerVersion { .. })));
    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "x").unwrap();
    assert!(matches!(remains(&other, None), Err(JournalError::NotAJournal { .. })));
}
