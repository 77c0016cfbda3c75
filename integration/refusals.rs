//! Files that are left alone by rule, each with the reason for it: one pool that has them all.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::groups;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Tool};
use crate::harness::{snapshot, tree};

/// A group for each reason: a master on the second disk, a duplicate on the first.
struct Scene {
    pool: Pool,
    groups: Vec<(&'static str, groups::Group)>,
}

impl Scene {
    fn new() -> Self {
        // Branches that are directories of their disks: there is something of each disk outside of the pool.
        let pool = PoolPlan::of(&[Ext4, Xfs]).branches(&[(0, "branch"), (1, "branch")]).mount();
        Self { pool, groups: Vec::new() }
    }

    /// Writes a pair whose second file will be left alone for `reason`; gives the branch paths of both.
    fn pair(&mut self, reason: &'static str) -> [PathBuf; 2] {
        let seed = self.groups.len() as u64;
        let names = [format!("media/{reason}"), format!("dup/{reason}")].map(PathBuf::from);
        let paths = [self.pool.on(1, &names[0]), self.pool.on(0, &names[1])];
        for path in &paths {
            tree::write(path, &tree::bytes(seed, groups::SMALL));
        }
        self.groups.push((reason, names.to_vec()));
        paths
    }

    fn make(&mut self) {
        let [_, gone] = self.pair("unresolved");
        std::fs::remove_file(gone).unwrap();
        let [master, special] = self.pair("not-regular");
        std::fs::remove_file(&special).unwrap();
        std::os::unix::fs::symlink(master, special).unwrap();
        let [_, longer] = self.pair("claim-size");
        tree::write(&longer, &tree::bytes(2, groups::SMALL + 1));
        let [_, linked] = self.pair("unknown-links");
        std::fs::hard_link(linked, self.pool.disk(0).path().join("outside")).unwrap();
        self.pair("excluded");
        let [_, acl] = self.pair("acl-differs");
        tree::set_acl(&acl, "u:1234:r");
        let empty = self.pair("empty");
        empty.iter().for_each(|path| tree::write(path, b""));
        let [_, first] = self.pair("shadowed");
        tree::write(&self.pool.on(1, "dup/shadowed"), &std::fs::read(first).unwrap());
        // On the master's branch the directory is a symlink out of it; the pool shows the other branch's.
        let [_, inner] = self.pair("obstructed");
        let moved = PathBuf::from("way/obstructed");
        tree::write(&self.pool.on(0, &moved), &std::fs::read(&inner).unwrap());
        std::fs::remove_file(inner).unwrap();
        let outside = self.pool.disk(1).path().join("elsewhere");
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, self.pool.on(1, "way")).unwrap();
        self.groups.last_mut().unwrap().1[1] = moved;
    }
}

#[test]
fn every_rule_is_told_by_its_reason_and_nothing_is_changed() {
    let mut scene = Scene::new();
    scene.make();
    let pool = &scene.pool;
    let tool = Tool::new();
    let listed: Vec<_> = scene.groups.iter().map(|(_, group)| group.clone()).collect();
    let list = groups::list(&tool, pool, &listed);
    let before = snapshot::all_entries(pool);
    let media = pool.path("media");
    let extra = ["-p".as_ref(), media.as_os_str(), "-E".as_ref(), OsStr::new("dup/excluded")];
    let run = tool.execute(&list, &extra).expect(1);
    for (reason, group) in &scene.groups {
        // What a filter leaves out is not looked at.
        let expected: &[&str] = if *reason == "excluded" { &[] } else { &[reason] };
        let told = run.reasons_for(&pool.path(&group[1]));
        assert_eq!(told, expected, "{run}");
    }
    assert_eq!(run.summary().get("done"), 0, "{run}");
    assert_eq!(snapshot::all_entries(pool), before, "{run}");
    let outside = pool.disk(1).path().join("elsewhere");
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0, "{run}");
}

