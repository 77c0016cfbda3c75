//! A client that does things between two calls, and what it must find afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{ClientId, Fault, SimWorld};
use mergerfs_xdedup::fs::{Fs, InodeId, Place};
use mergerfs_xdedup::journal::Journal;
use mergerfs_xdedup::relpath::RelPath;

use super::session::{Check, Session, View, ensure, is_hidden};

/// One thing a client does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write(RelPath),
    Truncate(RelPath),
    OpenRead(RelPath),
    OpenWrite(RelPath),
    WriteHeld,
    StoreMapped,
    Close,
    Remove(RelPath),
    /// Save by rename; the new file lands on that branch.
    Save(Place),
    Rename(RelPath, RelPath),
    Create(Place),
    Chmod(RelPath),
    Setxattr(RelPath),
}

/// What the client knows: what it was told has succeeded.
#[derive(Debug, Default)]
struct Knows {
    view: View,
    /// The inodes there were before it began: only of these the tool makes links.
    inodes: BTreeSet<InodeId>,
    /// An undo makes new inodes, too, with all the names of a link set.
    undo: bool,
    modes: BTreeMap<RelPath, u32>,
    xattrs: BTreeSet<RelPath>,
    held: Option<(ClientId, RelPath)>,
    /// Failures no client may see.
    shocks: Vec<String>,
    writes: u32,
}

/// A client over one session.
#[derive(Clone)]
pub(crate) struct Client(Arc<Mutex<Knows>>);

impl Client {
    pub(crate) fn beside_an_undo(session: &Session) -> Self {
        let client = Self::new(session);
        client.0.lock().unwrap().undo = true;
        client
    }

    pub(crate) fn new(session: &Session) -> Self {
        let knows = Knows {
            view: session.view(),
            inodes: session.world.files().into_values().map(|f| f.0).collect(),
            ..Knows::default()
        };
        Self(Arc::new(Mutex::new(knows)))
    }

    /// Plans `step` for just before call `n`.
    pub(crate) fn plan(&self, session: &Session, n: usize, step: &Step) {
        let (client, step) = (self.clone(), step.clone());
        session
            .world
            .plan_fault(Fault::foreign_at(n, move |world| client.act(world, &step)));
    }

    pub(crate) fn act(&self, world: &SimWorld, step: &Step) {
        let mut knows = self.0.lock().unwrap();
        if let Err(err) = knows.act(world, step) {
            let shock = format!("{step:?} met {err}");
            knows.shocks.push(shock);
        }
    }

    /// Does what it still has to do, and closes what it has open.
    pub(crate) fn finish(&self, world: &SimWorld, writes: bool) {
        let held = self.0.lock().unwrap().held.clone();
        if let Some((_, path)) = held {
            if writes {
                self.act(world, &Step::WriteHeld);
            } else {
                // Since mergerfs 2.41 this goes where the open handle leads.
                self.act(world, &Step::Write(path));
            }
            self.act(world, &Step::Close);
        }
    }

    /// The same where the client had the duplicate open, or wrote to both: a conflict is allowed then, if it was
    /// reported and every copy is kept.
    pub(crate) fn content_or_conflict(&self, session: &Session, conflict: bool) -> Check {
        let check = self.content(session);
        let files = session.world.files();
        let mut newest = BTreeMap::new();
        for write in session.world.acknowledged() {
            newest.insert(write.id, write.bytes);
        }
        let kept = newest
            .values()
            .all(|bytes| files.values().any(|(_, found)| found == bytes));
        if conflict && kept { Ok(()) } else { check }
    }

    /// Whether everything it was told is so.
    pub(crate) fn content(&self, session: &Session) -> Check {
        let knows = self.0.lock().unwrap();
        ensure(knows.shocks.is_empty(), || format!("{:?}", knows.shocks))?;
        let now = session.view();
        let written = session.world.acknowledged();
        for (path, bytes) in &knows.view {
            let Some(found) = now.get(path) else {
                return Err(format!("{path:?} is lost"));
            };
            // Another name of an inode that was written to shows the write: they are hard links by then. But what
            // was written by this path must not have gone to another inode, and a new file has its own name alone.
            let id = session.world.client_read(path).map(|(id, _)| id).ok();
            let newest = written.iter().rev().find(|write| Some(write.id) == id);
            let own = written.iter().rev().find(|write| write.path == *path);
            let linked = id.is_some_and(|id| knows.undo || knows.inodes.contains(&id));
            let shared = linked
                && newest.is_some_and(|write| write.bytes == *found)
                && own.is_none_or(|own| Some(own.id) == id);
            ensure(found == bytes || shared, || {
                format!("{path:?} has other bytes")
            })?;
        }
        let new = now.keys().find(|path| !knows.view.contains_key(*path));
        ensure(new.is_none(), || format!("came back: {new:?}"))?;
        knows.attributes(session)
    }
}

