//! What `doctor` says of real pools, and that it changes nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Mode, Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

fn doctor(tool: &Tool, pool: &Path) -> Run {
    let pool = pool.to_str().unwrap();
    tool.run(&["doctor", "--format", "json", pool])
}

/// The topics of one level.
fn topics(run: &Run, level: &str) -> BTreeSet<String> {
    let lines = run.lines_of("finding").into_iter();
    let ours = lines.filter(|line| line["level"] == level);
    ours.map(|line| line["topic"].as_str().unwrap().to_owned()).collect()
}

fn set(topics: &[&str]) -> BTreeSet<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

/// Everything of the pool, times of directories and files included.
fn everything(pool: &Pool) -> Vec<snapshot::Entries> {
    snapshot::all_entries(pool)
}

#[test]
fn a_sound_pool_runs_and_what_is_wrong_with_a_pool_is_said() {
    let mut pool = PoolPlan::of(&[Ext4, Xfs, Ext4])
        .option("category.create=mfs")
        .mode(1, Mode::NoCreate)
        .mount();
    groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    let before = everything(&pool);
    let run = doctor(&tool, pool.root()).expect(0);
    assert_eq!(topics(&run, "prevents"), set(&[]), "{run}");
    assert_eq!(everything(&pool), before, "doctor changed something");
    assert!(!tool.journal().exists(), "doctor made a journal");
    // Without a name every pool that is mounted, this one among them.
    let all = tool.run(&["doctor", "--quick"]);
    assert!(all.stdout.contains(pool.root().to_str().unwrap()), "{all}");

    tree::write(&pool.on(0, "deep/er/.xdedup-0000-t"), b"left");
    tree::write(&pool.on(0, "snapraid.content"), b"content");
    pool.disk(1).remount("ro");
    let run = doctor(&tool, pool.root()).expect(1);
    assert_eq!(topics(&run, "prevents"), set(&["disk-read-only"]), "{run}");
    let surprises = topics(&run, "surprises");
    assert!(surprises.is_superset(&set(&["leftover-names", "snapraid"])), "{run}");
    pool.disk(1).remount("rw");

    // A disk that is not there any more: an empty directory of the disk below.
    pool.disk_mut(2).detach();
    let run = doctor(&tool, pool.root()).expect(0);
    assert!(topics(&run, "surprises").contains("branch-empty"), "{run}");
    let bare = pool.on(2, "");
    tree::write(&bare.join(".mergerfs.branch_mounts_here"), b"");
    let run = doctor(&tool, pool.root()).expect(1);
    assert_eq!(topics(&run, "prevents"), set(&["branch-not-mounted"]), "{run}");
    std::fs::remove_file(bare.join(".mergerfs.branch_mounts_here")).unwrap();
    std::fs::remove_dir(bare).unwrap();
    let run = doctor(&tool, pool.root()).expect(1);
    assert_eq!(topics(&run, "prevents"), set(&["branch-missing"]), "{run}");
}

#[test]
fn the_place_of_the_journal_and_what_is_no_pool_are_said() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).option("category.create=epmfs").mount();
    let tool = Tool::new();
    for (journal, topic) in [
        (pool.path("journal"), "journal-in-pool"),
        (pool.on(1, "a/journal"), "journal-in-pool"),
        ("/dev/shm/xdedup-none".into(), "journal-volatile"),
    ] {
        let journal = journal.to_str().unwrap();
        let root = pool.root().to_str().unwrap();
        let binary = crate::harness::tool::BINARY;
        let line = [binary, "--journal", journal, "doctor", "--format=json", root];
        let run = tool.run_line(&line.map(Into::into));
        let said = run.lines_of("finding");
        assert!(said.iter().any(|line| line["topic"] == topic), "{run}");
    }
    // On path-preserving policies, which are the default until 2.40.
    let run = doctor(&tool, pool.root()).expect(0);
    assert!(topics(&run, "surprises").contains("create-policy"), "{run}");
    doctor(&tool, tool.dir()).expect(3);
    doctor(&tool, &pool.on(0, "")).expect(3);
}

/// Runs a shell script in a mount namespace of its own while `look` looks from outside.
fn beside<T>(script: &str, look: impl FnOnce() -> T) -> T {
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", &format!("set -e; {script}; echo ready; read end")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    let result = look();
    drop(child.stdin.take());
    child.wait().unwrap();
    result
}

#[test]
fn a_container_that_sees_the_pool_in_two_pieces_is_said() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let (root, dir) = (pool.root().display(), tool.dir().display());
    let script = format!(
        "mkdir {dir}/m {dir}/d; mount --bind {root}/media {dir}/m; mount --bind {root}/downloads {dir}/d; \
         umount -l {root}"
    );
    let run = beside(&script, || doctor(&tool, pool.root()));
    assert!(topics(&run, "surprises").contains("split-mounts"), "{run}");
    let run = doctor(&tool, pool.root());
    assert!(!topics(&run, "surprises").contains("split-mounts"), "{run}");
}

#[test]
fn a_pool_without_its_branches_in_a_container_is_said() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let run = |script: &str| {
        let root = pool.root().to_str().unwrap();
        let script = format!("{script}; exec \"$@\"");
        tool.run_under(
            &["unshare", "--mount", "sh", "-c", &script, "sh"],
            &["doctor", "--format", "json", root],
        )
    };
    let gone = run(&format!("umount -l {}", pool.on(1, "").display())).expect(1);
    assert!(topics(&gone, "prevents").contains("branches-elsewhere"), "{gone}");
}

/// What mergerfs follows is no other file.
#[test]
fn a_pool_that_follows_symlinks_is_no_false_alarm_and_symlinks_to_branches_are_named() {
    let plan = PoolPlan::of(&[Ext4, Xfs]).option("follow-symlinks=all");
    let pool = plan.option("link-exdev=abs-base-symlink").mount();
    tree::write(&pool.on(0, "a"), b"a");
    let outside = pool.branch_parent().join("outside");
    tree::write(&outside.join("file"), b"b");
    std::os::unix::fs::symlink(&outside, pool.on(1, "ext")).unwrap();
    let tool = Tool::new();
    let run = doctor(&tool, pool.root()).expect(0);
    assert_eq!(topics(&run, "prevents"), set(&[]), "{run}");
    let notes = topics(&run, "note");
    assert!(notes.contains("symlink-options") && !notes.contains("symlinks-to-branches"), "{run}");
    std::os::unix::fs::symlink(pool.on(0, "a"), pool.on(1, "to-a")).unwrap();
    let run = doctor(&tool, pool.root()).expect(0);
    assert!(topics(&run, "note").contains("symlinks-to-branches"), "{run}");
    assert!(run.stdout.contains(pool.on(1, "to-a").to_str().unwrap()), "{run}");
}
