//! One image of a disk: inodes and names, live or durable, and the changes that lead from one to the next.
//!
//! The same [`Image::apply`] serves both: a change is applied to the live image at once and to the durable one
//! when it is synced, so that the two cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::fs::{FileKind, Metadata, Timestamp};
use crate::pool::relpath::RelPath;

/// An inode number.
pub(super) type Ino = u64;
/// The result of a simulated system call: a value or an errno.
pub(super) type Sys<T> = Result<T, i32>;

/// The content of an inode.
#[derive(Debug, Clone)]
pub(super) enum Content {
    File(Vec<u8>),
    Dir(BTreeMap<Vec<u8>, Ino>),
    Symlink,
    Other,
}

/// Everything `statx` says that is no content and no link count.
#[derive(Debug, Clone)]
pub(super) struct Attrs {
    pub(super) meta: Metadata,
    pub(super) default_acl: Option<Vec<u8>>,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) atime: Timestamp,
    pub(super) btime: Timestamp,
    pub(super) immutable: bool,
    /// Something is mounted here: nothing beneath a branch leads over it.
    pub(super) mount_point: bool,
}

impl Attrs {
    pub(super) fn new(mode: u32, at: Timestamp) -> Self {
        Self {
            meta: Metadata { mode, ..Metadata::default() },
            default_acl: None,
            mtime: at,
            ctime: at,
            atime: at,
            btime: at,
            immutable: false,
            mount_point: false,
        }
    }
}

/// An inode.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) attrs: Attrs,
    pub(super) nlink: u64,
    /// Tells it from the inodes that had its number before.
    pub(super) generation: u64,
}

impl Node {
    pub(super) fn new(content: Content, attrs: Attrs) -> Self {
        let nlink = u64::from(matches!(content, Content::Dir(_)));
        Self { content, attrs, nlink, generation: 0 }
    }

    pub(super) fn kind(&self) -> FileKind {
        match self.content {
            Content::File(_) => FileKind::Regular,
            Content::Dir(_) => FileKind::Directory,
            Content::Symlink => FileKind::Symlink,
            Content::Other => FileKind::Other,
        }
    }

    pub(super) fn data(&self) -> &[u8] {
        match &self.content {
            Content::File(data) => data,
            Content::Dir(_) | Content::Symlink | Content::Other => &[],
        }
    }

    pub(super) fn entries(&self) -> Sys<&BTreeMap<Vec<u8>, Ino>> {
        match &self.content {
            Content::Dir(entries) => Ok(entries),
            Content::Symlink => Err(libc::ELOOP),
            Content::File(_) | Content::Other => Err(libc::ENOTDIR),
        }
    }
}

/// What one name of a directory becomes.
#[derive(Debug, Clone)]
pub(super) struct NameSet {
    pub(super) dir: Ino,
    pub(super) name: Vec<u8>,
    pub(super) ino: Option<Ino>,
}

/// One change, applied whole or not at all.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// Names of directories; `moved` are the inodes whose ctime moves.
    Names { sets: Vec<NameSet>, moved: Vec<Ino> },
    /// Owner, mode, attributes or times of an inode, as they are afterwards.
    Attrs { ino: Ino, attrs: Box<Attrs> },
    /// The contents of a file, as they are afterwards; `quiet` moves no times (a store through a mapping).
    Data { ino: Ino, bytes: Vec<u8>, quiet: bool },
}

/// A change and when it was made.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Its number on the disk.
    pub(super) id: u64,
    /// The change without which this change cannot reach the disk, besides the changes of the same names.
    pub(super) after: Option<u64>,
    pub(super) what: What,
    pub(super) at: Timestamp,
}

impl Change {
    pub(super) fn is_data(&self) -> bool {
        matches!(self.what, What::Data { .. })
    }

    pub(super) fn sets(&self) -> &[NameSet] {
        match &self.what {
            What::Names { sets, .. } => sets,
            What::Attrs { .. } | What::Data { .. } => &[],
        }
    }
}

/// The inodes of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Image(BTreeMap<Ino, Node>);

