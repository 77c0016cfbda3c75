//! Looks at everything the findings are made from, and changes nothing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;
use nix::unistd::{AccessFlags, access, geteuid};

use super::facts::{BranchDisk, BranchFacts, Facts, Host, JournalPlace, Leases};
use super::filesystem::FilesystemKind;
use super::neighbours;
use crate::find::facts::root_of;
use crate::find::symlinks;
use crate::fs::real::RealFs;
use crate::fs::{Lease, Look, Place};
use crate::journal::{self, JournalError};
use crate::pool::mergerfs::{self, Description, PoolError};
use crate::pool::{Branch, BranchIdx, Pool, mountinfo};
use crate::rescue::leftovers;
use crate::rescue::unsettled::FileNow;
use crate::run::{self, Unfinished};

/// The number of pool files compared with mergerfs' answers about them.
const SAMPLE: usize = 16;

/// Looks at the pool that `path` lies on, and at `journal`, an absolute path with everything that exists resolved.
///
/// With `top_only` the branches are searched for names of ours in their uppermost directories only.
///
/// # Errors
/// Fails if `path` is not on a mergerfs pool, or the mount table cannot be read.
pub fn collect(path: &Path, journal: &Path, top_only: bool) -> Result<Facts, PoolError> {
    let pool = mergerfs::describe(path)?;
    let listed = pool.branches.clone().unwrap_or_default();
    let mounts = mountinfo::read().map_err(PoolError::MountTable)?;
    let branches: Vec<_> = listed
        .iter()
        .map(|branch| BranchFacts {
            path: branch.path.clone(),
            mode: branch.mode,
            awaits_mount: mergerfs::awaits_mount(&branch.path),
            disk: disk(branch, &mounts, top_only),
        })
        .collect();
    Ok(Facts {
        elsewhere: elsewhere(&pool),
        symlinks: if top_only { Vec::new() } else { symlinks(&pool, &listed) },
        host: host(),
        journal: journal_place(journal, &pool.mount, &branches),
        around: neighbours::around(&pool, &mounts),
        branches,
        pool,
    })
}

fn disk(
    branch: &Branch,
    mounts: &[mountinfo::Mount],
    top_only: bool,
) -> Result<BranchDisk, String> {
    let at = BranchIdx(0);
    let told = |error: crate::fs::FsError| format!("{error}: {}", error.source);
    let fs = RealFs::open(std::slice::from_ref(branch)).map_err(told)?;
    let real_path = branch.path.canonicalize().map_err(|e| e.to_string())?;
    let kind = statfs(&branch.path).map_err(|e| e.to_string())?;
    let entries = fs.list_dir(&root_of(at)).map_err(told)?;
    let mount = fs.mount_id(at);
    let own = mounts.iter().find(|m| m.id == mount);
    let is_pool = own.is_some_and(mountinfo::Mount::is_mergerfs);
    let root = fs.root_id(at);
    // Walking a pool would be walking its branches once more.
    let found = leftovers::look(&fs, at, top_only || is_pool);
    Ok(BranchDisk {
        root: (root.dev, root.ino),
        mount,
        filesystem: FilesystemKind::of(kind.filesystem_type()),
        is_pool,
        on_parent: own.is_none_or(|mount| mount.point != real_path),
        empty: entries.is_empty(),
        read_only: fs.read_only(at).map_err(told)?,
        identity: fs.identity(at).is_some(),
        reflinks: fs.reflinks(at),
        leases: leases(&fs, &branch.path, &found.files),
        snapraid: entries
            .iter()
            .filter(|entry| crate::find::scan::is_snapraid(&entry.name))
            .map(|entry| branch.path.join(mergerfs::path_of(&entry.name)))
            .collect(),
        leftovers: found
            .names
            .iter()
            .filter_map(|at| {
                let stat = fs.stat(at).ok().flatten()?;
                let path = branch.path.join(at.path.as_path());
                Some(FileNow::new(path, &stat))
            })
            .collect(),
        unreadable: found.unreadable,
        real_path,
    })
}

