//! Knows what kinds of filesystems can do, without a trial: a trial of hard links or of an exchange changes something.

use nix::sys::statfs::FsType;

/// Whether a kind of filesystem can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Yes.
    Yes,
    /// No.
    No,
    /// It depends, or was never tried.
    Unknown,
}

/// A kind of filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemKind {
    /// Its name, or `other`.
    pub name: &'static str,
    /// Whether a file can have several names.
    pub hard_links: Ability,
    /// Whether two names can be exchanged (`RENAME_EXCHANGE`): for copies on one disk.
    pub exchange: Ability,
    /// Whether the filesystem forgets everything when the machine goes down.
    pub volatile: bool,
    /// Whether this tool's power-cut tests run on it.
    pub proven: bool,
}

const KINDS: [(u32, FilesystemKind); 15] = {
    use Ability::{No, Unknown, Yes};
    [
        (0xef53, kind("ext4", Yes, Yes).proven()),
        (0x5846_5342, kind("xfs", Yes, Yes).proven()),
        (0x9123_683e, kind("btrfs", Yes, Yes).proven()),
        (0xf2f5_2010, kind("f2fs", Yes, Yes)),
        (0x2fc1_2fc1, kind("zfs", Yes, Unknown)),
        (0xca45_1a4e, kind("bcachefs", Yes, Yes)),
        (0x4d44, kind("vfat", No, Yes)),
        (0x2011_bab0, kind("exfat", No, No)),
        (0x7366_746e, kind("ntfs3", Yes, No)),
        (0x6573_5546, kind("fuse", Unknown, No)),
        (0x6969, kind("nfs", Yes, No)),
        (0xff53_4d42, kind("cifs", Unknown, No)),
        (0x0102_1994, kind("tmpfs", Yes, Yes).volatile()),
        (0x8584_58f6, kind("ramfs", Yes, Unknown).volatile()),
        // The writable layer of a container: gone with it.
        (0x794c_7630, kind("overlay", Yes, Yes).volatile()),
    ]
};

const fn kind(name: &'static str, hard_links: Ability, exchange: Ability) -> FilesystemKind {
    FilesystemKind { name, hard_links, exchange, volatile: false, proven: false }
}

impl FilesystemKind {
    const fn proven(mut self) -> Self {
        self.proven = true;
        self
    }

    const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Returns the known abilities of the kind that `statfs(2)` names.
    #[must_use]
    pub fn of(found: FsType) -> Self {
        // Of 32 bits, and negative where the field is signed.
        let magic = found.0 as u32;
        let known = KINDS.iter().find(|(known, _)| *known == magic);
        known.map_or(kind("other", Ability::Unknown, Ability::Unknown), |(_, kind)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::statfs::{EXT4_SUPER_MAGIC, FUSE_SUPER_MAGIC, MSDOS_SUPER_MAGIC, statfs};

    #[test]
    fn kinds_are_told_by_what_statfs_says() {
        assert_eq!(FilesystemKind::of(EXT4_SUPER_MAGIC).name, "ext4");
        assert_eq!(FilesystemKind::of(FUSE_SUPER_MAGIC).name, "fuse");
        let fat = FilesystemKind::of(MSDOS_SUPER_MAGIC);
        assert_eq!((fat.name, fat.hard_links), ("vfat", Ability::No));
        let memory = FilesystemKind::of(statfs("/dev/shm").unwrap().filesystem_type());
        assert!(memory.volatile && memory.name == "tmpfs");
        assert_eq!(FilesystemKind::of(FsType(1)).name, "other");
    }
}
