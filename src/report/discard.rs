//! Reports which hidden files `resume --discard` removes.
//!
//! As JSON one object a file, `type` `discard`: `path`, `pool_path`, `run`, `op`, `size`, `frees` (bytes), `last_copy`, and
//! `state`: `planned`, `removed`, `busy`, `changed` or `failed`, with `detail` where a call failed.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::json::{line, put_path, typed};
use super::shown::{sanitised, size};
use crate::plan::OpId;
use crate::rescue::unsettled::FileNow;

/// The outcome for a hidden file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscardState {
    /// A dry run: the file would be removed.
    Planned,
    /// The file was removed.
    Removed,
    /// Another process has the file open.
    Busy,
    /// The file has changed since it was examined.
    Changed,
    /// A call failed.
    Failed(String),
}

/// A hidden file and its outcome.
#[derive(Debug, Clone)]
pub struct Discarded<'a> {
    /// The file.
    pub file: &'a FileNow,
    /// Its op.
    pub op: OpId,
    /// The pool path that the file had; `None` if the journal no longer knows it.
    pub pool_path: Option<&'a Path>,
    /// Bytes that become free.
    pub frees: u64,
    /// Whether no visible file has the same bytes.
    pub last_copy: bool,
    /// The outcome.
    pub state: DiscardState,
}

impl DiscardState {
    fn words(&self) -> (&'static str, String) {
        match self {
            Self::Planned => ("planned", "would remove".to_owned()),
            Self::Removed => ("removed", "removed".to_owned()),
            Self::Busy => ("busy", "kept, a program has it open:".to_owned()),
            Self::Changed => ("changed", "kept, it changed meanwhile:".to_owned()),
            Self::Failed(why) => {
                let why = sanitised(why.as_bytes());
                ("failed", format!("kept, {why}:"))
            }
        }
    }
}

/// Writes one file for a person.
///
/// # Errors
/// When `out` fails.
pub fn text(out: &mut dyn Write, it: &Discarded<'_>) -> io::Result<()> {
    let shown = |path: &Path| sanitised(path.as_os_str().as_bytes());
    let (path, size) = (shown(&it.file.path), size(it.file.size));
    writeln!(out, "{} {path} ({size})", it.state.words().1)?;
    if it.state == DiscardState::Planned {
        let run = it.op.run;
        match it.pool_path {
            Some(of) => writeln!(out, "  run {run} left it; its path was {}", shown(of))?,
            None => writeln!(out, "  run {run} left it")?,
        }
        if it.last_copy {
            writeln!(out, "  this is the last copy: no file you can see has these bytes")?;
        }
    }
    Ok(())
}

/// Writes one file as a JSON line.
///
/// # Errors
/// When `out` fails.
pub fn json(out: &mut dyn Write, it: &Discarded<'_>) -> io::Result<()> {
    let mut object = typed("discard");
    put_path(&mut object, "path", &it.file.path);
    if let Some(of) = it.pool_path {
        put_path(&mut object, "pool_path", of);
    }
    object.insert("run".into(), it.op.run.into());
    object.insert("op".into(), it.op.seq.into());
    object.insert("size".into(), it.file.size.into());
    object.insert("frees".into(), it.frees.into());
    object.insert("last_copy".into(), it.last_copy.into());
    object.insert("state".into(), it.state.words().0.into());
    if let DiscardState::Failed(why) = &it.state {
        object.insert("detail".into(), why.as_str().into());
    }
    line(out, object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{FileKind, Timestamp};

    #[test]
    fn a_file_is_told_with_its_size_and_what_it_was() {
        let file = FileNow {
            path: "/mnt/d1/.xdedup-\n".into(),
            kind: FileKind::Regular,
            ino: 1,
            size: 4096,
            modified: Timestamp::default(),
        };
        let mut it = Discarded {
            file: &file,
            op: OpId { run: 2, seq: 1 },
            pool_path: Some(Path::new("/pool/a")),
            frees: 8192,
            last_copy: true,
            state: DiscardState::Planned,
        };
        let mut out = Vec::new();
        text(&mut out, &it).unwrap();
        let planned = "would remove /mnt/d1/.xdedup-\\n (4.0 KiB)\n  run 2 left it; its path was /pool/a\n  \
             this is the last copy: no file you can see has these bytes\n";
        assert_eq!(String::from_utf8(out).unwrap(), planned);
        it.state = DiscardState::Failed("no".into());
        let mut out = Vec::new();
        json(&mut out, &it).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&read["state"], &read["detail"]), (&"failed".into(), &"no".into()));
        assert_eq!((&read["frees"], &read["last_copy"]), (&8192.into(), &true.into()));
    }
}
