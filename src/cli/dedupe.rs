//! The main command: reads a list or scans, then shows the plan or carries it out.

use std::io::{BufWriter, Write};

use super::args::{Common, OutputFormat, RunArgs};
use super::directories;
use super::failure::{self, Failure};
use super::page::{self, Figures};
use super::request::request;
use super::run_watch::{RunWatch, warn_of};
use super::shown;
use super::signals::Signals;
use super::stdout::stdout;
use crate::journal::rfc3339;
use crate::plan::refusal::Reason;
use crate::plan::{Plan, Refusal};
use crate::pool::Pool;
use crate::report::dry_run::Before;
use crate::report::html::Chronicle;
use crate::report::{Scene, Screen, Tally, dry_run, json, sanitised, script};
use crate::run::{self, Outcome, Planned, RunError, Session};

const NOT_ROOT: &str = "you are not root: only files that you own can be linked, in directories that you may write to, and what you may not read is skipped; run it as root (sudo) for all files";

pub(super) fn run(common: &Common, args: &RunArgs) -> Result<u8, Failure> {
    if common.format == OutputFormat::Script && args.execute {
        return Err(Failure::usage("--format script shows the plan of a dry run: leave -e out")
            .hint("--format json lists what a run does"));
    }
    if args.script.is_some() && args.execute {
        return Err(Failure::usage(
            "--script writes the plan of a dry run: leave -e out, or add -n",
        ));
    }
    if args.manifest.is_some() && (args.no_cache || args.cache.is_some()) {
        let option = if args.no_cache { "--no-cache" } else { "--cache" };
        tracing::warn!("{option} is ignored: with -m nothing is scanned");
    }
    directories::check(args)?;
    let signals = Signals::listen(args.max_time)?;
    if args.execute {
        signals.answer(common)?;
    }
    let mut watch = RunWatch::new(common, args);
    let request = request(common, args)?;
    // A dry run says it below the plan.
    if args.execute && !nix::unistd::geteuid().is_root() {
        tracing::warn!("{NOT_ROOT}");
    }
    let outcome = match run::run(&request, signals.stop(), &mut watch) {
        Err(RunError::NothingListed { unread }) => {
            let nothing = RunError::NothingListed { unread: Vec::new() };
            return nothing_listed(common, &nothing, unread);
        }
        Err(nothing @ RunError::NothingNamed) => {
            return nothing_listed(common, &nothing, Vec::new());
        }
        outcome => outcome?,
    };
    match outcome {
        Outcome::Stopped => {
            let why = if signals.asked() { "stopped" } else { "the time was up" };
            let remembered = if args.no_cache { "" } else { "; what was read is remembered" };
            tracing::warn!("{why} before the scan was through: nothing was changed{remembered}");
            Ok(signals.exit_code().unwrap_or(0))
        }
        Outcome::Planned(planned) => show_plan(watch, *planned),
        Outcome::Ran(ran) => {
            let code = watch.exit_code();
            let code = code.max(u8::from(ran.after_failed));
            Ok(signals.exit_code().filter(|_| code != 0).unwrap_or(code))
        }
    }
}

/// Says that there is nothing to do, and names the files about which the list says nothing.
fn nothing_listed(
    common: &Common,
    nothing: &RunError,
    unread: Vec<Vec<u8>>,
) -> Result<u8, Failure> {
    let mut plan = Plan::default();
    let unread = unread.into_iter().map(|path| Refusal::of_path(Reason::NotRead, path, ""));
    plan.refusals.extend(unread);
    let tally = Tally::planned(&plan);
    let mut out = stdout();
    let written = match common.format {
        OutputFormat::Json => {
            // The list names no pool.
            let pool = Pool { mount: "/".into(), ..Pool::default() };
            plan_lines(&mut out, &shown::scene(&pool, common), &plan, &tally)
        }
        OutputFormat::Text | OutputFormat::Script => {
            for refusal in &plan.refusals {
                let path = sanitised(&refusal.path);
                tracing::warn!("{path}: {}", Reason::NotRead.hint());
            }
            if common.quiet { Ok(()) } else { writeln!(out, "{nothing}") }
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(tally.exit_code())
}

/// Prints the plan.
fn show_plan(mut watch: RunWatch<'_>, planned: Planned<Session>) -> Result<u8, Failure> {
    let Planned { site, plan, mut looks, began, space, obstacles, unfinished, .. } = planned;
    let common = watch.shown.common;
    warn_of(&plan);
    let scene = Scene { dry_run: true, ..shown::scene(&site.pool, common) };
    let mut tally = shown::planned(&site.pool, &plan, &space);
    tally.elapsed_s = watch.shown.started.elapsed().as_secs_f64();
    let obstacles = obstacles_of(&obstacles);
    let mut as_script = |out: &mut dyn Write, scene: &Scene<'_>| {
        script::write(out, scene, (&plan, &tally), &mut |place| {
            let stat = looks.stat(&site.fs, place).ok().flatten()?;
            Some((stat.uid, stat.gid, stat.mode))
        })
    };
    let mut out = stdout();
    let written = match common.format {
        OutputFormat::Json => plan_lines(&mut out, &scene, &plan, &tally),
        OutputFormat::Script => as_script(&mut out, &scene),
        OutputFormat::Text => {
            let apply = if watch.held_back() { "without -n" } else { "with -e" };
            let before = Before { obstacles: &obstacles, unfinished: &unfinished, apply };
            dry_run::write(&mut out, &scene, (&plan, &tally), before)
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::output)?;
    if common.format != OutputFormat::Text {
        let first = unfinished.iter().map(dry_run::interrupted);
        obstacles.into_iter().chain(first).for_each(|why| tracing::warn!("{why}"));
    }
    let mut said = String::new();
    if let Some(file) = watch.script.take() {
        said += &file.said(common);
        let plain = Scene { terminal: false, screen: Screen::default(), ..scene };
        file.finish(|out| {
            let mut out = BufWriter::new(out);
            as_script(&mut out, &plain)?;
            out.flush()
        })?;
    }
    if let Some(report) = watch.report.take() {
        said += &report.said(common);
        let page = page::render(&Figures {
            scene: &scene,
            time: &rfc3339(began),
            refusals: &plan.refusals,
            tally: &tally,
            chronicle: &Chronicle::planned(&plan),
            space: &space,
        });
        report.finish(|out| out.write_all(page.as_bytes()))?;
    }
    out.write_all(said.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(tally.exit_code())
}

/// The reasons for which `-e` would not begin here, as sentences.
fn obstacles_of(errors: &[RunError]) -> Vec<String> {
    let mut obstacles: Vec<String> = errors.iter().map(failure::in_a_line).collect();
    if !nix::unistd::geteuid().is_root() {
        obstacles.push(NOT_ROOT.to_owned());
    }
    obstacles
}

fn plan_lines(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    plan: &Plan,
    tally: &Tally,
) -> std::io::Result<()> {
    json::groups(out, scene, plan)?;
    for op in &plan.ops {
        json::op(out, scene, (op, None), None)?;
    }
    json::summary(out, scene, tally)
}
