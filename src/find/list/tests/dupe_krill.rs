//! dupe-krill's lists.

use super::super::Format;
use super::super::tests::{assert_cut_anywhere_is_an_error, error, group, read};

const LIST: &[u8] = br#"{"creator":"duplicate-kriller 1.5.0","dupes":[[["/d2/b","/d2/b2"],["/d1/a2","/d1/a"]],[["/x"],["/y"]]],"stats":{"added":4,"skipped":0},"scanDuration":{"secs":0,"nanos":1}}"#;

#[test]
fn names_of_every_inode_of_a_group_are_claimed_equal() {
    let expected =
        [group(None, &[b"/d2/b", b"/d2/b2", b"/d1/a2", b"/d1/a"]), group(None, &[b"/x", b"/y"])];
    assert_eq!(read(LIST, None).expect("read"), expected);
    assert_cut_anywhere_is_an_error(LIST, Format::DupeKrill);
}

#[test]
fn no_duplicates_is_a_list_without_groups() {
    let list = br#"{"creator":"duplicate-kriller 1.5.0","dupes":[],"stats":{}}"#;
    assert_eq!(read(list, None).expect("read"), []);
}

#[test]
fn damage_is_an_error() {
    for list in ["{}", "{\"dupes\":[[\"/a\"]]}", "{\"dupes\":[],\"dupes\":[]}", "{\"dupes\":[]}}"] {
        assert!(!error(list.as_bytes(), Format::DupeKrill).is_empty(), "{list}");
    }
}
