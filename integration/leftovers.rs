//! What conflicts leave: `status` says how to settle it, both commands it prints work, and nothing else is removed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mergerfs_xdedup::find::facts::branch_records;
use mergerfs_xdedup::fs::StoredId;
use mergerfs_xdedup::fs::real::RealFs;
use mergerfs_xdedup::fs::{Handle, Look as _, Metadata, Place, Timestamp};
use mergerfs_xdedup::journal::{
    BranchRecord, Intent, NameIntent, Record, RecordedFile, RunStarted, create_or_open,
};
use mergerfs_xdedup::plan::hidden_name::{Role, hidden_name};
use mergerfs_xdedup::plan::{Found, OpId, OpKind};
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::pool::{Branch, BranchIdx, BranchMode};

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Run, Tool};
use crate::harness::{snapshot, tree};

const NOW: Timestamp = Timestamp { secs: 1_700_000_000, nanos: 0 };
/// A name that a shell must not take apart.
const PATH: &str = "it's $(here)/a b.bin";

/// A pool with a run whose one op has `PATH` on disk 1 as its duplicate, and a journal that an op is open in.
struct Scene {
    pool: Pool,
    tool: Tool,
    journal: u32,
    branches: Vec<BranchRecord>,
}

const OP: OpId = OpId { run: 1, seq: 1 };

impl Scene {
    fn new() -> Self {
        let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
        let tool = Tool::new();
        tree::write(&pool.on(0, "media/a.bin"), &tree::bytes(1, groups::SMALL));
        fs::create_dir_all(pool.on(1, "it's $(here)")).unwrap();
        let branches =
            pool.branches().iter().map(|path| Branch { path: path.clone(), mode: BranchMode::Rw });
        let branches: Vec<_> = branches.collect();
        let real = RealFs::open(&branches).unwrap();
        let branches = branch_records(&real, &branches);
        let journal = create_or_open(&tool.journal(), None).unwrap().id();
        let scene = Self { pool, tool, journal, branches };
        scene.record(&[
            Record::RunStarted(scene.run_started()),
            Record::Intent(Box::new(scene.intent())),
        ]);
        scene
    }

    fn record(&self, records: &[Record]) {
        let mut journal = create_or_open(&self.tool.journal(), None).unwrap();
        journal.record(records, NOW).unwrap();
    }

    fn run_started(&self) -> RunStarted {
        RunStarted {
            run: 1,
            version: "0".to_owned(),
            time: NOW,
            pool: self.pool.root().to_path_buf(),
            branches: self.branches.clone(),
            newest_dirs: false,
            options: Vec::new(),
        }
    }

    fn intent(&self) -> Intent {
        let copy = |branch: u16, path: &str| RecordedFile {
            branch: BranchIdx(branch),
            path: rel(path),
            id: StoredId {
                fs: self.branches[usize::from(branch)].fs.unwrap(),
                ino: 99,
                btime: None,
            },
            size: groups::SMALL as u64,
            mtime: NOW,
            ctime: NOW,
        };
        Intent {
            duplicate_handle: Handle::default(),
            master_metadata: None,
            master_links: None,
            master_handle: Handle::default(),
            salvaged: false,
            flags: None,
            relinks: None,
            op: OP,
            kind: OpKind::Cross,
            master: copy(0, "media/a.bin"),
            duplicate: copy(1, PATH),
            metadata: Metadata::default(),
            atime: NOW,
            blake3: [7; 32],
            bytes: 12_288,
            names: vec![NameIntent {
                from_dir: self.handle(1, "it's $(here)"),
                to_dir: Handle::default(),
                path: rel(PATH),
                from: BranchIdx(1),
                to: BranchIdx(0),
                found: Found::Absent,
            }],
            dirs: Vec::new(),
        }
    }

    fn handle(&self, disk: u16, dir: &str) -> Handle {
        let branches = self
            .branches
            .iter()
            .map(|branch| Branch { path: branch.path.clone(), mode: branch.mode });
        let real = RealFs::open(&branches.collect::<Vec<_>>()).unwrap();
        real.handle(&Place::new(BranchIdx(disk), rel(dir))).unwrap()
    }

    /// Ends the op in a conflict that names these places.
    fn conflict(&self, left: &[(u16, &Path)]) {
        let place = |(branch, path): &(u16, &Path)| (BranchIdx(*branch), rel(path));
        self.record(&[Record::Conflict {
            op: OP,
            why: "a program wrote to the kept copy".to_owned(),
            left: left.iter().map(place).collect(),
        }]);
    }

    /// The path of the op's hidden file, relative to a branch.
    fn hidden(&self, dir: &str) -> PathBuf {
        Path::new(dir).join(hidden_name(self.journal, OP, 0, Role::Retired))
    }

