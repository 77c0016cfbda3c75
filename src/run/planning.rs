//! From groups to a plan: link sets completed, directories looked up, limits applied.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Duplicates, RunError, Site, StatCache, Stop, Terms, unmatched};
use crate::execute::{Halt, PathAccess, missing_parents};
use crate::find::ground::Ground;
use crate::find::resolve::Resolved;
use crate::find::symlinks::PointedAt;
use crate::fs::{InodeId, Place};
use crate::plan::group::{Group, Member};
use crate::plan::refusal::{Reason, Weight};
use crate::plan::{Op, Plan, Refusal, plan};

/// How many groups are planned before free memory is returned again.
const GROUPS_BETWEEN_TRIMS: usize = 16_384;

/// Plans `resolved`; looks for the names of link sets that `resolved` lacks.
pub(super) fn plan_of<S: Site>(
    site: &S,
    terms: &Terms,
    duplicates: &mut impl Duplicates<S>,
    resolved: Resolved,
) -> Result<Plan, RunError> {
    let Resolved { mut groups, refusals, left_out, .. } = resolved;
    let listed = !duplicates.scanned();
    let mut looked_for = HashSet::new();
    if listed {
        looked_for = find_names_under_primaries(site, terms, duplicates, &mut groups)?;
        unmatched::primaries(site.pool(), &terms.rules.primaries, &groups);
        unmatched::globs(&terms.filter);
    }
    let mut plan = plan_groups(site, terms, duplicates, (groups, &looked_for))?;
    // A scan has said it of these paths, with the disks.
    let versions = refusals.iter().filter(|refusal| refusal.reason == Reason::ShadowsDiffer);
    let versions: HashSet<&[u8]> = versions.map(|refusal| refusal.path.as_slice()).collect();
    plan.refusals.retain(|refusal| {
        refusal.reason != Reason::ShadowsDiffer || !versions.contains(refusal.path.as_slice())
    });
    plan.refusals.splice(0..0, refusals);
    plan.left_out = left_out;
    plan.already_linked += left_out.linked;
    Ok(plan)
}

/// Completes the link sets if a primary may decide about one: an inode lies under a primary if any of its names does, and a
/// list may name another. (A scan has met all names under primaries.) Returns the inodes looked for: all that lack names, so
/// that the disks are walked once.
fn find_names_under_primaries<S: Site>(
    site: &S,
    terms: &Terms,
    duplicates: &mut impl Duplicates<S>,
    groups: &mut [Group],
) -> Result<HashSet<InodeId>, RunError> {
    let Some(first) = terms.rules.primaries.first() else {
        return Ok(HashSet::new());
    };
    let known = |m: &Member| m.names.iter().any(|n| !n.excluded && n.path.is_below(first));
    let members = groups.iter().filter(|g| g.members.len() > 1).flat_map(|g| &g.members);
    let open: Vec<_> = members.filter(|member| !member.complete()).collect();
    if open.iter().all(|member| known(member)) {
        return Ok(HashSet::new());
    }
    let wanted: HashSet<_> = open.iter().map(|member| member.id).collect();
    complete(site, terms, duplicates, groups, &wanted)?;
    Ok(wanted)
}

fn complete<S: Site>(
    site: &S,
    terms: &Terms,
    duplicates: &mut impl Duplicates<S>,
    groups: &mut [Group],
    wanted: &HashSet<InodeId>,
) -> Result<(), RunError> {
    for error in duplicates.complete(site, &terms.filter, groups, wanted)? {
        tracing::warn!(%error, cause = %error.source, "names there stay unknown");
    }
    Ok(())
}

