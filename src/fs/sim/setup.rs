//! Building a world, and looking at it from outside.
//!
//! Everything built here is old and on stable storage; later changes by the executor or a client are neither.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::fs::FsId;
use crate::fs::{FileKind, InodeId, Metadata, Place, Stat, Timestamp};
use crate::pool::relpath::RelPath;
use crate::pool::{Branch as PoolBranch, BranchIdx, BranchMode, Pool};

use super::SimWorld;
use super::disk::{Disk, ROOT};
use super::image::{Attrs, Content, Sys};
use super::state::{Branch, State};

/// A disk of a [`SimWorld`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskIdx(pub usize);

/// The wall clock when a test begins.
const START: Timestamp = Timestamp { secs: 1_760_000_000, nanos: 0 };
/// When everything that is set up was made: thirty days before.
const OLD: Timestamp = Timestamp { secs: START.secs - 30 * 86_400, nanos: 0 };

/// `path` on a branch.
///
/// # Panics
/// Panics if `path` is no relpath.
#[must_use]
pub fn place(branch: BranchIdx, path: impl AsRef<[u8]>) -> Place {
    Place::new(branch, RelPath::new(path).expect("a test names a valid relpath"))
}

impl Default for SimWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl SimWorld {
    /// A world without disks.
    #[must_use]
    pub fn new() -> Self {
        Self::of(State {
            clock: START,
            step: 10_000_000,
            disks: Vec::new(),
            branches: Vec::new(),
            opens: BTreeMap::new(),
            next_open: 0,
            acknowledged: Vec::new(),
            own_call: false,
            pins: BTreeMap::new(),
            comings: BTreeMap::new(),
            moves: 0,
            dentries: Default::default(),
            reuse_inodes: false,
            handles: true,
        })
    }

    /// Does something of the setup: with old times, on stable storage, never failing.
    fn setup<T>(&self, act: impl FnOnce(&mut State) -> Sys<T>) -> T {
        let mut state = self.state();
        let now = std::mem::replace(&mut state.clock, OLD);
        let made = act(&mut state).map_err(std::io::Error::from_raw_os_error);
        state.clock = now;
        for disk in &mut state.disks {
            disk.sync_all();
        }
        drop(state);
        made.expect("the setup of a test is possible")
    }

    /// Adds an empty disk.
    #[must_use]
    pub fn add_disk(&self) -> DiskIdx {
        let mut state = self.state();
        let n = state.disks.len();
        state.disks.push(Disk::new(64 + n as u64, OLD));
        DiskIdx(n)
    }

    /// Adds a branch, the next in branch order, with a directory of its own on the disk.
    pub fn add_branch(&self, disk: DiskIdx) -> BranchIdx {
        let name = format!("branch{}", self.state().branches.len());
        self.add_branch_at(disk, &name)
    }

    /// Adds a branch whose root is the directory `path` of the disk, made where it is missing.
    pub fn add_branch_at(&self, disk: DiskIdx, path: &str) -> BranchIdx {
        self.setup(|state| {
            let index = BranchIdx(u16::try_from(state.branches.len()).map_err(|_| libc::ENOSPC)?);
            state.branches.push(Branch {
                disk: disk.0,
                root: ROOT,
                mount: 1000 + disk.0 as u64,
                mode: BranchMode::Rw,
                read_only: false,
                gone: false,
            });
            let root = place(index, path);
            state.make_dirs(&root)?;
            state.branches[index.index()].root = state.find_dir(&root)?.1;
            Ok(index)
        })
    }

    /// Adds a file of mode 0644 with these bytes, its directories too.
    pub fn add_file(&self, at: &Place, bytes: &[u8]) -> InodeId {
        self.setup(|state| {
            state.make_dirs(&at.dir())?;
            let (disk, ino) = state.make(at, Content::File(Vec::new()), 0o644)?;
            state.write(disk, ino, bytes.to_vec());
            Ok(state.id(disk, ino))
        })
    }

    /// Adds another name of the file `from`, the directories too.
    pub fn add_link(&self, from: &Place, to: &Place) {
        self.setup(|state| {
            state.make_dirs(&to.dir())?;
            let (disk, ino) = state.find(from)?;
            let mount = state.branches[from.branch.index()].mount;
            state.link(disk, ino, mount, to)
        });
    }

    /// Adds a directory of mode 0755, and the directories above.
    pub fn add_dir(&self, at: &Place) {
        self.setup(|state| state.make_dirs(at));
    }

    /// Adds a symlink.
    pub fn add_symlink(&self, at: &Place) {
        self.setup(|state| state.make(at, Content::Symlink, 0o777));
    }

    /// Adds a FIFO.
    pub fn add_fifo(&self, at: &Place) {
        self.setup(|state| state.make(at, Content::Other, 0o644));
    }

    /// Sets the owner, mode and attributes of a file or directory.
    pub fn set_metadata(&self, at: &Place, meta: Metadata) {
        self.set_attrs(at, |attrs| attrs.meta = meta);
    }

    /// Sets the default ACL of a directory.
    pub fn set_default_acl(&self, at: &Place, acl: Option<Vec<u8>>) {
        self.set_attrs(at, |attrs| attrs.default_acl = acl);
    }

