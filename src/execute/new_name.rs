//! Adds one more name to a file, outside of any run: nothing is removed and nothing recorded.

use super::halt::Halt;
use super::parents::{Aside, beneath, missing_chain, shown_directory, unless_obstructed};
use super::touched::sync_each;
use crate::fs::{Change, FileKind, FsError, Pin, Place};
use crate::plan::OpId;
use crate::plan::hidden_name::{PREFIX, Role, hidden_name, parse_hidden_name};
use crate::plan::op::entry;
use crate::plan::refusal::Reason;
use crate::pool::Pool;
use crate::pool::mergerfs::path_of;
use crate::pool::relpath::RelPath;

/// Links files of a pool under more names.
pub struct NewNames<'n, F: Change> {
    fs: &'n F,
    pool: &'n Pool,
    /// How often parents were made. Each time they get another hidden name.
    made: u64,
}

impl<'n, F: Change> NewNames<'n, F> {
    /// Creates a value for the branches of `pool`.
    pub fn new(fs: &'n F, pool: &'n Pool) -> Self {
        Self { fs, pool, made: 0 }
    }

    /// Pins the directory of `path` on every branch until [`NewNames::release`], before anything in it is looked at: a
    /// client may put another directory or a symlink at its path meanwhile.
    ///
    /// # Errors
    /// When a call fails.
    pub fn pin(&self, path: &RelPath) -> Result<(), FsError> {
        for branch in self.pool.indices() {
            let mut dir = Place::new(branch, path.clone()).dir();
            // A directory that is yet to be made is pinned by the directory that will hold it.
            while unless_obstructed(self.fs.pin(&dir))?.is_none_or(|pin| pin == Pin::Missing)
                && !dir.path.is_root()
            {
                dir = dir.dir();
            }
        }
        Ok(())
    }

    /// Releases all pinned directories.
    pub fn release(&self) {
        self.fs.unpin();
    }

    /// Links `file` under `target`, whose path is pinned, on the branch of the file; durable on return. Missing parents
    /// are made like those that the pool shows. Returns `false` if a file has that path by now, on any branch: that file
    /// stays, and stays visible.
    ///
    /// # Errors
    /// When a call fails, or a client renamed or removed the directory meanwhile. Parents that were made stay, and so
    /// does a link that a client renamed with its directory.
    pub fn add(&mut self, file: &F::File, target: &Place) -> Result<bool, Halt> {
        self.make_parents(target)?;
        self.in_place(&target.dir())?;
        // Durable data first: the new name may become the only name of the file.
        self.fs.sync_data(file)?;
        if self.has_another(target)? {
            return Ok(false);
        }
        // Never replaces an existing name: a path that came back meanwhile stays.
        match self.fs.link(file, target) {
            Err(error) if error.errno() == libc::EEXIST => return Ok(false),
            linked => linked?,
        }
        if self.has_another(target)? {
            // A client made the path on another branch just before the link was there: the link would hide that file.
            let ours = self.fs.stat_open(file)?.id;
            if self.fs.stat(target)?.is_some_and(|stat| stat.id == ours) {
                self.fs.unlink(target)?;
            }
            return Ok(false);
        }
        // The caller reports the path as linked and does not look again: a power cut must not take the name back.
        self.fs.sync_dir(&target.dir())?;
        self.in_place(&target.dir())?;
        Ok(true)
    }

