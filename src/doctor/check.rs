//! Facts in, findings out. Pure.

use std::path::Path;

use super::branches;
use super::facts::{Facts, JournalPlace};
use super::finding::{Finding, Findings, Topic};
use crate::run::Unfinished;

/// Free bytes a journal needs.
const JOURNAL_SPACE: u64 = 64 << 20;
/// Seconds the kernel may remember an attribute without a person noticing.
const CACHE_SECONDS: u64 = 5;

/// Derives findings from the facts, the worst first.
#[must_use]
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Findings::default();
    control_file(facts, &mut found);
    options(facts, &mut found);
    branches::check(facts, &mut found);
    host(facts, &mut found);
    journal(&facts.journal, &mut found);
    around(facts, &mut found);
    found.worst_first()
}

fn control_file(facts: &Facts, found: &mut Findings) {
    if let Err(why) = &facts.pool.branches {
        found.add(Topic::ControlFile, Some(&facts.pool.mount), why);
    }
    if let Some((pool_path, branch_path)) = &facts.elsewhere {
        let what = format!(
            "mergerfs says {pool_path:?} is {branch_path:?}; here that is another file, or none"
        );
        found.add(Topic::BranchesElsewhere, Some(branch_path), what);
    }
    if let Some(first) = facts.symlinks.first() {
        let count = facts.symlinks.len();
        let what = match count {
            1 => "this symlink leads to the path of a file on its disk".to_owned(),
            2 => "this symlink and 1 other lead to paths of files on disks".to_owned(),
            _ => format!("this symlink and {} others lead to paths of files on disks", count - 1),
        };
        found.add(Topic::SymlinksToBranches, Some(first), what);
    }
    let version = facts.pool.option("version");
    match minor_of(version) {
        Some(minor) => {
            found.when(minor >= (2, 41), Topic::Readers, None, format!("mergerfs {version}"))
        }
        None => found.add(
            Topic::VersionUnknown,
            None,
            format!("mergerfs calls its version {version:?}"),
        ),
    }
}

fn options(facts: &Facts, found: &mut Findings) {
    let option = |name: &str| facts.pool.option(name).to_owned();
    let set = |name: &str| format!("{name}={}", option(name));
    let create = ["func.create", "category.create"].map(option);
    let create = create.into_iter().find(|policy| !policy.is_empty()).unwrap_or_default();
    let preserving = create.starts_with("ep") || create.starts_with("msp");
    found.when(
        preserving,
        Topic::CreatePolicy,
        None,
        format!("the create policy is {create}: it keeps to branches that have the directory"),
    );
    for name in ["func.getattr", "func.open", "func.access", "func.getxattr"] {
        found.when(option(name) == "newest", Topic::ShownNewest, None, set(name));
    }
    for name in ["link-exdev", "rename-exdev"] {
        found.when(option(name) == "abs-base-symlink", Topic::SymlinkOptions, None, set(name));
    }
    let xattr = option("xattr");
    let off = ["noattr", "nosys"].contains(&xattr.as_str());
    found.when(off, Topic::NoFileXattrs, None, set("xattr"));
    match option("link-cow").as_str() {
        "true" => found.add(Topic::LinkCow, None, set("link-cow")),
        "false" => found.add(Topic::NoLinkCow, None, set("link-cow")),
        _ => {}
    }
    let moves = !["", "false"].contains(&option("moveonenospc").as_str());
    found.when(moves, Topic::MoveOnEnospc, None, set("moveonenospc"));
    found.when(option("cache.files") == "full", Topic::CacheFiles, None, set("cache.files"));
    for name in ["cache.attr", "cache.entry", "cache.negative-entry"] {
        let seconds = option(name).parse().unwrap_or(0);
        found.when(seconds > CACHE_SECONDS, Topic::CacheTimes, None, set(name));
    }
    let by_path = ["path-hash", "path-hash32"].contains(&option("inodecalc").as_str());
    found.when(by_path, Topic::InodeNumbers, None, set("inodecalc"));
}

fn host(facts: &Facts, found: &mut Findings) {
    let host = &facts.host;
    let old = minor_of(&host.kernel).is_some_and(|version| version < (5, 8));
    let kernel = format!("this is Linux {}", host.kernel);
    found.when(old, Topic::Kernel, None, kernel);
    let switch = Path::new("/proc/sys/fs/leases-enable");
    let off = host.leases_enabled == Some(false);
    found.when(off, Topic::NoLeases, Some(switch), "leases are switched off");
    found.when(!host.root, Topic::NotRoot, None, "this is not root");
}

fn journal(place: &JournalPlace, found: &mut Findings) {
    let dir = Some(place.dir.as_path());
    if let Some(within) = &place.within {
        let what = format!("the journal lies in the pool or a branch: {within:?}");
        found.add(Topic::JournalInPool, dir, what);
    } else if let Some(branch) = &place.beside {
        let what = format!("the journal lies on the disk of branch {branch:?}");
        found.add(Topic::JournalOnBranchDisk, dir, what);
    }
    found.when(
        !place.writable,
        Topic::JournalUnwritable,
        dir,
        "the journal cannot be written here",
    );
    if let Some(free) = place.free.filter(|free| *free < JOURNAL_SPACE) {
        found.add(Topic::JournalSpace, dir, format!("{free} bytes are free"));
    }
    for Unfinished { run, open } in &place.unfinished {
        let what = format!("run {run} was interrupted, with {open} files open");
        found.add(Topic::UnfinishedRun, dir, what);
    }
    if let Some(kind) = place.filesystem.filter(|kind| kind.volatile) {
        let what = format!("the journal lies on {}", kind.name);
        found.add(Topic::JournalVolatile, dir, what);
    }
}

fn around(facts: &Facts, found: &mut Findings) {
    for view in &facts.around.partial_views {
        let points: Vec<String> = view
            .points
            .iter()
            .map(|(point, root)| format!("{point:?} (the pool's {root:?})"))
            .collect();
        let who = match &view.process {
            None => "here".to_owned(),
            Some((pid, name)) => format!("for process {pid} ({name})"),
        };
        let what = format!("{who} the pool is several mounts: {}", points.join(", "));
        found.add(Topic::SplitMounts, None, what);
    }
    for pool in &facts.around.other_pools {
        let what = format!("the pool {:?} has this branch too", pool.mount);
        found.add(Topic::SharedBranch, Some(&pool.branch), what);
    }
}

/// The first two numbers of a version.
fn minor_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
