//! The request of a run, as one value.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::hooks::Hooks;
use crate::execute::Leases;
use crate::find::list::Forms;
use crate::plan::master::Policy;
use crate::plan::metadata::IgnoreMetadata;
use crate::plan::{Link, Shadows};

/// One run: the source of its duplicates, the rules for them, and the place of the record.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the duplicates come from; the source also decides which pool is meant.
    pub source: Source,
    /// The branches of the pool (`A=RW:B=RO`), for a mergerfs that does not list them.
    pub branches: Option<OsString>,
    /// Refuses a pool with a branch outside of this directory.
    pub pool_root: Option<PathBuf>,
    /// Which files, and which copy of each stays.
    pub wishes: Wishes,
    /// Carries the plan out; without it, the run ends with the plan.
    pub execute: bool,
    /// Where and how the plan is carried out and recorded.
    pub execution: Execution,
}

impl Request {
    /// Returns a dry run over the duplicates of `source`, with no wishes.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            branches: None,
            pool_root: None,
            wishes: Wishes::default(),
            execute: false,
            execution: Execution::default(),
        }
    }
}

/// Where duplicates come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// An own scan.
    Scan(ScanRequest),
    /// The list of another program.
    List(ListRequest),
}

/// What to scan.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// Directories of one pool. Without any, and with `only`: the whole pool of the first path there.
    pub dirs: Vec<PathBuf>,
    /// The only files to replace, and directories of such files; without it, all files below `dirs`.
    pub only: Option<Vec<PathBuf>>,
    /// Where hashes are kept between scans.
    pub cache: HashCache,
}

/// Where hashes are kept between scans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HashCache {
    /// Nowhere.
    #[default]
    Off,
    /// Nowhere, because no directory is known; the scan warns.
    NoPlace,
    /// In this directory, which is made if it is missing.
    At(PathBuf),
}

/// Which list to read.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// The list; "-" is standard input.
    pub path: PathBuf,
    /// The forms that it may have, if its contents do not show its form.
    pub format: Option<Forms>,
    /// Where its relative paths begin. Without it: the base that the list names, else the current directory.
    pub base: Option<PathBuf>,
    /// Directories as the list names them, and where they are here; the first that holds a path counts.
    pub map: Vec<(PathBuf, PathBuf)>,
    /// A directory of the pool, at most one. Without it: the first primary, else the first path of the list on a pool.
    pub pools: Vec<PathBuf>,
}

/// A mover takes no longer between its copy and its delete.
pub const SHADOW_AGE: Duration = Duration::from_secs(3_600);

/// Which files a run is about, and which copy of each stays.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Globs of the only files to take.
    pub include: Vec<String>,
    /// Globs of files and directories to leave out.
    pub exclude: Vec<String>,
    /// The smallest size to take, in bytes.
    pub min_size: Option<u64>,
    /// The largest size to take, in bytes.
    pub max_size: Option<u64>,
    /// Directories whose copies stay, the most wanted first.
    pub primaries: Vec<PathBuf>,
    /// Takes groups without a copy under a primary, too.
    pub any_master: bool,
    /// What a duplicate becomes.
    pub link: Link,
    /// Which copy stays where no primary decides.
    pub policy: Policy,
    /// Which metadata may differ between copies.
    pub ignore: IgnoreMetadata,
    /// How paths on several branches are handled.
    pub shadows: Shadows,
    /// Hidden copies younger than this are not merged.
    pub shadow_age: Duration,
    /// The most ops to plan.
    pub max_ops: Option<u64>,
    /// The most bytes to free.
    pub max_bytes: Option<u64>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            min_size: None,
            max_size: None,
            primaries: Vec::new(),
            any_master: false,
            link: Link::default(),
            policy: Policy::default(),
            ignore: IgnoreMetadata::default(),
            shadows: Shadows::default(),
            shadow_age: SHADOW_AGE,
            max_ops: None,
            max_bytes: None,
        }
    }
}

/// How a plan is carried out, and where the run is recorded.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The directory of the journal, which is made if it is missing. Required to carry a plan out.
    pub journal: Option<PathBuf>,
    /// The CSV log; without it, `log.csv` in the directory of the journal.
    pub csv: Option<PathBuf>,
    /// Accepts branches that are not the branches the journal knows.
    pub accept_branches: bool,
    /// Whether other programs are kept out by leases.
    pub leases: Leases,
    /// The user's commands before and after.
    pub hooks: Hooks,
    /// Words that say what was asked for: the journal keeps them, and `history` shows them.
    pub options: Vec<Vec<u8>>,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            journal: None,
            csv: None,
            accept_branches: false,
            leases: Leases::Required,
            hooks: Hooks::default(),
            options: Vec::new(),
        }
    }
}
