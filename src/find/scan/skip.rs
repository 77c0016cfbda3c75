//! Names that a scan always skips: files of the filesystem, of other tools, and of this program.

use crate::plan::hidden_name::is_hidden_name;

/// Whether an entry of this name is skipped, with everything below it.
pub(super) fn skipped(name: &[u8]) -> bool {
    name == b"lost+found"
        || is_trash(name)
        || name == b".snapraid"
        || is_snapraid(name)
        || is_hidden_name(name)
}

/// The trash of the freedesktop specification: `.Trash`, `.Trash-1000`.
fn is_trash(name: &[u8]) -> bool {
    name.strip_prefix(b".Trash").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
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
