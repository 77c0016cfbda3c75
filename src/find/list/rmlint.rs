//! `rmlint -o json`: an array of a header, the files one after another, and a footer.
//!
//! Names are raw bytes in the list, so the list is JSON only if all names are UTF-8. Groups are implicit: neighbours
//! with the same checksum and size. rmlint did not read a file *without* a checksum (all names of one inode): the list
//! does not claim that two such files are equal.

use super::json::Json;
use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError};

/// The text that rmlint writes for a path that is too long for its buffer.
const BROKEN_PATH: &[u8] = b"<BROKEN PATH>";

pub(super) struct List {
    json: Json,
    state: State,
    cwd: Option<Vec<u8>>,
    /// Checksums are numbers of groups, and only distinguish neighbours.
    paranoid: bool,
    current: Option<(Key, Collector)>,
    skipped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Items,
    Footer,
    Done,
}

#[derive(PartialEq, Eq)]
struct Key {
    checksum: Vec<u8>,
    size: u64,
}

/// One element of the array, with the keys that matter.
#[derive(Default)]
struct Item {
    kind: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    checksum: Option<Vec<u8>>,
    size: Option<u64>,
    is_original: bool,
    cwd: Option<Vec<u8>>,
    checksum_type: Option<Vec<u8>>,
    aborted: Option<bool>,
}

impl List {
    pub(super) fn new(source: Source) -> Self {
        let (cwd, current) = (None, None);
        let (state, paranoid, skipped) = (State::Start, false, 0);
        Self { json: Json::new(source), state, cwd, paranoid, current, skipped }
    }

    fn item(&mut self) -> Result<Item, InputError> {
        let mut item = Item::default();
        self.json.begin_object()?;
        while let Some(key) = self.json.next_key()? {
            match key.as_slice() {
                b"type" => item.kind = Some(self.json.string()?),
                b"path" => item.path = Some(self.json.string()?),
                b"checksum" => item.checksum = Some(self.json.string()?),
                b"size" => item.size = Some(self.json.whole_number()?),
                b"is_original" => item.is_original = self.json.boolean()?,
                b"cwd" => item.cwd = Some(self.json.string()?),
                b"checksum_type" => item.checksum_type = Some(self.json.string()?),
                b"aborted" => item.aborted = Some(self.json.boolean()?),
                _ => self.json.skip_value()?,
            }
        }
        Ok(item)
    }

    /// Adds one element; returns the group that the element ends.
    fn take_in(&mut self, item: Item) -> Result<Option<ClaimedGroup>, InputError> {
        if self.state == State::Footer {
            return Err(self.json.source.malformed("something follows the footer"));
        }
        if let Some(aborted) = item.aborted {
            if aborted {
                return Err(self
                    .json
                    .source
                    .unusable("the run was aborted: the list is not whole"));
            }
            self.state = State::Footer;
            return Ok(self.end_group());
        }
        if item.kind.is_none() {
            self.cwd = self.cwd.take().or(item.cwd);
            self.paranoid |= item.checksum_type.as_deref() == Some(b"paranoid");
            return Ok(None);
        }
        if item.kind.as_deref() != Some(b"duplicate_file") {
            return Ok(self.end_group());
        }
        self.file(item)
    }

    fn file(&mut self, item: Item) -> Result<Option<ClaimedGroup>, InputError> {
        let (Some(path), Some(size)) = (item.path, item.size) else {
            return Err(self.json.source.malformed("a duplicate without \"path\" or \"size\""));
        };
        let Some(checksum) = item.checksum.filter(|checksum| !checksum.is_empty()) else {
            return Ok(self.end_group());
        };
        let key = Key { checksum, size };
        let same = self.current.as_ref().is_some_and(|(current, _)| *current == key);
        let finished =
            if same && !(self.paranoid && item.is_original) { None } else { self.end_group() };
        let (_, group) = self.current.get_or_insert_with(|| (key, Collector::default()));
        group.set_size(size);
        if path == BROKEN_PATH {
            self.skipped += 1;
        } else {
            group.push(path, &self.json.source)?;
        }
        Ok(finished)
    }

    fn end_group(&mut self) -> Option<ClaimedGroup> {
        self.current.take().map(|(_, group)| group.finish())
    }

    fn end(&mut self) -> Result<(), InputError> {
        if self.state != State::Footer {
            return Err(self.json.source.malformed("has no footer; the run did not end"));
        }
        self.state = State::Done;
        self.json.finish()
    }
}

impl Form for List {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        if self.state == State::Start {
            self.json.begin_array()?;
            self.state = State::Items;
        }
        while self.state != State::Done {
            if !self.json.next_element()? {
                self.end()?;
                break;
            }
            let item = self.item()?;
            if let Some(group) = self.take_in(item)? {
                return Ok(Some(group));
            }
        }
        Ok(None)
    }

    fn base_dir(&self) -> Option<&[u8]> {
        self.cwd.as_deref()
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
#[path = "tests/rmlint.rs"]
mod tests;
