//! Finds the symlinks that lead to a file by its branch path: such a file cannot leave its branch.
//!
//! mergerfs makes such symlinks itself (`link-exdev=abs-base-symlink`, `rename-exdev`), and so do people.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::fs::real::RealFs;
use crate::fs::{FileKind, FsError, Look, Place};
use crate::plan::Op;
use crate::plan::refusal::Reason;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// The files and directories that symlinks lead to by their branch paths, each with one of the symlinks.
#[derive(Debug, Default)]
pub struct PointedAt {
    targets: HashMap<Place, PathBuf>,
    /// Directories that could not be read: symlinks in them stay unknown.
    pub unreadable: Vec<FsError>,
}

impl PointedAt {
    /// Returns why `op` may not move its names, if a symlink leads to a name that would leave its branch, with the
    /// details.
    #[must_use]
    pub fn against(&self, op: &Op) -> Option<(Reason, String)> {
        let leaves = (0..op.names.len()).filter(|k| op.names[*k].from != op.names[*k].to);
        let symlink = leaves.map(|k| op.own(k)).find_map(|place| self.to(place))?;
        Some((Reason::SymlinkTarget, format!("symlink {symlink:?}")))
    }

    /// Returns the symlinks, at least one for each target.
    pub fn symlinks(&self) -> impl Iterator<Item = &PathBuf> {
        self.targets.values()
    }

    /// Adds the symlink `link`, if it leads to a branch path. A symlink that is gone by now leads nowhere.
    fn add(&mut self, fs: &RealFs, roots: &Roots<'_>, link: &Place) {
        let Ok(target) = fs.read_link(link) else { return };
        for target in roots.behind(link, &target) {
            self.targets.insert(target, fs.shown(link));
        }
    }

    /// Returns a symlink that leads to `place` or to a directory above it.
    fn to(&self, mut place: Place) -> Option<&PathBuf> {
        loop {
            if let Some(symlink) = self.targets.get(&place) {
                return Some(symlink);
            }
            if place.path.is_root() {
                return None;
            }
            place = place.dir();
        }
    }
}

/// Walks all branches that can be recognized after a reboot for symlinks: on others no file is linked, and many of them
/// are slow. Reads directories and symlinks only; disks are walked at the same time. If `stopped` returns true the walk
/// ends, and symlinks are missing.
#[must_use]
pub fn find(fs: &RealFs, pool: &Pool, stopped: &(dyn Fn() -> bool + Sync)) -> PointedAt {
    let roots = Roots::of(pool);
    let branches: Vec<BranchIdx> =
        pool.indices().filter(|branch| fs.identity(*branch).is_some()).collect();
    let readers: HashSet<BranchIdx> = branches.iter().map(|branch| fs.reader_of(*branch)).collect();
    let found = std::thread::scope(|scope| {
        let walks: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let here = branches.iter().copied().filter(move |b| fs.reader_of(*b) == reader);
                let roots = &roots;
                scope.spawn(move || {
                    let mut found = PointedAt::default();
                    here.for_each(|branch| walk(fs, roots, branch, stopped, &mut found));
                    found
                })
            })
            .collect();
        let joined = walks.into_iter().map(|walk| match walk.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect::<Vec<_>>()
    });
    let mut all = PointedAt::default();
    for one in found {
        all.targets.extend(one.targets);
        all.unreadable.extend(one.unreadable);
    }
    all
}

fn walk(
    fs: &RealFs,
    roots: &Roots<'_>,
    branch: BranchIdx,
    stopped: &dyn Fn() -> bool,
    found: &mut PointedAt,
) {
    let dev = fs.root_id(branch).dev;
    let mut stack = vec![Place::new(branch, RelPath::root())];
    while let Some(at) = stack.pop().filter(|_| !stopped()) {
        let dir = match fs.scan_dir(&at) {
            // A subvolume of btrfs, such as a snapshot, is no part of the branch.
            Ok(dir) if dir.id().dev != dev => continue,
            Ok(dir) => dir,
            // Gone meanwhile, or another mount.
            Err(error)
                if matches!(
                    error.errno(),
                    libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV
                ) =>
            {
                continue;
            }
            Err(error) => {
                found.unreadable.push(error);
                continue;
            }
        };
        for entry in dir.entries() {
            let name = dir.name(entry).to_bytes();
            let Ok(path) = at.path.join(OsStr::from_bytes(name)) else { continue };
            let place = Place::new(branch, path);
            let kind = entry.kind.or_else(|| fs.stat(&place).ok().flatten().map(|s| s.kind));
            match kind {
                // Not the filesystem's own directory, for root's eyes only.
                Some(FileKind::Directory) if name != b"lost+found" => stack.push(place),
                Some(FileKind::Symlink) => found.add(fs, roots, &place),
                _ => {}
            }
        }
    }
}

