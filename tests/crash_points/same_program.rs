//! Whether the program still makes the same calls and writes the same journal.
//!
//! Code that only moves must not change one call. `same_program.txt` has a hash of every call and every journal byte
//! of each scenario, undisturbed and killed at every call. After a change that is meant, `XDEDUP_UPDATE=1` writes the
//! file anew, and the commit says what changed.
#![allow(clippy::disallowed_methods, reason = "the hashes lie in no pool")]

use std::fmt::Write as _;
use std::path::Path;

use mergerfs_xdedup::fs::sim::Fault;

use super::deaths::killed;
use super::scenario::{self, Scenario};
use super::session::Session;

const FILE: &str = "tests/crash_points/same_program.txt";

/// The hash of several processes.
#[derive(Default)]
struct Processes {
    hasher: blake3::Hasher,
    count: usize,
    calls: usize,
}

impl Processes {
    /// Adds the calls of the process that `session` is, and the journal as it is now.
    fn add(&mut self, session: &Session) {
        for line in session.world.trace() {
            self.hasher.update(line.as_bytes());
            self.hasher.update(b"\n");
        }
        self.hasher.update(&session.store.bytes());
        self.count += 1;
        self.calls += session.world.calls();
    }

    fn line(&self, scenario: &Scenario, what: &str) -> String {
        let hash = self.hasher.finalize().to_hex();
        let (name, count, calls) = (scenario.name, self.count, self.calls);
        format!("{name}, {what}: {count} processes, {calls} calls, {}\n", &hash[..16])
    }
}

/// The scenario after its run, at a later time.
fn done(scenario: &Scenario) -> Session {
    let mut session = Session::new(scenario);
    session.run(&scenario.ops).unwrap();
    session.world.sync_all();
    let next = session.next();
    next.world.set_step(std::time::Duration::from_secs(1));
    next
}

fn hashes(scenario: &Scenario) -> String {
    let mut lines = String::new();
    let mut whole = Processes::default();
    let mut session = Session::new(scenario);
    session.run(&scenario.ops).unwrap();
    whole.add(&session);
    let mut undo = done(scenario);
    undo.undo().unwrap();
    whole.add(&undo);
    lines += &whole.line(scenario, "run and undo");

    let mut recovered = Processes::default();
    let mut n = 1;
    while let Some(session) = killed(scenario, n) {
        recovered.add(&session);
        let mut next = session.next();
        next.recover().unwrap();
        recovered.add(&next);
        n += 1;
    }
    lines += &recovered.line(scenario, "killed run, recovered");

    let mut recovered = Processes::default();
    for n in 1.. {
        let mut session = done(scenario);
        session.world.plan_fault(Fault::DieAt(n));
        let ended = session.undo();
        if !session.world.died() {
            ended.unwrap();
            break;
        }
        recovered.add(&session);
        let mut next = session.next();
        next.recover().unwrap();
        recovered.add(&next);
    }
    lines += &recovered.line(scenario, "killed undo, recovered");
    lines
}

#[test]
fn the_calls_and_the_journal_are_those_they_were() {
    let mut now = String::new();
    for scenario in scenario::all() {
        write!(now, "{}", hashes(&scenario)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("XDEDUP_UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let was = std::fs::read_to_string(&path).unwrap_or_default();
    let differ: Vec<_> = now.lines().filter(|line| !was.contains(line)).collect();
    assert!(differ.is_empty() && was == now, "not as in {FILE}:\n{}", differ.join("\n"));
}
