//! What every command needs open: the pool, its branches, the journal, the locks.

use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::args::Common;
use super::failure::Failure;
use crate::execute::{Leases, Options};
use crate::find::facts;
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::journal::{BranchRecord, Journal, RunStarted, RunSummary, SledStore};
use crate::plan::BranchFacts;
use crate::plan::metadata::IgnoreMetadata;
use crate::pool::lock::PoolLock;
use crate::pool::relpath::RelPath;
use crate::pool::{Pool, mergerfs};
use crate::report::Scene;

/// Ops that share a barrier: enough to make its cost small beside the work, few enough to stop soon.
const BATCH_OPS: usize = 256;
/// Bytes compared or copied before a barrier: what a crash makes to be read again.
const BATCH_BYTES: u64 = 4 << 30;

/// A pool with its branches held open.
pub(super) struct Session {
    pub(super) pool: Pool,
    pub(super) fs: RealFs,
    pub(super) facts: Vec<BranchFacts>,
}

impl Session {
    /// Opens every branch of `pool`; refuses bare mount points.
    pub(super) fn open(pool: Pool) -> Result<Self, Failure> {
        for branch in &pool.branches {
            if mergerfs::awaits_mount(&branch.path) {
                let message = format!("the disk of branch {:?} is not mounted", branch.path);
                return Err(Failure::environment(message).hint("mount it, then run again"));
            }
        }
        let fs = RealFs::open(&pool.branches)?;
        let facts = facts::branch_facts(&fs, &pool)?;
        Ok(Self { pool, fs, facts })
    }

    /// What results about the pool are said with, where something is changed and no run is meant.
    pub(super) fn scene(&self, common: &Common) -> Scene<'_> {
        Scene {
            pool: &self.pool,
            run: None,
            dry_run: false,
            verbose: common.verbose,
            quiet: common.quiet,
            terminal: io::stdout().is_terminal(),
            screen: common.screen(),
        }
    }

    /// The branches as the journal keeps them.
    pub(super) fn branch_records(&self) -> Vec<BranchRecord> {
        facts::branch_records(&self.fs, &self.pool.branches)
    }

    /// The record that `run` begins with, now.
    pub(super) fn run_started(&self, run: u64) -> RunStarted {
        RunStarted {
            run,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: self.fs.now(),
            pool: self.pool.mount.clone(),
            branches: self.branch_records(),
            newest_dirs: self.pool.getattr_newest,
        }
    }

    /// How ops are carried out on the pool.
    pub(super) fn options(&self, ignore: IgnoreMetadata, leases: Leases) -> Options {
        Options {
            branches: self.branch_records(),
            ignore,
            leases,
            newest_dirs: self.pool.getattr_newest,
            scanned: None,
            batch_ops: BATCH_OPS,
            batch_bytes: BATCH_BYTES,
        }
    }

    /// Keeps other runs away from the pool as long as it is held.
    pub(super) fn lock(&self) -> Result<PoolLock, Failure> {
        let roots = self.pool.branches.iter().map(|b| b.path.clone());
        Ok(PoolLock::acquire(roots)?)
    }

    /// Refuses a branch behind which another filesystem is than the journal remembers: a disk that is not mounted
    /// leaves its mount point, an empty directory of the disk below.
    pub(super) fn same_as_before<'j>(
        &self,
        mut runs: impl DoubleEndedIterator<Item = &'j RunSummary>,
    ) -> Result<(), Failure> {
        let last = runs.rfind(|run| run.started.pool == self.pool.mount);
        let Some(last) = last else { return Ok(()) };
        for now in self.branch_records() {
            let before = last.started.branches.iter().find(|b| b.path == now.path);
            let Some(before) = before else { continue };
            if (before.fs, before.root_ino) != (now.fs, now.root_ino) {
                let what = match before.fs == now.fs {
                    true => "directory",
                    false => "filesystem",
                };
                let message = format!(
                    "another {what} is behind branch {:?} than in run {}",
                    now.path, last.started.run
                );
                return Err(Failure::environment(message)
                    .hint("mount its disk; if it was replaced on purpose: --accept-branches"));
            }
        }
        Ok(())
    }

    /// Refuses unless every branch lies below `root`.
    pub(super) fn all_below(&self, root: &Path) -> Result<(), Failure> {
        let real = root.canonicalize().map_err(|error| {
            Failure::usage(format!("cannot look up --pool-root {root:?}: {error}"))
        })?;
        match self
            .pool
            .branches
            .iter()
            .find(|b| !b.path.starts_with(&real))
        {
            None => Ok(()),
            Some(branch) => Err(Failure::environment(format!(
                "branch {:?} does not lie below the pool root {real:?}",
                branch.path
            ))
            .hint("name the directory that holds all branches, or leave --pool-root out")),
        }
    }

    /// A journal on the pool or a branch would be moved, deduplicated, or lost with the disk it is to repair.
    pub(super) fn journal_outside(&self, journal: &Path) -> Result<(), Failure> {
        self.outside("journal", journal)
    }

    /// Refuses a place for `what` that is within the pool or a branch.
    pub(super) fn outside(&self, what: &str, place: &Path) -> Result<(), Failure> {
        let real = real_path(place);
        let roots =
            std::iter::once(&self.pool.mount).chain(self.pool.branches.iter().map(|b| &b.path));
        for root in roots {
            if real.starts_with(root) {
                let message = format!("the {what} {real:?} lies in the pool or a branch: {root:?}");
                return Err(Failure::usage(message)
                    .hint(format!("name a directory elsewhere with --{what}")));
            }
        }
        Ok(())
    }
}

