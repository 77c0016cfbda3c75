//! Other mounts: of the same pool in pieces, here and in containers, and other pools over the same branches.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::facts::{OtherPool, PartialView, Surroundings};
use crate::pool::mergerfs::{self, Description};
use crate::pool::mountinfo::{self, Mount};

pub(super) fn around(pool: &Description, mounts: &[Mount]) -> Surroundings {
    Surroundings { partial_views: partial_views(pool, mounts), other_pools: other_pools(pool) }
}

fn partial_views(pool: &Description, mounts: &[Mount]) -> Vec<PartialView> {
    let own = mounts.iter().rfind(|mount| mount.point == pool.mount);
    let Some(device) = own.map(|mount| mount.device) else {
        return Vec::new();
    };
    let here = pieces(mounts, device).map(|points| PartialView { process: None, points });
    let mut views: Vec<_> = here.into_iter().collect();
    for (pid, table) in other_namespaces() {
        if let Some(points) = pieces(&mountinfo::parse(&table), device) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let process = Some((pid, name.trim_end().to_owned()));
            views.push(PartialView { process, points });
        }
    }
    views
}

/// The mounts of one device that show the device in several pieces: the kernel refuses a link between two pieces.
fn pieces(mounts: &[Mount], device: (u32, u32)) -> Option<Vec<(PathBuf, PathBuf)>> {
    let ours = mounts.iter().filter(|mount| mount.device == device);
    let points: BTreeMap<_, _> =
        ours.map(|mount| (mount.point.clone(), mount.root.clone())).collect();
    (points.len() > 1).then(|| points.into_iter().collect())
}

/// The mount table of one process of each mount namespace that is not this process' own; skips processes that this
/// program may not look at.
fn other_namespaces() -> Vec<(u32, Vec<u8>)> {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/mnt"));
    let mut seen: HashSet<PathBuf> = namespace("self").into_iter().collect();
    let mut tables = Vec::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let is_new = namespace(&pid.to_string()).is_ok_and(|found| seen.insert(found));
        if let (true, Ok(table)) = (is_new, std::fs::read(format!("/proc/{pid}/mountinfo"))) {
            tables.push((pid, table));
        }
    }
    tables
}

fn other_pools(pool: &Description) -> Vec<OtherPool> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let own = pool.branches.iter().flatten();
    let own: HashSet<_> = own.map(|branch| real(&branch.path)).collect();
    let points = mergerfs::pools().unwrap_or_default();
    let others = points.into_iter().filter(|point| *point != pool.mount);
    others
        .filter_map(|point| mergerfs::describe(&point).ok())
        .flat_map(|other| {
            let branches = other.branches.unwrap_or_default().into_iter();
            let shared = branches.filter(|branch| own.contains(&real(&branch.path)));
            shared
                .map(|branch| OtherPool { mount: other.mount.clone(), branch: branch.path })
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mount_of_a_pool_is_whole_and_two_are_pieces() {
        let table = b"\
36 22 0:45 / /pool rw - fuse.mergerfs d rw\n\
37 22 0:45 /media /media rw - fuse.mergerfs d rw\n\
38 22 0:46 / /other rw - fuse.mergerfs e rw\n";
        let mounts = mountinfo::parse(table);
        assert_eq!(pieces(&mounts, (0, 46)), None);
        let expected = [("/media", "/media"), ("/pool", "/")];
        let expected = expected.map(|(point, root)| (point.into(), root.into()));
        assert_eq!(pieces(&mounts, (0, 45)), Some(expected.to_vec()));
    }
}
