//! The files that the user named (`--only`), and for each that is in no group, the reason.

use std::collections::{HashMap, HashSet};

use super::catalog::{Catalog, File, Stamp};
use super::skip::skipped;
use super::walk::Walked;
use super::{FoundGroup, Scan};
use crate::fs::{InodeId, Look, Place};
use crate::plan::refusal::Reason;
use crate::plan::{Only, Refusal};
use crate::pool::relpath::RelPath;

/// The files that the user named, as the walk met them.
pub(super) struct Named {
    files: Vec<NamedFile>,
    refusals: Vec<Refusal>,
}

/// A file that the user named, or a directory above it.
#[derive(Debug)]
struct NamedFile {
    place: Place,
    id: InodeId,
    stamp: Stamp,
    /// How many other files have its size.
    of_size: usize,
    /// How many of these may stay in its place: all, unless a copy under a primary is needed.
    eligible: usize,
    /// Another name of it.
    linked: Option<RelPath>,
}

impl Named {
    pub(super) fn of(scan: &Scan<'_>, only: &Only, walked: &Walked) -> Self {
        let catalog = &walked.catalog;
        let named = || catalog.files.iter().filter(|file| file.is_named());
        let sizes: HashSet<u64> = named().map(|file| file.stamp.size).collect();
        let mut alike: HashMap<u64, Vec<&File>> = HashMap::new();
        for file in catalog.files.iter().filter(|file| sizes.contains(&file.stamp.size)) {
            alike.entry(file.stamp.size).or_default().push(file);
        }
        let files = named().map(|file| {
            let alike = alike.get(&file.stamp.size).map_or(&[][..], Vec::as_slice);
            named_file(scan, catalog, file, alike)
        });
        Self { files: files.collect(), refusals: not_met(scan, only, walked) }
    }

    /// Returns a refusal for each file that is in none of `groups`, unless there is one in `refused`.
    pub(super) fn without_group(
        self,
        scan: &Scan<'_>,
        groups: &[FoundGroup],
        refused: &[Refusal],
    ) -> Vec<Refusal> {
        let members = groups.iter().flat_map(|found| &found.group.members);
        let grouped: HashSet<InodeId> = members.map(|member| member.id).collect();
        let refused: HashSet<&[u8]> = refused.iter().map(|r| r.path.as_slice()).collect();
        let mut refusals = self.refusals;
        let ungrouped = self.files.iter().filter(|file| {
            !grouped.contains(&file.id) && !refused.contains(file.place.path.as_bytes())
        });
        refusals.extend(ungrouped.map(|file| file.refusal(scan)));
        // A path on several branches is one path to the user.
        refusals.sort_by(|a, b| a.path.cmp(&b.path));
        refusals.dedup_by(|a, b| a.path == b.path);
        refusals
    }
}

fn named_file(scan: &Scan<'_>, catalog: &Catalog, file: &File, alike: &[&File]) -> NamedFile {
    let place = catalog.file_place(file);
    let inode = |file: &File| catalog.inode_of(file);
    let others =
        || alike.iter().filter(|other| inode(other) != inode(file) && !other.is_excluded());
    let count = |files: &mut dyn Iterator<Item = &&File>| {
        files.map(|file| inode(file)).collect::<HashSet<_>>().len()
    };
    let rules = scan.rules;
    let below = |path: &RelPath| path.is_below_any(&rules.primaries);
    let any = rules.primaries.is_empty() || rules.any_master || below(&place.path);
    let eligible = |other: &&&File| any || below(&catalog.file_place(other).path);
    let paths = alike.iter().filter(|other| inode(other) == inode(file));
    let mut paths = paths.map(|other| catalog.file_place(other).path);
    NamedFile {
        id: InodeId { dev: scan.dev_of(catalog.device_of(file)), ino: file.ino },
        stamp: file.stamp,
        of_size: count(&mut others()),
        eligible: count(&mut others().filter(eligible)),
        linked: paths.find(|path| *path != place.path),
        place,
    }
}

impl NamedFile {
    fn refusal(&self, scan: &Scan<'_>) -> Refusal {
        let (reason, mut detail) = self.reason(scan);
        if let Some(other) = self.linked.as_ref().filter(|_| reason == Reason::NoCopy) {
            detail.push_str(&format!("; {other:?} is a link to it already"));
        }
        Refusal::of_path(reason, self.place.path.as_bytes(), detail)
    }

    fn reason(&self, scan: &Scan<'_>) -> (Reason, String) {
        let size = self.stamp.size;
        let files = |count: usize| match count {
            1 => format!("the other file of {size} bytes"),
            count => format!("any of the {count} other files of {size} bytes"),
        };
        match scan.fs.stat(&self.place) {
            Ok(Some(stat)) if Stamp::of(&stat) == self.stamp => {}
            Ok(None) => return (Reason::Changed, "it is gone".to_owned()),
            _ => return (Reason::Changed, "it changed during the scan".to_owned()),
        }
        match (self.of_size, self.eligible) {
            (0, _) => (Reason::NoCopy, format!("no other scanned file has its size, {size} bytes")),
            (_, 0) => (
                Reason::NoCopy,
                format!("other scanned files have its size, {size} bytes, none of them below -p"),
            ),
            (_, count) if count < self.of_size => {
                (Reason::NoCopy, format!("not equal to {} below -p", files(count)))
            }
            (_, count) => (Reason::NoCopy, format!("not equal to {}", files(count))),
        }
    }
}

/// Returns a refusal for each named path at which the walk met no file.
fn not_met(scan: &Scan<'_>, only: &Only, walked: &Walked) -> Vec<Refusal> {
    let met: HashSet<&[u8]> = walked.named.iter().flat_map(|path| only.above(path)).collect();
    let missed = only.paths().into_iter().filter(|path| !met.contains(path));
    let refusals = missed.map(|path| {
        let (reason, detail) = why_not_met(scan, path);
        Refusal::of_path(reason, path, detail)
    });
    refusals.collect()
}

fn why_not_met(scan: &Scan<'_>, path: &[u8]) -> (Reason, &'static str) {
    let walked = |path: &RelPath| path.is_below_any(&scan.dirs);
    let holds = |path: &RelPath| scan.dirs.iter().any(|dir| dir.is_below(path));
    if path.split(|byte| *byte == b'/').any(skipped) {
        return (Reason::Excluded, "a scan skips names like this (--help lists them)");
    }
    if RelPath::new(path).is_ok_and(|path| !walked(&path) && !holds(&path)) {
        return (Reason::Outside, "");
    }
    (Reason::NoCopy, "no file there on the disks that were scanned (read-only ones are not)")
}
