//! Which copy stays: primary first, then the policy, then a total order, so that equal input makes an equal plan.

use std::cmp::Reverse;

use crate::plan::group::Member;
use crate::plan::{BranchFacts, Rules};
use crate::pool::BranchMode;

/// Which copy stays where no primary decides (`--dedup`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The copy changed last.
    Newest,
    /// The copy changed first.
    Oldest,
    /// The copy on the branch with the most free space.
    MostFreeSpace,
    /// The copy on the branch with the least free space.
    LeastFreeSpace,
    /// The copy with the most hard links.
    #[default]
    MostLinks,
    /// The copy on the first branch, which mergerfs shows by default.
    Mergerfs,
}

/// Returns the index of the master in `members`; `None` if a primary is needed and no primary has a member.
#[must_use]
pub fn choose(members: &[Member], branches: &[BranchFacts], rules: &Rules) -> Option<usize> {
    choose_among(members, 0..members.len(), branches, rules)
}

/// As [`choose`], but only among the members at `candidates`.
pub(crate) fn choose_among(
    members: &[Member],
    candidates: impl Iterator<Item = usize>,
    branches: &[BranchFacts],
    rules: &Rules,
) -> Option<usize> {
    let candidates = candidates
        .map(|at| (at, &members[at]))
        .filter(|(_, m)| m.names.iter().any(|n| !n.excluded));
    let ranked = candidates.map(|(at, member)| (primary_rank(member, rules), at, member));
    let best = ranked.min_by_key(|(rank, at, member)| {
        // A file that was named is the file to replace.
        let named = rules.only.is_some() && rules.wants(member);
        (
            *rank,
            named,
            !usable(member, branches),
            policy_key(member, branches, rules),
            order(member),
            *at,
        )
    })?;
    let by_primary = best.0 < rules.primaries.len();
    (by_primary || rules.any_master || rules.primaries.is_empty()).then_some(best.1)
}

/// Returns the index of the first primary that a name of the member lies under; if there is no such primary, the number
/// of primaries.
fn primary_rank(member: &Member, rules: &Rules) -> usize {
    let under = |primary| member.names.iter().any(|n| !n.excluded && n.path.is_below(primary));
    rules.primaries.iter().position(under).unwrap_or(rules.primaries.len())
}

/// Returns the name a master is known by: under the best primary if a name lies there, else the first name.
#[must_use]
pub fn name_of<'m>(member: &'m Member, rules: &Rules) -> Option<&'m crate::plan::group::Name> {
    let named = || member.names.iter().filter(|n| !n.excluded);
    let primary = rules.primaries.iter().find_map(|p| named().find(|n| n.path.is_below(p)));
    primary.or_else(|| named().next())
}

/// Whether the member can take names at all; if not, another member is preferred.
pub(crate) fn usable(member: &Member, branches: &[BranchFacts]) -> bool {
    !member.immutable
        && !member.nature.hollow
        && member.names.iter().any(|n| {
            let branch = &branches[n.branch.index()];
            let sound = branch.identity && !branch.overlay && !branch.nested;
            branch.mode != BranchMode::Ro && !branch.read_only && sound
        })
}

/// The member with the lower key wins.
fn policy_key(member: &Member, branches: &[BranchFacts], rules: &Rules) -> i128 {
    let free = || {
        member.names.iter().map(|n| i128::from(branches[n.branch.index()].free)).max().unwrap_or(0)
    };
    match rules.policy {
        Policy::Newest => -member.mtime.as_nanos(),
        Policy::Oldest => member.mtime.as_nanos(),
        Policy::MostFreeSpace => -free(),
        Policy::LeastFreeSpace => free(),
        Policy::MostLinks => -i128::from(member.nlink),
        Policy::Mergerfs => i128::from(first_branch(member)),
    }
}

/// Prefers the copy with fewer blocks: holes are read as the same bytes, and a full copy in their place would take room.
/// Then prefers a master on an earlier branch: a pool open then finds the replacement before it could miss the duplicate.
/// Then prefers more links, so that fewer names move; then the order of paths decides.
fn order(member: &Member) -> (u64, u16, Reverse<u64>, Vec<u8>) {
    let path = member.names.first().map(|n| n.path.as_bytes().to_vec());
    // More than the size is what the filesystem needs for itself.
    let used = (member.blocks * 512).min(member.size);
    (used, first_branch(member), Reverse(member.nlink), path.unwrap_or_default())
}

fn first_branch(member: &Member) -> u16 {
    member.names.first().map_or(u16::MAX, |n| n.branch.0)
}
