//! Errors that end the program: one place maps them to text, hint and exit code.

use std::error::Error;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::screen::fit_stderr;
use crate::find::list::InputError;
use crate::fs::FsError;
use crate::journal::JournalError;
use crate::pool::lock::LockError;
use crate::pool::mergerfs::PoolError;
use crate::preview::MountPointError;
use crate::report::{Screen, Tone, shell_word, size};
use crate::rescue::undo_run::UndoError;
use crate::run::{Fault, RunError};

/// The error that ended the program, with what the user can do.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Usage, or input that cannot be used.
    Usage = 2,
    /// The pool is no mergerfs pool, branches are missing, or the pool is locked.
    Environment = 3,
    /// The journal cannot be read or written, or has something open.
    Journal = 4,
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(super) fn environment(message: impl Into<String>) -> Self {
        Self::new(Kind::Environment, message)
    }

    /// Ops of an earlier run are open.
    pub(super) fn recovery(message: impl Into<String>) -> Self {
        Self::new(Kind::Journal, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An environment in which `message` went wrong because of `cause`.
    pub(super) fn environment_because(message: impl Into<String>, cause: &dyn Error) -> Self {
        let mut failure = Self::environment(message);
        // The error text of another program ends with a line break.
        failure.causes.push(cause.to_string().trim_end().to_owned());
        failure
    }

    /// The results could not be written to standard output.
    pub(super) fn output(error: io::Error) -> Self {
        Self::environment(format!("cannot write results: {error}"))
    }

    fn of(kind: Kind, error: &dyn Error) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        let mut next = error.source();
        while let Some(cause) = next {
            failure.causes.push(cause.to_string());
            next = cause.source();
        }
        failure
    }

    pub(super) fn exit_code(&self) -> u8 {
        self.kind as u8
    }

    /// Says it as a warning, for a command that goes on.
    pub(super) fn warn(&self) {
        let hint = self.hint.as_deref().unwrap_or_default();
        tracing::warn!("{}: {hint}", self.message);
    }

    /// Writes the error to standard error.
    pub(super) fn print(&self, colour: bool) {
        let screen = Screen { colour, width: None };
        let mut text = format!("{} {}\n", screen.paint(Tone::Bad, "error:"), self.message);
        for cause in &self.causes {
            text.push_str(&format!("caused by: {cause}\n"));
        }
        if let Some(hint) = &self.hint {
            let word = screen.paint(Tone::Good, "hint:");
            text.push_str(&format!("{word} {hint}\n"));
        }
        // A failed write is ignored: no other output is left when standard error is closed.
        drop(io::stderr().lock().write_all(fit_stderr(&text).as_bytes()));
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::of(Kind::Environment, &error)
    }
}

impl From<MountPointError> for Failure {
    fn from(error: MountPointError) -> Self {
        Self::of(Kind::Usage, &error).hint(error.hint())
    }
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self::of(Kind::Environment, &error)
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        RunError::from(error).into()
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        RunError::from(error).into()
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        RunError::from(error).into()
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let error = match error {
            RunError::Watcher(error) => match error.downcast::<Self>() {
                Ok(failure) => return *failure,
                Err(error) => RunError::Watcher(error),
            },
            error => error,
        };
        Self { hint: hint(&error), ..Self::of(kind(&error), &error) }
    }
}

impl From<UndoError> for Failure {
    fn from(error: UndoError) -> Self {
        let (kind, hint) = match error {
            UndoError::Run(error) => return error.into(),
            UndoError::NoRoom { branch, needed, free } => {
                let message = format!(
                    "not enough room on {branch:?}: {} needed, {} free; nothing was changed",
                    size(needed),
                    size(free)
                );
                return Self::environment(message)
                    .hint("free some space there, or undo a part with --path");
            }
            UndoError::NotMounted { .. } => {
                (Kind::Environment, Some("mount it, then run again".into()))
            }
            UndoError::NoRun(_) | UndoError::Forgotten(_) => {
                (Kind::Usage, Some("mergerfs.xdedup history lists them".into()))
            }
            UndoError::NothingThere { run, .. } => {
                let hint = format!("mergerfs.xdedup export {run} --csv lists the files of the run");
                return Self::of(Kind::Usage, &error).hint(hint);
            }
            UndoError::NoJournal(_)
            | UndoError::NothingDone
            | UndoError::NothingLeft
            | UndoError::NotOnPool { .. } => (Kind::Usage, None),
        };
        Self { hint, ..Self::of(kind, &error) }
    }
}

