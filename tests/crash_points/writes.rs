//! Writes that leave the size as it was: nothing but times, leases and the bytes themselves can tell.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, Served, SimWorld};
use mergerfs_xdedup::fs::{FileKind, Look, Place, Stat, Timestamp};
use mergerfs_xdedup::pool::relpath::RelPath;

use super::clients::each_call;
use super::meddling::settle;
use super::scenario::{self, BYTES, Scenario};
use super::session::{Check, Failures, Session, ensure, is_hidden};

const OTHER: &[u8] = b"THE SAME BYTES";

/// How a client writes.
#[derive(Debug, Clone, Copy)]
enum How {
    InPlace,
    /// In place, and then sets the mtime back.
    KeepingTimes,
    /// Through a mapping it had before the run began, which moves no times; then it closes the file.
    Mapped,
}

/// What the pool showed just after a write that was acknowledged at once: what these paths must still show.
type Owed = Arc<Mutex<Option<Vec<(RelPath, Vec<u8>)>>>>;

/// Writes to `path` before call `n`; from then on `paths` must show what they show then.
fn plan_write(session: &Session, paths: Vec<RelPath>, path: &RelPath, how: How, n: usize) -> Owed {
    let owed = Owed::default();
    let told = Arc::clone(&owed);
    let path = path.clone();
    let held = match how {
        How::InPlace | How::KeepingTimes => None,
        How::Mapped => Some(session.world.client_open_write(&path).unwrap().0),
    };
    let act = move |world: &SimWorld| {
        let at_once = match held {
            None => {
                let written = match how {
                    How::KeepingTimes => world.client_write_keeping_times(&path, OTHER),
                    _ => world.client_write(&path, OTHER),
                };
                written.unwrap() == Served::AtOnce
            }
            Some(id) => {
                world.client_store_mapped(id, OTHER).unwrap();
                world.client_close(id);
                true
            }
        };
        if at_once {
            let read = |path: &RelPath| (path.clone(), world.client_read(path).unwrap().1);
            *told.lock().unwrap() = Some(paths.iter().map(read).collect());
        }
    };
    session.world.plan_fault(Fault::foreign_at(n, act));
    owed
}

/// Whether every path still has what it had when the write was acknowledged.
fn kept(session: &Session, owed: &Owed) -> Check {
    let view = session.view();
    for (path, bytes) in owed.lock().unwrap().iter().flatten() {
        let now = view.get(path);
        ensure(now == Some(bytes), || format!("{path:?} is now {now:?}"))?;
    }
    Ok(())
}

/// Writes to each path of `scenario` before each call of what `act` does to a session from `begin`; from then on the paths that
/// `shown` names must show what they show then.
fn each_write_beside<E: Debug>(
    failures: &mut Failures,
    (scenario, how): (&Scenario, How),
    begin: impl Fn() -> Session,
    shown: impl Fn(&RelPath) -> Vec<RelPath>,
    act: impl Fn(&mut Session) -> E,
) {
    for at in scenario.names() {
        each_call(|n| {
            let mut session = begin();
            let owed = plan_write(&session, shown(&at.path), &at.path, how, n);
            let ended = act(&mut session);
            let mut next = session.next();
            let settled = settle(&mut next);
            let point = || format!("{how:?} {at:?} at {n}: {ended:?}\n{}\nthen", session.told());
            let group = format!("{}: write {:?}", scenario.name, at.path);
            failures.note(settled.and_then(|()| kept(&next, &owed)), &group, point, &next);
            session.world.calls()
        });
    }
}

fn each_write(scenarios: Vec<Scenario>, how: How, prepare: impl Fn(&Session)) {
    let mut failures = Failures::default();
    for scenario in scenarios {
        let begin = || {
            let session = Session::new(&scenario);
            prepare(&session);
            session
        };
        let all = |_: &RelPath| scenario.names().into_iter().map(|at| at.path).collect();
        let run = |session: &mut Session| session.run(&scenario.ops);
        each_write_beside(&mut failures, (&scenario, how), begin, all, run);
    }
    assert!(failures.points() > 300);
}

fn all() -> Vec<Scenario> {
    vec![
        scenario::cross(),
        scenario::cross_later(),
        scenario::local(),
        scenario::shared_master(),
        scenario::reflinked(scenario::cross()),
        scenario::reflinked(scenario::cross_later()),
    ]
}

#[test]
fn a_write_of_equal_size_changes_its_own_path_alone() {
    each_write(all(), How::InPlace, |_| {});
}

