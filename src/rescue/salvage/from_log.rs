//! An op whose end the log does not have: its paths are known, and a look at the disks shows its state.

use super::look::Same;
use super::{Group, Hidden, Rebuilt, SalvagePlanner, What, Why};
use crate::execute::missing_parents;
use crate::fs::{FsError, Handle, Look, Place, Stat};
use crate::journal::{
    Intent, LoggedOp, NameIntent, Record, RecordedFile, ReflinkIntent, UndoIntent,
};
use crate::plan::hidden_name::{Role, hidden_name};
use crate::plan::op::NO_INODE;
use crate::plan::{Found, OpId, OpKind};
use crate::plan::{Op, OpFile, OpName};
use crate::pool::relpath::RelPath;

/// The decision about an op.
pub(super) enum Verdict {
    /// An op for the new journal.
    Rebuilt(Box<Rebuilt>),
    /// Nothing of the op is left to be done.
    Nothing,
    /// The op stays as it is, at these places.
    Left(Why, Vec<Place>),
    /// The log is no help: only the hidden names count.
    ByName,
}

/// The files of an op that were found.
struct Scene {
    id: OpId,
    op: Op,
    master: Option<Stat>,
    /// The duplicate at its own names, and at its retired names.
    own: Vec<Option<Stat>>,
    retired: Vec<Option<Stat>>,
    duplicate: Option<(Place, Stat)>,
}

impl Scene {
    /// Whether some name of the duplicate is gone for good.
    fn nowhere(&self) -> bool {
        let mut names = self.own.iter().zip(&self.retired);
        names.any(|(own, retired)| own.is_none() && retired.is_none())
    }

    /// How many names of the duplicate are known.
    fn known(&self) -> u64 {
        self.own.iter().chain(&self.retired).flatten().count() as u64
    }

    /// Whether name `k` holds the master.
    fn in_place(&self, targets: &[Option<Stat>], k: usize) -> bool {
        let master = self.master.as_ref().map(|stat| stat.id);
        master.is_some() && targets[k].as_ref().map(|stat| stat.id) == master
    }
}

