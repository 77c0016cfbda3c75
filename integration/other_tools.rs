//! What other tools make of copies on two disks of a pool: the table of `contrib/guides/comparison.md`, cell by cell.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::command;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Tool};
use crate::harness::tree;

const GUIDE: &str = include_str!("../contrib/guides/comparison.md");

/// The two names of a scene, on the first and on the second disk.
const NAMES: [&str; 2] = ["media/a.mkv", "downloads/a.mkv"];

/// A tool, and the shell line by which it hard-links what it finds below "$@".
const TOOLS: [(&str, &str); 6] = [
    ("jdupes -L", "jdupes -q -r -L \"$@\""),
    ("rdfind -makehardlinks", "rdfind -makehardlinks true -outputname \"$OUT\" \"$@\""),
    ("hardlink", "hardlink \"$@\""),
    ("hardlink -c", "hardlink -c \"$@\""),
    (
        "rmlint -c sh:hardlink",
        "rmlint -T df -o sh:\"$OUT\" -c sh:hardlink \"$@\" && sh \"$OUT\" -d -q",
    ),
    ("mergerfs.xdedup", "\"$XDEDUP\" --journal \"$OUT\" --no-cache -q -e \"$@\""),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scene {
    PathPreserving,
    Elsewhere,
    Branches,
    OtherOwner,
    Writer,
    Killed,
}

/// In the order of the table's columns.
const SCENES: [Scene; 6] = [
    Scene::PathPreserving,
    Scene::Elsewhere,
    Scene::Branches,
    Scene::OtherOwner,
    Scene::Writer,
    Scene::Killed,
];

#[test]
fn the_comparison_says_what_happens() {
    let columns: Vec<Vec<String>> = SCENES.iter().map(|scene| play(*scene)).collect();
    for (at, (name, _)) in TOOLS.iter().enumerate() {
        let cells: Vec<&str> = columns.iter().map(|column| column[at].as_str()).collect();
        let row = format!("| `{name}` | {} |", cells.join(" | "));
        println!("{row}");
    }
    for (at, (name, _)) in TOOLS.iter().enumerate() {
        let cells: Vec<&str> = columns.iter().map(|column| column[at].as_str()).collect();
        let row = format!("| `{name}` | {} |", cells.join(" | "));
        assert!(GUIDE.contains(&row), "comparison.md does not have: {row}");
    }
}

/// The scene with each tool in a directory of its own; gives what became of the files, in words.
fn play(scene: Scene) -> Vec<String> {
    let policy = match scene {
        Scene::PathPreserving => "category.create=epmfs",
        _ => "category.create=mfs",
    };
    let pool = PoolPlan::of(&[Ext4, Xfs]).option(policy).mount();
    for (at, _) in TOOLS.iter().enumerate() {
        set(scene, &pool, at);
    }
    // The pool remembers attributes for a second.
    tree::settle();
    (0..TOOLS.len()).map(|at| one(scene, &pool, at).to_owned()).collect()
}

fn set(scene: Scene, pool: &Pool, at: usize) {
    for (disk, name) in NAMES.iter().enumerate() {
        let path = pool.on(disk, format!("{at}/{name}"));
        tree::write(&path, &tree::bytes(at as u64, 300_000));
        if scene == Scene::OtherOwner && disk == 1 {
            tree::set_owner(&path, (1234, 1234));
            tree::set_mode(&path, 0o600);
        }
        command::run("touch", &["-d", "@1600000000", &path.display().to_string()]);
    }
}

fn one(scene: Scene, pool: &Pool, at: usize) -> &'static str {
    let (name, line) = TOOLS[at];
    let ours = name == "mergerfs.xdedup";
    let dirs: Vec<PathBuf> = match scene {
        Scene::Branches if ours => return "(finds them itself)",
        Scene::Branches => (0..2).map(|disk| pool.on(disk, at.to_string())).collect(),
        _ => vec![pool.path(at.to_string())],
    };
    let mut clients: Vec<File> = Vec::new();
    if scene == Scene::Writer {
        let open = |name: &&str| {
            let path = pool.path(format!("{at}/{name}"));
            OpenOptions::new().write(true).open(path).unwrap()
        };
        clients = NAMES.iter().map(open).collect();
    }
    let tool = Tool::new();
    run(scene, line, &dirs, &tool.dir().join("out"));
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&[b'1' + n as u8; 16]).unwrap();
        client.sync_all().unwrap();
    }
    drop(clients);
    judge(scene, pool, at)
}

fn run(scene: Scene, line: &str, dirs: &[PathBuf], out: &Path) {
    let killed = [
        "strace",
        "-f",
        "-o",
        "/dev/stderr",
        "-e",
        "trace=link,linkat",
        "-e",
        "inject=link,linkat:signal=KILL:when=1",
    ];
    let mut words: Vec<&str> = Vec::new();
    if scene == Scene::Killed {
        words.extend(killed);
    }
    words.extend(["sh", "-c", line, "sh"]);
    let ended = Command::new(words[0])
        .args(&words[1..])
        .args(dirs)
        // rmlint leaves a file where it is started.
        .current_dir(out.parent().unwrap())
        .env("OUT", out)
        .env("XDEDUP", BINARY)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // What it says is not judged, but that it was there.
    assert_ne!(ended.status.code(), Some(127), "{ended:?}");
}

fn judge(scene: Scene, pool: &Pool, at: usize) -> &'static str {
    let found = |name: &str| {
        let places: Vec<PathBuf> = (0..2).map(|d| pool.on(d, format!("{at}/{name}"))).collect();
        places.into_iter().find(|p| p.symlink_metadata().is_ok())
    };
    let [Some(one), Some(other)] = NAMES.map(found) else {
        return "**a name is gone**";
    };
    if [&one, &other].iter().any(|path| path.is_symlink()) {
        return "a symlink to the disk";
    }
    let id = |path: &Path| path.metadata().map(|m| (m.dev(), m.ino())).unwrap();
    let linked = id(&one) == id(&other);
    if scene == Scene::Writer {
        let written = |path: &Path, byte: u8| std::fs::read(path).unwrap()[..16] == [byte; 16];
        let all = written(&one, b'1') && written(&other, b'2');
        return match (all, linked) {
            (true, _) => "left alone",
            (false, true) => "**a write is lost**",
            (false, false) => "damaged",
        };
    }
    if linked { "one copy" } else { "left alone" }
}
