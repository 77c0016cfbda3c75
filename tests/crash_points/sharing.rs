//! Files that come to share their blocks: whatever strikes at any call, both files and all names stay as they are, nothing is
//! open, and a write of a client is neither lost nor seen in the other file.

use std::collections::BTreeMap;

use libc::{EINVAL, EIO, ENOSPC, EOPNOTSUPP};
use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, SimWorld, place};
use mergerfs_xdedup::fs::{InodeId, Place};
use mergerfs_xdedup::journal::Journal;
use mergerfs_xdedup::plan::refusal::Reason;
use mergerfs_xdedup::plan::{Op, Task};

use super::scenario::{self, Scenario, add, branches};
use super::session::{Check, Failures, Session, ensure};

/// Two pairs on one disk, of which one duplicate has two names, and a link across disks.
fn scenario() -> Scenario {
    let world = SimWorld::new();
    let [a, b] = branches(&world);
    let master = add(&world, &place(a, "m/master"));
    let first = add(&world, &place(a, "d/one"));
    let pair = [place(a, "d/two"), place(a, "e/two")];
    add(&world, &pair[0]);
    world.add_link(&pair[0], &pair[1]);
    let far = add(&world, &place(b, "d/far"));
    let plan =
        [(master.clone(), vec![first]), (master.clone(), pair.to_vec()), (master, vec![far])];
    let mut scenario = scenario::scenario("sharing", world, &plan);
    for op in &mut scenario.ops[..2] {
        *op = Op { task: Task::Share, ..op.clone() };
    }
    scenario
}

/// The files that are to share blocks are the files that they were.
fn same_files(scenario: &Scenario, session: &Session) -> Check {
    let (before, after) = (scenario.world.files(), session.world.files());
    for at in scenario.ops[..2].iter().flat_map(scenario::own) {
        ensure(before[&at].0 == after[&at].0, || format!("{at:?} is another file"))?;
    }
    let at = &scenario.master;
    ensure(before[at].0 == after[at].0, || "the master is another file".to_owned())
}

fn done(session: &Session) -> usize {
    session.outcomes.iter().filter(|(_, how)| matches!(how, Outcome::Done { .. })).count()
}

#[test]
fn two_files_stay_two_files_and_are_recorded() {
    let scenario = scenario();
    let mut session = Session::new(&scenario);
    let (view, stats) = (session.view(), scenario.world.names());
    session.run(&scenario.ops).unwrap();
    assert_eq!(done(&session), 3, "{}", session.told());
    session.shows(&view).and_then(|()| session.clean()).unwrap();
    same_files(&scenario, &session).unwrap();
    // Nothing but the blocks changes: no time, and no count of names but the master's.
    for at in scenario.ops[..2].iter().flat_map(scenario::own) {
        assert_eq!(session.world.names()[&at], stats[&at]);
    }
    let journal = Journal::open(session.store.after_kill()).unwrap();
    let hash = Some(*blake3::hash(scenario::BYTES).as_bytes());
    let shared = journal.finished(|run| run == 1).unwrap().shared;
    assert_eq!(shared.iter().map(|files| files.blake3).collect::<Vec<_>>(), [hash, hash]);
    let run = journal.run(1).unwrap();
    assert_eq!((run.shared, run.done, run.intents, run.open), (2, 1, 1, 0));
    // An undo is about the link alone.
    let mut undo = session.next();
    assert_eq!(undo.undo().unwrap(), 1);
    undo.shows(&view).unwrap();
}

#[test]
fn whatever_strikes_at_any_call_changes_no_file_and_leaves_nothing_open() {
    let scenario = scenario();
    let mut failures = Failures::default();
    let view = Session::new(&scenario).view();
    let strikes: Vec<Box<dyn Fn(usize) -> Fault>> = vec![
        Box::new(Fault::DieAt),
        Box::new(|n| Fault::ErrorAt(n, EIO)),
        Box::new(|n| Fault::ErrorAt(n, ENOSPC)),
        Box::new(|n| Fault::ErrorAt(n, EINVAL)),
    ];
    for strike in &strikes {
        for n in 1.. {
            let mut session = Session::new(&scenario);
            session.world.plan_fault(strike(n));
            let ended = session.run(&scenario.ops);
            if session.world.calls() < n {
                break;
            }
            let point = || format!("at {n}: {ended:?}");
            let check = session.shows(&view).and_then(|()| same_files(&scenario, &session));
            failures.note(check, "at once", point, &session);
            let mut next = session.next();
            let left = next.recover().unwrap();
            let check = ensure(left == 0, || "an op stays open".to_owned());
            let check = check.and_then(|()| next.shows(&view)).and_then(|()| next.clean());
            failures.note(check.and_then(|()| same_files(&scenario, &next)), "after", point, &next);
        }
    }
    assert!(failures.points() > 100);
}

/// A recorded hash is that of the file, as long as no time shows a write since.
fn hash_is_certain(session: &Session, files: &BTreeMap<Place, (InodeId, Vec<u8>)>) {
    let journal = Journal::open(session.store.after_kill()).unwrap();
    let names = session.world.names();
    for shared in journal.finished(|_| true).unwrap().shared {
        for file in [&shared.record.master, &shared.record.duplicate] {
            let at = Place::new(file.branch, file.path.clone());
            if let Some(hash) = shared.blake3.filter(|_| names[&at].mtime == file.mtime) {
                assert_eq!(hash, *blake3::hash(&files[&at].1).as_bytes(), "{}", session.told());
            }
        }
    }
}

/// Of the same size, and different in each piece: only the kernel's comparison tells.
const WRITTEN: &[u8] = b"CLIENT'S BYTES";

#[test]
fn a_write_between_two_pieces_stays_and_is_told() {
    let scenario = scenario();
    for written in [scenario.master.clone(), scenario.duplicate.clone()] {
        let mut stopped = 0;
        for n in 1.. {
            let mut session = Session::new(&scenario);
            let at = written.clone();
            session.world.plan_fault(Fault::foreign_at(n, move |world| {
                world.client_write(&at.path, WRITTEN).map(|_| ()).unwrap();
            }));
            session.run(&scenario.ops[..1]).unwrap();
            if session.world.calls() < n {
                break;
            }
            let files = session.world.files();
            for at in [&scenario.master, &scenario.duplicate] {
                let wanted = if *at == written { WRITTEN } else { scenario::BYTES };
                assert_eq!(files[at].1, wanted, "{}", session.told());
            }
            hash_is_certain(&session, &files);
            let (_, outcome) = &session.outcomes[0];
            if let Outcome::NotDone(halt) = outcome {
                let told = matches!(halt.reason, Reason::Changed | Reason::Differs | Reason::Busy);
                assert!(told, "{halt}");
                stopped += 1;
            }
        }
        assert!(stopped > 0, "no write came between");
    }
}

#[test]
fn a_filesystem_that_cannot_share_blocks_is_a_reason_and_no_error() {
    let scenario = scenario();
    for errno in [EOPNOTSUPP, EINVAL] {
        let mut session = Session::new(&scenario);
        session.world.plan_fault(Fault::ErrorsFrom(1, "share blocks", errno));
        session.run(&scenario.ops).unwrap();
        // The link across disks is done all the same.
        assert_eq!(done(&session), 1, "{}", session.told());
        let reasons = session.outcomes.iter().filter_map(|(_, how)| match how {
            Outcome::NotDone(halt) => Some(halt.reason),
            _ => None,
        });
        assert_eq!(reasons.collect::<Vec<_>>(), [Reason::NoReflink, Reason::NoReflink]);
    }
}
