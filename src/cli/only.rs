//! `--only`: the files that the user names, by options or on standard input, where they are here.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::args::RunArgs;
use super::failure::Failure;
use crate::find::resolve::Paths;

/// Returns the named paths; `None` without the option.
pub(super) fn named(args: &RunArgs) -> Result<Option<Vec<PathBuf>>, Failure> {
    if args.only.is_empty() {
        return Ok(None);
    }
    let base = std::env::current_dir()
        .map_err(|error| Failure::environment_because("no current directory", &error))?;
    let paths = Paths { base, map: args.map.clone() };
    let mut named = Vec::new();
    for path in &args.only {
        if path == Path::new("-") {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text).map_err(|error| {
                Failure::environment_because("cannot read the paths on standard input", &error)
            })?;
            named.extend(listed(&text).map(|path| paths.here(path)));
        } else {
            named.push(paths.here(path.as_os_str().as_bytes()));
        }
    }
    Ok(Some(named))
}

/// The paths in `text`: one a line, or separated by NUL if there is a NUL.
fn listed(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let separator = if text.contains(&0) { 0 } else { b'\n' };
    text.split(move |byte| *byte == separator).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_one_a_line_or_separated_by_nul() {
        let paths = |text: &'static [u8]| listed(text).collect::<Vec<_>>();
        assert_eq!(paths(b"/a b\n/c\n"), [b"/a b".as_slice(), b"/c"]);
        assert_eq!(paths(b"/a\nb\0/c\0"), [b"/a\nb".as_slice(), b"/c"]);
        assert_eq!(paths(b"/a"), [b"/a"]);
        assert!(paths(b"\n").is_empty() && paths(b"").is_empty());
    }
}
