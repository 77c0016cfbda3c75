//! A preview that is mounted, until it is ended or goes out of scope.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::tool::{BINARY, Tool};
use super::{finish_clean_up, wait};

/// The tool serving a preview.
pub(crate) struct Preview {
    child: Option<Child>,
    at: TempDir,
    out: PathBuf,
    err: PathBuf,
}

impl Preview {
    /// Starts it with these arguments behind the mount point, and waits until it says that it is mounted.
    pub(crate) fn start<A: AsRef<OsStr>>(tool: &Tool, arguments: &[A]) -> Self {
        Self::start_as(tool, &[BINARY], arguments)
    }

    /// The same, by another command line than the binary's name: as another user, say.
    pub(crate) fn start_as<A: AsRef<OsStr>>(
        tool: &Tool,
        command: &[&str],
        arguments: &[A],
    ) -> Self {
        let at = tempfile::Builder::new().prefix("xdedup-preview-").tempdir().unwrap();
        let (out, err) = (tool.dir().join("preview.out"), tool.dir().join("preview.err"));
        let mut line: Vec<OsString> = vec!["preview".into(), at.path().into()];
        line.extend(arguments.iter().map(|a| a.as_ref().to_owned()));
        // So that whoever it runs as may mount there.
        std::os::unix::fs::chown(at.path(), owner_of(command), None).unwrap();
        let child = Command::new(command[0])
            .args(&command[1..])
            .args(&line)
            .env("XDG_CACHE_HOME", tool.dir().join("cache"))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let mut preview = Self { child: Some(child), at, out, err };
        let mut ended = None;
        let mounted = wait::until("the preview to be mounted", wait::LONG, || {
            ended = preview.child.as_mut().unwrap().try_wait().unwrap();
            ended.is_some() || preview.stdout().ends_with('\n')
        });
        assert!(ended.is_none(), "{ended:?}: {}", preview.stderr());
        mounted.unwrap();
        assert!(is_mounted(preview.root()), "{}", preview.stdout());
        preview
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> &Path {
        self.at.path()
    }

    /// A path in it.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root().join(relative)
    }

    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    /// One of its attributes of a path.
    pub(crate) fn tag(&self, relative: impl AsRef<Path>, name: &str) -> Option<String> {
        let path = self.path(relative);
        let value = xattr::get_deref(&path, format!("user.xdedup.{name}"));
        let value = value.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        value.map(|value| String::from_utf8(value).unwrap())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(id.cast_signed()), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let child = self.child.as_mut().unwrap();
        wait::until("the preview to end", wait::LONG, || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .unwrap();
        self.child = None;
        status.unwrap()
    }

    /// Asks it to end, as systemd does; panics unless it ends well and nothing is left mounted.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.stderr());
        assert!(!is_mounted(self.root()), "still mounted");
    }

    fn clean_up(&mut self) -> Result<(), String> {
        if let Some(child) = &mut self.child {
            child.kill().map_err(|e| format!("kill: {e}"))?;
            child.wait().map_err(|e| format!("wait: {e}"))?;
        }
        if !is_mounted(self.at.path()) {
            return Ok(());
        }
        let unmounted = Command::new("umount").arg("-l").arg(self.at.path()).status();
        match unmounted {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("umount: {other:?}")),
        }
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        let result = self.clean_up();
        finish_clean_up("the preview", result);
    }
}

/// Whom `setpriv` is told to be.
fn owner_of(command: &[&str]) -> Option<u32> {
    let id = command.iter().find_map(|word| word.strip_prefix("--reuid="));
    id.map(|id| id.parse().unwrap())
}

/// Whether anything is mounted right there.
pub(crate) fn is_mounted(at: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}
