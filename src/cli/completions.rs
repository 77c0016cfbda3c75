//! The completion scripts: those that clap generates, with what it lacks. File names are left to the shell, which knows how to
//! quote them; a DIR offers directories; a list goes on after each comma.

use std::io::Write;

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Generator, Shell};

use super::args::{Cli, MetadataKind};

const NAME: &str = "mergerfs.xdedup";
/// Where the script offers options and commands.
const OPTIONS: &str = r#"            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )"#;
const DIRECTORIES: &str = "            [[ ${cur} == -* ]] || compopt -o plusdirs 2>/dev/null\n";
/// The commands that take a directory of the pool.
const WITH_DIRECTORY: [&str; 3] = ["preview", "doctor", "resume"];

/// Writes the completion script for `shell`.
///
/// # Errors
/// When `out` fails.
pub fn write(shell: Shell, out: &mut dyn Write) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.set_bin_name(NAME);
    command.build();
    let mut script = Vec::new();
    shell.generate(&command, &mut script);
    let script = String::from_utf8_lossy(&script);
    let script = match shell {
        Shell::Bash => bash(&script),
        Shell::Zsh => zsh(&script),
        Shell::Fish => fish(&script),
        _ => script.into_owned(),
    };
    out.write_all(script.as_bytes())
}

fn kinds() -> String {
    let kinds = MetadataKind::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    kinds.map(|kind| kind.get_name().to_owned()).collect::<Vec<_>>().join(" ")
}

/// With nothing in COMPREPLY, readline completes file names itself, and quotes them.
fn bash(script: &str) -> String {
    let files = r#"COMPREPLY=($(compgen -f "${cur}"))"#;
    let list = format!(r#"COMPREPLY=($(compgen -W "{}" -- "${{cur}}"))"#, kinds());
    let in_list = format!(
        r#"COMPREPLY=($(compgen -P "${{cur%"${{cur##*,}}"}}" -W "{}" -- "${{cur##*,}}"))"#,
        kinds()
    );
    let after_equals = "    prev=\"$3\"\n    if [[ \"${prev}\" == \"=\" ]]; then\n        \
                        prev=\"${COMP_WORDS[COMP_CWORD-2]}\"\n    fi\n";
    let mut text = String::new();
    let mut with_directory = false;
    for line in script.lines() {
        let word = line.trim();
        if line.starts_with("        mergerfs.xdedup") && word.ends_with(')') {
            let command = word.trim_end_matches(')').rsplit("__").next().unwrap_or_default();
            with_directory = command == NAME || WITH_DIRECTORY.contains(&command);
        }
        // After the options that have values of their own.
        if with_directory && line == OPTIONS {
            text.push_str(DIRECTORIES);
        }
        text.push_str(line);
        text.push('\n');
        if with_directory && word.starts_with("if [[ ${cur} == -*") {
            text.push_str(DIRECTORIES);
        }
    }
    text.replace("    prev=\"$3\"\n", after_equals)
        .replace(files, "COMPREPLY=()")
        .replace(&list, &in_list)
}

fn zsh(script: &str) -> String {
    let list = format!(":LIST:_values -s , metadata {}'", kinds());
    between(script, ":LIST:((owner", "))'", &list)
}

fn fish(script: &str) -> String {
    let list = format!("-a \"(__fish_append , {})\"", kinds());
    let mut text = between(script, "-a \"owner\\t", "\"\n", &format!("{list}\n"));
    // The last option may still lack its value.
    let parse = "argparse -s (__fish_mergerfs.xdedup_global_optspecs) -- $cmd";
    let again = format!("{parse} 2>/dev/null\n    or {parse} value 2>/dev/null\n    or return");
    text = text.replace(&format!("{parse} 2>/dev/null\n    or return"), &again);
    for command in WITH_DIRECTORY.into_iter().chain([""]) {
        let state = match command {
            "" => "__fish_mergerfs.xdedup_needs_command".to_owned(),
            command => format!("__fish_mergerfs.xdedup_using_subcommand {command}"),
        };
        text.push_str(&format!(
            "complete -c {NAME} -n \"{state}\" -f -a \"(__fish_complete_directories)\"\n"
        ));
    }
    text
}

/// Replaces each part of `text` from `begin` to `end`.
fn between(text: &str, begin: &str, end: &str, with: &str) -> String {
    let mut parts = text.split(begin);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(with);
        out.push_str(part.split_once(end).map_or("", |(_, rest)| rest));
    }
    out
}
