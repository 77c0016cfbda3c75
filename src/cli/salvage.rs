//! `resume --salvage` works when the journal is lost: the log and the hidden names on the branches show the open ops.

use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::args::{Common, OutputFormat, ResumeArgs};
use super::failure::Failure;
use super::places;
use super::request::may_differ;
use super::resume;
use super::signals::Signals;
use super::stdout::stdout;
use crate::report::{number, salvage as report, shell_word};
use crate::rescue::salvage_run::{Others, SalvageError, SalvageRequest, Salvaging, look, others};

const GONE_FOR_GOOD: &str = "mount or add it, then run again; if it is gone for good, move the CSV log away and name the \
                             POOL: the names on the branches alone count then";

pub(super) fn run(common: &Common, args: &ResumeArgs) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let mut out = stdout();
    let dir = places::journal_dir(common)?;
    let request = SalvageRequest {
        journal: dir.clone(),
        named: common.journal.is_some(),
        usual: places::usual_journal_dir(),
        csv: args.log_file.clone(),
        pools: args.pool.clone(),
        ignore: may_differ(&args.ignore_metadata),
        execute: args.execute,
    };
    let Some(salvaging) = look(&request)? else {
        if let Some(others) = others(&request)? {
            return Err(not_of(&dir, &others));
        }
        writeln!(
            out,
            "the journal {dir:?} can be used: `resume` without --salvage finishes what it has open"
        )
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
        return Ok(0);
    };
    tell(&mut out, common, &salvaging).map_err(Failure::output)?;
    if !args.execute {
        let damaged = salvaging.remains.why.is_some();
        let how = if !damaged && salvaging.found.iter().all(|found| found.plan.is_empty()) {
            "No file was found half done: there is nothing to salvage".to_owned()
        } else if damaged || request.named {
            "Run again with -e to apply".to_owned()
        } else {
            // Only the user knows whether the journal is lost or elsewhere.
            format!(
                "If the journal is lost, and in no other directory, run again with --journal {} -e to apply",
                shell_word(salvaging.remains.dir.as_os_str().as_bytes())
            )
        };
        writeln!(out, "Nothing was changed. {how}.")
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
        return Ok(0);
    }
    out.flush().map_err(Failure::output)?;
    let mut plans = salvaging.found.iter().map(|found| &found.plan);
    let somebody = plans.any(report::needs_somebody);
    let journal = salvaging.replace(&request)?;
    let code = resume::finish(common, &signals, journal, &mut out)?;
    Ok(match (code, somebody) {
        (0, true) => 4,
        (code, _) => code,
    })
}

/// The journal can be used, and is not the journal that left hidden files.
fn not_of(dir: &Path, others: &Others) -> Failure {
    let Others { journal, first, count, pool } = others;
    let files = number(*count, "hidden file");
    let pool = shell_word(pool.as_os_str().as_bytes());
    Failure::recovery(format!(
        "the journal {dir:?} can be used, and does not know of {files} on the disks: {first:?} is of journal {journal:08x}"
    ))
    .hint(format!(
        "`resume` with the --journal of that one finishes or puts back what it left; if it is lost, `mergerfs.xdedup --journal \
         NEW-DIRECTORY resume --salvage {pool}` does"
    ))
}

fn tell(out: &mut dyn Write, common: &Common, salvaging: &Salvaging) -> std::io::Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let Salvaging { remains, logged, .. } = salvaging;
    if common.format != OutputFormat::Json && !common.quiet {
        match &remains.why {
            Some(why) => writeln!(out, "{why}")?,
            None => writeln!(out, "there is no journal at {:?}", remains.dir)?,
        }
        match &remains.log {
            Some(_) => writeln!(out, "its log has {} open", logged.open.len())?,
            None => writeln!(out, "its log is gone too: going by names alone")?,
        }
        if logged.unreadable > 0 {
            writeln!(out, "{} of the log cannot be read", number(logged.unreadable, "line"))?;
        }
    }
    for found in &salvaging.found {
        let dirs = found.dirs();
        match common.format {
            OutputFormat::Text | OutputFormat::Script => {
                report::text(out, &found.plan, &dirs, terminal)?
            }
            OutputFormat::Json => report::json(out, &found.plan, &dirs)?,
        }
    }
    Ok(())
}

impl From<SalvageError> for Failure {
    fn from(error: SalvageError) -> Self {
        let message = error.to_string();
        match error {
            SalvageError::Run(error) => error.into(),
            SalvageError::NotALog => Self::usage(message).hint(
                "name the right one with --log-file, or move it away to go by the names on the branches alone",
            ),
            SalvageError::PoolGone(_) | SalvageError::BranchGone(_) => {
                Self::environment(message).hint(GONE_FOR_GOOD)
            }
            SalvageError::NoPool => {
                Self::usage(message).hint("name it: mergerfs.xdedup resume --salvage POOL")
            }
            SalvageError::ManyJournals => Self::usage(message).hint(
                "name the log with --log-file, or move those that are not this journal's out of the branches, anybody can \
                 have made them",
            ),
            SalvageError::MaybeElsewhere(_) => Self::usage(message).hint(
                "if the runs had a --journal of their own: `resume` with that one; only if it is lost, name the \
                 directory for a new one with --journal",
            ),
            SalvageError::NotLost(_) => Self::usage(message).hint("leave --journal away"),
        }
    }
}
