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
    let length = path.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1);
    path.starts_with(b"/").then(|| Branch { path: path_of(&path[..length]), mode })
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
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    /// Any path a branch can have: a mergerfs branch list cannot contain a path with a colon.
    fn path() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            (1_u8..).prop_filter("a separator", |b| *b != b':' && *b != b'/'),
            prop::sample::select(&b"=,RWO \n"[..]),
        ];
        let name = prop::collection::vec(byte, 1..12);
        let names = prop::collection::vec(name, 0..4);
        names.prop_map(|names| [b"/", names.join(&b'/').as_slice()].concat())
    }

    proptest! {
        #[test]
        fn every_list_comes_back_as_mergerfs_wrote_it(
            branches in prop::collection::vec((path(), 0..3_usize, prop::option::of(0..9_u32)), 1..6),
        ) {
            let modes = [("RW", BranchMode::Rw), ("RO", BranchMode::Ro), ("NC", BranchMode::Nc)];
            let entry = |(path, mode, space): &(Vec<u8>, usize, Option<u32>)| {
                let space = space.map_or(String::new(), |space| format!(",{space}K"));
                [path, b"=".as_slice(), modes[*mode].0.as_bytes(), space.as_bytes()].concat()
            };
            let list = branches.iter().map(entry).collect::<Vec<_>>().join(&b':');
            let expected: Vec<_> = branches
                .iter()
                .map(|(path, mode, _)| Branch { path: path_of(path), mode: modes[*mode].1 })
                .collect();
            prop_assert_eq!(parse(&list).unwrap(), expected);
        }

        #[test]
        fn any_bytes_give_absolute_paths_or_an_error(
            list in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"/:=RWONC,"[..])], 0..60),
        ) {
            for branch in parse(&list).into_iter().flatten() {
                let path = branch.path.as_os_str().as_bytes();
                prop_assert!(path.starts_with(b"/"));
                prop_assert!(path == b"/" || !path.ends_with(b"/"), "{path:?}");
            }
        }
    }

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
        let expected = expected.map(|(path, mode)| Branch { path: path_of(path), mode });
        assert_eq!(parse(list).unwrap(), expected);
    }

    #[test]
    fn what_is_no_branch_list_is_refused() {
        for bad in ["", "/a=RW:", "a=RW", "/a=XX", "=RW", "/a=rw"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
