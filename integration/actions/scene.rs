//! The files of one scenario, in a directory of their own below the root of a shared pool.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::model::Model;
use crate::groups;
use crate::harness::pool::Pool;
use crate::harness::tool::{BINARY, Run, Tool};
use crate::harness::{manifest, tree};

/// The files, their list of duplicates, and a journal of their own.
pub(super) struct Scene<'p> {
    pub(super) pool: &'p Pool,
    pub(super) kind: Kind,
    /// Relative to branch and mount.
    pub(super) name: String,
    pub(super) tool: Tool,
}

impl<'p> Scene<'p> {
    /// Makes the files of a scenario of this kind. They are too fresh to be replaced at once.
    pub(super) fn make(pool: &'p Pool, kind: Kind, name: &str) -> Self {
        let scene = Self { pool, kind, name: name.to_owned(), tool: Tool::new() };
        let (kept, duplicate) = (kind.kept_branch(), kind.duplicate_branch());
        let (bytes, other) = (equal_bytes(), other_bytes());
        tree::write(&scene.on(kept, "m/a"), &bytes);
        scene.link(kept, "m/a", "m/a3");
        tree::write(&scene.on(duplicate, "d/b"), &bytes);
        tree::write(&scene.on(duplicate, "d/o"), &other);
        for branch in [0, 1] {
            std::fs::create_dir_all(scene.on(branch, "x")).unwrap();
        }
        let mut group = vec![scene.path("m/a"), scene.path("d/b")];
        let mut others = Vec::new();
        match kind {
            Kind::Set | Kind::LocalSet => {
                std::fs::create_dir_all(scene.on(duplicate, "e")).unwrap();
                scene.link(duplicate, "d/b", "e/b2");
                group.push(scene.path("e/b2"));
            }
            Kind::TwoOps => {
                tree::write(&scene.on(1, "n/b"), &second_bytes());
                tree::write(&scene.on(0, "f/b"), &second_bytes());
                others.push(vec![scene.path("n/b"), scene.path("f/b")]);
            }
            Kind::Shadows => {
                std::fs::create_dir_all(scene.on(kept, "d")).unwrap();
                scene.link(kept, "m/a", "d/b");
            }
            // Here the directory need not be made first.
            Kind::CrossLast => std::fs::create_dir_all(scene.on(kept, "d")).unwrap(),
            Kind::CrossFirst | Kind::Local | Kind::UndoFirst | Kind::UndoLast | Kind::UndoLocal => {
            }
        }
        let groups: Vec<_> = std::iter::once(group).chain(others).collect();
        manifest::write_json(&groups, &scene.tool.list());
        scene
    }

    /// Does what comes before the run that clients meddle with; the files are old enough by now.
    pub(super) fn prepare(&self) {
        if self.kind.is_undo() {
            let run = self.tool.run_line(&self.replace());
            assert_eq!(run.code(), Some(0), "{run}");
        }
    }

    /// The command line that clients meddle with.
    pub(super) fn line(&self) -> Vec<OsString> {
        if self.kind.is_undo() { self.command(&["undo", "-e"]) } else { self.replace() }
    }

    /// `resume`.
    pub(super) fn resume(&self) -> Vec<OsString> {
        self.command(&["resume"])
    }

    /// `status`.
    pub(super) fn status(&self) -> Run {
        self.tool.run_line(&self.command(&["status"]))
    }

    fn replace(&self) -> Vec<OsString> {
        let (primary, list) = (self.path("m"), self.tool.list());
        let mut line = self.command(&["-e", "-p"]);
        line.extend([primary.into(), "-m".into(), list.into()]);
        if self.kind == Kind::TwoOps {
            line.extend(["-p".into(), self.path("n").into()]);
        }
        if self.kind == Kind::Shadows {
            line.extend(["--shadows", "merge", "--shadow-age", "1s"].map(OsString::from));
        }
        line
    }

    fn command(&self, arguments: &[&str]) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec![BINARY.into(), "--journal".into()];
        line.push(self.tool.journal().into());
        line.extend(["--format", "json"].map(OsString::from));
        line.extend(arguments.iter().map(OsString::from));
        line
    }

    /// What clients know of the files.
    pub(super) fn model(&self) -> Model {
        let mut model = Model::new(equal_bytes(), other_bytes());
        for dir in ["d", "m", "x"] {
            model.made_dir(Path::new(dir));
        }
        if self.kind.is_set() {
            model.made_dir(Path::new("e"));
            model.linked(Path::new("d/b"), Path::new("e/b2"));
        }
        if self.kind == Kind::TwoOps {
            for (dir, path) in [("n", "n/b"), ("f", "f/b")] {
                model.made_dir(Path::new(dir));
                model.created(Path::new(path), second_bytes(), 0o644);
            }
        }
        if self.kind == Kind::Shadows {
            model.removed(Path::new("d/b"));
            model.linked(Path::new("m/a"), Path::new("d/b"));
        }
        model
    }

    /// The directory of the scene, through the pool.
    pub(super) fn root(&self) -> PathBuf {
        self.pool.path(&self.name)
    }

    /// The directory of the scene on each branch.
    pub(super) fn branch_roots(&self) -> Vec<PathBuf> {
        let branches = self.pool.branches().iter();
        branches.map(|branch| branch.join(&self.name)).collect()
    }

    /// A path of the scene through the pool.
    fn path(&self, relative: &str) -> PathBuf {
        self.root().join(relative)
    }

    /// A path of the scene on a branch.
    fn on(&self, branch: usize, relative: &str) -> PathBuf {
        self.pool.on(branch, &self.name).join(relative)
    }

    fn link(&self, branch: usize, old: &str, new: &str) {
        std::fs::hard_link(self.on(branch, old), self.on(branch, new)).unwrap();
    }
}

fn equal_bytes() -> Vec<u8> {
    tree::bytes(1, groups::SMALL)
}

fn second_bytes() -> Vec<u8> {
    tree::bytes(3, groups::SMALL)
}

fn other_bytes() -> Vec<u8> {
    tree::bytes(2, groups::SMALL)
}
