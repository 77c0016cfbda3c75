//! The replacement protocol: planned ops in, outcomes out, one phase a file.
//!
//! An op goes through `compare`, the intent record, `make_parents`, `publish`, the barrier, `retire`, the retired
//! record, `remove` and the done record; `take_back` undoes all before the first unlink. An op that undoes another op
//! takes the same way, after `copy` has made its master. `pass` puts a run's ops into batches. `batch` takes all ops of
//! a batch through each phase, so that they share every barrier. `recover` looks at the disks and decides which of the
//! same transitions an interrupted op takes next.

mod barrier;
mod batch;
mod begun;
mod both_stay;
mod changes;
mod compare;
mod compared;
mod copy;
mod grip;
mod halt;
mod intent;
mod new_name;
mod observe;
mod parents;
mod pass;
mod path_access;
mod publish;
mod recover;
mod reflink;
mod remove;
mod retire;
mod share;
mod take_back;
mod touched;
mod undo;
mod window;
mod work;

use crate::plan::Op;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use halt::Halt;
pub use new_name::NewNames;
pub use parents::{missing_parents, remove_if_empty, sync_dirs};
pub use path_access::PathAccess;
pub use window::Leases;

use crate::fs::{Change, Handle, Hashed, InodeId, Metadata, Place, Timestamp};
use crate::journal::{BranchRecord, Journal, JournalError, Store};
use crate::plan::OpId;
use crate::plan::metadata::IgnoreMetadata;
use crate::plan::refusal::Reason;
use crate::pool::BranchIdx;
use compare::OpenFile;
use grip::Grip;
use touched::Touched;

/// What the executor needs to know about the pool and the wishes of the user.
#[derive(Debug, Clone)]
pub struct Options {
    /// The branches in branch order; an op on a branch without a filesystem identity is refused.
    pub branches: Vec<BranchRecord>,
    /// Branches that an open op used and the mounted pool no longer lists: no path is moved to one of them.
    pub departed: Vec<BranchIdx>,
    /// Which differences in metadata do not matter.
    pub ignore: IgnoreMetadata,
    /// Whether other programs are kept out by leases.
    pub leases: Leases,
    /// Whether the pool shows the newest directory's metadata (`func.getattr=newest`), not the first's.
    pub newest_dirs: bool,
    /// When the own scan that found the duplicates began: the scan read them as equal, whatever other change came
    /// since.
    pub scanned: Option<Timestamp>,
    /// Names of the ops that share a barrier, at most: each name has directories of its own, which are held. One op is always
    /// let in.
    pub batch_names: usize,
    /// Bytes compared before a barrier, at most; a crash makes recovery compare these again.
    pub batch_bytes: u64,
}

/// How an op ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Replaced; the duplicate is gone.
    Done {
        /// Bytes that became free.
        reclaimed: u64,
    },
    /// Not replaced; the op changed nothing.
    NotDone(Halt),
    /// Begun, and neither finished nor taken back: both copies stay, the journal keeps it open.
    Open(Halt),
    /// Another program's change came in between: both copies stay, for a person to look at. With the places of files
    /// that are not at a path of their own.
    Conflict(Halt, Vec<Place>),
}

/// How many steps an op takes: it is compared, held, gets its directories, is published, retired and removed.
pub const STEPS: u64 = 6;

/// Who watches a run: progress, signals, and the pool's own changes.
pub trait Observer {
    /// Bytes were read for comparing.
    fn bytes_read(&mut self, _bytes: u64) {}

    /// An op under way came through another of its [`STEPS`].
    fn stepped(&mut self) {}

    /// Whether to finish the batch in hand and stop.
    fn interrupted(&self) -> bool {
        false
    }

    /// Whether to finish the batch in hand and stop because the user's time limit has passed.
    fn time_is_up(&self) -> bool {
        false
    }

    /// Called before every batch. Returns why the pool is no longer the pool the plan was made for, or `None`.
    fn pool_changed(&mut self) -> Option<String> {
        None
    }

