//! Reads JSON lists that are an object with the groups in an array under one key (jdupes, fclones, dupe-krill).

use super::json::Json;
use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError};

/// A form of such a list.
pub(super) trait Keyed {
    /// The key of the groups.
    const KEY: &'static str;

    /// Reads the value of another key before the groups.
    fn header(&mut self, _key: &[u8], json: &mut Json) -> Result<(), InputError> {
        json.skip_value()
    }

    /// Checks, before the first group, that the groups are claims.
    fn check(&self, _source: &Source) -> Result<(), InputError> {
        Ok(())
    }

    /// Reads a group.
    fn group(json: &mut Json) -> Result<ClaimedGroup, InputError>;

    /// The directory at which the relative paths of the list begin, according to the list.
    fn base_dir(&self) -> Option<&[u8]> {
        None
    }
}

pub(super) struct List<K> {
    json: Json,
    form: K,
    among_groups: bool,
}

impl<K: Keyed + Default> List<K> {
    pub(super) fn new(source: Source) -> Self {
        Self { json: Json::new(source), form: K::default(), among_groups: false }
    }
}

impl<K: Keyed> List<K> {
    fn header(&mut self) -> Result<(), InputError> {
        self.json.begin_object()?;
        while let Some(key) = self.json.next_key()? {
            if key == K::KEY.as_bytes() {
                self.form.check(&self.json.source)?;
                self.among_groups = true;
                return self.json.begin_array();
            }
            self.form.header(&key, &mut self.json)?;
        }
        Err(self.json.source.malformed(format!("has no {:?}", K::KEY)))
    }

    fn trailer(&mut self) -> Result<(), InputError> {
        while let Some(key) = self.json.next_key()? {
            if key == K::KEY.as_bytes() {
                return Err(self.json.source.malformed(format!("has {:?} twice", K::KEY)));
            }
            self.json.skip_value()?;
        }
        self.json.finish()
    }
}

impl<K: Keyed> Form for List<K> {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        if !self.among_groups {
            self.header()?;
        }
        if self.json.next_element()? {
            return K::group(&mut self.json).map(Some);
        }
        self.trailer()?;
        Ok(None)
    }

    fn base_dir(&self) -> Option<&[u8]> {
        self.form.base_dir()
    }
}

/// Reads a group that is an object with the size and the files under the keys `size` and `files`. If `files` is not
/// there, the list is damaged: `missing`.
pub(super) fn sized_group(
    json: &mut Json,
    [size, files]: [&[u8]; 2],
    missing: &str,
    file: impl Fn(&mut Json) -> Result<Vec<u8>, InputError>,
) -> Result<ClaimedGroup, InputError> {
    let mut group = Collector::default();
    let mut listed = false;
    json.begin_object()?;
    while let Some(key) = json.next_key()? {
        if key == size {
            group.set_size(json.whole_number()?);
        } else if key == files {
            json.begin_array()?;
            while json.next_element()? {
                let path = file(json)?;
                group.push(path, &json.source)?;
            }
            listed = true;
        } else {
            json.skip_value()?;
        }
    }
    if listed { Ok(group.finish()) } else { Err(json.source.malformed(missing)) }
}
