//! Looks up the paths of a list, directory by directory and over a few threads.
//!
//! Each directory is looked up once and mergerfs is asked once about it; the files in it are then looked at on the branches
//! that hold it, from the open directory.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::filter::Filter;
use crate::fs::at_once;
use crate::fs::real::{RealFs, ScanParent};
use crate::fs::{FileKind, FsError, Metadata, Nature, Place, Stat, limit_of};
use crate::plan::hidden_name::is_hidden_name;
use crate::plan::refusal::Reason;
use crate::pool::mergerfs::{Directory, Locator, PoolDir, PoolError};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, Pool};

/// How many directories are remembered.
const KNOWN_MAX: usize = 65_536;

/// Files of one directory that one thread looks up at a time.
const FILES_AT_ONCE: usize = 1_024;

/// A directory with more names than so many times the files that are looked up in it is not listed.
const NAMES_PER_FILE: usize = 8;

/// A path to look up, and the size that its list states.
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    pub(super) size: Option<u64>,
}

/// What a path leads to.
pub(super) enum Found {
    /// Files of the pool.
    Files(Files),
    /// The filter leaves it out, or it is a file that this program made.
    LeftOut,
    /// It cannot be used.
    Refused(Reason, String),
}

/// The files of a path, on one branch or more.
pub(super) struct Files {
    pub(super) path: RelPath,
    pub(super) copies: Vec<Copy>,
    /// Whether mergerfs did not report where the path is, so that each branch was searched.
    pub(super) asked_branches: bool,
}

/// The file that one branch has at a path.
pub(super) struct Copy {
    pub(super) branch: BranchIdx,
    pub(super) stat: Stat,
    /// `None` if the file was not opened: another size is listed, or the filter leaves it out.
    pub(super) facts: Option<Result<(Metadata, Nature), FsError>>,
}

/// Where a directory is, or why its files cannot be used.
type Known = Result<Directory, (Reason, String)>;

/// Looks up paths, and remembers where their directories are.
pub(super) struct LookUp<'r> {
    fs: &'r RealFs,
    pool: &'r Pool,
    filter: &'r Filter,
    locator: Locator<'r>,
    known: HashMap<PathBuf, Known>,
}

/// Some wanted files of one directory: their names, and where the results belong.
struct Part<'w> {
    named: &'w Path,
    files: Vec<(usize, &'w OsStr)>,
}

/// A directory on one branch.
struct Parent {
    branch: BranchIdx,
    dir: Result<ScanParent, FsError>,
    /// Whether it has each of the wanted files, by their order; `None` if it was not listed.
    lists: Option<Vec<bool>>,
}

impl<'r> LookUp<'r> {
    /// Remembers no directory yet.
    ///
    /// # Errors
    /// If the mount table cannot be read.
    pub(super) fn new(
        fs: &'r RealFs,
        pool: &'r Pool,
        filter: &'r Filter,
    ) -> Result<Self, PoolError> {
        Ok(Self { fs, pool, filter, locator: Locator::new(pool)?, known: HashMap::new() })
    }

