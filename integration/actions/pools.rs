//! Plays many scenarios over a few pools at the same time: most of their time is waiting.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::kind::Kind;
use super::play::{Outcome, play};
use super::scenario::{Ending, Scenario};
use super::scene::Scene;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tree;

/// Pools at the same time. The program locks the pool it works on, so each has one scenario at a time.
const POOLS: usize = 5;
/// Scenes of one pool: they wait together until their files are old enough. No scene is removed before the last one is
/// played, so that a new file gets the inode number of the file a client has just removed. More directories than these
/// have, `status` would not look into.
const TOGETHER: usize = 24;

/// A pool whose clients see at once what changed, and on which new files are made on the first branch.
pub(super) fn mount() -> Pool {
    PoolPlan::of(&[Ext4, Xfs])
        .option("category.create=ff")
        .option("cache.attr=0")
        .option("cache.entry=0")
        .mount()
}

/// Plays all scenarios, and calls `done` after each.
pub(super) fn play_all(scenarios: &[Scenario], done: impl Fn(&Scenario, Outcome) + Sync) {
    let next = AtomicUsize::new(0);
    let pools = POOLS.min(scenarios.len().div_ceil(TOGETHER));
    std::thread::scope(|scope| {
        for _ in 0..pools {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(TOGETHER, Ordering::Relaxed);
                    let to = scenarios.len().min(from + TOGETHER);
                    if from >= to {
                        return;
                    }
                    play_together(&mount(), &scenarios[from..to], from, &done);
                }
            });
        }
    });
}

/// Plays all scenarios and returns what came of each, in their order.
pub(super) fn outcomes(scenarios: &[Scenario]) -> Vec<Outcome> {
    let slots: Vec<Mutex<Option<Outcome>>> = scenarios.iter().map(|_| Mutex::new(None)).collect();
    play_all(scenarios, |scenario, outcome| {
        let same = scenarios.iter().position(|s| std::ptr::eq(s, scenario));
        *slots[same.unwrap()].lock().unwrap() = Some(outcome);
    });
    let outcome = |slot: Mutex<Option<Outcome>>| slot.into_inner().unwrap().unwrap();
    slots.into_iter().map(outcome).collect()
}

fn play_together(
    pool: &Pool,
    scenarios: &[Scenario],
    from: usize,
    done: &impl Fn(&Scenario, Outcome),
) {
    let scenes: Vec<_> = scenarios
        .iter()
        .enumerate()
        .map(|(n, scenario)| Scene::make(pool, scenario.kind, &format!("s{}", from + n)))
        .collect();
    tree::settle();
    for (scene, scenario) in scenes.into_iter().zip(scenarios) {
        done(scenario, play(&scene, scenario));
    }
}

/// The run of a kind with no client beside it.
pub(super) fn undisturbed(kind: Kind) -> Scenario {
    Scenario { kind, acts: Vec::new(), ending: Ending::GoesOn }
}
