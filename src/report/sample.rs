//! Small pools and ops for the tests of reports.

use crate::plan::OpFile;
use std::path::PathBuf;

use super::Scene;
use crate::fs::{InodeId, Place};
use crate::plan::{Found, OpKind};
use crate::plan::{Op, OpName};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// Two branches.
pub(super) fn pool() -> Pool {
    pool_at("/pool", ["/mnt/d1".into(), "/mnt/d2".into()])
}

pub(super) fn pool_at(mount: impl Into<PathBuf>, branches: [PathBuf; 2]) -> Pool {
    Pool { version: "2.40.2".into(), ..Pool::sample(&mount.into(), &branches) }
}

pub(super) fn scene(pool: &Pool) -> Scene<'_> {
    Scene {
        pool,
        run: Some(7),
        dry_run: false,
        verbose: 0,
        quiet: false,
        terminal: false,
        screen: super::Screen::default(),
        journal: None,
    }
}

pub(super) fn path(bytes: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(bytes).unwrap()
}

/// An op of `kind`, the master on the first branch; a local duplicate there too.
pub(super) fn op(kind: OpKind, master: &[u8], names: &[&[u8]], bytes: u64) -> Op {
    let (to, from) = match kind {
        OpKind::Cross => (BranchIdx(0), BranchIdx(1)),
        OpKind::Local => (BranchIdx(0), BranchIdx(0)),
    };
    let inode = |ino| InodeId { dev: 1 + u64::from(from.0), ino };
    let name = |name: &&[u8]| OpName { path: path(name), from, to, found: Found::Absent };
    Op::planned(
        kind,
        OpFile { at: Place::new(to, path(master)), id: inode(1) },
        OpFile { at: Place::new(from, path(names[0])), id: inode(2) },
        bytes,
        bytes,
        names.iter().map(name).collect(),
    )
}

pub(super) fn cross(master: &str, name: &str, bytes: u64) -> Op {
    op(OpKind::Cross, master.as_bytes(), &[name.as_bytes()], bytes)
}
