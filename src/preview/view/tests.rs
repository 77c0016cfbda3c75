use super::*;
use crate::fs::FileKind;
use crate::plan::PlannedGroup;
use crate::plan::{DirIntent, Found};
use crate::plan::{Op, OpName, Task};

fn path(name: &str) -> RelPath {
    RelPath::new(name).unwrap()
}

fn at(branch: u16, name: &str) -> Place {
    Place::new(BranchIdx(branch), path(name))
}

fn stat(dev: u64, ino: u64) -> Stat {
    let time = Timestamp::default();
    Stat {
        id: InodeId { dev, ino },
        mount: dev,
        kind: FileKind::Regular,
        mode: 0o644,
        uid: 0,
        gid: 0,
        nlink: 1,
        size: 9,
        blocks: 8,
        mtime: time,
        ctime: time,
        atime: time,
        btime: None,
        immutable: false,
        encrypted: false,
    }
}

/// `m` on branch 0 is the master of `a` and `b`, two names of one inode on branch 1, and of `l` on its own.
fn scene() -> (Plan, HashMap<Place, Stat>) {
    let master = file(at(0, "m"), stat(1, 1).id);
    let name = |name: &str, from, to| OpName {
        path: path(name),
        from: BranchIdx(from),
        to: BranchIdx(to),
        found: Found::Absent,
    };
    let mut cross = Op::planned(
        OpKind::Cross,
        master.clone(),
        file(at(1, "d/a"), stat(2, 1).id),
        9,
        4096,
        vec![name("d/a", 1, 0), name("b", 1, 0)],
    );
    cross.dirs.push(DirIntent { path: path("d"), to: BranchIdx(0), from: BranchIdx(1) });
    let local = Op::planned(
        OpKind::Local,
        master,
        file(at(0, "l"), stat(1, 2).id),
        9,
        4096,
        vec![name("l", 0, 0)],
    );
    let plan = Plan { ops: vec![cross, local], ..Plan::default() };
    let there = [
        (at(0, "m"), stat(1, 1)),
        (at(0, "l"), stat(1, 2)),
        (at(1, "d/a"), stat(2, 1)),
        (at(1, "b"), stat(2, 1)),
    ];
    (plan, there.into())
}

fn view(plan: &Plan, there: &HashMap<Place, Stat>) -> View {
    View::of(plan, &HashMap::new(), &mut |place| there.get(place).cloned())
}

#[test]
fn every_name_of_a_duplicate_becomes_the_masters() {
    let (plan, there) = scene();
    let view = view(&plan, &there);
    for (place, to, kind) in [
        (at(1, "d/a"), 0, OpKind::Cross),
        (at(1, "b"), 0, OpKind::Cross),
        (at(0, "l"), 0, OpKind::Local),
    ] {
        let Fate::Replaced(replacement, branch) = view.fate(&place, &there[&place]) else {
            panic!("{place:?}");
        };
        assert_eq!((replacement.kind, branch), (kind, BranchIdx(to)));
        assert_eq!(replacement.master, at(0, "m"));
    }
    assert!(matches!(
        view.fate(&at(0, "m"), &there[&at(0, "m")]),
        Fate::Master(name) if *name == path("m")
    ));
    assert_eq!(view.links(stat(1, 1).id, 1), 4);
    assert_eq!(view.links(stat(2, 9).id, 1), 1);
    assert_eq!((view.replaced(), view.bytes()), (2, 8192));
    assert_eq!(view.new_on(&path("d")), [BranchIdx(0)]);
    let next = |branch, name: &str, id| view.successor(&at(branch, name), id);
    assert_eq!(next(1, "b", stat(2, 1).id), Some(stat(1, 1).id));
    assert_eq!(next(0, "b", stat(2, 1).id), None);
    assert_eq!(next(1, "b", stat(2, 7).id), None);
}

#[test]
fn a_file_that_has_changed_is_shown_as_it_is_and_counts_no_more() {
    let (plan, there) = scene();
    let view = view(&plan, &there);
    let mut changed = stat(2, 1);
    changed.mtime.secs = 5;
    assert!(matches!(view.fate(&at(1, "b"), &changed), Fate::Changed(_)));
    assert_eq!(view.links(stat(1, 1).id, 1), 2, "only the local one is left");
}

#[test]
fn what_a_run_has_done_meanwhile_is_a_name_of_the_master() {
    let (plan, there) = scene();
    let view = view(&plan, &there);
    assert!(matches!(view.fate(&at(0, "b"), &stat(1, 1)), Fate::Master(_)));
    // A look at the duplicate shows that the duplicate is gone.
    view.giving(stat(1, 1).id)
        .filter(|r| r.duplicate == at(1, "d/a"))
        .for_each(Replacement::outdate);
    assert_eq!(view.links(stat(1, 1).id, 3), 4, "counted once");
}

#[test]
fn an_op_that_cannot_be_done_is_a_refusal() {
    let (plan, mut there) = scene();
    let halt = Halt {
        reason: Reason::Obstructed,
        detail: "d is a file".to_owned(),
        stops: None,
        again: false,
    };
    let would_stop = HashMap::from([(0, halt)]);
    there.insert(at(0, "l"), stat(1, 77));
    let view = View::of(&plan, &would_stop, &mut |place| there.get(place).cloned());
    let reason = |place: Place, now: Stat| match view.fate(&place, &now) {
        Fate::Refused(refused) => Some(refused.reason),
        _ => None,
    };
    assert_eq!(reason(at(1, "d/a"), stat(2, 1)), Some(Reason::Obstructed));
    assert_eq!(reason(at(1, "b"), stat(2, 1)), Some(Reason::Obstructed));
    // The name now leads to another file than planned; the planned inode is refused, wherever it is.
    assert_eq!(reason(at(0, "l"), stat(1, 77)), None);
    assert_eq!(reason(at(0, "elsewhere"), stat(1, 2)), Some(Reason::Changed));
    assert_eq!((view.replaced(), view.bytes()), (0, 0));
    assert_eq!(view.links(stat(1, 1).id, 1), 1);
    assert!(view.new_on(&path("d")).is_empty());
}

