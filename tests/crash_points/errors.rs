//! Each call fails once.

use libc::{EIO, EMFILE, EMLINK, ENOMEM, ENOSPC, EROFS};
use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, PowerLoss};
use mergerfs_xdedup::journal::mem_store::Kept;
use mergerfs_xdedup::plan::refusal::Reason;

use super::deaths::recover;
use super::scenario;
use super::session::{Check, Failures, Session, ensure};

/// Every op is reported once, unless the run stopped with an error.
fn reported(session: &Session, ops: usize, ended: bool) -> Check {
    let told = session.outcomes.len();
    let complete = if ended { told == ops } else { told <= ops };
    ensure(complete, || format!("{told} of {ops} ops are reported, run ended: {ended}"))
}

#[test]
fn after_an_error_at_any_call_the_pool_is_complete_and_recovery_ends_every_op() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        for errno in [EIO, ENOSPC, EMLINK, EROFS] {
            let mut n = 1;
            loop {
                let mut session = Session::new(&scenario);
                session.world.plan_fault(Fault::ErrorAt(n, errno));
                let ended = session.run(&scenario.ops).is_ok();
                if session.world.calls() < n {
                    break;
                }
                let point = || format!("{} at {n}", std::io::Error::from_raw_os_error(errno));
                let at_once = format!("{} at once", scenario.name);
                failures.note(session.shows(&view), &at_once, point, &session);
                let check = reported(&session, scenario.ops.len(), ended);
                failures.note(check, scenario.name, point, &session);
                let lost = PowerLoss::nothing_kept(&session.world);
                let power = (session.after_power_loss(&lost, Kept::Nothing), "power lost");
                for (mut next, how) in [(session.next(), "next run"), power] {
                    let group = format!("{}, {how}", scenario.name);
                    failures.note(next.shows(&view), &group, point, &next);
                    let check = recover(&mut next, &scenario, &view);
                    failures.note(check, &group, point, &next);
                }
                n += 1;
            }
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn after_an_error_in_recovery_another_recovery_ends_every_op() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 5;
        while let Some(first) = super::deaths::killed(&scenario, n) {
            let mut m = 1 + n % 5;
            loop {
                let mut second = first.next();
                second.world.plan_fault(Fault::ErrorAt(m, EIO));
                let result = second.recover();
                if second.world.calls() < m {
                    break;
                }
                let point = || {
                    format!("killed at {n}, I/O error at {m}: {result:?}\n{}\nthen", second.told())
                };
                let at_once = format!("{} at once", scenario.name);
                failures.note(second.shows(&view), &at_once, point, &second);
                let mut third = second.next();
                let check = recover(&mut third, &scenario, &view);
                failures.note(check, scenario.name, point, &third);
                m += 5;
            }
            n += 5;
        }
    }
    assert!(failures.points() > 1000);
}

/// A disk on which nothing can be removed for a while, just as something has to be taken back: the links of kept copies
/// that were hidden go in the next run.
#[test]
fn after_a_run_in_which_nothing_could_be_removed_no_hidden_name_stays() {
    let mut failures = Failures::default();
    let mut withdrawn = 0;
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        loop {
            let mut session = Session::new(&scenario);
            session.world.plan_fault(Fault::ErrorAt(n, ENOSPC));
            session.world.plan_fault(Fault::ErrorsFrom(n, "unlink", EIO));
            drop(session.run(&scenario.ops));
            if session.world.calls() < n {
                break;
            }
            let names = session.world.names();
            withdrawn += names.keys().filter(|at| at.path.as_bytes().ends_with(b"-w")).count();
            let point = || format!("at {n}");
            let mut next = session.next();
            let check = recover(&mut next, &scenario, &view);
            failures.note(check, scenario.name, point, &next);
            n += 1;
        }
    }
    assert!(withdrawn > 0, "nothing was hidden");
    assert!(failures.points() > 500);
}

/// What a limit of the process or the machine keeps from being done says nothing about a disk: all other ops are done.
#[test]
fn a_limit_that_is_met_at_any_call_stops_no_disk() {
    let mut failures = Failures::default();
    let mut synced = 0;
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        for errno in [EMFILE, ENOMEM] {
            for n in 1.. {
                let mut session = Session::new(&scenario);
                session.world.plan_fault(Fault::ErrorAt(n, errno));
                let ended = session.run(&scenario.ops).is_ok();
                if session.world.calls() < n {
                    break;
                }
                let trace = session.world.trace();
                let call =
                    trace.iter().find(|line| line.trim_start().starts_with(&format!("{n} ")));
                let sync = call.is_some_and(|line| line.contains(" sync "));
                let point = || format!("{} at {n}", std::io::Error::from_raw_os_error(errno));
                let halted = |reason| {
                    session.outcomes.iter().any(|(_, how)| match how {
                        Outcome::NotDone(halt) | Outcome::Open(halt) => halt.reason == reason,
                        Outcome::Done { .. } | Outcome::Conflict(..) => false,
                    })
                };
                let check = match sync {
                    // Memory that a sync lacks may be that for what is to be written.
                    true if errno == ENOMEM => Ok(()),
                    // No directory was opened, so none was synced: the next try is the first.
                    true if call.is_some_and(|line| line.contains(" sync the directory ")) => {
                        synced += 1;
                        ensure(ended && !halted(Reason::Io), || "not synced again".to_owned())
                    }
                    _ => ensure(!halted(Reason::BranchFailed), || "a disk was stopped".to_owned()),
                };
                failures.note(check, scenario.name, point, &session);
                let mut next = session.next();
                let check = recover(&mut next, &scenario, &view);
                failures.note(check, scenario.name, point, &next);
            }
        }
    }
    assert!(synced > 50, "{synced}");
    assert!(failures.points() > 1000);
}
