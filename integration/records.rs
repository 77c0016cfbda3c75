//! What is recorded, and whether it is still so: `verify`, `history`, `export`, `--max-time`.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

fn linked(count: u64) -> (Pool, Tool, Vec<groups::Group>) {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, count);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    tool.execute(&list, &[]).expect(0);
    (pool, tool, made)
}

/// The states of the files that stayed, by path relative to the pool.
fn states(run: &crate::harness::tool::Run, pool: &Pool) -> Vec<(String, String)> {
    let mut states: Vec<_> = run
        .lines_of("verify")
        .iter()
        .map(|line| {
            let path = line["path"].as_str().unwrap();
            let path = path.strip_prefix(pool.root().to_str().unwrap()).unwrap();
            let state = line["state"].as_str().unwrap();
            (path.trim_start_matches('/').to_owned(), state.to_owned())
        })
        .collect();
    states.sort();
    states
}

#[test]
fn bit_rot_is_told_from_what_somebody_wrote() {
    let (pool, tool, _) = linked(5);
    let verify = ["--format", "json", "verify"];
    let sound = tool.run(&verify).expect(0);
    assert_eq!(states(&sound, &pool).len(), 5);
    assert_eq!(sound.lines().last().unwrap()["sound"], 5);
    let before = snapshot::all_entries(&pool);

    // Other bytes, and the times put back: what no program does.
    let rotten = pool.on(0, "media/1.bin");
    let mtime = std::fs::metadata(&rotten).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(&rotten).unwrap();
    file.write_all_at(b"ROT", 4_500).unwrap();
    file.set_modified(mtime).unwrap();
    drop(file);
    // Through the path that was the duplicate's.
    let written = pool.path("downloads/2.bin");
    let file = OpenOptions::new().write(true).open(&written).unwrap();
    file.write_all_at(b"NEW", 0).unwrap();
    drop(file);
    std::fs::remove_file(pool.path("media/3.bin")).unwrap();
    std::fs::remove_file(pool.path("downloads/3.bin")).unwrap();
    // Under another of its names it is still the same file.
    std::fs::remove_file(pool.path("media/4.bin")).unwrap();

    let run = tool.run(&verify).expect(1);
    let expected = [
        ("media/0.bin", "sound"),
        ("media/1.bin", "damaged"),
        ("media/2.bin", "changed"),
        ("media/3.bin", "gone"),
        ("media/4.bin", "sound"),
    ];
    let expected = expected.map(|(path, state)| (path.to_owned(), state.to_owned()));
    assert_eq!(states(&run, &pool), expected, "{run}");
    let text = tool.run(&["verify", "1"]).expect(1);
    assert!(text.stdout.contains("damaged     "), "{text}");
    assert!(!text.stdout.contains("media/0.bin"), "{text}");
    let sums = "Run 1: 5 files replaced. Their bytes are in 5 files: 2 sound, 1 damaged, 1 changed since, 1 gone. ";
    assert!(text.stdout.contains(sums), "{text}");
    assert_eq!(before.len(), snapshot::all_entries(&pool).len());
    // What is rotten is not copied either.
    let undo = tool.run(&["--format", "json", "undo", "-e"]).expect(1);
    let rotten = pool.path("downloads/1.bin");
    assert_eq!(undo.reasons_for(&rotten), ["damaged"], "{undo}");
    // Nor is it offered again, unless the run is named.
    for (run, planned) in [(None, 0), (Some("1"), 1)] {
        let again = ["--format", "json", "undo"].into_iter().chain(run).collect::<Vec<_>>();
        let again = tool.run(&again);
        assert_eq!(again.lines().pop().unwrap()["planned"], planned, "{again}");
    }
    snapshot::assert_no_own_names(&pool);
}

#[test]
fn a_name_that_cannot_be_looked_up_does_not_hide_the_others() {
    let (pool, tool, _) = linked(1);
    let outside = tempfile::tempdir().unwrap();
    std::fs::rename(pool.on(0, "media"), pool.on(0, "moved")).unwrap();
    std::os::unix::fs::symlink(outside.path(), pool.on(0, "media")).unwrap();
    let run = tool.run(&["--format", "json", "verify"]).expect(0);
    assert_eq!(run.lines().last().unwrap()["sound"], 1, "{run}");
}

/// `history` counts the files that were replaced, and several of them can have their bytes in one kept copy.
#[test]
fn verify_counts_the_files_of_a_run_as_history_does() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let content = tree::bytes(1, groups::SMALL);
    for (disk, path) in [(0, "media/a"), (1, "dl/b"), (1, "dl/c")] {
        tree::write(&pool.on(disk, path), &content);
    }
    tree::settle();
    let (tool, root) = (Tool::new(), pool.root().to_str().unwrap());
    let line = ["-p", pool.path("media").to_str().unwrap(), root, "-e"].map(str::to_owned);
    tool.run(&line).expect(0);
    let text = tool.run(&["verify"]).expect(0);
    assert!(
        text.stdout.starts_with("Run 1: 2 files replaced. Their bytes are in 1 file: 1 sound. "),
        "{text}"
    );
    let undone = pool.path("dl/c");
    tool.run(&["undo", "-e", "--path", undone.to_str().unwrap()]).expect(0);
    let text = tool.run(&["verify", "1"]).expect(0);
    assert!(
        text.stdout.starts_with("Run 1: 2 files replaced, 1 of them taken back since. "),
        "{text}"
    );
    let text = tool.run(&["verify", "2"]).expect(0);
    assert!(
        text.stdout.starts_with("Run 2: 1 file copied back. Their bytes are in 1 file: "),
        "{text}"
    );
    let last = tool.run(&["--format", "json", "verify", "1"]).expect(0).lines().pop().unwrap();
    let history = tool.run(&["--format", "json", "history"]).expect(0).lines_of("run");
    for key in ["done", "undone", "sharing"] {
        assert_eq!(last[key], history[0][key], "{key}");
    }
    assert_eq!((&last["done"], &last["undone"], &last["sound"]), (&2.into(), &1.into(), &1.into()));
}

