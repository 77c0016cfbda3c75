//! `--shadows merge`: a hidden copy of a path is collapsed into the copy that the pool shows.
//!
//! The copy on the first branch that has a path is the copy that the pool shows. It replaces each other copy that is
//! claimed equal. Nothing is published at the path, only the hidden copy goes. So the pool shows the same before,
//! meanwhile and after, whatever happens to the copies in between. The file then has one copy, and is planned like any
//! other file.

use std::collections::HashSet;

use crate::fs::InodeId;
use crate::plan::group::{Member, Name};
use crate::pool::BranchIdx;

/// How paths on several branches are handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shadows {
    /// The paths are left alone: the user may want two copies.
    #[default]
    Keep,
    /// Equal copies are collapsed into the copy that is shown.
    Merge,
}

/// A hidden copy and the shown copy it can be collapsed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// The index of the hidden copy.
    pub(super) hidden: usize,
    /// The index of the copy that is shown at every path where the hidden copy is hidden.
    pub(super) shown: usize,
    /// The branch the shown copy is shown on.
    pub(super) branch: BranchIdx,
}

/// Returns the next hidden member to collapse, with the member that hides it everywhere it is hidden; skips the members
/// in `kept`. If a hidden member itself hides another member, the other member comes first.
///
/// A member has no pair if another copy at one of its paths is no member (that copy has other contents), or if the
/// member itself is shown at a path that several branches have.
pub(super) fn next_pair(members: &[Member], kept: &HashSet<InodeId>) -> Option<Pair> {
    let hidden = |at: &usize| {
        let member = &members[*at];
        !kept.contains(&member.id) && member.names.iter().any(|n| !n.shadows.is_empty())
    };
    let pairs: Vec<Pair> =
        (0..members.len()).filter(hidden).filter_map(|at| pair(members, at)).collect();
    let hides = |at: usize| pairs.iter().any(|other| other.shown == at);
    pairs.iter().find(|pair| !hides(pair.hidden)).copied()
}

fn pair(members: &[Member], at: usize) -> Option<Pair> {
    let shadowed = members[at].names.iter().filter(|n| !n.shadows.is_empty());
    let mut found: Option<Pair> = None;
    for name in shadowed {
        let first = *name.shadows.iter().min()?;
        if first > name.branch {
            return None;
        }
        // Looks up every copy, not only the shown copy: a copy that is no member has other contents.
        let mut owners = name.shadows.iter().map(|b| owner(members, *b, name));
        owners.by_ref().all(|owner| owner.is_some()).then_some(())?;
        let shown = owner(members, first, name)?;
        let this = Pair { hidden: at, shown, branch: first };
        if shown == at || found.is_some_and(|other| other != this) {
            return None;
        }
        found = Some(this);
    }
    found
}

fn owner(members: &[Member], branch: BranchIdx, name: &Name) -> Option<usize> {
    let there = |n: &Name| n.branch == branch && n.path == name.path;
    members.iter().position(|m| m.names.iter().any(there))
}

/// Returns the members once the hidden member of `pair` is gone: the shown member has its names.
pub(super) fn collapsed(mut members: Vec<Member>, pair: Pair) -> Vec<Member> {
    let gone = members[pair.hidden].clone();
    for name in &gone.names {
        for member in &mut members {
            for other in member.names.iter_mut().filter(|n| n.path == name.path) {
                other.shadows.retain(|branch| *branch != name.branch);
            }
        }
        let shown = &mut members[pair.shown];
        let before = shown.names.len();
        shown.add_name(Name { branch: pair.branch, shadows: Vec::new(), ..name.clone() });
        shown.nlink += (shown.names.len() - before) as u64;
    }
    members
}
