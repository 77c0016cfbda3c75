//! Files and directories for a test, written straight onto branches.

use std::fs::{File, FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::command::run;

/// How old the files of a test are: the tool leaves those that changed a moment ago for the end of its run.
pub(crate) const AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// `len` bytes that differ from those of every other `seed`, already in the first block.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; len];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Writes `content` to `path`, with the directories above it, and an mtime well in the past.
pub(crate) fn write(path: &Path, content: &[u8]) {
    write_aged(path, content, AGE);
}

/// As [`write`], with an mtime `age` ago.
pub(crate) fn write_aged(path: &Path, content: &[u8], age: Duration) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.write_all(content).unwrap();
    set_age(&file, age);
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    run("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()]);
}

/// Makes a directory and those above it.
pub(crate) fn make_dir(path: &Path, mode: u32, owner: (u32, u32)) {
    std::fs::create_dir_all(path).unwrap();
    set_owner(path, owner);
    set_mode(path, mode);
}

/// Gives `path` the permission bits `mode`.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Gives `path` an owner and a group.
pub(crate) fn set_owner(path: &Path, (uid, gid): (u32, u32)) {
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
}

/// Adds to the ACL of `path`, in the words of setfacl.
pub(crate) fn set_acl(path: &Path, entries: &str) {
    run("setfacl", &["-m".as_ref(), entries.as_ref(), path.as_os_str()]);
}

/// Sets an extended attribute.
pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    xattr::set(path, name, value).unwrap();
}

/// Waits until what was written is old enough for the tool: it leaves files whose inode changed less than two
/// seconds ago for the end of a run, and the time of that change cannot be put into the past.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(2_100));
}

/// Puts the times of a file or directory `age` into the past.
pub(crate) fn age_path(path: &Path, age: Duration) {
    set_age(&File::open(path).unwrap(), age);
}

fn set_age(file: &File, age: Duration) {
    // A fraction of a second too: times that are cut to seconds must show.
    let then = SystemTime::now() - age + Duration::from_nanos(123_456_789);
    file.set_times(FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
}
