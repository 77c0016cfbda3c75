//! What the reader's screen can do: colours, and how wide it is. A pipe can do nothing.

/// A screen, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Screen {
    /// Whether it shows colours.
    pub colour: bool,
    /// How many characters a line has; `None` where it does not matter.
    pub width: Option<usize>,
}

/// What a word means, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// The head of a table.
    Head,
    /// Done.
    Good,
    /// As the rules say, or to be tried again.
    Warn,
    /// Somebody should look at it.
    Bad,
}

impl Screen {
    /// `text` in the colour of `tone`; the same where there are no colours.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_screen_with_colours_gets_any() {
        assert_eq!(Screen::default().paint(Tone::Bad, "x"), "x");
        let screen = Screen {
            colour: true,
            width: None,
        };
        assert_eq!(screen.paint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
    }
}
