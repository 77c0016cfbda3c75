//! Any bytes, as a branch list: absolute paths, as many as there are entries, or an error.
#![no_main]

use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;
use mergerfs_xdedup::pool::mergerfs::fuzz_branches;

fuzz_target!(|list: &[u8]| {
    let Ok(branches) = fuzz_branches(list) else {
        return;
    };
    assert_eq!(branches.len(), list.split(|byte| *byte == b':').count());
    for branch in branches {
        let path = branch.path.as_os_str().as_bytes();
        assert!(path.starts_with(b"/") && (path == b"/" || !path.ends_with(b"/")));
    }
});
