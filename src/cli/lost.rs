//! The message of a command that finds no journal, where a disk of a mounted pool knows of one.

use std::path::Path;

use super::args::Common;
use super::failure::{Failure, salvage};
use super::places;
use crate::journal;
use crate::rescue::noted;
use crate::run::Noted;

/// Says that no journal is in `dir`, and that a disk knows of one which is not at the usual place either. A journal that the
/// user named may not have been made yet: then this is a warning.
///
/// # Errors
/// If the usual journal is gone.
pub(super) fn check(common: &Common, dir: &Path) -> Result<(), Failure> {
    let usual = places::usual_journal_dir().and_then(|usual| journal::id_at(&usual));
    let found = noted::everywhere();
    let lost = |found: &&(_, Noted)| Some(found.1.journal) != usual;
    let Some((_, noted)) = found.iter().find(lost) else { return Ok(()) };
    // One salvage for all pools: the next one would find a journal, and that knows nothing of their files.
    let of_it = found.iter().filter(|(_, other)| other.journal == noted.journal);
    let pools: Vec<_> = of_it.map(|(pool, _)| pool.clone()).collect();
    let message = format!(
        "no journal is at {dir:?}, and the disk {:?} knows of run {} of journal {:08x}",
        noted.branch, noted.run, noted.journal
    );
    let salvage = salvage(dir, &pools);
    let hint = match nix::unistd::geteuid().is_root() {
        true => salvage,
        false => format!(
            "each user has a journal: if another one made that run, such as root, call this with sudo; else {salvage}"
        ),
    };
    let lost = Failure::recovery(message).hint(hint);
    match &common.journal {
        None => Err(lost),
        Some(_) => {
            lost.warn();
            Ok(())
        }
    }
}

/// Warns of such a journal, for a command that goes on.
pub(super) fn warn(common: &Common, dir: &Path) {
    if let Err(lost) = check(common, dir) {
        lost.warn();
    }
}
