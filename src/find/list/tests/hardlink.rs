//! hardlink's lists.

use super::super::Format;
use super::super::tests::{error, group, read};

#[test]
fn neighbours_of_one_number_are_a_group() {
    let list =
        b"0093824992231216\t/srv/a\n0093824992231216\t/srv/b \n0093824992231999\t/srv/c\td\n\
                 00093824992231999\t/srv/e\n";
    let expected = [group(None, &[b"/srv/a", b"/srv/b "]), group(None, &[b"/srv/c\td", b"/srv/e"])];
    assert_eq!(read(list, None).expect("read"), expected);
}

#[test]
fn line_feeds_in_names_are_kept() {
    let expected = [group(None, &[b"/srv/a\nb\n\nc", b"/srv/b"])];
    let lines = b"0093824992231216\t/srv/a\nb\n\nc\n0093824992231216\t/srv/b\n";
    assert_eq!(read(lines, None).expect("read"), expected);
    let nul = b"0093824992231216\t/srv/a\nb\n\nc\x000093824992231216\t/srv/b\0";
    assert_eq!(read(nul, None).expect("read"), expected);
}

#[test]
fn a_list_cut_off_in_a_line_or_of_another_form_is_an_error() {
    assert!(error(b"0093824992231216\t/srv/a\n0093", Format::Hardlink).contains("cut off"));
    assert!(error(b"0093824992231216\t/srv/a\x000093", Format::Hardlink).contains("cut off"));
    for list in [
        &b"93824992231216\t/srv/a\n"[..],
        b"# 0093824992231216\t/srv/a\n",
        b"99999999999999999999999\t/srv/a\n",
        b"0093824992231216\t/srv/a\0not an entry\0",
        b"0093824992231216\t/srv/a\0\0",
    ] {
        assert!(!error(list, Format::Hardlink).is_empty());
    }
    assert_eq!(read(b"", Some(Format::Hardlink)).expect("no duplicates"), []);
}
