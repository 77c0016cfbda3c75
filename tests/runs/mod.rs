//! Runs and undos from request to outcome, over a simulated pool: what happens in which order, what is recorded, and
//! what the outcome has.

mod stage;

use std::time::Duration;

use mergerfs_xdedup::execute::Outcome as OpOutcome;
use mergerfs_xdedup::fs::Metadata;
use mergerfs_xdedup::fs::sim::{Fault, SimWorld, place};
use mergerfs_xdedup::journal::mem_store::MemStore;
use mergerfs_xdedup::journal::{Journal, RunSummary};
use mergerfs_xdedup::plan::Only;
use mergerfs_xdedup::plan::refusal::Reason;
use mergerfs_xdedup::pool::BranchIdx;
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::rescue::resume::resume_on;
use mergerfs_xdedup::rescue::undo_run::{Chosen, UndoError, Undone, chosen};
use mergerfs_xdedup::rescue::verify::newest_kept;
use mergerfs_xdedup::run::{self, CarriedOut, Outcome, RunError, Site, Unfinished, journals_noted};
use stage::Stage;

const BYTES: &[u8] = b"the same bytes";

/// Two disks with one file each, the same.
fn pair() -> Stage {
    let world = SimWorld::new();
    let [a, b] = [(); 2].map(|()| world.add_branch(world.add_disk()));
    world.add_file(&place(a, "m/d0"), BYTES);
    world.add_file(&place(b, "d1"), BYTES);
    world.sync_all();
    Stage::new(world)
}

fn carried_out(stage: &mut Stage) -> CarriedOut {
    stage.run().unwrap().carried_out().unwrap().clone()
}

/// Two names of one inode, and the bytes of both as before.
fn assert_linked(stage: &Stage) {
    assert_eq!(stage.inodes_of(BYTES), 1);
    let view = stage.view();
    assert_eq!(view.len(), 2, "{view:?}");
    assert!(view.values().all(|bytes| bytes == BYTES));
}

/// Kills a run as soon as its journal has an open op.
fn killed_half_way() -> Stage {
    for call in 1.. {
        let mut stage = pair();
        stage.world.plan_fault(Fault::DieAt(call));
        let result = stage.run();
        assert!(result.is_err() || !stage.world.died());
        if !stage.journal().open_ops().is_empty() {
            return stage;
        }
        assert!(stage.world.died(), "no call leaves an op open");
    }
    unreachable!()
}

/// Kills a run at each call; returns the next process, with the call.
fn killed_at_each_call() -> impl Iterator<Item = (usize, Stage)> {
    (1..).map_while(|call| {
        let mut stage = pair();
        stage.world.plan_fault(Fault::DieAt(call));
        stage.run().err().map(|_| (call, stage.next()))
    })
}

#[test]
fn a_run_links_records_and_returns_what_it_did() {
    let mut stage = pair();
    let done = carried_out(&mut stage);
    assert_linked(&stage);
    assert_eq!((done.run, done.done), (Some(1), 1));
    assert!(done.reclaimed > 0);
    assert!(done.refusals.is_empty() && done.not_done.is_empty());
    assert_eq!(stage.seen.steps, ["opened", "begun", "ended"]);
    assert_eq!(stage.site.locked.get(), 1);
    let journal = stage.journal();
    let ended = journal.run(1).unwrap().ended.as_ref().unwrap();
    assert_eq!((ended.done, ended.reclaimed), (1, done.reclaimed));
}

#[test]
fn a_run_that_has_nothing_to_do_makes_no_record() {
    let mut stage = pair();
    carried_out(&mut stage);
    let mut again = stage.next();
    let done = carried_out(&mut again);
    assert_eq!((done.run, done.done), (None, 0));
    assert_eq!(again.seen.steps, ["opened", "begun", "ended"]);
    assert_eq!(again.journal().runs().count(), 1);
}

