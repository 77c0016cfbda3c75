//! Nothing outside a branch is reached, and nothing but regular files is opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::fs::{Handle, Lease};

use super::*;

#[test]
fn a_symlink_on_the_way_is_refused_by_every_call() {
    everywhere(|stage| {
        let file = stage.write("real/f", b"x");
        symlink("real", stage.path("link")).unwrap();
        let (fs, through, to) = (&stage.fs, place("link/f"), place("link/new"));
        let open = fs.open(&file).unwrap();
        for (call, errno) in [
            ("stat", errno(fs.stat(&through))),
            ("open", errno(fs.open(&through))),
            ("link", errno(fs.link(&open, &to))),
            ("rename from", errno(fs.rename_noreplace(&through, &place("new")))),
            ("rename to", errno(fs.rename_noreplace(&file, &to))),
            ("exchange", errno(fs.exchange(&file, &through))),
            ("unlink", errno(fs.unlink(&through))),
            ("make_dir", errno(fs.make_dir(&to))),
            ("remove_dir", errno(fs.remove_dir(&through))),
            ("sync_dir", errno(fs.sync_dir(&place("link")))),
            ("list_dir", errno(fs.list_dir(&place("link")))),
            (
                "clone_dir",
                errno(fs.clone_dir(&place("link"), &place("real"), &made(stage, "real"), true)),
            ),
        ] {
            // The kernel returns ENOTDIR if a directory was asked for and the symlink is the last component.
            assert!([libc::ELOOP, libc::ENOTDIR].contains(&errno), "{call}: {errno}");
        }
        assert_eq!(stage.fs.list_dir(&place("real")).unwrap().len(), 1);
    });
}

#[test]
fn a_pinned_directory_is_the_same_wherever_it_goes_and_whatever_has_its_path() {
    everywhere(|stage| {
        let file = stage.write("d/f", b"mine");
        stage.write("other/f", b"theirs");
        let (fs, dir, new) = (&stage.fs, place("d"), place("d/new"));
        let open = fs.open(&file).unwrap();
        symlink("d", stage.path("link")).unwrap();
        for (at, expected) in [
            ("d", Pin::New),
            ("d", Pin::Before),
            ("d/f", Pin::Missing),
            ("link", Pin::Missing),
            ("absent", Pin::Missing),
        ] {
            assert_eq!(fs.pin(&place(at)).unwrap(), expected, "{at}");
        }
        assert_eq!(fs.path_of_dir(&dir).unwrap(), Some(dir.path.clone()));
        assert_eq!(fs.path_of_dir(&place("x")).unwrap(), Some(place("x").path));
        let swap = |from: &str, to: &str| fs::rename(stage.path(from), stage.path(to)).unwrap();
        swap("d", "away");
        swap("other", "d");
        assert_eq!(fs.path_of_dir(&dir).unwrap(), Some(place("away").path));
        assert_eq!(fs.stat(&file).unwrap(), Some(fs.stat_open(&open).unwrap()));
        fs.link(&open, &new).unwrap();
        fs.exchange(&file, &new).unwrap();
        fs.rename_noreplace(&new, &place("d/newer")).unwrap();
        fs.unlink(&file).unwrap();
        fs.make_dir(&place("d/sub")).unwrap();
        fs.remove_dir(&place("d/sub")).unwrap();
        fs.set_dir_mtime(&dir, Timestamp::default()).unwrap();
        fs.sync_dir(&dir).unwrap();
        assert_eq!(fs.list_dir(&dir).unwrap().len(), 1);
        assert_eq!(fs::read(stage.path("away/newer")).unwrap(), b"mine");
        fs.unpin();
        assert_eq!(fs::read(stage.path("d/f")).unwrap(), b"theirs");
        assert_eq!(fs.list_dir(&dir).unwrap().len(), 1);
        assert_eq!(fs.path_of_dir(&dir).unwrap(), Some(dir.path));
    });
}

