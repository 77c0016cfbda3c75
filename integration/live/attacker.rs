//! Somebody without privileges owns a directory tree of the pool, and swaps names in it while the tool, as root, works
//! there: symbolic links for directories and files, other directories, other files, and the tool's own hidden names.
//!
//! Nothing but that tree may be the worse for it. Outside of the branches there are trees whose files look just like
//! the ones to be replaced, on the disks of the branches too, where they could be linked: none of them is linked,
//! removed, given away, written or made names in. Nor is anything inside the pool that this user could not change
//! himself: the directory with the masters, files of others in a sticky directory, and a directory of another owner
//! inside his own tree, which he can rename and not enter.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::groups::{self, Group, SMALL};
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;

/// The user and the group that attack.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// Directories of one round, and files in each.
const DIRS: usize = 6;
const FILES: usize = 10;

/// The modes of files that are not the attacker's.
const OF_OTHERS: [u32; 3] = [0o644, 0o600, 0o4755];

/// Directories that are missing on the master's disk, with one file each.
const FRESH: usize = 16;

/// All that must stay as it is of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    ino: u64,
    nlink: u64,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    /// The last change of the inode: a link or a change of owner would show here, whatever was done about it.
    changed: (i64, i64),
    bytes: Option<blake3::Hash>,
}

type Tree = BTreeMap<PathBuf, Facts>;

fn facts(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut queue = vec![root.to_owned()];
    while let Some(path) = queue.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            queue.extend(entries.map(|entry| entry.unwrap().path()));
        }
        let facts = Facts {
            ino: metadata.ino(),
            nlink: metadata.nlink(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            bytes: metadata.is_file().then(|| blake3::hash(&std::fs::read(&path).unwrap())),
        };
        found.insert(path, facts);
    }
    found
}

/// What the attacker swaps for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swapped {
    /// His files and directories, for symbolic links and for each other.
    Own,
    /// Also for a directory of another owner.
    WithOfOthers,
}

/// One round: a tree of the attacker's on both branches, and the groups in it.
struct Round {
    name: String,
    master_disk: usize,
    groups: Vec<Group>,
    pairs: Vec<[PathBuf; 2]>,
    decoys: BTreeMap<PathBuf, Vec<PathBuf>>,
    swapped: Swapped,
    /// The inodes of the directories of another owner in it, by disk.
    vaults: Vec<u64>,
}

/// The bytes of file `f` in every directory and every round: what is outside looks the same.
fn bytes(dir: usize, file: usize) -> Vec<u8> {
    tree::bytes((dir * FILES + file) as u64, SMALL)
}

/// A tree with files called and filled like those of the rounds, some of them the attacker's own.
fn make_outside(root: &Path) {
    for dir in 0..DIRS {
        for file in 0..FILES {
            let path = root.join(format!("{dir}/{file}"));
            tree::write(&path, &bytes(dir, file));
            if file % 2 == 0 {
                tree::set_owner(&path, NOBODY);
            }
            tree::set_mode(&path, OF_OTHERS[file % 3]);
        }
    }
}

impl Round {
    fn new(pool: &Pool, outside: &[PathBuf], number: usize, swapped: Swapped) -> Self {
        let mut round = Self {
            name: format!("round{number}"),
            master_disk: number % 2,
            groups: Vec::new(),
            pairs: Vec::new(),
            decoys: BTreeMap::new(),
            swapped,
            vaults: Vec::new(),
        };
        for disk in [0, 1] {
            // His, on both branches, before anything is made in it.
            let home = pool.on(disk, &round.name);
            tree::make_dir(&home, 0o755, NOBODY);
            tree::make_dir(&pool.on(disk, "media"), 0o755, (0, 0));
            round.make_vault(&home);
            for dir in 0..DIRS {
                round.make_dir(pool, disk, dir, &outside[(disk + dir) % outside.len()]);
            }
            let decoy = home.join("decoy");
            symlink(&outside[disk], &decoy).unwrap();
            let mut decoys = vec![decoy];
            if swapped == Swapped::WithOfOthers {
                decoys.push(home.join("vault"));
            }
            round.decoys.insert(home, decoys);
        }
        for dir in 0..DIRS {
            for file in 0..FILES {
                round.make_group(pool, dir, file);
            }
        }
        round.make_sticky(pool);
        for n in 0..FRESH {
            let path = pool.on(1 - round.master_disk, &round.name).join(format!("fresh{n}"));
            tree::make_dir(&path, 0o755, NOBODY);
            round.make_pair(
                pool,
                &format!("fresh{n}/0"),
                1 - round.master_disk,
                (0, n % FILES),
                false,
            );
        }
        round
    }

