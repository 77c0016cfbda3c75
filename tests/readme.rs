//! The README says what the program does: its tables are compared with the code.

use clap::CommandFactory;
use mergerfs_xdedup::cli::Cli;
use mergerfs_xdedup::refusal::Reason;

const README: &str = include_str!("../README.md");

#[test]
fn every_reason_is_in_the_readme_with_what_to_do() {
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.as_str(), reason.hint());
        assert!(README.contains(&row), "missing in README.md: {row}");
    }
}

#[test]
fn every_option_the_readme_names_exists() {
    let all = Cli::command();
    let commands = all.get_subcommands().chain([&all]);
    let known: Vec<String> = commands
        .flat_map(clap::Command::get_arguments)
        .flat_map(|arg| {
            let all = arg.get_all_aliases().unwrap_or_default();
            let long = arg.get_long().into_iter().chain(all);
            long.map(|name| format!("--{name}")).collect::<Vec<_>>()
        })
        .collect();
    let foreign = ["--features", "--test", "--release"];
    for word in README.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        if word.starts_with("--") && word.len() > 3 && word.trim_matches('-').len() > 2 {
            let ours = known.iter().any(|k| k == word) || foreign.contains(&word);
            assert!(ours, "README.md names {word}, which does not exist");
        }
    }
}
