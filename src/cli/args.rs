//! What the user typed, as clap sees it. The help text is here; nothing is looked up or decided.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::input::Format;
use crate::master::Policy;
use crate::report::groups::GroupsForm;

/// Hard-link duplicates that lie on different disks of a mergerfs pool
///
/// Finds out on which branches of the pool each file really is, links the copy that stays (the master) on its own
/// branch under the duplicate's path, makes that durable, and only then removes the duplicate. Without -e nothing
/// is changed: what would be done is printed as a shell script.
#[derive(Debug, Parser)]
#[command(
    name = "mergerfs.xdedup",
    bin_name = "mergerfs.xdedup",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    args_override_self = true,
    after_help = EXAMPLES
)]
pub struct Cli {
    /// What to do instead of deduplicating
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of every command
    #[command(flatten)]
    pub common: Common,
    /// Options of a run
    #[command(flatten)]
    pub run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  mergerfs.xdedup /pool                           find duplicates, show what would be done
  jdupes -r -0 /pool > list                       list duplicates with another program
  mergerfs.xdedup -m list -p /pool/media          show what would be done
  mergerfs.xdedup -m list -p /pool/media -e       do it
  mergerfs.xdedup resume                          finish what a crash interrupted

Exit status: 0 done or nothing to do, 1 something was not done, 2 usage or unusable list,
3 not a mergerfs pool or locked, 4 journal unreadable or recovery incomplete, 130/143 stopped by a signal.";

/// Options that stand before or after a command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]
    #[arg(long, value_name = "DIR", global = true)]
    pub journal: Option<PathBuf>,
    /// Print results as text or as JSON lines
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value = "text",
        global = true
    )]
    pub format: OutputFormat,
    /// Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media"; "dir = /pool"
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Say more; repeat for more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say only what went wrong
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
    #[arg(short, long, alias = "perform-actions")]
    pub execute: bool,
    /// Read duplicates from a list made by another program ("-": standard input)
    #[arg(short, long, value_name = "FILE", alias = "json-file")]
    pub manifest: Option<PathBuf>,
    /// The form of the list, where it cannot be told from its contents
    #[arg(long, value_name = "FORM", requires = "manifest")]
    pub manifest_format: Option<Format>,
    /// Where relative paths of the list begin [default: what the list says, else the current directory]
    #[arg(long, value_name = "DIR", requires = "manifest")]
    pub base: Option<PathBuf>,
    /// Masters live under DIR; repeat for more, the first that has a copy wins
    #[arg(short, long, value_name = "DIR", alias = "primary-path")]
    pub primary: Vec<PathBuf>,
    /// Deduplicate groups without a copy under a primary, too
    #[arg(long)]
    pub any_master: bool,
    /// Which copy stays where no primary decides
    #[arg(
        short,
        long,
        value_name = "POLICY",
        value_enum,
        default_value = "mostlinks"
    )]
    pub dedup: Policy,
    /// Only files that match GLOB: against the name, or against the path in the pool if it has a "/"
    #[arg(short = 'I', long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Not files that match GLOB
    #[arg(short = 'E', long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Only files of at least N bytes (suffixes K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub min_size: Option<u64>,
    /// Only files of at most N bytes (suffixes K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub max_size: Option<u64>,
    /// Metadata that may differ between copies; the master's stays
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    pub ignore_metadata: Vec<MetadataKind>,
    /// Plan at most N replacements
    #[arg(long, value_name = "N")]
    pub max_ops: Option<u64>,
    /// Plan to reclaim at most N bytes (suffixes K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub max_bytes: Option<u64>,
    /// Run CMD by the shell before a run that changes something; when it fails, nothing is changed
    #[arg(long, value_name = "CMD")]
    pub pre: Option<std::ffi::OsString>,
    /// Run CMD by the shell after that run, however it ended ($XDEDUP_EXIT)
    #[arg(long, value_name = "CMD")]
    pub post: Option<std::ffi::OsString>,
    /// Change nothing while snapraid diff finds differences (with SnapRAID's configuration CONF)
    #[arg(long, value_name = "CONF", num_args = 0..=1, require_equals = true)]
    pub snapraid_guard: Option<Option<PathBuf>>,
    /// Write the CSV log to FILE [default: log.csv beside the journal]
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Refuse unless every branch lies below DIR
    #[arg(long, value_name = "DIR")]
    pub pool_root: Option<PathBuf>,
    /// The pool's branches, where mergerfs does not tell them (A=RW:B=RO)
    #[arg(long, value_name = "LIST")]
    pub branches: Option<std::ffi::OsString>,
    /// Accept that other filesystems are behind the branches than the journal remembers
    #[arg(long)]
    pub accept_branches: bool,
    /// Do without leases, on filesystems that have none: only while nothing else uses the pool
    #[arg(long)]
    pub no_lease: bool,
    /// Keep the hashes of scans in DIR [default: /var/cache/mergerfs-xdedup, or $XDG_CACHE_HOME/mergerfs-xdedup]
    #[arg(long, value_name = "DIR", conflicts_with = "manifest")]
    pub cache: Option<PathBuf>,
    /// Read every file again, and remember nothing
    #[arg(long, conflicts_with_all = ["cache", "manifest"])]
    pub no_cache: bool,
    /// Write the duplicates that the scan found to FILE, for other programs
    #[arg(long, value_name = "FILE", conflicts_with = "manifest")]
    pub groups: Option<PathBuf>,
    /// The form of that: fclones' JSON can hold any name, jdupes' only UTF-8
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value = "fclones",
        requires = "groups"
    )]
    pub groups_format: GroupsForm,
    /// Write a report to FILE: one HTML page that needs no network, of the run or of what it would do
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Draw no progress bar
    #[arg(long)]
    pub no_progress: bool,
    /// Accepted for the sake of old command lines, and not used
    #[arg(long, value_name = "FILE", hide = true)]
    pub db_file: Option<PathBuf>,
}

