//! What a run holds of an op while the op is under way: evidence that looking at a name cannot provide.
//!
//! A name says which inode it leads to, not who made the name. A held name ([`Look::hold`]) is one particular name: a
//! rename moves it, and a link that another program makes in its place is a different name. A held inode keeps its
//! number and tells how many names it has left. And the order in which names came and went ([`Look::comings`]) shows
//! whether another program acted before or after a change of this process.

use crate::plan::OpId;
use crate::plan::op::entry;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Executor;
use super::begun::{Begun, Subject as _};
use super::compared::Files;
use super::observe::DuplicateAt;
use crate::fs::{Change, FsError, InodeId, Place, Stat};
use crate::journal::Store;
use crate::plan::hidden_name::{Role, is_hidden_name};
use crate::plan::{Found, OpKind, Source};
use crate::pool::relpath::RelPath;

/// A file that is held.
#[derive(Debug)]
pub(super) enum Hold<H> {
    /// By a name alone ([`Look::hold`]).
    Name(H),
    /// Open since it was compared.
    Open(Arc<H>),
}

impl<H> Hold<H> {
    fn file(&self) -> &H {
        match self {
            Self::Name(file) => file,
            Self::Open(file) => file,
        }
    }
}

/// The held files and names of one op.
#[derive(Debug)]
pub(crate) struct Grip<H> {
    /// The kept copy.
    pub(super) master: Option<Hold<H>>,
    /// The duplicate, by the name it was found at.
    pub(super) duplicate: Option<Hold<H>>,
    /// The replacements that this process put in place, by the index of their name.
    pub(super) made: BTreeMap<usize, H>,
    /// The inode of the kept copy, and how many names it had before the op that this process had not given it. `None` for
    /// an op that an earlier process began.
    names_before: Option<(InodeId, u64)>,
    /// The replacements in `made` that were seen to have brought back a path; known for as long as the directories are
    /// pinned.
    brought_back: BTreeSet<usize>,
    /// Names whose path another program removed or made anew while their file was hidden; known for as long as the
    /// directories are pinned.
    anew: BTreeSet<usize>,
    /// Names that the kept copy had before the op, and that another program linked anew; known for as long as the
    /// directories are pinned.
    relinked: BTreeSet<usize>,
    /// Directories that this process made for the op, outermost first.
    dirs: Vec<Place>,
    /// Directories that are not those that the journal remembers.
    strange: BTreeSet<Place>,
}

impl<H> Default for Grip<H> {
    fn default() -> Self {
        Self {
            master: None,
            duplicate: None,
            made: BTreeMap::new(),
            names_before: None,
            brought_back: BTreeSet::new(),
            anew: BTreeSet::new(),
            relinked: BTreeSet::new(),
            dirs: Vec::new(),
            strange: BTreeSet::new(),
        }
    }
}

/// Where a duplicate that has none of its known names is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It was deleted.
    Deleted,
    /// Under another name; `None` if the name is unknown.
    Elsewhere(Option<RelPath>),
}

