//! The main job: a list or a scan in, and the plan shown or carried out.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use super::args::{Common, MetadataKind, OutputFormat, RunArgs};
use super::failure::Failure;
use super::list::{self, List};
use super::resume::recover_pool;
use super::scan;
use super::session::{self, DiskJournal, Session};
use super::signals::Signals;
use super::watch::Watch;
use crate::execute::{Executor, Leases, Options, missing_parents};
use crate::facts::branch_records;
use crate::filter::Filter;
use crate::fs::{Fs, Timestamp};
use crate::journal::{self, DirIntent, OpKind, Record, RefusedLine, RunEnded, RunStarted};
use crate::lock::PoolLock;
use crate::metadata::IgnoreMetadata;
use crate::plan::{Plan, Refusal, Rules};
use crate::pool::BranchIdx;
use crate::refusal::Reason;
use crate::relpath::RelPath;
use crate::report::{Progress, Scene, Tally, json, script, text};
use crate::resolve::{self, Resolved};

/// Ops that share a barrier: enough to make its cost small beside the work, few enough to stop soon.
const BATCH_OPS: usize = 256;
/// Bytes compared before a barrier: what a crash makes to be compared again.
const BATCH_BYTES: u64 = 4 << 30;

/// What the user asked for, resolved.
struct Job<'j> {
    common: &'j Common,
    args: &'j RunArgs,
    session: Session,
    filter: Filter,
    rules: Rules,
    signals: Signals,
    started: Instant,
}

pub(super) fn run(common: &Common, args: &RunArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    if let Some(file) = &args.db_file {
        tracing::warn!(
            ?file,
            "--db-file is accepted for old command lines, and not used"
        );
    }
    let signals = Signals::listen()
        .map_err(|error| Failure::environment(format!("cannot listen for signals: {error}")))?;
    let filter = Filter::new(&args.include, &args.exclude, args.min_size, args.max_size)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut list = match &args.manifest {
        Some(manifest) => Some(List::open(manifest, args)?),
        None => None,
    };
    let pool = match &mut list {
        Some(list) => list.pool(args)?,
        None => scan::pool(args)?,
    };
    let session = Session::open(pool)?;
    if let Some(root) = &args.pool_root {
        session.all_below(root)?;
    }
    let rules = rules(args, &session)?;
    let resolved = match list {
        Some(list) => list.resolve(&session, &filter, args)?,
        None => match scan::find(&session, (&filter, &rules), (common, args), &signals)? {
            Some(found) => found,
            None => return Ok(signals.exit_code().unwrap_or(1)),
        },
    };
    if resolved.asked_branches {
        tracing::warn!("mergerfs does not tell where every file is; each branch was looked at");
    }
    let job = Job {
        common,
        args,
        session,
        filter,
        rules,
        signals,
        started,
    };
    if args.execute {
        job.execute(resolved)
    } else {
        job.dry_run(resolved)
    }
}

fn rules(args: &RunArgs, session: &Session) -> Result<Rules, Failure> {
    let mut primaries = Vec::new();
    for dir in &args.primary {
        let path = resolve::pool_directory(&session.pool, dir)
            .map_err(|error| Failure::usage(format!("primary: {error}")))?;
        primaries.push(path.ok_or_else(|| {
            Failure::usage(format!(
                "primary {dir:?} is not on the pool {:?}",
                session.pool.mount
            ))
        })?);
    }
    let may_differ = |kind| args.ignore_metadata.contains(&kind);
    Ok(Rules {
        primaries,
        any_master: args.any_master,
        policy: args.dedup,
        ignore: IgnoreMetadata {
            owner: may_differ(MetadataKind::Owner),
            mode: may_differ(MetadataKind::Mode),
            acl: may_differ(MetadataKind::Acl),
            xattr: may_differ(MetadataKind::Xattr),
        },
        max_ops: args.max_ops,
        max_bytes: args.max_bytes,
    })
}

