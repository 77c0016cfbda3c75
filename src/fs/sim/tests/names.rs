//! Names, links, directories, times: what Linux does, with its errnos.

use libc::{
    EBUSY, EEXIST, EINVAL, EISDIR, ELOOP, EMLINK, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, EROFS, ESTALE,
    EXDEV,
};

use super::*;
use crate::fs::{FileKind, Lease, Metadata};

#[test]
fn equal_inode_numbers_on_two_disks_are_two_files() {
    let two = Two::new();
    let (f, g) = (two.a("d/f"), two.b("d/f"));
    let (one, other) = (two.world.fs().stat(&f).unwrap(), two.world.fs().stat(&g).unwrap());
    let (one, other) = (one.unwrap().id, other.unwrap().id);
    assert_eq!(one.ino, other.ino);
    assert_ne!(one.dev, other.dev);
}

#[test]
fn a_link_is_another_name_of_the_inode_and_moves_its_ctime() {
    let two = Two::new();
    let fs = two.world.fs();
    let before = fs.stat(&two.a("d/f")).unwrap().unwrap();
    let dir = fs.stat(&two.a("d")).unwrap().unwrap();
    fs.link(&fs.open(&two.a("d/f")).unwrap(), &two.a("d/g")).unwrap();
    let after = fs.stat(&two.a("d/g")).unwrap().unwrap();
    assert_eq!((after.id, after.nlink, after.mtime), (before.id, 2, before.mtime));
    assert!(after.ctime > before.ctime);
    assert!(fs.stat(&two.a("d")).unwrap().unwrap().mtime > dir.mtime);
}

#[test]
fn links_fail_as_on_linux() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.add_file(&two.a("fixed"), b"");
    world.set_immutable(&two.a("fixed"), true);
    world.set_link_limit(two.disks[0], 1);
    let bound = world.add_branch_at(two.disks[0], "branch0");
    world.set_mount(bound, 7);
    let ro = world.add_branch(two.disks[0]);
    world.set_read_only(ro, true);
    let cases = [
        (two.a("d/f"), two.b("g"), EXDEV),
        (two.a("d/f"), place(bound, "g"), EXDEV),
        (two.a("d/f"), two.a("d/f"), EEXIST),
        (two.a("d/f"), two.a("missing/f"), ENOENT),
        (two.a("d/f"), two.a("d/f/g"), ENOTDIR),
        (two.a("d/f"), two.a("g"), EMLINK),
        (two.a("fixed"), two.a("g"), EPERM),
        (two.a("d/f"), place(ro, "g"), EROFS),
    ];
    for (from, to, want) in cases {
        assert_eq!(errno(fs.link(&fs.open(&from).unwrap(), &to)), want, "{from:?} {to:?}");
    }
}

#[test]
fn an_inode_without_names_cannot_be_linked_but_read() {
    let two = Two::new();
    let fs = two.world.fs();
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.unlink(&two.a("d/f")).unwrap();
    assert_eq!(errno(fs.link(&file, &two.a("d/g"))), ENOENT);
    let mut buf = [0; 8];
    assert_eq!(fs.read_at(&file, &mut buf, 1).unwrap(), 3);
    assert_eq!(&buf[..3], b"ame");
    assert_eq!(fs.stat_open(&file).unwrap().nlink, 0);
}

#[test]
fn a_link_is_of_the_open_file_whatever_its_name_leads_to() {
    let two = Two::new();
    let fs = two.world.fs();
    two.world.add_file(&two.a("d/other"), b"other");
    let file = fs.open(&two.a("d/f")).unwrap();
    let id = fs.stat_open(&file).unwrap().id;
    fs.exchange(&two.a("d/f"), &two.a("d/other")).unwrap();
    fs.link(&file, &two.a("d/g")).unwrap();
    assert_eq!(fs.stat(&two.a("d/g")).unwrap().unwrap().id, id);
}

#[test]
fn two_branches_of_one_disk_share_links() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let c = world.add_branch(two.disks[0]);
    fs.link(&fs.open(&two.a("d/f")).unwrap(), &place(c, "g")).unwrap();
    assert_eq!(fs.stat(&place(c, "g")).unwrap(), fs.stat(&two.a("d/f")).unwrap());
}

