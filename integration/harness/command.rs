//! Running the programs that the harness itself needs.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Once;

/// The programs the suite calls, with the Debian package of each.
const PROGRAMS: [(&str, &str); 30] = [
    ("losetup", "mount"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.vfat", "dosfstools"),
    ("mkfs.exfat", "exfatprogs"),
    ("mkntfs", "ntfs-3g"),
    ("ntfs-3g", "ntfs-3g"),
    ("fusefat", "fusefat"),
    ("mount.exfat-fuse", "exfat-fuse"),
    ("setpriv", "util-linux"),
    ("mergerfs", "mergerfs"),
    ("jdupes", "jdupes"),
    ("strace", "strace"),
    ("setfacl", "acl"),
    ("chattr", "e2fsprogs"),
    ("lsattr", "e2fsprogs"),
    ("tune2fs", "e2fsprogs"),
    ("xfs_io", "xfsprogs"),
    ("fallocate", "util-linux"),
    ("mkswap", "util-linux"),
    ("python3", "python3"),
    ("chromium", "chromium"),
    ("snapraid", "snapraid"),
    ("rdfind", "rdfind"),
    ("rmlint", "rmlint"),
    ("hardlink", "util-linux"),
];

/// Panics unless this machine can run the suite: a test that cannot run has failed.
pub(crate) fn require_machine() {
    static CHECKED: Once = Once::new();
    CHECKED.call_once(|| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the integration suite mounts disks: run it as root"
        );
        for device in ["/dev/fuse", "/dev/loop-control"] {
            assert!(
                Path::new(device).exists(),
                "no {device}: the suite needs FUSE and loop devices"
            );
        }
        for (program, package) in PROGRAMS {
            assert!(is_installed(program), "{program} is missing: apt-get install {package}");
        }
        // Debian has no package of it.
        assert!(is_installed("fclones"), "fclones is missing: cargo install --locked fclones");
    });
}

/// Whether `program` is in the search path.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a program that must succeed, and returns what it printed.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Output {
    try_run(program, arguments).unwrap_or_else(|why| panic!("{why}"))
}

/// Runs a program; a failure is told with its command line and what it said.
pub(crate) fn try_run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Result<Output, String> {
    let shown: Vec<OsString> = arguments.iter().map(|a| a.as_ref().to_owned()).collect();
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{program} {shown:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
