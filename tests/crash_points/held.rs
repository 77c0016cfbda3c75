//! What a client sees between two windows: nothing that it did is undone, even for the length of a batch.
//!
//! While the tool has leases a path may be on its way. Whenever it has none, what a client finds is what it left.

use std::sync::{Arc, Mutex};

use mergerfs_xdedup::fs::sim::{Fault, SimWorld};
use mergerfs_xdedup::fs::{InodeId, Place};
use mergerfs_xdedup::pool::relpath::RelPath;

use super::clients::{each_call, few};
use super::knowing::told;
use super::scenario::{self, BYTES, Scenario};
use super::session::{Failures, Session, ensure};

/// A run with `act` before call `n`, and at which of the calls after that something was `wrong` while the tool had no
/// lease.
fn looked_at_after(
    scenario: &Scenario,
    n: usize,
    act: impl FnMut(&SimWorld) + Send + 'static,
    wrong: impl Fn(&SimWorld) -> bool + Send + Sync + 'static,
) -> (Session, Vec<usize>) {
    let mut session = Session::new(scenario);
    session.world.plan_fault(Fault::foreign_at(n, act));
    let (found, wrong) = (Arc::new(Mutex::new(Vec::new())), Arc::new(wrong));
    for later in n + 1..n + 60 {
        let (found, wrong) = (Arc::clone(&found), Arc::clone(&wrong));
        let look = move |world: &SimWorld| {
            if world.leases() == 0 && wrong(world) {
                found.lock().unwrap().push(later);
            }
        };
        session.world.plan_fault(Fault::foreign_at(later, look));
    }
    // How it ended is in what the session tells.
    drop(session.run(&scenario.ops));
    let found = std::mem::take(&mut *found.lock().unwrap());
    (session, found)
}

/// What is on the disks: an open of the path shares the handle that is open, wherever that leads.
fn first_with(world: &SimWorld, path: &RelPath) -> Option<InodeId> {
    let mut files = world.files().into_iter();
    let found = files.find(|(file, _)| file.path == *path);
    found.map(|(_, file)| file.0)
}

/// The duplicate is opened before call `n`; gives the calls, and whether it was the duplicate that was opened.
fn held(failures: &mut Failures, scenario: &Scenario, n: usize, writes: bool) -> (usize, bool) {
    let opened: Arc<Mutex<Option<InodeId>>> = Arc::default();
    let (told, known) = (Arc::clone(&opened), Arc::clone(&opened));
    let (at, path) = (scenario.duplicate.path.clone(), scenario.duplicate.path.clone());
    let open = move |world: &SimWorld| {
        let id = world.client_read(&at).unwrap().0;
        match writes {
            true => drop(world.client_open_write(&at).unwrap()),
            false => drop(world.client_open_read(&at).unwrap()),
        }
        *told.lock().unwrap() = Some(id);
    };
    let elsewhere = move |world: &SimWorld| {
        let id = *known.lock().unwrap();
        id.is_some() && first_with(world, &path) != id
    };
    let (session, wrong) = looked_at_after(scenario, n, open, elsewhere);
    let point = || format!("opened at {n}, elsewhere at {wrong:?}");
    let check = ensure(wrong.is_empty(), || "the path is another file".to_owned());
    let group = format!("{}: held, writes: {writes}", scenario.name);
    failures.note(check, &group, point, &session);
    let duplicate = scenario.world.files()[&scenario.duplicate].0;
    let opened = *opened.lock().unwrap();
    (session.world.calls(), opened == Some(duplicate))
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
        for renamed in [false, true] {
            each_call(|n| {
                let (from, path) =
                    (scenario.duplicate.path.clone(), scenario.duplicate.path.clone());
                let act = move |world: &SimWorld| match renamed {
                    true => world.client_rename(&from, &elsewhere()).unwrap(),
                    false => world.client_remove(&from).unwrap(),
                };
                let back = move |world: &SimWorld| world.client_read(&path).is_ok();
                let (session, seen) = looked_at_after(&scenario, n, act, back);
                let check = ensure(seen.is_empty(), || "it is back".to_owned());
                let point = || format!("removed at {n}, seen at {seen:?}");
                let group = format!("{}: removed, by a rename: {renamed}", scenario.name);
                failures.note(check, &group, point, &session);
                session.world.calls()
            });
        }
    }
    assert!(failures.points() > 400);
}

fn elsewhere() -> RelPath {
    RelPath::new("elsewhere").unwrap()
}

/// What was saved by rename just before is at its path again within the same window, too.
#[test]
fn a_file_that_was_saved_is_at_its_path_between_two_windows() {
    let mut failures = Failures::default();
    for scenario in few() {
        let path = &scenario.duplicate.path;
        for branch in scenario.world.pool().indices() {
            each_call(|n| {
                let (at, path) = (Place::new(branch, path.clone()), path.clone());
                let save = move |world: &SimWorld| world.client_save(&at, b"saved").unwrap();
                let other = move |world: &SimWorld| {
                    world.pool_view().get(&path).is_none_or(|b| b != b"saved")
                };
                let (session, wrong) = looked_at_after(&scenario, n, save, other);
                let check = ensure(wrong.is_empty(), || "it is not there".to_owned());
                let point = || format!("saved at {n}, not there at {wrong:?}");
                failures.note(check, &format!("{}: saved", scenario.name), point, &session);
                session.world.calls()
            });
        }
    }
    assert!(failures.points() > 400);
}