    /// Looks up all of `wanted`; the results are in their order.
    ///
    /// # Errors
    /// If the pool no longer answers.
    pub(super) fn all(&mut self, wanted: &[Wanted]) -> Result<Vec<Found>, PoolError> {
        let mut found: Vec<Found> = Vec::new();
        found.resize_with(wanted.len(), || {
            Found::Refused(Reason::Unresolved, "not on this pool".to_owned())
        });
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut open: HashMap<&Path, usize> = HashMap::new();
        for (at, one) in wanted.iter().enumerate() {
            let path = one.path.as_path();
            let (Some(named), Some(name)) = (path.parent(), path.file_name()) else { continue };
            if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
                continue;
            }
            match open.get(named).map(|part| &mut parts[*part].files) {
                Some(files) if files.len() < FILES_AT_ONCE => files.push((at, name)),
                _ => {
                    open.insert(named, parts.len());
                    parts.push(Part { named, files: vec![(at, name)] });
                }
            }
        }
        self.learn(parts.iter().map(|part| part.named))?;
        let results = at_once::all(&parts, |_| (), |part| self.part(part, wanted));
        for (at, one) in results.into_iter().flatten() {
            found[at] = one;
        }
        Ok(found)
    }

    /// Finds out where the directories are that are not known yet.
    fn learn<'w>(&mut self, named: impl Iterator<Item = &'w Path>) -> Result<(), PoolError> {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        let unknown: HashSet<&Path> = named.filter(|dir| !self.known.contains_key(*dir)).collect();
        let mut unknown: Vec<&Path> = unknown.into_iter().collect();
        unknown.sort_unstable();
        let learnt = at_once::all(&unknown, |_| (), |dir| self.locator.directory(dir));
        for (dir, learnt) in unknown.into_iter().zip(learnt) {
            // mergerfs 2.33 now and then misses a directory that several look-ups ask for at the same time.
            let learnt = match learnt {
                Ok(Directory::Missing) => self.locator.directory(dir),
                learnt => learnt,
            };
            let known = match learnt {
                Err(PoolError::Path { source, .. } | PoolError::AllPaths { source, .. })
                    if source.raw_os_error() != Some(libc::ENOTCONN) =>
                {
                    Err((reason_of(&source), source.to_string()))
                }
                learnt => Ok(learnt?),
            };
            self.known.insert(dir.to_path_buf(), known);
        }
        Ok(())
    }

    fn part(&self, part: &Part<'_>, wanted: &[Wanted]) -> Vec<(usize, Found)> {
        let refused = |reason: Reason, detail: &str| Found::Refused(reason, detail.to_owned());
        let files = part.files.iter().copied();
        match &self.known[part.named] {
            Ok(Directory::In(dir)) => {
                let open = self.open(dir, &part.files);
                let files = files.enumerate().map(|(n, (at, name))| {
                    (at, self.file(dir, holders(&open, n), name, wanted[at].size))
                });
                files.collect()
            }
            Ok(Directory::Outside(dir)) => files
                .map(|(at, name)| match self.locator.root_at(&dir.join(name)) {
                    Some(path) if self.filter.admits_path(&path) => {
                        (at, refused(Reason::NotRegular, ""))
                    }
                    Some(_) => (at, Found::LeftOut),
                    None => (at, refused(Reason::Unresolved, "not on this pool")),
                })
                .collect(),
            Ok(Directory::Missing) => {
                files.map(|(at, _)| (at, refused(Reason::Unresolved, "no such file"))).collect()
            }
            Err((reason, why)) => files.map(|(at, _)| (at, refused(*reason, why))).collect(),
        }
    }

    /// Opens a directory on each branch that holds it. Where several files are looked up on several branches, lists it: most
    /// files are on one of them, and a look at a name that is not there costs more than its part in a listing.
    fn open(&self, dir: &PoolDir, files: &[(usize, &OsStr)]) -> Vec<Parent> {
        let branches = dir.on.clone().unwrap_or_else(|| self.pool.indices().collect());
        let mut open = Vec::with_capacity(branches.len());
        for branch in branches {
            match self.fs.scan_parent(&Place::new(branch, dir.path.clone())) {
                Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENOTDIR) => {}
                parent => open.push(Parent { branch, dir: parent, lists: None }),
            }
        }
        if open.len() > 2 && files.len() > 2 {
            let wanted: HashMap<&OsStr, usize> =
                files.iter().enumerate().map(|(n, (_, name))| (*name, n)).collect();
            for parent in &mut open {
                let Ok(dir) = &parent.dir else { continue };
                let mut lists = vec![false; files.len()];
                let found = |name: &OsStr| {
                    if let Some(n) = wanted.get(name) {
                        lists[*n] = true;
                    }
                };
                // If this fails, the look at each name says why.
                let all = dir.list(files.len() * NAMES_PER_FILE, found).unwrap_or(false);
                parent.lists = all.then_some(lists);
            }
        }
        open
    }

    fn file<'p>(
        &self,
        dir: &PoolDir,
        open: impl Iterator<Item = &'p Parent>,
        name: &OsStr,
        size: Option<u64>,
    ) -> Found {
        let Ok(path) = dir.path.join(name) else {
            return Found::Refused(Reason::Unresolved, "not on this pool".to_owned());
        };
        if path.as_bytes().split(|b| *b == b'/').any(is_hidden_name)
            || !self.filter.admits_path(&path)
        {
            return Found::LeftOut;
        }
        let mut copies = Vec::new();
        for parent in open {
            let place = Place::new(parent.branch, path.clone());
            match self.copy(&place, &parent.dir, size) {
                Ok(copy) => copies.extend(copy),
                Err(error) => {
                    let detail = format!("{error}: {}", error.source);
                    return Found::Refused(reason_of(&error.source), detail);
                }
            }
        }
        // A path through a branch names that branch's file, not a file of the same name on another branch.
        let named = |copy: &Copy| dir.through.is_none_or(|through| through == copy.branch);
        if !copies.iter().any(named) {
            let detail = match dir.on {
                Some(_) => "no such file",
                None => "on no branch that can be seen here",
            };
            return Found::Refused(Reason::Unresolved, detail.to_owned());
        }
        Found::Files(Files { path, copies, asked_branches: dir.on.is_none() })
    }

    /// Looks at the file that one branch has at `place`, if it has one.
    fn copy(
        &self,
        place: &Place,
        parent: &Result<ScanParent, FsError>,
        size: Option<u64>,
    ) -> Result<Option<Copy>, FsError> {
        let failed = |call, error| self.fs.scan_error(call, place, error);
        let parent = match parent {
            Ok(parent) => parent,
            Err(error) => {
                return Err(failed("look up", io::Error::from_raw_os_error(error.errno())));
            }
        };
        let name = place.path.file_name();
        let Some(stat) = parent.stat(name).map_err(|error| failed("look up", error))? else {
            return Ok(None);
        };
        let used = stat.kind == FileKind::Regular
            && size.is_none_or(|size| size == stat.size)
            && self.filter.admits_size(stat.size);
        let can_share = self.fs.can_share(place.branch);
        let facts = || -> io::Result<(Metadata, Nature)> {
            let file = parent.open(name)?;
            let now = file.stat()?;
            if now.id != stat.id {
                return Err(io::Error::from_raw_os_error(libc::ESTALE));
            }
            Ok((file.metadata(&now)?, file.nature(&now, can_share)?))
        };
        let facts = used.then(|| facts().map_err(|error| failed("open", error)));
        Ok(Some(Copy { branch: place.branch, stat, facts }))
    }
}

