//! What another program did to the paths of an op in its window can leave both copies in use. Nothing is removed then:
//! the op ends in a conflict that names every place of both copies.

use super::Executor;
use super::begun::{Begun, Subject as _};
use super::halt::Halt;
use super::observe::{DuplicateAt, TargetIs};
use super::take_back::Back;
use crate::fs::{Change, FsError, Place, Stat};
use crate::journal::Store;
use crate::plan::hidden_name::{Role, is_hidden_name};
use crate::plan::op::entry;
use crate::plan::refusal::Reason;
use crate::plan::{Found, OpKind};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// Both copies of an op stay in use.
struct BothStay {
    /// What another program did.
    halt: Halt,
    /// Places of both copies.
    left: Vec<(BranchIdx, RelPath)>,
}

impl BothStay {
    /// Adds the places that are not named yet.
    fn add(&mut self, places: Vec<(BranchIdx, RelPath)>) {
        for at in places {
            if !self.left.contains(&at) {
                self.left.push(at);
            }
        }
    }
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Returns the conflict of an op that was taken back as far as it goes, if both copies stay in use.
    pub(super) fn both_stay(&self, op: &Begun) -> Result<Option<Back>, Halt> {
        let mut conflict: Option<BothStay> = None;
        for look in [
            Self::split_paths,
            Self::parted_names,
            Self::links_of_replacements,
            Self::files_of_others,
        ] {
            match (look(self, op)?, &mut conflict) {
                (Some(found), Some(first)) => first.add(found.left),
                (Some(found), None) => conflict = Some(found),
                (None, _) => {}
            }
        }
        Ok(conflict.map(|BothStay { halt, left }| Back::Conflict { halt, left }))
    }

    /// Finds paths of the op that have the duplicate on one branch and the kept copy on the other, and names of a link
    /// set of which one has the duplicate and another one the kept copy: a client linked one name to another while a
    /// replacement was in place (`rm e/b2; ln d/b e/b2`).
    fn parted_names(&self, op: &Begun) -> Result<Option<BothStay>, Halt> {
        let names = self.look(op)?;
        let (mut twice, mut duplicates, mut links) = (Vec::new(), Vec::new(), Vec::new());
        for (k, name) in names.iter().enumerate() {
            let replaced = op.names[k].found != Found::Master;
            let linked = match name.target {
                TargetIs::Master => replaced || self.is_relinked(op, k),
                // In a directory that was made anew.
                _ => self.is_relinked(op, k) && self.is_link_for_clients(op, k)?,
            };
            if self.is_twice_for_clients(op, k)? {
                twice.push(k);
                continue;
            }
            match name.duplicate {
                DuplicateAt::Own | DuplicateAt::Both if linked => twice.push(k),
                DuplicateAt::Own | DuplicateAt::Both => {
                    duplicates.push(op.own(k));
                    let hidden_by_link = name.target == TargetIs::Master;
                    duplicates.extend(hidden_by_link.then(|| op.target(k)));
                }
                DuplicateAt::Nowhere if linked => links.push(op.target(k)),
                DuplicateAt::Nowhere | DuplicateAt::Retired => {}
            }
        }
        let mut places: Vec<Place> =
            twice.iter().flat_map(|k| [op.own(*k), op.target(*k)]).collect();
        let has_duplicate = !twice.is_empty() || !duplicates.is_empty();
        let parted = has_duplicate && !links.is_empty();
        if parted {
            places.extend(duplicates.into_iter().chain(links));
        }
        if places.is_empty() {
            return Ok(None);
        }
        let left = places.iter().map(|at| self.named_now(at));
        let left = left.collect::<Result<Vec<_>, _>>()?;
        let why = if parted {
            "one of its names was linked to another while it was replaced: they are two equal files now"
        } else {
            "its path was linked again while it was replaced: both disks hold that path now"
        };
        let halt = Halt::new(Reason::Conflict, why);
        Ok(Some(BothStay { halt, left }))
    }

