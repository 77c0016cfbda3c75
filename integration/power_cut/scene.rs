//! The disks and files that a tool is let loose on while the power may go.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::syncfs;
use tempfile::TempDir;

use super::beside::run_in_stretches;
use super::csv_log::LogLines;
use super::pool::PoolMount;
use super::rig::{FileSystem, Rig, Slot};

/// Three branches; the journal is on a disk of its own.
pub(crate) const BRANCHES: usize = 3;
/// No command takes longer than this by far.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);
/// The tool leaves files alone that changed a moment ago; the young ones must be older than that.
const SETTLED: Duration = Duration::from_millis(2200);

/// Where everything is, the same while recording and while looking at what a power cut left.
#[derive(Debug)]
pub(crate) struct Scene {
    stage: TempDir,
    /// The branches, then the journal's disk.
    pub(crate) slots: Vec<Slot>,
    /// What must be readable under each relpath, whenever the power goes: it was synced before the tool ran.
    pub(crate) durable: BTreeMap<PathBuf, Vec<u8>>,
    /// The same for files that nobody had synced: only once the tool says it is done.
    pub(crate) young: BTreeMap<PathBuf, Vec<u8>>,
    groups: Vec<Vec<PathBuf>>,
}

/// One file of a group: where it is, and all its names.
struct Member {
    branch: usize,
    names: &'static [&'static str],
    age: Age,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    /// Synced long ago.
    Durable,
    /// Written a moment ago and never synced.
    Young,
    /// Synced long ago, and written over a moment ago.
    Rewritten,
}

const fn durable(branch: usize, names: &'static [&'static str]) -> Member {
    Member {
        branch,
        names,
        age: Age::Durable,
    }
}

const fn young(branch: usize, names: &'static [&'static str]) -> Member {
    Member {
        branch,
        names,
        age: Age::Young,
    }
}

/// Groups of equal files; where the ages differ, the file with most names is the master.
const GROUPS: &[(usize, &[Member])] = &[
    (
        5000,
        &[
            durable(0, &["a/1"]),
            durable(1, &["b/1"]),
            durable(2, &["c/deep/er/1"]),
        ],
    ),
    (
        70_000,
        &[
            young(0, &["y/2", "y/2too"]),
            durable(1, &["b/2"]),
            durable(2, &["c/2"]),
        ],
    ),
    (
        4096,
        &[
            durable(0, &["a/3", "a/3too", "a/3three"]),
            young(1, &["y/3"]),
            young(2, &["z/3", "y/3c"]),
        ],
    ),
    (
        9000,
        &[
            durable(1, &["b/4", "b/4too"]),
            durable(1, &["b/sub/4"]),
            durable(1, &["b/4x"]),
        ],
    ),
    (
        1,
        &[
            durable(0, &["a/5", "a/5too", "a/5three"]),
            durable(2, &["c/5", "c/deep/5too"]),
        ],
    ),
    (
        12_288,
        &[
            durable(2, &["c/6", "c/6too"]),
            durable(0, &["a/6"]),
            durable(1, &["only/on/one/6"]),
        ],
    ),
    (
        30_000,
        &[
            durable(1, &["b/7", "b/7too"]),
            durable(1, &["b/7local"]),
            durable(2, &["c/7"]),
        ],
    ),
    (
        20_000,
        &[
            young(2, &["y/8", "y/8too"]),
            durable(2, &["c/8local"]),
            durable(0, &["a/8"]),
        ],
    ),
    (
        16_384,
        &[
            Member {
                branch: 1,
                names: &["b/9", "b/9too"],
                age: Age::Rewritten,
            },
            durable(0, &["a/9"]),
            durable(2, &["c/9"]),
        ],
    ),
];

/// Files that are nobody's duplicate.
const OTHERS: &[Member] = &[
    durable(0, &["a/other"]),
    durable(1, &["b/other"]),
    durable(2, &["c/other", "c/deep/link"]),
];

