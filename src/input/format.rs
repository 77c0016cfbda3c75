//! The forms of list there are, their names, and how to tell them apart.

use std::fmt;
use std::str::FromStr;

/// A form of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `jdupes --json`.
    JdupesJson,
    /// `jdupes -0`.
    JdupesNull,
}

/// A name that is no [`Format`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known form of list")]
pub struct UnknownFormat;

impl Format {
    /// Every form, in the order help lists them.
    pub const ALL: [Self; 2] = [Self::JdupesJson, Self::JdupesNull];

    /// The name it is forced by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JdupesJson => "jdupes-json",
            Self::JdupesNull => "jdupes-null",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or(UnknownFormat)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The form of a list that begins with `start`.
#[must_use]
pub fn detect(start: &[u8]) -> Option<Format> {
    let text = start
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(start)
        .trim_ascii_start();
    if text.first() == Some(&b'{') && contains(text, b"\"jdupesVersion\"") {
        return Some(Format::JdupesJson);
    }
    // No text form has a NUL; the first path of a list is far shorter than what is looked at.
    start.contains(&0).then_some(Format::JdupesNull)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
