//! jdupes' lists. The fixtures with a version in their name are what that version wrote.

use super::super::tests::{assert_cut_anywhere_is_an_error, error, group, read};
use super::super::{ClaimedGroup, Format, InputError};
use super::dialect_of;

const LIST: &[u8] = include_bytes!("../fixtures/jdupes-1.21.3.json");
const NULL_LIST: &[u8] = include_bytes!("../fixtures/jdupes-1.21.3.null");

fn json(list: impl AsRef<[u8]>) -> Result<Vec<ClaimedGroup>, InputError> {
    read(list.as_ref(), Some(Format::JdupesJson))
}

/// A list of one set with one path, written inside the quotes as `path`.
fn with_path(version: &str, path: &[u8]) -> Vec<u8> {
    let mut list =
        format!("{{\"jdupesVersion\":\"{version}\",\"matchSets\":[{{\"fileSize\":1,\"fileList\":[")
            .into_bytes();
    list.extend(b"{\"filePath\":\"");
    list.extend(path);
    list.extend(b"\"}]}]}\n");
    list
}

#[track_caller]
fn check_path(version: &str, written: &[u8], expected: &[u8]) {
    let groups = json(with_path(version, written)).expect("one name must not cost the document");
    assert_eq!(groups, [group(Some(1), &[expected])], "{}", written.escape_ascii());
}

