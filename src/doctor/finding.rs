//! A finding: the fact, how bad the fact is, and what to do about it. The topics are a closed list.

use std::path::{Path, PathBuf};

/// How bad a finding is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Runs fail, or leave everything on that branch alone.
    Prevents,
    /// Runs work, but may have an unexpected result.
    Surprises,
    /// Good to know.
    Note,
}

impl Level {
    /// The level's word in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prevents => "prevents",
            Self::Surprises => "surprises",
            Self::Note => "note",
        }
    }
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The topic of the finding.
    pub topic: Topic,
    /// The branch, mount or file the finding is about.
    pub at: Option<PathBuf>,
    /// The fact found.
    pub what: String,
}

/// Findings as they are collected.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, topic: Topic, at: Option<&Path>, what: impl Into<String>) {
        self.0.push(Finding { topic, at: at.map(Path::to_path_buf), what: what.into() });
    }

    pub(super) fn when(
        &mut self,
        so: bool,
        topic: Topic,
        at: Option<&Path>,
        what: impl Into<String>,
    ) {
        if so {
            self.add(topic, at, what);
        }
    }

    /// All findings, sorted by topic; within a topic in the order of the branches. A user who is not root reads that first:
    /// other findings may come from it.
    pub(super) fn worst_first(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| (finding.topic != Topic::NotRoot, finding.topic));
        self.0
    }
}

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident, $word:literal, $level:ident, $advice:literal;)*) => {
        /// The topic of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Topic { $($(#[$doc])* $name,)* }

        impl Topic {
            /// Every topic, in the order they are reported.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The topic's word in JSON and text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// How bad the finding is.
            #[must_use]
            pub fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)* }
            }

            /// What a person can do about the finding.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