#[test]
fn caps_primaries_and_branches_within_each_other_are_told_too() {
    let pool =
        PoolPlan::of(&[Ext4, Xfs]).branches(&[(0, "outer"), (0, "outer/inner"), (1, "")]).mount();
    let made = groups::pairs(&pool, 2, 0, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let before = snapshot::all_entries(&pool);
    let run = tool.execute(&list, &[]).expect(0);
    assert_eq!(run.reasons_for(&pool.path(&made[0][1])), ["nested-branch"], "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);

    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let list = groups::list(&tool, &pool, &made);
    let capped =
        tool.run(&["--format", "json", "--max-bytes", "12288", "-m", list.to_str().unwrap()]);
    let limited = made.iter().flat_map(|group| capped.reasons_for(&pool.path(&group[1])));
    assert_eq!(limited.collect::<Vec<_>>(), ["limit"], "{capped}");
    std::fs::create_dir(pool.on(0, "other")).unwrap();
    let other = pool.path("other");
    let arguments = ["-v", "--format", "json", "-m", list.to_str().unwrap(), "-p"];
    let none = tool.run(&[&arguments[..], &[other.to_str().unwrap()]].concat()).expect(0);
    assert_eq!(none.reasons_for(&pool.path(&made[0][0])), ["no-primary"], "{none}");
    run_in_the_open(&pool);
}

/// A file of another kind in the way of a scan harms nobody either.
fn run_in_the_open(pool: &Pool) {
    run("mkfifo", &[pool.on(0, "fifo")]);
    let tool = Tool::new();
    let scan = tool.run(&["-e", "--format", "json", pool.root().to_str().unwrap()]);
    assert_eq!(scan.expect(0).summary().get("done"), 2);
}

/// mergerfs looks a path up as the user who asks, on the branch that holds the file: a name that moves to a directory
/// of another owner or mode is lost to some, or shown to others.
#[test]
fn a_name_does_not_move_to_a_directory_that_lets_others_in() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let dir = |branch, name: &str, mode, owner| {
        tree::make_dir(&pool.on(branch, name), mode, owner);
    };
    let (root, other) = ((0, 0), (1234, 5678));
    dir(0, "closed", 0o755, root);
    dir(1, "closed", 0o700, root);
    dir(0, "open", 0o750, root);
    dir(1, "open", 0o755, root);
    dir(0, "owned", 0o750, root);
    dir(1, "owned", 0o750, other);
    dir(0, "acl", 0o755, root);
    dir(1, "acl", 0o755, root);
    tree::set_acl(&pool.on(1, "acl"), "u:1234:-");
    // Above the directory itself, too.
    dir(0, "above", 0o711, root);
    dir(0, "above/inner", 0o755, root);
    dir(1, "above", 0o755, root);
    // Everybody may pass through both, or the same may.
    dir(0, "everybody", 0o755, root);
    dir(1, "everybody", 0o2777, other);
    dir(0, "alike", 0o700, other);
    dir(1, "alike", 0o1700, other);
    let refused = ["closed", "open", "owned", "acl", "above/inner"];
    let moved = ["everybody", "alike"];
    let groups: Vec<groups::Group> = (0..)
        .zip(refused.iter().chain(&moved))
        .map(|(seed, dir)| {
            let names = [format!("media/{seed}"), format!("{dir}/dup")].map(PathBuf::from);
            for (branch, name) in [1, 0].into_iter().zip(&names) {
                tree::write(&pool.on(branch, name), &tree::bytes(seed, groups::SMALL));
            }
            names.to_vec()
        })
        .collect();
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &groups);
    let media = pool.path("media");
    let primary = ["-p".as_ref(), media.as_os_str()];

    // No script that does it either.
    let line =
        ["--format=script".as_ref(), "--any-master".as_ref(), "-m".as_ref(), list.as_os_str()];
    let script = tool.run(&[&primary[..], &line[..]].concat()).expect(0).stdout;
    assert!(script.contains("directory-differs"), "{script}");
    // By the paths that chmod takes.
    for branch in 0..2 {
        let dir = format!("{:?} 0", pool.on(branch, refused[0]));
        assert!(script.contains(&dir), "{dir}: {script}");
    }
    // A line for each directory, with both values.
    let (own, kept) = (pool.on(0, refused[2]), pool.on(1, refused[2]));
    let line =
        format!("{own:?} 0750 0:0; kept copy's disk: {kept:?} 0750 1234:5678: 1 file, 12.0 KiB");
    assert!(script.contains(&line), "{line}: {script}");
    assert_eq!(script.matches("\nreplace ").count(), moved.len(), "{script}");

    // What is refused takes nobody's place among so many.
    let one = ["--max-ops", "1"].map(OsStr::new);
    let run = tool.execute(&list, &[&primary[..], &one[..]].concat());
    assert_eq!(run.expect(0).summary().get("done"), 1);
    let run = tool.execute(&list, &primary).expect(0);
    let (left, done) = groups.split_at(refused.len());
    for group in left {
        let told = run.reasons_for(&pool.path(&group[1]));
        assert_eq!(told, ["directory-differs"], "{run}");
        assert!(pool.on(0, &group[1]).exists(), "{run}");
        assert!(!pool.on(1, &group[1]).exists(), "{run}");
    }
    groups::assert_linked(&pool, done);
    let ignore = ["--ignore-metadata", "owner,mode,acl"].map(OsStr::new);
    let run = tool.execute(&list, &[&primary[..], &ignore[..]].concat());
    run.expect(0);
    groups::assert_linked(&pool, &groups);
}

