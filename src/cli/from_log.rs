//! `resume --from-log`: what the old script deleted and did not link comes back as links.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::args::{Common, ResumeArgs};
use super::failure::Failure;
use super::stdout::stdout;
use crate::find::list;
use crate::report::sanitised;
use crate::rescue::old_script::{Relinked, Relinker, unfinished};
use crate::run::real_path::below_pool;
use crate::run::{RunError, Session, Site, base, find_pool};

pub(super) fn run(
    common: &Common,
    args: &ResumeArgs,
    (log, manifest): (&Path, &Path),
) -> Result<u8, Failure> {
    let bytes = std::fs::read(log)
        .map_err(|error| Failure::usage(format!("cannot read the log {log:?}: {error}")))?;
    let lost = unfinished(&bytes)
        .map_err(|why| Failure::usage(format!("not a log of the old script: {log:?}: {why}")))?;
    let mut out = stdout();
    let unreadable = lost.unreadable.len();
    warn_of(&lost.unreadable);
    if lost.paths.is_empty() {
        writeln!(out, "nothing is unfinished").map_err(Failure::output)?;
        return Ok(u8::from(unreadable > 0));
    }
    let (base, groups) = read_list(args, manifest)?;
    let paths = groups.iter().flat_map(|(_, paths)| paths);
    let pool = find_pool::of_first(paths.map(PathBuf::as_path)).map_err(no_hint)?;
    let session = Session::open(pool)?;
    let _lock = session.lock()?;
    let mut relinker = Relinker::new(&session.fs, &session.pool);
    for (size, paths) in groups {
        let paths = paths
            .iter()
            .filter_map(|path| below_pool(&session.pool, path));
        relinker.group(size, paths.collect());
    }
    let failed_log = |error| Failure::environment(format!("cannot write the log {log:?}: {error}"));
    let mut done = open_log(log, &bytes).map_err(failed_log)?;
    let mut counts = Counts::default();
    for raw in lost.paths {
        let path = base.join(OsStr::from_bytes(&raw));
        let shown = match std::io::stdout().is_terminal() {
            true => sanitised(&raw).into_bytes(),
            false => raw.clone(),
        };
        let became = match below_pool(&session.pool, &path) {
            Some(path) => relinker.relink(&path),
            None => Relinked::Failed("not on the pool".to_owned()),
        };
        if matches!(became, Relinked::Linked(_)) {
            note_linked(&mut done, &raw).map_err(failed_log)?;
        }
        let why = counts.take(became);
        if !common.quiet || why.starts_with("lost") || why.starts_with("not") {
            out.write_all(&shown).map_err(Failure::output)?;
            writeln!(out, ": {why}").map_err(Failure::output)?;
        }
    }
    let Counts {
        linked,
        there,
        failed,
    } = counts;
    writeln!(
        out,
        "{linked} linked again, {there} were there, {failed} not linked"
    )
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    Ok(u8::from(failed + unreadable > 0))
}

/// How many paths ended in which way.
#[derive(Default)]
struct Counts {
    linked: usize,
    there: usize,
    failed: usize,
}

impl Counts {
    /// Counts what became of a path; returns the words for it.
    fn take(&mut self, became: Relinked) -> String {
        let (count, why) = match became {
            Relinked::Linked(_) => (&mut self.linked, "linked".to_owned()),
            Relinked::There => (&mut self.there, "there".to_owned()),
            Relinked::NoMaster => (
                &mut self.failed,
                "lost: no file of its group is left, or the list does not name it".to_owned(),
            ),
            Relinked::Differ => (
                &mut self.failed,
                "not linked: the files of its group that are left are not equal".to_owned(),
            ),
            Relinked::Failed(why) => (&mut self.failed, format!("not linked: {why}")),
        };
        *count += 1;
        why
    }
}

fn warn_of(unreadable: &[Vec<u8>]) {
    if let Some(first) = unreadable.first() {
        let (lines, first) = (unreadable.len(), sanitised(first));
        tracing::warn!(
            lines,
            first,
            "not as the old script writes them: look at what they name by hand"
        );
    }
}

/// The log, to append to; a line that was cut short ends here.
fn open_log(log: &Path, bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::options().append(true).open(log)?;
    if bytes.last() != Some(&b'\n') {
        file.write_all(b"\r\n")?;
    }
    Ok(file)
}

/// The line the old script would have written, so that its log and a second call know.
fn note_linked(log: &mut File, path: &[u8]) -> std::io::Result<()> {
    let mut line = vec![b'"'];
    for b in path {
        line.extend(std::iter::repeat_n(*b, if *b == b'"' { 2 } else { 1 }));
    }
    line.extend(b"\",LINKED\r\n");
    log.write_all(&line)?;
    log.sync_data()
}

type Claimed = (Option<u64>, Vec<PathBuf>);

/// The whole list, before anything is changed, and where relative paths begin: those of the log, too.
fn read_list(args: &ResumeArgs, manifest: &Path) -> Result<(PathBuf, Vec<Claimed>), Failure> {
    let file = File::open(manifest)
        .map_err(|error| Failure::usage(format!("cannot open the list {manifest:?}: {error}")))?;
    let mut reader = list::open(Box::new(BufReader::new(file)), args.manifest_format)?;
    let mut groups = Vec::new();
    for group in &mut reader {
        groups.push(group?);
    }
    let base = base(args.base.as_deref(), reader.base_dir())?;
    let absolute = |path: &Vec<u8>| base.join(OsStr::from_bytes(path));
    let groups = groups.into_iter();
    let groups = groups
        .map(|group| (group.size, group.paths.iter().map(absolute).collect()))
        .collect();
    Ok((base, groups))
}

/// The hint of a run names options that are not those of this command.
fn no_hint(error: RunError) -> Failure {
    match error {
        error @ RunError::NoPathOnPool => Failure::environment(error.to_string()),
        error => error.into(),
    }
}
