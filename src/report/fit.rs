//! Breaks lines so that they fit the reader's screen. A pipe gets each line whole.

use super::screen::Screen;
use super::table::width_of;

/// Stands for a blank at which no line may break.
const NO_BREAK: char = '\0';

/// Returns `text`, such as a path or a command, as one word: no line breaks in it.
pub(super) fn whole(text: &str) -> String {
    text.replace(' ', "\0")
}

/// As [`fitted`]; text that is no UTF-8 stays as it is.
pub(super) fn words(text: &[u8], screen: Screen, indent: usize) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(text) => fitted(text, screen, indent).into_bytes(),
        Err(_) => text.to_vec(),
    }
}

/// Breaks each line of `text` between words where it is too wide; what follows is indented by `indent` more blanks than the line
/// is. A word that is wider than the screen stays whole, and so does a path in quotes.
#[must_use]
pub fn fitted(text: &str, screen: Screen, indent: usize) -> String {
    let Some(width) = screen.width else {
        return text.replace(NO_BREAK, " ");
    };
    let mut fitted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let indent = indent + line.len() - line.trim_start_matches(' ').len();
        let (mut used, mut begun) = (0, false);
        for word in words_of(line) {
            let wide = visible(word.trim_end());
            if begun && used + wide > width {
                fitted.truncate(fitted.trim_end_matches(' ').len());
                fitted.push('\n');
                fitted.extend(std::iter::repeat_n(' ', indent));
                (used, begun) = (indent, false);
            }
            fitted.push_str(word);
            used += visible(word);
            begun |= wide > 0;
        }
    }
    fitted.replace(NO_BREAK, " ")
}

/// The words of a line, each with the blank after it.
fn words_of(line: &str) -> impl Iterator<Item = &str> {
    let (mut quote, mut before) = (None, ' ');
    let mut rest = line.chars();
    line.split_inclusive(move |c| {
        rest.next();
        match quote {
            None if matches!(c, '"' | '\'') && rest.as_str().starts_with('/') => quote = Some(c),
            Some(end) if c == end && before != '\\' => quote = None,
            _ => {}
        }
        before = c;
        c == ' ' && quote.is_none()
    })
}

/// Whether `line` fits the screen.
pub(super) fn is_whole(line: &[u8], screen: Screen) -> bool {
    screen.width.is_none_or(|width| visible(&String::from_utf8_lossy(line)) <= width)
}

/// How many characters of `text` are seen: colours are not.
fn visible(text: &str) -> usize {
    let mut parts = text.split('\x1b');
    let first = parts.next().map_or(0, |part| width_of(part.as_bytes()));
    let seen = |part: &str| part.split_once('m').map_or(0, |(_, seen)| width_of(seen.as_bytes()));
    first + parts.map(seen).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_width(text: &str, width: usize, indent: usize) -> String {
        fitted(text, Screen { colour: false, width: Some(width) }, indent)
    }

    #[test]
    fn lines_break_between_words_and_words_stay_whole() {
        for (text, width, indent, expected) in [
            ("one two three\n", 80, 2, "one two three\n"),
            ("one two three\nfour\n", 8, 2, "one two\n  three\nfour\n"),
            ("one two three", 9, 2, "one two\n  three"),
            ("a /a/long/path b\n", 5, 2, "a\n  /a/long/path\n  b\n"),
            ("    indented words\n", 12, 0, "    indented\n    words\n"),
            ("  indented words\n", 10, 2, "  indented\n    words\n"),
            ("in \"/a b/c\": a \"b c\"\n", 7, 2, "in\n  \"/a b/c\":\n  a \"b\n  c\"\n"),
            (r#"at "/a\"b c" d"#, 6, 1, "at\n \"/a\\\"b c\"\n d"),
            ("\x1b[1;31mone\x1b[0m two three\n", 8, 2, "\x1b[1;31mone\x1b[0m two\n  three\n"),
            ("", 5, 2, ""),
        ] {
            assert_eq!(at_width(text, width, indent), expected);
        }
        let command = format!("keep it: {}\n", whole("mv -n '/a b' '/c d'"));
        assert_eq!(at_width(&command, 12, 2), "keep it:\n  mv -n '/a b' '/c d'\n");
        assert_eq!(fitted(&command, Screen::default(), 2), "keep it: mv -n '/a b' '/c d'\n");
        let whole = "one two three\n".repeat(20).into_bytes();
        assert_eq!(words(&whole, Screen::default(), 2), whole);
        assert_eq!(
            words(b"\xff one two", Screen { colour: false, width: Some(4) }, 2),
            b"\xff one two"
        );
    }
}