    fn write(&self, disk: usize, path: impl AsRef<Path>, seed: u64) -> PathBuf {
        let path = self.pool.on(disk, path);
        tree::write(&path, &tree::bytes(seed, groups::SMALL));
        path
    }

    fn status(&self) -> Run {
        let run = self.tool.run(&["status"]).expect(0);
        println!("{run}");
        run
    }

    fn discard(&self, arguments: &[&Path]) -> Run {
        let fixed = ["resume", "--discard"].map(Path::new);
        let run = self.tool.run(&[&fixed[..], arguments].concat());
        println!("{run}");
        run
    }

    fn conflicts(&self) -> serde_json::Value {
        let run = self.tool.run(&["--format", "json", "status"]).expect(0);
        run.lines()[0]["conflicts"].clone()
    }
}

fn rel(path: impl AsRef<Path>) -> RelPath {
    RelPath::new(path.as_ref().as_os_str().as_encoded_bytes()).unwrap()
}

/// Runs a command that the tool printed, as a person does who pastes it.
fn paste(said: &Run, what: &str) {
    let line = said.stdout.lines().find(|line| line.contains(what));
    let (_, command) = line.unwrap().split_once(what).unwrap();
    let command = command.replace("mergerfs.xdedup", BINARY);
    println!("$ {command}");
    let done = Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(done.success(), "{command}");
}

#[test]
fn a_hidden_file_is_kept_by_the_command_that_status_prints() {
    let scene = Scene::new();
    let hidden = scene.hidden("it's $(here)");
    let full = scene.write(1, &hidden, 1);
    scene.conflict(&[(1, &hidden)]);
    let said = scene.status();
    assert!(said.stdout.contains("a program wrote to the kept copy (run 1, file 1)"));
    assert!(said.stdout.contains("8.8 KiB, last written "), "{said}");
    paste(&said, "keep it:");
    // The op's own name was free.
    assert_eq!(fs::read(scene.pool.path(PATH)).unwrap(), tree::bytes(1, groups::SMALL));
    assert!(!full.exists());
    let said = scene.status();
    assert!(!said.stdout.contains("conflict:"), "{said}");
    assert_eq!(scene.conflicts().as_array().unwrap().len(), 0);
    // Settled by hand: nothing is left to discard.
    let none = scene.discard(&[]).expect(0);
    assert!(none.stdout.contains("no hidden file of a conflict was found"));
}

#[test]
fn a_taken_name_is_not_proposed_and_the_printed_discard_removes() {
    let scene = Scene::new();
    let hidden = scene.hidden("it's $(here)");
    let full = scene.write(1, &hidden, 1);
    // On the other disk: a rename to it would put one path on two disks.
    scene.write(0, PATH, 2);
    scene.conflict(&[(1, &hidden)]);
    let said = scene.status();
    assert!(said.stdout.contains("a b.bin.recovered'"), "{said}");
    let before = snapshot::all_entries(&scene.pool);
    let dry = scene.discard(&[]).expect(0);
    assert!(
        dry.stdout.contains("would remove") && dry.stdout.contains("Run again with -e to apply."),
        "{dry}"
    );
    // The kept copy has the same bytes.
    assert!(!dry.stdout.contains("last copy"), "{dry}");
    assert_eq!(snapshot::all_entries(&scene.pool), before);
    paste(&said, "discard it:");
    assert!(!full.exists());
    snapshot::assert_no_own_names(&scene.pool);
    assert_eq!(fs::read(scene.pool.path(PATH)).unwrap(), tree::bytes(2, groups::SMALL));
    assert_eq!(scene.conflicts().as_array().unwrap().len(), 0);
}

