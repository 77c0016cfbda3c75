//! Lists of duplicates: those of a real jdupes, and hand-written ones in its format.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

/// Writes what `jdupes <flags> <dirs>` prints to `to`.
pub(crate) fn jdupes(flags: &[&str], dirs: &[&Path], to: &Path) {
    let status = Command::new("jdupes")
        .arg("-q")
        .args(flags)
        .args(dirs)
        .stdout(File::create(to).unwrap())
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(status.success(), "jdupes: {status}");
}

/// The groups of a list made by `jdupes -r0`: names end in NUL, groups in one more.
pub(crate) fn read_nul(list: &Path) -> Vec<Vec<PathBuf>> {
    let bytes = std::fs::read(list).unwrap();
    let mut groups = vec![Vec::new()];
    for name in bytes.split(|&b| b == 0) {
        if name.is_empty() {
            groups.push(Vec::new());
        } else {
            groups.last_mut().unwrap().push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The groups of a list made by `jdupes -r -j`.
pub(crate) fn read_json(list: &Path) -> Vec<Vec<PathBuf>> {
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    let paths = |set: &serde_json::Value| {
        let files = set["fileList"].as_array().unwrap();
        files.iter().map(|f| PathBuf::from(f["filePath"].as_str().unwrap())).collect()
    };
    list["matchSets"].as_array().unwrap().iter().map(paths).collect()
}

/// Writes a list as jdupes would, of groups the test knows; sizes are those of the first paths.
pub(crate) fn write_json(groups: &[Vec<PathBuf>], to: &Path) {
    let set = |group: &Vec<PathBuf>| {
        let files: Vec<_> =
            group.iter().map(|p| json!({ "filePath": p.to_str().unwrap() })).collect();
        json!({ "fileSize": std::fs::metadata(&group[0]).unwrap().len(), "fileList": files })
    };
    let sets: Vec<_> = groups.iter().map(set).collect();
    let list = json!({
        "jdupesVersion": "1.21.3",
        "jdupesVersionDate": "2023-02-09",
        "commandLine": "jdupes -r -j pool",
        "extensionFlags": "none",
        "matchSets": sets,
    });
    std::fs::write(to, serde_json::to_vec_pretty(&list).unwrap()).unwrap();
}
