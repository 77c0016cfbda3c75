//! The directories of the command line: a missing DIR and a missing `-p` end the program in the same way, before anything is
//! read.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue};

use super::args::{Cli, RunArgs};
use super::failure::Failure;

/// Checks that each directory that the user named is there.
pub(super) fn check(args: &RunArgs) -> Result<(), Failure> {
    let scanned = args.dirs.iter().map(|dir| ("directory", dir));
    let primaries = args.primary.iter().map(|dir| ("directory of -p", dir));
    for (what, dir) in scanned.chain(primaries) {
        let there = dir.metadata().and_then(|entry| match entry.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        });
        if let Err(cause) = there {
            return Err(missing(what, dir, &cause));
        }
    }
    Ok(())
}

fn missing(what: &str, dir: &Path, cause: &io::Error) -> Failure {
    let failure = Failure::usage(format!("the {what} {dir:?} cannot be used: {cause}"));
    let command = dir.to_str().filter(|_| what == "directory").and_then(similar_command);
    match command {
        Some(command) => {
            failure.hint(format!("did you mean the command `{command}`? A command stands first"))
        }
        None if cause.kind() == io::ErrorKind::NotFound => {
            failure.hint("name a directory of the pool by its path through the mount point")
        }
        None if what == "directory" && cause.kind() == io::ErrorKind::NotADirectory => {
            failure.hint("to replace one file: --only FILE; to read a list of duplicates: -m FILE")
        }
        None => failure,
    }
}

/// Returns the command that a word looks like, if the word can be no path.
fn similar_command(word: &str) -> Option<String> {
    if word.contains('/') {
        return None;
    }
    // The suggestions of clap: a command line that has commands only.
    let ours = Cli::command();
    if ours.find_subcommand(word).is_some() {
        return Some(word.to_owned());
    }
    let commands = clap::Command::new("x").subcommand_required(true);
    let commands = commands.subcommands(ours.get_subcommands().cloned());
    let error = commands.try_get_matches_from(["x", word]).err()?;
    match error.get(ContextKind::SuggestedSubcommand)? {
        ContextValue::Strings(names) => names.first().cloned(),
        ContextValue::String(name) => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn said(typed: &str) -> Option<String> {
        let cli = Cli::try_parse_from(typed.split(' ')).unwrap();
        check(&cli.run).err().map(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_missing_directory_is_the_same_for_a_scan_and_for_p() {
        for typed in ["x /no/such", "x -p /no/such /", "x -m list -p /no/such"] {
            let told = said(typed).unwrap();
            assert!(told.contains("/no/such") && told.contains("No such file"), "{told}");
            assert!(told.contains("Usage"), "{told}");
        }
        assert!(said("x -p /dev/null /").unwrap().contains("ot a directory"));
        assert!(said("x /dev/null").unwrap().contains("--only FILE"));
        assert_eq!(said("x -p / /"), None);
    }

    #[test]
    fn a_command_with_a_slip_is_no_directory() {
        for (typed, command) in
            [("udno", "undo"), ("statsu", "status"), ("hisotry", "history"), ("doktor", "doctor")]
        {
            let told = said(&format!("x {typed}")).unwrap();
            assert!(told.contains(&format!("the command `{command}`")), "{told}");
        }
        for typed in ["films", "./udno", "/pool/undo"] {
            let told = said(&format!("x {typed}")).unwrap();
            assert!(!told.contains("did you mean"), "{told}");
        }
    }
}
