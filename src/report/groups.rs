//! Writes the groups that a scan found, in the formats of other programs: the JSON of jdupes and of fclones.
//!
//! Every name that the filter lets in is listed, hard links too. If several branches have a path, the list has the path
//! of the file on each branch, because the pool shows only one of these files.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::find::scan::FoundGroup;
use crate::fs::Timestamp;
use crate::journal::rfc3339;
use crate::pool::Pool;

/// The version of fclones whose report format this is.
const FCLONES_VERSION: &str = "0.35.0";

/// The list format of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupsForm {
    /// `fclones group -f json`: any name, exactly.
    Fclones,
    /// `jdupes -j`: has no way to write a name that is not UTF-8.
    Jdupes,
}

/// Writes the groups. Leaves out names that the format cannot express, and returns how many names were left out.
///
/// # Errors
/// When `out` fails.
pub fn write(
    out: &mut dyn Write,
    form: GroupsForm,
    (pool, dirs): (&Pool, &[impl AsRef<Path>]),
    found: &[FoundGroup],
    now: Timestamp,
) -> io::Result<u64> {
    let mut left_out = 0;
    let mut listed = Vec::new();
    for found in found {
        let mut paths = paths(pool, found);
        if form == GroupsForm::Jdupes {
            let all = paths.len();
            paths.retain(|path| std::str::from_utf8(path).is_ok());
            left_out += (all - paths.len()) as u64;
        }
        if paths.len() > 1 {
            listed.push((found, paths));
        }
    }
    match form {
        GroupsForm::Fclones => {
            writeln!(out, "{{\"header\":{},\"groups\":[", header(dirs, &listed, now))?;
            each(out, &listed, |found, paths| {
                let files: Vec<String> = paths.iter().map(|path| stfu8(path)).collect();
                json!({"file_len": size(found), "file_hash": format!("{:032x}", found.hash), "files": files})
            })?;
        }
        GroupsForm::Jdupes => {
            let version = env!("CARGO_PKG_VERSION");
            let line = format!("mergerfs.xdedup {version}");
            writeln!(
                out,
                "{{\"jdupesVersion\":\"1.28.0\",\"jdupesVersionDate\":\"2024-08-26\",\"commandLine\":{},\
                 \"extensionFlags\":\"none\",\"matchSets\":[",
                json!(line)
            )?;
            each(out, &listed, |found, paths| {
                let path = |path: &Vec<u8>| json!({"filePath": String::from_utf8_lossy(path)});
                let files: Vec<Value> = paths.iter().map(path).collect();
                json!({"fileSize": size(found), "fileList": files})
            })?;
        }
    }
    writeln!(out, "]}}")?;
    out.flush()?;
    Ok(left_out)
}

fn each(
    out: &mut dyn Write,
    listed: &[(&FoundGroup, Vec<Vec<u8>>)],
    form: impl Fn(&FoundGroup, &[Vec<u8>]) -> Value,
) -> io::Result<()> {
    for (at, (found, paths)) in listed.iter().enumerate() {
        let comma = if at + 1 < listed.len() { "," } else { "" };
        writeln!(out, "{}{comma}", form(found, paths))?;
    }
    Ok(())
}

fn size(found: &FoundGroup) -> u64 {
    found.group.members.first().map_or(0, |member| member.size)
}

fn paths(pool: &Pool, found: &FoundGroup) -> Vec<Vec<u8>> {
    let members = found.group.members.iter();
    let names = members.flat_map(|m| &m.names).filter(|n| !n.excluded);
    let paths = names.map(|name| {
        let path = match name.shadows.is_empty() {
            true => pool.path_of(&name.path),
            false => pool.branch_path(name.branch, &name.path),
        };
        path.into_os_string().into_vec()
    });
    paths.collect::<BTreeSet<_>>().into_iter().collect()
}

fn header(
    dirs: &[impl AsRef<Path>],
    listed: &[(&FoundGroup, Vec<Vec<u8>>)],
    now: Timestamp,
) -> Value {
    let files = |paths: &[Vec<u8>]| paths.len() as u64;
    let total: u64 = listed.iter().map(|(_, paths)| files(paths)).sum();
    let bytes: u64 = listed.iter().map(|(g, paths)| files(paths) * size(g)).sum();
    let one_each: u64 = listed.iter().map(|(g, _)| size(g)).sum();
    let named = dirs.iter().map(|dir| {
        let dir = dir.as_ref().as_os_str().to_os_string();
        stfu8(&dir.into_vec())
    });
    // fclones reads its own options from the command line that is stored in a report.
    let command: Vec<String> =
        ["fclones".to_owned(), "group".to_owned()].into_iter().chain(named).collect();
    json!({
        "version": FCLONES_VERSION,
        "timestamp": rfc3339(now),
        "command": command,
        "base_dir": "/",
        "stats": {
            "group_count": listed.len(),
            "total_file_count": total,
            "total_file_size": bytes,
            "redundant_file_count": total - listed.len() as u64,
            "redundant_file_size": bytes - one_each,
            "missing_file_count": 0,
            "missing_file_size": 0,
        },
    })
}

