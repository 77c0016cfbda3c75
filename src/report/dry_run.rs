//! Writes the plan of a dry run for a person: a line per file, largest first; the directories to be made; the skipped files by
//! reason; the disks; and one sentence that adds up.
//!
//! The text has at most a screen and a half without `-v`, whatever the size of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Scene;
use super::fit;
use super::screen::Tone;
use super::shown::{ITEMS, number, size};
use super::table::{cut_middle, width_of};
use super::tally::Tally;
use super::text::{Style, disks, left_out, more_files, rest, shared, skipped};
use crate::plan::{Op, Plan};
use crate::pool::{BranchIdx, Pool};
use crate::run::Unfinished;

/// The width of a line before its paths: the verb, the size and the gaps.
const BEFORE_PATHS: usize = 18;
/// No path is cut shorter, however narrow the screen is.
pub(super) const PATH_MIN: usize = 16;

/// The steps before the plan is applied.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before<'b> {
    /// Why the run would not begin here.
    pub obstacles: &'b [String],
    /// Interrupted runs that it would finish first.
    pub unfinished: &'b [Unfinished],
    /// How to begin it.
    pub apply: &'b str,
}

/// Writes the plan with its figures, and what comes `before` it is applied.
///
/// # Errors
/// When `out` fails.
pub fn write(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    (plan, tally): (&Plan, &Tally),
    before: Before<'_>,
) -> io::Result<()> {
    if !scene.quiet {
        let names = disk_names(scene.pool);
        files(out, scene, plan, &names)?;
        new_directories(out, scene, plan, &names)?;
    }
    skipped(out, scene, &plan.refusals)?;
    if !scene.quiet && tally.planned > 0 {
        if !plan.refusals.is_empty() {
            out.write_all(b"\n")?;
        }
        disks(out, scene, tally, Style::of(scene))?;
        out.write_all(b"\n")?;
    }
    let mut last = Vec::new();
    if !scene.quiet {
        left_out(&mut last, tally, "")?;
    }
    let Before { obstacles, unfinished, apply } = before;
    sentence(&mut last, tally, !unfinished.is_empty())?;
    shared(&mut last, tally, "")?;
    for why in obstacles.iter().cloned().chain(unfinished.iter().map(interrupted)) {
        let word = scene.screen.paint(Tone::Bad, "Before -e");
        writeln!(last, "{word}: {why}.")?;
    }
    out.write_all(&fit::words(&last, scene.screen, 2))?;
    match (plan.ops.is_empty(), obstacles.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => writeln!(out, "Nothing was changed. Run again {apply} to apply."),
        (false, false) => {
            writeln!(
                out,
                "Nothing was changed. Settle this first, then run again {apply} to apply."
            )
        }
    }
}

/// Returns the sentence about an interrupted run.
#[must_use]
pub fn interrupted(unfinished: &Unfinished) -> String {
    let Unfinished { run, open } = *unfinished;
    let (files, those) = (number(open, "file"), if open == 1 { "it" } else { "each" });
    format!(
        "run {run} was interrupted and left {files} half done; `resume` finishes {those} or puts {those} back, and -e does so first"
    )
}

