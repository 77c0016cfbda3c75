//! Removes hidden files that ended ops left: for `resume --discard`. Removes nothing else, and no visible name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::look::{Intents, origin};
use super::{Branches, FileNow, Origin};
use crate::fs::{Change, FileKind, Fingerprint, FsError, InodeId, Lease, Look, Pin, Place};
use crate::journal::{Intent, Journal, JournalError, RunStarted, Store};
use crate::plan::OpId;
use crate::plan::hidden_name::{HiddenName, is_hidden_name, parse_hidden_name};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;
use crate::rescue::leftovers;

/// A hidden file that may be removed.
#[derive(Debug, Clone)]
pub(crate) struct Discard {
    pub(crate) at: Place,
    pub(crate) file: FileNow,
    pub(crate) op: OpId,
    /// The pool path it had, where the journal still knows.
    pub(crate) pool_path: Option<PathBuf>,
    /// Bytes that become free.
    pub(crate) frees: u64,
    /// No visible file is known to have the same bytes.
    pub(crate) last_copy: bool,
    seen: Fingerprint,
}

/// Why a place may not be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Gone,
    Visible,
    NotAFile,
    OtherJournal,
    NeverRun,
    Open,
}

impl Refused {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Gone => "nothing is there",
            Self::Visible => {
                "its name is not a hidden one: only names that start with .xdedup- are discarded"
            }
            Self::NotAFile => "it is not a regular file",
            Self::OtherJournal => {
                "its name is of another journal, or another program made it: name that journal with --journal"
            }
            Self::NeverRun => "no run of this journal made it",
            Self::Open => "an interrupted run still needs it: `mergerfs.xdedup resume` first",
        }
    }
}

/// The result of a look at a place.
type Looked = Result<Result<Discard, Refused>, FsError>;

/// Why a file was not removed after all.
#[derive(Debug)]
pub(crate) enum NotRemoved {
    /// Another program has the file open.
    Busy,
    /// The file is not the file that was looked at.
    Changed,
    /// A call failed.
    Failed(FsError),
}

impl From<FsError> for NotRemoved {
    fn from(error: FsError) -> Self {
        Self::Failed(error)
    }
}

/// Looks at files to discard.
struct Looker<'a, S: Store> {
    journal: &'a Journal<S>,
    branches: &'a Branches,
    intents: Intents,
    /// Names of this tool on a branch, by inode; read where they are first needed.
    hidden: BTreeMap<BranchIdx, BTreeMap<InodeId, u64>>,
}

impl<'a, S: Store> Looker<'a, S> {
    /// # Errors
    /// When the journal cannot be read.
    fn new(
        journal: &'a Journal<S>,
        branches: &'a Branches,
        places: &[Place],
    ) -> Result<Self, JournalError> {
        let ops = places.iter().filter_map(name_of).map(|name| name.op);
        Ok(Self {
            journal,
            branches,
            intents: Intents::read(journal, &ops.collect())?,
            hidden: BTreeMap::new(),
        })
    }

    /// Returns the file at `at`, if it may be removed.
    fn look(&mut self, at: &Place) -> Looked {
        if !is_hidden_name(at.path.file_name().as_encoded_bytes()) {
            return Ok(Err(Refused::Visible));
        }
        let fs = &self.branches.fs;
        // From here on the directory is this directory, even if another directory gets its path.
        if fs.pin(&at.dir())? == Pin::Missing {
            return Ok(Err(Refused::Gone));
        }
        let Some(stat) = fs.stat(at)? else {
            return Ok(Err(Refused::Gone));
        };
        if stat.kind != FileKind::Regular {
            return Ok(Err(Refused::NotAFile));
        }
        let Some(name) = name_of(at) else {
            return Ok(Err(Refused::OtherJournal));
        };
        match origin(self.journal, &self.intents, at) {
            Origin::OtherJournal(_) | Origin::Unreadable => return Ok(Err(Refused::OtherJournal)),
            Origin::NeverRun(_) => return Ok(Err(Refused::NeverRun)),
            Origin::LeftBehind(_) | Origin::Renamed(_) | Origin::Forgotten(_) => {}
        }
        let open = self.journal.open_ops();
        if open.iter().any(|op| op.intent.op == name.op) {
            return Ok(Err(Refused::Open));
        }
        let run = self.journal.run(name.op.run).map(|run| &run.started);
        let own = self.intents.own_path(&name);
        let pool_path = run.zip(own).map(|(run, own)| run.pool.join(own.as_path()));
        let last_copy = !self.has_visible_copy(at, &name)?;
        Ok(Ok(Discard {
            at: at.clone(),
            file: FileNow::new(self.branches.path_of(at), &stat),
            op: name.op,
            pool_path,
            frees: if stat.nlink == 1 { stat.blocks * 512 } else { 0 },
            last_copy,
            seen: stat.fingerprint(),
        }))
    }

