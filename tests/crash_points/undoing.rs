//! An undo, cut at every call by everything that can cut it.

use std::collections::BTreeMap;

use libc::{EIO, ENOSPC, EROFS};
use mergerfs_xdedup::execute::{Options, Outcome};
use mergerfs_xdedup::fs::sim::{Fault, PowerLoss, SimWorld, place};
use mergerfs_xdedup::fs::{FileKind, Look, Metadata, Place, Stat, Timestamp};
use mergerfs_xdedup::journal::mem_store::Kept;
use mergerfs_xdedup::journal::{Journal, OpenOp};
use mergerfs_xdedup::pool::relpath::RelPath;

use super::clients::{each_call, met, steps};
use super::meddling::{Client, Step, settle as settle_clients};
use super::reflinking::cloned;
use super::scenario::{self, Scenario};
use super::session::{Check, Failures, Session, View, ensure};

const KEPT: [Kept; 3] = [Kept::Nothing, Kept::Everything, Kept::Torn];

/// What every name was, inode numbers, ctimes and the times of directories aside.
type Snapshot = BTreeMap<Place, (Looks, Metadata)>;
type Looks = (FileKind, u64, u64, Option<(Timestamp, Timestamp)>);

fn snapshot(session: &Session) -> Snapshot {
    let fork = session.world.fork();
    let fs = fork.fs();
    let looks = |stat: &Stat| {
        let file = stat.kind == FileKind::Regular;
        let nlink = if file { stat.nlink } else { 0 };
        let times = file.then_some((stat.mtime, stat.atime));
        (stat.kind, stat.size, nlink, times)
    };
    let meta = |at: &Place, stat: &Stat| match stat.kind {
        FileKind::Regular => fs.metadata(&fs.open(at).unwrap()).unwrap(),
        _ => Metadata { uid: stat.uid, gid: stat.gid, mode: stat.mode, ..Metadata::default() },
    };
    let names = fork.names();
    names.iter().map(|(at, stat)| (at.clone(), (looks(stat), meta(at, stat)))).collect()
}

/// A scenario whose run has ended, with odd metadata throughout; and what was there before the run.
fn done(scenario: &Scenario) -> (Session, Snapshot) {
    for (n, op) in scenario.ops.iter().enumerate() {
        let meta = Metadata {
            uid: 7,
            gid: 8,
            mode: 0o4751,
            acl: Some(vec![2, 0, 0, 0, 1]),
            xattrs: [(b"user.odd".to_vec(), vec![0, 255])].into(),
        };
        for at in [&op.master, &op.duplicate] {
            scenario.world.set_metadata(at, meta.clone());
        }
        let old = Timestamp { secs: -5 + i64::try_from(n).unwrap(), nanos: 123_456_789 };
        scenario.world.set_mtime(&op.duplicate, old);
    }
    let mut session = Session::new(scenario);
    let before = snapshot(&session);
    session.run(&scenario.ops).unwrap();
    session.world.sync_all();
    session.outcomes.clear();
    let mut next = session.next();
    next.world.fs().pause(std::time::Duration::from_secs(60));
    next.outcomes.clear();
    (next, before)
}

fn as_before(session: &Session, before: &Snapshot) -> Check {
    let now = snapshot(session);
    let differs = before.iter().find(|(at, was)| now.get(*at) != Some(*was));
    ensure(differs.is_none(), || {
        let (at, was) = differs.unwrap();
        format!("{at:?} was {was:?}, is {:?}", now.get(at))
    })?;
    let new = now.keys().find(|at| !before.contains_key(*at));
    ensure(new.is_none(), || format!("{new:?} was not there"))
}

/// Recovers, checks; undoes what is left, and checks that all is as before the run.
fn settle(session: &mut Session, scenario: &Scenario, view: &View, before: &Snapshot) -> Check {
    let left = session.recover().map_err(|err| format!("recovery fails: {err:?}"))?;
    ensure(left == 0, || "ops stay open".to_owned())?;
    session.sound(scenario, view)?;
    session.undo().map_err(|err| format!("undo again fails: {err:?}"))?;
    session.shows(view)?;
    session.clean()?;
    as_before(session, before)
}

