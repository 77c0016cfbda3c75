//! Disks, pools, trees and the tool under test.
//!
//! Whatever a value here made, and nothing else, it removes again when it goes, in reverse order, also while a
//! panic unwinds. With `KEEP=1` it stays, and the commands that remove it are printed.
#![allow(dead_code, reason = "a toolbox: which of its tools are in use changes with the tests")]

pub(crate) mod command;
pub(crate) mod hung;
pub(crate) mod loop_disk;
pub(crate) mod manifest;
pub(crate) mod old_kernel;
pub(crate) mod pool;
pub(crate) mod preview;
pub(crate) mod snapshot;
pub(crate) mod stand_in;
pub(crate) mod tool;
pub(crate) mod tree;
pub(crate) mod wait;

/// Whether what the tests make is left behind for a look (`KEEP=1`).
pub(crate) fn keep() -> bool {
    std::env::var_os("KEEP").is_some_and(|value| value == "1")
}

/// Ends a clean-up step: a failure is a panic, unless a panic is already on its way and says more.
pub(crate) fn finish_clean_up(what: &str, result: Result<(), String>) {
    if let Err(why) = result {
        if std::thread::panicking() {
            eprintln!("clean-up of {what} failed too: {why}");
        } else {
            panic!("clean-up of {what} failed: {why}");
        }
    }
}
