//! Writes of the database that fail while its flush waits for them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc::RLIM_INFINITY;
use nix::sys::resource::{Resource, setrlimit};

use crate::journal::flush::flush;

/// Where the process that runs into the limit makes its databases.
const CHILD: &str = "XDEDUP_TEST_LIMITED";
/// How many databases have a write that fails. sled's own flush waits for ever in one of four.
const DATABASES: usize = 40;

/// In a process of its own: the limit of a file's size is the whole process's.
#[test]
fn a_write_that_fails_ends_the_flush_that_waits_for_it() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return writes_that_fail(dir.as_ref());
    }
    let temp = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    // An ignored SIGXFSZ makes such a write fail instead of ending the process.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(me)
        .args(["--exact", "--nocapture"])
        .arg("journal::tests::full_disk::a_write_that_fails_ends_the_flush_that_waits_for_it")
        .env(CHILD, temp.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let hangs = Instant::now() + Duration::from_secs(300);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > hangs => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("a flush never ended");
            }
            None => sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success());
    assert_eq!(temp.path().read_dir().unwrap().count(), DATABASES);
}

fn writes_that_fail(dir: &Path) {
    let limit = |bytes| setrlimit(Resource::RLIMIT_FSIZE, bytes, RLIM_INFINITY).unwrap();
    for n in 0..DATABASES {
        let path = dir.join(n.to_string());
        // sled's thread that flushes now and then would be a second nudge.
        let config = sled::Config::new().path(path).flush_every_ms(None);
        let db = config.open().unwrap();
        db.flush().unwrap();
        limit(1);
        // An empty batch is a single small write, which the flush does not begin itself.
        db.apply_batch(sled::Batch::default()).unwrap();
        flush(&db).unwrap_err();
        drop(db);
        limit(RLIM_INFINITY);
    }
}
