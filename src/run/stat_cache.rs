//! A memory of the entries at places, for plans: many duplicates share their directories.

use std::collections::HashMap;

use crate::fs::{FsError, Look, Place, Stat};

/// How many places are remembered.
const KNOWN_MAX: usize = 16_384;

/// [`Look::stat`] that remembers its answers: for plans, never for acting on them.
#[derive(Debug, Default)]
pub struct StatCache(HashMap<Place, Option<Stat>>);

impl StatCache {
    /// Looks at `place`, or returns the result of the first look.
    ///
    /// # Errors
    /// As [`Look::stat`].
    pub fn stat(&mut self, fs: &impl Look, place: &Place) -> Result<Option<Stat>, FsError> {
        if let Some(known) = self.0.get(place) {
            return Ok(known.clone());
        }
        let stat = fs.stat(place)?;
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(place.clone(), stat.clone());
        Ok(stat)
    }
}
