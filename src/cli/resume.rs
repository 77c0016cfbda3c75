//! `resume` finishes or takes back the ops that an interrupted run left open, from the journal alone.

use std::io::Write;

use super::args::{Common, OutputFormat};
use super::failure::Failure;
use super::lost;
use super::places;
use super::shown::Shown;
use super::signals::Signals;
use super::status;
use super::stdout::stdout;
use crate::execute::OpEnded;
use crate::journal::{self, OpenOp};
use crate::pool::Pool;
use crate::report::{ITEMS, status as report, text};
use crate::rescue::resume::{lacks_no_run, resume};
use crate::rescue::unsettled::hidden_files;
use crate::run::{DiskJournal, Watcher, WatcherError};

pub(super) fn run(common: &Common, dry_run: bool) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let mut out = stdout();
    let dir = places::journal_dir(common)?;
    let Some(journal) = journal::open_existing(&dir, None)? else {
        lost::check(common, &dir)?;
        return nothing(&mut out, common, "No runs recorded yet (there is no journal).");
    };
    let open = journal.open_ops();
    if open.is_empty() {
        lacks_no_run(&journal)?;
    } else if dry_run {
        let branches = status::branches(&journal)?;
        let hidden = hidden_files(journal.id(), &open, &branches);
        return show(&mut out, common, (&open, &hidden));
    }
    finish(common, &signals, journal, &mut out)
}

/// Lists the open files, and changes nothing.
fn show(
    out: &mut dyn Write,
    common: &Common,
    (open, hidden): (&[OpenOp], &report::Hidden),
) -> Result<u8, Failure> {
    let written = match common.format {
        OutputFormat::Json => report::open_json(out, open, hidden),
        OutputFormat::Text | OutputFormat::Script => {
            report::open_text(out, (open, hidden), common.verbose > 0).and_then(|()| {
                writeln!(
                    out,
                    "Nothing was changed. Run again without -n to finish or put back each file."
                )
            })
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(0)
}

/// Finishes or takes back the open ops of `journal`.
pub(super) fn finish(
    common: &Common,
    signals: &Signals,
    mut journal: DiskJournal,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    if journal.open_ops().is_empty() {
        return nothing(out, common, "nothing is open");
    }
    signals.answer(common)?;
    let mut watch = ResumeWatch(Shown::new(common, false));
    // A line for each file, unless there are many.
    let few = journal.open_ops().len() <= ITEMS;
    watch.0.verbose = common.verbose.max(u8::from(few));
    let open = resume(&mut journal, signals.stop(), &mut watch)?;
    let mut tally = watch.0.tally;
    tally.still_open = open as u64;
    text::recovery(out, &tally).and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(match (open, signals.exit_code()) {
        (0, _) => tally.exit_code(),
        (_, Some(code)) => code,
        (_, None) => 4,
    })
}

fn nothing(out: &mut dyn Write, common: &Common, what: &str) -> Result<u8, Failure> {
    if !common.quiet {
        writeln!(out, "{what}").and_then(|()| out.flush()).map_err(Failure::output)?;
    }
    Ok(0)
}

/// The watcher of a recovery that no run follows; its figures cover all pools.
struct ResumeWatch<'w>(Shown<'w>);

impl Watcher for ResumeWatch<'_> {
    fn recovering(&mut self, pool: &Pool) {
        self.0.recovering(pool);
    }

    fn recovered(&mut self, _open: usize) -> Result<(), WatcherError> {
        Ok(self.0.out.flush().map_err(Failure::output)?)
    }

    fn op_ended(&mut self, ended: &OpEnded<'_>) {
        self.0.op_ended(ended);
    }
}
