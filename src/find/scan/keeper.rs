//! Stores hashes in the cache in a thread of its own, while the scan goes on.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Scope;

use super::cache::Cache;
use super::cache_block::CachedFile;

/// Results that the cache takes in at a time.
const AT_ONCE: usize = 8192;
/// Batches of `AT_ONCE` results that may wait for the cache.
const WAITING: usize = 8;

/// A handle to the thread that fills the cache. When the last handle is dropped, the thread stores the waiting results,
/// makes the results durable, and the cache rests.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    queue: SyncSender<Vec<CachedFile>>,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, cache: &'scope Cache) -> Self {
        let (queue, entries) = sync_channel::<Vec<CachedFile>>(WAITING);
        scope.spawn(move || {
            entries.into_iter().for_each(|entries| cache.store(entries));
            cache.rest();
        });
        Self { queue }
    }

    /// Sends hashes to the thread, in the order in which the cache keeps them; waits if the thread is behind.
    pub(super) fn keep(&self, read: impl Iterator<Item = CachedFile>) {
        let mut read = read.peekable();
        while read.peek().is_some() {
            let entries = read.by_ref().take(AT_ONCE).collect();
            if self.queue.send(entries).is_err() {
                // The thread has ended: a scan without a cache is slower, but still correct.
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Stamp;
    use super::super::read::Part;
    use super::*;
    use crate::fs::FsId;

    #[test]
    fn all_that_was_handed_over_is_in_the_cache_when_the_thread_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let entry = |ino| CachedFile {
            fs: FsId { uuid: [7; 16], subvolume: 5 },
            ino,
            stamp: Stamp { size: 1, mtime: 2, ctime: 3 },
            part: Part::Whole,
            hash: [ino, !ino],
        };
        let count = (AT_ONCE * (WAITING + 2)) as u64 + 1;
        std::thread::scope(|scope| {
            let keeper = Keeper::start(scope, &cache);
            let another = keeper.clone();
            keeper.keep((0..count).map(entry));
            drop(keeper);
            another.keep(std::iter::once(entry(count)));
        });
        let mut view = cache.view();
        for ino in 0..=count {
            assert_eq!(view.find(entry(ino)), Some([ino, !ino]), "{ino}");
        }
    }
}
