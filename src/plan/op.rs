//! One op as it is planned: an immutable value. Facts learned while carrying it out are in other types.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::hidden_name::{Role, hidden_name};
use super::op_id::OpId;
use crate::fs::{Fingerprint, InodeId, Metadata, Place, Timestamp};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// Stands for an inode that is not there yet: no file has it.
pub const NO_INODE: InodeId = InodeId { dev: 0, ino: 0 };

/// Whether the duplicate lies where the master can be linked in the duplicate's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OpKind {
    /// Another device: the master is linked on its own branch under the duplicate's relpath.
    Cross,
    /// Same device and mount: the master takes the duplicate's name where it is.
    Local,
}

/// The entry that a name had on the target branch before the op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// Nothing.
    Absent,
    /// The duplicate itself (local).
    Duplicate,
    /// A name of the master already: this program may not take it away.
    Master,
}

/// A directory to be made as a clone of a directory on another branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirIntent {
    /// Its path.
    pub path: RelPath,
    /// The branch it is made on.
    pub to: BranchIdx,
    /// The branch whose directory the pool shows.
    pub from: BranchIdx,
}

/// One name of the duplicate; the same relpath on both branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpName {
    /// The name.
    pub path: RelPath,
    /// The branch on which the duplicate has it.
    pub from: BranchIdx,
    /// The branch on which the replacement gets it.
    pub to: BranchIdx,
    /// The entry found on `to` before anything was done.
    pub found: Found,
}

/// A file of an op: one name, and the inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpFile {
    /// A name of it.
    pub at: Place,
    /// Its inode.
    pub id: InodeId,
}

/// One duplicate inode to be replaced, with all its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Cross or local.
    pub kind: OpKind,
    /// A name of the master.
    pub master: Place,
    /// The master's inode; [`NO_INODE`] for an undo, whose master does not exist yet.
    pub master_id: InodeId,
    /// A name of the duplicate.
    pub duplicate: Place,
    /// The duplicate's inode.
    pub duplicate_id: InodeId,
    /// Size of both in bytes.
    pub size: u64,
    /// Bytes that become free.
    pub bytes: u64,
    /// Bytes that the duplicate shares with a snapshot or another file: they stay in use without it.
    pub shared: u64,
    /// Every name of the duplicate.
    pub names: Vec<OpName>,
    /// Directories that a look at the branches found missing, outermost first. The executor looks again.
    pub dirs: Vec<DirIntent>,
    /// Whether differing metadata would keep the duplicate back if it had to become a link.
    pub differs: bool,
    /// Whether it replaces a duplicate or undoes another op.
    pub task: Task,
}

/// The purpose of an op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Links replace the duplicate.
    Replace,
    /// A copy replaces links that an earlier op made.
    Undo(Box<Undoing>),
    /// A clone of the master, on the master's branch, replaces the duplicate.
    Reflink(Cloning),
    /// Links replace the copy that an earlier op, of an undo, made.
    Relink(OpId),
    /// The duplicate stays a file of its own, and shares its blocks with the master. Nothing has to be recovered, and nothing
    /// can be undone.
    Share,
}

/// How a clone replaces a duplicate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cloning {
    /// The clone, once both files were compared. From then on the clone is the master of the op.
    pub made: Option<Box<Undoing>>,
    /// Whether links replace the duplicate if the filesystem makes no clone (`--link auto`).
    pub or_link: bool,
    /// The op of an undo that the op takes back.
    pub relinks: Option<OpId>,
}

/// A file that an op clones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A name of it.
    pub at: Place,
    /// The file when it was compared.
    pub seen: Fingerprint,
}

/// The file that an undo makes again. That file is the master of the op. The duplicate is the file that stays, and the
/// duplicate loses the names of the op. Or the clone that replaces a duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoing {
    /// The op that is undone; `None` for a clone.
    pub of: Option<OpId>,
    /// The kept copy that is cloned; `None` for an undo.
    pub source: Option<Source>,
    /// Whether the file that stays is a clone: a file of its own, and the file that comes back takes after it.
    pub of_clone: bool,
    /// Owner, mode, ACL and attributes of the file that comes back.
    pub metadata: Metadata,
    /// Its atime.
    pub atime: Timestamp,
    /// Its mtime.
    pub mtime: Timestamp,
    /// Its inode flags, as far as they are known.
    pub flags: Option<u32>,
    /// Its contents.
    pub blake3: [u8; 32],
    /// Whether zeros become holes.
    pub sparse: bool,
    /// The mtime of the file that stays when it was compared: another mtime means that a client changed it.
    pub source_mtime: Timestamp,
    /// Directories of the duplicate's branch to be removed where empty, innermost first.
    pub emptied: Vec<RelPath>,
}

impl Op {
    /// Returns an op that replaces `duplicate` by links to `master`; sizes in bytes.
    #[must_use]
    pub fn planned(
        kind: OpKind,
        master: OpFile,
        duplicate: OpFile,
        size: u64,
        bytes: u64,
        names: Vec<OpName>,
    ) -> Self {
        Self {
            kind,
            master: master.at,
            master_id: master.id,
            duplicate: duplicate.at,
            duplicate_id: duplicate.id,
            size,
            bytes,
            shared: 0,
            names,
            dirs: Vec::new(),
            differs: false,
            task: Task::Replace,
        }
    }

