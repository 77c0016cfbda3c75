//! Disks that answer late, fall silent, turn read-only, go, or cannot read one file, while the tool is at work: it ends in
//! bounded time and says which disk it was, nothing is lost, and `resume` cleans up when the disk is well again.
//!
//! An error of a call about one file's metadata (its inode cannot be read) is in `kill`, at each call, and in
//! `crash_points::errors`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fault::Fault;
use super::files::MIXED;
use super::pool::PoolMount;
use super::recorder::Recorder;
use super::rig::{FileSystem, Rig, report};
use super::scene::{BRANCHES, Scene};

use FileSystem::{Btrfs, Ext4, Xfs};

const KINDS: [FileSystem; BRANCHES + 1] = [Ext4, Xfs, Btrfs, Ext4];
/// The journal's disk.
const JOURNAL: usize = BRANCHES;
/// A command that meets an error ends much sooner than this.
const SOON: Duration = Duration::from_secs(40);
/// When the tool says that a disk does not answer, and some time more.
const TOLD: Duration = Duration::from_secs(60);

/// The disks of a scene, none of it in memory, and the pool over them.
struct Stage {
    // The pool goes before its disks.
    pool: Option<PoolMount>,
    rig: Rig,
    scene: Scene,
}

impl Stage {
    fn new() -> Self {
        let mut scene = Scene::new(KINDS, MIXED).unwrap();
        let rig = Rig::format(&scene.slots).unwrap();
        scene.fill().unwrap();
        Self::revive(scene, rig)
    }

    /// Takes the disks down, and puts them up again.
    fn revive(scene: Scene, rig: Rig) -> Self {
        let log = rig.stop().unwrap();
        let rig = Rig::revive(log.live, &scene.slots).unwrap();
        let pool = Some(scene.mount_pool().unwrap());
        Self { pool, rig, scene }
    }

    fn recorder(&self) -> &Recorder {
        self.rig.recorder()
    }

    /// Breaks a disk. It is mended when the value goes: a disk that is silent cannot be unmounted.
    fn breaks(&self, device: usize, fault: Fault) -> Broken<'_> {
        self.recorder().set_fault(device, fault);
        Broken { recorder: self.recorder(), device }
    }

    /// Begins to do what the list says; strace makes it slow enough to be met in the middle.
    fn begin(&self) -> Running {
        let tool = self.scene.tool_that_executes();
        let mut slow = Command::new("strace");
        slow.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat,renameat2"]);
        slow.args(["-e", "inject=linkat,renameat2:delay_enter=15000"]);
        slow.arg(tool.get_program()).args(tool.get_args());
        Running::new(slow, self.scene.stage())
    }

    /// The same, and waits until files have been linked.
    fn begin_and_link(&self) -> Running {
        let mut running = self.begin();
        running.wait_for("something to be linked", SOON, || {
            self.scene.branches().iter().any(|branch| has_hidden_names(branch))
        });
        running
    }

    fn tool(&self, arguments: &[&str]) -> Running {
        Running::new(self.scene.tool(arguments), self.scene.stage())
    }

    /// With sound disks: nothing was lost, `resume` cleans up, and the next run does the rest.
    fn finish(self, what: &str) {
        let Self { pool, rig, scene } = self;
        drop(pool);
        let stage = Self::revive(scene, rig);
        let check = |when: &str| {
            for expected in [&stage.scene.durable, &stage.scene.young] {
                stage
                    .scene
                    .check_paths(expected)
                    .unwrap_or_else(|why| panic!("{what}, {when}: {why}"));
            }
        };
        check("as it was left");
        stage.tool(&["resume"]).expect(&[0], what);
        check("resumed");
        stage.scene.check_no_own_names().unwrap_or_else(|why| panic!("{what}: {why}"));
        let again = Running::new(stage.scene.tool_that_executes(), stage.scene.stage());
        let again = again.expect(&[0], what);
        check("done");
        stage.scene.check_log_is_closed().unwrap_or_else(|why| panic!("{what}: {why}\n{again}"));
        let inodes = stage.scene.distinct_inodes();
        assert_eq!(inodes, stage.scene.group_count(), "{what}: {again}");
    }
}

fn has_hidden_names(branch: &Path) -> bool {
    let mut dirs = vec![branch.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".xdedup-") {
                return true;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
        }
    }
    false
}

/// A disk with a fault.
struct Broken<'r> {
    recorder: &'r Recorder,
    device: usize,
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        self.recorder.set_fault(self.device, Fault::None);
    }
}

/// A command at work, its output in files.
struct Running {
    child: Child,
    said: std::path::PathBuf,
    began: Instant,
}

