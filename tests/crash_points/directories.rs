//! The times of directories: scanners and backups go by them.

use mergerfs_xdedup::fs::sim::Fault;
use mergerfs_xdedup::fs::{FileKind, Place, Stat};

use super::clients::each_call;
use super::deaths::killed;
use super::scenario::{self, Scenario};
use super::session::{Check, Failures, Session, ensure};

fn directories(session: &Session) -> Vec<(Place, Stat)> {
    let names = session.world.names().into_iter();
    names.filter(|(_, stat)| stat.kind == FileKind::Directory).collect()
}

/// Every directory has the time it had; a new one that of the directory the pool showed.
fn as_before(session: &Session, before: &[(Place, Stat)]) -> Check {
    for (at, stat) in directories(session) {
        let old = before.iter().find(|(old, _)| *old == at);
        let shown = || before.iter().find(|(old, _)| old.path == at.path);
        let wanted = old.or_else(shown).map(|(_, stat)| stat.mtime);
        ensure(wanted == Some(stat.mtime), || format!("the time of {at:?}"))?;
    }
    Ok(())
}

/// One more directory level, so that each is made in another, and times of its own for each.
fn deep() -> Scenario {
    let scenario = scenario::missing_parents();
    let mut secs = 1_000_000_000;
    for (at, stat) in scenario.world.names() {
        if stat.kind == FileKind::Directory {
            secs += 1000;
            let time = mergerfs_xdedup::fs::Timestamp { secs, nanos: 7 };
            scenario.world.set_mtime(&at, time);
        }
    }
    scenario
}

#[test]
fn after_a_run_every_directory_has_the_time_it_had() {
    let mut failures = Failures::default();
    for scenario in scenario::all().into_iter().chain([deep()]) {
        let mut session = Session::new(&scenario);
        let before = directories(&session);
        session.run(&scenario.ops).unwrap();
        failures.note(as_before(&session, &before), scenario.name, String::new, &session);
    }
}

/// Whether a client's change just before call `n` cannot be told from ours: at our own change, at the look that
/// follows it, and when the time is set.
fn indistinguishable(trace: &[String], n: usize) -> bool {
    let call = |n: usize| {
        let prefix = format!("{n:3} ");
        trace.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("")
    };
    let changes = |n: usize| {
        let changing =
            ["link ", "rename ", "exchange ", "unlink ", "make the ", "remove the ", "clone the "];
        changing.iter().any(|what| call(n).starts_with(what))
    };
    let looks = |n: usize| call(n).starts_with("stat ");
    let after_ours = looks(n) && (changes(n - 1) || (looks(n - 1) && changes(n - 2)));
    changes(n) || after_ours || call(n).starts_with("set the mtime")
}

#[test]
fn the_time_of_a_directory_that_somebody_else_changed_is_not_taken_back() {
    let mut failures = Failures::default();
    let mut told_apart = 0;
    for scenario in
        [scenario::cross(), scenario::cross_later(), scenario::local(), scenario::shared_master()]
    {
        for at in [&scenario.duplicate, &scenario.master] {
            for branch in scenario.world.pool().indices() {
                let new = Place::new(branch, at.path.sibling("new").unwrap());
                let Some(old) = scenario.world.names().get(&new.dir()).map(|stat| stat.mtime)
                else {
                    continue;
                };
                each_call(|n| {
                    let mut session = Session::new(&scenario);
                    let made = new.clone();
                    session.world.plan_fault(Fault::foreign_at(n, move |world| {
                        world.client_create(&made, b"new").unwrap();
                    }));
                    session.run(&scenario.ops).unwrap();
                    let now = session.world.names()[&new.dir()].mtime;
                    let missed = session.world.calls() >= n && now == old;
                    let excused = n > 2 && indistinguishable(&session.world.trace(), n);
                    told_apart += usize::from(!excused);
                    let check = ensure(!missed || excused, || "a scanner would miss it".to_owned());
                    failures.note(check, scenario.name, || format!("{new:?} at {n}"), &session);
                    session.world.calls()
                });
            }
        }
    }
    assert!(told_apart > 300, "{told_apart}");
}

/// Where the path of the directory leads somewhere else once the process is dead, nothing is found below it: the op ends.
#[test]
fn a_directory_that_became_a_symlink_leaves_no_op_open() {
    let mut failures = Failures::default();
    for scenario in [
        scenario::cross(),
        scenario::cross_later(),
        scenario::local(),
        scenario::link_set(),
        scenario::missing_parents(),
    ] {
        let dir = scenario.duplicate.path.parent().unwrap();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let mut next = session.next();
            // A client removes the directory, through the pool, and puts a symlink in its place.
            next.world.client_remove_tree(&dir).unwrap();
            let branches = next.world.pool().indices();
            let first = branches.map(|b| Place::new(b, dir.clone()));
            for at in first.take(1) {
                if !next.world.names().contains_key(&at.dir()) {
                    continue;
                }
                next.world.add_symlink(&at);
            }
            let left = next.recover().map_err(|err| format!("{err:?}"));
            let check = left.and_then(|left| ensure(left == 0, || format!("{left} stay open")));
            failures.note(check, scenario.name, || format!("killed at {n}"), &next);
            n += 1;
        }
    }
    assert!(failures.points() > 200);
}