impl Knows {
    fn act(&mut self, world: &SimWorld, step: &Step) -> std::io::Result<()> {
        self.writes += 1;
        let bytes = format!("written {}", self.writes).into_bytes();
        match step {
            Step::Write(path) => {
                world.client_write(path, &bytes)?;
                self.view.insert(path.clone(), bytes);
            }
            Step::Truncate(path) => {
                world.client_truncate(path, 3)?;
                if let Some(bytes) = self.view.get_mut(path) {
                    bytes.truncate(3);
                }
            }
            Step::OpenRead(path) => {
                self.held = Some((world.client_open_read(path)?.0, path.clone()));
            }
            Step::OpenWrite(path) => {
                self.held = Some((world.client_open_write(path)?.0, path.clone()));
            }
            Step::WriteHeld | Step::StoreMapped => self.store(world, step, bytes)?,
            Step::Close => {
                if let Some((id, _)) = self.held.take() {
                    world.client_close(id);
                }
            }
            Step::Remove(path) => {
                world.client_remove(path)?;
                self.view.remove(path);
                self.modes.remove(path);
            }
            Step::Save(at) => {
                world.client_save(at, &bytes)?;
                self.view.insert(at.path.clone(), bytes);
            }
            Step::Rename(from, to) => {
                // Of two names of one inode it does nothing, and leaves both.
                if Some(world.client_read(from)?.0) != world.client_read(to).ok().map(|(id, _)| id)
                {
                    world.client_rename(from, to)?;
                    if let Some(bytes) = self.view.remove(from) {
                        self.view.insert(to.clone(), bytes);
                    }
                }
            }
            Step::Create(at) => {
                match world.client_create(at, &bytes) {
                    // What it removed a moment ago is there again until the next look: facts 7.5 (b).
                    Err(err) if err.raw_os_error() == Some(libc::EEXIST) => {}
                    created => {
                        created?;
                        self.view.insert(at.path.clone(), bytes);
                    }
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
        }
        Ok(())
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
                self.view.insert(path, bytes);
                Ok(())
            }
        }
    }

    fn attributes(&self, session: &Session) -> Check {
        let fork = session.world.fork();
        let fs = fork.fs();
        let first = |path: &RelPath| {
            let files = fork.files();
            files.keys().find(|at| at.path == *path).cloned()
        };
        for (path, mode) in &self.modes {
            let Some(at) = first(path) else { continue };
            let found = fs.stat(&at).ok().flatten().map(|stat| stat.mode);
            ensure(found == Some(*mode), || {
                format!("the mode of {path:?} is lost")
            })?;
        }
        for path in &self.xattrs {
            let Some(at) = first(path) else { continue };
            let meta = fs.open(&at).and_then(|file| fs.metadata(&file));
            let kept = meta.is_ok_and(|meta| meta.xattrs.contains_key(&b"user.mark"[..]));
            ensure(kept, || format!("the attribute of {path:?} is lost"))?;
        }
        Ok(())
    }
}

/// Ends everything after the client is through: recovers, and checks that what is left is what was reported.
pub(crate) fn settle(session: &mut Session) -> Check {
    session.world.fs().pause(std::time::Duration::from_secs(10));
    let left = session
        .recover()
        .map_err(|err| format!("recovery fails: {err:?}"))?;
    ensure(left == 0, || "ops stay open".to_owned())?;
    let journal = Journal::open(session.store.handle()).map_err(|err| err.to_string())?;
    let told: BTreeSet<RelPath> = journal
        .conflicts()
        .iter()
        .flat_map(|conflict| conflict.left.iter().map(|(_, path)| path.clone()))
        .collect();
    let names = session.world.names();
    let ours = names
        .keys()
        .find(|at| is_hidden(&at.path) && !told.contains(&at.path));
    ensure(ours.is_none(), || {
        "a name of ours is left unreported".to_owned()
    })
}

/// Whether some op ended in a conflict.
pub(crate) fn in_conflict(session: &Session) -> bool {
    session
        .outcomes
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Conflict(_)))
}
