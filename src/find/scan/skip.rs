//! Names that a scan always skips: files of the filesystem, of other tools, and of this program. `--help` lists them.

use crate::plan::hidden_name::is_hidden_name;
use crate::pool::relpath::RelPath;

/// Whether an entry of this name is skipped, with everything below it.
pub(super) fn skipped(name: &[u8]) -> bool {
    name == b"lost+found"
        || is_trash(name)
        || name == b".snapraid"
        || is_snapraid(name)
        || is_hidden_name(name)
}

/// Recycle bins, in any case: of Synology, QNAP, Samba, Unraid and Windows.
const BINS: [&[u8]; 5] = [b"#recycle", b"@recycle", b".recycle", b".recycle.bin", b"$recycle.bin"];

/// A recycle bin, or the trash of the freedesktop specification (`.Trash`, `.Trash-1000`) or of macOS (`.Trashes`). What
/// lies there is on its way out: it must not become the copy that stays.
pub(super) fn is_trash(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b".Trash");
    rest.is_some_and(|rest| rest.is_empty() || rest == b"es" || rest.starts_with(b"-"))
        || BINS.iter().any(|bin| name.eq_ignore_ascii_case(bin))
}

/// Whether `path` lies in a recycle bin: a scan would leave it out.
#[must_use]
pub fn is_in_bin(path: &RelPath) -> bool {
    let mut above = path.as_bytes().split(|byte| *byte == b'/').rev().skip(1);
    above.any(is_trash)
}

/// SnapRAID's own files: `snapraid.content`, `.snapraid.content.lock`, `snapraid.2-parity`.
pub(crate) fn is_snapraid(name: &[u8]) -> bool {
    let name = name.strip_prefix(b".").unwrap_or(name);
    let Some(rest) = name.strip_prefix(b"snapraid.") else {
        return false;
    };
    // `2-parity`, `z-parity`, `3-parity` and so on.
    let level = rest.iter().position(|byte| *byte == b'-');
    let parity = level.filter(|at| *at <= 2).map_or(rest, |at| &rest[at + 1..]);
    rest.starts_with(b"content") || parity.starts_with(b"parity")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_others_is_left_out() {
        for (name, out) in [
            ("lost+found", true),
            (".Trash", true),
            (".Trash-1000", true),
            (".Trashcan", false),
            ("Trash", false),
            (".Trashes", true),
            ("#recycle", true),
            ("@Recycle", true),
            (".recycle", true),
            (".Recycle.Bin", true),
            ("$RECYCLE.BIN", true),
            ("recycle", false),
            ("#recycled", false),
            ("snapraid.content", true),
            (".snapraid.content", true),
            ("snapraid.content.tmp", true),
            ("snapraid.parity", true),
            ("snapraid.2-parity", true),
            ("snapraid.z-parity", true),
            ("snapraid.3z-parity", true),
            ("snapraid.conf", false),
            ("my-snapraid.content", false),
            (".xdedup-00000001-00000001-00000001-00000000-t", true),
            ("a", false),
        ] {
            assert_eq!(skipped(name.as_bytes()), out, "{name}");
        }
    }

    #[test]
    fn a_file_lies_in_a_bin_if_a_directory_above_it_is_one() {
        for (path, is) in [
            ("#recycle/a", true),
            ("tv/.Trash-1000/files/x/a", true),
            ("tv/a", false),
            ("tv/.Trash", false),
        ] {
            assert_eq!(is_in_bin(&RelPath::new(path).unwrap()), is, "{path}");
        }
    }
}