    /// Paths that another program renamed or linked while the master had the name beside the duplicate: both copies are
    /// there now, on two branches, and stay.
    fn split_paths(&self, op: &Begun) -> Result<Option<BothStay>, Halt> {
        if op.kind == OpKind::Local {
            return Ok(None);
        }
        let (mut left, mut paths) = (Vec::new(), Vec::new());
        for path in self.new_names(op)? {
            let copies = [op.duplicate.branch, op.master.branch];
            let copies = copies.map(|branch| Place::new(branch, path.clone()));
            let [duplicate, master] = &copies;
            let at_both = self.fs.stat_unpinned(duplicate)?.is_some()
                && self.fs.stat_unpinned(master)?.is_some();
            if at_both {
                paths.push(format!("\"{}\"", path.as_path().display()));
                left.extend(copies.map(|at| (at.branch, at.path)));
            }
        }
        for moved in self.moved_replacements(op)? {
            let beside = self.all_branches().filter(|branch| *branch != moved.branch);
            let beside = beside.map(|branch| Place::new(branch, moved.path.clone()));
            let known = left.contains(&(moved.branch, moved.path.clone()));
            for other in beside.filter(|_| !known) {
                if self.fs.stat_unpinned(&other)?.is_some() {
                    paths.push(format!("\"{}\"", moved.path.as_path().display()));
                    left.extend([(other.branch, other.path), (moved.branch, moved.path.clone())]);
                }
            }
        }
        if paths.is_empty() {
            return Ok(None);
        }
        let why = format!(
            "renamed or linked to {} while it was replaced: both disks hold that path now",
            paths.join(", ")
        );
        let halt = Halt::new(Reason::Conflict, why);
        Ok(Some(BothStay { halt, left }))
    }

    /// Finds links that another program made while the replacements were in place, perhaps of a replacement: such a
    /// link is a link of the master now, not of the duplicate that has the path again. The same holds if the program
    /// renamed the replacement of one of several names.
    fn links_of_replacements(&self, op: &Begun) -> Result<Option<BothStay>, Halt> {
        let mut left = Vec::new();
        if op.names.len() > 1 {
            let moved = self.moved_replacements(op)?.into_iter();
            left.extend(moved.map(|at| (at.branch, at.path)));
        }
        let master = self.held_master(op)?;
        let more = op.links_before.zip(master.as_ref());
        let more = more.is_some_and(|(before, now)| now.nlink > before);
        // A client may have removed one name of the kept copy and made another one.
        let at_its_name = self.fs.stat_if_there(&op.master)?;
        let more = more || at_its_name.is_none_or(|stat| !op.is_master(&stat));
        let searched = if more { op.names.len() } else { 0 };
        let mut dir_gone = false;
        for k in 0..searched {
            let dir = op.target(k).dir();
            dir_gone |= self.fs.path_of_dir(&dir)?.as_ref() != Some(&dir.path);
            let names = match self.fs.names_with_prefix(&dir, b"") {
                Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => continue,
                names => names?,
            };
            for name in names {
                let place =
                    Place::new(dir.branch, entry(&dir.path, crate::pool::mergerfs::path_of(&name)));
                let is = self.fs.stat(&place)?.is_some_and(|stat| op.is_master(&stat));
                if is
                    && op.names.iter().all(|name| place.path != name.path)
                    && place != op.master
                    && self.fs.comings(&place)?.came.is_some()
                    && !self.is_of_another_op(op, &place)?
                {
                    left.push(self.named_now(&place)?);
                }
            }
            left.extend((!left.is_empty()).then(|| self.named_now(&op.target(k))).transpose()?);
        }
        if left.is_empty()
            && let Some(master) = master
            && (dir_gone || self.has_new_names(op, &master)?)
        {
            // The link may be in another directory, or in one that was made anew at the same path. Or it was made
            // between two passes of a run, when nothing watched the directories.
            let links = self.other_links(op, &master)?;
            left.extend(links.into_iter().map(|at| (at.branch, at.path)));
            if !left.is_empty() {
                let own = (0..op.names.len()).map(|k| self.named_now(&op.own(k)));
                left.extend(own.collect::<Result<Vec<_>, _>>()?);
            }
        }
        left.extend(self.links_of_clone(op)?);
        if left.is_empty() {
            return Ok(None);
        }
        let why = "linked while it was replaced: the link leads to the kept copy, and the path has its own copy again";
        let halt = Halt::new(Reason::Conflict, why);
        Ok(Some(BothStay { halt, left }))
    }

