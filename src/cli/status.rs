//! `status` prints the open ops, the conflicts that a person has to settle, what the last run did, and the hidden names
//! that neither an open op nor a conflict explains. `status` changes nothing.

use std::io::Write;

use super::args::{Common, OutputFormat};
use super::failure::Failure;
use super::lost;
use super::places;
use super::stdout::stdout;
use crate::fs::Look;
use crate::journal;
use crate::report::status::{self, Status};
use crate::rescue::unsettled::{self, Branches};
use crate::run::DiskJournal;

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let dir = places::journal_dir(common)?;
    let mut out = stdout();
    let json = common.format == OutputFormat::Json;
    let journal = journal::open_existing(&dir, None)?;
    if journal.is_none() {
        lost::warn(common, &dir);
    }
    let written = match journal {
        None if json => status::json(&mut out, &Status::default()),
        None => writeln!(out, "No journal is at {dir:?}: no run is recorded there."),
        Some(journal) => {
            let status = look(common, &journal)?;
            if json { status::json(&mut out, &status) } else { status::text(&mut out, &status) }
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(0)
}

fn look<'j>(common: &Common, journal: &'j DiskJournal) -> Result<Status<'j>, Failure> {
    let branches = branches(journal)?;
    let found = unsettled::look(journal, &branches)?;
    let open = journal.open_ops();
    Ok(Status {
        hidden: unsettled::hidden_files(journal.id(), &open, &branches),
        open,
        last: journal.runs().last(),
        unsettled: found.unsettled,
        unexplained: found.unexplained,
        partly: found.partly,
        not_mounted: branches.missing().to_vec(),
        // The directory is named only if commands would otherwise use another journal.
        journal: common.journal.as_ref().map(|_| journal.place().to_path_buf()),
        now: branches.fs.now(),
        all: common.verbose > 0,
        screen: common.screen(),
    })
}

/// Every branch that a run of `journal` used and that is mounted.
pub(super) fn branches(journal: &DiskJournal) -> Result<Branches, Failure> {
    let runs = journal.runs();
    let recorded = runs.flat_map(|run| &run.started.branches);
    Ok(Branches::open(recorded)?)
}
