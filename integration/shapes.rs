//! Pools of every shape: branches seen twice, by symlink and bind mount, as subvolumes, pools over pools and beside
//! them, changed at run time, or seen from a container without the branches.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::groups;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::loop_disk::unmount;
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree, wait};

/// A directory bound to another place, as long as the value lives.
struct Bind(PathBuf);

impl Bind {
    fn new(from: &Path, to: &Path) -> Self {
        std::fs::create_dir_all(to).unwrap();
        run("mount", &[OsStr::new("--bind"), from.as_os_str(), to.as_os_str()]);
        Self(to.to_owned())
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        if let Err(why) = unmount(&self.0) {
            eprintln!("{}: {why}", self.0.display());
        }
    }
}

/// One more mergerfs.
struct Second {
    mount: PathBuf,
    mergerfs: Child,
}

impl Second {
    fn new(mount: PathBuf, branches: &[&Path]) -> Self {
        std::fs::create_dir_all(&mount).unwrap();
        let branches: Vec<_> = branches.iter().map(|path| path.to_str().unwrap()).collect();
        let mergerfs = Command::new("mergerfs")
            .args(["-f", "-o", "minfreespace=1M,allow_other"])
            .arg(branches.join(":"))
            .arg(&mount)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let control = mount.join(".mergerfs");
        wait::until("a second mergerfs", wait::LONG, || {
            xattr::get(&control, "user.mergerfs.version").is_ok_and(|version| version.is_some())
        })
        .unwrap();
        Self { mount, mergerfs }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let unmounted = unmount(&self.mount);
        let ended = self.mergerfs.wait();
        if let (Err(why), _) | (_, Err(why)) = (unmounted, ended.map_err(|e| e.to_string())) {
            eprintln!("{}: {why}", self.mount.display());
        }
    }
}

/// Sets the branches of a pool at run time.
fn set_branches(pool: &Pool, change: &str) {
    xattr::set(pool.path(".mergerfs"), "user.mergerfs.branches", change.as_bytes()).unwrap();
}

fn add_branch(pool: &Pool, path: &Path) {
    set_branches(pool, &format!("+>{}=RW", path.display()));
}

fn execute(tool: &Tool, pool: &Pool, made: &[groups::Group]) -> Run {
    let list = groups::list(tool, pool, made);
    let primary = pool.path("media");
    tool.execute(&list, &["-p".as_ref(), primary.as_os_str()])
}

#[test]
fn branches_listed_twice_by_symlink_and_by_bind_mount_are_told_apart_and_work() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).branches(&[(0, "a"), (1, ""), (0, "a")]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    // Listed twice, and once more by a symlink: the same directory.
    let link = tool.dir().join("link");
    std::os::unix::fs::symlink(pool.on(0, ""), &link).unwrap();
    add_branch(&pool, &link);
    let view = snapshot::view(pool.root());
    let run = execute(&tool, &pool, &made).expect(0);
    assert_eq!(run.summary().get("done"), 2, "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    for group in &made {
        assert_eq!(snapshot::places(&pool, &group[1])[0].0, 0, "{run}");
        assert!(!pool.on(1, &group[1]).exists(), "{run}");
    }

    // Another directory of the first disk, seen through a mount of its own: a link to it crosses mounts.
    let other = pool.disk(0).path().join("b");
    std::fs::create_dir(&other).unwrap();
    let bind = Bind::new(&other, &tool.dir().join("bind"));
    add_branch(&pool, &bind.0);
    let bytes = tree::bytes(0, groups::SMALL);
    tree::write(&bind.0.join("bound/copy"), &bytes);
    let mut made = made;
    made[0].push("bound/copy".into());
    let view = snapshot::view(pool.root());
    let run = execute(&tool, &pool, &made).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    assert!(!bind.0.join("bound/copy").exists(), "{run}");
    assert!(pool.on(0, "bound/copy").exists(), "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    set_branches(&pool, &format!("-{}", bind.0.display()));
}

#[test]
fn subvolumes_with_equal_inode_numbers_are_different_disks() {
    let pool = PoolPlan::of(&[Btrfs]).branches(&[(0, "one"), (0, "two")]).subvolumes().mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    let inode = |disk, path| {
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(pool.on(disk, path)).unwrap())
    };
    assert_eq!(inode(0, &made[0][0]), inode(1, &made[0][1]), "the trap is not there");
    let tool = Tool::new();
    let view = snapshot::view(pool.root());
    let run = execute(&tool, &pool, &made).expect(0);
    assert_eq!(run.summary().get("done"), 3, "{run}");
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    groups::assert_linked(&pool, &made);
    assert_eq!(execute(&tool, &pool, &made).expect(0).summary().get("planned"), 0);
}

