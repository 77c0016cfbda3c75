//! `dupe-krill --json`: groups of inodes, each with its names.

use super::json::Json;
use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError};

pub(super) struct List {
    json: Json,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Groups,
    Done,
}

impl List {
    pub(super) fn new(source: Source) -> Self {
        Self { json: Json::new(source), state: State::Header }
    }

    fn header(&mut self) -> Result<(), InputError> {
        self.json.begin_object()?;
        while let Some(key) = self.json.next_key()? {
            if key == b"dupes" {
                self.state = State::Groups;
                return self.json.begin_array();
            }
            self.json.skip_value()?;
        }
        Err(self.json.source.malformed("has no \"dupes\""))
    }

    /// All names of all inodes become one claim: the names of one inode are equal too, and the pool knows better than a
    /// list which names an inode has.
    fn group(&mut self) -> Result<ClaimedGroup, InputError> {
        let mut group = Collector::default();
        self.json.begin_array()?;
        while self.json.next_element()? {
            self.json.begin_array()?;
            while self.json.next_element()? {
                let path = self.json.string()?;
                group.push(path, &self.json.source)?;
            }
        }
        Ok(group.finish())
    }

    fn trailer(&mut self) -> Result<(), InputError> {
        while let Some(key) = self.json.next_key()? {
            if key == b"dupes" {
                return Err(self.json.source.malformed("has \"dupes\" twice"));
            }
            self.json.skip_value()?;
        }
        self.json.finish()?;
        self.state = State::Done;
        Ok(())
    }
}

impl Form for List {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        if self.state == State::Header {
            self.header()?;
        }
        if self.state == State::Done {
            return Ok(None);
        }
        if self.json.next_element()? {
            return self.group().map(Some);
        }
        self.trailer()?;
        Ok(None)
    }
}

#[cfg(test)]
#[path = "tests/dupe_krill.rs"]
mod tests;
