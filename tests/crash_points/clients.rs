//! Clients of the pool do things, at every call.

use std::time::Duration;

use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, SimWorld, place};
use mergerfs_xdedup::fs::{Look, Place};
use mergerfs_xdedup::journal::{Conflict, Journal};
use mergerfs_xdedup::plan::refusal::Reason;
use mergerfs_xdedup::pool::BranchIdx;
use mergerfs_xdedup::pool::relpath::RelPath;

use super::meddling::{Client, Step, in_conflict, settle};
use super::scenario::{self, Scenario, add, branches};
use super::session::{Failures, Session};

fn beside(at: &Place, name: &str) -> Place {
    Place::new(at.branch, at.path.sibling(name).unwrap())
}

/// Everything a client may do to `scenario` in one step.
pub(super) fn steps(scenario: &Scenario) -> Vec<(String, Vec<Step>)> {
    let (m, d) = (&scenario.master, &scenario.duplicate);
    let mut all = Vec::new();
    for (at, whose) in [(d, "duplicate"), (m, "master")] {
        let path = at.path.clone();
        let moved = beside(at, "moved").path;
        let mut steps = vec![
            vec![Step::Write(path.clone())],
            vec![Step::Truncate(path.clone())],
            vec![Step::Remove(path.clone())],
            vec![Step::Rename(path.clone(), moved.clone())],
            vec![Step::Chmod(path.clone())],
            vec![Step::Setxattr(path.clone())],
            vec![Step::Remove(path.clone()), Step::Create(at.clone())],
        ];
        for branch in scenario.world.pool().indices() {
            steps.push(vec![Step::Save(Place::new(branch, path.clone()))]);
        }
        for steps in steps {
            let acts: Vec<String> = steps.iter().map(kind).collect();
            all.push((format!("{} {whose}", acts.join("+")), steps));
        }
    }
    all.push(("create".to_owned(), vec![Step::Create(beside(d, "new"))]));
    // mergerfs looks at one branch after the other, and can miss a name that moves meanwhile.
    let missed = vec![Step::Create(d.clone())];
    all.push(("create at the duplicate's place".to_owned(), missed));
    all.push((
        "rename over duplicate".to_owned(),
        vec![Step::Rename(m.path.clone(), d.path.clone())],
    ));
    all.push(("rename over master".to_owned(), vec![Step::Rename(d.path.clone(), m.path.clone())]));
    all
}

fn kind(step: &Step) -> String {
    match step {
        Step::Save(at) => format!("save on {}", at.branch.0),
        other => {
            let all = format!("{other:?}").to_lowercase();
            all.split('(').next().unwrap_or_default().to_owned()
        }
    }
}

/// The scenarios a client meets; few enough to try pairs of calls.
pub(super) fn met() -> Vec<Scenario> {
    vec![
        scenario::cross(),
        scenario::cross_later(),
        scenario::local(),
        scenario::link_set(),
        scenario::missing_parents(),
        scenario::shared_master(),
        scenario::shared_device(),
    ]
}

/// Those in which two things are cut.
pub(super) fn few() -> Vec<Scenario> {
    vec![scenario::cross(), scenario::cross_later(), scenario::local()]
}

/// The two limits that the guide to the guarantees names. A client renames one of the two files onto the other's path within a window:
///
/// - the master onto the duplicate, whose replacement is a name of the master by then: the kernel does nothing and
///   says it did (both are names of one inode), so that the file may stay at the master's path;
/// - the duplicate onto the master, and the machine stops before this is seen: the replacement may be the only name
///   of the master left, and is kept and reported as a conflict.
pub(super) fn known_limit<'s>(
    scenario: &Scenario,
    steps: impl IntoIterator<Item = &'s Step>,
    sessions: [&Session; 2],
) -> bool {
    let (master, duplicate) = (&scenario.master.path, &scenario.duplicate.path);
    let view = sessions[1].view();
    steps.into_iter().all(|step| match step {
        Step::Rename(from, to) if (from, to) == (master, duplicate) => {
            view.get(master).is_some_and(|bytes| bytes == scenario::BYTES)
        }
        Step::Rename(from, to) if (from, to) == (duplicate, master) => {
            sessions.iter().any(|session| in_conflict(session)) && view.contains_key(master)
        }
        _ => false,
    })
}

