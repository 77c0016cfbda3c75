//! What is open: files, and directories as they were listed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{Errno, FileHandle, FopenFlags, ReplyOpen};

/// Open things of one kind.
pub(super) struct Handles<T> {
    open: Mutex<HashMap<u64, Arc<T>>>,
    last: AtomicU64,
}

impl<T> Handles<T> {
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::default(),
            last: AtomicU64::new(0),
        }
    }

    /// Answers with a handle of what was opened.
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
        // Closed when the table is free again: that may wait for a disk.
        let closed = self.table().remove(&handle.0);
        drop(closed);
    }

    /// A panic while the lock was held leaves a sound table behind: nothing in it is half done.
    fn table(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
