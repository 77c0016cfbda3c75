//! The text of fdupes and jdupes: a path a line, an empty line between sets, with `-S` a line with the size before a
//! set, with `-t` (fdupes) a time before each path.
//!
//! Nothing is escaped: a name with a line feed is two lines, neither of which names a file.

use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError, size_line};

pub(super) struct List {
    source: Source,
    /// Whether paths have times, as the first path shows.
    timed: Option<bool>,
}

impl List {
    pub(super) fn new(source: Source) -> Self {
        Self { source, timed: None }
    }

    fn path(&mut self, line: Vec<u8>) -> Result<Vec<u8>, InputError> {
        if *self.timed.get_or_insert(after_time(&line).is_some()) {
            // A line without a time is the rest of a name with a line feed.
            return Ok(after_time(&line).map_or_else(|| line.clone(), <[u8]>::to_vec));
        }
        Ok(line)
    }
}

impl Form for List {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        let mut group = Collector::default();
        while let Some(line) = self.source.record(b'\n')? {
            if line == b"\r" {
                return Err(self.source.malformed("lines end in CR LF; end them in LF"));
            }
            if line.is_empty() {
                if group.is_empty() {
                    continue;
                }
                return Ok(Some(group.finish()));
            }
            if group.is_empty() && is_summary(&line) {
                continue;
            }
            match size_line(&line).filter(|_| group.is_empty()) {
                Some(size) => group.set_size(size),
                None => {
                    let path = self.path(line)?;
                    group.push(path, &self.source)?;
                }
            }
        }
        Ok((!group.is_empty()).then(|| group.finish()))
    }
}

/// Returns the rest of a line after `2026-11-22 23:16 `.
fn after_time(line: &[u8]) -> Option<&[u8]> {
    const SHAPE: &[u8] = b"dddd-dd-dd dd:dd ";
    let (time, path) = line.split_at_checked(SHAPE.len())?;
    let fits = |(byte, shape): (&u8, &u8)| {
        if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape }
    };
    (!path.is_empty() && time.iter().zip(SHAPE).all(fits)).then_some(path)
}

/// The line `jdupes -M` ends its list with.
fn is_summary(line: &[u8]) -> bool {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && line[digits..].starts_with(b" duplicate file") && !line.contains(&b'/')
}

/// Whether text begins like a list: its first set is paths, each with the directory it was found in.
pub(super) fn looks_like(text: &[u8]) -> bool {
    let set = first_set(text);
    set.len() >= 2 && set.iter().all(|line| is_path(line)) && !is_sameline(text)
}

/// Whether text begins like `fdupes -1`: sets a line, each path followed by a space.
pub(super) fn is_sameline(text: &[u8]) -> bool {
    let lines: Vec<_> = first_set(text).into_iter().take(3).collect();
    let is_set = |line: &[u8]| {
        is_path(line) && line.strip_suffix(b" ").is_some_and(|paths| paths.contains(&b' '))
    };
    !lines.is_empty() && lines.into_iter().all(is_set)
}

fn is_path(line: &[u8]) -> bool {
    line.contains(&b'/') && !line.starts_with(b"#")
}

/// The whole lines up to the first empty one, without a size.
fn first_set(text: &[u8]) -> Vec<&[u8]> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at);
    let lines = text[..whole].split(|byte| *byte == b'\n').skip_while(|line| line.is_empty());
    let lines = lines.enumerate().filter(|(at, line)| *at > 0 || size_line(line).is_none());
    lines.map(|(_, line)| line).take_while(|line| !line.is_empty()).collect()
}

#[cfg(test)]
#[path = "tests/fdupes.rs"]
mod tests;
