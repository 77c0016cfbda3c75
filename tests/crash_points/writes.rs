//! Writes that leave the size as it was: nothing but times, leases and the bytes themselves can tell.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mergerfs_xdedup::fs::Fs;
use mergerfs_xdedup::fs::sim::{Fault, Served, SimWorld};
use mergerfs_xdedup::relpath::RelPath;

use super::clients::each_call;
use super::meddling::settle;
use super::scenario::{self, BYTES, Scenario};
use super::session::{Check, Failures, Session, ensure};

const OTHER: &[u8] = b"THE SAME BYTES";

/// How a client writes.
#[derive(Debug, Clone, Copy)]
enum How {
    InPlace,
    /// Through a mapping it had before the run began, which moves no times; then it closes the file.
    Mapped,
}

/// What the pool showed just after a write that was acknowledged at once: what every path must still show.
type Owed = Arc<Mutex<Option<Vec<(RelPath, Vec<u8>)>>>>;

/// Writes to `path` before call `n`.
fn plan_write(session: &Session, scenario: &Scenario, path: &RelPath, how: How, n: usize) -> Owed {
    let owed = Owed::default();
    let told = Arc::clone(&owed);
    let path = path.clone();
    let paths: Vec<RelPath> = scenario.names().into_iter().map(|at| at.path).collect();
    let held = match how {
        How::InPlace => None,
        How::Mapped => Some(session.world.client_open_write(&path).unwrap().0),
    };
    let act = move |world: &SimWorld| {
        let at_once = match held {
            None => world.client_write(&path, OTHER).unwrap() == Served::AtOnce,
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

fn each_write(scenarios: Vec<Scenario>, how: How, prepare: impl Fn(&Session)) {
    let mut failures = Failures::default();
    for scenario in scenarios {
        for at in scenario.names() {
            each_call(|n| {
                let mut session = Session::new(&scenario);
                prepare(&session);
                let owed = plan_write(&session, &scenario, &at.path, how, n);
                let ended = session.run(&scenario.ops);
                let mut next = session.next();
                let settled = settle(&mut next);
                let point =
                    || format!("{how:?} {at:?} at {n}: {ended:?}\n{}\nthen", session.told());
                let group = format!("{}: write {:?}", scenario.name, at.path);
                failures.note(
                    settled.and_then(|()| kept(&next, &owed)),
                    &group,
                    point,
                    &next,
                );
                session.world.calls()
            });
        }
    }
    assert!(failures.points() > 300);
}

fn all() -> Vec<Scenario> {
    vec![
        scenario::cross(),
        scenario::cross_later(),
        scenario::local(),
        scenario::shared_master(),
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

#[test]
fn a_write_within_the_clocks_tick_of_another_is_not_missed() {
    each_write(all(), How::InPlace, |session| {
        // Both copies have just been written, and the clock stands still until somebody waits.
        session.world.set_step(Duration::ZERO);
        session.world.fs().pause(Duration::from_secs(1));
        for path in [
            b"m/master".as_slice(),
            b"d/dup",
            b"d/one",
            b"d/two",
            b"d/three",
        ] {
            let path = RelPath::new(path).unwrap();
            drop(session.world.client_write(&path, BYTES));
        }
    });
}