#[test]
fn a_pinned_directory_that_is_removed_takes_no_names() {
    everywhere(|stage| {
        let file = stage.write("f", b"mine");
        let (fs, dir) = (&stage.fs, place("d"));
        fs::create_dir(stage.path("d")).unwrap();
        assert_eq!(fs.pin(&dir).unwrap(), Pin::New);
        fs::remove_dir(stage.path("d")).unwrap();
        fs::create_dir(stage.path("d")).unwrap();
        assert_eq!(fs.path_of_dir(&dir).unwrap(), None);
        let open = fs.open(&file).unwrap();
        assert_eq!(errno(fs.link(&open, &place("d/f"))), libc::ENOENT);
        assert_eq!(fs.stat(&place("d/f")).unwrap(), None);
        assert!(fs.list_dir(&dir).unwrap().is_empty());
        fs.sync_dir(&dir).unwrap();
        assert_eq!(fs::read_dir(stage.path("d")).unwrap().count(), 0);
    });
}

#[test]
fn a_directory_that_was_made_is_pinned_unless_another_has_its_path_by_then() {
    everywhere(|stage| {
        let (fs, dir) = (&stage.fs, place("d"));
        let made = fs.make_dir(&dir).unwrap();
        fs.pin_made(&dir, &made);
        fs::rename(stage.path("d"), stage.path("away")).unwrap();
        fs::create_dir(stage.path("d")).unwrap();
        assert_eq!(fs.path_of_dir(&dir).unwrap(), Some(place("away").path));
        fs.pin_made(&dir, &made);
        assert_eq!(errno(fs.stat(&dir)), libc::ELOOP);
        assert_eq!(errno(fs.stat(&place("d/f"))), libc::ELOOP);
        fs.unpin();
        assert_eq!(fs.pin(&dir).unwrap(), Pin::New);
        fs.remove_dir(&dir).unwrap();
        assert_eq!(fs.pin(&dir).unwrap(), Pin::Missing);
    });
}

#[test]
fn a_held_name_is_followed_and_a_link_in_its_place_is_another() {
    everywhere(|stage| {
        let file = stage.write("d/f", b"mine");
        fs::hard_link(stage.path("d/f"), stage.path("g")).unwrap();
        let fs = &stage.fs;
        let held = fs.hold(&file).unwrap();
        let path = || fs.path_of(&held).unwrap();
        assert_eq!(path(), Some(file.path.clone()));
        fs::rename(stage.path("d/f"), stage.path("d/e")).unwrap();
        fs::rename(stage.path("d"), stage.path("dd")).unwrap();
        assert_eq!(path(), Some(place("dd/e").path));
        fs::remove_file(stage.path("dd/e")).unwrap();
        fs::hard_link(stage.path("g"), stage.path("dd/e")).unwrap();
        assert_eq!(path(), None);
        assert_eq!(fs.stat_open(&held).unwrap().nlink, 2);
        let mut bytes = [0; 8];
        let open = fs.open_held(&held).unwrap();
        assert_eq!(fs.read_at(&open, &mut bytes, 0).unwrap(), 4);
        // A name may end like what the kernel appends to one that is gone.
        let odd = stage.write("x (deleted)", b"");
        assert_eq!(fs.path_of(&fs.hold(&odd).unwrap()).unwrap(), Some(odd.path.clone()));
        // The branch itself may be moved.
        let (held, moved) = (fs.hold(&odd).unwrap(), stage.dirs[1].path().join("branch"));
        fs::rename(stage.path(""), &moved).unwrap();
        assert_eq!(fs.path_of(&held).unwrap(), Some(odd.path));
        fs::rename(moved, stage.path("")).unwrap();
        assert_eq!(errno(fs.hold(&place("absent"))), libc::ENOENT);
    });
}

#[test]
fn a_held_file_is_not_open() {
    everywhere(|stage| {
        let file = stage.write("f", b"mine");
        let held = stage.fs.hold(&file).unwrap();
        let open = stage.fs.open(&file).unwrap();
        stage.fs.lease(&open, Lease::Write).unwrap();
        let again = stage.fs.hold(&file).unwrap();
        assert_eq!(stage.fs.lease_state(&open).unwrap(), Some(Lease::Write));
        drop((held, again));
    });
}

