//! The plan: groups in, ops and refusals out. Pure: no I/O, no clock; equal input makes an equal plan.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use crate::fs::{Borders, InodeId, Place, Timestamp};
use crate::plan::group::{Group, Member, Name};
use crate::plan::master::Policy;
use crate::plan::metadata::IgnoreMetadata;
use crate::plan::refusal::Reason;
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, BranchMode};

pub mod group;
mod half_done;
pub mod hidden_name;
pub mod master;
pub mod metadata;
mod only;
pub mod op;
mod op_id;
pub mod refusal;
mod shadows;
mod sharing;
#[cfg(test)]
mod tests;

pub use half_done::HalfDone;
pub use only::{Only, Reach};
pub use op::{Cloning, DirIntent, Found, Op, OpFile, OpKind, OpName, Source, Task, Undoing};
pub use op_id::OpId;
pub use shadows::Shadows;
pub(crate) use sharing::same_storage;

/// The facts about a branch that the plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchFacts {
    /// Its root, as people know it.
    pub root: PathBuf,
    /// The changes that mergerfs lets happen on the branch.
    pub mode: BranchMode,
    /// Its filesystem or mount is read-only.
    pub read_only: bool,
    /// Its filesystem can be recognized after a reboot.
    pub identity: bool,
    /// It is an overlay: a file of a lower layer becomes another inode as soon as it is changed.
    pub overlay: bool,
    /// It lies within another branch, or another branch lies within it.
    pub nested: bool,
    /// `st_dev` of its root.
    pub dev: u64,
    /// The mount it lies on. Mount and device together are the hard-link boundary.
    pub mount: u64,
    /// Free bytes.
    pub free: u64,
    /// How many names an inode can have there.
    pub max_links: u64,
    /// Files there can be made to share blocks.
    pub reflinks: bool,
}

/// What a duplicate becomes (`--link`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Link {
    /// A name of the master.
    #[default]
    Hard,
    /// A file of its own that shares its blocks with the master, or with another copy on the same disk.
    Reflink,
    /// A file of its own where the master's disk can share blocks, otherwise a name of the master.
    Auto,
}

/// The user's wishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where masters live; the first primary that has a member wins.
    pub primaries: Vec<RelPath>,
    /// Whether to plan groups without a member under a primary too.
    pub any_master: bool,
    /// Only inodes whose names all lie below one of these are replaced; without any, every inode.
    pub only_below: Vec<RelPath>,
    /// Only inodes whose names are all in it are replaced; without it, every inode.
    pub only: Option<Only>,
    /// Which copy stays where no primary decides.
    pub policy: Policy,
    /// Which differences in metadata do not matter.
    pub ignore: IgnoreMetadata,
    /// What a duplicate becomes.
    pub link: Link,
    /// How paths on several branches are handled.
    pub shadows: Shadows,
    /// Hidden copies that changed after this time are not merged: a mover may be about to delete the other copy.
    pub settled: Option<Timestamp>,
}

impl Rules {
    /// Whether a name of this path may be replaced.
    #[must_use]
    pub fn may_replace(&self, path: &RelPath) -> bool {
        self.only_below.is_empty() || path.is_below_any(&self.only_below)
    }

    /// Whether the run is about `member`: a name of it was named, if any file was.
    #[must_use]
    pub fn is_about(&self, member: &Member) -> bool {
        self.only.as_ref().is_none_or(|only| only.has(member))
    }

    /// Whether all names of `member` were named, if any file was.
    #[must_use]
    pub fn wants(&self, member: &Member) -> bool {
        self.only.as_ref().is_none_or(|only| only.has_all(member))
    }
}

/// An op not planned, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The file: a relpath, or the bytes of the list if they are no relpath.
    pub path: Vec<u8>,
    /// The copy that would have stayed.
    pub master: Option<RelPath>,
    /// The details.
    pub detail: String,
    /// The bytes that stay in use because of it; 0 if the number is unknown.
    pub bytes: u64,
}

