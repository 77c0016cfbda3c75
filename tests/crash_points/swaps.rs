//! Directories that a client swaps while `resume --from-log` links a lost path again, or while `resume --salvage` looks
//! for the files of a lost journal: at every call, for another directory and for a symlink.

use std::collections::{BTreeMap, BTreeSet};

use mergerfs_xdedup::fs::sim::{Fault, SimWorld, place};
use mergerfs_xdedup::fs::{InodeId, Place, Stat};
use mergerfs_xdedup::pool::BranchIdx;
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::rescue::old_script::{Relinked, Relinker};

use super::deaths::killed;
use super::salvaging::{LEFT, hidden, logged, plan_again, salvage_as_planned};
use super::scenario;
use super::session::{Check, Failures, Session, ensure, is_hidden};

/// What has the path of the directory afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swap {
    /// The directory `s`.
    Directory,
    /// A symlink to `s`.
    Symlink,
    /// The directory `s`, and then the first one again.
    AndBack,
}

const SWAPS: [Swap; 3] = [Swap::Directory, Swap::Symlink, Swap::AndBack];

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

/// Swaps `dir` through the pool, on every branch that has it.
fn swap(world: &SimWorld, dir: &RelPath, how: Swap) {
    let (aside, other) = (path("aside"), path("s"));
    world.client_rename(dir, &aside).unwrap();
    match how {
        // The tool may have made the directory anew by now.
        Swap::Directory => drop(world.client_rename(&other, dir)),
        Swap::Symlink => {
            let first = world.pool().indices().next().unwrap();
            drop(world.client_symlink(&other, &Place::new(first, dir.clone())));
        }
        Swap::AndBack => {
            if world.client_rename(&other, dir).is_ok() {
                world.client_rename(dir, &other).unwrap();
            }
            drop(world.client_rename(&aside, dir));
        }
    }
}

/// Everything in the directories `ids`, wherever they are, by the path within.
fn contents(world: &SimWorld, ids: &BTreeSet<InodeId>) -> BTreeMap<(InodeId, Vec<u8>), Stat> {
    let names = world.names();
    let dirs: Vec<_> = names.iter().filter(|(_, stat)| ids.contains(&stat.id)).collect();
    let mut all = BTreeMap::new();
    for (dir, of) in dirs {
        let mut dir_itself = of.clone();
        // The client's own rename moves it.
        dir_itself.ctime = of.mtime;
        all.insert((of.id, Vec::new()), dir_itself);
        for (at, stat) in &names {
            if at.branch == dir.branch && at.path != dir.path && at.path.is_below(&dir.path) {
                let within = at.path.as_bytes()[dir.path.as_bytes().len()..].to_vec();
                all.insert((of.id, within), stat.clone());
            }
        }
    }
    all
}

/// The directories that are swapped in.
fn strangers(world: &SimWorld) -> BTreeSet<InodeId> {
    let names = world.names().into_iter();
    names.filter(|(at, _)| at.path == path("s")).map(|(_, stat)| stat.id).collect()
}

/// Adds the directories `s`, with names in them that the tool looks for elsewhere.
fn add_strangers(world: &SimWorld) {
    for branch in world.pool().indices() {
        for (n, name) in ["s/dup", "s/x", "s/f/other", "s/master"].into_iter().enumerate() {
            world.add_file(&place(branch, name), format!("strange {n} {}", branch.0).as_bytes());
        }
    }
}

/// Every inode that was there has a name, and its bytes.
fn nothing_lost(before: &SimWorld, now: &SimWorld) -> Check {
    let now: BTreeMap<InodeId, Vec<u8>> = now.files().into_values().collect();
    let mut lost = before.files().into_iter().filter(|(_, (id, bytes))| now.get(id) != Some(bytes));
    let lost = lost.next();
    ensure(lost.is_none(), || format!("{lost:?} is lost"))
}

