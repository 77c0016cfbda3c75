//! Collects the events of a run while it goes on: where bytes were freed, of what kind, when, and what was left undone.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::time_line::TimeLine;
use crate::execute::Outcome;
use crate::plan::Op;
use crate::plan::refusal::Reason;
use crate::plan::{Plan, PlannedGroup};
use crate::pool::relpath::RelPath;
use crate::report::state::halt;

/// Paths that stand for all of a reason.
pub(super) const EXAMPLES_MAX: usize = 8;
/// Groups shown.
const GROUPS_MAX: usize = 20;
/// Directories are distinguished by this many components of their path.
const DIRECTORY_DEPTH: usize = 2;
/// A longer suffix is part of a name, not a kind of file.
const SUFFIX_MAX: usize = 8;

/// Ops and bytes that belong together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) ops: u64,
    pub(super) bytes: u64,
}

/// Paths, and what was found there.
pub(super) type Examples = Vec<(RelPath, String)>;

/// What happened in a run, or would.
#[derive(Debug, Default)]
pub struct Chronicle {
    pub(super) by_directory: BTreeMap<Vec<u8>, Share>,
    pub(super) by_kind: BTreeMap<String, Share>,
    pub(super) not_done: BTreeMap<Reason, Examples>,
    pub(super) time_line: TimeLine,
    /// The groups that free the most, with how much.
    pub(super) largest: Vec<(u64, PlannedGroup)>,
}

impl Chronicle {
    /// Before anything of `plan` is done.
    #[must_use]
    pub fn begin(plan: &Plan) -> Self {
        Self { largest: largest(plan), ..Self::default() }
    }

    /// What carrying out `plan` would free.
    #[must_use]
    pub fn planned(plan: &Plan) -> Self {
        let mut chronicle = Self::begin(plan);
        for op in &plan.ops {
            chronicle.freed(op, op.bytes);
        }
        chronicle
    }

    /// Records how an op ended, `at` after the start.
    pub fn outcome(&mut self, op: &Op, outcome: &Outcome, at: Duration) {
        if let Outcome::Done { reclaimed } = outcome {
            self.freed(op, *reclaimed);
            self.time_line.add(at, *reclaimed);
        }
        if let Some(halt) = halt(outcome) {
            let examples = self.not_done.entry(halt.reason).or_default();
            if examples.len() < EXAMPLES_MAX {
                examples.push((op.duplicate.path.clone(), halt.detail.clone()));
            }
        }
    }

    fn freed(&mut self, op: &Op, bytes: u64) {
        let path = op.duplicate.path.as_bytes();
        let shares = [
            self.by_directory.entry(directory(path)).or_default(),
            self.by_kind.entry(kind(path)).or_default(),
        ];
        for share in shares {
            share.ops += 1;
            share.bytes += bytes;
        }
    }
}

fn largest(plan: &Plan) -> Vec<(u64, PlannedGroup)> {
    let bytes = |group: &PlannedGroup| -> u64 {
        let ops = plan.ops.get(group.ops.clone()).unwrap_or_default();
        ops.iter().map(|op| op.bytes).sum()
    };
    let mut groups: Vec<(u64, &PlannedGroup)> = plan
        .groups
        .iter()
        .map(|group| (bytes(group), group))
        .filter(|(bytes, _)| *bytes > 0)
        .collect();
    groups.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    groups.truncate(GROUPS_MAX);
    let owned = |(bytes, group): (u64, &PlannedGroup)| (bytes, group.clone());
    groups.into_iter().map(owned).collect()
}

/// The outermost directories of a relpath; empty for a file at the root of the pool.
fn directory(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let parents = parts.len().saturating_sub(1).min(DIRECTORY_DEPTH);
    parts[..parents].join(&b'/')
}

/// The kind of a file by its suffix, in lower case; empty if the file has no suffix.
fn kind(path: &[u8]) -> String {
    let suffix = Path::new(OsStr::from_bytes(path)).extension().and_then(OsStr::to_str);
    suffix
        .filter(|s| s.len() <= SUFFIX_MAX && s.bytes().all(|b| b.is_ascii_alphanumeric()))
        .map(str::to_ascii_lowercase)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::Halt;
    use crate::report::sample;

    #[test]
    fn bytes_are_told_apart_by_directory_and_kind() {
        let cases: [(&[u8], &[u8], &str); 7] = [
            (b"tv/show/s01/e01.MKV", b"tv/show", "mkv"),
            (b"tv/e.mkv", b"tv", "mkv"),
            (b"readme", b"", ""),
            (b".hidden", b"", ""),
            (b"a/b.tar.gz", b"a", "gz"),
            (b"a/Mr. Smith goes to Washington", b"a", ""),
            (b"a/x.\xff", b"a", ""),
        ];
        for (path, dir, suffix) in cases {
            assert_eq!((directory(path), kind(path)), (dir.to_vec(), suffix.to_owned()));
        }
    }

    #[test]
    fn only_what_was_freed_counts_and_the_rest_has_examples() {
        let op = sample::cross("m/a.mkv", "d/e/f/a.mkv", 4096);
        let mut told = Chronicle::default();
        told.outcome(&op, &Outcome::Done { reclaimed: 4096 }, Duration::ZERO);
        told.outcome(&op, &Outcome::Done { reclaimed: 1 }, Duration::ZERO);
        for _ in 0..2 * EXAMPLES_MAX {
            let busy = Outcome::NotDone(Halt::new(Reason::Busy, "open"));
            told.outcome(&op, &busy, Duration::ZERO);
        }
        let share = Share { ops: 2, bytes: 4097 };
        assert_eq!(told.by_directory, [(b"d/e".to_vec(), share)].into());
        assert_eq!(told.by_kind, [("mkv".to_owned(), share)].into());
        assert_eq!(told.not_done[&Reason::Busy].len(), EXAMPLES_MAX);
    }
}
