//! Branches that had an error, or are not there: nothing more is done on them (invariant 8).

use libc::EIO;
use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, SimWorld, place};
use mergerfs_xdedup::plan::refusal::Reason;
use mergerfs_xdedup::pool::BranchIdx;

use super::deaths::killed;
use super::scenario::{self, Scenario};
use super::session::{Check, Failures, Session, ensure};

/// Several ops on each branch, one a batch and all in one.
fn several() -> Vec<Scenario> {
    let one = |scenario| Scenario { batch_names: 1, ..scenario };
    vec![
        scenario::shared_master(),
        scenario::mixed(),
        one(scenario::shared_master()),
        one(scenario::mixed()),
    ]
}

/// The branch a line of the trace is about, and the one a second path in it is on.
fn branches(call: &str) -> Vec<u16> {
    let words = call.split_whitespace();
    words.filter_map(|word| word.split_once(':')?.0.parse().ok()).collect()
}

/// Whether the call begins or finishes a replacement: links the master, moves the duplicate away or removes it.
fn goes_on(call: &str) -> bool {
    let retires = call.starts_with("rename ") && call.ends_with("-r");
    let removes = call.starts_with("unlink ") && call.ends_with("-r");
    call.starts_with("link ") || retires || removes
}

/// Calls of the trace after call `n`, without their numbers.
fn after(trace: &[String], n: usize) -> impl Iterator<Item = &str> {
    let at = trace.iter().position(|line| line.starts_with(&format!("{n:3} ")));
    let calls = trace.iter().skip(at.map_or(usize::MAX, |at| at + 1));
    calls.map(|line| line.get(4..).unwrap_or(""))
}

#[test]
fn after_an_error_on_a_branch_no_op_goes_on_there() {
    let mut failures = Failures::default();
    for scenario in several() {
        let mut n = 1;
        loop {
            let mut session = Session::new(&scenario);
            session.world.plan_fault(Fault::ErrorAt(n, EIO));
            let ended = session.run(&scenario.ops);
            if session.world.calls() < n {
                break;
            }
            let trace = session.world.trace();
            let failed = trace.iter().find(|line| line.contains("Input/output error"));
            let failed = failed.map_or("", |line| line.get(4..).unwrap_or(""));
            // What cannot fail, or is no more than a courtesy.
            let harmless = ["close", "release", "set the mtime"];
            if !harmless.iter().any(|what| failed.starts_with(what)) {
                let stopped = branches(failed.split(" = ").next().unwrap_or(""));
                let stopped: Vec<u16> = stopped.into_iter().take(1).collect();
                let wrong = after(&trace, n).find(|call| {
                    goes_on(call) && branches(call).iter().any(|b| stopped.contains(b))
                });
                let check = ensure(wrong.is_none(), || "something is done there".to_owned());
                let point = || format!("{failed} at {n}: {ended:?}, then {wrong:?}");
                failures.note(
                    check,
                    &format!("{}, {}", scenario.name, scenario.batch_names),
                    point,
                    &session,
                );
            }
            n += 1;
        }
    }
    assert!(failures.points() > 500);
}

fn untouched(session: &Session, before: &Session) -> Check {
    ensure(session.world.files() == before.world.files(), || "something was changed".to_owned())
}

#[test]
fn a_branch_that_is_gone_is_not_changed() {
    for scenario in several() {
        let branches = scenario.world.pool().indices();
        for gone in branches {
            let mut session = Session::new(&scenario);
            session.world.set_gone(gone, true);
            let before = session.next();
            session.run(&scenario.ops).unwrap();
            for (op, outcome) in &session.outcomes {
                let concerned = op.names.iter().any(|name| name.from == gone || name.to == gone);
                let done = matches!(outcome, Outcome::Done { .. });
                assert!(!(concerned && done), "{}: {gone:?}\n{}", scenario.name, session.told());
            }
            let there = |session: &Session| {
                let names = session.world.names().into_keys();
                names.filter(|at| at.branch == gone).collect::<Vec<_>>()
            };
            assert_eq!(there(&session), there(&before), "{}", session.told());
        }
    }
}

