//! The way to a file: who may pass through the directories above it, on the branch that holds it.
//!
//! mergerfs looks a path up as the user who asks. The directories above a file count as they are on its own branch, not
//! as the pool shows them. The two differ if another program changed or made a directory on one branch only.

use std::collections::HashMap;

use super::halt::Halt;
use crate::fs::{FileKind, Look, Metadata, Place};
use crate::plan::metadata::{IgnoreMetadata, shown_acl, shown_owner_and_mode};
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, Op};

/// How many directories are remembered.
const KNOWN_MAX: usize = 16_384;

/// Who may pass through directories, each directory looked up once: many files lie in one directory.
pub struct PathAccess<'w, F: Look> {
    fs: &'w F,
    /// Owner, permission bits and ACL of each directory.
    known: HashMap<Place, Metadata>,
}

impl<'w, F: Look> PathAccess<'w, F> {
    /// Knows nothing yet.
    pub fn new(fs: &'w F) -> Self {
        let known = HashMap::new();
        Self { fs, known }
    }

    /// Checks that exactly the same users can reach each name of `op` before and after; `dirs` are the directories that
    /// it will make.
    ///
    /// # Errors
    /// When a directory differs in who may enter or list it, and that is not `ignore`d.
    pub fn same(
        &mut self,
        op: &Op,
        dirs: &[DirIntent],
        ignore: &IgnoreMetadata,
    ) -> Result<(), Halt> {
        for name in op.names.iter().filter(|name| name.from != name.to) {
            let mut next = name.path.parent();
            while let Some(dir) = next {
                next = dir.parent();
                // A directory that is made for the op takes after the directory it is cloned from.
                let mut made = dirs.iter().filter(|d| d.to == name.to);
                let model = made.find(|d| d.path == dir).map_or(name.to, |d| d.from);
                if model == name.from {
                    continue;
                }
                let was = Place::new(name.from, dir.clone());
                let will_be = Place::new(model, dir);
                self.alike(&was, &will_be, ignore)?;
            }
        }
        Ok(())
    }

    /// Checks that two directories let the same people in.
    ///
    /// # Errors
    /// When the two do not, with the difference, and as [`PathAccess::differs`].
    pub(super) fn alike(
        &mut self,
        was: &Place,
        will_be: &Place,
        ignore: &IgnoreMetadata,
    ) -> Result<(), Halt> {
        match self.differs(was, will_be, ignore)? {
            Some(how) => Err(Halt::new(Reason::DirectoryDiffers, self.told(was, will_be, how)?)),
            None => Ok(()),
        }
    }

    /// Returns the difference in who may enter or list two directories, if it is not `ignore`d.
    ///
    /// # Errors
    /// When one of the two is no directory, or cannot be looked at.
    pub fn differs(
        &mut self,
        one: &Place,
        other: &Place,
        ignore: &IgnoreMetadata,
    ) -> Result<Option<Reason>, Halt> {
        let (one, other) = (self.of(one)?, self.of(other)?);
        let open = |way: &Metadata| way.acl.is_none() && way.mode & 0o555 == 0o555;
        if open(&one) && open(&other) {
            return Ok(None);
        }
        Ok(ignore.differs(&one, &other))
    }

    /// Returns both directories, by the paths that chown and chmod take, with both values.
    fn told(&mut self, one: &Place, other: &Place, how: Reason) -> Result<String, Halt> {
        let mut of = |dir: &Place| -> Result<String, Halt> {
            let way = self.of(dir)?;
            let value = match how {
                Reason::OwnerDiffers | Reason::ModeDiffers => shown_owner_and_mode(&way),
                _ => shown_acl(&way),
            };
            Ok(format!("{:?} {value}", self.fs.shown(dir)))
        };
        let (one, other) = (of(one)?, of(other)?);
        Ok(format!("{one}; kept copy's disk: {other}"))
    }

    fn of(&mut self, dir: &Place) -> Result<Metadata, Halt> {
        if let Some(known) = self.known.get(dir) {
            return Ok(known.clone());
        }
        let stat = self.fs.stat(dir)?;
        let Some(stat) = stat.filter(|stat| stat.kind == FileKind::Directory) else {
            let detail = format!("directory {:?} is gone", dir.path);
            return Err(Halt::new(Reason::Changed, detail));
        };
        let way = Metadata {
            uid: stat.uid,
            gid: stat.gid,
            // Not setgid and sticky, which let no user in; mergerfs itself drops them when it clones a path.
            mode: stat.mode & 0o777,
            acl: self.fs.dir_acl(dir)?,
            ..Metadata::default()
        };
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(dir.clone(), way.clone());
        Ok(way)
    }
}
