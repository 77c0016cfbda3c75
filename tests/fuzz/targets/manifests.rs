//! Any bytes, as a list of duplicates: read to an end or an error in every form, without panic.
#![no_main]

use std::io::{BufReader, Cursor};

use libfuzzer_sys::fuzz_target;
use mergerfs_xdedup::find::list::{Format, open};

fuzz_target!(|list: &[u8]| {
    for form in Format::ALL.into_iter().map(Some).chain([None]) {
        // A small buffer, so that every token straddles one somewhere.
        let source = BufReader::with_capacity(7, Cursor::new(list.to_vec()));
        if let Ok(reader) = open(Box::new(source), form) {
            let groups: Vec<_> = reader.take(list.len() + 2).collect();
            assert!(groups.len() <= list.len() + 1, "more groups than bytes");
        }
    }
});
