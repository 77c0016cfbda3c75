//! The journal cut off at every step, and stores that lost or changed something.

use super::*;
use crate::journal::mem_store::{Fault, Kept};

const KEPT: [Kept; 3] = [Kept::Nothing, Kept::Everything, Kept::Torn];

/// Three batches; how many of them were acknowledged.
fn scenario(journal: &mut Journal<MemStore>) -> usize {
    let batches = [
        vec![Record::RunStarted(run_started(1))],
        vec![
            boxed_intent(OpId { run: 1, seq: 1 }, "x"),
            boxed_intent(OpId { run: 1, seq: 2 }, "y"),
        ],
        vec![Record::Retired { op: OpId { run: 1, seq: 1 } }],
    ];
    batches.iter().take_while(|batch| journal.record(batch, NOW).is_ok()).count()
}

const ENTRIES_AFTER: [usize; 4] = [0, 1, 3, 4];

fn states_in_csv(store: &MemStore) -> usize {
    let csv = store.csv();
    csv.split(|b| *b == b'\n').filter(|line| line.ends_with(b",8192")).count()
}

#[test]
fn an_acknowledged_batch_survives_a_cut_at_every_step() {
    let (mut journal, store) = new_journal();
    let before = store.steps();
    assert_eq!(scenario(&mut journal), 3);
    let steps = store.steps() - before;
    assert!(steps >= 16, "{steps}");

    for cut in 0..=steps {
        for fault in [Fault::Die, Fault::Fail] {
            let (mut journal, store) = new_journal();
            store.set_fault(cut, fault);
            let acknowledged = scenario(&mut journal);
            let mut left = vec![store.after_kill()];
            left.extend(KEPT.map(|kept| store.after_power_loss(kept)));
            // A kill, then a power cut once the next process has read what was left.
            let resumed = store.after_kill();
            Journal::open(resumed.handle()).unwrap();
            left.push(resumed.after_power_loss(Kept::Nothing));
            for image in left {
                let reopened = Journal::open(image.handle()).unwrap();
                let entries = every_entry(&reopened).len();
                assert!(
                    entries == ENTRIES_AFTER[acknowledged]
                        || Some(&entries) == ENTRIES_AFTER.get(acknowledged + 1),
                    "cut {cut}: {acknowledged} batches, {entries} records"
                );
                assert!(states_in_csv(&image) >= entries.saturating_sub(1), "cut {cut}");
            }
        }
    }
}

#[test]
fn what_was_read_once_is_not_lost_by_a_later_power_cut() {
    let (mut journal, store) = new_journal();
    // Dies between the write of the first batch and its sync.
    store.set_fault(1, Fault::Die);
    assert_eq!(scenario(&mut journal), 0);
    assert_eq!(every_entry(&Journal::open(store.after_power_loss(Kept::Nothing)).unwrap()), []);
    let next = store.after_kill();
    let seen = every_entry(&Journal::open(next.handle()).unwrap());
    assert_eq!(seen.len(), 1);
    let after = Journal::open(next.after_power_loss(Kept::Nothing)).unwrap();
    assert_eq!(every_entry(&after), seen);
}

fn damage(store: &MemStore) -> String {
    match Journal::open(store.handle()) {
        Err(JournalError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mark_ahead_of_the_records_is_damage() {
    let (mut journal, store) = new_journal();
    scenario(&mut journal);
    for (keep, what) in [
        (3, "records 4 to 4 are missing"),
        (1, "records 2 to 4 are missing"),
        (0, "records 1 to 4 are missing"),
    ] {
        let image = store.after_kill();
        image.truncate_log(keep);
        assert_eq!(damage(&image), what);
    }
}

#[test]
fn records_ahead_of_the_mark_by_a_batch_are_accepted_and_marked() {
    let (mut journal, store) = new_journal();
    store.set_fault(8, Fault::Die);
    scenario(&mut journal);
    let next = store.after_kill();
    assert_eq!(next.read_mark().unwrap().seq, 1);
    let reopened = Journal::open(next.handle()).unwrap();
    assert_eq!(reopened.open_ops().len(), 2);
    assert_eq!(next.read_mark().unwrap().seq, 3);
}

fn missing(seq: usize, count: usize) -> String {
    if seq == count {
        format!("records {seq} to {count} are missing")
    } else {
        format!("record {seq} is missing")
    }
}

#[test]
fn missing_swapped_and_changed_records_are_damage() {
    let (mut journal, store) = new_journal();
    scenario(&mut journal);
    let count = store.log_len();
    for at in 0..count {
        let image = store.after_kill();
        image.remove_pair(at);
        assert_eq!(damage(&image), missing(at + 1, count));
        for byte in [0, 1, 2, 5, 12, 40] {
            let image = store.after_kill();
            image.flip(at, byte);
            damage(&image);
        }
        let image = store.after_kill();
        image.swap_values(at, (at + 1) % count);
        damage(&image);
    }
}

#[test]
fn the_mark_of_another_journal_is_damage() {
    let (mut journal, store) = new_journal();
    scenario(&mut journal);
    let image = store.after_kill();
    image.replace_mark(8);
    damage(&image);
}
