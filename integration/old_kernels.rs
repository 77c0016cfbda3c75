//! What newer kernels than 5.8 brought, and what containers forbid: without it everything works, slower perhaps, or nothing
//! is changed and the reason is said.

use std::path::{Path, PathBuf};

use crate::groups::{self, Group};
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::old_kernel::OldKernel;
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

const EXT4_IOC_GETFSUUID: u32 = 0x8008_662c;
const FS_IOC_GETFSUUID: u32 = 0x8011_1500;
const RWF_DONTCACHE: u32 = 0x80;
const RENAME_NOREPLACE: u32 = 1;
const F_SETLEASE: u32 = 1024;

/// Pairs across disks, from and to each filesystem, and one pair on one disk.
fn pairs(pool: &Pool, first: u64) -> Vec<Group> {
    let mut all = Vec::new();
    for (n, (a, b)) in [(0, 1), (1, 2), (2, 0), (0, 0)].into_iter().enumerate() {
        let seed = first + n as u64;
        let names = [format!("media/{seed}.bin"), format!("downloads/{seed}.bin")];
        for (disk, name) in [a, b].into_iter().zip(&names) {
            tree::write(&pool.on(disk, name), &tree::bytes(seed, groups::SMALL));
        }
        all.push(names.map(PathBuf::from).to_vec());
    }
    all
}

fn scan(tool: &Tool, kernel: &OldKernel, pool: &Pool) -> Run {
    let root = pool.root().to_str().unwrap();
    tool.run_on(kernel, &["--no-cache", "-e", "--format", "json", "--any-master", root])
}

fn pool() -> Pool {
    PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount()
}

#[test]
fn without_a_newer_call_everything_is_done_and_the_next_kernel_agrees() {
    let old = OldKernel::default;
    let not = libc::EOPNOTSUPP;
    let kernels =
        [
            ("as it is", old()),
            // 6.14
            ("RWF_DONTCACHE", old().without_where(libc::SYS_preadv2, 5, RWF_DONTCACHE, not)),
            ("preadv2", old().without(libc::SYS_preadv2, libc::ENOSYS)),
            // 6.9 and 6.0
            (
                "UUIDs",
                old()
                    .without_where(libc::SYS_ioctl, 1, FS_IOC_GETFSUUID, libc::ENOTTY)
                    .without_where(libc::SYS_ioctl, 1, EXT4_IOC_GETFSUUID, libc::ENOTTY),
            ),
            (
                "RENAME_NOREPLACE",
                old().without_where(libc::SYS_renameat2, 4, RENAME_NOREPLACE, libc::EINVAL),
            ),
            ("inotify", old().without(libc::SYS_inotify_init1, libc::EMFILE)),
            // A container without CAP_DAC_READ_SEARCH, and one whose filter does not know the calls.
            ("opening by handle", old().without(libc::SYS_open_by_handle_at, libc::EPERM)),
            ("handles", old().without(libc::SYS_name_to_handle_at, libc::EPERM)),
        ];
    let (pool, tool) = (pool(), Tool::new());
    for (n, (what, kernel)) in kernels.into_iter().enumerate() {
        let made = pairs(&pool, 10 * n as u64);
        tree::settle();
        let view = snapshot::view(pool.root());
        let run = scan(&tool, &kernel, &pool);
        assert_eq!(run.code(), Some(0), "{what}: {run}");
        assert_eq!(run.summary().get("done"), 4, "{what}: {run}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        groups::assert_linked(&pool, &made);
        // What was recorded on the one kernel means the same on the other.
        let undone = tool.run(&["undo", "-e"]);
        assert_eq!(undone.code(), Some(0), "{what}: {undone}");
        assert!(undone.stdout.contains("4 files copied back"), "{what}: {undone}");
        snapshot::assert_same(&view, &snapshot::view(pool.root()));
        remove(&pool, &made);
    }
}

fn remove(pool: &Pool, made: &[Group]) {
    for path in made.iter().flatten() {
        std::fs::remove_file(pool.path(path)).unwrap();
    }
}

#[test]
fn what_it_cannot_do_without_is_said_and_nothing_is_changed() {
    let old = OldKernel::default;
    let (pool, tool) = (pool(), Tool::new());
    pairs(&pool, 0);
    tree::settle();
    let before = snapshot::all_entries(&pool);
    // 5.6 has openat2; a filter of an old container runtime answers EPERM. Nothing can be looked up safely without it.
    for errno in [libc::ENOSYS, libc::EPERM] {
        let run = scan(&tool, &old().without(libc::SYS_openat2, errno), &pool);
        assert!(matches!(run.code(), Some(1 | 3)), "{run}");
        assert!(run.stderr.contains("Linux 5.8") || run.stderr.contains("openat2"), "{run}");
        assert_eq!(snapshot::all_entries(&pool), before);
    }
    // Leases can be switched off.
    let kernel = old().without_where(libc::SYS_fcntl, 1, F_SETLEASE, libc::EINVAL);
    let run = scan(&tool, &kernel, &pool);
    let reasons = run.reasons_for(&pool.path(Path::new("downloads/0.bin")));
    assert_eq!(reasons, ["no-lease"], "{run}");
    assert_eq!(snapshot::all_entries(&pool), before);
}
