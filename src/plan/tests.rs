//! Tests: which groups make which plan.

use std::sync::Arc;

use super::*;
use crate::fs::{Borders, Layout, Metadata, Nature, Sharing, Timestamp};

const EXT4: u64 = 65_000;

/// Branch n lies on device n, all writable.
fn branches(count: u64) -> Vec<BranchFacts> {
    let branch = |dev| BranchFacts {
        root: format!("/mnt/d{dev}").into(),
        mode: BranchMode::Rw,
        read_only: false,
        identity: true,
        overlay: false,
        nested: false,
        dev,
        mount: dev,
        free: 1 << 40,
        max_links: EXT4,
        reflinks: false,
    };
    (0..count).map(branch).collect()
}

/// An inode with these names, all on the branch with the number of its device.
fn member(dev: u64, ino: u64, names: &[&str]) -> Member {
    let name = |path: &&str| Name {
        branch: BranchIdx(u16::try_from(dev).unwrap()),
        path: RelPath::new(*path).unwrap(),
        excluded: false,
        listed: true,
        shadows: Vec::new(),
        differs: false,
    };
    Member {
        id: InodeId { dev, ino },
        mount: dev,
        size: 9_000,
        blocks: 24,
        nlink: names.len() as u64,
        mtime: Timestamp::default(),
        immutable: false,
        ctime: Timestamp::default(),
        nature: Nature::default(),
        metadata: Arc::default(),
        names: names.iter().map(name).collect(),
    }
}

/// The group of `members`. Each member knows which other branches have its paths.
fn group(mut members: Vec<Member>) -> Group {
    let all: Vec<(BranchIdx, RelPath)> =
        members.iter().flat_map(|m| m.names.iter().map(|n| (n.branch, n.path.clone()))).collect();
    for name in members.iter_mut().flat_map(|m| &mut m.names) {
        let others = all.iter().filter(|(b, p)| *p == name.path && *b != name.branch);
        name.shadows = others.map(|(branch, _)| *branch).collect();
    }
    Group { members }
}

fn merging() -> Rules {
    Rules { shadows: Shadows::Merge, ..Rules::default() }
}

/// Each op as duplicate (device, inode), master's inode, and for each name from, to and what was found there.
type Told = ((u64, u64), u64, Vec<(String, u16, u16, Found)>);

fn ops(plan: &Plan) -> Vec<Told> {
    let told = |op: &Op| {
        let names = op.names.iter().map(|n| {
            let path = String::from_utf8(n.path.as_bytes().to_vec()).unwrap();
            (path, n.from.0, n.to.0, n.found)
        });
        let id = op.duplicate_id;
        ((id.dev, id.ino), op.master_id.ino, names.collect())
    };
    plan.ops.iter().map(told).collect()
}

fn reasons(plan: &Plan) -> Vec<Reason> {
    plan.refusals.iter().map(|r| r.reason).collect()
}

/// An inode with `links` names, of which only the first matters here.
fn full(dev: u64, ino: u64, name: &str, links: u64) -> Member {
    Member { nlink: links, ..member(dev, ino, &[name]) }
}

#[test]
fn a_full_master_hands_over_to_a_second_inode_of_its_disk() {
    let members = vec![
        full(0, 1, "full", EXT4 - 1),
        member(1, 2, &["far"]),
        member(0, 3, &["near"]),
        member(1, 4, &["farther"]),
    ];
    let plan = plan(&[group(members)], &branches(2), &Rules::default());
    let far = |name: &str| vec![(name.to_owned(), 1, 0, Found::Absent)];
    assert_eq!(ops(&plan), [((1, 2), 3, far("far")), ((1, 4), 3, far("farther"))]);
    assert_eq!(reasons(&plan), []);
    assert_eq!(
        plan.groups[0].master,
        Some(Place::new(BranchIdx(0), RelPath::new("full").unwrap()))
    );
}

#[test]
fn the_last_names_a_master_can_take_are_used_first() {
    // One more name and the hidden one beside it.
    let members = vec![
        full(0, 1, "full", EXT4 - 2),
        member(1, 2, &["a"]),
        member(1, 3, &["b"]),
        member(1, 4, &["c"]),
    ];
    let plan = plan(&[group(members)], &branches(2), &Rules::default());
    let masters: Vec<_> =
        plan.ops.iter().map(|op| (op.duplicate_id.ino, op.master_id.ino)).collect();
    assert_eq!(masters, [(2, 1), (4, 3)]);
    assert_eq!(plan.ops[1].kind, OpKind::Local);
}