/// The other commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Finish or put back what an interrupted run left open
    Resume,
    /// Show what is open, and what the last run did
    Status,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A kind of metadata that two copies must share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetadataKind {
    /// Owner and group.
    Owner,
    /// Permission bits.
    Mode,
    /// POSIX ACLs.
    Acl,
    /// Extended attributes.
    Xattr,
}

impl ValueEnum for GroupsForm {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Fclones, Self::Jdupes]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Fclones => "fclones",
            Self::Jdupes => "jdupes",
        }))
    }
}

impl ValueEnum for Policy {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Newest,
            Self::Oldest,
            Self::MostFreeSpace,
            Self::LeastFreeSpace,
            Self::MostLinks,
            Self::Mergerfs,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Newest => ("newest", "the copy changed last"),
            Self::Oldest => ("oldest", "the copy changed first"),
            Self::MostFreeSpace => (
                "mostfreespace",
                "the copy on the branch with the most free space",
            ),
            Self::LeastFreeSpace => (
                "leastfreespace",
                "the copy on the branch with the least free space",
            ),
            Self::MostLinks => ("mostlinks", "the copy with the most hard links"),
            Self::Mergerfs => ("mergerfs", "the copy on the first branch"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// A size in bytes with an optional suffix of powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.trim_end_matches("IB").trim_end_matches('B');
    let (digits, factor) = match digits.char_indices().last() {
        Some((at, 'K')) => (&digits[..at], 1u64 << 10),
        Some((at, 'M')) => (&digits[..at], 1 << 20),
        Some((at, 'G')) => (&digits[..at], 1 << 30),
        Some((at, 'T')) => (&digits[..at], 1 << 40),
        _ => (digits, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "not a size, such as 4096, 100K or 2G".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_take_suffixes() {
        let cases = [
            ("0", 0),
            ("12", 12),
            ("4k", 4096),
            ("1MiB", 1 << 20),
            ("2G", 2 << 30),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "1.5G", "-1", "99999999T", "1X"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
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
            assert_eq!(
                (cli.common.journal, cli.common.verbose),
                (Some("J".into()), 1)
            );
        }
        let cli = Cli::try_parse_from(["x", "./status"]).unwrap();
        assert!(cli.command.is_none());
    }
}
