//! What the user typed, as clap sees it. The help text is here; nothing is looked up or decided.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueHint};

use super::examples;
use crate::find::list::Forms;
use crate::plan::master::Policy;
use crate::plan::{Link, Shadows};
use crate::report::groups::GroupsForm;

mod values;

pub use values::OutputFormat;
pub(super) use values::{Color, MayDiffer, MetadataKind};
use values::{MayDifferParser, map_parser, parse_duration, parse_run, parse_size};

/// Replace equal files on different disks of a mergerfs pool by hard links
///
/// Keeps one copy of each file, adds a hard link at the other copy's path on the kept copy's disk, syncs, then deletes the
/// other copy. Through the pool every path is still there, with the same bytes; one copy is stored. Without -e the plan is
/// shown and nothing is changed.
///
/// Afterwards the paths are one file: an edit in place changes all of them. One copy is left, which is no backup.
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

  mergerfs.xdedup doctor /pool                    check the pool for problems
  mergerfs.xdedup -p /pool/media /pool            show the plan, change nothing
  mergerfs.xdedup -p /pool/media /pool -e         apply it: copies under /pool/media stay

-h lists the options, --help explains them.
";

const SHORT_EXAMPLES: &str = "--help explains all options, with examples.";

const EXAMPLES: &str = "\
Examples:
  Show which large files in two directories are stored twice; then link them. Copies under /pool/media stay:
    mergerfs.xdedup --min-size 1M -p /pool/media /pool/media /pool/torrents
    mergerfs.xdedup --min-size 1M -p /pool/media /pool/media /pool/torrents -e

  Look at the result first, with ls, du or a media server:
    mergerfs.xdedup preview /mnt/look -p /pool/media /pool

  Take the duplicates from another program:
    jdupes -r -0 /pool > list
    mergerfs.xdedup -m list -p /pool/media -e

  As soon as a file was imported, in a hook: replace it if the pool has a copy
    mergerfs.xdedup --only '/pool/tv/Show/Season 1/e1.mkv' -v -e

  Only large videos, at most 500 GiB a night, on a pool where any copy may stay:
    mergerfs.xdedup -I '*.mkv' -I '*.mp4' --min-size 100M --max-bytes 500G /pool -e

  Leave out files that are edited in place, since an edit changes all paths of a file:
    mergerfs.xdedup -E '*.torrent' -E 'downloads/incomplete/*' /pool

  For a script: one JSON object a line
    mergerfs.xdedup --format json /pool | jq 'select(.type == \"summary\")'

  After a crash or a power cut:
    mergerfs.xdedup status
    mergerfs.xdedup resume

  Turn the links of the last run back into separate copies (without -e: show the plan):
    mergerfs.xdedup undo -e

Exit status: 0 done or nothing to do, 1 some files were not done, 2 usage or unusable list,
3 not a mergerfs pool or locked, 4 journal unreadable or recovery incomplete, 130/143 stopped by a signal.";

/// The headings of options.
mod heading {
    pub(super) const FILES: &str = "Which files";
    pub(super) const ACTION: &str = "What is done";
    pub(super) const POOL: &str = "Pool and scan";
    pub(super) const OUTPUT: &str = "Output";
}

/// Options that stand before or after a command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = heading::OUTPUT)]
pub struct Common {
    /// Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        hide_short_help = true,
        value_hint = ValueHint::DirPath
    )]
    pub journal: Option<PathBuf>,
    /// Print text, JSON lines, or the plan as a shell script
    #[arg(long, value_name = "FORM", value_enum, default_value = "text", global = true)]
    pub format: OutputFormat,
    /// Use colours
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        global = true,
        hide_short_help = true
    )]
    pub color: Color,
    /// Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        hide_short_help = true,
        value_hint = ValueHint::FilePath
    )]
    pub config: Option<PathBuf>,
    /// List every file, and say more; repeat for more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Print only problems
    ///
    /// A dry run prints its last lines all the same.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// The typed words that decide what the run does, for the journal
    #[arg(skip)]
    pub words: Vec<Vec<u8>>,
}

