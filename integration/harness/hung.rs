//! What a process that does not end is waiting for.

use std::fmt::Write as _;
use std::path::Path;

/// Where every thread of a process, and of those it started, stands in the kernel.
pub(crate) fn describe(process: u32) -> String {
    let mut text = String::new();
    let mut processes = vec![process.to_string()];
    while let Some(process) = processes.pop() {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let read = |name: &str| read_or_why(&thread.path().join(name));
            let (name, place, call) = (read("comm"), read("wchan"), read("syscall"));
            let thread = thread.file_name();
            writeln!(text, "{process}/{thread:?} {name}: in {place}, call {call}").unwrap();
            writeln!(text, "{}", read("stack")).unwrap();
            processes.extend(read("children").split_whitespace().map(str::to_owned));
        }
    }
    text
}

fn read_or_why(path: &Path) -> String {
    std::fs::read_to_string(path).map_or_else(|why| why.to_string(), |text| text.trim_end().into())
}
