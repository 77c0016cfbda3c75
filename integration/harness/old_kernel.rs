//! A kernel that lacks some calls: a seccomp filter answers for them, as an older kernel or a container would.

use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::{c_long, sock_filter};

/// Which calls fail, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct OldKernel {
    filter: Vec<sock_filter>,
}

/// Where the kernel shows a filter the number of the call and the low half of its first argument.
const NUMBER: u32 = 0;
const ARGUMENT: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const UNLESS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn step(code: u32, skip: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf: skip, k }
}

impl OldKernel {
    /// Lets `call` fail with `errno`.
    pub(crate) fn without(mut self, call: c_long, errno: i32) -> Self {
        self.filter.push(step(LOAD, 0, NUMBER));
        self.filter.push(step(UNLESS, 1, u32::try_from(call).unwrap()));
        self.filter.push(Self::answer(errno));
        self
    }

    /// Lets `call` fail with `errno` where its argument number `at` (from 0) is `value`.
    pub(crate) fn without_where(mut self, call: c_long, at: u32, value: u32, errno: i32) -> Self {
        self.filter.push(step(LOAD, 0, NUMBER));
        self.filter.push(step(UNLESS, 3, u32::try_from(call).unwrap()));
        self.filter.push(step(LOAD, 0, ARGUMENT + 8 * at));
        self.filter.push(step(UNLESS, 1, value));
        self.filter.push(Self::answer(errno));
        self
    }

    fn answer(errno: i32) -> sock_filter {
        step(RETURN, 0, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
    }

    /// Lets `command` run on this kernel.
    pub(crate) fn confine(&self, command: &mut Command) {
        let mut filter = self.filter.clone();
        filter.push(step(RETURN, 0, libc::SECCOMP_RET_ALLOW));
        let confine = move || {
            let program = libc::sock_fprog {
                len: u16::try_from(filter.len()).expect("a short filter"),
                filter: filter.as_mut_ptr(),
            };
            #[allow(unsafe_code, reason = "no safe wrapper knows this option")]
            // SAFETY: the filter lives until the call returns, and the kernel only reads it.
            let done = unsafe {
                libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
            };
            if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        #[allow(unsafe_code, reason = "a filter has to be set between fork and exec")]
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(confine)
        };
    }
}
