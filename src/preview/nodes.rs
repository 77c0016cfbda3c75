//! The node numbers by which the kernel knows the paths: one node per path, as long as the kernel remembers the node.
//!
//! Two names of one inode are two nodes, so that each name can have a fate of its own. The attributes of both nodes
//! report the inode number that the names share.

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
    /// The path of each node, with how often the node was reported to the kernel.
    paths: HashMap<u64, (Arc<RelPath>, u64)>,
    nodes: HashMap<Arc<RelPath>, u64>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table { last: ROOT, ..Table::default() }))
    }

    /// The path of a node; `None` for a node that was never reported to the kernel, or that the kernel has forgotten.
    pub(super) fn path(&self, node: u64) -> Option<RelPath> {
        if node == ROOT {
            return Some(RelPath::root());
        }
        self.table().paths.get(&node).map(|(path, _)| {
            let path: &RelPath = path;
            path.clone()
        })
    }

    /// Returns the node of a path, and counts one more report of the node to the kernel.
    pub(super) fn told(&self, path: RelPath) -> u64 {
        let mut table = self.table();
        if let Some(node) = table.nodes.get(&path).copied() {
            if let Some((_, told)) = table.paths.get_mut(&node) {
                *told += 1;
            }
            return node;
        }
        // A node number is never used again: a forgotten node cannot come back as another path.
        table.last += 1;
        let (node, path) = (table.last, Arc::new(path));
        table.paths.insert(node, (Arc::clone(&path), 1));
        table.nodes.insert(path, node);
        node
    }

    /// The kernel forgets `times` reports of a node.
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
