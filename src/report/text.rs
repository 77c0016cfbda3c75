//! Reports a run to a person: the ops that were not done and why, the bytes freed on each branch, one line of sums.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Scene;
use super::fit;
use super::screen::{Screen, Tone};
use super::shown::{number, sanitised, shell_word, size};
use super::state::{FileState, halt};
use super::table::Table;
use super::tally::Tally;
use super::words::{counted, known};
use crate::execute::Outcome;
use crate::fs::Place;
use crate::plan::Refusal;
use crate::plan::refusal::{Reason, Weight};
use crate::plan::{Op, OpId};

/// How many paths stand for all of a reason, without `-v`.
const EXAMPLES: usize = 3;
/// How many pairs of directories are named, without `-v`.
const DIRECTORIES: usize = 20;
/// How many paths stand for all of many reasons, so that the text stays short.
const EXAMPLES_IN_ALL: usize = 4;

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

    pub(super) fn bytes(self, bytes: &[u8]) -> Vec<u8> {
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
    let mut line = format!("{word} {:>10}  ", size(op.bytes)).into_bytes();
    line.extend(name);
    if op.names.len() > 1 {
        line.extend(format!(" and {} more", op.names.len() - 1).bytes());
    }
    out.write_all(&line)?;
    match halt(outcome) {
        Some(halt) => {
            let mut why = halt.reason.as_str().as_bytes().to_vec();
            if !halt.detail.is_empty() {
                why.extend([b": ", &*style.bytes(halt.detail.as_bytes())].concat());
            }
            if let Outcome::Conflict(_, left) = outcome {
                where_kept(&mut why, scene, left, style)?;
            }
            line.extend([b": ", &*why].concat());
            if fit::is_whole(&line, style.screen) {
                out.write_all(b": ")?;
                out.write_all(&why)?;
            } else {
                let why = [b"            ", &*why].concat();
                out.write_all(b":\n")?;
                out.write_all(&fit::words(&why, style.screen, 0))?;
            }
        }
        None if op.takes_back() == Some(OpId::LOST) => {
            out.write_all(b": settled; what it was part of is lost with the journal")?;
        }
        None if op.undo().is_some() => {
            out.write_all(b" is a separate copy again on ")?;
            out.write_all(&style.name(scene.root(op.master.branch)))?;
        }
        None => {
            out.write_all(" → ".as_bytes())?;
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
        // In quotes it stays whole where the line is broken.
        let quote: &[u8] = if style.sanitise { b"\"" } else { b"" };
        let path = style.name(&scene.root(place.branch).join(place.path.as_path()));
        out.write_all(&[b"; a copy is ", quote, &*path, quote].concat())?;
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

/// Writes the skipped files by reason: their number, their bytes, some examples, and the way out.
pub(super) fn skipped(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    refused: &[Refusal],
) -> io::Result<()> {
    let fails = |reason: Reason| reason.weight() == Weight::Failure;
    skipped_that(out, scene, refused, Style::of(scene), fails)
}

/// The same in a style; only what `matters` where it is to be quiet.
pub(super) fn skipped_that(
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
    let examples = (EXAMPLES_IN_ALL / by_reason.len().max(1)).clamp(1, EXAMPLES);
    for (reason, all) in by_reason {
        let sum = all.iter().map(|refusal| refusal.bytes).sum();
        reason_line(out, style, "skipped", reason, (things(reason, &all), sum))?;
        if reason == Reason::DirectoryDiffers && scene.verbose == 0 {
            directories(out, &all, style)?;
            continue;
        }
        let shown = match scene.verbose {
            0 if reason == Reason::NoPrimary => continue,
            0 => examples.min(all.len()),
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

/// How many files a reason skips, or directories and disks where it skips these as a whole.
fn things(reason: Reason, all: &[&Refusal]) -> String {
    // A disk has a path outside the pool.
    let is_disk =
        |refusal: &&&Refusal| reason == Reason::DiskReadOnly && refusal.path.starts_with(b"/");
    let disks = all.iter().filter(is_disk).count();
    let file = if reason == Reason::OtherFilesystem { "directory" } else { "file" };
    let parts = [(disks, "disk"), (all.len() - disks, file)];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, what)| number(count, what)).collect::<Vec<_>>().join(" and ")
}

/// Writes a reason with what it skips, the bytes of that if these are known, and what the user can do.
pub(super) fn reason_line(
    out: &mut dyn Write,
    style: Style,
    what: &str,
    reason: Reason,
    (things, bytes): (String, u64),
) -> io::Result<()> {
    let (prefix, hint) = (style.prefix, reason.hint());
    let tone = match reason.weight() {
        Weight::Rule => Tone::Warn,
        Weight::Failure => Tone::Bad,
    };
    let word = style.screen.paint(tone, reason.as_str());
    let bytes = if bytes > 0 { format!(" of {}", size(bytes)) } else { String::new() };
    let what = format!("{prefix}{what}: {things}{bytes}, {word}");
    let line = format!("{what}: {hint}\n");
    match fit::is_whole(line.trim_end().as_bytes(), style.screen) {
        true => out.write_all(line.as_bytes()),
        false => {
            writeln!(out, "{what}:")?;
            out.write_all(fit::fitted(&format!("  {hint}\n"), style.screen, 0).as_bytes())
        }
    }
}

/// Writes a skipped file in one line, or in a line for each thing that is said of it where that is too wide. Paths stay
/// whole: they are there to be copied.
fn example(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    refusal: &Refusal,
    style: Style,
) -> io::Result<()> {
    let path = style.name(&scene.refused_path(refusal));
    let other = refusal.master.as_ref().filter(|kept| kept.as_bytes() != refusal.path);
    let copy = other.map(|kept| [b"copy of ", &*style.name(&scene.pool_path(kept))].concat());
    let detail = style.bytes(refusal.detail.as_bytes());
    let mut line = [style.prefix.as_bytes(), b"    ", &path].concat();
    if let Some(copy) = &copy {
        line.extend([b" (", &**copy, b")"].concat());
    }
    if !detail.is_empty() {
        line.extend([b": ", &*detail].concat());
    }
    if fit::is_whole(&line, style.screen) {
        line.push(b'\n');
        return out.write_all(&line);
    }
    let lines = [[b"    ", &*path].concat()].into_iter();
    let more = copy.into_iter().chain((!detail.is_empty()).then_some(detail));
    for line in lines.chain(more.map(|part| [b"        ", &*part].concat())) {
        out.write_all(style.prefix.as_bytes())?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Writes the skipped files, hints for the files that were not linked, the disks, and the sentence that adds up.
///
/// # Errors
/// When `out` fails.
pub fn conclusion(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    refused: &[Refusal],
    tally: &Tally,
) -> io::Result<()> {
    skipped(out, scene, refused)?;
    summary(out, scene, tally)
}

fn summary(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally) -> io::Result<()> {
    if scene.quiet && tally.exit_code() == 0 {
        return Ok(());
    }
    for (reason, count) in &tally.not_done {
        reason_line(out, Style::of(scene), "not linked", *reason, (number(*count, "file"), 0))?;
    }
    if !scene.quiet && tally.planned + tally.recovered_done > 0 {
        if tally.refused > 0 || !tally.not_done.is_empty() {
            out.write_all(b"\n")?;
        }
        figures(out, scene, tally, Style::of(scene))?;
        out.write_all(b"\n")?;
    }
    let mut last = Vec::new();
    recovery(&mut last, tally)?;
    left_out(&mut last, tally, "")?;
    sentence(&mut last, scene, tally)?;
    out.write_all(&fit::words(&last, scene.screen, 2))?;
    how_to_take_back(out, scene, tally)
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
    if tally.read_only_branches > 0 {
        let branches = number(tally.read_only_branches, "branch");
        writeln!(out, "{prefix}left out: {branches} of the mode RO (-v shows which)")?;
    }
    if tally.in_recycle_bins > 0 {
        let files = number(tally.in_recycle_bins, "file");
        writeln!(out, "{prefix}left out: {files} in recycle bins")?;
    }
    if changed > 0 {
        let files = number(changed, "file");
        writeln!(out, "{prefix}left out: {files} that changed during the scan (run again)")?;
    }
    Ok(())
}

/// Writes the outcome of files that earlier runs left open; writes nothing if there were no such files.
///
/// # Errors
/// When `out` fails.
pub fn recovery(out: &mut dyn Write, tally: &Tally) -> io::Result<()> {
    let finished = match tally.bytes_recovered {
        0 => "finished".to_owned(),
        bytes => format!("finished ({} freed)", size(bytes)),
    };
    let parts = [
        (tally.recovered_done, finished.as_str()),
        (tally.recovered_restored, "put back"),
        (tally.still_open, "still open"),
    ];
    match nonzero(&parts) {
        parts if parts.is_empty() => Ok(()),
        parts => writeln!(out, "Left open by earlier runs: {}.", parts.join(", ")),
    }
}

/// The numbers that are not zero, each with its word.
pub(super) fn nonzero(parts: &[(u64, &str)]) -> Vec<String> {
    let counted = parts.iter().filter(|(count, _)| *count > 0);
    counted.map(|(count, what)| format!("{count} {what}")).collect()
}

fn sentence(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally) -> io::Result<()> {
    let freed = size(tally.bytes_reclaimed - tally.bytes_recovered.min(tally.bytes_reclaimed));
    let seconds = tally.elapsed_s;
    let others = tally.planned_sharing + tally.planned_cloning > 0;
    let what = if others { "not done" } else { "not linked" };
    match tally.planned {
        0 => write!(out, "Nothing to do.")?,
        _ => write!(out, "{}, {freed} freed in {seconds:.1} s.", done_of(tally))?,
    }
    unfinished(out, scene, tally, what)?;
    rest(out, tally)?;
    shared(out, tally, "")
}

/// Writes the command, in one line, to be copied.
fn how_to_take_back(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally) -> io::Result<()> {
    let stay = tally.done_sharing + tally.done_for_good;
    match scene.run.filter(|_| tally.done > stay && !scene.quiet) {
        Some(run) => {
            let journal = with_journal(scene.journal);
            writeln!(out, "To take it back: mergerfs.xdedup {journal}undo {run}")
        }
        None => Ok(()),
    }
}

/// Says how many files are not listed, and their bytes together; nothing if all are.
pub(super) fn more_files(
    out: &mut dyn Write,
    indent: &str,
    bytes: impl ExactSizeIterator<Item = u64>,
) -> io::Result<()> {
    if bytes.len() == 0 {
        return Ok(());
    }
    let files = number(bytes.len(), "more file");
    writeln!(out, "{indent}and {files}, {} (-v lists all)", size(bytes.sum()))
}

/// The option that names a journal, with a space after it; empty for the usual journal.
pub(super) fn with_journal(journal: Option<&Path>) -> String {
    let word = |dir: &Path| shell_word(dir.as_os_str().as_bytes());
    journal.map_or(String::new(), |dir| format!("--journal {} ", word(dir)))
}

/// "3 files", or "2 of 3 files" where not all were done.
pub(super) fn linked_of(tally: &Tally) -> String {
    files_of(tally.done, tally.planned)
}

fn files_of(done: u64, planned: u64) -> String {
    let files = number(planned, "file");
    if done == planned { files } else { format!("{done} of {files}") }
}

/// How many of the planned files were linked, and how many share their blocks.
fn done_of(tally: &Tally) -> String {
    let links = tally.planned - tally.planned_sharing - tally.planned_cloning;
    let parts = [
        (links, tally.done - tally.done_sharing - tally.done_cloning, "linked"),
        (tally.planned_cloning, tally.done_cloning, "replaced by clones"),
        (tally.planned_sharing, tally.done_sharing, "sharing blocks"),
    ];
    let parts = parts.into_iter().filter(|(planned, ..)| *planned > 0);
    let words = parts.map(|(planned, done, what)| format!("{} {what}", files_of(done, planned)));
    words.collect::<Vec<_>>().join(", ")
}

/// Writes the planned files that were not done, each kind in a sentence.
pub(super) fn unfinished(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    tally: &Tally,
    what: &str,
) -> io::Result<()> {
    let mut why = tally.not_done.clone();
    why.retain(|reason, _| !matches!(reason, Reason::Interrupted | Reason::Limit));
    let sentences = [
        (tally.busy + tally.failed, Tone::Bad, counted(tally.busy + tally.failed, what, &why)),
        (tally.left(), Tone::Warn, format!("{} left for the next run", tally.left())),
        (tally.open, Tone::Bad, format!("{} left open (mergerfs.xdedup resume)", tally.open)),
        (
            tally.conflicts,
            Tone::Bad,
            format!("{} in conflict (mergerfs.xdedup status)", tally.conflicts),
        ),
    ];
    for (_, tone, text) in sentences.iter().filter(|(count, ..)| *count > 0) {
        write!(out, " {}.", scene.screen.paint(*tone, text))?;
    }
    Ok(())
}

/// Writes the files that are no part of the plan, and ends the line.
pub(super) fn rest(out: &mut dyn Write, tally: &Tally) -> io::Result<()> {
    let mut parts = Vec::new();
    if tally.refused > 0 {
        parts.push(counted(tally.refused, "skipped", &tally.refusals));
    }
    parts.extend(nonzero(&[
        (tally.already_linked, "already linked"),
        (tally.already_shared, "already sharing blocks"),
    ]));
    match parts.is_empty() {
        true => out.write_all(b"\n"),
        false => writeln!(out, " {}.", parts.join(", ")),
    }
}

/// Says what stays in use although the copies go, and what would stay if all copies had to become links.
pub(super) fn shared(out: &mut dyn Write, tally: &Tally, prefix: &str) -> io::Result<()> {
    if tally.planned_differing > 0 {
        let (files, bytes) = (number(tally.planned_differing, "file"), size(tally.bytes_differing));
        writeln!(
            out,
            "{prefix}With --link hard {files} of these, {bytes}, would be skipped: owner, permissions, ACL or attributes differ"
        )?;
    }
    if tally.bytes_shared == 0 {
        return Ok(());
    }
    let bytes = size(tally.bytes_shared);
    writeln!(
        out,
        "{prefix}{bytes} more stays in use while a snapshot or another reflink shares these blocks"
    )
}

/// A size in a unit, and to the byte where that says more.
pub(super) fn exactly(bytes: u64) -> String {
    match bytes {
        0..1024 => size(bytes),
        _ => format!("{} ({bytes} bytes)", size(bytes)),
    }
}

/// The disks, with `-v` the largest groups before them.
pub(super) fn figures(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    tally: &Tally,
    style: Style,
) -> io::Result<()> {
    if scene.verbose > 0 {
        largest(out, scene, tally, style)?;
    }
    disks(out, scene, tally, style)
}

fn largest(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally, style: Style) -> io::Result<()> {
    // One is the whole plan already.
    if tally.largest.len() < 2 {
        return Ok(());
    }
    let mut table = Table::new(&["largest groups", "size", "copies", "frees"]);
    for group in &tally.largest {
        let figures = vec![size(group.size), (group.ops + 1).to_string(), size(group.bytes)];
        table.row(style.name(&scene.pool_path(&group.master)), figures);
    }
    table.write(out, style.prefix, scene.screen_of_paths())
}

/// Writes the disks that the run changes; with `-v` every disk.
pub(super) fn disks(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    tally: &Tally,
    style: Style,
) -> io::Result<()> {
    let head = match scene.dry_run {
        true => ["disk", "used", "free", "free then", "frees", "files"],
        false => ["disk", "used", "free before", "free after", "freed", "files"],
    };
    let of = |done: String, all: String| if done == all { all } else { format!("{done} of {all}") };
    let mut table = Table::new(&head);
    let disks = tally.per_branch(scene.pool);
    let (shown, others): (Vec<_>, Vec<_>) =
        disks.into_iter().partition(|disk| scene.verbose > 0 || disk.planned + disk.done > 0);
    for disk in shown {
        let then = disk.before_free.map(|free| free + disk.reclaimable);
        let (after, freed, files) = match scene.dry_run {
            true => (then, size(disk.reclaimable), disk.planned.to_string()),
            false => (
                disk.after_free,
                of(size(disk.reclaimed), size(disk.reclaimable + disk.recovered_bytes)),
                of(disk.done.to_string(), (disk.planned + disk.recovered).to_string()),
            ),
        };
        let figures = vec![known(disk.used), known(disk.before_free), known(after), freed, files];
        table.row(style.name(&disk.path), figures);
    }
    table.write(out, style.prefix, scene.screen_of_paths())?;
    match others.len() {
        0 => Ok(()),
        others => {
            let others = number(others, "other disk");
            writeln!(out, "{}{others}: free space unchanged (-v)", style.prefix)
        }
    }
}

#[cfg(test)]
mod tests;
