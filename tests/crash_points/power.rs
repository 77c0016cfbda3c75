//! The power goes, at every call, with every way the disks may have kept what was not synced.

use mergerfs_xdedup::fs::Change;
use mergerfs_xdedup::fs::sim::{Fault, PowerLoss, place};
use mergerfs_xdedup::journal::mem_store::Kept;
use mergerfs_xdedup::plan::Op;

use super::deaths::{killed, recover};
use super::scenario::{self, Scenario};
use super::session::{Failures, Session, View};

const KEPT: [Kept; 3] = [Kept::Nothing, Kept::Everything, Kept::Torn];

/// Loses power after `session` in up to `ways` ways; `check` gets each next session.
fn lose_power(session: &Session, ways: usize, mut check: impl FnMut(Session, &str)) {
    let losses = session.world.power_loss_choices(ways);
    for (i, loss) in losses.enumerate() {
        let kept = KEPT[i % KEPT.len()];
        check(session.after_power_loss(&loss, kept), &format!("{loss:?}, journal {kept:?}"));
    }
}

fn check_recovery(
    failures: &mut Failures,
    (scenario, view): (&Scenario, &View),
    mut session: Session,
    point: &str,
) {
    let at_once = format!("{} at once", scenario.name);
    failures.note(session.shows(view), &at_once, || point.to_owned(), &session);
    let check = recover(&mut session, scenario, view);
    failures.note(check, scenario.name, || point.to_owned(), &session);
}

#[test]
fn a_power_loss_at_any_call_loses_nothing_and_recovery_ends_every_op() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            lose_power(&session, 12, |next, loss| {
                let point = format!("power lost at {n}, {loss}");
                check_recovery(&mut failures, (&scenario, &view), next, &point);
            });
            n += 1;
        }
    }
    assert!(failures.points() > 5_000);
}

#[test]
fn power_may_go_again_while_recovering_from_a_kill_or_a_power_loss() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(first) = killed(&scenario, n) {
            let lost = PowerLoss::nothing_kept(&first.world);
            let after_loss = first.after_power_loss(&lost, Kept::Everything);
            for (again, what) in [(first, "killed"), (after_loss, "power lost")] {
                let mut m = 1 + n % 19;
                loop {
                    let mut second = again.next();
                    second.world.plan_fault(Fault::DieAt(m));
                    if second.recover().is_ok() && !second.world.died() {
                        break;
                    }
                    lose_power(&second, 4, |next, loss| {
                        let point = format!("{what} at {n}, power lost at {m}, {loss}");
                        check_recovery(&mut failures, (&scenario, &view), next, &point);
                    });
                    m += 19;
                }
            }
            n += 5;
        }
    }
    assert!(failures.points() > 1000);
}

/// A name of a link set that a client removed makes recovery take the others back.
#[test]
fn a_power_loss_while_an_op_is_taken_back_loses_no_path() {
    let mut failures = Failures::default();
    for scenario in [scenario::link_set()] {
        let removed = &scenario.ops[0].names[1].path;
        let mut n = 1;
        while let Some(first) = killed(&scenario, n) {
            let mut m = 1;
            loop {
                let mut second = first.next();
                second.world.client_remove(removed).unwrap();
                for branch in second.world.pool().indices() {
                    // That it was removed is durable.
                    drop(second.world.fs().sync_dir(&place(branch, "d")));
                }
                let view = second.view();
                let before = second.world.calls();
                second.world.plan_fault(Fault::DieAt(before + m));
                if second.recover().is_ok() && !second.world.died() {
                    break;
                }
                lose_power(&second, 6, |mut next, loss| {
                    let point = || {
                        let told = second.told();
                        format!("killed at {n}, power lost at {m}, {loss}\n{told}\nthen")
                    };
                    let at_once = format!("{} at once", scenario.name);
                    failures.note(next.keeps(&view), &at_once, point, &next);
                    let recovered = next.recover().map_err(|err| format!("{err:?}"));
                    let check = recovered.and_then(|_| next.keeps(&view));
                    failures.note(check, scenario.name, point, &next);
                });
                m += 1;
            }
            n += 2;
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn once_a_run_has_ended_nothing_of_it_can_be_lost() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let mut session = Session::new(&scenario);
        let view = session.view();
        session.run(&scenario.ops).unwrap();
        let lost = PowerLoss::nothing_kept(&session.world);
        let next = session.after_power_loss(&lost, Kept::Nothing);
        failures.note(next.sound(&scenario, &view), scenario.name, String::new, &next);
        let stays = |op: &&Op| scenario.ops.iter().all(|o| o.duplicate != op.master);
        for op in scenario.ops.iter().filter(stays) {
            let file = next.world.client_read(&op.duplicate.path).unwrap().0;
            assert_eq!(file, next.world.files()[&op.master].0, "{}", scenario.name);
        }
    }
}
