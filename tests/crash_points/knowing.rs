//! What a client knows: every path it expects, with the bytes, attributes and links it gave it.

use std::collections::{BTreeMap, BTreeSet};

use mergerfs_xdedup::fs::sim::{Acknowledged, ClientId, SimWorld};
use mergerfs_xdedup::fs::{FileKind, InodeId, Look, Place, Stat, Timestamp};
use mergerfs_xdedup::journal::Journal;
use mergerfs_xdedup::pool::BranchIdx;
use mergerfs_xdedup::pool::relpath::RelPath;

use super::meddling::Step;
use super::session::{Session, View, is_hidden};

/// How a pool can differ from what a client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// A call of the client failed that cannot fail.
    Shock,
    /// A path is gone.
    Lost,
    /// A path has other bytes than the client gave it.
    Bytes,
    /// A path is there that was removed or renamed.
    Back,
    /// A mode or an extended attribute is gone.
    Attributes,
    /// Two names of one file are two files, and no conflict names either.
    Split,
    /// One path is on two branches, and no conflict names both.
    Twice,
    /// A directory was changed that only the client has to do with.
    Touched,
}

/// What became of a path, for the writes that went through it before.
#[derive(Debug)]
enum Event {
    Moved(RelPath, RelPath),
    Ended(RelPath),
}

/// Paths that are names of one file.
type Links = BTreeSet<RelPath>;

/// What a client was told has succeeded.
#[derive(Debug, Default)]
pub(super) struct Knows {
    view: View,
    /// Paths that may be there or not: a rename of one name of a file over another one does nothing and succeeds.
    may: BTreeSet<RelPath>,
    /// The inodes there were before it began: only of these the tool makes links.
    inodes: BTreeSet<InodeId>,
    /// An undo makes new inodes, too, with all the names of a link set.
    undo: bool,
    /// Names of one file that the client made.
    links: Vec<Links>,
    /// Names of one file that were there before.
    kin: Vec<Links>,
    /// Names of one file when an undo began, which it separates.
    separated: Vec<Links>,
    /// The branches that have a path, where they were several before it began.
    copies: BTreeMap<RelPath, BTreeSet<BranchIdx>>,
    modes: BTreeMap<RelPath, u32>,
    xattrs: BTreeSet<RelPath>,
    symlinks: BTreeSet<RelPath>,
    /// The directories that the tool has nothing to do with, wherever they are; none once the client changed them.
    strange: Option<Strange>,
    /// What it has open, and its path unless that was removed or replaced.
    pub(super) held: Option<(ClientId, Option<RelPath>)>,
    /// What became of paths, each with how many writes were acknowledged before.
    events: Vec<(usize, Event)>,
    /// Failures that no client may see.
    shocks: Vec<String>,
    writes: u32,
}

/// Directories with their entries: each entry's inode, links and times.
type Strange = BTreeMap<InodeId, (Seen, BTreeMap<RelPath, Seen>)>;

/// What shows that a directory or a file was changed. A rename moves the ctime of what is renamed.
type Seen = (InodeId, u64, u32, Timestamp);

/// The directories `s` of all branches.
fn strangers(world: &SimWorld) -> BTreeSet<InodeId> {
    let names = world.names().into_iter();
    names.filter(|(at, _)| at.path.as_bytes() == b"s").map(|(_, stat)| stat.id).collect()
}

/// What is in the directories that are `ids`, wherever they are.
fn strange(world: &SimWorld, ids: impl Iterator<Item = InodeId>) -> Strange {
    let names = world.names();
    let seen = |stat: &Stat| (stat.id, stat.nlink, stat.mode, stat.mtime);
    let of = |id: InodeId| {
        let (dir, stat) = names.iter().find(|(_, stat)| stat.id == id)?;
        let below = names.iter().filter(|(at, _)| at.path.parent().is_some() && at.dir() == *dir);
        let name = |at: &Place| RelPath::new(at.path.file_name().as_encoded_bytes()).unwrap();
        let entries = below.map(|(at, stat)| (name(at), seen(stat)));
        Some((id, (seen(stat), entries.collect())))
    };
    ids.filter_map(of).collect()
}

