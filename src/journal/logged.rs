//! The CSV log, read back: what a lost journal had open.
//!
//! A state's line is durable before this program does anything that rests on the state. So an op that is not in the
//! log was not begun, and an op without an end in the log may be anywhere on its way.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::csv;
use crate::plan::OpId;

/// No run has a higher number: a line with a higher number is damaged or not ours. A journal counts on from its newest
/// run, and numbers must be left.
pub const RUNS_AT_MOST: u64 = 1 << 24;

/// The contents of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logged {
    /// The ops without an end in the log, oldest first.
    pub open: Vec<LoggedOp>,
    /// The newest run; 0 if the log has no run.
    pub newest_run: u64,
    /// A path of each run on its pool.
    pub pool_paths: BTreeMap<u64, PathBuf>,
    /// Lines that say nothing, torn ones for example.
    pub unreadable: u64,
}

/// An op without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedOp {
    /// The op.
    pub op: OpId,
    /// Whether every name was retired (`LINKED`, or `CLONED` for a clone).
    pub retired: bool,
    /// A branch path of the copy that stays.
    pub master: PathBuf,
    /// The bytes that were to become free.
    pub bytes: u64,
    /// Every name, in the order that hidden names are numbered in.
    pub names: Vec<LoggedName>,
}

/// One name of the op's duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedName {
    /// The pool path.
    pub pool_path: PathBuf,
    /// The branch path the duplicate has.
    pub from: PathBuf,
    /// The branch path the replacement gets.
    pub to: PathBuf,
}

/// A line about an op, taken apart.
struct LogLine {
    op: OpId,
    state: Vec<u8>,
    name: LoggedName,
    master: PathBuf,
    bytes: u64,
}

/// Reads a log; `None` if `log` is not a log of this program.
#[must_use]
pub fn read_log(log: &[u8]) -> Option<Logged> {
    let mut lines = csv::whole_lines(log);
    match lines.next() {
        None => return Some(Logged::default()),
        Some(first) if first == csv::HEADER => {}
        Some(_) => return None,
    }
    let mut logged = Logged::default();
    let mut ops: Vec<Option<LoggedOp>> = Vec::new();
    // Which of `ops` a number means now: a log can outlive a journal, whose runs are counted from 1 again.
    let mut current: BTreeMap<OpId, usize> = BTreeMap::new();
    for line in lines {
        let fields = csv::fields(line);
        let Some(run) = run_of(&fields) else {
            logged.unreadable += 1;
            continue;
        };
        logged.newest_run = logged.newest_run.max(run);
        let Some(line) = line_of(run, fields) else {
            continue;
        };
        let pool_path = line.name.pool_path.clone();
        logged.pool_paths.entry(run).or_insert(pool_path);
        take_in(&mut ops, &mut current, line);
    }
    logged.open = ops.into_iter().flatten().collect();
    Some(logged)
}

fn take_in(ops: &mut Vec<Option<LoggedOp>>, current: &mut BTreeMap<OpId, usize>, line: LogLine) {
    let known = current.get(&line.op).copied();
    match line.state.as_slice() {
        b"PENDING" => {
            let growing = known.and_then(|at| ops[at].as_mut());
            match growing {
                // A line may be there twice.
                Some(op) if op.names.contains(&line.name) => {}
                Some(op) if !op.retired && op.master == line.master => op.names.push(line.name),
                _ => {
                    current.insert(line.op, ops.len());
                    ops.push(Some(LoggedOp {
                        op: line.op,
                        retired: false,
                        master: line.master,
                        bytes: line.bytes,
                        names: vec![line.name],
                    }));
                }
            }
        }
        b"LINKED" | b"CLONED" => {
            if let Some(op) = known.and_then(|at| ops[at].as_mut()) {
                op.retired = true;
            }
        }
        b"DELETED" | b"RESTORED" | b"CONFLICT" | b"UNDONE" => {
            if let Some(at) = known {
                ops[at] = None;
            }
        }
        // Of an op that was not begun, or stays open.
        _ => {}
    }
}