#[test]
fn a_single_duplicate_of_a_full_master_stays_with_a_reason() {
    let members = vec![full(0, 1, "full", EXT4), member(1, 2, &["a"])];
    let plan = plan(&[group(members)], &branches(2), &Rules::default());
    assert_eq!((ops(&plan), reasons(&plan)), (vec![], vec![Reason::TooManyLinks]));
}

#[test]
fn under_a_primary_only_the_disk_of_the_full_master_gives_a_second_one() {
    let rules = Rules { primaries: vec![RelPath::new("media").unwrap()], ..Rules::default() };
    let full = || full(0, 1, "media/full", EXT4);
    let far = || vec![full(), member(1, 2, &["a"]), member(1, 3, &["b"])];
    let elsewhere = plan(&[group(far())], &branches(2), &rules);
    assert_eq!(reasons(&elsewhere), [Reason::TooManyLinks; 2]);
    let mut near = far();
    near.push(member(0, 4, &["downloads/near"]));
    let beside = plan(&[group(near)], &branches(2), &rules);
    let masters: Vec<_> = beside.ops.iter().map(|op| op.master_id.ino).collect();
    assert_eq!(masters, [4, 4]);
}

#[test]
fn equal_bytes_are_not_enough() {
    let borders = |encryption: Option<&[u8]>, project| Borders {
        encryption: encryption.map(Into::into),
        project,
        inherits_project: false,
    };
    let of = |borders| Nature { borders, ..Nature::default() };
    let plain = Nature::default();
    let hollow = Nature { hollow: true, ..Nature::default() };
    let swap = Nature { swap: true, ..Nature::default() };
    let cases = [
        (&plain, &hollow, Reason::Empty),
        (&plain, &swap, Reason::SwapFile),
        (&plain, &of(borders(Some(b"key"), 0)), Reason::EncryptionDiffers),
        (&of(borders(Some(b"one"), 0)), &of(borders(Some(b"two"), 0)), Reason::EncryptionDiffers),
        (&plain, &of(borders(None, 7)), Reason::ProjectDiffers),
    ];
    let planned = |one: &Nature, other: &Nature| {
        let mut members = vec![member(0, 1, &["a"]), member(1, 2, &["b"])];
        (members[0].nature, members[1].nature) = (one.clone(), other.clone());
        plan([group(members)], &branches(2), &Rules::default())
    };
    for (one, other, reason) in cases {
        assert_eq!(reasons(&planned(one, other)), [reason]);
        assert_eq!(reasons(&planned(other, one)), [reason]);
    }
    let same = of(borders(Some(b"key"), 7));
    assert_eq!(ops(&planned(&same, &same)).len(), 1);
}

#[test]
fn a_path_on_several_branches_is_left_alone_unless_asked() {
    let members = vec![member(0, 1, &["p"]), member(1, 2, &["p"])];
    let plan = plan(&[group(members)], &branches(2), &Rules::default());
    assert_eq!((ops(&plan), reasons(&plan)), (vec![], vec![Reason::Shadowed]));
}

#[test]
fn versions_and_fresh_hidden_copies_have_reasons_of_their_own() {
    let mut members = vec![member(0, 1, &["a"]), member(1, 2, &["a"])];
    members[1].ctime = Timestamp { secs: 100, nanos: 0 };
    let rules = |secs| Rules { settled: Some(Timestamp { secs, nanos: 0 }), ..merging() };
    let planned =
        |members: &[Member], rules: &Rules| plan([group(members.to_vec())], &branches(2), rules);
    assert_eq!(ops(&planned(&members, &rules(100))).len(), 1);
    let fresh = planned(&members, &rules(99));
    assert_eq!((ops(&fresh).len(), reasons(&fresh)), (0, vec![Reason::FreshShadow]));
    let mut versions = vec![member(0, 1, &["a"]), member(1, 2, &["b"])];
    versions[1].names[0].shadows = vec![BranchIdx(0)];
    versions[1].names[0].differs = true;
    let versions = plan([Group { members: versions }], &branches(2), &Rules::default());
    assert_eq!(reasons(&versions), [Reason::ShadowsDiffer]);
}

#[test]
fn hidden_copies_go_into_the_one_that_is_shown() {
    let members = vec![member(2, 3, &["p"]), member(0, 1, &["p"]), member(1, 2, &["p"])];
    let plan = plan(&[group(members)], &branches(3), &merging());
    let to_first = |from| vec![("p".to_owned(), from, 0, Found::Master)];
    assert_eq!(ops(&plan), [((2, 3), 1, to_first(2)), ((1, 2), 1, to_first(1))]);
    assert!(plan.ops.iter().all(|op| op.kind == OpKind::Cross));
    assert_eq!(reasons(&plan), []);
}

