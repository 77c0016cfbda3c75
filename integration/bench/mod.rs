//! How fast it is beside the way of the script it replaces, which deletes before it links and syncs nothing.
//!
//! Both get identical pools and work in turns, so that both meet the same machine. The times are printed, not
//! judged: a figure that depends on somebody's disk is no test.

#[path = "spindle/arm.rs"]
mod arm;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::groups::{self, Group};
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

/// Small duplicates on another disk, in all.
const DUPLICATES: u64 = 5_000;

/// Turns they are done in.
const TURNS: u64 = 5;

fn pool_with_duplicates() -> (Pool, Vec<Group>) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).option("category.create=mfs").mount();
    let made = (0..DUPLICATES)
        .map(|n| {
            let names =
                [format!("media/{}/{n}.bin", n / 100), format!("downloads/{}/{n}.bin", n / 50)];
            for (disk, name) in names.iter().enumerate() {
                tree::write(&pool.on(disk, name), &tree::bytes(n, 4_097));
            }
            names.map(Into::into).to_vec()
        })
        .collect();
    // What either way is not charged for: writing the files.
    pool.used_bytes();
    (pool, made)
}

fn ours(pool: &Pool, tool: &Tool, made: &[Group]) -> Duration {
    let list = groups::write_list(tool, pool, made);
    let primary = pool.path("media");
    let start = Instant::now();
    let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]);
    let elapsed = start.elapsed();
    run.expect(0);
    elapsed
}

fn old_way(pool: &Pool, tool: &Tool, made: &[Group]) -> Duration {
    let list = groups::write_list(tool, pool, made);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/bench/old_way.py");
    let (database, log) = (tool.dir().join("state.sqlite"), tool.dir().join("log"));
    let primary = pool.path("media");
    let start = Instant::now();
    run("python3", &[&script, &list, &database, &primary, pool.root(), &log]);
    start.elapsed()
}

#[test]
fn thousands_of_small_duplicates_beside_the_old_way() {
    let (our_pool, made) = pool_with_duplicates();
    let (old_pool, _) = pool_with_duplicates();
    let (our_tool, old_tool) = (Tool::new(), Tool::new());
    let view = snapshot::view(our_pool.root());
    let (mut us, mut old) = (Duration::ZERO, Duration::ZERO);
    for turn in made.chunks((DUPLICATES / TURNS) as usize) {
        us += ours(&our_pool, &our_tool, turn);
        old += old_way(&old_pool, &old_tool, turn);
    }
    for pool in [&our_pool, &old_pool] {
        groups::assert_linked(pool, &made);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
    }
    println!(
        "BENCH {DUPLICATES} duplicates on another disk: {:.1} s, the old way {:.1} s, {:.1} times as fast",
        us.as_secs_f64(),
        old.as_secs_f64(),
        old.as_secs_f64() / us.as_secs_f64()
    );
}

#[test]
fn the_old_way_is_told_faithfully() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let tool = Tool::new();
    let view = snapshot::view(pool.root());
    old_way(&pool, &tool, &made);
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    assert!(tool.dir().join("state.sqlite").exists());
}
