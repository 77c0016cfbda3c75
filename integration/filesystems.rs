//! Disks that lack something: hard links, leases, an exchange of names, room, inodes, quota.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::groups;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Btrfs, Exfat, Ext4, Ntfs, Vfat, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

fn primary(pool: &Pool) -> [std::ffi::OsString; 2] {
    ["-p".into(), pool.path("media").into()]
}

fn execute(tool: &Tool, pool: &Pool, list: &Path) -> Run {
    let primary = primary(pool);
    tool.execute(list, &[primary[0].as_os_str(), primary[1].as_os_str()])
}

#[test]
fn files_on_disks_of_windows_are_left_alone() {
    let pool = PoolPlan::of(&[Ext4, Vfat, Exfat, Ntfs]).mount();
    let bytes = tree::bytes(1, groups::SMALL);
    let alone = [(1, "fat/b"), (1, "fat/c"), (2, "exfat/d"), (3, "ntfs/a long name.mkv")];
    for (disk, path) in [(0, "media/a")].into_iter().chain(alone) {
        tree::write(&pool.on(disk, path), &bytes);
    }
    // Windows adds such names: one more link, which no directory lists.
    let short = ["-n", "system.ntfs_dos_name", "-v", "ALONGN~1.MKV"].map(OsStr::new);
    run("setfattr", &[&short[..], &[pool.on(alone[3].0, alone[3].1).as_os_str()]].concat());
    let paths = ["media/a"].into_iter().chain(alone.map(|(_, path)| path));
    let mut made = vec![paths.map(Into::into).collect::<Vec<_>>()];
    // Nor is a file of theirs ever the master of another.
    tree::write(&pool.on(1, "fat/master"), &tree::bytes(2, groups::SMALL));
    tree::write(&pool.on(0, "other/duplicate"), &tree::bytes(2, groups::SMALL));
    made.push(vec!["fat/master".into(), "other/duplicate".into()]);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let run = execute(&tool, &pool, &list).expect(0);
    assert_eq!(run.summary().get("planned"), 0, "{run}");
    for (_, path) in alone {
        assert_eq!(run.reasons_for(&pool.path(path)), ["no-identity"], "{run}");
    }
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    let fat = pool.path("fat");
    let run = tool.execute(&list, &["-p".as_ref(), fat.as_os_str()]).expect(0);
    assert_eq!(run.summary().get("planned"), 0, "{run}");
    let doctor = tool.run(&["doctor", pool.root().to_str().unwrap()]).expect(1);
    assert!(doctor.stdout.contains("error: no-"), "{doctor}");
    let scan = tool.run(&["-e", "--format", "json", pool.root().to_str().unwrap()]);
    assert_eq!(scan.summary().get("done"), 0, "{scan}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
}

#[test]
fn where_no_lease_can_be_had_nothing_is_done_unless_the_user_vouches() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    for path in made.iter().flatten() {
        for disk in snapshot::places(&pool, path) {
            // Somebody else's files, to a process that may not take leases on those.
            tree::set_owner(&pool.on(disk.0, path), (1000, 1000));
        }
    }
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let list = list.to_str().unwrap();
    let before = snapshot::all_entries(&pool);
    let without = ["setpriv", "--bounding-set=-lease", "--inh-caps=-lease"];
    let run = tool.run_under(&without, &["-e", "--format", "json", "-m", list]);
    assert_eq!(run.summary().get("done"), 0, "{run}");
    for group in &made {
        let told = group.iter().flat_map(|path| run.reasons_for(&pool.path(path)));
        assert_eq!(told.collect::<Vec<_>>(), ["permission"], "{run}");
    }
    assert_eq!(snapshot::all_entries(&pool), before);
    let run = tool.run_under(&without, &["-e", "--no-lease", "--format", "json", "-m", list]);
    assert_eq!(run.expect(0).summary().get("done"), 2);
    groups::assert_linked(&pool, &made);
}

