//! The bytes of a list, with their offset and with limits, so that memory stays bounded whatever the bytes are.

use std::io::{self, BufRead};

use super::{ClaimedGroup, InputError};

/// The longest string or line: longer than a command line may be, and far longer than any path.
pub(super) const TEXT_MAX_BYTES: usize = 4 << 20;

/// The memory that one group may take: room for over a million ordinary paths.
const GROUP_MAX_BYTES: usize = 512 << 20;

/// The memory that a path takes in addition to its bytes.
const PATH_OVERHEAD_BYTES: usize = 48;

/// A list being read, with its name for messages.
pub(super) struct Source {
    inner: Box<dyn BufRead>,
    format: &'static str,
    offset: u64,
}

impl Source {
    pub(super) fn new(inner: Box<dyn BufRead>, format: &'static str) -> Self {
        Self { inner, format, offset: 0 }
    }

    /// Returns the available bytes, at least one byte; returns no byte at the end of the list.
    pub(super) fn chunk(&mut self) -> Result<&[u8], InputError> {
        loop {
            match self.inner.fill_buf() {
                Ok([]) => return Ok(&[]),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Asked again because the borrow checker does not see that the loop ended; it is answered from the buffer.
        Ok(self.inner.fill_buf()?)
    }

    /// Consumes `count` bytes of the last chunk.
    pub(super) fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.offset = self.offset.saturating_add(count as u64);
    }

    pub(super) fn peek(&mut self) -> Result<Option<u8>, InputError> {
        Ok(self.chunk()?.first().copied())
    }

    pub(super) fn next(&mut self) -> Result<Option<u8>, InputError> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.consume(1);
        }
        Ok(byte)
    }

    /// Reads up to the next `end`. The `end` is consumed, and the record does not contain it. Returns `None` at the end
    /// of the list.
    ///
    /// A record without its `end` is an error: the list was cut off there.
    pub(super) fn record(&mut self, end: u8) -> Result<Option<Vec<u8>>, InputError> {
        let mut record = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return if record.is_empty() { Ok(None) } else { Err(self.truncated()) };
            }
            let found = chunk.iter().position(|byte| *byte == end);
            let taken = found.unwrap_or(chunk.len());
            record.extend_from_slice(&chunk[..taken]);
            self.consume(taken + usize::from(found.is_some()));
            if record.len() > TEXT_MAX_BYTES {
                return Err(self.malformed("a line is too long for a list of paths"));
            }
            if found.is_some() {
                return Ok(Some(record));
            }
        }
    }

    pub(super) fn malformed(&self, problem: impl Into<String>) -> InputError {
        let (format, problem, offset) = (self.format, problem.into(), self.offset);
        InputError::Malformed { format, problem, offset }
    }

    pub(super) fn truncated(&self) -> InputError {
        self.malformed("the list ends in the middle; it was cut off")
    }

    pub(super) fn unusable(&self, problem: impl Into<String>) -> InputError {
        InputError::Unusable { format: self.format, problem: problem.into() }
    }
}

/// A group being read, held to its limit.
#[derive(Default)]
pub(super) struct Collector {
    group: ClaimedGroup,
    bytes: usize,
}

impl Collector {
    pub(super) fn push(&mut self, path: Vec<u8>, source: &Source) -> Result<(), InputError> {
        self.bytes = self.bytes.saturating_add(path.len() + PATH_OVERHEAD_BYTES);
        if self.bytes > GROUP_MAX_BYTES {
            return Err(source.malformed("a group has too many paths to be one"));
        }
        self.group.paths.push(path);
        Ok(())
    }

    pub(super) fn set_size(&mut self, size: u64) {
        self.group.size = Some(size);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.group.paths.is_empty()
    }

    pub(super) fn finish(self) -> ClaimedGroup {
        self.group
    }
}