/// Whether the process died between putting a replacement in place and finding that a client had removed the path a
/// few calls before: no call changes two filesystems at once, and afterwards the name cannot be told from a link that a
/// client made. It stays, and so does the path.
fn died_before_it_looked(session: &Session) -> bool {
    let mut trace = session.world.trace();
    // The call that it died at was not made.
    let died = trace.iter().position(|line| line.contains("the process dies"));
    trace.truncate(died.unwrap_or(1) - 1);
    let last = |wanted: &dyn Fn(&str) -> bool| trace.iter().rposition(|line| wanted(line));
    let published = last(&|line| line.contains("rename") && line.contains("-t -> "));
    let withdrawn = last(&|line| line.contains("rename") && line.ends_with("-w"));
    let acted = trace.iter().position(|line| line.contains("client: "));
    session.world.died() && published > withdrawn && acted < published && acted.is_some()
}

/// A run with `steps` done before their calls, then what the client still has to do, then recovery.
fn meddled(
    failures: &mut Failures,
    scenario: &Scenario,
    group: &str,
    steps: &[(usize, Step)],
    dies: Option<usize>,
) -> usize {
    let mut session = Session::new(scenario);
    let client = Client::new(&session);
    for (n, step) in steps {
        client.plan(&session, *n, step);
    }
    if let Some(n) = dies {
        session.world.plan_fault(Fault::DieAt(n));
    }
    let ended = session.run(&scenario.ops).is_ok();
    let calls = session.world.calls();
    let point = || format!("{steps:?} {dies:?}\n{}\nthen", session.told());
    let writes = !steps.iter().any(|(_, step)| matches!(step, Step::OpenRead(_)));
    let mut next = session.next();
    client.finish(&next.world, writes);
    let group = format!("{}: {group}", scenario.name);
    if dies.is_none() {
        failures.note(
            super::session::ensure(ended, || "the run fails".to_owned()),
            &group,
            point,
            &session,
        );
    }
    let twice = steps.iter().any(|(n, _)| *n != steps[0].0);
    let settled = settle(&mut next);
    let conflict = twice && (in_conflict(&session) || in_conflict(&next));
    let content = client.content_or_conflict(&next, conflict);
    let limit = known_limit(scenario, steps.iter().map(|(_, s)| s), [&session, &next]);
    let limit = limit || (died_before_it_looked(&session) && client.only_more(&next));
    let check = settled.and(if limit { Ok(()) } else { content });
    failures.note(check, &group, point, &next);
    calls
}

/// Calls `at` for every call of a run.
pub(super) fn each_call(mut at: impl FnMut(usize) -> usize) {
    let mut n = 1;
    while at(n) >= n {
        n += 1;
    }
}

#[test]
fn what_a_client_does_at_any_call_stays_done() {
    let mut failures = Failures::default();
    for scenario in met() {
        for (group, steps) in steps(&scenario) {
            each_call(|n| {
                let steps: Vec<_> = steps.iter().map(|step| (n, step.clone())).collect();
                meddled(&mut failures, &scenario, &group, &steps, None)
            });
        }
    }
    assert!(failures.points() > 1000);
}

