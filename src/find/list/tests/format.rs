//! Lists are recognised by how they begin.

use super::super::InputError;
use super::super::tests::read;
use super::{Format, detect};

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
        (b"# Report by fclones 0.35.0\n", Some(Format::Fclones)),
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
