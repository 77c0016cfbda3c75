//! What runs out: links of an inode, room for the journal.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::loop_disk::LoopDisk;
use crate::harness::pool::PoolPlan;
use crate::harness::tool::{BINARY, Run, Tool};
use crate::harness::{snapshot, tree, wait};

/// The most names that an inode can have on ext4.
const EXT4_LINKS: u32 = 65_000;

#[test]
fn a_full_master_hands_over_to_a_second_inode_of_its_disk_or_says_why_not() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut made = groups::pairs(&pool, 0, 1, 2);
    // The first master has room for one name, and for the hidden one beside it; a second inode of its disk has much.
    let bytes = tree::bytes(0, groups::SMALL);
    for (disk, path) in [(1, "downloads/b"), (1, "downloads/c"), (0, "media/second")] {
        tree::write(&pool.on(disk, path), &bytes);
        made[0].push(path.into());
    }
    std::fs::create_dir(pool.on(0, "many")).unwrap();
    let link = |n: u32| {
        let link = pool.on(0, format!("many/{n}"));
        std::fs::hard_link(pool.on(0, &made[0][0]), link).unwrap();
    };
    (1..EXT4_LINKS - 2).for_each(link);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let seen = || ["media", "downloads"].map(|dir| snapshot::view(&pool.path(dir)));
    let before = seen();
    let primary = pool.path("media");
    let primary = ["-p".as_ref(), primary.as_os_str()];
    let run = tool.execute(&list, &primary).expect(0);
    assert_eq!(seen(), before, "{run}");
    groups::assert_linked(&pool, &made[1..]);
    let inodes = |path: &PathBuf| snapshot::places(&pool, path);
    assert_eq!(inodes(&made[0][0]), inodes(&made[0][1]), "{run}");
    for path in &made[0][2..4] {
        assert_eq!(inodes(path), inodes(&made[0][4]), "{run}");
    }

    // The kernel refuses where the plan knew no limit: nobody else is harmed, and the reason is one to act on.
    link(EXT4_LINKS);
    tree::write(&pool.on(1, "downloads/last"), &bytes);
    let list = groups::list(&tool, &pool, &[vec![made[0][0].clone(), "downloads/last".into()]]);
    let run = tool.execute(&list, &primary).expect(0);
    let reasons = run.reasons_for(&pool.path("downloads/last"));
    assert_eq!(reasons, ["too-many-links"], "{run}");
    assert_eq!(inodes(&"downloads/last".into()).len(), 1, "{run}");
    assert_eq!(inodes(&"downloads/last".into())[0].0, 1, "{run}");
}

/// With a low hard limit on open files the batches are smaller; a run and its undo are refused nothing.
#[test]
fn few_open_files_are_enough() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut made = groups::pairs(&pool, 0, 1, 200);
    // Files with three names, each in a directory of its own.
    for n in 200..240 {
        let mut paths = vec![PathBuf::from(format!("media/{n}.bin"))];
        tree::write(&pool.on(0, &paths[0]), &tree::bytes(n, groups::SMALL));
        for dir in ["one", "two", "three"] {
            paths.push(format!("{dir}/{n}/copy.bin").into());
            let (first, name) = (pool.on(1, &paths[1]), pool.on(1, paths.last().unwrap()));
            match dir {
                "one" => tree::write(&name, &tree::bytes(n, groups::SMALL)),
                _ => {
                    std::fs::create_dir_all(name.parent().unwrap()).unwrap();
                    std::fs::hard_link(first, name).unwrap();
                }
            }
        }
        made.push(paths);
    }
    tree::settle();
    let (tool, view) = (Tool::new(), snapshot::view(pool.root()));
    let few = ["prlimit", "--nofile=300:300"];
    let media = pool.path("media");
    let dirs = ["-p", media.to_str().unwrap(), pool.root().to_str().unwrap()];
    let run = tool.run_under(&few, &[&["-e", "--format", "json"], &dirs[..]].concat()).expect(0);
    assert_eq!(run.summary().get("done"), 240, "{run}");
    groups::assert_linked(&pool, &made);
    let undo = tool.run_under(&few, &["--format", "json", "undo", "-e"]).expect(0);
    assert_eq!(undo.summary().get("done"), 240, "{undo}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

/// Runs with a journal on a disk of its own.
fn execute_with_journal(tool: &Tool, journal: &Path, list: &Path) -> Run {
    let mut line: Vec<OsString> = vec![BINARY.into(), "--journal".into(), journal.into()];
    line.extend(["-e", "--any-master", "-m"].map(Into::into));
    line.push(list.into());
    tool.run_line(&line)
}

/// Fills a disk so that about `rest` bytes can still be written.
fn fill(disk: &LoopDisk, rest: u64) -> PathBuf {
    let path = disk.path().join("filler");
    let mut file = File::create(&path).unwrap();
    let block = vec![0; 1 << 20];
    // It ends with ENOSPC, that is the point.
    while file.write_all(&block).is_ok() {}
    file.sync_all().unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len.saturating_sub(rest)).unwrap();
    file.sync_all().unwrap();
    path
}

