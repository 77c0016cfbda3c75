//! Reports a run to a person: the ops that were not done and why, the bytes freed on each branch, one line of sums.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Scene;
use super::screen::{Screen, Tone};
use super::shown::{number, sanitised, size};
use super::state::{FileState, halt};
use super::table::Table;
use super::tally::Tally;
use crate::execute::Outcome;
use crate::fs::Place;
use crate::plan::Op;
use crate::plan::Refusal;
use crate::plan::refusal::{Reason, Weight};

/// How many paths stand for all of a reason, without `-v`.
const EXAMPLES: usize = 3;
/// How many pairs of directories are named, without `-v`.
const DIRECTORIES: usize = 20;
/// How many groups are named, without `-v`.
const LARGEST: usize = 5;

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// What each line begins with.
    pub(super) prefix: &'static str,
    /// Whether names are made harmless.
    pub(super) sanitise: bool,
    /// What the reader's screen can do.
    pub(super) screen: Screen,
}

impl Style {
    pub(super) fn of(scene: &Scene<'_>) -> Self {
        Self { prefix: "", sanitise: scene.terminal, screen: scene.screen }
    }

    pub(super) fn name(self, path: &Path) -> Vec<u8> {
        self.bytes(path.as_os_str().as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Vec<u8> {
        if self.sanitise { sanitised(bytes).into_bytes() } else { bytes.to_vec() }
    }
}

/// Writes one op: an op that was not done always, a done op with `-v`, the further names of an op with `-vv`.
///
/// # Errors
/// When `out` fails.
pub fn op(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    op: &Op,
    outcome: &Outcome,
    recovered: bool,
) -> io::Result<()> {
    let state = FileState::of(outcome, recovered);
    // Counted in the summary; one line each would be the whole plan after a Ctrl-C.
    let plain = state.is_well() || state == FileState::Left;
    if plain && (scene.verbose == 0 || scene.quiet) {
        return Ok(());
    }
    let style = Style::of(scene);
    let name = style.name(&scene.pool_path(&op.duplicate.path));
    let word = format!("{:<9}", state.as_str());
    let word = style.screen.paint(tone_of(state), &word);
    write!(out, "{word} {:>10}  ", size(op.bytes))?;
    out.write_all(&name)?;
    if op.names.len() > 1 {
        write!(out, " and {} more", op.names.len() - 1)?;
    }
    match halt(outcome) {
        Some(halt) => {
            write!(out, ": {}", halt.reason.as_str())?;
            if !halt.detail.is_empty() {
                out.write_all(b": ")?;
                out.write_all(&style.bytes(halt.detail.as_bytes()))?;
            }
            if let Outcome::Conflict(_, left) = outcome {
                where_kept(out, scene, left, style)?;
            }
        }
        None if op.undo().is_some() => {
            out.write_all(b" is a file of its own again on ")?;
            out.write_all(&style.name(scene.root(op.master.branch)))?;
        }
        None => {
            out.write_all(b" -> ")?;
            out.write_all(&style.name(&scene.pool_path(&op.master.path)))?;
        }
    }
    out.write_all(b"\n")?;
    let further = op.names.iter().filter(|n| n.path != op.duplicate.path);
    for name in further.take(if scene.verbose > 1 { usize::MAX } else { 0 }) {
        out.write_all(b"                       ")?;
        out.write_all(&style.name(&scene.pool_path(&name.path)))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Names the files of an op that ended in a conflict that are not at a path of their own, and the command that lists
/// all of them.
fn where_kept(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    left: &[Place],
    style: Style,
) -> io::Result<()> {
    for place in left {
        out.write_all(b"; a copy is ")?;
        out.write_all(&style.name(&scene.root(place.branch).join(place.path.as_path())))?;
    }
    out.write_all(b"; nothing was removed: mergerfs.xdedup status names what is left to settle")
}

fn tone_of(state: FileState) -> Tone {
    match state {
        FileState::Planned | FileState::Done | FileState::Recovered | FileState::Restored => {
            Tone::Good
        }
        FileState::Busy | FileState::Left => Tone::Warn,
        FileState::Failed | FileState::Conflict | FileState::Open => Tone::Bad,
    }
}

/// Writes the refusals by reason, each line in `style`.
pub(super) fn refusals(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    refused: &[Refusal],
    style: Style,
) -> io::Result<()> {
    let fails = |reason: Reason| reason.weight() == Weight::Failure;
    refusals_that(out, scene, refused, style, fails)
}

/// The same; only what `matters` where it is to be quiet.
pub(super) fn refusals_that(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    refusals: &[Refusal],
    style: Style,
    matters: fn(Reason) -> bool,
) -> io::Result<()> {
    let mut by_reason: BTreeMap<Reason, Vec<&Refusal>> = BTreeMap::new();
    for refusal in refusals {
        by_reason.entry(refusal.reason).or_default().push(refusal);
    }
    if scene.quiet {
        by_reason.retain(|reason, _| matters(*reason));
    }
    for (reason, all) in by_reason {
        let bytes = all.iter().map(|refusal| refusal.bytes).sum();
        reason_line(out, style, "refused", reason, (all.len() as u64, bytes))?;
        if reason == Reason::DirectoryDiffers && scene.verbose == 0 {
            directories(out, &all, style)?;
            continue;
        }
        let shown = match scene.verbose {
            0 if reason == Reason::NoPrimary => continue,
            0 => EXAMPLES.min(all.len()),
            _ => all.len(),
        };
        for refusal in &all[..shown] {
            example(out, scene, refusal, style)?;
        }
        if shown < all.len() {
            let more = all.len() - shown;
            writeln!(out, "{}    and {more} more (-v lists all)", style.prefix)?;
        }
    }
    Ok(())
}

/// Writes one line for each pair of directories that differ, with the files below them; the most bytes first.
fn directories(out: &mut dyn Write, all: &[&Refusal], style: Style) -> io::Result<()> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for refusal in all {
        let sum = sums.entry(&refusal.detail).or_default();
        *sum = (sum.0 + 1, sum.1 + refusal.bytes);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (_, bytes))| std::cmp::Reverse(*bytes));
    for (pair, (files, bytes)) in sums.iter().take(DIRECTORIES) {
        write!(out, "{}    ", style.prefix)?;
        out.write_all(&style.bytes(pair.as_bytes()))?;
        writeln!(out, ": {}, {}", number(*files, "file"), size(*bytes))?;
    }
    if let Some(more @ 1..) = sums.len().checked_sub(DIRECTORIES) {
        writeln!(out, "{}    and {more} more directories (-v lists all files)", style.prefix)?;
    }
    Ok(())
}

pub(super) fn reason_line(
    out: &mut dyn Write,
    style: Style,
    what: &str,
    reason: Reason,
    (count, bytes): (u64, u64),
) -> io::Result<()> {
    let (prefix, hint) = (style.prefix, reason.hint());
    let tone = match reason.weight() {
        Weight::Rule => Tone::Warn,
        Weight::Failure => Tone::Bad,
    };
    let word = style.screen.paint(tone, reason.as_str());
    let bytes = if bytes == 0 { String::new() } else { format!(", {}", size(bytes)) };
    writeln!(out, "{prefix}{what}: {count} {word}{bytes} ({hint})")
}

fn example(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    refusal: &Refusal,
    style: Style,
) -> io::Result<()> {
    out.write_all(style.prefix.as_bytes())?;
    out.write_all(b"    ")?;
    out.write_all(&style.name(&scene.refused_path(refusal)))?;
    if let Some(master) = &refusal.master {
        out.write_all(b" (copy of ")?;
        out.write_all(&style.name(&scene.pool_path(master)))?;
        out.write_all(b")")?;
    }
    if !refusal.detail.is_empty() {
        out.write_all(b": ")?;
        out.write_all(&style.bytes(refusal.detail.as_bytes()))?;
    }
    out.write_all(b"\n")
}

/// Writes the refusals, hints for the ops that were not done, the branches, and the line that adds up.
///
/// # Errors
/// When `out` fails.
pub fn conclusion(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    refused: &[Refusal],
    tally: &Tally,
) -> io::Result<()> {
    refusals(out, scene, refused, Style::of(scene))?;
    summary(out, scene, tally)
}

fn summary(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally) -> io::Result<()> {
    if scene.quiet && tally.exit_code() == 0 {
        return Ok(());
    }
    for (reason, count) in &tally.not_done {
        reason_line(out, Style::of(scene), "not done", *reason, (*count, 0))?;
    }
    if !scene.quiet && tally.planned + tally.recovered_done > 0 {
        figures(out, scene, tally, Style::of(scene))?;
    }
    recovery(out, tally)?;
    left_out(out, tally, "")?;
    total_line(out, scene, tally)
}

/// Writes how many files a scan left out, each line after `prefix`; writes nothing if there were no such files.
pub(super) fn left_out(out: &mut dyn Write, tally: &Tally, prefix: &str) -> io::Result<()> {
    let changed = tally.changed_in_scan;
    for (count, of) in [
        (tally.without_primary, "a primary (--any-master compares all)"),
        (tally.without_directory, "the directories named"),
    ] {
        if count > 0 {
            let files = number(count, "file");
            writeln!(out, "{prefix}not compared: {files} without a possible copy below {of}")?;
        }
    }
    if changed > 0 {
        let files = number(changed, "file");
        writeln!(out, "{prefix}left out: {files} that changed during the scan (run again)")?;
    }
    Ok(())
}

/// Writes the outcome of ops that earlier runs left open; writes nothing if there were no such ops.
///
/// # Errors
/// When `out` fails.
pub fn recovery(out: &mut dyn Write, tally: &Tally) -> io::Result<()> {
    let (finished, back, open) = (tally.recovered_done, tally.recovered_restored, tally.still_open);
    if finished + back + open == 0 {
        return Ok(());
    }
    let freed = exactly(tally.bytes_recovered);
    writeln!(
        out,
        "left open by earlier runs: {finished} finished ({freed}), {back} taken back, {open} still open"
    )
}

fn total_line(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally) -> io::Result<()> {
    let run = scene.run.map_or(String::new(), |run| format!("run {run}: "));
    let extra = [(tally.open, "left open"), (tally.conflicts, "in conflict")];
    let counted = |tone, count: u64, what: &str| {
        let text = format!("{count} {what}");
        match count {
            0 => text,
            _ => scene.screen.paint(tone, &text),
        }
    };
    let extra: String = extra
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!(", {}", counted(Tone::Bad, *count, what)))
        .collect();
    writeln!(
        out,
        "{run}{} planned = {} + {} + {} + {}{extra}; {} refused, {} already linked, {}",
        tally.planned,
        counted(Tone::Good, tally.done, "done"),
        counted(Tone::Warn, tally.busy, "busy"),
        counted(Tone::Bad, tally.failed, "failed"),
        counted(Tone::Warn, tally.left(), "left"),
        tally.refused,
        tally.already_linked,
        number(tally.groups, "group"),
    )?;
    writeln!(
        out,
        "{run}reclaimed {} of {} in {:.1} s",
        exactly(tally.bytes_reclaimed),
        exactly(tally.bytes_reclaimable + tally.bytes_recovered),
        tally.elapsed_s,
    )?;
    shared(out, tally, &run)
}

/// Says what stays in use although the copies go.
pub(super) fn shared(out: &mut dyn Write, tally: &Tally, prefix: &str) -> io::Result<()> {
    if tally.bytes_shared == 0 {
        return Ok(());
    }
    let bytes = size(tally.bytes_shared);
    writeln!(out, "{prefix}{bytes} more stays in use: a snapshot or a reflink shares these blocks")
}

/// A size in a unit, and to the byte where that says more.
pub(super) fn exactly(bytes: u64) -> String {
    match bytes {
        0..1024 => size(bytes),
        _ => format!("{} ({bytes} bytes)", size(bytes)),
    }
}

/// The largest groups and the disks.
pub(super) fn figures(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    tally: &Tally,
    style: Style,
) -> io::Result<()> {
    largest(out, scene, tally, style)?;
    disks(out, scene, tally, style)
}

fn largest(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally, style: Style) -> io::Result<()> {
    // One is the whole plan already.
    if tally.largest.len() < 2 {
        return Ok(());
    }
    let mut table = Table::new(&["largest groups", "size", "copies", "frees"]);
    let most = if scene.verbose > 0 { usize::MAX } else { LARGEST };
    for group in tally.largest.iter().take(most) {
        let figures = vec![size(group.size), (group.ops + 1).to_string(), size(group.bytes)];
        table.row(style.name(&scene.pool_path(&group.master)), figures);
    }
    table.write(out, style.prefix, style.screen)
}

fn disks(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally, style: Style) -> io::Result<()> {
    let known = |bytes: Option<u64>| bytes.map_or("?".to_owned(), size);
    let head = match scene.dry_run {
        true => ["disk", "used", "free", "free then", "frees", "ops"],
        false => ["disk", "used", "free before", "free after", "reclaimed", "ops"],
    };
    let mut table = Table::new(&head);
    for disk in tally.per_branch(scene.pool) {
        let then = disk.before_free.map(|free| free + disk.reclaimable);
        let (after, freed, ops) = match scene.dry_run {
            true => (then, size(disk.reclaimable), disk.planned.to_string()),
            false => (
                disk.after_free,
                format!("{} of {}", size(disk.reclaimed), size(disk.reclaimable)),
                format!("{} of {}", disk.done, disk.planned),
            ),
        };
        let figures = vec![known(disk.used), known(disk.before_free), known(after), freed, ops];
        table.row(style.name(&disk.path), figures);
    }
    table.write(out, style.prefix, style.screen)
}

#[cfg(test)]
mod tests;
