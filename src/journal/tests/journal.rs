//! What goes in comes out, in the order the protocol needs.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::journal::mem_store::{Fault, Step};

#[test]
fn open_ops_runs_and_conflicts_survive_reopening() {
    let (mut journal, store) = new_journal();
    let run = journal.start_run(run_started).unwrap().run;
    let ops: Vec<OpId> = (0..5).map(|_| journal.next_op(run)).collect();
    let intents: Vec<Record> = ops.iter().map(|op| boxed_intent(*op, "b/x")).collect();
    journal.record(&intents, NOW).unwrap();
    let left = vec![(BranchIdx(1), rel("b/.xdedup-r"))];
    let rest = [
        Record::Retired { op: ops[0] },
        Record::Retired { op: ops[1] },
        Record::Done { op: ops[1], reclaimed: 8192 },
        Record::Restored { op: ops[2], why: "busy".into() },
        Record::Conflict { op: ops[3], why: "changed".into(), left: left.clone() },
        Record::RunEnded(RunEnded { run, time: NOW, done: 1, reclaimed: 8192 }),
    ];
    journal.record(&rest, NOW).unwrap();
    let written = every_entry(&journal);

    let mut again = Journal::open(store.after_kill()).unwrap();
    assert_eq!(every_entry(&again), written);
    assert_eq!(written.len(), 12);
    assert_eq!(again.open_ops(), journal.open_ops());
    let open: Vec<_> = again.open_ops().iter().map(|op| (op.intent.op, op.retired)).collect();
    assert_eq!(open, [(ops[0], true), (ops[4], false)]);
    let summary = again.run(run).unwrap();
    assert_eq!(
        (summary.intents, summary.open, summary.done, summary.restored, summary.conflicts),
        (5, 2, 1, 1, 1)
    );
    assert_eq!((summary.reclaimed, summary.ended.is_some()), (8192, true));
    assert_eq!(again.conflicts()[0].left, left);
    assert_eq!(again.next_op(run).seq, 6);
    assert_eq!(again.start_run(run_started).unwrap().run, run + 1);
}

#[test]
fn replay_of_one_run_shows_that_run_alone() {
    let (mut journal, _store) = new_journal();
    let first = journal.start_run(run_started).unwrap().run;
    let op = journal.next_op(first);
    journal.record(&[boxed_intent(op, "x")], NOW).unwrap();
    let second = journal.start_run(run_started).unwrap().run;
    // An op of the first run, finished while the second is the newest.
    let done = Record::Done { op, reclaimed: 1 };
    journal.record(&[done], NOW).unwrap();
    for (run, expected) in [(first, vec![1, 2, 4]), (second, vec![3])] {
        let mut seqs = Vec::new();
        journal
            .replay::<JournalError>(Some(run), |entry| {
                seqs.push(entry.seq);
                Ok(())
            })
            .unwrap();
        assert_eq!(seqs, expected);
    }
}

#[test]
fn replay_stops_with_the_visitors_error() {
    let (mut journal, _store) = new_journal();
    journal.start_run(run_started).unwrap();
    let stopped = journal.replay::<JournalError>(None, |_| Err(JournalError::Poisoned));
    assert!(matches!(stopped, Err(JournalError::Poisoned)));
}

#[test]
fn long_records_are_split_and_come_back_whole() {
    let (mut journal, store) = new_journal();
    let run = journal.start_run(run_started).unwrap().run;
    let op = journal.next_op(run);
    let names: Vec<RelPath> = (0..20u8)
        .map(|n| rel([vec![b'a' + n; 2047], vec![b'/'], vec![0xff; 2048]].concat()))
        .collect();
    let mut long = intent(op, &names);
    long.metadata.xattrs = (0..4).map(|n| (vec![b'k', n], vec![n; 65_536])).collect();
    let record = Record::Intent(Box::new(long));
    journal.record(&[record.clone(), boxed_intent(OpId { run, seq: 2 }, "x")], NOW).unwrap();

    let mut longest = 0;
    store
        .load(&[], &mut |_, value| {
            longest = longest.max(value.len());
            Ok(())
        })
        .unwrap();
    assert!(longest <= 3_500, "{longest}");
    let again = Journal::open(store.after_kill()).unwrap();
    assert_eq!(every_entry(&again)[1].record, record);
}

