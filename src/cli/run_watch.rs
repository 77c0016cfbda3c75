//! Shows a run: the scan, recovery, each op, the conclusion, and the files that the user named for results.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::args::{Common, OutputFormat, RunArgs};
use super::failure::{self, Failure};
use super::output_file::{self, OutputFile};
use super::page::{self, Figures};
use super::shown::{self, Shown};
use crate::execute::OpEnded;
use crate::find::scan::{Meter, ScanResult, is_in_bin};
use crate::fs::Timestamp;
use crate::journal::rfc3339;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::report::{ScanProgress, Tally, groups, json, number, size, text};
use crate::run::real_path::outside;
use crate::run::{Begun, Ended, RunError, Watcher, WatcherError};

/// The watcher of a run.
pub(super) struct RunWatch<'w> {
    pub(super) shown: Shown<'w>,
    args: &'w RunArgs,
    /// Where a preview is to be mounted.
    mount_point: Option<&'w Path>,
    /// The report page, which has been begun.
    pub(super) report: Option<OutputFile>,
    /// The script of the plan, which has been begun.
    pub(super) script: Option<OutputFile>,
    /// The list of the groups that the scan finds, which has been begun.
    listed: Option<OutputFile>,
}

impl<'w> RunWatch<'w> {
    pub(super) fn new(common: &'w Common, args: &'w RunArgs) -> Self {
        if let Some(file) = &args.db_file {
            tracing::warn!(?file, "--db-file is accepted for old command lines, and not used");
        }
        Self {
            shown: Shown::new(common, !args.no_progress && !common.quiet),
            args,
            mount_point: None,
            report: None,
            script: None,
            listed: None,
        }
    }

    /// The watcher of a preview at `mount_point`.
    pub(super) fn of_preview(common: &'w Common, args: &'w RunArgs, mount_point: &'w Path) -> Self {
        Self { mount_point: Some(mount_point), ..Self::new(common, args) }
    }

    /// Whether only -n keeps the plan from being carried out.
    pub(super) fn held_back(&self) -> bool {
        self.args.held_back
    }

    /// The exit status of the run that was shown.
    pub(super) fn exit_code(&self) -> u8 {
        self.shown.tally.exit_code()
    }

    fn open_files(&mut self, pool: &Pool) -> Result<(), Failure> {
        if let Some(at) = self.mount_point {
            outside(pool, "mount point", at)
                .map_err(|error| Failure::from(error).hint("name an empty directory elsewhere"))?;
        }
        let begin = |path: Option<&Path>, kind| {
            let begun = path.map(|path| OutputFile::begin(path, kind));
            begun.transpose()
        };
        self.report = begin(self.args.report.as_deref(), output_file::REPORT)?;
        let script = self.args.script.as_deref().filter(|_| !self.args.execute);
        self.script = begin(script, output_file::SCRIPT)?;
        // This check precedes hours of reading.
        self.listed = begin(self.args.groups.as_deref(), output_file::GROUPS)?;
        Ok(())
    }

    fn write_groups(
        &mut self,
        pool: &Pool,
        found: &ScanResult,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let Some(listed) = self.listed.take() else {
            return Ok(());
        };
        let left_out = listed.finish(|out| {
            let mut out = BufWriter::new(out);
            let dirs = self.args.dirs.iter().map(std::path::absolute);
            let dirs = dirs.collect::<Result<Vec<_>, _>>()?;
            let about = (pool, dirs.as_slice());
            let form = self.args.groups_format;
            let left_out = groups::write(&mut out, form, about, &found.groups, now)?;
            out.flush()?;
            Ok(left_out)
        })?;
        if left_out > 0 {
            tracing::warn!(
                names = left_out,
                "left out of the list: not UTF-8, which jdupes cannot write"
            );
        }
        Ok(())
    }

    fn conclude(&mut self, ended: &Ended<'_>) -> Result<(), Failure> {
        self.shown.ended();
        let (pool, space) = (ended.pool, ended.space);
        let mut tally = std::mem::take(&mut self.shown.tally);
        shown::note_space(&mut tally, pool, space, Tally::after);
        let format = self.shown.common.format;
        let (out, scene) = self.shown.out_and_scene();
        let written = match format {
            OutputFormat::Json => json::summary(out, &scene, &tally),
            OutputFormat::Text | OutputFormat::Script => {
                text::conclusion(out, &scene, ended.refusals, &tally)
            }
        };
        written.and_then(|()| out.flush()).map_err(Failure::output)?;
        self.shown.tally = tally;
        self.write_page(ended)
    }

