//! Reports whether the kept copies still have the recorded bytes.

use std::io::{self, Write};

use serde_json::json;

use super::Scene;
use super::json::{line, put_path, put_pool_path, typed};
use super::shown::{number, size};
use super::text::{Style, nonzero};
use crate::journal::RunSummary;
use crate::rescue::verify::{Subject, Verdict};

/// How many kept copies have each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Unchanged since the record.
    pub sound: u64,
    /// Other bytes with the same times.
    pub damaged: u64,
    /// Changed by another program since the record.
    pub changed: u64,
    /// No longer there.
    pub gone: u64,
    /// Could not be read.
    pub unreadable: u64,
    /// Not checked, because the verification was stopped.
    pub left: u64,
    /// Bytes read.
    pub bytes: u64,
}

impl Verified {
    /// Counts one verdict.
    pub fn count(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Sound => &mut self.sound,
            Verdict::Damaged => &mut self.damaged,
            Verdict::Changed => &mut self.changed,
            Verdict::Gone => &mut self.gone,
            Verdict::Unreadable(_) => &mut self.unreadable,
        } += 1;
    }

    /// Returns 1 if a file is damaged or cannot be read; a file that another program changed or removed is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.damaged + self.unreadable > 0)
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Sound => "sound",
        Verdict::Damaged => "damaged",
        Verdict::Changed => "changed",
        Verdict::Gone => "gone",
        Verdict::Unreadable(_) => "unreadable",
    }
}

/// Writes one file: a damaged or unreadable file always, a changed or removed file unless `-q`, a sound file with `-v`.
///
/// # Errors
/// When `out` fails.
pub fn text(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    subject: &Subject,
    verdict: &Verdict,
) -> io::Result<()> {
    let shown = match verdict {
        Verdict::Damaged | Verdict::Unreadable(_) => true,
        Verdict::Changed | Verdict::Gone => !scene.quiet,
        Verdict::Sound => scene.verbose > 0,
    };
    if !shown {
        return Ok(());
    }
    let style = Style::of(scene);
    write!(out, "{:<10}  ", word(verdict))?;
    for (n, name) in subject.names.iter().enumerate() {
        if n > 0 {
            out.write_all(b"\n            ")?;
        }
        out.write_all(&style.name(&scene.pool_path(name)))?;
    }
    if let Some(branch) = subject.branch {
        out.write_all(b" on ")?;
        out.write_all(&style.name(scene.root(branch)))?;
    }
    if let Verdict::Unreadable(why) = verdict {
        write!(out, ": {why}")?;
    }
    out.write_all(b"\n")
}

/// One file as a JSON line of type `verify`: `state`, `path`, `names`, `branch`, `blake3`, `detail`.
///
/// # Errors
/// When `out` fails.
pub fn json(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    subject: &Subject,
    verdict: &Verdict,
) -> io::Result<()> {
    let mut object = typed("verify");
    object.insert("state".into(), word(verdict).into());
    put_pool_path(&mut object, "path", scene, subject.names.first());
    object.insert("names".into(), subject.names.len().into());
    if let Some(branch) = subject.branch {
        put_path(&mut object, "branch", scene.root(branch));
    }
    object.insert("size".into(), subject.size.into());
    object
        .insert("blake3".into(), blake3::Hash::from_bytes(subject.blake3).to_hex().as_str().into());
    if let Verdict::Unreadable(why) = verdict {
        object.insert("detail".into(), why.as_str().into());
    }
    line(out, object)
}

/// The figures.
///
/// # Errors
/// When `out` fails.
pub fn conclusion(
    out: &mut dyn Write,
    run: &RunSummary,
    as_json: bool,
    verified: &Verified,
) -> io::Result<()> {
    let (v, number_of_run) = (verified, run.started.run);
    if as_json {
        let summary = json!({
            "type": "summary", "run": number_of_run, "done": run.done, "undone": run.undone, "sharing": run.shared,
            "sound": v.sound, "damaged": v.damaged, "changed": v.changed, "gone": v.gone,
            "unreadable": v.unreadable, "left": v.left, "bytes": v.bytes,
        });
        return writeln!(out, "{summary}");
    }
    if v.damaged > 0 {
        writeln!(
            out,
            "damaged: the bytes changed and the times did not; restore from a backup, look at the disk"
        )?;
    }
    let counts = nonzero(&[
        (v.sound, "sound"),
        (v.damaged, "damaged"),
        (v.changed, "changed since"),
        (v.gone, "gone"),
        (v.unreadable, "unreadable"),
        (v.left, "left"),
    ]);
    write!(out, "Run {number_of_run}: {}. ", done_of(run))?;
    let kept = v.sound + v.damaged + v.changed + v.gone + v.unreadable + v.left;
    match kept {
        0 => writeln!(out, "No file to read."),
        _ => {
            let (kept, counts) = (number(kept, "file"), counts.join(", "));
            writeln!(out, "Their bytes are in {kept}: {counts}. {} read.", size(v.bytes))
        }
    }
}

/// The files of a run as `history` counts them: several can have their bytes in one kept copy.
fn done_of(run: &RunSummary) -> String {
    let what = if run.links() { "replaced" } else { "copied back" };
    let mut parts = vec![format!("{} {what}", number(run.done, "file"))];
    parts.extend(nonzero(&[
        (run.undone, "of them taken back since"),
        (run.shared, "sharing blocks"),
    ]));
    parts.join(", ")
}
