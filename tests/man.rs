//! The man pages: made from the options, the examples, the reasons and what `doctor` looks for, and kept in
//! `contrib/man/`: one of the command, and one of each of its commands.
#![allow(clippy::disallowed_methods, reason = "the pages lie in this source tree")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use mergerfs_xdedup::cli::Cli;
use mergerfs_xdedup::doctor::{Level, Topic};
use mergerfs_xdedup::plan::refusal::{Reason, Weight};

const MAIN: &str = include_str!("../contrib/man/mergerfs.xdedup.1");
const NAME: &str = "mergerfs.xdedup";

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib/man")
}

#[test]
fn the_committed_man_pages_are_current() {
    let pages = pages();
    let names: BTreeSet<&String> = pages.iter().map(|(name, _)| name).collect();
    if std::env::var_os("XDEDUP_WRITE_MAN").is_some() {
        for (name, page) in &pages {
            std::fs::write(dir().join(name), page).unwrap();
        }
        return;
    }
    let remedy = "make them anew with XDEDUP_WRITE_MAN=1 cargo test --test runner man";
    for (name, page) in &pages {
        let committed = std::fs::read_to_string(dir().join(name)).unwrap_or_default();
        assert!(page == &committed, "{name} is not what the options say now; {remedy}");
    }
    for there in std::fs::read_dir(dir()).unwrap() {
        let there = there.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&there), "{there} is the page of no command");
    }
}

