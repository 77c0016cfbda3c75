//! Different versions of one path: a scan reports them also where it finds no duplicate of them.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;

use super::catalog::{Catalog, File};
use super::{FoundGroup, Scan};
use crate::fs::{FsError, InodeId, Look, Place};
use crate::plan::Refusal;
use crate::plan::refusal::Reason;
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// How much of the beginning and of the end of two versions is compared.
const CHUNK: usize = 64 << 10;

/// A path that several branches have.
#[derive(Debug)]
pub(super) struct Copies {
    path: RelPath,
    on: Vec<Copy>,
}

impl Copies {
    pub(super) fn path(&self) -> &RelPath {
        &self.path
    }
}

#[derive(Debug, Clone, Copy)]
struct Copy {
    branch: BranchIdx,
    id: InodeId,
    size: u64,
}

/// Returns the paths of the catalog that several branches have.
pub(super) fn of(scan: &Scan<'_>, catalog: &Catalog) -> Vec<Copies> {
    let mut found = Vec::new();
    catalog.same_paths(|files: &[&File]| {
        let mut on: Vec<(RelPath, Copy)> = Vec::with_capacity(files.len());
        for file in files {
            let place = catalog.file_place(file);
            let id = InodeId { dev: scan.dev_of(catalog.device_of(file)), ino: file.ino };
            on.push((place.path, Copy { branch: place.branch, id, size: file.stamp.size }));
        }
        on.sort_by(|(a, x), (b, y)| (a, x.branch).cmp(&(b, y.branch)));
        for same in on.chunk_by(|(a, _), (b, _)| a == b) {
            // Nested branches show one file twice.
            let inodes: BTreeSet<InodeId> = same.iter().map(|(_, copy)| copy.id).collect();
            if inodes.len() > 1 {
                let on = same.iter().map(|(_, copy)| *copy).collect();
                found.push(Copies { path: same[0].0.clone(), on });
            }
        }
    });
    found
}

/// Returns a refusal for each path whose copies differ, and marks the names of `groups` that have such a path.
pub(super) fn differing(
    scan: &Scan<'_>,
    several: Vec<Copies>,
    groups: &mut [FoundGroup],
) -> Vec<Refusal> {
    let mut group_of: HashMap<InodeId, Option<usize>> =
        several.iter().flat_map(|copies| &copies.on).map(|copy| (copy.id, None)).collect();
    for (at, found) in groups.iter().enumerate() {
        for member in &found.group.members {
            if let Some(group) = group_of.get_mut(&member.id) {
                *group = Some(at);
            }
        }
    }
    let mut refusals = Vec::new();
    for copies in several {
        if (scan.interrupted)() {
            break;
        }
        let groups_of: Vec<Option<usize>> =
            copies.on.iter().map(|copy| group_of.get(&copy.id).copied().flatten()).collect();
        // The scan has read these as equal.
        if groups_of[0].is_some() && groups_of.iter().all(|group| *group == groups_of[0]) {
            continue;
        }
        match differ(scan, &copies) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                tracing::debug!(%error, cause = %error.source, "versions not compared");
                continue;
            }
        }
        for at in groups_of.into_iter().flatten().collect::<BTreeSet<_>>() {
            let members = groups[at].group.members.iter_mut();
            for name in members.flat_map(|member| &mut member.names) {
                name.differs |= name.path == copies.path;
            }
        }
        refusals.push(refusal(scan, &copies));
    }
    refusals
}

fn refusal(scan: &Scan<'_>, copies: &Copies) -> Refusal {
    let on = copies.on.iter().map(|copy| {
        let disk = scan.pool.branches[copy.branch.index()].path.as_os_str();
        format!("{} bytes on {}", copy.size, String::from_utf8_lossy(disk.as_bytes()))
    });
    // Nothing of different files could be freed.
    let detail = on.collect::<Vec<_>>().join(", ");
    Refusal::of_path(Reason::ShadowsDiffer, copies.path.as_bytes(), detail)
}

/// Whether the copies are known not to be equal: by their sizes, or by their beginnings and ends. A copy that differs only in
/// between is found where the scan reads both as possible duplicates.
fn differ(scan: &Scan<'_>, copies: &Copies) -> Result<bool, FsError> {
    let first = copies.on[0];
    if copies.on.iter().any(|copy| copy.size != first.size) {
        return Ok(true);
    }
    let open = |copy: &Copy| scan.fs.open(&Place::new(copy.branch, copies.path.clone()));
    let one = open(&first)?;
    for copy in copies.on.iter().filter(|copy| copy.id != first.id) {
        let other = open(copy)?;
        for offset in [0, first.size.saturating_sub(CHUNK as u64)] {
            let part = |file| {
                let mut buf = vec![0; CHUNK];
                let read = scan.fs.read_full(file, &mut buf, offset)?;
                buf.truncate(read);
                Ok::<_, FsError>(buf)
            };
            if part(&one)? != part(&other)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
