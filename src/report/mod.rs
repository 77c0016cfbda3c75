//! Turns plans and outcomes into result text; no other module does so.
//!
//! The functions write bytes to a writer that the caller supplies. This module decides nothing about a run, and only
//! the progress bar prints by itself. Names are bytes: exact in JSON and scripts. Text also has the exact bytes,
//! unless the reader is a terminal that a name could take over.

pub mod discard;
pub mod doctor;
pub mod dry_run;
pub mod export;
mod fit;
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
mod time_left;
pub mod undo;
pub mod verify;
mod words;

#[cfg(test)]
mod sample;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use fit::fitted;
pub use progress::Progress;
pub use scanning::ScanProgress;
pub use screen::{Screen, Tone, terminal_width};
pub use shown::{ITEMS, ago, number, sanitised, shell_word, size};
pub use state::FileState;
pub use tally::{BranchUse, GroupUse, Tally};

use crate::plan::Op;
use crate::plan::Refusal;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// The pool and the run that results are about, and the reader of the results.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The run; `None` if no run was begun.
    pub run: Option<u64>,
    /// Whether the run changes nothing.
    pub dry_run: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// Whether only results that need a person are written.
    pub quiet: bool,
    /// Whether the reader is a terminal: then names are sanitised.
    pub terminal: bool,
    /// What the terminal can do.
    pub screen: Screen,
    /// The directory of the journal, where commands have to name it.
    pub journal: Option<&'a Path>,
}

impl Scene<'_> {
    fn pool_path(&self, path: &RelPath) -> PathBuf {
        self.pool.path_of(path)
    }

    /// The screen of lines with paths: with `-v` these are whole, however wide.
    fn screen_of_paths(&self) -> Screen {
        Screen { width: self.screen.width.filter(|_| self.verbose == 0), ..self.screen }
    }

    fn root(&self, branch: BranchIdx) -> &Path {
        let known = self.pool.branches.get(branch.index());
        known.map_or(Path::new("?"), |branch| branch.path.as_path())
    }

    /// The roots of the branches that the two copies of an op are on; one root if both copies are on one branch.
    fn disks_of(&self, op: &Op) -> Vec<&Path> {
        let mut disks = vec![self.root(op.master.branch), self.root(op.duplicate.branch)];
        disks.dedup();
        disks
    }

    /// The pool path that a refusal concerns; the path from the list if that path is not in the pool.
    fn refused_path(&self, refusal: &Refusal) -> PathBuf {
        match RelPath::new(&refusal.path) {
            Ok(path) => self.pool_path(&path),
            Err(_) => PathBuf::from(OsStr::from_bytes(&refusal.path)),
        }
    }
}