    /// Finds links that another program made of a clone, or of the copy of one: it had no names but those of the op. Returns
    /// the files at these paths, and the paths that have the duplicate again.
    fn links_of_clone(&self, op: &Begun) -> Result<Vec<(BranchIdx, RelPath)>, FsError> {
        let made = op.made().is_some() && op.has_whole_duplicate();
        let Some(clone) = self.held_master(op)?.filter(|_| made) else {
            return Ok(Vec::new());
        };
        if clone.nlink <= self.known_names(op, |stat| op.is_master(stat))? {
            return Ok(Vec::new());
        }
        let links = self.fs.names_of(op.master.branch, clone.id)?.into_iter();
        let ours = |path: &RelPath| op.names.iter().any(|name| name.path == *path);
        let links = links.filter(|path| !is_hidden_name(path.file_name().as_encoded_bytes()));
        let mut left = Vec::new();
        for path in links.filter(|path| !ours(path)) {
            for branch in self.all_branches() {
                let there = self.fs.stat_unpinned(&Place::new(branch, path.clone()))?;
                left.extend(there.map(|_| (branch, path.clone())));
            }
        }
        let own = if left.is_empty() { 0 } else { op.names.len() };
        for k in 0..own {
            left.push(self.named_now(&op.own(k))?);
        }
        Ok(left)
    }

    /// Finds paths that have a file on the duplicate's disk and another program's file on another disk: mergerfs broke
    /// the link before a write (`link-cow`), or a program moved the replacement to a third disk.
    fn files_of_others(&self, op: &Begun) -> Result<Option<BothStay>, Halt> {
        let mut left = Vec::new();
        for (k, name) in self.look(op)?.iter().enumerate() {
            let at_own =
                matches!(name.duplicate, DuplicateAt::Own | DuplicateAt::Both) || name.own_taken;
            if op.kind == OpKind::Local || !at_own || op.names[k].found == Found::Master {
                continue;
            }
            let own = self.named_now(&op.own(k))?;
            let at_target = (name.target == TargetIs::Other).then_some(op.target(k).branch);
            let others = at_target.into_iter().chain(name.elsewhere);
            left.extend(others.map(|branch| (branch, own.1.clone())));
            left.extend((!left.is_empty()).then_some(own));
        }
        if left.is_empty() {
            return Ok(None);
        }
        let why =
            "another file was put at its path while it was replaced: two disks hold that path now";
        let halt = Halt::new(Reason::Conflict, why);
        Ok(Some(BothStay { halt, left }))
    }

    /// Returns the names of the kept copy besides the one that the plan knows. Walks the whole branch.
    fn other_links(&self, op: &Begun, master: &Stat) -> Result<Vec<Place>, FsError> {
        let links = self.fs.names_of(op.master.branch, master.id)?;
        let others = links.into_iter().filter(|path| *path != op.master.path);
        Ok(others.map(|path| Place::new(op.master.branch, path)).collect())
    }