#[test]
fn two_pools_over_one_branch_and_a_pool_over_a_pool() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    let disk = |n: usize| pool.disk(n).path();
    let beside = Second::new(tool.dir().join("beside"), &[disk(1), disk(0)]);
    let view = snapshot::view(&beside.mount);
    let doctor = tool.run(&["doctor", pool.root().to_str().unwrap()]);
    assert!(doctor.stdout.contains("shared-branch"), "{doctor}");
    execute(&tool, &pool, &made).expect(0);
    groups::assert_linked(&pool, &made);
    snapshot::assert_same(&view, &snapshot::view(&beside.mount));

    // A pool whose branch is a pool: its files cannot be told, let alone be linked to safely.
    let spare = tool.dir().join("spare");
    std::fs::create_dir(&spare).unwrap();
    tree::write(&spare.join("copy"), &tree::bytes(0, groups::SMALL));
    let over = Second::new(tool.dir().join("over"), &[pool.root(), &spare]);
    let root = over.mount.to_str().unwrap();
    let before = (snapshot::all_entries(&pool), snapshot::view(&over.mount));
    tree::settle();
    let run = tool.run(&["-e", "--format", "json", root]).expect(0);
    assert_eq!(run.summary().get("done"), 0, "{run}");
    let doctor = tool.run(&["doctor", "--quick", root]).expect(1);
    assert!(doctor.stdout.contains("pool-on-pool"), "{doctor}");
    assert_eq!((snapshot::all_entries(&pool), snapshot::view(&over.mount)), before);
}

#[test]
fn seen_from_a_container_without_the_branches_nothing_is_done() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    let (one, two) = (pool.disk(0).path().display(), pool.disk(1).path().display());
    let look = format!("find {one} {two} -mindepth 1; exit $code");
    let script = format!("umount -l {one} {two}; \"$@\"; code=$?; {look}");
    let container = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let run = tool.run_under(&container, &["-e", "-m", list.to_str().unwrap()]);
    assert_eq!(run.code(), Some(1), "{run}");
    assert!(run.stdout.contains("unresolved"), "{run}");
    assert!(!run.stdout.lines().any(|line| line.starts_with(&one.to_string())), "{run}");
    let scan = tool.run_under(&container, &["-e", pool.root().to_str().unwrap()]);
    assert!(matches!(scan.code(), Some(0 | 3)), "{scan}");
    // Only one of the two is missing: its files are not in reach, and nothing lands on the bare mount point.
    let script = format!("umount -l {one}; \"$@\"; code=$?; find {one} -mindepth 1; exit $code");
    let container = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let run = tool.run_under(&container, &["-e", "--any-master", "-m", list.to_str().unwrap()]);
    assert_eq!(run.code(), Some(1), "{run}");
    assert!(!run.stdout.lines().any(|line| line.starts_with(&one.to_string())), "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);
}

#[test]
fn a_pool_that_is_changed_between_plan_and_batch_stops_the_run() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    let spare = tool.dir().join("spare");
    std::fs::create_dir(&spare).unwrap();
    // At its first look at the journal the pool is changed under it.
    let change = format!("+>{}=RW", spare.display());
    let control = pool.path(".mergerfs");
    let script = format!(
        "\"$@\" & pid=$!; while [ ! -e {} ]; do sleep 0.01; done; kill -STOP $pid; \
         setfattr -n user.mergerfs.branches -v '{change}' {}; kill -CONT $pid; wait $pid",
        tool.journal().display(),
        control.display(),
    );
    let log = tool.dir().join("strace");
    let slow = ["sh", "-c", &script, "sh", "strace", "-f", "-o", log.to_str().unwrap()];
    let slow: Vec<_> =
        slow.into_iter().chain(["-e", "inject=fdatasync:delay_enter=100000"]).collect();
    let run = tool.run_under(&slow, &["-e", "-m", list.to_str().unwrap()]);
    assert_eq!(run.code(), Some(3), "{run}");
    assert!(run.stderr.contains("branches"), "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);
    tool.execute(&list, &[]).expect(0);
    groups::assert_linked(&pool, &made);
}

#[test]
fn policies_that_show_the_newest_change_nothing_about_what_is_done() {
    for option in ["category.search=newest", "func.open=newest", "func.getxattr=newest"] {
        let pool = PoolPlan::of(&[Ext4, Ext4]).option(option).mount();
        let made = groups::pairs(&pool, 0, 1, 2);
        let both = PathBuf::from("media/0.bin");
        tree::write_aged(
            &pool.on(1, &both),
            &tree::bytes(9, groups::SMALL),
            Duration::from_secs(60),
        );
        let tool = Tool::new();
        let view = snapshot::view(pool.root());
        let run = execute(&tool, &pool, &made);
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        groups::assert_linked(&pool, &made[1..]);
        // Which of the two somebody means is not for us to say.
        assert_eq!(snapshot::places(&pool, &both).len(), 2, "{option}: {run}");
    }
}
