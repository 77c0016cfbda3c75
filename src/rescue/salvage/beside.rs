//! Hidden names whose op no record describes: the files beside them show whether their bytes are safe without them.
//!
//! The records that recovery gets for such names have a made-up path, visible and free. A file that turns out to be the
//! only copy after all goes to that path.

use std::collections::BTreeSet;

use super::from_log::{intent, intent_record, undo_records};
use super::look::Same;
use super::twice::Twice;
use super::{Group, Hidden, Rebuilt, SalvagePlanner, What, Why};
use crate::fs::{FsError, Look, Place, Stat};
use crate::journal::Intent;
use crate::plan::hidden_name::{Role, hidden_name};
use crate::plan::op::NO_INODE;
use crate::plan::{Found, OpId, OpKind};
use crate::plan::{Op, OpFile, OpName};
use crate::pool::relpath::RelPath;

/// No op has more names than this: another program made them.
const NAMES_AT_MOST: usize = 4_096;

/// The hidden names of one op, sorted by what they may be.
struct Parts<'g> {
    /// The copy an undo made.
    copy: Option<&'g Hidden>,
    /// Further names of a file that has a visible name, or of an undo's copy.
    links: Vec<&'g Hidden>,
    /// Names that may be the only name of a file.
    sole: Vec<&'g Hidden>,
}