impl Refusal {
    /// A refusal that is about `path` alone: no kept copy was chosen, and it is not known what it keeps in use.
    #[must_use]
    pub fn of_path(reason: Reason, path: impl Into<Vec<u8>>, detail: impl Into<String>) -> Self {
        Self { reason, path: path.into(), master: None, detail: detail.into(), bytes: 0 }
    }

    /// A refusal of an op that was planned.
    #[must_use]
    pub fn of_op(op: &Op, reason: Reason, detail: String) -> Self {
        let (path, master) = (op.duplicate.path.as_bytes().to_vec(), Some(op.master.path.clone()));
        Self { reason, path, master, detail, bytes: op.bytes }
    }
}

/// One group as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGroup {
    /// Size of one copy in bytes.
    pub size: u64,
    /// A name of the copy that stays; `None` where the group is left alone.
    pub master: Option<Place>,
    /// Every name of every copy.
    pub paths: Vec<Place>,
    /// Its ops, as a range of [`Plan::ops`].
    pub ops: std::ops::Range<usize>,
}

/// Everything to be done, and everything refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The groups of at least two names, in the order of the list.
    pub groups: Vec<PlannedGroup>,
    /// The ops, in that order.
    pub ops: Vec<Op>,
    /// The ops that are not planned.
    pub refusals: Vec<Refusal>,
    /// Names that already share their master's inode.
    pub already_linked: u64,
    /// Files of their own that already share all blocks with their master.
    pub already_shared: u64,
    /// Groups without a member under a primary.
    pub no_primary: u64,
    /// Files that a scan left out.
    pub left_out: LeftOut,
}

/// Files that a scan left out, other than by a refusal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Not read to the end: no file that may be equal lies under a primary.
    pub by_primary: u64,
    /// Not read to the end: no file that may be equal lies below a directory whose files are replaced.
    pub by_directory: u64,
    /// They changed during the scan.
    pub changed: u64,
    /// Further names of files of which no other file is a copy: earlier links.
    pub linked: u64,
    /// They lie in recycle bins.
    pub in_bins: u64,
    /// Number of branches that were not scanned, since their mode is RO.
    pub read_only_branches: u64,
}

impl Plan {
    /// Returns the bytes that all ops together free.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ops.iter().map(|op| op.bytes).sum()
    }

    /// Leaves out the ops that are refused after all. The keys of `refused` are indexes in [`Self::ops`].
    pub fn leave_out(&mut self, refused: BTreeMap<usize, Refusal>) {
        let gone: Vec<usize> = refused.keys().copied().collect();
        let before = |at: usize| at - gone.partition_point(|gone| *gone < at);
        for group in &mut self.groups {
            group.ops = before(group.ops.start)..before(group.ops.end);
        }
        let mut at = 0..;
        self.ops.retain(|_| at.next().is_some_and(|at| gone.binary_search(&at).is_err()));
        self.refusals.extend(refused.into_values());
    }

    /// Keeps the ops that free the most, up to `max_ops` ops and `max_bytes` bytes, in the order of the plan. Refuses an op
    /// that would exceed a limit, and may keep a smaller op all the same. Must be the last step: an op that was refused for
    /// another reason does not count.
    pub fn limit(&mut self, max_ops: Option<u64>, max_bytes: Option<u64>) {
        let (mut ops, mut bytes) = (0, 0);
        let mut passes = |op: &Op| {
            let more = max_ops.is_some_and(|max| ops >= max)
                || max_bytes.is_some_and(|max| bytes + op.bytes > max);
            if !more {
                ops += 1;
                bytes += op.bytes;
            }
            more
        };
        let mut by_size: Vec<_> = self.ops.iter().enumerate().collect();
        by_size.sort_by_key(|(_, op)| std::cmp::Reverse(op.bytes));
        let beyond = by_size.into_iter().filter(|(_, op)| passes(op));
        let refused = beyond.map(|(at, op)| (at, Refusal::of_op(op, Reason::Limit, String::new())));
        let refused = refused.collect();
        self.leave_out(refused);
    }

    /// Returns the duplicates whose names are not all known: they must be looked for before planning again.
    pub fn incomplete<'g>(&self, groups: &'g [Group]) -> Vec<&'g Member> {
        if !self.refusals.iter().any(|r| r.reason == Reason::UnknownLinks) {
            return Vec::new();
        }
        groups.iter().flat_map(|g| &g.members).filter(|m| !m.complete()).collect()
    }
}