#[test]
fn a_store_through_an_older_mapping_changes_its_own_path_alone() {
    each_write(all(), How::Mapped, |_| {});
}

/// A scenario whose run was done a while ago.
fn ran(scenario: &Scenario) -> Session {
    let mut session = Session::new(scenario);
    session.run(&scenario.ops).unwrap();
    let next = session.next();
    next.world.fs().pause(Duration::from_secs(60));
    next
}

#[test]
fn a_write_beside_an_undo_changes_its_own_path_alone() {
    let mut failures = Failures::default();
    for scenario in [scenario::cross(), scenario::shared_master()] {
        let done = ran(&scenario);
        let write = (&scenario, How::KeepingTimes);
        // The undo parts the other names from this one.
        let own = |path: &RelPath| vec![path.clone()];
        each_write_beside(&mut failures, write, || done.next(), own, Session::undo);
    }
    assert!(failures.points() > 300);
}

/// The undo was killed while it made its copies: recovery makes them again.
#[test]
fn a_write_beside_the_recovery_of_an_undo_changes_its_own_path_alone() {
    let mut failures = Failures::default();
    for (scenario, points) in [(scenario::cross(), 3), (scenario::shared_master(), 1)] {
        let done = ran(&scenario);
        let killed = (1..).map(|n| {
            let mut undo = done.next();
            undo.world.plan_fault(Fault::DieAt(n));
            drop(undo.undo());
            undo
        });
        let making = killed.skip_while(|undo| {
            let names = undo.world.names();
            !names.keys().any(|at| at.path.as_bytes().ends_with(b"-c"))
        });
        for undo in making.take(points) {
            let write = (&scenario, How::KeepingTimes);
            let own = |path: &RelPath| vec![path.clone()];
            each_write_beside(&mut failures, write, || undo.next(), own, Session::recover);
        }
    }
    assert!(failures.points() > 300);
}

/// `touch`: the file that comes back had another time.
#[test]
fn a_time_that_a_client_sets_beside_an_undo_stays() {
    let scenario = scenario::cross();
    let done = ran(&scenario);
    let path = &scenario.ops[0].duplicate.path;
    let set = Timestamp { secs: 1_600_000_000, nanos: 7 };
    let mut failures = Failures::default();
    each_call(|n| {
        let mut session = done.next();
        let owed = Arc::new(Mutex::new(false));
        let (told, touched) = (Arc::clone(&owed), path.clone());
        let act = move |world: &SimWorld| {
            // The first branch that has the path is the one that the pool shows.
            let shown = world.names().into_keys().find(|at| at.path == touched);
            if let Some(at) = shown {
                world.set_mtime(&at, set);
                *told.lock().unwrap() = true;
            }
        };
        session.world.plan_fault(Fault::foreign_at(n, act));
        let ended = session.undo();
        let mut next = session.next();
        let settled = settle(&mut next).and_then(|()| {
            let names = next.world.names();
            let now = names.iter().find(|(at, _)| at.path == *path).map(|(_, stat)| stat.mtime);
            ensure(!*owed.lock().unwrap() || now == Some(set), || format!("its time is {now:?}"))
        });
        let point = || format!("at {n}: {ended:?}\n{}\nthen", session.told());
        failures.note(settled, "touch", point, &next);
        session.world.calls()
    });
    assert!(failures.points() > 100);
}

#[test]
fn a_write_within_the_clocks_tick_of_another_is_not_missed() {
    each_write(all(), How::InPlace, |session| {
        // Both copies have just been written, and the clock stands still until somebody waits.
        session.world.set_step(Duration::ZERO);
        session.world.fs().pause(Duration::from_secs(1));
        for path in [b"m/master".as_slice(), b"d/dup", b"d/one", b"d/two", b"d/three"] {
            let path = RelPath::new(path).unwrap();
            drop(session.world.client_write(&path, BYTES));
        }
    });
}

/// Every write that was acknowledged has a name still.
fn none_lost(session: &Session) -> Check {
    let newest: BTreeMap<_, _> =
        session.world.acknowledged().into_iter().map(|write| (write.id, write.bytes)).collect();
    let files = session.world.files();
    let named = |bytes: &Vec<u8>| files.values().any(|(_, found)| found == bytes);
    ensure(newest.values().all(named), || "a write is nowhere".to_owned())
}

