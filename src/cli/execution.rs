//! Carrying a plan out: recovery first, then the run with its journal, then what came of it.

use std::io::Write;
use std::path::Path;

use super::args::OutputFormat;
use super::dedupe::Job;
use super::failure::Failure;
use super::hooks::{self, Hooks};
use super::list;
use super::looks::Looks;
use super::output_file::OutputFile;
use super::resume::recover_pool;
use super::session::{self, DiskJournal, Session};
use super::watch::Watch;
use crate::execute::{Executor, Leases, Options};
use crate::find::resolve::Resolved;
use crate::fs::Fs;
use crate::journal::{self, RefusedLine};
use crate::plan::refusal::Reason;
use crate::plan::{Plan, Refusal};
use crate::report::html::Chronicle;
use crate::report::{Progress, Tally, json, text};

/// What `--no-lease` asks for.
pub(super) fn leases(no_lease: bool) -> Leases {
    match no_lease {
        true => Leases::Off,
        false => Leases::Required,
    }
}

/// Finishes what earlier runs left open, before anything else is changed; gives what that came to.
pub(super) fn recover_first(
    session: &Session,
    journal: &mut DiskJournal,
    mut watch: Watch<'_>,
    leases: Leases,
) -> Result<Tally, Failure> {
    let open = recover_pool(session, journal, &mut watch, leases)?;
    watch.out.flush().map_err(Failure::output)?;
    watch.tally.still_open = open as u64;
    watch.tally.recovery_incomplete = open > 0;
    Ok(watch.tally)
}

impl Job<'_> {
    /// Finishes what an earlier run left open, then carries the plan out.
    pub(super) fn execute(mut self, resolved: Resolved) -> Result<u8, Failure> {
        let report = self.report.take();
        hooks::guard_snapraid(self.args)?;
        let dir = session::journal_dir(self.common)?;
        self.session.journal_outside(&dir)?;
        let _lock = self.session.lock()?;
        let csv = self.args.log_file.as_deref();
        let mut existing = journal::open_existing(&dir, csv)?;
        let (mut recovered, mut resolved) = (Tally::default(), resolved);
        if let Some(journal) = &mut existing {
            if !self.args.accept_branches {
                self.session.same_as_before(journal.runs())?;
            }
            if !journal.open_ops().is_empty() {
                let watch = self.watch(0, Tally::default(), 0);
                let leases = leases(self.args.no_lease);
                recovered = recover_first(&self.session, journal, watch, leases)?;
                // Paths lead to other inodes now.
                resolved = list::resolve_again(resolved, &self.session, &self.filter)?;
            }
        }
        let mut plan = self.plan(resolved)?;
        self.look_ahead(&mut plan, &mut Looks::new(&self.session.fs));
        let journal = if plan.ops.is_empty() {
            None
        } else {
            Some((existing, dir.as_path(), csv))
        };
        let hooks = Hooks {
            args: self.args,
            pool: &self.session.pool.mount,
            planned: plan.ops.len(),
        };
        let code = hooks.around(|| self.carry_out(plan, journal, &recovered, report))?;
        Ok(self
            .signals
            .exit_code()
            .filter(|_| code != 0)
            .unwrap_or(code))
    }

    fn watch(&self, run: u64, tally: Tally, bytes: u64) -> Watch<'_> {
        let planned = tally.planned;
        let bar = !self.args.no_progress && !self.common.quiet;
        let scene = self.scene((run > 0).then_some(run));
        Watch {
            tally,
            progress: Progress::new(bytes, planned, bar),
            started: self.started,
            ..Watch::new(scene, self.common.format, &self.signals)
        }
    }

    /// Carries out the plan; makes the journal where there is something to record.
    fn carry_out(
        &self,
        plan: Plan,
        journal: Option<(Option<DiskJournal>, &Path, Option<&Path>)>,
        recovered: &Tally,
        report: Option<OutputFile>,
    ) -> Result<u8, Failure> {
        let mut tally = self.tally(&plan);
        let mut journal = match journal {
            None => None,
            Some((Some(journal), ..)) => Some(journal),
            Some((None, dir, csv)) => Some(journal::create_or_open(dir, csv)?),
        };
        let run = match &mut journal {
            Some(journal) => journal.start_run(|run| self.session.run_started(run))?.run,
            None => 0,
        };
        // Bytes of both copies: each group's master is read once, every duplicate once.
        let bytes = plan.ops.iter().map(|op| 2 * op.size).sum();
        let mut watch = self.watch(run, std::mem::take(&mut tally), bytes);
        watch.chronicle = Chronicle::begin(&plan);
        if self.common.format == OutputFormat::Json {
            let scene = self.scene((run > 0).then_some(run));
            self.group_lines(&mut watch.out, &scene, &plan)
                .map_err(Failure::output)?;
        }
        let refusals: Vec<RefusedLine> = plan
            .refusals
            .iter()
            .filter_map(|r| self.refused_line(run, r))
            .collect();
        let result = match &mut journal {
            Some(journal) => {
                journal.refused(&refusals, self.session.fs.now())?;
                let leases = leases(self.args.no_lease);
                let options = Options {
                    scanned: self.args.manifest.is_none().then_some(self.began),
                    ..self.session.options(self.rules.ignore, leases)
                };
                Executor::new(&self.session.fs, journal, &mut watch, options, run).run(plan.ops)
            }
            None => Ok(()),
        };
        watch.progress.finish();
        if let (Some(journal), Ok(())) = (&mut journal, &result) {
            watch.run_ended(journal, (run, self.session.fs.now()))?;
        }
        watch.tally.add_recovered(recovered);
        // What was done is said even where the run stopped.
        let code = self.conclude(watch, &plan.refusals, report)?;
        result?;
        Ok(code)
    }

    fn conclude(
        &self,
        mut watch: Watch<'_>,
        refusals: &[Refusal],
        report: Option<OutputFile>,
    ) -> Result<u8, Failure> {
        self.note_space(&mut watch.tally, Tally::after);
        watch.tally.elapsed_s = self.started.elapsed().as_secs_f64();
        let written = match self.common.format {
            OutputFormat::Json => json::summary(&mut watch.out, &watch.scene, &watch.tally),
            OutputFormat::Text => {
                text::conclusion(&mut watch.out, &watch.scene, refusals, &watch.tally)
            }
        };
        written
            .and_then(|()| watch.out.flush())
            .map_err(Failure::output)?;
        hooks::remind_of_snapraid(self.args, watch.tally.done);
        if let Some(report) = report {
            let page = self.page(&watch.scene, refusals, &watch.tally, &watch.chronicle);
            report.finish(|out| out.write_all(page.as_bytes()))?;
        }
        Ok(watch.tally.exit_code())
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
