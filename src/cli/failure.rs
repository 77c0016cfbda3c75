//! Errors that end the program: one place maps them to text, hint and exit code.

use std::error::Error;
use std::io::{self, Write};

use crate::execute::RunError;
use crate::find::list::InputError;
use crate::fs::FsError;
use crate::journal::JournalError;
use crate::pool::lock::LockError;
use crate::pool::mergerfs::PoolError;
use crate::preview::MountPointError;
use crate::report::{Screen, Tone};

/// What ended the program, with what the user can do.
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
    /// Not a mergerfs pool, branches that are not there, locked.
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

    /// Something of an earlier run is open.
    pub(super) fn recovery(message: impl Into<String>) -> Self {
        Self::new(Kind::Journal, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An environment in which `message` went wrong because of `cause`.
    pub(super) fn environment_because(message: impl Into<String>, cause: &dyn Error) -> Self {
        let mut failure = Self::environment(message);
        // What other programs said ends with a line break.
        failure.causes.push(cause.to_string().trim_end().to_owned());
        failure
    }

    /// Standard output did not take what was to be told.
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

    /// Writes it to standard error.
    pub(super) fn print(&self, colour: bool) {
        let screen = Screen {
            colour,
            width: None,
        };
        let mut text = format!("{} {}\n", screen.paint(Tone::Bad, "error:"), self.message);
        for cause in &self.causes {
            text.push_str(&format!("caused by: {cause}\n"));
        }
        if let Some(hint) = &self.hint {
            let word = screen.paint(Tone::Good, "hint:");
            text.push_str(&format!("{word} {hint}\n"));
        }
        // Nobody is left to tell when standard error is gone.
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }
}

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
        Self::of(Kind::Environment, &error).hint("wait for the other run to end")
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let hint = "make the list again; nothing was changed";
        Self::of(Kind::Usage, &error).hint(hint)
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let kind = match error {
            JournalError::Locked { .. }
            | JournalError::Foreign { .. }
            | JournalError::NoSpace { .. }
            | JournalError::MountPoint { .. } => Kind::Environment,
            JournalError::NotAJournal { .. } | JournalError::NotALog { .. } => Kind::Usage,
            _ => Kind::Journal,
        };
        let failure = Self::of(kind, &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Journal(error) => error.into(),
            RunError::PoolChanged(_) => {
                Self::of(Kind::Environment, &error).hint("run again for the pool as it is now")
            }
        }
    }
}
