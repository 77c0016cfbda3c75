//! Any bytes, as a record of the journal, as the body of one behind a sound checksum, and as its sidecar.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mergerfs_xdedup::journal::{fuzz_body, fuzz_bytes};

fuzz_target!(|bytes: &[u8]| {
    fuzz_bytes(bytes);
    if let Some(entry) = fuzz_body(9, bytes) {
        assert_eq!(entry.seq, 9);
    }
});
