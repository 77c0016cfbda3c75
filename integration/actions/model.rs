//! What clients were told of the files: the names, and what may be found at each.
//!
//! Kept copy and duplicate are two files to the model, and may be one on the disks: a replacement makes them one, an
//! undo makes them two. So a change of either is allowed to show in the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file; names lead to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// The bytes that may be found.
    pub(super) bytes: BTreeSet<Vec<u8>>,
    /// All bytes the file ever had.
    pub(super) ever: BTreeSet<Vec<u8>>,
    /// The permission bits that may be found.
    pub(super) modes: BTreeSet<u32>,
    /// The values of `user.note` that may be found.
    pub(super) notes: BTreeSet<Option<Vec<u8>>>,
    /// Whether this is the kept copy or the duplicate.
    twin: bool,
}

/// A name of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) inode: usize,
    /// A rename of one link over another link of the same file does nothing: then the old name may still be there.
    pub(super) may_be_gone: bool,
}

/// The files below one directory of the pool.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, Name>,
    pub(super) dirs: BTreeSet<PathBuf>,
    /// What a call that failed was about: either of both may be found there.
    pub(super) unsure: BTreeSet<PathBuf>,
}

impl Model {
    /// `m/a` and its link `m/a3`, `d/b` with equal bytes, `d/o` with other bytes.
    pub(super) fn new(equal: Vec<u8>, other: Vec<u8>) -> Self {
        let mut model = Self {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            unsure: BTreeSet::new(),
        };
        model.created(Path::new("m/a"), equal.clone(), 0o644);
        model.linked(Path::new("m/a"), Path::new("m/a3"));
        model.created(Path::new("d/b"), equal, 0o644);
        model.created(Path::new("d/o"), other, 0o644);
        for path in ["m/a", "d/b"] {
            let inode = model.names[Path::new(path)].inode;
            model.inodes[inode].twin = true;
        }
        model
    }

    /// The client made a new file.
    pub(super) fn created(&mut self, path: &Path, bytes: Vec<u8>, mode: u32) {
        self.inodes.push(Inode {
            bytes: BTreeSet::from([bytes.clone()]),
            ever: BTreeSet::from([bytes]),
            modes: BTreeSet::from([mode]),
            notes: BTreeSet::from([None]),
            twin: false,
        });
        self.name(path, self.inodes.len() - 1);
    }

    /// The client changed the bytes of a file.
    pub(super) fn changed(&mut self, path: &Path, change: impl Fn(&[u8]) -> Vec<u8>) {
        let Some(inode) = self.inode(path) else {
            return;
        };
        let new: BTreeSet<_> = self.inodes[inode].bytes.iter().map(|bytes| change(bytes)).collect();
        self.inodes[inode].bytes.clear();
        for n in self.maybe_one_with(inode) {
            self.inodes[n].bytes.extend(new.clone());
            self.inodes[n].ever.extend(new.clone());
        }
    }

    /// The client gave a file other permission bits.
    pub(super) fn mode_changed(&mut self, path: &Path, mode: u32) {
        if let Some(inode) = self.inode(path) {
            self.inodes[inode].modes.clear();
            for n in self.maybe_one_with(inode) {
                self.inodes[n].modes.insert(mode);
            }
        }
    }

    /// The client set `user.note`.
    pub(super) fn noted(&mut self, path: &Path, note: &[u8]) {
        if let Some(inode) = self.inode(path) {
            self.inodes[inode].notes.clear();
            for n in self.maybe_one_with(inode) {
                self.inodes[n].notes.insert(Some(note.to_vec()));
            }
        }
    }

    /// The client removed a name.
    pub(super) fn removed(&mut self, path: &Path) {
        self.names.remove(path);
    }

    /// The client linked a file.
    pub(super) fn linked(&mut self, old: &Path, new: &Path) {
        if let Some(inode) = self.inode(old) {
            self.name(new, inode);
        }
    }

    /// The client renamed a file or a directory.
    pub(super) fn renamed(&mut self, old: &Path, new: &Path) {
        if self.dirs.contains(old) {
            self.dir_renamed(old, new);
            return;
        }
        let Some(from) = self.inode(old) else { return };
        let same = self.inode(new).is_some_and(|to| self.maybe_one_with(from).contains(&to));
        self.name(new, from);
        if same {
            let name = self.names.get_mut(old).expect("found above");
            name.may_be_gone = true;
        } else {
            self.names.remove(old);
        }
    }

    fn dir_renamed(&mut self, old: &Path, new: &Path) {
        let moved = |path: &PathBuf| match path.strip_prefix(old) {
            Ok(rest) if rest.as_os_str().is_empty() => new.to_owned(),
            Ok(rest) => new.join(rest),
            Err(_) => path.clone(),
        };
        self.names = self.names.iter().map(|(p, n)| (moved(p), *n)).collect();
        self.dirs = self.dirs.iter().map(moved).collect();
        self.unsure = self.unsure.iter().map(moved).collect();
    }

    /// The client made a directory.
    pub(super) fn made_dir(&mut self, path: &Path) {
        self.dirs.insert(path.to_owned());
    }

    /// The client removed a directory.
    pub(super) fn removed_dir(&mut self, path: &Path) {
        self.dirs.remove(path);
    }

    /// A call about this path failed: nobody knows what it did.
    pub(super) fn failed(&mut self, path: &Path) {
        self.unsure.insert(path.to_owned());
    }

    /// Whether nothing can be said of `path`.
    pub(super) fn is_unsure(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.unsure.contains(above))
    }

    fn name(&mut self, path: &Path, inode: usize) {
        let name = Name { inode, may_be_gone: false };
        self.names.insert(path.to_owned(), name);
    }

    fn inode(&self, path: &Path) -> Option<usize> {
        self.names.get(path).map(|name| name.inode)
    }

    /// The files that may be the same one as `inode` on the disks, itself among them.
    fn maybe_one_with(&self, inode: usize) -> Vec<usize> {
        let all = 0..self.inodes.len();
        let same = |&n: &usize| n == inode || (self.inodes[n].twin && self.inodes[inode].twin);
        all.filter(same).collect()
    }
}

#[test]
fn a_write_may_show_in_the_other_copy_and_a_rename_over_itself_may_do_nothing() {
    let mut model = Model::new(b"equal".to_vec(), b"other".to_vec());
    let (a, b) = (Path::new("m/a"), Path::new("d/b"));
    model.changed(a, |_| b"new".to_vec());
    let bytes = |model: &Model, path| model.inodes[model.inode(path).unwrap()].bytes.clone();
    assert_eq!(bytes(&model, a), BTreeSet::from([b"new".to_vec()]));
    assert_eq!(bytes(&model, b), BTreeSet::from([b"equal".to_vec(), b"new".to_vec()]));
    model.renamed(Path::new("m/a3"), b);
    assert!(model.names[Path::new("m/a3")].may_be_gone);
    assert_eq!(model.inode(a), model.inode(b));
    model.made_dir(Path::new("d"));
    model.renamed(Path::new("d"), Path::new("dd"));
    assert!(model.names.contains_key(Path::new("dd/o")));
    assert!(!model.dirs.contains(Path::new("d")));
}
