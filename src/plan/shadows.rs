//! `--shadows merge`: a hidden copy of a path is collapsed into the one the pool shows.
//!
//! The copy on the first branch that has a path is the one the pool shows. Each other copy that is claimed equal is
//! replaced by it: nothing is published at the path, only the hidden copy goes, so that the pool shows the same
//! before, meanwhile and after, whatever becomes of the copies in between. What is left has one copy, and is planned
//! like any other file.

use std::collections::HashSet;

use crate::fs::InodeId;
use crate::plan::group::{Member, Name};
use crate::pool::BranchIdx;

/// What is done about paths on several branches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shadows {
    /// They are left alone: somebody may want two copies.
    #[default]
    Keep,
    /// Equal ones are collapsed into the one that is shown.
    Merge,
}

/// A hidden copy and the shown one it can be collapsed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// The hidden one.
    pub(super) hidden: usize,
    /// The one that is shown at every path where it is hidden.
    pub(super) shown: usize,
    /// The branch it is shown on.
    pub(super) branch: BranchIdx,
}

/// The next hidden member to collapse, with the one that hides it everywhere it is hidden; those of `kept` are passed
/// over. One that hides another in turn comes after that.
///
/// None for a member where a copy is no member (its contents are others), or that is itself shown at such a path.
pub(super) fn next_pair(members: &[Member], kept: &HashSet<InodeId>) -> Option<Pair> {
    let hidden = |at: &usize| {
        let member = &members[*at];
        !kept.contains(&member.id) && member.names.iter().any(|n| !n.shadows.is_empty())
    };
    let pairs: Vec<Pair> = (0..members.len())
        .filter(hidden)
        .filter_map(|at| pair(members, at))
        .collect();
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
        // Every copy is looked up, not only the one that is shown: one that is no member has other contents.
        let mut owners = name.shadows.iter().map(|b| owner(members, *b, name));
        owners.by_ref().all(|owner| owner.is_some()).then_some(())?;
        let shown = owner(members, first, name)?;
        let this = Pair {
            hidden: at,
            shown,
            branch: first,
        };
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

/// The members once the hidden one of `pair` is gone: the shown one has its names.
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
        shown.add_name(Name {
            branch: pair.branch,
            shadows: Vec::new(),
            ..name.clone()
        });
        shown.nlink += (shown.names.len() - before) as u64;
    }
    members
}