#[test]
fn a_dry_run_changes_nothing_and_returns_the_plan() {
    let mut stage = pair();
    stage.terms.execute = false;
    let before = (stage.world.files(), stage.store.bytes());
    let Outcome::Planned(planned) = stage.run().unwrap() else {
        panic!("not a plan");
    };
    assert_eq!(planned.plan.ops.len(), 1);
    assert_eq!((stage.world.files(), stage.store.bytes()), before);
    assert_eq!(stage.site.locked.get(), 0);
    assert_eq!(stage.seen.steps, ["opened"]);
}

#[test]
fn a_run_first_finishes_what_a_killed_run_left_open() {
    let stage = killed_half_way();
    let mut next = stage.next();
    let Outcome::Ran(ran) = next.run().unwrap() else {
        panic!("not carried out");
    };
    assert_eq!(ran.still_open, 0);
    assert_linked(&next);
    let expected = ["opened", "recovering", "recovered", "begun", "ended"];
    assert_eq!(next.seen.steps, expected);
    assert!(next.seen.outcomes[0].2, "{:?}", next.seen.outcomes);
    assert!(next.journal().open_ops().is_empty());
    // What recovery took back is planned again, on the inodes as they are then.
    let of_run = next.seen.outcomes.iter().filter(|(.., recovered)| !recovered);
    assert_eq!(of_run.count() as u64, ran.carried_out.done);
}

#[test]
fn a_dry_run_names_a_killed_run_and_plans_none_of_its_files() {
    let mut next = killed_half_way().next();
    next.terms.execute = false;
    let before = next.store.bytes();
    let Outcome::Planned(planned) = next.run().unwrap() else {
        panic!("not a plan");
    };
    assert_eq!(planned.unfinished, [Unfinished { run: 1, open: 1 }]);
    assert_eq!(planned.plan.ops, []);
    let reasons = planned.plan.refusals.iter().map(|refusal| refusal.reason);
    assert_eq!(reasons.collect::<Vec<_>>(), [Reason::Unfinished]);
    assert_eq!(next.store.bytes(), before);
    assert_eq!(next.journal().open_ops().len(), 1);
}

#[test]
fn a_file_that_has_to_stay_open_is_not_planned_again() {
    let mut stayed_open = 0;
    for (call, mut next) in killed_at_each_call() {
        next.world.client_open_write(&RelPath::new("m/d0").unwrap()).unwrap();
        let done = carried_out(&mut next);
        if next.journal().open_ops().is_empty() {
            continue;
        }
        stayed_open += 1;
        assert_eq!(done.run, None, "killed at call {call}");
        let reasons: Vec<Reason> = done.refusals.iter().map(|refusal| refusal.reason).collect();
        assert!(reasons.iter().all(|reason| *reason == Reason::Unfinished), "{reasons:?}");
    }
    assert!(stayed_open > 0);
}

#[test]
fn resume_finishes_the_same_without_a_run() {
    let stage = killed_half_way();
    let mut next = stage.next();
    let mut journal = mergerfs_xdedup::journal::Journal::open(next.store.handle()).unwrap();
    let site = next.site.clone();
    let open = resume_on(&mut journal, |_| Ok(site.clone()), &next.stop, &mut next.seen);
    assert_eq!(open.unwrap(), 0);
    assert_eq!(next.seen.steps, ["recovering", "recovered"]);
    assert!(journal.open_ops().is_empty());
    assert_eq!(journal.runs().count(), 1);
    assert!(next.view().values().all(|bytes| bytes == BYTES));
}

