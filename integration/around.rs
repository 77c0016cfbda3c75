//! What happens around a run: commands of the user's, SnapRAID, options from a file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::groups::{self, Group};
use crate::harness::command;
use crate::harness::loop_disk::Filesystem::Ext4;
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;

struct Stage {
    pool: Pool,
    tool: Tool,
    made: Vec<Group>,
    list: PathBuf,
}

impl Stage {
    fn new(disks: usize) -> Self {
        let pool = PoolPlan::of(&vec![Ext4; disks]).mount();
        let made = groups::pairs(&pool, 0, 1, 3);
        let tool = Tool::new();
        let list = groups::list(&tool, &pool, &made);
        Self { pool, tool, made, list }
    }

    fn run(&self, more: &[&str]) -> Run {
        let mut all: Vec<OsString> =
            vec!["--any-master".into(), "-m".into(), self.list.clone().into()];
        all.extend(more.iter().map(OsString::from));
        self.tool.run(&all)
    }

    fn is_untouched(&self) -> bool {
        self.pool.on(1, "downloads/0.bin").exists() && !self.tool.journal().exists()
    }

    fn note(&self) -> PathBuf {
        self.tool.dir().join("note")
    }

    fn noted(&self) -> String {
        std::fs::read_to_string(self.note()).unwrap_or_default()
    }
}

#[test]
fn commands_run_before_and_after_what_changes_something() {
    let stage = Stage::new(2);
    let note = stage.note().display().to_string();
    let pre = format!(
        "echo on stdout; echo before $XDEDUP_PLANNED >> {note}; test -e {}",
        stage.pool.on(1, "downloads/0.bin").display()
    );
    let post = format!("echo after $XDEDUP_EXIT $XDEDUP_POOL >> {note}");
    let hooks = ["--pre", pre.as_str(), "--post", post.as_str()];

    stage.run(&hooks).expect(0);
    assert_eq!(stage.noted(), "", "a dry run ran them");
    let run = stage.run(&[&hooks[..], &["-e", "--format", "json"]].concat()).expect(0);
    let root = stage.pool.root().display();
    assert_eq!(stage.noted(), format!("before 3\nafter 0 {root}\n"));
    assert!(run.lines().iter().all(serde_json::Value::is_object));
    groups::assert_linked(&stage.pool, &stage.made);
    stage.run(&[&hooks[..], &["-e"]].concat()).expect(0);
    assert_eq!(stage.noted().lines().count(), 2, "they ran for nothing");
}

#[test]
fn a_command_that_fails_before_stops_the_run_and_one_after_is_told() {
    let stage = Stage::new(2);
    let note = format!("echo after $XDEDUP_EXIT >> {}; false", stage.note().display());
    let run = stage.run(&["-e", "--pre", "exit 7", "--post", &note]).expect(3);
    assert!(run.stderr.contains("--pre failed (exit status: 7)"), "{run}");
    assert!(stage.noted().is_empty() && stage.pool.on(1, "downloads/0.bin").exists());
    // What was stopped is started again, also after a run that did not do all.
    let busy = std::fs::File::open(stage.pool.path("downloads/1.bin")).unwrap();
    stage.run(&["-e", "--post", &note]).expect(1);
    assert_eq!(stage.noted(), "after 1\n");
    drop(busy);
    let run = stage.run(&["-e", "--post", &note]).expect(1);
    assert!(run.stderr.contains("--post failed"), "{run}");
    groups::assert_linked(&stage.pool, &stage.made);
}

#[test]
fn nothing_is_changed_while_snapraid_has_not_synced() {
    // The third disk holds the parity.
    let stage = Stage::new(3);
    // SnapRAID takes a disk without any of its files for one that is not mounted.
    tree::write(&stage.pool.on(1, "keep"), b"on this disk");
    let conf = stage.tool.dir().join("snapraid.conf");
    let on = |disk, name: &str| stage.pool.on(disk, name).display().to_string();
    let text = format!(
        "parity {}\ncontent {}\ncontent {}\ndata d0 {}\ndata d1 {}\nexclude *.content\n",
        on(2, "snapraid.parity"),
        on(0, "snapraid.content"),
        on(1, "snapraid.content"),
        on(0, ""),
        on(1, "")
    );
    std::fs::write(&conf, text).unwrap();
    let guard = format!("--snapraid-guard={}", conf.display());
    let run = stage.run(&["-e", &guard]).expect(3);
    assert!(run.stderr.contains("run snapraid sync"), "{run}");
    assert!(stage.is_untouched());
    sync(&conf);
    let run = stage.run(&["-e", &guard]).expect(0);
    assert!(run.stderr.contains("run snapraid sync now"), "{run}");
    groups::assert_linked(&stage.pool, &stage.made);
    // The parity covers the links, too.
    sync(&conf);
    command::run("snapraid", &["--conf".as_ref(), conf.as_os_str(), "check".as_ref()]);
    let run = stage.run(&["-e", "--snapraid-guard=/nonexistent"]).expect(3);
    assert!(run.stderr.contains("snapraid diff"), "{run}");
}

fn sync(conf: &Path) {
    command::run("snapraid", &["--conf".as_ref(), conf.as_os_str(), "sync".as_ref()]);
}

#[test]
fn options_come_from_a_file() {
    let stage = Stage::new(2);
    let file = stage.tool.dir().join("options");
    let text = format!(
        "# nightly\nprimary = {}\ndir = {}\ncache = {}\nexclude = 2.bin\n",
        stage.pool.path("media").display(),
        stage.pool.root().display(),
        stage.tool.dir().join("cache").display()
    );
    std::fs::write(&file, text).unwrap();
    stage.tool.run(&["--config".as_ref(), file.as_os_str(), "-e".as_ref()]).expect(0);
    groups::assert_linked(&stage.pool, &stage.made[..2]);
    assert!(stage.pool.on(1, "downloads/2.bin").exists());
    let status =
        stage.tool.run(&["--config".as_ref(), file.as_os_str(), "status".as_ref()]).expect(0);
    assert!(status.stdout.contains("run 1"), "{status}");
    std::fs::write(&file, "primery = /pool\n").unwrap();
    let run = stage.tool.run(&["--config".as_ref(), file.as_os_str(), "-e".as_ref()]).expect(2);
    assert!(run.stderr.contains("options:1") && run.stderr.contains("primery"), "{run}");
}