/// What `man` would say of them, if it said anything.
#[test]
fn groff_has_nothing_to_say_of_the_pages() {
    for (name, page) in pages() {
        let mut groff = Program::new("groff")
            .args(["-man", "-Tutf8", "-t", "-ww", "-rLL=78n"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("groff is needed: apt install groff-base");
        let mut input = groff.stdin.take().unwrap();
        let feeding = std::thread::spawn(move || input.write_all(page.as_bytes()));
        let seen = groff.wait_with_output().unwrap();
        feeding.join().unwrap().unwrap();
        let said = String::from_utf8_lossy(&seen.stderr).into_owned();
        assert!(seen.status.success() && said.is_empty(), "{name}: {said}");
        assert!(!seen.stdout.is_empty(), "{name}");
    }
}

#[test]
fn every_page_has_what_a_page_needs() {
    for (name, page) in pages() {
        let mut needed =
            vec!["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "FILES"];
        needed.push("SEE ALSO");
        for heading in needed {
            let found = page.matches(&format!("\n.SH {heading}\n")).count()
                + page.matches(&format!("\n.SH \"{heading}\"\n")).count();
            assert_eq!(found, 1, "{name}: {heading}");
        }
    }
}

/// Every page, by its file's name. Without the date and the version: a page changes when the program does.
fn pages() -> Vec<(String, String)> {
    let mut command = Cli::command();
    command.build();
    let subs: Vec<Command> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .cloned()
        .collect();
    let others: Vec<String> = subs.iter().map(page_name).collect();
    let mut pages = vec![(format!("{NAME}.1"), main_page(&others))];
    for sub in subs {
        let name = page_name(&sub);
        pages.push((format!("{name}.1"), sub_page(&name, sub, &others)));
    }
    pages
}

fn page_name(sub: &Command) -> String {
    format!("{NAME}-{}", sub.get_name())
}

fn main_page(others: &[String]) -> String {
    let mut page = generated(NAME, Cli::command());
    commands(&mut page, Cli::command());
    exit_status(&mut page);
    refusals(&mut page);
    examples(&mut page, &Cli::command());
    page.push_str(FILES);
    see_also(&mut page, others.iter().map(String::as_str));
    page
}

fn sub_page(name: &str, sub: Command, others: &[String]) -> String {
    let mut page = generated(name, sub.clone());
    if sub.get_name() == "doctor" {
        findings(&mut page);
    }
    examples(&mut page, &sub);
    page.push_str(FILES);
    let rest = others.iter().map(String::as_str).filter(|other| *other != name);
    see_also(&mut page, [NAME].into_iter().chain(rest));
    page
}

/// What comes from the options.
fn generated(name: &str, command: Command) -> String {
    // What -h leaves out belongs here.
    let man = Man::new(command.mut_args(|arg| arg.hide_short_help(false)));
    let title = escaped(&name.to_uppercase());
    let mut out =
        format!(".TH {title} 1 \"\" \"mergerfs\\-xdedup\" \"User Commands\"\n").into_bytes();
    man.render_name_section(&mut out).unwrap();
    man.render_synopsis_section(&mut out).unwrap();
    man.render_description_section(&mut out).unwrap();
    man.render_options_section(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What `--help` ends with: paragraphs, commands indented by four, what they are for by two.
fn examples(page: &mut String, command: &Command) {
    let text = command.get_after_long_help().unwrap_or_default().to_string();
    let (before, rest) = text.split_once("Examples:\n").unwrap_or(("", &text));
    let (examples, status) = rest.split_once("Exit status: ").unwrap();
    if !before.is_empty() {
        page.push_str(&format!(".SH NOTES\n{}\n", escaped(&one_line(before))));
    }
    if !page.contains(".SH EXIT STATUS") {
        page.push_str(".SH EXIT STATUS\n");
        // A comma belongs to the meaning where no number follows it.
        let mut entries: Vec<String> = Vec::new();
        for part in one_line(status).trim_end_matches('.').split(", ") {
            match entries.last_mut() {
                Some(last) if !part.starts_with(|c: char| c.is_ascii_digit()) => {
                    last.push_str(&format!(", {part}"));
                }
                _ => entries.push(part.to_owned()),
            }
        }
        for each in entries {
            let (code, meaning) = each.split_once(' ').unwrap();
            entry(page, &code.replace('/', ", "), meaning);
        }
    }
    page.push_str(".SH EXAMPLES\n");
    for example in examples.trim_end().split("\n\n") {
        let (what, typed): (Vec<&str>, Vec<&str>) =
            example.lines().partition(|line| !line.starts_with("    "));
        page.push_str(&format!(".PP\n{}\n.PP\n.RS 4\n.nf\n", escaped(&one_line(&what.join(" ")))));
        for line in typed {
            page.push_str(&format!("{}\n", escaped(line.trim_start())));
        }
        page.push_str(".fi\n.RE\n");
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn see_also<'n>(page: &mut String, ours: impl Iterator<Item = &'n str>) {
    let theirs = ["mergerfs", "jdupes", "fclones", "rmlint"];
    let all: Vec<String> =
        ours.chain(theirs).map(|name| format!("\\fB{}\\fR(1)", escaped(name))).collect();
    page.push_str(&format!(".SH SEE ALSO\n{}\n", all.join(",\n")));
}

/// Each with a line; the rest is on its own page.
fn commands(page: &mut String, command: Command) {
    page.push_str(".SH COMMANDS\nEach has a page of its own.\n");
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let about = sub.get_about().map(ToString::to_string);
        entry(page, sub.get_name(), &about.unwrap_or_default());
    }
}

fn exit_status(page: &mut String) {
    page.push_str(".SH EXIT STATUS\n");
    for (code, meaning) in [
        (
            "0",
            "everything planned was done, or there was nothing to do; files skipped by rule are no failure",
        ),
        ("1", "something planned was not done, or part of the list could not be used"),
        ("2", "usage, or a list that cannot be used; nothing was changed"),
        (
            "3",
            "not a mergerfs pool, a branch that is not there, or locked by another run; nothing was changed",
        ),
        ("4", "the journal cannot be read, or something stays open after recovery"),
        ("130, 143", "stopped by SIGINT or SIGTERM after the batch in hand"),
    ] {
        entry(page, code, meaning);
    }
}

fn refusals(page: &mut String) {
    page.push_str(".SH \"SKIPPED FILES\"\n");
    page.push_str("Why a file was skipped, and what to do about it. These are all reasons; those marked with\n");
    page.push_str("an asterisk make the exit status 1.\n");
    for reason in Reason::ALL {
        let mark = if reason.weight() == Weight::Failure { " *" } else { "" };
        entry(page, &format!("{}{mark}", reason.as_str()), reason.hint());
    }
}

fn findings(page: &mut String) {
    page.push_str(".SH DOCTOR\n");
    page.push_str(
        "The findings of doctor, how bad each one is, and what to do about it. It changes nothing.\n",
    );
    for topic in Topic::ALL {
        let level = match topic.level() {
            Level::Prevents => "error",
            Level::Surprises => "warning",
            Level::Note => "note",
        };
        let head = format!("{} ({level})", topic.as_str());
        entry(page, &head, topic.advice());
    }
}

fn entry(page: &mut String, head: &str, text: &str) {
    page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escaped(head), escaped(text)));
}

/// What roff would take for its own: backslashes, hyphens that are not to be broken at, a dot that begins a line.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

const FILES: &str = "\
.SH FILES
.TP
\\fI/var/lib/mergerfs\\-xdedup\\fR
The journal, and log.csv beside it; $XDG_STATE_HOME/mergerfs\\-xdedup when not root.
.TP
\\fI/var/cache/mergerfs\\-xdedup\\fR
Hashes of scans; $XDG_CACHE_HOME/mergerfs\\-xdedup when not root.
";

#[test]
fn every_reason_is_in_the_man_page_with_what_to_do() {
    for reason in Reason::ALL {
        let hint = format!("\n{}\n", escaped(reason.hint()));
        assert!(MAIN.contains(&hint), "{}", reason.as_str());
    }
}