/// The undo killed at call `n`; `None` once it ends before that.
fn killed(done: &Session, n: usize) -> Option<Session> {
    let mut session = done.next();
    session.world.plan_fault(Fault::DieAt(n));
    let result = session.undo();
    if !session.world.died() {
        result.unwrap_or_else(|err| panic!("{err:?}\n{}", session.told()));
        return None;
    }
    Some(session)
}

#[test]
fn an_undo_leaves_every_branch_as_it_was_and_can_be_undone() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let (done, before) = done(&scenario);
        let view = done.view();
        let after_run = snapshot(&done);
        let mut session = done.next();
        let planned = session.undo().unwrap();
        let check = ensure(planned == scenario.ops.len(), || "not planned".to_owned())
            .and_then(|()| session.shows(&view))
            .and_then(|()| session.clean())
            .and_then(|()| as_before(&session, &before));
        failures.note(check, scenario.name, String::new, &session);
        let mut again = session.next();
        again.world.fs().pause(std::time::Duration::from_secs(60));
        let planned = again.undo_run(2).unwrap();
        let check = ensure(planned == scenario.ops.len(), || "not planned".to_owned())
            .and_then(|()| again.sound(&scenario, &view))
            .and_then(|()| as_before(&again, &after_run));
        failures.note(check, "undone again", || scenario.name.to_owned(), &again);
    }
}

#[test]
fn an_undo_leaves_merged_copies_merged_and_takes_the_rest_back() {
    for (scenario, undone) in [(scenario::shadow(), 0), (scenario::shadow_then_away(), 1)] {
        let (done, _) = done(&scenario);
        let view = done.view();
        let mut session = done.next();
        assert_eq!(session.undo().unwrap(), undone, "{}", scenario.name);
        session.shows(&view).and_then(|()| session.clean()).unwrap();
        let hidden = &scenario.ops[0].duplicate;
        assert!(!session.world.files().contains_key(hidden));
    }
}

#[test]
fn after_a_kill_at_any_call_of_an_undo_nothing_is_lost_and_it_can_be_finished() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let (done, before) = done(&scenario);
        let view = done.view();
        let mut n = 1;
        while let Some(session) = killed(&done, n) {
            let point = || format!("killed at {n}\n{}\nthen", session.told());
            let at_once = format!("{} at once", scenario.name);
            failures.note(session.shows(&view), &at_once, point, &session);
            let mut next = session.next();
            let check = settle(&mut next, &scenario, &view, &before);
            failures.note(check, scenario.name, point, &next);
            n += 1;
        }
        assert!(n > 20, "{}: {n} calls", scenario.name);
    }
}

#[test]
fn the_recovery_of_an_undo_may_be_killed_at_any_call_too() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let (done, before) = done(&scenario);
        let view = done.view();
        let mut n = 1;
        while let Some(session) = killed(&done, n) {
            let mut m = 1 + n % 7;
            loop {
                let mut second = session.next();
                second.world.plan_fault(Fault::DieAt(m));
                if second.recover().is_ok() && !second.world.died() {
                    break;
                }
                let point = || format!("killed at {n}, recovery at {m}");
                let at_once = format!("{} at once", scenario.name);
                failures.note(second.shows(&view), &at_once, point, &second);
                let mut third = second.next();
                let check = settle(&mut third, &scenario, &view, &before);
                failures.note(check, scenario.name, point, &third);
                m += 7;
            }
            n += 3;
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn after_an_error_at_any_call_of_an_undo_nothing_is_lost_and_it_can_be_finished() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let (done, before) = done(&scenario);
        let view = done.view();
        for errno in [EIO, ENOSPC, EROFS] {
            let mut n = 1;
            loop {
                let mut session = done.next();
                session.world.plan_fault(Fault::ErrorAt(n, errno));
                session.undo().ok();
                if session.world.calls() < n {
                    break;
                }
                let point = || format!("{} at {n}", std::io::Error::from_raw_os_error(errno));
                let at_once = format!("{} at once", scenario.name);
                failures.note(session.shows(&view), &at_once, point, &session);
                let lost = PowerLoss::nothing_kept(&session.world);
                let power = (session.after_power_loss(&lost, Kept::Nothing), "power lost");
                for (mut next, how) in [(session.next(), "next run"), power] {
                    let group = format!("{}, {how}", scenario.name);
                    failures.note(next.shows(&view), &group, point, &next);
                    let check = settle(&mut next, &scenario, &view, &before);
                    failures.note(check, &group, point, &next);
                }
                n += 1;
            }
        }
    }
    assert!(failures.points() > 1000);
}

