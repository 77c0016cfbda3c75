//! Compares pool and branches with what clients were told.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::client::NOTE;
use super::kind::Kind;
use super::model::{Inode, Model, Name};
use super::report::Report;
use super::scene::Scene;
use crate::harness::snapshot::{self, Entries};

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A path is missing, or has bytes it never had.
    Lost,
    /// A path is there that was removed or renamed.
    Back,
    /// A path has bytes, permissions or attributes that were changed since.
    Wrong,
    /// A hidden name is left, and nobody says why.
    Left,
    /// A path is on two branches, and nobody says so.
    Twice,
    /// Two links became two files, and nobody says so.
    Split,
    /// `resume` has something left to do, or a command ends with an exit code that it must not have.
    Open,
}

impl Fault {
    pub(super) const ALL: [Self; 7] =
        [Self::Lost, Self::Back, Self::Wrong, Self::Left, Self::Twice, Self::Split, Self::Open];
}

/// A fault, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) fault: Fault,
    pub(super) text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.fault, self.text)
    }
}

/// Looks at one scene.
pub(super) struct Judge<'a> {
    scene: &'a Scene<'a>,
    model: &'a Model,
    /// What is on each branch.
    branches: Vec<Entries>,
    pub(super) findings: Vec<Finding>,
    /// Whether permissions and attributes have to be as clients left them.
    pub(super) metadata_counts: bool,
    /// Whether the run was killed.
    pub(super) killed: bool,
    /// Directories that the program was about to remove when a client acted: `rmdir` takes a name, and removes an empty
    /// directory that the client has just made there.
    pub(super) rmdirs: Vec<PathBuf>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, model: &'a Model) -> Self {
        Self {
            scene,
            model,
            branches: branches(scene),
            findings: Vec::new(),
            metadata_counts: true,
            killed: false,
            rmdirs: Vec::new(),
        }
    }

    fn find(&mut self, fault: Fault, text: String) {
        self.findings.push(Finding { fault, text });
    }

    /// Every path is there with its bytes: true at every moment, also before anything is repaired.
    pub(super) fn contents(&mut self, report: Option<&Report<'_>>) {
        let model = self.model;
        for (path, name) in model.names.iter().filter(|(path, _)| !model.is_unsure(path)) {
            self.content(path, *name, report);
        }
        for dir in model.dirs.iter().filter(|dir| !model.is_unsure(dir)) {
            if !self.scene.root().join(dir).is_dir() && !self.rmdirs.contains(dir) {
                self.find(Fault::Lost, format!("{} (a directory)", dir.display()));
            }
        }
    }

    fn content(&mut self, path: &Path, name: Name, report: Option<&Report<'_>>) {
        let inode = &self.model.inodes[name.inode];
        let shown = path.display();
        match std::fs::read(self.scene.root().join(path)) {
            Err(error) if error.kind() == ErrorKind::NotFound && name.may_be_gone => {}
            Err(error) => self.find(Fault::Lost, format!("{shown}: {error}")),
            Ok(bytes) if inode.bytes.contains(&bytes) => {}
            Ok(bytes) if inode.ever.contains(&bytes) => {
                if self.may_be_torn(name, report) {
                    return;
                }
                self.find(Fault::Wrong, format!("{shown} has old bytes"));
            }
            Ok(bytes) => {
                let text = format!("{shown} has {} bytes that were never its", bytes.len());
                self.find(Fault::Lost, text);
            }
        }
    }

    /// Whether one name of a set may lead to the kept copy and the other to the duplicate: a kill between the two leaves
    /// it so, and a client that writes to one name meanwhile does not write to the other. The program has to report it.
    fn may_be_torn(&self, name: Name, report: Option<&Report<'_>>) -> bool {
        let names = self.model.names.iter();
        let same = names.filter(|(_, other)| other.inode == name.inode);
        let same: Vec<PathBuf> = same.map(|(path, _)| self.scene.root().join(path)).collect();
        let same: Vec<&Path> = same.iter().map(PathBuf::as_path).collect();
        self.scene.kind.is_set() && self.killed && report.is_none_or(|report| report.tells(&same))
    }

    /// Everything that must be true when nothing is left to do.
    pub(super) fn everything(&mut self, report: &Report<'_>) {
        self.contents(Some(report));
        let model = self.model;
        for (path, name) in model.names.iter().filter(|(path, _)| !model.is_unsure(path)) {
            // An undo restores the permissions of a file; it reports a change by a client meanwhile.
            let said = self.scene.kind.is_undo() && report.tells(&[&self.scene.root().join(path)]);
            if self.metadata_counts && !said {
                self.metadata(path, &model.inodes[name.inode]);
            }
            if self.scene.kind != Kind::Shadows {
                self.copies(path, report);
            }
        }
        self.nothing_came_back();
        self.hidden_names(report);
        // An undo is asked to make files of their own of links.
        if !self.scene.kind.is_undo() {
            self.links(report);
        }
    }

    fn metadata(&mut self, path: &Path, inode: &Inode) {
        let full = self.scene.root().join(path);
        let Ok(metadata) = full.symlink_metadata() else {
            return;
        };
        let mode = metadata.mode() & 0o7777;
        if !inode.modes.contains(&mode) {
            let text = format!("{} has mode {mode:o}", path.display());
            self.find(Fault::Wrong, text);
        }
        let note = xattr::get(&full, NOTE).unwrap_or(None);
        if !inode.notes.contains(&note) {
            let text = format!("{} has attribute {note:?}", path.display());
            self.find(Fault::Wrong, text);
        }
    }

    /// The path is on one branch only, or the program reports that it is on two.
    fn copies(&mut self, path: &Path, report: &Report<'_>) {
        let on: Vec<_> = self.found_on(path).into_iter().map(|(branch, _)| branch).collect();
        if on.len() < 2 {
            return;
        }
        let roots = self.scene.branch_roots();
        let places: Vec<PathBuf> = on.iter().map(|&branch| roots[branch].join(path)).collect();
        let read = |place: &PathBuf| std::fs::read(place).unwrap_or_default();
        let equal = places.iter().all(|place| read(place) == read(&places[0]));
        let mut names = places;
        names.push(self.scene.root().join(path));
        let names: Vec<&Path> = names.iter().map(PathBuf::as_path).collect();
        // Different copies are a matter for a person, who asks for the status.
        if equal && !report.tells(&names) {
            self.find(Fault::Twice, format!("{}, equal copies", path.display()));
        } else if !equal && !report.status_tells(&names) {
            self.find(Fault::Twice, format!("{}, different copies", path.display()));
        }
    }

    fn nothing_came_back(&mut self) {
        let model = self.model;
        let listed: Vec<_> = snapshot::entries_below(&self.scene.root()).into_keys().collect();
        let mut there: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for path in listed {
            there.entry(path).or_default().push("the pool".to_owned());
        }
        for (branch, entries) in self.branches.iter().enumerate() {
            for path in entries.keys() {
                let branch = format!("branch {branch}");
                there.entry(path.clone()).or_default().push(branch);
            }
        }
        for (path, on) in there {
            let known = model.names.contains_key(&path) || model.dirs.contains(&path);
            if !known && !model.is_unsure(&path) && hidden_part(&path).is_none() {
                let text = format!("{} on {}", path.display(), on.join(" and "));
                self.find(Fault::Back, text);
            }
        }
    }

    /// Status explains every hidden name. After a kill it need only list it: the directory of the name may have been
    /// renamed while no program held it.
    fn hidden_names(&mut self, report: &Report<'_>) {
        let roots = self.scene.branch_roots();
        for (branch, entries) in self.branches.clone().iter().enumerate() {
            for path in entries.keys() {
                // Not what is below a hidden directory.
                if hidden_part(path).as_ref() != Some(path) {
                    continue;
                }
                let full = roots[branch].join(path);
                let listed = report.lists(&full);
                let is_told = report.explains(&full) || (listed && self.killed);
                if !is_told {
                    let how = if listed { "only listed" } else { "not named" };
                    let text = format!("{} on branch {branch}, {how} by status", path.display());
                    self.find(Fault::Left, text);
                }
            }
        }
    }

    /// Names of one file in the model are names of one file on the disks.
    fn links(&mut self, report: &Report<'_>) {
        let model = self.model;
        let mut first: BTreeMap<usize, (&Path, (usize, u64))> = BTreeMap::new();
        for (path, name) in &model.names {
            if model.is_unsure(path) || name.may_be_gone {
                continue;
            }
            let Some(place) = self.found_on(path).first().copied() else {
                continue;
            };
            let (other, at) = *first.entry(name.inode).or_insert((path, place));
            let root = self.scene.root();
            let (one, two) = (root.join(other), root.join(path));
            if at != place && !report.tells(&[&one, &two]) {
                let text = format!("{} and {}", other.display(), path.display());
                self.find(Fault::Split, text);
            }
        }
    }

    /// The branches that have `path`, and its inode number on each.
    fn found_on(&self, path: &Path) -> Vec<(usize, u64)> {
        let branches = self.branches.iter().enumerate();
        branches.filter_map(|(branch, entries)| Some((branch, entries.get(path)?.ino))).collect()
    }
}

/// What is on each branch.
pub(super) fn branches(scene: &Scene<'_>) -> Vec<Entries> {
    let roots = scene.branch_roots().into_iter();
    roots
        .map(|root| if root.exists() { snapshot::entries_below(&root) } else { Entries::new() })
        .collect()
}

/// The path up to its first part that is a name of the program's own.
fn hidden_part(path: &Path) -> Option<PathBuf> {
    let mut up_to = PathBuf::new();
    for part in path {
        up_to.push(part);
        if part.as_bytes().starts_with(b".xdedup-") {
            return Some(up_to);
        }
    }
    None
}
