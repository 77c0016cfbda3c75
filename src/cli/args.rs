//! What the user typed, as clap sees it. The help text is here; nothing is looked up or decided.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::examples;
use crate::find::list::Format;
use crate::plan::Shadows;
use crate::plan::master::Policy;
use crate::report::groups::GroupsForm;

mod values;

pub use values::OutputFormat;
pub(super) use values::{Color, MetadataKind};
use values::{parse_duration, parse_size};

/// Hard-link duplicates that lie on different disks of a mergerfs pool
///
/// Finds out on which branches of the pool each file really is, links the copy that stays (the master) on its own
/// branch under the duplicate's path, makes that durable, and only then removes the duplicate. Through the pool every
/// path is still there, with the same bytes; one copy is stored. Without -e nothing is changed: what would be done is
/// printed as a shell script.
#[derive(Debug, Parser)]
#[command(
    name = "mergerfs.xdedup",
    bin_name = "mergerfs.xdedup",
    version,
    max_term_width = 100,
    args_override_self = true,
    override_usage = USAGE,
    after_help = SHORT_EXAMPLES,
    after_long_help = EXAMPLES
)]
pub struct Cli {
    /// What to do instead of deduplicating
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of a run
    #[command(flatten)]
    pub run: RunArgs,
    /// Options of every command: last, as their heading goes for what follows
    #[command(flatten)]
    pub common: Common,
}

const USAGE: &str = "\
mergerfs.xdedup [OPTIONS] <DIR>...
       mergerfs.xdedup [OPTIONS] -m <FILE> [POOL]
       mergerfs.xdedup [OPTIONS] <COMMAND>";

/// What is said to who types the bare name.
pub(super) const START: &str = "\
mergerfs.xdedup hard-links duplicates that lie on different disks of a mergerfs pool.

  mergerfs.xdedup -p /pool/media /pool            show what would be done, change nothing
  mergerfs.xdedup preview /mnt/look /pool         look at the result before it is done
  mergerfs.xdedup -p /pool/media /pool -e         do it: copies under /pool/media stay

-h lists the options, --help explains them.
";

const SHORT_EXAMPLES: &str = "\
Examples:
  mergerfs.xdedup -p /pool/media /pool            show what would be done, change nothing
  mergerfs.xdedup -p /pool/media /pool -e         do it
  mergerfs.xdedup resume                          finish what a crash interrupted

--help explains everything.";

const EXAMPLES: &str = "\
Examples:
  Find duplicates in the whole pool, and show what would be done; then do it. Copies under /pool/media stay:
    mergerfs.xdedup -p /pool/media /pool
    mergerfs.xdedup -p /pool/media /pool -e

  Look at the result first, with ls, du or a media server:
    mergerfs.xdedup preview /mnt/look -p /pool/media /pool

  Take the duplicates from another program:
    jdupes -r -0 /pool > list
    mergerfs.xdedup -m list -p /pool/media -e

  Only large videos, no more than 500 GiB a night, on a pool where any copy may stay:
    mergerfs.xdedup -I '*.mkv' -I '*.mp4' --min-size 100M --max-bytes 500G /pool -e

  Leave out what is edited in place, since one edit changes every name of a file:
    mergerfs.xdedup -E '*.torrent' -E 'downloads/incomplete/*' /pool

  For a script: one JSON object a line
    mergerfs.xdedup --format json /pool | jq 'select(.type == \"summary\")'

  After a crash or a power cut:
    mergerfs.xdedup status
    mergerfs.xdedup resume

  Take back what the last run did (without -e: show what that comes to):
    mergerfs.xdedup undo -e

Exit status: 0 done or nothing to do, 1 something was not done, 2 usage or unusable list,
3 not a mergerfs pool or locked, 4 journal unreadable or recovery incomplete, 130/143 stopped by a signal.";

