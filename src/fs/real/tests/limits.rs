//! What no call of the kernel does. The races that the guarantees do not exclude come from these.

use super::super::super::Lease;
use super::*;

fn rename(stage: &Stage, from: &str, to: &str) {
    fs::rename(stage.path(from), stage.path(to)).unwrap();
}

fn read(stage: &Stage, path: &str) -> Vec<u8> {
    fs::read(stage.path(path)).unwrap()
}

#[test]
fn a_rename_of_one_link_over_another_does_nothing_and_succeeds() {
    everywhere(|stage| {
        stage.write("kept", b"1");
        fs::hard_link(stage.path("kept"), stage.path("replaced")).unwrap();
        rename(stage, "kept", "replaced");
        assert_eq!(stage.ino("kept"), stage.ino("replaced"));
    });
}

#[test]
fn an_exchange_takes_whatever_has_the_names() {
    everywhere(|stage| {
        let (hidden, path) = (stage.write("hidden", b"link"), stage.write("path", b"looked at"));
        stage.write("new", b"saved");
        // Between our last look at the path and our call.
        rename(stage, "new", "path");
        stage.fs.exchange(&hidden, &path).unwrap();
        assert_eq!(read(stage, "hidden"), b"saved");
    });
}

#[test]
fn an_unlink_takes_whatever_has_the_name() {
    everywhere(|stage| {
        let hidden = stage.write("hidden", b"looked at");
        stage.write("other", b"another file");
        rename(stage, "other", "hidden");
        stage.fs.unlink(&hidden).unwrap();
        assert_eq!(stage.fs.stat(&hidden).unwrap(), None);
    });
}

#[test]
fn a_directory_is_removed_by_its_name() {
    everywhere(|stage| {
        let dir = place("dir");
        fs::create_dir(stage.path("dir")).unwrap();
        let before = stage.ino("dir");
        fs::rename(stage.path("dir"), stage.path("away")).unwrap();
        fs::create_dir(stage.path("dir")).unwrap();
        assert_ne!(stage.ino("dir"), before);
        stage.fs.remove_dir(&dir).unwrap();
        assert_eq!(stage.fs.stat(&dir).unwrap(), None);
    });
}

#[test]
fn a_rename_without_replacing_looks_at_one_disk() {
    everywhere(|stage| {
        let temp = stage.write("temp", b"link");
        let path = RelPath::new("path").unwrap();
        fs::write(stage.dirs[1].path().join("path"), b"saved on the other disk").unwrap();
        stage.fs.rename_noreplace(&temp, &Place::new(BranchIdx(0), path)).unwrap();
        assert_eq!(read(stage, "path"), b"link");
    });
}

#[test]
fn names_modes_and_attributes_change_under_a_lease() {
    everywhere(|stage| {
        let at = stage.write("f", b"1");
        let file = stage.fs.open(&at).unwrap();
        stage.fs.lease(&file, Lease::Write).unwrap();
        fs::hard_link(stage.path("f"), stage.path("link")).unwrap();
        rename(stage, "f", "renamed");
        fs::set_permissions(stage.path("renamed"), fs::Permissions::from_mode(0o600)).unwrap();
        if let Err(error) = xattr::set(stage.path("renamed"), "user.mark", b"1") {
            // tmpfs before kernel 6.6.
            assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
        }
        fs::remove_file(stage.path("link")).unwrap();
        assert_eq!(stage.fs.lease_state(&file).unwrap(), Some(Lease::Write));
    });
}