impl Job<'_> {
    /// Prints what would be done; makes no journal, takes no lock, changes nothing.
    fn dry_run(self, resolved: Resolved) -> Result<u8, Failure> {
        let mut plan = self.plan(resolved)?;
        self.fill_directories(&mut plan);
        let scene = self.scene(None);
        let mut tally = self.tally(&plan, &scene);
        self.note_space(&mut tally, None);
        tally.elapsed_s = self.started.elapsed().as_secs_f64();
        let mut out = session::stdout();
        let written = match self.common.format {
            OutputFormat::Json => self.plan_lines(&mut out, &scene, &plan, &tally),
            OutputFormat::Text => script::write(&mut out, &scene, &plan, &mut |place| {
                let stat = self.session.fs.stat(place).ok().flatten()?;
                Some((stat.uid, stat.gid, stat.mode))
            }),
        };
        written.and_then(|()| out.flush()).map_err(output_failed)?;
        Ok(tally.exit_code())
    }

    fn plan(&self, resolved: Resolved) -> Result<Plan, Failure> {
        let Resolved {
            mut groups,
            refusals,
            ..
        } = resolved;
        let mut plan = list::plan_groups(&mut groups, &self.session, &self.filter, &self.rules)?;
        plan.refusals.splice(0..0, refusals);
        Ok(plan)
    }

    fn fill_directories(&self, plan: &mut Plan) {
        let branches = u16::try_from(self.session.facts.len()).unwrap_or(u16::MAX);
        // Many duplicates lie in one directory.
        let mut known: HashMap<(BranchIdx, RelPath), Vec<DirIntent>> = HashMap::new();
        for op in &mut plan.ops {
            let key = match op.names.as_slice() {
                [only] if op.kind == OpKind::Cross => only.path.parent().map(|dir| (only.to, dir)),
                _ => None,
            };
            if let Some(dirs) = key.as_ref().and_then(|key| known.get(key)) {
                op.dirs.clone_from(dirs);
                continue;
            }
            match missing_parents(
                &self.session.fs,
                branches,
                self.session.pool.getattr_newest,
                op,
            ) {
                Ok(dirs) => {
                    known.extend(key.map(|key| (key, dirs.clone())));
                    op.dirs = dirs;
                }
                Err(halt) => tracing::warn!(path = ?op.duplicate.path, %halt, "would not be done"),
            }
        }
    }

    fn scene(&self, run: Option<u64>) -> Scene<'_> {
        Scene {
            pool: &self.session.pool,
            run,
            dry_run: !self.args.execute,
            verbose: self.common.verbose,
            quiet: self.common.quiet,
            terminal: std::io::stdout().is_terminal(),
        }
    }

    fn tally(&self, plan: &Plan, _scene: &Scene<'_>) -> Tally {
        let mut tally = Tally::planned(plan);
        self.note_space(&mut tally, None);
        tally
    }

    fn note_space(&self, tally: &mut Tally, after: Option<()>) {
        for at in self.session.pool.indices() {
            let free = self.session.fs.free_bytes(at).unwrap_or(0);
            let path = &self.session.pool.branches[at.index()].path;
            match after {
                None => tally.before(path, free),
                Some(()) => tally.after(path, free),
            }
        }
    }

    fn plan_lines(
        &self,
        out: &mut dyn Write,
        scene: &Scene<'_>,
        plan: &Plan,
        tally: &Tally,
    ) -> std::io::Result<()> {
        self.group_lines(out, scene, plan)?;
        for op in &plan.ops {
            json::op(out, scene, op, None)?;
        }
        json::summary(out, scene, tally)
    }

    fn group_lines(
        &self,
        out: &mut dyn Write,
        scene: &Scene<'_>,
        plan: &Plan,
    ) -> std::io::Result<()> {
        for group in plan
            .groups
            .iter()
            .filter(|g| g.master.is_some() || scene.verbose > 0)
        {
            json::group(out, scene, group)?;
        }
        for refusal in &plan.refusals {
            if refusal.reason != Reason::NoPrimary || scene.verbose > 0 {
                json::refusal(out, scene, refusal)?;
            }
        }
        Ok(())
    }

    /// Finishes what an earlier run left open, then carries the plan out.
    fn execute(self, resolved: Resolved) -> Result<u8, Failure> {
        let dir = session::journal_dir(self.common)?;
        self.session.journal_outside(&dir)?;
        let roots = self
            .session
            .pool
            .branches
            .iter()
            .map(|branch| branch.path.clone());
        let _lock = PoolLock::acquire(roots)?;
        let csv = self.args.log_file.as_deref();
        let mut existing = journal::open_existing(&dir, csv)?;
        let (mut open, mut resolved) = (0, resolved);
        if let Some(journal) = &mut existing {
            if !self.args.accept_branches {
                self.session.same_as_before(journal.runs())?;
            }
            if !journal.open_ops().is_empty() {
                open = self.recover(journal)?;
                // Paths lead to other inodes now.
                resolved = list::resolve_again(resolved, &self.session, &self.filter)?;
            }
        }
        let plan = self.plan(resolved)?;
        let journal = if plan.ops.is_empty() {
            None
        } else {
            Some((existing, dir.as_path(), csv))
        };
        let mut code = self.carry_out(plan, journal)?;
        if open > 0 {
            code = 4;
        }
        Ok(self
            .signals
            .exit_code()
            .filter(|_| code != 0)
            .unwrap_or(code))
    }

    fn recover(&self, journal: &mut DiskJournal) -> Result<usize, Failure> {
        let mut watch = self.watch(0, Tally::default(), 0);
        let open = recover_pool(&self.session, journal, &mut watch, self.leases())?;
        watch.out.flush().map_err(output_failed)?;
        Ok(open)
    }

    fn watch(&self, run: u64, tally: Tally, bytes: u64) -> Watch<'_> {
        let planned = tally.planned;
        let bar = !self.args.no_progress && !self.common.quiet;
        Watch {
            scene: self.scene((run > 0).then_some(run)),
            format: self.common.format,
            signals: &self.signals,
            tally,
            progress: Progress::new(bytes, planned, bar),
            out: Box::new(session::stdout()),
            refused: Vec::new(),
        }
    }

    fn leases(&self) -> Leases {
        if self.args.no_lease {
            Leases::Off
        } else {
            Leases::Required
        }
    }

    /// Carries out the plan; makes the journal where there is something to record.
    fn carry_out(
        &self,
        plan: Plan,
        journal: Option<(Option<DiskJournal>, &Path, Option<&Path>)>,
    ) -> Result<u8, Failure> {
        let mut tally = self.tally(&plan, &self.scene(None));
        let mut journal = match journal {
            None => None,
            Some((Some(journal), ..)) => Some(journal),
            Some((None, dir, csv)) => Some(journal::create_or_open(dir, csv)?),
        };
        let run = match &mut journal {
            Some(journal) => self.start(journal)?,
            None => 0,
        };
        // Bytes of both copies: each group's master is read once, every duplicate once.
        let bytes = plan.ops.iter().map(|op| 2 * op.size).sum();
        let mut watch = self.watch(run, std::mem::take(&mut tally), bytes);
        if self.common.format == OutputFormat::Json {
            let scene = self.scene((run > 0).then_some(run));
            self.group_lines(&mut watch.out, &scene, &plan)
                .map_err(output_failed)?;
        }
        let refusals: Vec<RefusedLine> = plan
            .refusals
            .iter()
            .filter_map(|r| self.refused_line(run, r))
            .collect();
        let result = match &mut journal {
            Some(journal) => {
                journal.refused(&refusals, self.session.fs.now())?;
                let options = self.options();
                Executor::new(&self.session.fs, journal, &mut watch, options, run).run(plan.ops)
            }
            None => Ok(()),
        };
        watch.progress.finish();
        let refused = std::mem::take(&mut watch.refused);
        if let (Some(journal), Ok(())) = (&mut journal, &result) {
            journal.refused(&refused, self.session.fs.now())?;
            let (done, reclaimed) = (watch.tally.done, watch.tally.bytes_reclaimed);
            let time = self.session.fs.now();
            journal.record(
                &[Record::RunEnded(RunEnded {
                    run,
                    time,
                    done,
                    reclaimed,
                })],
                time,
            )?;
        }
        // What was done is said even where the run stopped.
        let code = self.conclude(watch, &plan.refusals)?;
        result?;
        Ok(code)
    }

    fn conclude(&self, mut watch: Watch<'_>, refusals: &[Refusal]) -> Result<u8, Failure> {
        self.note_space(&mut watch.tally, Some(()));
        watch.tally.elapsed_s = self.started.elapsed().as_secs_f64();
        let written = match self.common.format {
            OutputFormat::Json => json::summary(&mut watch.out, &watch.scene, &watch.tally),
            OutputFormat::Text => {
                text::conclusion(&mut watch.out, &watch.scene, refusals, &watch.tally)
            }
        };
        written
            .and_then(|()| watch.out.flush())
            .map_err(output_failed)?;
        Ok(watch.tally.exit_code())
    }

    fn options(&self) -> Options {
        Options {
            branches: branch_records(&self.session.fs, &self.session.pool.branches),
            ignore: self.rules.ignore,
            leases: self.leases(),
            newest_dirs: self.session.pool.getattr_newest,
            batch_ops: BATCH_OPS,
            batch_bytes: BATCH_BYTES,
        }
    }

    fn start(&self, journal: &mut DiskJournal) -> Result<u64, Failure> {
        let time: Timestamp = self.session.fs.now();
        let started = journal.start_run(|run| RunStarted {
            run,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time,
            pool: self.session.pool.mount.clone(),
            branches: branch_records(&self.session.fs, &self.session.pool.branches),
            newest_dirs: self.session.pool.getattr_newest,
        })?;
        Ok(started.run)
    }

    /// A planned refusal for the CSV log; groups that are merely not asked for are left out.
    fn refused_line(&self, run: u64, refusal: &Refusal) -> Option<RefusedLine> {
        use std::os::unix::ffi::OsStrExt;
        if matches!(refusal.reason, Reason::NoPrimary | Reason::Limit) {
            return None;
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(&refusal.path));
        Some(RefusedLine {
            run,
            op: None,
            reason: refusal.reason.as_str().to_owned(),
            pool_path: self.session.pool.mount.join(path),
            master: refusal
                .master
                .as_ref()
                .map(|m| self.session.pool.path_of(m))
                .unwrap_or_default(),
            bytes: 0,
        })
    }
}

fn output_failed(error: std::io::Error) -> Failure {
    Failure::environment(format!("cannot write results: {error}"))
}
