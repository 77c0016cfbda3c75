//! Metadata of files, and directories made like others.

use nix::unistd::{Gid, Uid};

use super::super::super::Timestamp;
use super::super::file::{ACCESS_ACL, DEFAULT_ACL};
use super::*;

/// u::rwx, u:1:r-x, g::r-x, m::rwx, o::--- as the kernel stores it.
const ACL: &[u8] = &[
    2, 0, 0, 0, //
    0x01, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, //
    0x02, 0, 5, 0, 1, 0, 0, 0, //
    0x04, 0, 5, 0, 0xff, 0xff, 0xff, 0xff, //
    0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, //
    0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, //
];

fn set(path: &Path, name: &[u8], value: &[u8]) {
    xattr::set(path, OsStr::from_bytes(name), value).unwrap();
}

fn get(path: &Path, name: &[u8]) -> Option<Vec<u8>> {
    xattr::get(path, OsStr::from_bytes(name)).unwrap()
}

#[test]
fn metadata_has_owner_mode_acl_and_attributes() {
    everywhere(|stage| {
        let at = stage.write("f", b"1");
        let path = stage.path("f");
        set(&path, b"user.\xff", b"\0v");
        let plain = stage.fs.metadata(&stage.fs.open(&at).unwrap()).unwrap();
        assert_eq!(
            (plain.uid, plain.gid),
            (Uid::effective().as_raw(), fs::metadata(&path).unwrap().gid())
        );
        assert_eq!(plain.acl, None);
        assert_eq!(plain.xattrs.get(&b"user.\xff"[..]).unwrap(), b"\0v");
        set(&path, ACCESS_ACL, ACL);
        let with_acl = stage.fs.metadata(&stage.fs.open(&at).unwrap()).unwrap();
        assert_eq!(with_acl.acl.as_deref(), Some(ACL));
        assert_eq!((with_acl.mode, with_acl.xattrs), (0o770, plain.xattrs));
    });
}

#[test]
fn a_made_directory_inherits_no_acl() {
    everywhere(|stage| {
        set(&stage.path(""), DEFAULT_ACL, ACL);
        stage.fs.make_dir(&place("d")).unwrap();
        let path = stage.path("d");
        assert_eq!((get(&path, ACCESS_ACL), get(&path, DEFAULT_ACL)), (None, None));
        assert_eq!(stage.fs.stat(&place("d")).unwrap().unwrap().mode, 0o700);
    });
}

#[test]
fn a_cloned_directory_is_like_its_source_and_has_nothing_else() {
    everywhere(|stage| {
        let (from, to) = (stage.path("from"), stage.path("to"));
        fs::create_dir(&from).unwrap();
        set(&from, b"user.kept", b"1");
        set(&from, b"user.mergerfs.branch", b"");
        set(&from, DEFAULT_ACL, ACL);
        set(&from, ACCESS_ACL, ACL);
        fs::set_permissions(&from, fs::Permissions::from_mode(0o3771)).unwrap();
        if Uid::effective().is_root() {
            nix::unistd::chown(&from, Some(Uid::from_raw(12)), Some(Gid::from_raw(34))).unwrap();
            fs::set_permissions(&from, fs::Permissions::from_mode(0o3771)).unwrap();
            set(&from, b"trusted.kept", b"2");
        }
        let made = stage.fs.make_dir(&place("to")).unwrap();
        set(&to, b"user.stale", b"1");
        let mtime = Timestamp { secs: 1_000_000_000, nanos: 123 };
        stage.fs.set_dir_mtime(&place("from"), mtime).unwrap();
        stage.fs.clone_dir(&place("from"), &place("to"), &made, true).unwrap();

        let source = stage.fs.stat(&place("from")).unwrap().unwrap();
        let target = stage.fs.stat(&place("to")).unwrap().unwrap();
        assert_eq!((target.uid, target.gid, target.mode), (source.uid, source.gid, 0o3771));
        assert_eq!((target.mtime, target.atime), (mtime, source.atime));
        let mut expected = super::super::file::all_xattrs(&File::open(&from).unwrap()).unwrap();
        expected.remove(&b"user.mergerfs.branch"[..]).unwrap();
        assert_eq!(super::super::file::all_xattrs(&File::open(&to).unwrap()).unwrap(), expected);
        assert!(expected.contains_key(DEFAULT_ACL) && expected.contains_key(ACCESS_ACL));
    });
}

#[test]
fn a_clone_of_a_plain_directory_loses_inherited_acls() {
    everywhere(|stage| {
        fs::create_dir(stage.path("from")).unwrap();
        fs::set_permissions(stage.path("from"), fs::Permissions::from_mode(0o755)).unwrap();
        set(&stage.path(""), DEFAULT_ACL, ACL);
        fs::create_dir(stage.path("to")).unwrap();
        assert!(get(&stage.path("to"), DEFAULT_ACL).is_some());
        let made = made(stage, "to");
        stage.fs.clone_dir(&place("from"), &place("to"), &made, true).unwrap();
        let to = stage.path("to");
        assert_eq!((get(&to, ACCESS_ACL), get(&to, DEFAULT_ACL)), (None, None));
        assert_eq!(fs::metadata(to).unwrap().mode() & 0o7777, 0o755);
    });
}

/// An attacker who may rename names beside it puts another's directory in the place of a new one.
#[test]
fn another_directory_in_the_place_of_a_new_one_is_not_given_away() {
    everywhere(|stage| {
        fs::create_dir(stage.path("from")).unwrap();
        fs::create_dir(stage.path("private")).unwrap();
        fs::set_permissions(stage.path("private"), fs::Permissions::from_mode(0o700)).unwrap();
        let made = stage.fs.make_dir(&place("to")).unwrap();
        fs::rename(stage.path("to"), stage.path("away")).unwrap();
        fs::rename(stage.path("private"), stage.path("to")).unwrap();
        let cloned = stage.fs.clone_dir(&place("from"), &place("to"), &made, true);
        assert_eq!(errno(cloned), libc::ENOENT);
        let mode = fs::metadata(stage.path("to")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o700);
    });
}

#[test]
fn a_directory_gets_its_time_back_and_keeps_its_access_time() {
    everywhere(|stage| {
        let at = place("");
        let before = stage.fs.stat(&at).unwrap().unwrap();
        stage.write("f", b"");
        stage.fs.set_dir_mtime(&at, before.mtime).unwrap();
        let after = stage.fs.stat(&at).unwrap().unwrap();
        assert_eq!((after.mtime, after.atime), (before.mtime, before.atime));
    });
}