#[test]
fn history_and_export_tell_of_every_run() {
    let (_pool, tool, made) = linked(3);
    tool.run(&["undo", "-e"]).expect(0);
    let runs = tool.run(&["--format", "json", "history"]).expect(0).lines_of("run");
    assert_eq!(runs.len(), 2);
    assert_eq!((&runs[0]["done"], &runs[0]["undone"]), (&3.into(), &3.into()));
    assert_eq!((&runs[1]["done"], &runs[1]["undoes"]), (&3.into(), &1.into()));
    let text = tool.run(&["history"]).expect(0);
    assert!(text.stdout.contains("undo of run 1"), "{text}");
    let list = tool.list();
    let typed = ["-m", list.to_str().unwrap(), "--any-master"];
    assert_eq!((&runs[0]["options"], &runs[1]["options"]), (&typed.into(), &["undo"].into()));
    assert!(text.stdout.contains(&format!("       {}\n", typed.join(" "))), "{text}");

    let log = std::fs::read_to_string(tool.journal().join("log.csv")).unwrap();
    let csv = tool.run(&["export", "--csv"]).expect(0);
    assert_eq!(csv.stdout, log);
    let records = tool.run(&["export", "--json"]).expect(0).lines_of("record");
    let of = |what| records.iter().filter(|r| r["record"] == what).count();
    assert_eq!((of("run-started"), of("undo-started"), of("run-ended")), (1, 1, 2));
    assert_eq!((of("intent"), of("undo-intent"), of("copied")), (3, 3, 3));
    assert_eq!((of("retired"), of("done")), (6, 6));
    let only = tool.run(&["export", "1"]).expect(0).lines_of("record");
    assert!(only.iter().all(|r| r["run"] == 1), "{only:?}");
    let intent = only.iter().find(|r| r["record"] == "intent").unwrap();
    let bytes = tree::bytes(0, groups::SMALL);
    assert_eq!(intent["blake3"], blake3::hash(&bytes).to_hex().as_str());
    assert_eq!(made.len(), 3);
    tool.run(&["export", "7"]).expect(2);
    // A run of this second is not older than this moment.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let would = tool.run(&["history", "--prune", "0", "-n"]).expect(0);
    assert!(would.stdout.starts_with("1 run (1) would be forgotten, 1 kept.\n"), "{would}");
    assert_eq!(tool.run(&["history"]).expect(0).stdout, text.stdout, "-n changed the journal");
    let json = ["--format", "json", "history", "--prune", "0"];
    for (line, dry_run) in [(&[&json[..], &["-n"]].concat(), true), (&json.to_vec(), false)] {
        let told = tool.run(line).expect(0).lines_of("prune").remove(0);
        assert_eq!(
            (&told["dry_run"], &told["forgotten"], &told["kept"]),
            (&dry_run.into(), &1.into(), &1.into())
        );
    }
    let pruned = tool.run(&["undo", "1"]).expect(2);
    assert!(pruned.stderr.contains("--prune forgot it"), "{pruned}");
    let never = tool.run(&["undo", "7"]).expect(2);
    assert!(never.stderr.contains("has no run 7"), "{never}");
}

#[test]
fn a_program_reads_that_there_is_no_journal_yet() {
    let tool = Tool::new();
    let status = tool.run(&["--format", "json", "status"]).expect(0);
    assert!(status.lines()[0]["last_run"].is_null(), "{status}");
    let history = tool.run(&["--format", "json", "history"]).expect(0);
    assert!(history.lines().is_empty(), "{history}");
}

#[test]
fn a_run_ends_when_its_time_is_up_and_the_next_goes_on() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    for group in &made {
        for (disk, path) in [(0, &group[0]), (1, &group[1])] {
            // Long enough to read that a second is not.
            let file = File::create(pool.on(disk, path)).unwrap();
            // A file without any data would be skipped as empty.
            file.write_all_at(b"data", 0).unwrap();
            file.set_len(100 << 30).unwrap();
            drop(file);
            tree::age_path(&pool.on(disk, path), tree::AGE);
        }
    }
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    let run = tool.execute(&list, &["--max-time", "1s"].map(OsStr::new)).expect(0);
    let summary = run.summary();
    assert_eq!((summary.get("done"), summary.get("left")), (0, 2), "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);
}

#[test]
fn an_undo_ends_when_its_time_is_up_and_the_next_goes_on() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 40);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    tool.execute(&list, &[]).expect(0);
    let linked = snapshot::all_entries(&pool);
    // Each file that comes back is written in one call, at least: not all of them in a second.
    let slow = "inject=pwrite64:delay_enter=100000";
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", slow];
    let undo = ["--format", "json", "undo", "1", "-e"];
    let limited = [&undo[..], &["--max-time", "1s"]].concat();
    let summary = tool.run_under(&strace, &limited).expect(0).summary();
    let done = summary.get("done");
    assert!(done < 40 && summary.get("left") == 40 - done);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    let before = snapshot::all_entries(&pool);
    tool.run(&["resume"]).expect(0);
    assert_eq!(snapshot::all_entries(&pool), before, "something was open");
    tree::settle();
    let rest = tool.run(&undo).expect(0).summary();
    assert_eq!(rest.get("done"), 40 - done);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    assert_ne!(snapshot::all_entries(&pool), linked);
    for group in &made {
        let at = [&group[0], &group[1]].map(|path| snapshot::places(&pool, path)[0].0);
        assert_eq!(at, [0, 1]);
    }
}