/// A pool whose script lost `lost`: its directory is on the kept copy's branch, or not.
fn replayed(dir_there: bool) -> SimWorld {
    let world = SimWorld::new();
    let [a, b] = scenario::branches(&world);
    scenario::add(&world, &place(a, "m/x"));
    world.add_file(&place(b, "d/f/other"), b"other");
    world.add_file(&place(b, "d/other"), b"another");
    if dir_there {
        world.add_dir(&place(a, "d/f"));
    }
    add_strangers(&world);
    world
}

#[test]
fn a_directory_swapped_while_a_log_is_replayed_gets_no_name() {
    let mut failures = Failures::default();
    let mut linked = 0;
    for (dir_there, lost) in
        [(true, "d/lost"), (false, "d/lost"), (true, "d/f/lost"), (false, "d/f/lost")]
    {
        let scene = replayed(dir_there);
        let ids = strangers(&scene);
        for (dir, how) in ["d", "m"].into_iter().flat_map(|d| SWAPS.map(|how| (d, how))) {
            for n in 1.. {
                let session = Session::over(scene.fork(), &super::salvaging::no_journal(), 100);
                let dir = path(dir);
                session.world.plan_fault(Fault::foreign_at(n, move |w| swap(w, &dir, how)));
                let (fs, pool) = (session.world.fs(), session.world.pool());
                let mut relinker = Relinker::new(&fs, &pool);
                let size = scenario::BYTES.len() as u64;
                relinker.group(Some(size), vec![path("m/x"), path(lost)]);
                let became = relinker.relink(&path(lost));
                let world = &session.world;
                if world.calls() < n {
                    assert!(matches!(became, Relinked::Linked(_)), "{became:?}");
                    assert!(n > 10, "{n} calls");
                    break;
                }
                let check = nothing_lost(&scene, world).and_then(|()| {
                    // Before the first call it is simply the directory that is there.
                    let same = n == 1 || contents(world, &ids) == contents(&scene, &ids);
                    ensure(same, || "the other directory was changed".to_owned())?;
                    let ours = world.names().into_keys().find(|at| is_hidden(&at.path));
                    ensure(ours.is_none(), || format!("{ours:?} is left"))?;
                    if matches!(became, Relinked::Linked(_)) {
                        linked += 1;
                        let there = world.pool_view().get(&path(lost)).cloned();
                        ensure(there.as_deref() == Some(scenario::BYTES), || {
                            format!("linked, and {there:?} is there")
                        })?;
                    }
                    Ok(())
                });
                let point = || format!("{lost} at {n}: {became:?}");
                failures.note(check, &format!("{dir_there} {how:?}"), point, &session);
            }
        }
    }
    assert!(failures.points() > 200, "{}", failures.points());
    assert!(linked > 20, "{linked}");
}

/// A client makes the lost path anew, on another disk, before each call: it finds its new file there.
#[test]
fn a_path_made_anew_while_a_log_is_replayed_shows_the_new_file() {
    for (dir_there, branch) in [(true, 0), (true, 1), (false, 1)] {
        let scene = replayed(dir_there);
        let lost = path("d/lost");
        for n in 1.. {
            let world = scene.fork();
            let at = Place::new(BranchIdx(branch), lost.clone());
            // Where our link is there already, this fails as it does for the client.
            world.plan_fault(Fault::foreign_at(n, move |w| drop(w.client_create(&at, b"new"))));
            let (fs, pool) = (world.fs(), world.pool());
            let mut relinker = Relinker::new(&fs, &pool);
            let size = scenario::BYTES.len() as u64;
            relinker.group(Some(size), vec![path("m/x"), lost.clone()]);
            let became = relinker.relink(&lost);
            let made = !world.acknowledged().is_empty();
            let shown = world.pool_view().get(&lost).cloned();
            let expected: &[u8] = if made { b"new" } else { scenario::BYTES };
            assert_eq!(shown.as_deref(), Some(expected), "at {n}: {became:?}");
            assert_eq!(matches!(became, Relinked::There), made, "at {n}: {became:?}");
            if world.calls() < n {
                assert!(n > 10, "{n} calls");
                break;
            }
        }
    }
}

