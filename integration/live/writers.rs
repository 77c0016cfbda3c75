//! Clients that write, save, delete and rename beside a run, aimed at every moment of the protocol.
//!
//! The invariant, and why it is enough, is told in [`super::model`].

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::client::Act;
use super::model::Name;
use super::moments::Moment;
use super::pair::{Kind, Pair, When};
use super::running::{Job, Longer, Slow};
use super::scene::{Scene, listed};
use super::second_mount::SecondMount;
use crate::groups;
use crate::harness::pool::Pool;
use crate::harness::{snapshot, tree};

fn full() -> bool {
    std::env::var_os("XDEDUP_FULL").is_some_and(|value| value == "1")
}

fn nothing(_: &Pool, _: &AtomicBool) {}

/// One run with clients beside it, and everything that has to hold afterwards; how many ops were done.
fn round(scene: &mut Scene, slow: &Slow, what: &str) -> u64 {
    let (run, met, made) = scene.run_beside(Job::Replace, slow, make_files);
    scene.tell(&run, &met, what);
    met.assert_none_lost("beside the run");
    if !matches!(slow, Slow::Mergerfs { .. }) {
        met.assert_patient();
    }
    // A moment that no client ever met would prove nothing.
    let had_their_time = scene.pairs.iter().filter(|pair| pair.script.is_empty());
    assert!(had_their_time.count() * 2 > scene.pairs.len(), "clients came too late");
    let done = run.summary().get("done");
    scene.end_quietly(&run);
    assert_listed(&made, what);
    done
}

/// The directories that replacements appear in and duplicates leave.
const DIRS: [&str; 5] = ["down", "set", "local", "fresh0/deep", "fresh1/deep"];

