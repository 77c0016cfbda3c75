//! Lists are recognised by how they begin.

use super::super::InputError;
use super::super::tests::read;
use super::{Format, Forms, detect};

#[test]
fn forms_are_told_by_their_first_bytes() {
    for (start, format) in [
        (&b"{\n  \"jdupesVersion\": \"1.21.3\","[..], Some(Format::JdupesJson)),
        (b"\xef\xbb\xbf {\"jdupesVersion\":", Some(Format::JdupesJson)),
        (b"c/a\0c/b\0\0", Some(Format::JdupesNull)),
        (b"c/a\nb\0c/b\0", Some(Format::JdupesNull)),
        (b"5 bytes each:\nc/a\0c/b\0", Some(Format::JdupesNull)),
        (b"c/a\nc/b\n", Some(Format::Fdupes)),
        (b"5 bytes each:\nc/a\nc/b\n\n", Some(Format::Fdupes)),
        (b"{\"header\":{\"version\":\"0.35.0\",\"base_dir\":\"/srv\"", Some(Format::FclonesJson)),
        (b"# Report by fclones 0.35.0\n", Some(Format::FclonesText)),
        (b"[\n{\n  \"description\": \"rmlint json-dump of lint files\"", Some(Format::Rmlint)),
        (b"[{\"type\":\"duplicate_file\",", Some(Format::Rmlint)),
        (b"{\"9000\":[[", Some(Format::Czkawka)),
        (b"{\n  \"9000\": [", Some(Format::Czkawka)),
        (b"{ }", Some(Format::Czkawka)),
        (b"{\"creator\":\"duplicate-kriller 1.5.0\",", Some(Format::DupeKrill)),
        (b"# Automatically generated\n# duptype id", Some(Format::Rdfind)),
        (b"0093824992231216\t/srv/a\n", Some(Format::Hardlink)),
        (b"0093824992231216\t/srv/a\0", Some(Format::Hardlink)),
        (b"{\"paths\":[\"\\\"jdupesVersion\\\"\"]}", None),
        (b"[]", None),
        (b"SQLite format 3\0\x10\0", None),
        (b"#!/bin/sh\n/bin/true a/b\n", None),
        (b"type,path,size,checksum\n", None),
        (b"/srv/a\n", None),
        (b"one\ntwo\n", None),
        (b"", None),
    ] {
        assert_eq!(detect(start), format, "{}", start.escape_ascii());
    }
}

#[test]
fn known_forms_that_cannot_be_read_get_a_hint() {
    for start in [
        &b"size,hash,count,files\n3,aa,2,/a,/b\n"[..],
        b"#!/bin/sh\n# PROGNAME=`basename $0`\n",
        b"Results of searching [\"/srv\"]\n---- Size 9 KiB (9000) - 2 files\n",
        b"jdupes hashdb:2,0,65\n",
        b"No duplicates found.\n",
        b"srv/a srv/b \nsrv/c srv/d \n",
    ] {
        let error = read(start, None).expect_err("refused");
        assert!(matches!(error, InputError::Unusable { .. }), "{error}");
    }
}

#[test]
fn packed_and_converted_lists_are_named() {
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (start, name, what) in [
        (b"\x1f\x8b\x08\0rest".to_vec(), "gzip", "zcat"),
        (b"\x28\xb5\x2f\xfdrest".to_vec(), "zstd", "zstdcat"),
        (b"\xfd7zXZ\0rest".to_vec(), "xz", "xzcat"),
        (b"BZh91AY".to_vec(), "bzip2", "bzcat"),
        ([b"\xff\xfe".to_vec(), utf16("/a/b\r\n")].concat(), "UTF-16", "iconv"),
        (utf16("{\"jdupesVersion\":1}"), "UTF-16", "iconv"),
    ] {
        for forced in [None, Some(Format::JdupesJson)] {
            let error = read(&start, forced).expect_err("refused").to_string();
            assert!(error.starts_with(name) && error.contains(what), "{error}");
        }
    }
    assert!(read(b"/\0/\0\0/a\0/b\0\0", None).is_ok());
}

#[test]
fn a_program_stands_for_all_forms_that_it_writes() {
    let forms = |name: &str| name.parse::<Forms>().expect("known");
    for (name, start, form) in [
        ("jdupes", &b"{\"jdupesVersion\":"[..], Format::JdupesJson),
        ("jdupes", b"{\"other\":", Format::JdupesJson),
        ("jdupes", b"a\0b\0\0", Format::JdupesNull),
        ("jdupes", b"a\nb\n", Format::Fdupes),
        ("jdupes", b"", Format::Fdupes),
        ("fclones", b"{\"header\":{\"base_dir\":1", Format::FclonesJson),
        ("fclones", b"{\"groups\":", Format::FclonesJson),
        ("fclones", b"# Report by fclones", Format::FclonesText),
        ("rmlint", b"# Report by fclones", Format::Rmlint),
        ("fdupes", b"a\0b\0\0", Format::Fdupes),
    ] {
        assert_eq!(forms(name).choose(start), form, "{name} {}", start.escape_ascii());
    }
    for form in Format::ALL {
        assert_eq!(forms(form.name()).choose(b"").name(), form.name());
    }
    let error = "jdups".parse::<Forms>().expect_err("unknown").to_string();
    for name in ["jdupes", "fclones", "rmlint", "czkawka", "jdupes-null", "hardlink"] {
        assert!(error.contains(name), "{error}");
    }
}