/// The options of a run.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("listed").multiple(true).args(["manifest", "only"])))]
pub struct RunArgs {
    /// Replace duplicates below DIR, a directory of the pool; with -m, DIR only names the pool
    ///
    /// Primaries (-p) are scanned as well, but only what lies below a DIR is replaced: -p /pool/media /pool/torrents
    /// makes files below /pool/torrents links to their copies below /pool/media.
    ///
    /// A scan skips lost+found; trash and recycle bins (.Trash, .Trash-*, .Trashes, #recycle, @Recycle, .recycle,
    /// .Recycle.Bin, $RECYCLE.BIN); SnapRAID's content and parity files and .snapraid; names of this program
    /// (.xdedup-*); empty files; other filesystems and btrfs subvolumes below a branch, which are listed (other-filesystem);
    /// and branches that are read-only.
    #[arg(value_name = "DIR", help_heading = heading::FILES, hide_short_help = true, value_hint = ValueHint::DirPath)]
    pub dirs: Vec<PathBuf>,
    /// Apply the changes (default: dry run)
    ///
    /// Every pair is compared first: all bytes of both files, read in this run (BLAKE3 hashes, or byte by byte). The journal
    /// records each step before it is done, and files that are open in a program are skipped. Files that an earlier run left
    /// open are finished first.
    #[arg(short, long, alias = "perform-actions", help_heading = heading::ACTION)]
    pub execute: bool,
    /// Change nothing, whatever a configuration file says
    #[arg(short = 'n', long, help_heading = heading::ACTION)]
    pub dry_run: bool,
    /// What duplicates become
    ///
    /// A hard link makes one file of two: an edit changes both. With "reflink" each file stays a file of its own, with its
    /// owner, permissions and times, and shares its blocks with the kept copy; that takes btrfs or xfs on the kept copy's disk. A
    /// copy on another disk moves there as a clone. "auto" makes hard links where the kept copy's disk cannot share blocks.
    #[arg(long, value_name = "KIND", value_enum, default_value = "hard", hide_short_help = true, help_heading = heading::ACTION)]
    pub link: Link,
    /// Whether only `dry_run` keeps the plan from being carried out
    #[arg(skip)]
    pub held_back: bool,
    /// Read duplicates from another program's list
    ///
    /// "-" is standard input.
    ///
    /// Lists of jdupes (-0, -j), fclones, rmlint, czkawka, dupe-krill, fdupes, rdfind and hardlink -l are known by
    /// their contents. A list is a claim: every pair is compared before anything is removed, and a damaged list changes
    /// nothing.
    #[arg(short, long, value_name = "FILE", alias = "json-file", help_heading = heading::FILES, value_hint = ValueHint::FilePath)]
    pub manifest: Option<PathBuf>,
    /// The form of the list, if its contents do not show the form
    ///
    /// A program (jdupes, fclones, rmlint, czkawka, dupe-krill, fdupes, rdfind, hardlink) for any form that it writes, or
    /// one form: jdupes-json, jdupes-null, fclones-json, fclones-text.
    #[arg(long, value_name = "FORM", requires = "manifest", hide_short_help = true, help_heading = heading::FILES)]
    pub manifest_format: Option<Forms>,
    /// Replace only the file PATH, or the files below the directory PATH (repeatable)
    ///
    /// For the import hook of a download client or media manager. Copies are looked for below each DIR, or in the whole
    /// pool if no DIR is given, and only files that may equal one of these are read. The other copy stays where it is. A
    /// file stays, too, if a hard link of it was not named.
    ///
    /// "-" reads the paths from standard input, one a line; NUL separates them if there is one.
    #[arg(long, value_name = "PATH", conflicts_with = "manifest", hide_short_help = true, help_heading = heading::FILES, value_hint = ValueHint::AnyPath)]
    pub only: Vec<PathBuf>,
    /// Where relative paths of the list begin [default: as the list says, otherwise the current directory]
    #[arg(long, value_name = "DIR", requires = "manifest", hide_short_help = true, help_heading = heading::FILES, value_hint = ValueHint::DirPath)]
    pub base: Option<PathBuf>,
    /// Read paths below FROM, of the list or of --only, as paths below TO (repeatable)
    ///
    /// For paths from a container, which has other names for the directories.
    #[arg(
        long,
        value_name = "FROM=TO",
        value_parser = map_parser(),
        requires = "listed",
        hide_short_help = true,
        help_heading = heading::FILES
    )]
    pub map: Vec<(PathBuf, PathBuf)>,
    /// Keep the copy under DIR (repeatable; earlier ones win)
    ///
    /// The copy under DIR stays where it is, and the other copies become links to it. Files without a copy under any DIR
    /// of -p are skipped, unless --any-master is given. Without -p, --dedup alone decides. DIR is a path in the pool: a path
    /// on one disk is an error.
    #[arg(short, long, value_name = "DIR", alias = "primary-path", help_heading = heading::FILES, value_hint = ValueHint::DirPath)]
    pub primary: Vec<PathBuf>,
    /// Link duplicates that have no copy under -p, too
    #[arg(long, hide_short_help = true, help_heading = heading::FILES)]
    pub any_master: bool,
    /// Which copy to keep where -p does not decide
    #[arg(short, long, value_name = "POLICY", value_enum, default_value = "mostlinks", help_heading = heading::FILES)]
    pub dedup: Policy,
    /// Only files matching GLOB
    ///
    /// A GLOB with a "/" is matched with the path in the pool, otherwise with the name.
    #[arg(short = 'I', long, value_name = "GLOB", help_heading = heading::FILES)]
    pub include: Vec<String>,
    /// Skip files and directories matching GLOB
    #[arg(short = 'E', long, value_name = "GLOB", help_heading = heading::FILES)]
    pub exclude: Vec<String>,
    /// Only files of at least N bytes (K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size, help_heading = heading::FILES)]
    pub min_size: Option<u64>,
    /// Only files of at most N bytes (K, M, G, T)
    #[arg(long, value_name = "N", value_parser = parse_size, hide_short_help = true, help_heading = heading::FILES)]
    pub max_size: Option<u64>,
    /// Link even if these differ; the kept copy's values then apply
    ///
    /// All paths of a file share its owner, permissions, ACL and extended attributes. Copies that differ in any of these
    /// are skipped, unless LIST names the difference. xattr=GLOB: only extended attributes whose name matches GLOB, such as
    /// xattr=user.tag.*; those that rmlint, shatag and Samba set for themselves may always differ.
    #[arg(long, value_name = "LIST", value_parser = MayDifferParser, value_delimiter = ',', hide_short_help = true, help_heading = heading::FILES)]
    pub ignore_metadata: Vec<MayDiffer>,
    /// Files whose path exists on several disks
    #[arg(long, value_name = "WHAT", value_enum, default_value = "keep", hide_short_help = true, help_heading = heading::FILES)]
    pub shadows: Shadows,
    /// With --shadows merge: skip hidden copies younger than TIME [default: 1h]
    ///
    /// A mover first copies a file to another disk, and then deletes the other copy: both must not go.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, hide_short_help = true, help_heading = heading::FILES)]
    pub shadow_age: Option<Duration>,
    /// Link at most N files, largest first
    ///
    /// The other files are skipped with the reason "limit", and are for the next run. SnapRAID users keep the changes
    /// between two syncs small.
    #[arg(long, value_name = "N", hide_short_help = true, help_heading = heading::ACTION)]
    pub max_ops: Option<u64>,
    /// Free at most N bytes (K, M, G, T), largest first
    #[arg(long, value_name = "N", value_parser = parse_size, help_heading = heading::ACTION)]
    pub max_bytes: Option<u64>,
    /// Stop after TIME (such as 90s, 30m, 1h30m)
    ///
    /// The batch in hand is finished, and the other files are left for the next run.
    #[arg(long,
        hide_short_help = true, value_name = "TIME", value_parser = parse_duration, help_heading = heading::ACTION)]
    pub max_time: Option<Duration>,
    /// Run the shell command CMD before a run that changes something; if CMD fails, nothing is changed
    #[arg(long, value_name = "CMD", hide_short_help = true, help_heading = heading::ACTION)]
    pub pre: Option<std::ffi::OsString>,
    /// Run the shell command CMD after such a run, also if the run failed ($XDEDUP_EXIT has its exit status)
    #[arg(long, value_name = "CMD", hide_short_help = true, help_heading = heading::ACTION)]
    pub post: Option<std::ffi::OsString>,
    /// Change nothing while snapraid diff finds differences (with SnapRAID's configuration CONF)
    #[arg(
        long,
        value_name = "CONF",
        num_args = 0..=1,
        require_equals = true,
        hide_short_help = true,
        help_heading = heading::ACTION,
        value_hint = ValueHint::FilePath
    )]
    pub snapraid_guard: Option<Option<PathBuf>>,
    /// Write the CSV log to FILE [default: log.csv beside the journal]
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = heading::OUTPUT, value_hint = ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,
    /// Stop unless every branch lies below DIR
    #[arg(long, value_name = "DIR", hide_short_help = true, help_heading = heading::POOL, value_hint = ValueHint::DirPath)]
    pub pool_root: Option<PathBuf>,
    /// The pool's branches, if mergerfs cannot list them (A=RW:B=RO)
    #[arg(long, value_name = "LIST", hide_short_help = true, help_heading = heading::POOL)]
    pub branches: Option<std::ffi::OsString>,
    /// Go on although a disk, the journal or the clock is not as it was in the last run
    #[arg(long, hide_short_help = true, help_heading = heading::POOL)]
    pub accept_branches: bool,
    /// Work without leases, on filesystems that have none; only while nothing else uses the pool
    #[arg(long, hide_short_help = true, help_heading = heading::POOL)]
    pub no_lease: bool,
    /// Keep the hashes of scans in DIR [default: /var/cache/mergerfs-xdedup, or $XDG_CACHE_HOME/mergerfs-xdedup]
    #[arg(long, value_name = "DIR", hide_short_help = true, help_heading = heading::POOL, value_hint = ValueHint::DirPath)]
    pub cache: Option<PathBuf>,
    /// Read every file again, and remember nothing
    #[arg(long, conflicts_with = "cache", hide_short_help = true, help_heading = heading::POOL)]
    pub no_cache: bool,
    /// Write the duplicates that the scan found to FILE, for other programs
    #[arg(long, value_name = "FILE", conflicts_with = "manifest", hide_short_help = true, help_heading = heading::OUTPUT, value_hint = ValueHint::FilePath)]
    pub groups: Option<PathBuf>,
    /// The form of --groups: fclones' JSON can hold any name, jdupes' only UTF-8
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value = "fclones",
        requires = "groups",
        hide_short_help = true,
        help_heading = heading::OUTPUT
    )]
    pub groups_format: GroupsForm,
    /// Write a report to FILE, as one HTML page
    ///
    /// The page needs no network. It shows the disks before and after, the space freed by directory and kind, and the
    /// skipped files with the way out. It works for dry runs, too.
    #[arg(long, value_name = "FILE", help_heading = heading::OUTPUT, value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// Write the plan of a dry run to FILE, as a shell script to read and to run by hand
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = heading::OUTPUT, value_hint = ValueHint::FilePath)]
    pub script: Option<PathBuf>,
    /// Draw no progress bar
    #[arg(long, hide_short_help = true, help_heading = heading::OUTPUT)]
    pub no_progress: bool,
    /// Accepted for the sake of old command lines, and not used
    #[arg(long, value_name = "FILE", hide = true)]
    pub db_file: Option<PathBuf>,
}