#[test]
fn the_copy_that_is_shown_then_goes_to_the_groups_master() {
    // The master is elsewhere, because its primary decides.
    let rules = Rules { primaries: vec![RelPath::new("media").unwrap()], ..merging() };
    let members =
        vec![member(1, 9, &["media/m"]), member(0, 1, &["d/p"]), member(2, 2, &["d/p", "d/q"])];
    let plan = plan(&[group(members)], &branches(3), &rules);
    let name = |path: &str, from, to, found| (path.to_owned(), from, to, found);
    assert_eq!(
        ops(&plan),
        [
            ((2, 2), 1, vec![name("d/p", 2, 0, Found::Master), name("d/q", 2, 0, Found::Absent)]),
            ((0, 1), 9, vec![name("d/p", 0, 1, Found::Absent), name("d/q", 0, 1, Found::Absent)]),
        ]
    );
}

#[test]
fn a_hidden_copy_of_other_contents_keeps_its_path_from_being_touched() {
    // Branch 2 has the path too, with a file of another group or of no group.
    let mut group = group(vec![member(0, 1, &["p"]), member(1, 2, &["p"])]);
    for member in &mut group.members {
        member.names[0].shadows.push(BranchIdx(2));
    }
    let plan = plan(&[group], &branches(3), &merging());
    assert_eq!((ops(&plan), reasons(&plan)), (vec![], vec![Reason::Shadowed]));
}

#[test]
fn a_copy_that_hides_one_and_is_hidden_by_another_goes_after_the_one_it_hides() {
    let members = vec![member(0, 1, &["p"]), member(1, 2, &["p", "q"]), member(2, 3, &["q"])];
    let chain = plan(&[group(members)], &branches(3), &merging());
    let pairs: Vec<_> =
        chain.ops.iter().map(|op| (op.duplicate_id.ino, op.master_id.ino)).collect();
    assert_eq!(pairs, [(3, 2), (2, 1)]);
    // Two members that hide each other: neither can go without showing another inode at one of the paths.
    let mut crossed = group(vec![member(0, 1, &["p", "q"]), member(1, 2, &["p", "q"])]);
    let (q_low, q_high) = (BranchIdx(2), BranchIdx(3));
    crossed.members[0].names[1].branch = q_high;
    crossed.members[0].names[1].shadows = vec![q_low];
    crossed.members[1].names[1].branch = q_low;
    crossed.members[1].names[1].shadows = vec![q_high];
    let mut disks = branches(4);
    (disks[2].dev, disks[3].dev) = (disks[1].dev, disks[0].dev);
    let crossed = plan(&[crossed], &disks, &merging());
    assert_eq!((ops(&crossed), reasons(&crossed)), (vec![], vec![Reason::Shadowed]));
}

#[test]
fn two_names_of_one_inode_at_one_path_are_left_alone() {
    let mut both = member(0, 1, &["p", "p"]);
    both.names[1].branch = BranchIdx(1);
    let other = member(2, 2, &["q", "r", "s"]);
    let mut branches = branches(3);
    branches[1].dev = 0;
    let plan = plan(&[group(vec![other, both])], &branches, &merging());
    assert_eq!(reasons(&plan), [Reason::Shadowed]);
}

#[test]
fn a_hidden_copy_that_may_not_go_keeps_the_shown_one_too() {
    let mut branches = branches(3);
    branches[2].mode = BranchMode::Ro;
    let members = vec![member(1, 9, &["m"]), member(0, 1, &["p"]), member(2, 2, &["p"])];
    let rules = Rules { primaries: vec![RelPath::new("m").unwrap()], ..merging() };
    let plan = plan(&[group(members)], &branches, &rules);
    assert_eq!(ops(&plan), []);
    assert_eq!(reasons(&plan), [Reason::ReadOnly]);
}

#[test]
fn files_on_an_overlay_are_neither_replaced_nor_kept_for_others() {
    let mut branches = branches(3);
    branches[0].overlay = true;
    let members = vec![member(0, 1, &["a"]), member(1, 2, &["b"]), member(2, 3, &["c"])];
    let plan = plan(&[group(members)], &branches, &Rules::default());
    assert_eq!(reasons(&plan), [Reason::Overlay]);
    assert_eq!((plan.ops.len(), plan.ops[0].master_id.ino), (1, 2));
}

