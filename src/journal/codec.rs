//! Records as bytes, and back.
//!
//! ```text
//! version u8 | chunks u16 | seq u64 | body (postcard: time, record) | chain [16] | crc32 u32
//! ```
//! Numbers outside the body are big-endian. `version` stays the first byte and the crc over all before it the
//! last four in every later format, so that a reader can distinguish a newer record from a damaged record. The whole
//! is cut into `chunks` values under keys `run u64 | seq u64 | chunk u16`: run is the newest run when the record was
//! written, so that the order of keys is the order of writing.
//!
//! Adding a variant or a field to a record changes the format: raise [`VERSION`], go on reading the old ones. A journal
//! can hold records of several formats, as new records always have the newest.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::fs::Timestamp;

pub(super) mod format_2;
pub(super) mod format_3;

/// The format written. Version 2 added undo records at the end of the list, version 3 handles to intents, version 4 the
/// options of runs, the inode flags of duplicates, and runs that take back undos, version 5 files that share blocks, version 6
/// clones and the contents of files that share blocks: records at the end of the list, so that records of formats 4 and 5 are
/// read as records of format 6.
pub(super) const VERSION: u8 = 6;
/// The newest format without handles. Records of format 1 are read as records of this format.
pub(super) const NO_HANDLES: u8 = 2;
/// The oldest format read.
const OLDEST: u8 = 1;

/// The longest value: leaves of the store stay far below the size from which it writes unsynced side files.
pub(super) const CHUNK_MAX: usize = 3_500;

/// The length of a key.
pub(super) const KEY_LEN: usize = 18;

const HEAD: usize = 1 + 2 + 8;
const TAIL: usize = 16 + 4;

/// A hash over a record and all records before it: no record can be missing, doubled or changed unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub [u8; 16]);

impl Chain {
    /// Before the first record; the journal's id in it keeps files of two journals apart.
    #[must_use]
    pub fn genesis(journal: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"mergerfs-xdedup journal");
        hasher.update(&journal.to_be_bytes());
        Self::truncated(&hasher)
    }

    fn next(self, seq: u64, body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&seq.to_be_bytes());
        hasher.update(body);
        Self::truncated(&hasher)
    }

    fn truncated(hasher: &blake3::Hasher) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bytes)
    }
}

/// A record as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record's place: records count from 1 in a journal, without gaps.
    pub seq: u64,
    /// When the record was written.
    pub time: Timestamp,
    /// The record itself.
    pub record: Record,
}

/// Why bytes are no record, or a record cannot become bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    /// The bytes differ from the bytes written.
    #[error("{0}")]
    Damaged(&'static str),
    /// A newer version wrote the bytes.
    #[error("format {0}")]
    Newer(u8),
    /// The record would need too many chunks.
    #[error("{0} bytes")]
    TooLong(usize),
}

#[derive(Serialize)]
struct BodyRef<'a> {
    time: Timestamp,
    record: &'a Record,
}

#[derive(Deserialize)]
struct Body {
    time: Timestamp,
    record: Record,
}

/// A record's bytes, whole, and the chain up to it.
pub(super) fn encode(
    seq: u64,
    time: Timestamp,
    record: &Record,
    prev: Chain,
) -> Result<(Vec<u8>, Chain), CodecError> {
    // Only an encoder that runs out of room fails, and a vector does not.
    let body = postcard::to_stdvec(&BodyRef { time, record })
        .map_err(|_| CodecError::Damaged("it cannot be encoded"))?;
    seal(VERSION, seq, &body, prev)
}

/// Puts head, chain and checksum around a record's body.
pub(super) fn seal(
    version: u8,
    seq: u64,
    body: &[u8],
    prev: Chain,
) -> Result<(Vec<u8>, Chain), CodecError> {
    let len = HEAD + body.len() + TAIL;
    let chunks = u16::try_from(len.div_ceil(CHUNK_MAX)).map_err(|_| CodecError::TooLong(len))?;
    let chain = prev.next(seq, body);

    let mut bytes = Vec::with_capacity(len);
    bytes.push(version);
    bytes.extend_from_slice(&chunks.to_be_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&chain.0);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    Ok((bytes, chain))
}