impl<F: Look> SalvagePlanner<'_, F> {
    /// Returns what can be done about the hidden names of `op`, or why nothing can be done.
    pub(super) fn beside(
        &mut self,
        op: OpId,
        group: &Group,
    ) -> Result<Result<Rebuilt, Why>, FsError> {
        if group.iter().any(|h| h.name.index >= NAMES_AT_MOST) {
            return Ok(Err(Why::NotOurs));
        }
        let parts = self.parts(group);
        let rebuilt = match parts.sole.first() {
            None => self.clear(op, &parts)?,
            Some(first) => self.finish(op, &parts, first)?,
        };
        Ok(rebuilt.map(|rebuilt| Rebuilt {
            about: group.iter().map(|h| self.branch_path(&h.at)).collect(),
            ..rebuilt
        }))
    }

    fn parts<'g>(&self, group: &'g Group) -> Parts<'g> {
        let copy = group.iter().find(|h| h.name.role == Role::Copy);
        let of_copy = |h: &Hidden| copy.is_some_and(|copy| copy.stat.id == h.stat.id);
        let others = group.iter().filter(|h| h.name.role != Role::Copy);
        let (links, sole) = others.partition(|h: &&Hidden| {
            h.name.role != Role::Retired && (of_copy(h) || self.is_named(&h.stat))
        });
        Parts { copy, links, sole }
    }

    /// Removes only names that nothing depends on.
    fn clear(&mut self, op: OpId, parts: &Parts<'_>) -> Result<Result<Rebuilt, Why>, FsError> {
        let Some(first) = parts.copy.or(parts.links.first().copied()) else {
            return Ok(Err(Why::Unclear));
        };
        if parts.links.iter().any(|h| h.stat.id != first.stat.id) {
            return self.clear_exchanged(op, parts);
        }
        if let Some(copy) = parts.copy
            && let Some(rebuilt) = self.clear_twice(op, parts, copy)?
        {
            return Ok(Ok(rebuilt));
        }
        let named = self.is_named(&first.stat) || first.stat.size == 0;
        if !named && !self.contained(op, first, &parts.links)? {
            return Ok(Err(Why::NoEqual));
        }
        let made = self.made_up(op, OpKind::Cross, &parts.links, first);
        let Some(master) = self.copy(&first.at, Some(&first.stat), 0) else {
            return Ok(Err(Why::BranchGone));
        };
        let mut nobody = master.clone();
        (nobody.id.ino, nobody.id.btime) = (0, None);
        let intent = intent(op, &made, (master, nobody), [0; 32]);
        let records = match parts.copy {
            Some(copy) => undo_records(intent, copy.at.path.clone()),
            None => vec![intent_record(intent)],
        };
        Ok(Ok(self.rebuilt_op(What::Clear, records, op, true)))
    }

    /// Ends an op whose copy has some of its paths beside the file it was made for; `None` if there is no such path, or if it
    /// stays on two branches.
    fn clear_twice(
        &mut self,
        op: OpId,
        parts: &Parts<'_>,
        copy: &Hidden,
    ) -> Result<Option<Rebuilt>, FsError> {
        let all = self.twice(copy)?;
        let mut why = Why::Twice;
        if let [twice] = &all[..] {
            let links = (!parts.links.is_empty())
                .then(|| self.made_up(op, OpKind::Cross, &parts.links, copy));
            match self.all_or_none(op, (copy, twice), links)? {
                Ok(rebuilt) => return Ok(Some(rebuilt)),
                Err(reason) => why = reason,
            }
        }
        all.iter().for_each(|twice| self.leave_twice(twice, why));
        Ok(None)
    }

    /// Clears names of two files: a local op exchanged some of its names, and was about to exchange the next.
    fn clear_exchanged(
        &self,
        op: OpId,
        parts: &Parts<'_>,
    ) -> Result<Result<Rebuilt, Why>, FsError> {
        // Names are exchanged in order, so the next name is the last; or they are exchanged with the name of an undo's
        // copy.
        let last = parts.links.iter().copied().max_by_key(|h| h.name.index);
        let Some(next) = parts.copy.or(last) else {
            return Ok(Err(Why::Unclear));
        };
        let others = parts.links.iter().filter(|h| **h != next);
        let exchanged: Vec<&Hidden> = others.copied().collect();
        let Some(first) = exchanged.first() else {
            return Ok(Err(Why::Unclear));
        };
        let one_file = exchanged.iter().all(|h| h.stat.id == first.stat.id);
        let same = self.same((&first.at, &first.stat), (&next.at, &next.stat))?;
        let copies =
            (self.copy(&next.at, Some(&next.stat), 0), self.copy(&first.at, Some(&first.stat), 0));
        let (Some(master), Some(duplicate)) = copies else {
            return Ok(Err(Why::BranchGone));
        };
        let (Some(Same::Equal(blake3)), true) = (same, one_file) else {
            return Ok(Err(Why::Unclear));
        };
        let made = self.made_up(op, OpKind::Local, &exchanged, first);
        let intent = intent(op, &made, (master, duplicate), blake3);
        // The last name goes after the others, as an undo's copy does.
        let records = undo_records(intent, next.at.path.clone());
        Ok(Ok(self.rebuilt_op(What::Clear, records, op, true)))
    }

    /// Whether all bytes of an undo's copy, or of a clone, are in a file that is not hidden; `links` are its further names.
    fn contained(&self, op: OpId, copy: &Hidden, links: &[&Hidden]) -> Result<bool, FsError> {
        let names: Vec<_> = links.iter().copied().chain([copy]).collect();
        for (at, stat) in self.candidates(op, &names)? {
            if stat.size >= copy.stat.size {
                let same = self.same((&copy.at, &copy.stat), (&at, &stat))?;
                if matches!(same, Some(Same::Equal(_) | Same::Begins)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A hidden file goes if a file beside it is equal.
    fn finish(
        &self,
        op: OpId,
        parts: &Parts<'_>,
        first: &Hidden,
    ) -> Result<Result<Rebuilt, Why>, FsError> {
        let kind = match first.name.role {
            Role::Retired => OpKind::Cross,
            _ => OpKind::Local,
        };
        let fits = |h: &&Hidden| {
            let role = [Role::Retired, Role::Temp].contains(&h.name.role);
            role && h.name.role == first.name.role && h.stat.id == first.stat.id
        };
        if !parts.sole.iter().all(fits) || !parts.links.is_empty() {
            return Ok(Err(Why::Unclear));
        }
        // Once one of its names is hidden, the copy has all paths of the op.
        let all = parts.copy.map_or(Ok(Vec::new()), |copy| self.twice(copy))?;
        let twice = all.iter().find(|twice| twice.is(&first.stat));
        let known = parts.sole.len() as u64 + twice.map_or(0, Twice::count);
        // Then no file goes, only names of the file.
        let others = first.stat.nlink > known;
        let Some(metadata) = self.metadata(&first.at, &first.stat)? else {
            return Ok(Err(Why::Unclear));
        };
        let mut why = Why::NoEqual;
        for (at, stat) in self.candidates(op, &parts.sole)? {
            if stat.size != first.stat.size || parts.copy.is_some_and(|c| c.stat.id != stat.id) {
                continue;
            }
            let same = self.same((&first.at, &first.stat), (&at, &stat))?;
            let (Some(Same::Equal(blake3)), Some(other)) = (same, self.metadata(&at, &stat)?)
            else {
                continue;
            };
            if !others && self.lost.ignore.differs(&other, &metadata).is_some() {
                why = Why::MetadataDiffers;
                continue;
            }
            let copies =
                (self.copy(&at, Some(&stat), 0), self.copy(&first.at, Some(&first.stat), 0));
            let (Some(master), Some(duplicate)) = copies else {
                return Ok(Err(Why::BranchGone));
            };
            let mut made = self.made_up(op, kind, &parts.sole, first);
            made.names.extend(twice.into_iter().flat_map(Twice::names));
            let bytes = if others { 0 } else { first.stat.blocks * 512 };
            let intent = Intent {
                metadata,
                atime: first.stat.atime,
                bytes,
                ..intent(op, &made, (master, duplicate), blake3)
            };
            let records = match (others, parts.copy) {
                (false, None) => vec![intent_record(intent)],
                (_, Some(copy)) => undo_records(intent, copy.at.path.clone()),
                (true, None) => {
                    let name = hidden_name(self.journal, op, 0, Role::Copy);
                    let dir = intent.master.path.parent().unwrap_or_else(RelPath::root);
                    let copy = dir.join(name).unwrap_or_else(|_| RelPath::root());
                    undo_records(intent, copy)
                }
            };
            return Ok(Ok(self.rebuilt_op(What::Finish, records, op, twice.is_none())));
        }
        Ok(Err(why))
    }

    /// Returns an op with these hidden names, and with paths that no file has.
    fn made_up(&self, op: OpId, kind: OpKind, hidden: &[&Hidden], first: &Hidden) -> Op {
        let last = hidden.iter().map(|h| h.name.index).max().unwrap_or(0);
        let name = |k: usize| {
            let at = hidden.iter().find(|h| h.name.index == k);
            let at = &at.map_or(first, |h| *h).at;
            let rescued = format!("xdedup-rescued-{}-{}-{k}", op.run, op.seq);
            let path = at.path.sibling(rescued).unwrap_or_else(|_| at.path.clone());
            OpName { path, from: at.branch, to: at.branch, found: Found::Absent }
        };
        let file = |at| OpFile { at, id: NO_INODE };
        let place = first.at.clone();
        let names = (0..=last).map(name).collect();
        Op::planned(kind, file(place.clone()), file(place), 0, 0, names)
    }

    /// Returns the files whose bytes may be those of `hidden`: in the same directory on every branch, and at the paths
    /// that the log names. No such file is hidden or is the hidden inode itself.
    fn candidates(&self, op: OpId, hidden: &[&Hidden]) -> Result<Vec<(Place, Stat)>, FsError> {
        let mut places = Vec::new();
        for h in hidden {
            let logged = self.paths.get(&(op, h.name.index));
            let logged = logged.and_then(|path| path.strip_prefix(&self.lost.mount).ok());
            let logged = logged.and_then(|p| RelPath::new(p.as_os_str().as_encoded_bytes()).ok());
            for branch in self.branches() {
                places.extend(logged.iter().map(|path| Place::new(branch, path.clone())));
                places.extend(self.visible(&Place::new(branch, h.at.dir().path))?);
            }
        }
        let mut found: Vec<(Place, Stat)> = Vec::new();
        let mut known = BTreeSet::new();
        for at in places {
            if !known.insert(at.clone()) {
                continue;
            }
            let stat = self.regular(&at)?;
            let other = stat.filter(|stat| hidden.iter().all(|h| h.stat.id != stat.id));
            found.extend(other.map(|stat| (at, stat)));
        }
        Ok(found)
    }
}