/// A hidden file that a client can open: one that is being made is root's alone.
fn hidden_for_clients(world: &SimWorld) -> Option<Place> {
    let mut names = world.names().into_iter();
    let private = |stat: &Stat| stat.uid == 0 && stat.mode & 0o777 == 0o600;
    let file = |stat: &Stat| stat.kind == FileKind::Regular;
    let hidden = names.find(|(at, stat)| is_hidden(&at.path) && file(stat) && !private(stat));
    hidden.map(|(at, _)| at)
}

/// A client that goes by what is in a directory, hidden names too, opens one before call `n` for writing; it writes
/// at once, or when the run is over. One that has to wait for a lease came too late: nothing is owed to it.
fn each_hidden(at_once: bool) {
    let mut failures = Failures::default();
    for scenario in all() {
        each_call(|n| {
            let mut session = Session::new(&scenario);
            let held = Arc::new(Mutex::new((None, Served::AtOnce)));
            let told = Arc::clone(&held);
            let act = move |world: &SimWorld| {
                let Some(at) = hidden_for_clients(world) else { return };
                *told.lock().unwrap() = if at_once {
                    (None, world.client_write(&at.path, OTHER).unwrap())
                } else {
                    let (id, served) = world.client_open_write(&at.path).unwrap();
                    (Some(id), served)
                };
            };
            session.world.plan_fault(Fault::foreign_at(n, act));
            let ended = session.run(&scenario.ops);
            let (held, served) = *held.lock().unwrap();
            if served == Served::Waiting {
                return session.world.calls();
            }
            if let Some(id) = held {
                session.world.client_write_held(id, OTHER).unwrap();
                session.world.client_close(id);
            }
            let point = || format!("at {n}: {ended:?}");
            failures.note(none_lost(&session), scenario.name, point, &session);
            let mut next = session.next();
            let check = settle(&mut next).and_then(|()| none_lost(&next));
            let group = format!("{}, next run", scenario.name);
            failures.note(check, &group, point, &next);
            session.world.calls()
        });
    }
    assert!(failures.points() > 300);
}

#[test]
fn a_write_by_a_hidden_name_is_not_lost() {
    each_hidden(true);
}

#[test]
fn what_has_a_hidden_name_open_is_not_removed_under_it() {
    each_hidden(false);
}

/// Where a hidden name holds what a client put there, that is no longer ours to remove.
///
/// Except from the last look to the unlink itself: Linux has no call that unlinks a name only while it has an inode.
#[test]
fn what_is_renamed_over_a_hidden_name_is_not_removed() {
    let mut failures = Failures::default();
    for scenario in all() {
        each_call(|n| {
            let mut session = Session::new(&scenario);
            let act = |world: &SimWorld| {
                let mut names = world.files().into_keys();
                if let Some(at) = names.find(|at| is_hidden(&at.path)) {
                    world.client_save(&at, OTHER).unwrap();
                }
            };
            session.world.plan_fault(Fault::foreign_at(n, act));
            let ended = session.run(&scenario.ops);
            let trace = session.world.trace();
            let met = trace.iter().position(|line| line.contains("client: save"));
            let next_two = met.map_or(&[][..], |at| &trace[at + 1..trace.len().min(at + 3)]);
            let too_late = next_two.iter().any(|line| line.contains("unlink"));
            let mut next = session.next();
            let left = next.recover();
            let files = next.world.files();
            let kept = met.is_none() || too_late || files.values().any(|(_, bytes)| bytes == OTHER);
            let point = || format!("at {n}: {ended:?}, {left:?}");
            let check = ensure(kept, || "it is gone".to_owned());
            failures.note(check, scenario.name, point, &next);
            session.world.calls()
        });
    }
    assert!(failures.points() > 300);
}

/// Times in the future say nothing about a moment ago: such files would wait for ever.
#[test]
fn a_clock_that_was_set_back_keeps_no_file_from_being_replaced() {
    let scenario = scenario::cross();
    let future = Timestamp { secs: 1 << 40, nanos: 5 };
    for at in [&scenario.master, &scenario.duplicate] {
        scenario.world.set_mtime(at, future);
    }
    let mut session = Session::new(&scenario);
    let view = session.view();
    session.run(&scenario.ops).unwrap();
    let done = |(_, outcome): &(_, Outcome)| matches!(outcome, Outcome::Done { .. });
    assert!(session.outcomes.iter().all(done), "{}", session.told());
    assert!(!session.outcomes.is_empty());
    session.sound(&scenario, &view).unwrap();
}
