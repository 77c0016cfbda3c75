//! Clones in the place of duplicates on other disks: errors, kills and power cuts at every call, of the run and of its undo,
//! and journals lost meanwhile.

use std::time::Duration;

use libc::{EIO, ENOSPC, EOPNOTSUPP};
use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, PowerLoss};
use mergerfs_xdedup::fs::{Look, Place, Stat};
use mergerfs_xdedup::journal::mem_store::Kept;
use mergerfs_xdedup::journal::{Journal, OpenOp};
use mergerfs_xdedup::plan::refusal::Reason;
use mergerfs_xdedup::plan::{Cloning, Op, Task};
use mergerfs_xdedup::pool::relpath::RelPath;

use super::clients::each_call;
use super::deaths::killed;
use super::salvaging::{LEFT, Left, hidden, salvaged};
use super::scenario::{self, Scenario, own, reflinked};
use super::session::{Check, Failures, Session, View, ensure};

fn scenarios() -> Vec<Scenario> {
    let all = [
        scenario::cross(),
        scenario::cross_later(),
        scenario::link_set(),
        scenario::missing_parents(),
        scenario::shared_master(),
        scenario::mixed(),
    ];
    all.into_iter().map(reflinked).collect()
}

/// Each op is done whole or not at all, and the kept copy is what it was.
fn whole(session: &Session, scenario: &Scenario) -> Check {
    let files = session.world.files();
    let (before, after) = (scenario.world.names(), session.world.names());
    // A disk has another device number after a restart.
    let kept = |stat: &Stat| (stat.id.ino, stat.uid, stat.mode, stat.mtime);
    for op in scenario.ops.iter().filter(|op| op.reflinks()) {
        ensure(kept(&before[&op.master]) == kept(&after[&op.master]), || {
            "the kept copy changed".to_owned()
        })?;
        let names = op.names.iter().map(|name| {
            let old = Place::new(name.from, name.path.clone());
            let new = Place::new(name.to, name.path.clone());
            (files.get(&old).map(|f| f.0.ino), files.get(&new).map(|f| f.0.ino))
        });
        let names: Vec<_> = names.collect();
        let duplicate = op.duplicate_id.ino;
        let stays = names.iter().all(|name| *name == (Some(duplicate), None));
        let clone = names[0].1;
        let done = clone.is_some()
            && clone != Some(op.master_id.ino)
            && names.iter().all(|name| *name == (None, clone));
        ensure(stays || done, || format!("half done: {names:?}"))?;
        if done {
            looks(scenario, session, op)?;
        }
    }
    Ok(())
}

/// The clone looks as the duplicate did.
fn looks(scenario: &Scenario, session: &Session, op: &Op) -> Check {
    let (before, after) = (scenario.world.names(), session.world.names());
    let look = |stat: &Stat| (stat.uid, stat.gid, stat.mode, stat.mtime, stat.nlink);
    let name = &op.names[0];
    let (old, new) = (&before[&op.duplicate], &after[&Place::new(name.to, name.path.clone())]);
    ensure(look(old) == look(new), || format!("{:?}, not {:?}", look(new), look(old)))?;
    let meta = |session: &Session, at: &Place| {
        let fork = session.world.fork();
        let fs = fork.fs();
        fs.metadata(&fs.open(at).unwrap()).unwrap()
    };
    let was = meta(&Session::new(scenario), &op.duplicate);
    let is = meta(session, &Place::new(name.to, name.path.clone()));
    ensure(was == is, || format!("{is:?}, not {was:?}"))
}

fn sound(session: &Session, scenario: &Scenario, view: &View) -> Check {
    session.shows(view)?;
    session.clean()?;
    whole(session, scenario)
}

fn recovered(session: &mut Session, scenario: &Scenario, view: &View) -> Check {
    let left = session.recover().map_err(|err| format!("recovery fails: {err:?}"))?;
    sound(session, scenario, view)?;
    ensure(left == 0, || "ops stay open".to_owned())
}