/// A client that renames the path takes along the replacement, which is a name of the master: what is written to the
/// new path goes there. That is told, and a path that was removed is not taken for one that was renamed.
#[test]
fn a_replacement_that_a_client_renames_is_told() {
    let mut failures = Failures::default();
    let (mut told, mut quiet) = (0, 0);
    for scenario in met() {
        let path = &scenario.duplicate.path;
        let moved = beside(&scenario.duplicate, "moved").path;
        let rename = Step::Rename(path.clone(), moved.clone());
        for step in [rename, Step::Remove(path.clone())] {
            each_call(|n| {
                let mut session = Session::new(&scenario);
                let client = Client::new(&session);
                client.plan(&session, n, &step);
                let ended = session.run(&scenario.ops).is_ok();
                let files = session.world.files();
                let copies = files.keys().filter(|at| at.path == moved).count();
                let conflict = in_conflict(&session);
                let check = super::session::ensure(ended && conflict == (copies > 1), || {
                    format!("{copies} copies of the new path, told: {conflict}")
                });
                (told, quiet) = (told + usize::from(conflict), quiet + usize::from(!conflict));
                let point = || format!("{step:?} at {n}");
                failures.note(check, scenario.name, point, &session);
                session.world.calls()
            });
        }
    }
    assert!(told > 10 && quiet > 100, "{told} {quiet}");
}

/// The same where the process dies, and the path is renamed before recovery.
#[test]
fn a_replacement_that_is_renamed_after_a_crash_is_told() {
    let mut failures = Failures::default();
    let mut told = 0;
    for scenario in few() {
        let path = &scenario.duplicate.path;
        let moved = beside(&scenario.duplicate, "moved").path;
        let mut n = 1;
        while let Some(killed) = super::deaths::killed(&scenario, n) {
            let mut next = killed.next();
            next.world.client_rename(path, &moved).unwrap();
            let settled = settle(&mut next);
            let files = next.world.files();
            let copies = files.keys().filter(|at| at.path == moved).count();
            let conflict = in_conflict(&next);
            let same = super::session::ensure(conflict == (copies > 1), || {
                format!("{copies} copies of the new path, told: {conflict}")
            });
            let point = || format!("killed at {n}");
            failures.note(settled.and(same), scenario.name, point, &next);
            told += usize::from(conflict);
            n += 1;
        }
    }
    assert!(told > 3, "{told}");
}

/// Steps a client takes at two calls of its own.
pub(super) fn pairs(scenario: &Scenario) -> Vec<(&'static str, [Step; 2])> {
    let d = &scenario.duplicate;
    let (m, path) = (&scenario.master.path, &d.path);
    let away = beside(d, "away").path;
    let paths: [RelPath; 2] = [path.clone(), m.clone()];
    let mut all = Vec::new();
    for at in paths {
        all.push(("open for writing, write", [Step::OpenWrite(at.clone()), Step::WriteHeld]));
        all.push(("open for writing, store", [Step::OpenWrite(at.clone()), Step::StoreMapped]));
        all.push(("open for writing, close", [Step::OpenWrite(at.clone()), Step::Close]));
        all.push(("open for reading, close", [Step::OpenRead(at.clone()), Step::Close]));
        all.push((
            "open for reading, write",
            [Step::OpenRead(at.clone()), Step::Write(at.clone())],
        ));
        all.push(("write twice", [Step::Write(at.clone()), Step::Write(at)]));
    }
    all.push(("write one, then the other", [Step::Write(path.clone()), Step::Write(m.clone())]));
    all.push((
        "remove, create",
        [Step::Remove(path.clone()), Step::Create(place(scenario.master.branch, path.as_bytes()))],
    ));
    for branch in scenario.world.pool().indices() {
        let save = Step::Save(Place::new(branch, path.clone()));
        all.push(("save twice", [save.clone(), save]));
    }
    all.push((
        "rename away and back",
        [Step::Rename(path.clone(), away.clone()), Step::Rename(away, path.clone())],
    ));
    all
}

