//! Every test module.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

#[cfg(feature = "sim")]
mod crash_points;
mod completions;
mod help;
mod readme;
