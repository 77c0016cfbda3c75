//! `status`: what is open, what ended in a conflict, what the last run did. Changes nothing.

use std::io::Write;

use super::args::{Common, OutputFormat};
use super::failure::Failure;
use super::session;
use crate::journal;
use crate::report::status;

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let dir = session::journal_dir(common)?;
    let mut out = session::stdout();
    let written = match journal::open_existing(&dir, None)? {
        None => writeln!(out, "no journal at {dir:?}: nothing was ever begun"),
        Some(journal) => {
            let open = journal.open_ops();
            match common.format {
                OutputFormat::Text => {
                    status::text(&mut out, &open, journal.runs().last(), journal.conflicts())
                }
                OutputFormat::Json => {
                    status::json(&mut out, &open, journal.runs().last(), journal.conflicts())
                }
            }
        }
    };
    written
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(0)
}
