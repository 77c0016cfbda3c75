//! The abilities of the reader's screen: colours and width. A pipe has neither.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// The width of a terminal that does not say it.
const USUAL_WIDTH: usize = 80;

/// A screen, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Screen {
    /// Whether it shows colours.
    pub colour: bool,
    /// How many characters a line has; `None` if the width does not matter.
    pub width: Option<usize>,
}

/// The meaning of a word, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// The head of a table.
    Head,
    /// Done.
    Good,
    /// The result follows the rules, or the user can try again.
    Warn,
    /// A person should look at the result.
    Bad,
}

impl Screen {
    /// Returns `text` in the colour of `tone`; unchanged `text` if the screen has no colours.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// How many characters a line of `stream` has; `None` if it is no terminal.
#[must_use]
pub fn terminal_width(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    let width = || terminal_size::terminal_size_of(stream).map(|(width, _)| width.0.into());
    stream.is_terminal().then(|| width().unwrap_or(USUAL_WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_screen_with_colours_gets_any() {
        assert_eq!(Screen::default().paint(Tone::Bad, "x"), "x");
        let screen = Screen { colour: true, width: None };
        assert_eq!(screen.paint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
    }
}
