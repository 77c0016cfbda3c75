//! The completion scripts in contrib/completions are those of this command line.
//!
//! After a change of it: `XDEDUP_UPDATE=1 cargo test --test runner completions`.
#![allow(clippy::disallowed_methods, reason = "the scripts lie in no pool")]

use std::path::Path;

use clap::CommandFactory;
use clap_complete::{Generator, Shell};
use mergerfs_xdedup::cli::Cli;

/// The command, as it is installed.
const NAME: &str = "mergerfs.xdedup";

#[test]
fn the_completion_scripts_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/completions");
    let update = std::env::var_os("XDEDUP_UPDATE").is_some_and(|value| value == "1");
    let mut stale = Vec::new();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
        let path = dir.join(shell.file_name(NAME));
        if update {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &script).unwrap();
        } else if std::fs::read(&path).ok().as_deref() != Some(&script) {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "not of this command line: {stale:?}; XDEDUP_UPDATE=1 cargo test --test runner completions"
    );
}
