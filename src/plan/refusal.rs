//! Why an op is not planned or not done: a closed list, each reason with advice for the user.

/// A reason, as data: shown in text and JSON, documented in `contrib/guides/reasons.md`. A test checks where each is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The path does not lead to a file of this pool.
    ///
    /// Decided in `find::look_up`, `find::only`.
    Unresolved,
    /// The list names the file, and does not say which file it equals.
    ///
    /// Decided in `find::resolve`.
    NotRead,
    /// The path is a directory, symlink or special file.
    ///
    /// Decided in `find::look_up`, `find::only`, `find::resolve`.
    NotRegular,
    /// A scan could not look into a directory, or read a file.
    ///
    /// Decided in `find::scan::walk`.
    Unreadable,
    /// The file does not have the size that the list says.
    ///
    /// Decided in `find::resolve`.
    ClaimSize,
    /// No member of the group lies under a primary.
    ///
    /// Decided in `plan`.
    NoPrimary,
    /// The relpath exists on several branches.
    ///
    /// Decided in `plan`, `rescue::undo`.
    Shadowed,
    /// The branches that have the relpath have different files there.
    ///
    /// Decided in `execute::compare`, `find::scan::versions`, `plan`.
    ShadowsDiffer,
    /// A hidden copy is to be merged that is younger than an hour.
    ///
    /// Decided in `plan`.
    FreshShadow,
    /// The inode has names that could not be found.
    ///
    /// Decided in `execute::compare`, `plan`.
    UnknownLinks,
    /// The file was named, and no other file that was scanned has the same bytes.
    ///
    /// Decided in `find::scan::named`.
    NoCopy,
    /// The file was named and is the copy that stays, and its copies were not named.
    ///
    /// Decided in `plan`.
    Kept,
    /// The user named directories or files, and neither one of its names nor a directory above that name is among them.
    ///
    /// Decided in `find::scan::named`, `plan`.
    Outside,
    /// One of its names is excluded by a filter; or it was named, and a filter leaves it out.
    ///
    /// Decided in `find::scan::named`, `find::scan::walk`, `plan`, `plan::sharing`.
    Excluded,
    /// The branch is RO in the pool.
    ///
    /// Decided in `plan`, `rescue::undo`.
    ReadOnly,
    /// The branch is not RO in the pool, and its filesystem or mount is read-only all the same.
    ///
    /// Decided in `execute::share`, `find::scan`, `plan`, `rescue::undo`.
    DiskReadOnly,
    /// Owner or group differ.
    ///
    /// Decided in `plan::metadata`.
    OwnerDiffers,
    /// Permission bits differ.
    ///
    /// Decided in `plan::metadata`.
    ModeDiffers,
    /// ACLs differ.
    ///
    /// Decided in `plan::metadata`.
    AclDiffers,
    /// Extended attributes differ.
    ///
    /// Decided in `plan::metadata`.
    XattrDiffers,
    /// A directory on the way differs between both branches in who may enter it or list it.
    ///
    /// Decided in `execute::path_access`.
    DirectoryDiffers,
    /// `chattr +i` or `+a` of a file, or of a directory in which names change.
    ///
    /// Decided in `execute::compare`, `execute::undo`, `find::ground`, `plan`, `plan::sharing`.
    Immutable,
    /// Encryption differs: of both files, or of the directories that the path has on both branches.
    ///
    /// Decided in `execute::compare`, `find::ground`, `plan`.
    EncryptionDiffers,
    /// Project ids differ: of both files, or of the kept copy and a directory that takes no other id.
    ///
    /// Decided in `find::ground`, `plan`.
    ProjectDiffers,
    /// A symlink on a branch leads to the file, or to a directory above it, by its branch path.
    ///
    /// Decided in `find::symlinks`.
    SymlinkTarget,
    /// A file that was formatted as swap space.
    ///
    /// Decided in `execute::share`, `plan`.
    SwapFile,
    /// The filesystem cannot say for sure that no program uses a file.
    ///
    /// Decided in `execute::window`.
    NoLease,
    /// The filesystem has no identity that survives a reboot.
    ///
    /// Decided in `execute::pass`, `plan`.
    NoIdentity,
    /// The branch is an overlay, whose files become other inodes when they are changed.
    ///
    /// Decided in `plan`.
    Overlay,
    /// The master's inode cannot take more names.
    ///
    /// Decided in `execute::halt`, `plan`.
    TooManyLinks,
    /// The filesystem cannot exchange two names, or rename a directory without replacing one.
    ///
    /// Decided in `execute::parents`, `execute::publish`.
    NoExchange,
    /// The files cannot share blocks: the filesystem has no reflinks, the copies lie on two disks, or one of both is stored
    /// otherwise.
    ///
    /// Decided in `execute::share`, `plan::sharing`.
    NoReflink,
    /// Branches lie within each other.
    ///
    /// Decided in `plan`.
    NestedBranch,
    /// A mount point, a subvolume or a symlink lies on the way.
    ///
    /// Decided in `execute::halt`, `execute::parents`, `execute::undo`, `find::ground`, `find::look_up`, `plan`.
    Obstructed,
    /// A directory of a branch that is a mount point or a btrfs subvolume: a scan does not enter it.
    ///
    /// Decided in `find::scan::border`.
    OtherFilesystem,
    /// A file without data, of 0 bytes or all hole: nothing to reclaim.
    ///
    /// Decided in `find::scan::walk`, `plan`.
    Empty,
    /// `--max-ops`, `--max-bytes` or `--max-time` was reached.
    ///
    /// Decided in `execute`, `plan`.
    Limit,
    /// Another program has the file open.
    ///
    /// Decided in `execute::window` where a lease is refused, and in `execute` where one is broken.
    Busy,
    /// It was changed since it was listed or compared.
    ///
    /// Decided in `execute::compare` before an op begins, in `execute` while it is under way, in `find::scan::named`,
    /// and in `rescue::old_script`.
    Changed,
    /// The bytes are not equal.
    ///
    /// Decided in `execute::compare`, `execute::share`, `plan`.
    Differs,
    /// Another program changed the standing of both copies while the op was under way; both are kept.
    ///
    /// Decided in `execute::both_stay` and `execute::take_back`, and elsewhere in `execute`.
    Conflict,
    /// The user who runs this program may not do it.
    ///
    /// Decided in `execute::halt`, `execute::window`, `find::only`, `find::look_up`.
    Permission,
    /// A system call failed.
    ///
    /// Decided in `execute::copy`, `execute::halt`, `execute::window`, `find::only`, `find::look_up`.
    Io,
    /// The branch had an error before, or is no longer the branch it was.
    ///
    /// Decided in `execute::pass`, `execute::recover`, `rescue::undo`.
    BranchFailed,
    /// The run was stopped before.
    ///
    /// Decided in `execute`.
    Interrupted,
    /// An interrupted run left the file half done, and nothing has finished it or put it back yet.
    ///
    /// Decided in `plan::half_done`.
    Unfinished,
    /// The file is to be undone, and a program changed it since it was linked.
    ///
    /// Decided in `execute::copy`, `execute::undo`, `rescue::undo`.
    ChangedSince,
    /// The bytes are not the recorded bytes, though the times are the recorded times.
    ///
    /// Decided in `execute::compare`, `execute::copy`, `rescue::undo`.
    Damaged,
    /// The file is to be undone, and is no longer in the state in which the run left it.
    ///
    /// Decided in `rescue::undo`.
    Gone,
    /// The file is to be undone, and was a hidden copy of a path that another disk has.
    ///
    /// Decided in `rescue::undo`.
    Merged,
}