/// Options that stand before or after a command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]
    #[arg(long, value_name = "DIR", global = true)]
    pub journal: Option<PathBuf>,
    /// Print results as text, as JSON lines, or a dry run's plan as a shell script
    #[arg(long, value_name = "FORM", value_enum, default_value = "text", global = true)]
    pub format: OutputFormat,
    /// Colour text for people
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", global = true)]
    pub color: Color,
    /// Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media"; "dir = /pool"
    #[arg(long, value_name = "FILE", global = true, hide_short_help = true)]
    pub config: Option<PathBuf>,
    /// Say more; repeat for more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say only what went wrong
    ///
    /// Of a dry run, the sum is printed all the same.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The options of a run.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// A directory of the pool to scan for duplicates; with -m only names the pool
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Do it; without this, only show what would be done
    ///
    /// Every pair is compared byte by byte first, what is done is recorded in the journal before it is done, and a
    /// file that anybody has open is left alone. What an earlier run left open is finished first.
    #[arg(short, long, alias = "perform-actions")]
    pub execute: bool,
    /// Change nothing, whatever a configuration file says (default)
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Read duplicates from a list made by another program ("-": standard input)
    ///
    /// Lists of jdupes (-0, -j), fclones, rmlint, czkawka, dupe-krill, fdupes, rdfind and hardlink -l are known by
    /// their contents. A list is a claim: every pair is compared before anything is removed, and a damaged list changes
    /// nothing.
    #[arg(short, long, value_name = "FILE", alias = "json-file")]
    pub manifest: Option<PathBuf>,
    /// The form of the list, where it cannot be told from its contents
    #[arg(long, value_name = "FORM", requires = "manifest", hide_short_help = true)]
    pub manifest_format: Option<Format>,
    /// Where relative paths of the list begin [default: what the list says, else the current directory]
    #[arg(long, value_name = "DIR", requires = "manifest", hide_short_help = true)]
    pub base: Option<PathBuf>,
    /// Masters live under DIR; repeat for more, the first that has a copy wins
    ///
    /// The copy under DIR stays where it is, and the others become names of it. Groups without a copy under any
    /// primary are left alone, unless --any-master is given. Without any primary, --dedup alone decides.
    #[arg(short, long, value_name = "DIR", alias = "primary-path")]
    pub primary: Vec<PathBuf>,
    /// Deduplicate groups without a copy under a primary, too
    #[arg(long)]
    pub any_master: bool,
    /// Which copy stays where no primary decides
    #[arg(short, long, value_name = "POLICY", value_enum, default_value = "mostlinks")]
    pub dedup: Policy,
    /// Only files that match GLOB: against the name, or against the path in the pool if it has a "/"
    #[arg(short = 'I', long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Not files that match GLOB, nor what lies in directories that do
    #[arg(short = 'E', long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Only files of at least N bytes (suffixes K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub min_size: Option<u64>,
    /// Only files of at most N bytes (suffixes K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub max_size: Option<u64>,
    /// Metadata that may differ between copies; the master's stays
    ///
    /// Names of one file share its owner, permissions, ACL and extended attributes. Copies that differ in any of them
    /// are left alone, unless it is listed here.
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    pub ignore_metadata: Vec<MetadataKind>,
    /// What to do about paths that are on several branches
    #[arg(long, value_name = "WHAT", value_enum, default_value = "keep")]
    pub shadows: Shadows,
    /// Plan at most N replacements
    ///
    /// The rest is refused with the reason "limit", and is for the next run: SnapRAID users keep what changes between
    /// two syncs small.
    #[arg(long, value_name = "N")]
    pub max_ops: Option<u64>,
    /// Plan to reclaim at most N bytes (suffixes K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub max_bytes: Option<u64>,
    /// Stop after TIME (such as 90s, 30m, 1h30m)
    ///
    /// The batch in hand is finished, the rest is left for the next run.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_time: Option<Duration>,
    /// Run CMD by the shell before a run that changes something; when it fails, nothing is changed
    #[arg(long, value_name = "CMD", hide_short_help = true)]
    pub pre: Option<std::ffi::OsString>,
    /// Run CMD by the shell after that run, however it ended ($XDEDUP_EXIT)
    #[arg(long, value_name = "CMD", hide_short_help = true)]
    pub post: Option<std::ffi::OsString>,
    /// Change nothing while snapraid diff finds differences (with SnapRAID's configuration CONF)
    #[arg(
        long,
        value_name = "CONF",
        num_args = 0..=1,
        require_equals = true,
        hide_short_help = true
    )]
    pub snapraid_guard: Option<Option<PathBuf>>,
    /// Write the CSV log to FILE [default: log.csv beside the journal]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub log_file: Option<PathBuf>,
    /// Refuse unless every branch lies below DIR
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub pool_root: Option<PathBuf>,
    /// The pool's branches, where mergerfs does not tell them (A=RW:B=RO)
    #[arg(long, value_name = "LIST", hide_short_help = true)]
    pub branches: Option<std::ffi::OsString>,
    /// Accept that other filesystems are behind the branches than the journal remembers
    #[arg(long, hide_short_help = true)]
    pub accept_branches: bool,
    /// Do without leases, on filesystems that have none: only while nothing else uses the pool
    #[arg(long, hide_short_help = true)]
    pub no_lease: bool,
    /// Keep the hashes of scans in DIR [default: /var/cache/mergerfs-xdedup, or $XDG_CACHE_HOME/mergerfs-xdedup]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub cache: Option<PathBuf>,
    /// Read every file again, and remember nothing
    #[arg(long, conflicts_with = "cache", hide_short_help = true)]
    pub no_cache: bool,
    /// Write the duplicates that the scan found to FILE, for other programs
    #[arg(long, value_name = "FILE", conflicts_with = "manifest", hide_short_help = true)]
    pub groups: Option<PathBuf>,
    /// The form of that: fclones' JSON can hold any name, jdupes' only UTF-8
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value = "fclones",
        requires = "groups",
        hide_short_help = true
    )]
    pub groups_format: GroupsForm,
    /// Write a report to FILE, as one HTML page
    ///
    /// The page needs no network: disks before and after, what was freed where and of which kind, what was left alone
    /// and what to do about it. Of a dry run it tells what would be.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the plan of a dry run to FILE, as a shell script that can be read and run by hand
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub script: Option<PathBuf>,
    /// Draw no progress bar
    #[arg(long)]
    pub no_progress: bool,
    /// Accepted for the sake of old command lines, and not used
    #[arg(long, value_name = "FILE", hide = true)]
    pub db_file: Option<PathBuf>,
}

