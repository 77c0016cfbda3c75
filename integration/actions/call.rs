//! The system calls that the protocol lives on, as the tracer finds them when a thread enters one.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::sys::ptrace;
use nix::unistd::Pid;

/// A call with the paths it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: &'static str,
    /// Every path the call names, as absolute paths: for a rename or a link the old one first.
    pub(super) paths: Vec<PathBuf>,
}

impl Call {
    /// Reads the call that the stopped thread `tid` is entering; `None` for a call outside the protocol.
    pub(super) fn at_entry(tid: Pid) -> Option<Self> {
        let (number, arguments) = registers(tid)?;
        let [a, b, c, d] = arguments;
        let fd = |fd| descriptor(tid, fd).into_iter().collect::<Vec<_>>();
        let name = |dir, at| named(tid, dir, at).into_iter().collect::<Vec<_>>();
        let (name, paths) = match number {
            libc::SYS_linkat => ("linkat", [name(a, b), name(c, d)].concat()),
            libc::SYS_renameat2 => ("renameat2", [name(a, b), name(c, d)].concat()),
            libc::SYS_renameat => ("renameat", [name(a, b), name(c, d)].concat()),
            libc::SYS_unlinkat => ("unlinkat", name(a, b)),
            libc::SYS_mkdirat => ("mkdirat", name(a, b)),
            libc::SYS_fsync => ("fsync", fd(a)),
            libc::SYS_fdatasync => ("fdatasync", fd(a)),
            libc::SYS_fcntl if is(b, libc::F_SETLEASE) && is(c, libc::F_UNLCK) => {
                ("unlease", fd(a))
            }
            libc::SYS_fcntl if is(b, libc::F_SETLEASE) => ("lease", fd(a)),
            libc::SYS_fcntl if is(b, libc::F_GETLEASE) => ("getlease", fd(a)),
            _ => return None,
        };
        Some(Self { name, paths })
    }

    /// Whether the call names a path below `root`.
    pub(super) fn is_below(&self, root: &Path) -> bool {
        self.paths.iter().any(|path| path.starts_with(root))
    }

    /// Whether the call changes a directory.
    pub(super) fn changes_names(&self) -> bool {
        let changing = ["linkat", "renameat", "renameat2", "unlinkat", "mkdirat"];
        changing.contains(&self.name)
    }

    /// Whether the call gives a file a new name: `from` and `to` are the ends of the two paths.
    pub(super) fn moves(&self, from: impl Fn(&Path) -> bool, to: impl Fn(&Path) -> bool) -> bool {
        let renames = matches!(self.name, "renameat" | "renameat2" | "linkat");
        renames && matches!(self.paths.as_slice(), [a, b] if from(a) && to(b))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.paths.iter().map(|p| p.display().to_string()).collect();
        write!(f, "{} {}", self.name, paths.join(" -> "))
    }
}

fn is(argument: u64, value: libc::c_int) -> bool {
    argument as libc::c_int == value
}

/// The number of the call and its first four arguments.
#[cfg(target_arch = "x86_64")]
fn registers(tid: Pid) -> Option<(libc::c_long, [u64; 4])> {
    // A thread that was killed meanwhile has none.
    let regs = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(tid).ok()?;
    let number = regs.orig_rax.cast_signed();
    Some((number, [regs.rdi, regs.rsi, regs.rdx, regs.r10]))
}

/// The number of the call and its first four arguments.
#[cfg(target_arch = "aarch64")]
fn registers(tid: Pid) -> Option<(libc::c_long, [u64; 4])> {
    let regs = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(tid).ok()?;
    let [a, b, c, d] = [0, 1, 2, 3].map(|n: usize| regs.regs[n]);
    Some((regs.regs[8].cast_signed(), [a, b, c, d]))
}

/// The path behind a descriptor of the traced program.
fn descriptor(tid: Pid, fd: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{tid}/fd/{}", fd as libc::c_int)).ok()
}

/// The path that a directory descriptor and a string in the memory of the traced program name.
fn named(tid: Pid, dir: u64, at: u64) -> Option<PathBuf> {
    let memory = std::fs::File::open(format!("/proc/{tid}/mem")).ok()?;
    let mut bytes = [0; 4096];
    let len = memory.read_at(&mut bytes, at).ok()?;
    let end = bytes[..len].iter().position(|b| *b == 0)?;
    let name = Path::new(OsStr::from_bytes(&bytes[..end]));
    if let Ok(number) = name.strip_prefix("/proc/self/fd") {
        return std::fs::read_link(format!("/proc/{tid}/fd/{}", number.display())).ok();
    }
    if name.is_absolute() {
        return Some(name.to_owned());
    }
    Some(descriptor(tid, dir)?.join(name))
}