/// The scenario killed at each call.
fn runs_killed(scenario: &Scenario) -> impl Iterator<Item = (usize, Session)> {
    (1..).map_while(move |n| Some((n, killed(scenario, n)?)))
}

fn done(session: &Session) -> usize {
    session.outcomes.iter().filter(|(_, how)| matches!(how, Outcome::Done { .. })).count()
}

#[test]
fn each_duplicate_becomes_a_file_of_its_own_and_an_undo_brings_it_back() {
    for scenario in scenarios() {
        let mut session = Session::new(&scenario);
        let view = session.view();
        session.run(&scenario.ops).unwrap();
        assert_eq!(done(&session), scenario.ops.len(), "{}", session.told());
        sound(&session, &scenario, &view).unwrap();
        for op in scenario.ops.iter().filter(|op| op.reflinks()) {
            let gone = own(op).iter().all(|at| !session.world.names().contains_key(at));
            assert!(gone, "{}: {}", scenario.name, session.told());
        }
        let mut undo = session.next();
        undo.world.fs().pause(std::time::Duration::from_secs(60));
        assert_eq!(undo.undo().unwrap(), scenario.ops.len(), "{}", undo.told());
        undo.shows(&view).and_then(|()| undo.clean()).unwrap();
        for at in scenario.ops.iter().flat_map(own) {
            let (old, new) = (&scenario.world.names()[&at], &undo.world.names()[&at]);
            let look = |stat: &Stat| (stat.uid, stat.gid, stat.mode, stat.mtime, stat.nlink);
            assert_eq!(look(old), look(new), "{}: {at:?}", scenario.name);
        }
    }
}

