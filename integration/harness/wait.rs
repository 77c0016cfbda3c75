//! Bounded waits.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// For what takes moments on an idle machine and may take long on one whose disks are busy.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// How often a wait looks again.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `ready`, or tells what was waited for and how the machine's mounts look.
pub(crate) fn until(
    what: &str,
    at_most: Duration,
    mut ready: impl FnMut() -> bool,
) -> Result<(), String> {
    let start = Instant::now();
    loop {
        if ready() {
            return Ok(());
        }
        if start.elapsed() >= at_most {
            return Err(format!("waited {at_most:?} in vain for {what}\n{}", mount_table()));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The mount table, as a wait that ended in vain prints it.
fn mount_table() -> String {
    let mut text = String::from("mounts (/proc/self/mountinfo):\n");
    match std::fs::read_to_string("/proc/self/mountinfo") {
        Ok(table) => text.push_str(&table),
        Err(error) => write!(text, "unreadable: {error}").unwrap(),
    }
    text
}