/// The path with everything that exists of it resolved.
pub(super) fn real_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut rest = Vec::new();
    let mut known = absolute.as_path();
    loop {
        if let Ok(real) = known.canonicalize() {
            return rest.iter().rev().fold(real, |path, part| path.join(part));
        }
        match (known.parent(), known.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name.to_os_string());
                known = parent;
            }
            _ => return absolute,
        }
    }
}

/// What to say where the journal has no such run: runs are numbered one after the other.
pub(super) fn no_run(journal: &DiskJournal, run: u64) -> Failure {
    let newest = journal.runs().map(|run| run.started.run).max();
    let what = match newest.is_some_and(|newest| (1..newest).contains(&run)) {
        true => format!("run {run} is no longer in the journal: history --prune forgot it"),
        false => format!("the journal has no run {run}"),
    };
    Failure::usage(what).hint("mergerfs.xdedup history lists them")
}

/// A path relative to the pool, of a file that need not be there any more, as little as the directories above it. What
/// leads there is resolved; not its last part, which may be a link that somebody put there. `None` where it lies elsewhere.
pub(super) fn below_pool(pool: &Pool, path: &Path) -> Option<RelPath> {
    let absolute = std::path::absolute(path).ok()?;
    let real = match (absolute.parent(), absolute.file_name()) {
        (Some(dir), Some(name)) => real_path(dir).join(name),
        _ => absolute,
    };
    let inside = real.strip_prefix(&pool.mount).ok()?;
    RelPath::new(inside.as_os_str().as_bytes()).ok()
}

/// Where the journal is.
pub(super) fn journal_dir(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(dir) = &common.journal {
        return Ok(dir.clone());
    }
    usual_journal_dir().ok_or_else(|| {
        Failure::usage("no place for the journal: neither XDG_STATE_HOME nor HOME is set")
            .hint("name a directory with --journal")
    })
}

/// Where the journal is if nobody says otherwise.
pub(super) fn usual_journal_dir() -> Option<PathBuf> {
    own_dir("/var/lib", "XDG_STATE_HOME", ".local/state")
}

/// The program's own directory, where the user names none: below `of_root` for root, for others below the directory
/// that the variable `of_others` names, else below `in_home`. `None` where the environment tells neither.
pub(super) fn own_dir(of_root: &str, of_others: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let parent = match nix::unistd::geteuid().is_root() {
        true => Some(PathBuf::from(of_root)),
        false => absolute(of_others).or_else(|| Some(absolute("HOME")?.join(in_home))),
    };
    Some(parent?.join("mergerfs-xdedup"))
}

/// The journal on disk.
pub(super) type DiskJournal = Journal<SledStore>;

/// Standard output that goes quiet when its reader goes away.
pub(super) fn stdout() -> impl Write {
    Quiet {
        out: io::BufWriter::new(io::stdout()),
        gone: false,
    }
}

struct Quiet<W: Write> {
    out: W,
    gone: bool,
}

impl<W: Write> Quiet<W> {
    fn ask<T>(&mut self, fallback: T, call: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.gone {
            return Ok(fallback);
        }
        match call(&mut self.out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(fallback)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.ask(buf.len(), |out| out.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ask((), Write::flush)
    }
}
