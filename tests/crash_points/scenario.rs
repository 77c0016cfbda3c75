//! Pools and what is planned on them.
use mergerfs_xdedup::plan::OpFile;

use std::collections::BTreeSet;

use mergerfs_xdedup::fs::sim::{SimWorld, place};
use mergerfs_xdedup::fs::{Metadata, Place, Timestamp};
use mergerfs_xdedup::plan::{Cloning, Found, OpKind, Task};
use mergerfs_xdedup::plan::{Op, OpName};
use mergerfs_xdedup::pool::BranchIdx;

/// A pool with duplicates, and the ops that replace them.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) world: SimWorld,
    pub(crate) ops: Vec<Op>,
    pub(crate) batch_names: usize,
    /// A name of a master and one of its duplicates, for clients to meddle with.
    pub(crate) master: Place,
    pub(crate) duplicate: Place,
}

impl Scenario {
    /// Every name of every master and duplicate.
    pub(crate) fn names(&self) -> BTreeSet<Place> {
        let masters = self.ops.iter().map(|op| op.master.clone());
        masters.chain(self.ops.iter().flat_map(own)).collect()
    }
}

/// The duplicate's own names.
pub(crate) fn own(op: &Op) -> Vec<Place> {
    let names = op.names.iter();
    names.map(|name| Place::new(name.from, name.path.clone())).collect()
}

pub(crate) const BYTES: &[u8] = b"the same bytes";

pub(crate) fn branches<const N: usize>(world: &SimWorld) -> [BranchIdx; N] {
    [(); N].map(|()| world.add_branch(world.add_disk()))
}

/// The op that replaces the inode of `names` (all on one branch) with `master`.
fn op(world: &SimWorld, master: &Place, names: &[Place]) -> Op {
    let files = world.files();
    let (master_id, duplicate_id) = (files[master].0, files[&names[0]].0);
    let (kind, found) = if master_id.dev == duplicate_id.dev {
        (OpKind::Local, Found::Duplicate)
    } else {
        (OpKind::Cross, Found::Absent)
    };
    let to = |from| {
        if kind == OpKind::Local { from } else { master.branch }
    };
    let names_of =
        |at: &Place| OpName { path: at.path.clone(), from: at.branch, to: to(at.branch), found };
    Op::planned(
        kind,
        OpFile { at: master.clone(), id: master_id },
        OpFile { at: names[0].clone(), id: duplicate_id },
        files[master].1.len() as u64,
        4096,
        names.iter().map(names_of).collect(),
    )
}

pub(crate) fn scenario(
    name: &'static str,
    world: SimWorld,
    plan: &[(Place, Vec<Place>)],
) -> Scenario {
    let ops = plan.iter().map(|(master, names)| op(&world, master, names)).collect();
    let (master, duplicate) = (plan[0].0.clone(), plan[0].1[0].clone());
    Scenario { name, world, ops, batch_names: 100, master, duplicate }
}

pub(crate) fn add(world: &SimWorld, at: &Place) -> Place {
    world.add_file(at, BYTES);
    at.clone()
}

/// A duplicate on another disk; the master's branch comes first.
pub(crate) fn cross() -> Scenario {
    let world = SimWorld::new();
    let [a, b] = branches(&world);
    let master = add(&world, &place(a, "m/master"));
    let duplicate = add(&world, &place(b, "d/dup"));
    world.add_file(&place(a, "d/other"), b"other");
    scenario("cross", world, &[(master, vec![duplicate])])
}

/// The same, and the duplicate's branch comes first.
pub(crate) fn cross_later() -> Scenario {
    let world = SimWorld::new();
    let [a, b] = branches(&world);
    let master = add(&world, &place(b, "m/master"));
    let duplicate = add(&world, &place(a, "d/dup"));
    world.add_file(&place(b, "d/other"), b"other");
    scenario("cross later", world, &[(master, vec![duplicate])])
}

/// The master's branch comes first, the duplicate's last, and an empty one between them.
pub(crate) fn cross_over_a_third() -> Scenario {
    let world = SimWorld::new();
    let [a, _, c] = branches(&world);
    let master = add(&world, &place(a, "m/master"));
    let duplicate = add(&world, &place(c, "d/dup"));
    scenario("cross over a third", world, &[(master, vec![duplicate])])
}

/// A duplicate on the master's own branch.
pub(crate) fn local() -> Scenario {
    let world = SimWorld::new();
    let [a, b] = branches(&world);
    let master = add(&world, &place(a, "m/master"));
    let duplicate = add(&world, &place(a, "d/dup"));
    world.add_file(&place(b, "d/other"), b"other");
    scenario("local", world, &[(master, vec![duplicate])])
}

/// A duplicate with three names in two directories.
pub(crate) fn link_set() -> Scenario {
    let world = SimWorld::new();
    let [a, b] = branches(&world);
    let master = add(&world, &place(a, "m/master"));
    let names = ["d/x", "d/y", "e/z"].map(|path| place(b, path));
    add(&world, &names[0]);
    world.add_link(&names[0], &names[1]);
    world.add_link(&names[0], &names[2]);
    world.add_dir(&place(a, "d"));
    world.add_dir(&place(a, "e"));
    scenario("link set", world, &[(master, names.to_vec())])
}