#[test]
fn an_undo_takes_a_run_back_as_a_run_of_its_own() {
    let mut stage = pair();
    let before = stage.view();
    carried_out(&mut stage);
    let mut undo = stage.next();
    let Undone::Ran(done) = undo.undo(1, true).unwrap() else {
        panic!("not carried out");
    };
    assert_eq!((done.run, done.done), (Some(2), 1));
    assert_eq!((undo.inodes_of(BYTES), undo.view()), (2, before));
    assert_eq!(undo.seen.steps, ["begun", "ended"]);
    let journal = undo.journal();
    let record = journal.run(2).unwrap();
    assert_eq!(record.undoes, Some(1));
    assert_eq!(record.ended.as_ref().unwrap().done, 1);
    // Asked for once more, it does not link again.
    assert!(matches!(chosen(&journal, None), Err(UndoError::NothingLeft)));
    let first = journal.run(1).unwrap();
    assert_eq!((first.still_free(), record.still_free()), (0, 0));
    assert!(first.reclaimed > 0);
    // An undo of that links again: as a run does, and it is undone like one.
    let mut redo = undo.next();
    redo.undo(2, true).unwrap();
    assert_linked(&redo);
    let journal = redo.journal();
    let third = journal.run(3).unwrap();
    assert_eq!((third.undoes, third.links(), third.undone), (Some(2), true, 0));
    assert_eq!(journal.run(2).unwrap().undone, 1);
    assert_eq!(chosen(&journal, None).unwrap().first, 3);
    assert_eq!(third.still_free(), journal.run(1).unwrap().reclaimed);
    // Run 2 has nothing left that could be taken back.
    assert!(journal.finished(|run| run == 2).unwrap().ops.is_empty());
    let mut again = redo.next();
    again.undo(3, true).unwrap();
    assert_eq!(again.inodes_of(BYTES), 2);
    let journal = again.journal();
    assert_eq!(journal.runs().map(RunSummary::still_free).sum::<u64>(), 0);
    assert!(matches!(chosen(&journal, None), Err(UndoError::NothingLeft)));
}

/// Run 2 takes back one of both files of run 1, and run 3 takes back run 2.
#[test]
fn the_history_adds_up_to_what_is_free_now() {
    let world = SimWorld::new();
    let [a, b] = [(); 2].map(|()| world.add_branch(world.add_disk()));
    for (kept, other, bytes) in [("m/d0", "d1", BYTES), ("m/d2", "d3", b"other bytes")] {
        world.add_file(&place(a, kept), bytes);
        world.add_file(&place(b, other), bytes);
    }
    world.sync_all();
    let mut stage = Stage::new(world);
    let freed = carried_out(&mut stage).reclaimed;
    let free_now = |journal: &Journal<_>| journal.runs().map(RunSummary::still_free).sum::<u64>();

    let mut undo = stage.next();
    undo.undo_below(1, true, vec![RelPath::new("d3").unwrap()]).unwrap();
    assert_eq!(free_now(&undo.journal()), freed / 2);
    assert_eq!(chosen(&undo.journal(), None).unwrap().first, 1);
    let verified = |stage: &Stage| newest_kept(&stage.journal()).map(|run| run.started.run);
    assert_eq!(verified(&undo), Some(1));
    let mut redo = undo.next();
    redo.undo(2, true).unwrap();
    assert_eq!(free_now(&redo.journal()), freed);
    assert_eq!(chosen(&redo.journal(), None).unwrap().first, 3);
    assert_eq!(verified(&redo), Some(3));
    let mut last = redo.next();
    last.undo(3, true).unwrap();
    let journal = last.journal();
    assert_eq!(free_now(&journal), freed / 2);
    assert_eq!(chosen(&journal, None).unwrap().first, 1);
    let undone: Vec<_> = journal.runs().map(|run| (run.done, run.undone)).collect();
    assert_eq!(undone, [(2, 1), (1, 1), (1, 1), (1, 0)]);
    assert_eq!(journal.run(4).unwrap().started.options, [b"undo"]);
}