/// The directories in which wanted file `n` may be. A filesystem that ignores case finds names that no listing has.
fn holders(open: &[Parent], n: usize) -> impl Iterator<Item = &Parent> {
    let lists = move |parent: &Parent| parent.lists.as_ref().map(|lists| lists[n]);
    let listed = open.iter().any(|parent| lists(parent) == Some(true));
    open.iter().filter(move |parent| !listed || lists(parent) != Some(false))
}

/// Why a path cannot be used that met `error`.
pub(super) fn reason_of(error: &io::Error) -> Reason {
    known_reason(error).unwrap_or(Reason::Unresolved)
}

/// The reason that an error has wherever a path is opened; `None` if it has none.
pub(super) fn known_reason(error: &io::Error) -> Option<Reason> {
    match error.raw_os_error() {
        Some(libc::ELOOP | libc::EXDEV) => Some(Reason::Obstructed),
        Some(libc::EACCES | libc::EPERM) => Some(Reason::Permission),
        // It says nothing about the path.
        _ if limit_of(error).is_some() => Some(Reason::Io),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the stage with std::fs")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// What a path leads to, and the branches of its files that were opened.
    fn said(found: &Found) -> (&str, Vec<u16>) {
        match found {
            Found::Files(files) => {
                let open = files.copies.iter().filter(|copy| matches!(copy.facts, Some(Ok(_))));
                ("files", open.map(|copy| copy.branch.0).collect())
            }
            Found::LeftOut => ("left out", Vec::new()),
            Found::Refused(_, why) => (why, Vec::new()),
        }
    }

    #[test]
    fn a_limit_of_this_program_says_nothing_about_a_path() {
        let of = |errno| reason_of(&io::Error::from_raw_os_error(errno));
        assert_eq!([of(libc::EMFILE), of(libc::ENFILE)], [Reason::Io; 2]);
        assert_eq!(of(libc::ENOENT), Reason::Unresolved);
    }

    #[test]
    fn each_path_leads_to_its_files_or_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for made in ["pool/d", "b0/d", "b1/d", "b1/only", "pool/only", "outside"] {
            std::fs::create_dir_all(top.join(made)).unwrap();
        }
        for (file, bytes) in [
            ("b0/d/both", "one"),
            ("b1/d/both", "three"),
            ("b1/d/there", "one"),
            ("b1/only/f", "one"),
            ("b0/d/skipped.tmp", "one"),
            ("outside/f", "one"),
        ] {
            std::fs::write(top.join(file), bytes).unwrap();
        }
        symlink("both", top.join("b0/d/symlink")).unwrap();
        let pool = Pool::sample(&top.join("pool"), &[top.join("b0"), top.join("b1")]);
        let fs = RealFs::open(&pool.branches).unwrap();
        let filter = Filter::new(&[], &["*.tmp".to_owned()], None, None).unwrap();
        let mut look_up = LookUp::new(&fs, &pool, &filter).unwrap();
        // Nothing answers for a pool that is a plain directory: each branch is searched.
        let nowhere = "on no branch that can be seen here";
        let expected = [
            ("b0/d/both", ("files", vec![0])),
            ("b1/d/there", ("files", vec![1])),
            // A file of another branch is not the file of this path.
            ("b0/d/there", (nowhere, vec![])),
            ("b1/only/f", ("files", vec![1])),
            ("b0/d/symlink", ("files", vec![])),
            ("b0/d/skipped.tmp", ("left out", vec![])),
            ("b0/d/absent", (nowhere, vec![])),
            ("b0/absent/f", ("no such file", vec![])),
            ("outside/f", ("not on this pool", vec![])),
            ("b0/d/..", ("not on this pool", vec![])),
        ];
        // The second time every directory is known.
        for _ in 0..2 {
            let wanted =
                expected.iter().map(|(path, _)| Wanted { path: top.join(path), size: Some(3) });
            let mut wanted: Vec<_> = wanted.collect();
            wanted.push(Wanted { path: PathBuf::from("b0/d/both"), size: None });
            let found = look_up.all(&wanted).unwrap();
            for ((path, expected), found) in expected.iter().zip(&found) {
                assert_eq!(said(found), *expected, "{path}");
            }
            assert_eq!(said(&found[expected.len()]).0, "not on this pool", "a relative path");
        }
    }

    #[test]
    fn a_listing_says_the_same_as_a_look_at_each_name() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let branches = [0, 1, 2].map(|branch| top.join(format!("b{branch}")));
        std::fs::create_dir_all(top.join("pool/d")).unwrap();
        let write = |branch: usize, name: &str| {
            std::fs::create_dir_all(branches[branch].join("d")).unwrap();
            std::fs::write(branches[branch].join("d").join(name), "one").unwrap();
        };
        for n in 0..9 {
            write(n % 3, &format!("of one disk {n}"));
            write(n % 3, &format!("of two {n}"));
            write((n + 1) % 3, &format!("of two {n}"));
        }
        // Too many for a listing.
        (0..900).for_each(|n| write(2, &format!("not asked for {n}")));
        let pool = Pool::sample(&top.join("pool"), &branches);
        let fs = RealFs::open(&pool.branches).unwrap();
        let filter = Filter::new(&[], &[], None, None).unwrap();
        let mut look_up = LookUp::new(&fs, &pool, &filter).unwrap();
        let names = (0..9)
            .flat_map(|n| ["of one disk", "of two", "absent"].map(|kind| format!("{kind} {n}")));
        let paths = names.map(|name| branches[0].join("d").join(name)).collect::<Vec<_>>();
        let wanted = |path: &PathBuf| Wanted { path: path.clone(), size: Some(3) };
        let together = look_up.all(&paths.iter().map(wanted).collect::<Vec<_>>()).unwrap();
        for (path, together) in paths.iter().zip(&together) {
            let alone = look_up.all(&[wanted(path)]).unwrap();
            assert_eq!(said(together), said(&alone[0]), "{path:?}");
        }
        assert_eq!(said(&together[0]), ("files", vec![0]));
        assert_eq!(said(&together[1]), ("files", vec![0, 1]));
    }
}
