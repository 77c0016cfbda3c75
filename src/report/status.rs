//! Reports the open ops, the conflicts that a person has to settle, and what the last run did, for `status`.
//!
//! JSON is one object, `type` `status`, with paths as in [`super::json`]:
//!
//! | key | what |
//! |---|---|
//! | `last_run` | `run`, `time`, `ended`, and the numbers of its ops |
//! | `open` | each op that an interrupted run left: `run`, `op`, `names`, `hidden` (branch paths of its hidden files) |
//! | `conflicts` | each conflict with something left to settle: `run`, `op`, `why`, `left` (branch paths), `places`, `not_looked_at` (branch paths on disks that are not mounted) |
//! | `unexplained` | hidden names of no open op and no conflict: `path`, `directory`, `inode`, `kind`, `size`, `modified`, `origin` (`left-behind`, `renamed`, `forgotten`, `never-run`, `other-journal`, `unreadable`), `run` and `op` if the name contains them, `pool_path`, `keep`, `discard` |
//! | `unexplained_names` | their paths |
//! | `not_mounted` | branches that were not looked at |
//! | `looked_everywhere` | whether there may be more hidden names |
//!
//! An entry of `places` has `path`, `hidden`, `size`, `inode`, `modified` and `pool_path`. A hidden file has the shell commands
//! `keep` and `discard`. A file of a path on several disks has `shown` (whether the pool shows it) and `equal` (whether all
//! files of that path have the same bytes; `null`: not compared) and `metadata` (how a file that is not shown differs in owner,
//! permissions, ACL or attributes; `null`: not at all); one that the pool does not show has `remove`, and `keep`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fit;
use super::history;
use super::json::{Object, line, put_op, put_path, put_paths, typed};
use super::screen::Screen;
use super::shown::{ITEMS, ago, number, sanitised, shell_word, size};
use super::text::{more_files, nonzero, with_journal};
use crate::fs::{FileKind, Timestamp};
use crate::journal::{OpenOp, RunSummary, rfc3339};
use crate::plan::OpId;
use crate::rescue::unsettled::{
    FileNow, HiddenFile, Origin, Twice, TwiceFile, Unexplained, Unsettled,
};

/// The hidden files of open ops, by branch path.
pub type Hidden = BTreeMap<OpId, Vec<PathBuf>>;

/// All that `status` says.
#[derive(Debug, Default)]
pub struct Status<'a> {
    /// Ops without an end.
    pub open: Vec<OpenOp>,
    /// The hidden files of these ops.
    pub hidden: Hidden,
    /// The newest run.
    pub last: Option<&'a RunSummary>,
    /// Conflicts with something left to settle.
    pub unsettled: Vec<Unsettled>,
    /// Hidden names that nothing explains.
    pub unexplained: Vec<Unexplained>,
    /// Whether there are directories that were not looked into.
    pub partly: bool,
    /// Branches that are not mounted.
    pub not_mounted: Vec<PathBuf>,
    /// The journal directory, where commands must name it.
    pub journal: Option<PathBuf>,
    /// The present.
    pub now: Timestamp,
    /// Whether to list every file.
    pub all: bool,
    /// The reader's screen.
    pub screen: Screen,
}

/// The status for a person.
///
/// # Errors
/// When `out` fails.
pub fn text(out: &mut dyn Write, status: &Status<'_>) -> io::Result<()> {
    let mut lines = Vec::new();
    match status.last {
        None => writeln!(lines, "no run yet")?,
        Some(run) => last_run(&mut lines, run)?,
    }
    out.write_all(&fit::words(&lines, status.screen, 2))?;
    if status.open.is_empty() {
        writeln!(out, "nothing is open")?;
    } else {
        open_text(out, (&status.open, &status.hidden), status.all)?;
    }
    lines.clear();
    let conflicts = shown_of(status.all, status.unsettled.len());
    for unsettled in &status.unsettled[..conflicts] {
        conflict(&mut lines, status, unsettled)?;
    }
    more(&mut lines, status.unsettled.len() - conflicts, "more conflict")?;
    unexplained(&mut lines, status)?;
    out.write_all(&fit::words(&lines, status.screen, 2))
}

