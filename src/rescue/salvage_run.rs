//! `resume --salvage` from request to a new journal: the journal is lost; its CSV log and the hidden names on the
//! branches say which ops were open.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::leftovers;
use super::salvage::{self, Lost, Salvage, Why};
use crate::execute::{remove_if_empty, sync_dirs};
use crate::fs::real::RealFs;
use crate::fs::{FsError, Look, Place};
use crate::journal::{self, JournalError, Logged, Remains};
use crate::plan::hidden_name::parse_hidden_name;
use crate::plan::metadata::IgnoreMetadata;
use crate::pool::Pool;
use crate::pool::lock::PoolLock;
use crate::run::real_path::outside;
use crate::run::{DiskJournal, RunError, Session, Site, find_pool, newest_noted};

/// The request of a salvage.
#[derive(Debug, Clone, Default)]
pub struct SalvageRequest {
    /// The directory of the journal.
    pub journal: PathBuf,
    /// Whether the user named this directory.
    pub named: bool,
    /// The directory of a journal that no option names.
    pub usual: Option<PathBuf>,
    /// The CSV log; without it, `log.csv` in the directory of the journal.
    pub csv: Option<PathBuf>,
    /// Pools to look at, where the CSV log names none.
    pub pools: Vec<PathBuf>,
    /// Which metadata may differ between copies, as it might in the run.
    pub ignore: IgnoreMetadata,
    /// Locks the pools, so that [`Salvaging::replace`] may follow.
    pub execute: bool,
}

/// Why nothing was salvaged; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SalvageError {
    /// An error that any run can have.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The CSV log is of another program.
    #[error("the CSV log is not one of this program")]
    NotALog,
    /// A pool that the CSV log names is not mounted.
    #[error("no pool is mounted where {0:?} was")]
    PoolGone(PathBuf),
    /// Neither the CSV log nor the request names a pool.
    #[error("nothing says which pool to look at")]
    NoPool,
    /// A new journal would explain none of the names of several journals.
    #[error("the hidden names are of several journals, and nothing shows which one was here")]
    ManyJournals,
    /// There is no journal where it should be, and the user has not named the place.
    #[error("no journal is at {0:?}: it may be elsewhere")]
    MaybeElsewhere(PathBuf),
    /// The journal that made the hidden names is at its usual place.
    #[error("the names are of the journal at {0:?}, which is not lost")]
    NotLost(PathBuf),
    /// The CSV log has an op on a branch that does not exist any more.
    #[error("a branch that {0:?} was on is not there: nothing was changed")]
    BranchGone(PathBuf),
}

impl From<JournalError> for SalvageError {
    fn from(error: JournalError) -> Self {
        Self::Run(error.into())
    }
}

impl From<FsError> for SalvageError {
    fn from(error: FsError) -> Self {
        Self::Run(error.into())
    }
}

/// A pool, and the plan for it.
pub struct PoolRemains {
    /// The pool.
    pub session: Session,
    /// The plan for it.
    pub plan: Salvage,
    lost: Lost,
}

impl PoolRemains {
    /// Returns the branch paths of the directories that are to be removed.
    #[must_use]
    pub fn dirs(&self) -> Vec<PathBuf> {
        paths_of(&self.session, &self.plan.dirs)
    }
}

/// The remains of a journal, and a plan for each pool.
pub struct Salvaging {
    /// The remains of the journal.
    pub remains: Remains,
    /// The contents of its CSV log.
    pub logged: Logged,
    /// Each pool.
    pub found: Vec<PoolRemains>,
    locks: Vec<PoolLock>,
}

/// Looks at the remains of the journal and at its pools; `None` if the journal can be used.
///
/// # Errors
/// When the log is of another program, or a pool is missing or cannot be looked at.
pub fn look(request: &SalvageRequest) -> Result<Option<Salvaging>, SalvageError> {
    let Some(remains) = journal::remains(&request.journal, request.csv.as_deref())? else {
        return Ok(None);
    };
    let logged = read_log(&remains)?;
    let sessions = sessions(remains.log.as_deref(), &logged, request)?;
    for session in &sessions {
        outside(&session.pool, "journal", &request.journal)?;
    }
    let locks: Result<Vec<_>, _> = match request.execute {
        true => sessions.iter().map(Session::lock).collect(),
        false => Ok(Vec::new()),
    };
    let locks = locks.map_err(RunError::from)?;
    let found = look_at(sessions, (&remains, &logged), request)?;
    Ok(Some(Salvaging { remains, logged, found, locks }))
}

/// Hidden files that the journal does not know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Others {
    /// The id of the journal that made the first of them.
    pub journal: u32,
    /// The first.
    pub first: PathBuf,
    /// How many there are.
    pub count: usize,
    /// The mount point of their pool.
    pub pool: PathBuf,
}

