//! The user's commands before and after a run, and the look at SnapRAID before it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::{RunError, Watcher};

/// The exit status of `snapraid diff` if files changed since the last sync.
const SNAPRAID_SYNC_NEEDED: i32 = 2;

/// The commands around a run that changes a branch.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// A shell command before the run; if it fails, nothing is changed.
    pub before: Option<OsString>,
    /// A shell command after the run, however that ended.
    pub after: Option<OsString>,
    /// Refuses the run while SnapRAID's parity is not up to date.
    pub snapraid: Option<Snapraid>,
}

/// A SnapRAID array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapraid {
    /// Its configuration file; without it, SnapRAID's own default.
    pub config: Option<PathBuf>,
}

/// The work between two commands, and how they ended.
pub(super) struct WithHooks<T> {
    pub(super) work: T,
    /// Whether the command after the run failed.
    pub(super) after_failed: bool,
}

impl Hooks {
    /// Checks that SnapRAID's parity covers all files, if the user asks for this check. A disk that fails before the
    /// next sync loses the changed files *and* makes other files unrecoverable that shared their parity blocks.
    ///
    /// # Errors
    /// When the parity does not cover all files, or cannot be checked.
    pub(super) fn guard_snapraid(&self) -> Result<(), RunError> {
        let Some(snapraid) = &self.snapraid else {
            return Ok(());
        };
        let mut command = Command::new("snapraid");
        if let Some(file) = &snapraid.config {
            command.arg("--conf").arg(file);
        }
        let output = command.arg("diff").stdin(Stdio::null()).output();
        let output = output.map_err(RunError::NoSnapraid)?;
        if output.status.success() {
            return Ok(());
        }
        if output.status.code() == Some(SNAPRAID_SYNC_NEEDED) {
            return Err(RunError::SyncNeeded);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or_default();
        Err(RunError::SnapraidDiff { status: output.status, said: said.to_owned() })
    }

    /// Runs `work` between the two commands. The command after runs whether `work` succeeds or not, once the command
    /// before has succeeded. With nothing planned neither command runs.
    ///
    /// # Errors
    /// When the command before fails, and the errors of `work`.
    pub(super) fn around<T>(
        &self,
        pool: &Path,
        planned: usize,
        watcher: &mut dyn Watcher,
        work: impl FnOnce(&mut dyn Watcher) -> Result<T, RunError>,
    ) -> Result<WithHooks<T>, RunError> {
        let done = |work| WithHooks { work, after_failed: false };
        if planned == 0 {
            return work(watcher).map(done);
        }
        let shell = Shell { pool, planned };
        if let Some(command) = &self.before {
            succeeded(shell.run(command, None)).map_err(RunError::CommandBefore)?;
        }
        let result = work(watcher);
        let Some(command) = &self.after else {
            return result.map(done);
        };
        let status = watcher.exit_status(result.as_ref().map(|_| ()));
        let after = succeeded(shell.run(command, Some(status)));
        if let Err(why) = &after {
            tracing::error!(%why, "the command of --post failed");
        }
        result.map(|work| WithHooks { work, after_failed: after.is_err() })
    }

    /// Reminds of SnapRAID's sync after a run that replaced `done` files.
    pub(super) fn remind_of_snapraid(&self, done: u64) {
        let synced = self.after.as_ref().is_some_and(|command| {
            let command = command.to_string_lossy();
            command.contains("snapraid")
        });
        if self.snapraid.is_some() && done > 0 && !synced {
            tracing::warn!("files moved between disks: run snapraid sync now (--post can do that)");
        }
    }
}

struct Shell<'s> {
    pool: &'s Path,
    planned: usize,
}

impl Shell<'_> {
    fn run(&self, command: &OsStr, exit: Option<u8>) -> io::Result<ExitStatus> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args([OsStr::new("-c"), command])
            .env("XDEDUP_POOL", self.pool)
            .env("XDEDUP_PLANNED", self.planned.to_string())
            .stdin(Stdio::null())
            // Standard output is for results.
            .stdout(io::stderr().as_fd().try_clone_to_owned()?);
        if let Some(code) = exit {
            shell.env("XDEDUP_EXIT", code.to_string());
        }
        shell.status()
    }
}

fn succeeded(ended: io::Result<ExitStatus>) -> Result<(), String> {
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
