//! `verify` reads the kept copies again and compares them with the journal's records, with one queue per disk.

use std::io::Write;

use super::args::{Common, OutputFormat, VerifyArgs};
use super::failure::Failure;
use super::places;
use super::shown;
use super::signals::Signals;
use super::stdout::stdout;
use crate::journal::{self, RunSummary};
use crate::report::verify::{self as report, Verified};
use crate::report::{Progress, Scene};
use crate::rescue::read_kept::{Step, read_all};
use crate::rescue::verify::subjects;
use crate::run::{DiskJournal, Session, Site, find_pool};

pub(super) fn run(common: &Common, args: &VerifyArgs) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let dir = places::journal_dir(common)?;
    let Some(journal) = journal::open_existing(&dir, None)? else {
        return Err(Failure::usage(format!("no journal at {dir:?}: there is nothing to verify")));
    };
    let run = chosen(&journal, args.run)?;
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

/// The named run, otherwise the newest run that changed a file.
fn chosen(journal: &DiskJournal, named: Option<u64>) -> Result<RunSummary, Failure> {
    let found = match named {
        Some(run) => journal.run(run),
        None => journal.runs().rfind(|run| run.done + run.shared > 0),
    };
    found.cloned().ok_or_else(|| {
        Failure::usage("the journal has no such run, or none that linked a file")
            .hint("mergerfs.xdedup history lists them")
    })
}
