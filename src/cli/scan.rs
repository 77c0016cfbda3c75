//! The own scan on its way in: directories to relpaths, the cache opened, the branches scanned.

use std::io::{BufWriter, Write};

use super::args::{Common, RunArgs};
use super::failure::Failure;
use super::list::discover;
use super::output_file::{self, OutputFile};
use super::session::{Session, own_dir};
use super::signals::Signals;
use crate::find::filter::Filter;
use crate::find::resolve::{self, Resolved};
use crate::find::scan::{Around, Cache, Found, Meter, Scan, ScanError};
use crate::fs::Fs;
use crate::plan::Rules;
use crate::pool::Pool;
use crate::pool::relpath::RelPath;
use crate::report::{ScanProgress, groups, size};

/// The pool of the directories to scan.
pub(super) fn pool(args: &RunArgs) -> Result<Pool, Failure> {
    let Some(dir) = args.dirs.first() else {
        return Err(Failure::usage("no directory to scan")
            .hint("name one on the pool; or give a list of duplicates with -m LIST"));
    };
    discover(dir, args)
}

/// Finds the duplicates; `None` where a signal stopped the scan.
pub(super) fn find(
    session: &Session,
    (filter, rules): (&Filter, &Rules),
    (common, args): (&Common, &RunArgs),
    signals: &Signals,
) -> Result<Option<Resolved>, Failure> {
    let dirs = directories(session, args)?;
    let begin = |path| OutputFile::begin(path, output_file::GROUPS);
    // Before hours of reading.
    let listed = args.groups.as_deref().map(begin).transpose()?;
    let cache = open_cache(session, args)?;
    let meter = Meter::default();
    let interrupted = || signals.asked() || signals.time_is_up();
    let around = Around {
        cache: cache.as_ref(),
        meter: &meter,
        interrupted: &interrupted,
    };
    let branches = (&session.fs, &session.pool, session.facts.as_slice());
    let scan = Scan::new(branches, &dirs, (filter, rules), around);
    let shown = !args.no_progress && !common.quiet;
    let found = ScanProgress::new(&meter, shown).around(|| scan.run());
    // What was read is kept, whatever ended the scan.
    if let Some(cache) = cache {
        cache.close();
    }
    match found {
        Ok(found) => {
            tell(&found);
            if let Some(listed) = listed {
                write_groups(session, args, &found, listed)?;
            }
            Ok(Some(resolved(found)))
        }
        Err(ScanError::Interrupted) => Ok(None),
        Err(error @ ScanError::TooManyDirectories) => Err(Failure::environment(error.to_string())),
    }
}

fn directories(session: &Session, args: &RunArgs) -> Result<Vec<RelPath>, Failure> {
    let mut dirs = Vec::new();
    for dir in &args.dirs {
        if !dir.is_dir() {
            return Err(Failure::usage(format!("not a directory: {dir:?}")));
        }
        let path = resolve::pool_directory(&session.pool, dir)
            .map_err(|error| Failure::usage(error.to_string()))?;
        dirs.push(path.ok_or_else(|| {
            let mount = &session.pool.mount;
            Failure::usage(format!("{dir:?} is not on the pool {mount:?}"))
                .hint("scan one pool at a time")
        })?);
    }
    Ok(dirs)
}

/// Without a cache a scan is slower and nothing else: what is wrong with it is a warning.
fn open_cache(session: &Session, args: &RunArgs) -> Result<Option<Cache>, Failure> {
    if args.no_cache {
        return Ok(None);
    }
    let default = || own_dir("/var/cache", "XDG_CACHE_HOME", ".cache");
    let Some(dir) = args.cache.clone().or_else(default) else {
        tracing::warn!("no place for the hash cache: neither XDG_CACHE_HOME nor HOME is set");
        return Ok(None);
    };
    session.outside("cache", &dir)?;
    match Cache::open(&dir) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "every file is read");
            Ok(None)
        }
    }
}

fn write_groups(
    session: &Session,
    args: &RunArgs,
    found: &Found,
    listed: OutputFile,
) -> Result<(), Failure> {
    let left_out = listed.finish(|out| {
        let mut out = BufWriter::new(out);
        let dirs = args.dirs.iter().map(std::path::absolute);
        let dirs = dirs.collect::<Result<Vec<_>, _>>()?;
        let about = (&session.pool, dirs.as_slice());
        let now = session.fs.now();
        let left_out = groups::write(&mut out, args.groups_format, about, &found.groups, now)?;
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

fn tell(found: &Found) {
    let (counts, left_out) = (found.counts, found.left_out);
    tracing::info!(
        files = found.files,
        groups = found.groups.len(),
        read = counts.parts,
        bytes = size(counts.bytes),
        cached = counts.cached,
        "scanned"
    );
    if counts.changed > 0 {
        tracing::info!(files = counts.changed, "changed during the scan, left out");
    }
    if left_out.by_metadata > 0 {
        tracing::info!(
            files = left_out.by_metadata,
            "not read: every other file of their size has another owner or mode (--ignore-metadata)"
        );
    }
    if left_out.by_primary > 0 {
        tracing::info!(
            files = left_out.by_primary,
            "not read: no file of their size lies under a primary (--any-master)"
        );
    }
}

fn resolved(found: Found) -> Resolved {
    Resolved {
        claimed_groups: found.groups.len() as u64,
        groups: found.groups.into_iter().map(|found| found.group).collect(),
        refusals: found.refusals,
        asked_branches: false,
    }
}
