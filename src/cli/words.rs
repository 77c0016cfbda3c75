//! Finds the words of a command line that decide what the run does: the journal keeps them. Leaves out words that decide
//! where and how the result is shown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// Options that change nothing about what is done.
const LEFT_OUT: [&str; 18] = [
    "execute",
    "dry_run",
    "journal",
    "format",
    "color",
    "config",
    "verbose",
    "quiet",
    "log_file",
    "db_file",
    "pre",
    "post",
    "cache",
    "groups",
    "groups_format",
    "report",
    "script",
    "no_progress",
];

/// Returns the words of `typed`, a command line of `command`, that decide what the run does: each option under its short
/// name if it has one, then the words without an option.
pub(super) fn that_matter(command: &Command, typed: &ArgMatches) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    if let Some((name, of_it)) = typed.subcommand() {
        words.push(name.as_bytes().to_vec());
        if let Some(command) = command.find_subcommand(name) {
            words.extend(that_matter(command, of_it));
        }
        return words;
    }
    let matters = |arg: &&Arg| {
        let id = arg.get_id().as_str();
        // A global option that belongs to another command is not known here.
        typed.try_contains_id(id).is_ok()
            && typed.value_source(id) == Some(ValueSource::CommandLine)
            && !LEFT_OUT.contains(&id)
    };
    let (alone, options): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(matters).partition(|arg| arg.is_positional());
    for option in options {
        if !option.get_action().takes_values() {
            words.push(name_of(option));
            continue;
        }
        for values in occurrences(typed, option) {
            put_option(&mut words, option, &values);
        }
    }
    words.extend(alone.into_iter().flat_map(|arg| occurrences(typed, arg)).flatten());
    words
}

/// The values of each time that `arg` was typed.
fn occurrences(typed: &ArgMatches, arg: &Arg) -> Vec<Vec<Vec<u8>>> {
    let raw = typed.get_raw_occurrences(arg.get_id().as_str());
    let bytes = |value: &OsStr| value.as_bytes().to_vec();
    raw.into_iter().flatten().map(|values| values.map(bytes).collect()).collect()
}

fn put_option(words: &mut Vec<Vec<u8>>, option: &Arg, values: &[Vec<u8>]) {
    let delimiter = option.get_value_delimiter().map_or_else(String::new, String::from);
    let value = values.join(delimiter.as_bytes());
    let mut name = name_of(option);
    match option.is_require_equals_set() || value.starts_with(b"-") {
        false => words.extend([name, value]),
        true => {
            if !values.is_empty() {
                let long = option.get_long().unwrap_or_default();
                name = [b"--", long.as_bytes(), b"=", &value].concat();
            }
            words.push(name);
        }
    }
}

fn name_of(option: &Arg) -> Vec<u8> {
    match (option.get_short(), option.get_long()) {
        (Some(short), _) => format!("-{short}").into_bytes(),
        (None, long) => format!("--{}", long.unwrap_or_default()).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    fn words(typed: &str) -> String {
        let command = Cli::command();
        let matches = command.clone().try_get_matches_from(typed.split(' ')).unwrap();
        let words = that_matter(&command, &matches);
        String::from_utf8(words.join(&b' ')).unwrap()
    }

    #[test]
    fn words_that_say_what_is_done_are_kept() {
        for (typed, kept) in [
            ("x -e --perform-actions --journal=/j -v /pool", "/pool"),
            (
                "x /pool/a --primary /pool/m --primary-path=/pool/n --min-size 1M -e --no-progress /pool/b",
                "-p /pool/m -p /pool/n --min-size 1M /pool/a /pool/b",
            ),
            (
                "x -m list --ignore-metadata owner,mode --ignore-metadata xattr=user.a -d oldest --map /a=/b",
                "-m list --map /a=/b -d oldest --ignore-metadata owner,mode --ignore-metadata xattr=user.a",
            ),
            (
                "x --exclude=-a --no-lease --snapraid-guard /pool",
                "--exclude=-a --snapraid-guard --no-lease /pool",
            ),
            (
                "x --snapraid-guard=/c --max-bytes 1T --max-bytes 2T /pool",
                "--max-bytes 2T --snapraid-guard=/c /pool",
            ),
            ("x undo 3 -e --path /pool/a --journal /j", "undo --path /pool/a 3"),
            ("x --journal /j undo -e", "undo"),
        ] {
            assert_eq!(words(typed), kept, "{typed}");
        }
    }

    #[test]
    fn every_option_that_is_left_out_exists() {
        let known: Vec<String> =
            Cli::command().get_arguments().map(|arg| arg.get_id().to_string()).collect();
        for id in LEFT_OUT {
            assert!(known.iter().any(|known| known == id), "{id}");
        }
    }
}
