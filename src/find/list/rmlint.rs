//! `rmlint -o json`: an array of a header, the files one after another, and a footer.
//!
//! Names are raw bytes in the list, so the list is JSON only if all names are UTF-8. Groups are implicit: neighbours
//! with the same checksum and size. rmlint did not read a file *without* a checksum (mostly names of one inode): the list
//! does not claim that two such files are equal. Nor does it for the files of a directory that it names as a whole.

use super::json::Json;
use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError, PATHS_MAX, Unread, WhyUnread};

/// The text that rmlint writes for a path that is too long for its buffer.
const BROKEN_PATH: &[u8] = b"<BROKEN PATH>";

pub(super) struct List {
    json: Json,
    state: State,
    cwd: Option<Vec<u8>>,
    /// Checksums are numbers of groups, and only distinguish neighbours.
    paranoid: bool,
    current: Option<(Key, Collector)>,
    unread: Vec<Unread>,
    /// Paths in all `unread` so far.
    unread_paths: u64,
    /// The size of the files without checksum that were read last.
    unhashed: Option<u64>,
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
        let (state, paranoid) = (State::Start, false);
        let (unread, unread_paths, unhashed) = (Vec::new(), 0, None);
        Self {
            json: Json::new(source),
            state,
            cwd,
            paranoid,
            current,
            unread,
            unread_paths,
            unhashed,
        }
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
        match item.kind.as_deref() {
            Some(b"duplicate_file") => self.file(item),
            Some(b"duplicate_dir" | b"part_of_directory") => {
                let path = item.path.unwrap_or_default();
                self.note(WhyUnread::Directory, path)?;
                Ok(self.end_group())
            }
            _ => Ok(self.end_group()),
        }
    }

    /// Notes a path about which the list claims nothing.
    fn note(&mut self, why: WhyUnread, path: Vec<u8>) -> Result<(), InputError> {
        self.unread_paths += 1;
        if self.unread_paths > PATHS_MAX {
            return Err(InputError::Endless { limit: PATHS_MAX });
        }
        self.unread.push(Unread { why, paths: vec![path] });
        Ok(())
    }

    /// Notes a file without checksum; neighbours of one size belong together.
    fn note_unhashed(&mut self, item: (Vec<u8>, u64, bool)) -> Result<(), InputError> {
        let (path, size, is_original) = item;
        let same = self.unhashed.replace(size) == Some(size) && !is_original;
        match self.unread.last_mut() {
            Some(last) if same && last.why == WhyUnread::NoChecksum => {
                self.unread_paths += 1;
                last.paths.push(path);
                Ok(())
            }
            _ => self.note(WhyUnread::NoChecksum, path),
        }
    }

    fn file(&mut self, item: Item) -> Result<Option<ClaimedGroup>, InputError> {
        let (Some(path), Some(size)) = (item.path, item.size) else {
            return Err(self.json.source.malformed("a duplicate without \"path\" or \"size\""));
        };
        let Some(checksum) = item.checksum.filter(|checksum| !checksum.is_empty()) else {
            self.note_unhashed((path, size, item.is_original))?;
            return Ok(self.end_group());
        };
        self.unhashed = None;
        let key = Key { checksum, size };
        let same = self.current.as_ref().is_some_and(|(current, _)| *current == key);
        let finished =
            if same && !(self.paranoid && item.is_original) { None } else { self.end_group() };
        let (_, group) = self.current.get_or_insert_with(|| (key, Collector::default()));
        group.set_size(size);
        if path == BROKEN_PATH {
            self.note(WhyUnread::BrokenPath, path)?;
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

    fn take_unread(&mut self) -> Vec<Unread> {
        self.unhashed = None;
        std::mem::take(&mut self.unread)
    }
}

#[cfg(test)]
#[path = "tests/rmlint.rs"]
mod tests;
