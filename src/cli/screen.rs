//! The abilities of the user's terminal, and the environment variables that change them.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use super::args::{Color, Common};
use crate::report::{Screen, fitted, terminal_width};

impl Common {
    /// Standard output.
    pub(super) fn screen(&self) -> Screen {
        let out = std::io::stdout();
        Screen { colour: coloured(self.color, &out), width: terminal_width(&out) }
    }
}

/// Breaks the lines of `text` so that they fit the terminal that standard error is.
pub(super) fn fit_stderr(text: &str) -> String {
    fitted(text, Screen { colour: false, width: terminal_width(&io::stderr()) }, 2)
}

/// Standard error for the log: its lines fit the terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let fitted = std::str::from_utf8(line).ok().map(fit_stderr);
        io::stderr().lock().write_all(fitted.as_deref().map_or(line, str::as_bytes))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether text on `stream` is coloured.
pub(super) fn coloured(color: Color, stream: &impl IsTerminal) -> bool {
    decide(color, stream.is_terminal(), |name| std::env::var_os(name))
}

/// NO_COLOR (no-color.org) first, then CLICOLOR_FORCE and CLICOLOR (bixense.com/clicolors).
fn decide(color: Color, terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is = |name: &str, value: &str| variable(name).is_some_and(|found| found == value);
    let set = |name: &str| variable(name).is_some_and(|found| !found.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") => true,
        Color::Auto => terminal && !is("CLICOLOR", "0") && !is("TERM", "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_comes_first_then_the_environment_then_the_terminal() {
        use Color::{Always, Auto, Never};
        for (color, terminal, set, coloured) in [
            (Auto, true, &[][..], true),
            (Auto, false, &[], false),
            (Auto, true, &[("NO_COLOR", "1")], false),
            (Auto, true, &[("NO_COLOR", "")], true),
            (Auto, true, &[("CLICOLOR", "0")], false),
            (Auto, true, &[("TERM", "dumb")], false),
            (Auto, false, &[("CLICOLOR", "1")], false),
            (Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Auto, true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false),
            (Always, false, &[("NO_COLOR", "1")], true),
            (Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ] {
            let variable = |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            assert_eq!(decide(color, terminal, variable), coloured, "{color:?} {set:?}");
        }
    }
}
