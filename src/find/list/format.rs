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
    FclonesText,
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

/// A name that no [`Format`] and no program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known form of list; known are {}", known())]
pub struct UnknownFormat;

fn known() -> String {
    let programs = PROGRAMS.iter().map(|(name, _)| *name);
    let names: Vec<&str> = programs.chain(Format::ALL.iter().map(|form| form.name())).collect();
    names.join(", ")
}

/// The programs that write several forms.
const PROGRAMS: [(&str, &[Format]); 2] = [
    ("jdupes", &[Format::JdupesJson, Format::JdupesNull, Format::Fdupes]),
    ("fclones", &[Format::FclonesJson, Format::FclonesText]),
];

/// The forms that a list may have, by the name that a user gave: that of a form, or of a program for all its forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forms(Vec<Format>);

impl Forms {
    /// The form of a list that begins with `start`.
    pub(super) fn choose(&self, start: &[u8]) -> Format {
        let fits = |form: &&Format| match form {
            Format::JdupesJson | Format::FclonesJson => {
                without_bom(start).trim_ascii_start().starts_with(b"{")
            }
            Format::JdupesNull => start.contains(&0),
            _ => true,
        };
        let fitting = || self.0.iter().find(fits).or(self.0.first()).copied();
        let detected = detect(start).filter(|form| self.0.contains(form));
        detected.or_else(fitting).unwrap_or(Format::Fdupes)
    }
}

impl From<Format> for Forms {
    fn from(form: Format) -> Self {
        Self(vec![form])
    }
}

impl FromStr for Forms {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match PROGRAMS.iter().find(|(program, _)| *program == name) {
            Some((_, forms)) => Ok(Self(forms.to_vec())),
            None => name.parse::<Format>().map(Self::from),
        }
    }
}

impl Format {
    /// Every form, in the order help lists them.
    pub const ALL: [Self; 10] = [
        Self::JdupesJson,
        Self::JdupesNull,
        Self::Fdupes,
        Self::FclonesJson,
        Self::FclonesText,
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
            Self::FclonesText => "fclones-text",
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
        Some(Format::FclonesText)
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

/// Lists that no form can be read from before they are unpacked or converted, with what does that.
pub(super) fn packed(start: &[u8]) -> Option<InputError> {
    const PACKED: [(&str, &[u8], &str); 4] = [
        ("gzip", b"\x1f\x8b", "zcat"),
        ("zstd", b"\x28\xb5\x2f\xfd", "zstdcat"),
        ("xz", b"\xfd7zXZ\0", "xzcat"),
        ("bzip2", b"BZh", "bzcat"),
    ];
    if let Some((format, _, cat)) = PACKED.iter().find(|(_, begin, _)| start.starts_with(begin)) {
        let problem =
            format!("the list is compressed; read it with {cat} LIST | mergerfs.xdedup -m -");
        return Some(InputError::Unusable { format, problem });
    }
    let marked = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    // Without a mark: every second byte of the first characters is 0, and no other byte.
    let half = |from: usize| start.iter().skip(from).step_by(2).take(8);
    let alternate =
        |zeros, others| half(zeros).all(|byte| *byte == 0) && half(others).all(|byte| *byte != 0);
    let unmarked = start.len() >= 16 && (alternate(0, 1) || alternate(1, 0));
    (marked || unmarked).then(|| InputError::Unusable {
        format: "UTF-16",
        problem: "the list is not UTF-8; convert it with iconv -f UTF-16 -t UTF-8, or let the program write it to a file itself"
            .to_owned(),
    })
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