    /// A directory that another owner keeps to himself, as a service does with its data.
    fn make_vault(&mut self, home: &Path) {
        let vault = home.join("vault");
        tree::make_dir(&vault, 0o700, (0, 0));
        for file in 0..FILES / 2 {
            tree::write(&vault.join(file.to_string()), &bytes(0, file));
        }
        self.vaults.push(vault.metadata().unwrap().ino());
    }

    fn make_dir(&mut self, pool: &Pool, disk: usize, dir: usize, outside: &Path) {
        let home = pool.on(disk, &self.name);
        // Two of them are missing on the master's disk.
        if dir < DIRS - 2 || disk != self.master_disk {
            let path = home.join(dir.to_string());
            tree::make_dir(&path, 0o755, NOBODY);
            let (link, other, decoy) = (
                home.join(format!("{dir}.link")),
                home.join(format!("{dir}.other")),
                path.join("decoy"),
            );
            symlink(outside.join(dir.to_string()), &link).unwrap();
            symlink(outside.join(format!("{dir}/1")), &decoy).unwrap();
            tree::make_dir(&other, 0o755, NOBODY);
            for file in 0..FILES {
                let theirs = other.join(file.to_string());
                tree::write(&theirs, b"something else");
                tree::set_owner(&theirs, NOBODY);
                if file >= FILES - 3 {
                    self.pairs.push([path.join(file.to_string()), decoy.clone()]);
                }
            }
            for _ in 0..FILES / 3 {
                self.pairs.push([path.clone(), link.clone()]);
                self.pairs.push([path.clone(), other.clone()]);
                if self.swapped == Swapped::WithOfOthers {
                    self.pairs.push([path.clone(), home.join("vault")]);
                }
            }
            self.decoys.insert(path, vec![decoy]);
        }
    }

    fn make_group(&mut self, pool: &Pool, dir: usize, file: usize) {
        let (both, own, local) = (dir < DIRS - 2, file.is_multiple_of(3), file % 5 == 4);
        let other = usize::from(!(both && local));
        let disk = (self.master_disk + other) % 2;
        let name = format!("{dir}/{file}");
        self.make_pair(pool, &name, disk, (dir, file), both && own);
    }

    /// The master is where only root can rename, or in the attacker's `own` tree.
    fn make_pair(
        &mut self,
        pool: &Pool,
        name: &str,
        disk: usize,
        (dir, file): (usize, usize),
        own: bool,
    ) {
        let round = &self.name;
        let flat = name.replace('/', "-");
        let master =
            if own { format!("{round}/0/master-{flat}") } else { format!("media/{round}-{flat}") };
        let names = [master, format!("{round}/{name}")];
        for (disk, name) in [self.master_disk, disk].into_iter().zip(&names) {
            let path = pool.on(disk, name);
            tree::write(&path, &bytes(dir, file));
            tree::set_owner(&path, NOBODY);
        }
        self.groups.push(names.map(PathBuf::from).to_vec());
    }

    /// A directory for everybody, where only the owner of a file can rename it: with files of root's, setuid ones too.
    fn make_sticky(&mut self, pool: &Pool) {
        let dir = format!("{}-sticky", self.name);
        for disk in [0, 1] {
            let own = pool.on(disk, &dir).join("decoy");
            tree::make_dir(own.parent().unwrap(), 0o1777, (0, 0));
            symlink("/etc", &own).unwrap();
            std::os::unix::fs::lchown(&own, Some(NOBODY.0), Some(NOBODY.1)).unwrap();
            for file in 0..FILES {
                let theirs = pool.on(disk, &dir).join(file.to_string());
                self.pairs.push([theirs, own.clone()]);
            }
            let dir = own.parent().unwrap().to_owned();
            self.decoys.insert(dir, vec![own]);
        }
        for file in 0..FILES {
            let master = format!("others/{dir}-{file}");
            let names = [master, format!("{dir}/{file}")].map(PathBuf::from);
            let disks = [self.master_disk, 1 - self.master_disk];
            for (disk, name) in disks.into_iter().zip(&names) {
                let path = pool.on(disk, name);
                tree::write(&path, &bytes(0, file));
                tree::set_mode(&path, OF_OTHERS[file % 3]);
            }
            self.groups.push(names.to_vec());
        }
    }

