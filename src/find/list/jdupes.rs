//! jdupes: `--json` of every version since 1.13, and `-0` lists.
//!
//! The JSON is not exact: jdupes writes names that are not UTF-8 as other names or as garbage. This reader therefore
//! returns claims, like every other reader. `-0` is exact.

use super::json::Json;
use super::json_string::Dialect;
use super::keyed::{Keyed, sized_group};
use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError, size_line};

/// `jdupes --json`.
#[derive(Default)]
pub(super) struct Jdupes;

impl Keyed for Jdupes {
    const KEY: &'static str = "matchSets";

    fn header(&mut self, key: &[u8], json: &mut Json) -> Result<(), InputError> {
        if key == b"jdupesVersion" {
            json.dialect = dialect_of(&json.string()?);
            return Ok(());
        }
        json.skip_value()
    }

    fn group(json: &mut Json) -> Result<ClaimedGroup, InputError> {
        let missing = "a match set without \"fileList\"";
        sized_group(json, [b"fileSize", b"fileList"], missing, file)
    }
}

fn file(json: &mut Json) -> Result<Vec<u8>, InputError> {
    let mut path = None;
    json.begin_object()?;
    while let Some(key) = json.next_key()? {
        if key == b"filePath" {
            path = Some(json.string()?);
        } else {
            json.skip_value()?;
        }
    }
    path.ok_or_else(|| json.source.malformed("a file without \"filePath\""))
}

/// The faults of the version that wrote the list: 1.13 and 1.13.1 could not write escapes above U+007F; 1.13.3 to
/// 1.19.1 wrote U+0080 to U+00FF as one raw byte.
fn dialect_of(version: &[u8]) -> Dialect {
    let mut parts = version.split(|byte| *byte == b'.').map(|part| {
        let digits = part.iter().take_while(|byte| byte.is_ascii_digit());
        digits
            .fold(0_u32, |sum, byte| sum.saturating_mul(10).saturating_add(u32::from(byte - b'0')))
    });
    let mut part = || parts.next().unwrap_or(0);
    let version = (part(), part(), part());
    Dialect {
        broken_escapes: ((1, 13, 0)..(1, 13, 2)).contains(&version),
        latin1: ((1, 13, 3)..(1, 19, 2)).contains(&version),
    }
}

/// `jdupes -0`: every path ends in a NUL, and every set ends in a second NUL (the last set may lack the second NUL).
pub(super) struct NullList {
    source: Source,
}

impl NullList {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }
}

impl Form for NullList {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        let mut group = Collector::default();
        while let Some(record) = self.source.record(0)? {
            if record.is_empty() && group.is_empty() {
                // Blocks that were never written are read as NULs.
                return Err(self.source.malformed("an empty set; the list is damaged"));
            }
            if record.is_empty() {
                return Ok(Some(group.finish()));
            }
            let (size, path) = if group.is_empty() { split_size(record) } else { (None, record) };
            if let Some(size) = size {
                group.set_size(size);
            }
            group.push(path, &self.source)?;
        }
        Ok((!group.is_empty()).then(|| group.finish()))
    }
}

/// With `-S` the size stands before the first path of a set, on a line of its own.
fn split_size(mut record: Vec<u8>) -> (Option<u64>, Vec<u8>) {
    let end = record.iter().position(|byte| *byte == b'\n');
    let size = end.and_then(|end| size_line(&record[..end]));
    if let (Some(end), Some(_)) = (end, size) {
        record.drain(..=end);
    }
    (size, record)
}

#[cfg(test)]
#[path = "tests/jdupes.rs"]
mod tests;
