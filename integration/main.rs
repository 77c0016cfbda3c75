//! The suite on a real pool: loop devices, real filesystems, a real mergerfs, the built binary.
//!
//! Needs root and the tools that `integration/run` installs; what is missing is a failure, never a skip.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test code: it makes and damages its own disks, and a panic is how it reports"
)]

mod actions;
mod around;
mod bench;
mod busy;
mod changed;
mod clients;
mod cross_branch;
mod damage;
mod differing;
mod doctor;
mod dry_run;
mod exit_codes;
mod field;
mod files;
mod filesystems;
mod groups;
mod guides;
mod harness;
mod harness_itself;
mod hooks;
mod journal;
mod kill;
mod leftovers;
mod legacy_cli;
mod library;
mod limits;
mod lists;
mod live;
mod media_server;
mod missing_disk;
mod named;
mod not_alike;
mod old_kernels;
mod only;
mod other_tools;
mod policies;
mod power_cut;
mod preview;
mod records;
mod reflinks;
mod refusals;
mod report;
mod same_branch;
mod scan;
mod service;
mod shadows;
mod shapes;
mod shared_device;
mod undo;
mod versions;
