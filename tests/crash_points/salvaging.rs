//! The journal is lost after a cut at any call: what its log and the hidden names tell is enough.

use mergerfs_xdedup::execute::{remove_if_empty, sync_dirs};
use mergerfs_xdedup::fs::sim::{Fault, PowerLoss};
use mergerfs_xdedup::fs::{Fs, Place};
use mergerfs_xdedup::journal::mem_store::{Kept, MemStore};
use mergerfs_xdedup::journal::{Journal, Logged, Record, read_log};
use mergerfs_xdedup::metadata::IgnoreMetadata;
use mergerfs_xdedup::names::is_hidden_name;
use mergerfs_xdedup::salvage::{self, Lost, Salvage};

use super::deaths::killed;
use super::scenario::{self, Scenario};
use super::session::{Check, Failures, Session, View, ensure};

/// What is left of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The log, and the id in the mark file.
    LogAndId,
    /// The log alone.
    Log,
    /// The mark file's id: the log is gone.
    Id,
    /// Nothing.
    Nothing,
}

const LEFT: [Left; 4] = [Left::LogAndId, Left::Log, Left::Id, Left::Nothing];

/// The hidden names, none of those below a hidden directory.
pub(super) fn hidden(session: &Session) -> Vec<Place> {
    let names = session.world.fork().names();
    let last = |at: &&Place| {
        let hidden = |part: &[u8]| is_hidden_name(part);
        let mut parts = at.path.as_bytes().split(|b| *b == b'/').map(hidden).rev();
        parts.next() == Some(true) && parts.all(|hidden| !hidden)
    };
    names.keys().filter(last).cloned().collect()
}

pub(super) fn logged(session: &Session, left: Left) -> Logged {
    match left {
        Left::LogAndId | Left::Log => read_log(&session.store.after_kill().csv()).unwrap(),
        Left::Id | Left::Nothing => Logged::default(),
    }
}

pub(super) fn planned(session: &Session, logged: &Logged, id: Option<u32>) -> (Lost, Salvage) {
    let options = session.options();
    let hidden = hidden(session);
    let path = |at: &Place| {
        options.branches[at.branch.index()]
            .path
            .join(at.path.as_path())
    };
    let paths: Vec<_> = hidden.iter().map(path).collect();
    let lost = Lost {
        mount: "/pool".into(),
        branches: options.branches,
        newest_dirs: false,
        journal: id.or_else(|| salvage::journal_of(&logged.open, &paths)),
        ignore: IgnoreMetadata::default(),
    };
    let fork = session.world.fork();
    let plan = salvage::plan(&fork.fs(), &lost, &logged.open, &hidden).unwrap();
    (lost, plan)
}

/// The next process, after the salvage put a new journal in place.
fn salvaged(session: &Session, left: Left) -> (Session, Salvage) {
    let logged = logged(session, left);
    let id = [Left::LogAndId, Left::Id].contains(&left).then_some(7);
    let (lost, plan) = planned(session, &logged, id);
    let next = session.next();
    for dir in &plan.dirs {
        assert!(remove_if_empty(&next.world.fs(), dir).unwrap());
    }
    sync_dirs(&next.world.fs(), &plan.settle).unwrap();
    let store = MemStore::new(lost.journal.unwrap_or(99));
    let mut journal = Journal::open(store.handle()).unwrap();
    let now = next.world.fs().now();
    let mut run = 0;
    for record in salvage::records(&[(&lost, &plan)], logged.newest_run, now) {
        if let Record::RunStarted(started) = &record {
            // In memory, runs are numbered without gaps.
            while run + 1 < started.run {
                run += 1;
                let mut gap = started.clone();
                gap.run = run;
                journal.record(&[Record::RunStarted(gap)], now).unwrap();
            }
            run = started.run;
        }
        journal.record(&[record], now).unwrap();
    }
    drop(journal);
    (next.next_with(&store), plan)
}

/// Ends what the salvage found, and checks what must hold then.
fn ends(session: &mut Session, scenario: &Scenario, view: &View, left: Left) -> Check {
    let open = session
        .recover()
        .map_err(|err| format!("recovery fails: {err:?}"))?;
    ensure(open == 0, || "ops stay open".to_owned())?;
    session.shows(view)?;
    session.clean()?;
    match left {
        Left::LogAndId | Left::Log => session.sound(scenario, view),
        // Which paths were on their way is not known: one may be on two branches, with the same bytes.
        Left::Id | Left::Nothing => Ok(()),
    }
}

#[test]
fn a_journal_lost_at_any_call_costs_nothing_and_leaves_no_hidden_name() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            for left in LEFT {
                let group = format!("{} {left:?}", scenario.name);
                let (mut next, plan) = salvaged(&session, left);
                let before = next.told();
                let check = ends(&mut next, &scenario, &view, left);
                let check = check
                    .and_then(|()| ensure(plan.left.is_empty(), || format!("{:?}", plan.left)));
                let point = || format!("killed at {n}: {plan:#?}\n{before}\nthen");
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
    }
    assert!(failures.points() > 2_000);
}

