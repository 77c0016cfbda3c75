//! czkawka's lists.

use super::super::Format;
use super::super::tests::{assert_cut_anywhere_is_an_error, error, group, read};

fn file(path: &str, hash: &str) -> String {
    format!(
        "{{\"path\":\"{path}\",\"modified_date\":1795389381,\"size\":9000,\"hash\":\"{hash}\"}}"
    )
}

fn is_refused(list: &str) -> bool {
    read(list.as_bytes(), None).is_err_and(|error| error.to_string().contains("-s HASH"))
}

#[test]
fn groups_by_size_and_hash_are_read() {
    let (a, b, c, d) =
        (file("/a", "1f"), file("/b", "1f"), file("/c\\n\\\"", "2f"), file("/d", "2f"));
    let list = format!("{{\"9000\":[[{a},{b}],[{c},{d}]],\"7\":[[{a}]]}}");
    let expected = [
        group(Some(9000), &[b"/a", b"/b"]),
        group(Some(9000), &[b"/c\n\"", b"/d"]),
        group(Some(7), &[b"/a"]),
    ];
    assert_eq!(read(list.as_bytes(), None).expect("read"), expected);
    assert_cut_anywhere_is_an_error(list.as_bytes(), Format::Czkawka);
}

#[test]
fn a_reference_and_its_duplicates_are_one_group() {
    let (a, b, c) = (file("/ref/a", "1f"), file("/b", "1f"), file("/c", "1f"));
    let list = format!("{{\n  \"9000\": [\n    [\n {a},\n [ {b}, {c} ] ] ] }}");
    let expected = [group(Some(9000), &[b"/ref/a", b"/b", b"/c"])];
    assert_eq!(read(list.as_bytes(), None).expect("read"), expected);
}

#[test]
fn no_duplicates_is_a_list_without_groups() {
    assert_eq!(read(b"{}", None).expect("read"), []);
    assert_eq!(read(b"{\"9000\":[]}", None).expect("read"), []);
}

/// The list does not say its mode: searches by size or name show by their shape and by empty hashes.
#[test]
fn searches_that_compared_no_contents_are_refused() {
    let (a, b) = (file("/a", ""), file("/b", ""));
    assert!(is_refused(&format!("{{\"9000\":[{a},{b}]}}")), "by size");
    assert!(is_refused(&format!("{{\"9000\":[{a},[{b}]]}}")), "by size with references");
    assert!(is_refused(&format!("{{\"9000\":[[{a},{b}]]}}")), "without hashes");
    assert!(is_refused("{\"9000\":[[{\"path\":\"/a\"}]]}"), "without the key");
    assert!(is_refused(&format!("[[{a},{b}]]")), "by size and name");
    let named = format!("{{\"a.bin\":[{a},{b}]}}");
    assert!(error(named.as_bytes(), Format::Czkawka).contains("-s HASH"), "by name");
}

/// One name that is not UTF-8 makes czkawka stop in the middle of the file, with no message.
#[test]
fn a_list_that_ends_at_a_path_is_an_error() {
    let list = format!("{{\"9000\":[[{},{{\"path\":", file("/a", "1f"));
    assert!(error(list.as_bytes(), Format::Czkawka).contains("cut off"));
}

#[test]
fn damage_is_an_error() {
    for list in [
        "{\"9000\":{}}",
        "{\"9000\":[[{\"hash\":\"1f\"}]]}",
        "{\"9000\":[[[[]]]]}",
        "{\"9000\":[[1]]}",
        "{} {}",
        "{\"-1\":[]}",
    ] {
        assert!(read(list.as_bytes(), Some(Format::Czkawka)).is_err(), "{list}");
    }
}
