//! Runs the program under ptrace and stops it where it enters a call of the protocol.
//!
//! Only the thread that enters the call is stopped. The program counts as held all the same: the thread that works
//! on the branches is the one that makes these calls.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::call::Call;

/// No run takes nearly as long; a longer one hangs.
const AT_MOST: Duration = Duration::from_secs(100);

/// The program at work, traced.
pub(super) struct Traced {
    pid: Pid,
    /// Keeps the descriptors; the tracer itself waits for the process.
    _child: Child,
    /// Whether each thread is inside a system call.
    inside: HashMap<Pid, bool>,
    /// The thread that is stopped at the entry of a call that `next` returned.
    held: Option<Pid>,
    /// Calls count from the first one that names a path below one of these.
    roots: Vec<PathBuf>,
    counting: bool,
    out: PathBuf,
    err: PathBuf,
    ended: Option<Option<i32>>,
    watched: Sender<()>,
}

/// How a traced run ended, and what it printed.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit code; `None` when a signal ended the program.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Traced {
    /// Starts the command line; its output goes into files in `dir`.
    pub(super) fn start(line: &[OsString], dir: &Path, roots: &[PathBuf]) -> Self {
        let (out, err) = (dir.join("traced.out"), dir.join("traced.err"));
        // The shell waits until it is traced.
        let mut child = Command::new("sh")
            .args(["-c", "read go && exec \"$@\" < /dev/null", "sh"])
            .args(line)
            .env("XDG_CACHE_HOME", dir.join("cache"))
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_TRACEEXEC
            | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::seize(pid, options).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Self {
            pid,
            _child: child,
            inside: HashMap::new(),
            held: None,
            roots: roots.to_vec(),
            counting: false,
            out,
            err,
            ended: None,
            watched: watch(pid),
        }
    }

    /// Lets the program go on to the entry of its next call of the protocol; `None` when it has ended.
    pub(super) fn next(&mut self) -> Option<Call> {
        if let Some(tid) = self.held.take() {
            go_on(tid, None);
        }
        while self.ended.is_none() {
            // Not the children of other threads: those are traced by their own.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            match waitpid(None, Some(flags)).unwrap() {
                WaitStatus::PtraceSyscall(tid) => {
                    if let Some(call) = self.at_call(tid) {
                        self.held = Some(tid);
                        return Some(call);
                    }
                    go_on(tid, None);
                }
                WaitStatus::PtraceEvent(tid, _, event) => {
                    if event == libc::PTRACE_EVENT_EXEC {
                        // The call that is left next is the exec itself.
                        self.inside.insert(tid, true);
                    }
                    go_on(tid, None);
                }
                WaitStatus::Stopped(tid, signal) => go_on(tid, Some(signal)),
                WaitStatus::Exited(tid, code) if tid == self.pid => self.ended = Some(Some(code)),
                WaitStatus::Signaled(tid, _, _) if tid == self.pid => self.ended = Some(None),
                _ => {}
            }
        }
        None
    }

    /// Kills the program where it is: the call that `next` returned last is never made.
    pub(super) fn kill(mut self) -> Ended {
        kill(self.pid, Signal::SIGKILL).unwrap();
        self.held = None;
        while self.next().is_some() {}
        self.end()
    }

    /// What the program printed, once `next` has returned `None`.
    pub(super) fn end(self) -> Ended {
        // The watcher may be gone with the process it killed.
        self.watched.send(()).ok();
        let read =
            |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Ended {
            code: self.ended.expect("the program has ended"),
            stdout: read(&self.out),
            stderr: read(&self.err),
        }
    }

    /// The call that `tid` is entering, if it counts.
    fn at_call(&mut self, tid: Pid) -> Option<Call> {
        let inside = self.inside.entry(tid).or_insert(false);
        *inside = !*inside;
        if !*inside {
            return None;
        }
        let call = Call::at_entry(tid)?;
        self.counting |= self.roots.iter().any(|root| call.is_below(root));
        self.counting.then_some(call)
    }
}

/// Lets a stopped thread go on to its next system call.
fn go_on(tid: Pid, signal: Option<Signal>) {
    // A thread that was killed meanwhile cannot go on; `waitpid` says so next.
    ptrace::syscall(tid, signal).ok();
}

/// Kills `pid` when nobody says in time that it has ended.
fn watch(pid: Pid) -> Sender<()> {
    let (sender, ended) = channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(AT_MOST) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("process {pid} hangs and is killed");
            kill(pid, Signal::SIGKILL).ok();
        }
    });
    sender
}
