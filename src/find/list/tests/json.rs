//! The tokenizer on its own.

use std::io::{BufReader, Cursor};

use super::*;

fn json(text: &[u8]) -> Json {
    let source = BufReader::with_capacity(1, Cursor::new(text.to_vec()));
    Json::new(Source::new(Box::new(source), "json"))
}

/// Whether `text` is one sound document.
fn is_sound(text: &[u8]) -> bool {
    let mut json = json(text);
    json.skip_value().and_then(|()| json.finish()).is_ok()
}

#[test]
fn sound_documents_are_read_to_their_end() {
    for text in [
        "{}",
        "[]",
        " [ ] ",
        "[1,2]",
        r#"{"a":1,"b":[{}]}"#,
        "\"\"",
        "true",
        "[null,false]",
        "[0]",
        "[-0]",
        "[1.5]",
        "[1e9]",
        "[1E+9]",
        "[-10.25e-3]",
        "[[[[1]]]]",
        "[\"\u{1f}\"]",
    ] {
        assert!(is_sound(text.as_bytes()), "{text}");
    }
}

#[test]
fn everything_else_is_an_error() {
    for text in [
        "",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{1:2}",
        "{a:1}",
        "{]",
        "[}",
        "[01]",
        "[-]",
        "[1.]",
        "[.5]",
        "[1e]",
        "[+1]",
        "[0x1]",
        "[1-2]",
        "[tru]",
        "[nul",
        "[True]",
        "[\"a]",
        "[\"\\",
        "[\"\\x\"]",
        "[\"\\u12\"]",
        "[\"\\u12g4\"]",
        "[\"\n\"]",
        "[\"\0\"]",
        "[] []",
        "[]x",
        "12",
        "'a'",
        "[1]/**/",
    ] {
        assert!(!is_sound(text.as_bytes()), "{text}");
    }
}

#[test]
fn depth_length_and_digits_have_limits() {
    let deep = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    assert!(is_sound(&deep(DEPTH_MAX)));
    assert!(!is_sound(&deep(DEPTH_MAX + 1)));
    assert!(!is_sound(&[b"[", b"9".repeat(NUMBER_MAX_BYTES + 1).as_slice(), b"]"].concat()));
    let long =
        [b"\"".to_vec(), vec![b'a'; crate::find::list::source::TEXT_MAX_BYTES + 1], b"\"".to_vec()];
    let mut json = Json::new(Source::new(Box::new(Cursor::new(long.concat())), "json"));
    assert!(json.string().expect_err("too long").to_string().contains("too long"));
}

#[test]
fn whole_numbers_are_whole_and_fit() {
    assert_eq!(json(b" 18446744073709551615 ").whole_number().ok(), Some(u64::MAX));
    for text in ["18446744073709551616 ", "-1 ", "1.0 ", "1e3 ", "\"1\" ", "null "] {
        assert!(json(text.as_bytes()).whole_number().is_err(), "{text}");
    }
}

#[test]
fn an_error_says_where_and_what_was_found() {
    let error = json(b"[1 x]").skip_value().expect_err("no comma");
    assert_eq!(error.to_string(), "json: expected ',' or ']', found 'x' (at byte 3)");
    let error = json(b"[1").skip_value().expect_err("cut off");
    assert_eq!(error.to_string(), "json: the list ends in the middle; it was cut off (at byte 2)");
}
