//! What a client sees between two windows: nothing that it did is undone, even for the length of a batch.
//!
//! While the tool has both files open a path may be on its way. Whenever it has none open, what a client finds is what
//! it left.

use std::sync::{Arc, Mutex};

use mergerfs_xdedup::fs::sim::{ClientId, Fault, SimWorld};
use mergerfs_xdedup::fs::{InodeId, Place};

use super::clients::{each_call, few};
use super::scenario::Scenario;
use super::session::{Failures, Session, ensure};

/// The duplicate is opened before call `n`; gives the calls, and whether it was the duplicate that was opened.
fn held(failures: &mut Failures, scenario: &Scenario, n: usize, writes: bool) -> (usize, bool) {
    let path = scenario.duplicate.path.clone();
    let opened: Arc<Mutex<Option<(ClientId, InodeId)>>> = Arc::default();
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut session = Session::new(scenario);
    let (told, at) = (Arc::clone(&opened), path.clone());
    session.world.plan_fault(Fault::foreign_at(n, move |world| {
        let id = world.client_read(&at).unwrap().0;
        let (client, _) = match writes {
            true => world.client_open_write(&at).unwrap(),
            false => world.client_open_read(&at).unwrap(),
        };
        *told.lock().unwrap() = Some((client, id));
    }));
    for later in n + 1..n + 60 {
        let (opened, wrong, at) = (Arc::clone(&opened), Arc::clone(&wrong), path.clone());
        let look = move |world: &SimWorld| {
            let Some((_, id)) = *opened.lock().unwrap() else {
                return;
            };
            // What is on the disks: an open of the path shares the handle that is open, wherever that leads.
            let mut files = world.files().into_iter();
            let found = files
                .find(|(file, _)| file.path == at)
                .map(|(_, file)| file.0);
            if world.open_files() == 0 && found != Some(id) {
                let what = format!("before call {later} the path is {found:?}, not {id:?}");
                wrong.lock().unwrap().push(what);
            }
        };
        session.world.plan_fault(Fault::foreign_at(later, look));
    }
    let ended = session.run(&scenario.ops);
    let point = || format!("opened at {n}: {ended:?}");
    let wrong = wrong.lock().unwrap();
    let check = ensure(wrong.is_empty(), || wrong[0].clone());
    let group = format!("{}: held, writes: {writes}", scenario.name);
    let opened = *opened.lock().unwrap();
    let duplicate = scenario.world.files()[&scenario.duplicate].0;
    failures.note(check, &group, point, &session);
    (
        session.world.calls(),
        opened.is_some_and(|(_, id)| id == duplicate),
    )
}

#[test]
fn who_has_the_duplicate_open_finds_it_at_its_path() {
    let mut failures = Failures::default();
    let mut duplicates = 0;
    for scenario in few() {
        for writes in [false, true] {
            each_call(|n| {
                let (calls, duplicate) = held(&mut failures, &scenario, n, writes);
                duplicates += usize::from(duplicate);
                calls
            });
        }
    }
    assert!(duplicates > 100, "{duplicates}");
}

/// The replacement that appears just after must go within the same window, not when the batch is synced.
#[test]
fn a_path_that_was_removed_is_not_seen_between_two_windows() {
    let mut failures = Failures::default();
    for scenario in few() {
        let path = &scenario.duplicate.path;
        each_call(|n| {
            let mut session = Session::new(&scenario);
            let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
            let at = path.clone();
            let remove = move |world: &SimWorld| world.client_remove(&at).unwrap();
            session.world.plan_fault(Fault::foreign_at(n, remove));
            for later in n + 1..n + 60 {
                let (seen, at) = (Arc::clone(&seen), path.clone());
                let look = move |world: &SimWorld| {
                    if world.open_files() == 0 && world.client_read(&at).is_ok() {
                        seen.lock().unwrap().push(later);
                    }
                };
                session.world.plan_fault(Fault::foreign_at(later, look));
            }
            let ended = session.run(&scenario.ops);
            let seen = seen.lock().unwrap();
            let check = ensure(seen.is_empty(), || "it is back".to_owned());
            let point = || format!("removed at {n}, seen at {seen:?}: {ended:?}");
            failures.note(
                check,
                &format!("{}: removed", scenario.name),
                point,
                &session,
            );
            session.world.calls()
        });
    }
    assert!(failures.points() > 200);
}

/// What was saved by rename just before is at its path again within the same window, too.
#[test]
fn a_file_that_was_saved_is_at_its_path_between_two_windows() {
    let mut failures = Failures::default();
    for scenario in few() {
        let path = &scenario.duplicate.path;
        for branch in scenario.world.pool().indices() {
            each_call(|n| {
                let mut session = Session::new(&scenario);
                let wrong: Arc<Mutex<Vec<usize>>> = Arc::default();
                let at = Place::new(branch, path.clone());
                let save = move |world: &SimWorld| world.client_save(&at, b"saved").unwrap();
                session.world.plan_fault(Fault::foreign_at(n, save));
                for later in n + 1..n + 60 {
                    let (wrong, at) = (Arc::clone(&wrong), path.clone());
                    let look = move |world: &SimWorld| {
                        let view = world.pool_view();
                        if world.open_files() == 0 && view.get(&at).is_none_or(|b| b != b"saved") {
                            wrong.lock().unwrap().push(later);
                        }
                    };
                    session.world.plan_fault(Fault::foreign_at(later, look));
                }
                let ended = session.run(&scenario.ops);
                let wrong = wrong.lock().unwrap();
                let check = ensure(wrong.is_empty(), || "it is not there".to_owned());
                let point = || format!("saved at {n}, not there at {wrong:?}: {ended:?}");
                failures.note(check, &format!("{}: saved", scenario.name), point, &session);
                session.world.calls()
            });
        }
    }
    assert!(failures.points() > 400);
}

/// Of two files that were saved while the names were exchanged, the newest has the path.
#[test]
fn the_newest_of_two_saves_has_the_path() {
    let mut failures = Failures::default();
    for scenario in few() {
        let at = &scenario.duplicate;
        each_call(|n| {
            let mut calls = 0;
            for between in 1..8 {
                let mut session = Session::new(&scenario);
                for (call, bytes) in [(n, b"first"), (n + between, b"newer")] {
                    let at = at.clone();
                    let save = move |world: &SimWorld| world.client_save(&at, bytes).unwrap();
                    session.world.plan_fault(Fault::foreign_at(call, save));
                }
                let ended = session.run(&scenario.ops);
                calls = session.world.calls();
                let both = calls >= n + between;
                let view = session.view();
                let check = ensure(
                    !both || view.get(&at.path).is_some_and(|b| b == b"newer"),
                    || "the newest is not there".to_owned(),
                );
                let point = || format!("saved at {n} and {between} calls later: {ended:?}");
                failures.note(check, scenario.name, point, &session);
            }
            calls
        });
    }
    assert!(failures.points() > 1000);
}
