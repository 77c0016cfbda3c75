//! Reports what a salvage found and does, for `resume --salvage`.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::json::{line, put_op, put_path, put_paths, typed};
use super::sanitised;
use crate::rescue::salvage::{Salvage, What, Why};

/// The action of a salvage, in one word and in a sentence.
fn words(what: What) -> (&'static str, &'static str) {
    match what {
        What::Finish => ("finish", "both copies are equal: one stays"),
        What::PutBack => ("put back", "the old copy gets its path again"),
        What::TakeBack => {
            ("take back", "two disks have its path: the old copy keeps all its paths")
        }
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
pub fn json(out: &mut dyn Write, found: &Salvage, dirs: &[PathBuf]) -> io::Result<()> {
    let salvage = |action: &str, paths: Vec<PathBuf>| {
        let mut object = typed("salvage");
        object.insert("action".into(), action.into());
        put_paths(&mut object, "paths", paths);
        object
    };
    for op in &found.ops {
        let (action, _) = words(op.what);
        let mut object = salvage(action, op.about.clone());
        put_op(&mut object, op.op);
        line(out, object)?;
    }
    for dir in dirs {
        line(out, salvage("clear", vec![dir.clone()]))?;
    }
    for left in &found.left {
        let mut object = salvage("leave", vec![left.at.clone()]);
        match &left.pool_path {
            Some(path) => put_path(&mut object, "pool_path", path),
            None => drop(object.insert("pool_path".into(), Value::Null)),
        }
        object.insert("hint".into(), left.why.hint().into());
        line(out, object)?;
    }
    Ok(())
}

/// Whether a person has to settle names that are left. Foreign names and names of another journal need no person.
#[must_use]
pub fn needs_somebody(found: &Salvage) -> bool {
    let foreign = |why: Why| matches!(why, Why::OtherJournal(_) | Why::NotOurs);
    found.left.iter().any(|left| !foreign(left.why))
}
