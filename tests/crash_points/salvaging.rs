//! The journal is lost after a cut at any call: what its log and the hidden names tell is enough.

use mergerfs_xdedup::execute::{remove_if_empty, sync_dirs};
use mergerfs_xdedup::fs::sim::{Fault, PowerLoss};
use mergerfs_xdedup::fs::{Change, FsError, Look, Metadata, Place};
use mergerfs_xdedup::journal::mem_store::{Kept, MemStore};
use mergerfs_xdedup::journal::{Journal, Logged, Record, read_log};
use mergerfs_xdedup::plan::hidden_name::is_hidden_name;
use mergerfs_xdedup::plan::metadata::IgnoreMetadata;
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::rescue::salvage::{self, Lost, Salvage, What, Why};

use super::deaths::killed;
use super::scenario::{self, Scenario};
use super::session::{Check, Failures, Session, View, ensure};

/// What is left of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The log, and the id in the mark file.
    LogAndId,
    /// The log alone.
    Log,
    /// The mark file's id: the log is gone.
    Id,
    /// Nothing.
    Nothing,
}

pub(super) const LEFT: [Left; 4] = [Left::LogAndId, Left::Log, Left::Id, Left::Nothing];

/// The hidden names, none of those below a hidden directory.
pub(super) fn hidden(session: &Session) -> Vec<Place> {
    let names = session.world.fork().names();
    let last = |at: &&Place| {
        let hidden = |part: &[u8]| is_hidden_name(part);
        let mut parts = at.path.as_bytes().split(|b| *b == b'/').map(hidden).rev();
        parts.next() == Some(true) && parts.all(|hidden| !hidden)
    };
    names.keys().filter(last).cloned().collect()
}

pub(super) fn logged(session: &Session, left: Left) -> Logged {
    match left {
        Left::LogAndId | Left::Log => read_log(&session.store.after_kill().csv()).unwrap(),
        Left::Id | Left::Nothing => Logged::default(),
    }
}

pub(super) fn planned(session: &Session, logged: &Logged, id: Option<u32>) -> (Lost, Salvage) {
    plan_again(&session.next(), logged, id, &hidden(session)).unwrap()
}

/// The plan that a process makes, which may be disturbed.
pub(super) fn plan_again(
    session: &Session,
    logged: &Logged,
    id: Option<u32>,
    hidden: &[Place],
) -> Result<(Lost, Salvage), FsError> {
    let options = session.options();
    let path = |at: &Place| options.branches[at.branch.index()].path.join(at.path.as_path());
    let paths: Vec<_> = hidden.iter().map(path).collect();
    let lost = Lost {
        mount: "/pool".into(),
        branches: options.branches,
        newest_dirs: false,
        journal: id.or_else(|| salvage::journal_of(&logged.open, &paths)),
        ignore: IgnoreMetadata::default(),
    };
    let plan = salvage::plan(&session.world.fs(), &lost, &logged.open, hidden)?;
    Ok((lost, plan))
}

/// The store of a process that has no journal.
pub(super) fn no_journal() -> MemStore {
    MemStore::new(99)
}

/// The next process, after the salvage put a new journal in place.
pub(super) fn salvaged(session: &Session, left: Left) -> (Session, Salvage) {
    let logged = logged(session, left);
    let id = [Left::LogAndId, Left::Id].contains(&left).then_some(7);
    let (lost, plan) = planned(session, &logged, id);
    let (next, gone) = salvage_as_planned(session, &lost, &plan);
    assert!(gone, "a directory of ours stays");
    (next, plan)
}

/// The same of a plan; and whether every hidden directory went.
pub(super) fn salvage_as_planned(
    session: &Session,
    lost: &Lost,
    plan: &Salvage,
) -> (Session, bool) {
    let next = session.next();
    let mut gone = true;
    for dir in &plan.dirs {
        gone &= remove_if_empty(&next.world.fs(), dir).unwrap();
    }
    sync_dirs(&next.world.fs(), &plan.settle).unwrap();
    let store = MemStore::new(lost.journal.unwrap_or(99));
    let mut journal = Journal::open(store.handle()).unwrap();
    let now = next.world.fs().now();
    let mut run = 0;
    for record in salvage::records(&[(lost, plan)], 0, now) {
        if let Record::RunStarted(started) = &record {
            // In memory, runs are numbered without gaps.
            while run + 1 < started.run {
                run += 1;
                let mut gap = started.clone();
                gap.run = run;
                journal.record(&[Record::RunStarted(gap)], now).unwrap();
            }
            run = started.run;
        }
        journal.record(&[record], now).unwrap();
    }
    drop(journal);
    (next.next_with(&store), gone)
}

