//! What the program says of itself, to who asks and to who types nothing.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mergerfs-xdedup"))
        .args(args)
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_bare_name_says_how_to_start() {
    let said = run(&[]);
    assert_eq!(said.status.code(), Some(2));
    assert!(said.stdout.is_empty());
    let start = text(said.stderr);
    assert!(start.contains("--help") && start.contains("/pool -e"), "{start}");
    assert!(start.lines().count() < 12, "{start}");
}

#[test]
fn help_comes_in_two_sizes() {
    let (short, long) = (run(&["-h"]), run(&["--help"]));
    assert!(short.status.success() && long.status.success());
    let (short, long) = (text(short.stdout), text(long.stdout));
    let narrow =
        Command::new(env!("CARGO_BIN_EXE_mergerfs-xdedup")).arg("-h").env("COLUMNS", "80").output();
    let narrow = text(narrow.unwrap().stdout);
    assert!(narrow.lines().count() < 40, "{}: {narrow}", narrow.lines().count());
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    for group in ["Which files:", "What is done:", "Output:"] {
        assert!(narrow.contains(group), "{group}: {narrow}");
    }
    assert!(long.lines().count() > 2 * short.lines().count(), "{long}");
    for (rare, explained) in [("--no-lease", "--no-lease"), ("--base", "a list is a claim")] {
        assert!(!short.contains(rare), "{rare} is for --help");
        let found = long.to_lowercase();
        assert!(found.contains(rare) && found.contains(explained), "{explained}");
    }
    for command in ["resume", "status", "preview", "undo", "doctor"] {
        assert!(short.contains(command) && long.contains(command), "{command}");
    }
    assert!(long.contains("completions"));
    assert!(long.contains("jdupes -r -0 /pool > list"));
    assert!(!short.contains('\x1b') && !long.contains('\x1b'), "a pipe is plain");
}

#[test]
fn a_mistake_is_named_with_what_to_do() {
    for (args, told) in [
        (&["-v"][..], "name one on the pool"),
        (&["--exceute", "/pool"], "--execute"),
        (&["--min-size", "2X", "/pool"], "such as 4096, 100K or 2G"),
        (&["-m", "/no/such/list"], "cannot open the list"),
        (&["-e", "status"], "--execute cannot stand before a command"),
        (&["--min-size", "1M", "undo"], "--min-size cannot stand before a command"),
        (&["/", "status"], "the command `status`"),
        (&["udno"], "the command `undo`"),
        (&["undo", "--exeute"], "--execute"),
        (&["/no/such"], "No such file"),
        (&["-p", "/no/such", "/"], "No such file"),
        (&["--format", "script", "status"], "of a dry run only"),
        (&["--format", "script", "-e", "/"], "leave -e out"),
        (&["preview"], "MOUNTPOINT"),
    ] {
        let said = run(args);
        assert_eq!(said.status.code(), Some(2), "{args:?}");
        let said = text(said.stderr);
        assert!(said.starts_with("error:") && said.contains(told), "{args:?}: {said}");
        assert!(!said.contains('\x1b'), "{said}");
    }
}

#[test]
fn colours_are_where_they_are_asked_for() {
    let coloured = |args: &[&str]| run(args).stderr.contains(&0x1b);
    assert!(coloured(&["--color", "always", "-m", "/no/such/list"]));
    assert!(!coloured(&["--color", "never", "-m", "/no/such/list"]));
    assert!(!coloured(&["-m", "/no/such/list"]));
}

#[test]
fn help_lists_what_a_scan_skips() {
    let long = text(run(&["--help"]).stdout);
    let words: Vec<&str> = long.split(|c: char| c.is_whitespace() || "(),;".contains(c)).collect();
    for name in [
        "lost+found",
        ".Trash",
        ".Trash-*",
        ".Trashes",
        "#recycle",
        "@Recycle",
        ".recycle",
        ".Recycle.Bin",
        "$RECYCLE.BIN",
        ".snapraid",
        ".xdedup-*",
    ] {
        assert!(words.contains(&name), "{name} is not in {long}");
    }
}
