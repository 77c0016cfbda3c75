//! Decodes the inside of a JSON string to the bytes that the string stands for.
//!
//! A lone surrogate becomes its three bytes (WTF-8), which are the name `\xed\xa0\x80` on disk. One such name must not
//! make the document unreadable. Raw bytes that are not UTF-8 stay as they are.

use super::InputError;
use super::source::{Source, TEXT_MAX_BYTES};

/// The invalid JSON that some versions of a tool write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dialect {
    /// A raw byte from 0x80 up is the code point of that number, unless the run of them is UTF-8.
    pub(super) latin1: bool,
    /// After `\u` there may be characters that are no number, even control characters: the name is lost, but the
    /// document is readable.
    pub(super) broken_escapes: bool,
}

/// Reads up to and past the closing quote; the opening one is consumed.
pub(super) fn read(
    source: &mut Source,
    dialect: Dialect,
    out: &mut Vec<u8>,
) -> Result<(), InputError> {
    let mut decoder = Decoder { dialect, out, run_start: 0, high: None };
    loop {
        let chunk = source.chunk()?;
        let plain = chunk.iter().position(|byte| is_special(*byte)).unwrap_or(chunk.len());
        decoder.plain(&chunk[..plain]);
        source.consume(plain);
        if decoder.out.len() > TEXT_MAX_BYTES {
            return Err(source.malformed("a string is too long for a list of paths"));
        }
        match source.peek()? {
            None => return Err(source.truncated()),
            Some(b'"') => {
                source.consume(1);
                decoder.end_run();
                return Ok(());
            }
            Some(b'\\') => {
                source.consume(1);
                decoder.end_raw();
                escape(source, &mut decoder)?;
            }
            Some(byte) if byte >= 0x20 => {}
            // rmlint leaves this one control character unescaped; any other control character is damage.
            Some(byte) if byte == 0x1f || (dialect.broken_escapes && byte != 0) => {
                source.consume(1);
                decoder.plain(&[byte]);
            }
            Some(_) => return Err(source.malformed("a control character in a string")),
        }
    }
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(source: &mut Source, decoder: &mut Decoder<'_>) -> Result<(), InputError> {
    let plain = match source.next()? {
        None => return Err(source.truncated()),
        Some(byte @ (b'"' | b'\\' | b'/')) => byte,
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return code_unit(source, decoder),
        Some(_) => return Err(source.malformed("an escape JSON does not have")),
    };
    decoder.escaped(&[plain]);
    Ok(())
}

fn code_unit(source: &mut Source, decoder: &mut Decoder<'_>) -> Result<(), InputError> {
    let mut unit = 0_u16;
    let mut seen = Vec::with_capacity(6);
    seen.extend_from_slice(b"\\u");
    for _ in 0..4 {
        let Some(byte) = source.peek()? else {
            return Err(source.truncated());
        };
        let Some(digit) = char::from(byte).to_digit(16) else {
            if decoder.dialect.broken_escapes {
                decoder.escaped(&seen);
                return Ok(());
            }
            return Err(source.malformed("\\u without four hexadecimal digits"));
        };
        source.consume(1);
        seen.push(byte);
        unit = unit << 4 | digit as u16;
    }
    decoder.unit(unit);
    Ok(())
}

struct Decoder<'a> {
    dialect: Dialect,
    out: &'a mut Vec<u8>,
    /// Where in `out` the bytes since the last escape begin.
    run_start: usize,
    /// A high surrogate that waits for its low one.
    high: Option<u16>,
}

impl Decoder<'_> {
    fn plain(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.end_surrogate();
            self.out.extend_from_slice(bytes);
        }
    }

    fn escaped(&mut self, bytes: &[u8]) {
        self.end_surrogate();
        self.out.extend_from_slice(bytes);
        self.run_start = self.out.len();
    }

    fn unit(&mut self, unit: u16) {
        match (self.high.take(), unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                let high = u32::from(high) - 0xd800;
                let low = u32::from(unit) - 0xdc00;
                encode(0x10000 + (high << 10 | low), self.out);
            }
            (before, _) => {
                if let Some(lone) = before {
                    encode(u32::from(lone), self.out);
                }
                if (0xd800..0xdc00).contains(&unit) {
                    self.high = Some(unit);
                } else {
                    encode(u32::from(unit), self.out);
                }
            }
        }
        self.run_start = self.out.len();
    }

    fn end_run(&mut self) {
        self.end_surrogate();
        self.end_raw();
    }

    fn end_surrogate(&mut self) {
        if let Some(lone) = self.high.take() {
            encode(u32::from(lone), self.out);
            self.run_start = self.out.len();
        }
    }

    /// Ends a run of raw bytes: in Latin-1 they are code points, unless they make sense as UTF-8 (the document
    /// was written anew by another program).
    fn end_raw(&mut self) {
        if self.dialect.latin1 && std::str::from_utf8(&self.out[self.run_start..]).is_err() {
            let raw = self.out.split_off(self.run_start);
            for byte in raw {
                encode(u32::from(byte), self.out);
            }
        }
    }
}

/// Appends `code` in the generalised UTF-8 that has surrogates too.
pub(super) fn encode(code: u32, out: &mut Vec<u8>) {
    let tail = |shift: u32| 0x80 | (code >> shift & 0x3f) as u8;
    match char::from_u32(code) {
        Some(c) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        None => out.extend([0xed, tail(6), tail(0)]),
    }
}
