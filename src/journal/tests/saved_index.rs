//! The saved index: an open that believes it knows the same as one that reads every record.

use super::*;
use crate::journal::saved_index;

/// A journal with a finished run, an undone op and a conflict, and its index saved.
fn saved() -> (Journal<MemStore>, MemStore) {
    let (mut journal, store) = new_journal();
    let run = journal.start_run(run_started).unwrap().run;
    let ops: Vec<OpId> = (0..5).map(|_| journal.next_op(run)).collect();
    for op in &ops {
        journal.record(&[boxed_intent(*op, &format!("d{}", op.seq))], NOW).unwrap();
        journal.record(&[Record::Retired { op: *op }], NOW).unwrap();
    }
    let done = ops[1..].iter().map(|op| Record::Done { op: *op, reclaimed: 4096 });
    journal.record(&done.collect::<Vec<_>>(), NOW).unwrap();
    assert!(saved_index::encode(7, &journal.tip, &journal.index).is_none(), "something is open");
    let left = vec![(BranchIdx(1), rel("left"))];
    let why = "changed".to_owned();
    journal.record(&[Record::Conflict { op: ops[0], why, left }], NOW).unwrap();
    journal.save_index(1);
    (journal, store)
}

/// What is known of a journal without its records.
fn known<S: Store>(journal: &Journal<S>) -> (Vec<RunSummary>, Vec<Conflict>, Vec<OpenOp>, Mark) {
    let runs = journal.runs().cloned().collect();
    (runs, journal.conflicts().to_vec(), journal.open_ops(), journal.tip)
}

#[test]
fn an_open_reads_what_came_after_the_index_and_knows_everything() {
    let (mut journal, store) = saved();
    let started = journal.start_run(run_started).unwrap();
    let op = journal.next_op(started.run);
    journal.record(&[boxed_intent(op, "open")], NOW).unwrap();
    let mut again = Journal::open(store.after_kill()).unwrap();
    assert_eq!(known(&again), known(&journal));
    assert_eq!(again.next_op(1), OpId { run: 1, seq: 6 });
    assert_eq!(again.next_op(2), OpId { run: 2, seq: 2 });

    // The first record is not read by an open, and missed by all that need it.
    let cut = store.after_kill();
    cut.remove_pair(0);
    let again = Journal::open(cut).unwrap();
    assert_eq!(known(&again), known(&journal));
    let replayed = again.replay::<JournalError>(None, |_| Ok(()));
    assert!(matches!(replayed, Err(JournalError::Damaged { .. })));
}

#[test]
fn records_that_are_lost_are_noticed_all_the_same() {
    let (mut journal, store) = saved();
    let pairs = store.log_len();
    // The last one that the index knows, and all of them.
    for keep in [pairs - 1, 0] {
        let lost = store.after_kill();
        lost.truncate_log(keep);
        assert!(matches!(Journal::open(lost), Err(JournalError::Damaged { .. })), "{keep}");
    }
    // One that came later.
    journal.start_run(run_started).unwrap();
    let lost = store.after_kill();
    lost.truncate_log(pairs);
    assert!(matches!(Journal::open(lost), Err(JournalError::Damaged { .. })));
}

#[test]
fn an_index_that_does_not_fit_is_left_aside() {
    let (journal, store) = saved();
    let good = store.saved_index().unwrap();
    let other = saved_index::encode(8, &journal.tip, &journal.index).unwrap();
    let mut ahead = journal.tip;
    ahead.seq += 1;
    let ahead = saved_index::encode(7, &ahead, &journal.index).unwrap();
    let mut torn = good.clone();
    torn[good.len() - 1] ^= 1;
    for bad in [&[][..], &good[..good.len() / 2], &torn, &other, &ahead] {
        let store = store.after_kill();
        store.save_index(bad);
        let again = Journal::open(store.handle()).unwrap();
        assert_eq!(known(&again), known(&journal));
        // Nothing is believed that was not read.
        store.remove_pair(0);
        store.save_index(bad);
        assert!(Journal::open(store).is_err());
    }
}

#[test]
fn an_older_index_is_as_good() {
    let (mut journal, store) = saved();
    let old = store.saved_index().unwrap();
    journal.start_run(run_started).unwrap();
    journal.save_index(1);
    assert_ne!(store.saved_index().unwrap(), old);
    store.save_index(&old);
    assert_eq!(known(&Journal::open(store.after_kill()).unwrap()), known(&journal));
}

/// The file is read by the next version: a change of its form needs another `FORMAT`.
#[test]
fn the_form_of_the_file_is_known() {
    let (_, store) = saved();
    let hash = blake3::hash(&store.saved_index().unwrap()).to_hex();
    assert_eq!(&hash[..16], "5fd71908f09a1200");
}
