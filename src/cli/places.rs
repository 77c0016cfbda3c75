//! Where the program keeps its own files, if no option names a place.

use std::path::PathBuf;

use super::args::Common;
use super::failure::Failure;
use crate::run::RunError;

/// Returns where the journal is.
pub(super) fn journal_dir(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(dir) = &common.journal {
        return Ok(dir.clone());
    }
    usual_journal_dir().ok_or_else(|| RunError::NoJournalPlace.into())
}

/// Returns where the journal is, if no option names a place.
pub(super) fn usual_journal_dir() -> Option<PathBuf> {
    own_dir("/var/lib", "XDG_STATE_HOME", ".local/state")
}

/// The program's own directory if the user names no directory. For root it is below `of_root`. For other users it is
/// below the directory in the variable `of_others`, otherwise below `in_home`. `None` if the environment has neither
/// this variable nor a home directory.
pub(super) fn own_dir(of_root: &str, of_others: &str, in_home: &str) -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let parent = if nix::unistd::geteuid().is_root() {
        Some(PathBuf::from(of_root))
    } else {
        absolute(of_others).or_else(|| Some(absolute("HOME")?.join(in_home)))
    };
    Some(parent?.join("mergerfs-xdedup"))
}