#[test]
fn a_list_names_every_file_as_it_is_on_disk() {
    let groups = read(LIST, None).expect("detected and read");
    let mut names: Vec<&[u8]> = Vec::new();
    for group in &groups {
        let [down, media] = group.paths.as_slice() else { panic!("{group:?}") };
        let name = down.strip_prefix(b"srv/down/").expect("below down");
        assert_eq!(media.strip_prefix(b"srv/media/"), Some(name));
        assert!(group.size.is_some());
        names.push(name);
    }
    names.sort_unstable();
    let mut expected: Vec<&[u8]> = vec![
        b"plain.bin",
        b"quote\".bin",
        b"back\\slash.bin",
        b"tab\t.bin",
        b"lf\n.bin",
        b"esc\x1b.bin",
        b"del\x7f.bin",
        b"trailing ",
        "caf\u{e9}.bin".as_bytes(),
        "cafe\u{301}.bin".as_bytes(),
        "\u{65e5}\u{672c}.bin".as_bytes(),
        "\u{1f600}.bin".as_bytes(),
        "\u{2028}.bin".as_bytes(),
        "\u{10ffff}.bin".as_bytes(),
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn the_null_list_and_the_json_list_of_one_scan_agree() {
    let from_json = read(LIST, None).expect("json");
    let sized = include_bytes!("../fixtures/jdupes-1.21.3-size.null");
    assert_eq!(read(sized, None).expect("with -S"), from_json);
    let mut unsized_groups = from_json;
    for group in &mut unsized_groups {
        group.size = None;
    }
    assert_eq!(read(NULL_LIST, None).expect("plain"), unsized_groups);
}

/// Symptom: `x\x80.bin` is listed as `x.bin`, which is another file; a slash or a NUL appears in a name; a lone
/// surrogate makes strict parsers refuse the document. Cause: jdupes takes every name for UTF-8. They are claims
/// like any other: what they name is looked at before anything is done.
#[test]
fn wrong_names_for_names_that_are_not_utf8_stay_claims() {
    let list = include_bytes!("../fixtures/jdupes-1.21.3-not-utf8.json");
    let expected = [
        group(Some(210), &[b"srv/c.bin", b"srv/s\xed\xa0\x80.bin"]),
        group(Some(150), &[b"srv/e.bin", "srv/latin1-caf\u{9ba2}in".as_bytes()]),
        group(Some(320), &[b"srv/b.bin", b"srv/over-/.bin"]),
        group(Some(396), &[b"srv/a.bin", b"srv/x.bin"]),
        group(Some(240), &[b"srv/d.bin", b"srv/n\0.bin"]),
    ];
    assert_eq!(read(list, None).expect("read"), expected);
}

#[test]
fn no_duplicates_is_a_list_without_groups() {
    let list = include_bytes!("../fixtures/jdupes-1.21.3-none.json");
    assert_eq!(read(list, None).expect("read"), []);
}

#[test]
fn escapes_and_surrogates_become_the_bytes_on_disk() {
    for (written, expected) in [
        (&br"\ud83d\ude00"[..], "\u{1f600}".as_bytes()),
        (br"\uD83D\uDE00", "\u{1f600}".as_bytes()),
        (br"\ud800", b"\xed\xa0\x80"),
        (br"\udc00", b"\xed\xb0\x80"),
        (br"\ud800x", b"\xed\xa0\x80x"),
        (br"\ud800\n", b"\xed\xa0\x80\n"),
        (br"\ud800\ud83d\ude00", b"\xed\xa0\x80\xf0\x9f\x98\x80"),
        (br"\ude00\ud83d", b"\xed\xb8\x80\xed\xa0\xbd"),
        (br"\ud800\u0041", b"\xed\xa0\x80A"),
        (br"\udbff\udfff", "\u{10ffff}".as_bytes()),
        (br#"\"\\\/\b\f\n\r\t"#, b"\"\\/\x08\x0c\n\r\t"),
        (br"\u00e9\u0800\u0000", b"\xc3\xa9\xe0\xa0\x80\0"),
        (b"\x7f raw", b"\x7f raw"),
    ] {
        check_path("1.28.0", written, expected);
    }
}

#[test]
fn raw_bytes_of_old_versions_are_code_points_and_of_others_are_bytes() {
    check_path("1.19.1", b"caf\xe9", "caf\u{e9}".as_bytes());
    check_path("1.19.1", br"\u0416 caf".as_slice(), "\u{416} caf".as_bytes());
    check_path("1.19.1", b"\\u0416\xe9\\u0416", "\u{416}\u{e9}\u{416}".as_bytes());
    check_path("1.19.1", "caf\u{e9}".as_bytes(), "caf\u{e9}".as_bytes());
    check_path("1.19.2", b"caf\xe9", b"caf\xe9");
    check_path("1.28.0", "caf\u{e9}".as_bytes(), "caf\u{e9}".as_bytes());
}

#[test]
fn a_broken_escape_of_1_13_costs_the_name_and_not_the_document() {
    check_path("1.13.1", b"\\u0T\x91\x02/photo.jpg", b"\\u0T\x91\x02/photo.jpg");
    check_path("1.13", b"\\u0T\"x".split_at(4).0, b"\\u0T");
    assert!(json(with_path("1.13.2", b"\\u0T\x91x")).is_err());
    assert!(json(with_path("1.13.1", b"x\0")).is_err());
}

#[test]
fn versions_are_told_apart() {
    for (version, latin1, broken_escapes) in [
        ("1.13", false, true),
        ("1.13.1", false, true),
        ("1.13.2", false, false),
        ("1.13.3", true, false),
        ("1.19.1", true, false),
        ("1.19.2", false, false),
        ("1.9", false, false),
        ("1.21.3", false, false),
        ("2.0", false, false),
        ("", false, false),
        ("99999999999.1", false, false),
    ] {
        let dialect = dialect_of(version.as_bytes());
        assert_eq!((dialect.latin1, dialect.broken_escapes), (latin1, broken_escapes), "{version}");
    }
}

#[test]
fn a_list_cut_off_anywhere_is_an_error() {
    assert_cut_anywhere_is_an_error(LIST, Format::JdupesJson);
    let none = include_bytes!("../fixtures/jdupes-1.21.3-none.json");
    assert_cut_anywhere_is_an_error(none, Format::JdupesJson);
}

#[test]
fn damage_is_an_error() {
    for list in [
        &b"{}"[..],
        b"[]",
        br#"{"matchSets":{}}"#,
        br#"{"matchSets":[]} {}"#,
        b"{\"matchSets\":[]}\0\0\0",
        br#"{"matchSets":[],"matchSets":[]}"#,
        br#"{"matchSets":[{"fileSize":1}]}"#,
        br#"{"matchSets":[{"fileSize":-1,"fileList":[]}]}"#,
        br#"{"matchSets":[{"fileSize":"1","fileList":[]}]}"#,
        br#"{"matchSets":[{"fileSize":1,"fileList":[{}]}]}"#,
        br#"{"matchSets":[{"fileSize":1,"fileList":[{"filePath":null}]}]}"#,
    ] {
        assert!(json(list).is_err(), "{}", list.escape_ascii());
    }
}

#[test]
fn unknown_keys_sets_of_one_and_a_byte_order_mark_are_read_over() {
    let list = b"\xef\xbb\xbf{\"x\":[1,{\"y\":null}],\"matchSets\":[{\"n\":-1.5e3,\"fileList\":[\
        {\"z\":true,\"filePath\":\"a\"}]}],\"later\":[[]]}";
    assert_eq!(json(list).expect("read"), [group(None, &[b"a"])]);
    assert!(json(b"\xef\xbb{").is_err());
}

#[test]
fn null_lists_keep_every_byte_but_nul() {
    let list = b"lf\n\n\xff \0b\0\0c\0d\0\0";
    let expected = [group(None, &[b"lf\n\n\xff ", b"b"]), group(None, &[b"c", b"d"])];
    assert_eq!(read(list, Some(Format::JdupesNull)).expect("read"), expected);
    // The last set of a list may lack the NUL that ends a set.
    let shorter = &list[..list.len() - 1];
    assert_eq!(read(shorter, Some(Format::JdupesNull)).expect("read"), expected);
}

#[test]
fn a_null_list_that_ends_in_a_path_or_has_holes_is_an_error() {
    assert!(error(b"a\0b", Format::JdupesNull).contains("cut off"));
    assert!(error(b"a\0b\0\0c", Format::JdupesNull).contains("cut off"));
    assert!(error(b"a\0b\0\0\0\0\0", Format::JdupesNull).contains("damaged"));
    assert!(error(b"\0", Format::JdupesNull).contains("damaged"));
    assert_eq!(read(b"", Some(Format::JdupesNull)).expect("no duplicates"), []);
}
