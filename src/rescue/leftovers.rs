//! Walks a branch for names of this tool, through no symlink and no mount point.

use crate::find::facts::root_of;
use crate::fs::real::{DirEntry, RealFs};
use crate::fs::{FileKind, Look, Place};
use crate::plan::hidden_name::is_hidden_name;
use crate::pool::BranchIdx;

/// How many directories are looked into if only the uppermost are.
const TOP: usize = 256;
/// How many files are remembered to try a lease on.
const FILES: usize = 4;

/// The results of a walk.
#[derive(Debug, Default)]
pub(crate) struct HiddenNames {
    /// Names of ours; the walk does not go below them.
    pub(crate) names: Vec<Place>,
    /// Some regular files.
    pub(crate) files: Vec<Place>,
    /// Directories that could not be looked into.
    pub(crate) unreadable: u64,
    /// Whether there are more directories than the walk looked into.
    pub(crate) more: bool,
}

/// Looks around `branch`, breadth first; with `top_only`, looks into so few directories that no user has to wait.
pub(crate) fn look(fs: &RealFs, branch: BranchIdx, top_only: bool) -> HiddenNames {
    let mut found = HiddenNames::default();
    let mut queue = std::collections::VecDeque::from([root_of(branch)]);
    let mut looked_into = 0;
    while let Some(dir) = queue.pop_front() {
        if top_only && looked_into >= TOP {
            found.more = true;
            break;
        }
        looked_into += 1;
        match fs.list_dir(&dir) {
            Ok(entries) => {
                for entry in entries {
                    found.entry(fs, (&dir, entry), &mut queue);
                }
            }
            // The directory is a mount point, or gone meanwhile.
            Err(error) if matches!(error.errno(), libc::EXDEV | libc::ENOENT | libc::ENOTDIR) => {}
            Err(_) => found.unreadable += 1,
        }
    }
    found
}

impl HiddenNames {
    fn entry(
        &mut self,
        fs: &RealFs,
        (dir, entry): (&Place, DirEntry),
        queue: &mut std::collections::VecDeque<Place>,
    ) {
        let name = crate::pool::mergerfs::path_of(&entry.name);
        let Ok(path) = dir.path.join(name.as_os_str()) else {
            return;
        };
        let place = Place::new(dir.branch, path);
        if is_hidden_name(&entry.name) {
            self.names.push(place);
            return;
        }
        let kind = entry.kind.or_else(|| fs.stat(&place).ok().flatten().map(|stat| stat.kind));
        match kind {
            Some(FileKind::Directory) => queue.push_back(place),
            Some(FileKind::Regular) if self.files.len() < FILES => self.files.push(place),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Branch, BranchMode};

    #[test]
    fn names_of_ours_are_found_wherever_they_are_and_nothing_below_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b/.xdedup-dir/.xdedup-inner")).unwrap();
        for name in ["a/f", "a/b/.xdedup-1", "g", "xdedup-2"] {
            drop(std::fs::File::create(root.join(name)).unwrap());
        }
        let branch = Branch { path: root.clone(), mode: BranchMode::Rw };
        let fs = RealFs::open(&[branch]).unwrap();
        let mut found = look(&fs, BranchIdx(0), false);
        found.names.sort();
        let paths: Vec<_> = found.names.iter().map(|at| at.path.as_path()).collect();
        assert_eq!(paths, ["a/b/.xdedup-1", "a/b/.xdedup-dir"].map(std::path::Path::new));
        assert_eq!((found.files.len(), found.unreadable), (3, 0));
        assert!(!found.more);
    }

    #[test]
    fn a_quick_look_ends_and_says_that_there_is_more() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for n in 0..=TOP {
            std::fs::create_dir(root.join(format!("{n}"))).unwrap();
        }
        drop(std::fs::File::create(root.join(".xdedup-1")).unwrap());
        let branch = Branch { path: root, mode: BranchMode::Rw };
        let fs = RealFs::open(&[branch]).unwrap();
        let quick = look(&fs, BranchIdx(0), true);
        assert_eq!((quick.names.len(), quick.more), (1, true));
        assert!(!look(&fs, BranchIdx(0), false).more);
    }
}
