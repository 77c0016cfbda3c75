//! Formats names and sizes for a person.

/// How many files are named without `-v`.
pub const ITEMS: usize = 15;

/// `bytes` on one line, with nothing in it that a terminal obeys or a reader is deceived by: control characters,
/// marks that turn the direction of text, invisible ones, and bytes that are no UTF-8 are spelled out.
#[must_use]
pub fn sanitised(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if deceives(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `bytes` as one word of a shell, safe to look at and ready to paste: bytes that a terminal obeys are written as
/// `$'...'` escapes, which bash, zsh, ksh and busybox read.
#[must_use]
pub fn shell_word(bytes: &[u8]) -> String {
    let plain = std::str::from_utf8(bytes).ok();
    if let Some(text) = plain.filter(|text| !text.chars().any(deceives)) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => word.extend(['\\', c]),
                c if deceives(c) => {
                    let mut utf8 = [0; 4];
                    octal(&mut word, c.encode_utf8(&mut utf8).as_bytes());
                }
                c => word.push(c),
            }
        }
        octal(&mut word, chunk.invalid());
    }
    word.push('\'');
    word
}

/// `word` as a word of a shell line; not quoted if no shell takes it apart.
#[must_use]
pub(super) fn shell_plain(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(byte);
    match word.is_empty() || !word.iter().all(plain) {
        true => shell_word(word),
        false => String::from_utf8_lossy(word).into_owned(),
    }
}

fn octal(word: &mut String, bytes: &[u8]) {
    for byte in bytes {
        word.push_str(&format!("\\{byte:03o}"));
    }
}

/// How long ago something was, in the unit that suits it.
#[must_use]
pub fn ago(now: i64, then: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute")];
    let seconds = now.saturating_sub(then);
    if seconds < 0 {
        return "in the future".to_owned();
    }
    let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit);
    unit.map_or("just now".to_owned(), |(unit, word)| {
        format!("{} ago", number((seconds / unit).unsigned_abs(), word))
    })
}

/// How many of something: "1 file", "2 files", "2 directories", "2 branches".
#[must_use]
pub fn number(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    match what.strip_suffix("ry") {
        _ if count == 1 => format!("{count} {what}"),
        Some(stem) => format!("{count} {stem}ries"),
        None if what.ends_with("ch") => format!("{count} {what}es"),
        None => format!("{count} {what}s"),
    }
}

/// A size in the unit that suits it.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut shift = 10;
    // Up before it would be written as 1024.0.
    while unit + 1 < UNITS.len() && tenths(bytes, shift) >= 10_240 {
        unit += 1;
        shift += 10;
    }
    let tenths = tenths(bytes, shift);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `bytes` in tenths of `1 << shift`, rounded.
fn tenths(bytes: u64, shift: u32) -> u64 {
    let tenths = (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift;
    u64::try_from(tenths).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_take_over_a_terminal() {
        for (name, seen) in [
            (&b"plain \xc3\xa9 'q'"[..], "plain \u{e9} 'q'"),
            (b"new\nline\ttab", "new\\nline\\ttab"),
            (b"\x1b[2J\x7f\xc2\x9b", "\\u{1b}[2J\\u{7f}\\u{9b}"),
            ("gpj.\u{202e}exe".as_bytes(), "gpj.\\u{202e}exe"),
            (b"a\xff\xfe\x80b", "a\\xff\\xfe\\x80b"),
            (b"", ""),
        ] {
            assert_eq!(sanitised(name), seen);
        }
    }

    #[test]
    fn a_shell_reads_a_word_as_it_was() {
        for (name, word) in [
            (&b"/d/it's a b"[..], r"'/d/it'\''s a b'"),
            (b"$(rm) `x` \\", r"'$(rm) `x` \'"),
            (b"new\nline'\x1b\\", r"$'new\012line\'\033\\'"),
            (b"a\xff7", r"$'a\3777'"),
            ("\u{202e}x".as_bytes(), r"$'\342\200\256x'"),
        ] {
            assert_eq!(shell_word(name), word);
            let script = format!("printf %s {word}");
            let shell = std::process::Command::new("bash").args(["-c", &script]).output();
            assert_eq!(shell.unwrap().stdout, name, "{word}");
        }
    }

    #[test]
    fn ages_have_the_unit_that_suits_them() {
        for (seconds, text) in [
            (-5, "in the future"),
            (59, "just now"),
            (60, "1 minute ago"),
            (7_300, "2 hours ago"),
            (86_400, "1 day ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(ago(1_000_000_000, 1_000_000_000 - seconds), text);
        }
    }

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
