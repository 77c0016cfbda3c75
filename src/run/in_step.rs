//! Whether the journal, the disks and the clock fit together.
//!
//! A journal that came from a backup, or a second copy of one, is sound in itself: nothing in it shows that later runs are
//! missing. So each run leaves a note on the disks, a line for each journal: its id, its newest run, and when that run
//! began.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{RunError, Site};
use crate::fs::{Look, Timestamp};
use crate::journal::{Journal, RunStarted, Store};
use crate::pool::BranchIdx;

/// Journals that have a line in the note of a disk; the ones that were used longest ago go.
const JOURNALS_MAX: usize = 16;
/// How far the clock may be behind the newest run: a clock is corrected now and then.
const CLOCK_BACK_MAX: i64 = 24 * 3600;

/// A line of the note on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    journal: u32,
    run: u64,
    began: Timestamp,
}

impl Line {
    /// Reads a line; `None` if this program did not write it.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let journal = u32::from_str_radix(words.next()?, 16).ok()?;
        let run = words.next()?.parse().ok()?;
        let (secs, nanos) = words.next()?.split_once('.')?;
        let began = Timestamp { secs: secs.parse().ok()?, nanos: nanos.parse().ok()? };
        words.next().is_none().then_some(Self { journal, run, began })
    }

    fn text(self) -> String {
        format!("{:08x} {} {}.{:09}", self.journal, self.run, self.began.secs, self.began.nanos)
    }
}

fn lines(note: &[u8]) -> Vec<Line> {
    String::from_utf8_lossy(note).lines().filter_map(Line::parse).collect()
}

/// Checks that no disk of the pool knows of a run that the journal lacks, and that the clock is not behind the journal.
///
/// # Errors
/// [`RunError::OldJournal`], [`RunError::OtherJournal`] or [`RunError::ClockBack`].
pub(crate) fn in_step<T: Store>(site: &impl Site, journal: &Journal<T>) -> Result<(), RunError> {
    let newest = journal.runs().next_back().map(|run| &*run.started);
    if let Some(newest) = newest {
        let (now, then) = (site.fs().now(), newest.time);
        if now.secs.saturating_add(CLOCK_BACK_MAX) < then.secs {
            return Err(RunError::ClockBack { now, run: newest.run, then });
        }
    }
    let newest = newest.map_or(0, |newest| newest.run);
    for (branch, line) in noted(site, journal.id()) {
        let (run, path) = (line.run, || site.pool().branches[branch.index()].path.clone());
        if run > newest {
            return Err(RunError::OldJournal { branch: path(), run, newest });
        }
        // A run that was pruned cannot be compared. One that a salvage has rebuilt is younger than the note.
        if journal.run(run).is_some_and(|known| known.started.time < line.began) {
            return Err(RunError::OtherJournal { branch: path(), run });
        }
    }
    Ok(())
}

/// Returns the newest run of the journal `id` that a disk of the pool knows of; 0 if no disk knows of one.
pub(crate) fn newest_noted(site: &impl Site, id: u32) -> u64 {
    noted(site, id).into_iter().map(|(_, line)| line.run).max().unwrap_or(0)
}

/// A run of a journal, as a disk knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The journal's id.
    pub journal: u32,
    /// Its newest run.
    pub run: u64,
    /// When that run began.
    pub began: Timestamp,
    /// The root of a branch that says so.
    pub branch: PathBuf,
}

/// Returns each journal that a disk of the pool knows of, with its newest run; the journal that was used last comes first.
#[must_use]
pub fn journals_noted(site: &impl Site) -> Vec<Noted> {
    let mut newest: BTreeMap<u32, Noted> = BTreeMap::new();
    for branch in site.pool().indices() {
        for Line { journal, run, began } in lines(&site.note(branch).unwrap_or_default()) {
            let branch = &site.pool().branches[branch.index()].path;
            let noted = Noted { journal, run, began, branch: branch.clone() };
            let known = newest.entry(journal).or_insert_with(|| noted.clone());
            if known.run < run {
                *known = noted;
            }
        }
    }
    let mut all: Vec<Noted> = newest.into_values().collect();
    all.sort_by_key(|noted| std::cmp::Reverse(noted.began));
    all
}

/// The lines of the journal `id` on the disks of the pool.
fn noted(site: &impl Site, id: u32) -> Vec<(BranchIdx, Line)> {
    let of_branch = |branch| {
        let note = lines(&site.note(branch).unwrap_or_default());
        note.into_iter().find(|line| line.journal == id).map(|line| (branch, line))
    };
    site.pool().indices().filter_map(of_branch).collect()
}

/// Notes on every disk that `run` of the journal `id` began. The record of the run is durable: a note without one would
/// blame a sound journal. A disk that takes no note is as one that was not there.
pub(super) fn leave_note(site: &impl Site, id: u32, run: &RunStarted) {
    let line = Line { journal: id, run: run.run, began: run.time };
    for branch in site.pool().indices() {
        let before = lines(&site.note(branch).unwrap_or_default());
        let others = before.into_iter().filter(|other| other.journal != id);
        let all = std::iter::once(line).chain(others).take(JOURNALS_MAX);
        let note = all.map(Line::text).collect::<Vec<_>>().join("\n");
        site.set_note(branch, note.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written_and_others_are_left_out() {
        let written = [
            Line {
                journal: 0x00c0_ffee,
                run: 7,
                began: Timestamp { secs: 1_764_412_345, nanos: 5 },
            },
            Line { journal: u32::MAX, run: u64::MAX, began: Timestamp { secs: -1, nanos: 0 } },
        ];
        let note = written.map(Line::text).join("\n");
        assert_eq!(lines(note.as_bytes()), written);
        assert_eq!(lines(b"\xff\nzz 1 2.0\n1 2\n1 2 3\n1 2 3.0 4\n\n"), []);
    }
}
