//! Planning without a journal: the lost journal's CSV log says which ops were open, the hidden names on the branches
//! say how far the ops came, and the disks say which files exist.
//!
//! The result is records for a new journal, so that recovery itself (`execute::recover`) finishes or puts back the open
//! ops, with its table, its leases and its comparing of bytes, killed anywhere and run again. Nothing here changes a
//! branch.
//!
//! # What a name proves
//!
//! Nothing. Any program that can write in a directory of the pool can make a hidden name there, and the log knows
//! paths, not inodes. So nothing that could cost a file is decided by a name:
//!
//! * a hidden file is removed only if its bytes are found, complete, in another file that stays: the file at its path,
//!   or a file beside it, of the same owner, mode, ACL and attributes; or if its inode has a name that is not hidden;
//! * a hidden file gets its path back only if the log names the path and no branch has it;
//! * hidden directories are removed only while empty;
//! * everything else stays where it is and is reported.

mod beside;
mod from_log;
mod look;
mod twice;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::fs::{FileKind, FsError, InodeId, Look, Place, Stat, Timestamp};
use crate::journal::{BranchRecord, LoggedOp, RUNS_AT_MOST, Record, RunEnded, RunStarted};
use crate::plan::OpId;
use crate::plan::hidden_name::{HiddenName, Role, parse_hidden_name};
use crate::plan::metadata::IgnoreMetadata;

/// A pool whose journal is lost.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Its mount point.
    pub mount: PathBuf,
    /// The branches as they are now.
    pub branches: Vec<BranchRecord>,
    /// Whether cloned directories take after the newest branch's.
    pub newest_dirs: bool,
    /// The id of the journal; `None` if it is unknown, and every hidden name may be another journal's.
    pub journal: Option<u32>,
    /// Which differences in metadata do not matter.
    pub ignore: IgnoreMetadata,
}

/// The ops and directories to act on, and the files to leave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Salvage {
    /// Ops for the new journal.
    pub ops: Vec<Rebuilt>,
    /// Hidden directories, to be removed where they are empty.
    pub dirs: Vec<Place>,
    /// Directories in which a change may be done and not durable: an entry that is gone must not come back.
    pub settle: BTreeSet<Place>,
    /// The files that stay as they are, for a person to look at.
    pub left: Vec<Left>,
}

impl Salvage {
    /// Whether nothing was found half done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.dirs.is_empty() && self.left.is_empty()
    }
}

/// An op for the new journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebuilt {
    /// The op.
    pub op: OpId,
    /// The records that recovery goes on from: an intent, and the records after it.
    pub records: Vec<Record>,
    /// What recovery will do about the op.
    pub what: What,
    /// The files of the op: its paths if the log names them, else the hidden files.
    pub about: Vec<PathBuf>,
}

/// What recovery will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The copies are equal: the op goes on, and one copy stays.
    Finish,
    /// The old copy gets its path back.
    PutBack,
    /// Both copies have some paths: the old copy keeps all of its paths, and the new copy goes.
    TakeBack,
    /// Only a hidden name goes; its file, or an equal file, is there without it.
    Clear,
}

/// A file that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Where the file is.
    pub at: PathBuf,
    /// The path the file belongs to, if the log names it.
    pub pool_path: Option<PathBuf>,
    /// Why the file stays.
    pub why: Why,
}

/// Why a file stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The name is another journal's.
    OtherJournal(u32),
    /// No journal of this program makes such a name.
    NotOurs,
    /// No file that is known to be the same is there.
    NoEqual,
    /// An equal file is there, with another owner, mode, ACL or attributes.
    MetadataDiffers,
    /// The files of one op contradict each other.
    Unclear,
    /// The path is on two branches.
    Twice,
    /// A branch of the op is missing, or has no identity.
    BranchGone,
}

impl Why {
    /// Returns why the file stays, and what the user can do about it.
    #[must_use]
    pub fn hint(self) -> String {
        match self {
            Self::OtherJournal(id) => format!(
                "it is a name of another journal, {id:08x}; `resume` with that one's --journal ends it; if that \
                 journal is lost: `resume --salvage` with a new directory as --journal, and the POOL"
            ),
            Self::NotOurs => "this program makes no such name: another program did".to_owned(),
            Self::NoEqual => "no file beside it, and none at its path, has the same bytes: it may be the only copy; \
                 rename it (mv -n) to the path that misses it"
                .to_owned(),
            Self::MetadataDiffers => {
                "an equal file is there, with another owner, mode, ACL or attributes: remove the one you do not \
                 want, or accept the difference with --ignore-metadata"
                    .to_owned()
            }
            Self::Unclear => "its files do not fit together: compare them, remove what is there twice".to_owned(),
            Self::Twice => "two branches have the path, with files that differ: compare them, remove the one you do \
                 not want"
                .to_owned(),
            Self::BranchGone => {
                "a branch it was on is not in the pool, or has no identity: mount or add it, then try again".to_owned()
            }
        }
    }
}