#[test]
fn nor_does_one_lost_by_a_power_cut() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let losses = session.world.power_loss_choices(6);
            for (i, loss) in losses.enumerate() {
                let kept = [Kept::Nothing, Kept::Everything, Kept::Torn][i % 3];
                let lost = session.after_power_loss(&loss, kept);
                let left = LEFT[(i + n) % LEFT.len()];
                let (mut next, plan) = salvaged(&lost, left);
                let before = next.told();
                let check = ends(&mut next, &scenario, &view, left);
                let group = format!("{} {left:?}", scenario.name);
                let point = || format!("cut at {n}, {loss:?} {kept:?}: {plan:#?}\n{before}\nthen");
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
    }
    assert!(failures.points() > 5_000);
}

#[test]
fn what_a_salvage_began_is_finished_by_resume_wherever_it_is_killed() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let left = LEFT[n % LEFT.len()];
            let (first, plan) = salvaged(&session, left);
            let mut m = 1 + n % 7;
            loop {
                let mut second = first.next();
                second.world.plan_fault(Fault::DieAt(m));
                if second.recover().is_ok() && !second.world.died() {
                    break;
                }
                let group = format!("{} {left:?}", scenario.name);
                let point = || format!("killed at {n}, salvage at {m}: {plan:#?}");
                failures.note(second.keeps(&view), &group, point, &second);
                let mut third = second.next();
                let check = ends(&mut third, &scenario, &view, left);
                failures.note(check, &group, point, &third);
                m += 7;
            }
            n += 3;
        }
    }
    assert!(failures.points() > 500);
}

/// A salvage lost in its turn begins again: the new log has all that the old one had.
#[test]
fn a_salvage_whose_own_journal_is_lost_is_salvaged() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let (first, _) = salvaged(&session, Left::LogAndId);
            let mut m = 2 + n % 11;
            loop {
                let mut second = first.next();
                second.world.plan_fault(Fault::DieAt(m));
                if second.recover().is_ok() && !second.world.died() {
                    break;
                }
                let (mut third, plan) = salvaged(&second, Left::LogAndId);
                let check = ends(&mut third, &scenario, &view, Left::LogAndId);
                let point = || format!("killed at {n}, salvage at {m}: {plan:#?}");
                failures.note(check, scenario.name, point, &third);
                m += 11;
            }
            n += 5;
        }
    }
    assert!(failures.points() > 200);
}

/// After an undo was cut, the paths may be on two branches with the same bytes; nothing is lost, nothing hidden stays.
#[test]
fn the_journal_of_an_undo_may_be_lost_too() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let mut done = Session::new(&scenario);
        let view = done.view();
        done.run(&scenario.ops).unwrap();
        done.world.sync_all();
        let fs = done.next();
        fs.world.fs().pause(std::time::Duration::from_secs(60));
        let mut n = 1;
        loop {
            let mut undo = fs.next();
            undo.world.plan_fault(Fault::DieAt(n));
            let result = undo.undo();
            if !undo.world.died() {
                result.unwrap();
                break;
            }
            for left in LEFT {
                let (mut next, plan) = salvaged(&undo, left);
                let before = next.told();
                let open = next.recover().map_err(|err| format!("{err:?}"));
                let check = open.and_then(|open| ensure(open == 0, || "open".to_owned()));
                let check = check.and_then(|()| next.shows(&view)).and_then(|()| {
                    // Without the log, names of two files that are exchanged one by one cannot always be told apart.
                    let told = plan.left.len() == hidden(&next).len();
                    ensure(told, || format!("{} are left", hidden(&next).len()))
                });
                let check = check.and_then(|()| match left {
                    Left::LogAndId | Left::Log => next.clean(),
                    Left::Id | Left::Nothing => Ok(()),
                });
                let group = format!("{} {left:?}", scenario.name);
                let point = || format!("killed at {n}: {plan:#?}\n{before}\nthen");
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
        assert!(n > 20, "{}: {n} calls", scenario.name);
    }
}

/// The last of a power loss: nothing that was not synced is there, and the journal neither.
#[test]
fn a_power_cut_after_the_salvage_ended_takes_nothing_back() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let (mut next, _) = salvaged(&session, LEFT[n % 2]);
            next.recover().unwrap();
            let lost = PowerLoss::nothing_kept(&next.world);
            let after = next.after_power_loss(&lost, Kept::Nothing);
            let check = after.shows(&view).and_then(|()| after.clean());
            failures.note(check, scenario.name, || format!("killed at {n}"), &after);
            n += 3;
        }
    }
}