    /// Whether a visible name has the same bytes: a path of the op on any branch, or another name of the inode.
    fn has_visible_copy(&mut self, at: &Place, name: &HiddenName) -> Result<bool, FsError> {
        let run = self.journal.run(name.op.run).map(|run| &run.started);
        if let (Some(run), Some(intent)) = (run, self.intents.of(name.op)) {
            for visible in visible_places(self.branches, run, intent) {
                // An error of another file says nothing about this file: this file counts as the last copy.
                if self.same_bytes(at, &visible).unwrap_or(false) {
                    return Ok(true);
                }
            }
        }
        let Some(stat) = self.branches.fs.stat(at)? else {
            return Ok(false);
        };
        if stat.nlink == 1 {
            return Ok(false);
        }
        let hidden = self.hidden_names(at.branch).get(&stat.id).copied();
        Ok(stat.nlink > hidden.unwrap_or(1))
    }

    fn same_bytes(&self, at: &Place, visible: &Place) -> Result<bool, FsError> {
        let own = self.branches.file(at)?;
        let other = self.branches.file(visible)?;
        let (Some(own), Some(other)) = (own, other) else {
            return Ok(false);
        };
        match (own.id == other.id, own.size == other.size) {
            (true, _) => Ok(true),
            (_, false) => Ok(false),
            (false, true) => self.branches.equal(at, visible),
        }
    }

    /// Returns how many hidden names each inode of a branch has.
    fn hidden_names(&mut self, branch: BranchIdx) -> &BTreeMap<InodeId, u64> {
        let fs = &self.branches.fs;
        self.hidden.entry(branch).or_insert_with(|| {
            let mut count = BTreeMap::new();
            for at in leftovers::look(fs, branch, false).names {
                if let Ok(Some(stat)) = fs.stat(&at) {
                    *count.entry(stat.id).or_default() += 1;
                }
            }
            count
        })
    }
}

fn name_of(at: &Place) -> Option<HiddenName> {
    parse_hidden_name(at.path.file_name().as_encoded_bytes())
}

/// Returns every path of the op, on every branch that is mounted.
fn visible_places(branches: &Branches, run: &RunStarted, intent: &Intent) -> Vec<Place> {
    let names = intent.names.iter().map(|name| &name.path);
    let paths: BTreeSet<_> = names
        .chain([&intent.master.path, &intent.duplicate.path])
        .filter(|path| !is_hidden_name(path.file_name().as_encoded_bytes()))
        .collect();
    let on = |path| {
        let records = run.branches.iter();
        records.filter_map(move |record| branches.place(record, path))
    };
    paths.into_iter().flat_map(on).collect()
}

impl Discard {
    /// Looks at each of `places`.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn look<S: Store>(
        journal: &Journal<S>,
        branches: &Branches,
        places: &[Place],
    ) -> Result<Vec<Looked>, JournalError> {
        let mut looker = Looker::new(journal, branches, places)?;
        Ok(places.iter().map(|at| looker.look(at)).collect())
    }

    /// Removes the name, if it still is the file that was looked at and no program has the file open.
    ///
    /// # Errors
    /// When the file changed or is open, or a call fails; the name is there then.
    pub(crate) fn remove(&self, branches: &Branches) -> Result<(), NotRemoved> {
        let fs = &branches.fs;
        let file = match fs.open(&self.at) {
            Ok(file) => file,
            Err(error) => return Err(not_opened(error)),
        };
        // A program that has the file open may still write to it. Filesystems without leases do not tell.
        match fs.lease(&file, Lease::Write) {
            Err(error) if error.errno() == libc::EAGAIN => return Err(NotRemoved::Busy),
            Ok(()) | Err(_) => {}
        }
        let same = fs.stat_open(&file)?.fingerprint() == self.seen;
        let named = fs.stat(&self.at)?.map(|stat| stat.fingerprint());
        if !same || named != Some(self.seen) {
            return Err(NotRemoved::Changed);
        }
        fs.unlink(&self.at)?;
        Ok(())
    }
}

fn not_opened(error: FsError) -> NotRemoved {
    match error.errno() {
        libc::EAGAIN => NotRemoved::Busy,
        libc::ENOENT | libc::EINVAL | libc::ELOOP => NotRemoved::Changed,
        _ => NotRemoved::Failed(error),
    }
}

/// Returns where `path` may be: a branch path, or a pool path of any run of the journal.
pub(crate) fn places_of<S: Store>(
    journal: &Journal<S>,
    branches: &Branches,
    path: &Path,
) -> Vec<Place> {
    let relative = |root: &Path| {
        let real = root.canonicalize().ok();
        let inside = path.strip_prefix(root).ok();
        let inside = inside.or_else(|| path.strip_prefix(real?).ok())?;
        RelPath::new(inside.as_os_str().as_encoded_bytes()).ok()
    };
    let mut places = BTreeSet::new();
    for branch in branches.indices() {
        if let Some(inside) = relative(branches.root(branch)) {
            places.insert(Place::new(branch, inside));
        }
    }
    for run in journal.runs() {
        let Some(inside) = relative(&run.started.pool) else {
            continue;
        };
        let records = run.started.branches.iter();
        let of_pool = records.filter_map(|record| branches.place(record, &inside));
        places.extend(of_pool);
    }
    places.into_iter().collect()
}
