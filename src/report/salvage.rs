//! Reports what a salvage found and does, for `resume --salvage`.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::json;

use super::sanitised;
use crate::rescue::salvage::{Salvage, What, Why};

/// The action of a salvage, in one word and in a sentence.
fn words(what: What) -> (&'static str, &'static str) {
    match what {
        What::Finish => ("finish", "both copies are equal: one stays"),
        What::PutBack => ("put back", "the old copy gets its path again"),
        What::Clear => ("clear", "only the hidden name goes: its file is there without it"),
    }
}

/// Writes the findings for a person; `dirs` are the hidden directories' paths.
///
/// # Errors
/// When `out` fails.
pub fn text(
    out: &mut dyn Write,
    found: &Salvage,
    dirs: &[std::path::PathBuf],
    terminal: bool,
) -> io::Result<()> {
    let path = |out: &mut dyn Write, path: &Path| match terminal {
        true => write!(out, "{}", sanitised(path.as_os_str().as_bytes())),
        false => out.write_all(path.as_os_str().as_bytes()),
    };
    for op in &found.ops {
        let (word, sentence) = words(op.what);
        for about in &op.about {
            write!(out, "{word}: ")?;
            path(out, about)?;
            writeln!(out, "\n  {sentence}")?;
        }
    }
    for dir in dirs {
        write!(out, "clear: ")?;
        path(out, dir)?;
        writeln!(out, "\n  a hidden directory: it goes if it is empty")?;
    }
    for left in &found.left {
        write!(out, "leave: ")?;
        path(out, &left.at)?;
        if let Some(of) = &left.pool_path {
            write!(out, "\n  of ")?;
            path(out, of)?;
        }
        writeln!(out, "\n  {}", left.why.hint())?;
    }
    Ok(())
}

/// Writes the findings as JSON, one object per line.
///
/// # Errors
/// When `out` fails.
pub fn json(out: &mut dyn Write, found: &Salvage, dirs: &[std::path::PathBuf]) -> io::Result<()> {
    for op in &found.ops {
        let about: Vec<_> = op.about.iter().map(|path| path.to_string_lossy()).collect();
        let (action, _) = words(op.what);
        let (run, seq) = (op.op.run, op.op.seq);
        let line =
            json!({"type": "salvage", "action": action, "run": run, "op": seq, "paths": about});
        writeln!(out, "{line}")?;
    }
    for dir in dirs {
        let paths = [dir.to_string_lossy()];
        let line = json!({"type": "salvage", "action": "clear", "paths": paths});
        writeln!(out, "{line}")?;
    }
    for left in &found.left {
        let (at, of) = (left.at.to_string_lossy(), &left.pool_path);
        let of = of.as_ref().map(|path| path.to_string_lossy());
        let line = json!({
            "type": "salvage", "action": "leave", "paths": [at], "pool_path": of,
            "hint": left.why.hint(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Whether a person has to settle names that are left. Foreign names and names of another journal need no person.
#[must_use]
pub fn needs_somebody(found: &Salvage) -> bool {
    let foreign = |why: Why| matches!(why, Why::OtherJournal(_) | Why::NotOurs);
    found.left.iter().any(|left| !foreign(left.why))
}
