//! Finds the disk under a branch, and whether the disk rotates: a rotating disk has one arm, and two readers would make it go
//! to and fro.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::RealFs;
use super::root::Root;
use crate::pool::BranchIdx;
use crate::pool::mountinfo::{self, Mount};

/// The disk under a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name of the disk; where no disk is known, the device number of the filesystem.
    pub name: String,
    /// Whether the kernel reports a rotating disk.
    pub rotating: bool,
}

impl RealFs {
    /// The disk under `branch`.
    #[must_use]
    pub fn disk(&self, branch: BranchIdx) -> &Disk {
        &self.disks.get_or_init(|| under(&self.branches))[branch.index()]
    }

    /// The first of the branches that share a reader with `branch`: those on the same rotating disk, whatever partitions they
    /// are, and elsewhere those on the same filesystem.
    #[must_use]
    pub fn reader_of(&self, branch: BranchIdx) -> BranchIdx {
        let shares = |other: &BranchIdx| {
            let (mine, its) = (self.disk(branch), self.disk(*other));
            (mine.rotating && mine == its) || self.root_id(branch).dev == self.root_id(*other).dev
        };
        let before = (0..branch.0).map(BranchIdx).find(shares);
        before.unwrap_or(branch)
    }
}

fn under(roots: &[Root]) -> Vec<Disk> {
    let mounts = mountinfo::read().unwrap_or_default();
    let disk = |root: &Root| {
        let dev = root.id.dev;
        let found = device_of(dev, root.mount, &mounts)
            .and_then(|device| whole_disk(Path::new("/sys"), device, RESOLVE_MAX));
        let (name, rotating) = found.unwrap_or_else(|| {
            tracing::debug!(path = ?root.path, dev, "its disk is not known; taken as one by itself");
            (format!("{}:{}", major(dev), minor(dev)), false)
        });
        Disk { name, rotating }
    };
    roots.iter().map(disk).collect()
}

/// Images on images, partitions of volumes: no deeper than this.
const RESOLVE_MAX: u32 = 8;

/// The block device of a filesystem. The device numbers of files on btrfs belong to no block device: the btrfs mount
/// names the real device.
fn device_of(dev: u64, mount: u64, mounts: &[Mount]) -> Option<(u64, u64)> {
    if major(dev) != 0 {
        return Some((major(dev), minor(dev)));
    }
    let source = &mounts.iter().find(|m| m.id == mount)?.source;
    let rdev = fs::metadata(source).ok()?.rdev();
    (rdev != 0).then(|| (major(rdev), minor(rdev)))
}

/// The disk that a partition, an image or a volume lies on, and whether it rotates.
fn whole_disk(sys: &Path, (major_of, minor_of): (u64, u64), depth: u32) -> Option<(String, bool)> {
    let link = sys.join(format!("dev/block/{major_of}:{minor_of}"));
    let mut dir = link.canonicalize().ok()?;
    if dir.join("partition").exists() {
        dir.pop();
    }
    if let Some(below) = below(&dir).filter(|_| depth > 0)
        && let Some(found) = whole_disk(sys, below, depth - 1)
    {
        return Some(found);
    }
    let name = dir.file_name()?.to_string_lossy().into_owned();
    let rotating = fs::read(dir.join("queue/rotational")).is_ok_and(|text| text.starts_with(b"1"));
    Some((name, rotating))
}

/// Returns the device under a device, if it is exactly one: the file behind a loop device, the only part of a mapped
/// device.
fn below(dir: &Path) -> Option<(u64, u64)> {
    if let Ok(file) = fs::read(dir.join("loop/backing_file")) {
        let file = file.strip_suffix(b"\n").unwrap_or(&file);
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(file);
        let dev = fs::metadata(path).ok()?.dev();
        return (major(dev) != 0).then(|| (major(dev), minor(dev)));
    }
    let mut parts = fs::read_dir(dir.join("slaves")).ok()?.flatten();
    let (only, None) = (parts.next()?, parts.next()) else {
        return None;
    };
    numbers(&only.path().join("dev"))
}

fn numbers(file: &PathBuf) -> Option<(u64, u64)> {
    let text = fs::read_to_string(file).ok()?;
    let (major_of, minor_of) = text.trim().split_once(':')?;
    Some((major_of.parse().ok()?, minor_of.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the stage with std::fs")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A `/sys` with a rotating disk `sda` (partition 8:1), an SSD `nvme0n1`, and a mapped device over `sda1`.
    fn sysfs() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        for (path, text) in [
            ("devices/sda/queue/rotational", "1\n"),
            ("devices/sda/sda1/partition", "1\n"),
            ("devices/sda/sda1/dev", "8:1\n"),
            ("devices/nvme0n1/queue/rotational", "0\n"),
            ("devices/dm-0/queue/rotational", "1\n"),
            ("devices/md0/queue/rotational", "1\n"),
        ] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        }
        for (link, to) in [
            ("dev/block/8:0", "devices/sda"),
            ("dev/block/8:1", "devices/sda/sda1"),
            ("dev/block/259:0", "devices/nvme0n1"),
            ("dev/block/253:0", "devices/dm-0"),
            ("dev/block/9:0", "devices/md0"),
            ("devices/dm-0/slaves/sda1", "devices/sda/sda1"),
            ("devices/md0/slaves/sda1", "devices/sda/sda1"),
            ("devices/md0/slaves/nvme0n1", "devices/nvme0n1"),
        ] {
            fs::create_dir_all(at(link).parent().unwrap()).unwrap();
            symlink(at(to), at(link)).unwrap();
        }
        sys
    }

    #[test]
    fn partitions_and_volumes_lead_to_the_disk_below() {
        let sys = sysfs();
        let disk = |device| whole_disk(sys.path(), device, RESOLVE_MAX);
        let found = |name: &str, rotating| Some((name.to_owned(), rotating));
        assert_eq!(disk((8, 0)), found("sda", true));
        assert_eq!(disk((8, 1)), found("sda", true));
        assert_eq!(disk((253, 0)), found("sda", true));
        assert_eq!(disk((259, 0)), found("nvme0n1", false));
        // A device over several disks counts as one disk of its own.
        assert_eq!(disk((9, 0)), found("md0", true));
        assert_eq!(disk((1, 1)), None);
    }
}
