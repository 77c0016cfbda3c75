//! Clone path: the parent directories a replacement needs on the master's branch, complete before they are visible.
//!
//! A directory on an earlier branch takes over what the pool shows of it (owner, mode, times). No client may see such a
//! directory half made, and no half-made directory may survive a power cut. So the whole missing chain is made under a
//! hidden name, synced, and renamed in.

use std::collections::BTreeSet;

use super::begun::Begun;
use super::copy::stays;
use super::halt::Halt;
use super::observe::DuplicateAt;
use super::touched::sync_each;
use super::work::{Over, Work};
use super::{Executor, PathAccess};
use crate::fs::{Change, FileKind, FsError, Handle, MadeDir, Pin, Place, Stat, Timestamp};
use crate::journal::{Intent, Store};
use crate::plan::Op;
use crate::plan::hidden_name::{Role, hidden_name};
use crate::plan::op::entry;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, OpKind};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

impl<F: Change, S: Store> Executor<'_, F, S> {
    /// Makes the parents of every name of a batch that are still missing.
    ///
    /// Goes from the root downwards, in rounds. In each round the new directories of all ops are made aside, then synced
    /// together, then renamed in: one after the other, each directory would cost a rotating disk some 20 ms. Ops that lack
    /// the same directory wait until the first of them has made it.
    pub(super) fn make_parents(
        &mut self,
        works: Vec<Work<Begun>>,
        over: &mut Vec<Over>,
    ) -> Vec<Work<Begun>> {
        let mut waiting: Vec<_> = works.into_iter().map(|work| work.map(Lacking::of)).collect();
        let mut through = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let mut round = Round::default();
            let aside = self.each_part(waiting, over, |this, lacking: Lacking| {
                Self::check(lacking, |lacking| {
                    this.not_stopped(&lacking.op)?;
                    this.make_next_aside(lacking, &mut round)
                })
            });
            let dirs: Vec<Place> = aside.iter().flat_map(|work| work.op.made_aside()).collect();
            // Synced before they are renamed in: else a power cut could leave a name with no owner, mode or ACL behind it.
            let mut synced = sync_each(self.fs, &dirs).into_iter();
            waiting = self.each_part(aside, over, |this, lacking: Lacking| {
                // Of every directory, also after a failure: the next op's results follow.
                let mut next = || synced.next().expect("invariant: a result for each directory");
                let synced: Vec<_> = lacking.made_aside().map(|_| next()).collect();
                Self::check(lacking, |lacking| {
                    this.show_made(lacking, &mut round, synced.into_iter().collect())
                })
            });
            for work in waiting.extract_if(.., |work| work.op.has_all()) {
                self.observer.stepped();
                through.push(work.map(Begun::from));
            }
        }
        through.sort_by_key(|work| work.n);
        through
    }

    /// Makes aside the missing parents of the next name of an op, unless another op makes one of them in this round.
    fn make_next_aside(&mut self, lacking: &mut Lacking, round: &mut Round) -> Result<(), Halt> {
        while let Some(name) = lacking.op.names.get(lacking.k) {
            let stat = &mut |place: &Place| self.fs.stat(place);
            let chain = missing_chain(stat, name.to, &name.path)?;
            let needs_none = chain.is_empty() && name.from == name.to;
            if lacking.tries == 0 && !needs_none {
                // A name that the duplicate has left gets no replacement any more, and needs no directory.
                let left = self.observe(&lacking.op, lacking.k)?.duplicate;
                if matches!(left, DuplicateAt::Retired | DuplicateAt::Nowhere) {
                    lacking.k += 1;
                    continue;
                }
            }
            let Some(top) = chain.first() else {
                self.made_by_another(&lacking.op, lacking.k)?;
                (lacking.k, lacking.tries) = (lacking.k + 1, 0);
                continue;
            };
            if !round.tops.insert(Place::new(name.to, top.clone())) {
                return Ok(());
            }
            lacking.tries += 1;
            match self.make_chain_aside(&lacking.op, lacking.k, chain, round) {
                Ok(aside) => lacking.aside = Some(aside),
                Err(halt) => self.not_made(lacking, halt)?,
            }
            return Ok(());
        }
        Ok(())
    }

    /// Renames in what this round has made aside for an op, once that is `synced`.
    fn show_made(
        &mut self,
        lacking: &mut Lacking,
        round: &mut Round,
        synced: Result<(), FsError>,
    ) -> Result<(), Halt> {
        let Some(aside) = lacking.aside.take() else { return Ok(()) };
        match self.rename_in(&lacking.op, aside, round, synced) {
            Ok(()) => self.is_still_there(&lacking.op, lacking.k),
            Err(halt) => self.not_made(lacking, halt),
        }
    }

    /// Another op or another program may make a missing parent at any time: the next round looks again.
    fn not_made(&mut self, lacking: &Lacking, halt: Halt) -> Result<(), Halt> {
        if halt.reason != Reason::Changed || lacking.tries > TRIES {
            return Err(halt);
        }
        self.clear_aside(&lacking.op)?;
        self.is_still_there(&lacking.op, lacking.k)
    }

    /// Checks that no client has renamed or removed the directory of the duplicate's name `k` meanwhile: cloning brought its
    /// path back. It goes at once, and not with the batch: until then the client meets a directory that it has removed.
    fn is_still_there(&mut self, op: &Begun, k: usize) -> Result<(), Halt> {
        let own = op.own(k).dir();
        if self.fs.path_of_dir(&own)? == Some(own.path) {
            return Ok(());
        }
        self.remove_made(op)?;
        Err(Halt::new(Reason::Changed, "its directory was renamed or removed meanwhile"))
    }

    /// Pins the directories that names of `op` are changed in, before anything in them is looked at.
    ///
    /// A client that renames such a directory takes our hidden names along, and they are still found. The owner of the
    /// directory above could also swap it for a directory of another owner in between. Then names would be made and
    /// moved where that user may not make or move any names.
    pub(super) fn pin_dirs(&self, op: &Op) -> Result<(), Halt> {
        for k in 0..op.names.len() {
            let own = op.own(k).dir();
            if self.fs.pin(&own)? == Pin::Missing {
                // The directory is gone, or a symlink: the pin would hold nothing of it.
                let why = format!("directory {:?} is gone", own.path);
                return Err(Halt::new(Reason::Changed, why));
            }
            let mut target = op.target(k).dir();
            // A directory that is yet to be made is pinned by the directory that will hold it.
            while self.fs.pin(&target)? == Pin::Missing && !target.path.is_root() {
                target = target.dir();
            }
        }
        Ok(())
    }

    /// Pins the same directories as they are now, for an op that was found open. Returns whether an entry of another
    /// kind (a symlink, say) has the path of one of them. Nothing is found below such a path.
    fn pin_dirs_found(&self, op: &Begun) -> Result<bool, Halt> {
        let mut obstructed = false;
        for k in 0..op.names.len() {
            for dir in [op.own(k).dir(), op.target(k).dir()] {
                let mut next = dir.clone();
                loop {
                    let pinned = unless_obstructed(self.fs.pin(&next))?;
                    let missing = pinned.is_none_or(|pin| pin == Pin::Missing);
                    if !missing || next.path.is_root() {
                        break;
                    }
                    // A directory that is missing is made; an entry of another kind stays.
                    let there = unless_obstructed(self.fs.stat(&next))?.flatten();
                    if there.is_some_and(|stat| stat.kind != FileKind::Directory) {
                        obstructed = true;
                        self.fs.pin_gone(&dir);
                    }
                    next = next.dir();
                }
            }
        }
        Ok(obstructed)
    }

    /// Pins the same directories for an op that was found open, wherever clients have renamed them to since. Returns
    /// the same as [`Self::pin_dirs_found`].
    pub(super) fn pin_dirs_again(&mut self, op: &Begun, intent: &Intent) -> Result<bool, Halt> {
        for (k, recorded) in intent.names.iter().enumerate() {
            let (own, target) = (op.own(k).dir(), op.target(k).dir());
            let found = self.fs.pin_by_handle(&own, &recorded.from_dir)?;
            let another = || unless_obstructed(self.fs.stat(&own)).map(|s| s.flatten().is_some());
            if found == Pin::Missing && !recorded.from_dir.0.is_empty() && another()? {
                self.note_strange(op, own.clone());
            }
            self.fs.pin_by_handle(&target, &recorded.to_dir)?;
            // A directory that the op made has no handle in the record. mergerfs renames a directory on every branch:
            // the made directory is where its counterpart on the other branch is now.
            let mut known = None;
            while recorded.to_dir.0.is_empty() && own != target {
                let path = self.fs.path_of_dir(&own)?;
                let Some(path) = path.filter(|path| known.as_ref() != Some(path)) else {
                    break;
                };
                let there = Place::new(target.branch, path.clone());
                let found = match path == target.path {
                    // Pinned by its path, if it is there.
                    true => None,
                    false => unless_obstructed(self.fs.stat(&there))?.flatten(),
                };
                if found.is_some_and(|stat| stat.kind == FileKind::Directory) {
                    let handle = self.fs.handle(&there)?;
                    self.fs.pin_by_handle(&target, &handle)?;
                } else {
                    unless_obstructed(self.fs.pin(&target))?;
                }
                known = Some(path);
            }
        }
        self.pin_dirs_found(op)
    }

    /// Returns the handle that finds directory `dir` again after a crash; the same for all ops of a batch.
    pub(super) fn handle_of_dir(&mut self, dir: Place) -> Result<Handle, FsError> {
        if let Some(known) = self.handles.get(&dir) {
            return Ok(known.clone());
        }
        let handle = match self.fs.handle(&dir) {
            // The directory is yet to be made, or a client removed it a moment ago.
            Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => {
                Handle::default()
            }
            handle => handle?,
        };
        self.handles.insert(dir, handle.clone());
        Ok(handle)
    }

    /// Releases the directories of a batch.
    pub(super) fn release_dirs(&mut self) {
        self.opened.retain(|_, open| open.file.strong_count() > 0);
        self.handles.clear();
        self.fs.unpin();
    }

    /// Checks a directory that was missing when the op began and that another program has made or put there since: it
    /// takes a name by the rule that held for the other directories.
    fn made_by_another(&self, op: &Begun, k: usize) -> Result<(), Halt> {
        let (own, target) = (op.own(k).dir(), op.target(k).dir());
        // Checked also where no directory was missing: an entry that is no directory may have had its path when the op
        // began.
        if self.fs.pin(&target)? != Pin::New || own == target {
            return Ok(());
        }
        PathAccess::new(self.fs).alike(&own, &target, &self.options.ignore)
    }

    fn make_chain_aside(
        &mut self,
        op: &Begun,
        k: usize,
        chain: Vec<RelPath>,
        round: &mut Round,
    ) -> Result<Aside, Halt> {
        let (branch, top) = (op.names[k].to, &chain[0]);
        let aside = self.aside_of(op, k, top);
        let outer = aside.dir();
        let model = |dir: &RelPath| {
            let mut intended = op.dirs.iter();
            let intent = intended.find(|d| d.to == branch && d.path == *dir)?;
            Some(Place::new(intent.from, dir.clone()))
        };
        let models: Vec<Place> = chain.iter().filter_map(model).collect();
        if models.len() != chain.len() {
            // The intent does not list the directory: it was there when the op began, and another program removed it
            // since.
            return Err(Halt::new(Reason::Changed, format!("directory {top:?} is gone")));
        }
        self.change_in_round(round, &outer)?;
        Aside::make(self.fs, aside, chain, models).or_else(|error| {
            self.changed_in_round(round)?;
            self.failed_aside(op, error)
        })
    }

    fn rename_in(
        &mut self,
        op: &Begun,
        aside: Aside,
        round: &mut Round,
        synced: Result<(), FsError>,
    ) -> Result<(), Halt> {
        self.change_in_round(round, &aside.at.dir())?;
        let shown = synced.and_then(|()| aside.rename_in(self.fs));
        self.changed_in_round(round)?;
        if let Err(error) = shown {
            return self.failed_aside(op, error);
        }
        self.note_dirs(op, aside.places());
        aside.pin(self.fs);
        aside.places().for_each(|dir| self.touched.must_sync(dir));
        // Once the directories are noted: they go again if this fails.
        Ok(aside.clone_again(self.fs)?)
    }

    /// Must be called before directory `outer` is changed. Another directory that the round has changed gets its times noted
    /// first.
    fn change_in_round(&mut self, round: &mut Round, outer: &Place) -> Result<(), FsError> {
        if round.changing.as_ref() == Some(outer) && round.tops.len() == 1 {
            return Ok(());
        }
        self.changed_in_round(round)?;
        self.touched.before(self.fs, outer)?;
        round.changing = Some(outer.clone());
        Ok(())
    }

    /// Notes the times of the directory that was changed last.
    fn changed_in_round(&mut self, round: &mut Round) -> Result<(), FsError> {
        round.changing.take().map_or(Ok(()), |outer| self.touched.after(self.fs, &outer))
    }

    fn failed_aside<T>(&mut self, op: &Begun, error: FsError) -> Result<T, Halt> {
        self.clear_aside(op)?;
        // A filesystem that knows no RENAME_NOREPLACE: a plain rename could replace another program's empty directory.
        Err(match error.errno() {
            libc::EINVAL => Halt::new(Reason::NoExchange, format!("{error}: {}", error.source)),
            _ => error.into(),
        })
    }

    /// Removes the directories that this process made for `op`, as far as they are empty: an op that was not done
    /// leaves nothing behind.
    pub(super) fn remove_made(&mut self, op: &Begun) -> Result<(), Halt> {
        for dir in self.take_dirs(op) {
            if !self.is_in_place(op, &dir)? {
                return Ok(());
            }
            match self.remove_dirs(std::slice::from_ref(&dir)) {
                Err(error) if stays(error.errno()) => return Ok(()),
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Returns the hidden directory for name `k`, beside the topmost missing directory.
    fn aside_of(&self, op: &Begun, k: usize, top: &RelPath) -> Place {
        let dir = top.parent().unwrap_or_else(RelPath::root);
        let name = hidden_name(self.journal.id(), op.id(), k, Role::Aside);
        Place::new(op.names[k].to, entry(&dir, name))
    }

    /// Removes what an interrupted clone left aside: empty directories under a hidden name of this op.
    pub(super) fn clear_aside(&mut self, op: &Begun) -> Result<(), Halt> {
        if op.kind == OpKind::Local || op.dirs.is_empty() {
            return Ok(());
        }
        for k in 0..op.names.len() {
            let mut ancestors = Vec::new();
            let mut next = op.names[k].path.parent();
            while let Some(dir) = next.filter(|dir| !dir.is_root()) {
                next = dir.parent();
                ancestors.push(dir); // innermost first
            }
            for top in ancestors.clone() {
                let aside = self.aside_of(op, k, &top);
                if self.fs.stat(&aside)?.is_some_and(|stat| stat.kind == FileKind::Directory) {
                    let inner = ancestors.iter().filter(|dir| dir.is_below(&top));
                    let places: Vec<_> = inner.map(|dir| beneath(&aside, &top, dir)).collect();
                    self.remove_dirs(&places)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn remove_dirs(&mut self, innermost_first: &[Place]) -> Result<(), FsError> {
        for place in innermost_first {
            let dir = place.dir();
            self.touched.before(self.fs, &dir)?;
            match self.fs.remove_dir(place) {
                Err(error) if error.errno() != libc::ENOENT => return Err(error),
                _ => self.touched.after(self.fs, &dir)?,
            }
        }
        Ok(())
    }
}

/// Returns `None` if a symlink or a mount point is on the way: on its branch no directory has that path.
pub(super) fn unless_obstructed<T>(found: Result<T, FsError>) -> Result<Option<T>, FsError> {
    match found {
        Err(error) if matches!(error.errno(), libc::ELOOP | libc::EXDEV) => Ok(None),
        found => found.map(Some),
    }
}

/// Makes durable those names in `dirs` that exist.
///
/// # Errors
/// When that fails.
pub fn sync_dirs<'d, F: Change>(
    fs: &F,
    dirs: impl IntoIterator<Item = &'d Place>,
) -> Result<(), FsError> {
    for dir in dirs {
        match fs.sync_dir(dir) {
            // The directory is gone, another entry has its path, or a salvaged log names a path that cannot be a
            // directory.
            Err(error)
                if matches!(
                    error.errno(),
                    libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG
                ) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Removes a hidden directory whose op is unknown, with the empty directories in it; returns whether it is gone. Any
/// other entry in it stays, with the directories that lead to that entry.
///
/// # Errors
/// When the directory cannot be looked at, removed or made durable.
pub fn remove_if_empty<F: Change>(fs: &F, at: &Place) -> Result<bool, FsError> {
    let gone = |error: &FsError| error.errno() == libc::ENOENT;
    let names = match fs.names_with_prefix(at, b"") {
        Err(error) if gone(&error) => return Ok(true),
        names => names?,
    };
    for name in names {
        let inner = Place::new(at.branch, entry(&at.path, crate::pool::mergerfs::path_of(&name)));
        let is_dir = fs.stat(&inner)?.is_none_or(|stat| stat.kind == FileKind::Directory);
        if !is_dir || !remove_if_empty(fs, &inner)? {
            return Ok(false);
        }
    }
    match fs.remove_dir(at) {
        Err(error) if error.errno() == libc::ENOTEMPTY => return Ok(false),
        Err(error) if !gone(&error) => return Err(error),
        _ => {}
    }
    fs.sync_dir(&at.dir()).map(|()| true)
}

/// Returns the directories that `op` will need on the master's branch, outermost first: for the intent, and for the dry
/// run.
///
/// The source of each directory is the branch whose directory the pool shows: the first of `branches` that has it, or
/// the newest under `func.getattr=newest`. `stat` is [`crate::fs::Look::stat`], or remembers its answers.
///
/// # Errors
/// When an entry that is no directory is in the way, or a directory of the duplicate's path is gone.
pub fn missing_parents(
    stat: &mut impl FnMut(&Place) -> Result<Option<Stat>, FsError>,
    branches: u16,
    newest: bool,
    op: &Op,
) -> Result<Vec<DirIntent>, Halt> {
    let mut missing: Vec<DirIntent> = Vec::new();
    if op.kind == OpKind::Local {
        return Ok(missing);
    }
    for name in &op.names {
        for path in missing_chain(stat, name.to, &name.path)? {
            if !missing.iter().any(|dir| dir.path == path) {
                let others = (0..branches).map(BranchIdx).filter(|b| *b != name.to);
                let from = shown_directory(stat, others, newest, &path)?.ok_or_else(|| {
                    Halt::new(Reason::Changed, format!("directory {path:?} is gone"))
                })?;
                missing.push(DirIntent { path, to: name.to, from });
            }
        }
    }
    Ok(missing)
}

/// Directories that were made under a hidden name, beside their place: each like its model, and not to be seen yet.
pub(super) struct Aside {
    /// The hidden name of the first of them.
    at: Place,
    /// Where they belong, outermost first.
    chain: Vec<RelPath>,
    models: Vec<Place>,
    made: Vec<MadeDir>,
    /// When their models were last touched before they were cloned.
    looks: Vec<Option<Timestamp>>,
}

impl Aside {
    /// Makes `chain`, outermost first, under the hidden name `at` of its first directory, each directory like its model.
    ///
    /// After an error some directories may be left aside.
    pub(super) fn make<F: Change>(
        fs: &F,
        at: Place,
        chain: Vec<RelPath>,
        models: Vec<Place>,
    ) -> Result<Self, FsError> {
        let looks: Result<Vec<_>, _> = models.iter().map(|model| touched_at(fs, model)).collect();
        let mut aside = Self { at, chain, models, made: Vec::new(), looks: looks? };
        let hidden: Vec<Place> = aside.hidden().collect();
        for place in hidden.iter().rev() {
            aside.made.push(fs.make_dir(place)?);
        }
        // Innermost first: making an entry moves the time of the directory it is made in.
        let made = aside.made.iter().rev();
        for ((model, place), made) in aside.models.iter().rev().zip(&hidden).zip(made) {
            fs.clone_dir(model, place, made, true)?;
        }
        Ok(aside)
    }

    /// Where the directories are now, innermost first.
    pub(super) fn hidden(&self) -> impl Iterator<Item = Place> {
        self.chain.iter().rev().map(|dir| beneath(&self.at, &self.chain[0], dir))
    }

    /// Where the directories belong, outermost first.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.chain.iter().map(|dir| Place::new(self.at.branch, dir.clone()))
    }

    /// Renames the directories in, which are synced.
    ///
    /// Does not sync the directory that holds the new name, and does not see what clients change meanwhile
    /// ([`Self::clone_again`]).
    pub(super) fn rename_in<F: Change>(&self, fs: &F) -> Result<(), FsError> {
        fs.rename_noreplace(&self.at, &Place::new(self.at.branch, self.chain[0].clone()))
    }

    /// Pins the directories, which are at their place.
    pub(super) fn pin<F: Change>(&self, fs: &F) {
        self.places().zip(&self.made).for_each(|(dir, made)| fs.pin_made(&dir, made));
    }

    /// Clones the directories again from their models, as far as clients have touched those since.
    pub(super) fn clone_again<F: Change>(&self, fs: &F) -> Result<(), FsError> {
        for (n, place) in self.places().enumerate() {
            clone_again(fs, (&self.models[n], self.looks[n]), &place, &self.made[n])?;
        }
        Ok(())
    }
}

/// The directories that all ops make in one round.
#[derive(Default)]
struct Round {
    /// The topmost ones, at their place.
    tops: BTreeSet<Place>,
    /// The directory that was changed last, while its new times are not noted.
    changing: Option<Place>,
}

/// An op whose parents are being made.
struct Lacking {
    op: Begun,
    /// The name whose parents are next.
    k: usize,
    /// How often parents of this name were made.
    tries: u32,
    /// The parents that are made, and not renamed in yet.
    aside: Option<Aside>,
}

impl Lacking {
    fn of(op: Begun) -> Self {
        Self { op, k: 0, tries: 0, aside: None }
    }

    fn has_all(&self) -> bool {
        self.k == self.op.names.len()
    }

    fn made_aside(&self) -> impl Iterator<Item = Place> {
        self.aside.iter().flat_map(Aside::hidden)
    }
}

impl From<Lacking> for Begun {
    fn from(lacking: Lacking) -> Self {
        lacking.op
    }
}

/// Returns when directory `at` was last touched; `None` if it is gone.
fn touched_at<F: Change>(fs: &F, at: &Place) -> Result<Option<Timestamp>, FsError> {
    Ok(fs.stat(at)?.map(|stat| stat.ctime))
}

/// How often parents of a name are made that other programs make or remove at the same time.
const TRIES: u32 = 8;

/// How often a directory is cloned again that a client keeps changing.
const CLONE_TRIES: usize = 8;

/// Gives the directory at `place`, which clients can see by now, what clients have changed of its model since that was last
/// touched at `seen`: the owner, mode or an attribute. Such a change reached the model only, because the new directory was
/// still hidden; from now on mergerfs changes both.
fn clone_again<F: Change>(
    fs: &F,
    (model, mut seen): (&Place, Option<Timestamp>),
    place: &Place,
    made: &MadeDir,
) -> Result<(), FsError> {
    for _ in 0..CLONE_TRIES {
        let now = touched_at(fs, model)?;
        if now.is_none() || now == seen {
            return Ok(());
        }
        seen = now;
        // Not the times: clients have made and removed entries there since.
        let cloned = fs.clone_dir(model, place, made, false).and_then(|()| fs.sync_dir(place));
        match cloned {
            // A client removed or renamed one of the two.
            Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => return Ok(()),
            cloned => cloned?,
        }
    }
    Ok(())
}

/// Returns the missing ancestors of `path` on `branch`, outermost first.
pub(super) fn missing_chain(
    stat: &mut impl FnMut(&Place) -> Result<Option<Stat>, FsError>,
    branch: BranchIdx,
    path: &RelPath,
) -> Result<Vec<RelPath>, Halt> {
    let mut chain = Vec::new();
    let mut next = path.parent();
    while let Some(dir) = next.filter(|dir| !dir.is_root()) {
        match stat(&Place::new(branch, dir.clone()))? {
            Some(stat) if stat.kind == FileKind::Directory => break,
            Some(_) => {
                let detail = format!("{dir:?} is no directory on the kept copy's disk");
                return Err(Halt::new(Reason::Obstructed, detail));
            }
            None => {}
        }
        next = dir.parent();
        chain.push(dir);
    }
    chain.reverse();
    Ok(chain)
}

/// Returns the branch among `branches` whose directory the pool shows at `path`.
pub(super) fn shown_directory(
    stat: &mut impl FnMut(&Place) -> Result<Option<Stat>, FsError>,
    branches: impl Iterator<Item = BranchIdx>,
    newest: bool,
    path: &RelPath,
) -> Result<Option<BranchIdx>, FsError> {
    let mut shown = None;
    for branch in branches {
        let Some(found) = stat(&Place::new(branch, path.clone()))? else {
            continue;
        };
        let better = shown.is_none_or(|(_, mtime)| newest && found.mtime > mtime);
        if found.kind == FileKind::Directory && better {
            shown = Some((branch, found.mtime));
        }
    }
    Ok(shown.map(|(branch, _)| branch))
}

/// Returns where `dir`, which is `top` or below it, is made while `top` still has the name `aside`.
pub(super) fn beneath(aside: &Place, top: &RelPath, dir: &RelPath) -> Place {
    let rest = &dir.as_bytes()[top.as_bytes().len()..];
    let bytes = [aside.path.as_bytes(), rest].concat();
    let path = RelPath::new(bytes).expect("invariant: two sound paths joined at a component");
    Place::new(aside.branch, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_made_beneath_the_hidden_name_of_its_top() {
        let path = |s: &str| RelPath::new(s).unwrap();
        let aside = Place::new(BranchIdx(1), path("a/.xdedup-x"));
        let made = |dir: &str| beneath(&aside, &path("a/b"), &path(dir)).path;
        assert_eq!(made("a/b"), path("a/.xdedup-x"));
        assert_eq!(made("a/b/c/d"), path("a/.xdedup-x/c/d"));
    }
}