fn run_of(fields: &[Vec<u8>]) -> Option<u64> {
    let [_, run, ..] = fields else { return None };
    let run = (fields.len() == 9).then(|| number(run)).flatten();
    run.filter(|run| *run <= RUNS_AT_MOST)
}

/// `None` for a line that is about no op.
fn line_of(run: u64, fields: Vec<Vec<u8>>) -> Option<LogLine> {
    let fields: [Vec<u8>; 9] = fields.try_into().ok()?;
    let [_, _, op, state, pool_path, master, from, to, bytes] = fields;
    let path = |bytes: Vec<u8>| PathBuf::from(OsString::from_vec(bytes));
    Some(LogLine {
        op: OpId { run, seq: number(&op)? },
        state,
        name: LoggedName { pool_path: path(pool_path), from: path(from), to: path(to) },
        master: path(master),
        bytes: number(&bytes)?,
    })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "time,run,op,state,pool_path,master,from,to,bytes\n";

    fn read(lines: &str) -> Logged {
        read_log(format!("{HEADER}{lines}").as_bytes()).unwrap()
    }

    #[test]
    fn the_last_state_of_an_op_counts() {
        let log = read(
            "T,1,1,PENDING,/p/a,/a/m,/b/a,/a/a,7\n\
             T,1,1,PENDING,\"/p/b,\n\",/a/m,\"/b/b,\n\",\"/a/b,\n\",0\n\
             T,1,2,PENDING,/p/c,/a/m,/b/c,/a/c,8\n\
             T,1,1,LINKED,/p/a,/a/m,/b/a,/a/a,7\n\
             T,1,2,DELETED,/p/c,/a/m,/b/c,/a/c,8\n\
             T,2,1,PENDING,/q/d,/a/m,/b/d,/a/d,9\n\
             T,2,4,PENDING,/q/h,/a/m,/b/h,/a/h,6\n\
             T,2,4,CLONED,/q/h,/a/m,/b/h,/a/h,6\n\
             T,2,1,REFUSED:busy,/q/d,/a/m,,,9\n\
             T,3,,REFUSED:busy,/q/e,/a/m,,,9\n\
             T,18446744073709551615,1,PENDING,/q/g,/a/m,/b/g,/a/g,9\n\
             T,2,2,PENDING,/q/f,/a/m,/b/f",
        );
        let open: Vec<_> = log
            .open
            .iter()
            .map(|op| (op.op.run, op.op.seq, op.retired, op.names.len(), op.bytes))
            .collect();
        assert_eq!(open, [(1, 1, true, 2, 7), (2, 1, false, 1, 9), (2, 4, true, 1, 6)]);
        assert_eq!(log.open[0].names[1].from, PathBuf::from("/b/b,\n"));
        assert_eq!((log.newest_run, log.unreadable), (3, 2));
        assert_eq!(log.pool_paths[&1], PathBuf::from("/p/a"));
        assert_eq!(log.pool_paths[&2], PathBuf::from("/q/d"));
    }

    #[test]
    fn a_log_that_outlived_a_journal_has_two_ops_of_one_number() {
        let log = read(
            "T,1,1,PENDING,/p/a,/a/m,/b/a,/a/a,7\n\
             T,1,1,PENDING,/p/a,/a/m,/b/a,/a/a,7\n\
             T,1,1,LINKED,/p/a,/a/m,/b/a,/a/a,7\n\
             T,1,1,PENDING,/p/z,/a/n,/b/z,/a/z,7\n\
             T,1,1,DELETED,/p/z,/a/n,/b/z,/a/z,7\n",
        );
        assert_eq!(log.open.len(), 1);
        assert_eq!(log.open[0].names[0].pool_path, PathBuf::from("/p/a"));
    }

    #[test]
    fn another_file_is_no_log_and_an_empty_one_says_nothing() {
        assert_eq!(read_log(b"filepath,status\n"), None);
        assert_eq!(read_log(b""), Some(Logged::default()));
    }
}
