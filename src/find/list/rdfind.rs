//! rdfind's `results.txt`: seven fields and a name; a group is an id, then the same id negative.

use super::entries::{Grammar, ListEntry, Role};

pub(super) const GRAMMAR: Grammar =
    Grammar { line_end: b'\n', parse: entry, marker: Some(b"# end of file") };

/// `DUPTYPE_FIRST_OCCURRENCE 1 1 9000 65024 10371245 3 h/d1/a`.
fn entry(line: &[u8]) -> Option<ListEntry> {
    let mut fields = line.splitn(8, |byte| *byte == b' ');
    let kind = fields.next()?;
    // Wide enough for inode numbers above 2^63, which a pool hands out.
    let mut number = || -> Option<i128> { std::str::from_utf8(fields.next()?).ok()?.parse().ok() };
    let (id, _depth, size) = (number()?, number()?, number()?);
    let (_device, _inode, _priority) = (number()?, number()?, number()?);
    let path = fields.next()?.to_vec();
    let group = u64::try_from(id.unsigned_abs()).ok()?;
    let role = if id > 0 { Role::First } else { Role::Follower };
    let size = Some(u64::try_from(size).ok()?);
    let sound = kind.starts_with(b"DUPTYPE_") && id != 0 && !path.is_empty();
    sound.then_some(ListEntry { group, role, size, path })
}

#[cfg(test)]
#[path = "tests/rdfind.rs"]
mod tests;
