//! Reports the plan and the outcome of an undo to a person.

use std::io::{self, Write};

use super::Scene;
use super::shown::{number, size};
use super::tally::Tally;
use super::text::{Style, exactly, reason_line, recovery, refusals_that};
use crate::plan::Op;
use crate::plan::Refusal;
use crate::plan::refusal::Reason;

/// Writes the plan: one line per op, and the ops that are not undone.
///
/// # Errors
/// When `out` fails.
pub fn plan(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    undoes: u64,
    (ops, refused): (&[Op], &[Refusal]),
) -> io::Result<()> {
    let style = Style::of(scene);
    let shown = if scene.quiet { &[][..] } else { ops };
    for op in shown {
        let what = if op.undo().is_some() { "copy" } else { "link" };
        write!(out, "{what}  {:>10}  ", size(op.bytes))?;
        out.write_all(&style.name(&scene.pool_path(&op.duplicate.path)))?;
        if op.names.len() > 1 {
            write!(out, " and {} more", op.names.len() - 1)?;
        }
        out.write_all(b" to ")?;
        let to = op.names.first().map_or(op.master.branch, |name| name.to);
        out.write_all(&style.name(scene.root(to)))?;
        out.write_all(b"\n")?;
    }
    refusals_that(out, scene, refused, style, Reason::fails_undo)?;
    let copied: u64 = ops.iter().filter(|op| op.undo().is_some()).map(|op| op.bytes).sum();
    writeln!(
        out,
        "undo of run {undoes}: {}, {} to be copied; {} not undone; nothing was changed, -e does it",
        number(ops.len(), "op"),
        exactly(copied),
        refused.len(),
    )
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
    refusals_that(out, scene, refused, Style::of(scene), Reason::fails_undo)?;
    if scene.quiet && tally.undo_exit_code() == 0 {
        return Ok(());
    }
    for (reason, count) in &tally.not_done {
        reason_line(out, Style::of(scene), "not done", *reason, (*count, 0))?;
    }
    recovery(out, tally)?;
    let run = scene.run.map_or(String::new(), |run| format!("run {run}, "));
    writeln!(
        out,
        "{run}undo of run {undoes}: {} planned = {} done + {} busy + {} failed + {} left; {} not undone; {} copied, {} freed in {:.1} s",
        tally.planned,
        tally.done,
        tally.busy,
        tally.failed,
        tally.left(),
        tally.refused,
        exactly(tally.bytes_copied),
        exactly(tally.bytes_reclaimed),
        tally.elapsed_s,
    )
}
