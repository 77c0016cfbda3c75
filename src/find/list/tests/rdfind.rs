//! rdfind's lists. The fixture is what 1.5.0 wrote.

use super::super::tests::{assert_cut_anywhere_is_an_error, error, group, read};
use super::super::{ClaimedGroup, Format, InputError};

const LIST: &[u8] = include_bytes!("../fixtures/rdfind-1.5.0.txt");

fn list(lines: &str) -> Result<Vec<ClaimedGroup>, InputError> {
    let list = format!(
        "# Automatically generated\n# duptype id depth size device inode priority name\n{lines}# end of file\n"
    );
    read(list.as_bytes(), None)
}

#[test]
fn a_list_names_every_file_as_it_is_on_disk() {
    let groups = read(LIST, None).expect("read");
    for expected in [
        group(Some(107), &[b"srv/down/latin1-\xe9.bin", b"srv/media/latin1-\xe9.bin"]),
        group(Some(108), &[b"srv/down/trailing ", b"srv/media/trailing "]),
        group(Some(102), &[b"srv/down/back\\slash.bin", b"srv/media/back\\slash.bin"]),
        group(Some(7), &[b"srv/down/l\nf", b"srv/media/l\nf"]),
    ] {
        assert!(groups.contains(&expected), "{expected:?}");
    }
    assert!(groups.iter().all(|group| group.paths.len() == 2));
    assert_cut_anywhere_is_an_error(LIST, Format::Rdfind);
}

#[test]
fn a_group_is_an_id_and_its_negatives() {
    let lines = "DUPTYPE_FIRST_OCCURRENCE 1 1 9 1 1 3 h/a b\n\
                 DUPTYPE_WITHIN_SAME_TREE -1 1 9 1 18446744073709551615 3 h/c\n\
                 DUPTYPE_OUTSIDE_TREE -1 1 9 1 2 3 g/d\n\
                 DUPTYPE_FIRST_OCCURRENCE 2 1 8 1 3 3  lead\n\
                 DUPTYPE_OUTSIDE_TREE -2 1 8 1 4 3 g/# end of file\n\
                 # a second line\n\
                 \n";
    let expected = [
        group(Some(9), &[b"h/a b", b"h/c", b"g/d"]),
        group(Some(8), &[b" lead", b"g/# end of file\n# a second line\n"]),
    ];
    assert_eq!(list(lines).expect("read"), expected);
    assert_eq!(list("").expect("no duplicates"), []);
}

#[test]
fn damage_is_an_error() {
    for lines in [
        "DUPTYPE_WITHIN_SAME_TREE -1 1 9 1 1 3 h/c\n",
        "DUPTYPE_FIRST_OCCURRENCE 1 1 9 1 1 3 a\nDUPTYPE_WITHIN_SAME_TREE -2 1 9 1 1 3 b\n",
        "no entry\n",
        "DUPTYPE_FIRST_OCCURRENCE 1 1 9 1 1 3\n",
        "DUPTYPE_FIRST_OCCURRENCE 1 1 9 1 1 3 a\n# end of file\n",
    ] {
        assert!(list(lines).is_err(), "{lines}");
    }
    assert!(error(b"", Format::Rdfind).contains("end marker"));
}
