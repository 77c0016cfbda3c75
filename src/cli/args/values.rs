//! The values that options take: the words of each choice, sizes and times.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{EnumValueParser, OsStringValueParser, PossibleValue, TypedValueParser};

use crate::plan::master::Policy;
use crate::plan::metadata::XattrGlob;
use crate::plan::{Link, Shadows};
use crate::report::groups::GroupsForm;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// The plan of a dry run as a shell script.
    Script,
}

/// When text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR or CLICOLOR=0 says not to.
    Auto,
    /// Into pipes and files too.
    Always,
    /// Nowhere.
    Never,
}

/// What may differ between two copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MayDiffer {
    /// All of a kind.
    Kind(MetadataKind),
    /// The extended attributes whose names a glob matches.
    Xattrs(XattrGlob),
}

/// Parses a kind of metadata, or `xattr=GLOB`.
#[derive(Debug, Clone)]
pub(super) struct MayDifferParser;

impl TypedValueParser for MayDifferParser {
    type Value = MayDiffer;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<MayDiffer, clap::Error> {
        if value.as_bytes().starts_with(XATTRS.as_bytes()) {
            return parse_xattrs.parse_ref(command, arg, value);
        }
        let kinds = EnumValueParser::<MetadataKind>::new();
        kinds.parse_ref(command, arg, value).map(MayDiffer::Kind)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let kinds = MetadataKind::value_variants().iter();
        Some(Box::new(kinds.filter_map(ValueEnum::to_possible_value)))
    }
}

/// A kind of metadata that two copies must share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetadataKind {
    /// Owner and group.
    Owner,
    /// Permission bits.
    Mode,
    /// POSIX ACLs.
    Acl,
    /// Extended attributes.
    Xattr,
}

impl ValueEnum for GroupsForm {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Fclones, Self::Jdupes]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Fclones => "fclones",
            Self::Jdupes => "jdupes",
        }))
    }
}

impl ValueEnum for Link {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Hard, Self::Reflink, Self::Auto]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Hard => ("hard", "hard links to the kept copy"),
            Self::Reflink => {
                ("reflink", "files of their own that share the blocks of the kept copy")
            }
            Self::Auto => ("auto", "such files where that is possible, otherwise hard links"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for Shadows {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Keep, Self::Merge]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Keep => ("keep", "skip them"),
            Self::Merge => (
                "merge",
                "remove hidden copies that equal the copy that the pool shows; undo does not bring them back",
            ),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for Policy {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Newest,
            Self::Oldest,
            Self::MostFreeSpace,
            Self::LeastFreeSpace,
            Self::MostLinks,
            Self::Mergerfs,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Newest => ("newest", "the copy changed last"),
            Self::Oldest => ("oldest", "the copy changed first"),
            Self::MostFreeSpace => {
                ("mostfreespace", "the copy on the disk with the most free space")
            }
            Self::LeastFreeSpace => {
                ("leastfreespace", "the copy on the disk with the least free space")
            }
            Self::MostLinks => ("mostlinks", "the copy with the most hard links"),
            Self::Mergerfs => ("mergerfs", "the copy on the first branch"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// What a glob on names of extended attributes begins with.
const XATTRS: &str = "xattr=";

fn parse_xattrs(text: &str) -> Result<MayDiffer, String> {
    XattrGlob::new(text.strip_prefix(XATTRS).unwrap_or(text)).map(MayDiffer::Xattrs)
}

/// The number of a run.
pub(super) fn parse_run(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a run is a number, as history shows it".to_owned())
}

/// A size in bytes with an optional suffix of powers of 1024.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.trim_end_matches("IB").trim_end_matches('B');
    let (digits, factor) = match digits.char_indices().last() {
        Some((at, 'K')) => (&digits[..at], 1u64 << 10),
        Some((at, 'M')) => (&digits[..at], 1 << 20),
        Some((at, 'G')) => (&digits[..at], 1 << 30),
        Some((at, 'T')) => (&digits[..at], 1 << 40),
        _ => (digits, 1),
    };
    let number: u64 =
        digits.parse().map_err(|_| "not a size, such as 4096, 100K or 2G".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}

/// Two directories: `FROM=TO`. The first "=" parts them.
pub(super) fn map_parser() -> impl TypedValueParser<Value = (PathBuf, PathBuf)> {
    OsStringValueParser::new().try_map(|text| {
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
        let at = at.ok_or("not two directories FROM=TO, such as /data=/pool/media")?;
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let (from, to) = (path(&bytes[..at]), path(&bytes[at + 1..]));
        let to = std::path::absolute(to).map_err(|_| "no directory after the =")?;
        if !from.is_absolute() {
            return Err("the directory before the = must begin with /");
        }
        Ok::<_, &str>((from, to))
    })
}

/// A length of time: numbers with the units s, m, h and d; without one, seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time, such as 90s, 30m or 1h30m".to_owned();
    let mut seconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = rest.split_at(digits.unwrap_or(rest.len()));
        let (factor, after) = match unit.chars().next() {
            None if number.len() == text.len() => (1, unit),
            Some('s') => (1, &unit[1..]),
            Some('m') => (60, &unit[1..]),
            Some('h') => (3_600, &unit[1..]),
            Some('d') => (86_400, &unit[1..]),
            None | Some(_) => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(factor).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    match seconds {
        0 => Err(wrong()),
        _ => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_suffixes() {
        let cases = [("0", 0), ("12", 12), ("4k", 4096), ("1MiB", 1 << 20), ("2G", 2 << 30)];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "1.5G", "-1", "99999999T", "1X"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("30m", 1_800), ("1h30m", 5_400), ("2d", 172_800)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "0", "0s", "1x", "m", "-1", "1h30", "1.5h", "999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
