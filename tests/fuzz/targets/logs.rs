//! Any bytes, as a CSV log of a lost journal, and as the log of the script that this program replaces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mergerfs_xdedup::journal::{RUNS_AT_MOST, read_log};
use mergerfs_xdedup::rescue::old_script::unfinished;

const HEADER: &[u8] = b"time,run,op,state,pool_path,master,from,to,bytes\n";

fuzz_target!(|bytes: &[u8]| {
    // No fuzzer finds the first line.
    for log in [bytes, &[HEADER, bytes].concat()] {
        if let Some(logged) = read_log(log) {
            assert!(logged.newest_run <= RUNS_AT_MOST);
            assert!(logged.open.iter().all(|op| !op.names.is_empty()));
        }
    }
    for log in [bytes, &[b"filepath,status\n", bytes].concat()] {
        if let Ok(found) = unfinished(log) {
            let lines = log.split(|byte| *byte == b'\n').count();
            assert!(found.paths.len() <= lines);
        }
    }
});
