//! Reads JSON from bytes, one value at a time: keeps no tree in memory, and strings are bytes.
//!
//! Some list tools write names that JSON cannot express: lone surrogates, raw bytes that are not UTF-8, raw control
//! characters. One such name must not make the document unreadable, so the reader returns strings as the bytes that the
//! strings stand for. The reader is strict about everything else: damage must be detected.

use serde::de::IgnoredAny;

use super::InputError;
use super::json_string::{self, Dialect};
use super::source::Source;

/// No list nests deeper than this.
const DEPTH_MAX: usize = 32;

/// No number is longer than this.
const NUMBER_MAX_BYTES: usize = 64;

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Literal,
}

#[derive(Clone, Copy)]
struct Scope {
    object: bool,
    /// A member was read in the scope: a comma or the end of the scope must follow.
    used: bool,
}

/// A document being read.
pub(super) struct Json {
    pub(super) source: Source,
    pub(super) dialect: Dialect,
    scopes: Vec<Scope>,
    scratch: Vec<u8>,
}

impl Json {
    pub(super) fn new(source: Source) -> Self {
        Self { source, dialect: Dialect::default(), scopes: Vec::new(), scratch: Vec::new() }
    }

    /// What kind of value comes next.
    pub(super) fn kind(&mut self) -> Result<Kind, InputError> {
        match self.peek()? {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f' | b'n') => Ok(Kind::Literal),
            found => Err(self.unexpected(found, "a value")),
        }
    }

    /// Enters an object.
    pub(super) fn begin_object(&mut self) -> Result<(), InputError> {
        self.begin(b'{', "an object")
    }

    /// Enters an array.
    pub(super) fn begin_array(&mut self) -> Result<(), InputError> {
        self.begin(b'[', "an array")
    }

    fn begin(&mut self, byte: u8, wanted: &str) -> Result<(), InputError> {
        self.expect(byte, wanted)?;
        if self.scopes.len() >= DEPTH_MAX {
            return Err(self.source.malformed("nested too deep for a list"));
        }
        self.scopes.push(Scope { object: byte == b'{', used: false });
        Ok(())
    }

    /// Returns the next key of the object, or `None` at the end of the object.
    pub(super) fn next_key(&mut self) -> Result<Option<Vec<u8>>, InputError> {
        if !self.next_member(b'}')? {
            return Ok(None);
        }
        let key = self.string()?;
        self.expect(b':', "':'")?;
        Ok(Some(key))
    }

    /// Whether the array has one more element; at `false` the reader leaves the array.
    pub(super) fn next_element(&mut self) -> Result<bool, InputError> {
        self.next_member(b']')
    }

    fn next_member(&mut self, end: u8) -> Result<bool, InputError> {
        let found = self.peek()?;
        let used = self.scopes.last().is_some_and(|scope| scope.used);
        if found == Some(end) {
            self.source.consume(1);
            self.scopes.pop();
            return Ok(false);
        }
        if used {
            self.expect(b',', if end == b'}' { "',' or '}'" } else { "',' or ']'" })?;
            // "[1,]" would otherwise pass: a member must follow a comma, never the end.
            let after = self.peek()?;
            if after.is_none() || after == Some(end) {
                return Err(self.unexpected(after, "a member after ','"));
            }
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.used = true;
        }
        Ok(true)
    }

    /// Reads a string; returns the bytes that the string stands for.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, InputError> {
        self.expect(b'"', "a string")?;
        self.scratch.clear();
        json_string::read(&mut self.source, self.dialect, &mut self.scratch)?;
        Ok(self.scratch.clone())
    }

    /// Reads a whole number that is not negative.
    pub(super) fn whole_number(&mut self) -> Result<u64, InputError> {
        let text = self.number()?;
        serde_json::from_slice(&text).map_err(|_| self.source.malformed("expected a whole number"))
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&mut self) -> Result<bool, InputError> {
        match self.literal()? {
            Some(value) => Ok(value),
            None => Err(self.source.malformed("expected true or false, found null")),
        }
    }

    /// Skips a value of any kind.
    pub(super) fn skip_value(&mut self) -> Result<(), InputError> {
        let depth = self.scopes.len();
        loop {
            match self.kind()? {
                Kind::Object => self.begin_object()?,
                Kind::Array => self.begin_array()?,
                Kind::String => drop(self.string()?),
                Kind::Number => drop(self.number()?),
                Kind::Literal => _ = self.literal()?,
            }
            while self.scopes.len() > depth && !self.skip_to_value()? {}
            if self.scopes.len() == depth {
                return Ok(());
            }
        }
    }

    /// Goes to the next value of the innermost scope, or leaves the scope and returns `false`.
    fn skip_to_value(&mut self) -> Result<bool, InputError> {
        if self.scopes.last().is_some_and(|scope| scope.object) {
            Ok(self.next_key()?.is_some())
        } else {
            self.next_element()
        }
    }

    /// Checks that only white space follows the document.
    pub(super) fn finish(&mut self) -> Result<(), InputError> {
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.source.malformed("something follows the end of the document")),
        }
    }

    fn number(&mut self) -> Result<Vec<u8>, InputError> {
        self.peek()?;
        let mut text = Vec::new();
        while let Some(byte @ (b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) =
            self.source.peek()?
        {
            self.source.consume(1);
            text.push(byte);
            if text.len() > NUMBER_MAX_BYTES {
                return Err(self.source.malformed("a number has too many digits"));
            }
        }
        if self.source.peek()?.is_none() {
            return Err(self.source.truncated());
        }
        match serde_json::from_slice::<IgnoredAny>(&text) {
            Ok(_) => Ok(text),
            Err(_) => Err(self.source.malformed("expected a number")),
        }
    }

    fn literal(&mut self) -> Result<Option<bool>, InputError> {
        let (word, value) = match self.peek()? {
            Some(b't') => ("true", Some(true)),
            Some(b'f') => ("false", Some(false)),
            Some(b'n') => ("null", None),
            found => return Err(self.unexpected(found, "true or false")),
        };
        for wanted in word.bytes() {
            let found = self.source.peek()?;
            if found != Some(wanted) {
                return Err(self.unexpected(found, word));
            }
            self.source.consume(1);
        }
        Ok(value)
    }

    fn expect(&mut self, byte: u8, wanted: &str) -> Result<(), InputError> {
        let found = self.peek()?;
        if found != Some(byte) {
            return Err(self.unexpected(found, wanted));
        }
        self.source.consume(1);
        Ok(())
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<Option<u8>, InputError> {
        loop {
            match self.source.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.source.consume(1),
                found => return Ok(found),
            }
        }
    }

    fn unexpected(&self, found: Option<u8>, wanted: &str) -> InputError {
        match found {
            None => self.source.truncated(),
            Some(byte) => {
                self.source.malformed(format!("expected {wanted}, found '{}'", byte.escape_ascii()))
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/json.rs"]
mod tests;
