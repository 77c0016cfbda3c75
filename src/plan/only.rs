//! The files that a run is about, where the user named them (`--only`).

use std::collections::HashSet;

use super::group::Member;
use crate::pool::relpath::RelPath;

/// Named files and directories; a directory stands for all files below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    paths: HashSet<Box<[u8]>>,
    parents: HashSet<Box<[u8]>>,
}

/// How much of a directory is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everything below it.
    All,
    /// Some of its entries may be.
    Some,
    /// None of its files.
    Nothing,
}

impl Only {
    /// The files and directories at `paths`.
    #[must_use]
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p RelPath>) -> Self {
        let mut only = Self::default();
        for path in paths {
            only.paths.insert(path.as_bytes().into());
            only.parents.extend(path.parent().map(|parent| parent.as_bytes().into()));
        }
        only
    }

    /// Whether nothing was named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether this very path was named.
    #[must_use]
    pub fn is_named(&self, path: &RelPath) -> bool {
        self.paths.contains(path.as_bytes())
    }

    /// Whether the path, or a directory above it, was named.
    #[must_use]
    pub fn holds(&self, path: &RelPath) -> bool {
        self.above(path).next().is_some()
    }

    /// Returns the named paths that `path` is or lies below.
    pub fn above<'o>(&'o self, path: &'o RelPath) -> impl Iterator<Item = &'o [u8]> {
        let bytes = path.as_bytes();
        let ends = std::iter::once(bytes.len())
            .chain((0..bytes.len()).rev().filter(|at| bytes[*at] == b'/'))
            .chain((!bytes.is_empty()).then_some(0));
        ends.map(|end| &bytes[..end]).filter(|dir| self.paths.contains(*dir))
    }

    /// Returns how much of the directory `dir` is named.
    #[must_use]
    pub fn reach(&self, dir: &RelPath) -> Reach {
        match () {
            () if self.holds(dir) => Reach::All,
            () if self.parents.contains(dir.as_bytes()) => Reach::Some,
            () => Reach::Nothing,
        }
    }

    /// Whether a path was named that is `dir`, or lies below or above it.
    #[must_use]
    pub fn concerns(&self, dir: &RelPath) -> bool {
        let below = |path: &[u8]| RelPath::new(path).is_ok_and(|path| path.is_below(dir));
        self.holds(dir) || self.paths().into_iter().any(below)
    }

    /// Whether a name of `member` that no filter leaves out was named.
    #[must_use]
    pub fn has(&self, member: &Member) -> bool {
        self.name_of(member).is_some()
    }

    /// Whether all names of `member` were named.
    #[must_use]
    pub fn has_all(&self, member: &Member) -> bool {
        member.names.iter().all(|name| self.holds(&name.path))
    }

    /// Returns the first name of `member` that was named and that no filter leaves out.
    #[must_use]
    pub fn name_of<'m>(&self, member: &'m Member) -> Option<&'m RelPath> {
        let names = member.names.iter().filter(|name| !name.excluded).map(|name| &name.path);
        names.into_iter().find(|path| self.holds(path))
    }

    /// Returns the named paths, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<&[u8]> {
        let mut paths: Vec<&[u8]> = self.paths.iter().map(|path| &**path).collect();
        paths.sort_unstable();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_by_itself_or_by_a_directory_above_it() {
        let path = |path: &str| RelPath::new(path).unwrap();
        let only = Only::new([&path("tv/Show/Season 1"), &path("films/a.mkv")]);
        for (asked, holds) in [
            ("films/a.mkv", true),
            ("films/a.mkv2", false),
            ("films", false),
            ("tv/Show/Season 1/e1.mkv", true),
            ("tv/Show/Season 1/subs/e1.srt", true),
            ("tv/Show/Season 10/e1.mkv", false),
            ("", false),
        ] {
            assert_eq!(only.holds(&path(asked)), holds, "{asked}");
        }
        for (dir, reach) in [
            ("films", Reach::Some),
            ("tv/Show", Reach::Some),
            ("tv/Show/Season 1", Reach::All),
            ("tv/Show/Season 1/subs", Reach::All),
            ("tv", Reach::Nothing),
            ("", Reach::Nothing),
        ] {
            assert_eq!(only.reach(&path(dir)), reach, "{dir}");
        }
        for (dir, concerned) in [
            ("tv", true),
            ("", true),
            ("tv/Show/Season 1/subs", true),
            ("films/a.mkv", true),
            ("films/b", false),
            ("music", false),
        ] {
            assert_eq!(only.concerns(&path(dir)), concerned, "{dir}");
        }
        assert_eq!(only.above(&path("films/a.mkv")).collect::<Vec<_>>(), [b"films/a.mkv"]);
        let all = Only::new([&RelPath::root()]);
        assert!(all.holds(&path("a/b")) && all.holds(&RelPath::root()));
        assert_eq!(all.reach(&RelPath::root()), Reach::All);
        assert!(Only::new([&path("a")]).holds(&path("a/b/c")));
        assert_eq!(Only::new([&path("a")]).reach(&RelPath::root()), Reach::Some);
    }
}
