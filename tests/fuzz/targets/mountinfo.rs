//! Any bytes, as a mount table: at most one mount a line, and none leads to another of another filesystem.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mergerfs_xdedup::pool::mountinfo;

fuzz_target!(|table: &[u8]| {
    let mounts = mountinfo::parse(table);
    assert!(mounts.len() <= table.split(|byte| *byte == b'\n').count());
    for mount in &mounts {
        if let Some(whole) = mountinfo::whole(&mounts, mount) {
            assert!(whole.device == mount.device && whole.is_whole());
        }
    }
});
