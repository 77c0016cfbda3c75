//! Finds the journals that disks of mounted pools know of, for commands that find no journal at its place.

use std::path::PathBuf;

use crate::pool::mergerfs;
use crate::run::{Noted, Session, find_pool, journals_noted};

/// Returns each journal that a disk of a mounted pool knows of, with the mount point of the pool. Skips pools that cannot be
/// looked at.
#[must_use]
pub fn everywhere() -> Vec<(PathBuf, Noted)> {
    let mut found = Vec::new();
    for mount in find_pool::all().unwrap_or_default() {
        let session = mergerfs::discover(&mount).ok().and_then(|pool| Session::open(pool).ok());
        let noted = session.map(|session| journals_noted(&session)).unwrap_or_default();
        found.extend(noted.into_iter().map(|noted| (mount.clone(), noted)));
    }
    found
}