/// The record says that the copy is complete. Recovery relies on it, and a power loss may take what was not synced.
#[test]
fn a_copy_that_could_not_be_synced_is_not_recorded_as_complete() {
    let scenario = scenario::undoable().into_iter().find(|s| s.ops.len() == 1).unwrap();
    let (done, _) = done(&scenario);
    let mut failed = 0;
    for n in 1.. {
        let mut session = done.next();
        session.world.plan_fault(Fault::ErrorAt(n, EIO));
        session.undo().ok();
        if session.world.calls() < n {
            break;
        }
        let syncs = |call: &String| call.contains("sync") && !call.contains("sync the directory");
        let error = |call: &String| syncs(call) && call.contains("error");
        if !session.world.trace().iter().any(error) {
            continue;
        }
        failed += 1;
        for dies in n + 1..=session.world.calls() {
            let mut session = done.next();
            session.world.plan_fault(Fault::ErrorAt(n, EIO));
            session.world.plan_fault(Fault::DieAt(dies));
            session.undo().ok();
            let journal = Journal::open(session.store.after_kill()).unwrap();
            let mut open = journal.open_ops().into_iter();
            let copied = open.any(|open| open.undo.is_some_and(|undo| undo.copied));
            assert!(!copied, "error at {n}, killed at {dies}\n{}", session.told());
        }
    }
    assert!(failed > 0);
}

/// A disk that fails is left alone. Attributes that do not fit on it keep back their own file only.
#[test]
fn a_disk_that_does_not_take_metadata_is_left_alone_unless_they_only_do_not_fit() {
    let scenario = scenario::undoable().into_iter().find(|s| s.name == "shared master").unwrap();
    let (done, _) = done(&scenario);
    let mut session = done.next();
    session.undo().unwrap();
    let trace = session.world.trace();
    let set = trace.iter().find(|call| call.contains("set metadata of")).unwrap();
    let n: usize = set.split_whitespace().next().unwrap().parse().unwrap();
    for (errno, back) in [(EIO, 0), (ENOSPC, 2)] {
        let mut session = done.next();
        session.world.plan_fault(Fault::ErrorAt(n, errno));
        session.undo().unwrap();
        let came = session.outcomes.iter();
        let came = came.filter(|(_, outcome)| matches!(outcome, Outcome::Done { .. })).count();
        assert_eq!(came, back, "{errno}: {}", session.told());
    }
}

#[test]
fn a_power_loss_at_any_call_of_an_undo_loses_nothing_and_it_can_be_finished() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let (done, before) = done(&scenario);
        let view = done.view();
        let mut n = 1;
        while let Some(session) = killed(&done, n) {
            for (i, loss) in session.world.power_loss_choices(12).enumerate() {
                let kept = KEPT[i % KEPT.len()];
                let mut next = session.after_power_loss(&loss, kept);
                let point = || format!("power lost at {n}, {loss:?}, journal {kept:?}");
                let at_once = format!("{} at once", scenario.name);
                failures.note(next.shows(&view), &at_once, point, &next);
                let check = settle(&mut next, &scenario, &view, &before);
                failures.note(check, scenario.name, point, &next);
            }
            n += 1;
        }
    }
    assert!(failures.points() > 5_000);
}