#[test]
fn an_undo_of_a_killed_run_finishes_it_and_takes_it_back_in_one_go() {
    let (mut left_open, before) = (0, pair().view());
    for (call, killed) in killed_at_each_call() {
        if killed.journal().open_ops().is_empty() {
            continue;
        }
        left_open += 1;
        let Chosen { first, others } = chosen(&killed.journal(), None).unwrap();
        assert_eq!((first, others), (1, vec![]));
        let mut dry = killed.next();
        let Undone::Planned { plan, unfinished, .. } = dry.undo(1, false).unwrap() else {
            panic!("not a plan");
        };
        assert_eq!((plan.ops, unfinished), (vec![], vec![Unfinished { run: 1, open: 1 }]));
        let mut undo = dry.next();
        assert!(matches!(undo.undo(1, true).unwrap(), Undone::Ran(_)));
        assert_eq!(
            (undo.inodes_of(BYTES), undo.view()),
            (2, before.clone()),
            "killed at call {call}"
        );
        assert!(undo.journal().open_ops().is_empty());
    }
    assert!(left_open > 3, "{left_open}");
}

#[test]
fn an_undo_without_execute_or_without_room_changes_nothing() {
    let mut stage = pair();
    carried_out(&mut stage);
    let mut undo = stage.next();
    let before = (undo.world.files(), undo.store.bytes());
    undo.site.free = 1;
    let Undone::Planned { plan, room, .. } = undo.undo(1, false).unwrap() else {
        panic!("not a plan");
    };
    assert_eq!(plan.ops.len(), 1);
    assert!(matches!(room, Err(UndoError::NoRoom { free: 1, .. })));
    let refused = undo.undo(1, true);
    assert!(matches!(refused, Err(UndoError::NoRoom { .. })));
    assert_eq!((undo.world.files(), undo.store.bytes()), before);
}

#[test]
fn what_is_refused_and_what_is_not_done_reach_the_outcome() {
    let mut stage = pair();
    let other = place(BranchIdx(1), "d2");
    stage.world.add_file(&other, BYTES);
    let mode = Metadata { mode: 0o600, ..Metadata::default() };
    stage.world.set_metadata(&other, mode);
    let busy = RelPath::new("d1").unwrap();
    stage.world.client_open_write(&busy).unwrap();
    let done = carried_out(&mut stage);
    assert_eq!((done.run, done.done), (Some(1), 0));
    let reasons: Vec<Reason> = done.refusals.iter().map(|r| r.reason).collect();
    assert_eq!(reasons, [Reason::ModeDiffers]);
    let [not_done] = done.not_done.as_slice() else {
        panic!("{:?}", done.not_done);
    };
    assert_eq!(not_done.reason, Reason::Busy.as_str());
    assert_eq!(not_done.pool_path.to_str(), Some("/pool/d1"));
    assert!(matches!(stage.seen.outcomes[0].1, OpOutcome::NotDone(_)));
    // Both have a line in the CSV log.
    let csv = String::from_utf8(stage.store.csv()).unwrap();
    for reason in [Reason::ModeDiffers, Reason::Busy] {
        assert!(csv.contains(reason.as_str()), "{csv}");
    }
}

#[test]
fn only_the_named_file_is_replaced_whatever_else_is_equal() {
    let mut stage = pair();
    stage.world.add_file(&place(BranchIdx(1), "m/d2"), BYTES);
    stage.world.sync_all();
    let named = RelPath::new("m/d2").unwrap();
    stage.terms.rules.only = Some(Only::new([&named]));
    let before = stage.view();
    let done = carried_out(&mut stage);
    assert_eq!((done.done, done.refusals.len()), (1, 0));
    assert_eq!((stage.inodes_of(BYTES), stage.view()), (2, before));
    assert_eq!(stage.seen.outcomes.iter().map(|(path, ..)| path).collect::<Vec<_>>(), [&named]);
    // Once more: it is a link of a file that was not named, and that stays.
    let mut again = stage.next();
    again.terms.rules.only = stage.terms.rules.only.clone();
    let done = carried_out(&mut again);
    let reasons: Vec<Reason> = done.refusals.iter().map(|r| r.reason).collect();
    assert_eq!((done.run, reasons), (None, vec![Reason::Kept]));
    assert_eq!(again.inodes_of(BYTES), 2);
}

