//! `hardlink -l`: a number of at least 16 digits that is the same throughout a group, a tab, a path; with `-z` lines
//! end in NUL.

use super::entries::{Grammar, ListEntry, Role};

pub(super) const GRAMMAR: Grammar = Grammar { line_end: b'\n', parse: entry, marker: None };

pub(super) const NUL_GRAMMAR: Grammar = Grammar { line_end: 0, parse: entry, marker: None };

const NUMBER_MIN_DIGITS: usize = 16;

/// Whether a list begins like this one.
pub(super) fn looks_like(start: &[u8]) -> bool {
    entry(start).is_some()
}

fn entry(line: &[u8]) -> Option<ListEntry> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let path = line[digits..].strip_prefix(b"\t").filter(|path| !path.is_empty())?.to_vec();
    let group = std::str::from_utf8(&line[..digits]).ok()?.parse().ok()?;
    (digits >= NUMBER_MIN_DIGITS).then_some(ListEntry {
        group,
        role: Role::Either,
        size: None,
        path,
    })
}

#[cfg(test)]
#[path = "tests/hardlink.rs"]
mod tests;
