//! The words that people read: help, messages, README and guides use plain ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use mergerfs_xdedup::cli::Cli;

/// A word that is banned, and the word to use.
const BANNED: [(&str, &str); 15] = [
    ("told", "reported, listed"),
    ("tells", "reports, shows"),
    ("gives", "returns, has"),
    ("somebody", "a program, a user"),
    ("whoever", "a program that, users who"),
    ("comes to", "the plan, the sum"),
    ("master", "kept copy"),
    ("masters", "kept copies"),
    ("refused", "skipped"),
    ("refusal", "skipped file"),
    ("refusals", "skipped files"),
    ("reclaimed", "freed"),
    ("reclaim", "free"),
    ("op", "file, replacement"),
    ("ops", "files, replacements"),
];

/// Pages for people who work on the code: the words of the code are right there.
const FOR_DEVELOPERS: [&str; 1] = ["how-it-works.md"];

#[test]
fn help_readme_and_guides_use_plain_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guides = fs::read_dir(root.join("contrib/guides")).unwrap();
    let guides = guides.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".md") && !FOR_DEVELOPERS.contains(&name)
    });
    let mut found = Vec::new();
    let pages = ["README.md", "contrib/demo", "contrib/mergerfs-xdedup.conf"];
    for page in guides.chain(pages.map(|page| root.join(page))) {
        let text = fs::read_to_string(&page).unwrap();
        for (number, line) in (1..).zip(prose(&text).lines()) {
            look(&format!("{}:{number}", page.display()), line, &mut found);
        }
    }
    for page in fs::read_dir(root.join("contrib/man")).unwrap() {
        let page = page.unwrap().path();
        let text = fs::read_to_string(&page).unwrap();
        for (number, line) in (1..).zip(text.lines().filter(|line| !line.starts_with(".SH"))) {
            look(&format!("{}:{number}", page.display()), &line.replace("\\-", "-"), &mut found);
        }
    }
    let mut all = Cli::command();
    all.build();
    help(&mut all, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Literals with a space in them are sentences that a person may read.
#[test]
fn messages_use_plain_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&root, &mut files);
    assert!(files.len() > 100);
    let mut found = Vec::new();
    for (path, text) in files {
        for (line, literal) in literals(&text) {
            if literal.contains(' ') && !literal.starts_with("invariant: ") {
                let text = without_arguments(&literal);
                look(&format!("{}:{line}", path.display()), &text, &mut found);
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn help(command: &mut Command, found: &mut Vec<String>) {
    let name = command.get_name().to_owned();
    for line in command.render_long_help().to_string().lines() {
        look(&format!("{name} --help"), line, found);
    }
    for sub in command.get_subcommands_mut() {
        help(sub, found);
    }
}

fn look(place: &str, text: &str, found: &mut Vec<String>) {
    let lower = text.to_lowercase();
    for (word, better) in BANNED {
        for (at, _) in lower.match_indices(word) {
            let part = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '/';
            let before = lower[..at].chars().next_back().is_some_and(part);
            let after = lower[at + word.len()..].chars().next().is_some_and(part);
            if !before && !after {
                found.push(format!("{place}: {word} (better: {better}): {}", text.trim()));
            }
        }
    }
}

/// A format string without its `{arguments}`.
fn without_arguments(literal: &str) -> String {
    let mut parts = literal.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "{" + part.split_once('}').map_or(part, |(_, rest)| rest))
}

/// The text of a page, without code, and with as many lines.
fn prose(page: &str) -> String {
    let mut text = String::new();
    let mut fenced = false;
    for line in page.lines() {
        let fence = line.starts_with("```");
        fenced ^= fence;
        if !fenced && !fence && !line.starts_with("    ") {
            let outside = line.split('`').step_by(2);
            text.push_str(&outside.collect::<Vec<_>>().join("`"));
        }
        text.push('\n');
    }
    text
}

fn collect(dir: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let tests = name.contains("tests") || name == "sample.rs" || name == "sim";
        if path.is_dir() && !tests {
            collect(&path, files);
        } else if name.ends_with(".rs") && !tests {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            files.insert(path, code);
        }
    }
}

/// The string literals of a source file, with their lines; attributes for tests and expectations are left out.
fn literals(code: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let (mut line, mut chars) = (1, code.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => line += 1,
            '/' if code[at..].starts_with("//") => {
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            '\'' if code[at..].starts_with("'\"'") => {
                chars.next();
                chars.next();
            }
            '\'' if code[at..].starts_with("'\\\"'") => {
                chars.by_ref().take(3).for_each(drop);
            }
            '"' => {
                let begin = line;
                let mut literal = String::new();
                while let Some((_, c)) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => {
                            let next = chars.next().map(|(_, c)| c);
                            if next == Some('\n') {
                                line += 1;
                                while chars.next_if(|(_, c)| *c == ' ').is_some() {}
                            } else {
                                literal.push(' ');
                            }
                        }
                        c => {
                            line += usize::from(c == '\n');
                            literal.push(c);
                        }
                    }
                }
                let before = code[..at].trim_end();
                let own = ["expect(", "reason =", "unreachable!(", "assert!(", "debug!("];
                let internal = own.iter().any(|call| before.ends_with(call));
                if !internal && !before.ends_with("b") {
                    all.push((begin, literal));
                }
            }
            _ => {}
        }
    }
    all
}

#[test]
fn a_banned_word_is_found_and_part_of_a_word_is_not() {
    let found = |text: &str| {
        let mut found = Vec::new();
        look("x", text, &mut found);
        found.len()
    };
    assert_eq!(found("The master stays; 3 ops. Refused."), 3);
    assert_eq!(found("--any-master, --max-ops, stop, webmaster, op_1"), 0);
    let code = "// \"told\"\nlet a = \"it was \\\n   told {x}\"; let b = '\"'; f(\"b\");";
    assert_eq!(literals(code), [(2, "it was told {x}".to_owned()), (3, "b".to_owned())]);
    assert_eq!(without_arguments("the {master} of {op:?}"), "the { of {");
    assert_eq!(prose("a `told` b\n    told\n```sh\ntold\n```\nend\n"), "a ` b\n\n\n\n\nend\n");
}