impl<F: Change, S: Store> Executor<'_, F, S> {
    fn grip(&self, op: &Begun) -> Option<&Grip<F::File>> {
        self.grips.get(&op.id())
    }

    /// Keeps the files of `op` open from their comparison until it ends.
    pub(super) fn keep_open(&mut self, op: &Begun, files: Files<F::File>) {
        let grip = self.grips.entry(op.id()).or_default();
        grip.master = Some(Hold::Open(files.master));
        grip.duplicate = Some(Hold::Open(files.duplicate));
    }

    /// The master and the duplicate of `op`, if both are open.
    pub(super) fn both_open(&self, op: &Begun) -> Option<Files<F::File>> {
        let grip = self.grip(op)?;
        match (grip.master.as_ref()?, grip.duplicate.as_ref()?) {
            (Hold::Open(master), Hold::Open(duplicate)) => {
                Some(Files { master: Arc::clone(master), duplicate: Arc::clone(duplicate) })
            }
            _ => None,
        }
    }

    /// Holds both files of `op`, from now until it ends.
    pub(super) fn take_grip(&mut self, op: &Begun) -> Result<(), FsError> {
        let id = op.id();
        let mut grip = self.grips.remove(&id).unwrap_or_default();
        let (mut master, mut duplicate) = (grip.master.take(), grip.duplicate.take());
        if duplicate.is_none() {
            let own = (0..op.names.len()).map(|k| op.own(k));
            let hidden = (0..op.names.len()).map(|k| op.retired_place(self.journal.id(), k));
            duplicate = self.hold_first(own.chain(hidden), |stat| op.is_duplicate(stat))?;
        }
        if master.is_none() {
            let copy = op.copy_place().cloned().into_iter();
            let targets = (0..op.names.len()).map(|k| op.target(k));
            let places = copy.chain([op.master.clone()]).chain(targets);
            master = self.hold_first(places, |stat| op.is_master(stat))?;
        }
        (grip.master, grip.duplicate) = (master, duplicate);
        if op.recorded.is_none()
            && let Some(before) = op.links_before
        {
            let there = |_, _, made: &_| Ok(self.fs.path_of(made)?.is_some());
            let before = before.saturating_sub(self.names_given(op.master_id, there)?);
            let (master, _) = *grip.names_before.get_or_insert((op.master_id, before));
            self.givers.entry(master).or_default().insert(id);
        }
        self.grips.insert(id, grip);
        Ok(())
    }

    fn hold_first(
        &self,
        places: impl Iterator<Item = Place>,
        is: impl Fn(&Stat) -> bool,
    ) -> Result<Option<Hold<F::File>>, FsError> {
        for place in places {
            if let Some(held) = self.fs.hold_if(&place, &is)? {
                return Ok(Some(Hold::Name(held)));
            }
        }
        Ok(None)
    }

    /// Remembers the name that is about to become replacement `k`: held under its hidden name, which no other program
    /// uses.
    pub(super) fn note_making(&mut self, op: &Begun, k: usize, name: F::File) {
        let grip = self.grips.entry(op.id()).or_default();
        grip.made.insert(k, name);
    }

    /// Whether the name at the hidden place `at` is the name that this process made as replacement `k`. `true` if an
    /// earlier process made the replacement: nothing of it is held then.
    pub(super) fn is_made_by_us(&self, op: &Begun, k: usize, at: &Place) -> Result<bool, FsError> {
        match self.grip(op).and_then(|grip| grip.made.get(&k)) {
            None => Ok(true),
            Some(made) => {
                let path = self.fs.path_of(made)?;
                Ok(path.is_some_and(|path| path.file_name() == at.path.file_name()))
            }
        }
    }

    /// Whether another program took the duplicate away from name `k` before this process put the replacement there. The
    /// replacement has then brought a deleted path back.
    pub(super) fn came_back(&self, op: &Begun, k: usize) -> Result<bool, FsError> {
        match self.grip(op).filter(|grip| grip.made.contains_key(&k)) {
            None => return Ok(false),
            Some(grip) if grip.brought_back.contains(&k) => return Ok(true),
            Some(_) => {}
        }
        if !self.has_its_place(op, k)? {
            return Ok(false);
        }
        let (own, target) = (self.fs.comings(&op.own(k))?, self.fs.comings(&op.target(k))?);
        let complete = !own.incomplete && !target.incomplete;
        Ok(complete && own.changed().is_some_and(|went| Some(went) < target.came))
    }

    /// Whether another program linked anew the name `k` that the kept copy had before the op.
    pub(super) fn is_relinked(&self, op: &Begun, k: usize) -> bool {
        self.grip(op).is_some_and(|grip| grip.relinked.contains(&k))
    }

    /// How many names of the kept copy `master` this process made: those of ops that are over, and those of ops under way for
    /// which `counts` returns true.
    fn names_given(
        &self,
        master: InodeId,
        counts: impl Fn(OpId, usize, &F::File) -> Result<bool, FsError>,
    ) -> Result<u64, FsError> {
        let mut names = self.given.get(&master).copied().unwrap_or_default();
        // Not all ops of the batch: each asks, and a batch has thousands.
        let givers = self.givers.get(&master).into_iter().flatten();
        for (op, grip) in givers.filter_map(|op| Some((op, self.grips.get(op)?))) {
            for (k, made) in &grip.made {
                names += u64::from(counts(*op, *k, made)?);
            }
        }
        Ok(names)
    }

    /// Whether other programs have given the kept copy a name since the op began.
    pub(super) fn has_new_names(&self, op: &Begun, master: &Stat) -> Result<bool, FsError> {
        let Some((id, before)) = self.grip(op).and_then(|grip| grip.names_before) else {
            return self.has_new_names_since_kill(op, master);
        };
        // All names of other ops count: a name too many hides a client's, and a name too few makes one up. Where a rename is
        // a link and an unlink, the name that was made is gone, and its target is another name.
        let ours = self.names_given(id, |other, k, made| {
            Ok(other != op.id()
                || self.fs.path_of(made)?.is_some()
                || self.fs.stat(&op.target(k))?.is_some_and(|at| op.is_master(&at)))
        })?;
        Ok(master.nlink.saturating_sub(ours) > before)
    }

    /// The same for an op that an earlier process began. What that process made is known by where it is: the names of ops
    /// that have ended since, and those of open ops that are in place. `false` if that is not known.
    fn has_new_names_since_kill(&self, op: &Begun, master: &Stat) -> Result<bool, FsError> {
        let all = self.journal.open_ops();
        let Some(entry) = all.iter().find(|open| open.intent.op == op.id()) else {
            return Ok(false);
        };
        let known = op.links_before.zip(self.journal.names_given_since(&entry.intent));
        let Some((before, mut ours)) = known else { return Ok(false) };
        for open in all.iter().filter(|open| open.intent.master.id == entry.intent.master.id) {
            let (other, Ok(())) = self.begun_of(open) else { return Ok(false) };
            for k in (0..other.names.len()).filter(|k| other.names[*k].found != Found::Master) {
                let hidden = [Role::Temp, Role::Withdrawn];
                let hidden = hidden.map(|role| other.hidden(self.journal.id(), k, role));
                for place in hidden.into_iter().chain([other.target(k)]) {
                    let at = self.fs.stat_if_there(&place)?;
                    ours += u64::from(at.is_some_and(|at| op.is_master(&at)));
                }
            }
        }
        Ok(master.nlink > before + ours)
    }

    /// Remembers which replacements have brought back a path, and which names of the kept copy are new: later tries to
    /// take the replacements away have other pins.
    pub(super) fn note_comings(&mut self, op: &Begun) -> Result<(), FsError> {
        for k in 0..op.names.len() {
            // This program makes nothing there.
            if op.names[k].found == Found::Master {
                let dir = op.target(k).dir();
                let anew = self.fs.path_of_dir(&dir)?.as_ref() != Some(&dir.path)
                    || self.fs.comings(&op.target(k))?.came.is_some();
                if anew && let Some(grip) = self.grips.get_mut(&op.id()) {
                    grip.relinked.insert(k);
                }
            }
            let gone = self.observe(op, k)?.duplicate == DuplicateAt::Nowhere;
            if gone
                && self.came_back(op, k)?
                && let Some(grip) = self.grips.get_mut(&op.id())
            {
                grip.brought_back.insert(k);
            }
        }
        Ok(())
    }

    /// Whether the name that this process made as replacement `k` is where it was put.
    fn has_its_place(&self, op: &Begun, k: usize) -> Result<bool, FsError> {
        let Some(name) = self.grip(op).and_then(|grip| grip.made.get(&k)) else {
            return Ok(false);
        };
        let target = op.target(k);
        let dir = self.fs.path_of_dir(&target.dir())?;
        let own = dir.map(|dir| entry(&dir, target.path.file_name()));
        Ok(own.is_some() && self.fs.path_of(name)? == own)
    }

    /// Where replacement `k` is: its target, or where another program renamed it to.
    pub(super) fn place_of_replacement(&self, op: &Begun, k: usize) -> Result<Place, FsError> {
        let target = op.target(k);
        let Some(name) = self.grip(op).and_then(|grip| grip.made.get(&k)) else {
            return Ok(target);
        };
        let path = self.fs.path_of(name)?;
        let dir = self.fs.path_of_dir(&target.dir())?;
        let own = dir.map(|dir| entry(&dir, target.path.file_name()));
        let hidden = |path: &RelPath| is_hidden_name(path.file_name().as_encoded_bytes());
        match path.filter(|path| Some(path) != own.as_ref() && !hidden(path)) {
            Some(path) => Ok(Place::new(target.branch, path)),
            None => Ok(target),
        }
    }

    /// Returns the places of the replacements that this process made and that another program renamed.
    pub(super) fn moved_replacements(&self, op: &Begun) -> Result<Vec<Place>, FsError> {
        let mut moved = Vec::new();
        for k in 0..op.names.len() {
            let place = self.place_of_replacement(op, k)?;
            if place != op.target(k) {
                moved.push(place);
            }
        }
        Ok(moved)
    }

    /// Whether the name `at` last changed before our rename made the name `hidden`, which no other program uses; `None`
    /// if the order is unknown.
    pub(super) fn changed_before(
        &self,
        at: &Place,
        hidden: &Place,
    ) -> Result<Option<bool>, FsError> {
        let (one, ours) = (self.fs.comings(at)?, self.fs.comings(hidden)?);
        let known = !one.incomplete && !ours.incomplete && ours.came.is_some();
        Ok(known.then(|| one.changed() < ours.came))
    }

    /// Whether another program removed path `k`, or made it anew, after our rename hid the file that had the
    /// duplicate's name. The hidden file then gets no path again. The answer is remembered, because hiding the file a
    /// second time is newer than the change of the other program.
    pub(super) fn is_made_anew(&mut self, op: &Begun, k: usize) -> Result<bool, FsError> {
        if self.grip(op).is_some_and(|grip| grip.anew.contains(&k)) {
            return Ok(true);
        }
        let retired = op.retired_place(self.journal.id(), k);
        let anew = self.changed_before(&op.target(k), &retired)? == Some(false);
        if anew && let Some(grip) = self.grips.get_mut(&op.id()) {
            grip.anew.insert(k);
        }
        Ok(anew)
    }

    /// Whether the name that this process made as replacement `k` was removed or renamed over by another program.
    pub(super) fn is_replacement_gone(&self, op: &Begun, k: usize) -> Result<bool, FsError> {
        match self.grip(op).and_then(|grip| grip.made.get(&k)) {
            None => Ok(false),
            Some(made) => Ok(self.fs.path_of(made)?.is_none()),
        }
    }

    /// Returns the state of the held duplicate; `None` if it is not held.
    pub(super) fn held_duplicate(&self, op: &Begun) -> Result<Option<Stat>, FsError> {
        let held = self.grip(op).and_then(|grip| grip.duplicate.as_ref());
        held.map(|held| self.fs.stat_open(held.file())).transpose()
    }

    /// Returns the state of the held master; `None` if it is not held.
    pub(super) fn held_master(&self, op: &Begun) -> Result<Option<Stat>, FsError> {
        let held = self.grip(op).and_then(|grip| grip.master.as_ref());
        held.map(|held| self.fs.stat_open(held.file())).transpose()
    }

    /// Opens the held master, whatever its names are now.
    pub(super) fn open_held_master(&self, op: OpId) -> Result<Option<Arc<F::File>>, FsError> {
        let held = self.grips.get(&op).and_then(|grip| grip.master.as_ref());
        let Some(held) = held else { return Ok(None) };
        if self.fs.stat_open(held.file())?.nlink == 0 {
            return Ok(None);
        }
        Ok(Some(match held {
            Hold::Open(file) => Arc::clone(file),
            Hold::Name(name) => Arc::new(self.fs.open_held(name)?),
        }))
    }

    /// Finds the duplicate that has none of its known names.
    pub(super) fn whereabouts(&self, op: &Begun) -> Result<Whereabouts, FsError> {
        let Some(held) = self.grip(op).and_then(|grip| grip.duplicate.as_ref()) else {
            return Ok(Whereabouts::Deleted);
        };
        if self.fs.stat_open(held.file())?.nlink == 0 {
            return Ok(Whereabouts::Deleted);
        }
        Ok(Whereabouts::Elsewhere(self.fs.path_of(held.file())?))
    }

    /// Whether a path of a client still leads to the contents of `op`: the kept copy or the duplicate has a name that
    /// is not a hidden name of this op. If only hidden names lead to the contents, clients removed every path.
    pub(super) fn is_visible(&self, op: &Begun) -> Result<bool, FsError> {
        for k in 0..op.names.len() {
            if self.fs.stat(&op.target(k))?.is_some_and(|stat| op.is_master(&stat)) {
                return Ok(true);
            }
        }
        let (mut hidden_master, mut hidden_duplicate) = (0, 0);
        let (mut master, mut duplicate) = (self.held_master(op)?, self.held_duplicate(op)?);
        let mut places: Vec<(Place, bool)> =
            op.copy_place().map(|at| (at.clone(), true)).into_iter().collect();
        for k in 0..op.names.len() {
            let hidden = [Role::Temp, Role::Withdrawn, Role::Retired];
            places.extend(hidden.map(|role| (op.hidden(self.journal.id(), k, role), true)));
            places.push((op.own(k), false));
            if op.kind == OpKind::Cross {
                places.push((op.target(k), false));
            }
        }
        places.push((op.master.clone(), false));
        let kept = op.made().and_then(|made| made.source.as_ref());
        if let Some(Source { at, seen }) = kept
            && let Some(now) = self.fs.stat_if_there(at)?
            && (now.id, now.size, now.mtime) == (seen.id, seen.size, seen.mtime)
        {
            // What was cloned.
            return Ok(true);
        }
        for (place, hidden) in places {
            let Some(stat) = self.fs.stat_if_there(&place)? else {
                continue;
            };
            if op.is_master(&stat) {
                hidden_master += u64::from(hidden);
                master = Some(stat);
            } else if op.is_duplicate(&stat) {
                hidden_duplicate += u64::from(hidden);
                duplicate = Some(stat);
            }
        }
        let more = |stat: Option<Stat>, hidden| stat.is_some_and(|stat| stat.nlink > hidden);
        Ok(more(master, hidden_master) || more(duplicate, hidden_duplicate))
    }

    /// Remembers directories that were made for `op`.
    pub(super) fn note_dirs(&mut self, op: &Begun, dirs: impl Iterator<Item = Place>) {
        self.grips.entry(op.id()).or_default().dirs.extend(dirs);
    }

    /// Takes out the directories that were made for `op`, innermost first.
    pub(super) fn take_dirs(&mut self, op: &Begun) -> Vec<Place> {
        let grip = self.grips.get_mut(&op.id());
        let mut dirs = grip.map_or_else(Vec::new, |grip| std::mem::take(&mut grip.dirs));
        dirs.reverse();
        dirs
    }

    /// Remembers that `dir` is not the directory that the op began with.
    pub(super) fn note_strange(&mut self, op: &Begun, dir: Place) {
        self.grips.entry(op.id()).or_default().strange.insert(dir);
    }

    /// Whether `dir` has its path and is the directory that the op began with, as far as is known.
    pub(super) fn is_in_place(&self, op: &Begun, dir: &Place) -> Result<bool, FsError> {
        let strange = self.grip(op).is_some_and(|grip| grip.strange.contains(dir));
        Ok(!strange && self.fs.path_of_dir(dir)?.as_ref() == Some(&dir.path))
    }

    /// Releases everything that was held of `op`, which is over. `done` is whether its replacements stay.
    pub(super) fn let_go(&mut self, op: OpId, done: bool) {
        let Some(grip) = self.grips.remove(&op) else { return };
        let Some((master, _)) = grip.names_before else { return };
        if let Entry::Occupied(mut givers) = self.givers.entry(master) {
            givers.get_mut().remove(&op);
            if givers.get().is_empty() {
                givers.remove();
            }
        }
        if done {
            *self.given.entry(master).or_default() += grip.made.len() as u64;
        }
    }
}
