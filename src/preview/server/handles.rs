//! The table of open files and of open directories with their listings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{Errno, FileHandle, FopenFlags, ReplyOpen};

/// Open files, or open directories.
pub(super) struct Handles<T> {
    open: Mutex<HashMap<u64, Arc<T>>>,
    last: AtomicU64,
}

impl<T> Handles<T> {
    pub(super) fn new() -> Self {
        Self { open: Mutex::default(), last: AtomicU64::new(0) }
    }

    /// Answers with a new handle of the opened file or directory.
    pub(super) fn answer(&self, opened: Result<T, Errno>, reply: ReplyOpen) {
        match opened {
            Ok(opened) => {
                let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
                self.table().insert(handle, Arc::new(opened));
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(errno) => reply.error(errno),
        }
    }

    pub(super) fn get(&self, handle: FileHandle) -> Result<Arc<T>, Errno> {
        let table = self.table();
        table.get(&handle.0).map(Arc::clone).ok_or(Errno::EBADF)
    }

    pub(super) fn close(&self, handle: FileHandle) {
        // The file is closed after the table is unlocked: closing may wait for a disk.
        let closed = self.table().remove(&handle.0);
        drop(closed);
    }

    /// A panic while the lock is held leaves a sound table: no change to the table is half done.
    fn table(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
