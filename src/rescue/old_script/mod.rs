//! Paths that the script this tool replaces deleted and did not link any more. The script's log names the paths, the
//! list of duplicates says which files were equal. This module only adds names; a path that exists again stays as it
//! is.

mod old_log;
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use crate::execute::{Halt, NewNames};
use crate::fs::{Change, FileKind, FsError, InodeId, Place, Stat};
use crate::plan::refusal::Reason;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchMode, Pool};

pub use old_log::{Unfinished, unfinished};
pub use replay::{OldLog, ReplayError};

/// A file of a group, and its inode.
type Left = (Place, InodeId);

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// The result for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relinked {
    /// The path is a link to this file now.
    Linked(Place),
    /// Some branch has it.
    There,
    /// No file of its group exists that it could be linked to.
    NoMaster,
    /// The existing files of its group are not equal: the list is old, and which file had the path is unknown.
    Differ,
    /// A call failed: which, and why.
    Failed(String),
}

/// Links lost paths to the existing files of their groups.
pub struct Relinker<'r, F: Change> {
    fs: &'r F,
    pool: &'r Pool,
    /// The group of each path.
    groups: BTreeMap<RelPath, usize>,
    members: Vec<(Option<u64>, Vec<RelPath>)>,
    new_names: NewNames<'r, F>,
}

impl<'r, F: Change> Relinker<'r, F> {
    /// Creates a relinker that knows no group yet.
    pub fn new(fs: &'r F, pool: &'r Pool) -> Self {
        Self {
            fs,
            pool,
            groups: BTreeMap::new(),
            members: Vec::new(),
            new_names: NewNames::new(fs, pool),
        }
    }

    /// Takes in a group of equal files, and their size where the list has it.
    pub fn group(&mut self, size: Option<u64>, paths: Vec<RelPath>) {
        for path in &paths {
            self.groups.insert(path.clone(), self.members.len());
        }
        self.members.push((size, paths));
    }

    /// Links `path`, if no branch has it, to a file of its group; durable on return.
    pub fn relink(&mut self, path: &RelPath) -> Relinked {
        let relinked = self.try_relink(path);
        self.new_names.release();
        relinked.unwrap_or_else(|halt| Relinked::Failed(halt.detail))
    }

    fn try_relink(&mut self, path: &RelPath) -> Result<Relinked, Halt> {
        self.new_names.pin(path)?;
        if self.somewhere(path)? {
            return Ok(Relinked::There);
        }
        let left = self.left(path)?;
        if left.is_empty() {
            return Ok(Relinked::NoMaster);
        }
        let master = self.nearest(path, &left)?;
        let Some(file) = self.compared(&master, &left)? else {
            return Ok(Relinked::Differ);
        };
        let target = Place::new(master.0.branch, path.clone());
        Ok(match self.new_names.add(&file, &target)? {
            true => Relinked::Linked(master.0),
            false => Relinked::There,
        })
    }

    fn somewhere(&self, path: &RelPath) -> Result<bool, FsError> {
        for branch in self.pool.indices() {
            if self.fs.stat(&Place::new(branch, path.clone()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the files of the group of `path` that exist, on branches that may be changed.
    fn left(&self, path: &RelPath) -> Result<Vec<Left>, FsError> {
        let mut left = Vec::new();
        let Some((size, members)) = self.groups.get(path).map(|at| &self.members[*at]) else {
            return Ok(left);
        };
        for member in members.iter().filter(|member| *member != path) {
            for branch in self.pool.indices() {
                let place = Place::new(branch, member.clone());
                let fits = |stat: &Stat| {
                    stat.kind == FileKind::Regular && size.is_none_or(|size| size == stat.size)
                };
                let found = self.fs.stat(&place)?.filter(fits);
                if let Some(stat) = found
                    && self.pool.branches[branch.index()].mode != BranchMode::Ro
                {
                    left.push((place, stat.id));
                }
            }
        }
        Ok(left)
    }

    /// Returns `master` open if all of `files` have its bytes. The open file is linked, whatever has its name by then.
    fn compared(&self, master: &Left, files: &[Left]) -> Result<Option<F::File>, Halt> {
        let open = self.opened(master)?;
        let mut seen = BTreeSet::from([master.1]);
        let hash = self.hash(&open)?;
        for file in files {
            if seen.insert(file.1) && self.hash(&self.opened(file)?)? != hash {
                return Ok(None);
            }
        }
        Ok(Some(open))
    }

    fn opened(&self, (place, id): &Left) -> Result<F::File, Halt> {
        let file = self.fs.open(place)?;
        if self.fs.stat_open(&file)?.id == *id {
            return Ok(file);
        }
        let why = format!("{:?} was replaced meanwhile", self.fs.shown(place));
        Err(Halt::new(Reason::Changed, why))
    }

    fn hash(&self, file: &F::File) -> Result<[u8; 32], FsError> {
        let (mut hasher, mut buffer, mut offset) = (blake3::Hasher::new(), vec![0; CHUNK], 0);
        loop {
            let got = self.fs.read_at(file, &mut buffer, offset)?;
            if got == 0 {
                return Ok(*hasher.finalize().as_bytes());
            }
            hasher.update(&buffer[..got]);
            offset += got as u64;
        }
    }

    /// Returns a file on a branch that has the directory of `path`, else the first.
    fn nearest(&self, path: &RelPath, left: &[Left]) -> Result<Left, FsError> {
        let dir = path.parent().unwrap_or_else(RelPath::root);
        for file in left {
            if self.fs.stat(&Place::new(file.0.branch, dir.clone()))?.is_some() {
                return Ok(file.clone());
            }
        }
        Ok(left[0].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::sim::{SimWorld, place};

    #[test]
    fn lost_paths_come_back_as_links_and_nothing_else_changes() {
        let world = SimWorld::new();
        let [a, b] = [(); 2].map(|()| world.add_branch(world.add_disk()));
        let master = world.add_file(&place(a, "m/x"), b"bytes");
        world.add_file(&place(b, "d/there"), b"bytes");
        world.add_file(&place(b, "d/not-equal"), b"other");
        world.add_file(&place(b, "e/f/beside"), b"other");
        let (fs, pool) = (world.fs(), world.pool());
        let path = |p: &str| RelPath::new(p).unwrap();
        let mut relinker = Relinker::new(&fs, &pool);
        relinker.group(Some(5), ["m/x", "e/f/lost"].map(path).to_vec());
        let differing = ["d/there", "d/not-equal", "d/which"];
        relinker.group(None, differing.map(path).to_vec());
        relinker.group(Some(7), ["m/x", "e/wrong-size"].map(path).to_vec());
        let linked = Relinked::Linked(place(a, "m/x"));
        assert_eq!(relinker.relink(&path("e/f/lost")), linked);
        assert_eq!(relinker.relink(&path("e/f/lost")), Relinked::There);
        assert_eq!(relinker.relink(&path("d/there")), Relinked::There);
        assert_eq!(relinker.relink(&path("e/wrong-size")), Relinked::NoMaster);
        assert_eq!(relinker.relink(&path("d/which")), Relinked::Differ);
        assert_eq!(relinker.relink(&path("unknown")), Relinked::NoMaster);
        assert_eq!(world.files()[&place(a, "e/f/lost")].0, master);
        assert_eq!(world.files().len(), 5);
    }
}