    /// Returns the same op as an op that makes a file: a copy, if it undoes another op, else a clone.
    #[must_use]
    pub fn making(self, made: Undoing) -> Self {
        let made = Box::new(made);
        let task = match self.task {
            _ if made.of.is_some() => Task::Undo(made),
            Task::Reflink(cloning) => Task::Reflink(Cloning { made: Some(made), ..cloning }),
            _ => Task::Reflink(Cloning { made: Some(made), ..Cloning::default() }),
        };
        Self { task, ..self }
    }

    /// Returns the same op as an op that takes back `undo`, an op of an undo.
    #[must_use]
    pub fn relinking(self, undo: OpId) -> Self {
        let task = match self.task {
            Task::Reflink(cloning) => Task::Reflink(Cloning { relinks: Some(undo), ..cloning }),
            _ => Task::Relink(undo),
        };
        Self { task, ..self }
    }

    /// Returns the op that this op takes back.
    #[must_use]
    pub fn takes_back(&self) -> Option<OpId> {
        match &self.task {
            Task::Replace | Task::Share => None,
            Task::Reflink(cloning) => cloning.relinks,
            Task::Undo(undo) => undo.of,
            Task::Relink(undo) => Some(*undo),
        }
    }

    /// Returns the file to make, if the op makes one: a copy, for an op that undoes another op, or a clone.
    #[must_use]
    pub fn made(&self) -> Option<&Undoing> {
        match &self.task {
            Task::Replace | Task::Relink(_) | Task::Share => None,
            Task::Undo(undo) => Some(undo),
            Task::Reflink(cloning) => cloning.made.as_deref(),
        }
    }

    /// Returns the file that comes back, if the op undoes another op.
    #[must_use]
    pub fn undo(&self) -> Option<&Undoing> {
        self.made().filter(|made| made.of.is_some())
    }

    /// Whether every name of the duplicate is a name of the op. A file that stays after an undo may have others.
    #[must_use]
    pub fn has_whole_duplicate(&self) -> bool {
        self.undo().is_none_or(|undo| undo.of_clone)
    }

    /// Whether a clone replaces the duplicate.
    #[must_use]
    pub fn reflinks(&self) -> bool {
        matches!(self.task, Task::Reflink(_))
    }

    /// Returns the op as it was planned: before a clone became its master.
    #[must_use]
    pub fn as_planned(&self) -> Cow<'_, Self> {
        let Task::Reflink(cloning) = &self.task else { return Cow::Borrowed(self) };
        let made = cloning.made.as_ref();
        match made.and_then(|made| made.source.as_ref()) {
            Some(kept) => Cow::Owned(Self {
                master: kept.at.clone(),
                master_id: kept.seen.id,
                task: Task::Reflink(Cloning { made: None, ..cloning.clone() }),
                ..self.clone()
            }),
            None => Cow::Borrowed(self),
        }
    }

    /// Returns the same op with links in place of a clone, if links may replace the duplicate.
    #[must_use]
    pub fn or_links(self) -> Self {
        match self.task {
            Task::Reflink(Cloning { or_link: true, relinks, .. }) => {
                Self { task: relinks.map_or(Task::Replace, Task::Relink), ..self }
            }
            _ => self,
        }
    }

    /// Whether links may replace the duplicate if the filesystem makes no clone.
    #[must_use]
    pub fn may_link_instead(&self) -> bool {
        matches!(self.task, Task::Reflink(Cloning { or_link: true, .. }))
    }

    /// Whether the duplicate stays a file of its own.
    #[must_use]
    pub fn shares(&self) -> bool {
        self.task == Task::Share
    }

    /// Whether it removes a hidden copy: a path of the duplicate at which the kept copy is shown from another branch. An undo
    /// does not bring such a copy back.
    #[must_use]
    pub fn merges_copies(&self) -> bool {
        self.names.iter().any(|name| name.from != name.to && name.found == Found::Master)
    }

    /// Returns the duplicate's own name `k`.
    #[must_use]
    pub fn own(&self, k: usize) -> Place {
        Place::new(self.names[k].from, self.names[k].path.clone())
    }

    /// Returns the place of replacement `k`.
    #[must_use]
    pub fn target(&self, k: usize) -> Place {
        Place::new(self.names[k].to, self.names[k].path.clone())
    }

    /// Returns the branches that the op changes.
    pub fn branches(&self) -> impl Iterator<Item = BranchIdx> + '_ {
        self.names.iter().flat_map(|n| [n.from, n.to])
    }

    /// Returns the hidden name of `role` for name `k`, in the same directory, under the number `id` in `journal`.
    ///
    /// Retired names lie on the duplicate's branch, all others on the master's.
    #[must_use]
    pub fn hidden(&self, journal: u32, id: OpId, k: usize, role: Role) -> Place {
        let name = &self.names[k];
        let branch = if role == Role::Retired { name.from } else { name.to };
        let dir = name.path.parent().unwrap_or_else(RelPath::root);
        Place::new(branch, entry(&dir, hidden_name(journal, id, k, role)))
    }

    /// Returns the place of the duplicate's name `k` between retire and remove. For a local op it is the temp name: the
    /// exchange that publishes the replacement retires the duplicate.
    #[must_use]
    pub fn retired_place(&self, journal: u32, id: OpId, k: usize) -> Place {
        match self.kind {
            OpKind::Cross => self.hidden(journal, id, k, Role::Retired),
            OpKind::Local => self.hidden(journal, id, k, Role::Temp),
        }
    }
}

/// Returns the entry `name` of `dir`, for names that are one plain component by construction.
pub(crate) fn entry(dir: &RelPath, name: impl AsRef<std::ffi::OsStr>) -> RelPath {
    dir.join(name).expect("invariant: hidden names and names read from a path are plain components")
}