/// A hidden name that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hidden {
    at: Place,
    name: HiddenName,
    stat: Stat,
}

/// The hidden names of one op.
type Group = Vec<Hidden>;

/// Returns the journal that the hidden names belong to, if its own files do not say: the journal whose names fit the
/// log, else the only journal there is.
#[must_use]
pub fn journal_of(logged: &[LoggedOp], hidden: &[PathBuf]) -> Option<u32> {
    let mut fit: BTreeMap<u32, usize> = BTreeMap::new();
    for path in hidden {
        let Some(name) = path.file_name() else {
            continue;
        };
        let Some(name) = parse_hidden_name(name.as_encoded_bytes()) else {
            continue;
        };
        let fits = fit.entry(name.journal).or_default();
        let mut ops = logged.iter().filter(|op| op.op == name.op);
        let beside = |op: &LoggedOp| {
            let logged = op.names.get(name.index);
            logged.is_some_and(|n| [&n.from, &n.to].iter().any(|p| p.parent() == path.parent()))
        };
        *fits += usize::from(ops.any(beside));
    }
    let most = fit.values().copied().max().unwrap_or(0);
    let mut best = fit.iter().filter(|(_, fits)| **fits == most);
    match (best.next(), best.next()) {
        (Some((id, _)), None) => Some(*id),
        _ => None,
    }
}

/// Looks at the present state of `logged` and of the `hidden` names of this pool.
///
/// # Errors
/// When a branch cannot be looked at, or a client renames a directory of a hidden name meanwhile: try again then.
pub fn plan<F: Look>(
    fs: &F,
    lost: &Lost,
    logged: &[LoggedOp],
    hidden: &[Place],
) -> Result<Salvage, FsError> {
    let mut planner = SalvagePlanner::new(fs, lost, hidden)?;
    for op in logged {
        planner.logged(op)?;
    }
    planner.the_rest()?;
    Ok(planner.salvage)
}

/// Keeps each run on one pool. If an earlier pool has the run that an op names, the op is left as it is: its
/// branches are not those of that run.
pub fn keep_apart(plans: &mut [&mut Salvage]) {
    let mut taken = BTreeSet::new();
    for plan in plans {
        let (strangers, ops): (Vec<_>, Vec<_>) =
            std::mem::take(&mut plan.ops).into_iter().partition(|op| taken.contains(&op.op.run));
        taken.extend(ops.iter().map(|op| op.op.run));
        plan.ops = ops;
        let left = strangers.into_iter().flat_map(|op| op.about);
        plan.left.extend(left.map(|at| Left { at, pool_path: None, why: Why::Unclear }));
    }
}

/// Returns the records of a new journal: the runs of `ops` on their pools, [kept apart](keep_apart), the open ops, and
/// a run of its own for the salvage, numbered after `newest`, so that no number is used twice.
#[must_use]
pub fn records(pools: &[(&Lost, &Salvage)], newest: u64, now: Timestamp) -> Vec<Record> {
    let started = |run, lost: &Lost| RunStarted {
        run,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: now,
        pool: lost.mount.clone(),
        branches: lost.branches.clone(),
        newest_dirs: lost.newest_dirs,
        options: Vec::new(),
    };
    let mut runs: BTreeMap<u64, (&Lost, Vec<&Rebuilt>)> = BTreeMap::new();
    for (lost, salvage) in pools {
        for op in &salvage.ops {
            let (_, ops) = runs.entry(op.op.run).or_insert((lost, Vec::new()));
            ops.push(op);
        }
    }
    let newest = runs.keys().copied().max().unwrap_or(0).max(newest);
    let mut records = Vec::new();
    for (run, (lost, ops)) in runs {
        records.push(Record::RunStarted(started(run, lost)));
        records.extend(ops.into_iter().flat_map(|op| op.records.clone()));
    }
    if let Some((lost, _)) = pools.first() {
        let run = newest + 1;
        records.push(Record::RunStarted(started(run, lost)));
        records.push(Record::RunEnded(RunEnded { run, time: now, done: 0, reclaimed: 0 }));
    }
    records
}

struct SalvagePlanner<'p, F: Look> {
    fs: &'p F,
    lost: &'p Lost,
    /// The journal's id. If it is not known, any id: no name has it then.
    journal: u32,
    groups: BTreeMap<OpId, Group>,
    /// The hidden names of each inode.
    hidden: BTreeMap<InodeId, u64>,
    /// Where an op's names belong according to the log, for files that are left of the op.
    paths: BTreeMap<(OpId, usize), PathBuf>,
    salvage: Salvage,
}

