//! The man page: made from the options, the reasons and what `doctor` looks for, and kept in `contrib/man/`.

use clap::CommandFactory;
use clap_mangen::Man;
use mergerfs_xdedup::cli::Cli;
use mergerfs_xdedup::doctor::Topic;
use mergerfs_xdedup::refusal::{Reason, Weight};

const COMMITTED: &str = include_str!("../contrib/man/mergerfs.xdedup.1");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/man/mergerfs.xdedup.1");

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the page lies in this source tree"
)]
fn the_committed_man_page_is_current() {
    let page = page();
    if std::env::var_os("XDEDUP_WRITE_MAN").is_some() {
        std::fs::write(PATH, &page).unwrap();
        return;
    }
    assert!(
        page == COMMITTED,
        "contrib/man/mergerfs.xdedup.1 is not what the options say now; make it anew with\n\
         XDEDUP_WRITE_MAN=1 cargo test --test runner man"
    );
}

fn page() -> String {
    // Without the date and the version: the page changes when the program does.
    // What -h leaves out belongs here.
    let command = Cli::command().mut_args(|arg| arg.hide_short_help(false));
    let man = Man::new(command.clone());
    let mut out = b".TH MERGERFS.XDEDUP 1 \"\" \"mergerfs\\-xdedup\" \"User Commands\"\n".to_vec();
    man.render_name_section(&mut out).unwrap();
    man.render_synopsis_section(&mut out).unwrap();
    man.render_description_section(&mut out).unwrap();
    man.render_options_section(&mut out).unwrap();
    let mut page = String::from_utf8(out).unwrap();
    commands(&mut page, command);
    exit_status(&mut page);
    refusals(&mut page);
    findings(&mut page);
    page.push_str(FILES);
    page
}

fn commands(page: &mut String, command: clap::Command) {
    page.push_str(".SH COMMANDS\n");
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let about = sub.get_about().map(ToString::to_string);
        let own = sub.get_arguments().filter(|arg| !arg.is_global_set());
        let arguments: Vec<_> = own.filter(|arg| !arg.is_hide_set()).collect();
        let usage: Vec<String> = arguments.iter().map(|arg| word_of(arg)).collect();
        let head = format!("{} {}", sub.get_name(), usage.join(" "));
        entry(page, head.trim_end(), &about.unwrap_or_default());
        for arg in arguments {
            if let Some(help) = arg.get_help() {
                let line = format!("{}: {help}", word_of(arg));
                page.push_str(&format!(".br\n{}\n", escaped(&line)));
            }
        }
    }
}

fn word_of(arg: &clap::Arg) -> String {
    match arg.get_long() {
        Some(long) => format!("[--{long}]"),
        None => {
            let names = arg.get_value_names().unwrap_or_default();
            let name = names
                .first()
                .map_or(arg.get_id().as_str(), |name| name.as_str());
            if arg.is_required_set() {
                name.to_uppercase()
            } else {
                format!("[{name}]")
            }
        }
    }
}

fn exit_status(page: &mut String) {
    page.push_str(".SH EXIT STATUS\n");
    for (code, meaning) in [
        (
            "0",
            "everything planned was done, or there was nothing to do; refusals by rule are no failure",
        ),
        (
            "1",
            "something planned was not done, or part of the list could not be used; of doctor: something prevents runs",
        ),
        (
            "2",
            "usage, or a list that cannot be used; nothing was changed",
        ),
        (
            "3",
            "not a mergerfs pool, a branch that is not there, or locked by another run; nothing was changed",
        ),
        (
            "4",
            "the journal cannot be read, or something stays open after recovery",
        ),
        (
            "130, 143",
            "stopped by SIGINT or SIGTERM after the batch in hand",
        ),
    ] {
        entry(page, code, meaning);
    }
}

fn refusals(page: &mut String) {
    page.push_str(".SH REFUSALS\n");
    page.push_str("Why a file was left alone, and what to do about it. These are all the reasons there are; those marked with\n");
    page.push_str("an asterisk make the exit status 1.\n");
    for reason in Reason::ALL {
        let mark = if reason.weight() == Weight::Failure {
            " *"
        } else {
            ""
        };
        entry(page, &format!("{}{mark}", reason.as_str()), reason.hint());
    }
}

fn findings(page: &mut String) {
    page.push_str(".SH DOCTOR\n");
    page.push_str(
        "What doctor looks for, how bad it is, and what to do about it. It changes nothing.\n",
    );
    for topic in Topic::ALL {
        let head = format!("{} ({})", topic.as_str(), topic.level().as_str());
        entry(page, &head, topic.advice());
    }
}

fn entry(page: &mut String, head: &str, text: &str) {
    page.push_str(&format!(
        ".TP\n\\fB{}\\fR\n{}\n",
        escaped(head),
        escaped(text)
    ));
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
.SH SEE ALSO
mergerfs(1), jdupes(1), fclones(1), rmlint(1)
";

#[test]
fn every_reason_is_in_the_man_page_with_what_to_do() {
    for reason in Reason::ALL {
        let hint = format!("\n{}\n", escaped(reason.hint()));
        assert!(COMMITTED.contains(&hint), "{}", reason.as_str());
    }
}
