//! The known forms of lists, their names, and how a form is recognised.

use std::fmt;
use std::str::FromStr;

use super::{BYTE_ORDER_MARK, InputError, fdupes, hardlink};

/// A form of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `jdupes --json`.
    JdupesJson,
    /// `jdupes -0`.
    JdupesNull,
    /// The text of fdupes and jdupes.
    Fdupes,
    /// `fclones group -f json`.
    FclonesJson,
    /// `fclones group`.
    Fclones,
    /// `rmlint -o json`.
    Rmlint,
    /// `czkawka_cli dup -p` or `-C`.
    Czkawka,
    /// `dupe-krill --json`.
    DupeKrill,
    /// rdfind's `results.txt`.
    Rdfind,
    /// `hardlink -l`, also with `-z`.
    Hardlink,
}

/// A name that no [`Format`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known form of list")]
pub struct UnknownFormat;

impl Format {
    /// Every form, in the order help lists them.
    pub const ALL: [Self; 10] = [
        Self::JdupesJson,
        Self::JdupesNull,
        Self::Fdupes,
        Self::FclonesJson,
        Self::Fclones,
        Self::Rmlint,
        Self::Czkawka,
        Self::DupeKrill,
        Self::Rdfind,
        Self::Hardlink,
    ];

    /// The name by which a user forces the form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JdupesJson => "jdupes-json",
            Self::JdupesNull => "jdupes-null",
            Self::Fdupes => "fdupes",
            Self::FclonesJson => "fclones-json",
            Self::Fclones => "fclones",
            Self::Rmlint => "rmlint",
            Self::Czkawka => "czkawka",
            Self::DupeKrill => "dupe-krill",
            Self::Rdfind => "rdfind",
            Self::Hardlink => "hardlink",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The form of a list that begins with `start`; some kilobytes are enough.
#[must_use]
pub fn detect(start: &[u8]) -> Option<Format> {
    let text = without_bom(start);
    match text.trim_ascii_start().first() {
        Some(b'{') => detect_object(text.trim_ascii_start()),
        Some(b'[') => detect_array(text.trim_ascii_start()),
        _ => detect_lines(start, text),
    }
}

/// Quotes inside JSON strings are escaped, so a path cannot look like a key.
fn detect_object(text: &[u8]) -> Option<Format> {
    let first_key = text[1..].trim_ascii_start();
    let sized =
        first_key.strip_prefix(b"\"").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit);
    if contains(text, b"\"jdupesVersion\"") {
        Some(Format::JdupesJson)
    } else if contains(text, b"\"header\"") && contains(text, b"\"base_dir\"") {
        Some(Format::FclonesJson)
    } else if contains(text, b"\"duplicate-kriller") {
        Some(Format::DupeKrill)
    } else if sized || first_key.starts_with(b"}") {
        Some(Format::Czkawka)
    } else {
        None
    }
}

fn detect_array(text: &[u8]) -> Option<Format> {
    if contains(text, b"\"rmlint json-dump") || contains(text, b"\"duplicate_file\"") {
        Some(Format::Rmlint)
    } else if text[1..].trim_ascii_start().starts_with(b"[") && contains(text, b"\"modified_date\"")
    {
        // A mode that compares no contents: recognised so that it is refused with the reason.
        Some(Format::Czkawka)
    } else {
        None
    }
}

fn detect_lines(start: &[u8], text: &[u8]) -> Option<Format> {
    if text.starts_with(b"# Report by fclones") {
        Some(Format::Fclones)
    } else if text.starts_with(b"# Automatically generated\n# duptype ") {
        Some(Format::Rdfind)
    } else if hardlink::looks_like(start) {
        Some(Format::Hardlink)
    } else if let Some(end) = start.iter().position(|byte| *byte == 0) {
        // Every path jdupes writes begins with a directory it was given; a binary file of another kind rarely has a
        // slash before its first NUL.
        start[..end].contains(&b'/').then_some(Format::JdupesNull)
    } else {
        fdupes::looks_like(text).then_some(Format::Fdupes)
    }
}

/// Forms that are known but cannot be used, with what the user can do instead.
pub(super) fn known_unusable(start: &[u8]) -> Option<InputError> {
    const FORMS: [(&str, &[u8], &str); 5] = [
        ("fclones", b"size,hash,count,files", "CSV is not read; write the list with -f json"),
        (
            "rmlint",
            b"#!/bin/sh\n# PROGNAME",
            "a script is not read; write the list with -o json:FILE",
        ),
        ("czkawka", b"Results of searching", "text is not read; write the list with -p FILE"),
        ("jdupes", b"jdupes hashdb:", "a hash database is not a list; write one with -r0"),
        ("jdupes", b"No duplicates found", "this is a message, not a list: nothing was found"),
    ];
    let text = without_bom(start);
    let found = FORMS.iter().find(|(_, begin, _)| text.starts_with(begin));
    let (format, problem) = match found {
        Some((format, _, problem)) => (*format, *problem),
        None if fdupes::is_sameline(text) => {
            ("fdupes", "sets on one line are not read; leave out -1")
        }
        None => return None,
    };
    Some(InputError::Unusable { format, problem: problem.to_owned() })
}

fn without_bom(start: &[u8]) -> &[u8] {
    start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
#[path = "tests/format.rs"]
mod tests;
