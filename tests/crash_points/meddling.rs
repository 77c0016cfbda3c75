//! A client that does things between two calls, and what it must find afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::sim::{Fault, SimWorld};
use mergerfs_xdedup::fs::{Look, Place};
use mergerfs_xdedup::journal::Journal;
use mergerfs_xdedup::pool::relpath::RelPath;

use super::knowing::{Knows, Wrong};
use super::session::{Check, Session, ensure, is_hidden};

/// One thing a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Write(RelPath),
    /// In place, and the mtime set back.
    WriteKeepingTimes(RelPath),
    /// Under `link-cow`.
    WriteApart(RelPath),
    Truncate(RelPath),
    OpenRead(RelPath),
    OpenWrite(RelPath),
    WriteHeld,
    StoreMapped,
    Close,
    Remove(RelPath),
    /// Save by rename; the new file lands on that branch.
    Save(Place),
    /// Bare `rename(2)`, of a file or a directory.
    Rename(RelPath, RelPath),
    /// `mv`, which unlinks the source if both are names of one file.
    Mv(RelPath, RelPath),
    Link(RelPath, RelPath),
    /// `ln -f`.
    LinkOver(RelPath, RelPath),
    /// `ln -s` of a path that is there.
    Symlink(RelPath, Place),
    Create(Place),
    Mkdir(Place),
    Rmdir(RelPath),
    /// `rm -r`.
    RemoveTree(RelPath),
    Chmod(RelPath),
    Setxattr(RelPath),
}

/// A client over one session.
#[derive(Clone)]
pub(crate) struct Client(Arc<Mutex<Knows>>);

impl Client {
    pub(crate) fn beside_clones(session: &Session) -> Self {
        let client = Self::new(session);
        client.0.lock().unwrap().beside_clones();
        client
    }

    /// The same beside an undo.
    pub(crate) fn beside_an_undo(session: &Session) -> Self {
        let client = Self::new(session);
        client.0.lock().unwrap().beside_an_undo();
        client
    }

    pub(crate) fn new(session: &Session) -> Self {
        Self(Arc::new(Mutex::new(Knows::new(session))))
    }

    /// Plans `step` for just before call `n`.
    pub(crate) fn plan(&self, session: &Session, n: usize, step: &Step) {
        let (client, step) = (self.clone(), step.clone());
        session.world.plan_fault(Fault::foreign_at(n, move |world| client.act(world, &step)));
    }

    pub(crate) fn act(&self, world: &SimWorld, step: &Step) {
        self.0.lock().unwrap().act(world, step);
    }

    /// Does what it still has to do, and closes what it has open.
    pub(crate) fn finish(&self, world: &SimWorld, writes: bool) {
        let held = self.0.lock().unwrap().held.clone();
        let Some((_, path)) = held else { return };
        match path {
            _ if writes => self.act(world, &Step::WriteHeld),
            // Since mergerfs 2.41 this goes where the open handle leads.
            Some(path) => self.act(world, &Step::Write(path)),
            None => {}
        }
        self.act(world, &Step::Close);
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
        let kept = newest.values().all(|bytes| files.values().any(|(_, found)| found == bytes));
        if conflict && kept { Ok(()) } else { check }
    }

    /// Whether the bytes of every path are in some file, at whatever path.
    pub(crate) fn finds_its_bytes(&self, session: &Session) -> bool {
        let files = session.world.files();
        let knows = self.0.lock().unwrap();
        let mut bytes = knows.view().values();
        bytes.all(|bytes| files.values().any(|(_, found)| found == bytes))
    }

    /// Whether all paths have their bytes, whatever else there is.
    pub(crate) fn only_more(&self, session: &Session) -> bool {
        let wrong = self.0.lock().unwrap().wrong(session);
        wrong.iter().all(|(kind, _)| *kind == Wrong::Back)
    }

    /// Whether everything it was told is so: its paths, their contents and attributes.
    pub(crate) fn content(&self, session: &Session) -> Check {
        let wrong = self.0.lock().unwrap().wrong(session);
        let kinds = [Wrong::Shock, Wrong::Lost, Wrong::Bytes, Wrong::Back, Wrong::Attributes];
        let mut wrong = wrong.into_iter();
        let first = wrong.find(|(kind, _)| kinds.contains(kind));
        first.map_or(Ok(()), |(_, what)| Err(what))
    }

    /// Everything that is not as it was told.
    pub(crate) fn wrong(&self, session: &Session) -> Vec<(Wrong, String)> {
        self.0.lock().unwrap().wrong(session)
    }

    /// Whether a conflict excuses it where the client did two things.
    pub(crate) fn excuses(&self, session: &Session, wrong: &(Wrong, String)) -> bool {
        self.0.lock().unwrap().excuses(session, wrong)
    }
}

/// Ends everything after the client is through: recovers, and checks that what is left is what was reported.
pub(crate) fn settle(session: &mut Session) -> Check {
    session.world.fs().pause(std::time::Duration::from_secs(10));
    let left = session.recover().map_err(|err| format!("recovery fails: {err:?}"))?;
    ensure(left == 0, || "ops stay open".to_owned())?;
    let journal = Journal::open(session.store.handle()).map_err(|err| err.to_string())?;
    let told: BTreeSet<RelPath> = journal
        .conflicts()
        .iter()
        .flat_map(|conflict| conflict.left.iter().map(|(_, path)| path.clone()))
        .collect();
    let names = session.world.names();
    let ours = names.keys().find(|at| is_hidden(&at.path) && !told.contains(&at.path));
    ensure(ours.is_none(), || "a name of ours is left unreported".to_owned())
}

/// Whether some op ended in a conflict.
pub(crate) fn in_conflict(session: &Session) -> bool {
    session.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Conflict(..)))
}
