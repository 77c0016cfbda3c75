//! The mark: how far the journal goes, kept outside the database.
//!
//! A damaged database can open without an error and silently miss its newest records; the mark shows the loss. The
//! mark is written last, so a crash can leave the journal ahead of the mark, never behind.
//!
//! The file has a header and two slots, each in a disk block of its own and each with its own checksum. They are
//! written in turn and in place: a write that is torn spoils one slot, and the other holds the mark before.

use super::codec::Chain;

/// The format of the file, and of the journal it belongs to.
pub(super) const FORMAT: u32 = 1;

/// The length of the file.
pub(super) const LEN: usize = 3 * BLOCK;

const BLOCK: usize = 4096;
const MAGIC: &[u8; 8] = b"xdedupjl";
const HEADER_LEN: usize = 8 + 4 + 4 + 4;
const SLOT_LEN: usize = 8 + 8 + 16 + 4;

/// The last record of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The record's sequence number; 0 while the journal has no record.
    pub seq: u64,
    /// The newest run; 0 while the journal has no run.
    pub run: u64,
    /// The chain up to the record.
    pub chain: Chain,
}

impl Mark {
    /// The mark of a journal without records.
    #[must_use]
    pub fn genesis(journal: u32) -> Self {
        Self { seq: 0, run: 0, chain: Chain::genesis(journal) }
    }
}

/// The contents of a mark file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkFile {
    /// The journal's id.
    pub(super) id: u32,
    /// The newest whole mark.
    pub(super) mark: Mark,
    /// The slot to be written next: never the slot that holds `mark`.
    pub(super) next: usize,
}

/// Why a mark file cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MarkError {
    /// The file differs from the file this program wrote.
    #[error("{0}")]
    Damaged(&'static str),
    /// A newer version wrote the file.
    #[error("format {0}")]
    Newer(u32),
}

/// The file of a new journal: both slots hold the mark of no records.
pub(super) fn new_file(id: u32) -> Vec<u8> {
    let mut file = vec![0; LEN];
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_be_bytes());
    header.extend_from_slice(&id.to_be_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_be_bytes());
    file[..HEADER_LEN].copy_from_slice(&header);
    for slot in [0, 1] {
        let (at, bytes) = slot_bytes(slot, &Mark::genesis(id));
        file[at..at + SLOT_LEN].copy_from_slice(&bytes);
    }
    file
}

/// Where a mark goes in slot `slot` (0 or 1), and its bytes there.
pub(super) fn slot_bytes(slot: usize, mark: &Mark) -> (usize, Vec<u8>) {
    let mut bytes = Vec::with_capacity(SLOT_LEN);
    bytes.extend_from_slice(&mark.seq.to_be_bytes());
    bytes.extend_from_slice(&mark.run.to_be_bytes());
    bytes.extend_from_slice(&mark.chain.0);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    (BLOCK * (1 + slot), bytes)
}

/// Reads a whole file.
pub(super) fn parse(file: &[u8]) -> Result<MarkFile, MarkError> {
    // The header before the length: a newer format may have another length.
    let id = parse_header(file)?;
    if file.len() != LEN {
        return Err(MarkError::Damaged("it has the wrong length"));
    }
    let slots = [0, 1].map(|slot| parse_slot(&file[BLOCK * (1 + slot)..]));
    let (mark, next) = match slots {
        [Some(a), Some(b)] if a.seq >= b.seq => (a, 1),
        [_, Some(b)] => (b, 0),
        [Some(a), None] => (a, 1),
        [None, None] => return Err(MarkError::Damaged("neither of its marks is whole")),
    };
    Ok(MarkFile { id, mark, next })
}

/// The journal's id, where the header at least is whole.
pub(super) fn id_of(file: &[u8]) -> Option<u32> {
    parse_header(file).ok()
}

fn parse_header(header: &[u8]) -> Result<u32, MarkError> {
    let damaged = MarkError::Damaged("its header is not whole");
    let number = |at: usize| {
        let bytes = header.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    };
    let (Some(format), Some(id), Some(crc)) = (number(8), number(12), number(16)) else {
        return Err(damaged);
    };
    // All three parts were there, so 16 bytes are.
    if !header.starts_with(MAGIC) || crc32fast::hash(&header[..16]) != crc {
        return Err(damaged);
    }
    match format {
        FORMAT => Ok(id),
        newer if newer > FORMAT => Err(MarkError::Newer(newer)),
        _ => Err(damaged),
    }
}

fn parse_slot(bytes: &[u8]) -> Option<Mark> {
    let (covered, crc) = bytes.get(..SLOT_LEN)?.split_last_chunk::<4>()?;
    if crc32fast::hash(covered) != u32::from_be_bytes(*crc) {
        return None;
    }
    Some(Mark {
        seq: u64::from_be_bytes(*covered.first_chunk()?),
        run: u64::from_be_bytes(*covered.get(8..)?.first_chunk()?),
        chain: Chain(*covered.get(16..)?.first_chunk()?),
    })
}
