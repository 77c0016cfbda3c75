//! Lists of duplicates made by other programs, read as streams of claims.
//!
//! A claim is bytes that another program wrote. The readers look at no disk, and no later stage trusts a claim:
//! `resolve` asks the pool, and the executor compares bytes. A list is read in bounded memory, one group at a time.
//! Damage or truncation may show only at the end of a list, so the whole list is read before any file is changed.

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};

pub use format::{Format, Forms, UnknownFormat, detect};

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
mod keyed;
mod rdfind;
mod rmlint;
mod source;
mod stfu8;

use source::Source;

/// Bytes that are read from the start of a list to recognise its form.
const DETECT_BYTES: u64 = 16 << 10;

/// The maximum number of paths in a list: all paths are kept until the list ends, and an endless list must be stopped.
const PATHS_MAX: u64 = 20_000_000;

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Paths of files that have equal contents, as the list claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedGroup {
    /// The size in bytes that the list states; `None` if the list states no size.
    pub size: Option<u64>,
    /// The paths as bytes, as the list writes them (relative ones relative to the list's base).
    pub paths: Vec<Vec<u8>>,
}

/// Files that a list names without a claim that they are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Why the list claims nothing.
    pub why: WhyUnread,
    /// The paths, as in [`ClaimedGroup`].
    pub paths: Vec<Vec<u8>>,
}

/// Why a list claims nothing about files that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyUnread {
    /// It names a whole directory, and not the files in it.
    Directory,
    /// The program did not read the files. Mostly they are names of one file.
    NoChecksum,
    /// The program could not write the path.
    BrokenPath,
}

/// Why a list cannot be used. The run then changes nothing (exit 2).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The list cannot be read.
    #[error("cannot read the list")]
    Io(#[from] io::Error),
    /// The list is damaged or has another form.
    #[error("{format}: {problem} (at byte {offset})")]
    Malformed {
        /// The form it was read as.
        format: &'static str,
        /// The problem.
        problem: String,
        /// Where, in bytes from the start.
        offset: u64,
    },
    /// The list has a form that cannot prove equal contents.
    #[error("{format}: {problem}")]
    Unusable {
        /// The form it was read as.
        format: &'static str,
        /// Why it cannot be used, and what to do.
        problem: String,
    },
    /// The list does not end, or ends too late.
    #[error("the list has more than {limit} paths: if it has an end at all, make several of it")]
    Endless {
        /// The most paths a list may have.
        limit: u64,
    },
    /// The list has no known form.
    #[error("not a list of duplicates in a known form; name the form with --manifest-format")]
    Unknown,
}

/// A form of list, which [`ListReader`] drives.
trait Form {
    /// Returns the next group, or `None` at the end of a sound list, after which it is not called again.
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError>;

    /// The directory at which the relative paths of the list begin, according to the list.
    fn base_dir(&self) -> Option<&[u8]> {
        None
    }

    /// Takes what the list has named so far without a claim.
    fn take_unread(&mut self) -> Vec<Unread> {
        Vec::new()
    }
}

/// A list being read: an iterator over its groups, finished after the first error.
pub struct ListReader {
    format: Format,
    form: Box<dyn Form>,
    finished: bool,
    /// Paths that may still come.
    paths_left: u64,
}

/// Begins to read a list, in the form that its first bytes show or in the named form.
///
/// # Errors
/// If the list cannot be read, or has no known form.
pub fn open(source: Box<dyn BufRead>, forced: Option<Format>) -> Result<ListReader, InputError> {
    open_as(source, forced.map(Forms::from).as_ref())
}

/// As [`open`], in the one of the named forms that its first bytes show.
///
/// # Errors
/// As [`open`].
pub fn open_as(
    mut source: Box<dyn BufRead>,
    forced: Option<&Forms>,
) -> Result<ListReader, InputError> {
    let mut start = Vec::new();
    source.by_ref().take(DETECT_BYTES).read_to_end(&mut start)?;
    if let Some(error) = format::packed(&start) {
        return Err(error);
    }
    let forced = forced.map(|forms| forms.choose(&start));
    let format = match forced.or_else(|| detect(&start)) {
        Some(format) => format,
        // Programs that find nothing write nothing. The form is one in which that is a list.
        None if start.is_empty() => Format::JdupesNull,
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
        Format::JdupesJson => Box::new(keyed::List::<jdupes::Jdupes>::new(source)),
        Format::JdupesNull => Box::new(jdupes::NullList::new(source)),
        Format::Fdupes => Box::new(fdupes::List::new(source)),
        Format::FclonesJson => Box::new(keyed::List::<fclones::Fclones>::new(source)),
        Format::FclonesText => Box::new(fclones::TextList::new(source)),
        Format::Rmlint => Box::new(rmlint::List::new(source)),
        Format::Czkawka => Box::new(czkawka::List::new(source)),
        Format::DupeKrill => Box::new(keyed::List::<dupe_krill::DupeKrill>::new(source)),
        Format::Rdfind => Box::new(entries::List::new(source, rdfind::GRAMMAR)),
        Format::Hardlink if nul_lines => {
            Box::new(entries::List::new(source, hardlink::NUL_GRAMMAR))
        }
        Format::Hardlink => Box::new(entries::List::new(source, hardlink::GRAMMAR)),
    };
    Ok(ListReader { format, form, finished: false, paths_left: PATHS_MAX })
}

impl ListReader {
    /// The form it is read as.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The directory at which the relative paths of the list begin, according to the list; known after the first group
    /// was requested.
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

    /// Takes what the list has named so far without a claim: part of the input could not be used.
    #[must_use]
    pub fn take_unread(&mut self) -> Vec<Unread> {
        self.form.take_unread()
    }
}

impl Iterator for ListReader {
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

impl std::iter::FusedIterator for ListReader {}

impl fmt::Debug for ListReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, finished, .. } = self;
        f.debug_struct("ListReader").field("format", format).field("finished", finished).finish()
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