#[test]
fn renames_never_go_over_anything() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.add_link(&two.a("d/f"), &two.a("d/link"));
    world.add_file(&two.a("d/fixed"), b"");
    world.set_immutable(&two.a("d/fixed"), true);
    let cases = [
        (two.a("d/f"), two.a("d/link"), EEXIST),
        (two.a("d/none"), two.a("d/g"), ENOENT),
        (two.a("d/f"), two.b("d/g"), EXDEV),
        (two.a("d/fixed"), two.a("d/g"), EPERM),
        (two.a("d"), two.a("d/g"), EINVAL),
        (two.a(""), two.a("e"), EBUSY),
    ];
    for (from, to, want) in cases {
        assert_eq!(errno(fs.rename_noreplace(&from, &to)), want, "{from:?} {to:?}");
    }
    let before = fs.stat(&two.a("d/f")).unwrap().unwrap();
    fs.rename_noreplace(&two.a("d/f"), &two.a("g")).unwrap();
    let after = fs.stat(&two.a("g")).unwrap().unwrap();
    assert_eq!((after.id, after.nlink), (before.id, 2));
    assert!(after.ctime > before.ctime);
    assert_eq!(fs.stat(&two.a("d/f")).unwrap(), None);
}

#[test]
fn a_plain_rename_of_two_names_of_one_inode_leaves_both() {
    let two = Two::new();
    two.world.add_link(&two.a("d/f"), &two.a("d/link"));
    two.world.state().rename_over(&two.a("d/f"), &two.a("d/link")).unwrap();
    assert_eq!(ino(&two.world, &two.a("d/f")), ino(&two.world, &two.a("d/link")));
    assert_eq!(nlink(&two.world, &two.a("d/f")), 2);
}

#[test]
fn an_exchange_swaps_what_two_names_lead_to() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.add_file(&two.a("d/g"), b"other");
    world.add_link(&two.a("d/g"), &two.a("d/link"));
    let [f, g] = ["d/f", "d/g"].map(|path| ino(world, &two.a(path)));
    fs.exchange(&two.a("d/f"), &two.a("d/g")).unwrap();
    assert_eq!([ino(world, &two.a("d/f")), ino(world, &two.a("d/g"))], [g, f]);
    assert_eq!(nlink(world, &two.a("d/f")), 2);
    fs.exchange(&two.a("d/f"), &two.a("d/link")).unwrap();
    assert_eq!(errno(fs.exchange(&two.a("d/f"), &two.a("none"))), ENOENT);
}

#[test]
fn directories_are_made_private_and_removed_only_when_empty() {
    let two = Two::new();
    let fs = two.world.fs();
    fs.make_dir(&two.a("new")).unwrap();
    let stat = fs.stat(&two.a("new")).unwrap().unwrap();
    assert_eq!((stat.kind, stat.mode), (FileKind::Directory, 0o700));
    assert_eq!(errno(fs.make_dir(&two.a("new"))), EEXIST);
    assert_eq!(errno(fs.unlink(&two.a("new"))), EISDIR);
    assert_eq!(errno(fs.remove_dir(&two.a("d"))), ENOTEMPTY);
    assert_eq!(errno(fs.remove_dir(&two.a("d/f"))), ENOTDIR);
    fs.remove_dir(&two.a("new")).unwrap();
    assert_eq!(errno(fs.remove_dir(&two.a("new"))), ENOENT);
}

#[test]
fn a_cloned_directory_looks_like_its_model_and_has_its_times() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    let meta = Metadata { uid: 7, gid: 8, mode: 0o2750, ..Metadata::default() };
    world.set_metadata(&two.b("d"), meta);
    let made = fs.make_dir(&two.a("new")).unwrap();
    fs.clone_dir(&two.b("d"), &two.a("new"), &made, true).unwrap();
    let (old, new) =
        (fs.stat(&two.b("d")).unwrap().unwrap(), fs.stat(&two.a("new")).unwrap().unwrap());
    let look = |stat: &crate::fs::Stat| (stat.uid, stat.gid, stat.mode, stat.mtime);
    assert_eq!(look(&new), look(&old));
    assert!(new.ctime > old.ctime);
}

