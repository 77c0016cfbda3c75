//! fclones' lists. The fixtures follow the form 0.35.0 writes.

use std::io::Cursor;

use super::super::tests::{assert_cut_anywhere_is_an_error, error, group, read};
use super::super::{Format, open};

const JSON: &[u8] = include_bytes!("../fixtures/fclones.json");
const TEXT: &[u8] = include_bytes!("../fixtures/fclones.txt");

#[test]
fn both_forms_give_names_as_they_are_on_disk() {
    let expected = [
        group(Some(3_000_000), &[b"/srv/pool/Media/a.mkv", b"/srv/pool/Downloads/sub/a.mkv"]),
        group(
            Some(120),
            &[b"/srv/pool/Media/caf\xe9.bin", "/srv/pool/Downloads/caf\u{e9}.bin".as_bytes()],
        ),
        group(
            Some(7),
            &[b"/srv/pool/back\\slash\n\x1b", b"/srv/pool/trailing ", b"/srv/pool/\"quote\""],
        ),
    ];
    assert_eq!(read(JSON, None).expect("json"), expected);
    assert_eq!(read(TEXT, None).expect("text"), expected);
}

#[test]
fn the_base_directory_is_known_with_the_first_group() {
    for list in [JSON, TEXT] {
        let mut reader = open(Box::new(Cursor::new(list)), None).expect("opens");
        assert!(reader.next().expect("a group").is_ok());
        assert_eq!(reader.base_dir(), Some(&b"/srv\xe9"[..]));
    }
}

/// `--transform` groups files whose *transformed* contents are equal, `--skip-content-hash` files of equal size.
#[test]
fn lists_that_claim_nothing_about_contents_are_refused() {
    let json = |command: &str| {
        format!("{{\"header\":{{\"command\":[{command}],\"base_dir\":\"/\"}},\"groups\":[]}}")
    };
    let text = |command: &str| format!("# Report by fclones 0.35.0\n# Command: {command}\n");
    assert_eq!(read(json("\"fclones\",\"group\"").as_bytes(), None).expect("sound"), []);
    assert_eq!(read(text("fclones group").as_bytes(), None).expect("sound"), []);
    assert_eq!(read(text("fclones group --transform-me").as_bytes(), None).expect("sound"), []);
    for option in ["--transform", "--transform=exiv2 rm $IN", "--skip-content-hash"] {
        let quoted = format!("\"fclones\",\"group\",\"{option}\"");
        assert!(error(json(&quoted).as_bytes(), Format::FclonesJson).contains("made with --"));
        for written in [option.to_owned(), format!("'{option}'"), format!("$'{option}'")] {
            let list = text(&format!("fclones group {written}"));
            assert!(
                error(list.as_bytes(), Format::FclonesText).contains("made with --"),
                "{written}"
            );
        }
    }
}

#[test]
fn a_list_that_does_not_say_how_it_was_made_is_refused() {
    for list in ["{\"groups\":[]}", "{\"header\":{\"base_dir\":\"/\"},\"groups\":[]}"] {
        assert!(error(list.as_bytes(), Format::FclonesJson).contains("command"));
    }
    assert!(error(b"aa, 1 B (1 B) * 1:\n    /a\n", Format::FclonesText).contains("command"));
    assert!(error(b"# Report by fclones 0.35.0\n", Format::FclonesText).contains("command"));
}

#[test]
fn a_list_cut_off_anywhere_is_an_error() {
    assert_cut_anywhere_is_an_error(JSON, Format::FclonesJson);
    // At the end of a group only the announced number of groups shows it; the last line feed is part of the list.
    for cut in 0..TEXT.len() {
        let outcome = read(&TEXT[..cut], Some(Format::FclonesText));
        // Before the header's "Total" line there is nothing yet to be missing.
        let before_total = cut <= TEXT.windows(9).position(|w| w == b"# Total: ").expect("there");
        assert!(outcome.is_err() || before_total, "cut at {cut}");
    }
}

#[test]
fn damage_is_an_error() {
    let header = "# Report by fclones 0.35.0\n# Command: fclones group .\n";
    for body in [
        "aa, 1 B (1 B) * 2:\n    /a\n",
        "aa, 1 B (1 B) * 2:\n    /a\nbb, 1 B (1 B) * 1:\n    /b\n",
        "aa, 1 B (1 B) * 1:\n   /a\n",
        "aa, 1 B (1 B) * 1:\n    /a\\q\n",
        "aa, x B (1 B) * 1:\n    /a\n",
        "zz, 1 B (1 B) * 1:\n    /a\n",
        ", 1 B (1 B) * 1:\n    /a\n",
        "aa, 1 B (1 B) * 99999999999999999999:\n    /a\n",
        "/a\n",
        "aa, 1 B (1 B) * 1:\n    /a\n    /b\n",
    ] {
        assert!(read(format!("{header}{body}").as_bytes(), None).is_err(), "{body}");
    }
    let sound = "{\"header\":{\"command\":[],\"base_dir\":\"/\"},";
    for body in [
        "\"x\":1}",
        "\"groups\":[],\"groups\":[]}",
        "\"groups\":[{\"file_len\":1}]}",
        "\"groups\":[{\"files\":[\"\\\\q\"]}]}",
        "\"groups\":[{\"file_len\":1.5,\"files\":[]}]}",
        "\"groups\":[]} x",
    ] {
        assert!(read(format!("{sound}{body}").as_bytes(), None).is_err(), "{body}");
    }
}