/// What the user may not do says nothing about the disk.
#[test]
fn a_user_who_may_not_do_it_is_told_to_be_root() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let nobody = (65534, 65534);
    let made = groups::pairs(&pool, 0, 1, 1);
    for (disk, name) in made[0].iter().enumerate() {
        tree::set_owner(&pool.on(disk, name), nobody);
    }
    tree::settle();
    let tool = Tool::new();
    let copy = tool.dir().join("mergerfs.xdedup");
    std::fs::copy(BINARY, &copy).unwrap();
    tree::set_mode(tool.dir(), 0o755);
    let theirs = tool.dir().join("theirs");
    tree::make_dir(&theirs, 0o700, nobody);
    let journal = theirs.join("journal");
    let line = |extra: &[&str]| {
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(OsStr::new);
        let program = [copy.as_os_str(), "--journal".as_ref(), journal.as_os_str()];
        let options = ["--no-cache", "--format", "json"].map(OsStr::new);
        let words = user.iter().chain(&program).chain(&options).copied();
        let words = words.chain(extra.iter().map(OsStr::new)).chain([pool.root().as_os_str()]);
        words.map(OsStr::to_os_string).collect::<Vec<_>>()
    };
    let dry = tool.run_line(&line(&[])).expect(0);
    assert!(dry.stderr.starts_with(" WARN you are not root"), "{dry}");
    assert_eq!(dry.summary().get("planned"), 1, "{dry}");
    let run = tool.run_line(&line(&["-e"])).expect(1);
    let ops = run.lines_of("op");
    assert_eq!(ops[0]["reason"], "permission", "{run}");
    assert!(run.lines_of("refusal")[0]["hint"].as_str().unwrap().contains("as root"), "{run}");
    assert!(!run.stdout.contains("disk's health"), "{run}");
    // Files of others: the kernel gives this user no lease.
    for (disk, name) in made[0].iter().enumerate() {
        tree::set_owner(&pool.on(disk, name), (0, 0));
    }
    let run = tool.run_line(&line(&["-e"])).expect(1);
    assert!(run.stderr.starts_with(" WARN you are not root"), "{run}");
    let op = &run.lines_of("op")[0];
    assert_eq!(op["reason"], "permission", "{run}");
    assert!(op["detail"].as_str().unwrap().contains("not yours"), "{run}");
    snapshot::assert_no_own_names(&pool);
    let doctor = line(&[]).into_iter().map(|word| match word.to_str() {
        Some("--no-cache") => "doctor".into(),
        _ => word,
    });
    let doctor = tool.run_line(&doctor.collect::<Vec<_>>()).expect(0);
    let findings = doctor.lines_of("finding");
    assert_eq!(findings[0]["topic"], "not-root", "{doctor}");
    assert!(findings.iter().all(|found| found["topic"] != "no-leases"), "{doctor}");
}

/// A directory that is locked after the plan was made: the op fails, and the directories that were made for it go.
#[test]
fn an_op_that_may_not_go_on_leaves_no_directory() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let [kept, fresh, target] = ["media/a", "fresh/deep/a", "target/a"].map(PathBuf::from);
    for path in [pool.on(0, &kept), pool.on(1, &fresh)] {
        tree::write(&path, &tree::bytes(1, groups::SMALL));
    }
    for disk in 0..2 {
        std::fs::create_dir_all(pool.on(disk, "target")).unwrap();
    }
    std::fs::hard_link(pool.on(1, &fresh), pool.on(1, &target)).unwrap();
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &[vec![kept, fresh.clone(), target]]);
    let paths = || -> Vec<Vec<PathBuf>> {
        let branches = snapshot::all_entries(&pool).into_iter();
        branches.map(|entries| entries.into_keys().collect()).collect()
    };
    let before = paths();
    let lock = format!("chattr +i {}", pool.on(0, "target").display());
    let media = pool.path("media");
    let extra = ["-p".as_ref(), media.as_os_str(), "--pre".as_ref(), OsStr::new(&lock)];
    let run = tool.execute(&list, &extra);
    run_in(&pool, "-i");
    let run = run.expect(1);
    assert_eq!(run.lines_of("op")[0]["reason"], "permission", "{run}");
    assert_eq!(paths(), before, "{run}");
    let again = tool.execute(&list, &extra[..2]).expect(0);
    assert_eq!(again.summary().get("done"), 1, "{again}");
}

fn run_in(pool: &Pool, flag: &str) {
    run("chattr", &[flag.as_ref(), pool.on(0, "target").as_os_str()]);
}