impl<F: Look> SalvagePlanner<'_, F> {
    pub(super) fn of_log(&mut self, logged: &LoggedOp, group: &Group) -> Result<Verdict, FsError> {
        let Some(op) = self.shape(logged) else {
            let at = group.iter().map(|hidden| hidden.at.clone()).collect();
            return Ok(Verdict::Left(Why::BranchGone, at));
        };
        for k in 0..op.names.len() {
            let dirs = [op.own(k).dir(), op.target(k).dir()];
            self.pin(dirs.clone())?;
            self.salvage.settle.extend(dirs);
        }
        self.pin([op.master.dir()])?;
        self.still_there(group)?;
        let targets = self.all(&op, |k| op.target(k))?;
        let copy = group.iter().find(|hidden| hidden.name.role == Role::Copy);
        if let Some(copy) = copy {
            let mut at = targets.iter().flatten();
            if !at.any(|stat| stat.id == copy.stat.id) {
                // An undo that has not published its copy: no other program has seen it.
                return Ok(Verdict::ByName);
            }
        }
        let copy = copy.map(|copy| copy.stat.clone());
        let Some(scene) = self.scene((logged.op, op), &targets, copy)? else {
            let at = group.iter().map(|hidden| hidden.at.clone()).collect();
            return Ok(Verdict::Left(Why::Unclear, at));
        };
        let published = scene.op.kind == OpKind::Cross
            && (0..targets.len())
                .any(|k| scene.in_place(&targets, k) && scene.op.target(k) != scene.op.master);
        let Some((at, duplicate)) = scene.duplicate.clone() else {
            return Ok(self.without_duplicate(&scene, group));
        };
        if group.is_empty() && !published {
            // Not begun, or taken back.
            return Ok(Verdict::Nothing);
        }
        if let Some(master) = scene.master.clone() {
            let place = self.place_of_master(&scene, &targets);
            let same = self.same((&at, &duplicate), (&place, &master))?;
            if let Some(Same::Equal(blake3)) = same {
                let of = (logged, &scene, &targets[..]);
                return self.equal(of, (&place, &master, blake3), group);
            }
        }
        self.unequal(logged, &scene, group)
    }

    /// Returns the op as it was begun, as far as the log shows; `None` if a branch of the op is missing.
    fn shape(&self, logged: &LoggedOp) -> Option<Op> {
        let mut names = Vec::with_capacity(logged.names.len());
        for name in &logged.names {
            let path = name.pool_path.strip_prefix(&self.lost.mount).ok()?;
            let path = RelPath::new(path.as_os_str().as_encoded_bytes()).ok()?;
            let branch_of = |at: &std::path::Path| {
                let of = |b: &crate::pool::BranchIdx| {
                    self.branch_path(&Place::new(*b, path.clone())) == at
                };
                self.branches().find(of)
            };
            let (from, to) = (branch_of(&name.from)?, branch_of(&name.to)?);
            names.push(OpName { path: path.clone(), from, to, found: Found::Absent });
        }
        let local = names.iter().filter(|name| name.from == name.to).count();
        let kind = match local {
            0 => OpKind::Cross,
            n if n == names.len() => OpKind::Local,
            _ => return None,
        };
        let master = self.place(&logged.master)?;
        let first = names.first()?;
        let own = Place::new(first.from, first.path.clone());
        let file = |at| OpFile { at, id: NO_INODE };
        Some(Op::planned(kind, file(master), file(own), 0, logged.bytes, names))
    }

    /// Returns the place of a branch path; of branches within each other, on the inner branch.
    fn place(&self, path: &std::path::Path) -> Option<Place> {
        let of = |branch| {
            let root = &self.lost.branches[crate::pool::BranchIdx::index(branch)].path;
            let inside = path.strip_prefix(root).ok()?;
            let path = RelPath::new(inside.as_os_str().as_encoded_bytes()).ok()?;
            Some((root.as_os_str().len(), Place::new(branch, path)))
        };
        let places = self.branches().filter_map(of);
        places.max_by_key(|(len, _)| *len).map(|(_, place)| place)
    }

    fn all(&self, op: &Op, at: impl Fn(usize) -> Place) -> Result<Vec<Option<Stat>>, FsError> {
        (0..op.names.len()).map(|k| self.regular(&at(k))).collect()
    }

    /// Finds which files are the master and the duplicate; `None` if the names contradict each other.
    ///
    /// The master of an undo is the `copy` it made.
    fn scene(
        &self,
        (id, op): (OpId, Op),
        targets: &[Option<Stat>],
        copy: Option<Stat>,
    ) -> Result<Option<Scene>, FsError> {
        let mut master = match copy {
            Some(copy) => Some(copy),
            None => self.regular(&op.master)?,
        };
        let journal = self.journal;
        let hidden = self.all(&op, |k| op.retired_place(journal, id, k))?;
        if master.is_none() {
            // The master's own name is gone. A file at the paths stays, unless it is the only file there is.
            let other = |t: &&Option<Stat>| {
                let id = t.as_ref().map(|stat| stat.id);
                id.is_some() && hidden.iter().flatten().all(|h| Some(h.id) != id)
            };
            let apart = op.kind == OpKind::Cross || hidden.iter().any(Option::is_some);
            master = targets.iter().find(other).filter(|_| apart).cloned().flatten();
        }
        let not_master = |stat: Option<Stat>| {
            stat.filter(|stat| master.as_ref().is_none_or(|m| m.id != stat.id))
        };
        let retired: Vec<_> = hidden.into_iter().map(not_master).collect();
        let mut own: Vec<_> = self.all(&op, |k| op.own(k))?.into_iter().map(not_master).collect();
        let first = |of: &[Option<Stat>], at: &dyn Fn(usize) -> Place| {
            let found = of.iter().enumerate().find_map(|(k, stat)| Some((k, stat.clone()?)));
            found.map(|(k, stat)| (at(k), stat))
        };
        let duplicate = first(&retired, &|k| op.retired_place(journal, id, k))
            .or_else(|| first(&own, &|k| op.own(k)));
        if let Some((_, stat)) = &duplicate {
            if retired.iter().flatten().any(|other| other.id != stat.id) {
                return Ok(None);
            }
            let agree = own.iter().flatten().all(|other| other.id == stat.id);
            if !agree && retired.iter().all(Option::is_none) {
                return Ok(None);
            }
            // Another file at a name that the duplicate has left is a client's new file.
            own = own.into_iter().map(|o| o.filter(|o| o.id == stat.id)).collect();
        }
        Ok(Some(Scene { id, op, master, own, retired, duplicate }))
    }

    /// Returns a name the master has.
    fn place_of_master(&self, scene: &Scene, targets: &[Option<Stat>]) -> Place {
        let at_its_own = self
            .regular(&scene.op.master)
            .is_ok_and(|stat| stat.map(|s| s.id) == scene.master.as_ref().map(|m| m.id));
        if at_its_own {
            return scene.op.master.clone();
        }
        let k = (0..targets.len()).find(|k| scene.in_place(targets, *k));
        k.map_or_else(|| scene.op.master.clone(), |k| scene.op.target(k))
    }

    /// The duplicate is gone: if hidden links of the master are left, the links go.
    fn without_duplicate(&self, scene: &Scene, group: &Group) -> Verdict {
        if group.is_empty() {
            return Verdict::Nothing;
        }
        let links = |hidden: &super::Hidden| {
            let of_master = scene.master.as_ref().is_some_and(|m| m.id == hidden.stat.id);
            of_master && matches!(hidden.name.role, Role::Temp | Role::Withdrawn)
        };
        let (Some(master), true) = (&scene.master, group.iter().all(links)) else {
            return Verdict::ByName;
        };
        if !self.is_named(master) {
            return Verdict::ByName;
        }
        let at = scene.op.master.clone();
        let copies =
            (self.copy(&at, Some(master), 0), self.copy(&scene.op.duplicate, None, master.size));
        let (Some(master), Some(duplicate)) = copies else {
            return Verdict::Left(Why::BranchGone, places(group));
        };
        let intent = Intent {
            metadata: crate::fs::Metadata::default(),
            atime: duplicate.mtime,
            blake3: [0; 32],
            ..intent(scene.id, &scene.op, (master, duplicate), [0; 32])
        };
        self.rebuilt(What::Clear, vec![intent_record(intent)], scene, true)
    }

    /// Both files are equal: recovery goes on from the state that it finds.
    fn equal(
        &self,
        (logged, scene, targets): (&LoggedOp, &Scene, &[Option<Stat>]),
        (place, master, blake3): (&Place, &Stat, [u8; 32]),
        group: &Group,
    ) -> Result<Verdict, FsError> {
        let Some((at, duplicate)) = &scene.duplicate else {
            return Ok(Verdict::Nothing);
        };
        let metadata = (self.metadata(place, master)?, self.metadata(at, duplicate)?);
        let (Some(of_master), Some(metadata)) = metadata else {
            return Ok(Verdict::Left(Why::Unclear, vec![at.clone()]));
        };
        // Then only names of the duplicate go, and the inode keeps other names: an undo's, or a link that another
        // program made.
        let others = duplicate.nlink > scene.known();
        if !others && self.lost.ignore.differs(&of_master, &metadata).is_some() {
            return Ok(Verdict::Left(Why::MetadataDiffers, vec![at.clone()]));
        }
        let mut op = scene.op.clone();
        let at_its_own = *place == op.master;
        for k in 0..op.names.len() {
            // The replacement is taken away again only if the master surely keeps a name of its own.
            let ours = at_its_own && op.target(k) != op.master;
            op.names[k].found = match (op.kind, scene.in_place(targets, k)) {
                (OpKind::Local, _) => Found::Duplicate,
                (OpKind::Cross, true) if !ours => Found::Master,
                (OpKind::Cross, _) => Found::Absent,
            };
        }
        let copies =
            (self.copy(place, Some(master), 0), self.copy(&scene.op.duplicate, Some(duplicate), 0));
        let (Some(of), Some(from)) = copies else {
            return Ok(Verdict::Left(Why::BranchGone, vec![at.clone()]));
        };
        let branches = u16::try_from(self.lost.branches.len()).unwrap_or(u16::MAX);
        let dirs =
            missing_parents(&mut |place| self.fs.stat(place), branches, self.lost.newest_dirs, &op);
        let intent = Intent {
            metadata,
            atime: duplicate.atime,
            dirs: dirs.unwrap_or_default(),
            ..intent(scene.id, &op, (of, from), blake3)
        };
        let made = group.iter().find(|h| {
            h.name.role == Role::Copy
                && h.stat.id == master.id
                && h.at.branch == intent.master.branch
        });
        let records = match (others, made) {
            (true, _) => self.as_undo(intent, made),
            // The op made the file that stays, and nothing else leads to the other one: a clone.
            (false, Some(made)) => {
                let source = self.copy(&scene.op.master, None, master.size);
                let source = source.unwrap_or_else(|| intent.master.clone());
                clone_records(intent, made.at.path.clone(), source)
            }
            (false, None) => vec![intent_record(intent)],
        };
        let all_retired = scene.retired.iter().all(Option::is_some);
        let retired = scene.nowhere() || (logged.retired && all_retired);
        Ok(self.rebuilt(What::Finish, records, scene, retired))
    }

    /// The duplicate is the only copy of its bytes here: it gets its path back, if no other file has that path.
    fn unequal(&self, logged: &LoggedOp, scene: &Scene, group: &Group) -> Result<Verdict, FsError> {
        let Some((at, duplicate)) = &scene.duplicate else {
            return Ok(Verdict::Nothing);
        };
        if scene.retired.iter().all(Option::is_none) {
            // The duplicate is at its own name, where it belongs; hidden names of the op are other files.
            return Ok(match group.is_empty() {
                true => Verdict::Left(Why::Twice, vec![at.clone()]),
                false => Verdict::ByName,
            });
        }
        for (k, retired) in scene.retired.iter().enumerate() {
            if retired.is_some() && self.in_pool(&scene.op.own(k))? {
                return Ok(Verdict::Left(Why::NoEqual, places(group)));
            }
        }
        let copies = (
            self.copy(&scene.op.master, None, duplicate.size),
            self.copy(&scene.op.duplicate, Some(duplicate), 0),
            self.metadata(at, duplicate)?,
        );
        let (Some(master), Some(from), Some(metadata)) = copies else {
            return Ok(Verdict::Left(Why::BranchGone, places(group)));
        };
        let intent = Intent {
            metadata,
            atime: duplicate.atime,
            bytes: logged.bytes,
            ..intent(scene.id, &scene.op, (master, from), [0; 32])
        };
        // Not as retired: an op that is not known to be finished is put back.
        Ok(self.rebuilt(What::PutBack, vec![intent_record(intent)], scene, false))
    }

    fn as_undo(&self, intent: Intent, made: Option<&Hidden>) -> Vec<Record> {
        let name = hidden_name(self.journal, intent.op, 0, Role::Copy);
        let dir = intent.master.path.parent().unwrap_or_else(RelPath::root);
        let copy = made.map(|h| h.at.path.clone());
        let copy = copy.or_else(|| dir.join(name).ok());
        undo_records(intent, copy.unwrap_or_else(RelPath::root))
    }

    pub(super) fn rebuilt_op(
        &self,
        what: What,
        mut records: Vec<Record>,
        op: OpId,
        retired: bool,
    ) -> Rebuilt {
        if retired {
            records.push(Record::Retired { op });
        }
        Rebuilt { op, records, what, about: Vec::new() }
    }

    fn rebuilt(&self, what: What, records: Vec<Record>, scene: &Scene, retired: bool) -> Verdict {
        let op = scene.id;
        let names = scene.op.names.iter();
        let about = names.map(|name| self.lost.mount.join(name.path.as_path()));
        Verdict::Rebuilt(Box::new(Rebuilt {
            about: about.collect(),
            ..self.rebuilt_op(what, records, op, retired)
        }))
    }
}

