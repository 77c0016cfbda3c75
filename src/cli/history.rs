//! `history` and `export` print the recorded runs: `history` for a person, `export` for a program.

use std::io::Write;

use super::args::{Common, ExportArgs, HistoryArgs, OutputFormat};
use super::failure::Failure;
use super::lost;
use super::places;
use super::stdout::stdout;
use crate::journal::{self, Entry, JournalError, RunSummary};
use crate::report::{export as export_report, history as report, number, size};
use crate::rescue::undo_run::UndoError;

pub(super) fn run(common: &Common, args: &HistoryArgs) -> Result<u8, Failure> {
    let dir = places::journal_dir(common)?;
    let mut out = stdout();
    if let Some(days) = args.prune {
        return prune(common, days, args.dry_run, &mut out);
    }
    let Some(journal) = journal::open_existing(&dir, None)? else {
        if common.journal.is_none() {
            lost::warn(common, &dir);
        }
        if common.format == OutputFormat::Json {
            return Ok(0); // JSON has one line per run, and no run is recorded.
        }
        writeln!(out, "No journal is at {dir:?}: no run is recorded there.")
            .map_err(Failure::output)?;
        return Ok(0);
    };
    let runs: Vec<&RunSummary> = journal.runs().collect();
    match common.format {
        OutputFormat::Text | OutputFormat::Script => {
            report::text(&mut out, &runs, common.verbose > 0, common.screen())
        }
        OutputFormat::Json => runs.iter().try_for_each(|run| report::json(&mut out, run)),
    }
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    Ok(0)
}

fn prune(common: &Common, days: u32, dry_run: bool, out: &mut dyn Write) -> Result<u8, Failure> {
    let dir = places::journal_dir(common)?;
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let oldest = now.saturating_sub(i64::from(days) * 86_400);
    if common.format == OutputFormat::Json {
        let counts = if dry_run {
            journal::prunable(&dir, oldest)?.map(|(forgotten, kept)| (forgotten.len(), kept))
        } else {
            journal::prune(&dir, oldest)?.map(|pruned| (pruned.forgotten, pruned.kept))
        };
        // One line if there is a journal.
        let written = counts.map_or(Ok(()), |counts| report::pruned_json(out, dry_run, counts));
        written.and_then(|()| out.flush()).map_err(Failure::output)?;
        return Ok(0);
    }
    if dry_run {
        let told = match journal::prunable(&dir, oldest)? {
            None => "No runs recorded yet.".to_owned(),
            Some((forgotten, kept)) => {
                let runs: Vec<String> = forgotten.iter().map(u64::to_string).collect();
                let which =
                    if runs.is_empty() { String::new() } else { format!(" ({})", runs.join(", ")) };
                let forgotten = number(forgotten.len(), "run");
                format!(
                    "{forgotten}{which} would be forgotten, {kept} kept.\nNothing was changed. Run again without -n to apply."
                )
            }
        };
        writeln!(out, "{told}").and_then(|()| out.flush()).map_err(Failure::output)?;
        return Ok(0);
    }
    let Some(pruned) = journal::prune(&dir, oldest)? else {
        writeln!(out, "No journal is at {dir:?}: no run is recorded there.")
            .map_err(Failure::output)?;
        return Ok(0);
    };
    if !common.quiet {
        writeln!(
            out,
            "{} forgotten, {} kept; the journal takes {} instead of {}",
            number(pruned.forgotten, "run"),
            pruned.kept,
            size(pruned.bytes_after),
            size(pruned.bytes_before)
        )
        .map_err(Failure::output)?;
    }
    out.flush().map_err(Failure::output)?;
    Ok(0)
}

/// The error that ends an export.
enum Stopped {
    Journal(JournalError),
    Output(std::io::Error),
}

impl From<JournalError> for Stopped {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

pub(super) fn export(common: &Common, args: &ExportArgs) -> Result<u8, Failure> {
    let dir = places::journal_dir(common)?;
    let Some(journal) = journal::open_existing(&dir, None)? else {
        return Err(Failure::usage(format!("no journal at {dir:?}: there is nothing to export")));
    };
    if let Some(run) = args.run.filter(|run| journal.run(*run).is_none()) {
        return Err(UndoError::no_run(&journal, run).into());
    }
    let mut out = stdout();
    let shown = if args.csv {
        journal.csv(args.run, |lines| out.write_all(lines).map_err(Stopped::Output))
    } else {
        journal.replay(args.run, |entry: Entry| {
            export_report::record(&mut out, &entry).map_err(Stopped::Output)
        })
    };
    match shown {
        Ok(()) => {}
        Err(Stopped::Journal(error)) => return Err(error.into()),
        Err(Stopped::Output(error)) => return Err(Failure::output(error)),
    }
    out.flush().map_err(Failure::output)?;
    Ok(0)
}