#[test]
fn a_handle_finds_its_file_or_directory_again_and_no_other() {
    everywhere(|stage| {
        let file = stage.write("d/f", b"mine");
        let (fs, dir, branch) = (&stage.fs, place("d"), BranchIdx(0));
        let handles = [fs.handle(&file).unwrap(), fs.handle(&dir).unwrap()];
        if handles[0] == Handle::default() {
            return; // an overlay that has none
        }
        if !Uid::effective().is_root() {
            // The kernel lets only root find a file by its handle.
            assert!(fs.by_handle(branch, &handles[0]).unwrap().is_none());
            assert_eq!(fs.pin_by_handle(&dir, &handles[1]).unwrap(), Pin::Missing);
            return;
        }
        fs::rename(stage.path("d"), stage.path("dd")).unwrap();
        fs::create_dir(stage.path("d")).unwrap();
        assert_eq!(fs.pin_by_handle(&dir, &handles[1]).unwrap(), Pin::New);
        assert_eq!(fs.path_of_dir(&dir).unwrap(), Some(place("dd").path));
        let found = fs.by_handle(branch, &handles[0]).unwrap().unwrap();
        let stat = fs.stat(&file).unwrap();
        assert_eq!(stat, Some(fs.stat_open(&found).unwrap()));
        drop(found);
        fs::remove_file(stage.path("dd/f")).unwrap();
        assert!(fs.by_handle(branch, &handles[0]).unwrap().is_none());
        fs.unpin();
        fs::remove_dir(stage.path("dd")).unwrap();
        assert_eq!(fs.pin_by_handle(&dir, &handles[1]).unwrap(), Pin::Missing);
        assert!(fs.by_handle(branch, &Handle::default()).unwrap().is_none());
        for pinned in [false, true] {
            assert_eq!(errno(fs.handle(&place("absent"))), libc::ENOENT, "{pinned}");
            fs.pin(&place("")).unwrap();
        }
        let again = stage.write("g", b"mine");
        let by_pin = fs.handle(&again).unwrap();
        fs.unpin();
        assert_eq!(by_pin, fs.handle(&again).unwrap());
    });
}

#[test]
fn a_symlink_is_described_and_never_opened() {
    everywhere(|stage| {
        symlink("/etc/passwd", stage.path("l")).unwrap();
        assert_eq!(stage.fs.stat(&place("l")).unwrap().unwrap().kind, FileKind::Symlink);
        assert_eq!(errno(stage.fs.open(&place("l"))), libc::ELOOP);
    });
}

#[test]
fn a_fifo_is_never_opened() {
    everywhere(|stage| {
        let path = stage.path("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let opened = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Returns as soon as anybody opens the other end.
            scope.spawn(|| {
                File::options().write(true).open(&path).unwrap();
                opened.store(true, Ordering::SeqCst);
            });
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(errno(stage.fs.open(&place("fifo"))), libc::EINVAL);
            std::thread::sleep(Duration::from_millis(50));
            assert!(!opened.load(Ordering::SeqCst));
            drop(File::open(&path).unwrap());
        });
        assert_eq!(errno(stage.fs.open(&place(""))), libc::EINVAL);
    });
}

#[test]
fn only_the_wanted_inode_is_opened() {
    everywhere(|stage| {
        let (fs, file) = (&stage.fs, stage.write("d/f", b"mine"));
        let other = stage.write("g", b"theirs");
        symlink("d", stage.path("link")).unwrap();
        mkfifo(&stage.path("d/fifo"), Mode::S_IRWXU).unwrap();
        for pinned in [false, true] {
            let id = fs.stat(&file).unwrap().unwrap().id;
            let (open, stat) = fs.open_inode(&file, id).unwrap().unwrap();
            assert_eq!((stat.id, fs.stat_open(&open).unwrap()), (id, stat), "{pinned}");
            for at in [&other, &place("link/f"), &place("d/absent"), &place("d/f/below")] {
                assert!(fs.open_inode(at, id).unwrap().is_none(), "{at:?}");
                assert!(fs.hold_if(at, &|stat| stat.id == id).unwrap().is_none(), "{at:?}");
            }
            assert!(fs.hold_if(&file, &|stat| stat.id == id).unwrap().is_some());
            let fifo = fs.stat(&place("d/fifo")).unwrap().unwrap().id;
            assert!(fs.open_inode(&place("d/fifo"), fifo).unwrap().is_none());
            fs.pin(&place("d")).unwrap();
        }
        fs.unpin();
    });
}

#[test]
fn a_missing_component_is_no_error_of_stat() {
    everywhere(|stage| {
        stage.write("f", b"");
        for missing in ["g", "no/such/dir", "f/below"] {
            assert_eq!(stage.fs.stat(&place(missing)).unwrap(), None, "{missing}");
        }
        assert_eq!(errno(stage.fs.open(&place("g"))), libc::ENOENT);
    });
}