/// A duplicate with three names on the master's own branch.
pub(crate) fn local_link_set() -> Scenario {
    let world = SimWorld::new();
    let [a, _] = branches(&world);
    let master = add(&world, &place(a, "m/master"));
    let names = ["d/x", "d/y", "e/z"].map(|path| place(a, path));
    add(&world, &names[0]);
    world.add_link(&names[0], &names[1]);
    world.add_link(&names[0], &names[2]);
    scenario("local link set", world, &[(master, names.to_vec())])
}

/// The duplicate's directories are missing on the master's branch, two levels with their own owner and mode.
pub(crate) fn missing_parents() -> Scenario {
    let world = SimWorld::new();
    let [a, b] = branches(&world);
    let master = add(&world, &place(a, "master"));
    let duplicate = add(&world, &place(b, "p/q/dup"));
    for (path, mode) in [("p", 0o2770), ("p/q", 0o711)] {
        let meta = mergerfs_xdedup::fs::Metadata { uid: 5, gid: 6, mode, ..Default::default() };
        world.set_metadata(&place(b, path), meta);
    }
    scenario("missing parents", world, &[(master, vec![duplicate])])
}

/// Three duplicates of one master, on its own disk and two others.
pub(crate) fn shared_master() -> Scenario {
    let world = SimWorld::new();
    let [a, b, c] = branches(&world);
    let master = add(&world, &place(b, "m/master"));
    let plan = [place(c, "d/one"), place(a, "d/two"), place(b, "d/three")];
    let plan = plan.map(|at| (master.clone(), vec![add(&world, &at)]));
    scenario("shared master", world, &plan)
}

/// Two branches on one device: the master's inode is linked from one into the other.
pub(crate) fn shared_device() -> Scenario {
    let world = SimWorld::new();
    let disk = world.add_disk();
    let [a, b] = [world.add_branch(disk), world.add_branch(disk)];
    let master = add(&world, &place(a, "m/master"));
    let duplicate = add(&world, &place(b, "d/dup"));
    scenario("shared device", world, &[(master, vec![duplicate])])
}

/// Several masters, kinds and missing directories, in batches of two.
pub(crate) fn mixed() -> Scenario {
    let world = SimWorld::new();
    let [a, b, c] = branches(&world);
    let first = add(&world, &place(a, "m/master"));
    let second = place(b, "m/second");
    world.add_file(&second, b"something else");
    let other = place(c, "n/else");
    world.add_file(&other, b"something else");
    let pair = [place(c, "e/one"), place(c, "n/two")];
    add(&world, &pair[0]);
    world.add_link(&pair[0], &pair[1]);
    let plan = [
        (first.clone(), vec![add(&world, &place(b, "d/dup"))]),
        (second, vec![other]),
        (first.clone(), pair.to_vec()),
        (first.clone(), vec![add(&world, &place(a, "d/near"))]),
    ];
    Scenario { batch_names: 2, ..scenario("mixed", world, &plan) }
}

/// A copy of a path that another branch hides, with a second name of its own (`--shadows merge`).
pub(crate) fn shadow() -> Scenario {
    let world = SimWorld::new();
    let [a, b, c] = branches(&world);
    let shown = add(&world, &place(a, "d/p"));
    let hidden = [place(c, "d/p"), place(c, "e/q")];
    add(&world, &hidden[0]);
    world.add_link(&hidden[0], &hidden[1]);
    // One in between stays: it is hidden as well.
    world.add_file(&place(b, "d/p"), b"other");
    let mut scenario = scenario("shadow", world, &[(shown, hidden.to_vec())]);
    masters_own(&mut scenario.ops[0], 0);
    scenario
}

/// The shown copy goes to another master in the end.
pub(crate) fn shadow_then_away() -> Scenario {
    let world = SimWorld::new();
    let [a, b, c] = branches(&world);
    let master = add(&world, &place(b, "m/master"));
    let shown = add(&world, &place(a, "d/p"));
    let hidden = add(&world, &place(c, "d/p"));
    let plan = [(shown.clone(), vec![hidden]), (master, vec![shown])];
    let mut scenario = scenario("shadow, then away", world, &plan);
    masters_own(&mut scenario.ops[0], 0);
    scenario
}

/// Name `k` is the master's own on its branch: only the hidden copy goes.
pub(crate) fn masters_own(op: &mut Op, k: usize) {
    op.names[k].found = Found::Master;
}

/// Those that an undo takes back whole: a hidden copy that was merged does not come back.
pub(crate) fn undoable() -> Vec<Scenario> {
    let merges = |s: &Scenario| {
        let mut names = s.ops.iter().flat_map(|op| &op.names);
        names.any(|name| name.found == Found::Master)
    };
    all().into_iter().filter(|s| !merges(s)).collect()
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        cross(),
        cross_later(),
        local(),
        link_set(),
        local_link_set(),
        missing_parents(),
        shared_master(),
        shared_device(),
        mixed(),
        shadow(),
        shadow_then_away(),
    ]
}

/// The same, with clones in the place of links across disks: each duplicate has an owner, attributes and times of its own.
pub(crate) fn reflinked(mut scenario: Scenario) -> Scenario {
    for op in scenario.ops.iter_mut().filter(|op| op.kind == OpKind::Cross) {
        op.task = Task::Reflink(Cloning::default());
        let xattrs = [(b"user.own".to_vec(), b"1".to_vec())].into();
        let meta = Metadata { uid: 7, gid: 8, mode: 0o640, xattrs, ..Default::default() };
        scenario.world.set_metadata(&op.duplicate, meta);
        scenario.world.set_mtime(&op.duplicate, Timestamp { secs: 1_000, nanos: 7 });
    }
    scenario.world.sync_all();
    scenario
}
