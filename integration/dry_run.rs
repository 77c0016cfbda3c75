//! Without `-e` nothing changes. The plan is printed for a person, or as a script that does the same by hand.

use std::path::Path;

use std::process::Command;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::tool::{Run, Tool};
use crate::harness::{manifest, snapshot, tree};
use crate::library;

fn script_of(tool: &Tool, list: &Path) -> Run {
    tool.run(&[
        "--any-master".as_ref(),
        "--format=script".as_ref(),
        "-m".as_ref(),
        list.as_os_str(),
    ])
}

#[test]
fn the_plan_is_for_a_person_and_the_run_ends_as_it_says() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    groups::pairs(&pool, 0, 1, 40);
    tree::settle();
    let tool = Tool::new();
    let script = tool.dir().join("plan.sh");
    let root = pool.root().display().to_string();
    let line = ["--no-cache", "-p", &format!("{root}/media"), &root];
    let beside = ["--script", script.to_str().unwrap()];
    let dry = tool.run(&[&line[..], &beside].concat()).expect(0).stdout;
    assert!(dry.starts_with("link ") && dry.lines().count() < 30, "{dry}");
    assert!(dry.contains("40 files can be linked, "), "{dry}");
    let end = "Nothing was changed. Run again with -e to apply.\n";
    assert!(dry.ends_with(&format!("{end}The script is in {script:?}.\n")), "{dry}");
    let by_hand = std::fs::read_to_string(script).unwrap();
    assert!(by_hand.starts_with("#!/bin/sh\n") && by_hand.contains("\nreplace 40\n"));
    let (_, freed) = dry.split_once("can be linked, ").unwrap();
    let (freed, _) = freed.split_once(" freed").unwrap();
    let done = tool.run(&[&line[..], &["-e"]].concat()).expect(0).stdout;
    assert!(done.contains(&format!("\n40 files linked, {freed} freed in ")), "{dry}{done}");
}

#[test]
fn a_dry_run_says_what_the_run_would_refuse() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    groups::pairs(&pool, 0, 1, 1);
    tree::settle();
    let tool = Tool::new();
    let root = pool.root().display().to_string();
    let within = format!("{root}/journal");
    let line = ["--journal", &within, "--no-cache", "--any-master", &root];
    let dry = tool.run(&line).expect(0).stdout;
    assert!(dry.contains("Before -e: the journal ") && dry.contains("--journal)."), "{dry}");
    tool.run(&[&line[..], &["-e"]].concat()).expect(2);
}

#[test]
fn n_overrides_the_execute_of_a_file_and_m_needs_no_cache() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let file = tool.dir().join("options");
    std::fs::write(&file, format!("execute\nany-master\nmanifest = {}\n", list.display())).unwrap();
    let before = snapshot::all_entries(&pool);
    let config = ["--config", file.to_str().unwrap()];
    let dry = tool.run(&[&config[..], &["-n", "--no-cache"]].concat()).expect(0);
    assert!(dry.stdout.contains("2 files can be linked"), "{dry}");
    assert!(dry.stderr.contains("--no-cache is ignored"), "{dry}");
    assert_eq!(snapshot::all_entries(&pool), before, "-n changed something");
    let run = tool.run(&config).expect(0);
    assert!(run.stdout.contains("2 files linked"), "{run}");
}

#[test]
fn a_dry_run_changes_nothing_and_prints_a_script_that_does_it() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).option("category.create=mfs").mount();
    let made = library::fill(&pool, 40);
    let tool = Tool::new();
    manifest::jdupes(&["-r", "-j"], &[pool.root()], &tool.list());
    let view = snapshot::view(pool.root());
    let before = snapshot::all_entries(&pool);

    let run = script_of(&tool, &tool.list()).expect(0);
    assert_eq!(snapshot::all_entries(&pool), before, "a dry run changed something");
    assert!(!tool.journal().exists(), "a dry run made a journal");

    let script = tool.dir().join("script.sh");
    std::fs::write(&script, &run.stdout).unwrap();
    let by_hand = Command::new("sh").arg(&script).output().unwrap();
    assert!(by_hand.status.success(), "{by_hand:?}");
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn the_script_takes_names_that_a_shell_would_not() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let names = ["with space", "quote's", "$(reboot)", "-n", "new\nline", "*"];
    let mut made = Vec::new();
    for (n, name) in names.into_iter().enumerate() {
        let group = [format!("media/{name}"), format!("down loads/{name}")];
        for (disk, path) in group.iter().enumerate() {
            tree::write(&pool.on(disk, path), &tree::bytes(n as u64, groups::SMALL));
        }
        made.push(group.map(Into::into).to_vec());
    }
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let run = script_of(&tool, &list).expect(0);
    let script = tool.dir().join("script.sh");
    std::fs::write(&script, &run.stdout).unwrap();
    let by_hand = Command::new("sh").arg(&script).output().unwrap();
    assert!(by_hand.status.success(), "{by_hand:?}\n{run}");
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn the_script_stops_when_a_file_has_changed_since() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let run = script_of(&tool, &list).expect(0);
    let script = tool.dir().join("script.sh");
    std::fs::write(&script, &run.stdout).unwrap();
    tree::write(&pool.on(1, &made[0][1]), &tree::bytes(99, groups::SMALL));
    let view = snapshot::view(pool.root());
    // How it ends is its own affair; what matters is that the other bytes are still there.
    Command::new("sh").arg(&script).output().unwrap();
    snapshot::assert_complete(&view, &snapshot::view(pool.root()));
}
