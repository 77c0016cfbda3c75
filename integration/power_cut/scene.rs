//! The disks and files that a tool is let loose on while the power may go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::syncfs;
use tempfile::TempDir;

use super::beside::Beside;
use super::csv_log::LogLines;
use super::files::{Age, FileGroup, Member, parse};
use super::pool::PoolMount;
use super::rig::{FileSystem, Rig, Slot};

/// Three branches; the journal is on a disk of its own.
pub(crate) const BRANCHES: usize = 3;
/// No command takes longer than this by far.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(180);
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
    groups: Vec<FileGroup>,
    /// Whether duplicates become clones where the kept copy's filesystem can make them.
    clones: bool,
}

impl Scene {
    /// Slots for these filesystems, the branches' and then the journal's, and `files` to come.
    pub(crate) fn new(kinds: [FileSystem; BRANCHES + 1], files: &str) -> io::Result<Self> {
        let stage = tempfile::Builder::new().prefix("power-cut-pool.").tempdir()?;
        let slot = |(n, fs)| Slot::new(fs, stage.path().join(format!("disk{n}")));
        let slots = kinds.into_iter().enumerate().map(slot).collect::<io::Result<_>>()?;
        let (durable, young) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { stage, slots, durable, young, groups: parse(files), clones: false })
    }

    /// The same with clones in the place of links.
    pub(crate) fn with_clones(self) -> Self {
        Self { clones: true, ..self }
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
        for (bytes, member) in self.files().filter(|(_, member)| member.age != Age::Young) {
            match member.age {
                Age::Rewritten => self.put(member, &vec![b'?'; bytes.len()])?,
                Age::Durable | Age::Young => self.put(member, bytes)?,
            }
        }
        for slot in &self.slots {
            syncfs(File::open(&slot.dir)?)?;
        }
        for (bytes, member) in self.files().filter(|(_, member)| member.age != Age::Durable) {
            self.put(member, bytes)?;
        }
        self.durable = self.expected(|age| age == Age::Durable);
        self.young = self.expected(|age| age != Age::Durable);
        fs::write(self.manifest(), self.manifest_text())?;
        std::thread::sleep(SETTLED);
        Ok(())
    }

    fn files<'a>(&'a self) -> impl Iterator<Item = (&'a [u8], &'a Member)> {
        let files = |group: &'a FileGroup| group.members.iter().map(|m| (&group.bytes[..], m));
        self.groups.iter().flat_map(files)
    }

    fn expected(&self, wanted: impl Fn(Age) -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
        self.files()
            .filter(|(_, member)| wanted(member.age))
            .flat_map(|(bytes, member)| {
                member.names.iter().map(|name| (name.clone(), bytes.to_vec()))
            })
            .collect()
    }

    fn put(&self, member: &Member, bytes: &[u8]) -> io::Result<()> {
        let root = self.branch(member.branch);
        let mut names = member.names.iter().map(|name| root.join(name));
        let first = names.next().expect("every file has a name");
        make_parent(&first)?;
        // In place, where it is there already.
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(&first)?;
        file.write_all_at(bytes, 0)?;
        for name in names.filter(|name| !name.exists()) {
            make_parent(&name)?;
            fs::hard_link(&first, &name)?;
        }
        Ok(())
    }

    /// The groups that have duplicates.
    fn claims(&self) -> impl Iterator<Item = &FileGroup> {
        self.groups.iter().filter(|group| group.members.len() > 1)
    }

    /// The list as jdupes writes it.
    fn manifest_text(&self) -> String {
        let path =
            |name: &PathBuf| format!("{{\"filePath\": \"{}\"}}", self.pool().join(name).display());
        let set = |group: &FileGroup| {
            let files: Vec<String> = group.paths().map(path).collect();
            let (size, files) = (group.bytes.len(), files.join(", "));
            format!("{{\"fileSize\": {size}, \"fileList\": [{files}]}}")
        };
        let sets: Vec<String> = self.claims().map(set).collect();
        let sets = sets.join(",\n");
        format!("{{\"jdupesVersion\": \"1.21.3\", \"matchSets\": [\n{sets}\n]}}\n")
    }

    /// The tool with its journal and what follows.
    pub(crate) fn tool(&self, arguments: &[&str]) -> Command {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_mergerfs-xdedup"));
        tool.arg("--journal").arg(self.journal()).args(arguments);
        tool
    }

    /// The tool, about to do all the list says.
    pub(crate) fn tool_that_executes(&self) -> Command {
        let link = if self.clones { "auto" } else { "hard" };
        let mut tool = self.tool(&["-e", "--any-master", "--no-progress", "--link", link, "-m"]);
        tool.arg(self.manifest());
        tool
    }

    /// Runs the tool over the disks of `rig` with others beside it: what it says. An error when it ends with a
    /// code that is none of `codes`.
    pub(crate) fn run(
        &self,
        rig: &Rig,
        tool: &mut Command,
        beside: &Beside,
        codes: &[i32],
    ) -> Result<String, String> {
        let mut run = || {
            let pool = self.mount_pool()?;
            rig.mark("start");
            let (output, _) = beside.run(tool, COMMAND_TIME_MAX)?;
            rig.mark("end");
            drop(pool);
            Ok(output)
        };
        let output = run().map_err(|error: io::Error| format!("{tool:?}: {error}"))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.code().is_some_and(|code| codes.contains(&code)) {
            return Ok(said);
        }
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
        self.claims().count()
    }

    /// Whether the log names every durable path that is no longer on the branch it was on (invariant 3).
    pub(crate) fn check_missing_are_logged(&self) -> Result<(), String> {
        let lines = LogLines::read(&self.journal().join("log.csv"))?;
        let durable = |(_, member): &(&[u8], &Member)| member.age == Age::Durable;
        for (_, member) in self.files().filter(durable) {
            for name in &member.names {
                let path = self.branch(member.branch).join(name);
                if !path.exists() && !lines.name(&path) {
                    return Err(format!("{path:?} was removed, and no line of the log says so"));
                }
            }
        }
        Ok(())
    }

    /// Whether the last line of every op says that it is over, and what it says is so.
    pub(crate) fn check_log_is_closed(&self) -> Result<(), String> {
        LogLines::read(&self.journal().join("log.csv"))?.check_closed(self.clones)
    }

    /// How many distinct inodes the groups' paths lead to; disks of a group, where duplicates become clones.
    pub(crate) fn distinct_inodes(&self) -> usize {
        let inodes: BTreeSet<_> =
            self.claims().flat_map(|group| self.inodes(group)).map(|(inode, _)| inode).collect();
        if self.clones {
            let disks = self.claims().map(|group| {
                let inodes = self.inodes(group).into_keys();
                inodes.map(|(disk, _)| disk).collect::<BTreeSet<_>>().len()
            });
            return disks.sum();
        }
        inodes.len()
    }

    /// The branch paths of the groups that have more than one inode, a group a line.
    pub(crate) fn undone(&self) -> String {
        let groups = self.claims().map(|group| self.inodes(group));
        groups
            .filter(|inodes| inodes.keys().len() > 1)
            .map(|inodes| format!("{inodes:?}\n"))
            .collect()
    }

    /// The inodes (device, number) of one group, and the branch paths that lead there.
    fn inodes(&self, group: &FileGroup) -> BTreeMap<(u64, u64), Vec<PathBuf>> {
        let mut inodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for path in group.paths() {
            for path in self.branches().map(|branch| branch.join(path)) {
                if let Ok(meta) = fs::symlink_metadata(&path) {
                    let inode = (meta.dev(), meta.ino());
                    inodes.entry(inode).or_default().push(path);
                }
            }
        }
        inodes
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn differs(path: &Path, branch: usize, there: &[u8], expected: &[u8]) -> String {
    let first = there.iter().zip(expected).position(|(a, b)| a != b);
    let (has, wants) = (there.len(), expected.len());
    format!("{path:?} on branch {branch}: {has} bytes of {wants}, first difference at {first:?}")
}