/// The options of a preview: those of a dry run, and where to show it.
#[derive(Debug, Clone, Args)]
pub struct PreviewArgs {
    /// Where to mount the preview: an empty directory outside the pool
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mount_point: PathBuf,
    /// Let other users look too, within the permissions of the files [root: always]
    #[arg(long)]
    pub allow_other: bool,
    /// What to plan
    #[command(flatten)]
    pub run: RunArgs,
}

/// The other commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Mount the result read-only, before anything is changed
    ///
    /// Plans as a dry run does, from a scan of DIRs or a list (-m), and mounts the pool at MOUNTPOINT as it will look
    /// after that plan: the same names and bytes, with the link counts, inode numbers and disk usage (ls -li, du) of then.
    /// The user.xdedup.* attributes say what happens to each file (getfattr -d FILE). Nothing can be written there, and
    /// nothing is changed anywhere. Ctrl-C, SIGTERM or umount ends the preview. After a kill -9: fusermount3 -u MOUNTPOINT.
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
    /// Turn the links of a run back into separate copies
    #[command(after_long_help = examples::UNDO)]
    Undo(UndoArgs),
    /// Re-read kept files and check their hashes
    #[command(after_long_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Show open files, conflicts and the last run
    #[command(after_long_help = examples::STATUS)]
    Status,
    /// Check a pool for problems
    #[command(after_long_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// List all runs
    #[command(after_long_help = examples::HISTORY)]
    History(HistoryArgs),
    /// Print the journal, for programs
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
    #[arg(value_name = "POOL", value_hint = ValueHint::DirPath)]
    pub pool: Option<PathBuf>,
    /// Look for names that crashes left in the uppermost directories only
    #[arg(long)]
    pub quick: bool,
}

