//! Files that ended ops left on the branches for a person to settle, as they are now.
//!
//! A conflict record names places: hidden files, and paths that were on two branches when the op ended. People remove
//! and move such files by hand, so `status` and `resume --discard` look at each place again.

use std::path::{Path, PathBuf};

use crate::fs::{FileKind, Place, Stat, Timestamp};
use crate::plan::OpId;

mod at_work;
mod branches;
mod discard;
mod look;

pub(crate) use at_work::hidden_files;
pub(crate) use branches::Branches;
pub(crate) use discard::{Discard, NotRemoved, Refused, places_of};
pub(crate) use look::look;

/// A file, or another entry of a directory, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNow {
    /// Its full branch path.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// Its inode number.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The last change of its contents.
    pub modified: Timestamp,
}

impl FileNow {
    pub(crate) fn new(path: PathBuf, stat: &Stat) -> Self {
        Self { path, kind: stat.kind, ino: stat.id.ino, size: stat.size, modified: stat.mtime }
    }

    /// The directory it lies in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// A hidden name in words: kind, name, directory and inode number.
    #[must_use]
    pub fn words(&self) -> String {
        let kind = match self.kind {
            FileKind::Regular => "file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symlink",
            FileKind::Other => "special file",
        };
        let name = self.path.file_name().unwrap_or_default();
        let (name, dir) = (name.to_string_lossy(), self.dir().to_string_lossy());
        format!("hidden {kind} {name} in {dir} (inode {})", self.ino)
    }
}

/// A hidden file that a conflict names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenFile {
    /// The file.
    pub file: FileNow,
    /// The pool path it had, where the journal still knows.
    pub pool_path: Option<PathBuf>,
    /// A name in the same directory that is free on every branch that is mounted.
    pub keep_as: Option<PathBuf>,
}

/// One path that is on several branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twice {
    /// The path in the pool.
    pub pool_path: PathBuf,
    /// The files, in branch order.
    pub files: Vec<TwiceFile>,
    /// Whether all have the same bytes; `None` where they were not compared.
    pub equal: Option<bool>,
    /// How a file that the pool does not show differs from the other in owner, permissions, ACL or attributes.
    pub metadata: Option<String>,
}

/// One of the files of a path that is on several branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwiceFile {
    /// The file.
    pub file: FileNow,
    /// Whether the pool shows this one; `None` where mergerfs did not say.
    pub shown: Option<bool>,
    /// A name in the same directory that is free on every branch that is mounted.
    pub keep_as: Option<PathBuf>,
}

/// An op that ended in a conflict that a person has not settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// The op.
    pub op: OpId,
    /// What happened.
    pub why: String,
    /// Hidden files.
    pub hidden: Vec<HiddenFile>,
    /// Paths that are on several branches.
    pub twice: Vec<Twice>,
    /// Places that could not be looked at: their branch is not mounted, or cannot be read.
    pub not_looked_at: Vec<PathBuf>,
}

impl Unsettled {
    /// Whether nothing of the conflict is left.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.hidden.is_empty() && self.twice.is_empty() && self.not_looked_at.is_empty()
    }
}

/// How a hidden name that no open op and no conflict explains came to be, as far as the name and the journal say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This journal's op, in the directory it worked in.
    LeftBehind(OpId),
    /// This journal's op, in another directory: another program renamed the directory while the op worked in it.
    Renamed(OpId),
    /// This journal's op, and the journal has forgotten the run (`history --prune`).
    Forgotten(OpId),
    /// This journal's id, and a run that the journal never had.
    NeverRun(OpId),
    /// Another journal's id.
    OtherJournal(u32),
    /// No id can be read.
    Unreadable,
}

/// A hidden name that no open op and no conflict explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// The entry that has the name.
    pub file: FileNow,
    /// How the name came to be.
    pub origin: Origin,
    /// The pool path it had, where the journal still knows.
    pub pool_path: Option<PathBuf>,
    /// A free name in the same directory, for a file of this journal.
    pub keep_as: Option<PathBuf>,
}

impl Unexplained {
    /// Whether `resume --discard PATH` removes it.
    #[must_use]
    pub fn can_be_discarded(&self) -> bool {
        let ours = matches!(
            self.origin,
            Origin::LeftBehind(_) | Origin::Renamed(_) | Origin::Forgotten(_)
        );
        ours && self.file.kind == FileKind::Regular
    }
}

/// The entry `name` with `suffix`, cut where a name could not be that long.
fn with_suffix(name: &[u8], suffix: &str) -> Vec<u8> {
    const NAME_MAX: usize = 255;
    let mut keep = name.len().min(NAME_MAX - suffix.len());
    // Not within a character.
    while keep > 0 && keep < name.len() && name[keep] & 0b1100_0000 == 0b1000_0000 {
        keep -= 1;
    }
    [&name[..keep], suffix.as_bytes()].concat()
}

/// The names to try for a file that was called `name`, best first.
fn names_to_try(name: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let numbered = (2..1000).map(|n| format!(".recovered-{n}"));
    let suffixes = ["".to_owned(), ".recovered".to_owned()].into_iter();
    suffixes.chain(numbered).map(move |suffix| with_suffix(name, &suffix))
}

/// The place in the directory of `at` that has the name `name`.
fn beside(at: &Place, name: &[u8]) -> Option<Place> {
    use std::os::unix::ffi::OsStrExt;
    let path = at.path.sibling(std::ffi::OsStr::from_bytes(name)).ok()?;
    Some(Place::new(at.branch, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters() {
        assert_eq!(with_suffix(b"a.bin", ".recovered"), b"a.bin.recovered");
        let long = [b"x".repeat(244), "\u{e9}".repeat(5).into_bytes()].concat();
        let cut = with_suffix(&long, ".recovered");
        assert!(cut.len() <= 255 && cut.ends_with(b".recovered"));
        assert!(std::str::from_utf8(&cut).is_ok());
        assert_eq!(with_suffix(&[0x80; 255], ".recovered"), b".recovered");
    }

    #[test]
    fn hidden_names_are_told_with_directory_and_inode() {
        let file = FileNow {
            path: "/mnt/d1/dl/.xdedup-1".into(),
            kind: FileKind::Regular,
            ino: 12,
            size: 1,
            modified: Timestamp::default(),
        };
        assert_eq!(file.words(), "hidden file .xdedup-1 in /mnt/d1/dl (inode 12)");
    }
}
