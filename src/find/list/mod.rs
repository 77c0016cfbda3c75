//! Lists of duplicates made by other programs, read as streams of claims.
//!
//! A claim is bytes somebody wrote: nothing here looks at a disk, and nothing later believes it
//! (`resolve` asks the pool, the executor compares bytes). A list is read in bounded memory, a group at a time;
//! that it is damaged or cut off may show only at its end, so it is read to the end before anything is changed.

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};

pub use format::{Format, UnknownFormat, detect};

mod czkawka;
mod dupe_krill;
mod entries;
mod fclones;
mod fdupes;
mod format;
mod hardlink;
mod jdupes;
mod json;
mod json_string;
mod rdfind;
mod rmlint;
mod source;
mod stfu8;

use source::Source;

/// How much of a list is looked at to tell its form.
const DETECT_BYTES: u64 = 16 << 10;

/// Paths a list may claim: each is kept until all are known, and one that goes on for ever must end somewhere.
const PATHS_MAX: u64 = 20_000_000;

/// UTF-8's.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Some paths a list claims to have equal content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedGroup {
    /// The size in bytes the list gives, where it gives one.
    pub size: Option<u64>,
    /// The paths as bytes, as the list writes them (relative ones relative to the list's base).
    pub paths: Vec<Vec<u8>>,
}

/// Why a list cannot be used; nothing is changed then (exit 2).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The list cannot be read.
    #[error("cannot read the list")]
    Io(#[from] io::Error),
    /// It is damaged or of another form.
    #[error("{format}: {problem} (at byte {offset})")]
    Malformed {
        /// The form it was read as.
        format: &'static str,
        /// What is wrong.
        problem: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// It is of a form that cannot prove equal contents.
    #[error("{format}: {problem}")]
    Unusable {
        /// The form it was read as.
        format: &'static str,
        /// Why it cannot be used, and what to do.
        problem: String,
    },
    /// It does not end, or not soon enough.
    #[error("the list has more than {limit} paths: if it has an end at all, make several of it")]
    Endless {
        /// The most paths a list may have.
        limit: u64,
    },
    /// No known form.
    #[error("not a list of duplicates in a known form; name the form with --manifest-format")]
    Unknown,
    /// Nothing at all, and no form was named in which that is a list without groups.
    #[error("the list is empty: did the program that should write it fail?")]
    Empty,
}

/// A form of list: what [`Reader`] drives.
trait Form {
    /// The next group; `None` at a sound end.
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError>;

    /// Where the list says its relative paths begin.
    fn base_dir(&self) -> Option<&[u8]> {
        None
    }

    /// How many entries the list itself marks as broken.
    fn skipped(&self) -> u64 {
        0
    }
}

/// A list being read: an iterator over its groups, finished after the first error.
pub struct Reader {
    format: Format,
    form: Box<dyn Form>,
    finished: bool,
    /// Paths that may still come.
    paths_left: u64,
}

/// Begins to read a list, in the form its first bytes show or in the one named.
///
/// # Errors
/// When it cannot be read, or is of no known form, or is empty and no form was named.
pub fn open(mut source: Box<dyn BufRead>, forced: Option<Format>) -> Result<Reader, InputError> {
    let mut start = Vec::new();
    source.by_ref().take(DETECT_BYTES).read_to_end(&mut start)?;
    let format = match forced.or_else(|| detect(&start)) {
        Some(format) => format,
        None if start.is_empty() => return Err(InputError::Empty),
        None => return Err(format::known_unusable(&start).unwrap_or(InputError::Unknown)),
    };
    let nul_lines = start.contains(&0);
    // Editors and shells of other systems add the mark; in a list that ends in NULs it would be part of a name.
    let marked = start.starts_with(BYTE_ORDER_MARK) && !nul_lines;
    let mut source = Source::new(Box::new(Cursor::new(start).chain(source)), format.name());
    if marked {
        source.consume(BYTE_ORDER_MARK.len());
    }
    let form: Box<dyn Form> = match format {
        Format::JdupesJson => Box::new(jdupes::JsonList::new(source)),
        Format::JdupesNull => Box::new(jdupes::NullList::new(source)),
        Format::Fdupes => Box::new(fdupes::List::new(source)),
        Format::FclonesJson => Box::new(fclones::JsonList::new(source)),
        Format::Fclones => Box::new(fclones::TextList::new(source)),
        Format::Rmlint => Box::new(rmlint::List::new(source)),
        Format::Czkawka => Box::new(czkawka::List::new(source)),
        Format::DupeKrill => Box::new(dupe_krill::List::new(source)),
        Format::Rdfind => Box::new(entries::List::new(source, rdfind::GRAMMAR)),
        Format::Hardlink if nul_lines => {
            Box::new(entries::List::new(source, hardlink::NUL_GRAMMAR))
        }
        Format::Hardlink => Box::new(entries::List::new(source, hardlink::GRAMMAR)),
    };
    Ok(Reader {
        format,
        form,
        finished: false,
        paths_left: PATHS_MAX,
    })
}

impl Reader {
    /// The form it is read as.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The directory the list says its relative paths begin at; known once the first group was asked for.
    #[must_use]
    pub fn base_dir(&self) -> Option<&[u8]> {
        self.form.base_dir()
    }

    fn counted(&mut self, group: Option<ClaimedGroup>) -> Result<Option<ClaimedGroup>, InputError> {
        let paths = group.as_ref().map_or(0, |group| group.paths.len() as u64);
        let left = self.paths_left.checked_sub(paths);
        self.paths_left = left.ok_or(InputError::Endless { limit: PATHS_MAX })?;
        Ok(group)
    }

    /// How many entries so far the list itself marks as broken: part of the input could not be used.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.form.skipped()
    }
}

impl Iterator for Reader {
    type Item = Result<ClaimedGroup, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.form.next_group().and_then(|group| self.counted(group));
        let next = next.transpose();
        self.finished = !matches!(next, Some(Ok(_)));
        next
    }
}

impl std::iter::FusedIterator for Reader {}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            format, finished, ..
        } = self;
        f.debug_struct("Reader")
            .field("format", format)
            .field("finished", finished)
            .finish()
    }
}

/// The size in the line some programs write before a set: `9000 bytes each:`, `1 byte  each:`.
fn size_line(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let size = words.next()?.parse().ok()?;
    let sound = matches!(words.next()?, "byte" | "bytes") && words.next()? == "each:";
    (sound && words.next().is_none()).then_some(size)
}

#[cfg(test)]
mod tests;
