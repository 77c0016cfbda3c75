//! The hidden names of this tool's files at work: short, of fixed length, tied to one op of one journal.
//!
//! A name of 255 bytes cannot be prolonged, so a hidden name never contains the original name. The journal's id keeps
//! two journals over one pool apart. Every scan ignores names with [`PREFIX`].

use std::ffi::OsString;

use super::op_id::OpId;

/// The beginning of every hidden name of ours.
pub const PREFIX: &str = ".xdedup-";

/// The purpose of a hidden name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The replacement before it has its name; for a local op, the duplicate after the exchange.
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

/// Returns the hidden name for the `index`-th name of `op`.
#[must_use]
pub fn hidden_name(journal: u32, op: OpId, index: usize, role: Role) -> OsString {
    let role = match role {
        Role::Temp => 't',
        Role::Retired => 'r',
        Role::Withdrawn => 'w',
        Role::Aside => 'd',
        Role::Copy => 'c',
    };
    format!("{PREFIX}{journal:08x}-{:08x}-{:08x}-{index:08x}-{role}", op.run, op.seq).into()
}

/// The parts of a hidden name. Any program that can write in a directory can make such a name: the name proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HiddenName {
    /// The id of the journal.
    pub journal: u32,
    /// The op.
    pub op: OpId,
    /// Which of the op's names.
    pub index: usize,
    /// The purpose of the name.
    pub role: Role,
}

/// Reads a name that [`hidden_name`] made; `None` for any other.
#[must_use]
pub fn parse_hidden_name(name: &[u8]) -> Option<HiddenName> {
    let text = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?;
    let mut parts = text.split('-');
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    let (journal, run, seq, index) = (number()?, number()?, number()?, number()?);
    let role = match parts.next()? {
        "t" => Role::Temp,
        "r" => Role::Retired,
        "w" => Role::Withdrawn,
        "d" => Role::Aside,
        "c" => Role::Copy,
        _ => return None,
    };
    let read = HiddenName {
        journal: u32::try_from(journal).ok()?,
        op: OpId { run, seq },
        index: usize::try_from(index).ok()?,
        role,
    };
    let made = hidden_name(read.journal, read.op, read.index, read.role);
    (made.as_encoded_bytes() == name).then_some(read)
}

/// Whether a directory entry has a hidden name of ours.
#[must_use]
pub fn is_hidden_name(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_hidden_name_is_read_as_it_was_made_and_no_other_is() {
        let op = OpId { run: 12, seq: 70_000 };
        for role in [Role::Temp, Role::Retired, Role::Withdrawn, Role::Aside, Role::Copy] {
            let name = hidden_name(0xffab_0001, op, 65_000, role);
            let read = parse_hidden_name(name.as_encoded_bytes()).unwrap();
            assert_eq!(
                (read.journal, read.op, read.index, read.role),
                (0xffab_0001, op, 65_000, role)
            );
        }
        for other in [
            ".xdedup-",
            ".xdedup-00000007-1-1-0-r",
            ".xdedup-00000007-00000001-00000001-00000000-x",
            ".xdedup-00000007-00000001-00000001-00000000-r-",
            ".xdedup-+0000007-00000001-00000001-00000000-r",
            "xdedup-00000007-00000001-00000001-00000000-r",
        ] {
            assert_eq!(parse_hidden_name(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn hidden_names_are_distinct_and_of_one_length() {
        let ops =
            [OpId { run: 1, seq: 2 }, OpId { run: 2, seq: 1 }, OpId { run: 9_999, seq: 70_000 }];
        let roles = [Role::Temp, Role::Retired, Role::Withdrawn, Role::Aside, Role::Copy];
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