/// Lists directories over and over, and makes a file in them now and then; returns what it made.
///
/// A directory gets its old time back after the tool's own changes. If it got it after somebody else's, then whoever
/// goes by that time would not see the new file: the kernel's own copy of the listing, for one (`cache.readdir`).
fn make_files(pool: &Pool, over: &AtomicBool) -> Vec<PathBuf> {
    let mut made = Vec::new();
    for n in 0.. {
        for dir in DIRS.map(|dir| pool.path(dir)) {
            listed(&dir);
            if n % 32 == 0 {
                let new = dir.join(format!("made-{n}"));
                std::fs::write(&new, "new").unwrap();
                made.push(new);
            }
        }
        if over.load(Ordering::Acquire) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    made
}

fn assert_listed(made: &[PathBuf], what: &str) {
    println!("FIGURE writers {what}: {} files made beside the run", made.len());
    for path in made {
        let listing = listed(path.parent().unwrap());
        let name = path.file_name().unwrap();
        assert!(listing.contains(name), "{} is not listed", path.display());
        assert_eq!(std::fs::read(path).unwrap(), b"new");
    }
}

/// Every operation at each of these moments, for each kind of op and each order of the branches.
fn aimed(moments: &[Moment], options: &[&str]) -> Scene {
    let mut scene = Scene::new(options, 8 * Act::ALL.len() * moments.len());
    aim(&mut scene, moments);
    scene
}

fn aim(scene: &mut Scene, moments: &[Moment]) {
    for pair in &mut scene.pairs {
        let turn = pair.n / 8;
        let act = Act::ALL[turn % Act::ALL.len()];
        let moment = moments[turn / Act::ALL.len()];
        pair.script.push_back((When::At(moment), act));
    }
}

#[test]
fn while_clones_replace_files() {
    let moments = [Moment::Published];
    let mut scene = Scene::of_clones(8 * Act::ALL.len());
    aim(&mut scene, &moments);
    round(&mut scene, &Slow::Stops, "clones, stopped and continued");
}

#[test]
fn after_a_crash_while_clones_replace_files() {
    let each = if full() { 16 } else { 2 };
    let scene = Scene::of_clones(each * Act::ALL.len());
    crash_of(scene, Moment::Retired, "fdatasync:delay_enter=80000");
}

#[test]
fn between_publish_and_retire() {
    let mut scene = aimed(&[Moment::Published], &[]);
    round(&mut scene, &Slow::Calls("fsync:delay_enter=60000"), "between publish and retire");
}

#[test]
fn between_retire_and_remove() {
    let mut scene = aimed(&[Moment::Pending, Moment::Retired], &[]);
    round(&mut scene, &Slow::Calls("fdatasync:delay_enter=80000"), "between retire and remove");
}

#[test]
fn in_the_windows_of_publish_and_retire() {
    let mut scene = aimed(&[Moment::Linking, Moment::Retired], &[]);
    round(&mut scene, &Slow::Calls("renameat2:delay_enter=5000:delay_exit=5000"), "in the windows");
}

#[test]
fn while_it_is_stopped() {
    let mut scene =
        aimed(&[Moment::Pending, Moment::Linking, Moment::Published, Moment::Retired], &[]);
    round(&mut scene, &Slow::Stops, "stopped and continued");
}

#[test]
fn at_any_time_thousands_of_times() {
    let rounds = if full() { 20 } else { 4 };
    let pools: [&[&str]; 2] =
        [&["category.create=mfs"], &["category.create=epmfs", "cache.readdir=true"]];
    let mut done = 0;
    for n in 0..rounds {
        let options = pools[n % pools.len()];
        let mut scene = Scene::new(options, 900);
        for pair in &mut scene.pairs {
            let random = tree::bytes((n * 10_000 + pair.n) as u64, 4);
            let [act, how, moment, time] = [0, 1, 2, 3].map(|at| usize::from(random[at]));
            let act = Act::ALL[act % Act::ALL.len()];
            let when = match how % 10 {
                0..4 => continue,
                4..7 => When::At(Moment::ALL[1 + moment % 5]),
                _ => When::After(Duration::from_millis(300 + time as u64 * 8)),
            };
            pair.script.push_back((when, act));
        }
        done += round(&mut scene, &Slow::No, &format!("at any time, {}", options.join(",")));
    }
    println!("FIGURE writers: {done} replaced beside clients that wrote at any time");
    assert!(done > rounds as u64 * 400);
}

/// mergerfs looks for a name on one branch after the other. One that moves to an earlier branch meanwhile is missed,
/// and `O_CREAT` then makes a new file, on whichever branch the create policy says. (Where the name missed was one of
/// two links, the new file is one of its own; nobody but mergerfs could help that.)
fn missed(longer: Longer) -> (Scene, SecondMount, Slow) {
    let mut scene = Scene::new(&["threads=32", "category.create=mfs"], 24);
    scene.clients = 24;
    // New files go to the second disk, which comes after the one that gets half of the replacements.
    for disk in [0, 2] {
        let file = File::create(scene.pool.on(disk, "ballast")).unwrap();
        nix::fcntl::posix_fallocate(&file, 0, 150 << 20).unwrap();
    }
    let second = SecondMount::of(&scene.pool);
    scene.run_through(&second);
    for pair in scene.pairs.iter_mut().filter(|pair| !pair.has_second()) {
        pair.script.push_back((When::Go, Act::Rewrite));
    }
    let at = |pair: &Pair| {
        let name = pair.relative(Name::Duplicate);
        scene.pool.on(pair.master_disk, name)
    };
    let places = scene.pairs.iter().map(at).collect();
    (scene, second, Slow::Mergerfs { places, longer })
}

/// Whether the name was missed: the file there is not the master, on whose disk the replacement went.
fn was_missed(scene: &Scene, pair: &Pair) -> bool {
    let places = |name| snapshot::places(&scene.pool, pair.relative(name));
    let moved = pair.master_disk == 0 && pair.kind != Kind::Local;
    moved && !pair.has_second() && places(Name::Master) != places(Name::Duplicate)
}

#[test]
fn a_new_file_where_mergerfs_missed_the_name() {
    let (mut scene, _second, slow) = missed(Longer::Tool);
    round(&mut scene, &slow, "mergerfs stalls");
    // Some were missed indeed, or nothing was proven.
    assert!(scene.pairs.iter().any(|pair| was_missed(&scene, pair)));
}

/// The limit that the guide to the guarantees names: no look of the tool's can find a file that mergerfs makes when the run is over.
/// It is whole then, on its own disk, behind the replacement.
#[test]
fn a_new_file_made_after_the_run_where_mergerfs_missed_the_name() {
    let (mut scene, _second, slow) = missed(Longer::Mergerfs);
    let (run, met, ()) = scene.run_beside(Job::Replace, &slow, nothing);
    scene.tell(&run, &met, "mergerfs stalls for longer");
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    let hidden: Vec<_> = scene.pairs.iter().filter(|pair| was_missed(&scene, pair)).collect();
    assert!(!hidden.is_empty(), "none was missed");
    println!(
        "FIGURE writers mergerfs stalls for longer: {} new files behind the replacement",
        hidden.len()
    );
    for pair in hidden {
        let name = pair.relative(Name::Duplicate);
        let [old, new] = [0, 1].map(|disk| std::fs::read(scene.pool.on(disk, name)).unwrap());
        assert_eq!(old, tree::bytes(pair.n as u64, groups::SMALL));
        assert_eq!(new, pair.new_bytes(), "{}", pair.told());
    }
}

/// Ends a run while ops are at `moment`, lets clients work on what it left, and on more of it while `resume` is at it.
fn crash(moment: Moment, calls: &'static str) {
    crash_of(Scene::new(&[], 16 * Act::ALL.len()), moment, calls);
}

fn crash_of(mut scene: Scene, moment: Moment, calls: &'static str) {
    let slow = Slow::KilledAt(moment, calls);
    let (run, _, ()) = scene.run_beside(Job::Replace, &slow, nothing);
    assert!(run.was_killed(), "{:?} {}", run.code(), run.stderr);
    let act = |pair: &Pair| Act::ALL[pair.n / 16 % Act::ALL.len()];
    let early = |pair: &Pair| (pair.n / 8).is_multiple_of(2);
    scene.act("after the crash", |pair| early(pair).then(|| act(pair)));
    for pair in scene.pairs.iter_mut().filter(|pair| !early(pair)) {
        let after = Duration::from_millis(pair.n as u64 * 5);
        pair.script.push_back((When::After(after), act(pair)));
    }
    let stops = Slow::Stops;
    let (resumed, met, ()) = scene.run_beside(Job::Resume, &stops, nothing);
    // Ops whose files are in use stay open.
    assert!(matches!(resumed.code(), Some(0 | 1 | 4)), "{resumed}");
    println!(
        "FIGURE writers after a crash at {moment:?}: {:?}; {met}",
        resumed.stdout.lines().last()
    );
    met.assert_none_lost("beside resume");
    met.assert_patient();
    scene.judge("after the first resume");
    scene.resume_quietly();
}

#[test]
fn after_a_crash_between_link_and_name() {
    crash(Moment::Linking, "renameat2:delay_enter=20000:delay_exit=20000");
}

#[test]
fn after_a_crash_between_publish_and_retire() {
    crash(Moment::Published, "fsync:delay_enter=60000");
}

#[test]
fn after_a_crash_before_the_record_of_what_was_retired() {
    crash(Moment::Retired, "fdatasync:delay_enter=80000");
}

#[test]
fn after_a_crash_amid_the_unlinks() {
    crash(Moment::Replaced, "unlinkat:delay_enter=20000");
}
