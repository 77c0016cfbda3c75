//! rmlint's lists. The fixture is what 2.9.0 wrote.

use std::io::Cursor;

use super::super::tests::{assert_cut_anywhere_is_an_error, error, group, read, unread};
use super::super::{Format, Unread, WhyUnread, open};

const LIST: &[u8] = include_bytes!("../fixtures/rmlint-2.9.0.json");

fn file(path: &str, checksum: &str, original: bool) -> String {
    let checksum =
        if checksum.is_empty() { String::new() } else { format!("\"checksum\":\"{checksum}\",") };
    format!(
        "{{\"id\":1,\"type\":\"duplicate_file\",{checksum}\"path\":\"{path}\",\"size\":5,\
         \"is_original\":{original},\"mtime\":1.5}}"
    )
}

fn list(checksum_type: &str, items: &[String]) -> Vec<u8> {
    let header = format!(
        "{{\"description\":\"rmlint json-dump of lint files\",\"cwd\":\"/srv/\",\"checksum_type\":\"{checksum_type}\"}}"
    );
    let footer = "{\"aborted\":false,\"progress\":100,\"total_files\":4}".to_owned();
    let elements: Vec<_> =
        std::iter::once(&header).chain(items).chain([&footer]).cloned().collect();
    format!("[{}]\n", elements.join(",\n")).into_bytes()
}

/// Two names of one inode come without a checksum there; `caf\xe9` comes as a raw byte, `\x1f` raw.
#[test]
fn a_list_names_every_file_as_it_is_on_disk() {
    let mut groups = read(LIST, None).expect("detected and read");
    let mut names = Vec::new();
    for group in &mut groups {
        group.paths.sort_unstable();
        let [down, media] = group.paths.as_slice() else { panic!("{group:?}") };
        let name = media.strip_prefix(b"/home/u/srv/media/").expect("below media");
        assert_eq!(down.strip_prefix(b"/home/u/srv/down/"), Some(name));
        names.push(name);
    }
    names.sort_unstable();
    let expected: [&[u8]; 10] = [
        b"back\\slash.bin",
        b"caf\xc3\xa9.bin",
        b"l\nf",
        b"latin1-\xe9.bin",
        b"one",
        b"plain.bin",
        b"quote\".bin",
        b"tab\t.bin",
        b"trailing ",
        b"us\x1f.bin",
    ];
    assert_eq!(names, expected);
    let plain = groups.iter().find(|group| group.paths[0].ends_with(b"plain.bin"));
    assert_eq!(plain.and_then(|group| group.size), Some(100));
}

#[test]
fn the_working_directory_is_the_base() {
    let mut reader = open(Box::new(Cursor::new(LIST)), None).expect("opens");
    assert!(reader.next().expect("a group").is_ok());
    assert_eq!(reader.base_dir(), Some(&b"/home/u/"[..]));
}

#[test]
fn neighbours_of_one_checksum_are_a_group_however_many_stay() {
    let items = [
        file("/a", "aa", true),
        file("/b", "aa", true),
        file("/c", "aa", false),
        file("/d", "bb", true),
        file("/e", "bb", false),
    ];
    let expected = [group(Some(5), &[b"/a", b"/b", b"/c"]), group(Some(5), &[b"/d", b"/e"])];
    assert_eq!(read(&list("blake2b", &items), None).expect("read"), expected);
}

/// With `-p` the checksum is a number: an original begins a group even where the number is the same.
#[test]
fn a_paranoid_list_is_split_at_originals() {
    let items = [
        file("/a", "0123456789abcdef", true),
        file("/b", "0123456789abcdef", false),
        file("/c", "0123456789abcdef", true),
        file("/d", "0123456789abcdef", false),
    ];
    let expected = [group(Some(5), &[b"/a", b"/b"]), group(Some(5), &[b"/c", b"/d"])];
    assert_eq!(read(&list("paranoid", &items), None).expect("read"), expected);
}

