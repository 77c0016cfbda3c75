//! `doctor`: what about a pool, its disks, the kernel and the journal's place would make runs fail or surprise.
//!
//! [`collect`] looks, and changes nothing: it reads attributes, directories (without moving their times where that is
//! ours to ask) and mount tables, and takes one read lease a branch for a moment. [`check`] is pure: facts in,
//! findings out. [`crate::report::doctor`] prints them.

mod branches;
mod check;
mod collect;
mod facts;
mod filesystem;
mod finding;
mod neighbours;

pub use check::check;
pub use collect::collect;
pub use facts::{
    BranchDisk, BranchFacts, Facts, Host, JournalPlace, Leases, OtherPool, PartialView,
    Surroundings,
};
pub use filesystem::{Ability, FilesystemKind};
pub use finding::{Finding, Level, Topic};