#[test]
fn after_a_kill_or_a_power_loss_at_any_call_everything_is_there() {
    let mut failures = Failures::default();
    for scenario in scenarios() {
        let view = Session::new(&scenario).view();
        for (n, session) in runs_killed(&scenario) {
            let point = || format!("killed at {n}");
            let group = format!("{}, killed", scenario.name);
            failures.note(session.shows(&view), &group, point, &session);
            let mut next = session.next();
            let check = recovered(&mut next, &scenario, &view);
            failures.note(check, &group, point, &next);
            for (i, loss) in session.world.power_loss_choices(6).enumerate() {
                let kept = [Kept::Nothing, Kept::Everything, Kept::Torn][i % 3];
                let mut next = session.after_power_loss(&loss, kept);
                let point = || format!("power lost at {n}, {loss:?}, journal {kept:?}");
                let group = format!("{}, power lost", scenario.name);
                failures.note(next.shows(&view), &group, point, &next);
                let check = recovered(&mut next, &scenario, &view);
                failures.note(check, &group, point, &next);
            }
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn after_an_error_at_any_call_everything_is_there() {
    let mut failures = Failures::default();
    for scenario in scenarios() {
        let view = Session::new(&scenario).view();
        for (first, errno) in [(1, EIO), (2, ENOSPC), (3, EOPNOTSUPP)] {
            for n in (first..).step_by(3) {
                let mut session = Session::new(&scenario);
                session.world.plan_fault(Fault::ErrorAt(n, errno));
                drop(session.run(&scenario.ops));
                if session.world.calls() < n {
                    break;
                }
                let point = || format!("{} at {n}", std::io::Error::from_raw_os_error(errno));
                failures.note(session.shows(&view), scenario.name, point, &session);
                let lost = PowerLoss::nothing_kept(&session.world);
                for mut next in [session.next(), session.after_power_loss(&lost, Kept::Nothing)] {
                    let check = recovered(&mut next, &scenario, &view);
                    failures.note(check, scenario.name, point, &next);
                }
            }
        }
    }
    assert!(failures.points() > 1000);
}

/// A scenario whose run has ended some time ago.
pub(super) fn cloned(scenario: &Scenario) -> Session {
    let mut session = Session::new(scenario);
    session.run(&scenario.ops).unwrap();
    assert_eq!(done(&session), scenario.ops.len(), "{}", session.told());
    session.world.sync_all();
    let next = session.next();
    next.world.fs().pause(Duration::from_secs(60));
    next
}

/// Each duplicate is back where it was, with all of its own.
fn back(session: &Session, scenario: &Scenario, view: &View) -> Check {
    session.shows(view)?;
    session.clean()?;
    let (before, after) = (scenario.world.names(), session.world.names());
    for at in scenario.ops.iter().flat_map(own) {
        let Some(now) = after.get(&at) else { return Err(format!("{at:?} is not back")) };
        let look = |stat: &Stat| (stat.uid, stat.gid, stat.mode, stat.mtime, stat.nlink);
        ensure(look(&before[&at]) == look(now), || format!("{at:?} is another file: {now:?}"))?;
    }
    Ok(())
}

#[test]
fn an_undo_that_is_cut_at_any_call_is_finished_and_can_be_undone() {
    let mut failures = Failures::default();
    for scenario in scenarios() {
        let begun = cloned(&scenario);
        let view = begun.view();
        let again = |next: &mut Session| {
            let left = next.recover().map_err(|err| format!("recovery fails: {err:?}"))?;
            ensure(left == 0, || "ops stay open".to_owned())?;
            next.shows(&view)?;
            next.clean()?;
            next.undo().map_err(|err| format!("undo again fails: {err:?}"))?;
            back(next, &scenario, &view)
        };
        for n in 1.. {
            let mut undo = begun.next();
            undo.world.plan_fault(Fault::DieAt(n));
            drop(undo.undo());
            if !undo.world.died() {
                break;
            }
            let point = || format!("killed at {n}");
            failures.note(undo.keeps(&view), scenario.name, point, &undo);
            let mut next = undo.next();
            failures.note(again(&mut next), scenario.name, point, &next);
            for (i, loss) in undo.world.power_loss_choices(2).enumerate() {
                let kept = [Kept::Nothing, Kept::Everything, Kept::Torn][i % 3];
                let mut next = undo.after_power_loss(&loss, kept);
                let point = || format!("power lost at {n}, {loss:?}, journal {kept:?}");
                failures.note(next.keeps(&view), scenario.name, point, &next);
                failures.note(again(&mut next), scenario.name, point, &next);
            }
        }
        let mut undo = begun.next();
        undo.undo().unwrap();
        let mut redo = undo.next();
        redo.world.fs().pause(Duration::from_secs(60));
        assert_eq!(redo.undo_run(2).unwrap(), scenario.ops.len(), "{}", redo.told());
        let check = sound(&redo, &scenario, &view);
        failures.note(check, "undone again", || scenario.name.to_owned(), &redo);
        for op in scenario.ops.iter().filter(|op| op.reflinks()) {
            let gone = own(op).iter().all(|at| !redo.world.names().contains_key(at));
            assert!(gone, "{}: {}", scenario.name, redo.told());
        }
    }
    assert!(failures.points() > 1000);
}

/// A clone is a file of its own: what became of it since is not taken back.
#[test]
fn an_undo_gives_back_a_clone_as_it_is_by_now() {
    let scenario = reflinked(scenario::link_set());
    let mut session = cloned(&scenario);
    session.world.client_chmod(&scenario.duplicate.path, 0o600).unwrap();
    session.world.client_setxattr(&scenario.duplicate.path, b"user.new", b"1").unwrap();
    assert_eq!(session.undo().unwrap(), 1, "{}", session.told());
    let stat = &session.world.names()[&scenario.duplicate];
    assert_eq!((stat.mode & 0o7777, stat.uid, stat.nlink), (0o600, 7, 3), "{}", session.told());
    let fork = session.world.fork();
    let file = fork.fs().open(&scenario.duplicate).unwrap();
    let xattrs = fork.fs().metadata(&file).unwrap().xattrs;
    assert_eq!(xattrs.keys().collect::<Vec<_>>(), [&b"user.new"[..], b"user.own"]);
}

#[test]
fn a_clone_that_was_linked_since_stays() {
    let scenario = reflinked(scenario::cross());
    let mut session = cloned(&scenario);
    let link = RelPath::new("d/link").unwrap();
    session.world.client_link(&scenario.duplicate.path, &link).unwrap();
    let before = session.world.files();
    assert_eq!(session.undo().unwrap(), 0, "{}", session.told());
    assert_eq!(session.world.files(), before);
}

#[test]
fn a_journal_that_is_lost_at_any_call_costs_nothing_and_leaves_no_hidden_name() {
    let mut failures = Failures::default();
    for scenario in scenarios() {
        let view = Session::new(&scenario).view();
        for (n, session) in runs_killed(&scenario) {
            for left in LEFT {
                let (mut next, plan) = salvaged(&session, left);
                let before = next.told();
                let check = next.recover().map_err(|err| format!("recovery fails: {err:?}"));
                let check = check
                    .and_then(|open| ensure(open == 0, || "ops stay open".to_owned()))
                    .and_then(|()| next.shows(&view))
                    .and_then(|()| match left {
                        Left::LogAndId | Left::Log => next.clean(),
                        // Where a clone belongs that is hidden in another directory than its path is not known.
                        Left::Id | Left::Nothing => Ok(()),
                    })
                    .and_then(|()| whole(&next, &scenario))
                    .and_then(|()| {
                        let told = plan.left.len() == hidden(&next).len();
                        ensure(told, || format!("{} are left", hidden(&next).len()))
                    });
                let group = format!("{} {left:?}", scenario.name);
                let point = || format!("killed at {n}: {plan:#?}\n{before}\nthen");
                failures.note(check, &group, point, &next);
            }
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn a_kept_copy_that_a_program_writes_to_is_not_cloned() {
    let scenario = reflinked(scenario::cross());
    let mut busy = 0;
    each_call(|n| {
        let mut session = Session::new(&scenario);
        let path = scenario.master.path.clone();
        session.world.plan_fault(Fault::foreign_at(n, move |world| {
            world.client_open_write(&path).unwrap();
        }));
        session.run(&scenario.ops).unwrap();
        let trace = session.world.trace();
        let Outcome::NotDone(halt) = &session.outcomes[0].1 else {
            // One that comes once we have the lease waits.
            let clone = trace.iter().position(|line| line.contains(" clone ")).unwrap();
            let lease = |line: &String| line.contains("take a read lease on 0:m/master");
            let made = trace.iter().position(|line| line.contains(" create ")).unwrap();
            let leased = made + trace[made..clone].iter().position(lease).unwrap();
            let client = trace.iter().position(|line| line.contains("client: "));
            assert!(client.is_none_or(|client| client > leased), "{}", session.told());
            return session.world.calls();
        };
        assert_eq!(halt.reason, Reason::Busy, "{}", session.told());
        session.clean().unwrap();
        busy += 1;
        session.world.calls()
    });
    assert!(busy > 10, "{busy}");
}

#[test]
fn a_write_to_the_kept_copy_is_no_damage_and_no_difference_of_the_disks() {
    let scenario = reflinked(scenario::cross());
    let mut changed = 0;
    each_call(|n| {
        let mut session = Session::new(&scenario);
        let path = scenario.master.path.clone();
        session.world.plan_fault(Fault::foreign_at(n, move |world| {
            world.client_write(&path, b"OTHER BYTES...").unwrap();
        }));
        session.run(&scenario.ops).unwrap();
        let bytes = session.world.files()[&scenario.master].1.clone();
        assert!(session.world.calls() < n || bytes == b"OTHER BYTES...", "{}", session.told());
        if let Outcome::NotDone(halt) = &session.outcomes[0].1 {
            let told = matches!(halt.reason, Reason::Changed | Reason::Busy);
            // Before the comparison it is another file.
            let compared = session.world.trace().iter().any(|line| line.contains(" create "));
            assert!(told || !compared, "{halt}: {}", session.told());
            changed += usize::from(compared);
        }
        session.clean().unwrap();
        session.world.calls()
    });
    assert!(changed > 0);
}

#[test]
fn a_clone_that_was_not_complete_when_the_run_was_stopped_is_made_by_the_next_run() {
    let scenario = reflinked(scenario::cross());
    let mut unmade = 0;
    for (_, session) in runs_killed(&scenario) {
        let journal = Journal::open(session.store.after_kill()).unwrap();
        let open = journal.open_ops();
        let is_unmade = |open: &OpenOp| open.undo.as_ref().is_some_and(|made| !made.copied);
        let mut next = session.next();
        next.recover().unwrap();
        if open.first().is_some_and(is_unmade) {
            let Outcome::NotDone(halt) = &next.outcomes[0].1 else { panic!("{}", next.told()) };
            assert!(!next.world.trace().iter().any(|line| line.contains(" clone ")));
            unmade += usize::from(halt.reason == Reason::Interrupted);
        }
    }
    assert!(unmade > 10, "{unmade}");
}

/// A program links the path, which is the clone's, and changes the hidden duplicate, so that this gets its path back.
#[test]
fn a_link_of_a_clone_that_loses_its_path_is_told() {
    let scenario = reflinked(scenario::cross());
    let (path, link) = (&scenario.duplicate.path, RelPath::new("d/link").unwrap());
    let mut parted = 0;
    for (n, session) in runs_killed(&scenario) {
        let mut next = session.next();
        let retired = |at: &Place| at.path.as_bytes().ends_with(b"-r");
        let Some(hidden) = next.world.files().into_keys().find(retired) else { continue };
        next.world.client_link(path, &link).unwrap();
        next.world.client_chmod(&hidden.path, 0o600).unwrap();
        next.world.fs().pause(Duration::from_secs(10));
        next.recover().unwrap();
        let files = next.world.files();
        let inode = |path: &RelPath| files.iter().find(|(at, _)| at.path == *path).unwrap().1.0;
        if inode(path) != inode(&link) {
            let told = matches!(&next.outcomes[0].1, Outcome::Conflict(_, left)
                if left.iter().any(|at| at.path == link));
            assert!(told, "killed at {n}: {}", next.told());
            parted += 1;
        }
    }
    assert!(parted > 0);
}

/// The kept copy has the contents, so a clone that no path leads to is not the last copy.
#[test]
fn a_path_that_is_removed_before_a_resume_takes_its_clone_along() {
    let scenario = reflinked(scenario::cross());
    let mut failures = Failures::default();
    for (n, session) in runs_killed(&scenario) {
        let mut next = session.next();
        next.world.client_remove(&scenario.duplicate.path).unwrap();
        let view = next.view();
        let left = next.recover().map_err(|err| format!("recovery fails: {err:?}"));
        let check = left
            .and_then(|left| ensure(left == 0, || "ops stay open".to_owned()))
            .and_then(|()| next.shows(&view))
            .and_then(|()| next.clean());
        failures.note(check, "removed", || format!("killed at {n}"), &next);
    }
    assert!(failures.points() > 100);
}

#[test]
fn a_link_replaces_what_a_disk_cannot_clone_where_the_user_agrees() {
    let mut scenario = scenario::cross();
    scenario.ops[0].task = Task::Reflink(Cloning { or_link: true, ..Cloning::default() });
    let mut session = Session::new(&scenario);
    let view = session.view();
    session.world.plan_fault(Fault::ErrorsFrom(1, "clone", EOPNOTSUPP));
    session.run(&scenario.ops).unwrap();
    assert_eq!(done(&session), 1, "{}", session.told());
    session.sound(&scenario, &view).unwrap();
    let files = session.world.files();
    let replaced = Place::new(scenario.master.branch, scenario.duplicate.path.clone());
    assert_eq!(files[&replaced].0, files[&scenario.master].0);
}

#[test]
fn a_disk_that_cannot_clone_is_a_reason_and_leaves_nothing() {
    let scenario = reflinked(scenario::cross());
    let mut session = Session::new(&scenario);
    let view = session.view();
    session.world.plan_fault(Fault::ErrorsFrom(1, "clone", EOPNOTSUPP));
    session.run(&scenario.ops).unwrap();
    let Outcome::NotDone(halt) = &session.outcomes[0].1 else { panic!("{}", session.told()) };
    assert_eq!(halt.reason, Reason::NoReflink);
    sound(&session, &scenario, &view).unwrap();
}