impl Running {
    fn new(mut command: Command, stage: &Path) -> Self {
        let said = stage.join("said");
        let out = File::create(&said).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { child: command.spawn().unwrap(), said, began: Instant::now() }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Sends the tool a signal, not the strace around it.
    fn signal(&self, signal: Signal) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let tool = fs::read_to_string(children).unwrap();
        let tool = tool.split_whitespace().next().expect("strace has the tool as its child");
        kill(Pid::from_raw(tool.parse().unwrap()), signal).unwrap();
    }

    fn wait_for(&mut self, what: &str, at_most: Duration, mut there: impl FnMut() -> bool) {
        let start = Instant::now();
        while !there() {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "ended before {what}: {}",
                self.said()
            );
            assert!(start.elapsed() < at_most, "waited in vain for {what}: {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn ended(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < at_most {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Waits until it ends, with one of `codes`; returns what it said.
    fn expect(mut self, codes: &[i32], what: &str) -> String {
        let Some(status) = self.ended(SOON) else {
            let said = self.said();
            self.child.kill().unwrap();
            panic!("{what}: it does not end: {said}");
        };
        let said = self.said();
        let right = status.code().is_some_and(|code| codes.contains(&code));
        assert!(right, "{what}: {status}: {said}");
        report(&format!("{what}: {status} after {:.1?}", self.began.elapsed()));
        said
    }
}

#[test]
fn a_disk_that_answers_late_is_named_and_waited_for() {
    let stage = Stage::new();
    let mut run = stage.begin_and_link();
    let late = stage.breaks(0, Fault::Silent);
    let said = run.said.clone();
    let told = || fs::read_to_string(&said).unwrap().contains("does not answer");
    run.wait_for("a word about the disk", TOLD, told);
    let text = run.said();
    assert!(text.contains(stage.scene.branch(0).to_str().unwrap()), "{text}");
    drop(late);
    run.expect(&[0], "late");
    stage.finish("late");
}

/// At last the driver reports the disk as failed: then every command ends at once, also one that was asked twice to stop.
#[test]
fn a_silent_disk_keeps_nobody_longer_than_its_driver_does() {
    for device in 0..=JOURNAL {
        for signals in [0, 1, 2] {
            let what = format!("disk {device} silent, {signals} signals");
            let stage = Stage::new();
            let mut run = stage.begin_and_link();
            let silent = stage.breaks(device, Fault::Silent);
            run.wait_for("the disk", SOON, || stage.recorder().is_waited_for());
            for _ in 0..signals {
                run.signal(Signal::SIGINT);
                std::thread::sleep(Duration::from_millis(300));
            }
            stage.recorder().set_fault(device, Fault::Gone);
            run.expect(&[1, 3, 4, 130], &what);
            drop(silent);
            stage.finish(&what);
        }
    }
}

#[test]
fn a_disk_that_turns_read_only_or_goes_ends_the_run_and_resume_waits_for_it() {
    for fault in [Fault::NotWritable, Fault::Gone] {
        for device in 0..=JOURNAL {
            let what = format!("disk {device}: {fault:?}");
            let stage = Stage::new();
            let run = stage.begin_and_link();
            let broken = stage.breaks(device, fault.clone());
            let codes: &[i32] = if device == JOURNAL { &[3, 4] } else { &[1] };
            let said = run.expect(codes, &what);
            let name = match device {
                JOURNAL => stage.scene.journal(),
                branch => stage.scene.branch(branch).to_owned(),
            };
            assert!(said.contains(name.to_str().unwrap()), "{what}: {said}");
            let resumed = stage.tool(&["resume"]).expect(&[0, 1, 3, 4], &what);
            assert!(!resumed.contains("panicked"), "{what}: {resumed}");
            drop(broken);
            stage.finish(&what);
        }
    }
}

/// One file of a group, and the other one, on each filesystem.
#[test]
fn a_file_whose_data_cannot_be_read_stays_and_is_named() {
    for (device, size, name) in [(0, 12_288, "a/6"), (1, 9_000, "b/4"), (2, 30_000, "c/7")] {
        let what = format!("data of {name}");
        let stage = Stage::new();
        let bytes = stage.scene.durable.get(Path::new(name)).unwrap();
        assert_eq!(bytes.len(), size);
        let blocks = stage.recorder().blocks_with(device, &bytes[..4096]);
        assert!(!blocks.is_empty(), "{what}: its data is nowhere");
        let broken = stage.breaks(device, Fault::Unreadable(blocks.into_iter().collect()));
        let said = stage.begin().expect(&[1], &what);
        assert!(said.contains(name), "{what}: {said}");
        stage.tool(&["resume"]).expect(&[0], &what);
        drop(broken);
        stage.finish(&what);
    }
}