    /// Sets the mtime of a file or directory.
    pub fn set_mtime(&self, at: &Place, mtime: Timestamp) {
        self.set_attrs(at, |attrs| attrs.mtime = mtime);
    }

    /// `chattr +i`, or `-i`.
    pub fn set_immutable(&self, at: &Place, immutable: bool) {
        self.set_attrs(at, |attrs| attrs.immutable = immutable);
    }

    /// Mounts something on the directory.
    pub fn mount_on(&self, at: &Place) {
        self.set_attrs(at, |attrs| attrs.mount_point = true);
    }

    fn set_attrs(&self, at: &Place, change: impl FnOnce(&mut Attrs)) {
        self.setup(|state| state.alter(at, change));
    }

    /// Makes a branch read-only to everybody, or writable again.
    pub fn set_read_only(&self, branch: BranchIdx, read_only: bool) {
        self.state().branches[branch.index()].read_only = read_only;
    }

    /// Sets what mergerfs lets clients do on a branch.
    pub fn set_mode(&self, branch: BranchIdx, mode: BranchMode) {
        self.state().branches[branch.index()].mode = mode;
    }

    /// Puts a branch on a mount of its own: a bind mount of the same device.
    pub fn set_mount(&self, branch: BranchIdx, mount: u64) {
        self.state().branches[branch.index()].mount = mount;
    }

    /// Makes the branch's path lead elsewhere, or back.
    pub fn set_gone(&self, branch: BranchIdx, gone: bool) {
        self.state().branches[branch.index()].gone = gone;
    }

    /// Sets the most names an inode of the disk can have.
    pub fn set_link_limit(&self, disk: DiskIdx, names: u64) {
        self.state().disks[disk.0].link_limit = names;
    }

    /// Whether a new file or directory gets the lowest free inode number, as on ext4, or a number that was never used.
    pub fn set_reuse_inodes(&self, reuse: bool) {
        self.state().reuse_inodes = reuse;
    }

    /// Lets the filesystems have handles, or not.
    pub fn set_handles(&self, handles: bool) {
        self.state().handles = handles;
    }

    /// Sets how far the clock moves with each change.
    pub fn set_step(&self, step: std::time::Duration) {
        self.state().step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Sets the clock back.
    pub fn set_clock_back(&self, by: std::time::Duration) {
        self.state().clock.secs -= i64::try_from(by.as_secs()).unwrap_or(0);
    }

    /// Everything that was done is on stable storage.
    pub fn sync_all(&self) {
        for disk in &mut self.state().disks {
            disk.sync_all();
        }
    }

    /// The identity of a branch's filesystem, which outlives reboots.
    #[must_use]
    pub fn fs_id(&self, branch: BranchIdx) -> FsId {
        let disk = self.state().branches[branch.index()].disk;
        FsId { uuid: [u8::try_from(disk + 1).unwrap_or(u8::MAX); 16], subvolume: 0 }
    }

    /// The pool of these branches, mounted on `/pool`.
    #[must_use]
    pub fn pool(&self) -> Pool {
        let state = self.state();
        let branches = state.branches.iter().enumerate();
        let path = |n: usize| PathBuf::from(format!("/branch{n}"));
        Pool {
            mount: PathBuf::from("/pool"),
            version: "2.42.0".to_owned(),
            branches: branches.map(|(n, b)| PoolBranch { path: path(n), mode: b.mode }).collect(),
            branches_raw: Vec::new(),
            getattr_newest: false,
        }
    }

    /// Every file (and symlink, and so on) of every branch: what inode it is and its bytes.
    #[must_use]
    pub fn files(&self) -> BTreeMap<Place, (InodeId, Vec<u8>)> {
        let state = self.state();
        let mut files = BTreeMap::new();
        for (branch, index) in state.branches.iter().zip(0..) {
            let live = &state.disks[branch.disk].live;
            for (path, ino) in live.below(branch.root) {
                if live.node(ino).kind() == FileKind::Directory {
                    continue;
                }
                let file = (state.id(branch.disk, ino), live.node(ino).data().to_vec());
                files.insert(Place::new(BranchIdx(index), path), file);
            }
        }
        files
    }

    /// Every name of every branch, directories too, with what it is.
    #[must_use]
    pub fn names(&self) -> BTreeMap<Place, Stat> {
        let state = self.state();
        let mut names = BTreeMap::new();
        for (branch, index) in state.branches.iter().zip(0..) {
            for (path, ino) in state.disks[branch.disk].live.below(branch.root) {
                names.insert(Place::new(BranchIdx(index), path), state.stat(branch.disk, ino, 0));
            }
        }
        names
    }

    /// How many files this process has open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.state().opens.values().filter(|open| open.client.is_none()).count()
    }

    /// How many leases this process has.
    #[must_use]
    pub fn leases(&self) -> usize {
        let state = self.state();
        let own = state.opens.iter().filter(|(_, open)| open.client.is_none());
        own.filter(|(id, _)| state.has_lease(**id)).count()
    }

    /// The pool as clients see it: each path with the bytes on the first branch that has it.
    #[must_use]
    pub fn pool_view(&self) -> BTreeMap<RelPath, Vec<u8>> {
        let mut view = BTreeMap::new();
        for (at, (_, bytes)) in self.files() {
            view.entry(at.path).or_insert(bytes);
        }
        view
    }
}
