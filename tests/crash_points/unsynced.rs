//! Files that nobody had synced when a run began, and the power goes at every call.
//!
//! Who wrote such a file may lose it; a run must not make that loss greater: not spread it to a path that was durable,
//! and not take it for somebody's wish.

use std::time::Duration;

use mergerfs_xdedup::fs::sim::{SimWorld, place};
use mergerfs_xdedup::fs::{Change, Look, Place};
use mergerfs_xdedup::journal::mem_store::Kept;

use super::deaths::killed;
use super::scenario::{self, BYTES, Scenario};
use super::session::{Check, Failures, Session, ensure};

/// A client makes a file a few seconds before the run, and syncs nothing.
fn young(world: &SimWorld, at: &Place) {
    world.client_create(at, BYTES).unwrap();
    world.fs().pause(Duration::from_secs(10));
}

/// A cross and a local op, with a file of one role that is young.
fn pools(name: &'static str, young_master: bool) -> Vec<Scenario> {
    let pool = |same_branch: bool| {
        let world = SimWorld::new();
        let [a, b] = scenario::branches(&world);
        let master = place(a, "m/master");
        let duplicate = place(if same_branch { a } else { b }, "d/dup");
        for at in [&master, &duplicate] {
            world.add_file(&Place::new(at.branch, at.path.sibling("other").unwrap()), b"o");
        }
        let (old, new) = if young_master { (&duplicate, &master) } else { (&master, &duplicate) };
        scenario::add(&world, old);
        young(&world, new);
        scenario::scenario(name, world, &[(master, vec![duplicate])])
    };
    vec![pool(false), pool(true)]
}

/// The name of the copy that is shown is young, and the hidden one, durable as it is, goes into it.
fn young_shown() -> Scenario {
    let world = SimWorld::new();
    let [a, b] = scenario::branches(&world);
    let (shown, hidden) = (place(a, "d/p"), place(b, "d/p"));
    world.add_file(&place(a, "d/other"), b"o");
    scenario::add(&world, &hidden);
    scenario::add(&world, &place(a, "m/master"));
    let fs = world.fs();
    let master = fs.open(&place(a, "m/master")).unwrap();
    fs.link(&master, &shown).unwrap();
    drop(master);
    fs.pause(Duration::from_secs(10));
    let mut scenario = scenario::scenario("young shown copy", world, &[(shown, vec![hidden])]);
    scenario::masters_own(&mut scenario.ops[0], 0);
    scenario
}

/// Kills the run at every call, loses power in many ways, recovers; `check` sees the session after it, and whether
/// anything was recorded before.
fn each_power_loss(scenarios: Vec<Scenario>, check: impl Fn(&Session, &Scenario, bool) -> Check) {
    let mut failures = Failures::default();
    for scenario in scenarios {
        let mut n = 1;
        let mut ended = false;
        while !ended {
            let session = killed(&scenario, n).unwrap_or_else(|| {
                ended = true;
                let mut session = Session::new(&scenario);
                session.run(&scenario.ops).unwrap();
                session
            });
            for (loss, kept) in session.world.power_loss_choices(12).zip(KEPT.iter().cycle()) {
                let mut next = session.after_power_loss(&loss, *kept);
                let begun = next.recorded();
                let point = || {
                    format!(
                        "power lost at {n}, {loss:?}, journal {kept:?}\n{}\nthen",
                        session.told()
                    )
                };
                let group = format!("{}, begun: {begun}, at once", scenario.name);
                failures.note(check(&next, &scenario, begun), &group, point, &next);
                let recovered = next.recover().map_err(|err| format!("recovery fails: {err:?}"));
                let group = format!("{}, begun: {begun}", scenario.name);
                let check = recovered.and_then(|_| check(&next, &scenario, begun));
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
    }
    assert!(failures.points() > 500);
}

const KEPT: [Kept; 3] = [Kept::Nothing, Kept::Everything, Kept::Torn];

#[test]
fn a_master_that_was_only_in_memory_never_replaces_a_duplicate_that_was_durable() {
    let mut pools = pools("young master", true);
    pools.push(young_shown());
    each_power_loss(pools, |session, scenario, _| {
        let shown = session.view().get(&scenario.duplicate.path).cloned();
        ensure(shown.as_deref() == Some(BYTES), || format!("the duplicate's path has {shown:?}"))
    });
}

#[test]
fn a_duplicate_whose_name_was_only_in_memory_is_not_taken_for_one_that_somebody_removed() {
    each_power_loss(pools("young duplicate", false), |session, scenario, begun| {
        let shown = session.view().get(&scenario.duplicate.path).cloned();
        ensure(!begun || shown.is_some(), || "an op was begun, and its path is gone".to_owned())
    });
}
