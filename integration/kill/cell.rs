//! What one disturbed run works on: few files, one op of each sort.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::groups::{self, Group};
use crate::harness::pool::Pool;
use crate::harness::snapshot::{self, View};
use crate::harness::tool::{Run, Tool};
use crate::harness::tree;

/// A directory of the pool with one op of each sort, for one run that is disturbed.
pub(super) struct Cell {
    pub(super) root: PathBuf,
    pub(super) groups: Vec<Group>,
    pub(super) view: View,
    pub(super) tool: Tool,
    list: PathBuf,
    /// Where the copies stay.
    master_disk: usize,
    pub(super) becomes: Becomes,
}

/// What duplicates become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    Links,
    /// Files of their own that share blocks: clones, for duplicates on the other disk.
    Clones,
}

impl Cell {
    /// Masters on branch `master_disk`, duplicates on the other one.
    pub(super) fn new(pool: &Pool, name: &str, master_disk: usize) -> Self {
        Self::with(pool, name, master_disk, Becomes::Links)
    }

    /// The same for clones: the duplicates have an owner and attributes of their own.
    pub(super) fn with(pool: &Pool, name: &str, master_disk: usize, becomes: Becomes) -> Self {
        let root = PathBuf::from(name);
        let at = |path: &str| root.join(path);
        let other = 1 - master_disk;
        let files = [
            // Under directories that are to be cloned.
            (1, master_disk, "keep/cross"),
            (1, other, "deep/odd/cross"),
            // A link set of two.
            (2, master_disk, "keep/two"),
            (2, other, "names/one"),
            // On one disk.
            (3, master_disk, "keep/local"),
            (3, master_disk, "local/copy"),
        ];
        for (seed, disk, path) in files {
            tree::write(&pool.on(disk, at(path)), &tree::bytes(seed, groups::SMALL));
        }
        std::fs::hard_link(pool.on(other, at("names/one")), pool.on(other, at("names/two")))
            .unwrap();
        make_odd(&pool.on(other, at("deep/odd")));
        if becomes == Becomes::Clones {
            for path in ["deep/odd/cross", "names/one"] {
                make_odd(&pool.on(other, at(path)));
            }
        }
        let groups = vec![
            vec![at("keep/cross"), at("deep/odd/cross")],
            vec![at("keep/two"), at("names/one"), at("names/two")],
            vec![at("keep/local"), at("local/copy")],
        ];
        let tool = Tool::new();
        let list = groups::write_list(&tool, pool, &groups);
        let view = snapshot::view(&pool.path(&root));
        Self { root, groups, view, tool, list, master_disk, becomes }
    }

    /// Runs the tool over the cell, under strace with these options.
    pub(super) fn run_traced(&self, pool: &Pool, options: &[&str]) -> Run {
        let strace = [&["strace", "-f", "-qq"], options].concat();
        let primary = pool.path(self.root.join("keep"));
        let link = match self.becomes {
            Becomes::Links => "hard",
            Becomes::Clones => "reflink",
        };
        let list: [&std::ffi::OsStr; 9] = [
            "--link".as_ref(),
            link.as_ref(),
            "--format".as_ref(),
            "json".as_ref(),
            "-e".as_ref(),
            "-p".as_ref(),
            primary.as_ref(),
            "-m".as_ref(),
            self.list.as_ref(),
        ];
        self.tool.run_under(&strace, &list)
    }

    /// Runs the tool over the cell; strace meddles with one call.
    pub(super) fn run_injected(&self, pool: &Pool, call: &str, what: &str) -> Run {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
        self.run_traced(pool, &["-o", "/dev/null", "-e", &trace, "-e", &inject])
    }

    /// Every path is there with its bytes, whatever else there may be for now.
    pub(super) fn assert_complete(&self, pool: &Pool) {
        snapshot::assert_complete(&self.view, &snapshot::view(&pool.path(&self.root)));
    }

    /// `resume` succeeds and leaves no trace; once more, it finds nothing.
    pub(super) fn assert_resumes(&self, pool: &Pool) {
        self.tool.run(&["resume"]).expect(0);
        snapshot::assert_same(&self.view, &snapshot::view(&pool.path(&self.root)));
        snapshot::assert_no_own_names(pool);
        let resumed = self.branches(pool);
        self.tool.run(&["resume"]).expect(0);
        assert_eq!(self.branches(pool), resumed, "the second resume found something to do");
        self.tool.run(&["status"]).expect(0);
    }

    /// After the disturbance, a run does everything that was planned.
    pub(super) fn assert_can_be_done(&self, pool: &Pool) {
        self.run_traced(pool, &["-e", "trace=none"]).expect(0);
        self.assert_done(pool);
        snapshot::assert_same(&self.view, &snapshot::view(&pool.path(&self.root)));
    }

    /// Every group is one file, or files on one disk with the names that each had.
    pub(super) fn assert_done(&self, pool: &Pool) {
        if self.becomes == Becomes::Links {
            return groups::assert_linked(pool, &self.groups);
        }
        for group in &self.groups {
            let own = &group[1..];
            let (disk, inode) = snapshot::assert_one_inode(pool, own);
            assert_eq!(disk, self.master_disk, "{own:?}");
            let kept = snapshot::assert_one_inode(pool, &group[..1]);
            assert_ne!(kept, (disk, inode), "{group:?}");
        }
    }

    /// What is on each branch, of this cell.
    pub(super) fn branches(&self, pool: &Pool) -> Vec<BTreeMap<PathBuf, (u64, u64)>> {
        let of = |entries: snapshot::Entries| {
            let here = entries.into_iter().filter(|(path, _)| path.starts_with(&self.root));
            here.map(|(path, entry)| (path, (entry.ino, entry.nlink))).collect()
        };
        snapshot::all_entries(pool).into_iter().map(of).collect()
    }

    /// Takes the cell off the branches: the next one has the disks for itself.
    pub(super) fn remove(self, pool: &Pool) {
        for branch in pool.branches() {
            let root = branch.join(&self.root);
            if root.exists() {
                std::fs::remove_dir_all(root).unwrap();
            }
        }
    }
}

fn make_odd(path: &Path) {
    tree::set_owner(path, (1234, 4321));
    tree::set_mode(path, 0o2771);
    tree::set_acl(path, "u:1000:rwx");
    tree::set_xattr(path, "user.note", b"kept");
}