impl<'p, F: Look> SalvagePlanner<'p, F> {
    fn new(fs: &'p F, lost: &'p Lost, hidden: &[Place]) -> Result<Self, FsError> {
        let mut planner = Self {
            fs,
            lost,
            journal: lost.journal.unwrap_or(0),
            groups: BTreeMap::new(),
            hidden: BTreeMap::new(),
            paths: BTreeMap::new(),
            salvage: Salvage::default(),
        };
        for at in hidden {
            planner.sort(at)?;
        }
        Ok(planner)
    }

    fn sort(&mut self, at: &Place) -> Result<(), FsError> {
        let Some(stat) = self.fs.stat(at)? else {
            return Ok(());
        };
        let count = self.hidden.entry(stat.id).or_default();
        *count += 1;
        let Some(name) = parse_hidden_name(at.path.file_name().as_encoded_bytes()) else {
            self.leave(at, None, Why::NotOurs);
            return Ok(());
        };
        if name.op.run > RUNS_AT_MOST {
            self.leave(at, None, Why::NotOurs);
            return Ok(());
        }
        if self.lost.journal != Some(name.journal) {
            self.leave(at, None, Why::OtherJournal(name.journal));
            return Ok(());
        }
        match (name.role, stat.kind) {
            (Role::Aside, FileKind::Directory) => self.salvage.dirs.push(at.clone()),
            (Role::Aside, _) | (_, FileKind::Directory | FileKind::Symlink | FileKind::Other) => {
                self.leave(at, None, Why::NotOurs);
            }
            (_, FileKind::Regular) => {
                let group = self.groups.entry(name.op).or_default();
                let known = |h: &Hidden| h.name == name && h.stat.id == stat.id;
                // A branch within another shows one name twice.
                if !group.iter().any(known) {
                    let at = at.clone();
                    group.push(Hidden { at, name, stat });
                }
            }
        }
        Ok(())
    }

    fn logged(&mut self, logged: &LoggedOp) -> Result<(), FsError> {
        if self.salvage.ops.iter().any(|op| op.op == logged.op) {
            return Ok(());
        }
        let group = self.groups.remove(&logged.op).unwrap_or_default();
        for (k, name) in logged.names.iter().enumerate() {
            self.paths.insert((logged.op, k), name.pool_path.clone());
        }
        self.pin(group.iter().map(|hidden| hidden.at.dir()))?;
        let verdict = self.of_log(logged, &group);
        let verdict = verdict.and_then(|verdict| match verdict {
            from_log::Verdict::Rebuilt(op) => {
                Ok(from_log::Verdict::Rebuilt(Box::new(self.with_handles(*op)?)))
            }
            other => Ok(other),
        });
        self.fs.unpin();
        match verdict? {
            from_log::Verdict::Rebuilt(op) => self.salvage.ops.push(*op),
            from_log::Verdict::Nothing => {}
            from_log::Verdict::Left(why, at) => {
                for place in at {
                    let path = logged.names.first().map(|name| name.pool_path.clone());
                    self.leave(&place, path, why);
                }
            }
            from_log::Verdict::ByName => drop(self.groups.insert(logged.op, group)),
        }
        Ok(())
    }

    fn the_rest(&mut self) -> Result<(), FsError> {
        for (op, group) in std::mem::take(&mut self.groups) {
            self.pin(group.iter().map(|hidden| hidden.at.dir()))?;
            let found = self.still_there(&group).and_then(|()| self.beside(op, &group));
            let found = found.and_then(|found| match found {
                Ok(op) => self.with_handles(op).map(Ok),
                Err(why) => Ok(Err(why)),
            });
            self.fs.unpin();
            match found? {
                Ok(op) => self.salvage.ops.push(op),
                Err(why) => {
                    for hidden in &group {
                        let path = self.paths.get(&(op, hidden.name.index)).cloned();
                        self.leave(&hidden.at, path, why);
                    }
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, at: &Place, pool_path: Option<PathBuf>, why: Why) {
        let at = self.branch_path(at);
        self.salvage.left.push(Left { at, pool_path, why });
    }

    fn branch_path(&self, at: &Place) -> PathBuf {
        let root = &self.lost.branches[at.branch.index()].path;
        root.join(at.path.as_path())
    }

    /// Whether an inode has a name that is not hidden.
    fn is_named(&self, stat: &Stat) -> bool {
        stat.nlink > self.hidden.get(&stat.id).copied().unwrap_or(0)
    }
}
