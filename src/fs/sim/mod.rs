//! Disks, branches and other programs in memory: the crash tests drive the executor over this simulation.
//!
//! A [`SimWorld`] is shared by its clones: the test keeps one while the executor works on another through
//! [`SimFs`]. Each disk has a live and a durable image; every call is counted and can be made to fail, to be the
//! last of the process, or to be preceded by another program's action. The simulation must never be kinder than a
//! real disk: where filesystems differ, the simulation behaves like the worst filesystem.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod calls;
mod clients;
mod dentries;
mod disk;
mod faults;
mod handles;
mod image;
mod lease;
mod losses;
mod open;
mod pins;
mod setup;
mod spot;
mod state;
#[cfg(test)]
mod tests;

pub use clients::{ClientId, Served};
pub use faults::Fault;
pub use losses::{Data, PowerLoss};
pub use open::Acknowledged;
pub use setup::{DiskIdx, place};

use faults::Plan;
use state::State;

/// Disks, branches, open files and clients. Clones are the same world; [`SimWorld::fork`] makes another.
#[derive(Clone)]
pub struct SimWorld {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Apart from the state: what others do is done while no state is held.
    plan: Mutex<Plan>,
}

impl SimWorld {
    fn of(state: State) -> Self {
        let shared = Shared { state: Mutex::new(state), plan: Mutex::new(Plan::default()) };
        Self { shared: Arc::new(shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another world that is now like this one, without its faults and call count; this process has nothing
    /// open there, clients have what they have here.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.end_process();
        Self::of(state)
    }

    /// The branches as the executor sees them.
    #[must_use]
    pub fn fs(&self) -> SimFs {
        SimFs { world: self.clone() }
    }
}

impl std::fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimWorld").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

/// [`Look`](super::Look) and [`Change`](super::Change) over a [`SimWorld`]: a handle, cheap to clone.
#[derive(Debug, Clone)]
pub struct SimFs {
    world: SimWorld,
}

/// A file this process has open; dropping the value closes the file and releases its lease.
#[derive(Debug)]
pub struct SimFile {
    world: SimWorld,
    open: u64,
    at: super::Place,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.world.close(self.open, &self.at);
    }
}
