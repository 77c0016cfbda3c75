//! Selects the files of a run by globs on relpaths and by size limits.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::pool::relpath::RelPath;

/// Include and exclude globs, and size limits.
#[derive(Debug, Clone)]
pub struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
    min_size: u64,
    max_size: u64,
}

/// An invalid glob.
#[derive(Debug, thiserror::Error)]
#[error("not a glob: {glob:?}")]
pub struct GlobError {
    /// The glob as the user wrote it.
    pub glob: String,
    /// The error in the glob.
    #[source]
    source: globset::Error,
}

impl Filter {
    /// A filter of globs and sizes in bytes.
    ///
    /// A glob with a `/` is matched against the whole relpath, a glob without a `/` against the file name. `*` does not
    /// cross a `/`, `**` does. An exclude that matches a directory also excludes everything in the directory.
    ///
    /// # Errors
    /// If a glob is invalid.
    pub fn new(
        include: &[String],
        exclude: &[String],
        min_size: Option<u64>,
        max_size: Option<u64>,
    ) -> Result<Self, GlobError> {
        Ok(Self {
            include: if include.is_empty() { None } else { Some(set(include)?) },
            exclude: set(exclude)?,
            min_size: min_size.unwrap_or(0),
            max_size: max_size.unwrap_or(u64::MAX),
        })
    }

    /// Whether the filter has globs.
    #[must_use]
    pub fn has_globs(&self) -> bool {
        self.include.is_some() || !self.exclude.is_empty()
    }

    /// Whether the globs let a path in.
    #[must_use]
    pub fn admits_path(&self, path: &RelPath) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.is_match(path.as_path()))
            && !self.excludes(path.as_path())
    }

    /// An excluded directory excludes everything in it, at any depth: a user who names a directory means its contents.
    fn excludes(&self, path: &Path) -> bool {
        let named = path.ancestors().take_while(|part| *part != Path::new(""));
        !self.exclude.is_empty() && named.into_iter().any(|part| self.exclude.is_match(part))
    }

    /// Whether the limits let a size in.
    #[must_use]
    pub fn admits_size(&self, size: u64) -> bool {
        (self.min_size..=self.max_size).contains(&size)
    }
}

fn set(globs: &[String]) -> Result<GlobSet, GlobError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(compile(glob).map_err(|source| GlobError { glob: glob.clone(), source })?);
    }
    set.build().map_err(|source| GlobError { glob: globs.join(" "), source })
}

fn compile(glob: &str) -> Result<Glob, globset::Error> {
    let anchored = glob.trim_matches('/');
    let pattern = if glob.contains('/') { anchored.to_owned() } else { format!("**/{glob}") };
    GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names_or_whole_paths() {
        let cases = [
            ("*.mkv", "a/b/c.mkv", true),
            ("*.mkv", "c.mkv", true),
            ("a/*.mkv", "a/c.mkv", true),
            ("a/*.mkv", "a/b/c.mkv", false),
            ("/a/**", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("*.mkv", "c.mkv2", false),
        ];
        for (glob, path, expected) in cases {
            let filter = Filter::new(&[glob.to_owned()], &[], None, None).unwrap();
            assert_eq!(filter.admits_path(&RelPath::new(path).unwrap()), expected, "{glob} {path}");
        }
    }

    #[test]
    fn an_excluded_directory_goes_with_all_that_is_in_it() {
        let cases = [
            ("music", "music/a/b.flac", false),
            ("music", "x/music/b.flac", false),
            ("music/", "music/a/b.flac", false),
            ("/music/", "music/b.flac", false),
            ("music/", "x/music/b.flac", true),
            ("downloads/incomplete/*", "downloads/incomplete/t/p.mkv", false),
            ("downloads/incomplete/*", "downloads/complete/t/p.mkv", true),
            ("music", "musical/b.flac", true),
            ("*.torrent", "x/a.torrent", false),
        ];
        for (glob, path, admitted) in cases {
            let filter = Filter::new(&[], &[glob.to_owned()], None, None).unwrap();
            let path = RelPath::new(path).unwrap();
            assert_eq!(filter.admits_path(&path), admitted, "{glob} {path:?}");
        }
    }

    #[test]
    fn exclude_beats_include_and_names_are_bytes() {
        let globs = |g: &str| vec![g.to_owned()];
        let filter = Filter::new(&globs("*.bin"), &globs("tmp/**"), Some(5), Some(9)).unwrap();
        assert!(filter.admits_path(&RelPath::new(b"x/\xff.bin").unwrap()));
        assert!(!filter.admits_path(&RelPath::new("tmp/a.bin").unwrap()));
        assert!(filter.admits_size(5) && filter.admits_size(9));
        assert!(!filter.admits_size(4) && !filter.admits_size(10));
        assert!(Filter::new(&globs("a["), &[], None, None).is_err());
    }
}
