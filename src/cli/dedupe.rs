//! The main job: a list or a scan in, and the plan shown or carried out.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::args::{Common, MetadataKind, OutputFormat, RunArgs};
use super::failure::Failure;
use super::list::{self, List};
use super::looks::Looks;
use super::output_file::{self, OutputFile};
use super::scan;
use super::session::{self, Session};
use super::signals::Signals;
use crate::execute::{Halt, Ways, missing_parents};
use crate::find::filter::Filter;
use crate::find::resolve::{self, Resolved};
use crate::fs::{Fs, Place, Timestamp};
use crate::journal::rfc3339;
use crate::plan::metadata::IgnoreMetadata;
use crate::plan::refusal::{Reason, Weight};
use crate::plan::{Plan, Refusal, Rules, Shadows};
use crate::pool::{BranchIdx, mergerfs};
use crate::report::html::{self, Chronicle, Disk, Page};
use crate::report::{BranchUse, Scene, Tally, json, script};

/// What the user asked for, resolved.
pub(super) struct Job<'j> {
    pub(super) common: &'j Common,
    pub(super) args: &'j RunArgs,
    pub(super) session: Session,
    pub(super) filter: Filter,
    pub(super) rules: Rules,
    pub(super) signals: Signals,
    pub(super) started: Instant,
    pub(super) began: Timestamp,
    pub(super) report: Option<OutputFile>,
}

pub(super) fn run(common: &Common, args: &RunArgs) -> Result<u8, Failure> {
    let signals = Signals::listen(args.max_time)?;
    match prepare(common, args, &signals, |_| Ok(()))? {
        None => {
            let why = match signals.asked() {
                true => "stopped",
                false => "the time was up",
            };
            let remembered = if args.no_cache {
                ""
            } else {
                "; what was read is remembered"
            };
            tracing::warn!("{why} before the scan was through: nothing was changed{remembered}");
            Ok(signals.exit_code().unwrap_or(0))
        }
        Some((job, resolved)) if args.execute => job.execute(resolved),
        Some((job, resolved)) => job.dry_run(resolved),
    }
}

/// Globs as they are matched: one that names the pool too, as paths are written elsewhere, means what is below it.
fn below_the_pool(globs: &[String], mount: &Path) -> Vec<String> {
    let mount = mount.to_str().filter(|mount| *mount != "/");
    let below = |glob: &String| {
        let rest = mount.and_then(|mount| glob.strip_prefix(mount));
        let rest = rest.filter(|rest| rest.starts_with('/'));
        rest.unwrap_or(glob).to_owned()
    };
    globs.iter().map(below).collect()
}

/// Finds the pool and its duplicates; `None` where a signal stopped the scan. `admit` may refuse the pool before
/// anything of it is read.
pub(super) fn prepare<'j>(
    common: &'j Common,
    args: &'j RunArgs,
    signals: &Signals,
    admit: impl FnOnce(&Session) -> Result<(), Failure>,
) -> Result<Option<(Job<'j>, Resolved)>, Failure> {
    let started = Instant::now();
    if let Some(file) = &args.db_file {
        tracing::warn!(
            ?file,
            "--db-file is accepted for old command lines, and not used"
        );
    }
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
    admit(&session)?;
    let below = |globs: &[String]| below_the_pool(globs, &session.pool.mount);
    let (include, exclude) = (below(&args.include), below(&args.exclude));
    let filter = Filter::new(&include, &exclude, args.min_size, args.max_size)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let rules = rules(args, &session)?;
    if rules.shadows == Shadows::Merge {
        shows_the_first(&session)?;
    }
    let begin = |path| OutputFile::begin(path, output_file::REPORT);
    let report = args.report.as_deref().map(begin).transpose()?;
    let began = session.fs.now();
    let resolved = match list {
        Some(list) => list.resolve(&session, &filter, args)?,
        None => match scan::find(&session, (&filter, &rules), (common, args), signals)? {
            Some(found) => found,
            None => return Ok(None),
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
        signals: signals.clone(),
        started,
        began,
        report,
    };
    Ok(Some((job, resolved)))
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
        shadows: args.shadows,
    })
}

/// Merging relies on the pool showing the copy on the first branch that has the path.
fn shows_the_first(session: &Session) -> Result<(), Failure> {
    let Some(other) = mergerfs::shows_other_than_first(&session.pool) else {
        return Ok(());
    };
    let message =
        format!("--shadows merge: the pool does not show the first copy of a path ({other})");
    Err(Failure::environment(message)
        .hint("set the func.* policies of the search category to ff, or leave --shadows out"))
}

