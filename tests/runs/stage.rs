//! A simulated pool as a site for runs, with its duplicates and its journal.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use mergerfs_xdedup::execute::{Leases, OpEnded, Outcome};
use mergerfs_xdedup::find::filter::Filter;
use mergerfs_xdedup::find::resolve::Resolved;
use mergerfs_xdedup::fs::real::Space;
use mergerfs_xdedup::fs::sim::{SimFs, SimWorld, place};
use mergerfs_xdedup::fs::{self, FsError, InodeId, Look, Nature, Place};
use mergerfs_xdedup::journal::mem_store::{Fault, MemStore};
use mergerfs_xdedup::journal::{BranchRecord, Journal};
use mergerfs_xdedup::plan::group::{Group, Member, Name};
use mergerfs_xdedup::plan::{BranchFacts, Rules};
use mergerfs_xdedup::pool::lock::LockError;
use mergerfs_xdedup::pool::relpath::RelPath;
use mergerfs_xdedup::pool::{BranchIdx, Pool};
use mergerfs_xdedup::rescue::undo_run::{Chosen, Undo, UndoError, UndoRequest, Undone};
use mergerfs_xdedup::run::request::Execution;
use mergerfs_xdedup::run::{
    self, Duplicates, Journals, Run, RunError, Site, Stop, Terms, Watcher, WatcherError,
};

/// A pool and a journal, between two processes.
pub(crate) struct Stage {
    pub(crate) world: SimWorld,
    pub(crate) store: MemStore,
    pub(crate) site: SimSite,
    journal_made: bool,
    /// Whether the journal is at a place where it may not be.
    pub(crate) misplaced: bool,
    /// Hidden names that the search meets.
    pub(crate) hidden: BTreeMap<u32, Place>,
    pub(crate) terms: Terms,
    pub(crate) stop: Stop,
    pub(crate) seen: Seen,
}

impl Stage {
    pub(crate) fn new(world: SimWorld) -> Self {
        Self::over(world, &MemStore::new(7), false)
    }

    /// The next process in the same world, after this one ended or was killed.
    pub(crate) fn next(&self) -> Self {
        let mut next = Self::over(self.world.fork(), &self.store, self.journal_made);
        next.site.notes = Rc::clone(&self.site.notes);
        next
    }

    fn over(world: SimWorld, store: &MemStore, journal_made: bool) -> Self {
        let store = store.after_kill();
        let gate = world.clone();
        store.set_gate(move |step| match gate.outside_call(&format!("journal {step:?}")) {
            Ok(()) => None,
            Err(_) if gate.died() => Some(Fault::Die),
            Err(_) => Some(Fault::Fail),
        });
        Self {
            site: SimSite::new(&world),
            world,
            store,
            journal_made,
            misplaced: false,
            hidden: BTreeMap::new(),
            terms: Terms {
                filter: Filter::new(&[], &[], None, None).unwrap(),
                rules: Rules::default(),
                unusable: Vec::new(),
                max_ops: None,
                max_bytes: None,
                execute: true,
                execution: Execution::default(),
            },
            stop: Stop::default(),
            seen: Seen::default(),
        }
    }

    /// Runs from the request to the outcome.
    pub(crate) fn run(&mut self) -> Result<run::Outcome<SimSite>, RunError> {
        let (made, misplaced) = (&mut self.journal_made, self.misplaced);
        let journals = SimJournals { store: &self.store, made, misplaced };
        let run = Run {
            site: self.site.clone(),
            duplicates: EqualFiles { hidden: self.hidden.clone() },
            journals,
            terms: &self.terms,
            stop: &self.stop,
        };
        run.go(&mut self.seen)
    }

    /// Undoes run number `undoes`.
    pub(crate) fn undo(
        &mut self,
        undoes: u64,
        execute: bool,
    ) -> Result<Undone<SimSite>, UndoError> {
        self.undo_below(undoes, execute, Vec::new())
    }

    /// Undoes run number `undoes`, as far as it is about `paths`; an empty list is all of it.
    pub(crate) fn undo_below(
        &mut self,
        undoes: u64,
        execute: bool,
        paths: Vec<RelPath>,
    ) -> Result<Undone<SimSite>, UndoError> {
        let request = UndoRequest {
            run: Some(undoes),
            paths: Vec::new(),
            execute,
            journal: "/journal".into(),
            csv: None,
            accept_branches: false,
            leases: Leases::Required,
            options: vec![b"undo".to_vec()],
        };
        let undo = Undo {
            request: &request,
            runs: Chosen { first: undoes, others: Vec::new() },
            paths,
            site: self.site.clone(),
            journal: Journal::open(self.store.handle())?,
            stop: &self.stop,
        };
        undo.go(&mut self.seen)
    }