#[test]
fn what_is_left_out_after_all_is_refused_and_the_groups_keep_their_ops() {
    let pair = |n: u64| {
        let names = [format!("m/{n}"), format!("d/{n}"), format!("e/{n}")];
        let members = (0..).zip(&names).map(|(dev, name)| member(dev, n, &[name]));
        group(members.collect())
    };
    let groups = [pair(1), pair(2), pair(3)];
    let mut plan = plan(&groups, &branches(3), &Rules::default());
    let all = plan.ops.clone();
    let refusal = |path: &str| Refusal {
        reason: Reason::DirectoryDiffers,
        path: path.into(),
        master: None,
        detail: String::new(),
        bytes: 0,
    };
    plan.leave_out([(1, refusal("b")), (2, refusal("c"))].into());
    assert_eq!(plan.ops, [0, 3, 4, 5].map(|at| all[at].clone()));
    let ops: Vec<_> = plan.groups.iter().map(|group| group.ops.clone()).collect();
    assert_eq!(ops, [0..1, 1..2, 2..4]);
    assert_eq!(plan.refusals, [refusal("b"), refusal("c")]);
}

#[test]
fn limits_count_what_is_left_when_everything_else_is_refused() {
    let pair = |n: u64| {
        let names = [format!("m/{n}"), format!("d/{n}")];
        let members = (0..).zip(&names).map(|(dev, name)| member(dev, n, &[name]));
        group(members.collect())
    };
    let groups: Vec<Group> = (1..6).map(pair).collect();
    let whole = plan(&groups, &branches(2), &Rules::default());
    let bytes = whole.ops[0].bytes;
    assert!(bytes > 0 && whole.ops.iter().all(|op| op.bytes == bytes));
    let cases = [
        (None, None, 5),
        (Some(2), None, 2),
        (None, Some(3 * bytes), 3),
        (None, Some(3 * bytes - 1), 2),
        (Some(1), Some(3 * bytes), 1),
        (Some(0), None, 0),
    ];
    for (max_ops, max_bytes, kept) in cases {
        let mut limited = whole.clone();
        limited.limit(max_ops, max_bytes);
        assert_eq!(limited.ops, whole.ops[..kept]);
        assert_eq!(reasons(&limited), vec![Reason::Limit; 5 - kept]);
    }
    // A smaller op after an op that is too large.
    let mut mixed = whole.clone();
    mixed.ops[1].bytes = 10 * bytes;
    mixed.limit(None, Some(3 * bytes));
    let kept: Vec<_> = mixed.ops.iter().map(|op| op.duplicate_id).collect();
    assert_eq!(kept, [0, 2, 3].map(|at: usize| whole.ops[at].duplicate_id));
    // The largest, in the order of the plan.
    let mut mixed = whole.clone();
    (mixed.ops[1].bytes, mixed.ops[4].bytes) = (2 * bytes, 3 * bytes);
    mixed.limit(Some(2), None);
    let kept: Vec<_> = mixed.ops.iter().map(|op| op.duplicate_id).collect();
    assert_eq!(kept, [1, 4].map(|at: usize| whole.ops[at].duplicate_id));
}

/// As `member`, with these permission bits.
fn with_mode(dev: u64, ino: u64, name: &str, mode: u32) -> Member {
    let metadata = crate::fs::Metadata { mode, ..crate::fs::Metadata::default() };
    Member { metadata: Arc::new(metadata), ..member(dev, ino, &[name]) }
}

#[test]
fn copies_that_metadata_keeps_apart_are_refused_with_both_values_and_bytes() {
    let pair = group(vec![with_mode(0, 1, "media/a", 0o664), with_mode(1, 2, "dl/a", 0o644)]);
    let plan = plan(&[pair], &branches(2), &Rules::default());
    let expected = Refusal {
        reason: Reason::ModeDiffers,
        path: b"dl/a".to_vec(),
        master: Some(RelPath::new("media/a").unwrap()),
        detail: "0644 0:0; kept copy: 0664 0:0".to_owned(),
        bytes: 24 * 512,
    };
    assert_eq!((plan.ops.len(), plan.refusals), (0, vec![expected]));
}

#[test]
fn copies_that_only_the_kept_copy_differs_from_are_still_links_of_each_other() {
    let members = || {
        vec![
            with_mode(0, 1, "media/a", 0o664),
            with_mode(1, 2, "dl/a", 0o644),
            with_mode(1, 3, "dl/b", 0o644),
            with_mode(1, 4, "dl/c", 0o600),
        ]
    };
    let refused = |plan: &Plan| -> Vec<_> {
        plan.refusals.iter().map(|r| (r.reason, r.path.clone())).collect()
    };
    let differs = |path: &str| (Reason::ModeDiffers, path.as_bytes().to_vec());
    let any = plan(&[group(members())], &branches(2), &Rules::default());
    let local = ((1, 3), 2, vec![("dl/b".to_owned(), 1, 1, Found::Duplicate)]);
    assert_eq!(ops(&any), [local]);
    assert_eq!(refused(&any), [differs("dl/a"), differs("dl/c")]);
    assert_eq!(any.groups[0].ops, 0..1);
    // What lies under no primary is no master.
    let primaries = vec![RelPath::new("media").unwrap()];
    let rules = Rules { primaries, ..Rules::default() };
    let plan = plan(&[group(members())], &branches(2), &rules);
    assert_eq!(plan.ops, []);
    assert_eq!(refused(&plan), ["dl/a", "dl/b", "dl/c"].map(differs));
}

