//! Tests for forgetting runs: open runs are kept, and the old journal stays until the new journal is whole.

use std::fs;

use super::*;
use crate::journal::{create_or_open, open_existing, prune};

fn started(run: u64, days: i64) -> RunStarted {
    let time = Timestamp { secs: days * 86_400, nanos: 0 };
    RunStarted { time, ..run_started(run) }
}

/// Runs on days 1, 2, ...: of 300 ops each; what `last` says comes after the ops.
fn filled(dir: &std::path::Path, runs: i64, open_in: Option<u64>) -> u32 {
    let mut journal = create_or_open(dir, None).unwrap();
    for day in 1..=runs {
        let run = journal.start_run(|run| started(run, day)).unwrap().run;
        for _ in 0..6 {
            let ops: Vec<OpId> = (0..50).map(|_| journal.next_op(run)).collect();
            let intents: Vec<_> = ops.iter().map(|op| boxed_intent(*op, "a,\n\"b\"")).collect();
            journal.record(&intents, NOW).unwrap();
            let skip = usize::from(open_in == Some(run));
            let ends = ops.iter().skip(skip).map(|op| Record::Done { op: *op, reclaimed: 1 });
            journal.record(&ends.collect::<Vec<_>>(), NOW).unwrap();
        }
    }
    journal.id()
}

#[test]
fn old_runs_go_what_is_open_stays_and_the_journal_becomes_smaller() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let id = filled(&dir, 8, Some(2));
    let open = open_existing(&dir, None).unwrap().unwrap().open_ops();
    assert_eq!(open.len(), 6);

    let pruned = prune(&dir, 6 * 86_400).unwrap().unwrap();
    assert_eq!((pruned.forgotten, pruned.kept), (4, 4));
    assert!(pruned.bytes_after < pruned.bytes_before, "{pruned:?}");
    let mut journal = open_existing(&dir, None).unwrap().unwrap();
    let runs: Vec<u64> = journal.runs().map(|run| run.started.run).collect();
    assert_eq!((runs, journal.id()), (vec![2, 6, 7, 8], id));
    assert_eq!(journal.open_ops(), open);
    let log = fs::read_to_string(dir.join("log.csv")).unwrap();
    assert!(log.contains("Z,2,1,PENDING") && !log.contains("Z,3,1,PENDING"));
    // It goes on as if nothing had been.
    assert_eq!(journal.start_run(run_started).unwrap().run, 9);
    let op = journal.next_op(2);
    assert_eq!(op.seq, 301);
    drop(journal);
    assert!(!dir.with_file_name("journal.new").exists());
    open_existing(&dir, None).unwrap().unwrap();
}

#[test]
fn the_newest_run_stays_however_old() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    filled(&dir, 3, None);
    let pruned = prune(&dir, 900 * 86_400).unwrap().unwrap();
    assert_eq!((pruned.forgotten, pruned.kept), (2, 1));
    let again = prune(&dir, 900 * 86_400).unwrap().unwrap();
    assert_eq!((again.forgotten, again.bytes_before), (0, again.bytes_after));
    let mut journal = open_existing(&dir, None).unwrap().unwrap();
    assert_eq!(journal.start_run(run_started).unwrap().run, 4);
}

#[test]
fn what_an_interrupted_rebuilding_left_is_no_obstacle() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    filled(&dir, 3, None);
    let new = dir.with_file_name("journal.new");
    // Half made, or the old journal after the exchange.
    filled(&new, 1, None);
    prune(&dir, 3 * 86_400).unwrap().unwrap();
    assert!(!new.exists());
    // A directory that only has the name stays, and so does the journal.
    fs::create_dir(&new).unwrap();
    fs::File::create(new.join("precious")).unwrap();
    assert!(prune(&dir, 900 * 86_400).is_err());
    assert!(new.join("precious").exists());
    assert_eq!(open_existing(&dir, None).unwrap().unwrap().runs().count(), 1);
}