/// STFU-8: escapes bytes that are not UTF-8 and characters that a terminal obeys; doubles a backslash.
fn stfu8(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\0'..='\x1f' | '\x7f' => text.push_str(&format!("\\x{:02X}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::sample;
    use super::*;
    use std::sync::Arc;

    use crate::find::list::{self, ClaimedGroup};
    use crate::fs::{InodeId, Nature};
    use crate::plan::group::{Group, Member, Name};
    use crate::pool::BranchIdx;

    fn member(ino: u64, names: &[(&[u8], u16, bool, bool)]) -> Member {
        let name = |(path, branch, excluded, shadowed): &(&[u8], u16, bool, bool)| Name {
            branch: BranchIdx(*branch),
            path: sample::path(path),
            excluded: *excluded,
            listed: !excluded,
            shadows: shadowed.then_some(BranchIdx(1 - branch)).into_iter().collect(),
            differs: false,
        };
        Member {
            id: InodeId { dev: 1, ino },
            mount: 1,
            size: 9,
            blocks: 8,
            nlink: 1,
            mtime: Timestamp::default(),
            immutable: false,
            ctime: Timestamp::default(),
            nature: Nature::default(),
            metadata: Arc::default(),
            names: names.iter().map(name).collect(),
        }
    }

    fn found() -> Vec<FoundGroup> {
        let group = |members| FoundGroup { hash: 0xab, group: Group { members } };
        vec![
            group(vec![
                member(1, &[(b"a\xff\n\\x", 0, false, false), (b"a2", 0, false, false)]),
                member(2, &[(b"b \xc3\xa9\"", 1, false, false), (b"left out", 1, true, false)]),
            ]),
            group(vec![
                member(3, &[(b"both", 0, false, true)]),
                member(4, &[(b"both", 1, false, true)]),
            ]),
        ]
    }

    fn read_back(form: GroupsForm) -> (Vec<ClaimedGroup>, u64) {
        let mut out = Vec::new();
        let dirs = [PathBuf::from("/pool")];
        let pool = sample::pool();
        let left_out = write(&mut out, form, (&pool, &dirs), &found(), Timestamp::default());
        let list = list::open(Box::new(io::Cursor::new(out)), None).unwrap();
        (list.map(Result::unwrap).collect(), left_out.unwrap())
    }

    fn group(paths: &[&[u8]]) -> ClaimedGroup {
        ClaimedGroup { size: Some(9), paths: paths.iter().map(|path| path.to_vec()).collect() }
    }

    #[test]
    fn what_is_written_for_fclones_reads_back_exactly() {
        let (groups, left_out) = read_back(GroupsForm::Fclones);
        let first = group(&[b"/pool/a2", b"/pool/a\xff\n\\x", b"/pool/b \xc3\xa9\""]);
        let second = group(&[b"/mnt/d1/both", b"/mnt/d2/both"]);
        assert_eq!((groups, left_out), (vec![first, second], 0));
    }

    #[test]
    fn what_jdupes_cannot_write_is_left_out_and_counted() {
        let (groups, left_out) = read_back(GroupsForm::Jdupes);
        let first = group(&[b"/pool/a2", b"/pool/b \xc3\xa9\""]);
        let second = group(&[b"/mnt/d1/both", b"/mnt/d2/both"]);
        assert_eq!((groups, left_out), (vec![first, second], 1));
    }

    #[test]
    fn the_figures_of_a_report_add_up() {
        let mut out = Vec::new();
        let dirs = [PathBuf::from("/pool/x")];
        let form = GroupsForm::Fclones;
        write(&mut out, form, (&sample::pool(), &dirs), &found(), Timestamp::default()).unwrap();
        let report: Value = serde_json::from_slice(&out).unwrap();
        let stats = &report["header"]["stats"];
        assert_eq!((&stats["group_count"], &stats["total_file_count"]), (&json!(2), &json!(5)));
        assert_eq!(stats["redundant_file_size"], json!(27));
        assert_eq!(report["header"]["command"], json!(["fclones", "group", "/pool/x"]));
    }
}