#[test]
fn only_what_lies_below_the_directories_named_is_replaced() {
    let path = |path: &str| RelPath::new(path).unwrap();
    let rules = Rules {
        primaries: vec![path("media")],
        only_below: vec![path("torrents")],
        ..Rules::default()
    };
    let members = vec![
        member(0, 1, &["media/a"]),
        member(1, 2, &["media/b"]),
        member(1, 3, &["torrents/a"]),
        member(1, 4, &["other/a", "torrents/b"]),
    ];
    let plan = plan(&[group(members)], &branches(2), &rules);
    let names = vec![("torrents/a".to_owned(), 1, 0, Found::Absent)];
    assert_eq!(ops(&plan), [((1, 3), 1, names)]);
    let told: Vec<_> = plan.refusals.iter().map(|r| (r.reason, r.path.clone())).collect();
    assert_eq!(told, ["media/b", "torrents/b"].map(|path| (Reason::Outside, path.into())));
}

#[test]
fn of_a_sparse_and_a_full_copy_the_sparse_one_stays_where_the_policy_leaves_a_tie() {
    // A block more than the size needs is no hole less.
    let members = |sparse: u64, full: u64| {
        vec![
            Member { blocks: full, ..member(0, 1, &["full"]) },
            Member { blocks: sparse, ..member(1, 2, &["sparse"]) },
        ]
    };
    let older = Timestamp { secs: -1, ..Timestamp::default() };
    let kept = |members: Vec<Member>, policy| {
        let rules = Rules { policy, ..Rules::default() };
        let plan = plan(&[group(members)], &branches(2), &rules);
        plan.ops[0].master_id.ino
    };
    assert_eq!(kept(members(8, 24), Policy::MostLinks), 2);
    assert_eq!(kept(members(24, 32), Policy::MostLinks), 1);
    assert_eq!(kept(members(8, 24), Policy::Mergerfs), 1, "the first branch");
    let mut aged = members(8, 24);
    aged[0].mtime = older;
    assert_eq!(kept(aged, Policy::Oldest), 1);
}

fn only(paths: &[&str]) -> Rules {
    let paths: Vec<_> = paths.iter().map(|path| RelPath::new(*path).unwrap()).collect();
    Rules { only: Some(Only::new(&paths)), ..Rules::default() }
}

#[test]
fn only_named_files_are_replaced_and_another_copy_stays() {
    let members = || {
        // The most links: without names it would stay.
        let new = member(0, 1, &["media/new", "media/new 2"]);
        group(vec![new, member(1, 2, &["old"]), member(2, 3, &["older"])])
    };
    let planned = |named: &[&str]| plan(&[members()], &branches(3), &only(named));
    let all_names = planned(&["media"]);
    let names = ["media/new", "media/new 2"];
    let names = names.map(|name| (name.to_owned(), 0, 1, Found::Absent)).to_vec();
    assert_eq!((ops(&all_names), reasons(&all_names)), (vec![((0, 1), 2, names)], vec![]));
    assert_eq!(ops(&planned(&["media/new", "media/new 2"])), ops(&all_names));
    // A link of it was not named: it is the one that stays, and its copies were not named.
    let one_name = planned(&["media/new"]);
    assert_eq!((ops(&one_name), reasons(&one_name)), (vec![], vec![Reason::Kept]));
    // Or another one stays, by the rules.
    let rules = Rules { primaries: vec![RelPath::new("old").unwrap()], ..only(&["media/new"]) };
    let outside = plan(&[members()], &branches(3), &rules);
    assert_eq!((ops(&outside), reasons(&outside)), (vec![], vec![Reason::Outside]));
    let refusal = &outside.refusals[0];
    assert_eq!((refusal.path.as_slice(), &*refusal.detail), (&b"media/new"[..], "\"media/new 2\""));
    // Two are named: the third stays.
    let two = planned(&["media", "older"]);
    let masters: Vec<_> = two.ops.iter().map(|op| op.master_id.ino).collect();
    assert_eq!((masters, reasons(&two)), (vec![2, 2], vec![]));
    // All are named: one stays.
    assert_eq!(planned(&[""]).ops.len(), 2);
}