/// Cuts a record's bytes into values under their keys.
pub(super) fn split(run: u64, seq: u64, bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    bytes
        .chunks(CHUNK_MAX)
        .zip(0..=u16::MAX)
        .map(|(value, chunk)| (key(run, seq, chunk), value.to_vec()))
        .collect()
}

/// How many values the record has whose first is `first`.
pub(super) fn chunk_count(first: &[u8]) -> Result<u16, CodecError> {
    let bytes = array(first, 1).ok_or(CodecError::Damaged("a record is cut short"))?;
    match u16::from_be_bytes(bytes) {
        0 => Err(CodecError::Damaged("a record's header makes no sense")),
        count => Ok(count),
    }
}

/// The record that `bytes` are, after one with the chain `prev`; and the chain up to it.
pub(super) fn decode(bytes: &[u8], prev: Chain) -> Result<(Entry, Chain), CodecError> {
    let (covered, crc) =
        bytes.split_last_chunk::<4>().ok_or(CodecError::Damaged("a record is cut short"))?;
    if crc32fast::hash(covered) != u32::from_be_bytes(*crc) {
        return Err(CodecError::Damaged("a record's checksum does not match"));
    }
    // The checksum first: a flipped bit in the version is damage, not a newer format.
    let version = match covered.first() {
        Some(&known @ OLDEST..=VERSION) => known,
        Some(&newer) if newer > VERSION => return Err(CodecError::Newer(newer)),
        _ => return Err(CodecError::Damaged("a record has no known version")),
    };
    let short = CodecError::Damaged("a record is cut short");
    let (rest, chain) = covered.split_last_chunk::<16>().ok_or(short.clone())?;
    let body = rest.get(HEAD..).ok_or(short.clone())?;
    let seq = u64::from_be_bytes(array(rest, 3).ok_or(short)?);
    if prev.next(seq, body).0 != *chain {
        return Err(CodecError::Damaged("a record does not continue the one before it"));
    }
    let Body { time, record } = match version {
        ..=NO_HANDLES => {
            let format_2::Body { time, record } = whole(body)?;
            Body { time, record: format_3::Record::from(record).into() }
        }
        format_3::VERSION => {
            let format_3::Body { time, record } = whole(body)?;
            Body { time, record: record.into() }
        }
        _ => whole(body)?,
    };
    Ok((Entry { seq, time, record }, Chain(*chain)))
}

/// The chain up to the record number `seq`, if `bytes` are that record, whole.
pub(super) fn chain_of(bytes: &[u8], seq: u64) -> Option<Chain> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let (rest, chain) = covered.split_last_chunk::<16>()?;
    let right = crc32fast::hash(covered) == u32::from_be_bytes(*crc)
        && u64::from_be_bytes(array(rest, 3)?) == seq;
    right.then_some(Chain(*chain))
}

fn whole<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    let (decoded, left) = postcard::take_from_bytes(body)
        .map_err(|_| CodecError::Damaged("a record cannot be decoded"))?;
    if !left.is_empty() {
        return Err(CodecError::Damaged("a record is longer than what it says"));
    }
    Ok(decoded)
}

/// The key of one chunk of a record.
pub(super) fn key(run: u64, seq: u64, chunk: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_LEN);
    key.extend_from_slice(&run.to_be_bytes());
    key.extend_from_slice(&seq.to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// Run, sequence number and chunk of a key.
pub(super) fn parse_key(key: &[u8]) -> Option<(u64, u64, u16)> {
    if key.len() != KEY_LEN {
        return None;
    }
    Some((
        u64::from_be_bytes(array(key, 0)?),
        u64::from_be_bytes(array(key, 8)?),
        u16::from_be_bytes(array(key, 16)?),
    ))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
