//! The process dies, at every call.

use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::Place;
use mergerfs_xdedup::fs::sim::Fault;
use mergerfs_xdedup::journal::mem_store::MemStore;

use super::meddling::in_conflict;
use super::scenario::{self, Scenario};
use super::session::{Check, Failures, Session, View, ensure, is_hidden};

/// Recovers to the end, and checks what must hold then.
pub(super) fn recover(session: &mut Session, scenario: &Scenario, view: &View) -> Check {
    let left = session.recover().map_err(|err| format!("recovery fails: {err:?}"))?;
    session.sound(scenario, view)?;
    ensure(left == 0, || "ops stay open".to_owned())
}

/// The scenario killed at call `n`; `None` once it ends before that.
pub(super) fn killed(scenario: &Scenario, n: usize) -> Option<Session> {
    let mut session = Session::new(scenario);
    session.world.plan_fault(Fault::DieAt(n));
    let result = session.run(&scenario.ops);
    if !session.world.died() {
        result.unwrap_or_else(|err| panic!("{}: {err:?}\n{}", scenario.name, session.told()));
        return None;
    }
    Some(session)
}

#[test]
fn an_undisturbed_run_does_every_op() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let mut session = Session::new(&scenario);
        let view = session.view();
        session.run(&scenario.ops).unwrap();
        let done = session.outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Done { .. }));
        let done = done.count() == scenario.ops.len();
        let check = ensure(done, || "not done".to_owned());
        let check = check.and_then(|()| session.sound(&scenario, &view));
        failures.note(check, scenario.name, String::new, &session);
    }
}

#[test]
fn after_a_kill_at_any_call_the_pool_is_complete_and_recovery_ends_every_op() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let point = || format!("killed at {n}");
            failures.note(
                session.shows(&view),
                &format!("{} at once", scenario.name),
                point,
                &session,
            );
            let mut next = session.next();
            let check = recover(&mut next, &scenario, &view);
            // Nobody else was there.
            let alone = ensure(!in_conflict(&next), || "a conflict with nobody".to_owned());
            failures.note(check.and(alone), scenario.name, point, &next);
            n += 1;
        }
        assert!(n > 20, "{}: {n} calls", scenario.name);
    }
}

#[test]
fn recovery_may_be_killed_at_any_call_too() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let mut m = 1 + n % 7;
            loop {
                let mut second = session.next();
                second.world.plan_fault(Fault::DieAt(m));
                if second.recover().is_ok() && !second.world.died() {
                    break;
                }
                let point = || format!("killed at {n}, recovery at {m}");
                failures.note(
                    second.shows(&view),
                    &format!("{} at once", scenario.name),
                    point,
                    &second,
                );
                let mut third = second.next();
                let check = recover(&mut third, &scenario, &view);
                failures.note(check, scenario.name, point, &third);
                m += 7;
            }
            n += 1;
        }
    }
    assert!(failures.points() > 1000);
}

/// A run with another journal does what the killed one had begun. Where the killed one left the temp name, the name it
/// was for cannot be its own, and recovery does not take it away.
#[test]
fn what_a_run_with_another_journal_replaced_since_stays() {
    let mut failures = Failures::default();
    let mut met = 0;
    for scenario in [scenario::cross(), scenario::cross_later(), scenario::missing_parents()] {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            n += 1;
            let names = session.world.names();
            let temp = |at: &&Place| is_hidden(&at.path) && at.path.as_bytes().ends_with(b"-t");
            if !names.keys().any(|at| temp(&at)) {
                continue;
            }
            let mut other = session.next_with(&MemStore::new(8));
            let ended = other.run(&scenario.ops);
            // A fork of the world the other run left, over the journal of the killed one.
            let mut next = other.next_with(&session.store);
            let recovered = next.recover();
            let check = ensure(ended.is_ok() && matches!(recovered, Ok(0)), || {
                format!("{ended:?} {recovered:?}")
            });
            let check = check.and_then(|()| next.shows(&view));
            failures.note(check, scenario.name, || format!("killed at {}", n - 1), &next);
            met += 1;
        }
    }
    assert!(met > 2, "{met}");
}
