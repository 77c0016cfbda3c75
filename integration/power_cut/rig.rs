//! Disks mounted where a test wants them, recorded, and taken down in the order that cannot hang.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::image::Image;
use super::log::Log;
use super::recorder::Recorder;

/// How long a device may stay busy before a test gives up on it.
const BUSY_FOR_MAX: Duration = Duration::from_secs(120);

/// The kinds of filesystem a branch or a journal may be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// ext4 with a small journal.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
}

impl FileSystem {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// Its name for `mount -t`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The size of a disk for it: about the least its mkfs, and the journal's wish for space, accept.
    pub(crate) fn disk_bytes(self) -> u64 {
        const MIB: u64 = 1 << 20;
        match self {
            Self::Ext4 => 160 * MIB,
            Self::Xfs => 300 * MIB,
            Self::Btrfs => 256 * MIB,
        }
    }

    fn make(self, disk: &Path) -> io::Result<()> {
        let mut mkfs = Command::new(format!("mkfs.{}", self.name()));
        match self {
            Self::Ext4 => mkfs
                .args(["-q", "-F", "-b", "4096", "-J", "size=4"])
                .args(["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]),
            Self::Xfs | Self::Btrfs => mkfs.args(["-q", "-f", "-K"]),
        };
        run(mkfs.arg(disk)).map(drop)
    }
}

/// Where a disk is mounted, each time at the same place: a journal holds branch paths.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// What the disk is formatted with.
    pub(crate) fs: FileSystem,
    /// The mount point.
    pub(crate) dir: PathBuf,
    /// Options for `mount -o`.
    pub(crate) options: &'static str,
}

impl Slot {
    /// A slot for `fs` at `dir`, which is made.
    pub(crate) fn new(fs: FileSystem, dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { fs, dir, options: "defaults" })
    }
}

/// Recorded disks, each mounted at its slot. Dropping it unmounts them and ends the recording.
#[derive(Debug)]
pub(crate) struct Rig {
    // Dropped in this order: nothing may be mounted on a disk that is no longer served.
    mounts: Vec<Mounted>,
    recorder: Recorder,
}

impl Rig {
    /// Fresh filesystems.
    pub(crate) fn format(slots: &[Slot]) -> io::Result<Self> {
        let sizes: Vec<u64> = slots.iter().map(|slot| slot.fs.disk_bytes()).collect();
        let recorder = Recorder::start(&sizes)?;
        for (device, slot) in slots.iter().enumerate() {
            slot.fs.make(&recorder.device_path(device))?;
        }
        Self::mount(recorder, slots)
    }

    /// The filesystems that `images` hold, such as what a power cut has left; their recovery is recorded too.
    pub(crate) fn revive(images: Vec<Image>, slots: &[Slot]) -> io::Result<Self> {
        Self::mount(Recorder::serve(images)?, slots)
    }

    fn mount(recorder: Recorder, slots: &[Slot]) -> io::Result<Self> {
        let mut rig = Self { mounts: Vec::new(), recorder };
        for (device, slot) in slots.iter().enumerate() {
            let file = rig.recorder.device_path(device);
            rig.mounts.push(Mounted::new(&file, slot)?);
        }
        Ok(rig)
    }

    /// The recorder below.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Notes `text` in the log.
    pub(crate) fn mark(&self, text: &str) {
        self.recorder.mark(text);
    }

    /// Unmounts everything and hands out the log.
    pub(crate) fn stop(self) -> io::Result<Log> {
        for mounted in self.mounts {
            mounted.unmount()?;
        }
        self.recorder.stop()
    }
}

/// A filesystem mounted from a loop device over a file. Dropping it undoes both.
#[derive(Debug)]
pub(crate) struct Mounted {
    dir: Option<PathBuf>,
    loop_device: Option<String>,
}

impl Mounted {
    /// Mounts what `file` holds at `slot`.
    pub(crate) fn new(file: &Path, slot: &Slot) -> io::Result<Self> {
        // Direct I/O: else the page cache of the file would stand between the filesystem and the log.
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show", "--direct-io=on"]).arg(file);
        let device = run(&mut losetup)?.trim().to_owned();
        let mut mounted = Self { dir: None, loop_device: Some(device.clone()) };
        let mut mount = Command::new("mount");
        mount.args(["-t", slot.fs.name(), "-o", slot.options, &device]).arg(&slot.dir);
        run(&mut mount)?;
        mounted.dir = Some(slot.dir.clone());
        Ok(mounted)
    }

    /// Unmounts, and says so if that fails.
    pub(crate) fn unmount(mut self) -> io::Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> io::Result<()> {
        if let Some(dir) = self.dir.take() {
            until_free(|| run(Command::new("umount").arg(&dir)))?;
        }
        if let Some(device) = self.loop_device.take() {
            run(Command::new("losetup").arg("--detach").arg(&device))?;
            // The kernel detaches when the last user has gone; the disk must be served until then.
            until_free(|| detached(&device))?;
        }
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            report(&format!("cannot take down {self:?}: {error}"));
        }
    }
}

fn detached(device: &str) -> io::Result<()> {
    let name = device.trim_start_matches("/dev/");
    match Path::new("/sys/block").join(name).join("loop").exists() {
        true => Err(io::Error::other(format!("{device} stays attached"))),
        false => Ok(()),
    }
}

/// Tries until it works or [`BUSY_FOR_MAX`] is over.
pub(crate) fn until_free<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < BUSY_FOR_MAX => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Runs a command to its end and returns its output; a failure carries what it said.
pub(crate) fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {}", output.status, said.trim())))
}

/// Says something beside the results of the tests.
#[allow(clippy::print_stderr, reason = "a test has no other place to say it")]
pub(crate) fn report(text: &str) {
    eprintln!("{text}");
}
