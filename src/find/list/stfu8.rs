//! STFU-8, the escapes fclones writes in every one of its formats: a backslash is doubled, control characters and
//! bytes that are not UTF-8 are escaped. Without decoding, a path with such a byte is another path.

use super::json_string::encode;

/// Decodes `text`; returns `None` if `text` is not STFU-8.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        rest = escape(&rest[at + 1..], &mut out)?;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// Decodes the escape after a backslash, and returns the text after the escape.
fn escape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = text.split_first()?;
    match kind {
        b'\\' => out.push(b'\\'),
        b't' => out.push(b'\t'),
        b'n' => out.push(b'\n'),
        b'r' => out.push(b'\r'),
        b'x' => {
            let (byte, rest) = hex(rest, 2)?;
            out.push(byte as u8);
            return Some(rest);
        }
        b'u' => {
            let (code, rest) = hex(rest, 6)?;
            if code > u32::from(char::MAX) {
                return None;
            }
            encode(code, out);
            return Some(rest);
        }
        _ => return None,
    }
    Some(rest)
}

fn hex(text: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let value = digits.iter().try_fold(0, |value, byte| {
        char::from(*byte).to_digit(16).map(|digit| value << 4 | digit)
    })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_bytes() {
        for (text, bytes) in [
            (&b"plain \xc3\xa9"[..], Some(&b"plain \xc3\xa9"[..])),
            (br"caf\xE9.bin", Some(b"caf\xe9.bin")),
            (br"a\\xE9", Some(br"a\xE9")),
            (br"\t\n\r\x1B\x7f\\", Some(b"\t\n\r\x1b\x7f\\")),
            (br"\u01F600\u00D800", Some(b"\xf0\x9f\x98\x80\xed\xa0\x80")),
            (br"\u110000", None),
            (br"\", None),
            (br"\x", None),
            (br"\xE", None),
            (br"\xG0", None),
            (br"\u00e9", None),
            (br"\0", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes, "{}", text.escape_ascii());
        }
    }
}
