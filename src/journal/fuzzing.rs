//! The functions the fuzz targets call: any bytes for everything the journal reads.

use super::codec::{Chain, Entry, VERSION, chunk_count, decode, encode, parse_key, seal};
use super::mark;

/// Decodes any `body` behind a sound head, chain and checksum, which no fuzzer finds, in each format; then writes and
/// reads the entry once more. `None` if `body` is no record in any format.
///
/// # Panics
/// Panics if a record does not come back as it went in.
#[must_use]
pub fn fuzz_body(seq: u64, body: &[u8]) -> Option<Entry> {
    let start = Chain::genesis(1);
    let mut found = None;
    for version in 1..=VERSION {
        let sealed = seal(version, seq, body, start).ok()?.0;
        let Ok((entry, _)) = decode(&sealed, start) else {
            continue;
        };
        let again = encode(seq, entry.time, &entry.record, start).ok()?.0;
        let (same, _) = decode(&again, start).ok()?;
        assert_eq!(same, entry, "invariant: a record comes back as it went in");
        found = Some(entry);
    }
    found
}

/// Takes any bytes for a whole record, for a key and for a journal's sidecar. For fuzzing.
pub fn fuzz_bytes(bytes: &[u8]) {
    drop(decode(bytes, Chain::genesis(1)));
    drop(chunk_count(bytes));
    drop(mark::parse(bytes));
    parse_key(bytes);
}
