//! Clients that write, save, delete and rename beside a run, aimed at every moment of the protocol.
//!
//! The invariant, and why it is enough, is told in [`super::model`].

use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::client::Act;
use super::model::Name;
use super::moments::Moment;
use super::pair::{Pair, When};
use super::running::{Job, Slow};
use super::scene::Scene;
use super::second_mount::SecondMount;
use crate::harness::pool::Pool;

fn full() -> bool {
    std::env::var_os("XDEDUP_FULL").is_some_and(|value| value == "1")
}

fn nothing(_: &Pool, _: &AtomicBool) {}

/// One run with clients beside it, and everything that has to hold afterwards.
fn round(mut scene: Scene, slow: &Slow, what: &str) -> u64 {
    let (run, met, ()) = scene.run_beside(Job::Replace, slow, nothing);
    scene.tell(&run, &met, what);
    met.assert_none_lost("beside the run");
    if !matches!(slow, Slow::Mergerfs(_)) {
        met.assert_patient();
    }
    let done = run.summary().get("done");
    scene.end_quietly(&run);
    done
}

/// Every operation at each of these moments, for each kind of op and each order of the branches.
fn aimed(moments: &[Moment], options: &[&str]) -> Scene {
    let mut scene = Scene::new(options, 8 * Act::ALL.len() * moments.len());
    for pair in &mut scene.pairs {
        let turn = pair.n / 8;
        let act = Act::ALL[turn % Act::ALL.len()];
        let moment = moments[turn / Act::ALL.len()];
        pair.script.push_back((When::At(moment), act));
    }
    scene
}

#[test]
fn between_publish_and_retire() {
    let scene = aimed(&[Moment::Published], &[]);
    round(
        scene,
        &Slow::Calls("fsync:delay_enter=60000"),
        "between publish and retire",
    );
}

#[test]
fn between_retire_and_remove() {
    let scene = aimed(&[Moment::Pending, Moment::Retired], &[]);
    round(
        scene,
        &Slow::Calls("fdatasync:delay_enter=80000"),
        "between retire and remove",
    );
}

#[test]
fn in_the_windows_of_publish_and_retire() {
    let scene = aimed(&[Moment::Linking, Moment::Retired], &[]);
    round(
        scene,
        &Slow::Calls("renameat2:delay_enter=5000:delay_exit=5000"),
        "in the windows",
    );
}

#[test]
fn while_it_is_stopped() {
    let scene = aimed(
        &[
            Moment::Pending,
            Moment::Linking,
            Moment::Published,
            Moment::Retired,
        ],
        &[],
    );
    round(scene, &Slow::Stops, "stopped and continued");
}

#[test]
fn at_any_time_thousands_of_times() {
    let rounds = if full() { 20 } else { 4 };
    let mut done = 0;
    for n in 0..rounds {
        let options: &[&str] = [
            &["category.create=mfs"][..],
            &["category.create=epmfs", "cache.readdir=true"],
        ][n % 2];
        let mut scene = Scene::new(options, 800);
        for pair in &mut scene.pairs {
            let random = crate::harness::tree::bytes((n * 10_000 + pair.n) as u64, 8);
            let act = Act::ALL[usize::from(random[0]) % Act::ALL.len()];
            let when = match random[1] % 4 {
                0 => continue,
                1 => When::At(Moment::ALL[usize::from(random[2]) % Moment::ALL.len()]),
                _ => When::After(Duration::from_millis(u64::from(random[3]) * 8)),
            };
            pair.script.push_back((when, act));
        }
        done += round(
            scene,
            &Slow::No,
            &format!("at any time, {}", options.join(",")),
        );
    }
    println!("FIGURE writers: {done} replaced beside clients that wrote at any time");
}

/// mergerfs looks for a name on one branch after the other. One that moves to an earlier branch meanwhile is missed,
/// and `O_CREAT` then makes a new file, on whichever branch the create policy says.
#[test]
fn a_new_file_where_mergerfs_missed_the_name() {
    let mut scene = Scene::new(&["threads=32", "category.create=mfs"], 24);
    scene.clients = 24;
    // New files go to the second disk, which comes after the one that gets half of the replacements.
    for disk in [0, 2] {
        let file = File::create(scene.pool.on(disk, "ballast")).unwrap();
        nix::fcntl::posix_fallocate(&file, 0, 150 << 20).unwrap();
    }
    let second = SecondMount::of(&scene.pool);
    scene.run_through(&second);
    for pair in &mut scene.pairs {
        pair.script.push_back((When::Go, Act::Rewrite));
    }
    let at = |pair: &Pair| {
        let name = pair.relative(Name::Duplicate);
        scene.pool.on(pair.master_disk, name)
    };
    let places = scene.pairs.iter().map(at).collect();
    round(scene, &Slow::Mergerfs(places), "mergerfs stalls");
}

/// Ends a run while ops are at `moment`, lets clients work on what it left, and on more of it while `resume` is at it.
fn crash(moment: Moment, calls: &'static str) {
    let mut scene = Scene::new(&[], 16 * Act::ALL.len());
    let slow = Slow::KilledAt(moment, calls);
    let (run, _, ()) = scene.run_beside(Job::Replace, &slow, nothing);
    assert!(run.was_killed(), "{:?} {}", run.code(), run.stderr);
    let act = |pair: &Pair| Act::ALL[pair.n / 16 % Act::ALL.len()];
    let early = |pair: &Pair| pair.n / 8 % 2 == 0;
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
    crash(
        Moment::Linking,
        "renameat2:delay_enter=20000:delay_exit=20000",
    );
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
