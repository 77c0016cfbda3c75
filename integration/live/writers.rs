//! Clients that write, save, delete and rename beside a run, aimed at every moment of the protocol.
//!
//! The invariant, and why it is enough, is told in [`super::model`].

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::client::Act;
use super::moments::Moment;
use super::pair::When;
use super::scene::{Scene, Slow, assert_none_lost, figures};
use crate::harness::pool::Pool;

fn full() -> bool {
    std::env::var_os("XDEDUP_FULL").is_some_and(|value| value == "1")
}

fn nothing(_: &Pool, _: &AtomicBool) {}

/// One run with clients beside it, and everything that has to hold afterwards.
fn round(mut scene: Scene, slow: Slow, what: &str) -> u64 {
    let (run, met, ()) = scene.run_beside(slow, nothing);
    assert_none_lost(&met, "beside the run");
    figures(&scene, &run, &met, what);
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
        Slow::Calls("fsync:delay_enter=60000"),
        "between publish and retire",
    );
}

#[test]
fn between_retire_and_remove() {
    let scene = aimed(&[Moment::Pending, Moment::Retired], &[]);
    round(
        scene,
        Slow::Calls("fdatasync:delay_enter=80000"),
        "between retire and remove",
    );
}

#[test]
fn in_the_windows_of_publish_and_retire() {
    let scene = aimed(&[Moment::Linking, Moment::Retired], &[]);
    round(
        scene,
        Slow::Calls("renameat2:delay_enter=5000:delay_exit=5000"),
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
    round(scene, Slow::Stops, "stopped and continued");
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
            Slow::No,
            &format!("at any time, {}", options.join(",")),
        );
    }
    println!("FIGURE writers: {done} replaced beside clients that wrote at any time");
}

#[test]
fn while_mergerfs_is_slow() {
    let mut scene = Scene::new(&[], 160);
    for pair in &mut scene.pairs {
        let moment = [Moment::Linking, Moment::Published, Moment::Pending][pair.n / 8 % 3];
        pair.script.push_back((When::At(moment), Act::Rewrite));
    }
    round(
        scene,
        Slow::Mergerfs("lstat:delay_exit=2000 newfstatat:delay_exit=2000"),
        "slow",
    );
}