impl Scene {
    /// Slots for these filesystems: the branches', then the journal's.
    pub(crate) fn new(kinds: [FileSystem; BRANCHES + 1]) -> io::Result<Self> {
        let stage = tempfile::Builder::new()
            .prefix("power-cut-pool.")
            .tempdir()?;
        let slot = |(n, fs)| Slot::new(fs, stage.path().join(format!("disk{n}")));
        let slots = kinds
            .into_iter()
            .enumerate()
            .map(slot)
            .collect::<io::Result<_>>()?;
        let (durable, young) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            stage,
            slots,
            durable,
            young,
            groups: Vec::new(),
        })
    }

    /// The directory that holds all mount points, `disk0` to `disk3` and `pool`.
    pub(crate) fn stage(&self) -> &Path {
        self.stage.path()
    }

    /// The root of a branch.
    pub(crate) fn branch(&self, n: usize) -> &Path {
        &self.slots[n].dir
    }

    /// The roots of the branches, in branch order.
    pub(crate) fn branches(&self) -> [&Path; BRANCHES] {
        std::array::from_fn(|n| self.branch(n))
    }

    /// The mount point of the pool.
    pub(crate) fn pool(&self) -> PathBuf {
        self.stage.path().join("pool")
    }

    /// The journal's directory.
    pub(crate) fn journal(&self) -> PathBuf {
        self.slots[BRANCHES].dir.join("journal")
    }

    /// The list of duplicates.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.stage.path().join("manifest.json")
    }

    /// Mounts the pool over the branches that are mounted now.
    pub(crate) fn mount_pool(&self) -> io::Result<PoolMount> {
        PoolMount::new(&self.branches(), &self.pool())
    }

    /// Puts the files there, the synced ones first, and the list of duplicates.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        let all: Vec<(Vec<u8>, &Member)> = GROUPS
            .iter()
            .enumerate()
            .flat_map(|(n, (size, members))| members.iter().map(move |m| (bytes(n, *size), m)))
            .chain(
                OTHERS
                    .iter()
                    .enumerate()
                    .map(|(n, other)| (bytes(100 + n, 3000), other)),
            )
            .collect();
        for (bytes, member) in all.iter().filter(|(_, member)| member.age != Age::Young) {
            let old = if member.age == Age::Rewritten {
                &vec![b'?'; bytes.len()]
            } else {
                bytes
            };
            self.put(member, old)?;
        }
        for slot in &self.slots {
            syncfs(File::open(&slot.dir)?)?;
        }
        for (bytes, member) in all.iter().filter(|(_, member)| member.age != Age::Durable) {
            self.put(member, bytes)?;
        }
        for (bytes, member) in &all {
            let known = match member.age {
                Age::Durable => &mut self.durable,
                Age::Young | Age::Rewritten => &mut self.young,
            };
            known.extend(
                member
                    .names
                    .iter()
                    .map(|name| (PathBuf::from(name), bytes.clone())),
            );
        }
        let names = |members: &[Member]| {
            members
                .iter()
                .flat_map(|m| m.names)
                .map(PathBuf::from)
                .collect::<Vec<_>>()
        };
        self.groups = GROUPS.iter().map(|(_, members)| names(members)).collect();
        fs::write(self.manifest(), self.manifest_text())?;
        std::thread::sleep(SETTLED);
        Ok(())
    }

    fn put(&self, member: &Member, bytes: &[u8]) -> io::Result<()> {
        let mut names = member
            .names
            .iter()
            .map(|name| self.branch(member.branch).join(name));
        let first = names.next().expect("every member has a name");
        make_parent(&first)?;
        // In place, where it is there already.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&first)?;
        file.write_all_at(bytes, 0)?;
        for name in names.filter(|name| !name.exists()) {
            make_parent(&name)?;
            fs::hard_link(&first, &name)?;
        }
        Ok(())
    }

    /// The list as jdupes writes it.
    fn manifest_text(&self) -> String {
        let mut text = String::from("{\"jdupesVersion\": \"1.21.3\", \"matchSets\": [");
        for (n, (size, _)) in GROUPS.iter().enumerate() {
            let path = |name: &PathBuf| {
                format!("{{\"filePath\": \"{}\"}}", self.pool().join(name).display())
            };
            let files: Vec<String> = self.groups[n].iter().map(path).collect();
            let separator = if n == 0 { "" } else { "," };
            let files = files.join(", ");
            write!(
                text,
                "{separator}\n{{\"fileSize\": {size}, \"fileList\": [{files}]}}"
            )
            .expect("writing to a string");
        }
        text.push_str("\n]}\n");
        text
    }

    /// The tool with its journal and what follows.
    pub(crate) fn tool(&self, arguments: &[&str]) -> Command {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_mergerfs-xdedup"));
        tool.arg("--journal").arg(self.journal()).args(arguments);
        tool
    }

    /// The tool, about to do all the list says.
    pub(crate) fn tool_that_executes(&self) -> Command {
        let mut tool = self.tool(&["-e", "--any-master", "--no-progress", "-m"]);
        tool.arg(self.manifest());
        tool
    }

    /// Runs the tool over the disks of `rig`, one of which writes now and then; what it says when it ends with
    /// a code that is none of `codes`.
    pub(crate) fn run(
        &self,
        rig: &Rig,
        tool: &mut Command,
        stretch: Duration,
        codes: &[i32],
    ) -> Result<(), String> {
        let mut run = || {
            let pool = self.mount_pool()?;
            let dirs: Vec<&Path> = self.slots.iter().map(|slot| slot.dir.as_path()).collect();
            rig.mark("start");
            let (output, _) = run_in_stretches(tool, &dirs, stretch, COMMAND_TIME_MAX)?;
            rig.mark("end");
            drop(pool);
            Ok(output)
        };
        let output = run().map_err(|error: io::Error| format!("{tool:?}: {error}"))?;
        if output
            .status
            .code()
            .is_some_and(|code| codes.contains(&code))
        {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Err(format!("{tool:?}: {}: {said}", output.status))
    }

    /// Whether every path of `expected` is on some branch, and every copy of it has the right bytes.
    pub(crate) fn check_paths(&self, expected: &BTreeMap<PathBuf, Vec<u8>>) -> Result<(), String> {
        for (path, bytes) in expected {
            let mut found = 0;
            for (n, branch) in self.branches().into_iter().enumerate() {
                match fs::read(branch.join(path)) {
                    Ok(there) if there == *bytes => found += 1,
                    Ok(there) => return Err(differs(path, n, &there, bytes)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(format!("{path:?} on branch {n}: {error}")),
                }
            }
            if found == 0 {
                return Err(format!("{path:?} is on no branch"));
            }
        }
        Ok(())
    }

    /// Names of the tool's own that are still about.
    pub(crate) fn check_no_own_names(&self) -> Result<(), String> {
        let mut dirs: Vec<PathBuf> = self.branches().map(Path::to_owned).to_vec();
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).map_err(|error| format!("{dir:?}: {error}"))? {
                let entry = entry.map_err(|error| format!("{dir:?}: {error}"))?;
                if entry.file_name().as_bytes().starts_with(b".xdedup-") {
                    return Err(format!("{:?} was left behind", entry.path()));
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(entry.path());
                }
            }
        }
        Ok(())
    }

    /// How many groups there are.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether the log names every durable path that is no longer on the branch it was on (invariant 3).
    pub(crate) fn check_missing_are_logged(&self) -> Result<(), String> {
        let lines = LogLines::read(&self.journal().join("log.csv"))?;
        for member in GROUPS.iter().flat_map(|(_, members)| *members) {
            for name in member.names.iter().filter(|_| member.age == Age::Durable) {
                let path = self.branch(member.branch).join(name);
                if !path.exists() && !lines.name(&path) {
                    return Err(format!(
                        "{path:?} was removed, and no line of the log says so"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether the last line of every op says that it is over, and what it says is so.
    pub(crate) fn check_log_is_closed(&self) -> Result<(), String> {
        LogLines::read(&self.journal().join("log.csv"))?.check_closed()
    }

    /// How many distinct inodes the groups' paths lead to.
    pub(crate) fn distinct_inodes(&self) -> io::Result<usize> {
        let mut inodes = std::collections::BTreeSet::new();
        for path in self.groups.iter().flatten() {
            for branch in self.branches() {
                if let Ok(meta) = fs::symlink_metadata(branch.join(path)) {
                    inodes.insert((meta.dev(), meta.ino()));
                }
            }
        }
        Ok(inodes.len())
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Contents that no other group has.
fn bytes(group: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|n| b'A' + ((n / 7 + group * 31 + n * group) % 53) as u8)
        .collect()
}

fn differs(path: &Path, branch: usize, there: &[u8], expected: &[u8]) -> String {
    let first = there.iter().zip(expected).position(|(a, b)| a != b);
    let (has, wants) = (there.len(), expected.len());
    format!("{path:?} on branch {branch}: {has} bytes of {wants}, first difference at {first:?}")
}
