//! Whether directories take the links of a plan: not immutable, and on the right side of every border.
//!
//! A run finds the same by the errors of the kernel, one file at a time and after it has read the file; one case, an
//! encrypted file in a plain directory, the kernel lets pass.

use std::collections::HashMap;

use crate::fs::{Borders, FsError, Look, Place};
use crate::plan::Op;
use crate::plan::refusal::Reason;

/// How many directories are remembered.
const KNOWN_MAX: usize = 16_384;

/// Looks at the directories of ops, at each directory once.
pub struct Ground<'g, F: Look> {
    fs: &'g F,
    known: HashMap<Place, Option<Known>>,
}

/// A directory that exists.
#[derive(Debug, Clone)]
struct Known {
    dev: u64,
    immutable: bool,
    borders: Borders,
}

impl<'g, F: Look> Ground<'g, F> {
    /// Knows nothing yet.
    pub fn new(fs: &'g F) -> Self {
        Self { fs, known: HashMap::new() }
    }

    /// Returns why the directories of `op` do not take its links, if they do not, with the details.
    ///
    /// # Errors
    /// When a directory cannot be looked at.
    pub fn against(&mut self, op: &Op) -> Result<Option<(Reason, String)>, FsError> {
        for k in 0..op.names.len() {
            let (own, target) = (op.own(k).dir(), op.target(k).dir());
            let (Some(from), Some((at, to))) = (self.look(&own)?, self.nearest(target)?) else {
                continue;
            };
            for (dir, known) in [(&own, &from), (&at, &to)] {
                if known.immutable {
                    let detail = format!("directory {:?}", self.fs.shown(dir));
                    return Ok(Some((Reason::Immutable, detail)));
                }
            }
            if to.dev != op.master_id.dev {
                let detail = format!("{:?} is a subvolume or a mount", self.fs.shown(&at));
                return Ok(Some((Reason::Obstructed, detail)));
            }
            if from.borders.encryption != to.borders.encryption {
                let (own, at) = (self.fs.shown(&own), self.fs.shown(&at));
                return Ok(Some((
                    Reason::EncryptionDiffers,
                    format!("directories {own:?}, {at:?}"),
                )));
            }
            if to.borders.inherits_project {
                let file = self.fs.nature(&self.fs.open(&op.master)?)?.borders.project;
                if file != to.borders.project {
                    let detail = format!(
                        "directory {:?} project {}; kept copy: {file}",
                        self.fs.shown(&at),
                        to.borders.project
                    );
                    return Ok(Some((Reason::ProjectDiffers, detail)));
                }
            }
        }
        Ok(None)
    }

    /// Returns the innermost directory at or above `dir` that exists: directories are made in it, and inherit its
    /// borders.
    fn nearest(&mut self, mut dir: Place) -> Result<Option<(Place, Known)>, FsError> {
        loop {
            if let Some(known) = self.look(&dir)? {
                return Ok(Some((dir, known)));
            }
            if dir.path.is_root() {
                return Ok(None);
            }
            dir = dir.dir();
        }
    }

    fn look(&mut self, dir: &Place) -> Result<Option<Known>, FsError> {
        if let Some(known) = self.known.get(dir) {
            return Ok(known.clone());
        }
        let known = match self.fs.stat(dir)? {
            Some(stat) => {
                let (immutable, borders) = (stat.immutable, self.fs.borders(dir)?);
                Some(Known { dev: stat.id.dev, immutable, borders })
            }
            None => None,
        };
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(dir.clone(), known.clone());
        Ok(known)
    }
}