#[test]
fn a_stop_ends_the_search_or_leaves_the_ops() {
    let mut stage = pair();
    stage.seen.stops = Some(stage.stop.clone());
    let done = carried_out(&mut stage);
    assert_eq!(done.not_done[0].reason, Reason::Interrupted.as_str());
    assert_eq!(stage.inodes_of(BYTES), 2);
    // The same stop is still asked for.
    assert!(matches!(stage.run(), Ok(Outcome::Stopped)));
}

#[test]
fn a_journal_at_a_wrong_place_is_refused_before_the_search() {
    let mut stage = pair();
    stage.misplaced = true;
    assert!(matches!(stage.run(), Err(RunError::NoJournalPlace)));
    assert!(stage.seen.steps.is_empty() && stage.world.calls() == 0, "{:?}", stage.world.trace());
}

#[test]
fn hidden_names_of_a_journal_that_is_gone_keep_a_run_from_beginning_a_new_one() {
    let names = |stage: &mut Stage| {
        stage.hidden = [(5, place(BranchIdx(1), ".xdedup-r"))].into();
    };
    let gone = |error: &RunError| matches!(error, RunError::JournalGone { journal: 5, .. });
    let mut stage = pair();
    names(&mut stage);
    let Err(refused) = stage.run() else {
        panic!("not refused");
    };
    assert!(gone(&refused) && refused.fault() == run::Fault::Journal, "{refused}");
    assert!(
        refused.to_string().ends_with("left the hidden file \"/branch1/.xdedup-r\""),
        "{refused}"
    );
    assert_eq!((stage.inodes_of(BYTES), stage.seen.steps.len()), (2, 1));
    stage.terms.execute = false;
    let Outcome::Planned(planned) = stage.run().unwrap() else {
        panic!("not a plan");
    };
    assert!(planned.obstacles.iter().all(gone) && planned.obstacles.len() == 1);
    stage.terms.execute = true;
    stage.terms.execution.accept_branches = true;
    assert_eq!(carried_out(&mut stage).done, 1);

    // Beside a journal that is there, they are another's.
    let mut next = stage.next();
    names(&mut next);
    assert_eq!(carried_out(&mut next).run, None);
    let noted = journals_noted(&next.site);
    assert_eq!(noted.iter().map(|noted| (noted.journal, noted.run)).collect::<Vec<_>>(), [(7, 1)]);
}

#[test]
fn an_error_of_the_watcher_or_of_the_pool_ends_the_run() {
    let mut stage = pair();
    stage.seen.refuses = true;
    assert!(matches!(stage.run(), Err(RunError::Watcher(_))));
    assert_eq!(stage.inodes_of(BYTES), 2);

    let mut stage = pair();
    stage.site.changed = Some("a branch went");
    assert!(matches!(stage.run(), Err(RunError::PoolChanged(_))));
    assert_eq!(stage.inodes_of(BYTES), 2);
    // The watcher sees the end even so; the journal does not.
    assert_eq!(stage.seen.steps, ["opened", "begun", "ended"]);
    assert!(stage.journal().run(1).unwrap().ended.is_none());
}

#[test]
fn another_disk_behind_a_branch_stops_the_next_run_unless_it_is_accepted() {
    let mut stage = pair();
    carried_out(&mut stage);
    let mut next = stage.next();
    next.site.exchange_disk(BranchIdx(1));
    let refused = next.run();
    assert!(matches!(refused, Err(RunError::OtherBranch { what: "directory", run: 1, .. })));
    next.terms.execution.accept_branches = true;
    assert!(next.run().is_ok());
}

/// One more pair of equal files.
fn add_pair(stage: &Stage, name: &str) {
    for branch in [BranchIdx(0), BranchIdx(1)] {
        stage.world.add_file(&place(branch, format!("d{name}{}", branch.0)), name.as_bytes());
    }
    stage.world.sync_all();
}

/// The next process, with a journal that came from a backup.
fn restored(stage: &Stage, backup: &MemStore) -> Stage {
    let mut restored = stage.next();
    restored.store = backup.after_kill();
    restored
}