/// The options of a preview: those of a dry run, and where to show it.
#[derive(Debug, Clone, Args)]
pub struct PreviewArgs {
    /// Where to show it: an empty directory outside of the pool
    #[arg(value_name = "MOUNTPOINT")]
    pub mount_point: PathBuf,
    /// Let other users look too, as far as the permissions of files let them [root: always]
    #[arg(long)]
    pub allow_other: bool,
    /// What to plan
    #[command(flatten)]
    pub run: RunArgs,
}

/// The other commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show the pool as it will be, mounted read-only, to look at before anything is done
    ///
    /// Plans as a dry run does, from a scan of DIRs or a list (-m), and mounts the pool as it will look after that
    /// plan at MOUNTPOINT: the same names and bytes, with the link counts, inode numbers and disk usage (ls -li, du)
    /// there will be. What becomes of a file is in its user.xdedup.* attributes (getfattr -d FILE). Nothing can be
    /// written there, and nothing is changed anywhere. Ctrl-C, SIGTERM or umount ends it. After a kill -9:
    /// fusermount3 -u MOUNTPOINT.
    #[command(
        after_long_help = examples::PREVIEW,
        mut_arg("execute", |arg| arg.hide(true)),
        mut_arg("dry_run", |arg| arg.hide(true)),
        mut_arg("log_file", |arg| arg.hide(true)),
        mut_arg("accept_branches", |arg| arg.hide(true)),
        mut_arg("no_lease", |arg| arg.hide(true))
    )]
    Preview(Box<PreviewArgs>),
    /// Finish or put back what an interrupted run left open
    #[command(after_long_help = examples::RESUME)]
    Resume(ResumeArgs),
    /// Take back what a run did: each duplicate is a file of its own again
    #[command(after_long_help = examples::UNDO)]
    Undo(UndoArgs),
    /// Read the files that stayed again, and compare them with what the journal recorded
    #[command(after_long_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Show what is open, and what the last run did
    #[command(after_long_help = examples::STATUS)]
    Status,
    /// Say what about a pool would make runs fail or surprise; changes nothing
    #[command(after_long_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// List every run
    #[command(after_long_help = examples::HISTORY)]
    History(HistoryArgs),
    /// Print all that the journal holds, for programs
    #[command(after_long_help = examples::EXPORT)]
    Export(ExportArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// The options of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// The pool, or a directory of it [default: every pool that is mounted]
    #[arg(value_name = "POOL")]
    pub pool: Option<PathBuf>,
    /// Look for names that crashes left in the uppermost directories only
    #[arg(long)]
    pub quick: bool,
}

/// The options of `resume`.
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// The journal is lost or damaged: finish or put back what its CSV log and the names on the branches show
    ///
    /// Without -e only what would be done is shown. What it cannot be sure of stays where it is and is told. The journal
    /// that cannot be used is kept beside the new one; the runs in it can no longer be undone.
    #[arg(long)]
    pub salvage: bool,
    /// Remove hidden files that ended runs left, those at PATH or all that `status` lists as conflicts
    ///
    /// Without -e only what would be removed is shown, with sizes, and whether a file is the last copy. PATH is a branch
    /// path or a pool path of a hidden file (.xdedup-...). Visible files are never removed.
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..,
        conflicts_with_all = ["salvage", "from_log"]
    )]
    pub discard: Option<Vec<PathBuf>>,
    /// Do what --salvage or --discard shows; `resume` by itself acts at once, with and without it
    #[arg(short, long)]
    pub execute: bool,
    /// Show what is open; change nothing
    #[arg(short = 'n', long, conflicts_with = "from_log")]
    pub dry_run: bool,
    /// A pool to look at, where the CSV log names none
    #[arg(value_name = "POOL", requires = "salvage")]
    pub pool: Vec<PathBuf>,
    /// The CSV log for --salvage [default: log.csv in the journal directory]
    #[arg(long, value_name = "FILE", requires = "salvage")]
    pub log_file: Option<PathBuf>,
    /// Metadata that may differ between copies, as it might in the run
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', requires = "salvage")]
    pub ignore_metadata: Vec<MetadataKind>,
    /// Link again what the old mergerfs-dedupe script deleted and did not link: FILE is its unfinished log
    /// (filepath,status), -m the list it was given
    #[arg(long, value_name = "FILE", requires = "manifest", conflicts_with = "salvage")]
    pub from_log: Option<PathBuf>,
    /// The list of duplicates for --from-log
    #[arg(short, long, value_name = "FILE", requires = "from_log")]
    pub manifest: Option<PathBuf>,
    /// The form of the list, where it cannot be told from its contents
    #[arg(long, value_name = "FORM", requires = "manifest")]
    pub manifest_format: Option<Format>,
    /// Where relative paths begin [default: what the list says, else the current directory]
    #[arg(long, value_name = "DIR", requires = "manifest")]
    pub base: Option<PathBuf>,
}