/// Swapping any two of the three writes in `Journal::record` turns this red.
#[test]
fn csv_goes_before_the_records_and_the_mark_goes_last() {
    let (mut journal, store) = new_journal();
    let run = journal.start_run(run_started).unwrap().run;
    let steps = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&steps);
    store.set_gate(move |step| {
        seen.borrow_mut().push(step);
        None
    });
    let op = journal.next_op(run);
    journal.record(&[boxed_intent(op, "x")], NOW).unwrap();
    let expected = [
        Step::CsvWrite,
        Step::CsvSync,
        Step::CommitWrite,
        Step::CommitSync,
        Step::MarkWrite,
        Step::MarkSync,
    ];
    assert_eq!(*steps.borrow(), expected);
}

#[test]
fn every_state_has_its_line_for_every_name() {
    let (mut journal, store) = new_journal();
    let run = journal.start_run(run_started).unwrap().run;
    let op = journal.next_op(run);
    let two = intent(op, &[rel("a/x, y"), rel(b"b/\xff")]);
    for record in [
        Record::Intent(Box::new(two)),
        Record::Retired { op },
        Record::Done { op, reclaimed: 4096 },
    ] {
        journal.record(&[record], NOW).unwrap();
    }
    let refused = RefusedLine {
        run,
        op: None,
        reason: "busy".into(),
        pool_path: "/mnt/pool/c".into(),
        master: PathBuf::new(),
        bytes: 5,
    };
    journal.refused(&[refused], NOW).unwrap();

    let time = "2023-11-14T22:13:20Z";
    let mut expected = b"time,run,op,state,pool_path,master,from,to,bytes\n".to_vec();
    for (state, bytes) in [("PENDING", 8192), ("LINKED", 8192), ("DELETED", 4096)] {
        let master = "/mnt/disk1/media/master.mkv";
        expected.extend_from_slice(
            format!(
                "{time},1,1,{state},\"/mnt/pool/a/x, y\",{master},\"/mnt/disk2/a/x, y\",\"/mnt/disk1/a/x, y\",{bytes}\n"
            )
            .as_bytes(),
        );
        expected.extend_from_slice(format!("{time},1,1,{state},/mnt/pool/b/").as_bytes());
        expected.extend_from_slice(
            b"\xff,/mnt/disk1/media/master.mkv,/mnt/disk2/b/\xff,/mnt/disk1/b/\xff,0\n",
        );
    }
    expected.extend_from_slice(format!("{time},1,,REFUSED:busy,/mnt/pool/c,,,,5\n").as_bytes());
    assert_eq!(String::from_utf8_lossy(&store.csv()), String::from_utf8_lossy(&expected));
    assert_eq!(store.csv(), expected);
}

#[test]
fn a_clone_has_lines_of_its_own() {
    let (mut journal, store) = new_journal();
    let run = journal.start_run(run_started).unwrap().run;
    let op = journal.next_op(run);
    let intent = intent(op, &[rel("a/x")]);
    let (source, copy) = (intent.master.clone(), rel("a/.xdedup-c"));
    for record in [
        Record::ReflinkIntent(Box::new(ReflinkIntent { intent, copy, source })),
        Record::Retired { op },
        Record::Done { op, reclaimed: 4096 },
    ] {
        journal.record(&[record], NOW).unwrap();
    }
    let log = String::from_utf8(store.csv()).unwrap();
    let states: Vec<_> = log.lines().skip(1).filter_map(|line| line.split(',').nth(3)).collect();
    assert_eq!(states, ["PENDING", "CLONED", "DELETED"]);
}

#[test]
fn after_a_failure_every_call_is_refused_and_nothing_is_written() {
    for after in 0..6 {
        let (mut journal, store) = new_journal();
        let run = journal.start_run(run_started).unwrap().run;
        let op = journal.next_op(run);
        store.set_fault(after, Fault::Fail);
        let failed = journal.record(&[boxed_intent(op, "x")], NOW);
        assert!(matches!(failed, Err(JournalError::Io { .. })), "step {after}");

        let steps = store.steps();
        let retry = journal.record(&[boxed_intent(op, "x")], NOW);
        assert!(matches!(retry, Err(JournalError::Poisoned)));
        assert!(matches!(journal.start_run(run_started), Err(JournalError::Poisoned)));
        let replay = journal.replay::<JournalError>(None, |_| Ok(()));
        assert!(matches!(replay, Err(JournalError::Poisoned)));
        assert_eq!(store.steps(), steps);
    }
}