/// What an undo does not promise:
///
/// - that owner, mode and attributes set since the run stay: those from before the run come back;
/// - the path, where a client renames one of the two files onto the other's, as in a run.
fn limit(scenario: &Scenario, steps: &[Step], session: &Session) -> bool {
    let (master, duplicate) = (&scenario.master.path, &scenario.duplicate.path);
    let view = session.view();
    steps.iter().all(|step| match step {
        Step::Chmod(path) | Step::Setxattr(path) => {
            path == duplicate && view.get(path).is_some_and(|bytes| bytes == scenario::BYTES)
        }
        Step::Rename(from, to) if from == duplicate && to == master => {
            view.get(to).is_some_and(|bytes| bytes == scenario::BYTES)
        }
        Step::Rename(from, to) if from == master && to == duplicate => {
            view.values().any(|bytes| bytes == scenario::BYTES)
        }
        _ => false,
    })
}

#[test]
fn once_a_copy_is_recorded_recovery_finishes_the_undo_after_a_power_loss() {
    let mut failures = Failures::default();
    for scenario in [scenario::cross(), scenario::local(), scenario::link_set()] {
        let (done, before) = done(&scenario);
        let mut n = 1;
        while let Some(session) = killed(&done, n) {
            n += 1;
            let lost = PowerLoss::nothing_kept(&session.world);
            let mut next = session.after_power_loss(&lost, Kept::Nothing);
            let journal = Journal::open(next.store.after_kill()).unwrap();
            let open = journal.open_ops();
            let copied = |op: &OpenOp| op.undo.as_ref().is_some_and(|undo| undo.copied);
            if open.is_empty() || !open.iter().all(copied) {
                continue;
            }
            // The inode that the record names must be there: its number could be another file's by now.
            let left = next.recover().unwrap();
            let check = ensure(left == 0, || "ops stay open".to_owned());
            let check = check.and_then(|()| as_before(&next, &before));
            failures.note(check, scenario.name, || format!("at {n}"), &next);
        }
    }
    assert!(failures.points() > 60);
}

/// An undo with `steps` done before call `n`, then recovery; gives how many calls it took.
fn meddled(
    failures: &mut Failures,
    (scenario, done): (&Scenario, &Session),
    (group, steps): (&str, &[Step]),
    n: usize,
) -> usize {
    let mut session = done.next();
    let client = Client::beside_an_undo(&session);
    for step in steps {
        client.plan(&session, n, step);
    }
    let ended = session.undo();
    let calls = session.world.calls();
    let point = || format!("{steps:?} at {n}: {ended:?}\n{}\nthen", session.told());
    let mut next = session.next();
    client.finish(&next.world, true);
    let settled = settle_clients(&mut next);
    let limit = limit(scenario, steps, &next);
    let check = settled.and_then(|()| if limit { Ok(()) } else { client.content(&next) });
    failures.note(check, &format!("{}: {group}", scenario.name), point, &next);
    calls
}

#[test]
fn what_a_client_does_at_any_call_of_an_undo_stays_done() {
    let mut failures = Failures::default();
    for scenario in met() {
        let (done, _) = done(&scenario);
        for (group, steps) in steps(&scenario) {
            each_call(|n| meddled(&mut failures, (&scenario, &done), (&group, &steps), n));
        }
    }
    assert!(failures.points() > 1000);
}

/// Between the crash and `resume` a client deletes a path that was coming back: it stays deleted, and all else is kept.
#[test]
fn what_a_client_deletes_before_an_undo_is_resumed_stays_deleted() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let (done, _) = done(&scenario);
        let path = &scenario.duplicate.path;
        let mut n = 1;
        while let Some(session) = killed(&done, n) {
            let mut next = session.next();
            next.world.client_remove(path).unwrap();
            let mut view = done.view();
            view.remove(path);
            let at_once = next.shows(&view);
            let point = || format!("killed at {n}");
            failures.note(at_once, &format!("{} at once", scenario.name), point, &next);
            let open = next.recover().map_err(|err| format!("{err:?}"));
            let check = open
                .and_then(|open| ensure(open == 0, || "ops stay open".to_owned()))
                .and_then(|()| next.shows(&view))
                .and_then(|()| next.clean());
            failures.note(check, scenario.name, point, &next);
            n += 1;
        }
    }
    assert!(failures.points() > 1_000);
}

