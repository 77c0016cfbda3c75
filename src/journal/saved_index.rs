//! The index of a journal in a file beside the database: an open then reads only the records that came later.
//!
//! A journal of a million files has three million records. The file is a cache: if it is missing, damaged, of another
//! format, or does not fit the records, every record is read. Every reader of the records themselves (undo, `verify`,
//! `export`, prune) still verifies all of them.

use serde::{Deserialize, Serialize};

use super::codec::{self, Chain};
use super::index::{Conflict, Index, RunSummary};
use super::mark::Mark;

/// So many records are read again rather than saved.
pub(super) const RECORDS_MIN: u64 = 50_000;

/// The format of the file. To be raised when a field of [`RunSummary`] or [`Conflict`] changes.
const FORMAT: u8 = 2;
const MAGIC: &[u8; 8] = b"xdedupix";
const HASH_LEN: usize = 32;

/// What is saved of an index without open ops.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: (u8, u8),
    journal: u32,
    seq: u64,
    run: u64,
    chain: [u8; 16],
    runs: Vec<RunSummary>,
    conflicts: Vec<Conflict>,
    newest_ops: Vec<(u64, u64)>,
}

/// The bytes of the file; `None` if something is open, which only the records tell in full.
pub(super) fn encode(journal: u32, tip: &Mark, index: &Index) -> Option<Vec<u8>> {
    if !index.open.is_empty() {
        return None;
    }
    let saved = Saved {
        format: (FORMAT, codec::VERSION),
        journal,
        seq: tip.seq,
        run: tip.run,
        chain: tip.chain.0,
        runs: index.runs.values().cloned().collect(),
        conflicts: index.conflicts.clone(),
        newest_ops: index.newest_ops.iter().map(|(run, op)| (*run, *op)).collect(),
    };
    let body = postcard::to_stdvec(&saved).ok()?;
    let hash = blake3::hash(&body);
    Some([&MAGIC[..], hash.as_bytes(), &body].concat())
}

/// The index of the journal, and the record up to which it goes; `None` if the file cannot be believed.
pub(super) fn decode(bytes: &[u8], journal: u32) -> Option<(Mark, Index)> {
    let (hash, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<HASH_LEN>()?;
    if blake3::hash(body) != *hash {
        return None;
    }
    // Before the rest, which another format may have otherwise.
    let (format, _) = postcard::take_from_bytes::<(u8, u8)>(body).ok()?;
    if format != (FORMAT, codec::VERSION) {
        return None;
    }
    let saved: Saved = postcard::from_bytes(body).ok()?;
    if saved.journal != journal {
        return None;
    }
    let tip = Mark { seq: saved.seq, run: saved.run, chain: Chain(saved.chain) };
    let index = Index::of_closed(saved.runs, saved.conflicts, saved.newest_ops);
    Some((tip, index))
}
