//! What the kernel calls each path: a node a path, as long as the kernel remembers it.
//!
//! Names of one inode are different nodes, so that each can say what becomes of it; the inode number they share is
//! told with their attributes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pool::relpath::RelPath;

/// The node of the root directory.
pub(super) const ROOT: u64 = 1;

/// The nodes the kernel knows.
#[derive(Debug)]
pub(super) struct Nodes(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    /// With how often it was told.
    paths: HashMap<u64, (Arc<RelPath>, u64)>,
    nodes: HashMap<Arc<RelPath>, u64>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table {
            last: ROOT,
            ..Table::default()
        }))
    }

    /// The path of a node; `None` for one that was never told, or forgotten.
    pub(super) fn path(&self, node: u64) -> Option<RelPath> {
        if node == ROOT {
            return Some(RelPath::root());
        }
        self.table().paths.get(&node).map(|(path, _)| {
            let path: &RelPath = path;
            path.clone()
        })
    }

    /// The node of a path, told once more.
    pub(super) fn told(&self, path: RelPath) -> u64 {
        let mut table = self.table();
        if let Some(node) = table.nodes.get(&path).copied() {
            if let Some((_, told)) = table.paths.get_mut(&node) {
                *told += 1;
            }
            return node;
        }
        // Never used again: what was forgotten cannot come back as something else.
        table.last += 1;
        let (node, path) = (table.last, Arc::new(path));
        table.paths.insert(node, (Arc::clone(&path), 1));
        table.nodes.insert(path, node);
        node
    }

    /// The kernel forgets a node `times` of the times it was told.
    pub(super) fn forget(&self, node: u64, times: u64) {
        let mut table = self.table();
        let Some((path, told)) = table.paths.get_mut(&node) else {
            return;
        };
        *told = told.saturating_sub(times);
        if *told == 0 {
            let path = Arc::clone(path);
            table.paths.remove(&node);
            table.nodes.remove(&path);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_lives_as_long_as_the_kernel_remembers_it() {
        let nodes = Nodes::new();
        let path = |name: &str| RelPath::new(name).unwrap();
        let a = nodes.told(path("a"));
        assert_eq!(nodes.told(path("a")), a);
        assert_ne!(nodes.told(path("b")), a);
        assert_eq!(nodes.path(ROOT), Some(RelPath::root()));
        nodes.forget(a, 1);
        assert_eq!(nodes.path(a), Some(path("a")));
        nodes.forget(a, 1);
        assert_eq!(nodes.path(a), None);
        assert_ne!(nodes.told(path("a")), a, "a number is never used again");
    }
}
