//! The message of a command that finds no journal, where a disk of a mounted pool knows of one.

use std::path::Path;

use super::args::Common;
use super::failure::{Failure, salvage};
use super::places;
use crate::journal;
use crate::rescue::noted;

/// Says that no journal is in `dir`, and that a disk knows of one which is not at the usual place either. A journal that the
/// user named may not have been made yet: then this is a warning.
///
/// # Errors
/// If the usual journal is gone.
pub(super) fn check(common: &Common, dir: &Path) -> Result<(), Failure> {
    let usual = places::usual_journal_dir().and_then(|usual| journal::id_at(&usual));
    let mut found = noted::everywhere().into_iter();
    let Some((pool, noted)) = found.find(|(_, noted)| Some(noted.journal) != usual) else {
        return Ok(());
    };
    let message = format!(
        "no journal is at {dir:?}, and the disk {:?} knows of run {} of journal {:08x}",
        noted.branch, noted.run, noted.journal
    );
    let lost = Failure::recovery(message).hint(salvage(dir, &pool));
    match &common.journal {
        None => Err(lost),
        Some(_) => {
            lost.warn();
            Ok(())
        }
    }
}
