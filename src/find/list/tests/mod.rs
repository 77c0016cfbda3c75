//! What holds for every form, and what the tests of the forms share.

use std::io::{BufReader, Cursor};

use super::*;

mod properties;

/// Everything a list holds, or its error.
pub(super) fn read(list: &[u8], forced: Option<Format>) -> Result<Vec<ClaimedGroup>, InputError> {
    // A tiny buffer, so that every token straddles one somewhere.
    let source = BufReader::with_capacity(7, Cursor::new(list.to_vec()));
    open(Box::new(source), forced)?.collect()
}

/// What the list names without a claim.
pub(super) fn unread(list: &[u8]) -> Vec<Unread> {
    let mut reader = open(Box::new(Cursor::new(list.to_vec())), None).expect("opens");
    assert!(reader.by_ref().all(|group| group.is_ok()));
    reader.take_unread()
}

pub(super) fn group(size: Option<u64>, paths: &[&[u8]]) -> ClaimedGroup {
    ClaimedGroup { size, paths: paths.iter().map(|path| path.to_vec()).collect() }
}

/// Every proper prefix of `list` must be an error, once the last byte that matters is gone.
pub(super) fn assert_cut_anywhere_is_an_error(list: &[u8], forced: Format) {
    let list = list.trim_ascii_end();
    for cut in 0..list.len() {
        let outcome = read(&list[..cut], Some(forced));
        assert!(outcome.is_err(), "cut at {cut}: {:?}", list[..cut].escape_ascii().to_string());
    }
}

/// The text of the error a list ends in.
pub(super) fn error(list: &[u8], forced: Format) -> String {
    read(list, Some(forced)).expect_err("the list must be refused").to_string()
}

#[test]
fn an_empty_list_is_a_list_without_groups_and_other_bytes_are_none() {
    assert_eq!(read(b"", None).expect("nothing"), []);
    // Of a form that never writes nothing it was cut off.
    assert!(read(b"", Some(Format::Rmlint)).is_err());
    assert!(matches!(read(b" \n", None), Err(InputError::Unknown)));
    assert!(matches!(read(b"\x7fELF-ish but no list", None), Err(InputError::Unknown)));
}

#[test]
fn a_reader_is_finished_after_its_first_error() {
    let list = b"a\0b\0\0c";
    let mut reader = open(Box::new(Cursor::new(list)), Some(Format::JdupesNull)).expect("opens");
    assert!(reader.next().expect("a group").is_ok());
    assert!(reader.next().expect("an error").is_err());
    assert!(reader.next().is_none());
}

#[test]
fn every_form_is_known_by_its_name() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert_eq!("jdupes".parse::<Format>(), Err(UnknownFormat));
}

#[test]
fn an_unreadable_list_is_an_error_in_every_form() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(matches!(open(Box::new(BufReader::new(Broken)), None), Err(InputError::Io(_))));
    for format in Format::ALL {
        let sound_start = [b' '; DETECT_BYTES as usize].as_slice();
        let source = BufReader::new(sound_start.chain(Broken));
        let mut reader = open(Box::new(source), Some(format)).expect("opens");
        let error = reader.find_map(Result::err).expect("an error");
        let expected = matches!(error, InputError::Io(_) | InputError::Malformed { .. });
        assert!(expected, "{format}: {error}");
        assert!(reader.next().is_none());
    }
}

#[test]
fn size_lines_are_told_from_names() {
    for (line, size) in [
        ("9000 bytes each:", Some(9000)),
        ("1 byte  each:", Some(1)),
        ("1 byte each:", Some(1)),
        ("-1 bytes each:", None),
        ("9000 bytes each: ", Some(9000)),
        ("9000 bytes each:x", None),
        ("dir/9000 bytes each:", None),
        ("99999999999999999999 bytes each:", None),
    ] {
        assert_eq!(size_line(line.as_bytes()), size, "{line:?}");
    }
}

#[test]
fn a_list_of_endless_sound_groups_is_an_error() {
    let list = b"a\0b\0\0".repeat(4);
    let mut reader = open(Box::new(Cursor::new(list)), Some(Format::JdupesNull)).expect("opens");
    reader.paths_left = 5;
    let error = reader.find_map(Result::err).expect("an error");
    assert!(matches!(error, InputError::Endless { .. }), "{error}");
    assert!(reader.next().is_none());
}