/// The directories by which absolute paths lead to branches.
struct Roots<'p> {
    mount: &'p Path,
    branches: Vec<(PathBuf, BranchIdx)>,
}

impl<'p> Roots<'p> {
    fn of(pool: &'p Pool) -> Self {
        let listed = pool.indices().zip(&pool.branches);
        let paths = listed.flat_map(|(at, branch)| {
            let real = branch.path.canonicalize().unwrap_or_else(|_| branch.path.clone());
            [(branch.path.clone(), at), (real, at)]
        });
        Self { mount: &pool.mount, branches: paths.collect() }
    }

    /// Returns the places on branches that the symlink `link` leads to by a branch path: as its target is written, and
    /// as the kernel resolves that. A relative target begins in the pool: there the symlink is seen.
    fn behind(&self, link: &Place, target: &[u8]) -> Vec<Place> {
        let dir = self.mount.join(link.dir().path.as_path());
        let written = normal(&dir.join(OsStr::from_bytes(target)));
        let place = self.place(&written);
        // In the pool the file is found wherever it is. Any other path may lead to a branch by more symlinks.
        if place.is_none() && written.starts_with(self.mount) {
            return Vec::new();
        }
        let real = written.canonicalize().ok().and_then(|real| self.place(&real));
        let real = real.filter(|real| Some(real) != place.as_ref());
        place.into_iter().chain(real).collect()
    }

    /// Returns the place on a branch that an absolute path names; `None` if it names a place in the pool or elsewhere.
    fn place(&self, path: &Path) -> Option<Place> {
        let roots = self.branches.iter().filter(|(root, _)| path.starts_with(root));
        let (root, branch) = roots.max_by_key(|(root, _)| root.as_os_str().len())?;
        if path.starts_with(self.mount) && self.mount.starts_with(root) {
            return None;
        }
        let rest = path.strip_prefix(root).ok()?;
        Some(Place::new(*branch, RelPath::new(rest.as_os_str().as_bytes()).ok()?))
    }
}

/// Resolves `.` and `..` by name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(branch: u16, path: &str) -> Place {
        Place::new(BranchIdx(branch), RelPath::new(path).unwrap())
    }

    fn roots(mount: &Path) -> Roots<'_> {
        let branch = |path: &str, at| (PathBuf::from(path), BranchIdx(at));
        Roots { mount, branches: vec![branch("/m/d1", 0), branch("/m/d2", 1), branch("/m", 2)] }
    }

    #[test]
    fn only_targets_below_a_branch_count() {
        let mount = Path::new("/m/pool");
        let roots = roots(mount);
        let link = place(0, "a/link");
        let behind = |target: &str| roots.behind(&link, target.as_bytes());
        assert_eq!(behind("/m/d1/film"), [place(0, "film")]);
        assert_eq!(behind("/m/d2/./x/../film/"), [place(1, "film")]);
        assert_eq!(behind("/m/d22/film"), [place(2, "d22/film")]);
        assert_eq!(behind("/m/d2"), [place(1, "")]);
        // In the pool: wherever the file is, the pool finds it.
        assert_eq!(behind("/m/pool/a/film"), []);
        assert_eq!(behind("film"), []);
        assert_eq!(behind("../b/film"), []);
        assert_eq!(behind("/elsewhere/film"), []);
        // Relative, and out of the pool.
        assert_eq!(behind("../../d2/film"), [place(1, "film")]);
    }

    #[test]
    fn a_directory_that_is_pointed_at_keeps_what_lies_below_it() {
        let mut found = PointedAt::default();
        found.targets.insert(place(0, "a/b"), "/m/d2/link".into());
        assert!(found.to(place(0, "a/b")).is_some());
        assert!(found.to(place(0, "a/b/c/d")).is_some());
        assert!(found.to(place(0, "a/bc")).is_none());
        assert!(found.to(place(0, "a")).is_none());
        assert!(found.to(place(1, "a/b")).is_none());
        found.targets.insert(place(1, ""), "/m/d1/link".into());
        assert!(found.to(place(1, "x/y")).is_some());
    }
}
