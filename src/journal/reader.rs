//! Pairs of the store back to records, each verified: checksum, sequence without gaps, chain.

use super::codec::{self, Chain, CodecError, Entry};
use super::mark::Mark;

/// Why a pair does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    Damaged(String),
    Newer(u8),
}

impl From<CodecError> for ReadError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Newer(version) => Self::Newer(version),
            CodecError::Damaged(what) => Self::Damaged(what.to_owned()),
            CodecError::TooLong(_) => Self::Damaged(error.to_string()),
        }
    }
}

/// Puts records together from pairs that come in the order of keys.
#[derive(Debug)]
pub(super) struct StoreReader {
    /// The last record so far.
    pub(super) tip: Mark,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    run: u64,
    chunks: u16,
    next: u16,
    bytes: Vec<u8>,
}

impl StoreReader {
    /// Before the first record of the journal `id`.
    pub(super) fn new(id: u32) -> Self {
        Self::after(Mark::genesis(id))
    }

    /// Behind the record that `tip` is.
    pub(super) fn after(tip: Mark) -> Self {
        Self { tip, partial: None }
    }

    /// Takes in the next pair; returns a record when the record is whole.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Entry>, ReadError> {
        let (run, seq, chunk) =
            codec::parse_key(key).ok_or_else(|| damaged("a key of the wrong length"))?;
        if seq != self.tip.seq + 1 {
            return Err(damaged(format!("record {} is missing", self.tip.seq + 1)));
        }
        let mut partial = match self.partial.take() {
            None => Partial { run, chunks: codec::chunk_count(value)?, next: 0, bytes: Vec::new() },
            Some(partial) => partial,
        };
        if run != partial.run || chunk != partial.next {
            return Err(damaged(format!("a part of record {seq} is missing")));
        }
        partial.bytes.extend_from_slice(value);
        partial.next += 1;
        if partial.next < partial.chunks {
            self.partial = Some(partial);
            return Ok(None);
        }
        self.whole(run, seq, &partial.bytes, self.tip.chain).map(Some)
    }

    fn whole(&mut self, run: u64, seq: u64, bytes: &[u8], prev: Chain) -> Result<Entry, ReadError> {
        let (entry, chain) = codec::decode(bytes, prev)?;
        let begins = entry.record.begins_run();
        let expected = if begins { entry.record.run() } else { self.tip.run };
        if entry.seq != seq || run != expected {
            return Err(damaged(format!("record {seq} is under a key not its own")));
        }
        self.tip = Mark { seq, run, chain };
        Ok(entry)
    }

    /// The last record, once every pair was taken in.
    pub(super) fn finish(self) -> Result<Mark, ReadError> {
        match self.partial {
            Some(_) => Err(damaged(format!("a part of record {} is missing", self.tip.seq + 1))),
            None => Ok(self.tip),
        }
    }
}

fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged(what.into())
}
