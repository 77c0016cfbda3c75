//! Reads options from a file: the options of the command line by their long names, one per line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::CommandFactory;

use super::args::Cli;
use super::failure::Failure;

/// What a command that is no run takes from the file.
const COMMON: [&str; 4] = ["journal", "format", "verbose", "quiet"];
/// The directories of the command line.
const DIRECTORY: &str = "dir";

/// `typed` (the program's name first) with the options of the file it names put before those typed, which overrule
/// them. `parsed` is what `typed` means by itself.
pub(super) fn expand(typed: &[OsString], parsed: &Cli) -> Result<Vec<OsString>, Failure> {
    let Some(file) = &parsed.common.config else {
        return Ok(typed.to_vec());
    };
    let text = std::fs::read(file)
        .map_err(|error| Failure::usage(format!("cannot read the options in {file:?}: {error}")))?;
    let options = parse(file, &text)?;
    let place_given = !parsed.run.dirs.is_empty() || parsed.run.manifest.is_some();
    let mut args = typed[..1.min(typed.len())].to_vec();
    let mut dirs = Vec::new();
    for (name, value) in options {
        if parsed.command.is_some() && !COMMON.contains(&name.as_str()) {
            continue;
        }
        match value {
            Some(value) if name == DIRECTORY => dirs.push(value),
            Some(value) => {
                let mut arg = OsString::from(format!("--{name}="));
                arg.push(value);
                args.push(arg);
            }
            None => args.push(format!("--{name}").into()),
        }
    }
    args.extend_from_slice(typed.get(1..).unwrap_or_default());
    if !place_given && parsed.command.is_none() && !dirs.is_empty() {
        args.push("--".into());
        args.append(&mut dirs);
    }
    Ok(args)
}

type Setting = (String, Option<OsString>);

fn parse(file: &Path, text: &[u8]) -> Result<Vec<Setting>, Failure> {
    let known = option_names();
    let mut settings = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (name, value) = setting(line);
        if !known.contains(&name) {
            let place = format!("{}:{}", file.display(), number + 1);
            return Err(Failure::usage(format!("{place}: no option is called {name:?}")).hint(
                "one a line, as on the command line without the dashes: primary = /pool/media",
            ));
        }
        settings.push((name, value));
    }
    Ok(settings)
}

/// Parses `name = value`, or a name alone. Quotes have no meaning: a value is everything after the `=`,
/// without white space around it.
fn setting(line: &[u8]) -> Setting {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
    match line.iter().position(|byte| *byte == b'=') {
        None => (text(line), None),
        Some(at) => {
            let value = OsStr::from_bytes(line[at + 1..].trim_ascii());
            (text(&line[..at]), Some(OsString::from_vec(value.as_bytes().to_vec())))
        }
    }
}

fn option_names() -> Vec<String> {
    let command = Cli::command();
    let longs = command.get_arguments().filter_map(|arg| arg.get_long());
    longs
        .filter(|name| !["config", "help", "version"].contains(name))
        .map(str::to_owned)
        .chain([DIRECTORY.to_owned()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::io::Write;

    fn expanded(text: &str, typed: &str) -> Result<Vec<String>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut args: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
        args.insert(1, format!("--config={}", file.path().display()).into());
        let parsed = Cli::try_parse_from(&args).unwrap();
        let args = expand(&args, &parsed).map_err(|failure| format!("{failure:?}"))?;
        let shown = args.iter().map(|arg| arg.to_string_lossy().into_owned());
        Ok(shown.filter(|arg| !arg.starts_with("--config=")).collect())
    }

    #[test]
    fn the_file_comes_first_and_the_command_line_overrules_it() {
        let text =
            "# weekly\n\nprimary = /pool/my media\n  any-master\ndedup=newest\ndir = /pool\n";
        let args = expanded(text, "x -d oldest -e").unwrap();
        assert_eq!(
            args,
            [
                "x",
                "--primary=/pool/my media",
                "--any-master",
                "--dedup=newest",
                "-d",
                "oldest",
                "-e",
                "--",
                "/pool"
            ]
        );
        let cli = Cli::try_parse_from(args).unwrap();
        assert!(cli.run.any_master && cli.run.execute);
        assert_eq!(cli.run.dedup, crate::plan::master::Policy::Oldest);
        assert_eq!(cli.run.dirs, [Path::new("/pool")]);
    }

    #[test]
    fn directories_that_are_typed_replace_those_of_the_file() {
        assert_eq!(expanded("dir = /pool", "x /pool/a").unwrap(), ["x", "/pool/a"]);
        assert_eq!(expanded("dir = /pool", "x -m list").unwrap(), ["x", "-m", "list"]);
    }

    #[test]
    fn other_commands_take_only_what_concerns_them() {
        let text = "primary = /pool/media\njournal = /j\ndir = /pool";
        assert_eq!(expanded(text, "x status").unwrap(), ["x", "--journal=/j", "status"]);
    }

    #[test]
    fn an_unknown_option_is_told_with_its_line() {
        for bad in ["primary = /a\nprimery = /b", "\nconfig = /etc/other"] {
            let said = expanded(bad, "x -e").unwrap_err();
            assert!(said.contains(":2: no option"), "{said}");
        }
    }
}