#[test]
fn records_that_cannot_follow_are_refused_and_not_stored() {
    let unknown = OpId { run: 1, seq: 9 };
    let stranger = OpId { run: 8, seq: 1 };
    for bad in [
        Record::Retired { op: unknown },
        Record::Done { op: unknown, reclaimed: 0 },
        boxed_intent(stranger, "x"),
        boxed_intent(OpId { run: 1, seq: 1 }, "x"),
        Record::RunStarted(run_started(5)),
    ] {
        let (mut journal, store) = new_journal();
        let run = journal.start_run(run_started).unwrap().run;
        let op = journal.next_op(run);
        journal.record(&[boxed_intent(op, "x")], NOW).unwrap();
        let refused = journal.record(&[bad], NOW);
        assert!(matches!(refused, Err(JournalError::Unexpected(_))));
        assert_eq!(every_entry(&Journal::open(store.after_kill()).unwrap()).len(), 2);
    }
}

/// A journal with an undone op, one whose undo is open before and one after its copy, as it is after each record.
#[test]
fn an_undo_is_open_until_it_is_done_and_counts_for_the_run_it_undoes() {
    let (mut journal, store) = new_journal();
    journal.start_run(run_started).unwrap();
    let first = journal.next_op(1);
    let done = |op, reclaimed| Record::Done { op, reclaimed };
    journal
        .record(&[boxed_intent(first, "a"), Record::Retired { op: first }, done(first, 4096)], NOW)
        .unwrap();
    let undo = journal.start_undo(1, run_started).unwrap();
    assert_eq!(journal.run(undo.run).unwrap().undoes, Some(1));
    let op = journal.next_op(2);
    let intent = UndoIntent {
        undoes: first,
        intent: intent(op, &[rel("a")]),
        copy: rel(".xdedup-c"),
        sparse: false,
        emptied: Vec::new(),
        source: None,
    };
    journal.record(&[Record::UndoIntent(Box::new(intent))], NOW).unwrap();
    let reopened = |store: &MemStore| Journal::open(store.after_kill()).unwrap().open_ops();
    let open = reopened(&store);
    assert!(!open[0].undo.as_ref().unwrap().copied);
    let (ino, btime, handle) = (4711, None, Handle(vec![7]));
    let copied = Record::Copied { op, ino, btime, handle: handle.clone() };
    journal.record(&[copied], NOW).unwrap();
    let open = reopened(&store);
    assert!(open[0].undo.as_ref().unwrap().copied);
    let master = (open[0].intent.master.id.ino, &open[0].intent.master_handle);
    assert_eq!(master, (ino, &handle));
    assert_eq!(journal.finished(|run| run == 1).unwrap().ops.len(), 1);
    journal.record(&[Record::Retired { op }, done(op, 0)], NOW).unwrap();
    assert!(reopened(&store).is_empty());
    assert_eq!((journal.run(1).unwrap().undone, journal.run(2).unwrap().done), (1, 1));
    assert!(journal.finished(|run| run == 1).unwrap().ops.is_empty(), "undone already");
    let undone = journal.finished(|run| run == 2).unwrap();
    assert_eq!(undone.ops[0].undoes, Some(first));
    assert_eq!(undone.undone[&first].intent.op, first);
    let csv = String::from_utf8(store.csv()).unwrap();
    assert!(csv.lines().last().unwrap().contains(",UNDONE,"), "{csv}");
    let mut lines = Vec::new();
    journal
        .csv::<JournalError>(None, |line| {
            lines.extend_from_slice(line);
            Ok(())
        })
        .unwrap();
    assert_eq!(String::from_utf8(lines).unwrap(), csv);
}

#[test]
fn a_clock_that_goes_back_changes_no_order_and_loses_nothing() {
    let (mut journal, store) = new_journal();
    let at = |run, secs| RunStarted { time: Timestamp { secs, nanos: 0 }, ..run_started(run) };
    journal.start_run(|run| at(run, NOW.secs)).unwrap();
    let op = journal.next_op(1);
    journal.record(&[boxed_intent(op, "a")], NOW).unwrap();
    let earlier = Timestamp { secs: NOW.secs - 86_400 * 3_650, nanos: 0 };
    let second = journal.start_run(|run| at(run, earlier.secs)).unwrap();
    assert_eq!(second.run, 2);
    let other = journal.next_op(2);
    journal.record(&[boxed_intent(other, "b")], earlier).unwrap();
    journal.record(&[Record::Retired { op }], earlier).unwrap();
    let again = Journal::open(store.after_kill()).unwrap();
    let open: Vec<OpId> = again.open_ops().iter().map(|op| op.intent.op).collect();
    assert_eq!(open, [op, other]);
    let runs: Vec<u64> = again.runs().map(|run| run.started.run).collect();
    assert_eq!(runs, [1, 2]);
}