#[test]
fn a_refusal_is_about_every_name_and_a_group_without_master_as_a_whole() {
    let refusal = |reason, path: &[u8]| Refusal {
        reason,
        path: path.to_vec(),
        master: Some(RelPath::new("m").unwrap()),
        detail: String::new(),
        bytes: 4096,
    };
    let group = |places: &[Place], master: Option<Place>| PlannedGroup {
        size: 9,
        master,
        paths: places.to_vec(),
        ops: 0..0,
    };
    let plan = Plan {
        groups: vec![
            group(&[at(0, "m"), at(1, "o1"), at(1, "o2")], Some(at(0, "m"))),
            group(&[at(0, "x"), at(1, "y")], None),
        ],
        refusals: vec![
            refusal(Reason::OwnerDiffers, b"o1"),
            refusal(Reason::NoPrimary, b"x"),
            refusal(Reason::ClaimSize, b"alone"),
            refusal(Reason::Unresolved, b"/elsewhere"),
        ],
        ..Plan::default()
    };
    let there = HashMap::from([
        (at(0, "m"), stat(1, 1)),
        (at(1, "o1"), stat(2, 1)),
        (at(1, "o2"), stat(2, 1)),
        (at(0, "x"), stat(1, 2)),
        (at(1, "y"), stat(2, 2)),
    ]);
    let view = view(&plan, &there);
    let reason = |place: Place, now: Stat| match view.fate(&place, &now) {
        Fate::Refused(refused) => Some(refused.reason),
        _ => None,
    };
    assert_eq!(reason(at(0, "m"), stat(1, 1)), None);
    for name in ["o1", "o2"] {
        assert_eq!(reason(at(1, name), stat(2, 1)), Some(Reason::OwnerDiffers));
    }
    assert_eq!(reason(at(0, "x"), stat(1, 2)), Some(Reason::NoPrimary));
    assert_eq!(reason(at(1, "y"), stat(2, 2)), Some(Reason::NoPrimary));
    assert_eq!(reason(at(0, "alone"), stat(1, 3)), Some(Reason::ClaimSize));
    assert_eq!(reason(at(0, "other"), stat(1, 4)), None);
}

#[test]
fn a_hidden_copy_is_merged_into_one_that_is_replaced_itself() {
    let id = |dev, ino| stat(dev, ino).id;
    let name = |name: &str, from, to, found| OpName {
        path: path(name),
        from: BranchIdx(from),
        to: BranchIdx(to),
        found,
    };
    // `p` is on branches 1 and 2, `q` another name of the hidden copy; the master is `m` on branch 0.
    let merge = Op::planned(
        OpKind::Cross,
        file(at(1, "p"), id(2, 1)),
        file(at(2, "p"), id(3, 1)),
        9,
        4096,
        vec![name("p", 2, 1, Found::Master), name("q", 2, 1, Found::Absent)],
    );
    // The plan calls the duplicate by a name that it has only after the first op.
    let replace = Op::planned(
        OpKind::Cross,
        file(at(0, "m"), id(1, 1)),
        file(at(1, "q"), id(2, 1)),
        9,
        4096,
        vec![name("p", 1, 0, Found::Absent), name("q", 1, 0, Found::Absent)],
    );
    let there = HashMap::from([
        (at(0, "m"), stat(1, 1)),
        (at(1, "p"), stat(2, 1)),
        (at(2, "p"), stat(3, 1)),
        (at(2, "q"), stat(3, 1)),
    ]);
    let only_merged = Plan { ops: vec![merge.clone()], ..Plan::default() };
    let only = view(&only_merged, &there);
    assert!(matches!(only.fate(&at(1, "p"), &stat(2, 1)), Fate::Master(_)));
    assert_eq!(only.links(id(2, 1), 1), 2, "p was there already");
    let both = Plan { ops: vec![merge, replace], ..Plan::default() };
    let both = view(&both, &there);
    for (place, now) in [(at(1, "p"), stat(2, 1)), (at(2, "q"), stat(3, 1))] {
        let Fate::Replaced(replacement, to) = both.fate(&place, &now) else {
            panic!("{place:?}");
        };
        assert_eq!((&replacement.master, to), (&at(0, "m"), BranchIdx(0)));
    }
    assert_eq!(both.links(id(1, 1), 1), 3);
    assert_eq!((both.replaced(), both.bytes()), (2, 8192));
}

fn file(at: Place, id: crate::fs::InodeId) -> crate::plan::OpFile {
    crate::plan::OpFile { at, id }
}

#[test]
fn a_file_that_is_to_share_blocks_stays_the_file_that_it_is() {
    let (mut plan, there) = scene();
    plan.ops[1].task = Task::Share;
    let view = view(&plan, &there);
    let (at, now) = (at(0, "l"), stat(1, 2));
    assert!(matches!(view.fate(&at, &now), Fate::Kept));
    assert_eq!(view.links(stat(1, 1).id, 1), 3, "the names of the other op");
}
