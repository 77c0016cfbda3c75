//! What holds for any bytes and any names.

use proptest::prelude::*;

use super::super::{ClaimedGroup, Format};
use super::read;

/// Bytes that look enough like a list to get past its first lines.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(PIECES).prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud83d",
    b"\\ude00",
    b"\0",
    b"\0\0",
    b"\n",
    b"\n\n",
    b"\"jdupesVersion\":\"1.13\",",
    b"\"matchSets\":[",
    b"{\"fileSize\":1,\"fileList\":[",
    b"{\"filePath\":\"a\"}",
    b"9000 bytes each:\n",
    b"/srv/a",
    b"1",
    b"-1.5",
    b"true",
    b"\xef\xbb\xbf",
    b"\"header\":{\"command\":[],\"base_dir\":\"/\"},",
    b"\"groups\":[{\"file_len\":1,\"files\":[",
    b"\"\\\\xE9\"",
    b"# Command: fclones group .\n",
    b"# Total: 1 B (1 B) in 1 files in 1 groups\n",
    b"aa, 1 B (1 B) * 1:\n    /a\n",
    b"{\"type\":\"duplicate_file\",\"path\":\"/a\",\"size\":1,\"checksum\":\"aa\"},",
    b"{\"aborted\":false}]",
    b"\"9000\":[[",
    b"{\"path\":\"/a\",\"hash\":\"1f\"}",
    b"\"dupes\":[[[\"/a\"]]]",
    b"DUPTYPE_FIRST_OCCURRENCE 1 1 1 1 1 1 /a\n",
    b"DUPTYPE_OUTSIDE_TREE -1 1 1 1 1 1 /b\n",
    b"# end of file\n",
    b"0000000000000001\t/a\n",
    b"2026-11-22 23:16 ",
];

/// Any name: no NUL, no slash of its own.
fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[^\\x00]{1,12}", 0..5)
}

/// Writes a list as jdupes does: everything above ASCII as UTF-16 escapes.
fn write_jdupes(groups: &[(u64, Vec<String>)]) -> String {
    let sets: Vec<String> = groups
        .iter()
        .map(|(size, names)| {
            let files: Vec<String> = names
                .iter()
                .map(|name| format!("        {{ \"filePath\": \"{}\" }}", escape(name)))
                .collect();
            let files = files.join(",\n");
            format!("    {{\n      \"fileSize\": {size},\n      \"fileList\": [\n{files}\n      ]\n    }}")
        })
        .collect();
    format!(
        "{{\n  \"jdupesVersion\": \"1.28.0\",\n  \"matchSets\": [\n{}\n  ]\n}}\n",
        sets.join(",\n")
    )
}

fn escape(name: &str) -> String {
    let escape_char = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        ' '..='\x7f' => c.to_string(),
        _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    name.chars().map(escape_char).collect()
}

fn claimed(size: Option<u64>, names: &[String]) -> ClaimedGroup {
    ClaimedGroup { size, paths: names.iter().map(|name| name.clone().into_bytes()).collect() }
}

/// Writes a path as fclones does in its text.
fn write_stfu8(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.extend(b"\\\\"),
                '\n' => text.extend(b"\\n"),
                '\0'..=' ' | '\x7f' => text.extend(format!("\\x{:02X}", u32::from(c)).bytes()),
                _ => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        text.extend(chunk.invalid().iter().flat_map(|byte| format!("\\x{byte:02X}").into_bytes()));
    }
    text
}

proptest! {
    #[test]
    fn every_name_survives_an_fclones_list(
        paths in prop::collection::vec(prop::collection::vec(1_u8.., 1..20), 0..4),
    ) {
        let mut list = b"# Command: fclones group .\n".to_vec();
        list.extend(format!("aa, 5 B (5 B) * {}:\n", paths.len()).bytes());
        for path in &paths {
            list.extend([b"    ", write_stfu8(path).as_slice(), b"\n"].concat());
        }
        let expected = [ClaimedGroup { size: Some(5), paths }];
        prop_assert_eq!(read(&list, Some(Format::FclonesText)).expect("sound"), expected);
    }

    #[test]
    fn no_bytes_make_a_reader_panic_or_run_on(list in soup()) {
        for forced in Format::ALL.into_iter().map(Some).chain([None]) {
            // The outcome is free; that there is one is the point.
            drop(read(&list, forced));
        }
    }

    #[test]
    fn every_name_survives_a_jdupes_list(
        groups in prop::collection::vec((any::<u64>(), names()), 0..5),
    ) {
        let list = write_jdupes(&groups);
        let expected: Vec<_> =
            groups.iter().map(|(size, names)| claimed(Some(*size), names)).collect();
        prop_assert_eq!(read(list.as_bytes(), None).expect("sound"), expected);
    }

    #[test]
    fn every_name_survives_a_null_list(groups in prop::collection::vec(names(), 1..5)) {
        let groups: Vec<_> = groups.into_iter().filter(|names| !names.is_empty()).collect();
        let list: String =
            groups.iter().map(|names| names.join("\0") + "\0\0").collect();
        let expected: Vec<_> = groups.iter().map(|names| claimed(None, names)).collect();
        // Only its text distinguishes a size line from a name; no generated name has the text of a size line.
        prop_assert_eq!(read(list.as_bytes(), Some(Format::JdupesNull)).expect("sound"), expected);
    }
}