/// The paths of a pool that are names of one file, as its clients see it.
fn linked(world: &SimWorld) -> Vec<Links> {
    let (mut seen, mut groups) = (BTreeSet::new(), BTreeMap::<InodeId, Links>::new());
    for (at, (id, _)) in world.files() {
        if !is_hidden(&at.path) && seen.insert(at.path.clone()) {
            groups.entry(id).or_default().insert(at.path);
        }
    }
    groups.into_values().filter(|paths| paths.len() > 1).collect()
}

fn branches_of(world: &SimWorld) -> BTreeMap<RelPath, BTreeSet<BranchIdx>> {
    let mut all = BTreeMap::<RelPath, BTreeSet<BranchIdx>>::new();
    for at in world.files().into_keys().filter(|at| !is_hidden(&at.path)) {
        all.entry(at.path).or_default().insert(at.branch);
    }
    all.retain(|_, branches| branches.len() > 1);
    all
}

/// Where `path` is once `from`, itself or a directory above it, is renamed to `to`.
fn moved(path: &RelPath, from: &RelPath, to: &RelPath) -> Option<RelPath> {
    if path == from {
        return Some(to.clone());
    }
    let rest = path.as_bytes().strip_prefix(from.as_bytes())?;
    let rest = rest.strip_prefix(b"/")?;
    RelPath::new([to.as_bytes(), b"/", rest].concat()).ok()
}

fn move_set(set: &mut BTreeSet<RelPath>, from: &RelPath, to: &RelPath) {
    let all = std::mem::take(set).into_iter();
    *set = all.map(|path| moved(&path, from, to).unwrap_or(path)).collect();
}

fn move_keys<T>(map: &mut BTreeMap<RelPath, T>, from: &RelPath, to: &RelPath) {
    let all = std::mem::take(map).into_iter();
    *map = all.map(|(path, value)| (moved(&path, from, to).unwrap_or(path), value)).collect();
}

/// Whether a directory is to be renamed to one that is there, perhaps with nothing in it but hidden names: `mv` would
/// put it in there.
fn goes_into_a_directory(world: &SimWorld, step: &Step) -> bool {
    let (Step::Rename(from, to) | Step::Mv(from, to)) = step else {
        return false;
    };
    let names = world.names();
    let is_dir = |path: &RelPath| {
        let mut all = names.iter().filter(|(at, _)| at.path == *path);
        all.any(|(_, stat)| stat.kind == FileKind::Directory)
    };
    is_dir(from) && is_dir(to)
}

fn exists(world: &SimWorld, path: &RelPath) -> bool {
    world.names().keys().any(|at| at.path == *path)
}