    /// The journal as the next process finds it.
    pub(crate) fn journal(&self) -> Journal<MemStore> {
        Journal::open(self.store.after_kill()).unwrap()
    }

    /// What a client sees through the pool.
    pub(crate) fn view(&self) -> BTreeMap<RelPath, Vec<u8>> {
        self.world.pool_view()
    }

    /// How many inodes the files with these bytes are.
    pub(crate) fn inodes_of(&self, bytes: &[u8]) -> usize {
        let files = self.world.files();
        let with = files.values().filter(|(_, has)| has == bytes);
        with.map(|(id, _)| *id).collect::<HashSet<_>>().len()
    }
}

/// A simulated pool with its branches open.
#[derive(Clone)]
pub(crate) struct SimSite {
    fs: SimFs,
    pool: Pool,
    facts: Vec<BranchFacts>,
    records: Vec<BranchRecord>,
    /// Free bytes on every branch.
    pub(crate) free: u64,
    /// Why the pool is no longer as it was.
    pub(crate) changed: Option<&'static str>,
    /// How often the pool was locked.
    pub(crate) locked: Rc<Cell<usize>>,
    /// The notes on the branches.
    pub(crate) notes: Rc<RefCell<BTreeMap<BranchIdx, Vec<u8>>>>,
}

impl SimSite {
    fn new(world: &SimWorld) -> Self {
        let pool = world.pool();
        // Looked up in a fork: this is no call of the process.
        let fork = world.fork();
        let root = |at: BranchIdx| fork.fs().stat(&place(at, "")).unwrap().unwrap();
        let facts = pool.indices().map(|at| BranchFacts {
            root: pool.branches[at.index()].path.clone(),
            mode: pool.branches[at.index()].mode,
            read_only: false,
            identity: true,
            overlay: false,
            nested: false,
            dev: root(at).id.dev,
            mount: root(at).mount,
            free: 1 << 30,
            max_links: 1000,
            reflinks: false,
        });
        let records = pool.indices().map(|at| BranchRecord {
            path: pool.branches[at.index()].path.clone(),
            mode: pool.branches[at.index()].mode,
            fs: Some(world.fs_id(at)),
            root_ino: root(at).id.ino,
        });
        Self {
            fs: world.fs(),
            facts: facts.collect(),
            records: records.collect(),
            pool,
            free: 1 << 30,
            changed: None,
            locked: Rc::default(),
            notes: Rc::default(),
        }
    }

    /// Another disk is behind the branch.
    pub(crate) fn exchange_disk(&mut self, branch: BranchIdx) {
        self.records[branch.index()].root_ino += 1;
    }
}

impl Site for SimSite {
    type Fs = SimFs;
    type Lock = ();

    fn fs(&self) -> &SimFs {
        &self.fs
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn facts(&self) -> &[BranchFacts] {
        &self.facts
    }

    fn branch_records(&self) -> Vec<BranchRecord> {
        self.records.clone()
    }

    fn space(&self, _branch: BranchIdx) -> fs::Result<Space> {
        Ok(Space {
            unit: 1,
            blocks: 1 << 40,
            free: self.free,
            available: self.free,
            files: 1 << 20,
            files_free: 1 << 20,
            name_max: 255,
        })
    }

    fn pool_changed(&self) -> Option<String> {
        self.changed.map(str::to_owned)
    }

    fn note(&self, branch: BranchIdx) -> Option<Vec<u8>> {
        self.notes.borrow().get(&branch).cloned()
    }

    fn set_note(&self, branch: BranchIdx, note: &[u8]) {
        self.notes.borrow_mut().insert(branch, note.to_vec());
    }

    fn lock(&self) -> Result<(), LockError> {
        self.locked.set(self.locked.get() + 1);
        Ok(())
    }
}

/// Returns every regular file of the pool, grouped by its bytes.
fn equal_files(site: &SimSite) -> Result<Resolved, RunError> {
    let mut groups: BTreeMap<Vec<u8>, Group> = BTreeMap::new();
    for at in files_below(site)? {
        let file = site.fs.open(&at)?;
        let stat = site.fs.stat_open(&file)?;
        let mut bytes = vec![0; usize::try_from(stat.size).unwrap()];
        assert_eq!(site.fs.read_at(&file, &mut bytes, 0)?, bytes.len());
        let group = groups.entry(bytes).or_default();
        let name = Name {
            branch: at.branch,
            path: at.path,
            excluded: false,
            listed: true,
            shadows: Vec::new(),
            differs: false,
        };
        match group.members.iter_mut().find(|m| m.id == stat.id) {
            Some(known) => known.add_name(name),
            None => {
                let mut member = Member::new(&stat, Nature::default(), site.fs.metadata(&file)?);
                member.add_name(name);
                group.members.push(member);
            }
        }
    }
    groups.retain(|_, group| group.members.len() > 1);
    Ok(Resolved {
        claimed_groups: groups.len() as u64,
        groups: groups.into_values().collect(),
        ..Resolved::default()
    })
}

/// Finds the files of a simulated pool that have equal bytes.
struct EqualFiles {
    hidden: BTreeMap<u32, Place>,
}

impl Duplicates<SimSite> for EqualFiles {
    fn scanned(&self) -> bool {
        false
    }

