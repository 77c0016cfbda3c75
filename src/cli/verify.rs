//! `verify` reads the kept copies again and compares them with the journal's records, with one queue per disk.

use std::io::Write;

use super::args::{Common, OutputFormat, VerifyArgs};
use super::failure::Failure;
use super::lost;
use super::places;
use super::shown;
use super::signals::Signals;
use super::stdout::stdout;
use crate::journal::{self, RunSummary};
use crate::report::verify::{self as report, Verified};
use crate::report::{Progress, Scene};
use crate::rescue::read_kept::{Step, read_all};
use crate::rescue::verify::{newest_kept, subjects};
use crate::run::{DiskJournal, Session, Site, find_pool};

pub(super) fn run(common: &Common, args: &VerifyArgs) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let dir = places::journal_dir(common)?;
    let Some(journal) = journal::open_existing(&dir, None)? else {
        lost::check(common, &dir)?;
        return Err(Failure::usage(format!("no journal at {dir:?}: there is nothing to verify")));
    };
    let Some(run) = chosen(&journal, args.run)? else {
        return nothing_kept(common);
    };
    let session = Session::open(find_pool::of_runs(std::slice::from_ref(&run.started))?)?;
    let number = run.started.run;
    let finished = journal.finished(|of| of == number)?;
    // Reading a terabyte takes hours, so other runs may go on at the same time.
    drop(journal);
    let subjects = subjects(&session.branch_records(), &finished);
    let scene = Scene { run: Some(number), ..shown::scene(&session.pool, common) };
    let bytes: u64 = subjects.iter().map(|subject| subject.size).sum();
    let bar = !args.no_progress && !common.quiet;
    let mut progress = Progress::new(bytes, (bytes, subjects.len() as u64), bar);
    let mut verified = Verified { left: subjects.len() as u64, ..Verified::default() };
    let as_json = common.format == OutputFormat::Json;
    let mut out = stdout();
    let written = read_all(&session.fs, &subjects, signals.stop(), |step| match step {
        Step::Read(bytes) => {
            verified.bytes += bytes;
            progress.bytes(bytes);
            Ok(())
        }
        Step::Found(at, verdict) => {
            verified.left -= 1;
            verified.count(&verdict);
            progress.op_done(subjects[at].size);
            progress.suspend(|| {
                let show = if as_json { report::json } else { report::text };
                show(&mut out, &scene, &subjects[at], &verdict).and_then(|()| out.flush())
            })
        }
    });
    progress.finish();
    written
        .and_then(|()| report::conclusion(&mut out, &run, as_json, &verified))
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(signals.exit_code().unwrap_or(verified.exit_code()))
}

/// The named run, otherwise the newest run that keeps a file for others; `None` if no run does.
fn chosen(journal: &DiskJournal, named: Option<u64>) -> Result<Option<RunSummary>, Failure> {
    let found = match named {
        Some(run) => journal.run(run),
        None => newest_kept(journal),
    };
    if found.is_none() && named.is_none() && journal.runs().any(|run| run.done > 0) {
        return Ok(None);
    }
    let none = "the journal has no such run, or none that linked a file";
    let none = || Failure::usage(none).hint("mergerfs.xdedup history lists them");
    found.cloned().ok_or_else(none).map(Some)
}

/// Says that no file is kept for another: every run was undone, or is not finished.
fn nothing_kept(common: &Common) -> Result<u8, Failure> {
    if common.format != OutputFormat::Json && !common.quiet {
        let mut out = stdout();
        writeln!(
            out,
            "nothing to verify: no finished run keeps a file (`verify RUN` reads what an undo copied back)"
        )
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    }
    Ok(0)
}