#[test]
fn a_named_file_under_a_primary_stays_and_so_do_copies_that_were_not_named() {
    let members = || group(vec![member(0, 1, &["media/new"]), member(1, 2, &["old"])]);
    let primaries = vec![RelPath::new("media").unwrap()];
    let rules = Rules { primaries, ..only(&["media/new"]) };
    let kept = plan(&[members()], &branches(2), &rules);
    assert_eq!((ops(&kept), reasons(&kept)), (vec![], vec![Reason::Kept]));
    let refusal = &kept.refusals[0];
    assert_eq!((refusal.path.as_slice(), refusal.bytes), (&b"media/new"[..], 24 * 512));
    assert!(refusal.detail.contains("\"old\""), "{refusal:?}");
    let both = Rules { only: only(&["media/new", "old"]).only, ..rules.clone() };
    let both = plan(&[members()], &branches(2), &both);
    assert_eq!((both.ops.len(), both.ops[0].master_id.ino, reasons(&both)), (1, 1, vec![]));
    let neither = Rules { only: only(&["other"]).only, ..rules };
    let neither = plan(&[members()], &branches(2), &neither);
    assert_eq!((ops(&neither), reasons(&neither)), (vec![], vec![]));
}

#[test]
fn a_named_file_that_may_not_be_replaced_is_refused_by_its_name() {
    let mut branches = branches(2);
    branches[1].mode = BranchMode::Ro;
    let members = vec![member(0, 1, &["media/new"]), member(1, 2, &["old"])];
    let refused = plan(&[group(members)], &branches, &only(&["media/new"]));
    assert_eq!((ops(&refused), reasons(&refused)), (vec![], vec![Reason::ReadOnly]));
    assert_eq!(refused.refusals[0].path, b"media/new");
    // A hidden copy that was not named is not merged.
    let hidden = vec![member(0, 1, &["x"]), member(1, 2, &["x"]), member(1, 3, &["new"])];
    let rules = Rules { shadows: Shadows::Merge, ..only(&["new"]) };
    let merged = plan(&[group(hidden)], &self::branches(2), &rules);
    let duplicates: Vec<_> = merged.ops.iter().map(|op| op.duplicate_id.ino).collect();
    assert_eq!(duplicates, [3], "{:?}", reasons(&merged));
}

#[test]
fn a_path_on_several_disks_is_refused_with_the_disks() {
    let members = vec![member(0, 1, &["kept"]), member(1, 2, &["a"]), member(2, 3, &["a"])];
    let refused = plan(&[group(members)], &branches(3), &Rules::default());
    assert_eq!(reasons(&refused), [Reason::Shadowed]);
    assert_eq!(refused.refusals[0].detail, "\"a\" is on /mnt/d1, /mnt/d2");
}

/// An inode whose blocks are all shared, and lie where `layout` says.
fn sharing(dev: u64, ino: u64, name: &str, layout: u64) -> Member {
    let mut member = member(dev, ino, &[name]);
    member.nature.sharing = Sharing { bytes: 24 * 512, layout: Some(Layout([layout, 0])) };
    member
}

#[test]
fn a_duplicate_that_shares_all_blocks_with_the_kept_copy_is_done() {
    let mut clone = sharing(0, 2, "clone", 7);
    clone.metadata = Arc::new(Metadata { uid: 7, ..Metadata::default() });
    let other = sharing(0, 3, "other", 8);
    // A number of another disk means another place.
    let far = sharing(1, 2, "far", 7);
    let members = vec![sharing(0, 1, "kept", 7), clone.clone(), other, far];
    let rules = Rules { primaries: vec![RelPath::new("kept").unwrap()], ..Rules::default() };
    let told = plan(&[group(members)], &branches(2), &rules);
    let duplicates: Vec<_> = told.ops.iter().map(|op| op.duplicate_id).collect();
    assert_eq!(duplicates, [InodeId { dev: 0, ino: 3 }, InodeId { dev: 1, ino: 2 }]);
    assert_eq!((told.already_shared, reasons(&told)), (1, vec![]));
    // Of another owner, and linked to the clone, which costs nothing, although the policy would keep the copy.
    let changed = |member: Member, secs| Member { mtime: Timestamp { secs, nanos: 0 }, ..member };
    let copy = Member { metadata: Arc::clone(&clone.metadata), ..member(1, 4, &["copy"]) };
    let members = [(sharing(0, 1, "kept", 7), 3), (copy, 2), (clone.clone(), 1)];
    let members = members.map(|(member, secs)| changed(member, secs)).to_vec();
    let newest = Rules { policy: Policy::Newest, ..Rules::default() };
    let told = plan(&[group(members)], &branches(2), &newest);
    assert_eq!(ops(&told), [((1, 4), 2, vec![("copy".to_owned(), 1, 0, Found::Absent)])]);
    assert_eq!((told.already_shared, reasons(&told)), (1, vec![]));
    // Whichever of both stays, nothing is freed.
    let rules = Rules { primaries: vec![RelPath::new("none").unwrap()], ..Rules::default() };
    let told = plan(&[group(vec![sharing(0, 1, "kept", 7), clone])], &branches(2), &rules);
    assert_eq!((told.already_shared, reasons(&told), told.no_primary), (1, vec![], 0));
}

