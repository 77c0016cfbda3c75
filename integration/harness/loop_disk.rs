//! A disk of the pool: a sparse file behind a loop device, with a filesystem of its own.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::command::{run, try_run};
use super::{finish_clean_up, keep, wait};

/// The filesystem of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filesystem {
    Ext4,
    Xfs,
    Btrfs,
    /// Without hard links, and with inode numbers that are made up when it is mounted.
    Vfat,
    /// The same.
    Exfat,
    /// By ntfs-3g, in user space. A short name (8.3) that Windows made is counted as a link, and is not listed.
    Ntfs,
}

impl Filesystem {
    /// The program that makes it, with options that keep it quick and quiet.
    fn mkfs(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,nodiscard"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            Self::Btrfs => ("mkfs.btrfs", &["-q", "-f"]),
            Self::Vfat => ("mkfs.vfat", &["-F", "32"]),
            Self::Exfat => ("mkfs.exfat", &[]),
            // In a file no sectors can be asked for.
            Self::Ntfs => ("mkntfs", &["--quick", "--force", "--quiet"]),
        }
    }

    /// Its name for `mount -t`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Vfat => "vfat",
            Self::Exfat => "exfat",
            Self::Ntfs => "ntfs",
        }
    }
}

/// Size of a disk; mkfs.xfs refuses less than 300 MB. Sparse: it takes what is written.
const SIZE_BYTES: u64 = 512 << 20;

/// A mounted loop disk. Goes away with the value.
pub(crate) struct LoopDisk {
    filesystem: Filesystem,
    image: PathBuf,
    mount_point: PathBuf,
    /// The loop device, once there is one.
    device: Option<PathBuf>,
    mounted: bool,
}

impl LoopDisk {
    /// Makes `<dir>/<name>.img` and mounts it at `<dir>/<name>`.
    pub(crate) fn new(dir: &Path, name: &str, filesystem: Filesystem) -> Self {
        let mut disk = Self {
            filesystem,
            image: dir.join(format!("{name}.img")),
            mount_point: dir.join(name),
            device: None,
            mounted: false,
        };
        let image = File::create(&disk.image).unwrap();
        image.set_len(SIZE_BYTES).unwrap();
        std::fs::create_dir(&disk.mount_point).unwrap();
        let (mkfs, options) = filesystem.mkfs();
        let image = disk.image.to_str().unwrap();
        run(mkfs, &[options, &[image]].concat());
        let shown = run("losetup", &["--find", "--show", image]).stdout;
        let device = PathBuf::from(std::ffi::OsStr::from_bytes(shown.trim_ascii()));
        disk.device = Some(device.clone());
        mount(filesystem, &device, &disk.mount_point);
        disk.mounted = true;
        disk
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Its loop device.
    pub(crate) fn device(&self) -> &Path {
        self.device.as_deref().unwrap()
    }

    /// The file that is the disk.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// What filesystem it has.
    pub(crate) fn filesystem(&self) -> Filesystem {
        self.filesystem
    }

    /// The bytes in use, as `df` counts them, with everything written out first.
    pub(crate) fn used_bytes(&self) -> u64 {
        let root = File::open(&self.mount_point).unwrap();
        nix::unistd::syncfs(&root).unwrap();
        let stat = nix::sys::statvfs::fstatvfs(&root).unwrap();
        (stat.blocks() - stat.blocks_free()) * stat.fragment_size()
    }

    /// Mounts it read-only or writable again, in place.
    pub(crate) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        run("mount", &["-o".as_ref(), options.as_ref(), self.mount_point.as_os_str()]);
    }

    /// Takes it away from under the pool, as a disk that went, or never came.
    pub(crate) fn detach(&mut self) {
        run("umount", &["--lazy".as_ref(), self.mount_point.as_os_str()]);
        self.mounted = false;
    }

    fn tear_down(&mut self) -> Result<(), String> {
        if self.mounted {
            unmount(&self.mount_point)?;
            self.mounted = false;
        }
        if let Some(device) = self.device.take() {
            try_run("losetup", &["--detach".as_ref(), device.as_os_str()])?;
        }
        std::fs::remove_file(&self.image).map_err(|e| format!("{}: {e}", self.image.display()))
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if keep() {
            let device = self.device.as_deref().unwrap_or(Path::new("<none>")).display();
            println!("KEEP: umount {}; losetup --detach {device}", self.mount_point.display());
            return;
        }
        let result = self.tear_down();
        finish_clean_up(&format!("{}", self.image.display()), result);
    }
}

/// Mounts a disk, by the kernel's driver or, for a kernel without one, in user space.
fn mount(filesystem: Filesystem, device: &Path, mount_point: &Path) {
    let paths = [device.as_os_str(), mount_point.as_os_str()];
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let known = known.lines().any(|line| line.ends_with(filesystem.name()));
    let (program, options): (&str, &[&str]) = match filesystem {
        Filesystem::Vfat if !known => ("fusefat", &["-o", "rw+,allow_other"]),
        Filesystem::Exfat if !known => ("mount.exfat-fuse", &["-o", "allow_other"]),
        Filesystem::Ntfs => ("ntfs-3g", &["-o", "allow_other"]),
        _ => ("mount", &["-t", filesystem.name()]),
    };
    let options = options.iter().map(std::ffi::OsStr::new);
    run(program, &options.chain(paths).collect::<Vec<_>>());
}

/// Unmounts `mount_point`; one still busy after [`wait::LONG`] is detached, so that the suite leaves no mounts.
pub(crate) fn unmount(mount_point: &Path) -> Result<(), String> {
    let mut last = String::new();
    let unmounted = wait::until("umount", wait::LONG, || {
        try_run("umount", &[mount_point]).map_err(|why| last = why).is_ok()
    });
    if unmounted.is_ok() {
        return Ok(());
    }
    try_run("umount", &["--lazy".as_ref(), mount_point.as_os_str()])?;
    Err(format!("{} was busy to the end, detached it: {last}", mount_point.display()))
}
