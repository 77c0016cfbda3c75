//! The short window: both files of an op open and leased, for microseconds to milliseconds.
//!
//! Between taking and releasing a lease there are only branch calls: no log, print, journal, CSV or pool access.
//! A pool client that opens a leased file blocks one of mergerfs' threads; with all of them blocked the pool hangs.

use std::sync::Arc;
use std::time::Duration;

use super::compared::Files;
use super::halt::Halt;
use crate::fs::{Change, FsError, Lease};
use crate::plan::refusal::Reason;

/// How often a lease is tried: mergerfs closes a client's descriptor up to some milliseconds after the client did.
pub(super) const TRIES: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(1);

/// Whether leases are taken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leases {
    /// The protection against other programs.
    Required,
    /// `--no-lease`: the user vouches that nothing else uses the pool.
    Off,
}

/// An open file with a lease; dropping it releases the lease.
///
/// The kernel refuses a write lease while this process has the file open a second time: all phases of an op use one
/// descriptor, and so do all ops that keep the same copy.
pub(crate) struct Leased<'f, F: Change> {
    fs: &'f F,
    leases: Leases,
    pub(crate) file: Arc<F::File>,
    held: Option<Lease>,
}

impl<'f, F: Change> Leased<'f, F> {
    /// Wraps an open file that has no lease yet.
    pub(crate) fn new(fs: &'f F, leases: Leases, file: impl Into<Arc<F::File>>) -> Self {
        Self { fs, leases, file: file.into(), held: None }
    }

    /// Takes a lease or changes the held one, once.
    pub(crate) fn try_take(&mut self, lease: Lease) -> Result<(), FsError> {
        if self.leases == Leases::Required {
            self.fs.lease(&self.file, lease)?;
        }
        self.held = Some(lease);
        Ok(())
    }

    /// Takes a lease, waiting a little for a client's close to come through.
    pub(crate) fn take(&mut self, lease: Lease, what: &str) -> Result<(), Halt> {
        self.take_within(TRIES, lease, what)
    }

    /// Tries so many times to take a lease.
    pub(super) fn take_within(&mut self, tries: u32, lease: Lease, what: &str) -> Result<(), Halt> {
        for attempt in 1..=tries {
            match self.try_take(lease) {
                Err(error) if error.errno() == libc::EAGAIN && attempt < tries => {
                    self.fs.pause(BETWEEN);
                }
                other => return other.map_err(|error| lease_halt(error, what)),
            }
        }
        Ok(())
    }

    /// Whether no other program has asked for the file since the lease was taken.
    pub(crate) fn unbroken(&self) -> Result<bool, FsError> {
        match (self.leases, self.held) {
            (Leases::Off, _) | (_, None) => Ok(true),
            (Leases::Required, held) => Ok(self.fs.lease_state(&self.file)? == held),
        }
    }

    /// Whether another program waits to open the file for writing. A reader who waits for a write lease to go does not
    /// count.
    pub(crate) fn writer_waits(&self) -> Result<bool, FsError> {
        match (self.leases, self.held) {
            (Leases::Off, _) | (_, None) => Ok(false),
            (Leases::Required, Some(_)) => Ok(self.fs.lease_state(&self.file)?.is_none()),
        }
    }

    /// Releases the lease; the programs that waited go on.
    pub(crate) fn release(&mut self) -> Result<(), FsError> {
        if self.held.take().is_some() && self.leases == Leases::Required {
            self.fs.release(&self.file)?;
        }
        Ok(())
    }
}

impl<F: Change> Drop for Leased<'_, F> {
    fn drop(&mut self) {
        if self.held.take().is_some()
            && self.leases == Leases::Required
            && let Err(error) = self.fs.release(&self.file)
        {
            // Closing the descriptor releases it too.
            tracing::debug!(%error, "lease not released");
        }
    }
}

/// Both files of an op, leased: the master for reading (no program writes it), the duplicate for writing (no program
/// has it open at all: since mergerfs 2.41 one open reader sends every new open of the path to the old inode).
pub(crate) struct Window<'f, F: Change> {
    pub(crate) master: Leased<'f, F>,
    pub(crate) duplicate: Leased<'f, F>,
}

impl<'f, F: Change> Window<'f, F> {
    /// Takes both leases. While the window waits for one lease, it does not hold the other.
    pub(super) fn open(fs: &'f F, leases: Leases, files: Files<F::File>) -> Result<Self, Halt> {
        let master = Leased::new(fs, leases, files.master);
        let duplicate = Leased::new(fs, leases, files.duplicate);
        let mut window = Self { master, duplicate };
        for attempt in 1..=TRIES {
            match window.try_take() {
                Ok(()) => return Ok(window),
                Err((error, _)) if error.errno() == libc::EAGAIN && attempt < TRIES => {
                    fs.pause(BETWEEN);
                }
                Err((error, what)) => return Err(lease_halt(error, what)),
            }
        }
        Ok(window)
    }

    fn try_take(&mut self) -> Result<(), (FsError, &'static str)> {
        self.duplicate.try_take(Lease::Write).map_err(|error| (error, "duplicate"))?;
        if let Err(error) = self.master.try_take(Lease::Read) {
            self.duplicate.release().map_err(|error| (error, "duplicate"))?;
            return Err((error, "master"));
        }
        Ok(())
    }
}

fn lease_halt(error: FsError, what: &str) -> Halt {
    let detail = format!("{what}: {:?}", error.path);
    match error.errno() {
        libc::EAGAIN => Halt::again(Reason::Busy, format!("{detail} is open in another program")),
        // Says nothing about the filesystem: only root and the owner get leases.
        libc::EACCES => Halt::new(Reason::Permission, format!("{detail} is not yours: no lease")),
        libc::EINVAL | libc::ENOLCK | libc::EOPNOTSUPP | libc::EPERM => {
            Halt::new(Reason::NoLease, format!("{detail}: {}", error.source))
        }
        _ if error.limit().is_some() => error.into(),
        _ => Halt {
            stops: Some(error.stops()),
            ..Halt::new(Reason::Io, format!("{detail}: {}", error.source))
        },
    }
}
