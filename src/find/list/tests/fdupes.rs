//! The text of fdupes and jdupes. The fixtures are what fdupes 2.2.1 wrote.

use super::super::tests::{error, group, read};
use super::super::{ClaimedGroup, Format};
use super::after_time;

const PLAIN: &[u8] = include_bytes!("../fixtures/fdupes-2.2.1.txt");
const SIZE: &[u8] = include_bytes!("../fixtures/fdupes-2.2.1-size.txt");
const SIZE_TIME: &[u8] = include_bytes!("../fixtures/fdupes-2.2.1-size-time.txt");

fn text(list: &[u8]) -> Vec<ClaimedGroup> {
    read(list, Some(Format::Fdupes)).expect("sound")
}

#[test]
fn names_sizes_and_times_are_told_apart() {
    let with_sizes = read(SIZE, None).expect("-S");
    assert_eq!(read(SIZE_TIME, None).expect("-S -t"), with_sizes);
    let latin1 = group(Some(107), &[b"srv/media/latin1-\xe9.bin", b"srv/down/latin1-\xe9.bin"]);
    let trailing = group(Some(108), &[b"srv/media/trailing ", b"srv/down/trailing "]);
    let one = group(Some(1), &[b"srv/media/one", b"srv/down/one"]);
    for expected in [latin1, trailing, one] {
        assert!(with_sizes.contains(&expected), "{expected:?}");
    }
    let mut without = with_sizes;
    for group in &mut without {
        group.size = None;
    }
    assert_eq!(read(PLAIN, None).expect("plain"), without);
}

/// The form cannot say that a name has a line feed: its halves are claims that name nothing.
#[test]
fn a_name_with_a_line_feed_is_two_names_in_its_own_group_only() {
    let expected = group(Some(7), &[b"srv/media/l", b"f", b"srv/down/l", b"f"]);
    assert!(text(SIZE).contains(&expected));
    assert!(text(SIZE_TIME).contains(&expected));
}

#[test]
fn sets_end_at_empty_lines_and_at_the_end() {
    let expected = [group(None, &[b"a/b", b"a/c"]), group(None, &[b"a/d", b"a/e"])];
    for list in [
        "a/b\na/c\n\na/d\na/e\n",
        "\na/b\na/c\n\n\n\na/d\na/e\n\n",
        "\u{feff}a/b\na/c\n\na/d\na/e\n",
    ] {
        assert_eq!(read(list.as_bytes(), None).expect("sound"), expected, "{list:?}");
    }
    assert_eq!(text(b""), []);
    assert_eq!(text(b"\n\n"), []);
}

#[test]
fn a_first_name_that_only_begins_like_a_byte_order_mark_is_kept() {
    let name = "\u{ff21}/b".as_bytes();
    let list = [name, b"\n", name, b"2\n"].concat();
    assert_eq!(read(&list, None).expect("sound")[0].paths[0], name);
}

#[test]
fn a_size_is_one_only_before_a_set() {
    let list = b"5 bytes each:\na/b\n5 bytes each:\n\n1 byte  each:\na/c\n";
    let expected = [group(Some(5), &[b"a/b", b"5 bytes each:"]), group(Some(1), &[b"a/c"])];
    assert_eq!(text(list), expected);
}

#[test]
fn the_summary_of_jdupes_is_not_a_name() {
    let list = b"c/a\nc/b\n\n4 duplicate files (in 3 sets), occupying 28 bytes\n";
    assert_eq!(text(list), [group(None, &[b"c/a", b"c/b"])]);
}

#[test]
fn a_line_cut_off_or_ended_elsewhere_is_an_error() {
    assert!(error(b"a/b\na/c", Format::Fdupes).contains("cut off"));
    assert!(error(b"a/b\r\na/c\r\n\r\n", Format::Fdupes).contains("CR LF"));
}

#[test]
fn sets_on_one_line_are_refused_with_a_hint() {
    let list = include_bytes!("../fixtures/fdupes-2.2.1-sameline.txt");
    let error = read(list, None).expect_err("refused").to_string();
    assert!(error.contains("leave out -1"), "{error}");
}

#[test]
fn times_are_told_from_names() {
    assert_eq!(after_time(b"2026-11-22 23:16 a/b"), Some(&b"a/b"[..]));
    for line in
        ["2026-11-22 23:16", "2026-11-22 23:16 ", "2026-11-2 23:16 a", "2026-11-22T23:16 a", ""]
    {
        assert_eq!(after_time(line.as_bytes()), None, "{line:?}");
    }
}