    /// An op ended.
    fn ended(&mut self, ended: &OpEnded<'_>);
}

/// How one op ended.
#[derive(Debug, Clone, Copy)]
pub struct OpEnded<'e> {
    /// The op, as it was planned.
    pub op: &'e Op,
    /// Its number in the journal, if it was begun.
    pub id: Option<OpId>,
    /// How it ended.
    pub outcome: &'e Outcome,
    /// Whether an earlier run began it.
    pub recovered: bool,
}

/// An op that recovery could neither finish nor take back.
#[derive(Debug)]
pub struct StaysOpen {
    /// The op, on the branches of this run.
    pub op: Op,
    /// Its number in the journal.
    pub id: OpId,
    /// Why it stays open.
    pub halt: Halt,
}

/// Why a whole run stopped. The ops that were begun are in the journal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing can be recorded, so nothing may be done.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// The pool's branches are no longer the branches the plan was made for.
    #[error("the pool changed: {0}")]
    PoolChanged(String),
}

/// Drives ops over a filesystem seam and a journal.
pub struct Executor<'a, F: Change, S: Store> {
    fs: &'a F,
    journal: &'a mut Journal<S>,
    observer: &'a mut dyn Observer,
    options: Options,
    run: u64,
    touched: Touched,
    /// The files held of each op under way.
    grips: HashMap<OpId, Grip<F::File>>,
    /// The files that are open.
    opened: HashMap<InodeId, OpenFile<F::File>>,
    /// The ops under way that give names to a kept copy.
    givers: HashMap<InodeId, BTreeSet<OpId>>,
    /// Handles of directories, by the path under which a batch knows the directory.
    handles: HashMap<Place, Handle>,
    /// The ctime our own last call left on an inode, for all ops that share it.
    ours: HashMap<InodeId, Timestamp>,
    /// How many names each kept copy has from ops of this process that are over.
    given: HashMap<InodeId, u64>,
    /// Owner, mode, ACL and attributes of the files that stay when their undo was first tried, by the op undone.
    sources: HashMap<OpId, Metadata>,
    /// Hashes taken in this run.
    hashes: HashMap<InodeId, Hashed>,
    buffers: (Vec<u8>, Vec<u8>),
    /// Branches that had an unexpected error, and their first: nothing more is done there (invariant 8).
    stopped: BTreeMap<BranchIdx, String>,
    /// Files that many ops share and that were open in another program when an op of this pass wanted them.
    busy: BTreeSet<InodeId>,
    /// Masters and duplicates of ops that stay open: recovery needs them as they are.
    open: (BTreeSet<InodeId>, BTreeSet<InodeId>),
}

impl<'a, F: Change, S: Store> Executor<'a, F, S> {
    /// An executor for run `run` of `journal`.
    pub fn new(
        fs: &'a F,
        journal: &'a mut Journal<S>,
        observer: &'a mut dyn Observer,
        options: Options,
        run: u64,
    ) -> Self {
        Self {
            fs,
            journal,
            observer,
            options,
            run,
            touched: Touched::default(),
            grips: HashMap::new(),
            opened: HashMap::new(),
            givers: HashMap::new(),
            handles: HashMap::new(),
            ours: HashMap::new(),
            given: HashMap::new(),
            sources: HashMap::new(),
            hashes: HashMap::new(),
            buffers: (Vec::new(), Vec::new()),
            stopped: BTreeMap::new(),
            busy: BTreeSet::new(),
            open: (BTreeSet::new(), BTreeSet::new()),
        }
    }

    /// Returns why no more ops may be begun; `None` if they may.
    fn asked_to_stop(&self) -> Option<Reason> {
        if self.observer.interrupted() {
            Some(Reason::Interrupted)
        } else {
            self.observer.time_is_up().then_some(Reason::Limit)
        }
    }

    fn root(&self, branch: BranchIdx) -> &BranchRecord {
        &self.options.branches[branch.index()]
    }

    fn all_branches(&self) -> impl Iterator<Item = BranchIdx> + use<F, S> {
        (0..u16::try_from(self.options.branches.len()).unwrap_or(u16::MAX)).map(BranchIdx)
    }
}
