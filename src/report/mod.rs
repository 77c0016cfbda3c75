//! What a run says: the only place that makes result text.
//!
//! Plans and outcomes in, bytes out, to a writer that is handed in; nothing here decides what is done, and nothing
//! prints by itself but the progress bar. Names are bytes: exact in JSON and scripts, and in text unless the reader
//! is a terminal that a name could take over.

pub mod discard;
pub mod doctor;
pub mod export;
pub mod groups;
pub mod history;
pub mod html;
pub mod json;
mod progress;
pub mod salvage;
mod scanning;
mod screen;
pub mod script;
mod shown;
mod state;
pub mod status;
mod table;
mod tally;
pub mod text;
pub mod undo;
pub mod verify;

#[cfg(test)]
mod sample;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use progress::Progress;
pub use scanning::ScanProgress;
pub use screen::{Screen, Tone};
pub use shown::{ago, number, sanitised, shell_word, size};
pub use state::State;
pub use tally::{BranchUse, GroupUse, Tally};

use crate::plan::Op;
use crate::plan::Refusal;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// What results are said about, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The run, where one was begun.
    pub run: Option<u64>,
    /// Whether nothing is changed.
    pub dry_run: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// Only what needs somebody.
    pub quiet: bool,
    /// Whether the reader is a terminal: then names are sanitised.
    pub terminal: bool,
    /// What the terminal can do.
    pub screen: Screen,
}

impl Scene<'_> {
    fn pool_path(&self, path: &RelPath) -> PathBuf {
        self.pool.path_of(path)
    }

    fn root(&self, branch: BranchIdx) -> &Path {
        let known = self.pool.branches.get(branch.index());
        known.map_or(Path::new("?"), |branch| branch.path.as_path())
    }

    /// The roots of the branches that the two copies of an op are on: one root where both are on one.
    fn disks_of(&self, op: &Op) -> Vec<&Path> {
        let mut disks = vec![self.root(op.master.branch), self.root(op.duplicate.branch)];
        disks.dedup();
        disks
    }

    /// The pool path a refusal concerns; what a list gave where that is no path of the pool.
    fn refused_path(&self, refusal: &Refusal) -> PathBuf {
        match RelPath::new(&refusal.path) {
            Ok(path) => self.pool_path(&path),
            Err(_) => PathBuf::from(OsStr::from_bytes(&refusal.path)),
        }
    }
}