/// Returns the exit status of a run that `error` ended.
pub(super) fn exit_code(error: &RunError) -> u8 {
    match error {
        RunError::Watcher(error) => match error.downcast_ref::<Failure>() {
            Some(failure) => failure.exit_code(),
            None => Kind::Environment as u8,
        },
        error => kind(error) as u8,
    }
}

fn kind(error: &RunError) -> Kind {
    match error.fault() {
        Fault::Request => Kind::Usage,
        Fault::Environment => Kind::Environment,
        Fault::Journal => Kind::Journal,
    }
}

/// Returns `error` and what the user can do about it, in one line.
pub(super) fn in_a_line(error: &RunError) -> String {
    match hint(error) {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// Returns what the user can do about a journal that is not in `dir`, and left something on `pools`.
pub(super) fn salvage(dir: &Path, pools: &[PathBuf]) -> String {
    let word = |path: &Path| shell_word(path.as_os_str().as_bytes());
    let (dir, pools) =
        (word(dir), pools.iter().map(|pool| word(pool)).collect::<Vec<_>>().join(" "));
    format!(
        "put the journal back, or name its place with --journal; if it is lost, `mergerfs.xdedup --journal {dir} resume \
         --salvage {pools}` shows what it left half done, and finishes it or puts it back with -e"
    )
}

/// Returns what the user can do about `error`.
fn hint(error: &RunError) -> Option<String> {
    let hint = match error {
        RunError::Journal(error) => return error.hint().map(Into::into),
        RunError::NoSpaceLeft(_) => {
            "free some space there, or move the directory and name its new place with --journal; then `mergerfs.xdedup resume` \
             finishes what was begun"
        }
        RunError::InsidePool { what, .. } => {
            return Some(format!("name a directory elsewhere with --{what}"));
        }
        RunError::Locked(_) => "wait for the other run to end",
        RunError::List(_) => "make the list again; nothing was changed",
        RunError::PoolChanged(_) => "run again for the pool as it is now",
        RunError::NotMounted { .. } => "mount it, then run again",
        RunError::OtherBranch { .. } => {
            "mount its disk; if it was replaced on purpose: --accept-branches"
        }
        RunError::OldJournal { .. } | RunError::OtherJournal { .. } => {
            "put the newer journal back; if it is lost, a run with -e --accept-branches goes on without it, and `mergerfs.xdedup --journal \
             NEW-DIRECTORY resume --salvage POOL` finishes what it left half done"
        }
        RunError::JournalGone { dir, pool, .. } => {
            let begin = "--accept-branches begins a new journal and leaves the file where it is";
            return Some(format!("{}; {begin}", salvage(dir, std::slice::from_ref(pool))));
        }
        RunError::ClockBack { .. } => {
            "set the clock; if it was wrong in that run, run again with -e --accept-branches"
        }
        RunError::OfOneDisk { in_pool, .. } => {
            return Some(format!("name {in_pool:?}, which has the files of all disks"));
        }
        RunError::OutsideRoot { .. } => {
            "name the directory that holds all branches, or leave --pool-root out"
        }
        RunError::NoJournalPlace => "name a directory with --journal",
        RunError::NoPathOnPool => {
            "name the pool after the list, or a primary (-p); made in a container: --map FROM=TO; for relative paths, --base"
        }
        RunError::OnlyElsewhere(_) => "for paths from a container: --map FROM=TO",
        RunError::NoDirectory => "name one on the pool; or give a list of duplicates with -m LIST",
        RunError::OtherPool { .. } => "scan one pool at a time",
        RunError::ShowsOther(_) => {
            "set the func.* policies of the search category to ff, or leave --shadows out"
        }
        RunError::NoSnapraid(_) => "install SnapRAID, or leave --snapraid-guard out",
        RunError::SyncNeeded => "run snapraid sync, then run again",
        RunError::SnapraidDiff { .. } => {
            "make snapraid diff work, or leave --snapraid-guard out; nothing was changed"
        }
        RunError::CommandBefore(_) => "make it end with status 0, then run again",
        _ => return None,
    };
    Some(hint.to_owned())
}
