//! The faults a test plans: the simulation counts every call, and a fault names the call the fault strikes.

use crate::fs::{FsError, Place};
use crate::pool::BranchIdx;

use super::SimWorld;
use super::image::Sys;

/// Another program's action.
type Foreign = Box<dyn FnMut(&SimWorld) + Send>;

/// Something that happens at a call. Calls are counted from 1.
pub enum Fault {
    /// The call fails with this errno and has no effect.
    ErrorAt(usize, i32),
    /// From this call on, every call of this name fails with this errno and has no effect.
    ErrorsFrom(usize, &'static str, i32),
    /// The process dies: this call and all later ones fail with `EIO` and have no effect; what it had open is
    /// closed, its leases end.
    DieAt(usize),
    /// The process dies just after the call.
    DieAfter(usize),
    /// Just before the call, another program does this.
    ForeignAt(usize, Foreign),
}

impl Fault {
    /// [`Fault::ForeignAt`] without the box.
    pub fn foreign_at(call: usize, act: impl FnMut(&SimWorld) + Send + 'static) -> Self {
        Self::ForeignAt(call, Box::new(act))
    }
}

/// The faults to come, and the calls so far.
#[derive(Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    calls: usize,
    dead: bool,
    trace: Vec<String>,
}

impl Plan {
    fn dies(&self) -> bool {
        self.faults.iter().any(|fault| match fault {
            Fault::DieAt(n) => self.calls >= *n,
            Fault::DieAfter(n) => self.calls > *n,
            Fault::ErrorAt(..) | Fault::ErrorsFrom(..) | Fault::ForeignAt(..) => false,
        })
    }

    fn error(&self, call: &str) -> Option<i32> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::ErrorAt(n, errno) if *n == self.calls => Some(*errno),
            Fault::ErrorsFrom(n, name, errno) if *n <= self.calls && call.starts_with(name) => {
                Some(*errno)
            }
            _ => None,
        })
    }

    /// Takes out the actions of other programs before the current call.
    fn foreign(&mut self) -> Vec<Foreign> {
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for fault in std::mem::take(&mut self.faults) {
            match fault {
                Fault::ForeignAt(n, act) if n == self.calls => now.push(act),
                other => later.push(other),
            }
        }
        self.faults = later;
        now
    }
}

impl SimWorld {
    /// Adds a fault to come.
    pub fn plan_fault(&self, fault: Fault) {
        self.plan().faults.push(fault);
    }

    /// How many calls were made since the world was made, forked or restarted. The one the process died at is
    /// the last.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.plan().calls
    }

    /// The calls with their paths and results, and the actions of other programs in between.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.plan().trace.clone()
    }

    /// Whether the process has died.
    #[must_use]
    pub fn died(&self) -> bool {
        self.plan().dead
    }

    /// A new process in the same world: faults are gone, calls count from 0, nothing of this process is open.
    pub fn restart(&self) {
        *self.plan() = Plan::default();
        self.state().end_process();
    }

    /// Counts a call of something that is no branch (a journal in a test), so that faults strike it too.
    ///
    /// # Errors
    /// Fails if a fault strikes the call.
    pub fn outside_call(&self, call: &str) -> std::io::Result<()> {
        self.before(call.to_owned()).map_err(std::io::Error::from_raw_os_error)
    }

    /// Counts a call and lets the fault planned for the call happen.
    pub(super) fn before(&self, line: String) -> Sys<()> {
        let foreign = {
            let mut plan = self.plan();
            if plan.dead {
                return Err(libc::EIO);
            }
            plan.calls += 1;
            plan.foreign()
        };
        for mut act in foreign {
            act(self);
        }
        let mut plan = self.plan();
        let error = plan.error(&line);
        let line = format!("{:3} {line}", plan.calls);
        plan.trace.push(line);
        if plan.dies() {
            plan.dead = true;
            plan.trace.push("    the process dies".to_owned());
            drop(plan);
            self.state().end_process();
            return Err(libc::EIO);
        }
        error.map_or(Ok(()), Err)
    }

    /// Adds a line about another program's action.
    pub(super) fn note(&self, line: &str) {
        self.plan().trace.push(format!("    {line}"));
    }

    /// Counts a call, does it unless a fault forbids, and writes down how it went.
    pub(super) fn call<T>(
        &self,
        call: Call<'_>,
        act: impl FnOnce(&mut super::State) -> Sys<T>,
    ) -> crate::fs::Result<T> {
        let result = self.before(call.line()).and_then(|()| self.own_call(act));
        if let Err(errno) = &result
            && !self.died()
            && let Some(line) = self.plan().trace.last_mut()
        {
            line.push_str(&format!(" = {}", std::io::Error::from_raw_os_error(*errno)));
        }
        result.map_err(|errno| FsError {
            call: call.what,
            branch: call.at.branch,
            path: self.state().branch_path(call.at),
            source: std::io::Error::from_raw_os_error(errno),
        })
    }

    /// Does something as this process: its pins count.
    fn own_call<T>(&self, act: impl FnOnce(&mut super::State) -> Sys<T>) -> Sys<T> {
        let mut state = self.state();
        state.own_call = true;
        let done = act(&mut state);
        state.own_call = false;
        done
    }

    /// Closes a file. Where a lease ends with the file, the close is a call of its own, as another program may act just
    /// before the close.
    pub(super) fn close(&self, open: u64, at: &Place) {
        if self.state().has_lease(open) {
            // A close cannot fail: an error planned for it only leaves its line in the trace.
            self.before(format!("close {}", shown(at))).ok();
        }
        self.state().close(open);
    }
}

/// A call, for the trace and the error.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    what: &'static str,
    at: &'a Place,
    to: Option<&'a Place>,
}

impl<'a> Call<'a> {
    pub(super) fn new(what: &'static str, at: &'a Place) -> Self {
        Self { what, at, to: None }
    }

    pub(super) fn to(self, to: &'a Place) -> Self {
        Self { to: Some(to), ..self }
    }

    fn line(self) -> String {
        let to = self.to.map(|to| format!(" -> {}", shown(to))).unwrap_or_default();
        format!("{} {}{to}", self.what, shown(self.at))
    }
}

pub(super) fn shown(at: &Place) -> String {
    let BranchIdx(branch) = at.branch;
    format!("{branch}:{}", at.path.as_path().display())
}
