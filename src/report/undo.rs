//! Reports the plan and the outcome of an undo to a person.

use std::io::{self, Write};

use super::Scene;
use super::shown::{ITEMS, number, size};
use super::tally::Tally;
use super::text::{
    Style, linked_of, more_files, reason_line, recovery, rest, skipped_that, unfinished,
};
use crate::plan::refusal::Reason;
use crate::plan::{Op, Plan, Refusal};

/// Writes the plan: one line per op, and the ops that are not undone. `fits` is whether the disks have room for the copies.
///
/// # Errors
/// When `out` fails.
pub fn plan(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    undoes: u64,
    (ops, refused): (&[Op], &[Refusal]),
    fits: bool,
) -> io::Result<()> {
    let style = Style::of(scene);
    let shown = match (scene.quiet, scene.verbose) {
        (true, _) => 0,
        (_, 0) => ITEMS.min(ops.len()),
        _ => ops.len(),
    };
    let (shown, more) = ops.split_at(shown);
    for op in shown {
        let what = match () {
            () if op.undo().is_some() => "copy ",
            () if op.reflinks() => "clone",
            () => "link ",
        };
        write!(out, "{what} {:>10}  ", size(op.bytes))?;
        out.write_all(&style.name(&scene.pool_path(&op.duplicate.path)))?;
        if op.names.len() > 1 {
            write!(out, " and {} more", op.names.len() - 1)?;
        }
        out.write_all(b" to ")?;
        let to = op.names.first().map_or(op.master.branch, |name| name.to);
        out.write_all(&style.name(scene.root(to)))?;
        out.write_all(b"\n")?;
    }
    if !scene.quiet {
        more_files(out, "", more.iter().map(|op| op.bytes))?;
    }
    let tally = Tally::planned(&Plan { refusals: refused.to_vec(), ..Plan::default() });
    skipped_that(out, scene, refused, style, Reason::fails_undo)?;
    let copied: u64 = ops.iter().filter(|op| op.undo().is_some()).map(|op| op.bytes).sum();
    let files = number(ops.len(), "file");
    match (ops.len(), copied) {
        (0, _) => write!(out, "Undo of run {undoes}: nothing can be taken back.")?,
        (_, 0) if ops.iter().any(Op::reflinks) => {
            write!(out, "Undo of run {undoes}: {files} can be replaced again.")?;
        }
        (_, 0) => write!(out, "Undo of run {undoes}: {files} can be linked again.")?,
        _ => write!(out, "Undo of run {undoes}: {files} can be copied back, {}.", size(copied))?,
    }
    rest(out, &tally)?;
    match fits && !ops.is_empty() {
        true => writeln!(out, "Nothing was changed. Run again with -e to apply."),
        false => Ok(()),
    }
}

/// Writes how the undo ended.
///
/// # Errors
/// When `out` fails.
pub fn conclusion(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    undoes: u64,
    (refused, tally): (&[Refusal], &Tally),
) -> io::Result<()> {
    skipped_that(out, scene, refused, Style::of(scene), Reason::fails_undo)?;
    if scene.quiet && tally.undo_exit_code() == 0 {
        return Ok(());
    }
    for (reason, count) in &tally.not_done {
        reason_line(out, Style::of(scene), "not taken back", *reason, (*count, 0))?;
    }
    recovery(out, tally)?;
    write!(out, "Undo of run {undoes}: ")?;
    let files = linked_of(tally);
    let freed = tally.bytes_reclaimed - tally.bytes_recovered.min(tally.bytes_reclaimed);
    let seconds = tally.elapsed_s;
    match (tally.planned, freed) {
        (0, _) if tally.recovered_done > 0 => write!(out, "nothing is left to take back.")?,
        (0, _) => write!(out, "nothing can be taken back.")?,
        (_, 0) => {
            let copied = size(tally.bytes_copied);
            write!(out, "{files} copied back, {copied} in {seconds:.1} s.")?;
        }
        (_, freed) => {
            write!(out, "{files} linked again, {} freed in {seconds:.1} s.", size(freed))?
        }
    }
    unfinished(out, scene, tally, "not taken back")?;
    rest(out, tally)
}
