//! The branch list of the control file: `/mnt/d1=RW:/mnt/d2=RO,500M:/mnt/d3=NC`.

use super::{PoolError, path_of};
use crate::pool::{Branch, BranchMode};

/// Takes a branch list apart: nothing in it is escaped, the mode stands behind the last `=`.
pub(super) fn parse(list: &[u8]) -> Result<Vec<Branch>, PoolError> {
    list.split(|byte| *byte == b':')
        .map(|entry| parse_entry(entry).ok_or_else(|| PoolError::BranchList(path_of(entry))))
        .collect()
}

fn parse_entry(entry: &[u8]) -> Option<Branch> {
    let (path, mode) = match entry.iter().rposition(|byte| *byte == b'=') {
        Some(at) => (&entry[..at], parse_mode(&entry[at + 1..])?),
        // mergerfs always prints one; a list typed by hand may leave it out, as on mergerfs' own command line.
        None => (entry, BranchMode::Rw),
    };
    let length = path
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(1, |last| last + 1);
    path.starts_with(b"/").then(|| Branch {
        path: path_of(&path[..length]),
        mode,
    })
}

/// The mode may be followed by the branch's own minfreespace.
fn parse_mode(mode: &[u8]) -> Option<BranchMode> {
    match mode.split(|byte| *byte == b',').next()? {
        b"RW" => Some(BranchMode::Rw),
        b"RO" => Some(BranchMode::Ro),
        b"NC" => Some(BranchMode::Nc),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_odd_paths_are_understood() {
        let list = b"/mnt/d1=RW:/mnt/a=b=RO,500M:/mnt/\xff c=NC,4K:/plain/:/=RW";
        let expected = [
            (&b"/mnt/d1"[..], BranchMode::Rw),
            (b"/mnt/a=b", BranchMode::Ro),
            (b"/mnt/\xff c", BranchMode::Nc),
            (b"/plain", BranchMode::Rw),
            (b"/", BranchMode::Rw),
        ];
        let expected = expected.map(|(path, mode)| Branch {
            path: path_of(path),
            mode,
        });
        assert_eq!(parse(list).unwrap(), expected);
    }

    #[test]
    fn what_is_no_branch_list_is_refused() {
        for bad in ["", "/a=RW:", "a=RW", "/a=XX", "=RW", "/a=rw"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