#[test]
fn recovery_waits_for_a_branch_that_is_gone() {
    let mut failures = Failures::default();
    for scenario in [scenario::cross(), scenario::local(), scenario::link_set()] {
        let view = Session::new(&scenario).view();
        for gone in scenario.world.pool().indices() {
            if !scenario.ops[0].names.iter().any(|name| name.from == gone || name.to == gone) {
                continue;
            }
            let mut n = 1;
            while let Some(first) = killed(&scenario, n) {
                let mut second = first.next();
                second.world.set_gone(gone, true);
                let left = second.recover().unwrap();
                let point = || format!("killed at {n}, {gone:?} gone");
                let open = ensure((left > 0) == first.is_open(), || "ops are closed".to_owned());
                let check = open.and_then(|()| untouched(&second, &first.next()));
                failures.note(check, scenario.name, point, &second);
                let mut third = second.next();
                third.world.set_gone(gone, false);
                let check = super::deaths::recover(&mut third, &scenario, &view);
                failures.note(check, &format!("{}, back again", scenario.name), point, &third);
                n += 1;
            }
        }
    }
    assert!(failures.points() > 300);
}

#[test]
fn an_op_whose_sources_cannot_be_made_durable_is_not_begun() {
    let mut later = 0;
    for scenario in scenario::all() {
        let mut whole = Session::new(&scenario);
        whole.run(&scenario.ops).unwrap();
        let trace = whole.world.trace();
        let intents = trace.iter().position(|line| line.contains("CsvWrite"));
        let calls = trace[..intents.unwrap()].iter();
        let syncs =
            calls.filter(|line| line.get(4..).is_some_and(|call| call.starts_with("sync ")));
        let mut tried = 0;
        for line in syncs {
            let n: usize = line[..3].trim().parse().unwrap();
            let mut session = Session::new(&scenario);
            let before = session.next();
            session.world.plan_fault(Fault::ErrorAt(n, EIO));
            session.run(&scenario.ops).unwrap();
            let branch = BranchIdx(branches(&line[4..])[0]);
            let told = || format!("{line}\n{}", session.told());
            for (op, outcome) in &session.outcomes {
                if op.names.iter().any(|name| name.from == branch || name.to == branch) {
                    let refused = matches!(outcome, Outcome::NotDone(halt)
                        if matches!(halt.reason, Reason::Io | Reason::BranchFailed)
                            && halt.detail.contains("Input/output error"));
                    assert!(refused, "{outcome:?} {}", told());
                    // These name the error that another op met.
                    let is_later = matches!(outcome, Outcome::NotDone(halt)
                        if halt.reason == Reason::BranchFailed);
                    later += usize::from(is_later);
                    let own = super::scenario::own(op);
                    let files = session.world.files();
                    assert!(
                        own.iter().all(|at| files.get(at) == before.world.files().get(at)),
                        "{}",
                        told()
                    );
                }
            }
            tried += 1;
        }
        assert!(tried >= 2, "{}: {tried}", scenario.name);
    }
    assert!(later > 0);
}

/// The kept copy has a name on each of two mounts of one disk. A link does not cross from one to the other.
#[test]
fn a_kept_copy_is_linked_through_the_mount_of_its_name() {
    let world = SimWorld::new();
    let disk = world.add_disk();
    let [a, b] = [world.add_branch(disk), world.add_branch(disk)];
    let kept = [place(a, "m/kept"), place(b, "m/too")];
    scenario::add(&world, &kept[0]);
    world.add_link(&kept[0], &kept[1]);
    let plan = [(&kept[0], place(a, "d/one")), (&kept[1], place(b, "d/two"))];
    let plan = plan.map(|(kept, at)| (kept.clone(), vec![scenario::add(&world, &at)]));
    world.set_mount(b, 7);
    let two = scenario::scenario("two mounts", world, &plan);
    let mut session = Session::new(&two);
    session.run(&two.ops).unwrap();
    let done = |(_, outcome): &(_, Outcome)| matches!(outcome, Outcome::Done { .. });
    assert!(session.outcomes.len() == 2 && session.outcomes.iter().all(done), "{}", session.told());
}
