//! A file that the user named for results: it is written completely or not at all, and never replaces a file of another
//! kind.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use tempfile::NamedTempFile;

use super::args::{Common, OutputFormat};
use super::failure::Failure;

/// Bytes that are read from the start of an existing file to recognise its kind.
const HEAD: u64 = 512;

/// A kind of output file, and how the program recognises an earlier file of this kind. The program overwrites no other
/// file, so a mistyped option cannot destroy a film.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The name of the kind.
    pub(super) what: &'static str,
    /// The option that names the file.
    pub(super) option: &'static str,
    /// Whether a file that begins with these bytes is an earlier file of this kind.
    pub(super) is_one: fn(&[u8]) -> bool,
}

/// The report page.
pub(super) const REPORT: Kind = Kind {
    what: "report",
    option: "--report",
    is_one: |head| {
        let title = b"mergerfs.xdedup";
        head.starts_with(b"<!DOCTYPE html>") && head.windows(title.len()).any(|w| w == title)
    },
};

/// The list of the groups that a scan found. Lists by the programs whose format it has count as earlier files too.
pub(super) const GROUPS: Kind = Kind {
    what: "list of groups",
    option: "--groups",
    is_one: |head| {
        let head: Vec<u8> = head.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        [&b"{\"header\":"[..], b"{\"jdupesVersion\":"].iter().any(|start| head.starts_with(start))
    },
};

/// The script of a dry run.
pub(super) const SCRIPT: Kind = Kind {
    what: "script",
    option: "--script",
    is_one: |head| head.starts_with(b"#!/bin/sh\n# What mergerfs.xdedup"),
};

/// A file that is written when the work is over.
#[derive(Debug)]
pub(super) struct OutputFile {
    kind: Kind,
    path: PathBuf,
    to: To,
}

#[derive(Debug)]
enum To {
    /// The file is created beside the target, and renamed.
    Aside(NamedTempFile),
    /// A terminal, a pipe, a device: a rename would put a file in its place.
    Straight(File),
}

impl OutputFile {
    /// Checks that `path` can be written, before the work begins. An existing file at `path` stays until the work ends.
    pub(super) fn begin(path: &Path, kind: Kind) -> Result<Self, Failure> {
        let Kind { what, option, .. } = kind;
        let failed = |error: io::Error| {
            Failure::usage(format!("cannot write the {what} {path:?}: {error}"))
                .hint(format!("name a file in a directory that can be written with {option}"))
        };
        let mut target = path.to_path_buf();
        match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(there) if there.is_dir() => {
                return Err(Failure::usage(format!("the {what} {path:?} is a directory"))
                    .hint(format!("name a file with {option}")));
            }
            Ok(there) if there.is_file() => {
                // The target of the link is written, and the link stays.
                target = path.canonicalize().map_err(failed)?;
                if !replaceable(&target, kind).map_err(failed)? {
                    let message = format!("{path:?} is there, and is no {what} of this program");
                    return Err(Failure::usage(message)
                        .hint(format!("name another file with {option}, or remove that one")));
                }
            }
            Ok(_) => {
                let file = File::options().write(true).open(path).map_err(failed)?;
                let (path, to) = (target, To::Straight(file));
                return Ok(Self { kind, path, to });
            }
        }
        let dir = match target.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".mergerfs-xdedup-report-")
            .permissions(Permissions::from_mode(0o666 & !creation_mask()))
            .tempfile_in(dir)
            .map_err(failed)?;
        Ok(Self { kind, path: target, to: To::Aside(file) })
    }

    /// Returns a line for a person who reads text, which says where the file is; a terminal, pipe or device needs none.
    pub(super) fn said(&self, common: &Common) -> String {
        match self.to {
            To::Aside(_) if common.format == OutputFormat::Text && !common.quiet => {
                let path = std::path::absolute(&self.path);
                let path = path.as_deref().unwrap_or(&self.path);
                format!("The {} is in {path:?}.\n", self.kind.what)
            }
            To::Aside(_) | To::Straight(_) => String::new(),
        }
    }

    /// Puts the bytes from `write` in place.
    pub(super) fn finish<T>(
        self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let (path, what) = (self.path, self.kind.what);
        let written = match self.to {
            To::Straight(mut file) => write(&mut file),
            To::Aside(mut file) => write(&mut file).and_then(|done| {
                file.persist(&path).map_err(|error| error.error)?;
                Ok(done)
            }),
        };
        written.map_err(|error| {
            Failure::environment(format!("cannot write the {what} {path:?}: {error}"))
        })
    }
}

/// Whether the file at `path` is empty or an earlier file of the kind.
fn replaceable(path: &Path, kind: Kind) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head.is_empty() || (kind.is_one)(&head))
}

/// The permissions that the umask removes from new files.
fn creation_mask() -> u32 {
    // The umask can only be read by setting it; no other thread creates files yet.
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    mask.bits()
}

#[cfg(test)]
mod tests {
    use std::fs::read;
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::*;

    fn write(path: PathBuf, text: &str) {
        let mut file = File::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn put(path: &Path, kind: Kind, text: &str) -> Result<(), String> {
        let begun = OutputFile::begin(path, kind).map_err(|failure| format!("{failure:?}"))?;
        let finished = begun.finish(|out| out.write_all(text.as_bytes()));
        finished.map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn only_an_earlier_one_or_nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let page = "<!DOCTYPE html><title>mergerfs.xdedup: /pool</title>";
        let list = "{\"header\":{},\"groups\":[]}";
        let script = "#!/bin/sh\n# What mergerfs.xdedup -e would do; nothing has been changed.";
        for (kind, first, other) in
            [(REPORT, page, list), (GROUPS, list, page), (SCRIPT, script, "#!/bin/sh\nrm")]
        {
            let path = at(kind.what);
            put(&path, kind, first).unwrap();
            put(&path, kind, first).unwrap();
            for film in [other, "a film", " "] {
                write(at("film"), film);
                let said = put(&at("film"), kind, first).unwrap_err();
                assert!(said.contains(kind.option), "{said}");
                assert_eq!(read(at("film")).unwrap(), film.as_bytes());
            }
            write(at("film"), "");
            put(&at("film"), kind, first).unwrap();
            assert!(put(dir.path(), kind, first).is_err());
        }
        let names = dir.path().read_dir().unwrap().count();
        assert_eq!(names, 4, "something is left aside");
    }

    #[test]
    fn a_link_stays_a_link_and_a_pipe_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        symlink(at("report"), at("link")).unwrap();
        write(at("report"), "");
        put(&at("link"), REPORT, "page").unwrap();
        assert!(at("link").symlink_metadata().unwrap().is_symlink());
        assert_eq!(read(at("report")).unwrap(), b"page");
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let reader = File::options().read(true).write(true).open(at("pipe")).unwrap();
        put(&at("pipe"), REPORT, "page").unwrap();
        assert!(at("pipe").metadata().unwrap().file_type().is_fifo());
        drop(reader);
    }
}
