//! Which members of a group keep files of their own, and share their blocks with another member.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::group::Member;
use super::refusal::Reason;
use super::{Found, Link, Op, OpFile, OpKind, OpName, Planner, Task, master, place};
use crate::fs::InodeId;

impl Planner<'_> {
    /// Whether the files of its disk can be made to share blocks.
    fn is_on_reflinks(&self, member: &Member) -> bool {
        member.names.first().is_some_and(|name| self.branches[name.branch.index()].reflinks)
    }

    /// Whether both lie on one filesystem whose files can be made to share blocks.
    pub(super) fn can_share(&self, one: &Member, other: &Member) -> bool {
        (one.id.dev, one.mount) == (other.id.dev, other.mount)
            && self.is_on_reflinks(one)
            && self.is_on_reflinks(other)
    }

    /// Plans the members that lie where the master at `first` does for sharing its blocks. Returns for each member whether it
    /// is the master or one of those.
    pub(super) fn share_near(&mut self, members: &[Member], first: usize) -> Vec<bool> {
        let all = self.is_on_reflinks(&members[first]);
        let near = |at: usize| all || at == first || self.can_share(&members[first], &members[at]);
        let near: Vec<bool> = (0..members.len()).map(near).collect();
        for (at, member) in members.iter().enumerate() {
            if near[at] && at != first {
                self.member(&members[first], member);
            }
        }
        near
    }

    /// Plans all members that are not `near` the master for replacement by links: to the master, or, where metadata keeps
    /// them apart from it, to a member that shares its blocks.
    pub(super) fn link_far(&mut self, members: &[Member], first: usize, near: &[bool]) {
        let classes = self.rules.ignore.classes(members.iter().map(|member| &*member.metadata));
        let count = classes.iter().max().map_or(0, |last| last + 1);
        for class in 0..count {
            let of = |at: &usize| classes[*at] == class;
            let kept: Vec<usize> = match classes[first] == class {
                true => vec![first],
                false => (0..members.len()).filter(of).filter(|at| near[*at]).collect(),
            };
            let far: Vec<usize> = (0..members.len()).filter(of).filter(|at| !near[*at]).collect();
            let alike = |all: &[usize]| all.iter().map(|at| members[*at].clone()).collect();
            let kept: Vec<Member> = alike(&kept);
            let far: Vec<Member> = alike(&far);
            if let Some(own) = master::choose(&kept, self.branches, self.rules) {
                let all: Vec<Member> = std::iter::once(kept[own].clone()).chain(far).collect();
                self.replace_alike(&all, 0);
            } else if let Some(own) = master::choose(&far, self.branches, self.rules) {
                self.replace_alike(&far, own);
                self.member(&members[first], &far[own]);
            } else {
                far.iter().for_each(|member| self.member(&members[first], member));
            }
        }
    }

    /// Plans the members of each filesystem for sharing the blocks of one of them. Those that stay alone are refused.
    pub(super) fn share_all(&mut self, members: &[Member], first: usize) {
        let mut places: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            places.entry((member.id.dev, member.mount)).or_default().push(at);
        }
        if self.is_on_reflinks(&members[first]) {
            for (_, member) in members.iter().enumerate().filter(|(at, _)| *at != first) {
                self.member(&members[first], member);
            }
            return;
        }
        let mut any = self.rules.clone();
        any.any_master = true;
        for together in places.into_values() {
            let here = together.contains(&first).then_some(first);
            let candidates = together.iter().copied();
            let head =
                here.or_else(|| master::choose_among(members, candidates, self.branches, &any));
            for at in &together {
                match head.filter(|head| self.can_share(&members[*head], &members[*at])) {
                    Some(head) if head != *at => self.member(&members[head], &members[*at]),
                    _ if *at == first => {}
                    head => self.stays_alone(&members[first], &members[*at], head.is_some()),
                }
            }
        }
    }

    /// Marks the ops from `first_op` on whose duplicates would stay if links had to replace them: of the members whose metadata
    /// keeps them apart from the master at `first`, one would stay for all that are alike.
    pub(super) fn mark_differing(&mut self, members: &[Member], first: usize, first_op: usize) {
        if self.rules.link == Link::Hard {
            return;
        }
        let classes = self.rules.ignore.classes(members.iter().map(|member| &*member.metadata));
        let of: HashMap<InodeId, usize> =
            members.iter().zip(classes.iter()).map(|(member, class)| (member.id, *class)).collect();
        let mut marked = BTreeSet::from([classes[first]]);
        for op in &mut self.plan.ops[first_op..] {
            let class = of.get(&op.duplicate_id);
            op.differs =
                (op.shares() || op.reflinks()) && class.is_some_and(|class| marked.insert(*class));
        }
    }

    /// Refuses a member that has no copy to share blocks with; `elsewhere` is whether its own disk could do it.
    fn stays_alone(&mut self, kept: &Member, member: &Member, elsewhere: bool) {
        let (Some(name), Some(own), Some(asked)) =
            (master::name_of(kept, self.rules), member.names.first(), self.asked_name(member))
        else {
            return;
        };
        if !self.rules.is_about(member) {
            return;
        }
        let detail = match elsewhere {
            true => {
                format!(
                    "the kept copy is on {}, which cannot share blocks",
                    self.which(name.branch)
                )
            }
            false => format!("{} cannot share blocks", self.which(own.branch)),
        };
        let bytes = (member.blocks * 512).saturating_sub(member.nature.sharing.bytes);
        self.refuse((Reason::NoReflink, detail), &asked, Some(&name.path), bytes);
    }

    /// Plans the op that lets `duplicate` share the blocks of `master`, if the rules admit it.
    pub(super) fn share(&mut self, master: &Member, duplicate: &Member) {
        let (Some(name), Some(own), Some(asked)) = (
            master::name_of(master, self.rules),
            duplicate.names.first(),
            self.asked_name(duplicate),
        ) else {
            return;
        };
        let shared = duplicate.nature.sharing.bytes;
        let bytes = (duplicate.blocks * 512).saturating_sub(shared);
        let admitted = self
            .admit_contents(master, duplicate)
            .and_then(|()| self.admit_branches(master, name, duplicate))
            .and_then(|()| match duplicate.names.iter().find(|name| name.excluded) {
                Some(name) => Err((Reason::Excluded, format!("{:?}", name.path))),
                None => Ok(()),
            })
            .and_then(|()| match duplicate.immutable {
                true => Err((Reason::Immutable, String::new())),
                false => super::same_encryption(&master.nature.borders, &duplicate.nature.borders),
            })
            .and_then(|()| same_storage(master.nature.stored, duplicate.nature.stored));
        if let Err(reason) = admitted {
            self.refuse(reason, &asked, Some(&name.path), bytes);
            return;
        }
        let names = duplicate.names.iter().map(|name| OpName {
            path: name.path.clone(),
            from: name.branch,
            to: name.branch,
            found: Found::Duplicate,
        });
        let op = Op::planned(
            OpKind::Local,
            OpFile { at: place(name), id: master.id },
            OpFile { at: place(own), id: duplicate.id },
            duplicate.size,
            bytes,
            names.collect(),
        );
        self.plan.ops.push(Op { shared, task: Task::Share, ..op });
    }
}

/// Checks that two files are to have blocks of one kind, as far as that is known.
pub(crate) fn same_storage(
    master: Option<u32>,
    duplicate: Option<u32>,
) -> Result<(), (Reason, String)> {
    if master.zip(duplicate).is_some_and(|(one, other)| one != other) {
        let why = "one of both is compressed or stored without copies on write (chattr +c, +C)";
        return Err((Reason::NoReflink, why.to_owned()));
    }
    Ok(())
}
