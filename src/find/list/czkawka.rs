//! `czkawka_cli dup -p` and `-C`: an object from sizes to groups.
//!
//! The list does not state how it was made. Only a search by content writes hashes, and sizes as keys with lists of
//! groups below. A list of another shape comes from a search by size or name, which claims nothing about contents.

use super::json::{Json, Kind};
use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError};

pub(super) struct List {
    json: Json,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Between sizes.
    Sizes,
    /// Among the groups of one size.
    Groups(u64),
    Done,
}

impl List {
    pub(super) fn new(source: Source) -> Self {
        Self { json: Json::new(source), state: State::Start }
    }

    fn next_size(&mut self) -> Result<State, InputError> {
        let Some(key) = self.json.next_key()? else {
            self.json.finish()?;
            return Ok(State::Done);
        };
        let size = std::str::from_utf8(&key).ok().and_then(|text| text.parse().ok());
        let Some(size) = size else {
            return Err(self.not_by_content());
        };
        self.json.begin_array()?;
        Ok(State::Groups(size))
    }

    /// `[{..},{..}]`, or with reference folders `[{reference},[{..},{..}]]`.
    fn group(&mut self, size: u64) -> Result<ClaimedGroup, InputError> {
        if self.json.kind()? == Kind::Object {
            return Err(self.not_by_content());
        }
        let mut group = Collector::default();
        group.set_size(size);
        self.json.begin_array()?;
        while self.json.next_element()? {
            if self.json.kind()? == Kind::Array {
                self.json.begin_array()?;
                while self.json.next_element()? {
                    self.entry(&mut group)?;
                }
            } else {
                self.entry(&mut group)?;
            }
        }
        Ok(group.finish())
    }

    fn entry(&mut self, group: &mut Collector) -> Result<(), InputError> {
        let (mut path, mut hashed) = (None, false);
        self.json.begin_object()?;
        while let Some(key) = self.json.next_key()? {
            match key.as_slice() {
                b"path" => path = Some(self.json.string()?),
                b"hash" => hashed = !self.json.string()?.is_empty(),
                _ => self.json.skip_value()?,
            }
        }
        if !hashed {
            return Err(self.not_by_content());
        }
        match path {
            Some(path) => group.push(path, &self.json.source),
            None => Err(self.json.source.malformed("a file without \"path\"")),
        }
    }

    fn not_by_content(&self) -> InputError {
        self.json.source.unusable(
            "no hashes: the files were not compared by content; make the list with -s HASH",
        )
    }
}

impl Form for List {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        loop {
            self.state = match self.state {
                State::Start => {
                    if self.json.kind()? == Kind::Array {
                        return Err(self.not_by_content());
                    }
                    self.json.begin_object()?;
                    State::Sizes
                }
                State::Sizes => self.next_size()?,
                State::Groups(size) if self.json.next_element()? => {
                    return self.group(size).map(Some);
                }
                State::Groups(_) => State::Sizes,
                State::Done => return Ok(None),
            };
        }
    }
}

#[cfg(test)]
#[path = "tests/czkawka.rs"]
mod tests;