#[test]
fn nothing_leads_through_symlinks_mounts_or_files() {
    let two = Two::new();
    let (world, fs) = (&two.world, two.world.fs());
    world.add_symlink(&two.a("link"));
    world.add_fifo(&two.a("fifo"));
    world.add_file(&two.a("mnt/f"), b"");
    world.mount_on(&two.a("mnt"));
    assert_eq!(fs.stat(&two.a("link")).unwrap().unwrap().kind, FileKind::Symlink);
    assert_eq!(fs.stat(&two.a("d/f/x")).unwrap(), None);
    assert_eq!(fs.stat(&two.a("none/x")).unwrap(), None);
    let opens =
        [("link/x", ELOOP), ("link", ELOOP), ("fifo", EINVAL), ("d", EINVAL), ("mnt/f", EXDEV)];
    for (path, want) in opens {
        assert_eq!(errno(fs.open(&two.a(path))), want, "{path}");
    }
    assert_eq!(errno(fs.stat(&two.a("mnt/f"))), EXDEV);
    assert_eq!(errno(fs.unlink(&two.a("link/x"))), ELOOP);
}

#[test]
fn a_branch_that_went_away_is_stale() {
    let two = Two::new();
    two.world.fs().check_branch(two.a).unwrap();
    two.world.set_gone(two.a, true);
    assert_eq!(errno(two.world.fs().check_branch(two.a)), ESTALE);
}

#[test]
fn the_clock_moves_with_changes_and_pauses_and_setup_is_old() {
    let two = Two::new();
    let fs = two.world.fs();
    let start = fs.now();
    let file = fs.stat(&two.a("d/f")).unwrap().unwrap();
    assert!(start.secs - file.ctime.secs > 86_400 && start.secs - file.mtime.secs > 86_400);
    assert_eq!(fs.now(), start);
    fs.make_dir(&two.a("x")).unwrap();
    assert_eq!(fs.now().as_nanos() - start.as_nanos(), 10_000_000);
    fs.pause(std::time::Duration::from_millis(2500));
    assert_eq!(fs.now().as_nanos() - start.as_nanos(), 2_510_000_000);
    fs.set_dir_mtime(&two.a("x"), file.mtime).unwrap();
    let dir = fs.stat(&two.a("x")).unwrap().unwrap();
    assert_eq!((dir.mtime, dir.ctime), (file.mtime, fs.now()));
}

#[test]
fn names_are_listed_by_prefix() {
    let two = Two::new();
    two.world.add_file(&two.a("d/.tmp-1"), b"");
    let fs = two.world.fs();
    assert_eq!(fs.names_with_prefix(&two.a("d"), b".tmp-").unwrap(), [b".tmp-1".to_vec()]);
    assert_eq!(errno(fs.names_with_prefix(&two.a("none"), b"")), ENOENT);
}

#[test]
fn the_pool_shows_the_first_branch_that_has_a_path() {
    let two = Two::new();
    two.world.add_file(&two.a("x"), b"first");
    two.world.add_file(&two.b("x"), b"second");
    two.world.add_file(&two.b("y"), b"only");
    let view: Vec<(Vec<u8>, Vec<u8>)> =
        two.world.pool_view().into_iter().map(|(path, b)| (path.as_bytes().to_vec(), b)).collect();
    let want = [("d/f", "same"), ("x", "first"), ("y", "only")];
    assert_eq!(view, want.map(|(path, b)| (path.as_bytes().to_vec(), b.as_bytes().to_vec())));
}

#[test]
fn a_lease_needs_the_file_to_itself() {
    let two = Two::new();
    let fs = two.world.fs();
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, Lease::Write).unwrap();
    assert_eq!(fs.lease_state(&file).unwrap(), Some(Lease::Write));
    // A second open of our own is refused as anybody's, and leaves the lease broken down to reading.
    assert_eq!(errno(fs.open(&two.a("d/f"))), libc::EAGAIN);
    assert_eq!(fs.lease_state(&file).unwrap(), Some(Lease::Read));
    fs.lease(&file, Lease::Read).unwrap();
    let second = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&second, Lease::Read).unwrap();
    assert_eq!(errno(fs.lease(&file, Lease::Write)), libc::EAGAIN);
    drop(second);
    fs.lease(&file, Lease::Write).unwrap();
    fs.release(&file).unwrap();
    assert_eq!(fs.lease_state(&file).unwrap(), None);
}
