//! Open files and leases, of this process and of clients, as the kernel keeps them (facts 5.1 to 5.6).
//!
//! A process that opens a leased file in conflict waits inside `open`: the file counts as open already, and the
//! holder's lease shows broken. When the lease ends, the opener goes on with the *inode* it came for, whatever
//! the file's name leads to by then.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::fs::Lease;
use crate::pool::relpath::RelPath;

use super::image::{Ino, Sys};
use super::open::{Acknowledged, Breaking, Errand, Open};
use super::state::State;

impl State {
    pub(super) fn opened(&mut self, open: Open) -> u64 {
        self.next_open += 1;
        self.opens.insert(self.next_open, open);
        self.next_open
    }

    /// This process' open file; `EBADF` once it has died.
    pub(super) fn file(&self, id: u64) -> Sys<&Open> {
        self.opens.get(&id).ok_or(libc::EBADF)
    }

    /// As `file`, but fails if the file is only held: the kernel lets no process read or lease a held file.
    pub(super) fn open_file(&self, id: u64) -> Sys<&Open> {
        let open = self.file(id)?;
        if open.path_only { Err(libc::EBADF) } else { Ok(open) }
    }

    /// The path of the name that a file was opened by; `None` if that name ended, or if it was opened by no name.
    pub(super) fn path_of(&self, open: u64) -> Sys<Option<RelPath>> {
        let open = self.file(open)?;
        let key = open.dentry.and_then(|dentry| self.dentries.key_of(dentry));
        let Some((disk, dir, name)) = key else {
            return Ok(None);
        };
        let Some(dir) = self.path_below(open.at.branch, *disk, *dir) else {
            return Ok(None);
        };
        dir.join(OsStr::from_bytes(name)).map(Some).map_err(|_| libc::ENAMETOOLONG)
    }

    pub(super) fn has_lease(&self, id: u64) -> bool {
        self.opens.get(&id).is_some_and(|open| open.lease.is_some())
    }

    /// Breaks the leases that are in the way of an open; returns whether there were such leases.
    pub(super) fn break_leases(&mut self, disk: usize, ino: Ino, writes: bool) -> bool {
        let mut met = false;
        for open in self.opens.values_mut().filter(|open| open.is(disk, ino)) {
            if !open.in_the_way(writes) {
                continue;
            }
            met = true;
            if writes {
                open.breaking = Some(Breaking::Unlock);
            } else if open.breaking.is_none() {
                open.breaking = Some(Breaking::Downgrade);
            }
        }
        met
    }

    pub(super) fn lease(&mut self, id: u64, lease: Lease) -> Sys<()> {
        let (disk, ino) = self.open_file(id).map(|open| (open.disk, open.ino))?;
        let mut others = self.opens.iter().filter(|(other, _)| **other != id);
        let conflict = others.any(|(_, open)| {
            open.is(disk, ino)
                && !open.path_only
                && (lease == Lease::Write
                    || open.writes
                    || open.lease == Some(Lease::Write)
                    || open.breaking == Some(Breaking::Unlock))
        });
        if conflict {
            return Err(libc::EAGAIN);
        }
        let open = self.opens.get_mut(&id).ok_or(libc::EBADF)?;
        if open.lease == Some(Lease::Write)
            && lease == Lease::Read
            && open.breaking == Some(Breaking::Downgrade)
        {
            open.breaking = None;
        }
        open.lease = Some(lease);
        self.wake(disk, ino);
        Ok(())
    }

    pub(super) fn lease_state(&self, id: u64) -> Sys<Option<Lease>> {
        let open = self.open_file(id)?;
        Ok(match open.breaking {
            Some(Breaking::Unlock) => None,
            Some(Breaking::Downgrade) => open.lease.and(Some(Lease::Read)),
            None => open.lease,
        })
    }

    pub(super) fn release(&mut self, id: u64) -> Sys<()> {
        self.open_file(id)?;
        let open = self.opens.get_mut(&id).ok_or(libc::EBADF)?;
        (open.lease, open.breaking) = (None, None);
        let (disk, ino) = (open.disk, open.ino);
        self.wake(disk, ino);
        Ok(())
    }

    pub(super) fn close(&mut self, id: u64) {
        if let Some(open) = self.opens.remove(&id) {
            self.wake(open.disk, open.ino);
        }
    }

    /// Closes everything this process has open; the process then holds no directory.
    pub(super) fn end_process(&mut self) {
        self.pins.clear();
        self.comings.clear();
        let own: Vec<u64> = self
            .opens
            .iter()
            .filter(|(_, open)| open.client.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in own {
            self.close(id);
        }
    }

    /// Lets the clients go on whose opens no lease holds up any more.
    fn wake(&mut self, disk: usize, ino: Ino) {
        let waiting: Vec<(u64, bool)> = self
            .opens
            .iter()
            .filter(|(_, open)| open.is(disk, ino))
            .filter(|(_, open)| open.client.as_ref().is_some_and(|client| client.waits))
            .map(|(id, open)| (*id, open.writes))
            .collect();
        for (id, writes) in waiting {
            if !self.opens.values().any(|open| open.is(disk, ino) && open.in_the_way(writes)) {
                self.go_on(id);
            }
        }
    }

    /// A client's open succeeds: it does what it came for.
    pub(super) fn go_on(&mut self, id: u64) {
        let Some(open) = self.opens.get_mut(&id) else {
            return;
        };
        let (disk, ino) = (open.disk, open.ino);
        let Some(client) = &mut open.client else {
            return;
        };
        client.waits = false;
        let path = client.path.clone();
        let keeps_times = matches!(client.errand, Errand::WriteKeepingTimes(_));
        let bytes = match &client.errand {
            Errand::Hold => return,
            Errand::Write(bytes) | Errand::WriteKeepingTimes(bytes) => bytes.clone(),
            Errand::Truncate(size) => {
                let mut bytes = self.disks[disk].live.node(ino).data().to_vec();
                bytes.resize(*size, 0);
                bytes
            }
        };
        let mtime = self.disks[disk].live.node(ino).attrs.mtime;
        self.write(disk, ino, bytes.clone());
        if keeps_times {
            self.alter_inode(disk, ino, |attrs| attrs.mtime = mtime);
        }
        self.acknowledged.push(Acknowledged { path, id: self.id(disk, ino), bytes, synced: false });
        self.close(id);
    }
}