impl Job<'_> {
    /// Prints what would be done; makes no journal, takes no lock, changes nothing.
    fn dry_run(mut self, resolved: Resolved) -> Result<u8, Failure> {
        let report = self.report.take();
        let mut plan = self.plan(resolved)?;
        let mut looks = Looks::new(&self.session.fs);
        self.look_ahead(&mut plan, &mut looks);
        let scene = self.scene(None);
        let mut tally = self.tally(&plan);
        tally.elapsed_s = self.started.elapsed().as_secs_f64();
        let mut out = session::stdout();
        let written = match self.common.format {
            OutputFormat::Json => self.plan_lines(&mut out, &scene, &plan, &tally),
            OutputFormat::Text => script::write(&mut out, &scene, (&plan, &tally), &mut |place| {
                let stat = looks.stat(place).ok().flatten()?;
                Some((stat.uid, stat.gid, stat.mode))
            }),
        };
        written
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
        if let Some(report) = report {
            let chronicle = Chronicle::planned(&plan);
            let page = self.page(&scene, &plan.refusals, &tally, &chronicle);
            report.finish(|out| out.write_all(page.as_bytes()))?;
        }
        Ok(tally.exit_code())
    }

    pub(super) fn plan(&self, resolved: Resolved) -> Result<Plan, Failure> {
        let Resolved {
            groups, refusals, ..
        } = resolved;
        let mut plan = list::plan_groups(groups, &self.session, &self.filter, &self.rules)?;
        plan.refusals.splice(0..0, refusals);
        Ok(plan)
    }

    /// Looks up which directories each op will make, and leaves out those that the rules stop there, then what is beyond
    /// the limits.
    pub(super) fn look_ahead(&self, plan: &mut Plan, looks: &mut Looks<'_>) {
        let stopped = self.fill_directories(plan, looks).into_iter();
        let by_rule = stopped.filter(|(_, halt)| halt.reason.weight() == Weight::Rule);
        let refusals = by_rule.map(|(at, halt)| {
            let op = &plan.ops[at];
            let refusal = Refusal {
                reason: halt.reason,
                path: op.duplicate.path.as_bytes().to_vec(),
                master: Some(op.master.path.clone()),
                detail: halt.detail,
            };
            (at, refusal)
        });
        plan.leave_out(refusals.collect());
        plan.limit(self.args.max_ops, self.args.max_bytes);
    }

    /// Looks up which directories each op will make; gives the ops that would stop there.
    pub(super) fn fill_directories(
        &self,
        plan: &mut Plan,
        looks: &mut Looks<'_>,
    ) -> HashMap<usize, Halt> {
        let mut stopped = HashMap::new();
        let branches = u16::try_from(self.session.facts.len()).unwrap_or(u16::MAX);
        let stat = &mut |place: &Place| looks.stat(place);
        let mut ways = Ways::new(&self.session.fs);
        let newest = self.session.pool.getattr_newest;
        for (at, op) in plan.ops.iter_mut().enumerate() {
            let found = missing_parents(stat, branches, newest, op).and_then(|dirs| {
                let same = ways.same(op, &dirs, self.rules.ignore);
                op.dirs = dirs;
                same
            });
            match found {
                Ok(()) => {}
                Err(halt) => {
                    if halt.reason.weight() == Weight::Failure {
                        tracing::warn!(path = ?op.duplicate.path, %halt, "would not be done");
                    }
                    stopped.insert(at, halt);
                }
            }
        }
        stopped
    }

    pub(super) fn scene(&self, run: Option<u64>) -> Scene<'_> {
        Scene {
            run,
            dry_run: !self.args.execute,
            ..self.session.scene(self.common)
        }
    }

    pub(super) fn tally(&self, plan: &Plan) -> Tally {
        let mut tally = Tally::planned(plan);
        self.note_space(&mut tally, Tally::before);
        tally
    }

    /// Looks at the room on every branch; `note` takes what is free.
    pub(super) fn note_space(&self, tally: &mut Tally, note: fn(&mut Tally, &Path, u64)) {
        for at in self.session.pool.indices() {
            let path = &self.session.pool.branches[at.index()].path;
            let space = self.session.fs.space(at).ok();
            if let Some(space) = space {
                tally.used(path, space.used_bytes());
            }
            let free = space.map_or(0, |space| space.available_bytes());
            note(tally, path, free);
        }
    }

    /// The report page.
    pub(super) fn page(
        &self,
        scene: &Scene<'_>,
        refusals: &[Refusal],
        tally: &Tally,
        chronicle: &Chronicle,
    ) -> String {
        html::render(&Page {
            scene,
            time: &rfc3339(self.began),
            refusals,
            tally,
            chronicle,
            disks: &self.disks(tally),
        })
    }

    fn disks(&self, tally: &Tally) -> Vec<Disk> {
        let branches = tally.per_branch(&self.session.pool);
        let disk = |(at, branch): (BranchIdx, BranchUse)| {
            let before_free = branch.before_free.unwrap_or(0);
            let size = self.session.fs.space(at);
            let reclaimed = if self.args.execute {
                branch.reclaimed
            } else {
                branch.reclaimable
            };
            Disk {
                path: branch.path,
                size: size.map_or(before_free, |space| space.bytes()),
                before_free,
                after_free: branch.after_free.unwrap_or(before_free + reclaimed),
                reclaimed,
            }
        };
        let indices = self.session.pool.indices();
        indices.zip(branches).map(disk).collect()
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
            json::op(out, scene, (op, None), None)?;
        }
        json::summary(out, scene, tally)
    }

    pub(super) fn group_lines(
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
}
