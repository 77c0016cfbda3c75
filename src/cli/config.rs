//! Reads options from a file: the options of the command line by their long names, one per line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use clap::CommandFactory;
use clap::error::ErrorKind;

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
    let mut options = parse(file, &text)?;
    if options.iter().any(|(name, _)| name == "dry-run") {
        // The file says what is the default, and an -e that is typed overrules the file.
        options.retain(|(name, _)| !["dry-run", "execute"].contains(&name.as_str()));
    }
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
    let options = options();
    let mut settings = Vec::new();
    // Editors on Windows put it first.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let place = || format!("{}:{}", file.display(), number + 1);
        let (name, value) =
            setting(line).map_err(|why| Failure::usage(format!("{}: {why}", place())))?;
        let Some(option) = options.iter().find(|option| option.name == name) else {
            return Err(Failure::usage(format!("{}: no option is called {name:?}", place())).hint(
                "one a line, as on the command line without the dashes: primary = /pool/media",
            ));
        };
        match option.set(value) {
            Ok(None) => {}
            Ok(Some(value)) => settings.push((name, value)),
            Err(why) => return Err(Failure::usage(format!("{}: {name}: {why}", place()))),
        }
    }
    Ok(settings)
}

/// Parses `name = value`, or a name alone. A value may be in quotes, single or double, and a comment may follow: `#`
/// after white space.
fn setting(line: &[u8]) -> Result<Setting, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
    match line.iter().position(|byte| *byte == b'=') {
        None => Ok((text(without_comment(line)), None)),
        Some(at) => {
            let value = unquoted(line[at + 1..].trim_ascii())?;
            Ok((text(&line[..at]), Some(OsString::from_vec(value.to_vec()))))
        }
    }
}

fn unquoted(value: &[u8]) -> Result<&[u8], String> {
    let Some(quote) = value.first().filter(|first| matches!(first, b'"' | b'\'')) else {
        return Ok(without_comment(value));
    };
    let inner = &value[1..];
    let Some(end) = inner.iter().position(|byte| byte == quote) else {
        return Err("the quotation mark at the beginning of the value has no second one".to_owned());
    };
    let rest = inner[end + 1..].trim_ascii();
    if rest.is_empty() || rest.starts_with(b"#") {
        return Ok(&inner[..end]);
    }
    Err(format!("after the quoted value: {:?}", String::from_utf8_lossy(rest)))
}

fn without_comment(value: &[u8]) -> &[u8] {
    let comment =
        value.windows(2).position(|pair| pair[0].is_ascii_whitespace() && pair[1] == b'#');
    value[..comment.unwrap_or(value.len())].trim_ascii()
}

/// An option that a line of the file may have.
struct FileOption {
    name: String,
    takes_value: bool,
}

impl FileOption {
    /// Checks the value of a line. Returns it as it goes to the command line; nothing for an option that is switched off.
    fn set(&self, value: Option<OsString>) -> Result<Option<Option<OsString>>, String> {
        let Some(value) = value else {
            return match self.takes_value {
                true => Err("it takes a value: name = value".to_owned()),
                false => Ok(Some(None)),
            };
        };
        if !self.takes_value {
            return match value.to_str() {
                Some("yes" | "true" | "on") => Ok(Some(None)),
                Some("no" | "false" | "off") => Ok(None),
                _ => Err(format!("it takes no value, or yes or no, not {value:?}")),
            };
        }
        let mut argument = OsString::from(format!("--{}=", self.name));
        argument.push(&value);
        if self.name == DIRECTORY {
            return Ok(Some(Some(value)));
        }
        match Cli::command().ignore_errors(false).try_get_matches_from(["x".into(), argument]) {
            Err(error) if is_of_value(error.kind()) => {
                let told = error.to_string();
                let first = told.lines().next().unwrap_or_default();
                Err(first.strip_prefix("error: ").unwrap_or(first).to_owned())
            }
            _ => Ok(Some(Some(value))),
        }
    }
}

fn is_of_value(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8)
}

fn options() -> Vec<FileOption> {
    let command = Cli::command();
    let of = |arg: &clap::Arg| {
        let name = arg.get_long()?.to_owned();
        Some(FileOption { name, takes_value: arg.get_action().takes_values() })
    };
    let options = command.get_arguments().filter_map(of);
    options
        .filter(|option| !["config", "help", "version"].contains(&option.name.as_str()))
        .chain([FileOption { name: DIRECTORY.to_owned(), takes_value: true }])
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
    fn a_dry_run_overrides_the_execute_of_the_file() {
        let runs = |text: &str, typed: &str| {
            let args = expanded(text, typed).unwrap();
            Cli::try_parse_from(args).unwrap().settled().run.execute
        };
        assert!(runs("execute\ndir = /pool", "x"));
        assert!(!runs("execute\ndir = /pool", "x -n"));
        assert!(!runs("execute\ndry-run\ndir = /pool", "x"));
        assert!(runs("dry-run\ndir = /pool", "x -e"));
    }

    #[test]
    fn other_commands_take_only_what_concerns_them() {
        let text = "primary = /pool/media\njournal = /j\ndir = /pool";
        assert_eq!(expanded(text, "x status").unwrap(), ["x", "--journal=/j", "status"]);
    }

    #[test]
    fn values_may_be_quoted_and_followed_by_a_comment() {
        let text = "\u{feff}dir = \"/my pool\"  # all of it\nexclude = '*.srt # no'\nexclude = *.jpg # posters\n\
                    quiet = yes\nany-master = no\nverbose # more\npost = echo \"a b\"\n";
        let args = expanded(text, "x").unwrap();
        assert_eq!(
            args,
            [
                "x",
                "--exclude=*.srt # no",
                "--exclude=*.jpg",
                "--quiet",
                "--verbose",
                "--post=echo \"a b\"",
                "--",
                "/my pool"
            ]
        );
    }

    #[test]
    fn a_value_may_have_an_equals_sign_of_its_own() {
        let args = expanded("ignore-metadata = xattr=user.tag.*, mode\ndir = /pool", "x");
        assert!(args.unwrap_err().contains("invalid value ' mode'"));
        let args = expanded("ignore-metadata = xattr=user.tag.*,mode\ndir = /pool", "x").unwrap();
        assert_eq!(args[1], "--ignore-metadata=xattr=user.tag.*,mode");
        assert_eq!(Cli::try_parse_from(args).unwrap().run.ignore_metadata.len(), 2);
    }

    #[test]
    fn a_bad_value_is_told_with_its_line() {
        for (bad, why) in [
            ("\nquiet = 3", "quiet: it takes no value"),
            ("\nmin-size = big", "invalid value 'big'"),
            ("\nexclude = \"*.srt", "no second one"),
            ("\nexclude = \"*.srt\" *.nfo", "after the quoted value"),
            ("\nprimary", "primary: it takes a value"),
        ] {
            let said = expanded(bad, "x").unwrap_err();
            assert!(said.contains(":2: ") && said.contains(why), "{said}");
        }
    }

    #[test]
    fn an_unknown_option_is_told_with_its_line() {
        for bad in ["primary = /a\nprimery = /b", "\nconfig = /etc/other"] {
            let said = expanded(bad, "x -e").unwrap_err();
            assert!(said.contains(":2: no option"), "{said}");
        }
    }
}
