//! Finds every name of an inode. Replacing one of two names frees no space, so an op replaces the whole link set.

use std::collections::{HashMap, HashSet};

use crate::find::facts::root_of;
use crate::fs::real::RealFs;
use crate::fs::{FileKind, FsError, InodeId, Look, Place};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// The names found, by inode.
#[derive(Debug, Default)]
pub struct FoundLinks {
    /// Where each wanted inode has names.
    pub names: HashMap<InodeId, Vec<(BranchIdx, RelPath)>>,
    /// Directories that could not be read: names in these directories stay unknown.
    pub unreadable: Vec<FsError>,
}

/// Walks the branches on the devices of `wanted` for their names.
///
/// Directory entries carry inode numbers, so only candidates are looked up. The walk follows no symlink and crosses no
/// mount point.
pub fn find(fs: &RealFs, pool: &Pool, wanted: &HashSet<InodeId>) -> FoundLinks {
    let devices: HashSet<u64> = wanted.iter().map(|id| id.dev).collect();
    let mut found = FoundLinks::default();
    for branch in pool.indices().filter(|b| devices.contains(&fs.root_id(*b).dev)) {
        let mut stack = vec![root_of(branch)];
        while let Some(dir) = stack.pop() {
            if let Err(error) = look_into(fs, &dir, wanted, &mut stack, &mut found) {
                found.unreadable.push(error);
            }
        }
    }
    found
}

fn look_into(
    fs: &RealFs,
    dir: &Place,
    wanted: &HashSet<InodeId>,
    stack: &mut Vec<Place>,
    found: &mut FoundLinks,
) -> Result<(), FsError> {
    let dev = fs.root_id(dir.branch).dev;
    for entry in fs.list_dir(dir)? {
        let candidate = wanted.contains(&InodeId { dev, ino: entry.ino });
        if !candidate && !matches!(entry.kind, Some(FileKind::Directory) | None) {
            continue;
        }
        let name = std::ffi::OsString::from(
            <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&entry.name),
        );
        let Ok(path) = dir.path.join(name) else {
            continue;
        };
        let place = Place::new(dir.branch, path);
        let kind = match (entry.kind, candidate) {
            (Some(kind), false) => kind,
            _ => match fs.stat(&place) {
                Ok(Some(stat)) if wanted.contains(&stat.id) => {
                    let names = found.names.entry(stat.id).or_default();
                    names.push((place.branch, place.path.clone()));
                    stat.kind
                }
                Ok(Some(stat)) => stat.kind,
                Ok(None) => continue,
                // The names below a mount point are on another device.
                Err(error) if matches!(error.errno(), libc::EXDEV | libc::ELOOP) => continue,
                Err(error) => return Err(error),
            },
        };
        if kind == FileKind::Directory {
            stack.push(place);
        }
    }
    Ok(())
}
