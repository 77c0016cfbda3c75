//! Reasons in a few words, and the sums of skipped files, as people read them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::shown::size;
use crate::plan::refusal::Reason;

/// The reason in a few words that follow a number of files, as in "2 files: on several disks".
pub(super) fn phrase(reason: Reason) -> Cow<'static, str> {
    Cow::Borrowed(match reason {
        Reason::Unresolved => "not found in the pool",
        Reason::NotRegular => "not regular files",
        Reason::ClaimSize => "changed since the list was made",
        Reason::NoPrimary => "no copy under -p",
        Reason::Shadowed => "on several disks",
        Reason::UnknownLinks => "hard links outside the pool",
        Reason::ReadOnly => "on a read-only disk",
        Reason::DiskReadOnly => "on a disk mounted read-only",
        Reason::AclDiffers => "ACL differs",
        Reason::DirectoryDiffers => "access to the directories differs",
        Reason::NoLease => "no leases on this filesystem",
        Reason::Permission => "not permitted to this user",
        Reason::NoIdentity => "filesystem without a UUID",
        Reason::Overlay => "on an overlay",
        Reason::NoExchange => "filesystem cannot exchange names",
        Reason::NoReflink => "cannot share blocks",
        Reason::NestedBranch => "disks listed within each other",
        Reason::Obstructed => "behind a symlink or mount point",
        Reason::OtherFilesystem => "directory of another filesystem",
        Reason::Limit => "beyond the limit",
        Reason::Busy => "open in a program",
        Reason::Differs => "contents differ",
        Reason::Io => "system error",
        Reason::BranchFailed => "after an error on that disk",
        Reason::Interrupted => "run was stopped",
        Reason::Unfinished => "half done by an interrupted run",
        Reason::Merged => "hidden copy removed by a merge",
        other => return Cow::Owned(other.as_str().replace('-', " ")),
    })
}

/// Returns how many files are concerned and why: `3 skipped (2 on several disks, 1 owner differs)`.
pub(super) fn counted(count: u64, what: &str, reasons: &BTreeMap<Reason, u64>) -> String {
    let why = match reasons.len() {
        0 => String::new(),
        1 => reasons.keys().map(|reason| format!(" ({})", phrase(*reason))).collect(),
        _ => {
            let each = reasons.iter().map(|(reason, n)| format!("{n} {}", phrase(*reason)));
            format!(" ({})", each.collect::<Vec<_>>().join(", "))
        }
    };
    format!("{count} {what}{why}")
}

/// A size, where the size is known.
pub(super) fn known(bytes: Option<u64>) -> String {
    bytes.map_or("?".to_owned(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_reason_needs_no_number_of_its_own() {
        let of = |reasons: &[(Reason, u64)]| {
            let total = reasons.iter().map(|(_, n)| n).sum();
            counted(total, "skipped", &reasons.iter().copied().collect())
        };
        assert_eq!(of(&[(Reason::Shadowed, 1)]), "1 skipped (on several disks)");
        assert_eq!(
            of(&[(Reason::Shadowed, 2), (Reason::OwnerDiffers, 1)]),
            "3 skipped (2 on several disks, 1 owner differs)"
        );
    }

    #[test]
    fn no_phrase_is_a_word_of_the_code() {
        for reason in Reason::ALL {
            let phrase = phrase(reason);
            let banned = ["master", "branch", "refus", "-differs"];
            assert!(banned.iter().all(|word| !phrase.contains(word)), "{phrase}");
        }
    }
}