#[test]
fn a_disk_that_cannot_exchange_names_takes_copies_of_other_disks_and_keeps_its_own() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut made = groups::pairs(&pool, 0, 1, 2);
    std::fs::create_dir(pool.on(0, "downloads")).unwrap();
    for (disk, path) in [(0, "near/copy"), (1, "far/copy")] {
        tree::write(&pool.on(disk, path), &tree::bytes(1, groups::SMALL));
        made[1].push(path.into());
    }
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let log = tool.dir().join("strace");
    let strace =
        ["strace", "-f", "-o", log.to_str().unwrap(), "-e", "inject=renameat2:error=EINVAL"];
    let primary = pool.path("media");
    let arguments = ["-e", "--format", "json", "-m", list.to_str().unwrap(), "-p"];
    let run = tool.run_under(&strace, &[&arguments[..], &[primary.to_str().unwrap()]].concat());
    // Nor can a directory be put in its place without the danger of replacing one.
    for path in ["near/copy", "far/copy"] {
        assert_eq!(run.reasons_for(&pool.path(path)), ["no-exchange"], "{run}");
    }
    assert_eq!(run.summary().get("done"), 2, "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    snapshot::assert_no_own_names(&pool);
    made[1].truncate(2);
    groups::assert_linked(&pool, &made);
}

#[test]
fn a_master_that_fills_up_after_the_plan_is_told_and_costs_nothing() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let log = tool.dir().join("strace");
    let first = "inject=linkat:error=EMLINK:when=1";
    let strace = ["strace", "-f", "-o", log.to_str().unwrap(), "-e", first];
    let arguments = ["-e", "--format", "json", "-m", list.to_str().unwrap()];
    let run = tool.run_under(&strace, &arguments).expect(0);
    let told = made.iter().map(|group| run.reasons_for(&pool.path(&group[1])));
    assert_eq!(told.collect::<Vec<_>>(), [vec!["too-many-links".to_owned()], vec![]], "{run}");
    // Nobody else on that disk is kept from it.
    groups::assert_linked(&pool, &made[1..]);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    execute(&tool, &pool, &list).expect(0);
    groups::assert_linked(&pool, &made);
}

/// Runs twice: with what the disk of the masters lacks, and when it has it again.
fn check_lack(pool: &Pool, what: &str, lack: impl FnOnce(), relieve: impl FnOnce()) {
    let mut made = groups::pairs(pool, 0, 1, 3);
    // In directories that the disk of the masters does not have.
    for (n, group) in made.iter_mut().enumerate() {
        let path = format!("new/{n}/deep/copy.bin");
        tree::write(&pool.on(1, &path), &tree::bytes(n as u64, groups::SMALL));
        group.push(path.into());
    }
    let tool = Tool::new();
    let list = groups::list(&tool, pool, &made);
    lack();
    let view = snapshot::view(&pool.path("new"));
    let run = execute(&tool, pool, &list);
    assert_eq!(run.code(), Some(1), "{what}: {run}");
    snapshot::assert_same(&view, &snapshot::view(&pool.path("new")));
    snapshot::assert_no_own_names(pool);
    relieve();
    execute(&tool, pool, &list).expect(0);
    groups::assert_linked(pool, &made);
    snapshot::assert_same(&view, &snapshot::view(&pool.path("new")));
    snapshot::assert_no_own_names(pool);
}

#[test]
fn a_disk_without_room_is_an_error_and_loses_nothing() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let filler = pool.on(0, "filler");
    let fill = || {
        let mut file = File::create(&filler).unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![7; size];
            // It ends with ENOSPC, that is the point.
            while file.write_all(&block).is_ok() {}
        }
        file.sync_all().ok();
    };
    check_lack(&pool, "full", fill, || std::fs::remove_file(&filler).unwrap());
}