fn files(out: &mut dyn Write, scene: &Scene<'_>, plan: &Plan, names: &[Vec<u8>]) -> io::Result<()> {
    let mut ops: Vec<&Op> = plan.ops.iter().collect();
    ops.sort_by_key(|op| std::cmp::Reverse(op.bytes));
    let shown = if scene.verbose > 0 { ops.len() } else { ITEMS.min(ops.len()) };
    let (shown, more) = ops.split_at(shown);
    let lines: Vec<Line> = shown.iter().map(|op| Line::of(scene, op, names)).collect();
    let room = Room::of(scene, &lines);
    for (line, op) in lines.iter().zip(shown) {
        line.write(out, scene, &room)?;
        if scene.verbose > 1 {
            further_names(out, scene, op)?;
        }
    }
    more_files(out, "", more.iter().map(|op| op.bytes))?;
    if !shown.is_empty() {
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn further_names(out: &mut dyn Write, scene: &Scene<'_>, op: &Op) -> io::Result<()> {
    let style = Style::of(scene);
    for name in op.names.iter().filter(|name| name.path != op.duplicate.path) {
        write!(out, "{:BEFORE_PATHS$}", "")?;
        out.write_all(&style.name(name.path.as_path()))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// One file of the plan.
struct Line {
    bytes: u64,
    verb: &'static str,
    duplicate: Vec<u8>,
    /// How many more names the duplicate has.
    more: String,
    kept: Vec<u8>,
    disks: Vec<u8>,
}

impl Line {
    fn of(scene: &Scene<'_>, op: &Op, disks: &[Vec<u8>]) -> Self {
        let style = Style::of(scene);
        let disk = |at: BranchIdx| style.bytes(disks.get(at.index()).map_or(b"?", Vec::as_slice));
        let mut way = disk(op.duplicate.branch);
        if op.duplicate.branch != op.master.branch {
            way.extend_from_slice(" → ".as_bytes());
            way.extend(disk(op.master.branch));
        }
        Self {
            bytes: op.bytes,
            verb: match () {
                () if op.shares() => "share",
                () if op.reflinks() => "clone",
                () => "link ",
            },
            duplicate: style.name(op.duplicate.path.as_path()),
            more: match op.names.len() {
                0 | 1 => String::new(),
                names => format!(" and {} more", names - 1),
            },
            kept: style.name(op.master.path.as_path()),
            disks: way,
        }
    }

    fn write(&self, out: &mut dyn Write, scene: &Scene<'_>, room: &Room) -> io::Result<()> {
        let (duplicate, kept) = room.fit(self);
        // A hidden copy of the kept path goes, and no path becomes a link.
        let merged = self.duplicate == self.kept;
        let verb = if merged { "merge" } else { self.verb };
        let verb = scene.screen.paint(Tone::Good, verb);
        write!(out, "{verb} {:>10}  ", size(self.bytes))?;
        out.write_all(&duplicate)?;
        out.write_all(self.more.as_bytes())?;
        if merged {
            out.write_all(b"  ")?;
            out.write_all(&self.disks)?;
            return out.write_all(b"\n");
        }
        out.write_all(" → ".as_bytes())?;
        out.write_all(&kept)?;
        let used = width_of(&duplicate) + width_of(self.more.as_bytes()) + width_of(&kept);
        write!(out, "{:pad$}  ", "", pad = room.paths.saturating_sub(used))?;
        out.write_all(&self.disks)?;
        out.write_all(b"\n")
    }
}

/// How wide the two paths of a line may be together; no limit and no padding with `-v`, and if the reader is no terminal.
struct Room {
    limit: Option<usize>,
    paths: usize,
}

impl Room {
    fn of(scene: &Scene<'_>, lines: &[Line]) -> Self {
        let widest = |part: fn(&Line) -> usize| lines.iter().map(part).max().unwrap_or(0);
        let disks = widest(|line| width_of(&line.disks));
        let Some(width) = scene.screen_of_paths().width else {
            return Self { limit: None, paths: 0 };
        };
        // The arrow and the gap before the disks take five characters.
        let limit = width.saturating_sub(BEFORE_PATHS + 5 + disks).max(2 * PATH_MIN);
        let all = |line: &Line| {
            width_of(&line.duplicate) + width_of(line.more.as_bytes()) + width_of(&line.kept)
        };
        Self { limit: Some(limit), paths: widest(all).min(limit) }
    }

    /// The two paths, cut to the room. A short path leaves its room to the other.
    fn fit(&self, line: &Line) -> (Vec<u8>, Vec<u8>) {
        let Some(limit) = self.limit else {
            return (line.duplicate.clone(), line.kept.clone());
        };
        let room = limit.saturating_sub(width_of(line.more.as_bytes())).max(2 * PATH_MIN);
        let (duplicate, kept) = (width_of(&line.duplicate), width_of(&line.kept));
        let for_duplicate = (room / 2).max(room.saturating_sub(kept));
        let for_kept = room - duplicate.min(for_duplicate);
        (cut_middle(&line.duplicate, for_duplicate), cut_middle(&line.kept, for_kept))
    }
}

/// The branches by the part of their paths that tells them apart: `disk1` of `/mnt/disk1/data`.
fn disk_names(pool: &Pool) -> Vec<Vec<u8>> {
    let paths: Vec<Vec<&[u8]>> = pool
        .branches
        .iter()
        .map(|branch| {
            let parts = branch.path.as_os_str().as_bytes().split(|byte| *byte == b'/');
            parts.filter(|part| !part.is_empty()).collect()
        })
        .collect();
    // At least one part of each path stays.
    let most = paths.iter().map(Vec::len).min().unwrap_or(0).saturating_sub(1);
    let first = (0..most)
        .take_while(|at| paths.windows(2).all(|two| two[0].get(*at) == two[1].get(*at)))
        .count();
    let from_end =
        |parts: &[&[u8]], at: usize| parts.iter().rev().nth(at).map(|part| part.to_vec());
    let last = (0..most)
        .take_while(|at| {
            paths.windows(2).all(|two| from_end(&two[0], *at) == from_end(&two[1], *at))
        })
        .count();
    let short = |parts: &Vec<&[u8]>| {
        let end = parts.len().saturating_sub(last).max(first + 1);
        parts.get(first..end.min(parts.len())).map(|parts| parts.join(&b'/')).unwrap_or_default()
    };
    let names: Vec<Vec<u8>> = paths.iter().map(short).collect();
    let distinct: BTreeSet<&Vec<u8>> = names.iter().collect();
    if distinct.len() == names.len() && names.iter().all(|name| !name.is_empty()) {
        return names;
    }
    pool.branches.iter().map(|branch| branch.path.as_os_str().as_bytes().to_vec()).collect()
}

fn new_directories(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    plan: &Plan,
    names: &[Vec<u8>],
) -> io::Result<()> {
    let dirs: BTreeSet<_> =
        plan.ops.iter().flat_map(|op| &op.dirs).map(|dir| (dir.to, &dir.path)).collect();
    if dirs.is_empty() {
        return Ok(());
    }
    let style = Style::of(scene);
    let mut counts: BTreeMap<BranchIdx, usize> = BTreeMap::new();
    for (branch, _) in &dirs {
        *counts.entry(*branch).or_default() += 1;
    }
    let mut lead = "New directories: ";
    for (branch, count) in counts {
        write!(out, "{lead}{count} on ")?;
        out.write_all(&style.bytes(names.get(branch.index()).map_or(b"?", Vec::as_slice)))?;
        lead = ", ";
    }
    let list = if scene.verbose > 0 { ":" } else { " (-v lists them)." };
    writeln!(out, "{list}")?;
    let policies = "Under path-preserving create policies (ep*, msp*), files written later can follow them there.\n";
    out.write_all(&fit::words(policies.as_bytes(), scene.screen, 0))?;
    if scene.verbose > 0 {
        for (branch, path) in dirs {
            out.write_all(b"    ")?;
            let at: &Path = &scene.pool.branch_path(branch, path);
            out.write_all(&style.name(at))?;
            out.write_all(b"\n")?;
        }
    }
    out.write_all(b"\n")
}

/// The sentence that adds up.
fn sentence(out: &mut dyn Write, tally: &Tally, first: bool) -> io::Result<()> {
    let freed = size(tally.bytes_reclaimable);
    let links = tally.planned - tally.planned_sharing - tally.planned_cloning;
    let parts = [
        (links, "can be linked"),
        (tally.planned_cloning, "can be replaced by clones"),
        (tally.planned_sharing, "can share blocks with the kept copy"),
    ];
    let parts = parts.into_iter().filter(|(files, _)| *files > 0);
    let parts: Vec<_> =
        parts.map(|(files, what)| format!("{} {what}", number(files, "file"))).collect();
    match (parts.is_empty(), first) {
        (true, false) => write!(out, "Nothing to do.")?,
        (true, true) => write!(out, "Nothing else to do.")?,
        (false, _) => write!(out, "{}, {freed} freed.", parts.join(", "))?,
    }
    rest(out, tally)
}

#[cfg(test)]
mod tests;