/// How many of `count` items are shown.
fn shown_of(all: bool, count: usize) -> usize {
    if all { count } else { count.min(ITEMS) }
}

fn more(out: &mut dyn Write, count: usize, what: &str) -> io::Result<()> {
    match count {
        0 => Ok(()),
        _ => writeln!(out, "and {} (-v lists all)", number(count, what)),
    }
}

/// The files that an interrupted run left open, for a person: the largest first, and only some unless `all`. With `all`,
/// their hidden files too.
///
/// # Errors
/// When `out` fails.
pub fn open_text(
    out: &mut dyn Write,
    (open, hidden): (&[OpenOp], &Hidden),
    all: bool,
) -> io::Result<()> {
    let files = number(open.len(), "file");
    writeln!(out, "{files} open (mergerfs.xdedup resume finishes or puts back each):")?;
    let mut by_size: Vec<&OpenOp> = open.iter().collect();
    by_size.sort_by_key(|op| std::cmp::Reverse(op.intent.bytes));
    let (listed, others) = by_size.split_at(shown_of(all, by_size.len()));
    for op in listed {
        let names = &op.intent.names;
        let path = |at: usize| shown(&op.run.pool.join(names[at].path.as_path()));
        let further = match names.len() {
            0 => continue,
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        writeln!(out, "  {:>10}  {}{further}", size(op.intent.bytes), path(0))?;
        for at in 1..if all { names.len() } else { 1 } {
            writeln!(out, "              {}", path(at))?;
        }
        for file in hidden.get(&op.intent.op).into_iter().flatten().filter(|_| all) {
            writeln!(out, "              hidden file {}", shown(file))?;
        }
    }
    more_files(out, "  ", others.iter().map(|op| op.intent.bytes))
}

/// The same as one JSON object of type `open`.
///
/// # Errors
/// When `out` fails.
pub fn open_json(out: &mut dyn Write, open: &[OpenOp], hidden: &Hidden) -> io::Result<()> {
    let mut object = typed("open");
    object.insert("open".into(), open_ops(open, hidden));
    line(out, object)
}

fn open_ops(open: &[OpenOp], hidden: &Hidden) -> Value {
    let of = |op: &OpenOp| {
        let mut object = Object::new();
        put_op(&mut object, op.intent.op);
        let names = op.intent.names.iter().map(|name| op.run.pool.join(name.path.as_path()));
        put_paths(&mut object, "names", names.collect());
        let hidden = hidden.get(&op.intent.op).cloned().unwrap_or_default();
        put_paths(&mut object, "hidden", hidden);
        Value::Object(object)
    };
    open.iter().map(of).collect()
}

fn last_run(out: &mut dyn Write, run: &RunSummary) -> io::Result<()> {
    let end = match run.ended {
        Some(_) => "ended in good order",
        None => "did not end in good order",
    };
    let (time, pool) = (rfc3339(run.started.time), whole(&run.started.pool));
    writeln!(out, "run {} of {time} on {pool} {end}", run.started.run)?;
    let counts = nonzero(&[
        (run.done, "done"),
        (run.shared, "sharing blocks"),
        (run.restored, "put back"),
        (run.conflicts, "in conflict"),
        (run.open, "open"),
    ]);
    match counts.is_empty() {
        true => writeln!(out, "  no file begun"),
        false => writeln!(out, "  {}; {} freed", counts.join(", "), size(run.reclaimed)),
    }
}

fn conflict(out: &mut dyn Write, status: &Status<'_>, unsettled: &Unsettled) -> io::Result<()> {
    let OpId { run, seq } = unsettled.op;
    let why = unsettled.why.strip_prefix("conflict: ").unwrap_or(&unsettled.why);
    let why = sanitised(why.as_bytes());
    writeln!(out, "conflict: {why} (run {run}, file {seq})")?;
    for hidden in &unsettled.hidden {
        let HiddenFile { file, pool_path, keep_as } = hidden;
        writeln!(out, "  hidden file {}", whole(&file.path))?;
        let was = was_at(pool_path.as_deref());
        writeln!(out, "    {}{was}", figures(file, status.now))?;
        settle(out, status, file, keep_as.as_deref())?;
    }
    for path in &unsettled.twice {
        twice(out, status, path)?;
    }
    for path in &unsettled.not_looked_at {
        writeln!(
            out,
            "  not looked at: {}: its disk is not mounted, or cannot be read",
            whole(path)
        )?;
    }
    Ok(())
}

/// The commands for a hidden file.
fn settle(
    out: &mut dyn Write,
    status: &Status<'_>,
    file: &FileNow,
    keep_as: Option<&Path>,
) -> io::Result<()> {
    if let Some(to) = keep_as {
        writeln!(out, "    keep it:    {}", fit::whole(&keep(&file.path, to)))?;
    }
    writeln!(out, "    discard it: {}", fit::whole(&discard(status, &file.path)))
}

fn twice(out: &mut dyn Write, status: &Status<'_>, twice: &Twice) -> io::Result<()> {
    let path = whole(&twice.pool_path);
    let disks = match twice.files.len() {
        2 => "two disks".to_owned(),
        more => format!("{more} disks"),
    };
    let equal = match twice.equal {
        Some(true) if twice.metadata.is_some() => {
            "the files have the same bytes, but not the same owner, permissions or attributes"
        }
        Some(true) => "the files have the same bytes",
        Some(false) => "the files differ",
        None => "the files were not compared",
    };
    writeln!(out, "  {path} is on {disks}; {equal}")?;
    for TwiceFile { file, shown: s, .. } in &twice.files {
        let note = match s {
            Some(true) => "; the pool shows this file",
            Some(false) => "; the pool does not show this file",
            None => "",
        };
        let figures = figures(file, status.now);
        writeln!(out, "    {}: {figures}{note}", whole(&file.path))?;
    }
    if let (None, [a, b]) = (twice.equal, &twice.files[..]) {
        let (a, b) = (word(&a.file.path), word(&b.file.path));
        writeln!(out, "    compare:    {}", fit::whole(&format!("cmp {a} {b}")))?;
    }
    let unknown = twice.files.iter().all(|file| file.shown.is_none());
    if unknown {
        writeln!(
            out,
            "    the pool does not say which file it shows: remove one of them only, the one you do not want"
        )?;
    }
    if let Some(how) = &twice.metadata {
        let how = sanitised(how.as_bytes());
        writeln!(
            out,
            "    a program may have changed one of them: {how}; before you remove one, see that the other has the owner, \
             permissions and attributes that you want"
        )?;
    }
    let same = twice.equal == Some(true) && twice.metadata.is_none();
    for other in &twice.files {
        if other.shown == Some(true) {
            continue;
        }
        let keep_as = other.keep_as.as_ref().filter(|_| !same);
        if let Some(to) = keep_as {
            let command = fit::whole(&keep(&other.file.path, to));
            writeln!(out, "    keep both:  {command}")?;
        }
        writeln!(out, "    remove it:  {}", fit::whole(&remove(&other.file.path)))?;
    }
    Ok(())
}

fn unexplained(out: &mut dyn Write, status: &Status<'_>) -> io::Result<()> {
    let names = shown_of(status.all, status.unexplained.len());
    for unexplained in &status.unexplained[..names] {
        let file = &unexplained.file;
        let was = was_at(unexplained.pool_path.as_deref());
        let words = sanitised(file.words().as_bytes());
        let whose = match unexplained.origin {
            Origin::LeftBehind(_) | Origin::Renamed(_) | Origin::Forgotten(_) => "left behind",
            Origin::NeverRun(_) | Origin::OtherJournal(_) | Origin::Unreadable => {
                "this journal does not explain"
            }
        };
        writeln!(out, "{whose}: {words}")?;
        if file.kind == FileKind::Regular {
            writeln!(out, "    {}{was}", figures(file, status.now))?;
        }
        writeln!(out, "    {}", came_from(unexplained.origin))?;
        if unexplained.can_be_discarded() {
            settle(out, status, file, unexplained.keep_as.as_deref())?;
        }
    }
    more(out, status.unexplained.len() - names, "more hidden name")?;
    let foreign =
        |it: &Unexplained| matches!(it.origin, Origin::OtherJournal(_) | Origin::Unreadable);
    if status.unexplained.iter().any(foreign) {
        writeln!(
            out,
            "names of another journal: `resume` with its --journal ends what it left; if that journal is lost, \
             `mergerfs.xdedup --journal NEW-DIRECTORY resume --salvage POOL` shows what can be done"
        )?;
    }
    let discards = status.unsettled.iter().any(|it| !it.hidden.is_empty());
    if discards || status.unexplained.iter().any(Unexplained::can_be_discarded) {
        writeln!(
            out,
            "without -e, `resume --discard PATH` only shows what it would remove, and whether it is the last copy"
        )?;
    }
    for branch in &status.not_mounted {
        let branch = whole(branch);
        writeln!(out, "not looked at for hidden names: {branch}: its disk is not mounted")?;
    }
    if status.partly {
        writeln!(
            out,
            "hidden names were looked for in the uppermost directories only; `mergerfs.xdedup doctor` looks everywhere"
        )?;
    }
    Ok(())
}

fn came_from(origin: Origin) -> String {
    match origin {
        Origin::LeftBehind(op) => {
            format!("run {} of this journal left it; its replacement has ended", op.run)
        }
        Origin::Renamed(op) => format!(
            "run {} of this journal left it: the directory was renamed or moved while the run worked in it",
            op.run
        ),
        Origin::Forgotten(op) => format!(
            "run {} of this journal left it; the journal has forgotten that run (history --prune)",
            op.run
        ),
        Origin::NeverRun(op) => format!(
            "its name is of this journal, which has no file {} of a run {}: another program made it, or the journal is an older copy",
            op.seq, op.run
        ),
        Origin::OtherJournal(id) => format!("its name is of another journal, {id:08x}"),
        Origin::Unreadable => {
            "its name is of no journal: an old version or another program made it".to_owned()
        }
    }
}

fn origin_word(origin: Origin) -> (&'static str, Option<OpId>) {
    match origin {
        Origin::LeftBehind(op) => ("left-behind", Some(op)),
        Origin::Renamed(op) => ("renamed", Some(op)),
        Origin::Forgotten(op) => ("forgotten", Some(op)),
        Origin::NeverRun(op) => ("never-run", Some(op)),
        Origin::OtherJournal(_) => ("other-journal", None),
        Origin::Unreadable => ("unreadable", None),
    }
}

fn shown(path: &Path) -> String {
    sanitised(path.as_os_str().as_bytes())
}

/// A path in a line that may be broken.
fn whole(path: &Path) -> String {
    fit::whole(&shown(path))
}

fn figures(file: &FileNow, now: Timestamp) -> String {
    let ago = ago(now.secs, file.modified.secs);
    format!("{}, last written {ago}", size(file.size))
}

fn was_at(pool_path: Option<&Path>) -> String {
    pool_path.map_or(String::new(), |path| format!("; its path was {}", whole(path)))
}

fn word(path: &Path) -> String {
    shell_word(path.as_os_str().as_bytes())
}

fn keep(path: &Path, to: &Path) -> String {
    format!("mv -n {} {}", word(path), word(to))
}

fn remove(path: &Path) -> String {
    format!("rm -- {}", word(path))
}

fn discard(status: &Status<'_>, path: &Path) -> String {
    let journal = with_journal(status.journal.as_deref());
    format!("mergerfs.xdedup {journal}resume --discard {} -e", word(path))
}

/// The status as one JSON object.
///
/// # Errors
/// When `out` fails.
pub fn json(out: &mut dyn Write, status: &Status<'_>) -> io::Result<()> {
    let run = status.last.map(|run| {
        let mut figures = history::figures(run);
        figures["ended"] = run.ended.is_some().into();
        figures
    });
    let mut object = typed("status");
    object.insert("last_run".into(), run.into());
    object.insert("open".into(), open_ops(&status.open, &status.hidden));
    let conflicts = status.unsettled.iter().map(|it| conflict_json(status, it));
    object.insert("conflicts".into(), conflicts.collect());
    let names = status.unexplained.iter().map(|it| it.file.path.clone());
    put_paths(&mut object, "unexplained_names", names.collect());
    let unexplained = status.unexplained.iter();
    let unexplained = unexplained.map(|it| unexplained_json(status, it));
    object.insert("unexplained".into(), unexplained.collect());
    put_paths(&mut object, "not_mounted", status.not_mounted.clone());
    let everywhere = !status.partly && status.not_mounted.is_empty();
    object.insert("looked_everywhere".into(), everywhere.into());
    line(out, object)
}

fn conflict_json(status: &Status<'_>, unsettled: &Unsettled) -> Value {
    let mut object = Object::new();
    put_op(&mut object, unsettled.op);
    object.insert("why".into(), unsettled.why.as_str().into());
    let hidden = unsettled.hidden.iter().map(|it| &it.file);
    let twice = unsettled.twice.iter().flat_map(|it| &it.files);
    let left = hidden.chain(twice.map(|it| &it.file));
    put_paths(&mut object, "left", left.map(|it| it.path.clone()).collect());
    let hidden = unsettled.hidden.iter().map(|it| {
        let mut place = file_json(&it.file);
        place.insert("hidden".into(), true.into());
        put_settling(&mut place, status, &it.file, (&it.pool_path, &it.keep_as));
        Value::Object(place)
    });
    let twice = unsettled.twice.iter().flat_map(twice_json);
    object.insert("places".into(), hidden.chain(twice).collect());
    put_paths(&mut object, "not_looked_at", unsettled.not_looked_at.clone());
    Value::Object(object)
}

fn twice_json(twice: &Twice) -> impl Iterator<Item = Value> + '_ {
    twice.files.iter().map(|it| {
        let mut place = file_json(&it.file);
        place.insert("hidden".into(), false.into());
        put_path(&mut place, "pool_path", &twice.pool_path);
        place.insert("shown".into(), it.shown.into());
        place.insert("equal".into(), twice.equal.into());
        place.insert("metadata".into(), twice.metadata.clone().into());
        if it.shown != Some(true) {
            place.insert("remove".into(), remove(&it.file.path).into());
            let keep = it.keep_as.as_ref().map(|to| keep(&it.file.path, to));
            place.insert("keep".into(), keep.into());
        }
        Value::Object(place)
    })
}

