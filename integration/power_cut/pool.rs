//! A mergerfs mount over branches that come and go.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::rig::{report, run, until_free};

/// A mounted pool. Dropping it unmounts it, and must come before its branches go.
#[derive(Debug)]
pub(crate) struct PoolMount {
    mount: PathBuf,
    mergerfs: Child,
}

impl PoolMount {
    /// Mounts `branches`, in that order, at `mount`.
    pub(crate) fn new(branches: &[&Path], mount: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(mount)?;
        let list: Vec<String> = branches.iter().map(|dir| dir.display().to_string()).collect();
        let outside = mount.metadata()?.dev();
        // In the foreground: a child can be waited for, and ended by its id. The disks are small (minfreespace).
        let mergerfs = Command::new("mergerfs")
            .args(["-f", "-o", "minfreespace=1M,category.create=mfs", &list.join(":")])
            .arg(mount)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pool = Self { mount: mount.to_owned(), mergerfs };
        until_free(|| match mount.metadata()?.dev() {
            dev if dev == outside => Err(io::Error::other("mergerfs does not mount")),
            _ => Ok(()),
        })?;
        Ok(pool)
    }

    fn take_down(&mut self) -> io::Result<()> {
        until_free(|| run(Command::new("umount").arg(&self.mount)))?;
        // Newer versions sometimes stay after the unmount; a branch they hold open could not be unmounted.
        let ended = until_free(|| match self.mergerfs.try_wait()? {
            Some(_) => Ok(()),
            None => Err(io::Error::other("mergerfs does not end")),
        });
        ended.or_else(|_| self.mergerfs.kill().and_then(|()| self.mergerfs.wait().map(drop)))
    }
}

impl Drop for PoolMount {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            report(&format!("cannot take down {self:?}: {error}"));
        }
    }
}