/// Whether a reason is a failure: exit 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// As the rules say; no failure.
    Rule,
    /// A requested item could not be used or done.
    Failure,
}

impl Reason {
    /// Every reason, in the order of documentation.
    pub const ALL: [Self; 50] = [
        Self::Unresolved,
        Self::NotRead,
        Self::NotRegular,
        Self::Unreadable,
        Self::ClaimSize,
        Self::NoPrimary,
        Self::Shadowed,
        Self::ShadowsDiffer,
        Self::FreshShadow,
        Self::UnknownLinks,
        Self::NoCopy,
        Self::Kept,
        Self::Outside,
        Self::Excluded,
        Self::ReadOnly,
        Self::DiskReadOnly,
        Self::OwnerDiffers,
        Self::ModeDiffers,
        Self::AclDiffers,
        Self::XattrDiffers,
        Self::DirectoryDiffers,
        Self::Immutable,
        Self::EncryptionDiffers,
        Self::ProjectDiffers,
        Self::SymlinkTarget,
        Self::SwapFile,
        Self::NoLease,
        Self::NoIdentity,
        Self::Overlay,
        Self::TooManyLinks,
        Self::NoExchange,
        Self::NoReflink,
        Self::NestedBranch,
        Self::Obstructed,
        Self::OtherFilesystem,
        Self::Empty,
        Self::Limit,
        Self::Busy,
        Self::Changed,
        Self::Differs,
        Self::Conflict,
        Self::Permission,
        Self::Io,
        Self::BranchFailed,
        Self::Interrupted,
        Self::Unfinished,
        Self::ChangedSince,
        Self::Damaged,
        Self::Gone,
        Self::Merged,
    ];

