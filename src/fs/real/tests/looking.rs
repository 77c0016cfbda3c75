//! Looking at links, special files and attributes without opening them.

use super::*;

#[test]
fn a_symlink_is_read_and_not_followed() {
    let stage = Stage::new(&std::env::temp_dir());
    let target = OsStr::from_bytes(b"/no where\n\xff");
    symlink(target, stage.path("link")).unwrap();
    assert_eq!(stage.fs.read_link(&place(b"link")).unwrap(), target.as_bytes());
    let file = stage.write("file", b"x");
    assert!(stage.fs.read_link(&file).is_err());
    // The target of a link does not belong to the branch.
    symlink(stage.path("."), stage.path("out")).unwrap();
    let through = stage.fs.read_link(&place(b"out/link")).unwrap_err();
    assert_eq!(through.errno(), libc::ELOOP);
}

#[test]
fn a_special_file_is_told_without_touching_it() {
    let stage = Stage::new(&std::env::temp_dir());
    nix::unistd::mkfifo(&stage.path("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let found = stage.fs.special(&place(b"fifo")).unwrap();
    assert_eq!((found.kind, found.device), (libc::S_IFIFO, (0, 0)));
}

#[test]
fn attributes_of_files_and_directories_are_read_as_they_are() {
    let stage = Stage::new(&std::env::temp_dir());
    let file = stage.write("dir/file", b"x");
    for at in ["dir", "dir/file"] {
        xattr::set(stage.path(at), "user.note", b"a\0\xff").unwrap();
        let at = place(at.as_bytes());
        let value = stage.fs.xattr(&at, OsStr::new("user.note")).unwrap();
        assert_eq!(value.as_deref(), Some(&b"a\0\xff"[..]));
        assert_eq!(stage.fs.xattr_names(&at).unwrap(), [b"user.note"]);
    }
    assert_eq!(stage.fs.xattr(&file, OsStr::new("user.other")).unwrap(), None);
}

#[test]
fn holes_and_room_are_told() {
    let stage = Stage::new(&std::env::temp_dir());
    let file = stage.write("file", b"x");
    File::options().write(true).open(stage.path("file")).unwrap().set_len(8 << 20).unwrap();
    let open = stage.fs.open(&file).unwrap();
    assert_eq!(stage.fs.seek(&open, 0, false).unwrap(), 0);
    let hole = stage.fs.seek(&open, 0, true).unwrap();
    assert!(hole > 0 && hole <= 8 << 20);
    let after = stage.fs.seek(&open, 8 << 20, false).unwrap_err();
    assert_eq!(after.errno(), libc::ENXIO);
    let space = stage.fs.space(BranchIdx(0)).unwrap();
    assert!(space.unit > 0 && space.blocks >= space.free && space.free >= space.available);
}
