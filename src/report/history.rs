//! Writes one line per run, for `history`.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use super::json::{line, put_fields, put_path, put_paths, typed};
use super::shown::{number, sanitised, shell_plain, size};
use super::{Screen, fit};
use crate::journal::{RunSummary, rfc3339};

/// Runs shown without `-v`: one screen.
const SHOWN: usize = 20;

/// The runs, newest last, in lines that fit `screen`.
///
/// # Errors
/// When `out` fails.
pub fn text(
    out: &mut dyn Write,
    runs: &[&RunSummary],
    all: bool,
    screen: Screen,
) -> io::Result<()> {
    let first = if all { 0 } else { runs.len().saturating_sub(SHOWN) };
    if first > 0 {
        writeln!(out, "{first} earlier runs (-v lists all)")?;
    }
    writeln!(
        out,
        "{:>5}  {:<20}  {:>7}  {:>7}  {:>5}  {:>10}  what",
        "run", "time", "done", "undone", "other", "free now"
    )?;
    for run in &runs[first..] {
        let pool = sanitised(run.started.pool.as_os_str().as_encoded_bytes());
        let figures = format!(
            "{:>5}  {:<20}  {:>7}  {:>7}  {:>5}  {:>10}",
            run.started.run,
            rfc3339(run.started.time),
            run.done,
            run.undone,
            run.restored + run.conflicts + run.open,
            size(run.still_free()),
        );
        let what = format!("{}{}", fit::whole(&pool), remarks(run));
        let line = format!("{figures}  {what}");
        match fit::is_whole(line.as_bytes(), screen) {
            true => writeln!(out, "{}", fit::fitted(&line, screen, 0))?,
            false => {
                writeln!(out, "{figures}")?;
                writeln!(out, "{}", fit::fitted(&format!("{:7}{what}", ""), screen, 2))?;
            }
        }
        if !run.started.options.is_empty() {
            let words = run.started.options.iter();
            let words = words.map(|word| fit::whole(&shell_plain(word)));
            let words = words.collect::<Vec<_>>().join(" ");
            writeln!(out, "{}", fit::fitted(&format!("{:7}{words}", ""), screen, 2))?;
        }
    }
    let linked = runs.iter().filter(|run| run.links());
    let (done, undone) =
        linked.fold((0, 0), |(done, undone), run| (done + run.done, undone + run.undone));
    let free: u64 = runs.iter().map(|run| run.still_free()).sum();
    let sum = format!(
        "{}: {} replaced, {undone} of them taken back since, {} more is free now\n",
        number(runs.len(), "run"),
        number(done, "file"),
        size(free)
    );
    out.write_all(fit::fitted(&sum, screen, 2).as_bytes())
}

fn remarks(run: &RunSummary) -> String {
    let mut remarks = String::new();
    if let Some(of) = run.undoes {
        remarks += &format!(", undo of run {of}");
    }
    for (count, what) in [
        (run.cloned, "clones"),
        (run.shared, "sharing blocks"),
        (run.restored, "put back"),
        (run.conflicts, "in conflict"),
        (run.open, "OPEN (resume)"),
    ] {
        if count > 0 {
            remarks += &format!(", {count} {what}");
        }
    }
    if run.ended.is_none() {
        remarks += ", interrupted";
    }
    remarks
}

/// One JSON line a run, of type `run`.
///
/// # Errors
/// When `out` fails.
pub fn json(out: &mut dyn Write, run: &RunSummary) -> io::Result<()> {
    let mut object = typed("run");
    put_fields(&mut object, &figures(run))?;
    object.insert("version".into(), run.started.version.as_str().into());
    object.insert("undoes".into(), run.undoes.into());
    object.insert("links".into(), run.links().into());
    object.insert("undone".into(), run.undone.into());
    let options = run.started.options.iter().map(|word| OsStr::from_bytes(word).into());
    put_paths(&mut object, "options", options.collect());
    let ended = run.ended.as_ref().map(|ended| rfc3339(ended.time));
    object.insert("ended".into(), ended.into());
    put_path(&mut object, "pool", &run.started.pool);
    line(out, object)
}

/// One JSON line about runs that were, or would be, forgotten: how many, and how many are kept.
///
/// # Errors
/// When `out` fails.
pub fn pruned_json(
    out: &mut dyn Write,
    dry_run: bool,
    (forgotten, kept): (usize, usize),
) -> io::Result<()> {
    let mut object = typed("prune");
    object.insert("dry_run".into(), dry_run.into());
    object.insert("forgotten".into(), forgotten.into());
    object.insert("kept".into(), kept.into());
    line(out, object)
}

/// What `status` says about a run too.
pub(super) fn figures(run: &RunSummary) -> Value {
    json!({
        "run": run.started.run,
        "time": rfc3339(run.started.time),
        "begun": run.intents,
        "done": run.done,
        "cloned": run.cloned,
        "sharing": run.shared,
        "restored": run.restored,
        "conflicts": run.conflicts,
        "open": run.open,
        "bytes_reclaimed": run.reclaimed,
        "bytes_free_now": run.still_free(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Timestamp;
    use crate::journal::RunStarted;

    fn run() -> RunSummary {
        let started = RunStarted {
            run: 7,
            version: String::new(),
            time: Timestamp { secs: 0, nanos: 0 },
            pool: "/srv/a pool".into(),
            branches: Vec::new(),
            newest_dirs: false,
            options: ["-E", "some films/*", "-p", "/srv/a pool/media", "/srv/a pool"]
                .map(|word| word.as_bytes().to_vec())
                .into(),
        };
        RunSummary {
            started: started.into(),
            undoes: None,
            relinks: false,
            undone: 0,
            intents: 2,
            open: 0,
            done: 1,
            cloned: 0,
            restored: 0,
            conflicts: 1,
            shared: 0,
            reclaimed: 4096,
            given_back: 0,
            ended: None,
        }
    }

    #[test]
    fn a_run_fits_a_terminal_and_its_paths_stay_whole() {
        let told = |width| {
            let mut out = Vec::new();
            text(&mut out, &[&run()], false, Screen { colour: false, width }).unwrap();
            String::from_utf8(out).unwrap()
        };
        let run = "    7  1970-01-01T00:00:00Z        1        0      1     4.0 KiB";
        let sum = "1 run: 1 file replaced, 0 of them taken back since, 4.0 KiB more is free now\n";
        let options = "-E 'some films/*' -p '/srv/a pool/media' '/srv/a pool'";
        let head = "  run  time                     done   undone  other    free now  what\n";
        assert_eq!(
            told(None),
            format!(
                "{head}{run}  /srv/a pool, 1 in conflict, interrupted\n       {options}\n{sum}"
            )
        );
        assert_eq!(
            told(Some(79)),
            format!(
                "{head}{run}\n       /srv/a pool, 1 in conflict, interrupted\n       {options}\n{sum}"
            )
        );
    }
}
