//! Clone path: the parent directories a replacement needs on the master's branch, complete before they are visible.
//!
//! A directory on an earlier branch takes over what the pool shows of it (owner, mode, times). No client may see such a
//! directory half made, and no half-made directory may survive a power cut. So the whole missing chain is made under a
//! hidden name, synced, and renamed in.

use super::begun::Begun;
use super::copy::stays;
use super::halt::Halt;
use super::observe::DuplicateAt;
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
    /// Makes the parents of every name of `op` that are still missing.
    pub(super) fn make_parents(&mut self, op: &Begun) -> Result<(), Halt> {
        for (k, name) in op.names.iter().enumerate() {
            // A name that the duplicate has left gets no replacement any more, and needs no directory.
            let left = self.observe(op, k)?.duplicate;
            if matches!(left, DuplicateAt::Retired | DuplicateAt::Nowhere) {
                continue;
            }
            // Another op or another program may make a missing parent at any time: look again until nothing is missing.
            for attempt in 0.. {
                let stat = &mut |place: &Place| self.fs.stat(place);
                let chain = missing_chain(stat, name.to, &name.path)?;
                if chain.is_empty() {
                    self.made_by_another(op, k)?;
                    break;
                }
                match self.make_chain(op, k, &chain) {
                    Err(halt) if halt.reason == Reason::Changed && attempt < 8 => {
                        self.clear_aside(op)?;
                    }
                    other => other?,
                }
                // A client may have renamed or removed the directory meanwhile: cloning brought its path back. It goes
                // at once, and not with the batch: until then the client meets a directory that it has removed.
                if self.fs.path_of_dir(&op.own(k).dir())? != Some(op.own(k).dir().path) {
                    self.remove_made(op)?;
                    return Err(Halt::new(
                        Reason::Changed,
                        "its directory was renamed or removed meanwhile",
                    ));
                }
            }
        }
        Ok(())
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

    fn make_chain(&mut self, op: &Begun, k: usize, chain: &[RelPath]) -> Result<(), Halt> {
        let branch = op.names[k].to;
        let top = &chain[0];
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
        self.touched.before(self.fs, &outer)?;
        let made = make_aside(self.fs, &aside, chain, &models);
        self.touched.after(self.fs, &outer)?;
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                self.clear_aside(op)?;
                // A filesystem that knows no RENAME_NOREPLACE: a plain rename could replace another program's empty
                // directory.
                return Err(match error.errno() {
                    libc::EINVAL => {
                        Halt::new(Reason::NoExchange, format!("{error}: {}", error.source))
                    }
                    _ => error.into(),
                });
            }
        };
        let places = chain.iter().map(|dir| Place::new(branch, dir.clone()));
        self.note_dirs(op, places.clone());
        for (dir, made) in places.zip(&made.dirs) {
            self.fs.pin_made(&dir, made);
            self.touched.must_sync(dir);
        }
        // Once the directories are noted: they go again if this fails.
        Ok(made.clone_again(self.fs, branch, chain, &models)?)
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

/// Makes `chain`, outermost first, under the hidden name `aside` of its first directory, each directory like its model,
/// and renames it in.
///
/// Does not sync the directory that holds the new name, and does not see what clients change meanwhile ([`Made::clone_again`]). After an error
/// some directories may be left aside.
pub(super) fn make_aside<F: Change>(
    fs: &F,
    aside: &Place,
    chain: &[RelPath],
    models: &[Place],
) -> Result<Made, FsError> {
    let top = &chain[0];
    let places: Vec<Place> = chain.iter().map(|dir| beneath(aside, top, dir)).collect();
    let looks: Result<Vec<_>, _> = models.iter().map(|model| touched_at(fs, model)).collect();
    let looks = looks?;
    let made: Result<Vec<_>, _> = places.iter().map(|place| fs.make_dir(place)).collect();
    let made = made?;
    // Innermost first: making an entry moves the time of the directory it is made in.
    for ((model, place), made) in models.iter().zip(&places).zip(&made).rev() {
        fs.clone_dir(model, place, made, true)?;
    }
    // Synced before the rename: else a power cut could leave the name with no owner, mode or ACL behind it.
    places.iter().rev().try_for_each(|place| fs.sync_dir(place))?;
    fs.rename_noreplace(aside, &Place::new(aside.branch, top.clone()))?;
    Ok(Made { dirs: made, looks })
}

/// Directories that were made and renamed in, outermost first.
pub(super) struct Made {
    pub(super) dirs: Vec<MadeDir>,
    /// When their models were last touched before they were cloned.
    looks: Vec<Option<Timestamp>>,
}

impl Made {
    /// Clones the directories of `chain` on `branch` again from their `models`, as far as clients have touched those since.
    pub(super) fn clone_again<F: Change>(
        &self,
        fs: &F,
        branch: BranchIdx,
        chain: &[RelPath],
        models: &[Place],
    ) -> Result<(), FsError> {
        for (n, model) in models.iter().enumerate() {
            let place = Place::new(branch, chain[n].clone());
            clone_again(fs, (model, self.looks[n]), &place, &self.dirs[n])?;
        }
        Ok(())
    }
}

/// Returns when directory `at` was last touched; `None` if it is gone.
fn touched_at<F: Change>(fs: &F, at: &Place) -> Result<Option<Timestamp>, FsError> {
    Ok(fs.stat(at)?.map(|stat| stat.ctime))
}

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