/// The options of `resume`.
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// Finish or put back without the journal, if it is lost or damaged
    ///
    /// The CSV log and the hidden names on the branches show which files are open. Without -e the plan is shown. Files in
    /// doubt stay where they are and are listed. The unusable journal is kept beside the new one; the runs in it can no
    /// longer be undone.
    #[arg(long)]
    pub salvage: bool,
    /// Remove hidden files that ended runs left: those at PATH, or all that `status` lists as conflicts
    ///
    /// Without -e the files are listed, with their sizes, and whether a file is the last copy. PATH is a branch path or a
    /// pool path of a hidden file (.xdedup-...). Visible files are never removed.
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..,
        conflicts_with_all = ["salvage", "from_log"]
    )]
    pub discard: Option<Vec<PathBuf>>,
    /// Apply --salvage or --discard; `resume` alone acts at once, with and without -e
    #[arg(short, long)]
    pub execute: bool,
    /// Show what is open; change nothing
    #[arg(short = 'n', long, conflicts_with = "from_log")]
    pub dry_run: bool,
    /// A pool to look at, if the CSV log names none
    #[arg(value_name = "POOL", requires = "salvage")]
    pub pool: Vec<PathBuf>,
    /// The CSV log for --salvage [default: log.csv in the journal directory]
    #[arg(long, value_name = "FILE", requires = "salvage")]
    pub log_file: Option<PathBuf>,
    /// The --ignore-metadata of the run
    #[arg(long, value_name = "LIST", value_parser = MayDifferParser, value_delimiter = ',', requires = "salvage")]
    pub ignore_metadata: Vec<MayDiffer>,
    /// Link the files that the old mergerfs-dedupe script deleted and did not link: FILE is its unfinished log
    /// (filepath,status), -m the list that the script read
    #[arg(long, value_name = "FILE", requires = "manifest", conflicts_with = "salvage")]
    pub from_log: Option<PathBuf>,
    /// The list of duplicates for --from-log
    #[arg(short, long, value_name = "FILE", requires = "from_log")]
    pub manifest: Option<PathBuf>,
    /// The form of the list, if its contents do not show the form
    #[arg(long, value_name = "FORM", requires = "manifest")]
    pub manifest_format: Option<Forms>,
    /// Where relative paths begin [default: as the list says, otherwise the current directory]
    #[arg(long, value_name = "DIR", requires = "manifest")]
    pub base: Option<PathBuf>,
}

