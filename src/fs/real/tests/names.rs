//! Links, renames and listings.

use std::os::fd::OwnedFd;

use super::super::names::move_by_link;
use super::*;

#[test]
fn a_rename_never_replaces_anything() {
    everywhere(|stage| {
        let (from, to) = (stage.write("a", b"a"), stage.write("b", b"b"));
        let error = stage.fs.rename_noreplace(&from, &to).unwrap_err();
        assert_eq!(
            (error.errno(), error.path),
            (libc::EEXIST, stage.path("b").canonicalize().unwrap())
        );
        assert_eq!(fs::read(stage.path("b")).unwrap(), b"b");
        let before = stage.ino("a");
        stage.fs.rename_noreplace(&from, &place("c")).unwrap();
        assert_eq!((stage.ino("c"), stage.path("a").exists()), (before, false));
    });
}

#[test]
fn the_move_by_link_never_replaces_anything_either() {
    everywhere(|stage| {
        let dir = OwnedFd::from(File::open(stage.path("")).unwrap());
        let rename = |from: &str, to: &str| {
            move_by_link((&dir, OsStr::new(from)), (&dir, OsStr::new(to)))
                .map_err(|e| e.raw_os_error().unwrap())
        };
        stage.write("a", b"a");
        stage.write("b", b"b");
        fs::create_dir(stage.path("d")).unwrap();
        assert_eq!(rename("a", "b"), Err(libc::EEXIST));
        assert_eq!(rename("x", "y"), Err(libc::ENOENT));
        assert_eq!(rename("d", "e"), Err(libc::EINVAL));
        let before = stage.ino("a");
        assert_eq!(rename("a", "c"), Ok(()));
        assert_eq!((stage.ino("c"), stage.path("a").exists()), (before, false));
        assert_eq!(fs::read(stage.path("b")).unwrap(), b"b");
    });
}

#[test]
fn a_link_is_made_to_what_is_open_not_to_its_name() {
    everywhere(|stage| {
        let at = stage.write("a", b"old");
        let (open, before) = (stage.fs.open(&at).unwrap(), stage.ino("a"));
        fs::rename(stage.path("a"), stage.path("moved")).unwrap();
        stage.write("a", b"new");
        stage.fs.link(&open, &place("l")).unwrap();
        assert_eq!(stage.ino("l"), before);
        assert_eq!(errno(stage.fs.link(&open, &place("a"))), libc::EEXIST);
        stage.fs.unlink(&place("l")).unwrap();
        stage.fs.unlink(&place("moved")).unwrap();
        assert_eq!(errno(stage.fs.link(&open, &place("l"))), libc::ENOENT);
    });
}

#[test]
fn two_names_are_exchanged() {
    everywhere(|stage| {
        let (a, b) = (stage.write("a", b""), stage.write("b", b""));
        let before = (stage.ino("a"), stage.ino("b"));
        stage.fs.exchange(&a, &b).unwrap();
        assert_eq!((stage.ino("b"), stage.ino("a")), before);
    });
}

#[test]
fn names_do_not_move_between_branches() {
    everywhere(|stage| {
        let from = stage.write("a", b"");
        let to = Place::new(BranchIdx(1), from.path.clone());
        assert_eq!(errno(stage.fs.rename_noreplace(&from, &to)), libc::EXDEV);
        assert_eq!(errno(stage.fs.exchange(&from, &to)), libc::EXDEV);
        // A link may: branches can share one device.
        stage.fs.link(&stage.fs.open(&from).unwrap(), &to).unwrap();
    });
}

#[test]
fn the_branch_root_itself_is_never_renamed_or_removed() {
    everywhere(|stage| {
        for done in [
            stage.fs.unlink(&place("")),
            stage.fs.remove_dir(&place("")),
            stage.fs.make_dir(&place("")).map(drop),
            stage.fs.rename_noreplace(&place(""), &place("a")),
        ] {
            assert_eq!(errno(done), libc::EINVAL);
        }
    });
}

#[test]
fn names_of_255_bytes_and_names_that_are_not_utf8_work() {
    everywhere(|stage| {
        let long = [b'x'; 255];
        for name in [&long[..], b"\xff\xfe\n \x80", "\u{e4}".as_bytes()] {
            let path = [b"d\xff/", name].concat();
            let at = stage.write(OsStr::from_bytes(&path), b"1");
            let open = stage.fs.open(&at).unwrap();
            let aside = at.path.sibling(".xdedup-1").unwrap();
            stage.fs.link(&open, &Place::new(at.branch, aside.clone())).unwrap();
            stage.fs.unlink(&at).unwrap();
            stage.fs.rename_noreplace(&Place::new(at.branch, aside), &at).unwrap();
            let listed = stage.fs.list_dir(&at.dir()).unwrap();
            assert!(listed.iter().any(|entry| entry.name == name), "{listed:?}");
        }
        assert_eq!(errno(stage.fs.open(&place([b'x'; 256]))), libc::ENAMETOOLONG);
    });
}

#[test]
fn a_listing_has_names_inodes_and_kinds() {
    everywhere(|stage| {
        let at = stage.write("d/f", b"");
        fs::hard_link(stage.path("d/f"), stage.path("d/g")).unwrap();
        fs::create_dir(stage.path("d/sub")).unwrap();
        symlink("f", stage.path("d/link")).unwrap();
        let mut listed = stage.fs.list_dir(&at.dir()).unwrap();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let expected = [
            ("f", FileKind::Regular),
            ("g", FileKind::Regular),
            ("link", FileKind::Symlink),
            ("sub", FileKind::Directory),
        ];
        assert_eq!(listed.len(), expected.len());
        for (entry, (name, kind)) in listed.iter().zip(expected) {
            assert_eq!((entry.name.as_slice(), entry.kind), (name.as_bytes(), Some(kind)));
            // On an overlay of several filesystems a directory is listed under another number.
            if kind != FileKind::Directory {
                assert_eq!(entry.ino, stage.ino(format!("d/{name}")));
            }
        }
        assert_eq!(stage.fs.names_with_prefix(&at.dir(), b"s").unwrap(), [b"sub"]);
        assert_eq!(errno(stage.fs.list_dir(&at)), libc::ENOTDIR);
    });
}

#[test]
fn directories_are_made_private_and_removed_only_when_empty() {
    everywhere(|stage| {
        fs::set_permissions(stage.path(""), fs::Permissions::from_mode(0o2777)).unwrap();
        stage.fs.make_dir(&place("d")).unwrap();
        assert_eq!(stage.fs.stat(&place("d")).unwrap().unwrap().mode, 0o700);
        assert_eq!(errno(stage.fs.make_dir(&place("d"))), libc::EEXIST);
        stage.write("d/f", b"");
        assert_eq!(errno(stage.fs.remove_dir(&place("d"))), libc::ENOTEMPTY);
        assert_eq!(errno(stage.fs.unlink(&place("d"))), libc::EISDIR);
        stage.fs.unlink(&place("d/f")).unwrap();
        stage.fs.sync_dir(&place("d")).unwrap();
        stage.fs.sync_dir(&place("")).unwrap();
        stage.fs.remove_dir(&place("d")).unwrap();
    });
}
