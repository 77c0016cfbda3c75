//! mergerfs 2.33 to 2.42 as they answer, by a stand-in: paths resolve, the plan is the same, a run does it.

use std::ffi::OsStr;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Mode, Pool, PoolPlan};
use crate::harness::stand_in::{FileXattrs, Plan, STYLES, Style};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

const NEWEST: Style = STYLES[3];

fn pool(style: Style, xattrs: FileXattrs) -> Pool {
    let plan = Plan { style, xattrs, newest: false };
    PoolPlan::of(&[Ext4, Xfs]).mode(1, Mode::NoCreate).stand_in(plan).mount()
}

fn dry_run(tool: &Tool, list: &std::path::Path) -> Run {
    tool.run(&["--format", "json", "-m", list.to_str().unwrap()])
}

#[test]
fn every_version_is_understood_from_the_list_to_the_last_unlink() {
    for style in STYLES {
        let pool = pool(style, FileXattrs::Passthrough);
        let mut made = groups::pairs(&pool, 0, 1, 3);
        // On both branches: only a complete answer tells.
        tree::write(&pool.on(0, &made[2][1]), &tree::bytes(2, groups::SMALL));
        let odd = "odd/na\u{7f}me = with : all\n".to_owned();
        tree::write(&pool.on(1, &odd), &tree::bytes(0, groups::SMALL));
        made[0].push(odd.into());
        let tool = Tool::new();
        let list = groups::list(&tool, &pool, &made);
        let planned = dry_run(&tool, &list).expect(0);
        let told = |run: &Run| run.summary().get("planned");
        assert_eq!(told(&planned), 4, "{}: {planned}", style.release);
        let reasons = planned.reasons_for(&pool.path(&made[2][1]));
        assert_eq!(reasons, ["shadowed"], "{}: {planned}", style.release);
        assert!(!planned.stderr.contains("each branch was looked at"), "{planned}");
        let scanned = tool.run(&["--format", "json", pool.root().to_str().unwrap()]);
        assert_eq!(told(&scanned.expect(0)), 4, "{}", style.release);

        let view = snapshot::view(pool.root());
        let run = tool.execute(&list, &[]).expect(0);
        assert_eq!(run.summary().get("done"), 4, "{}: {run}", style.release);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        groups::assert_linked(&pool, &made[..2]);
    }
}

#[test]
fn doctor_reads_the_options_of_every_version() {
    for style in STYLES {
        let pool = pool(style, FileXattrs::Passthrough);
        let tool = Tool::new();
        let run = tool.run(&["doctor", "--format", "json", pool.root().to_str().unwrap()]);
        let run = run.expect(0);
        let found = run.lines_of("finding");
        let has = |topic: &str| found.iter().any(|line| line["topic"] == topic);
        // Keys that changed their spelling.
        assert!(has("link-cow") && has("cache-times"), "{}: {run}", style.release);
        assert_eq!(has("create-policy"), style.create != "pfrd", "{}: {run}", style.release);
        assert_eq!(has("readers"), style.newer, "{}: {run}", style.release);
        assert_eq!(has("version-unknown"), style.version == "unknown", "{run}");
        let line = &run.lines_of("pool")[0];
        assert_eq!(line["branches"].as_array().unwrap().len(), 2, "{run}");
    }
}

/// Runs where mergerfs tells nothing about single files: each branch is looked at.
fn check_silent(pool: &Pool, latches: bool) {
    let made = groups::pairs(pool, 0, 1, 4);
    // By this a list without the second branch is known to be wrong, also where mergerfs cannot be asked.
    tree::make_dir(&pool.on(1, "only here"), 0o755, (0, 0));
    let tool = Tool::new();
    let list = groups::list(&tool, pool, &made[..2]);
    let view = snapshot::view(pool.root());
    let run = tool.execute(&list, &[]).expect(0);
    assert!(run.stderr.contains("each branch was looked at"), "{run}");
    groups::assert_linked(pool, &made[..2]);
    // Under nosys mergerfs is silent for good after the first question about a file.
    let list = groups::write_list(&tool, pool, &made[2..]);
    if latches {
        let asked = xattr::get(pool.path(&made[2][0]), "user.mergerfs.allpaths");
        assert!(asked.is_err(), "the kernel still asks");
        let silent = tool.execute(&list, &[]).expect(3);
        assert!(silent.stderr.contains("--branches"), "{silent}");
    }
    let one = pool.on(0, "").display().to_string();
    let stranger = tool.dir().join("stranger");
    std::fs::create_dir_all(stranger.join("not of the pool")).unwrap();
    let before = snapshot::all_entries(pool);
    for (wrong, code) in [
        (format!("{}=XX", one.trim_end_matches('/')), 2),
        (one.trim_end_matches('/').to_owned(), 3),
        (format!("{one}:{}:{}", pool.on(1, "").display(), stranger.display()), 3),
    ] {
        let run = tool.execute(&list, &["--branches".as_ref(), wrong.as_ref()]);
        assert_eq!(run.code(), Some(code), "{run}");
        assert_eq!(snapshot::all_entries(pool), before, "{run}");
    }
    let branches = format!("{}=RW:{}=NC", pool.on(0, "").display(), pool.on(1, "").display());
    let branches = branches.replace("/=", "=");
    let run = tool.execute(&list, &[OsStr::new("--branches"), OsStr::new(&branches)]).expect(0);
    assert_eq!(run.summary().get("done"), 2, "{run}");
    groups::assert_linked(pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn pools_that_tell_nothing_about_files_are_worked_on_all_the_same() {
    for style in [STYLES[0], NEWEST] {
        check_silent(&pool(style, FileXattrs::NoAttr), false);
        check_silent(&pool(style, FileXattrs::NoSys), true);
    }
}

#[test]
fn the_real_mergerfs_without_file_attributes_is_worked_on_all_the_same() {
    for (option, latches) in [("xattr=noattr", false), ("xattr=nosys", true)] {
        let pool = PoolPlan::of(&[Ext4, Xfs]).option(option).mode(1, Mode::NoCreate).mount();
        check_silent(&pool, latches);
    }
}

#[test]
fn under_getattr_newest_a_new_directory_is_modelled_on_the_newest() {
    let plan = Plan { style: NEWEST, xattrs: FileXattrs::Passthrough, newest: true };
    let pool = PoolPlan::of(&[Ext4, Xfs, Xfs]).stand_in(plan).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    // The pool shows the third branch's directory, which is younger.
    tree::make_dir(&pool.on(2, "downloads"), 0o2775, (1000, 1000));
    tree::age_path(&pool.on(1, "downloads"), tree::AGE);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    tool.execute(&list, &["-p".as_ref(), pool.path("media").as_os_str()]).expect(0);
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}
