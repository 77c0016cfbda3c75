//! Every test module.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod completions;
mod crash_points;
mod help;
mod house;
mod man;
mod mutants;
mod readme;
#[cfg(feature = "sim")]
mod runs;
mod words;