    /// Files of root's where the attacker has no say, that are not what they were: through the pool, linked or not.
    fn changed_files_of_others(&self, pool: &Pool) -> Vec<String> {
        let mut changed = Vec::new();
        for file in 0..FILES {
            let dir = format!("{}-sticky", self.name);
            for name in [format!("others/{dir}-{file}"), format!("{dir}/{file}")] {
                let path = pool.path(&name);
                let same = path.symlink_metadata().is_ok_and(|now| {
                    let mode = now.mode() & 0o7777 == OF_OTHERS[file % 3];
                    now.is_file() && now.uid() == 0 && mode
                });
                if !same || std::fs::read(&path).unwrap() != bytes(0, file) {
                    changed.push(name);
                }
            }
        }
        changed
    }

    /// Starts swapping.
    fn attack(&self) -> Attacker {
        let orders = json!({ "pairs": self.pairs, "dirs": self.decoys });
        Attacker::start(&orders)
    }
}

/// The process that swaps.
struct Attacker(Child);

impl Attacker {
    fn start(orders: &Value) -> Self {
        // The script as an argument: this user may not be able to read it where it lies.
        let child = Command::new("python3")
            .args(["-c", include_str!("attacker.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .uid(NOBODY.0)
            .gid(NOBODY.1)
            .spawn()
            .unwrap();
        let mut attacker = Self(child);
        writeln!(attacker.0.stdin.as_mut().unwrap(), "{orders}").unwrap();
        attacker
    }

    /// Ends it, and tells what it did.
    fn stop(mut self) -> Value {
        drop(self.0.stdin.take());
        let mut told = String::new();
        let mut from = self.0.stdout.take().unwrap();
        from.read_to_string(&mut told).unwrap();
        assert!(self.0.wait().unwrap().success());
        serde_json::from_str(&told).unwrap()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// What is slowed down in each round: every step of the protocol is long enough for a swap in one of them.
const SLOW: [&str; 4] = [
    "linkat:delay_exit=2000 unlinkat:delay_enter=2000",
    "renameat2:delay_enter=2000:delay_exit=2000",
    "mkdirat:delay_exit=4000 fchown:delay_enter=4000 fchmod:delay_enter=4000",
    "openat2:delay_exit=150 fsync:delay_enter=3000",
];

/// The same while clones are made, on the second disk.
const SLOW_CLONES: [&str; 2] = [
    "ioctl:delay_exit=1000 fchown:delay_enter=4000 fchmod:delay_enter=4000",
    "linkat:delay_exit=2000 renameat2:delay_enter=2000:delay_exit=2000 openat2:delay_exit=150",
];

/// Runs the tool over the groups of a round, slowly.
fn run_slowly(pool: &Pool, tool: &Tool, round: &Round, (slow, link): (&str, &str)) -> Run {
    let calls = slow.split(' ').map(|call| call.split(':').next().unwrap());
    let trace = format!("trace={}", calls.collect::<Vec<_>>().join(","));
    let mut strace =
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace].map(str::to_owned).to_vec();
    for call in slow.split(' ') {
        strace.extend(["-e".to_owned(), format!("inject={call}")]);
    }
    let own = format!("{}/0", round.name);
    let primaries = [pool.path("media"), pool.path(own), pool.path("others")];
    let mut arguments: Vec<&OsStr> =
        ["--format", "json", "-e", "--link", link].map(OsStr::new).to_vec();
    for primary in &primaries {
        arguments.extend(["-p".as_ref(), primary.as_os_str()]);
    }
    let list = tool.list();
    arguments.extend(["-m".as_ref(), list.as_os_str()]);
    tool.run_under(&strace, &arguments)
}

#[test]
fn no_swap_leads_the_tool_out_of_the_branches_or_to_files_of_others() {
    attack(Swapped::Own, "hard", (0..).zip(SLOW));
}

#[test]
fn no_swap_leads_the_tool_into_a_directory_of_another_owner() {
    attack(Swapped::WithOfOthers, "hard", (0..).zip(SLOW));
}

#[test]
fn no_swap_leads_to_a_clone_of_files_of_others_or_at_their_paths() {
    // The masters of odd rounds are on the disk that can share blocks.
    let done = attack(Swapped::WithOfOthers, "reflink", [1, 3].into_iter().zip(SLOW_CLONES));
    assert!(done > 0);
}

/// Attacks in rounds with these numbers and slow calls; returns how many files were replaced.
fn attack(
    swapped: Swapped,
    link: &str,
    slow: impl Iterator<Item = (usize, &'static str)> + Clone,
) -> u64 {
    let pool = PoolPlan::of(&[Ext4, Xfs]).branches(&[(0, "branch"), (1, "branch")]).mount();
    tree::set_mode(pool.branch_parent(), 0o755);
    let outside: Vec<_> = [pool.disk(0).path(), pool.disk(1).path(), pool.branch_parent()]
        .map(|at| at.join("outside"))
        .to_vec();
    outside.iter().for_each(|root| make_outside(root));
    let rounds = slow.clone().map(|(n, _)| Round::new(&pool, &outside, n, swapped));
    let rounds: Vec<_> = rounds.collect();
    tree::settle();
    let before: Vec<_> = outside.iter().map(|root| facts(root)).collect();
    let tool = Tool::new();
    let (mut changed, mut all_done) = (Vec::new(), 0);
    for (round, (_, slow)) in rounds.iter().zip(slow) {
        let vaults_before = vaults(&pool, round);
        groups::write_list(&tool, &pool, &round.groups);
        let attacker = round.attack();
        let run = run_slowly(&pool, &tool, round, (slow, link));
        let told = attacker.stop();
        assert!(matches!(run.code(), Some(0 | 1 | 4)), "{run}");
        let done = run.summary().get("done");
        println!("FIGURE attacker {slow}: {done} replaced beside {told}");
        all_done += done;
        assert!(told["swaps"].as_u64() > Some(1_000) && told["uid"] == NOBODY.0);
        for (root, before) in outside.iter().zip(&before) {
            changed.extend(differences(before, &facts(root)));
        }
        changed.extend(differences(&vaults_before, &vaults(&pool, round)));
        changed.extend(round.changed_files_of_others(&pool));
        assert_no_names(&pool, &before);
    }
    assert!(changed.is_empty(), "not his, and changed: {changed:#?}");
    all_done
}

/// No inode of these trees has a name on a branch.
fn assert_no_names(pool: &Pool, outside: &[Tree]) {
    for (disk, tree) in outside.iter().enumerate().take(2) {
        for (path, facts) in facts(&pool.branches()[disk]) {
            let known = tree.values().any(|outside| outside.ino == facts.ino);
            assert!(!known, "{} came from outside", path.display());
        }
    }
}

/// The other owner's directory of each branch, wherever the attacker moved it to: itself and what is in it.
fn vaults(pool: &Pool, round: &Round) -> Tree {
    let mut found = Tree::new();
    for disk in [0, 1] {
        let tree = facts(&pool.on(disk, &round.name));
        let (vault, mut itself) = tree
            .iter()
            .map(|(path, facts)| (path, facts.clone()))
            .find(|(_, facts)| facts.ino == round.vaults[disk])
            .unwrap();
        // He can rename it, and that is a change of the inode, but of none in it.
        itself.changed = (0, 0);
        found.insert(PathBuf::from(format!("{disk}")), itself);
        for (path, facts) in &tree {
            let inside = path.strip_prefix(vault).unwrap_or(Path::new(""));
            if inside != Path::new("") {
                found.insert(Path::new(&disk.to_string()).join(inside), facts.clone());
            }
        }
    }
    found
}

/// What differs, a line each.
fn differences(before: &Tree, now: &Tree) -> Vec<String> {
    let paths: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let differs = |path: &&&PathBuf| before.get(**path) != now.get(**path);
    let line = |path: &PathBuf| {
        let (was, is) = (before.get(path), now.get(path));
        format!("{}: was {was:?}, is {is:?}", path.display())
    };
    paths.iter().filter(differs).map(|path| line(path)).collect()
}
