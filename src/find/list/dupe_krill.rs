//! `dupe-krill --json`: groups of inodes, each with its names.

use super::json::Json;
use super::keyed::Keyed;
use super::source::Collector;
use super::{ClaimedGroup, InputError};

#[derive(Default)]
pub(super) struct DupeKrill;

impl Keyed for DupeKrill {
    const KEY: &'static str = "dupes";

    /// All names of all inodes become one claim: the names of one inode are equal too, and the pool knows better than a
    /// list which names an inode has.
    fn group(json: &mut Json) -> Result<ClaimedGroup, InputError> {
        let mut group = Collector::default();
        json.begin_array()?;
        while json.next_element()? {
            json.begin_array()?;
            while json.next_element()? {
                let path = json.string()?;
                group.push(path, &json.source)?;
            }
        }
        Ok(group.finish())
    }
}

#[cfg(test)]
#[path = "tests/dupe_krill.rs"]
mod tests;
