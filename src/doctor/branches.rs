//! Derives the findings about each branch, and about several branches together. Pure.

use std::collections::HashMap;
use std::path::PathBuf;

use super::facts::{BranchDisk, BranchFacts, Facts, Leases};
use super::filesystem::Ability;
use super::finding::{Findings, Topic};
use crate::plan::hidden_name::parse_hidden_name;
use crate::pool::BranchMode;
use crate::rescue::unsettled::FileNow;

/// Names shown of many.
const SHOWN: usize = 5;

pub(super) fn check(facts: &Facts, found: &mut Findings) {
    let mut seen = HashMap::new();
    let mut disks: Vec<(&BranchFacts, &BranchDisk)> = Vec::new();
    // An empty branch means something only if disks are mounted on other branches.
    let mounted = |branch: &&BranchFacts| matches!(&branch.disk, Ok(disk) if !disk.on_parent);
    let mounts = facts.branches.iter().filter(mounted).count();
    for branch in &facts.branches {
        let at = Some(branch.path.as_path());
        match &branch.disk {
            Err(why) => found.add(Topic::BranchMissing, at, why),
            Ok(disk) => {
                if let Some(first) = seen.insert(disk.root, &branch.path) {
                    let what = format!("the same directory as {first:?}, listed before");
                    found.add(Topic::BranchTwice, at, what);
                    continue;
                }
                one(branch, disk, mounts > 0, found);
                contents(branch, disk, facts.journal.id, found);
                disks.push((branch, disk));
            }
        }
    }
    together(&disks, found);
}

fn one(branch: &BranchFacts, disk: &BranchDisk, others_mounted: bool, found: &mut Findings) {
    let at = Some(branch.path.as_path());
    if branch.awaits_mount {
        let what = "mergerfs' own marker says that a disk belongs here, and it is not mounted";
        found.add(Topic::BranchNotMounted, at, what);
    } else if disk.empty && disk.on_parent && others_mounted {
        let what = "an empty directory of the disk that its parent directory lies on";
        found.add(Topic::BranchEmpty, at, what);
    }
    if branch.mode == BranchMode::Ro {
        found.add(Topic::ReadOnlyBranch, at, "the branch is RO");
    } else if disk.read_only {
        let what = "the branch is not RO, and its filesystem or mount is read-only";
        found.add(Topic::DiskReadOnly, at, what);
    }
    if disk.is_pool {
        found.add(Topic::PoolOnPool, at, "the branch is a mergerfs pool itself");
    } else {
        filesystem(branch, disk, found);
    }
}

fn filesystem(branch: &BranchFacts, disk: &BranchDisk, found: &mut Findings) {
    let at = Some(branch.path.as_path());
    let (kind, name) = (&disk.filesystem, disk.filesystem.name);
    if kind.hard_links == Ability::No {
        found.add(Topic::NoHardLinks, at, format!("{name} has no hard links"));
        return;
    }
    if name == "overlay" {
        found.add(Topic::Overlay, at, "the branch is an overlay of several directories");
        return;
    }
    if !disk.identity {
        let what = format!("{name} has no UUID to know it by after a restart");
        found.add(Topic::NoIdentity, at, what);
    }
    if let Leases::Refused(file, why) = &disk.leases {
        let what = format!("{name} gave no lease on {file:?}: {why}");
        found.add(Topic::NoLeases, at, what);
    }
    match kind.exchange {
        Ability::Yes => {}
        Ability::No => {
            found.add(Topic::NoExchange, at, format!("{name} cannot exchange two names"))
        }
        Ability::Unknown => {
            let what = format!("whether {name} can exchange two names is not known");
            found.add(Topic::NoExchange, at, what);
        }
    }
    if !kind.proven {
        found.add(Topic::Unproven, at, format!("the filesystem is {name}"));
    }
}

fn contents(branch: &BranchFacts, disk: &BranchDisk, journal: Option<u32>, found: &mut Findings) {
    let at = Some(branch.path.as_path());
    if !disk.snapraid.is_empty() {
        found.add(Topic::SnapRaid, at, format!("it holds {:?}", disk.snapraid));
    }
    if !disk.leftovers.is_empty() {
        let more = match disk.leftovers.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shown = disk.leftovers.iter().take(SHOWN);
        let shown: Vec<_> = shown.map(|file| hidden(file, journal)).collect();
        let what = format!("{}{more}", shown.join("; "));
        found.add(Topic::Leftovers, at, what);
    }
    if disk.unreadable > 0 {
        let what = match disk.unreadable {
            1 => "1 directory could not be looked into".to_owned(),
            more => format!("{more} directories could not be looked into"),
        };
        found.add(Topic::Unreadable, at, what);
    }
}

/// A hidden name in words, and whose it is.
fn hidden(file: &FileNow, journal: Option<u32>) -> String {
    let name = file.path.file_name().unwrap_or_default();
    let whose = match parse_hidden_name(name.as_encoded_bytes()) {
        Some(name) if Some(name.journal) == journal => {
            format!("left by run {} of this journal", name.op.run)
        }
        Some(name) => format!("left by another journal, {:08x}", name.journal),
        None => "of no journal".to_owned(),
    };
    format!("{}, {whose}", file.words())
}

fn together(disks: &[(&BranchFacts, &BranchDisk)], found: &mut Findings) {
    let paths: Vec<_> = disks.iter().map(|(_, disk)| &disk.real_path).collect();
    for (inner, outer) in nested(&paths) {
        let what = format!("it lies within branch {:?}", disks[outer].0.path);
        found.add(Topic::NestedBranch, Some(&disks[inner].0.path), what);
    }
    for (n, (branch, disk)) in disks.iter().enumerate() {
        let other = disks[..n]
            .iter()
            .find(|(_, other)| other.root.0 == disk.root.0 && other.mount != disk.mount);
        if let Some((other, _)) = other {
            let what = format!("the same filesystem as {:?}, mounted twice", other.path);
            found.add(Topic::TwoMounts, Some(&branch.path), what);
        }
    }
}

/// Where each of `paths` lies within another.
fn nested(paths: &[&PathBuf]) -> Vec<(usize, usize)> {
    let pair = |inner: usize, outer: usize| {
        inner != outer && paths[inner] != paths[outer] && paths[inner].starts_with(paths[outer])
    };
    let all = (0..paths.len()).flat_map(|inner| (0..paths.len()).map(move |outer| (inner, outer)));
    all.filter(|(inner, outer)| pair(*inner, *outer)).collect()
}
