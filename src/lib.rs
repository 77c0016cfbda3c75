//! mergerfs-xdedup replaces duplicates that lie on different disks of a mergerfs pool by hard links, without ever
//! risking a file.
//!
//! A hard link cannot cross a filesystem, so the *name* is moved instead of the data: the copy that stays (the
//! master) is linked on its own branch under the duplicate's relpath, that is made durable, and only then the
//! duplicate is removed from its branch. Through the pool both paths are still there with the same bytes.
//!
//! # Data flow
//!
//! One direction, a plain value at each arrow; later stages never call earlier ones:
//!
//! ```text
//! input ──► resolve ──► group ──► plan ──► execute ──► outcome ──► report
//! claims    (pool,      inodes    ops and  (fs seam,
//!           branches)   + names   refusals  journal)
//! ```
//!
//! [`run::run`] goes this way once, from a [`run::Request`] to a [`run::Outcome`]: it finds the pool, recovers what an
//! earlier run left open, plans, carries the plan out and records that. [`rescue::undo_run::undo`] does the same for
//! an undo. A dry run ends with the [`plan::Plan`], [`preview`] mounts what the pool will look like after it; `-e`
//! executes the same value.
//!
//! # Following one op from list to unlink
//!
//! 1. [`find::list`] reads a list made by another program: claims, as bytes.
//! 2. [`find::resolve`] asks the pool where each path is ([`pool::mergerfs`]) and looks at the inodes there ([`fs`]).
//! 3. [`plan`] chooses the master ([`plan::master`]) and makes an [`plan::Op`] for every other inode, or a refusal.
//! 4. [`execute`] carries it out: `batch` is the order of everything; then one file a phase: `compare`,
//!    `parents`, `publish`, `retire`, `remove`, and `take_back` with `both_stay` for the way back.
//! 5. [`journal`] makes intent, retired and done durable in between.
//! 6. [`rescue::undo`] plans, from the journal, ops that take others back; they go the same way after a copy.
//! 7. After a crash `execute::recover` looks at what each name is, decides, and takes the same transitions.
//! 8. What ended ops left for a person, [`rescue::unsettled`] looks at again for `status`, and removes for
//!    `resume --discard`.
//!
//! # Invariants
//!
//! 1. At every instant some branch holds each path that was there before, with the same bytes: link first, remove
//!    after. Upheld by the order in `execute::batch`.
//! 2. Nothing is removed whose bytes were not compared equal to the master's, both unchanged since, nobody using
//!    it, and while the master's data is not on stable storage (`execute::compare`, `execute::remove`).
//! 3. No destructive call without a durable record of the exact names and inodes ([`journal::Intent`]); the record
//!    alone is enough to recover.
//! 4. A write by another program is never lost: short lease windows (`execute::window`), and the duplicate is
//!    retired under a hidden name before it is unlinked (`execute::retire`).
//! 5. Recovery is the executor (`execute::recover`).
//! 6. Identity is (`st_dev`, inode) on branches within a run ([`fs::InodeId`]), the filesystem's UUID and more when
//!    stored ([`fs::StoredId`]); never a path, never an inode number seen through the pool.
//! 7. Nothing outside the branches is touched: every access is beneath a held branch descriptor, through no symlink
//!    and no mount point ([`fs::real`]).
//! 8. After an unexpected I/O error on a branch or the journal, that branch or the run stops.
//!
//! # What is deliberately absent
//!
//! The library prints nothing, reads no environment and does not exit: [`report`] makes text from values, [`cli`]
//! makes requests from typed words, and decides where text goes. Options have no other reader than [`cli`]. Only
//! [`fs::real`] changes branches, only `journal::sled_store` names the database, only [`pool::mergerfs`] talks to
//! mergerfs, only `preview::server` names FUSE, and only `sys` contains `unsafe`.
//! [`plan`] does no I/O and knows no clock.

pub mod cli;
pub mod doctor;
pub mod execute;
pub mod find;
pub mod fs;
pub mod journal;
pub mod plan;
pub mod pool;
pub mod preview;
pub mod report;
pub mod rescue;
pub mod run;
mod sys;