#[test]
fn a_disk_without_inodes_is_an_error_and_loses_nothing() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let many = pool.on(0, "many");
    let fill = || {
        std::fs::create_dir(&many).unwrap();
        let made = (0..100_000).take_while(|n| File::create(many.join(n.to_string())).is_ok());
        assert!(made.count() < 100_000);
    };
    check_lack(&pool, "no inodes", fill, || std::fs::remove_dir_all(&many).unwrap());
}

#[test]
fn a_quota_that_is_used_up_is_an_error_and_loses_nothing() {
    let pool = PoolPlan::of(&[Btrfs, Ext4]).mount();
    let root = pool.on(0, "");
    let btrfs = |arguments: &[&OsStr]| {
        run("btrfs", &[arguments, &[root.as_os_str()]].concat());
    };
    let limit =
        |to: &str| btrfs(&["qgroup".as_ref(), "limit".as_ref(), to.as_ref(), "0/5".as_ref()]);
    let use_up = || {
        btrfs(&["quota".as_ref(), "enable".as_ref()]);
        btrfs(&["quota".as_ref(), "rescan".as_ref(), "-w".as_ref()]);
        limit("16K");
    };
    // To raise the limit would take room as well.
    let lift = || btrfs(&["quota".as_ref(), "disable".as_ref()]);
    check_lack(&pool, "quota", use_up, lift);
}

/// "Reclaimed" is what became free: another file holds the blocks of a reflink, and a snapshot those of its files.
#[test]
fn shared_blocks_are_told_as_shared_and_not_as_freed() {
    for filesystem in [Xfs, Btrfs] {
        let pool =
            PoolPlan::of(&[Ext4, filesystem]).branches(&[(0, ""), (1, "branch")]).subvolumes();
        let pool =
            if filesystem == Btrfs { pool } else { PoolPlan::of(&[Ext4, filesystem]) }.mount();
        let bytes = tree::bytes(1, 6 << 20);
        tree::write(&pool.on(0, "media/r"), &bytes);
        tree::write(&pool.on(1, "dl/r"), &bytes);
        nix::unistd::sync();
        let original = pool.on(1, "dl/r");
        match filesystem {
            Btrfs => {
                let snapshot = pool.disk(1).path().join("snapshot");
                let line = ["subvolume", "snapshot", "-r"].map(OsStr::new);
                let paths = [pool.branches()[1].as_os_str(), snapshot.as_os_str()];
                run("btrfs", &[&line[..], &paths].concat());
            }
            _ => {
                let keep = pool.disk(1).path().join("keep");
                run("cp", &["--reflink=always".as_ref(), original.as_os_str(), keep.as_os_str()]);
                tree::set_owner(&keep, (1000, 1000));
            }
        }
        tree::write(&pool.on(0, "media/s"), &tree::bytes(2, 1 << 20));
        tree::write(&pool.on(1, "dl/s"), &tree::bytes(2, 1 << 20));
        nix::unistd::sync();
        tree::settle();
        let tool = Tool::new();
        let used = pool.used_bytes();
        let media = pool.path("media");
        let dirs = [media.to_str().unwrap(), pool.root().to_str().unwrap()];
        let line = ["--format", "json", "-p", dirs[0], dirs[1]];
        let dry = tool.run(&line).expect(0).summary();
        let text = tool.run(&line[2..]).expect(0).stdout;
        assert!(text.contains("6.0 MiB more stays in use"), "{text}");
        let run = tool.run(&[&["-e"], &line[..]].concat()).expect(0);
        let done = run.summary();
        assert_eq!(done.get("done"), 2, "{run}");
        for (figures, freed) in [(&dry, "bytes_reclaimable"), (&done, "bytes_reclaimed")] {
            assert_eq!(figures.get(freed), 1 << 20, "{filesystem:?}: {run}");
            assert_eq!(figures.get("bytes_shared"), 6 << 20, "{filesystem:?}: {run}");
        }
        let free = used[1] - pool.used_bytes()[1];
        assert!((960 << 10..=1088 << 10).contains(&free), "{free} bytes: {run}");
    }
}