#[test]
fn a_full_disk_under_the_journal_stops_the_run_and_loses_nothing() {
    for rest in [0, 64 << 10, 512 << 10, 2 << 20] {
        let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
        let made = groups::pairs(&pool, 0, 1, 100);
        let tool = Tool::new();
        let list = groups::list(&tool, &pool, &made);
        let state = LoopDisk::new(tool.dir(), "state", Ext4);
        let journal = state.path().join("journal");
        let filler = fill(&state, rest);
        let view = snapshot::view(pool.root());

        let run = execute_with_journal(&tool, &journal, &list);
        println!("{rest} bytes left for the journal: {:?}", run.code());
        assert!(matches!(run.code(), Some(0 | 1 | 3 | 4)), "{run}");
        if rest == 0 {
            // How much is there, and how much is needed.
            assert!(run.stderr.contains("(0 MiB free, "), "{run}");
            assert!(run.stderr.contains(" MiB needed)"), "{run}");
        }
        snapshot::assert_complete(&view, &snapshot::view(pool.root()));

        std::fs::remove_file(filler).unwrap();
        execute_with_journal(&tool, &journal, &list).expect(0);
        groups::assert_linked(&pool, &made);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        snapshot::assert_no_own_names(&pool);
    }
}

/// The journal's disk fills while the run is under way, not before it.
#[test]
fn a_journal_disk_that_fills_during_a_run_stops_it_and_resume_ends_it() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 600);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let state = LoopDisk::new(tool.dir(), "state", Ext4);
    let journal = state.path().join("journal");
    let view = snapshot::view(pool.root());
    let mut line: Vec<OsString> =
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e"].map(Into::into).to_vec();
    // Slow enough to be met on the way.
    line.extend(["trace=linkat", "-e", "inject=linkat:delay_enter=10000"].map(Into::into));
    line.extend([BINARY.into(), "--journal".into(), journal.clone().into()]);
    line.extend(["-e", "--any-master", "-m"].map(Into::into));
    line.push(list.clone().into());
    let log = journal.join("log.csv");
    let begun = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(",PENDING,"));
    let (run, filler) = std::thread::scope(|scope| {
        let filler = scope.spawn(|| {
            wait::until("the run to begin", wait::LONG, begun).unwrap();
            fill(&state, 0)
        });
        (tool.run_line(&line), filler.join().unwrap())
    });
    assert!(matches!(run.code(), Some(3 | 4)), "{run}");
    assert!(run.stderr.contains("space"), "{run}");
    snapshot::assert_complete(&view, &snapshot::view(pool.root()));
    // While it is full nothing can be finished, and nothing is lost.
    let run = |command: &str| {
        let line = [BINARY.into(), "--journal".into(), journal.clone().into(), command.into()];
        tool.run_line(&line)
    };
    assert!(matches!(run("resume").code(), Some(3 | 4)));
    snapshot::assert_complete(&view, &snapshot::view(pool.root()));
    std::fs::remove_file(filler).unwrap();
    tree::settle();
    run("resume").expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    execute_with_journal(&tool, &journal, &list).expect(0);
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}