/// Ends what the salvage found, and checks what must hold then.
fn ends(session: &mut Session, scenario: &Scenario, view: &View, left: Left) -> Check {
    let open = session.recover().map_err(|err| format!("recovery fails: {err:?}"))?;
    ensure(open == 0, || "ops stay open".to_owned())?;
    session.shows(view)?;
    session.clean()?;
    match left {
        Left::LogAndId | Left::Log => session.sound(scenario, view),
        // Which paths were on their way is not known: one may be on two branches, with the same bytes.
        Left::Id | Left::Nothing => Ok(()),
    }
}

#[test]
fn a_journal_lost_at_any_call_costs_nothing_and_leaves_no_hidden_name() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            for left in LEFT {
                let group = format!("{} {left:?}", scenario.name);
                let (mut next, plan) = salvaged(&session, left);
                let before = next.told();
                let check = ends(&mut next, &scenario, &view, left);
                let check = check
                    .and_then(|()| ensure(plan.left.is_empty(), || format!("{:?}", plan.left)));
                let point = || format!("killed at {n}: {plan:#?}\n{before}\nthen");
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
    }
    assert!(failures.points() > 2_000);
}

#[test]
fn nor_does_one_lost_by_a_power_cut() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let losses = session.world.power_loss_choices(6);
            for (i, loss) in losses.enumerate() {
                let kept = [Kept::Nothing, Kept::Everything, Kept::Torn][i % 3];
                let lost = session.after_power_loss(&loss, kept);
                let left = LEFT[(i + n) % LEFT.len()];
                let (mut next, plan) = salvaged(&lost, left);
                let before = next.told();
                let check = ends(&mut next, &scenario, &view, left);
                let group = format!("{} {left:?}", scenario.name);
                let point = || format!("cut at {n}, {loss:?} {kept:?}: {plan:#?}\n{before}\nthen");
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
    }
    assert!(failures.points() > 5_000);
}

#[test]
fn what_a_salvage_began_is_finished_by_resume_wherever_it_is_killed() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let left = LEFT[n % LEFT.len()];
            let (first, plan) = salvaged(&session, left);
            let mut m = 1 + n % 7;
            loop {
                let mut second = first.next();
                second.world.plan_fault(Fault::DieAt(m));
                if second.recover().is_ok() && !second.world.died() {
                    break;
                }
                let group = format!("{} {left:?}", scenario.name);
                let point = || format!("killed at {n}, salvage at {m}: {plan:#?}");
                failures.note(second.keeps(&view), &group, point, &second);
                let mut third = second.next();
                let check = ends(&mut third, &scenario, &view, left);
                failures.note(check, &group, point, &third);
                m += 7;
            }
            n += 3;
        }
    }
    assert!(failures.points() > 500);
}

/// A salvage lost in its turn begins again: the new log has all that the old one had.
#[test]
fn a_salvage_whose_own_journal_is_lost_is_salvaged() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let (first, _) = salvaged(&session, Left::LogAndId);
            let mut m = 2 + n % 11;
            loop {
                let mut second = first.next();
                second.world.plan_fault(Fault::DieAt(m));
                if second.recover().is_ok() && !second.world.died() {
                    break;
                }
                let (mut third, plan) = salvaged(&second, Left::LogAndId);
                let check = ends(&mut third, &scenario, &view, Left::LogAndId);
                let point = || format!("killed at {n}, salvage at {m}: {plan:#?}");
                failures.note(check, scenario.name, point, &third);
                m += 11;
            }
            n += 5;
        }
    }
    assert!(failures.points() > 200);
}

