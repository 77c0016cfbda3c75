//! The same branches once more behind a mergerfs of their own: what the kernel learns of a path through this one, it
//! does not know of the other.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::command::run;
use crate::harness::pool::Pool;
use crate::harness::wait;

/// A second mount of a pool's branches. Goes away with the value.
pub(crate) struct SecondMount {
    mergerfs: Child,
    root: PathBuf,
}

impl SecondMount {
    /// Mounts the branches of `pool`, in the same order, beside it.
    pub(crate) fn of(pool: &Pool) -> Self {
        let root = pool.branch_parent().join("second");
        std::fs::create_dir(&root).unwrap();
        let branches: Vec<_> = pool.branches().iter().map(|b| b.to_str().unwrap()).collect();
        let mergerfs = Command::new("mergerfs")
            // The default until 2.40; the one since then puts new files on any disk.
            .args(["-f", "-o", "minfreespace=1M,category.create=epmfs", &branches.join(":")])
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let media = root.join("media");
        wait::until("mergerfs", wait::LONG, || media.exists()).unwrap();
        Self { mergerfs, root }
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for SecondMount {
    fn drop(&mut self) {
        run("umount", &["--lazy".as_ref(), self.root.as_os_str()]);
        let ended = || self.mergerfs.try_wait().unwrap().is_some();
        if wait::until("mergerfs to end", Duration::from_secs(10), ended).is_err() {
            self.mergerfs.kill().unwrap();
            self.mergerfs.wait().unwrap();
        }
    }
}
