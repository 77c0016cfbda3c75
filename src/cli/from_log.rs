//! `resume --from-log` restores as links the files that the old script deleted and did not link.

use std::io::{IsTerminal, Write};
use std::path::Path;

use super::args::{Common, ResumeArgs};
use super::failure::Failure;
use super::stdout::stdout;
use crate::report::sanitised;
use crate::rescue::old_script::{OldLog, Relinked, ReplayError};
use crate::run::RunError;
use crate::run::request::ListRequest;

pub(super) fn run(
    common: &Common,
    args: &ResumeArgs,
    log: &Path,
    manifest: &Path,
) -> Result<u8, Failure> {
    let log = OldLog::read(log)?;
    let mut out = stdout();
    let unreadable = log.lost.unreadable.len();
    warn_of(&log.lost.unreadable);
    if log.lost.paths.is_empty() {
        writeln!(out, "nothing is unfinished").map_err(Failure::output)?;
        return Ok(u8::from(unreadable > 0));
    }
    let list = ListRequest {
        path: manifest.to_path_buf(),
        format: args.manifest_format.clone(),
        base: args.base.clone(),
        map: Vec::new(),
        pools: Vec::new(),
    };
    let mut counts = Counts::default();
    log.relink(&list, |raw, became| {
        let why = counts.take(became);
        if common.quiet && !why.starts_with("lost") && !why.starts_with("not") {
            return Ok(());
        }
        if std::io::stdout().is_terminal() {
            out.write_all(sanitised(raw).as_bytes())?
        } else {
            out.write_all(raw)?
        }
        writeln!(out, ": {why}")
    })?;
    let Counts { linked, there, failed } = counts;
    writeln!(out, "{linked} linked again, {there} were there, {failed} not linked")
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(u8::from(failed + unreadable > 0))
}

/// How many paths ended in which way.
#[derive(Default)]
struct Counts {
    linked: usize,
    there: usize,
    failed: usize,
}

impl Counts {
    /// Counts what became of a path; returns the words for it.
    fn take(&mut self, became: Relinked) -> String {
        let (count, why) = match became {
            Relinked::Linked(_) => (&mut self.linked, "linked".to_owned()),
            Relinked::There => (&mut self.there, "there".to_owned()),
            Relinked::NoMaster => (
                &mut self.failed,
                "lost: no file of its group is left, or the list does not name it".to_owned(),
            ),
            Relinked::Differ => (
                &mut self.failed,
                "not linked: the files of its group that are left are not equal".to_owned(),
            ),
            Relinked::Failed(why) => (&mut self.failed, format!("not linked: {why}")),
        };
        *count += 1;
        why
    }
}

fn warn_of(unreadable: &[Vec<u8>]) {
    if let Some(first) = unreadable.first() {
        let (lines, first) = (unreadable.len(), sanitised(first));
        tracing::warn!(
            lines,
            first,
            "not as the old script writes them: look at what they name by hand"
        );
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        let message = error.to_string();
        match error {
            // The hint of a run names options that are not those of this command.
            ReplayError::Run(RunError::NoPathOnPool) => Self::environment(message),
            ReplayError::Run(error) => error.into(),
            ReplayError::Read { .. } | ReplayError::NotALog { .. } => Self::usage(message),
            ReplayError::Write { .. } | ReplayError::Show(_) => Self::environment(message),
        }
    }
}
