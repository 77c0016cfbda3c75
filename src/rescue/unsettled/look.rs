//! Looks at every place that a conflict names, and at hidden names that no open op and no conflict explains.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{
    Branches, FileNow, HiddenFile, Origin, Twice, TwiceFile, Unexplained, Unsettled, beside,
    names_to_try,
};
use crate::fs::{FileKind, FsError, Look, Place, Stat};
use crate::journal::{Conflict, Intent, Journal, JournalError, RunStarted, Store};
use crate::plan::OpId;
use crate::plan::hidden_name::{HiddenName, Role, is_hidden_name, parse_hidden_name};
use crate::plan::metadata::IgnoreMetadata;
use crate::plan::op::entry;
use crate::pool::BranchIdx;
use crate::pool::mergerfs;
use crate::pool::relpath::RelPath;
use crate::rescue::leftovers;

/// The most bytes read to compare files that are on two branches: no user waits long for `status`.
const COMPARED: u64 = 64 << 20;

/// The results of the look.
#[derive(Debug, Default)]
pub(crate) struct LookResult {
    pub(crate) unsettled: Vec<Unsettled>,
    pub(crate) unexplained: Vec<Unexplained>,
    /// Whether there are directories that were not looked into.
    pub(crate) partly: bool,
}

/// Looks at everything that ended ops of `journal` left. Looks for hidden names in the uppermost directories.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) fn look<S: Store>(
    journal: &Journal<S>,
    branches: &Branches,
) -> Result<LookResult, JournalError> {
    let mut found = LookResult::default();
    let mut stray = Vec::new();
    for branch in branches.indices() {
        let looked = leftovers::look(&branches.fs, branch, true);
        found.partly |= looked.more || looked.unreadable > 0;
        stray.extend(looked.names);
    }
    stray.sort();
    let open: BTreeSet<OpId> = journal.open_ops().iter().map(|op| op.intent.op).collect();
    let of_open = |at: &Place| {
        hidden_of(at).is_some_and(|name| name.journal == journal.id() && open.contains(&name.op))
    };
    stray.retain(|at| !of_open(at));
    let ops = ops_with_files(journal, branches);
    let strays = stray.iter().filter_map(hidden_of).map(|name| name.op);
    let mut look = Looking {
        branches,
        intents: Intents::read(journal, &ops.chain(strays).collect())?,
        budget: COMPARED,
        given: BTreeSet::new(),
    };
    for conflict in journal.conflicts() {
        let unsettled = look.conflict(conflict);
        if !unsettled.is_settled() {
            found.unsettled.push(unsettled);
        }
    }
    let hidden = found.unsettled.iter().flat_map(|it| &it.hidden);
    let told: BTreeSet<PathBuf> = hidden.map(|it| it.file.path.clone()).collect();
    for at in stray {
        if !told.contains(&branches.path_of(&at)) {
            found.unexplained.extend(look.stray(journal, &at));
        }
    }
    Ok(found)
}

/// Returns the ops of conflicts that still have a hidden file, or a place that is empty by now: only their intents are
/// worth reading the journal for.
fn ops_with_files<'j, S: Store>(
    journal: &'j Journal<S>,
    branches: &'j Branches,
) -> impl Iterator<Item = OpId> + 'j {
    let has_file = move |conflict: &&Conflict| {
        let mut hidden = conflict.left.iter().filter_map(|(branch, path)| {
            let record = conflict.run.branches.get(branch.index())?;
            let hidden = is_hidden_name(path.file_name().as_encoded_bytes());
            Some((branches.place(record, path)?, hidden))
        });
        hidden.any(|(at, hidden)| match branches.file(&at) {
            Ok(Some(_)) => hidden,
            Ok(None) => true,
            Err(_) => false,
        })
    };
    let conflicts = journal.conflicts().iter();
    conflicts.filter(move |it| has_file(it)).map(|conflict| conflict.op)
}

fn hidden_of(at: &Place) -> Option<HiddenName> {
    parse_hidden_name(at.path.file_name().as_encoded_bytes())
}

/// The intents of some ops, read from the journal: a journal keeps no finished intent in memory.
pub(crate) struct Intents(BTreeMap<OpId, Intent>);

impl Intents {
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn read<S: Store>(
        journal: &Journal<S>,
        ops: &BTreeSet<OpId>,
    ) -> Result<Self, JournalError> {
        let mut intents = BTreeMap::new();
        if !ops.is_empty() {
            journal.replay::<JournalError>(None, |entry| {
                let Some(intent) = entry.record.into_intent() else { return Ok(()) };
                if ops.contains(&intent.op) {
                    intents.insert(intent.op, intent);
                }
                Ok(())
            })?;
        }
        Ok(Self(intents))
    }

    pub(crate) fn of(&self, op: OpId) -> Option<&Intent> {
        self.0.get(&op)
    }

    /// The path that a hidden file had, or was to have.
    pub(crate) fn own_path(&self, name: &HiddenName) -> Option<&RelPath> {
        let names = &self.of(name.op)?.names;
        let name = match name.role {
            Role::Temp | Role::Retired | Role::Withdrawn => names.get(name.index),
            Role::Copy => names.first(),
            Role::Aside => None,
        };
        name.map(|name| &name.path)
    }
}

