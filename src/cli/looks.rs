//! What a plan's directories are, each looked up once: many duplicates lie in one, and many of those in one.

use std::collections::HashMap;

use crate::fs::real::RealFs;
use crate::fs::{Fs, FsError, Place, Stat};

/// Places that are remembered.
const KNOWN_MAX: usize = 16_384;

/// [`Fs::stat`] that remembers what it said: for plans, never for acting on them.
pub(super) struct Looks<'l> {
    fs: &'l RealFs,
    known: HashMap<Place, Option<Stat>>,
}

impl<'l> Looks<'l> {
    pub(super) fn new(fs: &'l RealFs) -> Self {
        Self {
            fs,
            known: HashMap::new(),
        }
    }

    /// What is there, or was at the first look.
    pub(super) fn stat(&mut self, place: &Place) -> Result<Option<Stat>, FsError> {
        if let Some(known) = self.known.get(place) {
            return Ok(known.clone());
        }
        let stat = self.fs.stat(place)?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(place.clone(), stat.clone());
        Ok(stat)
    }
}
