//! A plan is what somebody claimed some time ago: what is no longer, or never was, as it says is left alone.

use std::time::Duration;

use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, SimWorld};
use mergerfs_xdedup::fs::{Change, Hashed, Look, Metadata, Place};
use mergerfs_xdedup::plan::refusal::Reason;

use super::scenario::{self, BYTES, Scenario};
use super::session::Session;

const OTHER: &[u8] = b"THE SAME BYTES";

type Meddle = fn(&SimWorld, &Place);

fn meta(change: impl FnOnce(&mut Metadata)) -> Metadata {
    let mut meta = Metadata { mode: 0o644, ..Metadata::default() };
    change(&mut meta);
    meta
}

/// Replaces the file by another one, as old as everything else.
fn replace(world: &SimWorld, at: &Place, bytes: &[u8]) {
    world.fs().unlink(at).unwrap();
    world.add_file(at, bytes);
}

/// What is done to one of the two files after the plan was made, and the reason then given.
fn changes() -> Vec<(&'static str, Meddle, Reason)> {
    vec![
        ("other bytes", |world, at| rewrite(world, at, OTHER), Reason::Differs),
        ("another size", |world, at| rewrite(world, at, b"short"), Reason::Changed),
        ("another inode", |world, at| replace(world, at, BYTES), Reason::Changed),
        ("one more name", one_more_name, Reason::UnknownLinks),
        ("gone", |world, at| world.fs().unlink(at).unwrap(), Reason::Changed),
        ("immutable", |world, at| world.set_immutable(at, true), Reason::Immutable),
        (
            "another owner",
            |world, at| world.set_metadata(at, meta(|m| m.uid = 7)),
            Reason::OwnerDiffers,
        ),
        (
            "another mode",
            |world, at| world.set_metadata(at, meta(|m| m.mode = 0o600)),
            Reason::ModeDiffers,
        ),
        (
            "an ACL",
            |world, at| world.set_metadata(at, meta(|m| m.acl = Some(vec![1]))),
            Reason::AclDiffers,
        ),
        (
            "an attribute",
            |world, at| {
                let xattrs = [(b"user.a".to_vec(), b"1".to_vec())].into();
                world.set_metadata(at, meta(|m| m.xattrs = xattrs));
            },
            Reason::XattrDiffers,
        ),
    ]
}

/// Writes in place, long ago.
fn rewrite(world: &SimWorld, at: &Place, bytes: &[u8]) {
    world.client_write(&at.path, bytes).unwrap();
    world.fs().pause(Duration::from_secs(100));
}

fn one_more_name(world: &SimWorld, at: &Place) {
    world.add_link(at, &Place::new(at.branch, at.path.sibling("more").unwrap()));
}

/// Runs the plan of `scenario` after `change` was made to `at`; the ops in `concerned` must be refused for `reason`
/// with their files as they were, the others done.
fn check(
    scenario: &Scenario,
    what: &str,
    change: Meddle,
    at: &Place,
    reason: Reason,
    concerned: &[usize],
) {
    let mut session = Session::new(scenario);
    change(&session.world, at);
    let before = session.world.files();
    session.run(&scenario.ops).unwrap();
    let after = session.world.files();
    for (k, op) in scenario.ops.iter().enumerate() {
        let outcome = session.outcomes.iter().find(|(told, _)| told.duplicate == op.duplicate);
        let told = || format!("{}, {what}: {at:?}, op {k}\n{}", scenario.name, session.told());
        let Some((_, outcome)) = outcome else {
            panic!("not reported: {}", told());
        };
        if !concerned.contains(&k) {
            assert!(matches!(outcome, Outcome::Done { .. }), "{}", told());
            continue;
        }
        let refused = matches!(outcome, Outcome::NotDone(halt) if halt.reason == reason);
        assert!(refused, "{}", told());
        for name in &op.names {
            let own = Place::new(name.from, name.path.clone());
            assert_eq!(after.get(&own), before.get(&own), "{}", told());
        }
    }
    session.clean().unwrap();
}

