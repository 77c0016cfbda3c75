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

/// A regular file, beside its bytes and metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Nature {
    /// Its borders.
    pub borders: Borders,
    /// It is all hole, or only reserved: the filesystem holds no data of it.
    pub hollow: bool,
    /// Bytes of the disk that it shares with a snapshot or another file, and that stay in use without it.
    pub shared: u64,
    /// It was formatted as swap space.
    pub swap: bool,
}
