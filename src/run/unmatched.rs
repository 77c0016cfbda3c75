//! Warns of what the user named and nothing is found by: a directory without files, a glob that matches no path.

use crate::find::filter::Filter;
use crate::plan::group::Group;
use crate::pool::Pool;
use crate::pool::relpath::RelPath;

/// Warns of directories below which a scan met no file.
pub(super) fn directories(pool: &Pool, empty: &[RelPath]) {
    for dir in empty {
        let dir = pool.path_of(dir);
        tracing::warn!(
            ?dir,
            "there is no file below this directory on the disks that were scanned"
        );
    }
}

/// Warns of primaries below which no file of a list lies.
pub(super) fn primaries(pool: &Pool, primaries: &[RelPath], groups: &[Group]) {
    if groups.is_empty() {
        return;
    }
    let names = || groups.iter().flat_map(|group| &group.members).flat_map(|m| &m.names);
    for primary in primaries {
        if !names().any(|name| name.path.is_below(primary)) {
            let primary = pool.path_of(primary);
            tracing::warn!(?primary, "no file of the list lies below this primary");
        }
    }
}

/// Warns of globs that no path has matched.
pub(super) fn globs(filter: &Filter) {
    let (include, exclude) = filter.unmatched();
    for (option, globs) in [("-I", include), ("-E", exclude)] {
        for glob in globs {
            tracing::warn!("{option} {glob:?} matches no file");
        }
    }
}