    fn find(
        &mut self,
        site: &SimSite,
        _terms: &Terms,
        stop: &Stop,
        _watcher: &mut dyn Watcher,
    ) -> Result<Option<Resolved>, RunError> {
        if stop.asked() {
            return Ok(None);
        }
        Ok(Some(Resolved { hidden: self.hidden.clone(), ..equal_files(site)? }))
    }

    fn again(
        &mut self,
        site: &SimSite,
        _filter: &Filter,
        _resolved: Resolved,
    ) -> Result<Resolved, RunError> {
        equal_files(site)
    }

    fn complete(
        &mut self,
        _site: &SimSite,
        _filter: &Filter,
        _groups: &mut [Group],
        _wanted: &HashSet<InodeId>,
    ) -> Result<Vec<FsError>, RunError> {
        Ok(Vec::new())
    }
}

/// The files that the tests make: `d0` to `d9` at the root of a branch or in `m`.
fn files_below(site: &SimSite) -> Result<Vec<Place>, FsError> {
    let mut files = Vec::new();
    for branch in site.pool.indices() {
        for dir in ["", "m"] {
            let dir = place(branch, dir);
            if site.fs.stat(&dir)?.is_none() {
                continue;
            }
            let mut names = site.fs.names_with_prefix(&dir, b"d")?;
            names.sort();
            for name in names {
                let name = String::from_utf8(name).unwrap();
                files.push(Place::new(branch, dir.path.join(name).unwrap()));
            }
        }
    }
    Ok(files)
}

/// Opens the store of a stage.
struct SimJournals<'s> {
    store: &'s MemStore,
    made: &'s mut bool,
    misplaced: bool,
}

impl Journals for SimJournals<'_> {
    type Store = MemStore;

    fn place(&self) -> Result<PathBuf, RunError> {
        Ok("/journal".into())
    }

    fn check(&self, _pool: &Pool) -> Result<(), RunError> {
        if self.misplaced { Err(RunError::NoJournalPlace) } else { Ok(()) }
    }

    fn look<T>(&self, look: impl FnOnce(&Journal<MemStore>) -> T) -> Result<Option<T>, RunError> {
        match *self.made {
            true => Ok(Some(look(&Journal::open(self.store.after_kill())?))),
            false => Ok(None),
        }
    }

    fn existing(&mut self) -> Result<Option<Journal<MemStore>>, RunError> {
        match *self.made {
            true => self.make().map(Some),
            false => Ok(None),
        }
    }

    fn make(&mut self) -> Result<Journal<MemStore>, RunError> {
        *self.made = true;
        Ok(Journal::open(self.store.handle())?)
    }
}

/// What a watcher saw of one process.
#[derive(Default)]
pub(crate) struct Seen {
    /// The steps in their order.
    pub(crate) steps: Vec<&'static str>,
    pub(crate) outcomes: Vec<(RelPath, Outcome, bool)>,
    /// Refuses the run when it begins.
    pub(crate) refuses: bool,
    /// Asked to stop when the run begins.
    pub(crate) stops: Option<Stop>,
}

impl Watcher for Seen {
    fn opened(&mut self, _pool: &Pool) -> Result<(), WatcherError> {
        self.steps.push("opened");
        Ok(())
    }

    fn recovering(&mut self, _pool: &Pool) {
        self.steps.push("recovering");
    }

    fn recovered(&mut self, _open: usize) -> Result<(), WatcherError> {
        self.steps.push("recovered");
        Ok(())
    }

    fn begun(&mut self, _begun: &run::Begun<'_>) -> Result<(), WatcherError> {
        self.steps.push("begun");
        if let Some(stop) = &self.stops {
            stop.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        }
        match self.refuses {
            true => Err("refused".into()),
            false => Ok(()),
        }
    }

    fn op_ended(&mut self, ended: &OpEnded<'_>) {
        let path = ended.op.duplicate.path.clone();
        let outcome = ended.outcome.clone();
        self.outcomes.push((path, outcome, ended.recovered));
    }

    fn ended(&mut self, _ended: &run::Ended<'_>) -> Result<(), WatcherError> {
        self.steps.push("ended");
        Ok(())
    }

    fn exit_status(&self, result: Result<(), &RunError>) -> u8 {
        if result.is_ok() { 7 } else { 8 }
    }
}