/// The options of `undo`.
#[derive(Debug, Clone, Args)]
pub struct UndoArgs {
    /// The run, as `history` numbers them [default: the newest that changed something]
    #[arg(value_name = "RUN")]
    pub run: Option<u64>,
    /// Do it; without this, only show what would be done
    #[arg(short, long)]
    pub execute: bool,
    /// Change nothing (default)
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Only what lies at or below PATH in the pool; repeat for more
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathBuf>,
    /// Stop after TIME: the batch in hand is finished, the rest is left for the next undo
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_time: Option<Duration>,
    /// Accept that other filesystems are behind the branches than the journal remembers
    #[arg(long)]
    pub accept_branches: bool,
    /// Do without leases, on filesystems that have none: only while nothing else uses the pool
    #[arg(long)]
    pub no_lease: bool,
    /// Write the CSV log to FILE [default: log.csv beside the journal]
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Draw no progress bar
    #[arg(long)]
    pub no_progress: bool,
}

/// The options of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The run, as `history` numbers them [default: the newest that changed something]
    #[arg(value_name = "RUN")]
    pub run: Option<u64>,
    /// Draw no progress bar
    #[arg(long)]
    pub no_progress: bool,
}

/// The options of `history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// Forget runs older than DAYS, which then can no longer be undone or verified; what is open is kept
    #[arg(long, value_name = "DAYS")]
    pub prune: Option<u32>,
    /// Show what --prune would forget; change nothing
    #[arg(short = 'n', long, requires = "prune")]
    pub dry_run: bool,
}

/// The options of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Only this run
    #[arg(value_name = "RUN")]
    pub run: Option<u64>,
    /// As the lines of the CSV log
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// As JSON lines, a record each, nothing left out (default)
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// `--dry-run` overrides `--execute`, wherever the two stand.
    pub(super) fn settled(mut self) -> Self {
        self.run.execute &= !self.run.dry_run;
        match &mut self.command {
            Some(Command::Undo(args)) => args.execute &= !args.dry_run,
            Some(Command::Resume(args)) => args.execute &= !args.dry_run,
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn a_dry_run_overrides_execute() {
        let parsed = |typed: &str| Cli::try_parse_from(typed.split(' ')).unwrap().settled();
        for typed in ["x -e -n /pool", "x -n -e /pool", "x --dry-run --execute /pool"] {
            assert!(!parsed(typed).run.execute, "{typed}");
        }
        assert!(parsed("x -e /pool").run.execute);
        for (typed, executes) in [("x undo -e -n", false), ("x undo -e", true)] {
            let Some(Command::Undo(args)) = parsed(typed).command else { panic!("{typed}") };
            assert_eq!(args.execute, executes, "{typed}");
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_old_command_line_is_understood() {
        let typed = "x --json-file F --log-file L --primary-path P --pool-root R --perform-actions";
        let cli = Cli::try_parse_from(typed.split(' ')).unwrap();
        assert!(cli.run.execute && cli.run.manifest.is_some() && cli.run.primary.len() == 1);
        assert!(cli.run.dirs.is_empty());
    }

    #[test]
    fn common_options_stand_before_or_after_a_command() {
        for typed in ["x --journal J -v status", "x status --journal J -v"] {
            let cli = Cli::try_parse_from(typed.split(' ')).unwrap();
            assert!(matches!(cli.command, Some(Command::Status)));
            assert_eq!((cli.common.journal, cli.common.verbose), (Some("J".into()), 1));
        }
        let cli = Cli::try_parse_from(["x", "./status"]).unwrap();
        assert!(cli.command.is_none());
    }
}
