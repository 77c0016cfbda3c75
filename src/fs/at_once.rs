//! The same call for many items at once, over many threads: a disk puts what waits for it in an order that suits it, and
//! commits its journal, and flushes, once for all syncs that wait. One after the other, each sync costs a rotating disk 4 to
//! 20 ms.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many calls of one queue are under way at a time.
const AT_ONCE: usize = 32;

/// How many are under way in all, however many queues there are.
const WAITING_MAX: usize = 256;

/// Makes `call` for each of `items`, on all queues at the same time; returns the results in the order of `items`. What waits for
/// one disk belongs in one queue.
pub(crate) fn all<T: Sync, Q: Ord, R: Send>(
    items: &[T],
    queue_of: impl Fn(&T) -> Q,
    call: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if let [item] = items {
        return vec![call(item)];
    }
    let mut queues: BTreeMap<Q, Vec<usize>> = BTreeMap::new();
    for (n, item) in items.iter().enumerate() {
        queues.entry(queue_of(item)).or_default().push(n);
    }
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let work = |queue: &Mutex<std::vec::IntoIter<usize>>| {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(n) = next else { return };
            let result = call(&items[n]);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((n, result));
        }
    };
    let queues: Vec<_> =
        queues.into_values().map(|queue| (queue.len(), Mutex::new(queue.into_iter()))).collect();
    let at_once = AT_ONCE.min(WAITING_MAX / queues.len().max(1)).max(1);
    thread::scope(|scope| {
        for (waiting, queue) in &queues {
            for _ in 0..at_once.min(*waiting) {
                let spawned = thread::Builder::new().spawn_scoped(scope, || work(queue));
                if let Err(error) = spawned {
                    tracing::debug!(%error, "no more threads");
                }
            }
        }
        // Whatever no thread could be had for.
        for (_, queue) in &queues {
            work(queue);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fs::FsError;
    use crate::pool::BranchIdx;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..1_000).collect();
        let squares: Vec<u64> = items.iter().map(|n| n * n).collect();
        assert_eq!(all(&items, |_| (), |n| n * n), squares);
        assert!(all(&[] as &[u64], |_| (), |n| *n).is_empty());
    }

    #[test]
    fn every_item_is_synced_once_and_its_error_stays_with_it() {
        let items: Vec<u16> = (0..200).collect();
        let calls = AtomicUsize::new(0);
        let synced = all(
            &items,
            |n| BranchIdx(n % 3),
            |n| {
                calls.fetch_add(1, Ordering::Relaxed);
                let source = io::Error::from_raw_os_error(libc::EIO);
                let path = n.to_string().into();
                let error = FsError { call: "sync", branch: BranchIdx(n % 3), path, source };
                if n % 7 == 0 { Err(error) } else { Ok(()) }
            },
        );
        assert_eq!(calls.into_inner(), items.len());
        assert_eq!(synced.len(), items.len());
        for (n, synced) in synced.iter().enumerate() {
            let failed = synced.as_ref().err().map(|error| error.path.display().to_string());
            assert_eq!(failed, (n % 7 == 0).then(|| n.to_string()));
        }
    }

    #[test]
    fn the_syncs_of_one_disk_wait_together() {
        let together = std::sync::Barrier::new(AT_ONCE);
        let items = [BranchIdx(0); AT_ONCE];
        let sync = |_: &BranchIdx| {
            together.wait();
        };
        assert_eq!(all(&items, |branch| *branch, sync).len(), AT_ONCE);
    }
}