#[test]
fn the_last_copy_is_said_and_removed_only_on_request() {
    let scene = Scene::new();
    let hidden = scene.hidden("it's $(here)");
    let full = scene.write(1, &hidden, 3);
    scene.conflict(&[(1, &hidden)]);
    let json = ["--format", "json", "resume", "--discard"];
    let planned = scene.tool.run(&json).expect(0).lines();
    assert_eq!(planned.len(), 1);
    assert_eq!((&planned[0]["state"], &planned[0]["last_copy"]), (&"planned".into(), &true.into()));
    assert_eq!(planned[0]["size"], groups::SMALL);
    assert!(scene.discard(&[]).expect(0).stdout.contains("this is the last copy"));
    // Another name of the same file counts only where people see it.
    let other = scene.pool.on(1, "elsewhere.bin");
    fs::hard_link(&full, &other).unwrap();
    assert_eq!(scene.tool.run(&json).lines()[0]["last_copy"], false);
    let temp = hidden_name(scene.journal, OP, 0, Role::Temp);
    fs::rename(&other, scene.pool.on(1, &temp)).unwrap();
    assert_eq!(scene.tool.run(&json).lines()[0]["last_copy"], true);
    fs::remove_file(scene.pool.on(1, &temp)).unwrap();
    // A program has it open for writing: its writes would be lost.
    let held = fs::OpenOptions::new().append(true).open(&full).unwrap();
    let busy = scene.discard(&["-e".as_ref()]).expect(1);
    assert!(busy.stdout.contains("a program has it open"), "{busy}");
    assert!(full.exists());
    drop(held);
    // By its pool path.
    let removed = scene.discard(&[&scene.pool.path(&hidden), "-e".as_ref()]).expect(0);
    assert!(removed.stderr.contains("this is the last copy"), "{removed}");
    assert!(!full.exists());
}

#[test]
fn what_is_no_hidden_file_of_an_ended_op_is_not_discarded() {
    let scene = Scene::new();
    let hidden = scene.hidden("it's $(here)");
    let full = scene.write(1, &hidden, 1);
    let open = scene.discard(&[&full, "-e".as_ref()]).expect(4);
    assert!(open.stderr.contains("`mergerfs.xdedup resume` first"), "{open}");
    scene.conflict(&[(1, &hidden)]);
    let visible = scene.pool.on(0, "media/a.bin");
    let name = |journal, run, role| {
        let op = OpId { run, seq: 1 };
        Path::new("media").join(hidden_name(journal, op, 0, role))
    };
    let foreign = scene.write(0, name(!scene.journal, 1, Role::Retired), 1);
    let never = scene.write(0, name(scene.journal, 7, Role::Retired), 1);
    let dir = scene.pool.on(0, name(scene.journal, 1, Role::Aside));
    fs::create_dir(&dir).unwrap();
    let link = scene.pool.on(0, name(scene.journal, 1, Role::Temp));
    std::os::unix::fs::symlink(&visible, &link).unwrap();
    let outside = scene.tool.dir().join(hidden.file_name().unwrap());
    fs::write(&outside, "x").unwrap();
    let before = snapshot::all_entries(&scene.pool);
    for (path, why) in [
        (&visible, "only names that start with .xdedup-"),
        (&foreign, "another journal"),
        (&never, "no run of this journal"),
        (&dir, "not a regular file"),
        (&link, "not a regular file"),
        (&outside, "not on a mounted branch"),
        (&scene.pool.on(0, "media/.xdedup-gone"), "nothing is there"),
    ] {
        // One that may be removed beside it: all or nothing.
        let run = scene.discard(&[&full, path, "-e".as_ref()]).expect(2);
        assert!(run.stderr.contains(why), "{why}: {run}");
        assert_eq!(snapshot::all_entries(&scene.pool), before, "{why}");
    }
    assert!(outside.exists());
    scene.tool.run(&["resume", "--discard", "--salvage"]).expect(2);
    // The same as without -e: people type it after that of a run.
    scene.tool.run(&["resume", "-e"]).expect(0);
    assert_eq!(snapshot::all_entries(&scene.pool), before);
    // A run or another discard holds the pool.
    let lock = fs::File::open(&scene.pool.branches()[0]).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    scene.discard(&["-e".as_ref()]).expect(3);
    drop(lock);
    assert_eq!(snapshot::all_entries(&scene.pool), before);
    scene.discard(&["-e".as_ref()]).expect(0);
    assert!(!full.exists() && foreign.exists() && never.exists());
}

#[test]
fn a_file_in_a_renamed_directory_is_told_from_another_journals() {
    let scene = Scene::new();
    scene.conflict(&[]);
    let hidden = scene.hidden("moved");
    let full = scene.write(1, &hidden, 1);
    let foreign = scene.pool.on(0, "media").join(hidden_name(!scene.journal, OP, 0, Role::Retired));
    tree::write(&foreign, b"theirs");
    let said = scene.status();
    let ino = std::os::unix::fs::MetadataExt::ino(&full.metadata().unwrap());
    let (name, dir) = (full.file_name().unwrap().to_str().unwrap(), scene.pool.on(1, "moved"));
    let words = format!("hidden file {name} in {} (inode {ino})", dir.display());
    assert!(said.stdout.contains(&words), "{said}");
    assert!(said.stdout.contains("run 1 of this journal left it: the directory was renamed"));
    assert_eq!(said.stdout.matches("of another journal,").count(), 1, "{said}");
    let doctor = scene.tool.run(&["doctor", scene.pool.root().to_str().unwrap()]);
    println!("{doctor}");
    assert!(doctor.stdout.contains(&words), "{doctor}");
    assert!(doctor.stdout.contains("left by run 1 of this journal"), "{doctor}");
    // Only by its name: no conflict names it.
    scene.discard(&["-e".as_ref()]).expect(0);
    assert!(full.exists());
    scene.discard(&[&full, "-e".as_ref()]).expect(0);
    assert!(!full.exists() && foreign.exists());
}