topics! {
    /// The control file does not answer.
    ControlFile, "control-file", Prevents,
        "mount the pool with another xattr= setting (passthrough, noattr); or give the branches with --branches";
    /// A branch path leads nowhere.
    BranchMissing, "branch-missing", Prevents,
        "mount its disk, or take the branch out of the pool; in a container, mount the branches too, at the same paths";
    /// The paths mergerfs reports lead to other files here.
    BranchesElsewhere, "branches-elsewhere", Prevents,
        "run where mergerfs runs, or mount the branches in this container at the paths mergerfs knows them by";
    /// mergerfs' marker of a bare mount point.
    BranchNotMounted, "branch-not-mounted", Prevents, "mount its disk";
    /// A branch that is a pool.
    PoolOnPool, "pool-on-pool", Prevents,
        "run on the inner pool by itself; in the outer one, list the inner pool's branches instead";
    /// A filesystem without hard links.
    NoHardLinks, "no-hard-links", Prevents, "use ext4, xfs or btrfs; files on this branch are left alone";
    /// A filesystem that cannot be known again.
    NoIdentity, "no-identity", Prevents,
        "use ext4, xfs or btrfs: without a UUID nothing can be recovered after a crash, so files on this branch are left alone";
    /// A branch that is an overlay.
    Overlay, "overlay", Prevents,
        "make directories of real disks the branches: a change makes another file of each file of a lower layer, so files on this branch are left alone";
    /// A filesystem or a kernel without leases.
    NoLeases, "no-leases", Prevents,
        "set /proc/sys/fs/leases-enable to 1, run as root (in a container: --cap-add LEASE), or use another filesystem; --no-lease only while nothing else uses the pool";
    /// A disk that is read-only although its branch is not.
    DiskReadOnly, "disk-read-only", Prevents, "look at the kernel log, then remount it";
    /// Branches within each other.
    NestedBranch, "nested-branch", Prevents, "list only branches that do not lie within each other";
    /// A kernel without what the tool needs.
    Kernel, "kernel", Prevents, "use Linux 5.8 or later";
    /// The journal in the pool or a branch.
    JournalInPool, "journal-in-pool", Prevents, "name a directory elsewhere with --journal";
    /// A journal that cannot be written.
    JournalUnwritable, "journal-unwritable", Prevents, "run as root, or name a directory you may write to with --journal";
    /// Too little room for the journal.
    JournalSpace, "journal-space", Prevents, "free at least 64 MiB there, or name another place with --journal";
    /// An empty branch that is no mount point.
    BranchEmpty, "branch-empty", Surprises,
        "if a disk belongs there, mount it: mergerfs goes on without it, and what it creates lands on the disk below";
    /// A directory that could not be looked into.
    Unreadable, "unreadable", Surprises, "run as root; else look at the permissions and the disk's health";
    /// Names of ours.
    Leftovers, "leftover-names", Surprises,
        "of this journal: `mergerfs.xdedup status` says which are still needed, `resume` finishes those, `resume --discard PATH` shows and removes others; of another journal: `resume` with its --journal, or, if it is lost, `resume --salvage` with a new --journal";
    /// A run that the journal has open.
    UnfinishedRun, "unfinished-run", Surprises,
        "`mergerfs.xdedup resume` finishes or puts back each file (`status -v` lists them); until then remove no copy by hand";
    /// A filesystem that cannot exchange names, or may not.
    NoExchange, "no-exchange", Surprises, "copies that lie together on this disk may be left alone; across disks it is not needed";
    /// A filesystem the tests do not run on.
    Unproven, "unproven-filesystem", Surprises,
        "try it on a few files first: what a power cut leaves is proven on ext4, xfs and btrfs only";
    /// A journal that a reboot, or a new container, forgets.
    JournalVolatile, "journal-volatile", Surprises,
        "name a directory on a disk with --journal: without it nothing can be finished or undone after a restart";
    /// A journal on a disk of the pool.
    JournalOnBranchDisk, "journal-on-branch-disk", Surprises,
        "better name a directory on another disk with --journal: when this one fails or fills, both are gone";
    /// Not root.
    NotRoot, "not-root", Surprises, "run as root, unless every file concerned is yours: another user gets no leases on files of others, and cannot look into each directory";
    /// Path-preserving create policies.
    CreatePolicy, "create-policy", Surprises,
        "the directories that replacements need attract future files to the kept copy's disk, and links made by other programs fail between branches; category.create=mfs or pfrd does neither";
    /// Some programs see the pool as several mounts.
    SplitMounts, "split-mounts", Surprises,
        "hard links between these fail for programs that see them so: mount one common directory of the pool there instead";
    /// Several pools over one branch.
    SharedBranch, "shared-branch", Surprises,
        "run on one of the pools at a time; a path may be shadowed in the other, which this tool does not see";
    /// Policies that show one file and open another.
    ShownNewest, "newest-policy", Surprises,
        "where a path is on several branches, the copy that is shown and the copy that is read may differ; such paths are skipped";
    /// The kernel keeps old contents.
    CacheFiles, "cache-files", Surprises, "cache.files=auto-full or off: with full, readers keep what they once read";
    /// Negative entries or attributes are kept long.
    CacheTimes, "cache-times", Surprises,
        "until these seconds are over the pool shows old link counts and inode numbers; do not judge a run before";
    /// SnapRAID's files.
    SnapRaid, "snapraid", Surprises,
        "sync after a run, and soon: until then the removed copies are missing from parity; --max-ops and --max-bytes cap a run";
    /// Per-file attributes are off.
    NoFileXattrs, "no-file-xattrs", Note, "nothing: each branch is looked at instead, which takes longer";
    /// A branch listed twice.
    BranchTwice, "branch-twice", Note, "list it once; the second is left out";
    /// An RO branch.
    ReadOnlyBranch, "read-only-branch", Note, "nothing: files there are neither replaced nor linked to";
    /// Symlinks to branch paths.
    SymlinksToBranches, "symlinks-to-branches", Note,
        "the files that they lead to stay on their disks (symlink-target); let such symlinks name the path in the pool";
    /// Options that make such symlinks.
    SymlinkOptions, "symlink-options", Note,
        "mergerfs then makes symlinks to paths on disks, and the files they lead to stay there; abs-pool-symlink makes symlinks to the pool";
    /// One filesystem behind several mounts.
    TwoMounts, "one-disk-two-mounts", Note,
        "links cannot cross mounts: copies on these branches are moved from one to the other as between disks";
    /// Edits through one name.
    NoLinkCow, "no-link-cow", Note,
        "after a run an edit through one name changes all names of a file; link-cow=true (2.33: link_cow=true) makes mergerfs copy it first";
    /// Links dissolve on writing.
    LinkCow, "link-cow", Note, "a program that opens a linked file for writing gets a copy of its own: space it takes again";
    /// Files move when a disk is full.
    MoveOnEnospc, "moveonenospc", Note, "a linked file that is appended to on a full disk becomes a copy elsewhere";
    /// Inode numbers that do not show links.
    InodeNumbers, "inode-numbers", Note,
        "through the pool linked names do not look linked (du, rsync -H); inodecalc=hybrid-hash shows it for files";
    /// Since 2.41 readers matter.
    Readers, "readers", Note,
        "since mergerfs 2.41 a reader keeps new opens of a path on the file it reads; such files are left alone as busy";
    /// mergerfs does not say its version.
    VersionUnknown, "version-unknown", Note, "nothing: versions 2.33 to 2.42 are understood";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_topic_has_its_own_word_and_advice_and_the_worst_come_first() {
        let words: HashSet<_> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
        assert_eq!(words.len(), Topic::ALL.len());
        assert!(Topic::ALL.iter().all(|topic| !topic.advice().is_empty()));
        assert!(Topic::ALL.is_sorted_by_key(|topic| topic.level()));
    }
}
