//! What keeps equal bytes from being equal files: encryption, project, missing data, use as swap.

/// The borders inside one filesystem that a file or directory lies within. A link across such a border fails, or
/// changes who can read the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Borders {
    /// The encryption policy (`fscrypt`), as the filesystem reports it; `None` if not encrypted.
    pub encryption: Option<Box<[u8]>>,
    /// The project id, which quotas count by.
    pub project: u32,
    /// Whether new entries of a directory get its project id. Such a directory refuses links to files of another id.
    pub inherits_project: bool,
}

/// Which blocks of its filesystem hold the contents of a file, as a hash of their places: files of one filesystem with the
/// same layout have the same contents, and share all blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout(pub [u64; 2]);

/// The blocks that a file shares with snapshots or other files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Sharing {
    /// How many bytes of the disk they are.
    pub bytes: u64,
    /// Where they lie, if that is all of the file and certain: no block is compressed, inline, only reserved, or in memory
    /// and not yet on the disk.
    pub layout: Option<Layout>,
}

/// A regular file, beside its bytes and metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Nature {
    /// Its borders.
    pub borders: Borders,
    /// It is all hole, or only reserved: the filesystem holds no data of it.
    pub hollow: bool,
    /// The blocks that stay in use without it.
    pub sharing: Sharing,
    /// It was formatted as swap space.
    pub swap: bool,
    /// How its blocks are stored, see [`how_stored`]; `None` if the filesystem has no such flags, or no file of it shares blocks.
    pub stored: Option<u32>,
}

/// The flags of `lsattr` that say how blocks are stored: compressed, never compressed, without copies on write.
const STORED: u32 = 0x4 | 0x400 | 0x0080_0000;

/// Returns those of the inode flags of a file that say how its blocks are stored. No two files for which these differ share
/// blocks.
#[must_use]
pub fn how_stored(flags: u32) -> u32 {
    flags & STORED
}