/// One look around.
struct Looking<'a> {
    branches: &'a Branches,
    intents: Intents,
    /// Bytes that may still be read.
    budget: u64,
    /// Pool paths already proposed: no two files may get the same path.
    given: BTreeSet<PathBuf>,
}

impl Looking<'_> {
    fn conflict(&mut self, conflict: &Conflict) -> Unsettled {
        let mut unsettled = Unsettled {
            op: conflict.op,
            why: conflict.why.clone(),
            hidden: Vec::new(),
            twice: Vec::new(),
            not_looked_at: Vec::new(),
        };
        let mut paths = BTreeSet::new();
        for (branch, path) in &conflict.left {
            let Some(record) = conflict.run.branches.get(branch.index()) else {
                continue;
            };
            let hidden = is_hidden_name(path.file_name().as_encoded_bytes());
            let seen = self.branches.place(record, path);
            let seen = seen.map(|at| match self.branches.file(&at) {
                // Another program renamed its directory, or the file in it.
                Ok(None) => self.moved(conflict, &at).unwrap_or((Ok(None), at)),
                found => (found, at),
            });
            match seen {
                Some((Ok(None), _)) => {}
                Some((Ok(Some(stat)), at)) if hidden => {
                    unsettled.hidden.push(self.hidden(&conflict.run, &at, &stat));
                }
                Some((Ok(Some(_)), at)) => drop(paths.insert(at.path)),
                None | Some((Err(_), _)) => {
                    unsettled.not_looked_at.push(record.path.join(path.as_path()));
                }
            }
        }
        let twice = paths.iter().filter_map(|path| self.twice(&conflict.run, path));
        unsettled.twice = twice.collect();
        unsettled
    }

    /// Finds the file that was left at `at`, in the directory of one of the op's names, wherever that directory is now:
    /// under the same file name, or as a visible name of one of the op's two files there.
    fn moved(
        &self,
        conflict: &Conflict,
        at: &Place,
    ) -> Option<(Result<Option<Stat>, FsError>, Place)> {
        let intent = self.intents.of(conflict.op)?;
        // Where the op has names in several directories, the file is in the one that it was left in.
        let beside = |path: &RelPath| path.parent() == at.path.parent();
        let any_beside = intent.names.iter().any(|name| beside(&name.path));
        let names = intent.names.iter().filter(|name| !any_beside || beside(&name.path));
        let dirs = names.flat_map(|n| [(n.from, &n.from_dir), (n.to, &n.to_dir)]);
        let dirs: BTreeSet<_> = dirs.filter(|(_, handle)| !handle.0.is_empty()).collect();
        let here = |branch: BranchIdx| {
            let record = conflict.run.branches.get(branch.index());
            record.and_then(|record| self.branches.find(record))
        };
        let files = [&intent.master, &intent.duplicate];
        let inodes = files.map(|file| here(file.branch).map(|branch| (branch, file.id.ino)));
        let hidden = is_hidden_name(at.path.file_name().as_encoded_bytes());
        for (branch, handle) in dirs {
            // mergerfs renames a directory on every branch: the directory on another branch tells as well.
            let dir = here(branch).and_then(|branch| self.branches.path_of_handle(branch, handle));
            let Some(dir) = dir else { continue };
            let dir = Place::new(at.branch, dir);
            let same = Place::new(at.branch, entry(&dir.path, at.path.file_name()));
            let names = self.branches.fs.names_with_prefix(&dir, b"").ok();
            let names = names.into_iter().flatten().filter(|_| !hidden);
            let others = names.map(|name| {
                let path = entry(&dir.path, crate::pool::mergerfs::path_of(&name));
                Place::new(at.branch, path)
            });
            let is_one = |place: &Place, stat: &Stat| {
                *place == same || inodes.contains(&Some((place.branch, stat.id.ino)))
            };
            let mut places = std::iter::once(same.clone()).chain(others);
            let found = places.find_map(|place| {
                let stat = self.branches.file(&place).ok().flatten()?;
                is_one(&place, &stat).then_some((Ok(Some(stat)), place))
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn hidden(&mut self, run: &RunStarted, at: &Place, stat: &Stat) -> HiddenFile {
        let own = hidden_of(at).and_then(|name| self.intents.own_path(&name).cloned());
        let name = own.as_ref().map(RelPath::file_name);
        let name = name.map_or(b"file".to_vec(), |name| name.as_encoded_bytes().to_vec());
        HiddenFile {
            file: FileNow::new(self.branches.path_of(at), stat),
            pool_path: own.map(|path| run.pool.join(path.as_path())),
            keep_as: self.free_name(run, at, &name),
        }
    }

    /// Returns the path, if several branches of the run have a regular file there; a path that one branch has is
    /// settled.
    fn twice(&mut self, run: &RunStarted, path: &RelPath) -> Option<Twice> {
        let mut found: Vec<(Place, Stat)> = Vec::new();
        for record in &run.branches {
            let at = self.branches.place(record, path);
            let stat = at.map(|at| (self.branches.file(&at), at));
            if let Some((Ok(Some(stat)), at)) = stat {
                found.push((at, stat));
            }
        }
        let (first, others) = found.split_first()?;
        if others.is_empty() {
            return None;
        }
        let equal = others.iter().map(|other| self.are_equal(first, other));
        // A file that differs decides, even if another file was not compared.
        let equal = equal.reduce(|a, b| match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, _) | (_, None) => None,
            _ => Some(true),
        });
        let pool_path = run.pool.join(path.as_path());
        let shown = mergerfs::shown_path(&pool_path);
        let name = path.file_name().as_encoded_bytes();
        let files = found.iter().map(|(at, stat)| {
            let file = FileNow::new(self.branches.path_of(at), stat);
            let shown = shown.as_ref().map(|shown| *shown == file.path);
            let keep_as = match shown {
                Some(true) => None,
                _ => self.free_name(run, at, name),
            };
            TwiceFile { shown, keep_as, file }
        });
        let files: Vec<TwiceFile> = files.collect();
        let kept = files.iter().position(|file| file.shown == Some(true)).unwrap_or(0);
        let others = found.iter().enumerate().filter(|(at, _)| *at != kept);
        let mut others = others.map(|(_, (at, _))| at);
        let metadata = others.find_map(|other| self.difference(&found[kept].0, other));
        Some(Twice { files, pool_path, equal: equal.flatten(), metadata })
    }

    /// Returns how `other` differs from `kept`, apart from the bytes: a client may have changed one of them.
    fn difference(&self, kept: &Place, other: &Place) -> Option<String> {
        let fs = &self.branches.fs;
        let metadata = |at| fs.open(at).and_then(|file| fs.metadata(&file)).ok();
        let ignored = IgnoreMetadata::default();
        let (reason, detail) = ignored.difference(&metadata(kept)?, &metadata(other)?)?;
        Some(format!("{} ({detail})", reason.as_str()))
    }

    /// Compares the files; `None` if comparing would take too long, or a file cannot be read.
    fn are_equal(
        &mut self,
        (a, a_stat): &(Place, Stat),
        (b, b_stat): &(Place, Stat),
    ) -> Option<bool> {
        if a_stat.size != b_stat.size {
            return Some(false);
        }
        if a_stat.id == b_stat.id {
            return Some(true);
        }
        self.budget = self.budget.checked_sub(a_stat.size.saturating_mul(2))?;
        self.branches.equal(a, b).ok()
    }

    /// Returns a name for the file at `at`, in its own directory: `name`, or a name that begins like it.
    fn free_name(&mut self, run: &RunStarted, at: &Place, name: &[u8]) -> Option<PathBuf> {
        names_to_try(name).find_map(|name| {
            let free = beside(at, &name)?;
            // Two branches have one name space: their pool's.
            let pool_path = run.pool.join(free.path.as_path());
            let is_free = !self.given.contains(&pool_path)
                && self.branches.is_free(&run.branches, &free.path);
            (is_free && self.given.insert(pool_path)).then(|| self.branches.path_of(&free))
        })
    }

    fn stray<S: Store>(&mut self, journal: &Journal<S>, at: &Place) -> Option<Unexplained> {
        let stat = self.branches.fs.stat(at).ok().flatten()?;
        let name = hidden_of(at);
        let origin = origin(journal, &self.intents, at);
        let run = name.and_then(|name| journal.run(name.op.run));
        let ours =
            !matches!(origin, Origin::OtherJournal(_) | Origin::Unreadable | Origin::NeverRun(_));
        let settled = run.filter(|_| ours && stat.kind == FileKind::Regular);
        let settled = settled.map(|run| self.hidden(&run.started, at, &stat));
        let (pool_path, keep_as) = settled.map_or((None, None), |it| (it.pool_path, it.keep_as));
        Some(Unexplained {
            file: FileNow::new(self.branches.path_of(at), &stat),
            origin,
            pool_path,
            keep_as,
        })
    }
}

/// Returns how the hidden name at `at` came to be.
pub(super) fn origin<S: Store>(journal: &Journal<S>, intents: &Intents, at: &Place) -> Origin {
    let Some(name) = hidden_of(at) else {
        return Origin::Unreadable;
    };
    if name.journal != journal.id() {
        return Origin::OtherJournal(name.journal);
    }
    let newest = journal.runs().map(|run| run.started.run).max();
    if name.op.run == 0 || newest.is_none_or(|newest| name.op.run > newest) {
        return Origin::NeverRun(name.op);
    }
    if journal.run(name.op.run).is_none() {
        return Origin::Forgotten(name.op);
    }
    let own = intents.own_path(&name).and_then(RelPath::parent);
    match (own, intents.of(name.op)) {
        (_, None) => Origin::NeverRun(name.op),
        (Some(dir), _) if Some(&dir) != at.path.parent().as_ref() => Origin::Renamed(name.op),
        _ => Origin::LeftBehind(name.op),
    }
}