/// Makes the plan. Frees owned groups one by one; borrowed groups stay.
#[must_use]
pub fn plan<G: Borrow<Group>>(
    groups: impl IntoIterator<Item = G>,
    branches: &[BranchFacts],
    rules: &Rules,
) -> Plan {
    let mut planner = Planner { branches, rules, plan: Plan::default(), links: HashMap::new() };
    for group in groups {
        planner.group(group.borrow());
    }
    planner.plan
}

struct Planner<'p> {
    branches: &'p [BranchFacts],
    rules: &'p Rules,
    plan: Plan,
    /// Names planned for the masters of a group, above the names they have: no inode is in two groups.
    links: HashMap<InodeId, u64>,
}

impl Planner<'_> {
    fn group(&mut self, group: &Group) {
        let members = &group.members;
        self.links.clear();
        let first_op = self.plan.ops.len();
        let listed = |m: &Member| m.names.iter().filter(|n| n.listed && !n.excluded).count() as u64;
        self.plan.already_linked +=
            members.iter().map(|m| listed(m).saturating_sub(1)).sum::<u64>();
        let names = || members.iter().flat_map(|m| &m.names);
        if names().nth(1).is_none() {
            return;
        }
        let master = if master::choose(members, self.branches, self.rules).is_none() {
            self.no_primary(members);
            None
        } else if self.rules.shadows == Shadows::Merge {
            let members = self.merge_shadows(members.to_vec());
            self.replace_all(&members)
        } else {
            self.replace_all(members)
        };
        self.kept(members);
        self.plan.groups.push(PlannedGroup {
            size: members.first().map_or(0, |m| m.size),
            master,
            paths: names().map(place).collect(),
            ops: first_op..self.plan.ops.len(),
        });
    }

    /// Refuses a file that was named and is the copy that stays, if copies of it were not named.
    fn kept(&mut self, members: &[Member]) {
        let (Some(only), Some(first)) =
            (&self.rules.only, master::choose(members, self.branches, self.rules))
        else {
            return;
        };
        let others = members.iter().filter(|member| !only.has(member));
        let bytes = others.clone().map(|other| other.blocks * 512).sum();
        if let (Some(path), Some(other)) = (only.name_of(&members[first]), others.clone().next())
            && let Some(copy) = other.names.first()
        {
            let more = match others.count() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let detail = format!("its copy {:?}{more} was not named", copy.path);
            self.refuse((Reason::Kept, detail), path, None, bytes);
        }
    }

    /// Returns the name of `member` that the user asked about, else its first name.
    fn asked_name(&self, member: &Member) -> Option<RelPath> {
        let named = self.rules.only.as_ref().and_then(|only| only.name_of(member));
        let mut names = member.names.iter().map(|name| &name.path);
        let below = || names.clone().find(|path| self.rules.may_replace(path));
        named.or_else(below).or_else(|| names.next()).cloned()
    }

    fn no_primary(&mut self, members: &[Member]) {
        let asked = members.iter().find(|m| self.rules.is_about(m)).unwrap_or(&members[0]);
        let others = members[1..].iter();
        if members.len() > 1 && others.clone().all(|other| members[0].shares_all_with(other)) {
            // Nothing is to be gained, whichever copy stays.
            self.plan.already_shared += others.len() as u64;
            return;
        }
        if let (true, Some(path)) = (members.len() > 1, self.asked_name(asked)) {
            self.plan.no_primary += 1;
            // Any one of the copies could stay.
            let blocks = || members.iter().map(|member| member.blocks);
            let bytes = 512 * (blocks().sum::<u64>() - blocks().max().unwrap_or(0));
            self.refuse((Reason::NoPrimary, String::new()), &path, None, bytes);
        }
    }

    /// Collapses hidden copies into the shown copies; returns the members that are left.
    fn merge_shadows(&mut self, mut members: Vec<Member>) -> Vec<Member> {
        let mut kept = HashSet::new();
        while let Some(pair) = shadows::next_pair(&members, &kept) {
            let (shown, hidden) = (&members[pair.shown], &members[pair.hidden]);
            kept.insert(hidden.id);
            if !self.rules.wants(hidden) {
                continue;
            }
            if self.rules.settled.is_some_and(|settled| hidden.ctime > settled) {
                if let Some(own) = hidden.names.iter().find(|n| !n.shadows.is_empty()) {
                    let kept = shown.names.first().map(|n| &n.path);
                    let reason = (Reason::FreshShadow, String::new());
                    self.refuse(reason, &own.path, kept, 512 * hidden.blocks);
                }
                continue;
            }
            let at = |n: &&Name| n.branch == pair.branch;
            let shares = |n: &&Name| hidden.names.iter().any(|h| h.path == n.path);
            let Some(name) = shown.names.iter().filter(at).find(shares) else {
                continue;
            };
            if self.collapse(shown, name, hidden) {
                members = shadows::collapsed(members, pair);
            }
        }
        // Each of these members was handled: it goes, or it was refused.
        members.retain(|member| !kept.contains(&member.id));
        members
    }

    /// Plans the op that removes a hidden copy; returns whether it did.
    fn collapse(&mut self, shown: &Member, name: &Name, hidden: &Member) -> bool {
        let found = |n: &Name| {
            let there = |s: &Name| s.branch == name.branch && s.path == n.path;
            if shown.names.iter().any(there) { Found::Master } else { Found::Absent }
        };
        // Across branches, also of one device: the name on the hidden branch is to go.
        let names = hidden.names.iter().map(|n| OpName {
            path: n.path.clone(),
            from: n.branch,
            to: name.branch,
            found: found(n),
        });
        let names = names.collect();
        // Its paths are on several branches: the op ends exactly that.
        let mut alone = hidden.clone();
        alone.names.iter_mut().for_each(|n| n.shadows.clear());
        self.admitted(shown, name, &alone, (OpKind::Cross, Task::Replace), names)
    }

    /// Plans every member but the master for what the rules make of it; returns the master's name.
    fn replace_all(&mut self, members: &[Member]) -> Option<Place> {
        let first = master::choose(members, self.branches, self.rules)?;
        let first_op = self.plan.ops.len();
        match self.rules.link {
            Link::Hard => self.link_all(members, first),
            Link::Reflink => self.share_all(members, first),
            Link::Auto => {
                let near = self.share_near(members, first);
                self.link_far(members, first, &near);
            }
        }
        self.mark_differing(members, first, first_op);
        master::name_of(&members[first], self.rules).map(place)
    }

    /// Plans every member but the one at `first`, the master, for replacement by a link.
    ///
    /// Members whose metadata keeps them apart from the master are replaced by one of their own, and that one is
    /// refused.
    fn link_all(&mut self, members: &[Member], first: usize) {
        let classes = self.rules.ignore.classes(members.iter().map(|m| &*m.metadata));
        let count = classes.iter().max().map_or(0, |last| last + 1);
        if count < 2 {
            self.replace_alike(members, first);
        } else {
            let of = |class| {
                let members = members.iter().zip(&classes).filter(move |(_, of)| **of == class);
                members.map(|(member, _)| member.clone()).collect::<Vec<_>>()
            };
            let alike = of(classes[first]);
            if let Some(first) = master::choose(&alike, self.branches, self.rules) {
                self.replace_alike(&alike, first);
            }
            for class in (0..count).filter(|class| *class != classes[first]) {
                let alike = of(class);
                let own = self.master_beside(&members[first], &alike);
                if let Some(own) = own {
                    self.replace_alike(&alike, own);
                }
                for (at, member) in alike.iter().enumerate() {
                    if own.is_none_or(|own| own == at) {
                        self.member(&members[first], member);
                    }
                }
            }
        }
    }

    /// Returns which of `alike` replaces the others, where metadata keep them apart from `master`: one that shares its blocks
    /// with `master`, because that one costs no room.
    fn master_beside(&self, master: &Member, alike: &[Member]) -> Option<usize> {
        let shares = (0..alike.len()).filter(|at| master.shares_all_with(&alike[*at]));
        master::choose_among(alike, shares, self.branches, self.rules)
            .or_else(|| master::choose(alike, self.branches, self.rules))
    }

    /// Plans every member but the one at `first`, the master, for replacement.
    ///
    /// If the master can take no more names, another member on its disk becomes master beside it.
    fn replace_alike(&mut self, members: &[Member], first: usize) {
        let mut masters = vec![first];
        let mut waiting: VecDeque<usize> = (0..members.len()).filter(|at| *at != first).collect();
        while let Some(at) = waiting.pop_front() {
            let duplicate = &members[at];
            if members[first].shares_all_with(duplicate) {
                self.member(&members[first], duplicate);
                continue;
            }
            let mut roomy = masters.iter().filter(|m| self.has_room(&members[**m], duplicate));
            match roomy.next().copied() {
                Some(master) => self.member(&members[master], duplicate),
                None => {
                    waiting.push_front(at);
                    match self.another_master(members, &waiting, first) {
                        Some(next) => {
                            waiting.retain(|other| *other != next);
                            masters.push(next);
                        }
                        None => {
                            waiting.pop_front();
                            self.member(&members[first], duplicate);
                        }
                    }
                }
            }
        }
    }

    /// Returns which of the `waiting` members becomes master for the others once `first` can take no more names.
    /// Prefers a member on the same disk, where it spares the most. `None` if no other member waits.
    fn another_master(
        &self,
        members: &[Member],
        waiting: &VecDeque<usize>,
        first: usize,
    ) -> Option<usize> {
        let boundary = |at: &usize| (members[*at].id.dev, members[*at].mount);
        let fit = |at: &usize| {
            let mut others = waiting.iter().filter(|other| *other != at);
            master::usable(&members[*at], self.branches)
                && others.any(|other| self.has_room(&members[*at], &members[*other]))
        };
        let near = |at: &usize| fit(at) && boundary(at) == boundary(&first);
        let mut any = self.rules.clone();
        any.any_master = true;
        master::choose_among(members, waiting.iter().copied().filter(near), self.branches, &any)
            .or_else(|| {
                let all = waiting.iter().copied().filter(fit);
                master::choose_among(members, all, self.branches, self.rules)
            })
    }

    /// Whether `master` can take the names of `duplicate` too.
    fn has_room(&self, master: &Member, duplicate: &Member) -> bool {
        let branch = master.names.first().map_or(0, |name| name.branch.index());
        self.wanted_links(master, duplicate.names.len()) <= self.branches[branch].max_links
    }

    /// Returns how many names `master` has in the end, and one more for the temp name that a local op holds beside the
    /// name.
    fn wanted_links(&self, master: &Member, more: usize) -> u64 {
        let planned = self.links.get(&master.id).copied().unwrap_or(0);
        master.nlink + planned + more as u64 + 1
    }

    fn member(&mut self, master: &Member, duplicate: &Member) {
        let Some(name) = master::name_of(master, self.rules) else {
            return;
        };
        if !self.rules.is_about(duplicate) {
            return;
        }
        if master.shares_all_with(duplicate) {
            self.plan.already_shared += 1;
            return;
        }
        if self.rules.link != Link::Hard && self.can_share(master, duplicate) {
            self.share(master, duplicate);
            return;
        }
        let local = (master.id.dev, master.mount) == (duplicate.id.dev, duplicate.mount);
        let (kind, found) =
            if local { (OpKind::Local, Found::Duplicate) } else { (OpKind::Cross, Found::Absent) };
        let names = duplicate.names.iter().map(|n| OpName {
            path: n.path.clone(),
            from: n.branch,
            to: if local { n.branch } else { name.branch },
            found,
        });
        let names = names.collect();
        // Only where the kept copy's disk can.
        let reflinks = self.rules.link != Link::Hard
            && kind == OpKind::Cross
            && self.branches[name.branch.index()].reflinks;
        let or_link = self.rules.link == Link::Auto;
        let alike = same_storage(master.nature.stored, duplicate.nature.stored).is_ok();
        let task = match reflinks && (alike || !or_link) {
            true => Task::Reflink(Cloning { or_link, ..Cloning::default() }),
            false => Task::Replace,
        };
        self.admitted(master, name, duplicate, (kind, task), names);
    }

    /// Plans an op if the rules admit it, else a refusal; returns whether it planned the op.
    fn admitted(
        &mut self,
        master: &Member,
        name: &Name,
        duplicate: &Member,
        (kind, task): (OpKind, Task),
        names: Vec<OpName>,
    ) -> bool {
        let (Some(own), Some(asked)) = (duplicate.names.first(), self.asked_name(duplicate)) else {
            return false;
        };
        let shared = duplicate.nature.sharing.bytes;
        let bytes = (duplicate.blocks * 512).saturating_sub(shared);
        let clone = matches!(task, Task::Reflink(_));
        if let Err((reason, detail)) = self.admit(master, name, duplicate, clone) {
            self.refuse((reason, detail), &asked, Some(&name.path), bytes);
            return false;
        }
        if !clone {
            *self.links.entry(master.id).or_default() += duplicate.names.len() as u64;
        }
        let op = Op::planned(
            kind,
            OpFile { at: place(name), id: master.id },
            OpFile { at: place(own), id: duplicate.id },
            duplicate.size,
            bytes,
            names,
        );
        self.plan.ops.push(Op { shared, task, ..op });
        true
    }

    /// Checks whether the rules let `duplicate` be replaced; fails with the first reason against it.
    fn admit(
        &self,
        master: &Member,
        name: &Name,
        duplicate: &Member,
        clone: bool,
    ) -> Result<(), (Reason, String)> {
        let fail = |reason, detail: String| Err((reason, detail));
        self.admit_contents(master, duplicate)?;
        // What is against the disk first: no advice about the file helps there.
        self.admit_branches(master, name, duplicate)?;
        if !duplicate.complete() {
            let detail = format!("{} of {} names found", duplicate.names.len(), duplicate.nlink);
            return fail(Reason::UnknownLinks, detail);
        }
        if let Some(n) = duplicate.names.iter().find(|n| n.excluded) {
            return fail(Reason::Excluded, format!("{:?}", n.path));
        }
        if let Some(n) = duplicate.names.iter().find(|n| !n.shadows.is_empty()) {
            let reason = if n.differs { Reason::ShadowsDiffer } else { Reason::Shadowed };
            let others = n.shadows.iter().copied();
            let mut disks: Vec<BranchIdx> = others.chain([n.branch]).collect();
            disks.sort();
            let disks: Vec<String> = disks.into_iter().map(|at| self.which(at)).collect();
            return fail(reason, format!("{:?} is on {}", n.path, disks.join(", ")));
        }
        if master.immutable || duplicate.immutable {
            return fail(Reason::Immutable, String::new());
        }
        if clone {
            // It has its own owner, mode, ACL, attributes and names.
            same_encryption(&master.nature.borders, &duplicate.nature.borders)?;
            return same_storage(master.nature.stored, duplicate.nature.stored);
        }
        same_borders(&master.nature.borders, &duplicate.nature.borders)?;
        let (kept, own) = (&master.metadata, &duplicate.metadata);
        if let Some(difference) = self.rules.ignore.difference(kept, own) {
            return Err(difference);
        }
        let wanted = self.wanted_links(master, duplicate.names.len());
        if wanted > self.branches[name.branch.index()].max_links {
            return fail(Reason::TooManyLinks, format!("{wanted} names"));
        }
        Ok(())
    }

    /// Checks what the bytes of both files and the wishes of the user say, whatever the duplicate is to become.
    fn admit_contents(&self, master: &Member, duplicate: &Member) -> Result<(), (Reason, String)> {
        let fail = |reason, detail: String| Err((reason, detail));
        if duplicate.size == 0 {
            return fail(Reason::Empty, String::new());
        }
        if master.size != duplicate.size {
            return fail(Reason::Differs, format!("{} and {} bytes", master.size, duplicate.size));
        }
        let named = |path: &RelPath| self.rules.only.as_ref().is_none_or(|only| only.holds(path));
        let may_go = |path: &RelPath| self.rules.may_replace(path) && named(path);
        if let Some(n) = duplicate.names.iter().find(|n| !may_go(&n.path)) {
            return fail(Reason::Outside, format!("{:?}", n.path));
        }
        if master.nature.hollow || duplicate.nature.hollow {
            return fail(Reason::Empty, format!("{} bytes, all hole", duplicate.size));
        }
        if master.nature.swap || duplicate.nature.swap {
            return fail(Reason::SwapFile, String::new());
        }
        Ok(())
    }

    fn admit_branches(
        &self,
        master: &Member,
        name: &Name,
        duplicate: &Member,
    ) -> Result<(), (Reason, String)> {
        let used = duplicate.names.iter().map(|n| (n.branch, duplicate.id.dev));
        for (branch, dev) in used.chain([(name.branch, master.id.dev)]) {
            let facts = &self.branches[branch.index()];
            let problem = match () {
                () if facts.mode == BranchMode::Ro => Reason::ReadOnly,
                () if facts.read_only => Reason::DiskReadOnly,
                () if facts.overlay => Reason::Overlay,
                () if !facts.identity => Reason::NoIdentity,
                () if facts.nested => Reason::NestedBranch,
                // A btrfs subvolume below the branch root: another device, with inode numbers of its own.
                () if facts.dev != dev => Reason::Obstructed,
                () => continue,
            };
            return Err((problem, self.which(branch)));
        }
        Ok(())
    }

    fn which(&self, branch: BranchIdx) -> String {
        self.branches[branch.index()].root.display().to_string()
    }

    fn refuse(
        &mut self,
        (reason, detail): (Reason, String),
        path: &RelPath,
        master: Option<&RelPath>,
        bytes: u64,
    ) {
        // A path on several branches has several members, and is one path to the user.
        let said = |r: &Refusal| r.reason == reason || reason == Reason::Shadowed;
        let same = |r: &Refusal| r.path == path.as_bytes() && said(r);
        if self.plan.refusals.last().is_some_and(same) {
            return;
        }
        self.plan.refusals.push(Refusal {
            reason,
            path: path.as_bytes().to_vec(),
            master: master.cloned(),
            detail,
            bytes,
        });
    }
}

/// Checks that two files lie within the same borders of their filesystems.
fn same_borders(master: &Borders, duplicate: &Borders) -> Result<(), (Reason, String)> {
    same_encryption(master, duplicate)?;
    if master.project != duplicate.project {
        let detail = format!("project {}; kept copy: {}", duplicate.project, master.project);
        return Err((Reason::ProjectDiffers, detail));
    }
    Ok(())
}

fn same_encryption(master: &Borders, duplicate: &Borders) -> Result<(), (Reason, String)> {
    if master.encryption != duplicate.encryption {
        let which = match (&master.encryption, &duplicate.encryption) {
            (Some(_), None) => "only the kept copy is encrypted",
            (None, _) => "the kept copy is not encrypted",
            (Some(_), Some(_)) => "each with its own key",
        };
        return Err((Reason::EncryptionDiffers, which.to_owned()));
    }
    Ok(())
}

fn place(name: &Name) -> Place {
    Place::new(name.branch, name.path.clone())
}