#[test]
fn a_journal_that_lacks_a_run_changes_nothing_unless_that_is_accepted() {
    let mut first = pair();
    carried_out(&mut first);
    let backup = first.store.after_kill();
    let mut second = first.next();
    add_pair(&second, "second");
    assert_eq!(carried_out(&mut second).run, Some(2));

    let mut old = restored(&second, &backup);
    add_pair(&old, "third");
    let refused = old.run();
    assert!(matches!(refused, Err(RunError::OldJournal { run: 2, newest: 1, .. })));
    assert!(matches!(old.undo(1, true), Err(UndoError::Run(RunError::OldJournal { .. }))));
    assert_eq!((old.inodes_of(BYTES), old.inodes_of(b"third")), (1, 2));
    old.terms.execution.accept_branches = true;
    // Hidden names that the lost run 2 may have left have its number.
    assert_eq!(carried_out(&mut old).run, Some(3));

    // The disks lost their notes: now the other copy of the journal has another run 2.
    let mut old = restored(&second, &backup);
    old.site.pool().indices().for_each(|branch| old.site.set_note(branch, b""));
    add_pair(&old, "third");
    assert_eq!(carried_out(&mut old).run, Some(2));
    let mut other = restored(&old, &second.store);
    add_pair(&other, "fourth");
    assert!(matches!(other.run(), Err(RunError::OtherJournal { run: 2, .. })));
    assert_eq!(other.inodes_of(b"fourth"), 2);
}

#[test]
fn a_recovery_with_an_old_journal_changes_nothing() {
    let killed = killed_half_way();
    let mut newer = killed.next();
    let backup = newer.store.after_kill();
    add_pair(&newer, "second");
    assert_eq!(carried_out(&mut newer).run, Some(2));
    let mut old = restored(&newer, &backup);
    let before = old.world.names();
    let (mut journal, site) = (old.journal(), old.site.clone());
    assert!(!journal.open_ops().is_empty());
    let refused = resume_on(&mut journal, |_| Ok(site.clone()), &old.stop, &mut old.seen);
    assert!(matches!(refused, Err(RunError::OldJournal { .. })), "{refused:?}");
    assert_eq!(old.world.names(), before);
}

#[test]
fn a_clock_that_was_set_back_changes_nothing_unless_that_is_accepted() {
    let mut stage = pair();
    carried_out(&mut stage);
    // An hour is no more than a correction.
    for (back, refused) in [(3600, false), (5 * 365 * 24 * 3600, true)] {
        let mut next = stage.next();
        add_pair(&next, "second");
        next.world.set_clock_back(Duration::from_secs(back));
        if refused {
            assert!(matches!(next.run(), Err(RunError::ClockBack { run: 1, .. })));
            let undone = next.undo(1, true);
            assert!(matches!(undone, Err(UndoError::Run(RunError::ClockBack { .. }))));
            assert_eq!((next.inodes_of(BYTES), next.inodes_of(b"second")), (1, 2));
            next.terms.execution.accept_branches = true;
        }
        assert_eq!(carried_out(&mut next).done, 1);
    }
}

#[test]
fn the_commands_around_a_run_know_how_it_went() {
    let mut stage = pair();
    stage.terms.execution.hooks.before = Some("exit 1".into());
    stage.terms.execution.hooks.after = Some("exit 1".into());
    assert!(matches!(stage.run(), Err(RunError::CommandBefore(_))));
    assert_eq!((stage.inodes_of(BYTES), stage.seen.steps.len()), (2, 1));

    stage.terms.execution.hooks.before = Some("test $XDEDUP_PLANNED = 1".into());
    stage.terms.execution.hooks.after = Some("test $XDEDUP_EXIT = 7".into());
    let Outcome::Ran(ran) = stage.run().unwrap() else {
        panic!("not carried out");
    };
    assert_eq!((ran.carried_out.done, ran.after_failed), (1, false));
}
