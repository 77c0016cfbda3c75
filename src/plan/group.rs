//! Groups: files claimed to have equal content, each group as the inodes behind its files. Plain values, no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::fs::{InodeId, Metadata, Nature, Stat, Timestamp};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// One name of an inode on one branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The branch.
    pub branch: BranchIdx,
    /// The path on it, and in the pool.
    pub path: RelPath,
    /// Whether the filters leave the name out.
    pub excluded: bool,
    /// Whether the list has the name; other names were found on the branches.
    pub listed: bool,
    /// The other branches that have the relpath too.
    pub shadows: Vec<BranchIdx>,
    /// The files that these branches have at the relpath are known to differ.
    pub differs: bool,
}

/// One inode of a group, with its known names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The inode.
    pub id: InodeId,
    /// The mount its branch lies on.
    pub mount: u64,
    /// Size in bytes.
    pub size: u64,
    /// `st_blocks`, in units of 512 bytes.
    pub blocks: u64,
    /// How many names the inode has.
    pub nlink: u64,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// `chattr +i` or `+a`.
    pub immutable: bool,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// What keeps it from being linked although its bytes are equal.
    pub nature: Nature,
    /// Owner, mode, ACL, extended attributes; members with the same metadata share one value.
    pub metadata: Arc<Metadata>,
    /// The known names, each once, in order.
    pub names: Vec<Name>,
}

impl Member {
    /// Makes a member from the `statx` result, without names.
    #[must_use]
    pub fn new(stat: &Stat, nature: Nature, metadata: impl Into<Arc<Metadata>>) -> Self {
        Self {
            id: stat.id,
            mount: stat.mount,
            size: stat.size,
            blocks: stat.blocks,
            nlink: stat.nlink,
            mtime: stat.mtime,
            immutable: stat.immutable,
            ctime: stat.ctime,
            nature,
            metadata: metadata.into(),
            names: Vec::new(),
        }
    }

    /// Adds a name, once; a listed name stays listed.
    pub fn add_name(&mut self, name: Name) {
        let same = |n: &&mut Name| (n.branch, &n.path) == (name.branch, &name.path);
        if let Some(known) = self.names.iter_mut().find(same) {
            known.listed |= name.listed;
            known.differs |= name.differs;
            return;
        }
        let at = self.names.partition_point(|n| (n.branch, &n.path) < (name.branch, &name.path));
        self.names.insert(at, name);
    }

    /// Whether both files have the same blocks: then one of them costs no room.
    #[must_use]
    pub fn shares_all_with(&self, other: &Self) -> bool {
        let layout = self.nature.sharing.layout;
        layout.is_some()
            && (self.id.dev, self.size, layout)
                == (other.id.dev, other.size, other.nature.sharing.layout)
    }

    /// Whether every name of the inode is known.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.names.len() as u64 == self.nlink
    }
}

/// Inodes claimed to have equal content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The inodes, each once, in the order of the list.
    pub members: Vec<Member>,
}

/// Unites groups that share an inode, so that no inode is master and duplicate in one run; keeps the list's order.
#[must_use]
pub fn unite(groups: Vec<Group>) -> Vec<Group> {
    let mut home: HashMap<InodeId, usize> = HashMap::new();
    let mut united: Vec<Option<Group>> = Vec::with_capacity(groups.len());
    for group in groups {
        let mut into: Vec<usize> =
            group.members.iter().filter_map(|m| home.get(&m.id).copied()).collect();
        into.sort_unstable();
        into.dedup();
        let at = into.first().copied().unwrap_or(united.len());
        if at == united.len() {
            united.push(Some(Group::default()));
        }
        let mut parts: Vec<Group> =
            into.iter().skip(1).filter_map(|other| united[*other].take()).collect();
        parts.push(group);
        let target = united[at].get_or_insert_default();
        for member in parts.into_iter().flat_map(|part| part.members) {
            home.insert(member.id, at);
            merge_member(target, member);
        }
    }
    united.into_iter().flatten().collect()
}

