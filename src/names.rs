//! The hidden names this tool gives while it works: short, of fixed length, tied to one op of one journal.
//!
//! A name of 255 bytes cannot be prolonged, so ours never contain the original's. The journal's id keeps two
//! journals over one pool apart. Every scan ignores names with [`PREFIX`].

use std::ffi::OsString;

use crate::journal::OpId;

/// What every hidden name of ours starts with.
pub const PREFIX: &str = ".xdedup-";

/// What a hidden name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The replacement before it has its name; for a local op, the duplicate once they are exchanged.
    Temp,
    /// The duplicate between retire and remove.
    Retired,
    /// A replacement being taken away.
    Withdrawn,
    /// A parent directory being made aside.
    Aside,
    /// The copy that an undo makes, before it has its names.
    Copy,
}

/// The hidden name for the `index`-th name of `op`.
#[must_use]
pub fn hidden_name(journal: u32, op: OpId, index: usize, role: Role) -> OsString {
    let role = match role {
        Role::Temp => 't',
        Role::Retired => 'r',
        Role::Withdrawn => 'w',
        Role::Aside => 'd',
        Role::Copy => 'c',
    };
    format!(
        "{PREFIX}{journal:08x}-{:08x}-{:08x}-{index:08x}-{role}",
        op.run, op.seq
    )
    .into()
}

/// Whether a directory entry is one of ours.
#[must_use]
pub fn is_hidden_name(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hidden_names_are_distinct_and_of_one_length() {
        let ops = [
            OpId { run: 1, seq: 2 },
            OpId { run: 2, seq: 1 },
            OpId {
                run: 9_999,
                seq: 70_000,
            },
        ];
        let roles = [
            Role::Temp,
            Role::Retired,
            Role::Withdrawn,
            Role::Aside,
            Role::Copy,
        ];
        let names: HashSet<_> = ops
            .iter()
            .flat_map(|op| roles.iter().map(move |role| (op, role)))
            .flat_map(|(op, role)| [0, 1, 65_000].map(|k| hidden_name(7, *op, k, *role)))
            .collect();
        assert_eq!(names.len(), 45);
        assert!(
            names
                .iter()
                .all(|n| n.len() == PREFIX.len() + 37 && is_hidden_name(n.as_encoded_bytes()))
        );
    }
}
