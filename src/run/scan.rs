//! The own scan on its way in: directories to relpaths, the cache opened, the branches scanned.

use super::request::{HashCache, ScanRequest};
use super::terms::Terms;
use super::{RunError, Session, Stop, Watcher, real_path, unmatched};
use crate::find::resolve::Resolved;
use crate::find::scan::{Around, Cache, Meter, Scan, ScanError, ScanResult};
use crate::fs::Look;
use crate::plan::Only;

/// Finds the duplicates; `None` if `stop` ended the scan.
pub(super) fn find(
    session: &Session,
    request: &ScanRequest,
    terms: &Terms,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<Option<Resolved>, RunError> {
    let unusable = terms.unusable.clone();
    if terms.rules.only.as_ref().is_some_and(Only::is_empty) {
        return Ok(Some(Resolved { refusals: unusable, ..Resolved::default() }));
    }
    let cache = open_cache(session, &request.cache)?;
    let meter = Meter::default();
    let interrupted = || stop.asked() || stop.time_is_up();
    let around = Around {
        cache: cache.as_ref(),
        meter: &meter,
        interrupted: &interrupted,
        to_compare: terms.execute,
    };
    let (filter, rules) = (&terms.filter, &terms.rules);
    let scan = Scan::new(&session.fs, &session.pool, &session.facts, filter, rules, around);
    let mut scan = Some(scan);
    let mut found = None;
    watcher.scanning(&meter, &mut || {
        if let Some(scan) = scan.take() {
            found = Some(scan.run());
        }
    });
    drop(scan);
    // Keeps the hashes that were read, however the scan ended.
    if let Some(cache) = cache {
        cache.close();
    }
    match found {
        Some(Ok(found)) => {
            unmatched::directories(&session.pool, &found.empty);
            unmatched::globs(filter);
            let now = session.fs.now();
            watcher.scanned(&session.pool, &found, now).map_err(RunError::Watcher)?;
            let mut resolved = resolved(found);
            resolved.refusals.splice(0..0, unusable);
            Ok(Some(resolved))
        }
        None | Some(Err(ScanError::Interrupted)) => Ok(None),
        Some(Err(error)) => Err(RunError::Scan(error)),
    }
}

/// Opens the cache. Without a cache a scan is only slower, so an unusable cache is a warning.
fn open_cache(session: &Session, wanted: &HashCache) -> Result<Option<Cache>, RunError> {
    let dir = match wanted {
        HashCache::Off => return Ok(None),
        HashCache::NoPlace => {
            tracing::warn!("no place for the hash cache: neither XDG_CACHE_HOME nor HOME is set");
            return Ok(None);
        }
        HashCache::At(dir) => dir,
    };
    real_path::outside(&session.pool, "cache", dir)?;
    match Cache::open(dir) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "every file is read");
            Ok(None)
        }
    }
}

fn resolved(found: ScanResult) -> Resolved {
    Resolved {
        claimed_groups: found.groups.len() as u64,
        groups: found.groups.into_iter().map(|found| found.group).collect(),
        refusals: found.refusals,
        left_out: found.left_out,
        asked_branches: false,
        hashed: found.hashed,
        hidden: found.hidden,
    }
}
