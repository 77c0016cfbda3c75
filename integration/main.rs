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

mod harness;
mod harness_itself;