#[test]
fn a_path_on_two_disks_is_settled_by_the_command_for_the_file_that_the_pool_hides() {
    let scene = Scene::new();
    let (first, second) = (scene.write(0, PATH, 1), scene.write(1, PATH, 1));
    let path = Path::new(PATH);
    scene.conflict(&[(0, path), (1, path)]);
    let said = scene.status();
    assert!(said.stdout.contains("is on two disks; the files have the same bytes"), "{said}");
    assert!(!said.stdout.contains("keep both"), "{said}");
    // A client changed the hidden one: to remove it would lose that.
    let mode = fs::metadata(&second).unwrap().permissions().mode();
    tree::set_mode(&second, 0o600);
    let said = scene.status();
    assert!(said.stdout.contains("but not the same owner, permissions"), "{said}");
    assert!(
        said.stdout.contains("before you remove one") && said.stdout.contains("0600"),
        "{said}"
    );
    assert!(said.stdout.contains("keep both"), "{said}");
    tree::set_mode(&second, mode & 0o7777);
    scene.write(1, PATH, 2);
    let said = scene.status();
    assert!(said.stdout.contains("the files differ"), "{said}");
    let conflicts = scene.conflicts();
    let places = conflicts[0]["places"].as_array().unwrap();
    assert_eq!(places.len(), 2);
    assert_eq!((&places[0]["shown"], &places[1]["shown"]), (&true.into(), &false.into()));
    // A visible file is not for --discard.
    let refused = scene.discard(&[&second, "-e".as_ref()]).expect(2);
    assert!(refused.stderr.contains("not a hidden one"), "{refused}");
    paste(&said, "keep both:");
    let kept = scene.pool.path(format!("{PATH}.recovered"));
    assert_eq!(fs::read(kept).unwrap(), tree::bytes(2, groups::SMALL));
    assert!(first.exists() && !second.exists());
    assert!(!scene.status().stdout.contains("conflict:"));
    scene.write(1, PATH, 1);
    paste(&scene.status(), "remove it:");
    assert!(first.exists() && !second.exists());
    assert!(!scene.status().stdout.contains("conflict:"));
}

#[test]
fn a_file_too_large_to_compare_at_once_is_not_called_equal_and_a_missing_disk_is_said() {
    let mut scene = Scene::new();
    let path = Path::new(PATH);
    let hidden = scene.hidden("it's $(here)");
    for disk in [0, 1] {
        let at = scene.write(disk, PATH, 1);
        let file = fs::OpenOptions::new().write(true).open(at).unwrap();
        file.set_len((32 << 20) + 1).unwrap();
    }
    let full = scene.write(1, &hidden, 1);
    scene.conflict(&[(0, path), (1, path), (1, &hidden)]);
    let said = scene.status();
    assert!(said.stdout.contains("the files were not compared"), "{said}");
    drop(full);
    scene.pool.disk_mut(1).detach();
    let said = scene.status();
    assert_eq!(said.stdout.matches("not looked at: ").count(), 2, "{said}");
    let run = scene.discard(&["-e".as_ref()]).expect(0);
    assert!(run.stderr.contains("its disk is not mounted"), "{run}");
}

#[test]
fn places_in_a_directory_that_was_renamed_since_are_listed_where_they_are() {
    let scene = Scene::new();
    let hidden = scene.hidden("it's $(here)");
    scene.write(1, &hidden, 1);
    scene.write(0, PATH, 2);
    scene.write(1, PATH, 3);
    scene.conflict(&[(0, Path::new(PATH)), (1, Path::new(PATH)), (1, &hidden)]);
    fs::rename(scene.pool.path("it's $(here)"), scene.pool.path("dd")).unwrap();
    let conflicts = scene.conflicts();
    let listed = conflicts.to_string();
    for place in [
        scene.pool.on(0, "dd/a b.bin"),
        scene.pool.on(1, "dd/a b.bin"),
        scene.pool.on(1, scene.hidden("dd")),
    ] {
        assert!(listed.contains(place.to_str().unwrap()), "{place:?}: {listed}");
    }
    paste(&scene.status(), "discard it:");
    assert!(!scene.pool.on(1, scene.hidden("dd")).exists());
}