    /// Whether another op of this process made the name `place`.
    fn is_of_another_op(&self, op: &Begun, place: &Place) -> Result<bool, FsError> {
        let others = self.grips.iter().filter(|(id, _)| **id != op.id());
        for made in others.flat_map(|(_, grip)| grip.made.values()) {
            if self.fs.path_of(made)?.as_ref() == Some(&place.path) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether clients find both copies at path `k`, in a directory that was made anew since it was pinned.
    fn is_twice_for_clients(&self, op: &Begun, k: usize) -> Result<bool, FsError> {
        let (own, target) = (op.own(k), op.target(k));
        if own == target || op.names[k].found == Found::Master {
            return Ok(false);
        }
        let duplicate = self.fs.stat_unpinned(&own)?;
        if !duplicate.is_some_and(|stat| op.is_duplicate(&stat)) {
            return Ok(false);
        }
        self.is_link_for_clients(op, k)
    }

    fn is_link_for_clients(&self, op: &Begun, k: usize) -> Result<bool, FsError> {
        let master = self.fs.stat_unpinned(&op.target(k))?;
        Ok(master.is_some_and(|stat| op.is_master(&stat)))
    }

    /// Returns the names that another program gave to the file of which the op knows all names: the duplicate, or the
    /// copy that an undo makes.
    fn new_names(&self, op: &Begun) -> Result<Vec<RelPath>, Halt> {
        let (file, branch) = match op.has_whole_duplicate() {
            true => (self.held_duplicate(op)?, op.duplicate.branch),
            false => (self.held_master(op)?, op.master.branch),
        };
        let Some(file) = file else {
            return Ok(Vec::new());
        };
        let known = self.known_names(op, |stat| stat.id == file.id)?;
        let mut unknown = file.nlink.saturating_sub(known);
        let mut found = Vec::new();
        if unknown == 0 {
            return Ok(found);
        }
        for k in 0..op.names.len() {
            let dir = Place::new(branch, op.own(k).dir().path);
            let Some(path) = self.fs.path_of_dir(&dir)? else {
                continue;
            };
            let names = match self.fs.names_with_prefix(&dir, b"") {
                Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => continue,
                names => names?,
            };
            for name in names {
                let name = crate::pool::mergerfs::path_of(&name);
                let place = Place::new(branch, entry(&dir.path, &name));
                let is = self.fs.stat(&place)?.is_some_and(|stat| stat.id == file.id);
                let now = entry(&path, &name);
                let hidden = is_hidden_name(name.as_os_str().as_encoded_bytes());
                // Several names of the op may be in one directory.
                let known = op.names.iter().any(|name| name.path == place.path);
                if is && !hidden && !known && !found.contains(&now) {
                    found.push(now);
                    unknown = unknown.saturating_sub(1);
                }
            }
        }
        if unknown > 0 {
            tracing::info!(
                branch = branch.0,
                inode = file.id.ino,
                "looking for the new name of a file"
            );
            found.extend(self.fs.names_of(branch, file.id)?);
        }
        Ok(found)
    }

    /// Returns how many names of a file the op knows.
    pub(super) fn known_names(
        &self,
        op: &Begun,
        is: impl Fn(&Stat) -> bool,
    ) -> Result<u64, FsError> {
        let mut known = 0;
        for k in 0..op.names.len() {
            let hidden = [Role::Retired, Role::Temp, Role::Withdrawn];
            let mut places = hidden.map(|role| op.hidden(self.journal.id(), k, role)).to_vec();
            places.push(op.own(k));
            if op.kind == OpKind::Cross {
                places.push(op.target(k));
            }
            for place in places {
                known += u64::from(self.fs.stat(&place)?.is_some_and(|stat| is(&stat)));
            }
        }
        if let Some(copy) = op.copy_place() {
            known += u64::from(self.fs.stat(copy)?.is_some_and(|stat| is(&stat)));
        }
        Ok(known)
    }

    /// Returns every place of either copy that a person has to settle: hidden names, and a path that is on two
    /// branches.
    pub(super) fn places_left(&self, op: &Begun) -> Vec<(BranchIdx, RelPath)> {
        let mut left = Vec::new();
        let there = |at: &Place| self.fs.stat(at).ok().flatten().is_some();
        for k in 0..op.names.len() {
            for role in [Role::Retired, Role::Temp, Role::Withdrawn] {
                let at = op.hidden(self.journal.id(), k, role);
                // Any entry at the place is reported, not removed.
                if there(&at) {
                    left.extend(self.named_now(&at));
                }
            }
            let (own, target) = (op.own(k), op.target(k));
            let two = own != target && there(&own) && there(&target);
            // One of several names is on one disk: the other names may be the other file's. Or the only name is on one
            // disk: the duplicate is beside it under its hidden name.
            let hidden = there(&op.retired_place(self.journal.id(), k));
            let many = op.names.len() > 1 || hidden;
            let one_of_many = op.kind == OpKind::Local && many && there(&target);
            left.extend([&own].into_iter().filter(|_| two).flat_map(|at| self.named_now(at)));
            left.extend(
                [&target]
                    .into_iter()
                    .filter(|_| two || one_of_many)
                    .flat_map(|at| self.named_now(at)),
            );
        }
        // The duplicate is under a hidden name, and the replacement has the path that a client gave it.
        if op.kind == OpKind::Local
            && !left.is_empty()
            && let Ok(moved) = self.moved_replacements(op)
        {
            left.extend(moved.into_iter().map(|at| (at.branch, at.path)));
        }
        let copy = op.copy_place().filter(|at| there(at));
        left.extend(copy.and_then(|at| self.named_now(at).ok()));
        if let Ok(Some(Back::Conflict { left: more, .. })) = self.both_stay(op) {
            let new: Vec<_> = more.into_iter().filter(|at| !left.contains(at)).collect();
            left.extend(new);
        }
        left
    }

    /// Returns a place by the path that its directory has now.
    pub(super) fn named_now(&self, at: &Place) -> Result<(BranchIdx, RelPath), FsError> {
        let dir = self.fs.path_of_dir(&at.dir())?;
        let path = dir.map_or_else(|| at.path.clone(), |dir| entry(&dir, at.path.file_name()));
        Ok((at.branch, path))
    }
}
