//! A copy has a path, and the file it was made for has the same path on another branch: an op was stopped between its
//! names. Without a log nothing says which names the op has, so either all names of that file go to the copy, or none.

use super::from_log::{clone_records, intent};
use super::look::Same;
use super::{Hidden, Rebuilt, SalvagePlanner, What, Why};
use crate::fs::{FsError, Look, Place, Stat};
use crate::journal::Intent;
use crate::plan::hidden_name::is_hidden_name;
use crate::plan::{Found, Op, OpFile, OpId, OpKind, OpName};

/// The paths that a copy and one other file have.
pub(super) struct Twice {
    /// The paths: of the other file first, of the copy second.
    names: Vec<(Place, Place)>,
    /// The other file.
    file: Stat,
}

impl Twice {
    /// The names of an op that leaves the paths to the copy.
    pub(super) fn names(&self) -> impl Iterator<Item = OpName> + '_ {
        self.names.iter().map(|(own, target)| OpName {
            path: own.path.clone(),
            from: own.branch,
            to: target.branch,
            found: Found::Absent,
        })
    }

    /// Whether `stat` is of the other file.
    pub(super) fn is(&self, stat: &Stat) -> bool {
        self.file.id == stat.id
    }

    /// How many paths both have.
    pub(super) fn count(&self) -> u64 {
        self.names.len() as u64
    }
}

impl<F: Look> SalvagePlanner<'_, F> {
    /// Returns the paths that both `copy` and another file have, for each other file.
    pub(super) fn twice(&self, copy: &Hidden) -> Result<Vec<Twice>, FsError> {
        let mut found: Vec<Twice> = Vec::new();
        if !self.is_named(&copy.stat) {
            return Ok(found);
        }
        let paths = self.fs.names_of(copy.at.branch, copy.stat.id)?.into_iter();
        for path in paths.filter(|path| !is_hidden_name(path.file_name().as_encoded_bytes())) {
            let target = Place::new(copy.at.branch, path);
            for branch in self.branches().filter(|branch| *branch != target.branch) {
                let own = Place::new(branch, target.path.clone());
                self.pin([own.dir(), target.dir()])?;
                let Some(file) = self.regular(&own)?.filter(|file| file.id != copy.stat.id) else {
                    continue;
                };
                let name = (own, target.clone());
                match found.iter_mut().find(|twice| twice.file.id == file.id) {
                    Some(twice) => twice.names.push(name),
                    None => found.push(Twice { names: vec![name], file }),
                }
            }
        }
        Ok(found)
    }

    /// Plans an op whose copy has some of its paths: the copy gets them all if they are all names of the other file, else
    /// recovery takes them away from the copy again. `op` has the further names, which nothing depends on.
    pub(super) fn all_or_none(
        &self,
        id: OpId,
        (copy, twice): (&Hidden, &Twice),
        op: Option<Op>,
    ) -> Result<Result<Rebuilt, Why>, FsError> {
        let Some((own, target)) = twice.names.first() else { return Ok(Err(Why::Unclear)) };
        let same = self.same((&copy.at, &copy.stat), (own, &twice.file))?;
        let metadata = (self.metadata(&copy.at, &copy.stat)?, self.metadata(own, &twice.file)?);
        let (Some(Same::Equal(blake3)), (Some(of_copy), Some(metadata))) = (same, metadata) else {
            return Ok(Err(Why::Twice));
        };
        if self.lost.ignore.differs(&of_copy, &metadata).is_some() {
            return Ok(Err(Why::MetadataDiffers));
        }
        let files = (self.copy(target, Some(&copy.stat), 0), self.copy(own, Some(&twice.file), 0));
        let (Some(master), Some(duplicate)) = files else { return Ok(Err(Why::BranchGone)) };
        let whole = op.is_none() && twice.count() == twice.file.nlink;
        let file = |at: &Place, stat: &Stat| OpFile { at: at.clone(), id: stat.id };
        let (size, bytes) = (twice.file.size, twice.file.blocks * 512);
        let (to, from) = (file(target, &copy.stat), file(own, &twice.file));
        let mut op =
            op.unwrap_or_else(|| Op::planned(OpKind::Cross, to, from, size, bytes, Vec::new()));
        op.names.extend(twice.names());
        let intent = Intent {
            metadata,
            atime: twice.file.atime,
            bytes,
            ..intent(id, &op, (master.clone(), duplicate), blake3)
        };
        let what = if whole { What::Finish } else { What::TakeBack };
        let records = clone_records(intent, copy.at.path.clone(), master);
        Ok(Ok(self.rebuilt_op(what, records, id, false)))
    }

    /// Reports the paths of two files that stay.
    pub(super) fn leave_twice(&mut self, twice: &Twice, why: Why) {
        for (own, target) in &twice.names {
            let path = self.lost.mount.join(own.path.as_path());
            self.leave(own, Some(path.clone()), why);
            self.leave(target, Some(path), why);
        }
    }
}