    /// Whether another branch has the path of `target`.
    fn has_another(&self, target: &Place) -> Result<bool, FsError> {
        for branch in self.pool.indices().filter(|branch| *branch != target.branch) {
            if self.fs.stat_unpinned(&Place::new(branch, target.path.clone()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks that a pinned directory has its path.
    fn in_place(&self, dir: &Place) -> Result<(), Halt> {
        match self.fs.path_of_dir(dir)? {
            Some(path) if path == dir.path => Ok(()),
            _ => Err(moved(dir)),
        }
    }

    /// Checks that `dir` was pinned before anything in it was looked at.
    fn is_pinned(&self, dir: &Place) -> Result<(), Halt> {
        match self.fs.pin(dir)? {
            Pin::Before => Ok(()),
            // Another program made the directory since, or put it there.
            Pin::New | Pin::Missing => Err(moved(dir)),
        }
    }

    fn make_parents(&mut self, target: &Place) -> Result<(), Halt> {
        let stat = &mut |place: &Place| self.fs.stat(place);
        let chain = missing_chain(stat, target.branch, &target.path)?;
        let Some(top) = chain.first() else {
            return self.is_pinned(&target.dir());
        };
        let outer = Place::new(target.branch, top.clone()).dir();
        self.is_pinned(&outer)?;
        self.made += 1;
        let op = OpId { run: 0, seq: self.made };
        let name = hidden_name(std::process::id(), op, 0, Role::Aside);
        let aside = Place::new(outer.branch, entry(&outer.path, name));
        let (mut like, mut models) = (outer.clone(), Vec::new());
        for dir in &chain {
            // A directory that no branch has any more gets the metadata of the directory it is made in.
            let newest = self.pool.getattr_newest;
            if let Some(branch) = shown_directory(stat, self.pool.indices(), newest, dir)? {
                like = Place::new(branch, dir.clone());
            }
            models.push(like.clone());
        }
        self.in_place(&outer)?;
        self.clear_left(&outer)?;
        let made = match self.make_aside(aside.clone(), chain.clone(), models) {
            Ok(made) => made,
            Err(error) => {
                self.clear(&aside, &chain)?;
                return Err(error.into());
            }
        };
        made.pin(self.fs);
        made.clone_again(self.fs)?;
        // The names beneath are durable already; without this sync a power cut could take them all back.
        Ok(self.fs.sync_dir(&outer)?)
    }

    fn make_aside(
        &self,
        at: Place,
        chain: Vec<RelPath>,
        models: Vec<Place>,
    ) -> Result<Aside, FsError> {
        let made = Aside::make(self.fs, at, chain, models)?;
        // Before the rename: else a power cut could leave the name with no owner, mode or ACL behind it.
        let hidden: Vec<Place> = made.hidden().collect();
        sync_each(self.fs, &hidden).into_iter().collect::<Result<(), _>>()?;
        made.rename_in(self.fs)?;
        Ok(made)
    }

    /// Removes what a process that was killed left aside in `dir`: empty directories, outside of any run.
    fn clear_left(&self, dir: &Place) -> Result<(), FsError> {
        for name in self.fs.names_with_prefix(dir, PREFIX.as_bytes())? {
            let left = parse_hidden_name(&name);
            if left.is_some_and(|left| left.role == Role::Aside && left.op.run == 0) {
                self.remove_empty(&Place::new(dir.branch, entry(&dir.path, path_of(&name))))?;
            }
        }
        Ok(())
    }

    /// Removes a directory and the directories in it, as far as they hold nothing else.
    fn remove_empty(&self, dir: &Place) -> Result<(), FsError> {
        if self.fs.stat(dir)?.is_none_or(|stat| stat.kind != FileKind::Directory) {
            return Ok(());
        }
        for name in self.fs.names_with_prefix(dir, b"")? {
            self.remove_empty(&Place::new(dir.branch, entry(&dir.path, path_of(&name))))?;
        }
        match self.fs.remove_dir(dir) {
            Err(error) if !matches!(error.errno(), libc::ENOENT | libc::ENOTEMPTY) => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the directories that a failure left aside.
    fn clear(&self, aside: &Place, chain: &[RelPath]) -> Result<(), FsError> {
        for dir in chain.iter().rev() {
            match self.fs.remove_dir(&beneath(aside, &chain[0], dir)) {
                Err(error) if error.errno() != libc::ENOENT => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn moved(dir: &Place) -> Halt {
    let why = format!("directory {:?} was made, renamed or removed meanwhile", dir.path);
    Halt::new(Reason::Changed, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::sim::{Fault, PowerLoss, SimFs, SimWorld, place};
    use crate::fs::{Look, Metadata};
    use crate::plan::hidden_name::is_hidden_name;
    use crate::pool::BranchIdx;

    const MASTER: BranchIdx = BranchIdx(0);

    /// `e` is on the other branch, with a mode of its own; no branch has `e/f` any more.
    fn world() -> (SimWorld, Place, RelPath) {
        let world = SimWorld::new();
        let [a, b] = [(); 2].map(|()| world.add_branch(world.add_disk()));
        assert_eq!(a, MASTER);
        let master = place(a, "m/x");
        world.add_file(&master, b"bytes");
        world.add_dir(&place(b, "e"));
        let meta = Metadata { mode: 0o2751, ..Metadata::default() };
        world.set_metadata(&place(b, "e"), meta);
        world.sync_all();
        (world, master, RelPath::new("e/f/lost").unwrap())
    }

    fn add(fs: &SimFs, pool: &Pool, master: &Place, path: &RelPath) -> Result<bool, Halt> {
        let mut new_names = NewNames::new(fs, pool);
        new_names.pin(path)?;
        let target = Place::new(master.branch, path.clone());
        let added =
            fs.open(master).map_err(Halt::from).and_then(|file| new_names.add(&file, &target));
        new_names.release();
        added
    }

    #[test]
    fn a_new_name_survives_a_power_cut_with_its_parents_as_the_pool_showed_them() {
        let (world, master, path) = world();
        let (fs, pool) = (world.fs(), world.pool());
        assert_eq!(add(&fs, &pool, &master, &path), Ok(true));
        assert_eq!(add(&fs, &pool, &master, &path), Ok(false));
        let after = world.power_loss(&PowerLoss::nothing_kept(&world));
        assert_eq!(after.files()[&Place::new(MASTER, path)].1, b"bytes");
        for dir in ["e", "e/f"] {
            assert_eq!(after.names()[&place(MASTER, dir)].mode, 0o2751, "{dir}");
        }
    }

    #[test]
    fn whichever_call_fails_nothing_is_left_aside_and_no_parent_is_half_made() {
        for call in 1.. {
            let (world, master, path) = world();
            let (fs, pool) = (world.fs(), world.pool());
            world.plan_fault(Fault::ErrorAt(call, libc::ENOSPC));
            let added = add(&fs, &pool, &master, &path);
            for (at, stat) in world.names() {
                let name = at.path.as_bytes().rsplit(|b| *b == b'/').next();
                assert!(!name.is_some_and(is_hidden_name), "call {call}: {at:?}");
                let parent = at.branch == MASTER && at.path.as_bytes().starts_with(b"e");
                let whole = stat.mode == 0o2751 || at.path == path;
                assert!(!parent || whole, "call {call}: {at:?}");
            }
            if world.calls() < call {
                assert_eq!(added, Ok(true));
                assert!(call > 10, "only {call} calls");
                return;
            }
            assert!(added.is_err(), "call {call}");
        }
    }
}
