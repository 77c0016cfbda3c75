//! The lines of the CSV log: what a person can read when all else fails.
//!
//! A line of a state is durable before the record of that state: an op's line appears at least once, and the
//! last one counts. Paths are complete and exact: fields are bytes, quoted as RFC 4180 has it. No names are
//! worked out here; this only writes down.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::OpenOp;
use super::record::{Record, RecordedFile, RunStarted, SharedRecord};
use super::rfc3339::rfc3339;
use crate::fs::Timestamp;
use crate::plan::OpId;
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// The first line of every CSV log.
pub(super) const HEADER: &[u8] = b"time,run,op,state,pool_path,master,from,to,bytes\n";

/// Something that was not planned or not done, for the CSV log alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLine {
    /// The run.
    pub run: u64,
    /// The op, where one was begun.
    pub op: Option<OpId>,
    /// Why, as the closed list of refusals spells it.
    pub reason: String,
    /// The path that stays as it is.
    pub pool_path: PathBuf,
    /// The master that did not replace the file at this path; empty if there is no master.
    pub master: PathBuf,
    /// The bytes the duplicate occupies.
    pub bytes: u64,
}

/// The state a record makes true, as the CSV log calls it; `None` if the record sets no state of an op.
fn state_of(record: &Record, op: &OpenOp) -> Option<&'static str> {
    match record {
        Record::Intent(_)
        | Record::UndoIntent(_)
        | Record::UndoReflinkIntent(_)
        | Record::ReflinkIntent(_) => Some("PENDING"),
        Record::Retired { .. } if op.undo.as_ref().is_some_and(|made| made.cloned.is_some()) => {
            Some("CLONED")
        }
        Record::Retired { .. } => Some("LINKED"),
        Record::Done { .. } if op.undo.as_ref().is_some_and(|undo| undo.undoes.is_some()) => {
            Some("UNDONE")
        }
        Record::Done { .. } => Some("DELETED"),
        Record::Restored { .. } => Some("RESTORED"),
        Record::Conflict { .. } => Some("CONFLICT"),
        Record::RunStarted(_)
        | Record::UndoStarted(_)
        | Record::RelinkStarted(_)
        | Record::RunEnded(_)
        | Record::Shared(_)
        | Record::SharedContents { .. }
        | Record::Copied { .. } => None,
    }
}

/// Appends a line for every name of `op`, which `record` is about.
///
/// The bytes stand in the line of the first name, so that a column adds up. `None` where the op names a branch
/// its run does not have.
pub(super) fn push_op(
    lines: &mut Vec<u8>,
    time: Timestamp,
    op: &OpenOp,
    record: &Record,
) -> Option<()> {
    let Some(state) = state_of(record, op) else {
        return Some(());
    };
    let intent = &op.intent;
    let bytes = match record {
        Record::Done { reclaimed, .. } => *reclaimed,
        _ => intent.bytes,
    };
    let names = intent.names.iter().map(|name| (&name.path, name.from, name.to));
    // People look for the file that was cloned; the clone has the names below.
    let cloned = op.undo.as_ref().and_then(|undo| undo.cloned.as_ref());
    let master = cloned.unwrap_or(&intent.master);
    let step = Step { op: intent.op, state, master, bytes };
    push_names(lines, time, &op.run, &step, names)
}

/// Appends a line for every name of a file that shares its blocks since. `None` as for [`push_op`].
pub(super) fn push_shared(
    lines: &mut Vec<u8>,
    time: Timestamp,
    run: &RunStarted,
    shared: &SharedRecord,
) -> Option<()> {
    let names = shared.names.iter().map(|(branch, path)| (path, *branch, *branch));
    let (op, master, bytes) = (shared.op, &shared.master, shared.reclaimed);
    push_names(lines, time, run, &Step { op, state: "SHARED", master, bytes }, names)
}

/// What the lines of an op have in common.
struct Step<'s> {
    op: OpId,
    state: &'s str,
    master: &'s RecordedFile,
    bytes: u64,
}

