//! What a run says: the only place that makes result text.
//!
//! Plans and outcomes in, bytes out, to a writer that is handed in; nothing here decides what is done, and nothing
//! prints by itself but the progress bar. Names are bytes: exact in JSON and scripts, and in text unless the reader
//! is a terminal that a name could take over.

mod json;
mod progress;
mod script;
mod shown;
mod state;
mod tally;
mod text;

#[cfg(test)]
mod sample;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use progress::{Progress, Show, bytes_to_read};
pub use script::DirLook;
pub use shown::{sanitised, size};
pub use state::State;
pub use tally::{BranchUse, Space, Tally};

use crate::execute::{Op, Outcome};
use crate::journal::DirIntent;
use crate::plan::{Plan, Refusal};
use crate::pool::{BranchIdx, Pool};
use crate::relpath::RelPath;

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
}

impl Scene<'_> {
    fn pool_path(&self, path: &RelPath) -> PathBuf {
        self.pool.path_of(path)
    }

    fn root(&self, branch: BranchIdx) -> &Path {
        let known = self.pool.branches.get(branch.index());
        known.map_or(Path::new("?"), |branch| branch.path.as_path())
    }

    /// The pool path a refusal concerns; what a list gave where that is no path of the pool.
    fn refused_path(&self, refusal: &Refusal) -> PathBuf {
        match RelPath::new(&refusal.path) {
            Ok(path) => self.pool_path(&path),
            Err(_) => PathBuf::from(OsStr::from_bytes(&refusal.path)),
        }
    }
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people; a dry run is a shell script.
    Text,
    /// One object a line.
    Json,
}

/// Says what a run does, in the form that was asked for.
pub struct Report<'a> {
    /// What it is about.
    pub scene: Scene<'a>,
    /// How it is said.
    pub format: Format,
    /// To whom.
    pub out: &'a mut dyn Write,
}

impl Report<'_> {
    /// The plan: what is refused, and in a dry run every op. `look` gives what a directory to be made will look like.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn plan(
        &mut self,
        plan: &Plan,
        look: &dyn Fn(&DirIntent) -> Option<DirLook>,
    ) -> io::Result<()> {
        match self.format {
            Format::Json => json::plan(self.out, &self.scene, plan),
            Format::Text if self.scene.dry_run => script::write(self.out, &self.scene, plan, look),
            Format::Text => text::refusals(self.out, &self.scene, &plan.refusals),
        }
    }

    /// How an op ended; `recovered` ones were begun by an earlier run.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn outcome(&mut self, op: &Op, outcome: &Outcome, recovered: bool) -> io::Result<()> {
        match self.format {
            Format::Json => json::outcome(self.out, &self.scene, op, outcome, recovered),
            Format::Text => text::outcome(self.out, &self.scene, op, outcome, recovered),
        }
    }

    /// The figures, last.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn summary(&mut self, tally: &Tally) -> io::Result<()> {
        match self.format {
            Format::Json => json::summary(self.out, &self.scene, tally),
            // The script ends with its own.
            Format::Text if self.scene.dry_run => Ok(()),
            Format::Text => text::summary(self.out, &self.scene, tally),
        }?;
        self.out.flush()
    }
}
