//! The completion scripts in contrib/completions are those of this command line.
//!
//! After a change of it: `XDEDUP_UPDATE=1 cargo test --test runner completions`.
#![allow(clippy::disallowed_methods, reason = "the scripts lie in no pool")]

use std::path::Path;
use std::process::Command;

use clap_complete::{Generator, Shell};
use mergerfs_xdedup::cli::completions;

/// The command, as it is installed.
const NAME: &str = "mergerfs.xdedup";

#[test]
fn the_completion_scripts_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/completions");
    let update = std::env::var_os("XDEDUP_UPDATE").is_some_and(|value| value == "1");
    let mut stale = Vec::new();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        completions::write(shell, &mut script).unwrap();
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

/// What bash offers for these words, the last of which is being typed.
fn offered(dir: &Path, words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/completions");
    let script = script.join("mergerfs.xdedup.bash");
    let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let before = words.len() - 1;
    // compopt works in a completion only: its words are printed instead.
    let program = format!(
        ". '{}'; compopt() {{ echo \"$2\"; }}; COMP_WORDS=({quoted}); COMP_CWORD={before}; \
         _mergerfs.xdedup mergerfs.xdedup \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &program]).current_dir(dir).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_offers_directories_and_goes_on_after_commas() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("my films")).unwrap();
    let offered = |words: &[&str]| {
        let words = [&[NAME][..], words].concat();
        offered(dir.path(), &words)
    };
    for words in
        [&["-p", "my"][..], &["--primary", "=", "my"], &["my"], &["-e", "m"], &["doctor", "m"]]
    {
        let told = offered(words);
        assert!(told.lines().any(|line| line == "plusdirs"), "{words:?}: {told}");
        // Names are left to readline, which quotes them.
        assert!(!told.contains("films"), "{words:?}: {told}");
    }
    assert_eq!(offered(&["-m", "my"]).trim(), "filenames");
    assert_eq!(offered(&["--ignore-metadata", "ow"]), "owner\n");
    assert_eq!(offered(&["--ignore-metadata", "owner,mo"]), "owner,mode\n");
    assert!(offered(&["und"]).lines().any(|line| line == "undo"));
    assert_eq!(offered(&["--shad"]), "--shadows\n--shadow-age\n");
}
