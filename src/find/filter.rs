//! Selects the files of a run by globs on relpaths and by size limits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::pool::relpath::RelPath;

/// Include and exclude globs, and size limits.
#[derive(Debug, Clone)]
pub struct Filter {
    include: Globs,
    exclude: Globs,
    min_size: u64,
    max_size: u64,
}

/// Globs, and which of them have matched a path so far.
#[derive(Debug, Clone)]
struct Globs {
    set: GlobSet,
    /// As the user wrote them.
    typed: Vec<String>,
    matched: Arc<[AtomicBool]>,
    all_matched: Arc<AtomicBool>,
}

impl Globs {
    fn new(globs: &[String]) -> Result<Self, GlobError> {
        Ok(Self {
            set: set(globs)?,
            typed: globs.to_vec(),
            matched: globs.iter().map(|_| AtomicBool::new(false)).collect(),
            all_matched: Arc::new(AtomicBool::new(globs.is_empty())),
        })
    }

    fn is_match(&self, path: &Path) -> bool {
        self.set.is_match(path)
    }

    /// Notes the globs that match `path`.
    fn note(&self, path: &Path) {
        if self.all_matched.load(Ordering::Relaxed) {
            return;
        }
        for at in self.set.matches(path) {
            self.matched[at].store(true, Ordering::Relaxed);
        }
        let all = self.matched.iter().all(|matched| matched.load(Ordering::Relaxed));
        self.all_matched.store(all, Ordering::Relaxed);
    }

    fn unmatched(&self) -> impl Iterator<Item = &str> {
        let all = self.typed.iter().zip(self.matched.iter());
        let unmatched = all.filter(|(_, matched)| !matched.load(Ordering::Relaxed));
        unmatched.map(|(glob, _)| glob.as_str())
    }
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
            include: Globs::new(include)?,
            exclude: Globs::new(exclude)?,
            min_size: min_size.unwrap_or(0),
            max_size: max_size.unwrap_or(u64::MAX),
        })
    }

    /// Reports the globs as `include` and `exclude`, which the user wrote, in the same order.
    #[must_use]
    pub fn typed(mut self, include: &[String], exclude: &[String]) -> Self {
        self.include.typed = include.to_vec();
        self.exclude.typed = exclude.to_vec();
        self
    }

    /// Whether the filter has globs.
    #[must_use]
    pub fn has_globs(&self) -> bool {
        !self.include.set.is_empty() || !self.exclude.set.is_empty()
    }

    /// Whether the globs let a path in.
    #[must_use]
    pub fn admits_path(&self, path: &RelPath) -> bool {
        self.note(path);
        (self.include.set.is_empty() || self.include.is_match(path.as_path()))
            && !self.excludes(path)
    }

    /// Whether the globs leave out a path. An excluded directory excludes everything in it, at any depth: a user who names a
    /// directory means its contents.
    #[must_use]
    pub fn excludes(&self, path: &RelPath) -> bool {
        let is_match = |part| self.exclude.is_match(part);
        !self.exclude.set.is_empty() && parts(path.as_path()).any(is_match)
    }

    /// Whether there are globs that have matched no path so far.
    #[must_use]
    pub fn has_unmatched(&self) -> bool {
        let all = |globs: &Globs| globs.all_matched.load(Ordering::Relaxed);
        !all(&self.include) || !all(&self.exclude)
    }

    /// Notes which globs match the path of a file.
    pub fn note(&self, path: &RelPath) {
        if self.has_unmatched() {
            self.include.note(path.as_path());
            parts(path.as_path()).for_each(|part| self.exclude.note(part));
        }
    }

    /// Notes which globs exclude a directory; an include has to match files.
    pub fn note_directory(&self, path: &RelPath) {
        self.exclude.note(path.as_path());
    }

    /// Returns the include globs and the exclude globs that have matched no path.
    pub fn unmatched(&self) -> (Vec<&str>, Vec<&str>) {
        (self.include.unmatched().collect(), self.exclude.unmatched().collect())
    }

    /// Whether the limits let a size in.
    #[must_use]
    pub fn admits_size(&self, size: u64) -> bool {
        (self.min_size..=self.max_size).contains(&size)
    }
}

/// `path` and the directories above it.
fn parts(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().take_while(|part| *part != Path::new(""))
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

    #[test]
    fn globs_that_match_nothing_are_known_as_they_were_typed() {
        let globs = |globs: &[&str]| globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
        let (include, exclude) =
            (globs(&["*.mkv", "*.avi"]), globs(&["/tv/old/**", "sample", "gone"]));
        let typed = globs(&["/pool/tv/old/**", "sample", "gone"]);
        let filter = Filter::new(&include, &exclude, None, None).unwrap().typed(&include, &typed);
        let path = |path: &str| RelPath::new(path).unwrap();
        assert_eq!(
            filter.unmatched(),
            (vec!["*.mkv", "*.avi"], typed.iter().map(|g| &**g).collect())
        );
        // What another glob leaves out counts, and so does what lies in a directory of that name.
        assert!(!filter.admits_path(&path("sample/a.txt")));
        assert!(!filter.admits_path(&path("tv/old/b.mkv")));
        filter.note_directory(&path("x.avi"));
        assert_eq!(filter.unmatched(), (vec!["*.avi"], vec!["gone"]));
        assert!(filter.clone().has_unmatched());
        filter.note_directory(&path("y/gone"));
        filter.clone().note(&path("x.avi"));
        assert!(!filter.has_unmatched());
        assert!(!Filter::new(&[], &[], None, None).unwrap().has_unmatched());
    }
}