/// Appends a line for every one of `names`: its path, the branch of the duplicate and that of the replacement.
fn push_names<'n>(
    lines: &mut Vec<u8>,
    time: Timestamp,
    run: &RunStarted,
    step: &Step<'_>,
    names: impl Iterator<Item = (&'n RelPath, BranchIdx, BranchIdx)>,
) -> Option<()> {
    let branch_path = |branch: BranchIdx, path: &RelPath| {
        let root = &run.branches.get(branch.index())?.path;
        Some(root.join(path.as_path()))
    };
    let master = branch_path(step.master.branch, &step.master.path)?;
    for (index, (path, from, to)) in names.enumerate() {
        CsvLine {
            time,
            run: step.op.run,
            op: Some(step.op),
            state: step.state,
            pool_path: &run.pool.join(path.as_path()),
            master: &master,
            from: &branch_path(from, path)?,
            to: &branch_path(to, path)?,
            bytes: if index == 0 { step.bytes } else { 0 },
        }
        .push(lines);
    }
    Some(())
}

/// Appends the line of a refusal.
pub(super) fn push_refused(lines: &mut Vec<u8>, time: Timestamp, refused: &RefusedLine) {
    CsvLine {
        time,
        run: refused.run,
        op: refused.op,
        state: &format!("REFUSED:{}", refused.reason),
        pool_path: &refused.pool_path,
        master: &refused.master,
        from: Path::new(""),
        to: Path::new(""),
        bytes: refused.bytes,
    }
    .push(lines);
}

struct CsvLine<'a> {
    time: Timestamp,
    run: u64,
    op: Option<OpId>,
    state: &'a str,
    pool_path: &'a Path,
    master: &'a Path,
    from: &'a Path,
    to: &'a Path,
    bytes: u64,
}

impl CsvLine<'_> {
    fn push(&self, lines: &mut Vec<u8>) {
        let op = self.op.map(|op| op.seq.to_string()).unwrap_or_default();
        let fields = [
            rfc3339(self.time).as_bytes(),
            self.run.to_string().as_bytes(),
            op.as_bytes(),
            self.state.as_bytes(),
            self.pool_path.as_os_str().as_bytes(),
            self.master.as_os_str().as_bytes(),
            self.from.as_os_str().as_bytes(),
            self.to.as_os_str().as_bytes(),
            self.bytes.to_string().as_bytes(),
        ]
        .map(quoted);
        lines.extend_from_slice(&fields.join(&b','));
        lines.push(b'\n');
    }
}

/// A field as it stands in a line: in quotes, its own doubled, where it could be misread without.
fn quoted(field: &[u8]) -> Vec<u8> {
    let plain = |b: &u8| !matches!(b, b'"' | b',' | b'\n' | b'\r' | b' ');
    if field.iter().all(plain) {
        return field.to_vec();
    }
    let mut out = vec![b'"'];
    for &b in field {
        if b == b'"' {
            out.push(b'"');
        }
        out.push(b);
    }
    out.push(b'"');
    out
}