#[test]
fn what_a_client_does_at_any_two_calls_stays_done() {
    let mut failures = Failures::default();
    for scenario in [scenario::cross(), scenario::cross_later(), scenario::local()] {
        for (group, [first, second]) in pairs(&scenario) {
            each_call(|n| {
                // Every distance between the two, at some call.
                let mut m = n + 1 + n % 5;
                loop {
                    let steps = [(n, first.clone()), (m, second.clone())];
                    let calls = meddled(&mut failures, &scenario, group, &steps, None);
                    if m > calls {
                        break calls;
                    }
                    m += 5;
                }
            });
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn what_a_client_did_stays_done_when_the_process_dies() {
    let mut failures = Failures::default();
    for scenario in few() {
        for (group, steps) in steps(&scenario) {
            each_call(|n| {
                let steps: Vec<_> = steps.iter().map(|step| (n, step.clone())).collect();
                let mut dies = n + 1 + n % 7;
                loop {
                    let calls = meddled(
                        &mut failures,
                        &scenario,
                        &format!("{group}, killed"),
                        &steps,
                        Some(dies),
                    );
                    if calls < dies {
                        break calls;
                    }
                    dies += 7;
                }
            });
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn what_a_client_does_while_recovering_stays_done() {
    let mut failures = Failures::default();
    for scenario in few() {
        for (group, steps) in steps(&scenario) {
            let mut n = 1;
            while let Some(first) = super::deaths::killed(&scenario, n) {
                let mut m = 1 + n % 11;
                loop {
                    let mut second = first.next();
                    let client = Client::new(&second);
                    steps.iter().for_each(|step| client.plan(&second, m, step));
                    let recovered = second.recover();
                    let calls = second.world.calls();
                    let mut third = second.next();
                    client.finish(&third.world, true);
                    let point = || {
                        format!(
                            "killed at {n}, {steps:?} at {m}: {recovered:?}\n{}\nthen",
                            second.told()
                        )
                    };
                    let settled = settle(&mut third);
                    let limit = known_limit(&scenario, &steps, [&second, &third]);
                    let content = client.content(&third);
                    let check = settled.and(if limit { Ok(()) } else { content });
                    let group = format!("{}: {group}, recovering", scenario.name);
                    failures.note(check, &group, point, &third);
                    if calls < m {
                        break;
                    }
                    m += 11;
                }
                n += 3;
            }
        }
    }
    assert!(failures.points() > 1000);
}

/// Two duplicates of one kept copy in a batch, one of them with two names: on its disk or on another.
fn two_of_one(local: bool) -> Scenario {
    let world = SimWorld::new();
    let [a, b] = scenario::branches(&world);
    let kept = scenario::add(&world, &place(a, "m/a"));
    let on = if local { a } else { b };
    let [d, e, f] = ["d/b", "e/b2", "f/c"].map(|path| place(on, path));
    scenario::add(&world, &d);
    world.add_link(&d, &e);
    scenario::add(&world, &f);
    for dir in ["d", "e", "f", "x"] {
        world.add_dir(&place(a, dir));
    }
    world.add_dir(&place(on, "x"));
    scenario::scenario("two of one", world, &[(kept.clone(), vec![d, e]), (kept, vec![f])])
}

/// After a kill a client links a replacement, and by its other name the duplicate gets in the way: where the duplicate comes
/// back, the link is one of the kept copy, and is reported. No name that this program made is taken for such a link.
#[test]
fn a_link_of_a_replacement_after_a_crash_is_told() {
    let path = |path: &str| RelPath::new(path).unwrap();
    let (mut told, mut quiet) = (0, 0);
    for scenario in [two_of_one(false), two_of_one(true)] {
        let (before, branch) = (Session::new(&scenario), scenario.duplicate.branch);
        let save = Step::Save(place(branch, "e/b2"));
        let in_the_way = [
            (Step::OpenRead(path("e/b2")), None),
            // The other op ends in between.
            (Step::OpenRead(path("e/b2")), Some(save.clone())),
            (Step::Remove(path("e/b2")), None),
            (Step::Write(path("e/b2")), None),
            (save, None),
        ];
        let link = Step::Link(path("d/b"), path("x/l"));
        let mut n = 1;
        while let Some(killed) = super::deaths::killed(&scenario, n) {
            for (steps, links) in in_the_way.iter().flat_map(|way| [(way, true), (way, false)]) {
                let (mut next, client) = (killed.next(), Client::new(&before));
                if links {
                    client.act(&next.world, &link);
                }
                client.act(&next.world, &steps.0);
                next.world.fs().pause(Duration::from_secs(10));
                next.recover().unwrap();
                client.finish(&next.world, false);
                let mut next = next.next();
                steps.1.iter().for_each(|step| client.act(&next.world, step));
                settle(&mut next).unwrap();
                let wrong = client.wrong(&next);
                let journal = Journal::open(next.store.handle()).unwrap();
                let is_link = |conflict: &Conflict| conflict.why.contains("linked while");
                let link_told = journal.conflicts().iter().any(is_link);
                let point =
                    || format!("{steps:?}, linked {links}, killed at {n}\n{}", killed.told());
                assert!(wrong.is_empty() && (links || !link_told), "{wrong:?}: {}", point());
                (told, quiet) = (told + usize::from(link_told), quiet + usize::from(!link_told));
            }
            n += 1;
        }
    }
    assert!(told > 10 && quiet > 100, "{told} {quiet}");
}

/// A program that works on the disks themselves puts a file at the path on a third one, and takes it away when the
/// replacement has just given way to it.
#[test]
fn a_path_stays_if_a_newer_file_goes_again() {
    let scenario = scenario::cross_over_a_third();
    let path = &scenario.ops[0].names[0].path;
    let newer = Place::new(BranchIdx(1), path.clone());
    let run = |n: usize, gone: Option<usize>| {
        let session = &mut Session::new(&scenario);
        let at = newer.clone();
        let add = move |world: &SimWorld| {
            world.add_file(&at, b"newer");
        };
        session.world.plan_fault(Fault::foreign_at(n, add));
        if let Some(m) = gone {
            let at = newer.clone();
            let remove = move |world: &SimWorld| world.client_remove_at(&at).unwrap();
            session.world.plan_fault(Fault::foreign_at(m, remove));
        }
        session.run(&scenario.ops).unwrap();
        let there = session.world.files().keys().any(|at| at.path == *path);
        (session.world.trace(), there, session.told())
    };
    let mut met = 0;
    for n in 1.. {
        let (trace, ..) = run(n, None);
        if trace.len() < n {
            break;
        }
        let Some(aside) = trace.iter().find(|line| line.ends_with("-w")) else { continue };
        let aside: usize = aside[..3].trim().parse().unwrap();
        for m in [aside, aside + 1] {
            let (_, there, told) = run(n, Some(m));
            assert!(there, "there at {n}, gone at {m}: {told}");
            met += 1;
        }
    }
    assert!(met > 10, "{met}");
}

#[test]
fn many_ops_wait_once_for_a_file_they_share() {
    let world = SimWorld::new();
    let [a, b] = branches(&world);
    let master = add(&world, &place(a, "m/a"));
    let names: Vec<_> = (0..20).map(|n| vec![add(&world, &place(b, format!("d/{n}")))]).collect();
    let plan: Vec<_> = names.into_iter().map(|names| (master.clone(), names)).collect();
    let scenario = scenario::scenario("one file", world, &plan);
    let waits = |session: &mut Session, undo: bool| {
        let clock = session.world.fs();
        let (open, _) = session.world.client_open_write(&master.path).unwrap();
        let begun = clock.now();
        if undo {
            session.undo_run(2).unwrap();
        } else {
            session.run(&scenario.ops).unwrap();
        }
        let took = clock.now().as_nanos() - begun.as_nanos();
        session.world.client_close(open);
        let busy = |(_, outcome): &(_, Outcome)| matches!(outcome, Outcome::NotDone(halt) if halt.reason == Reason::Busy);
        assert_eq!(session.outcomes.iter().filter(|ended| busy(ended)).count(), 20);
        // Once in each of two passes, and 2.1 s between these.
        assert!(took < 2_300_000_000, "{took} ns");
    };
    let mut session = Session::new(&scenario);
    waits(&mut session, false);
    session.outcomes.clear();
    session.run(&scenario.ops).unwrap();
    let mut session = session.next();
    session.world.fs().pause(Duration::from_secs(60));
    waits(&mut session, true);
}
