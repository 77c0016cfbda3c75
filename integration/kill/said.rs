//! Commands after a run was killed, before anything is recovered: each names the run, or its journal if that is gone.

use std::fs;
use std::path::Path;

use super::two_disks;
use crate::harness::pool::Pool;
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

const FILES: u64 = 3;

/// A pool over which a scan was killed: one duplicate is hidden, the others are on both disks.
fn killed() -> (Pool, Tool) {
    let (pool, tool) = (two_disks(), Tool::new());
    for n in 0..FILES {
        tree::write(&pool.on(0, format!("media/{n}")), &tree::bytes(n, 20_000));
        tree::write(&pool.on(1, format!("dl/{n}")), &tree::bytes(n, 20_000));
    }
    fs::create_dir(pool.on(0, "dl")).unwrap();
    nix::unistd::sync();
    tree::settle();
    let inject = format!("inject=renameat2:signal=KILL:when={}", FILES + 2);
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", &inject];
    let run = tool.run_under(&strace, &[&scan(&pool)[..], &["-e".to_owned()]].concat());
    assert!(run.was_killed(), "{run}");
    assert_eq!(fs::read_dir(pool.on(0, "dl")).unwrap().count() as u64, FILES);
    (pool, tool)
}

fn scan(pool: &Pool) -> [String; 3] {
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    ["-p".to_owned(), path(&pool.path("media")), path(pool.root())]
}

fn said(run: &Run, what: &[&str]) {
    for what in what {
        assert!(run.stdout.contains(what) || run.stderr.contains(what), "{what}: {run}");
    }
}

#[test]
fn every_command_names_the_killed_run_and_an_undo_takes_it_back() {
    let (pool, tool) = killed();
    let before = snapshot::all_entries(&pool);
    let dry = tool.run(&scan(&pool)).expect(0);
    said(&dry, &["Before -e: run 1 was interrupted and left 3 files half done", "unfinished: "]);
    assert!(!dry.stdout.contains("shadowed") && !dry.stdout.contains("Settle this"), "{dry}");
    let undo = tool.run(&["undo"]).expect(0);
    said(&undo, &["Before -e: run 1 was interrupted", "Then -e takes back the files of run 1"]);
    said(&tool.run(&["status", "-v"]).expect(0), &["3 files open", "hidden file /", "-r\n"]);
    said(&tool.run(&["resume", "-n", "-v"]).expect(0), &["hidden file /"]);
    let doctor = tool.run(&["doctor", pool.root().to_str().unwrap()]);
    said(&doctor, &["unfinished-run: ", "run 1 was interrupted, with 3 files open"]);
    assert_eq!(snapshot::all_entries(&pool), before);

    let undone = tool.run(&["undo", "-e"]).expect(0);
    said(&undone, &["3 files copied back"]);
    for n in 0..FILES {
        assert!(pool.on(1, format!("dl/{n}")).exists() && !pool.on(0, format!("dl/{n}")).exists());
    }
    snapshot::assert_no_own_names(&pool);
}

#[test]
fn a_journal_that_is_gone_is_noticed_and_a_new_one_explains_nothing() {
    let (pool, tool) = killed();
    let away = tool.dir().join("away");
    fs::rename(tool.journal(), &away).unwrap();
    let before = snapshot::all_entries(&pool);
    let execute = [&scan(&pool)[..], &["-e".to_owned()]].concat();
    let gone = ["left the hidden file", "resume --salvage", pool.root().to_str().unwrap()];
    said(&tool.run(&execute).expect(4), &gone);
    said(&tool.run(&scan(&pool)).expect(0), &["Before -e: no journal is at ", "resume --salvage"]);
    for (command, code) in [("resume", 0), ("undo", 2), ("verify", 2), ("status", 0)] {
        said(&tool.run(&[command]).expect(code), &["knows of run ", "--salvage"]);
    }
    assert_eq!(snapshot::all_entries(&pool), before);
    assert!(!tool.journal().exists());

    // A new journal that is begun all the same does not stand for the old one.
    for path in ["media/new", "dl/new"] {
        let disk = usize::from(path.starts_with("dl"));
        tree::write(&pool.on(disk, path), &tree::bytes(9, 20_000));
    }
    tree::settle();
    tool.run(&[&execute[..], &["--accept-branches".to_owned()]].concat()).expect(0);
    let salvage = tool.run(&["resume", "--salvage"]).expect(4);
    said(&salvage, &["can be used, and does not know of 1 hidden file", "NEW-DIRECTORY"]);

    fs::rename(tool.journal(), tool.dir().join("new")).unwrap();
    fs::rename(&away, tool.journal()).unwrap();
    tool.run(&["resume"]).expect(0);
    snapshot::assert_no_own_names(&pool);
}

#[test]
fn an_older_copy_of_the_journal_is_noticed_where_nothing_is_open() {
    let (pool, tool) = killed();
    tool.run(&["resume"]).expect(0);
    let [older, newer] = ["older", "newer"].map(|name| tool.dir().join(name));
    tree::copy(&tool.journal(), &older);
    for (disk, path) in [(0, "media/new"), (1, "dl/new")] {
        tree::write(&pool.on(disk, path), &tree::bytes(9, 20_000));
    }
    tree::settle();
    tool.run(&[&scan(&pool)[..], &["-e".to_owned()]].concat()).expect(0);

    fs::rename(tool.journal(), &newer).unwrap();
    fs::rename(&older, tool.journal()).unwrap();
    for resume in [&["resume"][..], &["resume", "-n"]] {
        said(&tool.run(resume).expect(4), &["it is an older copy", "put the newer journal back"]);
    }
    fs::rename(tool.journal(), &older).unwrap();
    fs::rename(&newer, tool.journal()).unwrap();
    said(&tool.run(&["resume"]).expect(0), &["nothing is open"]);
}