/// Branches 0 and 1 can share blocks, branch 2 cannot.
fn two_with_reflinks() -> Vec<BranchFacts> {
    let mut branches = branches(3);
    (branches[0].reflinks, branches[1].reflinks) = (true, true);
    branches
}

/// A master on disk 0; beside it a copy of another owner, two copies of that owner and one of the master's on disk 1, and one
/// on disk 2.
fn on_three_disks() -> Vec<Member> {
    let other = |mut member: Member| {
        member.metadata = Arc::new(Metadata { uid: 7, ..Metadata::default() });
        member
    };
    vec![
        member(0, 1, &["a-kept", "a2"]),
        other(member(0, 2, &["b", "b2"])),
        other(member(1, 3, &["c"])),
        other(member(1, 4, &["d"])),
        member(1, 5, &["e"]),
        member(2, 6, &["f"]),
    ]
}

/// Each op as what becomes of the duplicate, the duplicate's inode and the master's.
fn kinds(plan: &Plan) -> Vec<(&'static str, u64, u64)> {
    let kind = |op: &Op| match op.task {
        Task::Share => "share",
        Task::Reflink(_) => "clone",
        _ => "link",
    };
    let all = plan.ops.iter();
    let mut kinds: Vec<_> =
        all.map(|op| (kind(op), op.duplicate_id.ino, op.master_id.ino)).collect();
    kinds.sort_unstable_by_key(|(_, duplicate, _)| *duplicate);
    kinds
}

#[test]
fn reflinks_are_made_of_every_copy_where_the_kept_copys_disk_can() {
    for link in [Link::Reflink, Link::Auto] {
        let rules = Rules { link, ..Rules::default() };
        let told = plan(&[group(on_three_disks())], &two_with_reflinks(), &rules);
        // No owner is in the way.
        let clones = [3, 4, 5, 6].map(|duplicate| ("clone", duplicate, 1));
        assert_eq!(kinds(&told), [&[("share", 2, 1)][..], &clones].concat());
        assert_eq!(reasons(&told), []);
        // Of those of another owner, hard links would leave one.
        let differing = told.ops.iter().filter(|op| op.differs).map(|op| op.duplicate_id.ino);
        assert_eq!(differing.collect::<Vec<_>>(), [2]);
        let hard = plan(&[group(on_three_disks())], &two_with_reflinks(), &Rules::default());
        assert_eq!(reasons(&hard), [Reason::OwnerDiffers]);
        assert!(hard.ops.iter().all(|op| !op.differs));
    }
}

/// The copy on the disk that cannot stays.
fn kept_on_ext4() -> (Vec<Member>, Rules) {
    let mut members = on_three_disks();
    members.swap(0, 5);
    let primaries = vec![RelPath::new("f").unwrap()];
    (members, Rules { primaries, any_master: true, ..Rules::default() })
}

#[test]
fn without_a_disk_that_can_reflinks_are_made_beside_each_other_and_other_copies_are_refused() {
    let (members, rules) = kept_on_ext4();
    let rules = Rules { link: Link::Reflink, ..rules };
    let told = plan(&[group(members)], &two_with_reflinks(), &rules);
    assert_eq!(kinds(&told), [("share", 2, 1), ("share", 4, 3), ("share", 5, 3)]);
    assert_eq!(reasons(&told), [Reason::NoReflink, Reason::NoReflink]);
    assert!(told.refusals[0].detail.contains("is on /mnt/d2, which cannot"), "{:?}", told.refusals);
}