    /// Returns the word for the reason in JSON, CSV and text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::NotRead => "not-read",
            Self::NotRegular => "not-regular",
            Self::Unreadable => "unreadable",
            Self::ClaimSize => "claim-size",
            Self::NoPrimary => "no-primary",
            Self::Shadowed => "shadowed",
            Self::ShadowsDiffer => "shadows-differ",
            Self::FreshShadow => "shadow-fresh",
            Self::UnknownLinks => "unknown-links",
            Self::NoCopy => "no-copy",
            Self::Kept => "kept",
            Self::Outside => "outside",
            Self::Excluded => "excluded",
            Self::ReadOnly => "read-only",
            Self::DiskReadOnly => "disk-read-only",
            Self::OwnerDiffers => "owner-differs",
            Self::ModeDiffers => "mode-differs",
            Self::AclDiffers => "acl-differs",
            Self::XattrDiffers => "xattr-differs",
            Self::DirectoryDiffers => "directory-differs",
            Self::Immutable => "immutable",
            Self::EncryptionDiffers => "encryption-differs",
            Self::ProjectDiffers => "project-differs",
            Self::SymlinkTarget => "symlink-target",
            Self::SwapFile => "swap-file",
            Self::NoLease => "no-lease",
            Self::NoIdentity => "no-identity",
            Self::Overlay => "overlay",
            Self::TooManyLinks => "too-many-links",
            Self::NoExchange => "no-exchange",
            Self::NoReflink => "no-reflink",
            Self::NestedBranch => "nested-branch",
            Self::Obstructed => "obstructed",
            Self::OtherFilesystem => "other-filesystem",
            Self::Empty => "empty",
            Self::Limit => "limit",
            Self::Busy => "busy",
            Self::Changed => "changed",
            Self::Differs => "differs",
            Self::Conflict => "conflict",
            Self::Permission => "permission",
            Self::Io => "io-error",
            Self::BranchFailed => "branch-failed",
            Self::Interrupted => "interrupted",
            Self::Unfinished => "unfinished",
            Self::ChangedSince => "changed-since",
            Self::Damaged => "damaged",
            Self::Gone => "gone",
            Self::Merged => "merged",
        }
    }

    /// Returns what the user can do about the reason.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table, one hint a reason")]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Unresolved => {
                "check the path, or make the list again on this pool; for paths from a container: --map FROM=TO; for names that are not UTF-8 use jdupes -0"
            }
            Self::NotRead => {
                "the list does not say which files these equal: make it again without whole directories (rmlint without -D), or scan: mergerfs.xdedup DIR"
            }
            Self::NotRegular => "only regular files are linked; nothing to do",
            Self::Unreadable => {
                "it was left out of the scan: look at the kernel log and the disk's health"
            }
            Self::ClaimSize => "the file changed since the list was made: make the list again",
            Self::NoPrimary => "add a primary (-p) that holds one of the copies, or --any-master",
            Self::Shadowed => {
                "the path exists on several disks: look at each copy and remove those that you do not want, or --shadows merge, which removes hidden copies that it finds equal"
            }
            Self::ShadowsDiffer => {
                "the disks have different versions of the path, and the pool shows one of them: look at each on its disk, and remove or rename the versions that you do not want"
            }
            Self::FreshShadow => {
                "a second copy appeared less than an hour ago (--shadow-age): a mover may be about to delete the other one; run again later"
            }
            Self::UnknownLinks => {
                "the file has hard links outside the branches of this pool: remove or include them"
            }
            Self::NoCopy => {
                "no other file that was scanned has these bytes; read-only branches, recycle bins and what DIR or a filter leaves out are not scanned"
            }
            Self::Kept => {
                "this is the copy that stays: name its copies too (--only), or let another one stay (-p, --dedup)"
            }
            Self::Outside => {
                "the file, or a hard link of it, was not named (DIR, --only): name it, or a directory above it, if it may be replaced"
            }
            Self::Excluded => {
                "the file, or a hard link of it, is excluded by a filter: widen the filter"
            }
            Self::ReadOnly => "make the branch RW in mergerfs, if it may be changed",
            Self::DiskReadOnly => {
                "the disk is mounted read-only, perhaps after an error: look at the kernel log, then remount it; on purpose: make the branch RO in mergerfs"
            }
            Self::OwnerDiffers => {
                "make equal all that is listed, in this order: chown --reference=KEPT FILE, chmod --reference=KEPT FILE, the ACL (getfacl KEPT, setfacl --set-file), attributes (setfattr); check first that the program that owns FILE can still use it; or --ignore-metadata with all that is listed (owner,mode,acl,xattr)"
            }
            Self::ModeDiffers => {
                "make equal all that is listed: chmod --reference=KEPT FILE, then the ACL (getfacl KEPT, setfacl --set-file), attributes (setfattr); check first that the program that owns FILE can still use it, and set one umask for both programs; or --ignore-metadata with all that is listed (mode,acl,xattr)"
            }
            Self::AclDiffers => {
                "make equal all that is listed: the ACL (getfacl KEPT, setfacl --set-file), attributes (setfattr); check first that the program that owns FILE can still use it; or --ignore-metadata with all that is listed (acl,xattr)"
            }
            Self::XattrDiffers => {
                "copy the attribute to both files (setfattr -n NAME -v VALUE), or remove it (setfattr -x NAME) if no program needs it; or --ignore-metadata xattr=NAME"
            }
            Self::DirectoryDiffers => {
                "who may enter a directory above it differs between the two disks: chmod --reference=DIR DIR and chown --reference=DIR DIR (setfacl for an ACL) copy from one to the other; check first that the programs that use the directory still can; or --ignore-metadata owner,mode,acl"
            }
            Self::Immutable => "chattr -i -a the file or directory, if it may be changed",
            Self::EncryptionDiffers => {
                "only one of both is encrypted, or with another key: after linking, not the same people could read it; keep both copies"
            }
            Self::ProjectDiffers => {
                "the project ids differ, and the filesystem links no file across projects: make them equal (xfs_io -c 'chproj N', chattr -p N), or keep both copies"
            }
            Self::SymlinkTarget => {
                "a symlink leads to the file, or to a directory above it, by its path on the disk, and would lead nowhere afterwards: let the symlink name the path in the pool"
            }
            Self::SwapFile => "two swap files cannot be one file; nothing to do",
            Self::NoLease => {
                "the filesystem has no leases, or the container or service forbids them: use ext4, xfs or btrfs, or --no-lease while nothing else uses the pool"
            }
            Self::NoIdentity => {
                "the filesystem has no UUID to know it by after a crash: use ext4, xfs or btrfs"
            }
            Self::Overlay => {
                "the disk is an overlay, and a change makes another file of each file of its lower layers: make directories of real disks the branches of the pool, not overlays of them"
            }
            Self::TooManyLinks => "the kept copy cannot take more hard links: keep a second copy",
            Self::NoExchange => {
                "the filesystem cannot exchange names, or rename without replacing (renameat2): update the kernel or the filesystem"
            }
            Self::NoReflink => {
                "blocks can be shared only where the kept copy lies on btrfs or xfs (both files with or both without chattr +C, +c): keep a copy there (-p), or --link auto, which makes hard links of the others"
            }
            Self::NestedBranch => "list only branches that do not lie within each other",
            Self::Obstructed => {
                "a symlink, mount point or subvolume lies on the way on that branch: name the real path, or leave the directory out (-E)"
            }
            Self::OtherFilesystem => {
                "another filesystem or subvolume begins there, and a scan does not enter it: mount it outside the branches and make it a branch of the pool, if its files are to be linked; else nothing to do, and -E leaves it out"
            }
            Self::Empty => {
                "files without data (0 bytes, or all hole, as of a download that has not begun) free nothing; nothing to do"
            }
            Self::Limit => "run again for the rest, or raise --max-ops, --max-bytes or --max-time",
            Self::Busy => {
                "a program has the file open, or changed it a moment ago: run again later"
            }
            Self::Changed => "the file changed: make the list again",
            Self::Differs => "the contents are not equal: the list is wrong or old; make it again",
            Self::Conflict => {
                "another program changed the file while it was replaced: nothing was removed; `status` lists the files that you have to settle, if any"
            }
            Self::Permission => {
                "run it as root; for root, too, a file or directory may be locked (chattr -i -a), or the container or service may lack a capability (for files of other users, LEASE: --cap-add LEASE)"
            }
            Self::Io => {
                "free some space if the disk is full; if a limit is named, raise it (Too many open files: ulimit -n, LimitNOFILE=); else look at the kernel log and the disk's health"
            }
            Self::BranchFailed => {
                "the disk had an error before, or is not there (each file says which): free some space, or check the disk and its mount, then run again"
            }
            Self::Interrupted => "run again for the rest",
            Self::Unfinished => {
                "an interrupted run left the file half done: remove no copy of it by hand; `resume` finishes it or puts it back, and -e does so first"
            }
            Self::ChangedSince => {
                "the file was edited or linked since, so it stays as it is: for a file of its own copy a link by hand (cp -a); a clone is one already"
            }
            Self::Damaged => {
                "the bytes changed and the times did not: look at the disk's health, and restore the file from a backup"
            }
            Self::Gone => {
                "the path was deleted, moved or replaced since, which stays so; undo a later run first if that did it"
            }
            Self::Merged => {
                "it was a hidden copy (--shadows merge), and another disk has its path with the same bytes; nothing to do"
            }
        }
    }

    /// Whether the reason makes the exit status 1.
    #[must_use]
    pub fn weight(self) -> Weight {
        match self {
            Self::NotRegular
            | Self::NoPrimary
            | Self::Shadowed
            | Self::ShadowsDiffer
            | Self::FreshShadow
            | Self::UnknownLinks
            | Self::NoCopy
            | Self::Kept
            | Self::Outside
            | Self::Excluded
            | Self::ReadOnly
            | Self::OwnerDiffers
            | Self::ModeDiffers
            | Self::AclDiffers
            | Self::XattrDiffers
            | Self::DirectoryDiffers
            | Self::Immutable
            | Self::EncryptionDiffers
            | Self::ProjectDiffers
            | Self::SymlinkTarget
            | Self::SwapFile
            | Self::NoLease
            | Self::NoIdentity
            | Self::Overlay
            | Self::TooManyLinks
            | Self::NoExchange
            | Self::NoReflink
            | Self::NestedBranch
            | Self::Obstructed
            | Self::OtherFilesystem
            | Self::Empty
            | Self::Limit
            | Self::Unfinished
            | Self::Gone
            | Self::Merged => Weight::Rule,
            Self::Unresolved
            | Self::NotRead
            | Self::Unreadable
            | Self::ClaimSize
            | Self::DiskReadOnly
            | Self::Busy
            | Self::Changed
            | Self::Differs
            | Self::Conflict
            | Self::Permission
            | Self::Io
            | Self::BranchFailed
            | Self::Interrupted
            | Self::ChangedSince
            | Self::Damaged => Weight::Failure,
        }
    }

    /// Whether the reason makes the exit status of an undo 1: every reason does, except for a file that must not come
    /// back, for an op that was not asked for yet, and for a file that is finished first.
    #[must_use]
    pub fn fails_undo(self) -> bool {
        !matches!(self, Self::Gone | Self::Merged | Self::Shadowed | Self::Limit | Self::Unfinished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_word_and_a_hint() {
        let words: HashSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|r| !r.hint().is_empty()));
    }
}