impl Image {
    pub(super) fn insert(&mut self, ino: Ino, node: Node) {
        self.0.insert(ino, node);
    }

    /// An inode that exists: open, or reached by a name.
    pub(super) fn node(&self, ino: Ino) -> &Node {
        &self.0[&ino]
    }

    /// An inode that may not exist any more.
    pub(super) fn get(&self, ino: Ino) -> Option<&Node> {
        self.0.get(&ino)
    }

    fn node_mut(&mut self, ino: Ino) -> &mut Node {
        self.0.get_mut(&ino).expect("invariant: names and opens lead to inodes that exist")
    }

    /// The inode `path` leads to below `root`, through no symlink and no mount point.
    pub(super) fn walk(&self, root: Ino, path: &RelPath) -> Sys<Ino> {
        let mut at = root;
        for name in path.as_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            at = self.entry(at, name)?;
        }
        Ok(at)
    }

    /// The inode that `name` leads to in a directory, unless something is mounted there.
    pub(super) fn entry(&self, dir: Ino, name: &[u8]) -> Sys<Ino> {
        let ino = *self.node(dir).entries()?.get(name).ok_or(libc::ENOENT)?;
        if self.node(ino).attrs.mount_point {
            return Err(libc::EXDEV);
        }
        Ok(ino)
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match &change.what {
            What::Names { sets, moved } => {
                for set in sets {
                    self.set_name(set, change.at);
                }
                for ino in moved {
                    self.node_mut(*ino).attrs.ctime = change.at;
                }
            }
            What::Attrs { ino, attrs } => self.node_mut(*ino).attrs = (**attrs).clone(),
            What::Data { ino, bytes, quiet } => {
                let node = self.node_mut(*ino);
                node.content = Content::File(bytes.clone());
                if !quiet {
                    node.attrs.mtime = change.at;
                    node.attrs.ctime = change.at;
                }
            }
        }
    }

    fn set_name(&mut self, set: &NameSet, at: Timestamp) {
        let dir = self.node_mut(set.dir);
        dir.attrs.mtime = at;
        dir.attrs.ctime = at;
        let Content::Dir(entries) = &mut dir.content else {
            return;
        };
        let before = match set.ino {
            Some(ino) => entries.insert(set.name.clone(), ino),
            None => entries.remove(&set.name),
        };
        if let Some(ino) = before {
            let node = self.node_mut(ino);
            node.nlink = node.nlink.saturating_sub(1);
        }
        if let Some(ino) = set.ino {
            self.node_mut(ino).nlink += 1;
        }
    }

    /// Every name below `root`, and what it leads to.
    pub(super) fn below(&self, root: Ino) -> Vec<(RelPath, Ino)> {
        let (mut found, mut queue) = (Vec::new(), vec![(RelPath::root(), root)]);
        while let Some((dir, ino)) = queue.pop() {
            let Content::Dir(entries) = &self.node(ino).content else {
                continue;
            };
            for (name, ino) in entries {
                if let Ok(path) = dir.join(OsStr::from_bytes(name)) {
                    found.push((path.clone(), *ino));
                    queue.push((path, *ino));
                }
            }
        }
        found
    }

    /// Forgets what no name leads to from `root`, and counts links anew, as a journal replay and fsck leave it.
    pub(super) fn settle(&mut self, root: Ino) {
        let (mut seen, mut links) = (BTreeSet::from([root]), BTreeMap::<Ino, u64>::new());
        let mut queue = vec![root];
        while let Some(ino) = queue.pop() {
            let Content::Dir(entries) = &self.node(ino).content else {
                continue;
            };
            for ino in entries.values() {
                *links.entry(*ino).or_default() += 1;
                if seen.insert(*ino) {
                    queue.push(*ino);
                }
            }
        }
        self.0.retain(|ino, _| seen.contains(ino));
        for (ino, node) in &mut self.0 {
            let own = u64::from(matches!(node.content, Content::Dir(_)));
            node.nlink = own + links.get(ino).copied().unwrap_or(0);
        }
    }
}