/// The same for a program that works on the disk itself: the duplicate keeps all its names, and the replacement its path, so
/// that neither tells.
#[test]
fn a_file_that_was_put_on_the_disk_is_there_between_two_windows() {
    let mut failures = Failures::default();
    for scenario in few() {
        each_call(|n| {
            let (at, there) = (scenario.duplicate.clone(), scenario.duplicate.clone());
            let put = move |world: &SimWorld| {
                // Where the duplicate is gone, there is nothing to replace.
                if world.disk_rename(&at, &elsewhere()).is_ok() {
                    world.disk_create(&at, b"put").unwrap();
                }
            };
            let gone = move |world: &SimWorld| {
                let files = world.files();
                let put = files.iter().any(|(_, (_, bytes))| bytes == b"put");
                put && files.get(&there).is_none_or(|(_, bytes)| bytes != b"put")
            };
            let (session, wrong) = looked_at_after(&scenario, n, put, gone);
            let check = ensure(wrong.is_empty(), || "it is not there".to_owned());
            let point = || format!("put at {n}, not there at {wrong:?}");
            failures.note(check, &format!("{}: put", scenario.name), point, &session);
            session.world.calls()
        });
    }
    assert!(failures.points() > 200, "{}", failures.points());
}

/// mergerfs missed the path while the replacement appeared, and made a new file on a disk between the two: the op cannot
/// go on, and its duplicate keeps its name.
#[test]
fn a_duplicate_whose_path_another_disk_has_by_now_is_not_retired() {
    let mut failures = Failures::default();
    let scenario = scenario::cross_over_a_third();
    let third = scenario.world.pool().indices().nth(1).unwrap();
    let third = Place::new(third, scenario.duplicate.path.clone());
    let mut whole = Session::new(&scenario);
    whole.run(&scenario.ops).unwrap();
    let trace = whole.world.trace();
    let takes_lease = |line: &String| line.contains("take a write lease");
    let mut leases = trace.iter().enumerate().filter(|(_, line)| takes_lease(line));
    // The first one is for the comparison.
    let [_, (publish, _), (retire, _)] = [(); 3].map(|()| leases.next().unwrap());
    for n in publish..=retire {
        let mut session = Session::new(&scenario);
        let at = third.clone();
        session.world.plan_fault(Fault::foreign_at(n, move |world| {
            world.disk_create(&at, b"made").unwrap();
        }));
        drop(session.run(&scenario.ops));
        let moved = |line: &String| line.contains(" rename ") && line.ends_with("-r");
        let check =
            ensure(!session.world.trace().iter().any(moved), || "it was retired".to_owned());
        failures.note(check, scenario.name, || format!("made at {n}"), &session);
    }
    assert!(failures.points() > 20, "{}", failures.points());
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
                let check =
                    ensure(!both || view.get(&at.path).is_some_and(|b| b == b"newer"), || {
                        "the newest is not there".to_owned()
                    });
                let point = || format!("saved at {n} and {between} calls later: {ended:?}");
                failures.note(check, scenario.name, point, &session);
            }
            calls
        });
    }
    assert!(failures.points() > 1000);
}

/// Clients remove every path of both files while the duplicate is retired: nobody relies on the contents by a path, and
/// they are kept under the hidden name all the same, which a conflict names.
#[test]
fn contents_that_clients_removed_from_every_path_are_kept() {
    for scenario in few() {
        let mut whole = Session::new(&scenario);
        whole.run(&scenario.ops).unwrap();
        let trace = whole.world.trace();
        let moves = |line: &String| line.contains(" rename ") && line.ends_with("-r");
        let retires = |line: &String| moves(line) || line.contains(" exchange ");
        let retired = trace.iter().rposition(retires).unwrap();
        // The record that the duplicate is retired; its removal comes afterwards.
        let mut later = trace[retired..].iter();
        let recorded = later.find(|line| line.contains("journal")).unwrap();
        let n: usize = recorded[..3].trim().parse().unwrap();
        let paths = [scenario.master.path.clone(), scenario.duplicate.path.clone()];
        let mut session = Session::new(&scenario);
        session.world.plan_fault(Fault::foreign_at(n, move |world| {
            paths.iter().for_each(|at| world.client_remove(at).unwrap());
        }));
        drop(session.run(&scenario.ops));
        let (told, files) = (told(&session), session.world.files());
        let mut kept = files.iter().filter(|(_, (_, bytes))| bytes == BYTES);
        let what = || format!("{}: at {n}\n{}", scenario.name, session.told());
        assert!(kept.any(|(at, _)| told.contains(at)), "{}", what());
    }
}