#[test]
fn stat_agrees_with_the_standard_library() {
    everywhere(|stage| {
        let at = stage.write("f", &[1; 5000]);
        fs::hard_link(stage.path("f"), stage.path("g")).unwrap();
        fs::set_permissions(stage.path("f"), fs::Permissions::from_mode(0o4640)).unwrap();
        let (ours, std) =
            (stage.fs.stat(&at).unwrap().unwrap(), fs::metadata(stage.path("f")).unwrap());
        assert_eq!((ours.id.dev, ours.id.ino), (std.dev(), std.ino()));
        assert_eq!((ours.kind, ours.mode, ours.nlink), (FileKind::Regular, 0o4640, 2));
        assert_eq!((ours.uid, ours.gid, ours.size), (std.uid(), std.gid(), 5000));
        assert_eq!(ours.blocks, std.blocks());
        assert_eq!((ours.mtime.secs, i64::from(ours.mtime.nanos)), (std.mtime(), std.mtime_nsec()));
        assert_eq!((ours.ctime.secs, i64::from(ours.ctime.nanos)), (std.ctime(), std.ctime_nsec()));
        assert!(ours.btime.is_some() && !ours.immutable);
        assert_eq!(ours, stage.fs.stat_open(&stage.fs.open(&at).unwrap()).unwrap());
        assert_eq!(ours.mount, stage.fs.mount_id(BranchIdx(0)));
    });
}

#[test]
fn a_mount_point_below_the_branch_is_not_entered() {
    let root = [Branch { path: "/".into(), mode: BranchMode::Ro }];
    let fs = RealFs::open(&root).unwrap();
    assert_eq!(errno(fs.stat(&place("proc/self/status"))), libc::EXDEV);
}

#[test]
fn reading_leaves_the_access_time_alone() {
    everywhere(|stage| {
        let at = stage.write("f", b"abc");
        let before = stage.fs.stat(&at).unwrap().unwrap().atime;
        let mut buf = [0; 8];
        let file = stage.fs.open(&at).unwrap();
        assert_eq!(stage.fs.read_at(&file, &mut buf, 1).unwrap(), 2);
        assert_eq!(&buf[..2], b"bc");
        assert_eq!(stage.fs.read_at(&file, &mut buf, 3).unwrap(), 0);
        assert_eq!(stage.fs.stat(&at).unwrap().unwrap().atime, before);
    });
}

#[test]
fn a_branch_that_was_replaced_is_noticed() {
    everywhere(|stage| {
        stage.fs.check_branch(BranchIdx(0)).unwrap();
        let (branch, aside) = (stage.dirs[0].path(), stage.dirs[1].path().join("aside"));
        fs::rename(branch, &aside).unwrap();
        assert_eq!(errno(stage.fs.check_branch(BranchIdx(0))), libc::ENOENT);
        fs::create_dir(branch).unwrap();
        assert_eq!(errno(stage.fs.check_branch(BranchIdx(0))), libc::ESTALE);
        // Calls still act on the directory that was pinned.
        stage.fs.make_dir(&place("d")).unwrap();
        assert!(aside.join("d").is_dir());
    });
}

#[test]
fn a_branch_knows_its_filesystem() {
    everywhere(|stage| {
        let branch = BranchIdx(0);
        let found = fs::metadata(stage.path("")).unwrap();
        assert_eq!(stage.fs.root_id(branch).ino, found.ino());
        assert!(stage.fs.free_bytes(branch).unwrap() > 0);
        assert!(!stage.fs.read_only(branch).unwrap());
        assert!(stage.fs.max_links(branch) >= 65_000);
        let stat = stage.fs.stat(&place("")).unwrap().unwrap();
        let stored = stage.fs.stored_id(branch, &stat);
        assert_eq!(stored.map(|id| id.fs), stage.fs.identity(branch));
        let mut elsewhere = stat;
        elsewhere.id.dev += 1;
        assert_eq!(stage.fs.stored_id(branch, &elsewhere), None);
    });
}

#[test]
fn a_branch_that_is_missing_is_named() {
    let branch = Branch { path: "/no/such/branch".into(), mode: BranchMode::Rw };
    let error = RealFs::open(&[branch]).unwrap_err();
    assert_eq!((error.errno(), error.path), (libc::ENOENT, "/no/such/branch".into()));
}