fn unexplained_json(status: &Status<'_>, unexplained: &Unexplained) -> Value {
    let file = &unexplained.file;
    let mut object = file_json(file);
    put_path(&mut object, "directory", file.dir());
    let kind = match file.kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Other => "other",
    };
    object.insert("kind".into(), kind.into());
    let (origin, op) = origin_word(unexplained.origin);
    object.insert("origin".into(), origin.into());
    if let Some(op) = op {
        put_op(&mut object, op);
    }
    if unexplained.can_be_discarded() {
        let known = (&unexplained.pool_path, &unexplained.keep_as);
        put_settling(&mut object, status, file, known);
    }
    Value::Object(object)
}

fn put_settling(
    object: &mut Object,
    status: &Status<'_>,
    file: &FileNow,
    (pool_path, keep_as): (&Option<PathBuf>, &Option<PathBuf>),
) {
    if let Some(path) = pool_path {
        put_path(object, "pool_path", path);
    }
    let keep = keep_as.as_ref().map(|to| keep(&file.path, to));
    object.insert("keep".into(), keep.into());
    object.insert("discard".into(), discard(status, &file.path).into());
}

fn file_json(file: &FileNow) -> Object {
    let mut object = Object::new();
    put_path(&mut object, "path", &file.path);
    object.insert("size".into(), file.size.into());
    object.insert("inode".into(), file.ino.into());
    object.insert("modified".into(), rfc3339(file.modified).into());
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> FileNow {
        FileNow {
            path: path.into(),
            kind: FileKind::Regular,
            ino: 12,
            size,
            modified: Timestamp { secs: 1_000_000, nanos: 0 },
        }
    }

    fn status() -> Status<'static> {
        let op = OpId { run: 3, seq: 7 };
        let side = |path: &str, shown| TwiceFile {
            file: file(path, 8),
            shown: Some(shown),
            keep_as: (!shown).then(|| format!("{path}.recovered").into()),
        };
        let conflict = Unsettled {
            op,
            why: "the master was written to".into(),
            hidden: vec![HiddenFile {
                file: file("/mnt/d2/it's/.xdedup-r", 2048),
                pool_path: Some("/pool/it's/a".into()),
                keep_as: Some("/mnt/d2/it's/a.recovered".into()),
            }],
            twice: vec![Twice {
                pool_path: "/pool/b".into(),
                files: vec![side("/mnt/d1/b", true), side("/mnt/d2/b", false)],
                equal: Some(false),
                metadata: None,
            }],
            not_looked_at: vec!["/mnt/d3/.xdedup-t".into()],
        };
        Status {
            unsettled: vec![conflict],
            unexplained: vec![Unexplained {
                file: file("/mnt/d2/dd/.xdedup-q", 1),
                origin: Origin::Renamed(op),
                pool_path: None,
                keep_as: Some("/mnt/d2/dd/q".into()),
            }],
            not_mounted: vec!["/mnt/d3".into()],
            now: Timestamp { secs: 1_000_000 + 7_200, nanos: 0 },
            ..Status::default()
        }
    }

    fn said(status: &Status<'_>) -> String {
        let mut out = Vec::new();
        text(&mut out, status).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_person_reads_each_place_and_the_commands_that_settle_it() {
        let expected = r"no run yet
nothing is open
conflict: the master was written to (run 3, file 7)
  hidden file /mnt/d2/it's/.xdedup-r
    2.0 KiB, last written 2 hours ago; its path was /pool/it's/a
    keep it:    mv -n '/mnt/d2/it'\''s/.xdedup-r' '/mnt/d2/it'\''s/a.recovered'
    discard it: mergerfs.xdedup resume --discard '/mnt/d2/it'\''s/.xdedup-r' -e
  /pool/b is on two disks; the files differ
    /mnt/d1/b: 8 B, last written 2 hours ago; the pool shows this file
    /mnt/d2/b: 8 B, last written 2 hours ago; the pool does not show this file
    keep both:  mv -n '/mnt/d2/b' '/mnt/d2/b.recovered'
    remove it:  rm -- '/mnt/d2/b'
  not looked at: /mnt/d3/.xdedup-t: its disk is not mounted, or cannot be read
left behind: hidden file .xdedup-q in /mnt/d2/dd (inode 12)
    1 B, last written 2 hours ago
    run 3 of this journal left it: the directory was renamed or moved while the run worked in it
    keep it:    mv -n '/mnt/d2/dd/.xdedup-q' '/mnt/d2/dd/q'
    discard it: mergerfs.xdedup resume --discard '/mnt/d2/dd/.xdedup-q' -e
without -e, `resume --discard PATH` only shows what it would remove, and whether it is the last copy
not looked at for hidden names: /mnt/d3: its disk is not mounted
";
        assert_eq!(said(&status()), expected);
    }

    #[test]
    fn lines_fit_a_terminal_but_for_paths_and_commands_which_stay_whole() {
        let mut status = status();
        status.unsettled[0].hidden[0].file.path = "/mnt/d2/a directory/of it/.xdedup-r".into();
        status.screen.width = Some(60);
        let narrow = said(&status);
        assert!(narrow.contains("  hidden file /mnt/d2/a directory/of it/.xdedup-r\n"), "{narrow}");
        assert!(
            narrow.contains("    discard it:\n      mergerfs.xdedup resume --discard '/mnt/d2/a")
        );
        let wide: Vec<_> = narrow.lines().filter(|line| line.chars().count() > 60).collect();
        assert!(wide.iter().all(|line| line.starts_with("      m")), "{wide:?}");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        status.screen = Screen::default();
        assert_eq!(words(&narrow), words(&said(&status)));
    }

    #[test]
    fn commands_name_a_journal_that_is_elsewhere_and_equal_files_need_no_second_name() {
        let mut status = status();
        status.journal = Some("/srv/j k".into());
        status.unsettled[0].twice[0].equal = Some(true);
        let said = said(&status);
        let command = "mergerfs.xdedup --journal '/srv/j k' resume --discard ";
        assert_eq!(said.matches(command).count(), 2, "{said}");
        assert!(!said.contains("keep both"), "{said}");
        assert!(said.contains("have the same bytes"), "{said}");
        status.unsettled[0].twice[0].metadata = Some("mode-differs (0600; kept copy: 0644)".into());
        let changed = self::said(&status);
        assert!(changed.contains("before you remove one") && changed.contains("0600"), "{changed}");
        assert!(changed.contains("keep both"), "{changed}");
        status.unsettled[0].twice[0].metadata = None;
        status.unsettled[0].twice[0].equal = None;
        let said = self::said(&status);
        assert!(said.contains("    compare:    cmp '/mnt/d1/b' '/mnt/d2/b'\n"));
        assert!(said.contains("keep both"), "{said}");
    }

    #[test]
    fn another_journals_name_is_not_offered_for_removal() {
        let mut status = status();
        status.unsettled.clear();
        status.unexplained[0].origin = Origin::OtherJournal(0xab);
        let said = said(&status);
        assert!(said.contains("this journal does not explain: hidden file "));
        assert!(said.contains("of another journal, 000000ab"), "{said}");
        assert!(said.contains("resume --salvage"), "{said}");
        assert!(!said.contains("--discard"), "{said}");
    }

    #[test]
    fn a_program_reads_the_same() {
        let mut out = Vec::new();
        json(&mut out, &status()).unwrap();
        let read: Value = serde_json::from_slice(&out).unwrap();
        let conflict = &read["conflicts"][0];
        assert_eq!((&conflict["run"], &conflict["op"]), (&3.into(), &7.into()));
        assert_eq!(conflict["left"].as_array().unwrap().len(), 3);
        let [hidden, first, second] = &conflict["places"].as_array().unwrap()[..] else {
            panic!("{conflict}");
        };
        assert_eq!((&hidden["size"], &hidden["hidden"]), (&2048.into(), &true.into()));
        assert_eq!(first["shown"], true);
        assert!(first.get("remove").is_none());
        assert_eq!(second["remove"], "rm -- '/mnt/d2/b'");
        assert_eq!(second["equal"], false);
        assert_eq!(conflict["not_looked_at"][0], "/mnt/d3/.xdedup-t");
        let stray = &read["unexplained"][0];
        assert_eq!((&stray["origin"], &stray["inode"]), (&"renamed".into(), &12.into()));
        assert_eq!(stray["directory"], "/mnt/d2/dd");
        assert_eq!(read["looked_everywhere"], false);
    }
}