/// Parts `groups`, whose paths were looked up again, where files of several groups `before` came together: a path of one group
/// may lead to a file of another by now. A file that was in no group before stays where all others are of one.
#[must_use]
pub fn part(groups: Vec<Group>, before: &HashMap<InodeId, usize>) -> Vec<Group> {
    let mut parts = Vec::with_capacity(groups.len());
    for group in groups {
        let known = |member: &Member| before.get(&member.id).copied();
        let numbers: BTreeSet<usize> = group.members.iter().filter_map(known).collect();
        if numbers.len() < 2 {
            parts.push(group);
            continue;
        }
        let mut of: BTreeMap<usize, Group> = BTreeMap::new();
        for member in group.members {
            if let Some(number) = known(&member) {
                of.entry(number).or_default().members.push(member);
            }
        }
        parts.extend(of.into_values());
    }
    parts
}

fn merge_member(group: &mut Group, member: Member) {
    match group.members.iter_mut().find(|m| m.id == member.id) {
        Some(known) => member.names.into_iter().for_each(|name| known.add_name(name)),
        None => group.members.push(member),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(ino: u64, path: &str) -> Member {
        let name = Name {
            branch: BranchIdx(0),
            path: RelPath::new(path).unwrap(),
            excluded: false,
            listed: true,
            shadows: vec![],
            differs: false,
        };
        Member {
            id: InodeId { dev: 1, ino },
            mount: 1,
            size: 1,
            blocks: 8,
            nlink: 1,
            mtime: Timestamp::default(),
            immutable: false,
            ctime: Timestamp::default(),
            nature: Nature::default(),
            metadata: Arc::default(),
            names: vec![name],
        }
    }

    fn group(members: &[(u64, &str)]) -> Group {
        Group { members: members.iter().map(|(ino, path)| member(*ino, path)).collect() }
    }

    fn inodes(groups: &[Group]) -> Vec<Vec<u64>> {
        groups.iter().map(|g| g.members.iter().map(|m| m.id.ino).collect()).collect()
    }

    #[test]
    fn files_of_two_groups_that_came_together_are_parted() {
        let before = [(1, 0), (2, 0), (3, 1), (4, 1)];
        let before = before.map(|(ino, group)| (InodeId { dev: 1, ino }, group));
        let again = vec![
            group(&[(1, "a"), (4, "b"), (2, "c"), (3, "d"), (9, "new")]),
            group(&[(5, "e"), (1, "f")]),
        ];
        let parts = part(again, &HashMap::from(before));
        assert_eq!(inodes(&parts), [vec![1, 2], vec![4, 3], vec![5, 1]]);
    }

    #[test]
    fn groups_sharing_an_inode_become_one() {
        let united = unite(vec![
            group(&[(1, "a"), (2, "b")]),
            group(&[(3, "c"), (4, "d")]),
            group(&[(5, "e"), (6, "f")]),
            group(&[(4, "d2"), (1, "a")]),
        ]);
        assert_eq!(inodes(&united), [vec![1, 2, 3, 4], vec![5, 6]]);
        let four = united[0].members.iter().find(|m| m.id.ino == 4).unwrap();
        assert_eq!(four.names.len(), 2, "names of one inode are collected");
        assert_eq!(united[0].members[0].names.len(), 1, "the same name is one name");
    }

    #[test]
    fn a_chain_of_shared_inodes_ends_in_one_group_without_duplicates() {
        let united = unite(vec![
            group(&[(1, "a"), (2, "b")]),
            group(&[(3, "c"), (4, "d")]),
            group(&[(2, "b"), (3, "c")]),
            group(&[(4, "d"), (7, "g")]),
        ]);
        assert_eq!(inodes(&united), [vec![1, 2, 3, 4, 7]]);
    }
}
