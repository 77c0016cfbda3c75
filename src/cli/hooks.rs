//! What is to happen around a run: commands of the user's, and a look at SnapRAID before.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::args::RunArgs;
use super::failure::Failure;

/// `snapraid diff` says so when the parity does not cover what is on the disks.
const SNAPRAID_SYNC_NEEDED: i32 = 2;

/// Refuses to change files that SnapRAID's parity does not cover yet: a disk that fails before the next sync takes
/// with it what was changed *and* makes others unrecoverable that shared its parity blocks.
pub(super) fn guard_snapraid(args: &RunArgs) -> Result<(), Failure> {
    let Some(config) = &args.snapraid_guard else {
        return Ok(());
    };
    let mut command = Command::new("snapraid");
    if let Some(file) = config {
        command.arg("--conf").arg(file);
    }
    let output = command
        .arg("diff")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::environment(format!("cannot run snapraid diff: {error}"))
                .hint("install SnapRAID, or leave --snapraid-guard out")
        })?;
    if output.status.success() {
        return Ok(());
    }
    if output.status.code() == Some(SNAPRAID_SYNC_NEEDED) {
        return Err(Failure::environment(
            "SnapRAID's parity is not up to date; nothing was changed",
        )
        .hint("run snapraid sync, then run again"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().last().unwrap_or_default();
    Err(
        Failure::environment(format!("snapraid diff: {}: {said}", output.status))
            .hint("make snapraid diff work, or leave --snapraid-guard out; nothing was changed"),
    )
}

/// The user's commands before and after a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hooks<'h> {
    pub(super) args: &'h RunArgs,
    pub(super) pool: &'h Path,
    /// How many ops are planned.
    pub(super) planned: usize,
}

impl Hooks<'_> {
    /// Runs `work` between the two commands. The one after runs whatever the work came to, once the one before has
    /// succeeded: what was stopped is started again. Without anything planned neither runs.
    pub(super) fn around(&self, work: impl FnOnce() -> Result<u8, Failure>) -> Result<u8, Failure> {
        if self.planned == 0 {
            return work();
        }
        if let Some(command) = &self.args.pre {
            let ended = self.shell(command, None);
            if let Err(why) = succeeded(ended) {
                let message = format!("the command of --pre failed ({why}); nothing was changed");
                return Err(
                    Failure::environment(message).hint("make it end with status 0, then run again")
                );
            }
        }
        let result = work();
        let code = result
            .as_ref()
            .map_or_else(Failure::exit_code, |code| *code);
        if let Some(command) = &self.args.post
            && let Err(why) = succeeded(self.shell(command, Some(code)))
        {
            tracing::error!(%why, "the command of --post failed");
            return result.map(|code| code.max(1));
        }
        result
    }

    fn shell(&self, command: &OsStr, exit: Option<u8>) -> io::Result<ExitStatus> {
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

/// Reminds of SnapRAID's sync after a run that changed something.
pub(super) fn remind_of_snapraid(args: &RunArgs, done: u64) {
    let synced = args
        .post
        .as_ref()
        .is_some_and(|command| mentions(command, "snapraid"));
    if args.snapraid_guard.is_some() && done > 0 && !synced {
        tracing::warn!("files moved between disks: run snapraid sync now (--post can do that)");
    }
}

fn mentions(command: &OsString, word: &str) -> bool {
    command.to_string_lossy().contains(word)
}
