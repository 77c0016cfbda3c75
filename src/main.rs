//! The command `mergerfs.xdedup`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mergerfs_xdedup::cli::main(std::env::args_os())
}