#[test]
fn what_is_no_longer_as_it_was_planned_is_left_alone() {
    for scenario in [
        scenario::cross(),
        scenario::local(),
        scenario::missing_parents(),
        scenario::shared_master(),
    ] {
        let all: Vec<usize> = (0..scenario.ops.len()).collect();
        for (what, change, reason) in changes() {
            for k in all.clone() {
                check(&scenario, what, change, &scenario.ops[k].duplicate, reason, &[k]);
            }
            // More names of the master are nobody's concern.
            if reason != Reason::UnknownLinks {
                check(&scenario, what, change, &scenario.master, reason, &all);
            }
        }
    }
}

#[test]
fn what_a_scan_read_as_equal_and_nobody_wrote_since_is_told_as_damaged() {
    let scenario = scenario::cross();
    let op = &scenario.ops[0];
    for at in [&op.master, &op.duplicate] {
        for (written_after, reason) in [(false, Reason::Damaged), (true, Reason::Differs)] {
            let mut session = Session::new(&scenario);
            let before = session.world.fs().now();
            session.world.fs().pause(Duration::from_secs(10));
            rewrite(&session.world, at, OTHER);
            session.scanned = Some(match written_after {
                true => before,
                false => session.world.fs().now(),
            });
            session.run(&scenario.ops).unwrap();
            let told = session.told();
            let halt = session.outcomes.iter().find_map(|(told, outcome)| match outcome {
                Outcome::NotDone(halt) if told.duplicate == op.duplicate => Some(halt),
                _ => None,
            });
            assert!(halt.is_some_and(|halt| halt.reason == reason), "{at:?}: {told}");
        }
    }
}

/// The hint for damage is to restore the file from a backup, which would replace what the client wrote.
#[test]
fn what_a_client_writes_before_it_is_read_is_no_damage() {
    let scenario = scenario::cross();
    let op = &scenario.ops[0];
    for at in [&op.master, &op.duplicate] {
        for n in 1.. {
            let mut session = Session::new(&scenario);
            session.world.fs().pause(Duration::from_secs(10));
            session.scanned = Some(session.world.fs().now());
            let path = at.path.clone();
            let write = move |world: &SimWorld| drop(world.client_write(&path, OTHER));
            session.world.plan_fault(Fault::foreign_at(n, write));
            session.run(&scenario.ops).unwrap();
            let damaged = session.outcomes.iter().any(|(_, outcome)| {
                matches!(outcome, Outcome::NotDone(halt) if halt.reason == Reason::Damaged)
            });
            assert!(!damaged, "{at:?} at {n}: {}", session.told());
            if session.world.calls() < n {
                break;
            }
        }
    }
}

/// Runs the one op of a scenario over hashes of `contents` that the scan of the run took of both files; `change` is made to
/// the duplicate afterwards. Returns whether contents were read, and how the op ended.
fn run_with_hashes(
    contents: [&[u8]; 2],
    change: impl FnOnce(&SimWorld, &Place),
) -> (bool, Outcome) {
    let scenario = scenario::cross();
    let op = &scenario.ops[0];
    let mut session = Session::new(&scenario);
    let fs = session.world.fs();
    for (at, contents) in [&op.master, &op.duplicate].into_iter().zip(contents) {
        let seen = fs.stat(at).unwrap().unwrap().fingerprint();
        session.hashed.push(Hashed { seen, blake3: blake3::hash(contents).into() });
    }
    change(&session.world, &op.duplicate);
    let calls = session.world.trace().len();
    session.run(&scenario.ops).unwrap();
    let reads = |line: &String| line.contains(" read 0:") || line.contains(" read 1:");
    let read = session.world.trace()[calls..].iter().any(reads);
    (read, session.outcomes[0].1.clone())
}

#[test]
fn what_the_scan_of_the_run_has_read_is_not_read_again() {
    let (read, outcome) = run_with_hashes([BYTES, BYTES], |_, _| ());
    assert!(!read && matches!(outcome, Outcome::Done { .. }), "{read}, {outcome:?}");
    let differs = |outcome: &Outcome| matches!(outcome, Outcome::NotDone(halt) if halt.reason == Reason::Differs);
    let (_, outcome) = run_with_hashes([BYTES, OTHER], |_, _| ());
    assert!(differs(&outcome), "{outcome:?}");
    // Written since, with the old size: the hash is of other contents.
    let (read, outcome) = run_with_hashes([BYTES, BYTES], |world, at| rewrite(world, at, OTHER));
    assert!(read && differs(&outcome), "{read}, {outcome:?}");
}
