//! An open file, of this process or of a client, and the client's purpose with the file.

use crate::fs::{InodeId, Lease, Place};
use crate::pool::relpath::RelPath;

use super::dentries::Dentry;
use super::image::Ino;

/// A client's write that the simulation has reported as successful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The pool path it was opened by.
    pub path: RelPath,
    /// The inode written to.
    pub id: InodeId,
    /// The contents after the write.
    pub bytes: Vec<u8>,
    /// Whether the client also made the write durable.
    pub synced: bool,
}

/// A client's action once its open succeeds.
#[derive(Debug, Clone)]
pub(super) enum Errand {
    /// Keep it open.
    Hold,
    /// Replace the contents, and close.
    Write(Vec<u8>),
    /// Replace the contents, set the mtime back, and close.
    WriteKeepingTimes(Vec<u8>),
    /// Cut or extend to this many bytes, and close.
    Truncate(usize),
}

/// A client's side of an open file.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The pool path it was opened by.
    pub(super) path: RelPath,
    pub(super) errand: Errand,
    /// Whether the client still waits inside `open`.
    pub(super) waits: bool,
    /// Whether the pool path was removed or replaced through the pool since: new opens do not share it.
    pub(super) detached: bool,
}

/// How far a lease must give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaking {
    /// A reader waits: down to a read lease.
    Downgrade,
    /// A writer waits: the lease must end.
    Unlock,
}

/// An open file.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) disk: usize,
    pub(super) ino: Ino,
    pub(super) at: Place,
    pub(super) writes: bool,
    /// Held without being open (`O_PATH`): the file hinders no lease and breaks no lease.
    pub(super) path_only: bool,
    /// The name it was opened by.
    pub(super) dentry: Option<Dentry>,
    pub(super) lease: Option<Lease>,
    pub(super) breaking: Option<Breaking>,
    /// `None`: this process has the file open.
    pub(super) client: Option<Client>,
}

impl Open {
    pub(super) fn new(disk: usize, ino: Ino, at: Place) -> Self {
        Self {
            disk,
            ino,
            at,
            writes: false,
            path_only: false,
            dentry: None,
            lease: None,
            breaking: None,
            client: None,
        }
    }

    pub(super) fn is(&self, disk: usize, ino: Ino) -> bool {
        self.disk == disk && self.ino == ino
    }

    pub(super) fn in_the_way(&self, writes: bool) -> bool {
        self.lease == Some(Lease::Write) || (writes && self.lease.is_some())
    }
}
