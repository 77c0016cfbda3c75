//! The built binary, run as a person would run it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::old_kernel::OldKernel;
use super::{hung, keep, wait};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_mergerfs-xdedup");

/// No run of a test takes nearly as long: one that does hangs.
const AT_MOST: Duration = Duration::from_secs(180);

/// The binary with a journal and a cache of its own, outside of every pool.
pub(crate) struct Tool {
    /// Emptied by [`Drop`] when the files are to be kept.
    dir: Option<TempDir>,
}

impl Tool {
    /// Nothing of its own exists yet but an empty directory.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("xdedup-state-").tempdir().unwrap();
        Self { dir: Some(dir) }
    }

    /// The directory for what belongs to this test: lists, logs.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    /// The journal; not there before the first run that changes something.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir().join("journal")
    }

    /// A file for a list of duplicates.
    pub(crate) fn list(&self) -> PathBuf {
        self.dir().join("duplicates.list")
    }

    /// Runs it with these arguments and this test's journal.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Run {
        self.run_under::<&str, A>(&[], arguments)
    }

    /// The same, started by another program: `strace` with its options, say.
    pub(crate) fn run_under<W, A>(&self, wrapper: &[W], arguments: &[A]) -> Run
    where
        W: AsRef<OsStr>,
        A: AsRef<OsStr>,
    {
        let mut line: Vec<OsString> = wrapper.iter().map(|w| w.as_ref().to_owned()).collect();
        line.push(BINARY.into());
        line.push("--journal".into());
        line.push(self.journal().into());
        line.extend(arguments.iter().map(|a| a.as_ref().to_owned()));
        self.run_line(&line)
    }

    /// Does what the list says, of groups with and without a primary, and tells it in JSON.
    pub(crate) fn execute(&self, list: &Path, extra: &[&OsStr]) -> Run {
        let mut arguments: Vec<&OsStr> = vec!["--format".as_ref(), "json".as_ref(), "-e".as_ref()];
        arguments.extend(["--any-master".as_ref(), "-m".as_ref(), list.as_os_str()]);
        arguments.extend(extra);
        self.run(&arguments)
    }

    /// Runs a whole command line, journal or not.
    pub(crate) fn run_line(&self, line: &[OsString]) -> Run {
        self.start(line).end()
    }

    /// The same on a kernel that lacks some calls.
    pub(crate) fn run_on<A: AsRef<OsStr>>(&self, kernel: &OldKernel, arguments: &[A]) -> Run {
        let mut line: Vec<OsString> =
            vec![BINARY.into(), "--journal".into(), self.journal().into()];
        line.extend(arguments.iter().map(|a| a.as_ref().to_owned()));
        let mut command = Command::new(&line[0]);
        kernel.confine(&mut command);
        self.start_as(command, &line).end()
    }

    /// Begins a whole command line.
    pub(crate) fn start(&self, line: &[OsString]) -> Started {
        self.start_as(Command::new(&line[0]), line)
    }

    fn start_as(&self, mut command: Command, line: &[OsString]) -> Started {
        let (out, err) = (self.dir().join("stdout"), self.dir().join("stderr"));
        let child = command
            .args(&line[1..])
            .env("XDG_CACHE_HOME", self.dir().join("cache"))
            .stdin(Stdio::null())
            // Into files: a pipe that nobody empties would stop a talkative run.
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Started { line: line.to_vec(), child, out, err }
    }
}

/// A command line at work, with its output so far.
pub(crate) struct Started {
    line: Vec<OsString>,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Started {
    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// How many bytes it has read from files so far; none once it has ended.
    pub(crate) fn bytes_read(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let count = io.lines().find_map(|line| line.strip_prefix("rchar: "));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// Waits until it ends; kills what hangs, and panics.
    pub(crate) fn end(mut self) -> Run {
        let ended =
            wait::until("the tool to end", AT_MOST, || self.child.try_wait().unwrap().is_some());
        if let Err(why) = ended {
            let threads = hung::describe(self.child.id());
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            panic!(
                "{:?}\n{threads}\n{}\n{why}",
                self.line,
                std::fs::read_to_string(&self.err).unwrap()
            );
        }
        let read =
            |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Run {
            status: self.child.wait().unwrap(),
            stdout: read(&self.out),
            stderr: read(&self.err),
            line: self.line,
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take().filter(|_| keep()) {
            println!("KEEP: rm -r {}", dir.keep().display());
        }
    }
}

/// One run of the binary.
#[derive(Debug)]
pub(crate) struct Run {
    line: Vec<OsString>,
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The exit code; `None` when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Whether it was killed, itself or the program that watched it.
    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(libc::SIGKILL) || self.code() == Some(128 + libc::SIGKILL)
    }

    /// Panics with everything it said unless it ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// The JSON lines it printed; every line has to be one, with a type.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| -> Value {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("no JSON: {line}: {error}\n{self}"));
            assert!(value["type"].is_string(), "a line without type: {line}");
            value
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The JSON lines of one type.
    #[track_caller]
    pub(crate) fn lines_of(&self, kind: &str) -> Vec<Value> {
        let lines = self.lines();
        lines.into_iter().filter(|line| line["type"] == kind).collect()
    }

    /// The summary, the last line, whose counts have to add up.
    #[track_caller]
    pub(crate) fn summary(&self) -> Summary {
        let lines = self.lines();
        let summaries = lines.iter().filter(|line| line["type"] == "summary").count();
        assert_eq!(summaries, 1, "{self}");
        let value = lines.last().unwrap().clone();
        assert_eq!(value["type"], "summary", "{self}");
        Summary { value }
    }

    /// The reasons given for a path, relative to nothing: as the lines have it.
    #[track_caller]
    pub(crate) fn reasons_for(&self, path: &Path) -> Vec<String> {
        let lines = self.lines_of("refusal").into_iter();
        let here = lines.filter(|line| line["path"].as_str() == path.to_str());
        here.map(|line| line["reason"].as_str().unwrap().to_owned()).collect()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}: {}", self.line, self.status)?;
        write!(f, "--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// The figures at the end of a run.
#[derive(Debug)]
pub(crate) struct Summary {
    value: Value,
}

impl Summary {
    /// One of its figures.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> u64 {
        let figure = self.value[name].as_u64();
        figure.unwrap_or_else(|| panic!("no figure {name} in {}", self.value))
    }

    /// Whether it has that figure at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some()
    }

    /// The lines about single branches.
    pub(crate) fn per_branch(&self) -> &[Value] {
        self.value["per_branch"].as_array().unwrap()
    }
}
