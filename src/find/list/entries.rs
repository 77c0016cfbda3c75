//! Reads lists with one line per file, where the line contains the group of the file (rdfind, hardlink).
//!
//! Names are not escaped in these lists: a line that is no entry is the rest of a name with a line feed.

use super::source::{Collector, Source, TEXT_MAX_BYTES};
use super::{ClaimedGroup, Form, InputError};

/// The contents of a line.
pub(super) struct ListEntry {
    /// The group of the file.
    pub(super) group: u64,
    pub(super) role: Role,
    pub(super) size: Option<u64>,
    pub(super) path: Vec<u8>,
}

/// How a file relates to the file before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The file begins a group.
    First,
    /// The file belongs to the group of the file before it.
    Follower,
    /// The file begins a group if the number changes.
    Either,
}

/// How to read the lines of a form.
pub(super) struct Grammar {
    /// The byte that ends a line.
    pub(super) line_end: u8,
    /// Parses an entry; returns `None` for any other line.
    pub(super) parse: fn(&[u8]) -> Option<ListEntry>,
    /// The line that ends a whole list, if the form has such a line.
    pub(super) marker: Option<&'static [u8]>,
}

pub(super) struct List {
    source: Source,
    grammar: Grammar,
    /// The entry read last, to which lines may still belong.
    ahead: Option<ListEntry>,
    /// The first entry of the next group.
    first: Option<ListEntry>,
    ended: bool,
}

impl List {
    pub(super) fn new(source: Source, grammar: Grammar) -> Self {
        Self { source, grammar, ahead: None, first: None, ended: false }
    }

    /// Returns the next entry with its whole name.
    fn entry(&mut self) -> Result<Option<ListEntry>, InputError> {
        while !self.ended {
            let Some(line) = self.source.record(self.grammar.line_end)? else {
                if self.grammar.marker.is_some() {
                    return Err(self.source.malformed("has no end marker; it was cut off"));
                }
                self.ended = true;
                break;
            };
            if self.grammar.marker == Some(&line) {
                self.end_at_marker()?;
            } else if let Some(entry) = (self.grammar.parse)(&line) {
                if let Some(whole) = self.ahead.replace(entry) {
                    return Ok(Some(whole));
                }
            } else {
                self.rest_of_name(&line)?;
            }
        }
        Ok(self.ahead.take())
    }

    fn rest_of_name(&mut self, line: &[u8]) -> Result<(), InputError> {
        let Self { ahead, grammar, source, .. } = self;
        match ahead {
            // A name has no NUL, so a list whose lines end in NUL has no such lines.
            Some(entry) if grammar.line_end == b'\n' && entry.path.len() <= TEXT_MAX_BYTES => {
                entry.path.push(b'\n');
                entry.path.extend_from_slice(line);
                Ok(())
            }
            None if grammar.marker.is_some() && line.starts_with(b"#") => Ok(()),
            _ => Err(source.malformed("a line that names no file of a group")),
        }
    }

    fn end_at_marker(&mut self) -> Result<(), InputError> {
        self.ended = true;
        match self.source.peek()? {
            None => Ok(()),
            Some(_) => Err(self.source.malformed("something follows the end marker")),
        }
    }
}

impl Form for List {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        let first = match self.first.take() {
            Some(first) => first,
            None => match self.entry()? {
                Some(first) => first,
                None => return Ok(None),
            },
        };
        if first.role == Role::Follower {
            return Err(self.source.malformed("a duplicate without the first file of its group"));
        }
        let number = first.group;
        let mut group = Collector::default();
        if let Some(size) = first.size {
            group.set_size(size);
        }
        group.push(first.path, &self.source)?;
        while let Some(entry) = self.entry()? {
            if entry.group != number || entry.role == Role::First {
                self.first = Some(entry);
                break;
            }
            group.push(entry.path, &self.source)?;
        }
        Ok(Some(group.finish()))
    }
}