/// Takes a read lease for a moment, on a file no program writes: this function releases the lease at once, and nothing
/// of the file moves.
fn leases(fs: &RealFs, root: &Path, files: &[Place]) -> Leases {
    let mut refused = Leases::Untried;
    for place in files {
        let Ok(file) = fs.open(place) else { continue };
        match fs.lease(&file, Lease::Read) {
            Ok(()) => return Leases::Work,
            // Another program writes to the file: a filesystem that reports this supports leases.
            Err(error) if error.errno() == libc::EAGAIN => return Leases::Work,
            // Refused to this user, whatever the filesystem can do.
            Err(error) if error.errno() == libc::EACCES && !geteuid().is_root() => {}
            Err(error) => {
                let path = root.join(place.path.as_path());
                refused = Leases::Refused(path, error.source.to_string());
            }
        }
    }
    refused
}

/// A file in the pool's root whose branch path leads to something else here: another mount namespace.
fn elsewhere(pool: &Description) -> Option<(PathBuf, PathBuf)> {
    let entries = std::fs::read_dir(&pool.mount).ok()?;
    let paths = entries.take(SAMPLE).filter_map(|entry| Some(entry.ok()?.path()));
    let pairs = paths.filter_map(|path| Some((mergerfs::only_path(&path)?, path)));
    let same = |(branch_path, path): &(PathBuf, PathBuf)| {
        let Ok(shown) = path.symlink_metadata() else {
            return true; // gone meanwhile
        };
        branch_path.symlink_metadata().is_ok_and(|there| {
            // mergerfs follows symlinks, or shows files as symlinks.
            let another_kind = there.is_symlink() != shown.is_symlink();
            another_kind
                || ((there.mode(), there.uid(), there.gid())
                    == (shown.mode(), shown.uid(), shown.gid())
                    && (there.is_dir() || there.len() == shown.len()))
        })
    };
    let (branch_path, path) = { pairs }.find(|pair| !same(pair))?;
    Some((path, branch_path))
}

/// The symlinks on the branches that lead to a branch path, sorted; none if a branch cannot be opened.
fn symlinks(pool: &Description, branches: &[Branch]) -> Vec<PathBuf> {
    let Ok(fs) = RealFs::open(branches) else { return Vec::new() };
    let (mount, branches) = (pool.mount.clone(), branches.to_vec());
    let pool = Pool { mount, branches, ..Pool::default() };
    let mut found: Vec<PathBuf> =
        symlinks::find(&fs, &pool, &|| false).symlinks().cloned().collect();
    found.sort();
    found.dedup();
    found
}

fn host() -> Host {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned());
    let switch = std::fs::read_to_string("/proc/sys/fs/leases-enable");
    Host {
        kernel: release.unwrap_or_default(),
        leases_enabled: switch.ok().map(|value| value.trim() != "0"),
        root: geteuid().is_root(),
    }
}

fn journal_place(dir: &Path, pool: &Path, branches: &[BranchFacts]) -> JournalPlace {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut roots = std::iter::once(pool).chain(branches.iter().map(|b| b.path.as_path()));
    let within = roots.find(|root| dir.starts_with(real(root)));
    let existing = dir.ancestors().find(|path| path.exists());
    let dev = existing.and_then(|path| path.metadata().ok()).map(|found| found.dev());
    let shares = |branch: &&BranchFacts| matches!(&branch.disk, Ok(disk) if Some(disk.root.0) == dev && !disk.on_parent);
    let kind = existing.and_then(|path| statfs(path).ok());
    let space = existing.and_then(|path| statvfs(path).ok());
    JournalPlace {
        dir: dir.to_path_buf(),
        id: journal::id_at(dir),
        unfinished: unfinished(dir, pool),
        within: within.map(Path::to_path_buf),
        beside: branches.iter().find(shares).map(|b| b.path.clone()),
        filesystem: kind.map(|kind| FilesystemKind::of(kind.filesystem_type())),
        free: space.map(|space| space.blocks_available().saturating_mul(space.fragment_size())),
        writable: existing
            .is_some_and(|path| access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()),
    }
}

/// The runs that the journal in `dir` has open on `pool`; none while another process has the journal.
fn unfinished(dir: &Path, pool: &Path) -> Vec<Unfinished> {
    let pool = Pool { mount: pool.to_path_buf(), ..Pool::default() };
    match journal::look_at_copy(dir, |copy| run::unfinished(&copy.open_ops(), &pool).0) {
        Ok(found) => found.unwrap_or_default(),
        Err(JournalError::Locked { .. }) => Vec::new(),
        Err(error) => {
            let hint = error.hint();
            tracing::warn!(%error, hint, "what an interrupted run left open is not known");
            Vec::new()
        }
    }
}