    fn write_page(&mut self, ended: &Ended<'_>) -> Result<(), Failure> {
        let Some(report) = self.report.take() else {
            return Ok(());
        };
        let chronicle = std::mem::take(&mut self.shown.chronicle);
        let tally = self.shown.tally.clone();
        let (_, scene) = self.shown.out_and_scene();
        let page = page::render(&Figures {
            scene: &scene,
            time: &rfc3339(ended.began),
            refusals: ended.refusals,
            tally: &tally,
            chronicle: &chronicle,
            space: ended.space,
        });
        let said = report.said(self.shown.common);
        report.finish(|out| out.write_all(page.as_bytes()))?;
        let out = &mut self.shown.out;
        out.write_all(said.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
    }
}

impl Watcher for RunWatch<'_> {
    fn opened(&mut self, pool: &Pool) -> Result<(), WatcherError> {
        Ok(self.open_files(pool)?)
    }

    fn scanning(&mut self, meter: &Meter, scan: &mut dyn FnMut()) {
        let enabled = !self.args.no_progress && !self.shown.common.quiet;
        ScanProgress::new(meter, enabled).around(scan);
    }

    fn scanned(
        &mut self,
        pool: &Pool,
        found: &ScanResult,
        now: Timestamp,
    ) -> Result<(), WatcherError> {
        tell(found);
        Ok(self.write_groups(pool, found, now)?)
    }

    fn recovering(&mut self, pool: &Pool) {
        self.shown.recovering(pool);
    }

    fn recovered(&mut self, open: usize) -> Result<(), WatcherError> {
        Ok(self.shown.recovered(open)?)
    }

    fn begun(&mut self, begun: &Begun<'_>) -> Result<(), WatcherError> {
        let planned = shown::planned(begun.pool, begun.plan, begun.space);
        warn_of(begun.plan);
        self.shown.begun(begun, planned, begun.to_read);
        if self.shown.common.format == OutputFormat::Json {
            let (out, scene) = self.shown.out_and_scene();
            json::groups(out, &scene, begun.plan).map_err(Failure::output)?;
        }
        Ok(())
    }

    fn bytes_read(&mut self, bytes: u64) {
        self.shown.progress.bytes(bytes);
    }

    fn stepped(&mut self) {
        self.shown.progress.stepped();
    }

    fn op_ended(&mut self, ended: &OpEnded<'_>) {
        self.shown.op_ended(ended);
    }

    fn ended(&mut self, ended: &Ended<'_>) -> Result<(), WatcherError> {
        Ok(self.conclude(ended)?)
    }

    fn exit_status(&self, result: Result<(), &RunError>) -> u8 {
        match result {
            Ok(()) => self.exit_code(),
            Err(error) => failure::exit_code(error),
        }
    }
}

/// Warns of the copies that an undo does not bring back, and of files in recycle bins, which only a list can name.
pub(super) fn warn_of(plan: &Plan) {
    let in_bin = plan.ops.iter().filter(|op| {
        let names = op.names.iter().map(|name| &name.path);
        names.chain([&op.master.path]).any(is_in_bin)
    });
    let in_bin = in_bin.count();
    if in_bin > 0 {
        let lie = match in_bin {
            1 => "its kept copy, lies in a recycle bin",
            _ => "their kept copies, lie in recycle bins",
        };
        tracing::warn!(
            "{} of the plan, or {lie}: a scan leaves these out, and here -E does (-E '#recycle')",
            number(in_bin, "file")
        );
    }
    let merged = plan.ops.iter().filter(|op| op.merges_copies()).count();
    if merged > 0 {
        let copies = if merged == 1 { "1 hidden copy" } else { &format!("{merged} hidden copies") };
        tracing::warn!("--shadows merge removes {copies} for good: undo does not bring them back");
    }
}

fn tell(found: &ScanResult) {
    let counts = found.counts;
    tracing::info!(
        files = found.files,
        groups = found.groups.len(),
        read = counts.parts,
        bytes = size(counts.bytes),
        cached = counts.cached,
        shared = counts.shared,
        "scanned"
    );
}
