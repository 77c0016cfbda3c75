//! A mergerfs pool over loop disks.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::command::{require_machine, run};
use super::loop_disk::{Filesystem, LoopDisk, unmount};
use super::stand_in::{self, StandIn};
use super::{finish_clean_up, keep, wait};

/// What mergerfs may do on a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadWrite,
    ReadOnly,
    NoCreate,
}

impl Mode {
    fn suffix(self) -> &'static str {
        match self {
            Self::ReadWrite => "RW",
            Self::ReadOnly => "RO",
            Self::NoCreate => "NC",
        }
    }
}

/// What a pool is to be made of.
#[derive(Debug, Default, Clone)]
pub(crate) struct PoolPlan {
    disks: Vec<Filesystem>,
    /// The disk of each branch, the directory on it, and the mode.
    branches: Vec<(usize, &'static str, Mode)>,
    options: Vec<String>,
    stand_in: Option<stand_in::Plan>,
    subvolumes: bool,
}

impl PoolPlan {
    /// A pool of these disks, all writable, in this branch order.
    pub(crate) fn of(filesystems: &[Filesystem]) -> Self {
        let branches = (0..filesystems.len()).map(|disk| (disk, "", Mode::ReadWrite)).collect();
        Self {
            disks: filesystems.to_vec(),
            branches,
            options: Vec::new(),
            stand_in: None,
            subvolumes: false,
        }
    }

    /// Makes each branch directory a subvolume of its btrfs.
    pub(crate) fn subvolumes(mut self) -> Self {
        self.subvolumes = true;
        self
    }

    /// Mounts the stand-in for mergerfs in place of the real one.
    pub(crate) fn stand_in(mut self, plan: stand_in::Plan) -> Self {
        self.stand_in = Some(plan);
        self
    }

