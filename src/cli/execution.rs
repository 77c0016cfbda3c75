//! Carrying a plan out: recovery first, then the run with its journal, then what came of it.

use std::io::Write;
use std::path::Path;

use super::args::OutputFormat;
use super::dedupe::Job;
use super::failure::Failure;
use super::hooks::{self, Hooks};
use super::list;
use super::report_file::ReportFile;
use super::resume::recover_pool;
use super::session::{self, DiskJournal};
use super::watch::Watch;
use crate::execute::{Executor, Leases, Options};
use crate::facts::branch_records;
use crate::fs::{Fs, Timestamp};
use crate::journal::{self, Record, RefusedLine, RunEnded, RunStarted};
use crate::plan::{Plan, Refusal};
use crate::refusal::Reason;
use crate::report::html::Chronicle;
use crate::report::{Progress, Tally, json, text};
use crate::resolve::Resolved;

/// Ops that share a barrier: enough to make its cost small beside the work, few enough to stop soon.
pub(super) const BATCH_OPS: usize = 256;
/// Bytes compared before a barrier: what a crash makes to be compared again.
const BATCH_BYTES: u64 = 4 << 30;

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
                recovered = self.recover(journal)?;
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

    fn recover(&self, journal: &mut DiskJournal) -> Result<Tally, Failure> {
        let mut watch = self.watch(0, Tally::default(), 0);
        let open = recover_pool(&self.session, journal, &mut watch, self.leases())?;
        watch.out.flush().map_err(Failure::output)?;
        watch.tally.still_open = open as u64;
        watch.tally.recovery_incomplete = open > 0;
        Ok(watch.tally)
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
            chronicle: Chronicle::default(),
            started: self.started,
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
        recovered: &Tally,
        report: Option<ReportFile>,
    ) -> Result<u8, Failure> {
        let mut tally = self.tally(&plan);
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
        report: Option<ReportFile>,
    ) -> Result<u8, Failure> {
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
            .map_err(Failure::output)?;
        hooks::remind_of_snapraid(self.args, watch.tally.done);
        if let Some(report) = report {
            let page = self.page(&watch.scene, refusals, &watch.tally, &watch.chronicle);
            report.finish(&page)?;
        }
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