/// Taking two missing checksums for equal was a data loss elsewhere: neighbours without one are not claims.
#[test]
fn files_without_a_checksum_are_in_no_group() {
    let items = [
        file("/a", "", true),
        file("/b", "", false),
        file("/c", "cc", true),
        file("/x", "", true),
        file("/d", "cc", false),
    ];
    let expected = [group(Some(5), &[b"/c"]), group(Some(5), &[b"/d"])];
    assert_eq!(read(&list("blake2b", &items), None).expect("read"), expected);
}

#[test]
fn other_kinds_of_lint_are_read_over() {
    let other = "{\"type\":\"emptydir\",\"path\":\"/x\",\"size\":0,\"checksum\":\"aa\"}".to_owned();
    let items = [file("/a", "aa", true), file("/b", "aa", false), other];
    assert_eq!(
        read(&list("blake2b", &items), None).expect("read"),
        [group(Some(5), &[b"/a", b"/b"])]
    );
}

#[test]
fn broken_paths_are_counted_and_cost_nothing_else() {
    let items =
        [file("/a", "aa", true), file("<BROKEN PATH>", "aa", false), file("/b", "aa", false)];
    let list = list("blake2b", &items);
    assert_eq!(read(&list, None).expect("sound"), [group(Some(5), &[b"/a", b"/b"])]);
    let broken = Unread { why: WhyUnread::BrokenPath, paths: vec![b"<BROKEN PATH>".to_vec()] };
    assert_eq!(unread(&list), [broken]);
}

#[test]
fn what_the_list_makes_no_claim_about_is_named() {
    let other = |kind: &str, path: &str| {
        format!("{{\"type\":\"{kind}\",\"path\":\"{path}\",\"size\":5,\"checksum\":\"aa\"}}")
    };
    let items = [
        other("duplicate_dir", "/d1"),
        other("part_of_directory", "/d1/x"),
        file("/a", "", true),
        file("/b", "", false),
        file("/c", "", true),
        file("/d", "dd", true),
        file("/e", "", false),
        other("emptyfile", "/f"),
    ];
    let of =
        |why, paths: &[&[u8]]| Unread { why, paths: paths.iter().map(|p| p.to_vec()).collect() };
    let expected = [
        of(WhyUnread::Directory, &[b"/d1"]),
        of(WhyUnread::Directory, &[b"/d1/x"]),
        of(WhyUnread::NoChecksum, &[b"/a", b"/b"]),
        of(WhyUnread::NoChecksum, &[b"/c"]),
        of(WhyUnread::NoChecksum, &[b"/e"]),
    ];
    assert_eq!(unread(&list("blake2b", &items)), expected);
}

#[test]
fn a_list_without_footer_or_of_an_aborted_run_is_refused() {
    assert_cut_anywhere_is_an_error(LIST, Format::Rmlint);
    assert!(error(b"[]", Format::Rmlint).contains("footer"));
    let whole = String::from_utf8(list("blake2b", &[file("/a", "aa", true)])).expect("UTF-8");
    let aborted = whole.replace("\"aborted\":false", "\"aborted\":true");
    assert!(error(aborted.as_bytes(), Format::Rmlint).contains("aborted"));
    let footer = whole.find(",\n{\"aborted\"").expect("there");
    let without = format!("{}]", &whole[..footer]);
    assert!(error(without.as_bytes(), Format::Rmlint).contains("footer"));
    let followed = whole.replace("4}]", "4},{\"x\":1}]");
    assert!(error(followed.as_bytes(), Format::Rmlint).contains("footer"));
}

#[test]
fn damage_is_an_error() {
    let whole = String::from_utf8(list("blake2b", &[file("/a", "aa", true)])).expect("UTF-8");
    for (from, to) in
        [("\"path\":\"/a\",", ""), ("\"size\":5,", ""), ("\"/a\"", "null"), ("true", "1")]
    {
        let damaged = whole.replace(from, to);
        assert_ne!(damaged, whole);
        assert!(read(damaged.as_bytes(), None).is_err(), "{to}");
    }
}