/// The options of `undo`.
#[derive(Debug, Clone, Args)]
pub struct UndoArgs {
    /// The run, as `history` numbers them [default: the newest that is no undo and has something left to take back]
    #[arg(value_name = "RUN", value_parser = parse_run)]
    pub run: Option<u64>,
    /// Apply the changes (default: dry run)
    #[arg(short, long)]
    pub execute: bool,
    /// Change nothing (default)
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Only files at or below PATH in the pool (repeatable)
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathBuf>,
    /// Stop after TIME: the batch in hand is finished, and the other files are left for the next undo
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_time: Option<Duration>,
    /// Go on although a disk, the journal or the clock is not as it was in the last run
    #[arg(long)]
    pub accept_branches: bool,
    /// Work without leases, on filesystems that have none; only while nothing else uses the pool
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
    /// The run, as `history` numbers them [default: the newest that linked files and was not undone]
    #[arg(value_name = "RUN", value_parser = parse_run)]
    pub run: Option<u64>,
    /// Draw no progress bar
    #[arg(long)]
    pub no_progress: bool,
}

/// The options of `history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// Forget runs older than DAYS, which then can no longer be undone or verified; open files are kept
    #[arg(long, value_name = "DAYS")]
    pub prune: Option<u32>,
    /// Show the runs that --prune would forget; change nothing
    #[arg(short = 'n', long, requires = "prune")]
    pub dry_run: bool,
}

/// The options of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Only this run
    #[arg(value_name = "RUN", value_parser = parse_run)]
    pub run: Option<u64>,
    /// Print the lines of the CSV log
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print each record as a JSON line (default)
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// `--dry-run` overrides `--execute`, wherever the two stand.
    pub(super) fn settled(mut self) -> Self {
        self.run.held_back = self.run.execute && self.run.dry_run;
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