/// The hidden directory that a process leaves that is killed while it makes parents goes with the next try.
#[test]
fn a_replay_that_was_killed_leaves_no_hidden_directory_for_good() {
    let scene = replayed(false);
    let lost = path("d/f/lost");
    let mut left = 0;
    for n in 1.. {
        let world = scene.fork();
        let replay = || {
            let (fs, pool) = (world.fs(), world.pool());
            let mut relinker = Relinker::new(&fs, &pool);
            relinker.group(None, vec![path("m/x"), lost.clone()]);
            relinker.relink(&lost)
        };
        world.plan_fault(Fault::DieAt(n));
        drop(replay());
        if !world.died() {
            break;
        }
        let hidden = || world.names().into_keys().any(|at| is_hidden(&at.path));
        left += usize::from(hidden());
        world.restart();
        assert!(matches!(replay(), Relinked::Linked(_) | Relinked::There), "killed at {n}");
        assert!(!hidden(), "killed at {n}");
    }
    assert!(left > 3, "{left}");
}

#[test]
fn a_directory_swapped_while_a_journal_is_salvaged_is_not_touched() {
    let mut failures = Failures::default();
    let (mut planned, mut again) = (0, 0);
    for scenario in [scenario::cross(), scenario::cross_later(), scenario::local()] {
        add_strangers(&scenario.world);
        let ids = strangers(&scenario.world);
        let mut killed_at = 1;
        while let Some(dead) = killed(&scenario, killed_at) {
            let left = LEFT[killed_at % LEFT.len()];
            let how = SWAPS[killed_at % SWAPS.len()];
            for dir in ["d", "m"] {
                let mut n = 1;
                loop {
                    let session = dead.next();
                    let found = hidden(&session);
                    let dir = path(dir);
                    let swapped = dir.clone();
                    session.world.plan_fault(Fault::foreign_at(n, move |w| swap(w, &swapped, how)));
                    let logged = logged(&session, left);
                    let plan = plan_again(&session, &logged, Some(7), &found);
                    let reached = session.world.calls() >= n;
                    if !reached {
                        // Between the plan and the first call of recovery.
                        swap(&session.world, &dir, how);
                    }
                    if let Ok((lost, plan)) = plan {
                        planned += 1;
                        let (mut next, _) = salvage_as_planned(&session, &lost, &plan);
                        let before = next.told();
                        let open = next.recover().map_err(|err| format!("{err:?}"));
                        let check = open.and_then(|open| ensure(open == 0, || "open".to_owned()));
                        let check = check.and_then(|()| untouched(&scenario.world, &next, &ids));
                        let group = format!("{} {left:?} {how:?}", scenario.name);
                        let point = || {
                            format!("killed at {killed_at}, {dir:?} at {n}: {plan:#?}\n{before}")
                        };
                        failures.note(check, &group, point, &next);
                    } else {
                        // Nothing was changed, and the next try finds everything.
                        again += 1;
                    }
                    if !reached {
                        break;
                    }
                    n += 1;
                }
            }
            killed_at += 1;
        }
    }
    assert!(failures.points() > 500 && planned > again, "{planned} planned, {again} not");
}

/// The directories that were swapped in are as they were, and every path has its bytes, in whatever directory.
fn untouched(before: &SimWorld, session: &Session, ids: &BTreeSet<InodeId>) -> Check {
    let same = contents(&session.world, ids) == contents(before, ids);
    ensure(same, || "the other directory was changed".to_owned())?;
    let now = session.world.files();
    let visible: Vec<_> = now.iter().filter(|(at, _)| !is_hidden(&at.path)).collect();
    for (at, (_, bytes)) in before.files() {
        let name = at.path.file_name().to_owned();
        let mut there = visible.iter().filter(|(now, _)| now.path.file_name() == name);
        let has = there.any(|(_, (_, now))| *now == bytes);
        ensure(has, || format!("{at:?} is lost"))?;
    }
    Ok(())
}
