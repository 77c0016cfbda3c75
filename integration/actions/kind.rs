//! The kinds of replacement that clients meddle with.

use std::fmt;
use std::str::FromStr;

/// What the program does in a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Two disks, the kept copy on the first branch.
    CrossFirst,
    /// Two disks, the kept copy on the last branch.
    CrossLast,
    /// One disk.
    Local,
    /// Two disks; the duplicate has two names in two directories.
    Set,
    /// One disk; the duplicate has two names in two directories.
    LocalSet,
    /// Two duplicates of one name: `d/b` on the disk of its kept copy, `f/b` on another one than its kept copy.
    TwoOps,
    /// `d/b` is on both branches and becomes one (`--shadows merge`).
    Shadows,
    /// A finished run over two disks, the kept copy on the first branch, is taken back.
    UndoFirst,
    /// The same, the kept copy on the last branch.
    UndoLast,
    /// A finished run on one disk is taken back.
    UndoLocal,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::CrossFirst,
        Self::CrossLast,
        Self::Local,
        Self::Set,
        Self::LocalSet,
        Self::TwoOps,
        Self::Shadows,
        Self::UndoFirst,
        Self::UndoLast,
        Self::UndoLocal,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CrossFirst => "cross-first",
            Self::CrossLast => "cross-last",
            Self::Local => "local",
            Self::Set => "set",
            Self::LocalSet => "local-set",
            Self::TwoOps => "two-ops",
            Self::Shadows => "shadows",
            Self::UndoFirst => "undo-first",
            Self::UndoLast => "undo-last",
            Self::UndoLocal => "undo-local",
        }
    }

    /// The branch of the kept copy.
    pub(super) fn kept_branch(self) -> usize {
        usize::from(matches!(self, Self::CrossLast | Self::UndoLast))
    }

    /// The branch of the duplicate.
    pub(super) fn duplicate_branch(self) -> usize {
        match self {
            Self::Local | Self::LocalSet | Self::TwoOps => 0,
            Self::UndoLocal | Self::CrossLast | Self::UndoLast => 0,
            Self::CrossFirst | Self::Set | Self::Shadows | Self::UndoFirst => 1,
        }
    }

    /// Whether the duplicate has a second name, `e/b2`.
    pub(super) fn is_set(self) -> bool {
        matches!(self, Self::Set | Self::LocalSet)
    }

    pub(super) fn is_undo(self) -> bool {
        matches!(self, Self::UndoFirst | Self::UndoLast | Self::UndoLocal)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("no kind {text:?}"))
    }
}
