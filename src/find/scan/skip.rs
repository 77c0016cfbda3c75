//! Names that a scan always skips: files of the filesystem, of other tools, and of this program. `--help` lists them.

use crate::plan::hidden_name::is_hidden_name;

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
}
