//! The end of each `--help` text: examples, and the meaning of the exit status. The man pages use the same text.

/// Of `preview --help`.
pub(super) const PREVIEW: &str = "\
Examples:
  Mount the pool as a run would leave it, then end the preview:
    mergerfs.xdedup preview /mnt/look -p /pool/media /pool
    du -sh /mnt/look
    getfattr -d /mnt/look/downloads/a.mkv
    umount /mnt/look

  The same for the duplicates that another program lists:
    mergerfs.xdedup preview /mnt/look -m list -p /pool/media

Exit status: 0 shown until the end, 1 part of the list could not be used, 2 usage, or an
unusable list or mount point, 3 not a mergerfs pool or it cannot be mounted, 130/143 stopped by
a signal before it was shown.";

/// Of `resume --help`.
pub(super) const RESUME: &str = "\
Examples:
  After a crash or a power cut:
    mergerfs.xdedup status
    mergerfs.xdedup resume -n
    mergerfs.xdedup resume

  When the journal cannot be used: show the open files without it, then finish them:
    mergerfs.xdedup resume --salvage
    mergerfs.xdedup resume --salvage -e

  Show the hidden files that conflicts left and that could be removed, then remove one of them:
    mergerfs.xdedup resume --discard
    mergerfs.xdedup resume --discard /mnt/d2/dir/.xdedup-0badcafe-00000003-00000007-00000000-r -e

  Link the files that the old mergerfs-dedupe script deleted and did not link:
    mergerfs.xdedup resume --from-log old.csv -m the-list-it-was-given

Exit status: 0 nothing is open any more, 1 the same, but something ended in a conflict or was not
removed, 2 usage, unusable list or log, or a PATH that is no hidden file of this journal, 3 a branch is not there or locked, 4 something stays open or the journal is
unreadable, 130/143 stopped by a signal.";

/// Of `undo --help`.
pub(super) const UNDO: &str = "\
Examples:
  Show the plan for taking back the last run, then apply it:
    mergerfs.xdedup undo
    mergerfs.xdedup undo -e

  Only a part of run 3:
    mergerfs.xdedup history
    mergerfs.xdedup undo 3 --path /pool/downloads/music -e

Exit status: 0 done or nothing to do, 1 something was not taken back, 2 usage or no such run,
3 the pool is not there or locked, 4 journal unreadable or recovery incomplete, 130/143 stopped by
a signal.";

/// Of `verify --help`.
pub(super) const VERIFY: &str = "\
Examples:
  Are the files that the last run kept still unchanged?
    mergerfs.xdedup verify

  For a script:
    mergerfs.xdedup --format json verify 3 | jq 'select(.state == \"damaged\")'

Exit status: 0 none is damaged, 1 some are damaged or cannot be read, 2 usage or no such run,
3 a branch is not there, 4 journal unreadable or gone, 130/143 stopped by a signal.";

/// Of `status --help`.
pub(super) const STATUS: &str = "\
Examples:
  Is anything left from a crash or from a conflict, and which commands settle it?
    mergerfs.xdedup status

Exit status: 0 shown, 3 locked by a run, 4 journal unreadable.";

/// Of `doctor --help`.
pub(super) const DOCTOR: &str = "\
It reads attributes, directories and mount tables, and takes a read lease on one file a branch for
a moment.

Examples:
  Before the first run:
    mergerfs.xdedup doctor /pool

  With an explanation of each finding:
    mergerfs.xdedup doctor -v /pool

Exit status: 0 nothing that prevents runs, 1 something does, 3 not a mergerfs pool.";

/// Of `history --help`.
pub(super) const HISTORY: &str = "\
Examples:
  All runs:
    mergerfs.xdedup history -v

  Show, then forget, the runs older than 400 days:
    mergerfs.xdedup history --prune 400 -n
    mergerfs.xdedup history --prune 400

Exit status: 0 shown or pruned, 3 locked by a run, or no room to prune, 4 journal unreadable.";

/// Of `export --help`.
pub(super) const EXPORT: &str = "\
Examples:
  A copy of all records:
    mergerfs.xdedup export --json > journal.jsonl

  The lines of the CSV log, of run 3 only:
    mergerfs.xdedup export 3 --csv

Exit status: 0 printed, 2 usage, no journal or no such run, 3 locked by a run, 4 journal unreadable.";

/// Of `completions --help`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  For your own shell, where no package installed it:
    mergerfs.xdedup completions bash > ~/.local/share/bash-completion/completions/mergerfs.xdedup

Exit status: 0 printed, 2 no such shell.";
