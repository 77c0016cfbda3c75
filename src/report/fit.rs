//! Breaks lines so that they fit the reader's screen. A pipe gets each line whole.

use super::screen::Screen;
use super::table::width_of;

/// Breaks each line of `text` between words where it is too wide; what follows begins with `indent` blanks. A word that is
/// wider than the screen stays whole.
pub(super) fn words(text: &[u8], screen: Screen, indent: usize) -> Vec<u8> {
    let (Some(width), Ok(text)) = (screen.width, std::str::from_utf8(text)) else {
        return text.to_vec();
    };
    let mut fitted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (mut used, mut begun) = (0, false);
        for word in line.split_inclusive(' ') {
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
    fitted.into_bytes()
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

    fn fitted(text: &str, width: usize, indent: usize) -> String {
        let screen = Screen { colour: false, width: Some(width) };
        String::from_utf8(words(text.as_bytes(), screen, indent)).unwrap()
    }

    #[test]
    fn lines_break_between_words_and_words_stay_whole() {
        for (text, width, indent, expected) in [
            ("one two three\n", 80, 2, "one two three\n"),
            ("one two three\nfour\n", 8, 2, "one two\n  three\nfour\n"),
            ("one two three", 9, 2, "one two\n  three"),
            ("a /a/long/path b\n", 5, 2, "a\n  /a/long/path\n  b\n"),
            ("    indented words\n", 12, 4, "    indented\n    words\n"),
            ("\x1b[1;31mone\x1b[0m two three\n", 8, 2, "\x1b[1;31mone\x1b[0m two\n  three\n"),
            ("", 5, 2, ""),
        ] {
            assert_eq!(fitted(text, width, indent), expected);
        }
        let whole = "one two three\n".repeat(20).into_bytes();
        assert_eq!(words(&whole, Screen::default(), 2), whole);
        assert_eq!(
            words(b"\xff one two", Screen { colour: false, width: Some(4) }, 2),
            b"\xff one two"
        );
    }
}
