//! The command line turns arguments into library calls, and errors into exit codes. Each command has one file.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

mod args;
pub mod completions;
mod config;
mod dedupe;
mod directories;
mod discard;
mod doctor;
mod examples;
mod failure;
mod from_log;
mod history;
mod lost;
mod only;
mod output_file;
mod page;
mod places;
mod preview;
mod request;
mod resume;
mod run_watch;
mod salvage;
mod screen;
mod shown;
mod signals;
mod status;
mod stdout;
mod undo;
mod verify;
mod waiting;
mod words;

use args::Color;
pub use args::{
    Cli, Command, Common, ExportArgs, HistoryArgs, OutputFormat, PreviewArgs, ResumeArgs, RunArgs,
    UndoArgs, VerifyArgs,
};
use failure::Failure;

/// Exit status of a usage error or unusable input.
const EXIT_USAGE: u8 = 2;

/// Parses `args` (the program's name first), runs the command and returns the exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.len() < 2 {
        // A failed write is ignored: no other output is left when standard error is closed.
        drop(std::io::stderr().lock().write_all(args::START.as_bytes()));
        return ExitCode::from(EXIT_USAGE);
    }
    // The threads of a scan allocate memory that the planning thread frees.
    crate::sys::share_memory();
    let args: Vec<OsString> = args.into_iter().collect();
    match parse(&args) {
        Err(code) => code,
        Ok(cli) => {
            start_log(&cli.common);
            waiting::watch();
            ended(dispatch(&cli), cli.common.color)
        }
    }
}

/// Parses the command line together with the configuration file.
fn parse(args: &[OsString]) -> Result<Cli, ExitCode> {
    let said = |error: clap::Error| {
        // Help and version are no errors; a broken pipe is ignored.
        let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
        error.print().map_or(ExitCode::from(code), |()| ExitCode::from(code))
    };
    let short = args.iter().any(|arg| arg == "-h");
    let command = if short { on_one_screen() } else { Cli::command() };
    let parsed = |args: &[OsString]| {
        let typed = command.clone().try_get_matches_from(args)?;
        let mut cli = Cli::from_arg_matches(&typed)?;
        cli.common.words = words::that_matter(&command, &typed);
        Ok((typed, cli.settled()))
    };
    let (typed, cli) = parsed(args).map_err(said)?;
    if let Some(what) = stray(&command, &typed) {
        let failure = Failure::usage(format!("{what} cannot stand before a command"));
        let hint =
            "write the command first, then its options; `mergerfs.xdedup COMMAND -h` lists them";
        return Err(ended(Err(failure.hint(hint)), cli.common.color));
    }
    if cli.common.config.is_none() {
        return Ok(cli);
    }
    let args =
        config::expand(args, &cli).map_err(|failure| ended(Err(failure), cli.common.color))?;
    Ok(parsed(&args).map_err(said)?.1)
}

/// The command line with a short help: possible values and rare commands are left to `--help`.
fn on_one_screen() -> clap::Command {
    Cli::command()
        .disable_help_subcommand(true)
        .mut_args(|arg| {
            let values = arg.get_action().takes_values();
            arg.hide_possible_values(values).hide_default_value(values)
        })
        .mut_subcommands(|sub| {
            let rare = ["export", "completions"].contains(&sub.get_name());
            sub.hide(rare)
        })
}

fn ended(result: Result<u8, Failure>, color: Color) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(screen::coloured(color, &std::io::stderr()));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    match &cli.command {
        None => dedupe::run(&cli.common, &cli.run),
        Some(command) => {
            if cli.common.format == OutputFormat::Script {
                return Err(Failure::usage("--format script shows the plan of a dry run only"));
            }
            match command {
                Command::Preview(args) => preview::run(&cli.common, args),
                Command::Resume(args) => match (&args.from_log, &args.manifest) {
                    (Some(log), Some(manifest)) => from_log::run(&cli.common, args, log, manifest),
                    _ if args.salvage => salvage::run(&cli.common, args),
                    _ if args.discard.is_some() => {
                        let named = args.discard.as_deref().unwrap_or_default();
                        discard::run(&cli.common, named, args.execute)
                    }
                    _ => resume::run(&cli.common, args.dry_run),
                },
                Command::Status => status::run(&cli.common),
                Command::Doctor(args) => doctor::run(&cli.common, args),
                Command::Verify(args) => verify::run(&cli.common, args),
                Command::History(args) => history::run(&cli.common, args),
                Command::Export(args) => history::export(&cli.common, args),
                Command::Undo(args) => undo::run(&cli.common, args),
                Command::Completions { shell } => {
                    let mut out = stdout::stdout();
                    completions::write(*shell, &mut out)
                        .and_then(|()| out.flush())
                        .map_err(Failure::output)?;
                    Ok(0)
                }
            }
        }
    }
}

/// Returns what was typed before a command and has no meaning there: a forgotten option must not be passed over.
fn stray(command: &clap::Command, typed: &ArgMatches) -> Option<String> {
    typed.subcommand_name()?;
    let given = |arg: &&clap::Arg| {
        !arg.is_global_set()
            && typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    let arg = command.get_arguments().find(given)?;
    Some(arg.get_long().map_or("a directory".to_owned(), |name| format!("--{name}")))
}

fn start_log(common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => tracing::Level::ERROR,
        (_, 0) => tracing::Level::WARN,
        (_, 1) => tracing::Level::INFO,
        (_, 2) => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let filter = tracing_subscriber::filter::Targets::new().with_target("mergerfs_xdedup", level);
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| screen::LogLines)
        .with_ansi(screen::coloured(common.color, &std::io::stderr()))
        .without_time()
        .with_target(false);
    if tracing_subscriber::registry().with(lines).with(filter).try_init().is_err() {
        tracing::debug!("a log is set up already");
    }
}