/// What is kept under a hidden name is called the last copy only where no path has its bytes.
#[test]
fn a_hidden_copy_is_the_last_one_only_if_no_path_has_its_bytes() {
    let links = scenario::undoable().into_iter().map(|scenario| (done(&scenario).0, scenario));
    let clones = [scenario::cross(), scenario::link_set(), scenario::mixed()];
    let clones = clones.map(scenario::reflinked).map(|scenario| (cloned(&scenario), scenario));
    let mut kept = 0;
    for (done, scenario) in links.chain(clones) {
        let path = &scenario.duplicate.path;
        let acts: [fn(&SimWorld, &RelPath); 2] = [
            |world, path| drop(world.client_remove(path)),
            |world, path| {
                let at = world.names().into_keys().find(|at| at.path == *path);
                at.map(|at| world.client_save(&at, b"newer"));
            },
        ];
        for act in acts {
            each_call(|n| {
                let mut undo = done.next();
                let at = path.clone();
                undo.world.plan_fault(Fault::foreign_at(n, move |world| act(world, &at)));
                undo.undo().unwrap();
                let mut killed = done.next();
                killed.world.plan_fault(Fault::DieAt(n));
                drop(killed.undo());
                let mut resumed = killed.next();
                act(&resumed.world, path);
                resumed.recover().unwrap();
                for session in [&undo, &resumed] {
                    let visible = session.view().values().any(|bytes| bytes == scenario::BYTES);
                    for (_, how) in &session.outcomes {
                        let Outcome::Conflict(halt, _) = how else { continue };
                        let last = halt.detail.contains("last copy");
                        assert!(!(last && visible), "at {n}: {halt}\n{}", session.told());
                        kept += usize::from(halt.detail.contains("hidden name"));
                    }
                }
                undo.world.calls()
            });
        }
    }
    assert!(kept > 0);
}

/// Copies that an undo was making when it was killed are made together by recovery, as many at a time as in a batch.
#[test]
fn recovery_makes_the_copies_of_a_batch_together() {
    let world = SimWorld::new();
    let [a, b] = scenario::branches(&world);
    let master = scenario::add(&world, &place(a, "m/master"));
    let duplicates = ["d/1", "d/2", "d/3", "d/4", "d/5", "d/6"].map(|path| {
        let duplicate = scenario::add(&world, &place(b, path));
        (master.clone(), vec![duplicate])
    });
    let scenario = scenario::scenario("six", world, &duplicates);
    let (done, before) = done(&scenario);
    let view = done.view();
    let of_copy = |line: &String, call: &str| line.contains(call) && line.ends_with("-c");
    for (names, bytes, wanted) in [(100, u64::MAX, 6), (2, u64::MAX, 2), (100, 1, 4)] {
        let mut most = 0;
        for n in (1..).step_by(9) {
            let Some(session) = killed(&done, n) else { break };
            let mut next = session.next();
            let options = Options { batch_names: names, batch_bytes: bytes, ..next.options() };
            assert_eq!(next.recover_with(options).unwrap(), 0, "{}", next.told());
            let mut making = 0;
            for line in next.world.trace() {
                match () {
                    () if of_copy(&line, " create ") => making += 1,
                    () if of_copy(&line, " sync ") => making = 0,
                    () => {}
                }
                most = most.max(making);
            }
            settle(&mut next, &scenario, &view, &before).unwrap();
        }
        assert_eq!(most, wanted, "{names} names, {bytes} bytes");
    }
}
