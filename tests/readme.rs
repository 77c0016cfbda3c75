//! The README and the guides say what the program does: their tables are compared with the code.

use std::path::Path;

use clap::CommandFactory;
use mergerfs_xdedup::cli::Cli;
use mergerfs_xdedup::plan::refusal::Reason;

const README: &str = include_str!("../README.md");
const REASONS: &str = include_str!("../contrib/guides/reasons.md");
const GUARANTEES: &str = include_str!("../contrib/guides/guarantees.md");

#[test]
fn every_reason_has_its_row_with_what_to_do() {
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.as_str(), reason.hint());
        assert!(REASONS.contains(&row), "missing in contrib/guides/reasons.md: {row}");
    }
    let rows = REASONS.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Reason::ALL.len(), "a reason that does not exist");
}

/// People read a page, not a book.
#[test]
fn the_readme_is_short_and_leads_to_the_guides() {
    let words = README.split_whitespace().count();
    assert!(words <= 2_500, "{words} words");
    for guide in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/guides")).unwrap()
    {
        let name = guide.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            assert!(README.contains(&format!("](contrib/guides/{name})")), "no link to {name}");
        }
    }
}

/// The last column of the table of guarantees: modules of tests, as `cargo test` and `integration/run` take them.
#[test]
fn every_test_behind_a_guarantee_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = GUARANTEES.split("| guarantee |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut rows_seen = 0;
    for row in rows {
        let cell = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let tests: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test behind: {row}");
        for test in tests {
            let path = test.replace("::", "/");
            let there = |dir: &str| {
                let at = root.join(dir).join(&path);
                at.is_dir() || at.with_extension("rs").is_file()
            };
            let known = ["tests", "integration", "src"].into_iter().any(there);
            assert!(known, "guarantees.md names {test}, which does not exist");
        }
        rows_seen += 1;
    }
    assert!(rows_seen > 5, "the table was not found");
}

/// Links within this tree, of the README, the guides and what contributors read.
#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dirs = ["contrib/guides", "contrib/design", ".github"];
    let entries = dirs.map(|dir| std::fs::read_dir(root.join(dir)).unwrap());
    let entries = entries.into_iter().flatten();
    let pages = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let mut seen = 0;
    for page in pages.chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if !target.contains("://") {
                let file = target.split('#').next().unwrap();
                let there = page.with_file_name(file);
                assert!(there.exists(), "{}: {target}", page.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 8, "{seen} links");
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
    let foreign = [
        "--features",
        "--test",
        "--release",
        "--target",
        "--help",
        "--now",
        "--cap-add",
        "--force-empty",
        "--rm",
        "--reference",
        "--set-file",
    ];
    let guides = [README, REASONS, GUARANTEES, include_str!("../contrib/guides/reference.md")];
    for word in guides.join("\n").split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        if word.starts_with("--") && word.len() > 3 && word.trim_matches('-').len() > 2 {
            let ours = known.iter().any(|k| k == word) || foreign.contains(&word);
            assert!(ours, "README.md or a guide names {word}, which does not exist");
        }
    }
}