#[test]
fn auto_links_where_the_kept_copys_disk_cannot() {
    let (members, rules) = kept_on_ext4();
    let rules = Rules { link: Link::Auto, ..rules };
    let told = plan(&[group(members)], &two_with_reflinks(), &rules);
    let links = [("link", 1, 6), ("clone", 3, 2), ("clone", 4, 2), ("link", 5, 6)];
    assert_eq!(kinds(&told), links);
    assert_eq!(reasons(&told), [Reason::OwnerDiffers]);
    // Where no disk can share blocks, it is what hard links are.
    let auto = plan(&[group(on_three_disks())], &branches(3), &rules);
    let hard = Rules { link: Link::Hard, ..rules };
    assert_eq!(auto, plan(&[group(on_three_disks())], &branches(3), &hard));
}

#[test]
fn rules_about_the_file_itself_hold_for_reflinks_too() {
    let rules = Rules { link: Link::Reflink, ..Rules::default() };
    let check = |change: fn(&mut Member), reason| {
        let mut other = member(0, 2, &["b"]);
        change(&mut other);
        let told = plan(&[group(vec![member(0, 1, &["a"]), other])], &two_with_reflinks(), &rules);
        assert_eq!((reasons(&told), told.ops.len()), (vec![reason], 0));
    };
    check(|other| other.immutable = true, Reason::Immutable);
    check(|other| other.size = 8_000, Reason::Differs);
    check(|other| other.nature.swap = true, Reason::SwapFile);
    check(|other| other.names[0].excluded = true, Reason::Excluded);
    check(
        |other| other.nature.borders.encryption = Some(vec![1].into()),
        Reason::EncryptionDiffers,
    );
}

/// No copies on write.
const NOCOW: u32 = 0x0080_0000;

#[test]
fn copies_whose_blocks_are_stored_otherwise_are_no_reflinks() {
    let stored = |mut member: Member, stored| {
        member.nature.stored = Some(stored);
        member
    };
    let kept = stored(member(0, 1, &["a"]), 0);
    let members = |flags| {
        vec![kept.clone(), stored(member(0, 2, &["b"]), flags), stored(member(1, 3, &["c"]), flags)]
    };
    let of = |link, flags| {
        let rules = Rules { link, ..Rules::default() };
        plan(&[group(members(flags))], &two_with_reflinks(), &rules)
    };
    let alike = of(Link::Reflink, 0);
    assert_eq!(kinds(&alike), [("share", 2, 1), ("clone", 3, 1)]);
    let differ = of(Link::Reflink, NOCOW);
    assert_eq!((reasons(&differ), differ.ops.len()), (vec![Reason::NoReflink; 2], 0));
    // A link is no obstacle where links may take the place of a clone.
    let auto = of(Link::Auto, NOCOW);
    assert_eq!((reasons(&auto), kinds(&auto)), (vec![Reason::NoReflink], vec![("link", 3, 1)]));
    assert_eq!(kinds(&of(Link::Hard, NOCOW)), [("link", 2, 1), ("link", 3, 1)]);
}

#[test]
fn files_that_a_run_left_half_done_are_no_copies_to_remove() {
    // The first is published and not retired, the second only begun; the third is another file. Of the last an undo has
    // given back the path, and not taken away the hidden name of the copy.
    let hidden = ".xdedup-00000007-00000001-00000003-00000000-c";
    let groups = [
        group(vec![member(1, 1, &["media/a", "dl/a"]), member(2, 2, &["dl/a"])]),
        group(vec![member(1, 3, &["media/b", "b"]), member(2, 4, &["dl/b"])]),
        group(vec![member(1, 5, &["media/c", "dl/c"]), member(2, 6, &["dl/c"])]),
        group(vec![member(1, 7, &["media/d", "d", "d2"]), member(2, 8, &[hidden, "dl/d"])]),
    ];
    let mut plan = plan(&groups, &branches(3), &Rules::default());
    assert_eq!(plan.ops.len(), 2);
    let mut half_done = HalfDone::default();
    for (seq, replaced, kept) in
        [(1, "dl/a", "media/a"), (2, "dl/b", "media/b"), (3, "dl/d", "media/d")]
    {
        let path = |path| RelPath::new(path).unwrap();
        half_done.add(OpId { run: 1, seq }, std::iter::once(path(replaced)), path(kept));
    }
    plan.set_aside(&half_done);
    assert_eq!(plan.ops, []);
    let mut said: Vec<_> =
        plan.refusals.iter().map(|r| (r.path.as_slice(), r.reason, r.detail.is_empty())).collect();
    said.sort();
    assert_eq!(
        said,
        [
            (&b"dl/a"[..], Reason::Unfinished, true),
            (b"dl/b", Reason::Unfinished, true),
            (b"dl/c", Reason::Shadowed, false),
            (b"dl/d", Reason::Unfinished, true)
        ]
    );
}