fn plan_groups<S: Site>(
    site: &S,
    terms: &Terms,
    duplicates: &mut impl Duplicates<S>,
    (mut groups, looked_for): (Vec<Group>, &HashSet<InodeId>),
) -> Result<Plan, RunError> {
    let mut members = groups.iter().flat_map(|group| &group.members);
    if members.all(Member::complete) {
        return Ok(plan(given_away(groups), site.facts(), &terms.rules));
    }
    let first = plan(&groups, site.facts(), &terms.rules);
    let incomplete = first.incomplete(&groups).into_iter().map(|m| m.id);
    let wanted: HashSet<_> = incomplete.filter(|id| !looked_for.contains(id)).collect();
    if wanted.is_empty() {
        return Ok(first);
    }
    complete(site, terms, duplicates, &mut groups, &wanted)?;
    let second = plan(given_away(groups), site.facts(), &terms.rules);
    let unknown = second.refusals.iter();
    let unknown = unknown.filter(|r| r.reason == Reason::UnknownLinks).count();
    tracing::debug!(looked_for = wanted.len(), unknown, "link sets completed");
    Ok(second)
}

/// Hands out groups one by one; returns their free memory now and then, while the plan grows.
fn given_away(groups: Vec<Group>) -> impl Iterator<Item = Group> {
    groups.into_iter().zip(1..).map(|(group, at): (_, usize)| {
        if at.is_multiple_of(GROUPS_BETWEEN_TRIMS) {
            crate::sys::give_back_memory();
        }
        group
    })
}

/// Looks up which directories each op will make. Leaves out the ops that the rules stop there, then the ops beyond the
/// limits.
pub(super) fn look_ahead<S: Site>(
    site: &S,
    terms: &Terms,
    (duplicates, stop): (&mut impl Duplicates<S>, &Stop),
    plan: &mut Plan,
    looks: &mut StatCache,
) {
    let stopped = fill_directories(site, terms, plan, looks).into_iter();
    let by_rule = stopped.filter(|(_, halt)| halt.reason.weight() == Weight::Rule);
    let mut against: BTreeMap<usize, (Reason, String)> =
        by_rule.map(|(at, halt)| (at, (halt.reason, halt.detail))).collect();
    let pointed_at = match plan.ops.iter().all(Op::shares) {
        true => PointedAt::default(),
        false => duplicates.pointed_at(site, stop),
    };
    if let Some(error) = pointed_at.unreadable.first() {
        let directories = pointed_at.unreadable.len();
        tracing::warn!(%error, cause = %error.source, directories, "symlinks there stay unknown");
    }
    let mut ground = Ground::new(site.fs());
    for (at, op) in plan.ops.iter().enumerate() {
        // Sharing blocks changes no name and no directory.
        let Entry::Vacant(place) = against.entry(at) else { continue };
        if op.shares() {
            continue;
        }
        let why = pointed_at.against(op).or_else(|| match ground.against(op) {
            Ok(why) => why,
            Err(error) => {
                // The run meets the same error, and reports it.
                tracing::debug!(%error, cause = %error.source, "its directories are not known");
                None
            }
        });
        why.map(|why| place.insert(why));
    }
    let refusals = against.into_iter();
    let refusals =
        refusals.map(|(at, (reason, detail))| (at, Refusal::of_op(&plan.ops[at], reason, detail)));
    let refusals = refusals.collect();
    plan.leave_out(refusals);
    plan.limit(terms.max_ops, terms.max_bytes);
}

/// Looks up which directories each op will make; returns the ops that would stop there, by their index.
pub(super) fn fill_directories(
    site: &impl Site,
    terms: &Terms,
    plan: &mut Plan,
    looks: &mut StatCache,
) -> HashMap<usize, Halt> {
    let mut stopped = HashMap::new();
    let branches = u16::try_from(site.facts().len()).unwrap_or(u16::MAX);
    let stat = &mut |place: &Place| looks.stat(site.fs(), place);
    let mut ways = PathAccess::new(site.fs());
    let newest = site.pool().getattr_newest;
    for (at, op) in plan.ops.iter_mut().enumerate().filter(|(_, op)| !op.shares()) {
        let found = missing_parents(stat, branches, newest, op).and_then(|dirs| {
            let same = ways.same(op, &dirs, &terms.rules.ignore);
            op.dirs = dirs;
            same
        });
        if let Err(halt) = found {
            if halt.reason.weight() == Weight::Failure {
                tracing::warn!(path = ?op.duplicate.path, %halt, "would not be done");
            }
            stopped.insert(at, halt);
        }
    }
    stopped
}
