//! Looking around for a scan.

use std::ffi::OsStr;
use std::os::unix::fs::{FileExt, symlink};

use super::{errno, everywhere, place};
use crate::fs::FileKind;

#[test]
fn a_directory_shows_its_entries_in_inode_order_and_what_they_are() {
    everywhere(|stage| {
        for name in ["d/b", "d/a", "d/sub/x"] {
            stage.write(name, b"text");
        }
        symlink("a", stage.path("d/link")).unwrap();
        let dir = stage.fs.scan_dir(&place("d")).unwrap();
        assert_eq!(dir.id().ino, stage.ino("d"));
        assert!(dir.entries().is_sorted_by_key(|entry| entry.ino));
        let mut seen: Vec<_> = dir
            .entries()
            .iter()
            .map(|entry| {
                let stat = dir.stat(entry).unwrap().unwrap();
                assert!(entry.kind.is_none_or(|kind| kind == stat.kind));
                assert_eq!(entry.ino, stat.id.ino);
                (dir.name(entry).to_str().unwrap(), stat.kind)
            })
            .collect();
        seen.sort_unstable_by_key(|(name, _)| *name);
        let kinds = [
            ("a", FileKind::Regular),
            ("b", FileKind::Regular),
            ("link", FileKind::Symlink),
            ("sub", FileKind::Directory),
        ];
        assert_eq!(seen, kinds);
        std::fs::remove_file(stage.path("d/a")).unwrap();
        let gone = dir.entries().iter().find(|e| dir.name(e) == c"a").unwrap();
        assert!(dir.stat(gone).unwrap().is_none());
    });
}

#[test]
fn what_is_in_memory_is_read_at_once_and_the_rest_without_leaving_it_there() {
    everywhere(|stage| {
        let at = stage.write("f", &[7; 10_000]);
        let file = stage.fs.open_to_scan(&at).unwrap();
        let mut buf = [0; 4096];
        // On a filesystem that cannot tell, nothing counts as being in memory.
        if let Some(read) = file.read_resident(&mut buf, 8192).unwrap() {
            assert_eq!((read, buf[0]), (10_000 - 8192, 7));
        }
        assert_eq!(file.read_passing(&mut buf, 4096).unwrap(), 4096);
        assert_eq!(file.read_passing(&mut buf, 10_000).unwrap(), 0);
        assert_eq!(file.stat().unwrap().size, 10_000);
        let whole = std::fs::File::open(stage.path("f")).unwrap();
        whole.read_exact_at(&mut buf, 0).unwrap();
    });
}

#[test]
fn files_are_opened_through_no_symlink_and_by_plain_names() {
    everywhere(|stage| {
        stage.write("d/f", b"text");
        symlink("f", stage.path("d/link")).unwrap();
        symlink("d", stage.path("e")).unwrap();
        let dir = stage.fs.scan_parent(&place("d")).unwrap();
        assert_eq!(dir.open(OsStr::new("f")).unwrap().stat().unwrap().size, 4);
        for (name, error) in [("link", libc::ELOOP), ("../d/f", libc::EXDEV)] {
            let refused = dir.open(OsStr::new(name)).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(error), "{name}");
        }
        assert_eq!(errno(stage.fs.open_to_scan(&place("e/f"))), libc::ELOOP);
        assert_eq!(errno(stage.fs.scan_parent(&place("e")).map(drop)), libc::ENOTDIR);
        assert_eq!(errno(stage.fs.scan_dir(&place("e")).map(drop)), libc::ENOTDIR);
    });
}