/// Returns the lines of a log that are about the runs in `keep`, and the lines whose run cannot be parsed.
pub(super) fn of_runs(log: &[u8], keep: &BTreeSet<u64>) -> Vec<u8> {
    let mut kept = Vec::with_capacity(log.len());
    for line in whole_lines(log) {
        let run = line.split(|b| *b == b',').nth(1);
        let run = run.and_then(|run| std::str::from_utf8(run).ok()?.parse().ok());
        if run.is_none_or(|run: u64| keep.contains(&run)) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// The lines of a log, a newline within quotes being no end.
pub(super) fn whole_lines(log: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = log;
    std::iter::from_fn(move || {
        let mut in_quotes = false;
        let end = rest.iter().position(|b| {
            in_quotes ^= *b == b'"';
            *b == b'\n' && !in_quotes
        });
        let (line, after) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// The fields of a line, without quotes and its end.
pub(super) fn fields(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut fields, mut field, mut in_quotes) = (Vec::new(), Vec::new(), false);
    let mut bytes = line.strip_suffix(b"\n").unwrap_or(line).iter().peekable();
    while let Some(b) = bytes.next() {
        match b {
            b'"' if in_quotes && bytes.peek() == Some(&&b'"') => {
                bytes.next();
                field.push(b'"');
            }
            b'"' => in_quotes = !in_quotes,
            b',' if !in_quotes => fields.push(std::mem::take(&mut field)),
            b => field.push(*b),
        }
    }
    fields.push(field);
    fields
}

/// Completes a log whose last line a crash cut short: reads the log from a point between two lines.
#[derive(Debug, Default)]
pub(super) struct TornLine {
    in_quotes: bool,
    last: Option<u8>,
}

impl TornLine {
    /// Takes in the next bytes of the log.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.in_quotes ^= *b == b'"';
        }
        self.last = bytes.last().copied().or(self.last);
    }

    /// Returns the bytes to append before the next line.
    pub(super) fn completion(&self) -> &'static [u8] {
        match (self.in_quotes, self.last) {
            (true, _) => b"\"\n",
            (false, None | Some(b'\n')) => b"",
            (false, Some(_)) => b"\n",
        }
    }
}

/// Whether the end of a log is certainly one whole line; `false` if `tail` does not show it.
pub(super) fn ends_in_a_whole_line(tail: &[u8]) -> bool {
    let Some((b'\n', lines)) = tail.split_last() else {
        return false;
    };
    let Some(start) = lines.iter().rposition(|b| *b == b'\n') else {
        return false;
    };
    let line = &lines[start + 1..];
    let quotes = line.iter().filter(|b| **b == b'"').count();
    // The end of a line with a newline in a name has quotes that do not add up, or no time in front.
    let shape = b"0000-00-00T00:00:00Z,";
    let has_time = line.len() > shape.len()
        && shape.iter().zip(line).all(|(shape, b)| match shape {
            b'0' => b.is_ascii_digit(),
            _ => shape == b,
        });
    has_time && quotes % 2 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_could_be_misread() {
        for (field, expected) in [
            (&b"/a/b.mkv"[..], &b"/a/b.mkv"[..]),
            (b"", b""),
            (b"a,b", b"\"a,b\""),
            (b"a \"b\"", b"\"a \"\"b\"\"\""),
            (b"a\nb\r", b"\"a\nb\r\""),
            (b"a\xff\xfe", b"a\xff\xfe"),
        ] {
            assert_eq!(quoted(field), expected);
        }
    }

    #[test]
    fn fields_are_read_as_they_were_written() {
        let written: [&[u8]; 5] = [b"a", b"", b"b,\"c\"", b"d\ne", b"\xff "];
        let mut line = written.map(quoted).join(&b',');
        line.push(b'\n');
        assert_eq!(fields(&line), written);
    }

    #[test]
    fn lines_of_forgotten_runs_go() {
        let log = b"time,run,op\nT,1,1,\"a\nT,2,x\"\nT,2,1,b\nT,3,1,c\nT,3";
        let kept = of_runs(log, &[1, 3].into());
        assert_eq!(kept, b"time,run,op\nT,1,1,\"a\nT,2,x\"\nT,3,1,c\nT,3");
    }

    #[test]
    fn a_torn_line_is_closed_wherever_it_was_cut() {
        for (log, expected) in [
            ("", ""),
            ("a,b\n", ""),
            ("a,b\nc", "\n"),
            ("a,\"b\nc", "\"\n"),
            ("a,\"b\n", "\"\n"),
            ("a,\"b\"\"", "\"\n"),
            ("a,\"b\"", "\n"),
        ] {
            let mut torn = TornLine::default();
            log.as_bytes().chunks(2).for_each(|part| torn.read(part));
            assert_eq!(torn.completion(), expected.as_bytes(), "{log:?}");
        }
    }

    #[test]
    fn only_a_plain_last_line_counts_as_whole() {
        let time = "2026-01-31T23:59:59Z,1,2";
        for (tail, whole) in [
            (format!("header\n{time},a\n"), true),
            (format!("header\n{time},\"a,b\"\n"), true),
            (format!("header\n{time},a"), false),
            (format!("header\n{time},\"a\n"), false),
            (format!("header\n{time},\"a\nb\"\n"), false),
            (format!("header\n{time},\"a\nb\n"), false),
            (format!("{time}\n"), false),
            ("\n".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(ends_in_a_whole_line(tail.as_bytes()), whole, "{tail:?}");
        }
    }
}
