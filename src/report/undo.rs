//! Reports the plan and the outcome of an undo to a person.

use std::io::{self, Write};

use super::dry_run::{PATH_MIN, interrupted};
use super::screen::Tone;
use super::shown::{ITEMS, number, size};
use super::table::{cut_middle, width_of};
use super::tally::Tally;
use super::text::{
    Style, linked_of, more_files, reason_line, recovery, rest, skipped_that, unfinished,
};
use super::{Scene, fit};
use crate::plan::refusal::Reason;
use crate::plan::{Op, Plan, Refusal};
use crate::run::Unfinished;

/// Writes the plan: one line per op, largest first, the ops that are not undone, and the runs that are to be finished first.
/// `fits` is whether the disks have room for the copies.
///
/// # Errors
/// When `out` fails.
pub fn plan(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    undoes: u64,
    (ops, refused): (&[Op], &[Refusal]),
    (fits, unfinished): (bool, &[Unfinished]),
) -> io::Result<()> {
    let style = Style::of(scene);
    let shown = match (scene.quiet, scene.verbose) {
        (true, _) => 0,
        (_, 0) => ITEMS.min(ops.len()),
        _ => ops.len(),
    };
    let mut by_size: Vec<&Op> = ops.iter().collect();
    by_size.sort_by_key(|op| std::cmp::Reverse(op.bytes));
    let (shown, more) = by_size.split_at(shown);
    for op in shown {
        file(out, scene, op, style)?;
    }
    if !scene.quiet {
        more_files(out, "", more.iter().map(|op| op.bytes))?;
    }
    let tally = Tally::planned(&Plan { refusals: refused.to_vec(), ..Plan::default() });
    skipped_that(out, scene, refused, style, Reason::fails_undo)?;
    let copied: u64 = ops.iter().filter(|op| op.undo().is_some()).map(|op| op.bytes).sum();
    let files = number(ops.len(), "file");
    let half_done = refused.iter().any(|refusal| refusal.reason == Reason::Unfinished);
    let goes_on = unfinished.iter().any(|unfinished| unfinished.run == undoes);
    let mut last = Vec::new();
    match (ops.len(), copied) {
        (0, _) if goes_on => write!(last, "Undo of run {undoes}: nothing is finished yet.")?,
        (0, _) if half_done => {
            write!(last, "Undo of run {undoes}: nothing else can be taken back.")?
        }
        (0, _) => write!(last, "Undo of run {undoes}: nothing can be taken back.")?,
        (_, 0) if ops.iter().any(Op::reflinks) => {
            write!(last, "Undo of run {undoes}: {files} can be replaced again.")?;
        }
        (_, 0) => write!(last, "Undo of run {undoes}: {files} can be linked again.")?,
        _ => write!(last, "Undo of run {undoes}: {files} can be copied back, {}.", size(copied))?,
    }
    rest(&mut last, &tally)?;
    for first in unfinished.iter().map(interrupted) {
        writeln!(last, "{}: {first}.", scene.screen.paint(Tone::Bad, "Before -e"))?;
    }
    if goes_on {
        writeln!(last, "Then -e takes back the files of run {undoes} that are finished.")?;
    }
    out.write_all(&fit::words(&last, scene.screen, 2))?;
    match fits && (goes_on || half_done || !ops.is_empty()) {
        true => writeln!(out, "Nothing was changed. Run again with -e to apply."),
        false => Ok(()),
    }
}

/// Writes a file of the plan; its path is cut to the screen without `-v`.
fn file(out: &mut dyn Write, scene: &Scene<'_>, op: &Op, style: Style) -> io::Result<()> {
    let what = match () {
        () if op.undo().is_some() => "copy ",
        () if op.reflinks() => "clone",
        () => "link ",
    };
    let begin = format!("{what} {:>10}  ", size(op.bytes));
    let more = match op.names.len() {
        0 | 1 => String::new(),
        names => format!(" and {} more", names - 1),
    };
    let to = op.names.first().map_or(op.master.branch, |name| name.to);
    let end = [more.as_bytes(), b" to ", &*style.name(scene.root(to))].concat();
    let path = style.name(&scene.pool_path(&op.duplicate.path));
    let path = match scene.screen_of_paths().width {
        Some(width) => {
            let room = width.saturating_sub(width_of(begin.as_bytes()) + width_of(&end));
            cut_middle(&path, room.max(PATH_MIN))
        }
        None => path,
    };
    out.write_all(&[begin.as_bytes(), &*path, &*end, b"\n"].concat())
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
        reason_line(out, Style::of(scene), "not taken back", *reason, (number(*count, "file"), 0))?;
    }
    let mut last = Vec::new();
    recovery(&mut last, tally)?;
    write!(last, "Undo of run {undoes}: ")?;
    let files = linked_of(tally);
    let freed = tally.bytes_reclaimed - tally.bytes_recovered.min(tally.bytes_reclaimed);
    let seconds = tally.elapsed_s;
    match (tally.planned, freed) {
        (0, _) if tally.recovered_done > 0 => write!(last, "nothing is left to take back.")?,
        (0, _) => write!(last, "nothing can be taken back.")?,
        (_, 0) => {
            let copied = size(tally.bytes_copied);
            write!(last, "{files} copied back, {copied} in {seconds:.1} s.")?;
        }
        (_, freed) => {
            write!(last, "{files} linked again, {} freed in {seconds:.1} s.", size(freed))?
        }
    }
    unfinished(&mut last, scene, tally, "not taken back")?;
    rest(&mut last, tally)?;
    out.write_all(&fit::words(&last, scene.screen, 2))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn told(scene: &Scene<'_>, ops: &[Op]) -> String {
        let mut out = Vec::new();
        plan(&mut out, scene, 3, (ops, &[]), (true, &[])).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_largest_files_come_first_and_their_lines_fit_a_terminal() {
        let pool = sample::pool();
        let name = |n: u64| format!("torrents/complete/films/Film {n} (1999) 2160p/Film {n}.mkv");
        let ops: Vec<_> = (1..4).map(|n| sample::cross("m", &name(n), n << 20)).collect();
        let mut scene = sample::scene(&pool);
        let path = |n| format!("link     {n}.0 MiB  /pool/{} to /mnt/d1\n", name(n));
        let whole = [3, 2, 1].map(path).concat();
        let end = "Undo of run 3: 3 files can be linked again.\nNothing was changed. Run again with -e to apply.\n";
        assert_eq!(told(&scene, &ops), format!("{whole}{end}"));
        scene.screen.width = Some(60);
        let cut = told(&scene, &ops);
        assert!(cut.lines().all(|line| line.chars().count() <= 60), "{cut}");
        assert_eq!(cut.matches("/Film ").count(), 3, "{cut}");
        scene.verbose = 1;
        assert!(told(&scene, &ops).starts_with(&whole));
    }
}