/// Looks for hidden files of other journals, on the pools of the request and of the newest run of the journal, which can be
/// used.
///
/// # Errors
/// When the journal cannot be read, or the request names no pool.
pub fn others(request: &SalvageRequest) -> Result<Option<Others>, SalvageError> {
    let newest = |journal: &DiskJournal| {
        let runs: BTreeSet<u64> = journal.runs().map(|run| run.started.run).collect();
        (journal.id(), runs, journal.runs().next_back().map(|run| run.started.pool.clone()))
    };
    let Some((id, runs, pool)) =
        journal::open_existing(&request.journal, None)?.as_ref().map(newest)
    else {
        return Ok(None);
    };
    let named = request.pools.iter().map(|pool| find_pool::of_directory(pool, None));
    let mut pools: Vec<Pool> = named.collect::<Result<_, _>>()?;
    let newest = pool.and_then(|pool| find_pool::mounted_at(&pool).ok()).flatten();
    pools.extend(newest.filter(|_| request.pools.is_empty()));
    for session in pools.into_iter().filter_map(|pool| Session::open(pool).ok()) {
        let of_others = |at: &Place| {
            let name = parse_hidden_name(at.path.file_name().as_encoded_bytes())?;
            // An older copy of a journal lacks the last runs of that.
            let known = name.journal == id && runs.contains(&name.op.run);
            (!known).then(|| (name.journal, at.clone()))
        };
        let found: Vec<(u32, Place)> = hidden(&session).iter().filter_map(of_others).collect();
        if let Some((journal, first)) = found.first() {
            return Ok(Some(Others {
                journal: *journal,
                first: session.pool.branch_path(first.branch, &first.path),
                count: found.len(),
                pool: session.pool.mount,
            }));
        }
    }
    Ok(None)
}

impl Salvaging {
    /// Puts a journal in place that has the found ops open, after the work that needs no journal; unlocks the pools
    /// then.
    ///
    /// # Errors
    /// When it is not sure that the journal is lost, or a branch is missing: nothing was changed then. When a call
    /// fails: the next try finds the rest.
    pub fn replace(self, request: &SalvageRequest) -> Result<DiskJournal, SalvageError> {
        one_journal(&self.found)?;
        surely_lost(request, &self.remains, &self.found)?;
        all_there(&self.remains, &self.found)?;
        let journal = replace(self.remains, &self.logged, &self.found)?;
        // The journal has every open op now. Recovery locks each pool again.
        drop(self.locks);
        Ok(journal)
    }
}

/// Checks that the hidden names are of one journal. A new journal would explain no name of several journals.
///
/// # Errors
/// [`SalvageError::ManyJournals`].
fn one_journal(found: &[PoolRemains]) -> Result<(), SalvageError> {
    let other = |found: &PoolRemains| {
        let mut left = found.plan.left.iter();
        left.any(|left| matches!(left.why, Why::OtherJournal(_)))
    };
    match found.iter().any(|f| f.lost.journal.is_none() && other(f)) {
        true => Err(SalvageError::ManyJournals),
        false => Ok(()),
    }
}

/// Checks that the journal is lost, and not in another directory. If the journal exists, its own recovery would take a
/// path that is finished here for a path that a client deleted. It would remove the replacement as well, and the path
/// would be gone.
///
/// # Errors
/// When the user has not named the directory of the journal, or a journal with the same id is at the usual place.
fn surely_lost(
    request: &SalvageRequest,
    remains: &Remains,
    found: &[PoolRemains],
) -> Result<(), SalvageError> {
    if remains.why.is_some() || found.iter().all(|found| found.plan.ops.is_empty()) {
        return Ok(());
    }
    if !request.named {
        return Err(SalvageError::MaybeElsewhere(remains.dir.clone()));
    }
    let id = found.first().and_then(|found| found.lost.journal);
    let usual = request.usual.clone().filter(|usual| journal::id_at(usual) == id);
    let Some(usual) = usual.filter(|_| id.is_some()) else {
        return Ok(());
    };
    // If a journal can be used and does not have these ops open, an earlier salvage made it.
    let open = journal::open_existing(&usual, None)?.map_or(Vec::new(), |it| it.open_ops());
    let mut ops = found.iter().flat_map(|found| &found.plan.ops);
    if ops.any(|op| open.iter().any(|open| open.intent.op == op.op)) {
        return Err(SalvageError::NotLost(usual));
    }
    Ok(())
}

/// Checks that the branches of all ops are there. The new journal will not have the op of a missing branch, so the
/// salvage has to wait as long as the log has that op.
///
/// # Errors
/// [`SalvageError::BranchGone`].
fn all_there(remains: &Remains, found: &[PoolRemains]) -> Result<(), SalvageError> {
    let mut left = found.iter().flat_map(|found| &found.plan.left);
    let gone = left.find(|left| left.why == Why::BranchGone);
    match gone.filter(|_| remains.log.is_some()) {
        Some(left) => {
            Err(SalvageError::BranchGone(left.pool_path.as_ref().unwrap_or(&left.at).clone()))
        }
        None => Ok(()),
    }
}