    /// Makes the branches directories of these disks, in this order, instead of one of each whole disk.
    pub(crate) fn branches(mut self, directories: &[(usize, &'static str)]) -> Self {
        let branch = |&(disk, dir)| (disk, dir, Mode::ReadWrite);
        self.branches = directories.iter().map(branch).collect();
        self
    }

    /// Gives branch `index` another mode.
    pub(crate) fn mode(mut self, index: usize, mode: Mode) -> Self {
        self.branches[index].2 = mode;
        self
    }

    /// Adds a mount option of mergerfs.
    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Makes the disks and mounts the pool.
    pub(crate) fn mount(&self) -> Pool {
        Pool::new(self)
    }
}

/// A mounted pool and its disks. All of it goes away with the value.
pub(crate) struct Pool {
    mount_point: PathBuf,
    /// mergerfs in the foreground: a child is waited for and ended by its id, a daemon has to be searched.
    mergerfs: Option<Child>,
    stand_in: Option<StandIn>,
    branches: Vec<PathBuf>,
    disks: Vec<LoopDisk>,
    /// After the disks: fields go in order, and the images lie in here.
    scratch: Option<TempDir>,
}

impl Pool {
    fn new(plan: &PoolPlan) -> Self {
        require_machine();
        let scratch = tempfile::Builder::new().prefix("xdedup-it-").tempdir().unwrap();
        let mount_point = scratch.path().join("pool");
        std::fs::create_dir(&mount_point).unwrap();
        let disk = |(i, &fs)| LoopDisk::new(scratch.path(), &format!("disk{i}"), fs);
        let disks: Vec<LoopDisk> = plan.disks.iter().enumerate().map(disk).collect();
        let mut branches = Vec::new();
        for &(disk, dir, _) in &plan.branches {
            // No empty last part: mergerfs would show the path without it.
            let mut branch = disks[disk].path().to_owned();
            branch.extend(Path::new(dir));
            if plan.subvolumes && !dir.is_empty() {
                let create = ["subvolume".as_ref(), "create".as_ref(), branch.as_os_str()];
                run("btrfs", &create);
            }
            std::fs::create_dir_all(&branch).unwrap();
            branches.push(branch);
        }
        let mut pool = Self {
            mount_point,
            mergerfs: None,
            stand_in: None,
            branches,
            disks,
            scratch: Some(scratch),
        };
        match plan.stand_in {
            Some(stand_in) => pool.start_stand_in(plan, stand_in),
            None => pool.start_mergerfs(plan),
        }
        pool
    }

    fn start_stand_in(&mut self, plan: &PoolPlan, stand_in: stand_in::Plan) {
        let modes = plan.branches.iter().map(|(_, _, mode)| mode.suffix());
        let branches: Vec<_> = self.branches.iter().cloned().zip(modes).collect();
        self.stand_in = Some(StandIn::mount(stand_in, &self.mount_point, &branches));
    }

    fn start_mergerfs(&mut self, plan: &PoolPlan) {
        let mut branches = String::new();
        for (path, (_, _, mode)) in self.branches.iter().zip(&plan.branches) {
            let separator = if branches.is_empty() { "" } else { ":" };
            write!(branches, "{separator}{}={}", path.display(), mode.suffix()).unwrap();
        }
        // mergerfs' own 4G would leave a small test disk without room for a single file.
        let mut options = String::from("minfreespace=1M,allow_other");
        for option in &plan.options {
            write!(options, ",{option}").unwrap();
        }
        let child = Command::new("mergerfs")
            .args(["-f", "-o", &options, &branches])
            .arg(&self.mount_point)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Away from the terminal's group: Ctrl-C must not take the pool from under a test that cleans up.
            .process_group(0)
            .spawn()
            .unwrap();
        self.mergerfs = Some(child);
        let mount_point = self.mount_point.clone();
        wait::until("mergerfs to mount", wait::LONG, || is_mergerfs(&mount_point)).unwrap();
    }

    /// The mount.
    pub(crate) fn root(&self) -> &Path {
        &self.mount_point
    }

    /// What mergerfs calls its version; Debian 13's calls it "unknown".
    pub(crate) fn version(&self) -> String {
        let version = xattr::get(self.path(".mergerfs"), "user.mergerfs.version").unwrap();
        String::from_utf8(version.unwrap()).unwrap()
    }

    /// The process id of its mergerfs.
    pub(crate) fn mergerfs_process(&self) -> u32 {
        self.mergerfs.as_ref().expect("a real mergerfs").id()
    }

    /// A path through the mount.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.mount_point.join(relative)
    }

    /// The directory that holds the disks.
    pub(crate) fn branch_parent(&self) -> &Path {
        self.mount_point.parent().unwrap()
    }

    /// The branches in order.
    pub(crate) fn branches(&self) -> &[PathBuf] {
        &self.branches
    }

    /// Disk `index`.
    pub(crate) fn disk(&self, index: usize) -> &LoopDisk {
        &self.disks[index]
    }

    /// Disk `index`, to take it away.
    pub(crate) fn disk_mut(&mut self, index: usize) -> &mut LoopDisk {
        &mut self.disks[index]
    }

    /// The disks, in branch order where each is a branch.
    pub(crate) fn disks(&self) -> &[LoopDisk] {
        &self.disks
    }

    /// A path on branch `index`.
    pub(crate) fn on(&self, index: usize, relative: impl AsRef<Path>) -> PathBuf {
        self.branches[index].join(relative)
    }

    /// The bytes in use on every disk, as `df` counts them.
    pub(crate) fn used_bytes(&self) -> Vec<u64> {
        self.disks.iter().map(LoopDisk::used_bytes).collect()
    }

    fn stop_mergerfs(&mut self) -> Result<(), String> {
        if let Some(stand_in) = self.stand_in.take() {
            unmount(&self.mount_point)?;
            return stand_in.join().map_err(|e| format!("the stand-in failed: {e}"));
        }
        let Some(mut child) = self.mergerfs.take() else {
            return Ok(());
        };
        let unmounted =
            if is_mergerfs(&self.mount_point) { unmount(&self.mount_point) } else { Ok(()) };
        let gone = wait::until("mergerfs to end", Duration::from_secs(10), || {
            child.try_wait().is_ok_and(|status| status.is_some())
        });
        if gone.is_err() {
            // Newer versions sometimes stay after the unmount, without any branch open.
            child.kill().map_err(|e| format!("cannot end mergerfs: {e}"))?;
            child.wait().map_err(|e| format!("cannot wait for mergerfs: {e}"))?;
        }
        unmounted
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if keep() {
            println!("KEEP: umount {}", self.mount_point.display());
            if let Some(scratch) = self.scratch.take() {
                println!("KEEP: then, after its disks: rm -r {}", scratch.keep().display());
            }
            return;
        }
        let result = self.stop_mergerfs();
        finish_clean_up(&format!("{}", self.mount_point.display()), result);
    }
}

/// Whether a mergerfs is mounted right there.
fn is_mergerfs(mount_point: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| {
        line.split(' ').nth(4) == mount_point.to_str() && line.contains(" - fuse.mergerfs ")
    })
}
