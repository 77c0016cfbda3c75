//! Clients of the pool that go on working while the tool runs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::snapshot;
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;

/// Groups of a run: enough that it takes a while.
const GROUPS: u64 = 300;

/// Runs the tool with the masters on one disk while `client` works, until the run is over.
fn run_beside<T: Send>(
    master_disk: usize,
    client: impl FnOnce(&Pool, &[Group], &AtomicBool) -> T + Send,
) -> (Pool, Vec<Group>, Run, T) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).option("category.create=mfs").mount();
    let made = groups::pairs(&pool, master_disk, 1 - master_disk, GROUPS);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let primary = pool.path("media");
    let over = AtomicBool::new(false);
    let (run, result) = std::thread::scope(|scope| {
        let client = scope.spawn(|| client(&pool, &made, &over));
        let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]);
        over.store(true, Ordering::Relaxed);
        (run, client.join().unwrap())
    });
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    snapshot::assert_no_own_names(&pool);
    (pool, made, run, result)
}

/// What is appended in one go.
const LINE: &[u8] = b"one more line of the log\n";

/// Appends to each of the files in turn; returns how often that succeeded for each.
fn append_until(over: &AtomicBool, files: &[impl AsRef<Path>]) -> Vec<usize> {
    let mut acknowledged = vec![0; files.len()];
    while !over.load(Ordering::Relaxed) {
        for (path, count) in files.iter().zip(&mut acknowledged) {
            // A name can be missed once, inside mergerfs, while it moves: a client tries again.
            if let Ok(mut file) = OpenOptions::new().append(true).open(path) {
                *count += usize::from(file.write_all(LINE).is_ok());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    acknowledged
}

#[test]
fn no_acknowledged_write_is_lost() {
    for master_disk in [0, 1] {
        let written = [10, 150, 290];
        let (pool, made, run, acknowledged) = run_beside(master_disk, |pool, made, over| {
            append_until(over, &written.map(|n: usize| pool.path(&made[n][1])))
        });
        for (n, count) in written.into_iter().zip(acknowledged) {
            let now = std::fs::read(pool.path(&made[n][1])).unwrap();
            assert!(count > 0);
            assert_eq!(now.len(), groups::SMALL + count * LINE.len(), "writes were lost: {run}");
            assert!(now[groups::SMALL..] == LINE.repeat(count));
            // One that was linked after all was linked before its first write, and both names show it.
            let master = std::fs::read(pool.path(&made[n][0])).unwrap();
            assert!(master == now || master == tree::bytes(n as u64, groups::SMALL));
        }
    }
}

#[test]
fn a_file_saved_over_or_deleted_meanwhile_stays_so() {
    for master_disk in [0, 1] {
        let (pool, made, run, ()) = run_beside(master_disk, |pool, made, _| {
            for (n, group) in made.iter().enumerate() {
                let path = pool.path(&group[1]);
                match n % 10 {
                    3 => std::fs::remove_file(&path).unwrap(),
                    7 => {
                        let new = pool.path(format!("downloads/{n}.new"));
                        std::fs::write(&new, b"saved").unwrap();
                        std::fs::rename(&new, &path).unwrap();
                    }
                    _ => std::thread::sleep(Duration::from_micros(500)),
                }
            }
        });
        for (n, group) in made.iter().enumerate() {
            let now = std::fs::read(pool.path(&group[1]));
            match n % 10 {
                3 => assert!(now.is_err(), "{:?} came back: {run}", group[1]),
                7 => assert!(now.unwrap() == b"saved", "{:?} is old: {run}", group[1]),
                _ => assert!(now.unwrap() == tree::bytes(n as u64, groups::SMALL)),
            }
            let master = std::fs::read(pool.path(&group[0])).unwrap();
            assert!(master == tree::bytes(n as u64, groups::SMALL));
        }
    }
}

/// Reads all duplicates over and over; returns reads, names that were missed, and listings that missed one.
fn read_until(pool: &Pool, made: &[Group], over: &AtomicBool) -> [usize; 4] {
    let [mut reads, mut missed, mut listings, mut short] = [0; 4];
    while !over.load(Ordering::Relaxed) {
        for (n, group) in made.iter().enumerate() {
            match std::fs::read(pool.path(&group[1])) {
                Ok(bytes) => assert!(bytes == tree::bytes(n as u64, groups::SMALL)),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                    missed += 1;
                }
            }
            reads += 1;
        }
        let names = std::fs::read_dir(pool.path("downloads")).unwrap();
        let ours = names.filter(|name| name.as_ref().unwrap().path().extension().is_some());
        short += usize::from(ours.count() < made.len());
        listings += 1;
    }
    [reads, missed, listings, short]
}

#[test]
fn readers_get_the_right_bytes_at_any_time() {
    for master_disk in [0, 1] {
        let (_, _, run, [reads, missed, listings, short]) = run_beside(master_disk, read_until);
        let done = run.summary().get("done");
        println!(
            "BENCH masters on branch {master_disk}: {done} replaced beside a reader, \
             {missed} of {reads} opens missed the name, {short} of {listings} listings a name"
        );
        assert!(reads > 0);
    }
}