fn places(group: &Group) -> Vec<Place> {
    group.iter().map(|hidden| hidden.at.clone()).collect()
}

pub(super) fn intent_record(intent: Intent) -> Record {
    Record::Intent(Box::new(intent))
}

/// Returns the records of an op whose duplicate keeps names, in the form of the records of an undo.
pub(super) fn undo_records(intent: Intent, copy: RelPath) -> Vec<Record> {
    let (op, id) = (intent.op, intent.master.id);
    let undo = UndoIntent {
        undoes: OpId::LOST,
        intent,
        copy,
        sparse: false,
        emptied: Vec::new(),
        source: None,
    };
    vec![
        Record::UndoIntent(Box::new(undo)),
        Record::Copied { op, ino: id.ino, btime: id.btime, handle: Handle::default() },
    ]
}

/// Returns the records of an op whose clone is complete.
pub(super) fn clone_records(intent: Intent, copy: RelPath, source: RecordedFile) -> Vec<Record> {
    let (op, id) = (intent.op, intent.master.id);
    let reflink = ReflinkIntent { intent, copy, source };
    vec![
        Record::ReflinkIntent(Box::new(reflink)),
        Record::Copied { op, ino: id.ino, btime: id.btime, handle: Handle::default() },
    ]
}

pub(super) fn intent(
    id: OpId,
    op: &Op,
    (master, duplicate): (crate::journal::RecordedFile, crate::journal::RecordedFile),
    blake3: [u8; 32],
) -> Intent {
    let name = |n: &OpName| NameIntent {
        path: n.path.clone(),
        from: n.from,
        from_dir: Handle::default(),
        to: n.to,
        to_dir: Handle::default(),
        found: n.found,
    };
    Intent {
        op: id,
        kind: op.kind,
        atime: duplicate.mtime,
        metadata: crate::fs::Metadata::default(),
        blake3,
        bytes: op.bytes,
        names: op.names.iter().map(name).collect(),
        dirs: Vec::new(),
        master,
        duplicate,
        duplicate_handle: Handle::default(),
        master_metadata: None,
        master_links: None,
        master_handle: Handle::default(),
        salvaged: true,
        flags: None,
        relinks: None,
    }
}