impl Knows {
    /// Every path with the bytes it should have.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn new(session: &Session) -> Self {
        Self {
            view: session.view(),
            inodes: session.world.files().into_values().map(|f| f.0).collect(),
            kin: linked(&session.world),
            copies: branches_of(&session.world),
            strange: Some(strange(&session.world, strangers(&session.world).into_iter())),
            ..Self::default()
        }
    }

    /// An undo separates the kept copy from the others: what was one file when it began need not be one.
    pub(super) fn beside_an_undo(&mut self) {
        self.undo = true;
        self.separated = std::mem::take(&mut self.kin);
    }

    /// A clone is a new inode, with all the names of a link set.
    pub(super) fn beside_clones(&mut self) {
        self.undo = true;
    }

    /// A step on a path that the client itself removed or renamed before is not done.
    pub(super) fn act(&mut self, world: &SimWorld, step: &Step) {
        if self.concerns_nothing(step) || goes_into_a_directory(world, step) {
            return;
        }
        let before = world.acknowledged().len();
        let strangers = self.strange_now(world);
        let done = self.done(world, step, before);
        if self.strange_now(world) != strangers {
            self.strange = None;
        }
        if let Err(err) = done {
            // What a client did between the last look and a rename is on its way until the window ends, and so is the
            // replacement of a path that it removed.
            let passing = [Some(libc::ENOENT), Some(libc::EEXIST)];
            if world.leases() > 0 && passing.contains(&err.raw_os_error()) {
                return;
            }
            self.shocks.push(format!("{step:?} met {err}"));
        }
    }

    fn strange_now(&self, world: &SimWorld) -> Option<Strange> {
        let known = self.strange.as_ref()?;
        Some(strange(world, known.keys().copied()))
    }

    /// A symlink leads to another path, and is a file to who removes or renames it.
    fn leads_elsewhere(&self, step: &Step) -> bool {
        let links = |path: &RelPath| {
            let mut links = self.symlinks.iter();
            links.any(|link| path != link && path.is_below(link))
        };
        match step {
            Step::Link(from, to)
            | Step::LinkOver(from, to)
            | Step::Rename(from, to)
            | Step::Mv(from, to) => links(from) || links(to),
            Step::Save(at) | Step::Create(at) => links(&at.path),
            Step::Symlink(to, at) => {
                links(to) || links(&at.path) || self.view.contains_key(&at.path)
            }
            Step::RemoveTree(path) | Step::Rmdir(path) => {
                links(path) || self.symlinks.contains(path)
            }
            _ => false,
        }
    }

    fn concerns_nothing(&self, step: &Step) -> bool {
        if self.leads_elsewhere(step) {
            return true;
        }
        let unknown = |path: &RelPath| {
            let mut known = self.view.keys().chain(&self.may);
            !known.any(|known| known.is_below(path))
        };
        match step {
            Step::Write(path)
            | Step::WriteKeepingTimes(path)
            | Step::WriteApart(path)
            | Step::Truncate(path)
            | Step::OpenRead(path)
            | Step::OpenWrite(path)
            | Step::RemoveTree(path)
            | Step::Chmod(path)
            | Step::Setxattr(path)
            | Step::LinkOver(path, _) => unknown(path),
            Step::Remove(path) => !self.view.contains_key(path) && !self.may.contains(path),
            // A directory goes over no file, and over no other directory that is not empty.
            Step::Rename(path, to) | Step::Mv(path, to) => {
                let file = |path| self.view.contains_key(path) || self.may.contains(path);
                let free = unknown(to) || (self.view.contains_key(to) && file(path));
                unknown(path) || !free
            }
            Step::Link(path, to) => unknown(path) || !unknown(to),
            Step::Symlink(_, at) => !unknown(&at.path),
            Step::Save(_)
            | Step::Create(_)
            | Step::Mkdir(_)
            | Step::Rmdir(_)
            | Step::WriteHeld
            | Step::StoreMapped
            | Step::Close => false,
        }
    }

    fn done(&mut self, world: &SimWorld, step: &Step, before: usize) -> std::io::Result<()> {
        self.writes += 1;
        let bytes = format!("written {}", self.writes).into_bytes();
        match step {
            Step::Write(path) => {
                world.client_write(path, &bytes)?;
                self.written(path, bytes);
            }
            Step::WriteKeepingTimes(path) => {
                let size = self.view.get(path).map_or(0, Vec::len);
                let mut bytes = bytes;
                bytes.resize(size, b'.');
                world.client_write_keeping_times(path, &bytes)?;
                self.written(path, bytes);
            }
            Step::Truncate(path) => {
                world.client_truncate(path, 3)?;
                if let Some(mut bytes) = self.view.get(path).cloned() {
                    bytes.truncate(3);
                    self.written(path, bytes);
                }
            }
            Step::OpenRead(path) => {
                self.held = Some((world.client_open_read(path)?.0, Some(path.clone())));
            }
            Step::OpenWrite(path) => {
                self.held = Some((world.client_open_write(path)?.0, Some(path.clone())));
            }
            Step::WriteHeld | Step::StoreMapped => self.store(world, step, bytes)?,
            Step::Close => {
                if let Some((id, _)) = self.held.take() {
                    world.client_close(id);
                }
            }
            Step::Chmod(path) => {
                world.client_chmod(path, 0o600)?;
                self.modes.insert(path.clone(), 0o600);
            }
            Step::Setxattr(path) => {
                world.client_setxattr(path, b"user.mark", b"1")?;
                self.xattrs.insert(path.clone());
            }
            _ => self.done_to_names(world, step, bytes, before)?,
        }
        Ok(())
    }

    fn done_to_names(
        &mut self,
        world: &SimWorld,
        step: &Step,
        bytes: Vec<u8>,
        before: usize,
    ) -> std::io::Result<()> {
        match step {
            Step::Remove(path) => {
                let removed = world.client_remove(path);
                if removed.as_ref().is_err_and(|err| err.raw_os_error() == Some(libc::EISDIR)) {
                    // On one disk; on another one the file is gone.
                    self.view.remove(path);
                    self.may.insert(path.clone());
                }
                removed?;
                self.ended(path, before);
            }
            Step::RemoveTree(path) => {
                world.client_remove_tree(path)?;
                let all: Vec<RelPath> = self.view.keys().chain(&self.may).cloned().collect();
                for path in all.iter().filter(|below| below.is_below(path)) {
                    self.ended(path, before);
                }
            }
            Step::WriteApart(path) => {
                world.client_write_apart(path, &bytes)?;
                self.ended(path, before);
                self.view.insert(path.clone(), bytes);
            }
            Step::Save(at) => {
                world.client_save(at, &bytes)?;
                self.ended(&at.path, before);
                self.view.insert(at.path.clone(), bytes);
            }
            Step::Rename(from, to) => {
                world.client_rename(from, to)?;
                self.renamed(from, to, before);
                // Where both were names of one inode the kernel did nothing.
                if exists(world, from) {
                    self.may.insert(from.clone());
                }
            }
            Step::Mv(from, to) => {
                let id = |path| world.client_read(path).map(|(id, _)| id).ok();
                let one_file = id(to).is_some() && id(from) == id(to);
                world.client_mv(from, to)?;
                if one_file {
                    self.ended(from, before);
                } else {
                    self.renamed(from, to, before);
                }
                if exists(world, from) {
                    self.may.insert(from.clone());
                }
            }
            Step::Link(from, to) => {
                world.client_link(from, to)?;
                self.linked(from, to, before);
            }
            Step::LinkOver(from, to) => {
                let id = |path| world.client_read(path).map(|(id, _)| id).ok();
                // It says that they are the same file, and does nothing.
                if id(from) != id(to) {
                    world.client_link_over(from, to)?;
                    self.linked(from, to, before);
                }
            }
            _ => self.made_or_emptied(world, step, bytes, before)?,
        }
        Ok(())
    }

    fn made_or_emptied(
        &mut self,
        world: &SimWorld,
        step: &Step,
        bytes: Vec<u8>,
        before: usize,
    ) -> std::io::Result<()> {
        match step {
            Step::Symlink(to, at) => {
                match world.client_symlink(to, at) {
                    // An empty directory is there that is in no view.
                    Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {}
                    made => {
                        made?;
                        self.ended(&at.path, before);
                        self.view.insert(at.path.clone(), Vec::new());
                        self.symlinks.insert(at.path.clone());
                    }
                }
            }
            Step::Create(at) => {
                match world.client_create(at, &bytes) {
                    // What it removed a moment ago is there again until the next look: facts 7.5 (b).
                    Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {}
                    created => {
                        created?;
                        self.ended(&at.path, before);
                        self.view.insert(at.path.clone(), bytes);
                    }
                }
            }
            Step::Mkdir(at) => match world.client_mkdir(at) {
                Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {}
                made => made?,
            },
            Step::Rmdir(path) => match world.client_rmdir(path) {
                Err(err) if matches!(err.raw_os_error(), Some(libc::ENOTEMPTY | libc::ENOENT)) => {}
                removed => removed?,
            },
            _ => {}
        }
        Ok(())
    }

    /// Another name that the client made shows the write too.
    fn written(&mut self, path: &RelPath, bytes: Vec<u8>) {
        let links = self.links.iter().filter(|links| links.contains(path));
        let others = links.flatten().cloned().collect::<Vec<_>>();
        for other in others {
            self.view.insert(other, bytes.clone());
        }
        self.may.remove(path);
        self.view.insert(path.clone(), bytes);
    }

    fn store(&mut self, world: &SimWorld, step: &Step, bytes: Vec<u8>) -> std::io::Result<()> {
        let Some((id, path)) = self.held.clone() else {
            return Ok(());
        };
        let done = match step {
            Step::StoreMapped => world.client_store_mapped(id, &bytes),
            _ => world.client_write_held(id, &bytes),
        };
        match done {
            // It still waits in open.
            Err(err) if err.raw_os_error() == Some(libc::EBADF) => Ok(()),
            Err(err) => Err(err),
            Ok(()) => {
                if let Some(path) = path {
                    self.written(&path, bytes);
                }
                Ok(())
            }
        }
    }

    /// The name `path` ended, after `before` acknowledged writes.
    fn ended(&mut self, path: &RelPath, before: usize) {
        self.view.remove(path);
        self.may.remove(path);
        self.modes.remove(path);
        self.xattrs.remove(path);
        self.symlinks.remove(path);
        self.copies.remove(path);
        for links in self.links.iter_mut().chain(&mut self.kin) {
            links.remove(path);
        }
        if let Some((_, held)) = &mut self.held
            && held.as_ref() == Some(path)
        {
            *held = None;
        }
        self.events.push((before, Event::Ended(path.clone())));
    }

    fn renamed(&mut self, from: &RelPath, to: &RelPath, before: usize) {
        self.ended(to, before);
        move_keys(&mut self.view, from, to);
        move_keys(&mut self.modes, from, to);
        move_keys(&mut self.copies, from, to);
        move_set(&mut self.may, from, to);
        move_set(&mut self.xattrs, from, to);
        move_set(&mut self.symlinks, from, to);
        for links in self.links.iter_mut().chain(&mut self.kin) {
            move_set(links, from, to);
        }
        if self.undo_separates(from, to) {
            for links in self.links.iter_mut().chain(&mut self.kin) {
                links.remove(to);
            }
        }
        if let Some((_, Some(held))) = &mut self.held
            && let Some(now) = moved(held, from, to)
        {
            *held = now;
        }
        let event = Event::Moved(from.clone(), to.clone());
        self.events.push((before, event));
    }

    fn linked(&mut self, from: &RelPath, to: &RelPath, before: usize) {
        self.ended(to, before);
        if let Some(bytes) = self.view.get(from).cloned() {
            self.view.insert(to.clone(), bytes);
        } else if self.may.contains(from) {
            self.may.insert(to.clone());
        }
        if let Some(mode) = self.modes.get(from).copied() {
            self.modes.insert(to.clone(), mode);
        }
        if self.xattrs.contains(from) {
            self.xattrs.insert(to.clone());
        }
        if let Some(branches) = self.copies.get(from).cloned() {
            self.copies.insert(to.clone(), branches);
        }
        // What it links may be what the undo takes away from this path.
        let taken = self.separated.iter().any(|links| links.contains(from));
        if !taken {
            self.links.push([from.clone(), to.clone()].into());
        }
    }

    /// An undo cannot know that a client linked again what was linked when it began.
    fn undo_separates(&self, a: &RelPath, b: &RelPath) -> bool {
        let mut groups = self.separated.iter();
        groups.any(|links| links.contains(a) && links.contains(b))
    }

    /// Whether what the client gave a path is in a file that a conflict names, while the path shows another one. That is
    /// allowed where two actions changed both files.
    pub(super) fn excuses(&self, session: &Session, (kind, what): &(Wrong, String)) -> bool {
        let (told, files) = (told(session), session.world.files());
        let fork = session.world.fork();
        let fs = fork.fs();
        let about = |path: &RelPath| what.contains(&format!("{path:?}"));
        let named = || files.iter().filter(|(at, _)| told.contains(*at));
        match kind {
            Wrong::Bytes => {
                let mut paths = self.view.iter().filter(|(path, _)| about(path));
                paths.any(|(_, bytes)| named().any(|(_, (_, found))| found == bytes))
            }
            Wrong::Attributes if what.contains("mode") => {
                let mut modes = self.modes.iter().filter(|(path, _)| about(path));
                let mode = |at: &Place| fs.stat(at).ok().flatten().map(|stat| stat.mode);
                modes.any(|(_, wanted)| named().any(|(at, _)| mode(at) == Some(*wanted)))
            }
            Wrong::Attributes => named().any(|(at, _)| is_marked(&fs, at)),
            _ => false,
        }
    }

    /// Everything that is not as the client knows it.
    pub(super) fn wrong(&self, session: &Session) -> Vec<(Wrong, String)> {
        let mut wrong = Vec::new();
        let shocks = self.shocks.iter().cloned();
        wrong.extend(shocks.map(|shock| (Wrong::Shock, shock)));
        self.contents(session, &mut wrong);
        let now = session.view();
        let new =
            now.keys().filter(|path| !self.view.contains_key(*path) && !self.may.contains(*path));
        wrong.extend(new.map(|path| (Wrong::Back, format!("came back: {path:?}"))));
        self.attributes(session, &mut wrong);
        let told = told(session);
        self.split(session, &told, &mut wrong);
        self.twice(session, &told, &mut wrong);
        let now = self.strange_now(&session.world);
        if now != self.strange {
            wrong.push((Wrong::Touched, format!("{:?} became {now:?}", self.strange)));
        }
        wrong
    }

    fn contents(&self, session: &Session, wrong: &mut Vec<(Wrong, String)>) {
        let now = session.view();
        let written = session.world.acknowledged();
        let owned = self.owned(&written);
        for (path, bytes) in &self.view {
            let Some(found) = now.get(path) else {
                wrong.push((Wrong::Lost, format!("{path:?} is lost")));
                continue;
            };
            // Another name of an inode that was written to shows the write: they are hard links by then. But what
            // was written by this path must not have gone to another inode, and a new file has its own name alone.
            let id = session.world.client_read(path).map(|(id, _)| id).ok();
            let newest = written.iter().rev().find(|write| Some(write.id) == id);
            let linked = id.is_some_and(|id| self.undo || self.inodes.contains(&id));
            let shared = linked
                && newest.is_some_and(|write| write.bytes == *found)
                && owned.get(path).is_none_or(|own| Some(*own) == id);
            if found != bytes && !shared {
                wrong.push((Wrong::Bytes, format!("{path:?} has other bytes")));
            }
        }
    }

    /// The inode that the last write by each path went to, while it was the same name.
    fn owned(&self, written: &[Acknowledged]) -> BTreeMap<RelPath, InodeId> {
        let mut owned = BTreeMap::new();
        let mut events = self.events.iter().peekable();
        for n in 0..=written.len() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before <= n) {
                match event {
                    Event::Moved(from, to) => move_keys(&mut owned, from, to),
                    Event::Ended(path) => drop(owned.remove(path)),
                }
            }
            if let Some(write) = written.get(n) {
                owned.insert(write.path.clone(), write.id);
            }
        }
        owned
    }

    fn attributes(&self, session: &Session, wrong: &mut Vec<(Wrong, String)>) {
        let fork = session.world.fork();
        let fs = fork.fs();
        let files = fork.files();
        let first = |path: &RelPath| files.keys().find(|at| at.path == *path).cloned();
        for (path, mode) in &self.modes {
            let Some(at) = first(path) else { continue };
            let found = fs.stat(&at).ok().flatten().map(|stat| stat.mode);
            if found != Some(*mode) {
                wrong.push((Wrong::Attributes, format!("the mode of {path:?} is lost")));
            }
        }
        for path in &self.xattrs {
            let Some(at) = first(path) else { continue };
            if !is_marked(&fs, &at) {
                let what = format!("the attribute of {path:?} is lost");
                wrong.push((Wrong::Attributes, what));
            }
        }
    }

    fn split(&self, session: &Session, told: &BTreeSet<Place>, wrong: &mut Vec<(Wrong, String)>) {
        for links in self.links.iter().chain(&self.kin) {
            let there = links.iter().filter(|path| self.view.contains_key(*path));
            let ids: BTreeSet<InodeId> = there
                .filter_map(|path| session.world.client_read(path).ok())
                .map(|(id, _)| id)
                .collect();
            let said = told.iter().any(|at| links.contains(&at.path));
            if ids.len() > 1 && !said {
                wrong.push((Wrong::Split, format!("{links:?} are one file no more")));
            }
        }
    }

    fn twice(&self, session: &Session, told: &BTreeSet<Place>, wrong: &mut Vec<(Wrong, String)>) {
        for (path, branches) in branches_of(&session.world) {
            let before = self.copies.get(&path);
            let new =
                branches.iter().any(|branch| before.is_none_or(|before| !before.contains(branch)));
            let said =
                branches.iter().all(|branch| told.contains(&Place::new(*branch, path.clone())));
            if new && !said {
                let what = format!("{path:?} is on {} branches, not told", branches.len());
                wrong.push((Wrong::Twice, what));
            }
        }
    }
}

/// Whether a client gave the file its attribute.
fn is_marked(fs: &impl Look, at: &Place) -> bool {
    let meta = fs.open(at).and_then(|file| fs.metadata(&file));
    meta.is_ok_and(|meta| meta.xattrs.contains_key(&b"user.mark"[..]))
}

/// The places that reported conflicts name.
pub(crate) fn told(session: &Session) -> BTreeSet<Place> {
    let journal = Journal::open(session.store.after_kill()).unwrap();
    let conflicts = journal.conflicts().iter();
    let left = conflicts.flat_map(|conflict| conflict.left.iter().cloned());
    left.map(|(branch, path)| Place::new(branch, path)).collect()
}