/// After an undo was cut, the paths may be on two branches with the same bytes; nothing is lost, nothing hidden stays.
#[test]
fn the_journal_of_an_undo_may_be_lost_too() {
    let mut failures = Failures::default();
    for scenario in scenario::undoable() {
        let mut done = Session::new(&scenario);
        let view = done.view();
        done.run(&scenario.ops).unwrap();
        done.world.sync_all();
        let fs = done.next();
        fs.world.fs().pause(std::time::Duration::from_secs(60));
        let mut n = 1;
        loop {
            let mut undo = fs.next();
            undo.world.plan_fault(Fault::DieAt(n));
            let result = undo.undo();
            if !undo.world.died() {
                result.unwrap();
                break;
            }
            for left in LEFT {
                let (mut next, plan) = salvaged(&undo, left);
                let before = next.told();
                let open = next.recover().map_err(|err| format!("{err:?}"));
                let check = open.and_then(|open| ensure(open == 0, || "open".to_owned()));
                let check = check.and_then(|()| next.shows(&view)).and_then(|()| {
                    // Without the log, names of two files that are exchanged one by one cannot always be told apart.
                    let told = plan.left.len() == hidden(&next).len();
                    ensure(told, || format!("{} are left", hidden(&next).len()))
                });
                let check = check.and_then(|()| match left {
                    Left::LogAndId | Left::Log => next.clean(),
                    Left::Id | Left::Nothing => Ok(()),
                });
                let group = format!("{} {left:?}", scenario.name);
                let point = || format!("killed at {n}: {plan:#?}\n{before}\nthen");
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
        assert!(n > 20, "{}: {n} calls", scenario.name);
    }
}

/// The last of a power loss: nothing that was not synced is there, and the journal neither.
#[test]
fn a_power_cut_after_the_salvage_ended_takes_nothing_back() {
    let mut failures = Failures::default();
    for scenario in scenario::all() {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            let (mut next, _) = salvaged(&session, LEFT[n % 2]);
            next.recover().unwrap();
            let lost = PowerLoss::nothing_kept(&next.world);
            let after = next.after_power_loss(&lost, Kept::Nothing);
            let check = after.shows(&view).and_then(|()| after.clean());
            failures.note(check, scenario.name, || format!("killed at {n}"), &after);
            n += 3;
        }
    }
}

/// What somebody without privileges can put under a hidden name of the op that is open.
#[derive(Debug, Clone, Copy)]
enum Planted {
    Other,
    Equal,
    Beginning,
    Empty,
    LinkTo(&'static str),
    Directory,
}

/// Whoever can write in a directory can make a hidden name in it: nothing else may come to harm.
#[test]
fn a_planted_name_costs_nobody_anything() {
    let planted = [
        Planted::Other,
        Planted::Equal,
        Planted::Beginning,
        Planted::Empty,
        Planted::LinkTo("d/victim"),
        Planted::LinkTo("d/dup"),
        Planted::Directory,
    ];
    let mut failures = Failures::default();
    for scenario in [scenario::cross(), scenario::local()] {
        let at = &scenario.duplicate;
        let victim = Place::new(at.branch, at.path.sibling("victim").unwrap());
        scenario.world.add_file(&victim, b"the only one");
        let mut n = 1;
        while let Some(session) = killed(&scenario, n) {
            for (what, role) in
                planted.into_iter().flat_map(|p| "rtwcd".chars().map(move |r| (p, r)))
            {
                let scene = session.next();
                let name = format!(".xdedup-00000007-00000001-00000001-00000000-{role}");
                let name = Place::new(at.branch, at.path.sibling(name).unwrap());
                if !plant(&scene, &name, what) {
                    continue;
                }
                let before = scene.world.files();
                let view = scene.view();
                let left = LEFT[n % LEFT.len()];
                let (lost, plan) = planned(&scene, &logged(&scene, left), Some(7));
                let (mut next, _) = salvage_as_planned(&scene, &lost, &plan);
                let check = next.recover().map(drop).map_err(|err| format!("{err:?}"));
                let check = check.and_then(|()| next.keeps(&view)).and_then(|()| {
                    let after = next.world.files();
                    let mut bytes = before.values().map(|(_, bytes)| bytes);
                    let lost = bytes.find(|bytes| {
                        // The beginning of a file that is there, or nothing at all, is no loss.
                        !after.values().any(|(_, there)| there.starts_with(bytes))
                    });
                    ensure(lost.is_none(), || format!("no name left of {lost:?}"))
                });
                let check = check.and_then(|()| {
                    let there = next.world.files().contains_key(&victim);
                    ensure(there, || "the victim's file is gone".to_owned())
                });
                let group = format!("{} {left:?} {what:?} {role}", scenario.name);
                let point = || format!("killed at {n}: {plan:#?}");
                failures.note(check, &group, point, &next);
            }
            n += 1;
        }
    }
    assert!(failures.points() > 1_000);
}

fn plant(session: &Session, at: &Place, what: Planted) -> bool {
    let world = &session.world;
    if world.names().contains_key(at) {
        return false;
    }
    match what {
        Planted::Other => {
            world.add_file(at, b"somebody else's");
        }
        Planted::Equal => {
            world.add_file(at, scenario::BYTES);
        }
        Planted::Beginning => {
            world.add_file(at, &scenario::BYTES[..5]);
        }
        Planted::Empty => {
            world.add_file(at, b"");
        }
        Planted::Directory => {
            let inner = Place::new(at.branch, at.path.join("inner").unwrap());
            world.add_file(&inner, b"inside");
        }
        Planted::LinkTo(victim) => {
            let victim = Place::new(at.branch, RelPath::new(victim).unwrap());
            if !world.names().contains_key(&victim) {
                return false;
            }
            world.add_link(&victim, at);
        }
    }
    true
}

#[test]
fn what_is_another_journals_or_nobodys_is_left_and_told() {
    let scenario = scenario::cross();
    let at = |name: &str| {
        let duplicate = &scenario.duplicate;
        Place::new(duplicate.branch, duplicate.path.sibling(name).unwrap())
    };
    let names = [
        ".xdedup-00000008-00000001-00000001-00000000-r",
        ".xdedup-precious",
        ".xdedup-00000007-00000001-00000009-00000000-r",
        ".xdedup-00000007-00000001-00000008-ffffffff-r",
        // The next run would have no number.
        ".xdedup-00000007-ffffffffffffffff-00000001-00000000-r",
    ];
    for name in names {
        scenario.world.add_file(&at(name), name.as_bytes());
    }
    let session = Session::new(&scenario);
    let (_, plan) = planned(&session, &Logged::default(), Some(7));
    let why: Vec<_> = plan.left.iter().map(|left| left.why).collect();
    assert!(plan.ops.is_empty());
    assert_eq!(
        why,
        [Why::NotOurs, Why::OtherJournal(8), Why::NotOurs, Why::NotOurs, Why::NoEqual,]
    );
    // Where no journal can be told, each may be another's.
    let (_, plan) = planned(&session, &Logged::default(), None);
    assert!(plan.ops.is_empty() && plan.left.len() == 5);
}

/// A replacement of another owner was accepted by the run, perhaps; the log does not tell.
#[test]
fn a_copy_of_another_owner_is_kept_unless_that_is_accepted() {
    let scenario = scenario::cross();
    let mut n = 1;
    let session = loop {
        let session = killed(&scenario, n).unwrap();
        if hidden(&session).iter().any(|at| at.path.as_bytes().ends_with(b"-r")) {
            break session;
        }
        n += 1;
    };
    let owner = Metadata { uid: 77, mode: 0o644, ..Metadata::default() };
    session.world.set_metadata(&scenario.master, owner);
    let (mut lost, plan) = planned(&session, &logged(&session, Left::Log), Some(7));
    assert!(plan.ops.is_empty());
    assert_eq!(plan.left[0].why, Why::MetadataDiffers);
    lost.ignore.owner = true;
    let fork = session.world.fork();
    let log = logged(&session, Left::Log);
    let plan = salvage::plan(&fork.fs(), &lost, &log.open, &hidden(&session)).unwrap();
    assert_eq!(plan.ops[0].what, What::Finish);
}

/// The replacement was lost with the master: the old copy has the only bytes there are, and gets its path back.
#[test]
fn the_only_copy_gets_its_path_back() {
    let scenario = scenario::cross();
    let view = Session::new(&scenario).view();
    let mut n = 1;
    let session = loop {
        let session = killed(&scenario, n).unwrap();
        if hidden(&session).iter().any(|at| at.path.as_bytes().ends_with(b"-r")) {
            break session;
        }
        n += 1;
    };
    let session = session.next();
    let fs = session.world.fs();
    let replacement = Place::new(scenario.master.branch, scenario.duplicate.path.clone());
    fs.unlink(&replacement).unwrap();
    fs.unlink(&scenario.master).unwrap();
    let (mut next, plan) = salvaged(&session, Left::Log);
    assert_eq!(plan.ops[0].what, What::PutBack);
    assert_eq!(next.recover().unwrap(), 0);
    next.clean().unwrap();
    let path = &scenario.duplicate.path;
    assert_eq!(next.view().get(path), view.get(path));
}

#[test]
fn two_pools_have_no_run_in_common() {
    let scenario = scenario::cross();
    let mut n = 1;
    let mut plan = loop {
        let session = killed(&scenario, n).unwrap();
        let (_, plan) = planned(&session, &logged(&session, Left::Log), Some(7));
        if !plan.ops.is_empty() {
            break plan;
        }
        n += 1;
    };
    let mut other = plan.clone();
    salvage::keep_apart(&mut [&mut plan, &mut other]);
    assert_eq!((plan.ops.len(), plan.left.len()), (1, 0));
    assert!(other.ops.is_empty());
    let why: Vec<_> = other.left.iter().map(|left| left.why).collect();
    assert_eq!(why, [Why::Unclear]);
}
