//! Lists of duplicates made by other programs, read as streams of claims.
//!
//! A claim is bytes somebody wrote: nothing here looks at a disk, and nothing later believes it
//! (`resolve` asks the pool, the executor compares bytes).

use std::io;

/// Some paths a list claims to have equal content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedGroup {
    /// The size in bytes the list gives, where it gives one.
    pub size: Option<u64>,
    /// The paths as bytes, as the list writes them (relative ones relative to the list's base).
    pub paths: Vec<Vec<u8>>,
}

/// Why a list cannot be used; nothing is changed then (exit 2).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The list cannot be read.
    #[error("cannot read the list")]
    Io(#[from] io::Error),
    /// It is damaged or of another form.
    #[error("{format}: {problem} (at byte {offset})")]
    Malformed {
        /// The form it was read as.
        format: &'static str,
        /// What is wrong.
        problem: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// It is of a form that cannot prove equal contents.
    #[error("{format}: {problem}")]
    Unusable {
        /// The form it was read as.
        format: &'static str,
        /// Why it cannot be used, and what to do.
        problem: String,
    },
    /// No known form.
    #[error("not a list of duplicates in a known form; name the form with --manifest-format")]
    Unknown,
}
