//! The log of the script this tool replaces, `filepath,status`, as Python's `csv` writes it.

use std::collections::HashMap;

const STATES: [&[u8]; 3] = [b"PENDING", b"DELETED", b"LINKED"];

/// The contents of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The paths whose last status is not `LINKED`, in the order of the log.
    pub paths: Vec<Vec<u8>>,
    /// Lines that have a status and no readable path, as they are. A line that was cut short is not among them: its
    /// path has a whole line before it, or nothing was done to that path.
    pub unreadable: Vec<Vec<u8>>,
}

/// Reads a log.
///
/// # Errors
/// When `log` is not such a log: the reason.
pub fn unfinished(log: &[u8]) -> Result<Unfinished, String> {
    // Editors and spreadsheets put the byte order mark there.
    let log = log.strip_prefix(b"\xef\xbb\xbf").unwrap_or(log);
    let mut lines = lines(log).into_iter();
    let is_header = |line: &OldLogLine| matches!(line, OldLogLine::Row(path, status) if path == b"filepath" && status == b"status");
    if !lines.next().is_some_and(|line| is_header(&line)) {
        return Err("its first line is not filepath,status".to_owned());
    }
    let mut found = Unfinished::default();
    let mut last = HashMap::new();
    for line in lines {
        let (path, status) = match line {
            OldLogLine::Row(path, status) => (path, status),
            OldLogLine::Cut => continue,
            OldLogLine::Unreadable(line) => {
                found.unreadable.push(line);
                continue;
            }
        };
        // The status may be the beginning of a known status: a line that was cut short, with others after it.
        if !STATES.iter().any(|state| state.starts_with(&status)) {
            let other = String::from_utf8_lossy(&status);
            return Err(format!("it has a status that is not known: {other:?}"));
        }
        if last.insert(path.clone(), status == b"LINKED").is_none() {
            found.paths.push(path);
        }
    }
    found.paths.retain(|path| last.get(path) == Some(&false));
    Ok(found)
}

enum OldLogLine {
    Row(Vec<u8>, Vec<u8>),
    Cut,
    Unreadable(Vec<u8>),
}

/// Splits the log into lines. A row can have line breaks within quotes. If the quotes of a row do not match, the row is
/// a line that was cut short, and the text after it is read by itself.
fn lines(log: &[u8]) -> Vec<OldLogLine> {
    let (mut lines, mut rest) = (Vec::new(), log);
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = rest[..end].trim_ascii_end();
        let (read, used) = match row(rest) {
            Some((fields, used)) => match <[Vec<u8>; 2]>::try_from(fields) {
                Ok([path, status]) => (OldLogLine::Row(path, status), used),
                Err(fields) if fields.len() < 2 => (OldLogLine::Cut, used),
                Err(_) => (OldLogLine::Unreadable(line.to_vec()), used),
            },
            None if has_status(line) => (OldLogLine::Unreadable(line.to_vec()), end + 1),
            None => (OldLogLine::Cut, end + 1),
        };
        lines.push(read);
        rest = &rest[used..];
    }
    lines
}

fn has_status(line: &[u8]) -> bool {
    let status = line.rsplit(|b| *b == b',').next();
    status.is_some_and(|status| STATES.contains(&status))
}

/// Returns the fields of the row that `log` begins with, and its length with the line break; `None` if `log` begins
/// with no row.
fn row(log: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (mut fields, mut at) = (Vec::new(), 0);
    loop {
        let (field, end) = match log.get(at)? {
            b'"' => quoted(log, at + 1)?,
            _ => plain(log, at)?,
        };
        fields.push(field);
        match log.get(end..)? {
            [b',', ..] => at = end + 1,
            [b'\n', ..] => return Some((fields, end + 1)),
            [b'\r', b'\n', ..] => return Some((fields, end + 2)),
            _ => return None,
        }
    }
}

/// Reads a field whose quote was before `at`; returns the field and where it ends.
fn quoted(log: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut field = Vec::new();
    loop {
        match log.get(at..)? {
            [b'"', b'"', ..] => {
                field.push(b'"');
                at += 2;
            }
            [b'"', ..] => return Some((field, at + 1)),
            [b, ..] => {
                field.push(*b);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// Reads a field without quotes; returns the field and where it ends.
fn plain(log: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let field = log.get(at..)?;
    let field = &field[..field.iter().position(|b| matches!(b, b',' | b'\n'))?];
    let field = field.strip_suffix(b"\r").unwrap_or(field);
    let whole = !field.contains(&b'"');
    whole.then(|| (field.to_vec(), at + field.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(log: &[u8]) -> Vec<Vec<u8>> {
        let found = unfinished(log).unwrap();
        assert!(found.unreadable.is_empty(), "{found:?}");
        found.paths
    }

    #[test]
    fn the_last_status_of_a_path_counts() {
        let log = b"filepath,status\r\n/p/a,PENDING\r\n\"/p/b,\"\"x\"\"\n\",PENDING\r\n/p/a,DELETED\r\n/p/c,PENDING\r\n\
            /p/a,LINKED\r\n\"/p/b,\"\"x\"\"\n\",DELETED\r\n/p/d,DEL";
        assert_eq!(paths(log), [b"/p/b,\"x\"\n".to_vec(), b"/p/c".to_vec()]);
        let cut = b"filepath,status\n/p/a,DELETED\n/p/a,LIN\r\n/p/b,LINKED\n";
        assert_eq!(paths(cut), [b"/p/a".to_vec()]);
        assert!(unfinished(b"time,run\n").is_err());
        assert!(unfinished(b"filepath,status\n/a,EATEN\n").is_err());
    }

    #[test]
    fn a_line_cut_within_quotes_does_not_swallow_those_after_it() {
        let log = b"filepath,status\r\n/p/a,DELETED\r\n\"/p/b,\r\n/p/c,DELETED\r\n\"/p/d,e\",DELETED\r\n\"/p/d";
        let lost = [&b"/p/a"[..], b"/p/c", b"/p/d,e"].map(<[u8]>::to_vec);
        assert_eq!(paths(log), lost);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_and_one_cut_short_is_not() {
        let log = b"\xef\xbb\xbffilepath,status\n/p/a,b,DELETED\n/p/c,DELETED\n/p/d,DEL/p/e,PENDING\n\"/p/f\"g\",DELETED\n/p/h\n";
        let found = unfinished(log).unwrap();
        assert_eq!(found.paths, [b"/p/c".to_vec()]);
        let told = [&b"/p/a,b,DELETED"[..], b"/p/d,DEL/p/e,PENDING", b"\"/p/f\"g\",DELETED"];
        assert_eq!(found.unreadable, told.map(<[u8]>::to_vec));
    }
}