fn read_log(remains: &Remains) -> Result<Logged, SalvageError> {
    match &remains.log {
        None => Ok(Logged::default()),
        Some(log) => journal::read_log(log).ok_or(SalvageError::NotALog),
    }
}

/// Opens the pools that the log and the user name, with their branches.
fn sessions(
    log: Option<&[u8]>,
    logged: &Logged,
    request: &SalvageRequest,
) -> Result<Vec<Session>, SalvageError> {
    let mut pools: Vec<Pool> = Vec::new();
    for pool in &request.pools {
        let pool = find_pool::of_directory(pool, None)?;
        if !pools.iter().any(|known| known.mount == pool.mount) {
            pools.push(pool);
        }
    }
    let open = logged.open.iter().flat_map(|op| &op.names);
    let needed = open.map(|name| (&name.pool_path, true));
    let known = logged.pool_paths.values().map(|path| (path, false));
    for (path, needed) in needed.chain(known) {
        if pools.iter().any(|pool| path.starts_with(&pool.mount)) {
            continue;
        }
        match find_pool::above(path) {
            Some(pool) => pools.push(pool),
            None if needed => return Err(SalvageError::PoolGone(path.clone())),
            None => {}
        }
    }
    // An empty log is of a journal that began no op.
    let begun = log.is_none_or(<[u8]>::is_empty) || *logged != Logged::default();
    if pools.is_empty() && begun {
        return Err(SalvageError::NoPool);
    }
    let sessions: Result<_, _> = pools.into_iter().map(Session::open).collect();
    Ok(sessions?)
}

fn look_at(
    sessions: Vec<Session>,
    (remains, logged): (&Remains, &Logged),
    request: &SalvageRequest,
) -> Result<Vec<PoolRemains>, SalvageError> {
    let hidden: Vec<_> = sessions.iter().map(hidden).collect();
    let paths: Vec<PathBuf> = sessions
        .iter()
        .zip(&hidden)
        .flat_map(|(session, places)| paths_of(session, places))
        .collect();
    let id = remains.id.or_else(|| salvage::journal_of(&logged.open, &paths));
    let mut found = Vec::with_capacity(sessions.len());
    for (session, hidden) in sessions.into_iter().zip(hidden) {
        let lost = Lost {
            mount: session.pool.mount.clone(),
            branches: session.branch_records(),
            newest_dirs: session.pool.getattr_newest,
            journal: id,
            ignore: request.ignore.clone(),
        };
        let here = logged.open.iter().filter(|op| {
            let mut names = op.names.iter();
            names.all(|name| name.pool_path.starts_with(&lost.mount))
        });
        let here: Vec<_> = here.cloned().collect();
        let plan = salvage::plan(&session.fs, &lost, &here, &hidden)?;
        found.push(PoolRemains { session, lost, plan });
    }
    let mut plans: Vec<_> = found.iter_mut().map(|found| &mut found.plan).collect();
    salvage::keep_apart(&mut plans);
    Ok(found)
}

/// Returns the hidden names on the branches of a pool.
fn hidden(session: &Session) -> Vec<Place> {
    let mut names = Vec::new();
    for branch in session.pool.indices() {
        let found = leftovers::look(&session.fs, branch, false);
        if found.unreadable > 0 {
            tracing::warn!(
                branch = ?session.pool.branches[branch.index()].path,
                directories = found.unreadable,
                "could not be looked into; what is hidden there stays"
            );
        }
        names.extend(found.names);
    }
    names.sort();
    names
}

fn paths_of(session: &Session, places: &[Place]) -> Vec<PathBuf> {
    let path = |at: &Place| session.pool.branch_path(at.branch, &at.path);
    places.iter().map(path).collect()
}

/// Puts a journal in place that has the found ops open, after the work that needs no journal.
fn replace(
    remains: Remains,
    logged: &Logged,
    found: &[PoolRemains],
) -> Result<DiskJournal, SalvageError> {
    for PoolRemains { session, plan, .. } in found {
        for dir in &plan.dirs {
            if !remove_if_empty(&session.fs, dir)? {
                let path = session.pool.branch_path(dir.branch, &dir.path);
                tracing::warn!(?path, "not empty: it stays");
            }
        }
        // Entries that the killed process removed must not come back unnoticed, once no record of them is left.
        sync_dirs(&session.fs, &plan.settle)?;
    }
    let pools: Vec<_> = found.iter().map(|f| (&f.lost, &f.plan)).collect();
    let id = found.first().and_then(|found| found.lost.journal);
    let noted = |found: &PoolRemains| id.map_or(0, |id| newest_noted(&found.session, id));
    let noted = found.iter().map(noted).max().unwrap_or(0);
    let newest = logged.newest_run.max(remains.newest_run).max(noted);
    let now = RealFs::open(&[])?.now();
    let records = salvage::records(&pools, newest, now);
    let (journal, aside) = remains.replace(id, &records, now)?;
    if let Some(aside) = aside {
        tracing::warn!(path = ?aside, "the journal that cannot be used is kept");
    }
    Ok(journal)
}
