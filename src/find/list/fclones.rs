//! fclones: JSON and the default text. Paths are STFU-8 in both, in JSON on top of JSON's own escapes.

use super::json::Json;
use super::keyed::{Keyed, sized_group};
use super::source::{Collector, Source};
use super::{ClaimedGroup, Form, InputError, stfu8};

/// `fclones group -f json`.
#[derive(Default)]
pub(super) struct Fclones {
    base_dir: Option<Vec<u8>>,
    command_seen: bool,
}

impl Keyed for Fclones {
    const KEY: &'static str = "groups";

    fn header(&mut self, key: &[u8], json: &mut Json) -> Result<(), InputError> {
        if key != b"header" {
            return json.skip_value();
        }
        json.begin_object()?;
        while let Some(key) = json.next_key()? {
            match key.as_slice() {
                b"base_dir" => self.base_dir = Some(json_path(json)?),
                b"command" => {
                    json.begin_array()?;
                    while json.next_element()? {
                        let word = json.string()?;
                        refuse_option(&word, &json.source)?;
                    }
                    self.command_seen = true;
                }
                _ => json.skip_value()?,
            }
        }
        Ok(())
    }

    fn check(&self, source: &Source) -> Result<(), InputError> {
        refuse_unknown_command(self.command_seen, source)
    }

    fn group(json: &mut Json) -> Result<ClaimedGroup, InputError> {
        sized_group(json, [b"file_len", b"files"], "a group without \"files\"", json_path)
    }

    fn base_dir(&self) -> Option<&[u8]> {
        self.base_dir.as_deref()
    }
}

fn json_path(json: &mut Json) -> Result<Vec<u8>, InputError> {
    let text = json.string()?;
    path(&text, &json.source)
}

/// `fclones group`, the default text.
pub(super) struct TextList {
    source: Source,
    base_dir: Option<Vec<u8>>,
    command_seen: bool,
    /// How many groups the header announces.
    announced: Option<u64>,
    read: u64,
}

impl TextList {
    pub(super) fn new(source: Source) -> Self {
        Self { source, base_dir: None, command_seen: false, announced: None, read: 0 }
    }

    fn comment(&mut self, line: &[u8]) -> Result<(), InputError> {
        if let Some(command) = line.strip_prefix(b"# Command: ") {
            for word in command.split(u8::is_ascii_whitespace) {
                refuse_option(word, &self.source)?;
            }
            self.command_seen = true;
        } else if let Some(base_dir) = line.strip_prefix(b"# Base dir: ") {
            self.base_dir = Some(path(base_dir, &self.source)?);
        } else if line.starts_with(b"# Total: ") {
            let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
            if let [.., b"in", count, b"groups"] = words.as_slice() {
                self.announced = std::str::from_utf8(count).ok().and_then(|text| text.parse().ok());
            }
        }
        Ok(())
    }

    fn group(&mut self, header: &[u8]) -> Result<ClaimedGroup, InputError> {
        let parsed = std::str::from_utf8(header).ok().and_then(group_header);
        let Some((size, count)) = parsed else {
            return Err(self.source.malformed("a line that does not begin a group"));
        };
        refuse_unknown_command(self.command_seen, &self.source)?;
        let mut group = Collector::default();
        group.set_size(size);
        for _ in 0..count {
            let Some(line) = self.source.record(b'\n')? else {
                return Err(self.source.truncated());
            };
            // Only the indentation is removed: a name may begin or end with spaces.
            let Some(text) = line.strip_prefix(b"    ") else {
                return Err(self.source.malformed("a group with fewer paths than it announces"));
            };
            group.push(path(text, &self.source)?, &self.source)?;
        }
        self.read += 1;
        Ok(group.finish())
    }
}

impl Form for TextList {
    fn next_group(&mut self) -> Result<Option<ClaimedGroup>, InputError> {
        while let Some(line) = self.source.record(b'\n')? {
            if line.starts_with(b"#") {
                self.comment(&line)?;
            } else if !line.is_empty() {
                return self.group(&line).map(Some);
            }
        }
        refuse_unknown_command(self.command_seen, &self.source)?;
        match self.announced {
            Some(announced) if announced != self.read => Err(self.source.malformed(format!(
                "announces {announced} groups and has {}; it was cut off",
                self.read
            ))),
            _ => Ok(None),
        }
    }

    fn base_dir(&self) -> Option<&[u8]> {
        self.base_dir.as_deref()
    }
}

/// Parses size and count in `HASH, 3000000 B (3.0 MB) * 2:`.
fn group_header(line: &str) -> Option<(u64, u64)> {
    let (hash, rest) = line.split_once(", ")?;
    let (size, rest) = rest.split_once(" B ")?;
    let (_, count) = rest.strip_suffix(':')?.rsplit_once(" * ")?;
    let sound = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((size.parse().ok()?, count.parse().ok()?)).filter(|_| sound)
}

fn path(text: &[u8], source: &Source) -> Result<Vec<u8>, InputError> {
    let decoded = stfu8::decode(text);
    decoded.ok_or_else(|| source.malformed("a path with an escape fclones does not write"))
}

/// Refuses lists whose groups do not claim equal contents. `word` may contain the quotes that fclones writes.
fn refuse_option(word: &[u8], source: &Source) -> Result<(), InputError> {
    let word = word.strip_prefix(b"$").unwrap_or(word);
    let word = word.strip_prefix(b"'").unwrap_or(word);
    let word = word.strip_suffix(b"'").unwrap_or(word);
    if word == b"--transform" || word.starts_with(b"--transform=") {
        return Err(source.unusable(
            "made with --transform: the files of a group differ; make the list without it",
        ));
    }
    if word == b"--skip-content-hash" {
        return Err(source.unusable(
            "made with --skip-content-hash: no contents were compared; make the list without it",
        ));
    }
    Ok(())
}

fn refuse_unknown_command(seen: bool, source: &Source) -> Result<(), InputError> {
    if seen {
        return Ok(());
    }
    Err(source.unusable(
        "does not begin with the command that made it, so what its groups mean is unknown",
    ))
}

#[cfg(test)]
#[path = "tests/fclones.rs"]
mod tests;
